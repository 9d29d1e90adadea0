//! Roots that are known from elsewhere, and nodes that must not pass.

use super::*;
use crate::data::cbor::{CborError, Writer};
use crate::repo::mst::key::layer;
use crate::repo::mst::node::Place;

/// A value whose CID the published trees use for every key.
const LEAF: &str = "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454";

fn leaf() -> Cid {
    LEAF.parse().expect("a CID")
}

fn root(keys: &[&str]) -> String {
    let keys: BTreeMap<_, _> = keys.iter().map(|text| (key(text), leaf())).collect();
    root_of(&keys).to_string()
}

#[test]
fn small_trees_have_their_known_roots() {
    assert_eq!(root(&[]), "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
    // From the tests of the reference implementation: one key on layer 0, one on layer 2, five of layers 0 and 1.
    assert_eq!(
        root(&["com.example.record/3jqfcqzm3fo2j"]),
        "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu"
    );
    assert_eq!(
        root(&["com.example.record/3jqfcqzm3fx2j"]),
        "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai"
    );
    let five = ["3fp", "3fr", "3fs", "3ft", "4fc"].map(|middle| format!("com.example.record/3jqfcqzm{middle}2j"));
    assert_eq!(
        root(&five.each_ref().map(String::as_str)),
        "bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m"
    );
    // Before and after the first published commit.
    assert_eq!(
        root(&["A0/374913", "B0/601692", "D0/952776", "E0/670489"]),
        "bafyreialm5sgf7pijawbschsjpdevid5rss5ip3d4n4w6cc4mhu53sfl4i"
    );
    assert_eq!(
        root(&["A0/374913", "B0/601692", "C2/014073", "D0/952776", "E0/670489"]),
        "bafyreibxh4iztp5l2yshz3ectg2qjpeyprpw2gogao3pvceowpq3k3thya"
    );
}

#[test]
fn an_empty_tree_is_one_empty_node() {
    let mut stored = Stored::empty();
    stored.tree.add(&stored.blocks, &key("a/b"), leaf()).expect("new");
    stored.commit();
    stored.tree.delete(&stored.blocks, &key("a/b")).expect("there");
    let root = stored.commit();
    assert_eq!(root, Stored::empty().commit());
    assert_eq!(stored.entries(root), BTreeMap::new());
}

#[test]
fn changes_that_are_not_possible_are_refused() {
    let mut stored = Stored::build([(&key("a/b"), &leaf())]);
    assert!(matches!(stored.clone().tree.add(&stored.blocks, &key("a/b"), leaf()), Err(MstError::Exists(_))));
    assert!(matches!(stored.clone().tree.update(&stored.blocks, &key("a/c"), leaf()), Err(MstError::NotFound(_))));
    assert!(matches!(stored.clone().tree.delete(&stored.blocks, &key("a/c")), Err(MstError::NotFound(_))));
    let missing = Mst::open(value("no such node")).get(&stored.blocks, &key("a/b"));
    assert!(matches!(missing, Err(MstError::MissingBlock(cid)) if cid == value("no such node")));
    assert!(matches!(
        diff(&stored.blocks.clone(), None, Some(stored.commit()), 0),
        Err(MstError::TooManyDifferences(0))
    ));
}

#[test]
fn a_node_does_not_grow_without_end() {
    let same_layer = (0..).map(|n| key(&format!("a/{n}"))).filter(|key| key.layer() == 0);
    let keys: BTreeMap<_, _> = same_layer.take(MST_NODE_ENTRIES_MAX).map(|key| (key, leaf())).collect();
    let stored = Stored::build(&keys);
    let one_more = (0..).map(|n| key(&format!("b/{n}"))).find(|key| key.layer() == 0).expect("there are many");
    let refused = stored.tree.clone().add(&stored.blocks, &one_more, leaf());
    assert!(matches!(refused, Err(MstError::NodeTooLarge(key)) if key == one_more));

    // Taking out the only key above two full halves would join them.
    let above = (0..).map(|n| key(&format!("aa/{n}"))).find(|key| key.layer() == 1).expect("there are many");
    let mut halves = stored;
    halves.tree.add(&halves.blocks, &above, leaf()).expect("on a layer of its own");
    halves.tree.add(&halves.blocks, &one_more, leaf()).expect("in a node of its own");
    assert!(matches!(halves.tree.delete(&halves.blocks, &above), Err(MstError::NodeTooLarge(_))));
}

/// One entry of a node that a test writes by hand.
struct Written<'a> {
    shared: i64,
    suffix: &'a str,
    right: Option<Cid>,
}

