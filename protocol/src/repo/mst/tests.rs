//! The tree against a sorted map and against trees built from scratch.

mod proofs;
mod shape;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::data::{Cid, Codec};
use crate::interop;
use crate::repo::MemoryBlocks;

pub(crate) fn key(text: &str) -> MstKey {
    text.parse().expect("a key")
}

pub(crate) fn value(text: &str) -> Cid {
    Cid::of(Codec::DagCbor, text.as_bytes())
}

/// A tree and where its nodes are kept, as storage would.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) tree: Mst,
    pub(crate) blocks: MemoryBlocks,
}

impl Stored {
    pub(crate) fn empty() -> Self {
        let mut stored = Self { tree: Mst::empty(), blocks: MemoryBlocks::default() };
        stored.commit();
        stored
    }

    pub(crate) fn build<'a>(keys: impl IntoIterator<Item = (&'a MstKey, &'a Cid)>) -> Self {
        let mut stored = Self::empty();
        for (key, value) in keys {
            stored.tree.add(&MemoryBlocks::default(), key, *value).expect("in memory, and new");
        }
        stored.commit();
        stored
    }

    pub(crate) fn commit(&mut self) -> Cid {
        let changes = self.tree.commit();
        for cid in &changes.removed {
            assert!(self.blocks.contains(cid), "removed what was never there: {cid}");
            self.blocks.remove(cid);
        }
        for block in &changes.new {
            assert!(!self.blocks.contains(&block.cid()), "new, yet there already: {block:?}");
            self.blocks.insert(block);
        }
        changes.root
    }

    pub(crate) fn entries(&self, root: Cid) -> BTreeMap<MstKey, Cid> {
        Entries::new(&self.blocks, root).collect::<Result<_, _>>().expect("a sound tree")
    }
}

fn root_of(map: &BTreeMap<MstKey, Cid>) -> Cid {
    Stored::build(map).commit()
}

/// Keys that reach several layers and collide often.
fn any_key() -> impl Strategy<Value = MstKey> {
    prop_oneof![
        (0..60_u32).prop_map(|n| key(&format!("com.example.record/{n}"))),
        (0..2000_u32).prop_map(|n| key(&format!("com.example.post/3k{n:04}"))),
        "[a-c]{1,2}/[a-d]{1,3}".prop_map(|text| key(&text)),
    ]
}

/// An example key of a layer from 0 to 5, from the published list when it is there.
fn tall_keys() -> Vec<MstKey> {
    let published = interop::lines("mst/example_keys.txt");
    if published.is_empty() {
        let ours = (0..20_000).map(|n| key(&format!("tall/{n}")));
        ours.filter(|key| key.layer() >= 4).collect()
    } else {
        published.iter().map(|text| key(text)).collect()
    }
}

