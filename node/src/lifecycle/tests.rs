use angel_protocol::ids::Tid;
use angel_protocol::plc::{Counts, NotAdded};
use angel_protocol::time::Timestamp;
use angel_storage::events::{self, EventKind};
use angel_storage::{Store, firehose};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{AccountsConfig, BlobsConfig, IdentityConfig, MailConfig};
use crate::data_dir::DataDir;
use crate::dns::Dns;
use crate::fetch::Fetcher;
use crate::handles::Handles;
use crate::invites::Inviter;
use crate::ledger::alone::Alone;
use crate::mail::Smtp;
use crate::network::Scope;
use crate::pending::Pending;
use crate::resolver;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const ENDPOINT: &str = "https://host.test";

struct World {
    lifecycle: Lifecycle,
    store: Store,
    _alone: Alone,
    _dir: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(AccountsConfig::default()).await
    }

    async fn with(config: AccountsConfig) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(dir.path()).expect("made");
        let layout = data.layout().clone();
        let store = Store::in_memory().expect("starts");
        let rooms = || (store.reader().clone(), store.writer().clone());
        let (reader, writer) = rooms();
        let accounts = Accounts::open(reader, writer, &layout).expect("opens");
        let (reader, writer) = rooms();
        let did = "did:web:host.test".parse().expect("a DID");
        let sessions = Sessions::open(reader, writer, &layout, None, did).expect("opens");
        let (reader, writer) = rooms();
        let repos = Repos::new(reader, writer, 1, layout.imports());
        let (reader, writer) = rooms();
        let permissioned = Permissioned::new(reader, writer, accounts.clone(), 1, layout.imports());
        let (reader, writer) = rooms();
        let blobs = Blobs::open(layout.blobs(), reader, writer, &BlobsConfig::default()).expect("opens");
        let alone = Alone::start(&store, &layout).await;
        let identity = IdentityConfig::default();
        let identities =
            Identities::open(alone.ledger.clone(), &layout, &identity, ENDPOINT.to_owned(), true).expect("opens");
        let (resolver, _) = Resolver::new(resolver::Parts {
            directory: identities.directory().clone(),
            accounts: accounts.clone(),
            handle_domains: vec![".test".to_owned()],
            dns: Dns::nowhere(),
            fetcher: Fetcher::new(Scope::Loopback).expect("starts"),
            scope: Scope::Loopback,
            times: resolver::Times::default(),
        });
        let (reader, writer) = rooms();
        let invites = Invites::new(reader, writer, "host.test", config);
        let (reader, writer) = rooms();
        let smtp = Smtp::new(&MailConfig::default(), "host.test").expect("none");
        let mail = Mail::open(reader, writer, smtp, "host.test".to_owned()).expect("opens");
        let lifecycle =
            Lifecycle { accounts, sessions, repos, permissioned, blobs, identities, resolver, invites, mail };
        Self { lifecycle, store, _alone: alone, _dir: dir }
    }

    async fn sign_up(&self, change: impl FnOnce(&mut SignUp)) -> Result<Account, LifecycleError> {
        let mut wish = SignUp {
            handle: "alice.test".parse().expect("a handle"),
            email: Some("Alice@mail.test".to_owned()),
            password: Some("a hash".to_owned()),
            invite_code: None,
            recovery_key: None,
            moved: None,
        };
        change(&mut wish);
        self.lifecycle.sign_up(wish, NOW).await.map(|made| made.account)
    }

    fn told(&self) -> Vec<EventKind> {
        let page = events::after(self.store.reader(), 0, 1000).expect("reads");
        page.events.into_iter().map(|event| event.kind).collect()
    }
}

