//! The primary makes archives of its tenants that have vaults: when one is due, one at a time, never while a backup reads the
//! store.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use angel_protocol::vault::{Ages, Newest, Record, is_due, questions};
use angel_storage::{AccountId, replicas};
use serde_bytes::ByteArray;
use tokio_util::sync::CancellationToken;

use super::super::{Replication, ReplicationError};
use super::Cared;
use super::made::{Archive, MadeFiles, Note, accounts};
use crate::accounts::AccountError;
use crate::backup::BackupError;
use crate::backup::make_account::make_account;
use crate::backup::progress::Progress;
use crate::placement::Tenant;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// How long after a failure it is tried again, at most.
const AGAIN: Duration = Duration::from_mins(10);

/// How long a stop waits for what is being written.
const STEP_LIMIT: Duration = Duration::from_secs(3);

/// Why an archive was not made.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    /// Nobody could open it.
    #[error("it is not said whose recovery key opens it; name one with `angel tenant place --recovery`")]
    NoRecoveryKey,
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Replication(#[from] ReplicationError),
}

impl From<io::Error> for NotMade {
    fn from(error: io::Error) -> Self {
        Self::Replication(error.into())
    }
}

impl Replication {
    /// Makes archives until told to stop.
    pub(super) async fn make_archives(self, stop: CancellationToken) -> TaskResult {
        let mut placed = self.placement().watch();
        let mut is_swept = false;
        loop {
            for tenant in self.placement().tenants() {
                let mut caring = Box::pin(self.care_for(&tenant, &stop));
                tokio::select! {
                    () = &mut caring => {}
                    () = async { stop.cancelled().await; tokio::time::sleep(STEP_LIMIT).await } => return Ok(()),
                }
            }
            if !is_swept {
                is_swept = true;
                self.sweep_made().await;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = placed.changed() => changed.map_err(|_| "the placements ended")?,
                () = self.0.vaults.wanted.notified() => {}
                () = tokio::time::sleep(self.0.vaults.round()) => {}
            }
        }
    }

    fn made_files(&self, account: AccountId) -> MadeFiles {
        MadeFiles::of(&self.0.vaults.settings.dir, account)
    }

    /// What is known of the tenant's vaults is read, an archive is made if one is due, and one that all have is let go of.
    async fn care_for(&self, tenant: &Tenant, stop: &CancellationToken) {
        let account = tenant.account.filter(|_| tenant.is_primary() && !tenant.placed.vaults.is_empty());
        let Some(account) = account else { return self.let_go(tenant).await };
        if !tenant.serves() {
            return;
        }
        self.recall(tenant, account).await;
        let failed = match self.make_if_due(tenant, account, stop).await {
            Ok(()) | Err(NotMade::Backup(BackupError::Busy | BackupError::Stopped)) => None,
            Err(error) => {
                tracing::warn!(tenant = %tenant.did, %error, "the archive for vaults could not be made");
                Some((Instant::now(), error.to_string()))
            }
        };
        let mut is_new = false;
        if let Some(cared) = self.0.vaults.cared().get_mut(&tenant.did) {
            cared.failed = failed.or(cared.failed.take());
            is_new = std::mem::take(&mut cared.is_new);
        }
        let noted = if is_new { self.note(tenant, account).await } else { Ok(()) };
        let dropped = self.drop_what_all_have(tenant, account).await;
        if let Err(error) = noted.and(dropped) {
            tracing::warn!(tenant = %tenant.did, %error, "what is known of the vaults is not written down, or an archive stays");
        }
    }

    /// Reads what was written down, after a start.
    async fn recall(&self, tenant: &Tenant, account: AccountId) {
        if self.0.vaults.cared().contains_key(&tenant.did) {
            return;
        }
        let files = self.made_files(account);
        let (note, is_there) = blocking::run(move || {
            let note = files.read();
            let is_there = note.archive.as_ref().is_some_and(|archive| files.is_there(archive));
            (note, is_there)
        })
        .await;
        let cared = Cared { archive: note.archive, is_there, vaults: note.vaults, ..Cared::default() };
        self.0.vaults.cared().insert(tenant.did.clone(), cared);
    }

    /// Writes down what is known of the tenant's vaults.
    pub(super) async fn note(&self, tenant: &Tenant, account: AccountId) -> io::Result<()> {
        let (this, did, files) = (self.clone(), tenant.did.clone(), self.made_files(account));
        blocking::run(move || {
            let _noting = this.0.vaults.noting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match this.0.vaults.cared_for(&did) {
                Some(cared) => files.write(&Note { archive: cared.archive, vaults: cared.vaults }),
                None => Ok(()),
            }
        })
        .await
    }

