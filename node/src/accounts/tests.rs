use std::os::unix::fs::PermissionsExt;

use angel_protocol::time::Timestamp;
use angel_storage::Store;
use angel_storage::accounts::TakedownRow;
use tempfile::TempDir;

use super::*;
use crate::data_dir::DataDir;

struct World {
    dir: TempDir,
    data: DataDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(dir.path()).expect("made");
        Self { data, store: Store::in_memory().expect("starts"), dir }
    }

    fn accounts(&self) -> Accounts {
        Accounts::open(self.store.reader().clone(), self.store.writer().clone(), self.data.layout()).expect("opens")
    }
}

pub(crate) fn new_account(did: &str, handle: &str, email: Option<&str>) -> NewAccount {
    let signing_key = Arc::new(seal::new_signing_key().expect("randomness"));
    let row = AccountRow {
        did: did.parse().expect("a DID"),
        handle: Some(handle.parse().expect("a handle")),
        email: email.map(ToOwned::to_owned),
        email_confirmed_at: None,
        second_factor: false,
        password: None,
        signing_key: signing_key.did(),
        recovery_key: None,
        created_at: Timestamp::from_millis(1),
        tokens_valid_from: Timestamp::EPOCH,
        deactivated: None,
        takedown: None,
        suspended: false,
        invites_disabled: false,
        invite_note: None,
        invite_code: None,
    };
    NewAccount { row, signing_key }
}

fn create(accounts: &Accounts, n: u8) -> Result<Account, AccountError> {
    let new = new_account(&format!("did:plc:n{n}"), &format!("n{n}.test"), Some(&format!("n{n}@mail.test")));
    accounts.create_blocking(new, |_, _, _| Ok(()))
}

#[test]
fn a_sealing_key_that_is_lost_is_not_replaced() {
    let world = World::new();
    let open = || Accounts::open(world.store.reader().clone(), world.store.writer().clone(), world.data.layout());
    let path = world.data.layout().secrets().join("account-seal.key");
    open().expect("opens");
    std::fs::remove_file(&path).expect("made");
    create(&open().expect("nothing is sealed yet"), 1).expect("made");
    let kept = std::fs::read_to_string(&path).expect("made anew");
    std::fs::remove_file(&path).expect("there");
    let Err(AccountsOpenError::Secret(lost)) = open() else { panic!("what is sealed would never open again") };
    assert!(matches!(lost, crate::secrets::SecretError::Lost { .. }) && !path.exists(), "{lost}");
    crate::secrets::create_secret(&path, &kept).expect("put back");
    open().expect("opens");
}

#[tokio::test]
async fn an_account_is_found_by_all_its_names_before_and_after_a_change() {
    let world = World::new();
    let accounts = world.accounts();
    let made = create(&accounts, 1).expect("made");
    let did: AtIdentifier = "did:plc:n1".parse().expect("a DID");
    let old: AtIdentifier = "n1.test".parse().expect("a handle");
    let new: AtIdentifier = "renamed.test".parse().expect("a handle");
    for _ in 0..2 {
        assert_eq!(accounts.find(&did).await.expect("reads").expect("there").id(), made.id());
        assert_eq!(accounts.find(&old).await.expect("reads").expect("there").id(), made.id());
    }
    let renamed = accounts.change_blocking(made.id(), |row, _| {
        row.handle = Some("renamed.test".parse().expect("a handle"));
        Ok::<_, AccountError>("told")
    });
    assert_eq!(renamed.expect("changed").1, "told");
    assert!(accounts.find(&old).await.expect("reads").is_none(), "the cache must not keep the old handle");
    assert_eq!(accounts.find(&new).await.expect("reads").expect("there").id(), made.id());
    assert_eq!(
        accounts.by_id(made.id()).await.expect("reads").expect("there").handle_or_invalid().as_str(),
        "renamed.test"
    );

    create(&accounts, 2).expect("made");
    let taken = accounts.change_blocking(made.id(), |row, _| {
        row.handle = Some("n2.test".parse().expect("a handle"));
        Ok::<_, AccountError>(())
    });
    assert!(matches!(taken, Err(AccountError::HandleTaken)));
    assert!(matches!(create(&accounts, 2), Err(AccountError::DidTaken)));
}

