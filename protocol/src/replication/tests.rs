use proptest::prelude::*;
use serde_bytes::ByteArray;

use super::rows::{Bound, Place, RowOf, SealedRows, Span, decode_rows, encode_rows};
use super::wire::{Answer, ArchiveOf, Keep, Kept, Of, ProveOf, Pull, Question, RowsOf};
use super::{Effect, Event, Have, Input, Page, Phase, Standby, Stopped};
use crate::data::{Cid, Codec};
use crate::ids::Tid;
use crate::vault::Challenge;

fn rev(number: u64) -> Tid {
    Tid::new(number * 1000, 0)
}

fn have(number: u64) -> Have {
    Have { rev: rev(number), data: Cid::of(Codec::DagCbor, &number.to_be_bytes()) }
}

fn commit(from: u64, to: u64) -> Event {
    Event::Commit { rev: rev(to), since: Some(rev(from)) }
}

fn page(events: &[(u64, Event)], next: u64, at: u64) -> Input {
    Input::Page(Page { events: events.to_vec(), next, head: next, repo: have(at), account: [0; 32], rows: false })
}

fn applied(sequence: u64, at: u64, files: bool) -> Input {
    Input::Applied { sequence, have: have(at), files }
}

fn step(standby: &mut Standby, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    standby.handle(input, &mut effects);
    effects
}

fn following(at: u64) -> Standby {
    let mut standby = Standby::new(Some(have(at)), at, Some([0; 32]));
    step(&mut standby, Input::Missing(false));
    standby
}

#[test]
fn a_copy_is_complete_when_its_files_are_there_too() {
    let mut standby = Standby::new(None, 0, None);
    assert_eq!(standby.begin(), [Effect::FetchAccount, Effect::Copy]);
    step(&mut standby, Input::Stored([0; 32]));
    let copied = step(&mut standby, Input::Copied { have: have(3), sequence: 9 });
    assert_eq!(copied, [Effect::CopyRows, Effect::FetchFiles]);
    assert_eq!(step(&mut standby, Input::Missing(true)), [Effect::FetchFiles]);
    assert_eq!(standby.complete(), 0);
    assert_eq!(step(&mut standby, Input::Missing(false)), [], "not without its private rows");
    assert_eq!(step(&mut standby, Input::RowsCopied(9)), [Effect::Complete(9)]);
    // What the copy brought along is passed over; what follows is applied in order.
    let effects = step(&mut standby, page(&[(8, commit(1, 2)), (10, commit(2, 3)), (11, commit(3, 4))], 11, 4));
    assert_eq!(effects, [Effect::Apply(11)]);
    assert_eq!(step(&mut standby, applied(11, 4, true)), [Effect::FetchFiles]);
    assert_eq!(standby.complete(), 9, "not before it is known that no file is missing");
    assert_eq!(step(&mut standby, Input::Missing(false)), [Effect::Complete(11)]);
    assert_eq!(standby.behind(), 0);
    // What names no files is complete as it is.
    let effects = step(&mut standby, page(&[(12, commit(4, 5)), (13, commit(5, 6))], 13, 6));
    assert_eq!(effects, [Effect::Apply(12), Effect::Apply(13)]);
    assert_eq!(step(&mut standby, applied(12, 5, false)), []);
    assert_eq!(step(&mut standby, applied(13, 6, false)), [Effect::Complete(13)]);
    // Private rows that came along may.
    let mut effects = Vec::new();
    let Input::Page(told) = page(&[(14, commit(6, 7))], 14, 7) else { unreachable!("a page") };
    standby.handle(Input::Page(Page { rows: true, ..told }), &mut effects);
    assert_eq!(effects, [Effect::Apply(14)]);
    assert_eq!(step(&mut standby, applied(14, 7, false)), [Effect::FetchFiles]);
    assert_eq!(step(&mut standby, Input::Missing(false)), [Effect::Complete(14)]);
}

#[test]
fn what_went_further_than_its_successor_gives_way_before_it_is_a_copy() {
    // By clocks that differ, the revision that nobody saw may be greater than the successor's newest.
    let same_tree = Have { rev: rev(6), ..have(5) };
    for here in [have(6), same_tree, Have { rev: rev(5), ..have(6) }] {
        let mut standby = Standby::resuming(here, 3);
        step(&mut standby, page(&[(4, commit(3, 5))], 4, 5));
        step(&mut standby, Input::Missing(false));
        assert_eq!(step(&mut standby, Input::RowsCopied(4)), [], "{here:?} is no copy of the primary's");
        step(&mut standby, page(&[], 4, 5));
        let effects = step(&mut standby, page(&[], 4, 5));
        assert!(effects.contains(&Effect::Copy), "it differs twice: {effects:?}");
        step(&mut standby, Input::Copied { have: have(5), sequence: 4 });
        step(&mut standby, Input::Missing(false));
        assert_eq!(step(&mut standby, Input::RowsCopied(4)), [Effect::Complete(4)]);
    }
}

