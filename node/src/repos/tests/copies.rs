//! Copies of another node's repository, which are cut off again and again while that one is written to.

use angel_protocol::repo::UpTo;

use super::*;

/// What is sent of a repository until the whole has come, or `pieces` have; answers the import, unless it has ended, and
/// how many bytes came.
async fn copy(
    from: &Node,
    to: &Node,
    owner: &Owner,
    part: &Path,
    pieces: usize,
) -> Result<(Option<UpTo>, usize), ImportRefused> {
    let key = owner.key.public();
    let mut import = to.repos.import(owner, vec![key]).await.into_copy(part.to_owned()).await?;
    let mut export = from.repos.export_for_copy(owner.id, import.has().cloned()).await.expect("begins");
    let mut bytes = 0;
    for _ in 0..pieces {
        let Some((piece, next)) = export.next().await.expect("exports") else {
            import.finish(false).await?;
            return Ok((None, bytes));
        };
        bytes += piece.len();
        export = next;
        import = import.take(piece).await?;
        if !export.reached().is_empty() {
            import = import.reached(export.reached().to_owned()).await?;
        }
    }
    Ok((import.has().cloned(), bytes))
}

fn head_of(node: &Node, owner: &Owner) -> Cid {
    node.repos.head_blocking(owner.id).expect("reads").expect("there").commit.cid()
}

fn large(n: u32, text: &str) -> NewRecord {
    record(&format!("{n} {}", text.repeat(500)))
}

async fn fill(node: &Node, owner: &Owner, count: u32) {
    for first in (0..count).step_by(150) {
        let create = |n: u32| write(&path("a", &format!("k{n:05}")), Action::Create(large(n, "text ")));
        node.repos.write(owner, (first..count.min(first + 150)).map(create).collect(), None).await.expect("taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_of_a_copy_that_is_cut_does_not_come_again() {
    let (dir, other_dir) = (temporary(), temporary());
    let (there, mut here) = (Node::open(other_dir.path()), Node::open(dir.path()));
    let owner = there.account(1);
    fill(&there, &owner, 1500).await;
    let whole = there.car(&owner, None).await.len();
    let part = dir.path().join("copies/1-repository");
    let mut came = 0;
    for round in 0.. {
        let (has, bytes) = copy(&there, &here, &owner, &part, 5).await.expect("sound");
        came += bytes;
        assert_eq!(
            here.repos.head_blocking(owner.id).expect("reads").map(|head| head.commit.cid()).is_some(),
            has.is_none()
        );
        assert_eq!(part.exists(), has.is_some());
        if has.is_none() {
            assert!(round > 3, "it was cut");
            break;
        }
        // The process ends, and another goes on.
        here.close();
        here = Node::open(dir.path());
    }
    assert!(came * 100 < whole * 101, "{came} bytes came of {whole}");
    assert_eq!(head_of(&here, &owner), head_of(&there, &owner));
    assert_eq!(here.contents(&owner).await, there.contents(&owner).await);
    here.close();
    there.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_while_the_repository_is_written_to() {
    for seed in 0..6 {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (dir, other_dir) = (temporary(), temporary());
        let (there, here) = (Node::open(other_dir.path()), Node::open(dir.path()));
        let owner = there.account(1);
        fill(&there, &owner, 900).await;
        let whole = there.car(&owner, None).await.len();
        let part = dir.path().join("1-repository");
        let (mut came, mut cuts) = (0, 0);
        for round in 0_u32.. {
            let pieces = rng.random_range(1..4);
            let (has, bytes) = copy(&there, &here, &owner, &part, pieces).await.expect("sound");
            came += bytes;
            let Some(has) = has else { break };
            cuts += 1;
            // Before and behind what has come: something new, something else, something gone and something back.
            let mut writes = BTreeMap::new();
            for change in 0..rng.random_range(0..6) {
                let n = rng.random_range(0..900_u32);
                let (rkey, new) = (format!("k{n:05}"), format!("k{n:05}-{round}-{change}"));
                match change % 3 {
                    0 => writes.insert(rkey, Action::Remove),
                    1 => writes.insert(rkey, Action::Put(large(n, ["text ", "other"][rng.random_range(0..2)]))),
                    _ => writes.insert(new, Action::Create(large(n, "new  "))),
                };
            }
            let writes: Vec<_> = writes.into_iter().map(|(rkey, action)| write(&path("a", &rkey), action)).collect();
            if !writes.is_empty() {
                there.repos.write(&owner, writes, None).await.expect("taken");
            }
            assert!(has.path.starts_with("com.example.a/"), "{has}");
            // Most of what comes is new: a copy that began anew each time would not end here.
            assert!(round < 200, "it does not go on");
        }
        assert!(cuts > 5, "it was cut {cuts} times");
        assert!(came < whole * 2, "{came} bytes came of {whole} in {cuts} cuts");
        assert_eq!(head_of(&here, &owner), head_of(&there, &owner));
        assert_eq!(here.contents(&owner).await, there.contents(&owner).await);
        assert!(!part.exists());
        here.close();
        there.close();
    }
}

/// Whoever takes over may have another history; and a host may say that it has sent what it has not.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_together_is_never_in_force() {
    let (dir, other_dir, third_dir) = (temporary(), temporary(), temporary());
    let (there, other, here) = (Node::open(other_dir.path()), Node::open(third_dir.path()), Node::open(dir.path()));
    let owner = there.account(1);
    fill(&there, &owner, 300).await;
    let part = dir.path().join("1-repository");
    let (has, _) = copy(&there, &here, &owner, &part, 2).await.expect("sound");
    let has = has.expect("it is cut");

    // The same records at first, written by another in an earlier second, and others then.
    other.account(1);
    fill(&other, &owner, 300).await;
    let odd = write(&path("a", "k00001"), Action::Put(large(1, "other")));
    other.repos.write(&owner, vec![odd], None).await.expect("taken");
    let late = UpTo { rev: Tid::new(has.rev.micros() + 60_000_000, 0), ..has.clone() };
    let key = owner.key.public();
    let begin = async || here.repos.import(&owner, vec![key]).await.into_copy(part.clone()).await.expect("opens");
    let import = begin().await;
    assert_eq!(import.has(), Some(&has));
    let rest = rest_of(other.repos.export_for_copy(owner.id, Some(late)).await.expect("begins")).await;
    let refused = import.take(rest).await.expect("sound blocks").finish(false).await.expect_err("not whole");
    assert!(matches!(refused, ImportRefused::Tree(_)), "{refused}");
    assert!(here.repos.head_blocking(owner.id).expect("reads").is_none(), "nothing is in force");

    // It says that it has sent everything.
    std::fs::remove_file(&part).expect("removes");
    let export = there.repos.export_for_copy(owner.id, None).await.expect("begins");
    let (piece, _) = export.next().await.expect("exports").expect("a piece");
    let import = begin().await.take(piece).await.expect("sound").reached("com.example.b/z".to_owned()).await;
    drop(import.expect("noted"));
    let refused = copy(&there, &here, &owner, &part, 100).await.expect_err("it lacks most");
    assert!(matches!(refused, ImportRefused::Tree(_)), "{refused}");
    assert!(here.repos.head_blocking(owner.id).expect("reads").is_none(), "nothing is in force");
    std::fs::remove_file(&part).expect("it is still there for whoever drops it");
    copy(&there, &here, &owner, &part, 100).await.expect("from the beginning");
    assert_eq!(here.contents(&owner).await, there.contents(&owner).await);
    for node in [here, there, other] {
        node.close();
    }
}
