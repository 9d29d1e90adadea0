//! The tree against a slow one that is written from its definition.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::super::view::{Changes, MemoryView, View};
use super::{EMPTY, Hash, bit, inner_hash, leaf_hash, path_of, prove, root, update};
use crate::ledger::tests::random::Random;

/// The root by definition: nothing is zeros, one row is its leaf, more are the hash of two halves.
fn slow_root(rows: &[(Hash, Hash)], depth: usize) -> Hash {
    match rows {
        [] => EMPTY,
        [(path, value)] => leaf_hash(path, value),
        _ => {
            let (left, right): (Vec<_>, Vec<_>) = rows.iter().copied().partition(|(path, _)| !bit(path, depth));
            inner_hash(&slow_root(&left, depth + 1), &slow_root(&right, depth + 1))
        }
    }
}

struct Pair {
    view: MemoryView,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Pair {
    fn change(&mut self, batch: BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
        let mut changes = Changes::new();
        let mut leaves = Vec::new();
        for (key, value) in batch {
            leaves.push((path_of(&key), value.as_deref().map(|value| Sha256::digest(value).into())));
            match &value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(&key),
            };
            changes.insert(key, value);
        }
        leaves.sort_unstable();
        let new = update(&self.view, &leaves, &mut changes).expect("memory reads");
        self.view.write(changes);
        let slow: Vec<_> = self.rows.iter().map(|(key, value)| (path_of(key), Sha256::digest(value).into())).collect();
        assert_eq!(new, slow_root(&slow, 0));
        assert_eq!(new, root(&self.view).expect("memory reads"));
    }
}

#[test]
fn any_changes_lead_to_the_root_by_definition() {
    let seed = Random::seed_from_env();
    let mut random = Random::new(seed);
    for _ in 0..20 {
        let mut pair = Pair { view: MemoryView::new(), rows: BTreeMap::new() };
        for _ in 0..30 {
            let mut batch = BTreeMap::new();
            for _ in 0..random.below(40) {
                let key = vec![0x10, u8::try_from(random.below(100)).expect("small")];
                let value = (!random.one_in(3)).then(|| random.next().to_be_bytes().to_vec());
                batch.insert(key, value);
            }
            pair.change(batch);
        }
        // The pages are those of a tree that was built at once: nothing stale stays behind.
        let mut fresh = Pair { view: MemoryView::new(), rows: BTreeMap::new() };
        fresh.change(pair.rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect());
        let pages = |view: &MemoryView| -> Vec<(Vec<u8>, Vec<u8>)> {
            view.rows().filter(|(_, value)| value.len() > 16).map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
        };
        assert_eq!(pages(&pair.view), pages(&fresh.view), "seed {seed}");
    }
}

#[test]
fn presence_and_absence_are_proved_and_nothing_else_is() {
    let seed = Random::seed_from_env();
    let mut random = Random::new(seed);
    for size in [0, 1, 2, 3, 17, 300] {
        let mut pair = Pair { view: MemoryView::new(), rows: BTreeMap::new() };
        let batch = (0..size).map(|_| (random.next().to_be_bytes().to_vec(), Some(vec![7; 9])));
        pair.change(batch.map(|(key, value)| ([&[0x10], key.as_slice()].concat(), value)).collect());
        let root = root(&pair.view).expect("memory reads");
        for (key, value) in pair.rows.iter().take(50) {
            let proof = prove(&pair.view, key).expect("memory reads");
            assert_eq!(proof.verify(&root, key, Some(value)), Ok(()));
            assert!(proof.verify(&root, key, Some(b"another")).is_err(), "seed {seed}");
            assert!(proof.verify(&root, key, None).is_err(), "seed {seed}");
            assert!(proof.verify(&[1; 32], key, Some(value)).is_err(), "seed {seed}");
            assert!(proof.verify(&root, b"\x10other", Some(value)).is_err(), "seed {seed}");
        }
        for _ in 0..50 {
            let key = [&[0x11], random.next().to_be_bytes().as_slice()].concat();
            let proof = prove(&pair.view, &key).expect("memory reads");
            assert_eq!(proof.verify(&root, &key, None), Ok(()), "seed {seed}");
            assert!(proof.verify(&root, &key, Some(&[7; 9])).is_err(), "seed {seed}");
            // A proof of absence is not one for a row that is there.
            for present in pair.rows.keys().take(5) {
                assert!(proof.verify(&root, present, None).is_err(), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_damaged_page_stops_everything() {
    let mut view = MemoryView::new();
    view.write(Changes::from([(vec![0, 0], Some(vec![9, 9]))]));
    assert!(root(&view).is_err());
    assert!(view.get(&[0, 0]).expect("memory reads").is_some());
}