#[test]
fn a_gap_is_copied_and_a_fork_is_reported() {
    let mut standby = following(3);
    assert_eq!(step(&mut standby, page(&[(4, commit(5, 6))], 4, 6)), [Effect::Copy]);
    let mut standby = following(3);
    let effects = step(&mut standby, page(&[(4, commit(2, 6))], 4, 6));
    let fork = Stopped::Fork { here: have(3), there: rev(6) };
    assert_eq!(effects, [Effect::Report(fork)]);
    assert_eq!(standby.phase(), Phase::Stopped(fork));
    let mut standby = Standby::resuming(have(3), 3);
    assert_eq!(step(&mut standby, page(&[(4, commit(2, 6))], 4, 6)), [Effect::Copy], "of an epoch that is over");
    let mut standby = following(3);
    step(&mut standby, page(&[(4, commit(2, 6))], 4, 6));
    assert_eq!(step(&mut standby, Input::Trimmed), [], "it has stopped");
}

#[test]
fn what_another_epoch_left_is_kept_and_nothing_is_complete_before_the_private_rows_are() {
    let mut standby = Standby::resuming(have(3), 40);
    assert_eq!(standby.begin(), [Effect::FetchAccount, Effect::CopyRows, Effect::FetchFiles]);
    step(&mut standby, Input::Stored([0; 32]));
    step(&mut standby, Input::Missing(false));
    // Private rows were read when the newest event was 90: until the cursor is there, they are a mixture.
    assert_eq!(step(&mut standby, Input::RowsCopied(90)), []);
    let took_over = [(80, Event::Account), (81, Event::Sync { rev: rev(5) })];
    assert_eq!(step(&mut standby, page(&took_over, 81, 5)), [Effect::FetchAccount, Effect::Adopt(81)]);
    assert_eq!(step(&mut standby, applied(81, 5, false)), []);
    assert_eq!(standby.complete(), 0);
    assert_eq!(step(&mut standby, page(&[(90, commit(5, 6))], 90, 6)), [Effect::Apply(90)]);
    assert_eq!(step(&mut standby, applied(90, 6, false)), [Effect::Complete(90)], "nothing was copied whole");
}

#[test]
fn a_difference_counts_when_it_is_told_twice() {
    let mut standby = following(3);
    assert_eq!(step(&mut standby, page(&[], 3, 4)), []);
    assert_eq!(step(&mut standby, page(&[(4, commit(3, 4))], 4, 4)), [Effect::Apply(4)], "it was only on its way");
    assert_eq!(step(&mut standby, applied(4, 4, false)), [Effect::Complete(4)]);
    assert_eq!(step(&mut standby, page(&[], 4, 9)), []);
    assert_eq!(step(&mut standby, page(&[], 4, 9)), [Effect::Copy], "something was missed");
    let mut standby = following(3);
    step(&mut standby, page(&[], 3, 2));
    let effects = step(&mut standby, page(&[], 3, 2));
    assert!(matches!(effects[..], [Effect::Report(Stopped::Fork { .. })]), "an older history is no news: {effects:?}");
}

#[test]
fn what_does_not_verify_stops_it() {
    let mut standby = following(3);
    step(&mut standby, page(&[(4, commit(3, 4))], 4, 4));
    assert_eq!(step(&mut standby, Input::Refused), [Effect::Report(Stopped::Refused)]);
    assert_eq!(standby.complete(), 3);
}

#[test]
fn a_sync_is_adopted_before_what_follows_is_judged() {
    let mut standby = following(3);
    let events = [(4, Event::Sync { rev: rev(5) }), (5, commit(5, 6)), (6, Event::Account)];
    assert_eq!(step(&mut standby, page(&events, 6, 6)), [Effect::Adopt(4)]);
    step(&mut standby, applied(4, 5, false));
    assert_eq!(standby.cursor(), 4, "the rest is asked for again");
    let effects = step(&mut standby, page(&events[1..], 6, 6));
    assert_eq!(effects, [Effect::Apply(5), Effect::FetchAccount]);
}

proptest! {
    /// Whatever comes, it neither panics nor calls complete what it has not applied, and its cursors never fall.
    #[test]
    fn cursors_never_fall(inputs in proptest::collection::vec((0_u8..9, 0_u64..12, 0_u64..12, any::<bool>()), 0..60)) {
        let mut standby = Standby::new(Some(have(1)), 1, None);
        for (kind, a, b, flag) in inputs {
            let before = (standby.cursor(), standby.complete());
            let input = match kind {
                0 => page(&[], a, b),
                1 => page(&[(a, commit(b, b + 1))], a, b + 1),
                2 => page(&[(a, Event::Sync { rev: rev(b) }), (a + 1, Event::Account)], a + 1, b),
                3 => applied(a, b, flag),
                4 => Input::Copied { have: have(b), sequence: a },
                5 => Input::Missing(flag),
                6 => Input::Stored([u8::from(flag); 32]),
                7 => Input::RowsCopied(a),
                _ => Input::Trimmed,
            };
            let effects = step(&mut standby, input);
            prop_assert!(standby.cursor() >= before.0 && standby.complete() >= before.1);
            prop_assert!(standby.complete() <= standby.cursor());
            for effect in effects {
                if let Effect::Complete(at) = effect { prop_assert_eq!(at, standby.complete()) }
            }
        }
    }

    #[test]
    fn random_bytes_are_no_message_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Question::decode(&bytes);
        let _ = Answer::decode(&bytes);
    }
}

