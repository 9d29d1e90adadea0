//! Catching up with a peer: asking, answering, and not being led astray by either.

use serde_bytes::ByteArray;

use super::*;
use crate::limits::{REGISTRY_PAGE_ENVELOPES_MAX, REGISTRY_PAGES_MAX};
use crate::wire::registry::{RegistryPage, RegistryRequest};

/// Hands `heartbeats` to `node` as a page of `peer`, as a driver does.
pub(super) fn answer(node: &mut Node, peer: &Did, heartbeats: &[Arc<VerifiedHeartbeat>]) -> Vec<Effect> {
    let mut heartbeats = heartbeats.to_vec();
    heartbeats.sort_by_key(|heartbeat| heartbeat.head().key);
    let envelopes = heartbeats.iter().map(|heartbeat| Arc::clone(heartbeat.bytes())).collect();
    answer_page(node, peer, &RegistryPage { envelopes, next: None })
}

fn answer_page(node: &mut Node, peer: &Did, page: &RegistryPage) -> Vec<Effect> {
    let page = node.state.sift(node.now, page).verify();
    node.feed(Input::RegistryReceived { peer: peer.clone(), page })
}

fn requests(effects: &[Effect]) -> Vec<(Did, Option<[u8; 32]>)> {
    let requests = effects.iter().filter_map(|effect| match effect {
        Effect::RequestRegistry { peer, request } => Some((peer.clone(), request.after.map(ByteArray::into_array))),
        _ => None,
    });
    requests.collect()
}

fn ask(node: &mut Node, peer: &Did, request: RegistryRequest) -> RegistryPage {
    let effects = node.feed(Input::RegistryRequested { peer: peer.clone(), request_id: 7, request });
    let pages = effects.into_iter().filter_map(|effect| match effect {
        Effect::AnswerRegistry { request_id: 7, page } => Some(page),
        _ => None,
    });
    pages.last().expect("every request is answered")
}

#[test]
fn a_new_peer_is_asked_and_its_page_believed_heartbeat_by_heartbeat() {
    let (mut node, peer) = (Node::new(), Other::new(1));
    let effects = node.feed(Input::PeerConnected(peer.did()));
    assert_eq!(requests(&effects), [(peer.did(), None)]);
    let mut others: Vec<Other> = (2..10).map(Other::new).collect();
    let heartbeats: Vec<_> = others.iter_mut().map(|other| other.beat(START)).collect();
    let effects = answer(&mut node, &peer.did(), &heartbeats);
    assert_eq!(events(&effects).len(), 8);
    let again = answer(&mut node, &peer.did(), &heartbeats);
    assert!(again.is_empty(), "nobody asked a second time");
}

#[test]
fn a_forged_envelope_is_the_peers_fault_and_changes_nothing() {
    let (mut node, peer, mut other) = (Node::new(), Other::new(1), Other::new(2));
    node.feed(Input::PeerConnected(peer.did()));
    let mut bytes = other.beat(START).bytes().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let page = RegistryPage { envelopes: vec![bytes.into()], next: None };
    let verified = node.state.sift(START, &page).verify();
    assert!(verified.invalid().is_some());
    node.feed(Input::RegistryReceived { peer: peer.did(), page: verified });
    assert!(node.state.is_empty());
}

#[test]
fn one_envelope_per_node_and_in_order() {
    let (node, mut other) = (Node::new(), Other::new(1));
    let envelopes = vec![other.beat(START).bytes().clone(), other.beat(START).bytes().clone()];
    let sifted = node.state.sift(START, &RegistryPage { envelopes, next: None });
    assert_eq!(sifted.news(), 1);
    assert!(sifted.verify().invalid().is_some());
}

#[test]
fn what_is_known_costs_no_signature_check() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    let heartbeat = other.beat(START);
    node.hear(heartbeat.clone());
    let page = RegistryPage { envelopes: vec![heartbeat.bytes().clone()], next: None };
    assert_eq!(node.state.sift(START, &page).news(), 0);
}

#[test]
fn an_old_heartbeat_of_an_unknown_node_is_a_hint_where_to_find_it() {
    let (mut node, peer, mut other) = (Node::new(), Other::new(1), Other::new(2));
    node.feed(Input::PeerConnected(peer.did()));
    let effects = answer(&mut node, &peer.did(), &[other.beat(START - secs(400))]);
    let hint = Effect::Discovered { did: other.did(), addresses: other.body.listen_addresses.clone() };
    assert_eq!(effects, [hint]);
    assert!(node.state.is_empty());
}

