//! The index on a real store.

use std::collections::BTreeSet;

use angel_protocol::data::Codec;
use angel_protocol::spaces::{Approval, Visibility, query_words};

use super::*;
use crate::batch::Batch;
use crate::store::Store;

const SPACE: SpaceId = SpaceId(3);

fn did() -> Did {
    "did:web:ada.example".parse().expect("valid")
}

fn space_row() -> SpaceRow {
    SpaceRow {
        holder: did(),
        rkey: "3kznmn7xqxl22".to_owned(),
        cid: Cid::of(Codec::DagCbor, b""),
        name: "Shop".to_owned(),
        slug: "shop".to_owned(),
        rules: SpaceRules {
            visibility: Visibility::Public,
            approval: Approval::Automatic,
            members_can_invite: false,
            requires_code: false,
            direct: false,
        },
        indexed_at: Timestamp::EPOCH,
        gone_at: None,
        last: 0,
        messages: 0,
        members: 0,
        active_at: Timestamp::EPOCH,
        words_upto: 0,
        words_waiting: 0,
        channels: 0,
    }
}

fn message(version: u32) -> MessageRow {
    MessageRow {
        author: did(),
        rkey: "3kznmn7xqxl22".to_owned(),
        cid: Cid::of(Codec::DagCbor, b""),
        channel: 1,
        kind: "user".to_owned(),
        priority: None,
        department: None,
        workflow: None,
        journey: None,
        root: Some(1),
        indexed_at: Timestamp::EPOCH,
        edited_at: None,
        version,
        hidden: None,
        record: vec![],
    }
}

fn commit(store: &Store, overlay: Overlay<'_>) {
    let mut batch = Batch::new();
    overlay.stage(&mut batch).expect("fits");
    store.writer().commit(batch).expect("commits");
}

fn text(record: &[u8]) -> String {
    String::from_utf8_lossy(record).into_owned()
}

/// What a search finds, judged by the messages themselves.
fn found(store: &Store, query: &str) -> Vec<u64> {
    let mut search = search(store.reader(), SPACE, query_words(query), u64::MAX);
    std::iter::from_fn(|| search.next_candidate().expect("reads")).collect()
}

#[test]
fn numbers_rise_whatever_the_log_does() {
    let mut row = space_row();
    assert_eq!((row.next(7), row.next(7), row.next(9), row.next(2)), (7, 8, 9, 10));
}

#[test]
fn records_of_any_size_and_their_versions_come_back_and_go() {
    let store = Store::in_memory().expect("starts");
    for (position, bytes) in [(1_u64, 10), (2, 9_000), (3, 250_000)] {
        let record = vec![7; bytes];
        let mut overlay = Overlay::new(store.reader());
        overlay.put_message(SPACE, position, &message(1), &record).expect("fits");
        overlay.put_version(SPACE, position, 0, &record[1..]).expect("fits");
        let row = overlay.get(&MESSAGES, &(SPACE, position)).expect("reads").expect("there");
        assert_eq!(message_record(&overlay, SPACE, position, &row).expect("reads"), record, "before it is written");
        commit(&store, overlay);
        let row = store.reader().get(&MESSAGES, &(SPACE, position)).expect("reads").expect("there");
        assert_eq!(message_record(store.reader(), SPACE, position, &row).expect("reads"), record);
        let old = old_version(store.reader(), SPACE, position, 0).expect("reads");
        assert_eq!(old.map(|old| old.len()), Some(bytes - 1));

        let mut overlay = Overlay::new(store.reader());
        overlay.delete_message(SPACE, position, &row).expect("reads");
        commit(&store, overlay);
        assert!(store.reader().scan(&VERSIONS).prefix(&(SPACE, position)).page(10).expect("reads").rows.is_empty());
        assert!(!store.reader().contains(&MESSAGES, &(SPACE, position)).expect("reads"));
    }
}