#[test]
fn messages_survive_the_wire_and_bounds_hold() {
    let of = Of { tenant: "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("a DID"), epoch: 3 };
    let pull = |recipient| Pull { of: of.clone(), since: 7, complete: 5, wait_ms: 1000, account: [3; 32], recipient };
    let long = Question::Pull(pull("age1".repeat(100)));
    let pull = Question::Pull(pull("age1".to_owned()));
    assert_eq!(Question::decode(&pull.encode().expect("small")).expect("reads"), pull);
    assert!(Question::decode(&long.encode().expect("small")).is_err(), "no key has such a name");
    let after = |bytes| Some(Place { table: 0x50, key: vec![7; bytes] });
    let rows = |after| Question::Rows(RowsOf { of: of.clone(), recipient: None, after });
    let asked = rows(after(40));
    assert_eq!(Question::decode(&asked.encode().expect("small")).expect("reads"), asked);
    assert!(Question::decode(&rows(after(2000)).encode().expect("small")).is_err(), "no row has such a key");
    let prove = |ranges| {
        let challenge = Challenge { archive: [1; 32], nonce: [2; 32], offsets: vec![4096; ranges] };
        Question::Prove(ProveOf { of: of.clone(), challenge })
    };
    assert_eq!(Question::decode(&prove(32).encode().expect("small")).expect("reads"), prove(32));
    for ranges in [0, 33, 100_000] {
        assert!(Question::decode(&prove(ranges).encode().expect("small")).is_err(), "{ranges} ranges are not read");
    }
    let part = Some((ByteArray::new([5; 32]), 7));
    let archive = Question::Archive(ArchiveOf { of: of.clone(), has: Some(ByteArray::new([4; 32])), part });
    assert_eq!(Question::decode(&archive.encode().expect("small")).expect("reads"), archive);
    let kept = Kept { tenant: of.tenant, epoch: 3, sequence: 9 };
    let answer = Answer::Kept { stamp: 5, tenants: vec![kept.clone()] };
    assert_eq!(Answer::decode(&answer.encode().expect("small")).expect("reads"), answer);
    let many = Question::Keep(Keep { tenants: vec![kept; 3000], confirms: None });
    let bytes = serde_ipld_dagcbor::to_vec(&many).expect("encodes");
    assert!(Question::decode(&bytes).is_err(), "more tenants than one message may name");
    assert!(Answer::Piece(vec![0; Answer::BYTES_MAX].into()).encode().is_err());
}

#[test]
fn rows_are_believed_for_what_they_were_signed_for_alone() {
    let key = crate::crypto::NodeKey::from_seed(&[7; 32]);
    let network = "test".parse().expect("a network");
    let tenant = "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("a DID");
    let other = "did:web:other.example".parse().expect("a DID");
    let span = Span::Events { since: 3, next: 9 };
    let bound = Bound { network: &network, tenant: &tenant, epoch: 2, span: &span };
    let row = RowOf { place: Place { table: 0x50, key: vec![1] }, value: vec![1, 2, 3] };
    let opened = encode_rows(std::slice::from_ref(&row)).expect("small");
    assert_eq!(decode_rows(&opened).expect("reads"), [row]);
    let (digest, signature) = bound.sign(&key, &opened);
    let sealed = SealedRows { digest, sealed: vec![9], signature };
    bound.verify(key.public(), &sealed, &opened).expect("it is what was signed");
    assert!(bound.verify(key.public(), &sealed, &opened[1..]).is_err(), "other rows");
    let elsewhere = Bound { tenant: &other, ..bound };
    assert!(elsewhere.verify(key.public(), &sealed, &opened).is_err(), "of another tenant");
    assert!(Bound { epoch: 3, ..bound }.verify(key.public(), &sealed, &opened).is_err(), "in another epoch");
    let older = Span::Events { since: 2, next: 9 };
    assert!(Bound { span: &older, ..bound }.verify(key.public(), &sealed, &opened).is_err(), "of other events");
    let stranger = crate::crypto::NodeKey::from_seed(&[8; 32]);
    assert!(bound.verify(stranger.public(), &sealed, &opened).is_err(), "by another node");
}
