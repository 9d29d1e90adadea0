use angel_protocol::ids::Did;

use super::*;
use crate::accounts::{APP_PASSWORDS, AppPasswordRow};
use crate::codec::{Present, Raw};
use crate::spaces::{BY_CHANNEL, WORDS};
use crate::store::Store;

fn did(name: &str) -> Did {
    format!("did:web:{name}.example").parse().expect("a DID")
}

/// What the catalogue says of a key, in words, and what is declared here are one thing.
#[test]
fn every_table_says_whose_its_rows_are() {
    for info in CATALOGUE {
        let names_an_account =
            ["account", "contents", "authority's account"].iter().any(|word| info.key.starts_with(word));
        let names_a_space = info.key == "space" || info.key.starts_with("space, ");
        let names_a_tenant = info.key.starts_with("tenant");
        match of(info.id) {
            // An account of the ledger is everybody's business, and another word for a balance.
            Belongs::Node if info.name.starts_with("ledger_") => {}
            Belongs::Node => assert!(
                !names_an_account && !names_a_space && !names_a_tenant,
                "{} has a key of {}, so its rows are somebody's",
                info.name,
                info.key
            ),
            Belongs::Account { found: Found::ByAccount, .. } => {
                assert!(names_an_account, "{} has a key of {}", info.name, info.key);
            }
            Belongs::Account { found: Found::ByDid, .. } => {
                assert!(names_a_tenant || info.key.starts_with("DID"), "{} has a key of {}", info.name, info.key);
            }
            Belongs::Account { found: Found::BySpace | Found::ByPermissionedSpace, .. } => {
                assert!(names_a_space, "{} has a key of {}", info.name, info.key);
            }
            Belongs::Account { found: Found::Elsewhere, nature } => {
                assert!(matches!(nature, Nature::Index | Nature::Passing), "{} would be found by nobody", info.name);
            }
        }
        // What is copied row by row is checked when it comes, so this crate has to know its types.
        if found(info.id, Nature::Private).is_some() {
            assert!(Check::of_table(info.id).is_some(), "rows of {} come unchecked", info.name);
            assert_ne!(found(info.id, Nature::Private), Some(Found::Elsewhere), "{} cannot be gone through", info.name);
        }
    }
}

fn password(at: u64) -> AppPasswordRow {
    AppPasswordRow {
        digest: vec![1; 32],
        created_at: angel_protocol::time::Timestamp::from_millis(at),
        privileged: false,
    }
}

#[test]
fn rows_of_one_account_are_read_page_by_page_and_written_under_another_number() {
    let store = Store::in_memory().expect("starts");
    let mut batch = Batch::new();
    for (account, count) in [(1, 3), (2, 7), (3, 2)] {
        for at in 0..count {
            batch.put(&APP_PASSWORDS, &(AccountId(account), format!("app {at}")), &password(at)).expect("fits");
        }
    }
    store.writer().commit(batch).expect("commits");
    let owned = Owned::new(AccountId(2), did("a"));
    let mut all = Vec::new();
    loop {
        let after = all.last().map(|row: &OwnRow| row.key.clone());
        let page = owned.page(store.reader(), TableId::AppPasswords, after.as_deref(), 3, usize::MAX).expect("reads");
        all.extend(page.rows);
        if !page.more {
            break;
        }
    }
    assert_eq!(all.len(), 7, "its own, and nobody else's");
    // Bytes end a page, and there is at least one row in each.
    let page = owned.page(store.reader(), TableId::AppPasswords, None, 100, 1).expect("reads");
    assert_eq!((page.rows.len(), page.more), (1, true));

    let other = Owned::new(AccountId(9), did("b"));
    let mut batch = Batch::new();
    for row in &all {
        other.put(&mut batch, TableId::AppPasswords, row).expect("is a row of the table");
    }
    store.writer().commit(batch).expect("commits");
    let copied = other.page(store.reader(), TableId::AppPasswords, None, 100, usize::MAX).expect("reads").rows;
    assert_eq!(copied, all);
    assert_eq!(
        other.get(store.reader(), TableId::AppPasswords, &all[2].key).expect("reads"),
        Some(all[2].value.clone())
    );
    let mut batch = Batch::new();
    other.delete(&mut batch, TableId::AppPasswords, &all[2].key).expect("fits");
    store.writer().commit(batch).expect("commits");
    assert_eq!(other.get(store.reader(), TableId::AppPasswords, &all[2].key).expect("reads"), None);
}