    async fn make_if_due(&self, tenant: &Tenant, account: AccountId, stop: &CancellationToken) -> Result<(), NotMade> {
        let Some(cared) = self.0.vaults.cared_for(&tenant.did) else { return Ok(()) };
        let settings = &self.0.vaults.settings;
        if cared.failed.as_ref().is_some_and(|(at, _)| at.elapsed() < settings.check.min(AGAIN)) {
            return Ok(());
        }
        let (reader, did) = (self.0.parts.reader.clone(), tenant.did.clone());
        let asked = blocking::run(move || replicas::settings(&reader, &did)).await;
        let recipient = asked.map_err(ReplicationError::from)?.recovery.ok_or(NotMade::NoRecoveryKey)?;
        let unknown = Record::default();
        let vaults = tenant.placed.vaults.iter().map(|did| cared.vaults.get(did).unwrap_or(&unknown));
        let newest = cared.archive.as_ref().filter(|archive| archive.recipient == recipient).map(|archive| Newest {
            digest: *archive.digest,
            age: clock::now().since(archive.made_at),
            questions: archive.questions,
            is_there: cared.is_there,
        });
        let ages = Ages { min: settings.check.min(settings.every), max: settings.every };
        if !is_due(newest.as_ref(), ages, vaults) {
            return Ok(());
        }
        let archive = self.make_archive(tenant, account, recipient, stop).await?;
        tracing::info!(tenant = %tenant.did, bytes = archive.bytes, "an archive for vaults was made");
        let digest = *archive.digest;
        if let Some(cared) = self.0.vaults.cared().get_mut(&tenant.did) {
            (cared.archive, cared.is_there, cared.failed) = (Some(archive), true, None);
            cared.vaults.retain(|vault, _| tenant.placed.vaults.contains(vault));
            cared.asked.clear();
        }
        self.note(tenant, account).await?;
        let files = self.made_files(account);
        Ok(blocking::run(move || files.clear(Some(&digest))).await?)
    }

    async fn make_archive(
        &self,
        tenant: &Tenant,
        account: AccountId,
        recipient: String,
        stop: &CancellationToken,
    ) -> Result<Archive, NotMade> {
        let settings = &self.0.vaults.settings;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let count = questions(millis(settings.every), millis(settings.check), tenant.placed.vaults.len());
        let (this, files, progress) = (self.clone(), self.made_files(account), Progress::stopped_by(stop.clone()));
        blocking::run(move || {
            let parts = &this.0.parts;
            let path = files.begin()?;
            let account = parts.accounts.by_id_blocking(account).map_err(ReplicationError::from)?;
            let account = account.ok_or_else(|| ReplicationError::from(AccountError::NotFound))?;
            let made = make_account(&parts.archives, &parts.accounts, &account, &recipient, &path, &progress)?;
            let (digest, bytes) = files.take_in(&path, count)?;
            let (digest, made_at, sequence) = (ByteArray::new(digest), made.made_at, made.sequence);
            Ok(Archive { digest, bytes, made_at, sequence, recipient, questions: count })
        })
        .await
    }

    /// An archive that every vault has lies there for nothing.
    async fn drop_what_all_have(&self, tenant: &Tenant, account: AccountId) -> io::Result<()> {
        let Some(Cared { archive: Some(archive), is_there: true, vaults, .. }) = self.0.vaults.cared_for(&tenant.did)
        else {
            return Ok(());
        };
        let has = |vault| vaults.get(vault).is_some_and(|record| record.has(&archive.digest));
        if !tenant.placed.vaults.iter().all(has) {
            return Ok(());
        }
        if let Some(cared) = self.0.vaults.cared().get_mut(&tenant.did) {
            cared.is_there = false;
        }
        let files = self.made_files(account);
        blocking::run(move || files.drop_archive(&archive.digest)).await
    }

    /// The tenant has no vaults any more, or another primary.
    async fn let_go(&self, tenant: &Tenant) {
        let was_cared_for = self.0.vaults.cared().remove(&tenant.did).is_some();
        let Some(account) = tenant.account.filter(|_| was_cared_for) else { return };
        let files = self.made_files(account);
        if let Err(error) = blocking::run(move || files.clear(None)).await {
            tracing::warn!(tenant = %tenant.did, %error, "what was made for vaults stays here; it is removed at the next start");
        }
    }

    /// What was made for tenants that have no vaults any more, or another primary, goes.
    async fn sweep_made(&self) {
        let cared: BTreeSet<_> = {
            let cared = self.0.vaults.cared();
            self.placement()
                .tenants()
                .iter()
                .filter(|it| cared.contains_key(&it.did))
                .filter_map(|it| it.account)
                .collect()
        };
        // One that is still being taken over is cared for later.
        let coming: BTreeSet<_> =
            self.placement().tenants().iter().filter(|it| it.is_primary()).filter_map(|it| it.account).collect();
        let this = self.clone();
        let swept = blocking::run(move || {
            let found = accounts(&this.0.vaults.settings.dir)?;
            let of_nobody = found.into_iter().filter(|it| !cared.contains(it) && !coming.contains(it));
            of_nobody.into_iter().try_for_each(|it| this.made_files(it).clear(None))
        });
        if let Err(error) = swept.await {
            tracing::warn!(%error, "what was made for vaults before cannot be looked through");
        }
    }
}
