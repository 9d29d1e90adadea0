//! Invite codes: made by the operator, or by the node for accounts that may invite; used within the batch that makes an
//! account, so that a code is never used more often than it may.

use std::sync::{Arc, Mutex, PoisonError};

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use angel_storage::accounts::{
    self, ACCOUNTS, ACCOUNTS_BY_DID, INVITE_CODES, INVITE_CODES_BY_ACCOUNT, INVITE_USES_MAX, InviteCodeRow, InviteUse,
    MadeBy,
};
use angel_storage::codec::{Cbor, Present};
use angel_storage::limits::BULK_ROWS;
use angel_storage::{AccountId, Batch, CommitError, Reader, Writer};
use data_encoding::BASE32_NOPAD;

use crate::accounts::{Account, AccountError};
use crate::config::AccountsConfig;
use crate::secrets::{SecretError, random_bytes};

/// Most codes that one request makes.
pub const CODES_PER_REQUEST_MAX: usize = 500;

/// Unused codes that an account may hold before it gets another.
const OPEN_CODES_MAX: usize = 5;

/// How often a code is switched off again when it was used at the same time.
const DISABLE_ATTEMPTS: usize = 8;

/// The invite codes of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Invites(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reader: Reader,
    writer: Writer,
    /// What codes begin with: the host, with hyphens for dots, so that nobody takes a code for a link.
    prefix: String,
    config: AccountsConfig,
    /// Held while an account is given what it has earned: two requests at once give it once.
    giving: Mutex<()>,
}

/// Who gives codes away.
#[derive(Clone, Debug)]
pub struct Inviter {
    /// The account.
    pub did: Did,
    /// The same, if it is here.
    pub id: Option<AccountId>,
}

impl From<&Account> for Inviter {
    fn from(account: &Account) -> Self {
        Self { did: account.did().clone(), id: Some(account.id()) }
    }
}

/// A code with what is known of it.
pub type Invite = (String, InviteCodeRow);