#[test]
fn rows_of_spaces_are_those_of_its_own_alone() {
    let store = Store::in_memory().expect("starts");
    let mut batch = Batch::new();
    for space in 1..=4 {
        for message in 0..3 {
            batch.put(&BY_CHANNEL, &(SpaceId(space), 0, message), &Present).expect("fits");
        }
    }
    store.writer().commit(batch).expect("commits");
    let mut owned = Owned::new(AccountId(1), did("a"));
    owned.add_space(SpaceId(2));
    owned.add_space(SpaceId(4));
    let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let page = owned.page(store.reader(), TableId::MessagesByChannel, after.as_deref(), 2, usize::MAX);
        let page = page.expect("reads");
        after = page.rows.last().map(|row| row.key.clone());
        found.extend(page.rows.iter().map(|row| space_of(&row.key).expect("a space").0));
        if !page.more {
            break;
        }
    }
    assert_eq!(found, [[SpaceId(2); 3], [SpaceId(4); 3]].concat());
    let numbers = [(SpaceId(2), SpaceId(4))].into();
    let row =
        owned.page(store.reader(), TableId::MessagesByChannel, None, 1, usize::MAX).expect("reads").rows.remove(0);
    let key = Owned::renumber(TableId::MessagesByChannel, &row.key, &numbers).expect("it has a number");
    assert_eq!(space_of(&key).map(|(space, _)| space), Some(SpaceId(4)));
    assert!(Owned::renumber(TableId::MessagesByChannel, &key, &numbers).is_err(), "a space nobody spoke of");
}

#[test]
fn what_is_not_theirs_or_no_row_is_refused_by_name() {
    let mut owned = Owned::new(AccountId(1), did("a"));
    let mut batch = Batch::new();
    let row = |key: &[u8], value: &[u8]| OwnRow { key: key.to_vec(), value: value.to_vec() };
    let mut word = Vec::new();
    (SpaceId(7), "word".to_owned(), 0_u64).encode(&mut word);
    let value = crate::codec::encode(&Raw(vec![1])).expect("encodes");
    let foreign = owned.put(&mut batch, WORDS.id(), &row(&word, &value));
    assert!(matches!(foreign, Err(NotTheirs::Space(_))), "{foreign:?}");
    owned.add_space(SpaceId(7));
    owned.put(&mut batch, WORDS.id(), &row(&word, &value)).expect("now it is");
    let broken = owned.put(&mut batch, WORDS.id(), &row(&word[..word.len() - 1], &value));
    assert!(matches!(broken, Err(NotTheirs::Form { .. })), "{broken:?}");
    let broken = owned.put(&mut batch, TableId::Tenants, &row(&[], &[1, 0xFF]));
    assert!(matches!(broken, Err(NotTheirs::Form { .. })), "{broken:?}");
    let nobodys = owned.put(&mut batch, TableId::LedgerRows, &row(&[1], &[1]));
    assert!(matches!(nobodys, Err(NotTheirs::Table(_))), "{nobodys:?}");
    let index = owned.put(&mut batch, TableId::AccountsByHandle, &row(&[1], &[1]));
    assert!(matches!(index, Err(NotTheirs::Table(_))), "{index:?}");
    assert_eq!(batch.rows(), 1);
}

/// Copying: what one store tells of an account, another takes in and in the end serves.
mod copying {
    use angel_protocol::data::{Block, Codec};
    use angel_protocol::ids::Tid;
    use angel_protocol::permissioned::{Head, Op, SpaceConfig, SpaceUri};
    use angel_protocol::spaces::{Approval, Membership, Role, SpaceRules, Status, Visibility};
    use angel_protocol::time::Timestamp;

    use super::super::copy::{
        NotTaken, Taking, is_empty, stretch_of_copy, stretch_of_own, summary_of_copy, summary_of_own,
    };
    use super::*;
    use crate::codec::Cbor;
    use crate::events;
    use crate::permissioned::{
        Repo, RepoKey, SpaceRow as PermissionedSpace, put_op, put_record, put_repo, put_space, record, repo,
    };
    use crate::reader::Reader;
    use crate::replicas::VERSIONS;
    use crate::spaces::{BLOCKS, MEMBERS, MESSAGES, MemberRow, MessageRow, Place, RECORDS, SPACES_OF, SpaceRow};
    use crate::tenants::{FORM_VIEWS, FormViews, TENANT_USAGE, usage};
    use angel_protocol::tenants::{Month, Resource, Usage};