#[test]
fn messages_are_paged_from_the_newest_down() {
    let store = Store::in_memory().expect("starts");
    let mut overlay = Overlay::new(store.reader());
    for position in 1..=20_u64 {
        for space in [SPACE, SpaceId(4)] {
            overlay.put_message(space, position, &message(0), b"x").expect("fits");
            overlay.put(&BY_CHANNEL, &(space, 1 + (position % 2) as u32, position), &Present).expect("fits");
            if position % 3 == 0 {
                overlay.put(&BY_THREAD, &(space, 1, position), &Present).expect("fits");
            }
        }
    }
    commit(&store, overlay);
    let positions = |among, before, limit| {
        let (rows, more) = messages_back(store.reader(), SPACE, among, before, limit).expect("reads");
        (rows.into_iter().map(|(position, _)| position).collect::<Vec<_>>(), more)
    };
    assert_eq!(positions(Among::Space, u64::MAX, 3), (vec![20, 19, 18], true));
    assert_eq!(positions(Among::Space, 3, 3), (vec![2, 1], false));
    assert_eq!(positions(Among::Channel(2), 10, 3), (vec![9, 7, 5], true));
    assert_eq!(positions(Among::Thread(1), u64::MAX, 10).0, [18, 15, 12, 9, 6, 3]);
}

#[test]
fn a_search_finds_what_holds_all_words_and_nothing_else() {
    let store = Store::in_memory().expect("starts");
    let mut row = space_row();
    let (segments, each) = (5_u64, 400_u64);
    let said = |position: u64| {
        let mut said = format!("common w{}", position % 7);
        if position.is_multiple_of(397) {
            said.push_str(" rare");
        }
        said
    };
    for segment in 0..segments {
        let mut overlay = Overlay::new(store.reader());
        let positions: Vec<u64> = (1..=each).map(|n| (segment * each + n) * 3).collect();
        for position in &positions {
            overlay.put_message(SPACE, *position, &message(0), said(*position).as_bytes()).expect("fits");
        }
        index_words(&mut overlay, SPACE, &mut row, &positions, &text).expect("fits");
        commit(&store, overlay);
    }
    let all: Vec<u64> = (1..=segments * each).rev().map(|n| n * 3).collect();
    for query in ["common", "w3 common", "rare", "rare w0", "w1 w2", "missing common", "RARE!"] {
        let wanted: BTreeSet<String> = query_words(query).into_iter().collect();
        let expected: Vec<u64> = all
            .iter()
            .copied()
            .filter(|position| wanted.is_subset(&angel_protocol::spaces::words(&said(*position))))
            .collect();
        assert_eq!(found(&store, query), expected, "{query}");
    }
    assert!(search(store.reader(), SPACE, vec![], u64::MAX).next_candidate().expect("reads").is_none());

    // Changed messages are found by their new words, in their old places.
    for position in [30, 9, 2400, 2403, 12] {
        let mut overlay = Overlay::new(store.reader());
        stage_word(&mut overlay, SPACE, "rare", position).expect("fits");
        stage_word(&mut overlay, SPACE, "fresh", position).expect("fits");
        commit(&store, overlay);
    }
    assert_eq!(found(&store, "fresh"), [2403, 2400, 30, 12, 9]);
    let mut expected: BTreeSet<u64> = all.iter().copied().filter(|position| position.is_multiple_of(397)).collect();
    expected.extend([30, 9, 2400, 2403, 12]);
    assert_eq!(found(&store, "rare"), expected.into_iter().rev().collect::<Vec<_>>());
    assert!(found(&store, "common").len() == all.len());
}

#[test]
fn a_list_that_is_full_is_split_and_loses_nothing() {
    let store = Store::in_memory().expect("starts");
    let numbers: Vec<u64> = (1..=4_000_u64).map(|n| (n * 7919) % 4_001).collect();
    for chunk in numbers.chunks(1) {
        let mut overlay = Overlay::new(store.reader());
        chunk.iter().for_each(|position| stage_word(&mut overlay, SPACE, "word", *position).expect("fits"));
        commit(&store, overlay);
    }
    assert_eq!(found(&store, "word"), (1..=4_000).rev().collect::<Vec<_>>());
}