#[tokio::test]
async fn an_account_its_identity_its_repository_and_its_events_are_made_together() {
    let world = World::new().await;
    let key = NewRecoveryKey::generate().expect("randomness");
    let alice = world.sign_up(|wish| wish.recovery_key = Some(key.public.clone())).await.expect("made");
    assert_eq!(alice.row().email.as_deref(), Some("alice@mail.test"));
    world.lifecycle.check_identity(&alice).await.expect("the identity leads here");
    let head = world.lifecycle.repos.head_blocking(alice.id()).expect("reads").expect("a repository");
    assert!(head.commit.rev() > Tid::MIN);
    assert_eq!(world.told(), [firehose::IDENTITY, firehose::ACCOUNT, firehose::COMMIT, firehose::SYNC]);
    let test = |key: Did| {
        let (lifecycle, alice) = (world.lifecycle.clone(), alice.clone());
        async move { lifecycle.test_recovery_key(&alice, &key).await.expect("tested") }
    };
    assert_eq!(test(key.public.clone()).await, RecoveryTest::First);
    assert_eq!(test(world.lifecycle.identities.rotation_key()).await, RecoveryTest::Later { before: 1 });
    let other = NewRecoveryKey::generate().expect("randomness").public;
    assert_eq!(test(other).await, RecoveryTest::Unknown);
}

#[tokio::test]
async fn an_identity_without_an_owners_key_gets_one_and_no_second() {
    let world = World::new().await;
    let alice = world.sign_up(|_| {}).await.expect("made");
    let (key, other) =
        (NewRecoveryKey::generate().expect("randomness"), NewRecoveryKey::generate().expect("randomness"));
    let counts = world.lifecycle.add_owners_key(&alice, &key.public).await.expect("added");
    assert_eq!(counts, Counts::AtOnce);
    let test = world.lifecycle.test_recovery_key(&alice, &key.public).await.expect("tested");
    assert_eq!(test, RecoveryTest::First);
    world.lifecycle.check_identity(&alice).await.expect("the identity leads here");
    world.lifecycle.tell_identity(&alice).await.expect("told");
    assert_eq!(world.told().last(), Some(&firehose::IDENTITY));
    let again = world.lifecycle.add_owners_key(&alice, &other.public).await;
    assert!(matches!(&again, Err(LifecycleError::OwnersKey(NotAdded::HasOwner(it))) if *it == key.public), "{again:?}");
    let data = world.lifecycle.identities.directory().log(alice.did()).await.expect("a log").data().expect("alive");
    assert_eq!(data.rotation_keys, [key.public, world.lifecycle.identities.rotation_key()]);
}

/// What the node does at its start about what the last run left undone, until nothing is left.
async fn finish_pending(world: &World) {
    let lifecycle = world.lifecycle.clone();
    let (accounts, identities) = (lifecycle.accounts.clone(), lifecycle.identities.clone());
    let handles = Handles::new(accounts, identities, lifecycle.resolver.clone(), vec![".test".to_owned()]);
    // To its end: rows are gone a moment before memory is up to date.
    let pending = Pending { lifecycle, handles };
    let finished = tokio::time::timeout(std::time::Duration::from_secs(30), pending.finish_all()).await;
    finished.expect("in time").expect("reads");
    assert!(world.lifecycle.identities.directory().pending_blocking(None).expect("reads").is_empty());
}

#[tokio::test]
async fn whatever_a_crash_leaves_of_a_sign_up_ends_as_an_account_or_as_nothing() {
    let world = World::new().await;
    let directory = world.lifecycle.identities.directory().clone();
    let begin = |name: &str| {
        let handle: angel_protocol::ids::Handle = format!("{name}.test").parse().expect("a handle");
        let key = std::sync::Arc::new(crate::accounts::new_signing_key().expect("randomness"));
        let operation = world.lifecycle.identities.genesis(key.did(), &handle, None);
        let did = operation.creates().expect("a first operation");
        let wish = SignUp { handle, email: None, password: None, invite_code: None, recovery_key: None, moved: None };
        let beginning = sign_up::Beginning::Pending(&operation);
        let made = world.lifecycle.create(wish, did, &beginning, key, NOW, |_, _, _| Ok(())).expect("written");
        assert_eq!(made.signed_up.account.status().name(), Some("deactivated"), "nobody sees it yet");
        (made.signed_up.account, operation)
    };
    // Killed before the network heard of it, after it decided, and after the account was deleted again.
    let (early, _) = begin("early");
    let (late, operation) = begin("late");
    directory.submit(late.did(), operation).await.expect("decided");
    let (gone, _) = begin("gone");
    world.lifecycle.accounts.remove_blocking::<LifecycleError>(gone.id(), |_, _| Ok(())).expect("removed");
    assert!(world.told().is_empty());
    finish_pending(&world).await;
    for account in [&early, &late] {
        let account = world.lifecycle.accounts.by_id(account.id()).await.expect("reads").expect("there");
        assert!(account.is_active());
        world.lifecycle.check_identity(&account).await.expect("the identity leads here");
    }
    assert!(matches!(directory.log(gone.did()).await, Err(DirectoryError::NotRegistered(_))));
    let told = world.told();
    let count = |kind| told.iter().filter(|told| **told == kind).count();
    assert_eq!((count(firehose::IDENTITY), count(firehose::ACCOUNT), count(firehose::SYNC)), (2, 2, 2));
}

