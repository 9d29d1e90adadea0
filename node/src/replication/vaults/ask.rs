//! The primary asks vaults to prove that they have their archives: each as soon as it has fetched one, and then now and again.

use std::collections::BTreeSet;
use std::time::Instant;

use angel_protocol::ids::Did;
use angel_protocol::replication::wire::{Answer, Of, ProveOf, Question};
use angel_protocol::vault::State;
use serde_bytes::ByteArray;
use tokio_util::sync::CancellationToken;

use super::super::{ANSWER_LIMIT, Replication, ReplicationError, stream};
use super::Cared;
use super::made::MadeFiles;
use crate::placement::Tenant;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

impl Replication {
    /// Asks until told to stop.
    pub(super) async fn ask_vaults(self, stop: CancellationToken) -> TaskResult {
        loop {
            // One that cannot be reached is asked for one tenant in a round, not for all.
            let mut silent = BTreeSet::new();
            for tenant in self.placement().tenants().iter().filter(|it| it.is_primary() && it.serves()) {
                for vault in &tenant.placed.vaults {
                    if silent.contains(vault) || !self.is_due_to_be_asked(tenant, vault) {
                        continue;
                    }
                    match stop.run_until_cancelled(Box::pin(self.ask_for_proof(tenant, vault))).await {
                        None => return Ok(()),
                        Some(Ok(())) => {}
                        Some(Err(error)) => {
                            // Out of reach is no loss.
                            tracing::debug!(tenant = %tenant.did, %vault, %error, "the vault did not answer");
                            silent.insert(vault.clone());
                        }
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.0.vaults.fetched.notified() => {}
                () = tokio::time::sleep(self.0.vaults.round()) => {}
            }
        }
    }

    fn is_due_to_be_asked(&self, tenant: &Tenant, vault: &Did) -> bool {
        let Some(Cared { archive: Some(archive), vaults, asked, .. }) = self.0.vaults.cared_for(&tenant.did) else {
            return false;
        };
        let has_it = vaults.get(vault).is_some_and(|record| record.has(&archive.digest));
        let check = self.0.vaults.settings.check;
        has_it && archive.questions > 0 && asked.get(vault).is_none_or(|at| at.elapsed() >= check)
    }

    async fn ask_for_proof(&self, tenant: &Tenant, vault: &Did) -> Result<(), ReplicationError> {
        let Some(Cared { archive: Some(archive), .. }) = self.0.vaults.cared_for(&tenant.did) else { return Ok(()) };
        let Some(account) = tenant.account else { return Ok(()) };
        // A question that may have been heard is not asked again: first it is seen whether anybody hears.
        let mut io = self.open(vault).await?;
        let files = MadeFiles::of(&self.0.vaults.settings.dir, account);
        let digest = *archive.digest;
        let (question, left) = blocking::run(move || files.take_question(&digest)).await?;
        if let Some(cared) = self.0.vaults.cared().get_mut(&tenant.did) {
            cared.asked.insert(vault.clone(), Instant::now());
            if let Some(newest) = cared.archive.as_mut().filter(|newest| *newest.digest == digest) {
                newest.questions = left;
            }
        }
        let Some(question) = question else {
            self.0.vaults.wanted.notify_one();
            return Ok(());
        };
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        let asked = Question::Prove(ProveOf { of, challenge: question.challenge.clone() });
        stream::ask(&mut io, &asked).await?;
        let answer = match stream::answered(&mut io, ANSWER_LIMIT).await? {
            Answer::Proof(answer) => answer.map(ByteArray::into_array),
            Answer::Refused(refusal) => return Err(ReplicationError::Refused(refusal)),
            _ => return Err(ReplicationError::Unexpected),
        };
        let mut is_lost = false;
        if let Some(cared) = self.0.vaults.cared().get_mut(&tenant.did)
            && let Some(record) = cared.vaults.get_mut(vault)
        {
            if cared.archive.as_ref().is_none_or(|newest| *newest.digest != digest) {
                // Another was made meanwhile, and it may have that one by now, and this one no more.
                return Ok(());
            }
            let before = record.state();
            is_lost = record.answered(&question, answer, clock::now());
            if before == State::Lost && !is_lost {
                tracing::warn!(tenant = %tenant.did, %vault, "the vault has its archive again");
            }
        }
        if is_lost {
            let how = if answer.is_some() { "damaged" } else { "gone" };
            tracing::error!(tenant = %tenant.did, %vault, how, "the vault has lost its archive; it is given a new one");
            self.0.vaults.wanted.notify_one();
        }
        Ok(self.note(tenant, account).await?)
    }
}