#[test]
fn what_a_slow_reader_brings_after_a_change_is_not_kept() {
    let world = World::new();
    let accounts = world.accounts();
    let made = create(&accounts, 1).expect("made");
    let cache = Cache::new();
    let epoch = cache.epoch();
    cache.changed(made.id());
    cache.loaded(&made, epoch);
    assert!(cache.by_id(made.id()).is_none());
    cache.loaded(&made, cache.epoch());
    assert!(cache.by_id(made.id()).is_some() && cache.by_did(made.did()).is_some());
}

#[test]
fn whoever_asks_first_for_a_wallet_all_get_one_key() {
    let world = World::new();
    let accounts = world.accounts();
    for n in 1..=20 {
        let made = create(&accounts, n).expect("made");
        let ready = std::sync::Barrier::new(8);
        let keys: Vec<_> = std::thread::scope(|scope| {
            let ask = || {
                ready.wait();
                accounts.wallet_key_blocking(made.did()).expect("a key").did()
            };
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|thread| thread.join().expect("runs")).collect()
        });
        let kept = accounts.kept_wallet_key_blocking(made.id()).expect("reads").expect("is kept").did();
        assert!(keys.iter().all(|key| *key == kept), "{keys:?}");
    }
}

#[test]
fn concurrent_changes_of_one_account_all_count() {
    let world = World::new();
    let accounts = world.accounts();
    let id = create(&accounts, 1).expect("made").id();
    std::thread::scope(|scope| {
        for n in 0..4_u8 {
            let accounts = accounts.clone();
            scope.spawn(move || {
                accounts
                    .change_blocking(id, |row, _| {
                        let note = row.invite_note.take().unwrap_or_default();
                        row.invite_note = Some(format!("{note}{n}"));
                        Ok::<_, AccountError>(())
                    })
                    .expect("changed");
            });
        }
    });
    let note = accounts.by_id_blocking(id).expect("reads").expect("there").row().invite_note.clone();
    let mut digits: Vec<_> = note.expect("set").chars().collect();
    digits.sort_unstable();
    assert_eq!(digits, ['0', '1', '2', '3']);
}

#[test]
fn a_signing_key_opens_for_its_account_under_the_same_file_alone() {
    let world = World::new();
    let accounts = world.accounts();
    let new = new_account("did:plc:n1", "n1.test", None);
    let key = Arc::clone(&new.signing_key);
    let id = accounts.create_blocking::<AccountError>(new, |_, _, _| Ok(())).expect("made").id();
    let again = world.accounts();
    let opened = again.signing_key_blocking(id).expect("opens");
    assert_eq!(opened.sign(b"message"), key.sign(b"message"));

    let file = world.dir.path().join("secrets/account-seal.key");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let row = world.store.reader().get(&ACCOUNT_KEYS, &(id, 1)).expect("reads").expect("there");
    assert!(again.0.seal.open(b"angel account 2 key 1", &row).is_err(), "sealed for another account");
    let other = World::new();
    drop(other.accounts());
    std::fs::copy(other.dir.path().join("secrets/account-seal.key"), &file).expect("another key");
    assert!(matches!(world.accounts().signing_key_blocking(id), Err(AccountError::Seal(SealError::Closed { .. }))));
}

#[test]
fn a_removed_account_is_gone_and_its_number_with_it() {
    let world = World::new();
    let accounts = world.accounts();
    let first = create(&accounts, 1).expect("made");
    assert!(accounts.by_did_blocking(first.did()).expect("reads").is_some());
    accounts.remove_blocking::<AccountError>(first.id(), |_, _| Ok(())).expect("removed");
    assert!(accounts.by_did_blocking(first.did()).expect("reads").is_none());
    assert!(matches!(accounts.signing_key_blocking(first.id()), Err(AccountError::NotFound)));
    let second = create(&accounts, 1).expect("the names are free");
    assert!(second.id() > first.id());
}

#[test]
fn a_takedown_shows_at_once() {
    let world = World::new();
    let accounts = world.accounts();
    let made = create(&accounts, 1).expect("made");
    assert!(accounts.by_did_blocking(made.did()).expect("reads").expect("there").is_active());
    let takedown = TakedownRow { reference: Some("7".to_owned()), at: Timestamp::EPOCH };
    let change = accounts.change_blocking::<_, AccountError>(made.id(), |row, _| {
        row.takedown = Some(takedown.clone());
        Ok(())
    });
    change.expect("changed");
    assert!(!accounts.by_did_blocking(made.did()).expect("reads").expect("there").is_active());
}
