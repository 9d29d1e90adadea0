//! Repositories as a whole: given out, checked, and gone through; and proofs of one record.

use super::*;

#[test]
fn an_export_is_the_whole_repository_in_order() {
    let mut host = Host::filled(50);
    host.write(vec![Write::Delete { path: path(7) }], 99);
    let pieces: Vec<_> = Export::new(&host.blocks, host.repository.head()).collect::<Result<_, _>>().expect("whole");
    let (roots, blocks) =
        car::decode(&pieces.concat(), CarLimits { bytes_max: 1 << 20, blocks_max: 1000 }).expect("sound");
    assert_eq!(roots, [host.repository.head().cid()]);
    assert_eq!(blocks.iter().collect::<MemoryBlocks>(), host.blocks);
    assert_eq!(blocks[0].cid(), host.repository.head().cid());
    assert_eq!(blocks[1].cid(), host.repository.head().data());
    // Each node ahead of what it points to.
    let place: BTreeMap<_, _> = blocks.iter().enumerate().map(|(at, block)| (block.cid(), at)).collect();
    for (at, block) in blocks.iter().enumerate() {
        let value = cbor::decode(block.bytes()).expect("canonical");
        let mut links = Vec::new();
        collect_links(&value, &mut links);
        assert!(links.iter().all(|cid| place[cid] > at));
    }
    let mut broken = host.clone();
    broken.blocks.remove(&record("8").cid());
    let error = Export::new(&broken.blocks, broken.repository.head()).find_map(Result::err);
    assert!(matches!(error, Some(MstError::MissingBlock(cid)) if cid == record("8").cid()));
}

fn collect_links(value: &Value, links: &mut Vec<Cid>) {
    match value {
        Value::Link(cid) => links.push(*cid),
        Value::List(items) => items.iter().for_each(|item| collect_links(item, links)),
        Value::Map(map) => map.values().for_each(|item| collect_links(item, links)),
        _ => {}
    }
}

#[test]
fn a_whole_repository_is_checked_to_its_last_record() {
    let host = Host::filled(120);
    let head = host.repository.head();
    let key = signing_key().public();
    let mut seen = Vec::new();
    let totals = verify_repository(&host.blocks, head, &did(), key, 120, |found| {
        if let Found::Record(key, block) = found {
            seen.push((key.clone(), block.cid()));
        }
        Ok::<_, ImportError>(())
    })
    .expect("whole");
    assert_eq!(totals.records, 120);
    assert_eq!(totals.nodes + totals.records + 1, host.blocks.len() as u64);
    let listed: Vec<_> =
        super::mst::Entries::new(&host.blocks, head.data()).collect::<Result<_, _>>().expect("a sound tree");
    assert_eq!(seen, listed);

    let refused = |blocks: &MemoryBlocks, did: &Did, key, records_max| {
        verify_repository(blocks, head, did, key, records_max, |_| Ok::<_, ImportError>(())).expect_err("not whole")
    };
    let other_did: Did = "did:plc:other".parse().expect("valid");
    let other_key = P256Key::from_bytes(&[9; 32]).map(SigningKey::from).expect("a scalar").public();
    assert!(matches!(refused(&host.blocks, &other_did, key, 120), ImportError::OtherAccount(_)));
    assert!(matches!(refused(&host.blocks, &did(), other_key, 120), ImportError::Signature(_)));
    assert!(matches!(refused(&host.blocks, &did(), key, 119), ImportError::TooManyRecords(119)));
    for cid in host.blocks.cids().filter(|cid| *cid != head.cid()) {
        let mut short = host.blocks.clone();
        short.remove(&cid);
        let error = refused(&short, &did(), key, 120);
        let named = match &error {
            ImportError::MissingRecord { cid: missing, .. } => *missing == cid,
            ImportError::Tree(MstError::MissingBlock(missing)) => *missing == cid,
            _ => false,
        };
        assert!(named, "{error}");
    }
}

