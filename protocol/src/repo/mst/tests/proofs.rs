//! What a holder of a few nodes can check.

use super::*;

#[test]
fn a_proof_shows_presence_and_absence() {
    let keys: Vec<_> = (0..400).map(|n| key(&format!("com.example.post/{n}"))).collect();
    let map: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), value(key.as_str()))).collect();
    let mut stored = Stored::build(&map);
    let root = stored.commit();
    for n in 0..800 {
        let key = key(&format!("com.example.post/{n}"));
        let (found, nodes) = prove(&stored.blocks, root, &key).expect("sound");
        assert_eq!(found, map.get(&key).copied());
        let proof: MemoryBlocks = nodes.iter().collect();
        assert_eq!(get(&proof, root, &key).expect("complete"), found);
        // Without its last node the proof proves nothing.
        let short: MemoryBlocks = nodes[..nodes.len() - 1].iter().collect();
        assert!(matches!(get(&short, root, &key), Err(MstError::MissingBlock(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn undoing_changes_leads_back(
        before in prop::collection::btree_map(prop_oneof![any_key(), any_tall_key()], 0..3_u8, 0..60),
        after in prop::collection::btree_map(prop_oneof![any_key(), any_tall_key()], 0..3_u8, 0..12),
        deleted in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let old: BTreeMap<_, _> = before.into_iter().map(|(key, v)| (key, value(&v.to_string()))).collect();
        let mut new = old.clone();
        for at in deleted {
            if let Some(key) = new.keys().nth(at.index(new.len().max(1))).cloned() {
                new.remove(&key);
            }
        }
        new.extend(after.into_iter().map(|(key, v)| (key, value(&v.to_string()))));
        let (mut old_tree, mut new_tree) = (Stored::build(&old), Stored::build(&new));
        let (old_root, new_root) = (old_tree.commit(), new_tree.commit());
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
        let change = |key: MstKey| Change { before: old.get(&key).copied(), after: new.get(&key).copied(), key };
        let changes: Vec<_> = keys.into_iter().map(change).filter(|change| change.before != change.after).collect();
        let mut undone = Mst::open(new_root);
        undone.undo(&new_tree.blocks, &changes).expect("what was done");
        prop_assert_eq!(undone.commit().root, old_root);
    }
}

#[test]
fn undoing_what_was_not_done_fails() {
    let mut stored = Stored::build([(&key("a/a"), &value("1"))]);
    let root = stored.commit();
    let undo = |text: &str, before: Option<&str>, after: Option<&str>| {
        let change = Change { key: key(text), before: before.map(value), after: after.map(value) };
        Mst::open(root).undo(&stored.blocks, &[change])
    };
    assert!(undo("a/a", None, Some("1")).is_ok());
    assert!(undo("a/a", Some("2"), Some("1")).is_ok());
    assert!(undo("a/b", Some("2"), None).is_ok());
    assert!(matches!(undo("a/a", None, Some("2")), Err(MstError::OtherValue(_))));
    assert!(matches!(undo("a/a", Some("2"), Some("2")), Err(MstError::OtherValue(_))));
    assert!(matches!(undo("a/a", Some("2"), None), Err(MstError::OtherValue(_))));
    assert!(matches!(undo("a/b", None, Some("1")), Err(MstError::NotFound(_))));
}
