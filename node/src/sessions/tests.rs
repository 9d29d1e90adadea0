use angel_storage::Store;
use tempfile::TempDir;

use super::*;
use crate::accounts::Accounts;
use crate::accounts::tests::new_account;
use crate::data_dir::DataDir;
use crate::passwords::app_password_digest;

struct World {
    store: Store,
    accounts: Accounts,
    sessions: Sessions,
    alice: Account,
    data: DataDir,
    _dir: TempDir,
}

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(dir.path()).expect("made");
        let store = Store::in_memory().expect("starts");
        let (reader, writer) = (store.reader().clone(), store.writer().clone());
        let accounts = Accounts::open(reader, writer, data.layout()).expect("opens");
        let sessions = open(&store, &data, None);
        let new = new_account("did:plc:alice", "alice.test", None);
        let alice = accounts.create_blocking::<AccountError>(new, |_, _, _| Ok(())).expect("made");
        Self { store, accounts, sessions, alice, data, _dir: dir }
    }

    fn login(&self, login: Login, now: Timestamp) -> Tokens {
        self.sessions.create_blocking(&self.alice, login, now).expect("logged in")
    }

    fn refresh(&self, token: &str, now: Timestamp) -> Result<Tokens, SessionError> {
        let token = self.sessions.refresh_token(token, now)?;
        self.sessions.refresh_blocking(&self.alice, &token, now)
    }

    fn is_ended(&self, token: &str, now: Timestamp) -> bool {
        matches!(self.refresh(token, now), Err(SessionError::Token(TokenRefused::Revoked)))
    }
}

fn open(store: &Store, data: &DataDir, secret: Option<&str>) -> Sessions {
    let secret = secret.map(|secret| Secret::new(secret.to_owned()));
    let audience = "did:web:host.test".parse().expect("a DID");
    let (reader, writer) = (store.reader().clone(), store.writer().clone());
    Sessions::open(reader, writer, data.layout(), secret.as_ref(), audience).expect("opens")
}

#[test]
fn a_login_gives_access_for_two_hours_and_a_refresh_for_ninety_days() {
    let world = World::new();
    let tokens = world.login(Login::Owner, START);
    let access = |now| world.sessions.access_token(&tokens.access, now);
    let token = access(START).expect("good");
    assert_eq!((token.did.as_str(), token.scope), ("did:plc:alice", Scope::Access));
    assert!(access(START + Duration::from_secs(7199)).is_ok());
    assert_eq!(access(START + ACCESS_LIFE), Err(TokenRefused::Expired));
    assert!(world.refresh(&tokens.refresh, START + REFRESH_LIFE - Duration::from_secs(1)).is_ok());
    let late = world.refresh(&tokens.refresh, START + REFRESH_LIFE + REFRESH_LIFE);
    assert!(matches!(late, Err(SessionError::Token(TokenRefused::Expired))));
    assert!(matches!(world.sessions.access_token(&tokens.refresh, START), Err(TokenRefused::Invalid(_))));
    assert!(matches!(world.refresh(&tokens.access, START), Err(SessionError::Token(TokenRefused::Invalid(_)))));
}

#[test]
fn a_lost_answer_can_be_asked_for_again_and_gives_the_same_next_token() {
    let world = World::new();
    let first = world.login(Login::Owner, START);
    let second = world.refresh(&first.refresh, START).expect("refreshed");
    let again = world.refresh(&first.refresh, START + Duration::from_secs(60)).expect("within the grace");
    let id = |tokens: &Tokens| world.sessions.refresh_token(&tokens.refresh, START).expect("good");
    assert_eq!(id(&second), id(&again));
    assert_ne!(id(&first), id(&second));
    assert!(world.refresh(&again.refresh, START + Duration::from_secs(61)).is_ok());
}

#[test]
fn a_token_used_twice_ends_the_session_for_everybody() {
    let world = World::new();
    let stolen = world.login(Login::Owner, START);
    let other = world.login(Login::Owner, START);
    let next = world.refresh(&stolen.refresh, START).expect("refreshed");
    let late = START + GRACE;
    assert!(world.is_ended(&stolen.refresh, late), "used again after the grace");
    assert!(world.is_ended(&next.refresh, late), "and with it ends the session");
    assert!(world.refresh(&other.refresh, late).is_ok(), "another login is not touched");

    // Two generations back is too old even within the grace.
    let first = world.login(Login::Owner, START);
    let second = world.refresh(&first.refresh, START).expect("refreshed");
    let third = world.refresh(&second.refresh, START).expect("refreshed");
    assert!(world.is_ended(&first.refresh, START) && world.is_ended(&third.refresh, START));
}

