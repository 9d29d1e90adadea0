//! Sessions: who is logged in, with which rights, and until when.
//!
//! A login gives two tokens. The access token is good for two hours and asks the store for nothing; the refresh token is
//! good for one refresh, which gives the next pair. The one before is answered for two more hours, because its answer
//! may have been lost; any older one means that a copy is in use, and ends the session for everybody who holds it.
//! Whether a password is right is not asked here.

mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use angel_storage::accounts::{self, ACCOUNTS, APP_PASSWORDS, AppPasswordRow, SESSIONS, SessionRow, TokenId};
use angel_storage::batch::RowRefused;
use angel_storage::{AccountId, Batch, CommitError, Reader, Writer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::accounts::{Account, AccountError};
use crate::config::Secret;
use crate::data_dir::Layout;
use crate::placement::{Fence, Placement};
use crate::secrets::{SecretError, create_secret, random_bytes, read_secret};

use self::token::{Claims, TokenKey};
pub use self::token::{Scope, TokenRefused};

/// How long an access token is good, as on other hosts.
const ACCESS_LIFE: Duration = Duration::from_hours(2);

/// How long a session lasts without a refresh.
const REFRESH_LIFE: Duration = Duration::from_hours(90 * 24);

/// How long the refresh token before the current one is still answered.
const GRACE: Duration = Duration::from_hours(2);

/// Most sessions of one account; the one that was not refreshed for longest makes room.
const SESSIONS_MAX: usize = 256;

/// Most app passwords of one account.
pub const APP_PASSWORDS_MAX: usize = 100;

/// How often a refresh is tried again when the same session is refreshed elsewhere at the same time.
const REFRESH_ATTEMPTS: usize = 8;

const SECRET_FILE: &str = "session.key";

/// The sessions of this node. Cheap to clone.
#[derive(Clone)]
pub struct Sessions(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: Writer,
    key: TokenKey,
    audience: Did,
    fence: Fence,
}

impl Sessions {
    /// From now on `placement` says whose app passwords may be changed here.
    pub(crate) fn guard(&self, placement: Placement) {
        self.0.fence.raise(placement);
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

/// What a login or a refresh gives.
#[derive(Clone)]
pub struct Tokens {
    /// For requests.
    pub access: String,
    /// For the next pair.
    pub refresh: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

/// How somebody logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// With the account's own password.
    Owner,
    /// With an app password.
    App {
        /// Its name.
        name: String,
        /// Whether it may read and write private messages.
        privileged: bool,
    },
}

/// An access token that is genuine and has not expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Whose.
    pub did: Did,
    /// What it allows.
    pub scope: Scope,
    /// When it was made, in whole seconds.
    issued_at: u64,
}

impl AccessToken {
    /// Whether it was made before the account's tokens became void.
    #[must_use]
    pub fn is_void(&self, account: &Account) -> bool {
        self.is_from_before(account.row().tokens_valid_from)
    }

    /// Whether it was made before `moment`.
    #[must_use]
    pub fn is_from_before(&self, moment: Timestamp) -> bool {
        self.issued_at < moment.as_millis() / 1000
    }
}

/// A refresh token that is genuine. Whether its session lives is told by [`Sessions::refresh_blocking`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// Whose.
    pub did: Did,
    session: [u8; 16],
    token: TokenId,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The token is not believed, or its session has ended.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// An app password of that name exists.
    #[error("an app password of that name exists; revoke it first, or choose another name")]
    NameTaken,
    /// As many as are allowed.
    #[error("an account has at most {APP_PASSWORDS_MAX} app passwords; revoke one first")]
    TooManyAppPasswords,
    /// No randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store fails.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<angel_storage::reader::ReadError> for SessionError {
    fn from(error: angel_storage::reader::ReadError) -> Self {
        Self::Account(error.into())
    }
}

impl From<RowRefused> for SessionError {
    fn from(error: RowRefused) -> Self {
        Self::Account(error.into())
    }
}

impl From<CommitError> for SessionError {
    fn from(error: CommitError) -> Self {
        Self::Account(error.into())
    }
}

impl Sessions {
    /// The sessions of an open store; `audience` is this host. Makes a signing secret at the first start, unless one is
    /// configured. Blocks.
    ///
    /// # Errors
    /// The secret cannot be read or made.
    pub fn open(
        reader: Reader,
        writer: Writer,
        layout: &Layout,
        configured: Option<&Secret>,
        audience: Did,
    ) -> Result<Self, SecretError> {
        let key = match configured {
            Some(secret) => TokenKey::new(secret.expose().as_bytes()),
            None => TokenKey::new(load_or_create(layout)?.trim().as_bytes()),
        };
        Ok(Self(Arc::new(Shared { reader, writer, key, audience, fence: Fence::default() })))
    }

    /// Opens a session within `batch`, for an account that is made in it.
    ///
    /// # Errors
    /// There is no randomness, or the batch is full.
    pub fn stage_new(
        &self,
        batch: &mut Batch,
        id: AccountId,
        did: &Did,
        login: Login,
        now: Timestamp,
    ) -> Result<Tokens, SessionError> {
        let (session, token) = (*random_bytes::<16>()?, *random_bytes::<16>()?);
        let (app_password, privileged) = match login {
            Login::Owner => (None, false),
            Login::App { name, privileged } => (Some(name), privileged),
        };
        let row = SessionRow {
            created_at: now,
            current: token,
            refreshed_at: now,
            expires_at: now + REFRESH_LIFE,
            previous: None,
            app_password,
            privileged,
        };
        batch.put(&SESSIONS, &(id, session), &row)?;
        Ok(self.tokens(did, session, &row, now))
    }

    /// Opens a session. Blocks until it is durable.
    ///
    /// # Errors
    /// There is no randomness, or the store fails.
    pub fn create_blocking(&self, account: &Account, login: Login, now: Timestamp) -> Result<Tokens, SessionError> {
        let mut batch = Batch::new();
        let known = accounts::all_of(&self.0.reader, &SESSIONS, account.id())?;
        let (ended, mut living): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, row)| row.expires_at <= now);
        living.sort_by_key(|(_, row)| row.refreshed_at);
        let surplus = (living.len() + 1).saturating_sub(SESSIONS_MAX);
        for (session, _) in ended.iter().chain(living.iter().take(surplus)) {
            batch.delete(&SESSIONS, &(account.id(), *session))?;
        }
        let tokens = self.stage_new(&mut batch, account.id(), account.did(), login, now)?;
        // The password was compared with this row: a session that it no longer opens must not begin.
        batch.expect_value(&ACCOUNTS, &account.id(), account.row())?;
        match self.0.writer.commit(batch) {
            Err(CommitError::Conflict { .. }) => Err(AccountError::Busy.into()),
            committed => Ok(committed.map(|_| tokens)?),
        }
    }

    /// Tokens for the owner of an account that was taken down: enough to leave, and not to be refreshed.
    #[must_use]
    pub fn tokens_to_leave(&self, did: &Did, now: Timestamp) -> Tokens {
        let access = self.sign(did, Scope::TakenDown, None, now, now + ACCESS_LIFE);
        let refresh = self.sign(did, Scope::Refresh, Some(jti([0; 16], [0; 16])), now, now + ACCESS_LIFE);
        Tokens { access, refresh }
    }

    /// What an access token says, if it is genuine and good now.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub fn access_token(&self, token: &str, now: Timestamp) -> Result<AccessToken, TokenRefused> {
        let claims = self.claims(token)?;
        if claims.scope == Scope::Refresh {
            return Err(TokenRefused::Invalid("Invalid token type, a refresh token gives no access"));
        }
        if claims.exp <= now.as_millis() / 1000 {
            return Err(TokenRefused::Expired);
        }
        Ok(AccessToken { did: claims.sub, scope: claims.scope, issued_at: claims.iat })
    }

    /// What a refresh token says, if it is genuine.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub fn refresh_token(&self, token: &str, now: Timestamp) -> Result<RefreshToken, TokenRefused> {
        let claims = self.refresh_claims(token)?;
        if claims.exp <= now.as_millis() / 1000 {
            return Err(TokenRefused::Expired);
        }
        refresh_token_of(claims).ok_or(TokenRefused::Invalid("it names no session"))
    }

    /// The same of one that may have expired: to end what may be left of its session. `None` when it names none.
    ///
    /// # Errors
    /// [`TokenRefused::Invalid`].
    pub fn old_refresh_token(&self, token: &str) -> Result<Option<RefreshToken>, TokenRefused> {
        Ok(refresh_token_of(self.refresh_claims(token)?))
    }

    fn refresh_claims(&self, token: &str) -> Result<Claims, TokenRefused> {
        let claims = self.claims(token)?;
        if claims.scope != Scope::Refresh {
            return Err(TokenRefused::Invalid("Invalid token type, it is no refresh token"));
        }
        Ok(claims)
    }

    /// Trades a refresh token for the next pair. Blocks until that is durable.
    ///
    /// # Errors
    /// [`TokenRefused::Revoked`] when the session has ended, or ends because the token was used before.
    pub fn refresh_blocking(
        &self,
        account: &Account,
        offered: &RefreshToken,
        now: Timestamp,
    ) -> Result<Tokens, SessionError> {
        let key = (account.id(), offered.session);
        for _ in 0..REFRESH_ATTEMPTS {
            let row = self.0.reader.get(&SESSIONS, &key)?.filter(|row| row.expires_at > now);
            let Some(row) = row else { return Err(TokenRefused::Revoked.into()) };
            let is = |known: &TokenId| bool::from(known.ct_eq(&offered.token));
            if row.previous.as_ref().is_some_and(|(token, until)| is(token) && *until > now) {
                return Ok(self.tokens(account.did(), offered.session, &row, now));
            }
            let mut batch = Batch::new();
            batch.expect_value(&SESSIONS, &key, &row)?;
            let next = if is(&row.current) {
                let next = SessionRow {
                    current: *random_bytes::<16>()?,
                    refreshed_at: now,
                    expires_at: now + REFRESH_LIFE,
                    previous: Some((row.current, now + GRACE)),
                    ..row
                };
                batch.put(&SESSIONS, &key, &next)?;
                Some(next)
            } else {
                tracing::warn!(account = %account.did(), "a refresh token was used twice; its session was ended");
                batch.delete(&SESSIONS, &key)?;
                None
            };
            match (self.0.writer.commit(batch), next) {
                (Err(CommitError::Conflict { .. }), _) => continue,
                (Err(error), _) => return Err(error.into()),
                (Ok(_), Some(next)) => return Ok(self.tokens(account.did(), offered.session, &next, now)),
                (Ok(_), None) => return Err(TokenRefused::Revoked.into()),
            }
        }
        Err(AccountError::Busy.into())
    }

    /// Ends the session of a refresh token, whatever is left of it. Blocks until that is durable.
    ///
    /// # Errors
    /// The store fails.
    pub fn end_blocking(&self, id: AccountId, offered: &RefreshToken) -> Result<(), SessionError> {
        let mut batch = Batch::new();
        batch.delete(&SESSIONS, &(id, offered.session))?;
        self.0.writer.commit(batch)?;
        Ok(())
    }

    /// Adds the end of an account's sessions to `batch`: all of them, or those of one app password.
    ///
    /// # Errors
    /// The store fails, or the batch is full.
    pub fn stage_end(&self, batch: &mut Batch, id: AccountId, app_password: Option<&str>) -> Result<(), AccountError> {
        for (session, row) in accounts::all_of(&self.0.reader, &SESSIONS, id)? {
            if app_password.is_none() || row.app_password.as_deref() == app_password {
                batch.delete(&SESSIONS, &(id, session))?;
            }
        }
        Ok(())
    }

    /// The app passwords of an account, by name. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn app_passwords_blocking(&self, id: AccountId) -> Result<Vec<(String, AppPasswordRow)>, SessionError> {
        Ok(accounts::all_of(&self.0.reader, &APP_PASSWORDS, id)?)
    }

    /// Adds an app password. Blocks until it is durable.
    ///
    /// # Errors
    /// [`SessionError::NameTaken`], [`SessionError::TooManyAppPasswords`], or the store fails.
    pub fn add_app_password_blocking(
        &self,
        id: AccountId,
        name: &str,
        row: &AppPasswordRow,
    ) -> Result<(), SessionError> {
        if self.app_passwords_blocking(id)?.len() >= APP_PASSWORDS_MAX {
            return Err(SessionError::TooManyAppPasswords);
        }
        let leave = self.0.fence.enter_blocking(id).map_err(AccountError::from)?;
        let mut batch = Batch::new();
        let key = (id, name.to_owned());
        batch.expect_absent(&APP_PASSWORDS, &key)?;
        batch.put(&APP_PASSWORDS, &key, row)?;
        match self.0.writer.commit(batch) {
            Err(CommitError::Conflict { .. }) => Err(SessionError::NameTaken),
            committed => Ok(leave.replicated_blocking(committed?).map_err(AccountError::from)?),
        }
    }

    /// Removes an app password and ends its sessions. Blocks until that is durable.
    ///
    /// # Errors
    /// The store fails.
    pub fn revoke_app_password_blocking(&self, id: AccountId, name: &str) -> Result<(), SessionError> {
        let leave = self.0.fence.enter_blocking(id).map_err(AccountError::from)?;
        let mut batch = Batch::new();
        batch.delete(&APP_PASSWORDS, &(id, name.to_owned()))?;
        self.stage_end(&mut batch, id, Some(name))?;
        let committed = self.0.writer.commit(batch)?;
        Ok(leave.replicated_blocking(committed).map_err(AccountError::from)?)
    }

    fn claims(&self, token: &str) -> Result<Claims, TokenRefused> {
        let claims = self.0.key.verify(token)?;
        if claims.aud == self.0.audience { Ok(claims) } else { Err(TokenRefused::Invalid("it is for another host")) }
    }

    fn tokens(&self, did: &Did, session: [u8; 16], row: &SessionRow, now: Timestamp) -> Tokens {
        let scope = match (&row.app_password, row.privileged) {
            (None, _) => Scope::Access,
            (Some(_), true) => Scope::AppPasswordPrivileged,
            (Some(_), false) => Scope::AppPassword,
        };
        Tokens {
            access: self.sign(did, scope, None, now, now + ACCESS_LIFE),
            refresh: self.sign(did, Scope::Refresh, Some(jti(session, row.current)), now, row.expires_at),
        }
    }

    fn sign(&self, did: &Did, scope: Scope, jti: Option<String>, now: Timestamp, until: Timestamp) -> String {
        let (iat, exp) = (now.as_millis() / 1000, until.as_millis() / 1000);
        self.0.key.sign(&Claims { scope, aud: self.0.audience.clone(), sub: did.clone(), jti, iat, exp })
    }
}

/// Session and token in one text, as the token carries them.
fn jti(session: [u8; 16], token: TokenId) -> String {
    URL_SAFE_NO_PAD.encode([session, token].concat())
}

/// What a refresh token of ours names; `None` of one that names something else.
fn refresh_token_of(claims: Claims) -> Option<RefreshToken> {
    let (session, token) = split_jti(claims.jti.as_deref()?)?;
    Some(RefreshToken { did: claims.sub, session, token })
}

fn split_jti(jti: &str) -> Option<([u8; 16], TokenId)> {
    let bytes = URL_SAFE_NO_PAD.decode(jti).ok()?;
    let (session, token) = bytes.split_first_chunk::<16>()?;
    Some((*session, token.try_into().ok()?))
}

fn load_or_create(layout: &Layout) -> Result<Zeroizing<String>, SecretError> {
    let path = layout.secrets().join(SECRET_FILE);
    let text = match read_secret(&path)? {
        Some(text) => text,
        None => {
            let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*random_bytes::<32>()?));
            create_secret(&path, &text)?;
            text
        }
    };
    if text.trim().len() < 32 {
        return Err(SecretError::Corrupt { path, what: "it is too short for a signing secret" });
    }
    Ok(text)
}