    const THERE: AccountId = AccountId(7);
    const HERE: AccountId = AccountId(12);
    const MARK: &[u8] = b"an order that nobody else may see";

    fn room() -> SpaceUri {
        "at://did:web:a.example/space/co.kendev.spaces.room/3kroom".parse().expect("a space")
    }

    fn rev(n: u64) -> Tid {
        Tid::new(1_700_000_000_000_000 + n, 5)
    }

    fn space_row(holder: &str, last: u64) -> SpaceRow {
        SpaceRow {
            holder: did(holder),
            rkey: "3kroom".to_owned(),
            cid: angel_protocol::data::Cid::of(Codec::DagCbor, b"space"),
            name: "Room".to_owned(),
            slug: "room".to_owned(),
            rules: SpaceRules {
                visibility: Visibility::Private,
                approval: Approval::Manual,
                members_can_invite: false,
                requires_code: false,
                direct: false,
            },
            indexed_at: Timestamp::EPOCH,
            gone_at: None,
            last,
            messages: 1,
            members: 1,
            active_at: Timestamp::EPOCH,
            words_upto: 0,
            words_waiting: 1,
            channels: 0,
        }
    }

    fn commit(store: &Store, stage: impl FnOnce(&mut Batch)) -> crate::Committed {
        let mut batch = Batch::new();
        stage(&mut batch);
        store.writer().commit(batch).expect("written")
    }

    /// A private write as the write path makes it.
    fn write(store: &Store, head: &mut Head, path: &str, bytes: &[u8], n: u64) -> crate::Committed {
        let key = RepoKey { account: THERE, space: room().digest() };
        let block = Block::new(Codec::DagCbor, bytes.to_vec());
        let before = record(store.reader(), key, path).expect("reads");
        let op =
            Op { path: path.parse().expect("a path"), cid: Some(block.cid()), prev: before.as_ref().map(|it| it.cid) };
        head.advance(rev(n), [&op]).expect("advances");
        commit(store, |batch| {
            put_record(batch, key, path, rev(n), &block, before.map(|it| it.bytes.len())).expect("fits");
            put_op(batch, key, rev(n), 0, &op).expect("fits");
            let repo =
                Repo { space: room(), head: head.clone(), log_from: Tid::MIN, log_ops: n, space_deleted_at: None };
            put_repo(batch, key, &repo).expect("fits");
        })
    }

    fn say(store: &Store, space: SpaceId, number: u64, rkey: &str) {
        commit(store, |batch| {
            let row = MessageRow {
                author: did("m"),
                rkey: rkey.to_owned(),
                cid: angel_protocol::data::Cid::of(Codec::DagCbor, MARK),
                channel: 0,
                kind: "user".to_owned(),
                priority: None,
                department: None,
                workflow: None,
                journey: None,
                root: None,
                indexed_at: Timestamp::EPOCH,
                edited_at: None,
                version: 0,
                hidden: None,
                record: MARK.to_vec(),
            };
            batch.put(&MESSAGES, &(space, number), &row).expect("fits");
            let holder = if space == SpaceId(3) { "a" } else { "somebody-else" };
            batch.put(&SPACES, &space, &space_row(holder, number)).expect("fits");
        });
    }

    /// The events that tell of changes, behind `after`.
    fn told(reader: &Reader, after: u64) -> Vec<(u64, Changed)> {
        let page = events::after(reader, after, 1000).expect("reads");
        let told = page.events.into_iter().filter(|event| event.account == Some(THERE));
        told.filter_map(|event| Some((event.sequence, changed(&event).expect("reads")?))).collect()
    }

    fn take(here: &Store, changes: &[(u64, Changed)]) {
        let mut taking = Taking::new(here.reader(), HERE, Timestamp::EPOCH);
        changes.iter().for_each(|(_, changed)| taking.take(changed).expect("is taken"));
        here.writer().commit(taking.done().0).expect("written");
    }

    fn copy_whole(there: &Store, here: &Store, page: usize) -> usize {
        let owned = Owned::with_did(there.reader(), THERE, did("a")).expect("reads");
        let (mut after, mut others) = (None, 0);
        loop {
            let stretch = stretch_of_own(there.reader(), &owned, after.as_ref(), page, usize::MAX).expect("reads");
            let end = stretch.end.clone();
            let mut taking = Taking::new(here.reader(), HERE, Timestamp::EPOCH);
            others += taking.replace(after.as_ref(), stretch).expect("is taken");
            here.writer().commit(taking.done().0).expect("written");
            match end {
                Some(end) => after = Some(end),
                None => return others,
            }
        }
    }

