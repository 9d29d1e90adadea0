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