#[test]
fn what_the_spaces_write_into_the_log_comes_back() {
    let store = Store::in_memory().expect("starts");
    let change = SpaceEvent::Member(MemberChange {
        space: SPACE,
        did: did(),
        membership: Membership::new(Role::Moderator, Status::Active),
    });
    let foreign = SpaceEvent::Foreign(Foreign {
        did: did(),
        path: "co.kendev.spaces.message/3kznmn7xqxl22".to_owned(),
        rev: Tid::new(7, 1),
        record: Some((Cid::of(Codec::DagCbor, b"x"), b"x".to_vec().into())),
    });
    let invited = SpaceEvent::Invited(Invited { space: SPACE, hash: [7; 32].into(), invite: None });
    let mut batch = Batch::new();
    for said in [&change, &foreign, &invited] {
        batch.append_event(event(Timestamp::EPOCH, said).expect("small")).expect("fits");
    }
    store.writer().commit(batch).expect("commits");
    let page = crate::events::after(store.reader(), 0, 10).expect("reads");
    let read: Vec<_> = page.events.iter().map(|event| SpaceEvent::read(event).expect("reads").expect("ours")).collect();
    assert_eq!(read, [change, foreign, invited]);
    assert!(
        page.events.iter().all(|event| crate::firehose::frame(event).is_none()),
        "the public stream has none of it"
    );
}

#[test]
fn what_is_decided_of_a_space_follows_whoever_holds_it() {
    use crate::belongings::{Nature, found};
    use crate::tables::TableId as T;
    // Members with their roles and bans, invitations, settings of channels, marks, what is kept besides, who blocks whom.
    let follow = [
        T::SpaceMembers,
        T::SpaceInvites,
        T::SpaceChannels,
        T::SpaceReadMarks,
        T::SpaceReactions,
        T::SpaceFacts,
        T::SpaceBlocks,
    ];
    for table in follow {
        assert!(found(table, Nature::Private).is_some(), "{table:?} is copied to whoever may take over");
    }
}

#[test]
fn whoever_had_read_up_to_a_message_is_known_when_it_comes() {
    let store = Store::in_memory().expect("starts");
    let (space, path) = (space_row(), "co.kendev.spaces.message/3kznmn7xqxl22");
    let reader = |n: usize| -> Did { format!("did:web:reader-{n:05}.example").parse().expect("valid") };
    let stage = |change: &dyn Fn(&mut Overlay<'_>)| {
        let mut overlay = Overlay::new(store.reader());
        change(&mut overlay);
        let mut batch = Batch::new();
        overlay.stage(&mut batch).expect("fits");
        store.writer().commit(batch).expect("commits");
    };
    let at = Timestamp::from_millis;
    stage(&|overlay| {
        for n in 0..500 {
            overlay.put_awaited(&space, (&did(), path), reader(n), at(7)).expect("fits");
        }
        // Said twice: the later word counts, in whichever part it is.
        overlay.put_awaited(&space, (&did(), path), reader(499), at(9)).expect("fits");
        overlay.put_awaited(&space, (&did(), path), reader(0), at(1)).expect("fits");
    });
    let mut named = 0;
    facts(store.reader(), &space, |fact| -> Result<(), crate::reader::ReadError> {
        let Fact::Awaited { part, .. } = &fact else { panic!("{fact:?}") };
        assert!(fact.travels_as(&Fact::awaited(&did(), path, *part)) && !fact.travels_as("awaited"));
        named += 1;
        Ok(())
    })
    .expect("reads");
    assert!(named > 1, "{named}: more than one row has room for");
    stage(&|overlay| {
        let readers = overlay.take_awaited(&space, (&did(), path)).expect("reads");
        assert_eq!((readers.len(), readers[&reader(0)], readers[&reader(499)]), (500, at(7), at(9)));
    });
    let mut overlay = Overlay::new(store.reader());
    assert_eq!(overlay.take_awaited(&space, (&did(), path)).expect("reads"), Readers::new(), "once");
}

#[test]
fn a_mark_travels_under_its_own_name_and_at_a_message() {
    let mark = |path: &str| Fact::Read { did: did(), author: did(), path: path.to_owned(), at: Timestamp::EPOCH };
    let (own, other) = (mark("co.kendev.spaces.message/a"), mark("co.kendev.spaces.reaction/a"));
    for channel in [None, Some("3kznmn7xqxl22")] {
        let name = Fact::read(&did(), channel);
        assert!(own.travels_as(&name) && !other.travels_as(&name), "{name}");
    }
    assert!(!own.travels_as("read did:web:bob.example ") && !own.travels_as("read"));
}