    fn same(there: &Store, here: &Store) -> bool {
        let owned = Owned::with_did(there.reader(), THERE, did("a")).expect("reads");
        let own = stretch_of_own(there.reader(), &owned, None, 10_000, usize::MAX).expect("reads");
        let copy = stretch_of_copy(here.reader(), HERE, None, None, 10_000).expect("reads");
        let summed = summary_of_own(there.reader(), &owned).expect("reads");
        let same = own.digest() == copy.digest();
        assert_eq!((summed.rows, summed.digest), (own.rows.len() as u64, own.digest()), "page by page or at once");
        assert_eq!(summed == summary_of_copy(here.reader(), HERE).expect("reads"), same);
        same
    }

    /// A business with orders, a room, a message and a member, of which some are older than its first copy.
    fn business() -> (Store, Head) {
        let there = Store::in_memory().expect("starts");
        let mut head = Head::empty();
        commit(&there, |batch| {
            let row = PermissionedSpace {
                uri: room(),
                config: SpaceConfig::default(),
                created_at: Timestamp::EPOCH,
                deleted_at: None,
            };
            put_space(batch, THERE, &row).expect("fits");
            batch.put(&SPACES, &SpaceId(3), &space_row("a", 0)).expect("fits");
            batch.put(&SPACES, &SpaceId(4), &space_row("somebody-else", 0)).expect("fits");
        });
        write(&there, &mut head, "co.kendev.business.order/1", MARK, 1);
        write(&there, &mut head, "co.kendev.business.order/2", &[7; 40_000], 2);
        say(&there, SpaceId(3), 1, "3kold");
        say(&there, SpaceId(4), 1, "3kother");
        commit(&there, |batch| {
            batch.put(&JOURNALED, &THERE, &Cbor(did("a"))).expect("fits");
        });
        (there, head)
    }