#[tokio::test]
async fn a_handle_follows_what_was_decided_after_a_crash() {
    let world = World::new().await;
    let alice = world.sign_up(|_| {}).await.expect("made");
    let identities = &world.lifecycle.identities;
    let directory = identities.directory();
    for (name, decided) in [("early.test", false), ("late.test", true)] {
        let handle = name.parse().expect("a handle");
        let operation = identities.handle_change(alice.did(), &handle).await.expect("signed").expect("another one");
        let mut batch = Batch::new();
        directory.stage_pending(&mut batch, alice.did(), &operation).expect("room");
        directory.commit_blocking(batch).expect("written");
        if decided {
            directory.submit(alice.did(), operation).await.expect("decided");
        }
        finish_pending(&world).await;
        let account = world.lifecycle.accounts.by_id(alice.id()).await.expect("reads").expect("there");
        assert_eq!(account.handle(), Some(&handle));
        let document = directory.document(alice.did()).await.expect("told").document;
        assert_eq!(document.claimed_handle(), Some(handle));
    }
    // One that the network refuses changes nothing and is not tried again.
    let stale = {
        let log = directory.log(alice.did()).await.expect("told");
        let data = log.data().expect("alive");
        let statement = angel_protocol::plc::PlcStatement::State { data, prev: Some(log.entries()[0].cid) };
        let key = angel_protocol::crypto::Secp256k1Key::from_bytes(&[5; 32]).expect("a scalar");
        statement.sign(&key.into())
    };
    let mut batch = Batch::new();
    directory.stage_pending(&mut batch, alice.did(), &stale).expect("room");
    directory.commit_blocking(batch).expect("written");
    finish_pending(&world).await;
    let account = world.lifecycle.accounts.by_id(alice.id()).await.expect("reads").expect("there");
    assert_eq!(account.handle().map(ToString::to_string).as_deref(), Some("late.test"));
}

#[tokio::test]
async fn a_name_that_is_taken_leaves_nothing_behind() {
    let world = World::new().await;
    world.sign_up(|_| {}).await.expect("made");
    let told = world.told();
    let handle = world.sign_up(|wish| wish.email = None).await;
    assert!(matches!(handle, Err(LifecycleError::Account(AccountError::HandleTaken))));
    let email = world.sign_up(|wish| wish.handle = "bob.test".parse().expect("a handle")).await;
    assert!(matches!(email, Err(LifecycleError::Account(AccountError::EmailTaken))));
    assert_eq!(world.told(), told);
    assert_eq!(world.lifecycle.repos.heads_blocking(None, 10).expect("reads").len(), 1);
}