#[test]
fn a_kept_heartbeat_does_not_make_its_issuer_younger() {
    let (mut node, peer, mut other) = (Node::new(), Other::new(1), Other::new(2));
    node.pass(secs(100));
    node.feed(Input::PeerConnected(peer.did()));
    let kept = other.beat(node.now - secs(80));
    answer(&mut node, &peer.did(), &[kept]);
    assert_eq!(node.status(&other), Some(Status::Online));
    node.pass(secs(12));
    assert_eq!(node.status(&other), Some(Status::Degraded));
}

#[test]
fn pages_are_followed_to_the_end_and_no_further() {
    let (mut node, peer) = (Node::new(), Other::new(1));
    node.feed(Input::PeerConnected(peer.did()));
    for page in 1..REGISTRY_PAGES_MAX {
        let next = [u8::try_from(page).expect("small"); 32];
        let effects = answer_page(&mut node, &peer.did(), &RegistryPage { envelopes: vec![], next: Some(next) });
        assert_eq!(requests(&effects), [(peer.did(), Some(next))]);
    }
    let endless = RegistryPage { envelopes: vec![], next: Some([99; 32]) };
    assert!(requests(&answer_page(&mut node, &peer.did(), &endless)).is_empty());
}

#[test]
fn a_page_holds_no_more_than_it_may_and_the_next_goes_on() {
    let mut node = Node::new();
    let asker = Other::new(1).did();
    node.feed(Input::PeerConnected(asker.clone()));
    let mut seed = [3; 32];
    for number in 0..300_u16 {
        seed[..2].copy_from_slice(&number.to_be_bytes());
        let body = Heartbeat::of(profile(&format!("many-{number}")));
        let key = NodeKey::from_seed(&seed);
        let heartbeat = VerifiedHeartbeat::seal(&key, &network(), 1, START, body).expect("within bounds");
        node.hear(Arc::new(heartbeat));
    }
    let first = ask(&mut node, &asker, RegistryRequest::default());
    assert_eq!(first.envelopes.len(), REGISTRY_PAGE_ENVELOPES_MAX);
    let after = first.next.map(ByteArray::new);
    let second = ask(&mut node, &asker, RegistryRequest { after, ..RegistryRequest::default() });
    assert_eq!((second.envelopes.len(), second.next), (301 - REGISTRY_PAGE_ENVELOPES_MAX, None), "its own among them");
    let distinct: BTreeSet<_> = first.envelopes.iter().chain(&second.envelopes).collect();
    assert_eq!(distinct.len(), 301);
}

#[test]
fn two_who_see_the_same_are_done_at_once() {
    let (mut node, mut other) = (Node::new(), Other::new(1));
    node.feed(Input::PeerConnected(other.did()));
    node.hear(other.beat(START));
    let mut digest = key(0).public().to_bytes();
    digest.iter_mut().zip(key(1).public().to_bytes()).for_each(|(sum, byte)| *sum ^= byte);
    let same = RegistryRequest { after: None, digest: ByteArray::new(digest) };
    assert_eq!(ask(&mut node, &other.did(), same), RegistryPage::default());
    assert_eq!(ask(&mut node, &other.did(), RegistryRequest::default()).envelopes.len(), 2);
}

#[test]
fn who_asks_too_much_gets_empty_pages() {
    let (mut node, peer) = (Node::new(), Other::new(1).did());
    let empty = RegistryPage::default();
    assert_eq!(ask(&mut node, &peer, RegistryRequest::default()), empty, "not connected");
    node.feed(Input::PeerConnected(peer.clone()));
    let answers: Vec<_> = (0..50).map(|_| ask(&mut node, &peer, RegistryRequest::default())).collect();
    assert!(answers.iter().filter(|page| **page != empty).count() <= 20);
    node.pass(secs(11));
    assert_ne!(ask(&mut node, &peer, RegistryRequest::default()), empty);
}

#[test]
fn a_peer_that_does_not_answer_is_asked_again_later() {
    let (mut node, peer) = (Node::new(), Other::new(1).did());
    node.feed(Input::PeerConnected(peer.clone()));
    assert!(!requests(&node.pass(secs(180))).is_empty());
    node.feed(Input::RegistryFailed { peer: peer.clone() });
    assert!(!requests(&node.pass(secs(180))).is_empty());
    node.feed(Input::PeerDisconnected(peer));
    assert!(requests(&node.pass(secs(180))).is_empty());
}