    #[test]
    fn a_copy_made_whole_and_kept_by_changes_is_the_same_and_serves() {
        let (there, mut head) = business();
        let here = Store::in_memory().expect("starts");
        let began = there.reader().durable_sequence();
        assert!(copy_whole(&there, &here, 3) > 5 && same(&there, &here));
        assert_eq!(copy_whole(&there, &here, 2), 0, "nothing is other the second time");

        // What comes now is told, row by row, by whatever batch changes it, and nothing of others is.
        let committed = write(&there, &mut head, "co.kendev.business.order/1", b"shipped", 3);
        let last = committed.last_sequence.expect("it is told");
        write(&there, &mut head, "co.kendev.business.order/3", MARK, 4);
        say(&there, SpaceId(3), 2, "3knew");
        say(&there, SpaceId(4), 2, "3kother2");
        let month = Month::of(Timestamp::EPOCH);
        commit(&there, |batch| {
            let membership = Membership::new(Role::Member, Status::Active);
            let row =
                MemberRow { membership, joined_at: None, created_at: Timestamp::EPOCH, changed_at: Timestamp::EPOCH };
            batch.put(&MEMBERS, &(SpaceId(3), did("m")), &row).expect("fits");
            let usage = Usage { counts: [(Resource::Tasks, 3)].into(), ..Usage::new(month) };
            batch.put(&TENANT_USAGE, &(THERE, month.number()), &Cbor(usage)).expect("fits");
            batch.put(&TENANT_USAGE, &(AccountId(8), month.number()), &Cbor(Usage::new(month))).expect("fits");
            let seen = Cbor(FormViews { views: 3, answers: 1 });
            batch.put(&FORM_VIEWS, &(THERE, "3kform".to_owned()), &seen).expect("fits");
            for holder in ["a", "somebody-else"] {
                batch.put(&BLOCKS, &(did(holder), did("m")), &Present).expect("fits");
                // One that is kept in one piece, and one that is not.
                for (path, bytes) in [("small", 100), ("large", 40_000)] {
                    let at = (did(holder), path.to_owned(), "rev".to_owned());
                    VERSIONS.put(batch, &at, &vec![7; bytes]).expect("fits");
                }
            }
        });
        commit(&there, |batch| batch.put(&APP_PASSWORDS, &(THERE, "app".to_owned()), &password(1)).expect("fits"));
        let changes = told(there.reader(), began);
        assert_eq!(changes[0].0, last, "the batch's own number is that of what tells of it");
        let states = events::after(there.reader(), began, 100).expect("reads").events;
        assert_eq!(states.iter().filter(|event| event.kind == STATE && event.account == Some(THERE)).count(), 1);
        assert!(!same(&there, &here));
        take(&here, &changes);
        assert!(same(&there, &here));
        take(&here, &changes);
        assert!(same(&there, &here), "told twice is the same as told once");
        shows_the_same(&there, &here);
        let message = |rkey: &str| format!("co.kendev.spaces.message/{rkey}");
        let view = here.reader().of_copy(HERE);
        for (rkey, place) in [("3kold", Some(1)), ("3knew", Some(2)), ("3kother", None)] {
            let found = view.get(&RECORDS, &(did("m"), message(rkey))).expect("reads");
            assert_eq!(found, place.map(|at| Cbor(Place::Message(SpaceId(3), at))), "{rkey}");
            let copies = copies_with(here.reader(), &did("m"), &message(rkey)).expect("reads");
            assert_eq!(copies, place.map(|_| HERE).into_iter().collect::<Vec<_>>(), "{rkey}");
        }
        let space = (did("a"), "co.kendev.spaces.space/3kroom".to_owned());
        assert_eq!(view.get(&RECORDS, &space).expect("reads"), Some(Cbor(Place::Space(SpaceId(3)))));

        let number = std::cell::Cell::new(40);
        let next = || {
            number.set(number.get() + 1);
            Ok(number.get())
        };
        let done = install(here.reader(), here.writer(), HERE, &did("a"), next).expect("installs");
        assert_eq!((done.removed, done.refused, done.disagreed), (0, 0, 0), "{done:?}");
        let key = RepoKey { account: HERE, space: room().digest() };
        let order = record(here.reader(), key, "co.kendev.business.order/1").expect("reads").expect("is there");
        assert_eq!(order.bytes, b"shipped");
        let large = record(here.reader(), key, "co.kendev.business.order/2").expect("reads").expect("is there");
        assert_eq!(large.bytes.len(), 40_000);
        assert_eq!(repo(here.reader(), key).expect("reads").expect("is there").head, head);
        assert!(here.reader().contains(&BLOCKS, &(did("a"), did("m"))).expect("reads"));
        for (holder, path, bytes) in
            [("a", "small", Some(100)), ("a", "large", Some(40_000)), ("somebody-else", "small", None)]
        {
            let at = (did(holder), path.to_owned(), "rev".to_owned());
            let kept = VERSIONS.get(here.reader(), &at).expect("reads").map(|version| version.len());
            assert_eq!(kept, bytes, "a second version goes with its tenant: {path} of {holder}");
        }
        assert_eq!(usage(here.reader(), HERE, month).expect("reads").counts, [(Resource::Tasks, 3)].into());
        let space = SpaceId(41);
        assert_eq!(here.reader().get(&SPACES, &space).expect("reads").expect("is there").last, 2);
        assert!(here.reader().get(&MESSAGES, &(space, 2)).expect("reads").is_some());
        let at = (did("m"), "co.kendev.spaces.message/3knew".to_owned());
        assert_eq!(here.reader().get(&RECORDS, &at).expect("reads"), Some(Cbor(Place::Message(space, 2))));
        assert!(here.reader().contains(&SPACES_OF, &(did("m"), space)).expect("reads"));

        // The account comes and goes: what changed meanwhile is all that is written, and what is gone goes.
        commit(&there, |batch| batch.delete(&MESSAGES, &(SpaceId(3), 1)).expect("fits"));
        take(&here, &told(there.reader(), changes.last().expect("many").0));
        let done = install(here.reader(), here.writer(), HERE, &did("a"), next).expect("installs");
        assert_eq!((done.written, done.removed, number.get()), (0, 1, 41), "{done:?}");
        assert_eq!(here.reader().get(&MESSAGES, &(space, 1)).expect("reads"), None);

        // No more is told once it ends, and the copy can be dropped.
        commit(&there, |batch| batch.delete(&JOURNALED, &THERE).expect("fits"));
        let before = there.reader().durable_sequence();
        write(&there, &mut head, "co.kendev.business.order/4", MARK, 5);
        assert!(told(there.reader(), before).is_empty());
        let mut batch = Batch::new();
        while super::super::copy::stage_removal(here.reader(), &mut batch, HERE, 5).expect("reads") > 0 {
            here.writer().commit(std::mem::take(&mut batch)).expect("written");
        }
        assert!(is_empty(here.reader(), HERE).expect("reads"));
        assert!(here.reader().scan(&PLACES).page(1).expect("reads").rows.is_empty(), "nor does anything lead to it");
    }