#[tokio::test]
async fn an_invite_code_is_used_once_however_many_ask_at_the_same_time() {
    let world = World::with(AccountsConfig { invites_required: true, ..AccountsConfig::default() }).await;
    let codes = world.lifecycle.invites.create_blocking(None, 1, 1, NOW).expect("made");
    let attempt = |n: u8| {
        world.sign_up(move |wish| {
            wish.handle = format!("user{n}.test").parse().expect("a handle");
            wish.email = None;
        })
    };
    assert!(attempt(9).await.is_ok(), "whether a code is needed is asked by the method");
    let with_code = |n: u8| {
        let code = codes[0].clone();
        world.sign_up(move |wish| {
            wish.handle = format!("user{n}.test").parse().expect("a handle");
            wish.email = None;
            wish.invite_code = Some(code);
        })
    };
    let outcomes = futures::future::join_all((0..4).map(with_code)).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refused = outcomes.into_iter().filter_map(Result::err);
    assert!(refused.into_iter().all(|error| matches!(error, LifecycleError::Invite(InviteError::NotAvailable))));
}

#[tokio::test]
async fn nobody_comes_by_the_invite_codes_of_an_account_that_was_taken_down() {
    let world = World::new().await;
    let alice = world.sign_up(|_| {}).await.expect("made");
    let invites = &world.lifecycle.invites;
    let codes = |owner: Inviter| invites.create_blocking(Some(&owner), 1, 1, NOW).expect("made").remove(0);
    let code = codes((&alice).into());
    let stranger = codes(Inviter { did: "did:web:elsewhere.test".parse().expect("a DID"), id: None });
    let taken = TakedownRow { reference: None, at: NOW };
    world.lifecycle.set_takedown_blocking(alice.id(), Some(taken)).expect("taken down");
    assert!(matches!(invites.check_blocking(&code), Err(InviteError::NotAvailable)));
    world.lifecycle.set_takedown_blocking(alice.id(), None).expect("brought back");
    invites.check_blocking(&code).expect("good again");
    invites.check_blocking(&stranger).expect("good too");
    let known = invites.of_account_blocking(&alice, false, NOW).expect("reads");
    assert_eq!(known.into_iter().map(|(code, _)| code).collect::<Vec<_>>(), [code]);
}

#[tokio::test]
async fn who_moves_in_is_switched_on_when_the_identity_leads_here() {
    let world = World::new().await;
    let did: Did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().expect("a DID");
    let moved = world.sign_up(|wish| wish.moved = Some(Moved::Existing(did.clone()))).await.expect("made");
    assert_eq!((moved.did(), moved.status().name()), (&did, Some("deactivated")));
    assert!(world.told().is_empty(), "nobody is told before");
    let early = world.lifecycle.activate(&moved).await;
    assert!(matches!(early, Err(LifecycleError::Directory(DirectoryError::NotRegistered(_)))));
}

#[tokio::test]
async fn switching_off_and_on_tells_followers_each_time() {
    let world = World::new().await;
    let alice = world.sign_up(|_| {}).await.expect("made");
    let status = || async { world.lifecycle.accounts.by_id(alice.id()).await.expect("reads").expect("there").status() };
    world.lifecycle.deactivate(&alice, None).await.expect("switched off");
    assert_eq!(status().await.name(), Some("deactivated"));
    let taken = TakedownRow { reference: None, at: NOW };
    world.lifecycle.set_takedown_blocking(alice.id(), Some(taken)).expect("taken down");
    assert!(matches!(world.lifecycle.activate(&alice).await, Err(LifecycleError::TakenDown)));
    world.lifecycle.set_takedown_blocking(alice.id(), None).expect("brought back");
    assert_eq!(status().await.name(), Some("deactivated"), "its owner had switched it off");
    world.lifecycle.activate(&alice).await.expect("switched on");
    assert!(status().await.is_active());
    let expected = [
        firehose::ACCOUNT,
        firehose::ACCOUNT,
        firehose::ACCOUNT,
        firehose::ACCOUNT,
        firehose::IDENTITY,
        firehose::SYNC,
        firehose::ACCOUNT,
    ];
    world.lifecycle.announce_blocking(alice.id()).expect("told again");
    assert_eq!(world.told()[4..], expected);
}

