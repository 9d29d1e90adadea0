//! What is kept for an account besides repository and files, sealed with `age` to the node that is to hold it.
//!
//! A standby stores the ciphertext and opens it on the day it takes over. Its `age` key is a file in `secrets/`, so its
//! store alone, or a copy of it, tells nobody anything.

use std::sync::Arc;

use age::secrecy::ExposeSecret;
use age::x25519;
use angel_protocol::replication::wire::{AccountState, AppPassword, InvalidFrame, Sealed};
use angel_storage::accounts::{ACCOUNTS, APP_PASSWORDS, AppPasswordRow, PREFERENCES, all_of};
use angel_storage::{AccountId, Batch, replicas};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Replication, ReplicationError};
use crate::accounts::{AccountRow, Deactivation};
use crate::clock;
use crate::data_dir::Layout;
use crate::placement::Tenant;
use crate::secrets::{SecretError, create_secret, read_secret};

const FILE: &str = "replica-age.key";

/// This node's key for what is sealed to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sealing(Arc<x25519::Identity>);

/// Why something cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealingError {
    /// The key.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It was sealed to another key, or is damaged.
    #[error("what was sealed to this node does not open: {0}; is secrets/{FILE} from the same node as the store?")]
    Open(#[from] age::DecryptError),
    /// It cannot be sealed.
    #[error("cannot seal: {0}")]
    Seal(String),
    /// What was in it is nothing that was expected.
    #[error(transparent)]
    Form(#[from] InvalidFrame),
}

impl Sealing {
    /// Reads the key, or makes one. Blocks.
    pub(crate) fn load_or_create(layout: &Layout) -> Result<Self, SecretError> {
        let path = layout.secrets().join(FILE);
        let text = match read_secret(&path)? {
            Some(text) => text,
            None => {
                let new = x25519::Identity::generate();
                let text = Zeroizing::new(format!("{}\n", new.to_string().expose_secret()));
                create_secret(&path, &text)?;
                text
            }
        };
        let key = text.trim().parse();
        key.map(|key| Self(Arc::new(key))).map_err(|_| SecretError::Corrupt { path, what: "it holds no age key" })
    }

    /// To whom others seal.
    pub(crate) fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        Ok(Zeroizing::new(age::decrypt(&*self.0, sealed)?))
    }
}

pub(super) fn seal(recipient: &str, secret: &[u8]) -> Result<Vec<u8>, SealingError> {
    let recipient: x25519::Recipient = recipient.parse().map_err(|why: &str| SealingError::Seal(why.to_owned()))?;
    age::encrypt(&recipient, secret).map_err(|error| SealingError::Seal(error.to_string()))
}

impl Replication {
    /// The state of an account that lives here, and its digest. Blocks.
    pub(super) fn state_blocking(
        &self,
        tenant: &Tenant,
        account: AccountId,
    ) -> Result<(Zeroizing<Vec<u8>>, [u8; 32]), ReplicationError> {
        let parts = &self.0.parts;
        let row = parts.reader.get(&ACCOUNTS, &account)?.ok_or(crate::accounts::AccountError::NotFound)?;
        let passwords = all_of(&parts.reader, &APP_PASSWORDS, account)?;
        let wallet = parts.accounts.kept_wallet_key_blocking(account)?;
        let webhooks = parts.accounts.kept_webhooks_seed_blocking(account)?;
        let settings = replicas::settings(&parts.reader, &tenant.did)?;
        let state = AccountState {
            handle: row.handle.as_ref().map(ToString::to_string),
            email: row.email,
            email_confirmed_at: row.email_confirmed_at,
            second_factor: row.second_factor,
            password: row.password,
            recovery_key: row.recovery_key,
            created_at: row.created_at,
            suspended: row.suspended,
            deactivated: row.deactivated.is_some(),
            taken_down: row.takedown.is_some(),
            invites_disabled: row.invites_disabled,
            app_passwords: passwords.into_iter().map(app_password).collect(),
            preferences: PREFERENCES.get(&parts.reader, &account)?.map(ByteBuf::from),
            wallet: wallet.map(|key| ByteBuf::from(key.seed().to_vec())),
            webhooks: webhooks.map(|seed| ByteBuf::from(seed.to_vec())),
            waits_for_standby: settings.waits_for_standby,
            recovery: settings.recovery,
            standbys: settings.standbys,
        };
        let bytes = Zeroizing::new(state.encode().map_err(SealingError::from)?);
        let digest = Sha256::digest(&*bytes).into();
        Ok((bytes, digest))
    }