#[test]
fn a_stored_tree_is_gone_through_like_any_other() {
    use super::mst::{StoredStep, StoredSteps};

    let host = Host::filled(400);
    let root = host.repository.head().data();
    let mut steps = StoredSteps::new(root);
    for item in Walk::new(&host.blocks, root).map(|item| item.expect("a sound tree")) {
        match (steps.next().expect("as long as the walk"), item) {
            (StoredStep::Node(cid), WalkItem::Node(node)) if cid == node.cid() => {
                steps.enter(node.bytes()).expect("a node");
            }
            (StoredStep::Record(key, cid), WalkItem::Record(other, other_cid)) => {
                assert_eq!((key, cid), (other.as_str(), other_cid));
            }
            (step, item) => panic!("{step:?} and {item:?}"),
        }
    }
    assert_eq!(steps.next(), None);
    // A subtree ends at the first key behind it, whether it is entered or passed over.
    let keys: Vec<_> = Walk::new(&host.blocks, root)
        .filter_map(|item| match item.expect("a sound tree") {
            WalkItem::Record(key, _) => Some(key.as_str().to_owned()),
            WalkItem::Node(_) => None,
        })
        .collect();
    for passed in 0..20 {
        let mut steps = StoredSteps::new(root);
        let (mut nodes, mut end, mut last) = (0, None, String::new());
        while let Some(step) = steps.next() {
            match step {
                StoredStep::Node(cid) => {
                    nodes += 1;
                    if nodes == passed + 2 {
                        end = steps.end_of_named().map(ToOwned::to_owned);
                        let after: Vec<_> = std::iter::from_fn(|| {
                            steps.next().map(|step| match step {
                                StoredStep::Record(key, _) => Some(key.to_owned()),
                                StoredStep::Node(_) => None,
                            })
                        })
                        .collect();
                        assert_eq!(after.into_iter().flatten().next(), end, "behind node {passed}, after {last}");
                        break;
                    }
                    steps.enter(host.blocks.block(&cid).expect("stored").bytes()).expect("a node");
                }
                StoredStep::Record(key, _) => key.clone_into(&mut last),
            }
        }
        assert!(end.is_none_or(|end| keys.contains(&end) && end > last));
    }
    // The root alone: what is not entered is passed over.
    let mut steps = StoredSteps::new(root);
    assert_eq!(steps.next().expect("a root"), StoredStep::Node(root));
    steps.enter(host.blocks.block(&root).expect("stored").bytes()).expect("a node");
    let mut named = Vec::new();
    while let Some(step) = steps.next() {
        named.push(matches!(step, StoredStep::Node(_)));
    }
    assert!(named.contains(&true) && named.contains(&false) && named.len() < 100, "{named:?}");
    // What is no node is an error even so, and a tree that leads back to itself ends.
    let mut steps = StoredSteps::new(root);
    steps.next();
    assert!(matches!(steps.enter(b"none"), Err(MstError::Node { .. })));
    let mut steps = StoredSteps::new(root);
    let mut depth = 0;
    let node = host.blocks.block(&root).expect("stored");
    while let Some(step) = steps.next() {
        if matches!(step, StoredStep::Node(_)) && steps.enter(node.bytes()).is_err() {
            break;
        }
        depth += 1;
        assert!(depth < 10_000, "it has no end");
    }
}

#[test]
fn steps_pass_over_what_is_not_entered() {
    let host = Host::filled(120);
    let root = host.repository.head().data();
    let whole = Walk::new(&host.blocks, root).map(|item| item.expect("a sound tree"));
    let mut steps = Steps::new(root);
    for item in whole {
        match (steps.next().expect("as long as the walk"), item) {
            (Step::Node(cid), WalkItem::Node(node)) if cid == node.cid() => {
                steps.enter(node.bytes()).expect("a node");
            }
            (Step::Record(key, cid), WalkItem::Record(other, other_cid)) => assert_eq!((key, cid), (other, other_cid)),
            (step, item) => panic!("{step:?} and {item:?}"),
        }
    }
    assert_eq!(steps.next(), None);
    // The root alone: its own records, and the names of its subtrees.
    let mut steps = Steps::new(root);
    assert_eq!(steps.next(), Some(Step::Node(root)));
    steps.enter(host.blocks.block(&root).expect("stored").bytes()).expect("a node");
    let rest: Vec<_> = steps.by_ref().collect();
    let subtrees = rest.iter().filter(|step| matches!(step, Step::Node(_))).count();
    assert!(subtrees > 0 && rest.len() > subtrees && rest.len() < 60, "{rest:?}");
    assert!(matches!(Steps::new(root).enter(b"none"), Err(MstError::Node { .. })));
    // Node by node, in any order, the records are the same.
    let nodes = Walk::new(&host.blocks, root).filter_map(|item| match item.expect("a sound tree") {
        WalkItem::Node(node) => Some(node),
        WalkItem::Record(..) => None,
    });
    let mut records: Vec<_> = nodes.flat_map(|node| super::mst::records_of(node.bytes()).expect("a node")).collect();
    records.sort();
    let listed: Vec<_> = super::mst::Entries::new(&host.blocks, root).collect::<Result<_, _>>().expect("a sound tree");
    assert_eq!(records, listed);
}

#[test]
fn one_record_can_be_proved_to_be_there_or_not() {
    let host = Host::filled(200);
    let head = host.repository.head();
    for n in [0, 17, 199, 200, 1000] {
        let key = MstKey::try_from(&path(n)).expect("a key");
        let file = export_record(&host.blocks, head, &key).expect("whole");
        let (commit, found) = verify_record(&file, &did(), &key, signing_key().public()).expect("proved");
        assert_eq!(&commit, head);
        assert_eq!(found, (n < 200).then(|| record(&n.to_string())));
    }
    let key = MstKey::try_from(&path(17)).expect("a key");
    let file = export_record(&host.blocks, head, &key).expect("whole");
    let refused = |file: &[u8], did: &Did, key: &MstKey, signer: &SigningKey| {
        verify_record(file, did, key, signer.public()).expect_err("not proved")
    };
    let other_key = MstKey::try_from(&path(18)).expect("a key");
    let other_did: Did = "did:plc:other".parse().expect("valid");
    let other_signer = SigningKey::from(P256Key::from_bytes(&[9; 32]).expect("a scalar"));
    assert!(matches!(refused(&file, &other_did, &key, &signing_key()), RecordProofError::OtherAccount(_)));
    assert!(matches!(refused(&file, &did(), &key, &other_signer), RecordProofError::Signature(_)));
    assert!(matches!(refused(&[], &did(), &key, &signing_key()), RecordProofError::Car(_)));
    assert!(matches!(
        refused(&file, &did(), &other_key, &signing_key()),
        RecordProofError::Tree(MstError::MissingBlock(_)) | RecordProofError::MissingRecord(_)
    ));
}