#[tokio::test]
async fn an_account_that_was_switched_off_until_a_day_is_deleted_on_it_and_others_stay() {
    let world = World::new().await;
    let sign_up = |name: &str| {
        let (handle, email) = (format!("{name}.test").parse().expect("a handle"), format!("{name}@mail.test"));
        world.sign_up(|wish| (wish.handle, wish.email) = (handle, Some(email)))
    };
    let (due, later, never, active) = (
        sign_up("due").await.expect("made"),
        sign_up("later").await.expect("made"),
        sign_up("never").await.expect("made"),
        sign_up("active").await.expect("made"),
    );
    let in_seconds = |seconds: u64| Timestamp::from_millis(NOW.as_millis() + seconds * 1000);
    let off = async |account: &Account, day| world.lifecycle.deactivate(account, day).await.expect("switched off");
    off(&due, Some(in_seconds(60))).await;
    off(&later, Some(in_seconds(3600))).await;
    off(&never, None).await;
    off(&active, Some(in_seconds(60))).await;
    world.lifecycle.activate(&active).await.expect("its owner is back in time");
    assert_eq!(world.lifecycle.delete_due(in_seconds(59)).await.expect("reads"), 0);
    assert_eq!(world.lifecycle.delete_due(in_seconds(60)).await.expect("reads"), 1);
    let there = async |account: &Account| world.lifecycle.accounts.by_id(account.id()).await.expect("reads").is_some();
    assert!(!there(&due).await);
    assert!(there(&later).await && there(&never).await && there(&active).await);
    assert!(world.lifecycle.repos.head_blocking(due.id()).expect("reads").is_none());
    assert_eq!(world.told().last(), Some(&firehose::ACCOUNT), "followers are told");
}

#[tokio::test]
async fn a_deleted_account_is_gone_and_what_a_crash_left_is_cleared_at_the_next_start() {
    let world = World::new().await;
    let alice = world.sign_up(|_| {}).await.expect("made");
    // As a crash leaves it: the account is gone, its repository is not.
    world.lifecycle.accounts.remove_blocking::<LifecycleError>(alice.id(), |_, _| Ok(())).expect("removed");
    assert!(world.lifecycle.repos.head_blocking(alice.id()).expect("reads").is_some());
    let stop = CancellationToken::new();
    let sweep = tokio::spawn(world.lifecycle.clone().run_sweep(stop.clone()));
    let cleared = async {
        while world.lifecycle.repos.head_blocking(alice.id()).expect("reads").is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), cleared).await.expect("cleared away");
    stop.cancel();
    sweep.await.expect("no panic").expect("stopped well");

    let again = world.sign_up(|_| {}).await.expect("the names are free");
    world.lifecycle.delete(again.id()).await.expect("deleted");
    assert!(world.lifecycle.accounts.by_did(again.did()).await.expect("reads").is_none());
    assert!(world.lifecycle.repos.head_blocking(again.id()).expect("reads").is_none());
    assert_eq!(world.told().last(), Some(&firehose::ACCOUNT));
}

#[tokio::test]
async fn a_password_is_reset_once_with_one_code_and_ends_the_sessions() {
    use angel_storage::accounts::MailPurpose;
    let world = World::new().await;
    let alice = world.sign_up(|_| {}).await.expect("made");
    let Lifecycle { mail, accounts, .. } = &world.lifecycle;
    mail.send_code_blocking(&alice, MailPurpose::ResetPassword, NOW).expect("sent");
    let code = mail.codes().current_blocking(alice.id(), MailPurpose::ResetPassword, NOW).expect("reads");
    let code = code.expect("there");
    let reset = |hashed: &str| {
        world.lifecycle.set_password_blocking(alice.id(), hashed, NOW, |batch| {
            Ok(mail.codes().stage_use(batch, alice.id(), MailPurpose::ResetPassword, &code, NOW)?)
        })
    };
    reset("first").expect("reset");
    assert!(matches!(reset("second"), Err(LifecycleError::Code(CodeRefused::Invalid))));
    let row = accounts.by_id_blocking(alice.id()).expect("reads").expect("there").row().clone();
    assert_eq!((row.password.as_deref(), row.tokens_valid_from), (Some("first"), NOW));
}
