//! Private rows: sealed and signed by the primary, opened and checked by a standby, and installed by whoever takes over.
//!
//! They come with the events of a pull, and stretch by stretch when a copy begins or is compared. A standby keeps them
//! apart from the rows that it serves ([`angel_storage::belongings::copy`]); what they say stands nowhere else.

use angel_protocol::crypto::NodePublicKey;
use angel_protocol::replication::rows::{
    Bound, EventOf, Place, RowOf, SealedRows, Span, decode_events, decode_rows, encode_events, encode_rows,
};
use angel_protocol::replication::wire::{Answer, Of, Question, RowsOf};
use angel_storage::belongings::copy::{
    NotTaken, Position, Stretch, Summary, Taking, is_empty, stretch_of_copy, stretch_of_own, summary_of_copy,
    summary_of_own,
};
use angel_storage::belongings::{OwnRow, Owned, decode_changed};
use angel_storage::{AccountId, replicas};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::copy::{PIECE_LIMIT, SharedTenant};
use super::progress::What;
use super::state::{SealingError, seal};
use super::{Replication, ReplicationError, stream};
use crate::accounts::AccountError;
use crate::placement::Tenant;
use crate::{blocking, clock};

/// Rows and bytes of one stretch.
const STRETCH_ROWS: usize = 2_000;
const STRETCH_BYTES: usize = 1024 * 1024;

/// Bytes and rows that a standby writes at once, reached by the last event.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
const BATCH_ROWS: usize = 16_384;

impl From<NotTaken> for ReplicationError {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Read(error) => Self::Read(error),
            NotTaken::Batch(error) => Self::Row(error.into()),
            // It names tables and what is wrong, never what is in a row.
            refused => Self::NotBelieved(refused.to_string()),
        }
    }
}

impl From<angel_protocol::replication::rows::NotBelieved> for ReplicationError {
    fn from(error: angel_protocol::replication::rows::NotBelieved) -> Self {
        Self::NotBelieved(error.to_string())
    }
}

/// What was found when private rows were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// The tenant's newest event when they were read last.
    pub(super) sequence: u64,
    /// Rows that were others, and are the primary's now.
    pub(super) others: u64,
    /// Of these, those that were read at the event up to which the copy went: nothing had told of them.
    pub(super) unexplained: u64,
    /// By how many bytes the copy grew.
    pub(super) grew: i64,
}

impl Replication {
    fn sealed_rows(&self, tenant: &Tenant, span: &Span, rows: &[u8], to: &str) -> Result<SealedRows, ReplicationError> {
        let (digest, signature) = self.bound(tenant, span).sign(self.0.parts.submitter.key(), rows);
        Ok(SealedRows { digest, sealed: seal(to, rows)?, signature })
    }