#[test]
fn concurrent_refreshes_agree_on_the_next_token() {
    let world = World::new();
    let first = world.login(Login::Owner, START);
    let ids: Vec<_> = std::thread::scope(|scope| {
        let refresh = || {
            let tokens = world.refresh(&first.refresh, START).expect("refreshed");
            world.sessions.refresh_token(&tokens.refresh, START).expect("good").token
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(refresh)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
}

#[test]
fn ended_sessions_stay_ended() {
    let world = World::new();
    let tokens = world.login(Login::Owner, START);
    let expired = world.sessions.refresh_token(&tokens.refresh, START + REFRESH_LIFE);
    assert!(matches!(expired, Err(TokenRefused::Expired)));
    let token =
        world.sessions.old_refresh_token(&tokens.refresh).expect("even when expired").expect("it names a session");
    world.sessions.end_blocking(world.alice.id(), &token).expect("ended");
    assert!(world.is_ended(&tokens.refresh, START));
    // One that another program signed with the same secret may name its sessions otherwise: there is none to end.
    let exp = START.as_millis() / 1000;
    let (aud, sub) = (world.sessions.0.audience.clone(), world.alice.did().clone());
    let claims = Claims { scope: Scope::Refresh, aud, sub, jti: Some("elsewhere".to_owned()), iat: exp, exp };
    let foreign = world.sessions.0.key.sign(&claims);
    assert!(matches!(world.sessions.old_refresh_token(&foreign), Ok(None)));
    assert!(matches!(world.sessions.refresh_token(&foreign, START), Err(TokenRefused::Expired)));
    assert!(world.sessions.old_refresh_token(&tokens.access).is_err(), "it is no refresh token");
}

#[test]
fn an_app_password_brings_its_rights_and_takes_its_sessions_along() {
    let world = World::new();
    let id = world.alice.id();
    let row = |privileged| AppPasswordRow {
        digest: app_password_digest(world.alice.did(), "abcd"),
        created_at: START,
        privileged,
    };
    world.sessions.add_app_password_blocking(id, "reader", &row(false)).expect("added");
    let again = world.sessions.add_app_password_blocking(id, "reader", &row(true));
    assert!(matches!(again, Err(SessionError::NameTaken)));
    let login = |name: &str, privileged| world.login(Login::App { name: name.to_owned(), privileged }, START);
    let (reader, chat, owner) = (login("reader", false), login("chat", true), world.login(Login::Owner, START));
    let scope = |tokens: &Tokens| world.sessions.access_token(&tokens.access, START).expect("good").scope;
    assert_eq!((scope(&reader), scope(&chat)), (Scope::AppPassword, Scope::AppPasswordPrivileged));
    let reader = world.refresh(&reader.refresh, START).expect("refreshed");
    assert_eq!(scope(&reader), Scope::AppPassword, "a refresh gives no further rights");

    world.sessions.revoke_app_password_blocking(id, "reader").expect("revoked");
    assert!(world.is_ended(&reader.refresh, START));
    assert!(world.refresh(&chat.refresh, START).is_ok() && world.refresh(&owner.refresh, START).is_ok());
    assert!(world.sessions.app_passwords_blocking(id).expect("reads").is_empty());
}

#[test]
fn app_passwords_and_sessions_are_bounded() {
    let world = World::new();
    let row = AppPasswordRow { digest: vec![0; 32], created_at: START, privileged: false };
    for n in 0..APP_PASSWORDS_MAX {
        world.sessions.add_app_password_blocking(world.alice.id(), &n.to_string(), &row).expect("added");
    }
    let one_more = world.sessions.add_app_password_blocking(world.alice.id(), "more", &row);
    assert!(matches!(one_more, Err(SessionError::TooManyAppPasswords)));

    let oldest = world.login(Login::Owner, START);
    let kept = world.login(Login::Owner, START + Duration::from_secs(1));
    for n in 0..SESSIONS_MAX - 1 {
        world.login(Login::Owner, START + Duration::from_secs(2 + u64::try_from(n).expect("small")));
    }
    let now = START + Duration::from_mins(30);
    assert!(world.is_ended(&oldest.refresh, now), "the oldest made room");
    assert!(world.refresh(&kept.refresh, now).is_ok());
}

#[test]
fn a_login_that_a_new_password_overtakes_does_not_begin() {
    let world = World::new();
    let change = world.accounts.change_blocking::<_, AccountError>(world.alice.id(), |row, batch| {
        row.password = Some("another".to_owned());
        row.tokens_valid_from = START + Duration::from_secs(10);
        world.sessions.stage_end(batch, world.alice.id(), None)
    });
    let (changed, ()) = change.expect("changed");
    let late = world.sessions.create_blocking(&world.alice, Login::Owner, START);
    assert!(matches!(late, Err(SessionError::Account(AccountError::Busy))));
    let token = |now| {
        let tokens = world.sessions.create_blocking(&changed, Login::Owner, now).expect("logged in");
        world.sessions.access_token(&tokens.access, now).expect("good")
    };
    assert!(token(START).is_void(&changed) && !token(START + Duration::from_secs(10)).is_void(&changed));
}

#[test]
fn tokens_of_another_secret_or_host_are_refused() {
    let world = World::new();
    let tokens = world.login(Login::Owner, START);
    let access = |sessions: &Sessions| sessions.access_token(&tokens.access, START);
    assert!(access(&open(&world.store, &world.data, None)).is_ok(), "the secret survives a restart");
    assert!(access(&open(&world.store, &world.data, Some("configured"))).is_err());
    let elsewhere = Sessions::open(
        world.store.reader().clone(),
        world.store.writer().clone(),
        world.data.layout(),
        None,
        "did:web:elsewhere.test".parse().expect("a DID"),
    );
    assert!(access(&elsewhere.expect("opens")).is_err());
}

#[test]
fn the_owner_of_a_taken_down_account_can_leave_and_not_stay() {
    let world = World::new();
    let tokens = world.sessions.tokens_to_leave(world.alice.did(), START);
    assert_eq!(world.sessions.access_token(&tokens.access, START).expect("good").scope, Scope::TakenDown);
    assert!(world.is_ended(&tokens.refresh, START));
}