    /// What is read of a copy as if it were served here is what the other node reads, whatever range is asked for.
    fn shows_the_same(there: &Store, here: &Store) {
        let (own, view) = (there.reader(), here.reader().of_copy(HERE));
        let mut compared = 0;
        for table in tables(Nature::Private) {
            let of = |account: AccountId| {
                let mut prefix = vec![table.byte()];
                match found(table, Nature::Private) {
                    Some(Found::ByAccount) => account.encode(&mut prefix),
                    Some(Found::BySpace) => SpaceId(3).encode(&mut prefix),
                    Some(Found::ByPermissionedSpace) => prefix.extend_from_slice(&room().digest()),
                    _ => return None,
                }
                Some(prefix)
            };
            let (Some(here), Some(there)) = (of(HERE), of(THERE)) else { continue };
            let rows = |reader: &Reader, prefix: &[u8], range: &KeyRange, reverse: bool, limit: usize| {
                let page = reader.rows(range, reverse, PageLimit { rows: limit, bytes: usize::MAX }).expect("reads");
                let rows = page.rows().map(|(key, value)| {
                    let row = reader.stored(key).expect("reads");
                    assert_eq!(row.as_deref(), Some(value), "alone as on a page");
                    (key[prefix.len()..].to_vec(), value.to_vec())
                });
                (rows.collect::<Vec<_>>(), page.more)
            };
            for reverse in [false, true] {
                let (mut at_home, mut of_copy) = (KeyRange::prefix(&there), KeyRange::prefix(&here));
                loop {
                    let (expected, more) = rows(own, &there, &at_home, reverse, 2);
                    assert_eq!(rows(&view, &here, &of_copy, reverse, 2), (expected.clone(), more), "{table}");
                    compared += expected.len();
                    let Some((last, _)) = expected.last().filter(|_| more) else { break };
                    at_home = at_home.beyond(&[there.as_slice(), last].concat(), reverse);
                    of_copy = of_copy.beyond(&[here.as_slice(), last].concat(), reverse);
                }
            }
            // All of a table, as whoever looks through it asks; of other accounts there is nothing.
            let all = rows(&view, &[], &table.range(), false, 1000).0;
            assert!(all.iter().all(|(key, _)| key.starts_with(&[table.byte()])), "{table}");
            if found(table, Nature::Private) == Some(Found::ByAccount) {
                assert!(all.iter().all(|(key, _)| key.starts_with(&here)), "{table}");
                assert_eq!(rows(&view, &[], &KeyRange::prefix(&there), false, 10).0, [], "{table}");
            }
        }
        assert!(compared > 15, "{compared} rows were there to compare");
    }

    /// One account of a store is put into another that has accounts of its own, as often as it is tried.
    #[test]
    fn one_account_is_restored_beside_others_and_nothing_of_others_comes() {
        use crate::accounts::PREFERENCES;
        use crate::belongings::restore::{Source, Target, restore};
        let (there, head) = business();
        commit(&there, |batch| {
            for account in [THERE, AccountId(8)] {
                batch.put(&APP_PASSWORDS, &(account, "app".to_owned()), &password(1)).expect("fits");
            }
            PREFERENCES.put(batch, &THERE, &[7; 100]).expect("fits");
        });
        let here = Store::in_memory().expect("starts");
        commit(&here, |batch| {
            batch.put(&SPACES, &SpaceId(3), &space_row("somebody-else", 0)).expect("fits");
            batch.put(&APP_PASSWORDS, &(HERE, "stale".to_owned()), &password(1)).expect("fits");
            batch.put(&APP_PASSWORDS, &(AccountId(99), "theirs".to_owned()), &password(1)).expect("fits");
        });
        let number = std::cell::Cell::new(40);
        for round in 0..2 {
            let source = Source { reader: there.reader(), account: THERE };
            let into = Target { reader: here.reader(), writer: here.writer(), account: HERE };
            let next = || {
                number.set(number.get() + 1);
                Ok(number.get())
            };
            let done = restore(source, into, &did("a"), Timestamp::EPOCH, next).expect("is restored");
            assert_eq!((done.rows, done.records, done.root), (2, 0, None), "round {round}: {done:?}");
            assert_eq!((done.private.refused, done.private.disagreed), (0, 0), "{done:?}");
            let apps = here.reader().scan(&APP_PASSWORDS).page(10).expect("reads").rows;
            let apps: Vec<_> = apps.into_iter().map(|((account, name), _)| (account, name)).collect();
            assert_eq!(apps.len(), 2, "{apps:?}");
            assert!(apps.contains(&(HERE, "app".to_owned())) && apps.contains(&(AccountId(99), "theirs".to_owned())));
            let key = RepoKey { account: HERE, space: room().digest() };
            assert_eq!(repo(here.reader(), key).expect("reads").expect("is there").head, head);
            assert!(is_empty(here.reader(), HERE).expect("reads"), "nothing lies aside");
            let spaces = here.reader().scan(&SPACES).page(10).expect("reads").rows;
            let own: Vec<_> = spaces.iter().filter(|(_, row)| row.holder == did("a")).map(|(id, _)| *id).collect();
            assert_eq!((spaces.len(), own), (2, vec![SpaceId(41 + round)]), "its one space, and the other's");
        }
    }