fn node(left: Option<Cid>, entries: &[Written<'_>]) -> Block {
    let mut writer = Writer::default();
    writer.map(2);
    writer.text("e");
    writer.list(entries.len());
    for entry in entries {
        writer.map(4);
        writer.text("k");
        writer.bytes(entry.suffix.as_bytes());
        writer.text("p");
        writer.integer(entry.shared);
        writer.text("t");
        writer.link_or_null(entry.right);
        writer.text("v");
        writer.link(leaf());
    }
    writer.text("l");
    writer.link_or_null(left);
    Block::new(Codec::DagCbor, writer.into_bytes())
}

fn plain<'a>(keys: &[&'a str]) -> Vec<Written<'a>> {
    let mut last = "";
    let mut entries = Vec::new();
    for text in keys {
        let shared = common_prefix(last.as_bytes(), text.as_bytes());
        entries.push(Written { shared: i64::try_from(shared).expect("short"), suffix: &text[shared..], right: None });
        last = text;
    }
    entries
}

/// What a walk over the tree under the last of `blocks` finds wrong.
fn reason(blocks: &[Block]) -> Option<NodeError> {
    let source: MemoryBlocks = blocks.iter().collect();
    let root = blocks.last().expect("a root").cid();
    match Walk::new(&source, root).find_map(Result::err) {
        Some(MstError::Node { reason, .. }) => Some(reason),
        Some(other) => panic!("{other}"),
        None => None,
    }
}

#[test]
fn nodes_out_of_shape_are_refused_by_reason() {
    // The second character of each key is its layer.
    assert_eq!([layer(b"A0/374913"), layer(b"C2/014073"), layer(b"B1/986427")], [0, 2, 1]);
    let zero = node(None, &plain(&["A0/374913", "B0/601692"]));
    assert_eq!(reason(std::slice::from_ref(&zero)), None);

    assert_eq!(reason(&[node(None, &plain(&["B0/601692", "A0/374913"]))]), Some(NodeError::Order));
    assert_eq!(reason(&[node(None, &plain(&["A0/374913", "A0/374913"]))]), Some(NodeError::Order));
    assert_eq!(reason(&[node(None, &plain(&["A0/374913", "C2/014073"]))]), Some(NodeError::Layer));
    assert_eq!(reason(&[zero.clone(), node(Some(zero.cid()), &[])]), Some(NodeError::Empty));
    let bottom = node(Some(zero.cid()), &plain(&["D0/952776"]));
    assert_eq!(reason(&[zero.clone(), bottom]), Some(NodeError::Bottom));
    // On layer 2 the subtree has to be of layer 1.
    let skipping = node(Some(zero.cid()), &plain(&["C2/014073"]));
    assert_eq!(reason(&[zero.clone(), skipping]), Some(NodeError::Layer));
    let between = node(Some(zero.cid()), &[]);
    assert_eq!(reason(&[zero.clone(), between.clone(), node(Some(between.cid()), &plain(&["C2/014073"]))]), None);
    let empty = node(None, &[]);
    assert_eq!(reason(&[empty.clone(), node(Some(empty.cid()), &plain(&["C2/014073"]))]), Some(NodeError::Empty));
    // The subtree to the right holds keys that belong to the left.
    let mut crossed = plain(&["C2/014073"]);
    crossed[0].right = Some(between.cid());
    assert_eq!(reason(&[zero.clone(), between, node(None, &crossed)]), Some(NodeError::Order));

    let with = |shared, suffix| {
        [Written { shared: 0, suffix: "A0/374913", right: None }, Written { shared, suffix, right: None }]
    };
    assert_eq!(reason(&[node(None, &with(10, "B0/601692"))]), Some(NodeError::Prefix));
    assert_eq!(reason(&[node(None, &with(-1, "B0/601692"))]), Some(NodeError::Prefix));
    assert_eq!(
        reason(&[node(None, &[Written { shared: 1, suffix: "A0/374913", right: None }])]),
        Some(NodeError::Prefix)
    );
    assert_eq!(reason(&[node(None, &with(1, "0/374914"))]), Some(NodeError::Prefix));
    let no_key = node(None, &[Written { shared: 0, suffix: "noslash", right: None }]);
    assert_eq!(reason(&[no_key]), Some(NodeError::Key(InvalidMstKey::Form)));
    let trailing = Block::new(Codec::DagCbor, [&zero.bytes()[..], &[0]].concat());
    assert_eq!(reason(&[trailing]), Some(NodeError::Cbor(CborError::Trailing)));
    assert_eq!(reason(&[Block::new(Codec::DagCbor, vec![0xa0])]), Some(NodeError::Cbor(CborError::Type)));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, keys in prop::collection::btree_set(any_key(), 1..12), at: prop::sample::Index, byte: u8) {
        let _ = Node::decode(&bytes, &Place::default());
        let map: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), leaf())).collect();
        let mut stored = Stored::build(&map);
        let root = stored.commit();
        let mut altered = stored.blocks.get(&root).expect("memory").expect("there").to_vec();
        let at = at.index(altered.len());
        altered[at] = byte;
        // Whatever still decodes is what it encodes to: one tree, one root.
        if let Ok(node) = Node::decode(&altered, &Place::default()) {
            let encoded = node.encode();
            prop_assert_eq!(&encoded.bytes()[..], &altered[..]);
        }
    }
}