    /// The state sealed to `recipient`. Blocks.
    pub(super) fn sealed_state_blocking(
        &self,
        tenant: &Tenant,
        account: AccountId,
        recipient: &str,
    ) -> Result<Sealed, ReplicationError> {
        let (bytes, digest) = self.state_blocking(tenant, account)?;
        Ok(Sealed { state: seal(recipient, &bytes)?, digest, shares: Vec::new() })
    }

    /// The state that was sealed to this node for a tenant. Blocks.
    pub(crate) fn held_state_blocking(&self, tenant: &Tenant) -> Result<Option<AccountState>, ReplicationError> {
        let key = (tenant.did.clone(), replicas::Sealed::State.number());
        let Some(sealed) = replicas::SEALED.get(&self.0.parts.reader, &key)? else { return Ok(None) };
        let bytes = self.0.parts.sealing.open(&sealed)?;
        Ok(Some(AccountState::decode(&bytes).map_err(SealingError::from)?))
    }

    /// Puts what was sealed into the account that is to be served, all but its names, which others here may have. Blocks.
    pub(crate) fn stage_state(
        &self,
        batch: &mut Batch,
        id: AccountId,
        row: &mut AccountRow,
        state: &AccountState,
    ) -> Result<(), ReplicationError> {
        let parts = &self.0.parts;
        row.password.clone_from(&state.password);
        row.recovery_key.clone_from(&state.recovery_key);
        row.created_at = state.created_at;
        row.suspended = state.suspended;
        row.invites_disabled = state.invites_disabled;
        row.deactivated = state.deactivated.then(|| Deactivation::new(clock::now(), None));
        if state.taken_down && row.takedown.is_none() {
            // The operator of the node before took it down: this one decides anew, but not by accident.
            row.suspended = true;
        }
        for (name, _) in all_of(&parts.reader, &APP_PASSWORDS, id)? {
            batch.delete(&APP_PASSWORDS, &(id, name))?;
        }
        for it in &state.app_passwords {
            let kept =
                AppPasswordRow { digest: it.digest.clone(), created_at: it.created_at, privileged: it.privileged };
            batch.put(&APP_PASSWORDS, &(id, it.name.clone()), &kept)?;
        }
        PREFERENCES.delete(&parts.reader, batch, &id)?;
        if let Some(preferences) = &state.preferences {
            PREFERENCES.put(batch, &id, preferences)?;
        }
        if let Some(seed) = state.wallet.as_ref().and_then(|seed| <[u8; 32]>::try_from(seed.as_slice()).ok()) {
            parts.accounts.stage_wallet_key(batch, id, &Zeroizing::new(seed))?;
        }
        if let Some(seed) = state.webhooks.as_ref().and_then(|seed| <[u8; 32]>::try_from(seed.as_slice()).ok()) {
            parts.accounts.stage_webhooks_key(batch, id, &Zeroizing::new(seed))?;
        }
        let settings = replicas::SettingsRow {
            waits_for_standby: state.waits_for_standby,
            recovery: state.recovery.clone(),
            standbys: state.standbys,
        };
        batch.put(&replicas::SETTINGS, &row.did, &angel_storage::codec::Cbor(settings))?;
        Ok(())
    }
}

fn app_password((name, row): (String, AppPasswordRow)) -> AppPassword {
    AppPassword { name, digest: row.digest, created_at: row.created_at, privileged: row.privileged }
}