    #[test]
    fn what_is_told_is_told_again_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || {
            let options = crate::Options::new(crate::engine::EngineKind::Fjall, "angel 0.1.0");
            Store::open(dir.path(), options).expect("opens")
        };
        let store = open();
        commit(&store, |batch| {
            batch.put(&SPACES, &SpaceId(3), &space_row("a", 0)).expect("fits");
            batch.put(&JOURNALED, &THERE, &Cbor(did("a"))).expect("fits");
        });
        store.close().expect("closes");
        let store = open();
        say(&store, SpaceId(3), 1, "3k");
        assert_eq!(told(store.reader(), 0).len(), 2, "the batch that began it, and the one after the restart");
        store.close().expect("closes");
    }

    #[test]
    fn what_does_not_follow_or_is_not_copied_is_refused() {
        let (there, mut head) = business();
        let here = Store::in_memory().expect("starts");
        copy_whole(&there, &here, 100);
        let before = there.reader().durable_sequence();
        write(&there, &mut head, "co.kendev.business.order/3", MARK, 4);
        let (_, good) = told(there.reader(), before).remove(0);
        let refused = |change: &dyn Fn(&mut Changed)| {
            let mut bad = good.clone();
            change(&mut bad);
            Taking::new(here.reader(), HERE, Timestamp::EPOCH).take(&bad).expect_err("is refused")
        };
        // An operation that is left out, another table, another record under the same CID, no row at all.
        let no_ops = refused(&|it| it.rows.retain(|row| row.table != TableId::PermissionedOps.byte()));
        assert!(matches!(no_ops, NotTaken::SetHash), "{no_ops}");
        let other = refused(&|it| it.rows[0].table = TableId::Accounts.byte());
        assert!(matches!(other, NotTaken::Table(_)), "{other}");
        let records = |it: &mut Changed| {
            it.rows.iter().position(|row| row.table == TableId::PermissionedRecords.byte()).expect("a record")
        };
        let altered = refused(&|it| {
            let at = records(it);
            if let Some(value) = &mut it.rows[at].value {
                *value.last_mut().expect("bytes") ^= 1;
            }
        });
        assert!(matches!(altered, NotTaken::Record), "{altered}");
        let broken = refused(&|it| {
            let at = records(it);
            it.rows[at].value = Some(vec![1, 99].into());
        });
        assert!(matches!(broken, NotTaken::Row(NotTheirs::Form { .. })), "{broken}");

        // A space of another holder lies in the copy, and is not let in.
        let mut key = Vec::new();
        SpaceId(9).encode(&mut key);
        let value = crate::codec::encode(&space_row("somebody-else", 1)).expect("encodes");
        let foreign = Change { table: TableId::Spaces.byte(), key, value: Some(value.into()) };
        take(&here, &[(0, Changed { rows: vec![foreign], whole: true })]);
        let done = install(here.reader(), here.writer(), HERE, &did("a"), || Ok(50)).expect("installs");
        assert_eq!(done.refused, 1);
        let all = here.reader().scan(&SPACES).page(10).expect("reads").rows;
        assert!(all.iter().all(|(_, row)| row.holder == did("a")));
    }
}