fn any_tall_key() -> impl Strategy<Value = MstKey> {
    prop::sample::select(tall_keys())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn behaves_as_a_sorted_map(
        steps in prop::collection::vec((prop_oneof![any_key(), any_tall_key()], 0..3_u8, 0..4_u8), 1..160),
        unload_at in 0..20_usize,
    ) {
        let mut map = BTreeMap::new();
        let mut stored = Stored::empty();
        for (step, (key, action, what)) in steps.into_iter().enumerate() {
            let cid = value(&what.to_string());
            if action == 0 {
                let before = stored.clone();
                let deleted = stored.tree.delete(&stored.blocks, &key).ok();
                prop_assert_eq!(deleted, map.remove(&key));
                if deleted.is_none() {
                    stored = before;
                }
            } else {
                prop_assert_eq!(stored.tree.put(&stored.blocks, &key, cid).expect("readable"), map.insert(key, cid));
            }
            if step % 3 == 0 {
                let root = stored.commit();
                prop_assert_eq!(root, root_of(&map), "step {}", step);
                prop_assert_eq!(&stored.entries(root), &map);
                if step % 20 == unload_at {
                    stored.tree.unload();
                }
            }
        }
        let root = stored.commit();
        prop_assert_eq!(root, root_of(&map));
        // Nothing is kept that the tree does not reach.
        let walk: Vec<_> = Walk::new(&stored.blocks, root).collect::<Result<_, _>>().expect("a sound tree");
        let nodes = walk.iter().filter(|item| matches!(item, WalkItem::Node(_))).count();
        prop_assert_eq!(nodes, stored.blocks.len());
        for (key, cid) in &map {
            prop_assert_eq!(stored.tree.get(&stored.blocks, key).expect("readable"), Some(*cid));
        }
    }

    #[test]
    fn the_order_of_insertion_leaves_no_trace(keys in prop::collection::btree_set(any_key(), 1..80), seed: u64) {
        let map: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), value(key.as_str()))).collect();
        let mut order: Vec<_> = map.iter().collect();
        order.sort_by_key(|(key, _)| value(&format!("{seed}{key}")));
        prop_assert_eq!(Stored::build(order).commit(), root_of(&map));
    }

    #[test]
    fn deleting_leads_back_to_every_earlier_root(keys in prop::collection::btree_set(any_key(), 1..60), seed: u64) {
        let mut order: Vec<_> = keys.into_iter().collect();
        order.sort_by_key(|key| value(&format!("{seed}{key}")));
        let mut stored = Stored::empty();
        let mut roots = vec![stored.commit()];
        for key in &order {
            stored.tree.add(&stored.blocks, key, value("x")).expect("new");
            roots.push(stored.commit());
        }
        for key in order.iter().rev() {
            prop_assert_eq!(Some(stored.commit()), roots.pop());
            stored.tree.delete(&stored.blocks, key).expect("there");
        }
        prop_assert_eq!(stored.commit(), roots[0]);
        prop_assert_eq!(stored.blocks.len(), 1);
    }

    #[test]
    fn a_walk_can_start_anywhere(keys in prop::collection::btree_set(any_key(), 0..60), start in any_key()) {
        let map: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), value(key.as_str()))).collect();
        let mut stored = Stored::build(&map);
        let root = stored.commit();
        let found: Vec<_> = Entries::starting_at(&stored.blocks, root, start.clone()).collect::<Result<_, _>>().expect("sound");
        let expected: Vec<_> = map.range(start..).map(|(key, cid)| (key.clone(), *cid)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_difference_is_what_differs(
        old in prop::collection::btree_map(any_key(), 0..3_u8, 0..60),
        new in prop::collection::btree_map(any_key(), 0..3_u8, 0..60),
    ) {
        let maps = [old, new].map(|map| map.into_iter().map(|(key, v)| (key, value(&v.to_string()))).collect::<BTreeMap<_, _>>());
        let mut trees = maps.each_ref().map(Stored::build);
        let roots = trees.each_mut().map(Stored::commit);
        let mut blocks = trees[0].blocks.clone();
        for cid in trees[1].blocks.cids() {
            blocks.insert(&Block::checked(cid, trees[1].blocks.get(&cid).expect("memory").expect("there")).expect("named"));
        }
        let found = diff(&blocks, Some(roots[0]), Some(roots[1]), 1000).expect("small and sound");
        let mut expected = Vec::new();
        for key in maps[0].keys().chain(maps[1].keys()).collect::<std::collections::BTreeSet<_>>() {
            let (before, after) = (maps[0].get(key).copied(), maps[1].get(key).copied());
            if before != after {
                expected.push(Change { key: key.clone(), before, after });
            }
        }
        prop_assert_eq!(&found.changes, &expected);
        let nodes = trees.each_ref().map(|tree| tree.blocks.cids().collect::<BTreeSet<_>>());
        prop_assert_eq!(found.nodes_added, nodes[1].difference(&nodes[0]).copied().collect());
        prop_assert_eq!(found.nodes_removed, nodes[0].difference(&nodes[1]).copied().collect());
    }
}

#[test]
fn ten_thousand_random_changes_agree_with_a_tree_from_scratch() {
    let mut map = BTreeMap::new();
    let mut stored = Stored::empty();
    let seed = std::env::var("ANGEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121_u64);
    println!("seed {seed}");
    let mut random = seed;
    let mut next = |below: u64| {
        // A linear congruential generator (Knuth); its upper bits are random enough to choose keys.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for step in 0..10_000 {
        let key = key(&format!("com.example.c{}/{}", next(4), next(700)));
        let cid = value(&next(1000).to_string());
        if next(3) == 0 {
            if map.remove(&key).is_some() {
                stored.tree.delete(&stored.blocks, &key).expect("there");
            }
        } else {
            assert_eq!(stored.tree.put(&stored.blocks, &key, cid).expect("readable"), map.insert(key, cid));
        }
        if step % 7 == 0 {
            stored.commit();
        }
        if step % 500 == 0 {
            assert_eq!(stored.commit(), root_of(&map), "step {step} of seed {seed}");
            stored.tree.unload();
        }
    }
    let root = stored.commit();
    assert_eq!((root, stored.entries(root)), (root_of(&map), map.clone()), "seed {seed}");
    for key in map.keys() {
        stored.tree.delete(&stored.blocks, key).expect("there");
    }
    assert_eq!(stored.commit(), Stored::empty().commit());
    assert_eq!(stored.blocks.len(), 1);
}