/// Why a code is not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Not a code, used up, or switched off.
    #[error("Provided invite code not available: it is not valid, or was used already")]
    NotAvailable,
    /// More uses than a code can have.
    #[error("an invite code is good for 1 to {INVITE_USES_MAX} uses")]
    Uses,
    /// Too many codes.
    #[error("one request makes at most {CODES_PER_REQUEST_MAX} codes")]
    TooMany,
    /// No randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store fails.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Invites {
    /// The codes of a store, for the host of this name.
    #[must_use]
    pub fn new(reader: Reader, writer: Writer, host: &str, config: AccountsConfig) -> Self {
        Self(Arc::new(Shared { reader, writer, prefix: host.replace('.', "-"), config, giving: Mutex::new(()) }))
    }

    /// Whether nobody signs up without a code.
    #[must_use]
    pub fn required(&self) -> bool {
        self.0.config.invites_required
    }

    /// Makes `count` codes with `uses` uses each, for an account or for the operator. An account that is not here can
    /// have some too: it does not see them. Blocks until they are durable.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn create_blocking(
        &self,
        owner: Option<&Inviter>,
        count: usize,
        uses: u16,
        now: Timestamp,
    ) -> Result<Vec<String>, InviteError> {
        if !(1..=INVITE_USES_MAX).contains(&uses) {
            return Err(InviteError::Uses);
        }
        if count > CODES_PER_REQUEST_MAX {
            return Err(InviteError::TooMany);
        }
        let mut batch = Batch::new();
        let mut codes = Vec::with_capacity(count);
        for _ in 0..count {
            codes.push(self.stage_new(&mut batch, owner, uses, MadeBy::Operator, false, now)?);
        }
        self.0.writer.commit(batch).map_err(AccountError::from)?;
        Ok(codes)
    }

    /// The codes of an account, after giving it those that it has earned since, if it asks for them and the operator
    /// has it so. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn of_account_blocking(
        &self,
        account: &Account,
        give_earned: bool,
        now: Timestamp,
    ) -> Result<Vec<Invite>, InviteError> {
        let _giving = give_earned.then(|| self.0.giving.lock().unwrap_or_else(PoisonError::into_inner));
        let mut known = accounts::invite_codes_of(&self.0.reader, account.id()).map_err(AccountError::from)?;
        let earned = if give_earned { self.earned(account, &known, now) } else { 0 };
        if earned > 0 {
            let mut batch = Batch::new();
            let disabled = account.row().invites_disabled;
            for _ in 0..earned {
                self.stage_new(&mut batch, Some(&account.into()), 1, MadeBy::Account, disabled, now)?;
            }
            self.0.writer.commit(batch).map_err(AccountError::from)?;
            known = accounts::invite_codes_of(&self.0.reader, account.id()).map_err(AccountError::from)?;
        }
        Ok(known)
    }

    /// How many codes an account may still be given: one for each interval of its life, from the epoch on, and no more
    /// than a few at a time. Those that the operator gave do not count.
    fn earned(&self, account: &Account, known: &[Invite], now: Timestamp) -> usize {
        let config = &self.0.config;
        let Some(interval) = config.invite_interval.filter(|_| config.invites_required) else { return 0 };
        let interval = interval.as_millis().max(1);
        let epoch = Timestamp::from_millis(u64::from(config.invite_epoch) * 1000);
        let born = account.row().created_at;
        let intervals = |until: Timestamp| until.since(born).as_millis() / interval;
        let could = intervals(now) - intervals(epoch).min(intervals(now));
        let own = || known.iter().filter(|(_, row)| row.made_by == MadeBy::Account);
        let since_epoch = own().filter(|(_, row)| row.created_at > epoch).count();
        let open = own().filter(|(_, row)| !row.disabled && row.uses.len() < usize::from(row.available)).count();
        let could = usize::try_from(could).unwrap_or(usize::MAX);
        could.saturating_sub(since_epoch).min(OPEN_CODES_MAX.saturating_sub(open))
    }

    fn stage_new(
        &self,
        batch: &mut Batch,
        owner: Option<&Inviter>,
        uses: u16,
        made_by: MadeBy,
        disabled: bool,
        now: Timestamp,
    ) -> Result<String, InviteError> {
        let random = BASE32_NOPAD.encode(&random_bytes::<7>()?[..]).to_ascii_lowercase();
        let code = format!("{}-{}-{}", self.0.prefix, &random[..5], &random[5..10]);
        let row = InviteCodeRow {
            available: uses,
            disabled,
            for_account: owner.map(|owner| owner.did.clone()),
            made_by,
            created_at: now,
            uses: Vec::new(),
        };
        let stage = |batch: &mut Batch| {
            batch.expect_absent(&INVITE_CODES, &code)?;
            batch.put(&INVITE_CODES, &code, &row)?;
            match owner.and_then(|owner| owner.id) {
                Some(id) => batch.put(&INVITE_CODES_BY_ACCOUNT, &(id, code.clone()), &Present),
                None => Ok(()),
            }
        };
        stage(batch).map_err(AccountError::from)?;
        Ok(code)
    }

    /// Whether a code could be used now. Blocks.
    ///
    /// # Errors
    /// [`InviteError::NotAvailable`], or the store fails.
    pub fn check_blocking(&self, code: &str) -> Result<(), InviteError> {
        self.available(code).map(drop)
    }

    /// Adds the use of a code to the batch that makes the account. The batch is refused with a conflict on the table of
    /// codes when somebody else uses it at the same time.
    ///
    /// # Errors
    /// [`InviteError::NotAvailable`], or the store fails.
    pub fn stage_use(&self, batch: &mut Batch, code: &str, by: &Did, at: Timestamp) -> Result<(), InviteError> {
        let row = self.available(code)?;
        let mut used = row.clone();
        used.uses.push(InviteUse { by: by.clone(), at });
        let code = code.to_owned();
        let stage = |batch: &mut Batch| {
            batch.expect_value(&INVITE_CODES, &code, &row)?;
            batch.put(&INVITE_CODES, &code, &used)
        };
        Ok(stage(batch).map_err(AccountError::from)?)
    }

    fn available(&self, code: &str) -> Result<InviteCodeRow, InviteError> {
        if code.len() > 512 {
            return Err(InviteError::NotAvailable);
        }
        let row = self.0.reader.get(&INVITE_CODES, &code.to_owned()).map_err(AccountError::from)?;
        let usable = |row: &InviteCodeRow| !row.disabled && row.uses.len() < usize::from(row.available);
        let row = row.filter(usable).ok_or(InviteError::NotAvailable)?;
        match &row.for_account {
            Some(owner) if self.is_taken_down(owner)? => Err(InviteError::NotAvailable),
            _ => Ok(row),
        }
    }

    /// Whether the operator has taken down whoever gives a code away: nobody comes by them then.
    fn is_taken_down(&self, owner: &Did) -> Result<bool, AccountError> {
        let Some(Cbor(id)) = self.0.reader.get(&ACCOUNTS_BY_DID, owner)? else { return Ok(false) };
        let row = self.0.reader.get(&ACCOUNTS, &id)?;
        Ok(row.is_some_and(|row| row.takedown.is_some() || row.suspended))
    }

    /// A code, if there is one. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn get_blocking(&self, code: &str) -> Result<Option<InviteCodeRow>, AccountError> {
        Ok(self.0.reader.get(&INVITE_CODES, &code.to_owned())?)
    }

    /// Every code. For the operator, who does not ask often. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn all_blocking(&self) -> Result<Vec<Invite>, AccountError> {
        let mut all: Vec<Invite> = Vec::new();
        loop {
            let scan = self.0.reader.scan(&INVITE_CODES);
            let page = match all.last() {
                Some((last, _)) => scan.after(last).page(BULK_ROWS)?,
                None => scan.page(BULK_ROWS)?,
            };
            all.extend(page.rows);
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// Switches off a code; one that is not there is off already. Blocks until that is durable.
    ///
    /// # Errors
    /// The store fails.
    pub fn disable_blocking(&self, code: &str) -> Result<(), AccountError> {
        let code = code.to_owned();
        for _ in 0..DISABLE_ATTEMPTS {
            let Some(row) = self.0.reader.get(&INVITE_CODES, &code)? else { return Ok(()) };
            let mut batch = Batch::new();
            batch.expect_value(&INVITE_CODES, &code, &row)?;
            batch.put(&INVITE_CODES, &code, &InviteCodeRow { disabled: true, ..row })?;
            match self.0.writer.commit(batch) {
                Err(CommitError::Conflict { .. }) => continue,
                committed => return Ok(committed.map(drop)?),
            }
        }
        Err(AccountError::Busy)
    }

    /// Switches off the codes of an account. Blocks until that is durable.
    ///
    /// # Errors
    /// The store fails.
    pub fn disable_of_account_blocking(&self, id: AccountId) -> Result<(), AccountError> {
        for (code, _) in accounts::invite_codes_of(&self.0.reader, id)? {
            self.disable_blocking(&code)?;
        }
        Ok(())
    }
}
