use super::*;
use crate::store::Store;
use crate::writer::CommitError;

fn row(n: u8, handle: &str, email: Option<&str>) -> AccountRow {
    AccountRow {
        did: format!("did:plc:account{n}").parse().expect("a DID"),
        handle: Some(handle.parse().expect("a handle")),
        email: email.map(ToOwned::to_owned),
        email_confirmed_at: None,
        second_factor: false,
        password: Some("$argon2id$secret".to_owned()),
        signing_key: "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme".parse().expect("a DID"),
        recovery_key: None,
        created_at: Timestamp::from_millis(1),
        tokens_valid_from: Timestamp::EPOCH,
        deactivated: None,
        takedown: None,
        suspended: false,
        invites_disabled: false,
        invite_note: None,
        invite_code: None,
    }
}

fn add(store: &Store, id: u64, row: &AccountRow) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    stage_new(&mut batch, AccountId(id), row).expect("fits");
    store.writer().commit(batch).map(drop)
}

fn by_handle(store: &Store, handle: &str) -> Option<AccountId> {
    find_in(store.reader(), &ACCOUNTS_BY_HANDLE, &handle.to_owned()).expect("reads").map(|(id, _)| id)
}

fn conflict(result: Result<(), CommitError>) -> TableId {
    match result {
        Err(CommitError::Conflict { table, .. }) => table,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

#[test]
fn an_account_is_found_by_each_of_its_names_and_names_are_held_once() {
    let store = Store::in_memory().expect("starts");
    let alice = row(1, "alice.test", Some("alice@mail.test"));
    add(&store, 1, &alice).expect("new");
    let reader = store.reader();
    assert_eq!(find_in(reader, &ACCOUNTS_BY_DID, &alice.did).expect("reads"), Some((AccountId(1), alice.clone())));
    assert_eq!(by_handle(&store, "alice.test"), Some(AccountId(1)));
    let by_email = find_in(reader, &ACCOUNTS_BY_EMAIL, &"alice@mail.test".to_owned()).expect("reads");
    assert_eq!(by_email.map(|(id, _)| id), Some(AccountId(1)));

    assert_eq!(conflict(add(&store, 1, &row(9, "nine.test", None))), TableId::Accounts);
    assert_eq!(conflict(add(&store, 2, &row(1, "other.test", None))), TableId::AccountsByDid);
    assert_eq!(conflict(add(&store, 2, &row(2, "alice.test", None))), TableId::AccountsByHandle);
    let same_mail = row(2, "bob.test", Some("alice@mail.test"));
    assert_eq!(conflict(add(&store, 2, &same_mail)), TableId::AccountsByEmail);
}

#[test]
fn a_change_moves_the_names_and_holds_only_for_the_row_it_was_made_from() {
    let store = Store::in_memory().expect("starts");
    let before = row(1, "alice.test", Some("alice@mail.test"));
    add(&store, 1, &before).expect("new");
    let mut after = before.clone();
    after.handle = Some("alicia.test".parse().expect("a handle"));
    after.email = None;
    let change = |old: &AccountRow, new: &AccountRow| {
        let mut batch = Batch::new();
        stage_change(&mut batch, AccountId(1), old, new).expect("fits");
        store.writer().commit(batch).map(drop)
    };
    change(&before, &after).expect("changes");
    assert_eq!((by_handle(&store, "alice.test"), by_handle(&store, "alicia.test")), (None, Some(AccountId(1))));
    assert!(!store.reader().contains(&ACCOUNTS_BY_EMAIL, &"alice@mail.test".to_owned()).expect("reads"));
    assert_eq!(conflict(change(&before, &after)), TableId::Accounts, "another change came in between");

    add(&store, 2, &row(2, "alice.test", None)).expect("the old handle is free");
    let mut back = after.clone();
    back.handle = before.handle;
    assert_eq!(conflict(change(&after, &back)), TableId::AccountsByHandle);
}

#[test]
fn a_removed_account_leaves_no_row() {
    let store = Store::in_memory().expect("starts");
    let alice = row(1, "alice.test", Some("alice@mail.test"));
    add(&store, 1, &alice).expect("new");
    add(&store, 2, &row(2, "bob.test", None)).expect("new");
    let mut batch = Batch::new();
    for id in [AccountId(1), AccountId(2)] {
        let session = SessionRow {
            created_at: Timestamp::EPOCH,
            current: [1; 16],
            refreshed_at: Timestamp::EPOCH,
            expires_at: Timestamp::MAX,
            previous: None,
            app_password: None,
            privileged: false,
        };
        batch.put(&SESSIONS, &(id, [7; 16]), &session).expect("fits");
        PREFERENCES.put(&mut batch, &id, &vec![b'x'; 40_000]).expect("fits");
        let taken = TakedownRow { reference: None, at: Timestamp::EPOCH };
        batch.put(&TAKEDOWNS, &(id, "record/a.b.c/self".to_owned()), &taken).expect("fits");
    }
    store.writer().commit(batch).expect("commits");

    let mut batch = Batch::new();
    stage_remove(&mut batch, AccountId(1), &alice).expect("fits");
    stage_remove_rest(store.reader(), &mut batch, AccountId(1)).expect("fits");
    store.writer().commit(batch).expect("commits");
    let tables = [TableId::Accounts, TableId::AccountsByDid, TableId::AccountsByHandle, TableId::Sessions];
    for table in tables.into_iter().chain([TableId::Takedowns]) {
        let rows = store.reader().rows(&table.range(), false, crate::engine::PageLimit::rows(10)).expect("reads");
        assert_eq!(rows.len(), 1, "{table} keeps the other account's row alone");
    }
    assert_eq!(PREFERENCES.get(store.reader(), &AccountId(1)).expect("reads"), None);
    assert!(PREFERENCES.get(store.reader(), &AccountId(2)).expect("reads").is_some());
}

#[test]
fn the_operators_word_counts_before_the_owners() {
    let mut row = row(1, "alice.test", None);
    assert_eq!((row.status(), row.status().name()), (AccountStatus::Active, None));
    row.deactivated = Some(Deactivation::new(Timestamp::EPOCH, None));
    assert_eq!(row.status().name(), Some("deactivated"));
    row.takedown = Some(TakedownRow { reference: Some("1".to_owned()), at: Timestamp::EPOCH });
    assert_eq!(row.status(), AccountStatus::TakenDown { reference: Some("1".to_owned()) });
    row.takedown = None;
    assert_eq!(row.status().name(), Some("deactivated"), "a takedown that ends leaves the owner's wish");
    assert!(!format!("{row:?}").contains("argon2id"));
}

#[test]
fn numbers_are_given_out_once_across_restarts() {
    let store = Store::in_memory().expect("starts");
    let mut given = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let numbers = Numbers::open(store.reader(), "account").expect("opens");
        for _ in 0..300 {
            assert!(given.insert(numbers.next(store.writer()).expect("given")), "given out twice");
        }
    }
    let other = Numbers::open(store.reader(), "mail").expect("opens");
    assert_eq!(other.next(store.writer()).expect("given"), 1, "each name counts for itself");
}

#[test]
fn a_row_without_names_is_found_by_its_did_alone_and_is_switched_off() {
    let store = Store::in_memory().expect("starts");
    let known = row(1, "a.example", None);
    let row = AccountRow::without_names(known.did.clone(), known.signing_key, Timestamp::EPOCH);
    let mut batch = Batch::new();
    stage_new(&mut batch, AccountId(1), &row).expect("fits");
    store.writer().commit(batch).expect("commits");
    let found = store.reader().get(&ACCOUNTS_BY_DID, &known.did).expect("reads");
    assert_eq!(found, Some(Cbor(AccountId(1))));
    for names in [&ACCOUNTS_BY_HANDLE, &ACCOUNTS_BY_EMAIL] {
        assert!(store.reader().scan(names).page(1).expect("reads").rows.is_empty());
    }
    assert_eq!(row.status().name(), Some("deactivated"));
    assert!(row.password.is_none() && row.recovery_key.is_none());
}