    fn bound<'a>(&'a self, tenant: &'a Tenant, span: &'a Span) -> Bound<'a> {
        let network = self.placement().ledger().network();
        Bound { network, tenant: &tenant.did, epoch: tenant.placed.epoch, span }
    }

    /// What events tell of private rows, sealed to the asker. Blocks.
    pub(super) fn sealed_events_blocking(
        &self,
        tenant: &Tenant,
        (since, next): (u64, u64),
        events: &[(u64, std::sync::Arc<[u8]>)],
        recipient: &str,
    ) -> Result<Option<SealedRows>, ReplicationError> {
        if events.is_empty() {
            return Ok(None);
        }
        let events: Vec<_> =
            events.iter().map(|(sequence, body)| EventOf { sequence: *sequence, body: body.to_vec() }).collect();
        let told = Zeroizing::new(encode_events(&events).map_err(SealingError::from)?);
        self.sealed_rows(tenant, &Span::Events { since, next }, &told, recipient).map(Some)
    }

    /// A stretch of the tenant's private rows, or its digest alone.
    pub(super) async fn rows(
        &self,
        tenant: SharedTenant,
        account: AccountId,
        asked: RowsOf,
    ) -> Result<Answer, ReplicationError> {
        let _turn = self.0.pace.turn().await;
        let (this, read_of, after) = (self.clone(), SharedTenant::clone(&tenant), asked.after.clone());
        let stretch = blocking::run(move || {
            let reader = &this.0.parts.reader;
            let owned = Owned::of(reader, account)?.ok_or(AccountError::NotFound)?;
            debug_assert_eq!(owned.did, read_of.did, "an account keeps its DID");
            Ok::<_, ReplicationError>(stretch_of_own(reader, &owned, after.as_ref(), STRETCH_ROWS, STRETCH_BYTES)?)
        })
        .await?;
        // Behind the reading: what was read shows no later event than this.
        let sequence = self.newest_event(account).await?;
        let this = self.clone();
        blocking::run(move || {
            let end = stretch.end.clone();
            let rows = Zeroizing::new(encode_rows(&rows_of(stretch)).map_err(SealingError::from)?);
            let span = Span::Stretch { after: asked.after, end: end.clone(), sequence };
            let digest = Sha256::digest(&*rows).into();
            let rows =
                asked.recipient.map(|recipient| this.sealed_rows(&tenant, &span, &rows, &recipient)).transpose()?;
            Ok(Answer::Rows { sequence, end, digest, rows })
        })
        .await
    }

    /// All private rows that this node has of a tenant, in one number: those that are served, or those of its copy.
    pub(super) async fn private_summary(
        &self,
        tenant: &SharedTenant,
        account: AccountId,
    ) -> Result<Summary, ReplicationError> {
        let (reader, is_served) = (self.0.parts.reader.clone(), tenant.is_primary());
        blocking::run(move || {
            if !is_served {
                return Ok(summary_of_copy(&reader, account)?);
            }
            let owned = Owned::of(&reader, account)?.ok_or(AccountError::NotFound)?;
            Ok(summary_of_own(&reader, &owned)?)
        })
        .await
    }

    /// Opens what the primary sealed, and sees that the primary signed it. Blocks.
    fn opened(
        &self,
        tenant: &Tenant,
        span: &Span,
        sealed: &SealedRows,
    ) -> Result<Zeroizing<Vec<u8>>, ReplicationError> {
        let opened = self.0.parts.sealing.open(&sealed.sealed)?;
        let no_node = |_| ReplicationError::NoNode(tenant.placed.primary.clone());
        let primary = NodePublicKey::from_did(&tenant.placed.primary).map_err(no_node)?;
        self.bound(tenant, span).verify(primary, sealed, &opened)?;
        Ok(opened)
    }

    /// Takes what events tell into the copy, of at most `room` more bytes; answers by how many it grew. Blocks until
    /// that is durable.
    pub(super) fn take_events_blocking(
        &self,
        tenant: &Tenant,
        account: AccountId,
        (since, next): (u64, u64),
        sealed: &SealedRows,
        room: u64,
    ) -> Result<i64, ReplicationError> {
        let opened = self.opened(tenant, &Span::Events { since, next }, sealed)?;
        let events = decode_events(&opened).map_err(SealingError::from)?;
        let parts = &self.0.parts;
        let mut grew = 0;
        let mut taking = Taking::new(&parts.reader, account, clock::now());
        for event in events {
            let changed = decode_changed(&event.body)
                .map_err(|error| ReplicationError::NotBelieved(format!("event {}: {error}", event.sequence)))?;
            taking.take(&changed)?;
            let (bytes, rows) = taking.size();
            if bytes >= BATCH_BYTES || rows >= BATCH_ROWS {
                let full = std::mem::replace(&mut taking, Taking::new(&parts.reader, account, clock::now()));
                grew += self.write_taken(full, room, grew)?;
            }
        }
        Ok(grew + self.write_taken(taking, room, grew)?)
    }

    fn write_taken(&self, taking: Taking<'_>, room: u64, before: i64) -> Result<i64, ReplicationError> {
        let (batch, grew) = taking.done();
        if u64::try_from(before + grew).unwrap_or(0) > room {
            return Err(ReplicationError::Quota);
        }
        if !batch.is_empty() {
            self.0.parts.writer.commit(batch)?;
        }
        Ok(grew)
    }

    /// Compares all private rows with the primary's, stretch by stretch, and fetches those that differ. `at` is the
    /// event up to which the copy goes.
    pub(super) async fn compare_rows(
        &self,
        tenant: &SharedTenant,
        account: AccountId,
        at: u64,
        room: u64,
    ) -> Result<Compared, ReplicationError> {
        let reader = self.0.parts.reader.clone();
        let fresh = blocking::run(move || is_empty(&reader, account)).await?;
        let mut io = self.open(&tenant.placed.primary).await?;
        let mut compared = Compared::default();
        let (mut after, mut seen): (Option<Position>, u64) = (None, 0);
        loop {
            let mut recipient = fresh.then(|| self.0.parts.sealing.recipient());
            let mut answer = self.ask_rows(&mut io, tenant, &after, recipient.clone()).await?;
            if recipient.is_none() {
                let (reader, from, until) = (self.0.parts.reader.clone(), after.clone(), answer.end.clone());
                let here = blocking::run(move || {
                    let here = stretch_of_copy(&reader, account, from.as_ref(), until.as_ref(), STRETCH_ROWS + 1)?;
                    let rows = encode_rows(&rows_of(here)).map_err(SealingError::from)?;
                    Ok::<[u8; 32], ReplicationError>(Sha256::digest(&rows).into())
                });
                if here.await? != answer.digest {
                    recipient = Some(self.0.parts.sealing.recipient());
                    answer = self.ask_rows(&mut io, tenant, &after, recipient.clone()).await?;
                }
            }
            compared.sequence = compared.sequence.max(answer.sequence);
            let end = answer.end.clone();
            if recipient.is_some() {
                let (this, of, from, grown) = (self.clone(), SharedTenant::clone(tenant), after.clone(), compared.grew);
                let explained = fresh || answer.sequence != at;
                let (others, grew, bytes) =
                    blocking::run(move || this.replace_blocking(&of, account, from, answer, room, grown)).await?;
                compared.others += others;
                compared.unexplained += if explained { 0 } else { others };
                compared.grew += grew;
                seen += bytes;
                self.0.progress.note(&tenant.did, What::PrivateRows, seen);
            }
            match end {
                Some(end) if after.as_ref().is_none_or(|after| end > *after) => after = Some(end),
                Some(_) => return Err(ReplicationError::NotBelieved("stretches of rows that do not go on".to_owned())),
                None => return Ok(compared),
            }
        }
    }

    async fn ask_rows(
        &self,
        io: &mut crate::network::Stream,
        tenant: &Tenant,
        after: &Option<Place>,
        recipient: Option<String>,
    ) -> Result<Answered, ReplicationError> {
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        stream::ask(io, &Question::Rows(RowsOf { of, recipient, after: after.clone() })).await?;
        match stream::answered(io, PIECE_LIMIT).await? {
            Answer::Rows { sequence, end, digest, rows } => Ok(Answered { sequence, end, digest, rows }),
            Answer::Refused(refusal) => Err(ReplicationError::Refused(refusal)),
            _ => Err(ReplicationError::Unexpected),
        }
    }

    fn replace_blocking(
        &self,
        tenant: &Tenant,
        account: AccountId,
        after: Option<Position>,
        answer: Answered,
        room: u64,
        grown: i64,
    ) -> Result<(u64, i64, u64), ReplicationError> {
        let Answered { sequence, end, rows, .. } = answer;
        let sealed = rows.ok_or(ReplicationError::Unexpected)?;
        let span = Span::Stretch { after: after.clone(), end: end.clone(), sequence };
        let opened = self.opened(tenant, &span, &sealed)?;
        let rows = decode_rows(&opened).map_err(SealingError::from)?;
        let rows = rows.into_iter().map(|row| (row.place.table, OwnRow { key: row.place.key, value: row.value }));
        let mut taking = Taking::new(&self.0.parts.reader, account, clock::now());
        let others = taking.replace(after.as_ref(), Stretch { rows: rows.collect(), end })?;
        let grew = self.write_taken(taking, room, grown)?;
        Ok((others as u64, grew, opened.len() as u64))
    }

    /// Makes the private rows of the copy those that are served here. Waits until that is durable.
    pub(crate) async fn install_rows(&self, tenant: &Tenant, account: AccountId) -> Result<(), ReplicationError> {
        let (this, did) = (self.clone(), tenant.did.clone());
        let done = blocking::run(move || {
            let parts = &this.0.parts;
            let row = parts.reader.get(&replicas::REPLICAS, &did)?;
            let is_whole = row.is_some_and(|row| row.complete.is_some());
            let owned = Owned::of(&parts.reader, account)?.ok_or(AccountError::NotFound)?;
            let was_served = !stretch_of_own(&parts.reader, &owned, None, 1, STRETCH_BYTES)?.rows.is_empty();
            if is_empty(&parts.reader, account)? || (was_served && !is_whole) {
                // It was served here before and followed nowhere since, or has nothing private: what is here is what
                // there is.
                parts.tenants.take_over_blocking(account)?;
                return Ok(None);
            }
            let done = parts.spaces.install_blocking(account, &did);
            let done = done.map_err(|error| ReplicationError::Install(error.to_string()))?;
            parts.permissioned.adopt(account);
            parts.tenants.take_over_blocking(account)?;
            Ok::<_, ReplicationError>(Some(done))
        })
        .await?;
        let Some(done) = done else { return Ok(()) };
        tracing::info!(tenant = %tenant.did, rows = done.written, gone = done.removed, "private rows are in force");
        if done.refused > 0 || done.disagreed > 0 {
            tracing::error!(
                tenant = %tenant.did,
                refused = done.refused,
                disagreed = done.disagreed,
                "the copy of private rows was not all that it should be; records count, set hashes were made anew"
            );
        }
        if let Some(slug) = done.slug_taken {
            tracing::warn!(tenant = %tenant.did, slug, "another tenant here has the short name");
        }
        Ok(())
    }
}

struct Answered {
    sequence: u64,
    end: Option<Place>,
    digest: [u8; 32],
    rows: Option<SealedRows>,
}

fn rows_of(stretch: Stretch) -> Vec<RowOf> {
    let row = |(table, row): (u8, OwnRow)| RowOf { place: Place { table, key: row.key }, value: row.value };
    stretch.rows.into_iter().map(row).collect()
}
