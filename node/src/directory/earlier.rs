//! Logs from the time when each node kept a directory of its own. They are brought before the ledger operation by
//! operation; until all of a log is decided, the whole of it is told from here, and nothing can be added to it.
//!
//! The ledger gives each operation the time of its batch: a directory of one node could put any time into its rows, so
//! nobody else has a reason to believe them. The operations themselves are the same bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::ledger::{Outcome, directory};
use angel_protocol::plc::PlcLog;
use angel_storage::ledger::LedgerView;
use angel_storage::plc::{self, LogReadError};
use angel_storage::reader::ReadError;
use angel_storage::{Batch, Reader, Writer};

use super::decided::transaction;
use super::{DECISION_WAIT, DirectoryError};
use crate::blocking;
use crate::ledger::Ledger;
use crate::mempool::SubmitError;

/// How long to wait before what could not be carried over is tried again: rates are counted by the hour.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    reader: Reader,
    writer: Writer,
    /// Whether there are any.
    some: Arc<AtomicBool>,
}

impl Earlier {
    /// Blocks.
    pub(super) fn open(reader: &Reader, writer: &Writer) -> Result<Self, ReadError> {
        let some = Arc::new(AtomicBool::new(plc::first(reader, None)?.is_some()));
        Ok(Self { reader: reader.clone(), writer: writer.clone(), some })
    }

    /// The log of `did`, while it is not carried over. Blocks.
    pub(super) fn log(&self, did: &Did) -> Result<Option<PlcLog>, LogReadError> {
        if self.some.load(Ordering::Relaxed) { plc::log(&self.reader, did) } else { Ok(None) }
    }

    /// Whether a log of `did` is still to be carried over.
    pub(super) async fn holds(&self, did: &Did) -> Result<bool, LogReadError> {
        if !self.some.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (this, did) = (self.clone(), did.clone());
        blocking::run(move || Ok(this.log(&did)?.is_some())).await
    }

    /// Brings every log before the ledger, and forgets it here when all of it is decided.
    pub(super) async fn carry_over(&self, ledger: &Ledger) -> Result<(), DirectoryError> {
        let mut carried: u64 = 0;
        while self.some.load(Ordering::Relaxed) {
            let mut after = None;
            let mut left = 0;
            while let Some(did) = self.next(after).await? {
                if self.carry(ledger, &did).await? {
                    carried += 1;
                } else {
                    left += 1;
                }
                after = Some(did);
            }
            if left == 0 {
                self.some.store(false, Ordering::Relaxed);
                tracing::info!(carried, "identities of this node's own directory are the network's now");
            } else {
                tracing::info!(carried, left, "identities are being carried over to the network's directory");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
        Ok(())
    }

    async fn next(&self, after: Option<Did>) -> Result<Option<Did>, ReadError> {
        let reader = self.reader.clone();
        blocking::run(move || plc::first(&reader, after.as_ref())).await
    }

    /// Brings what is missing of one log before the ledger. Answers whether all of it is decided.
    async fn carry(&self, ledger: &Ledger, did: &Did) -> Result<bool, DirectoryError> {
        let (this, shared, wanted) = (self.clone(), Arc::clone(&ledger.shared), did.clone());
        let read = blocking::run(move || {
            let identity = directory::identity(&LedgerView(&shared.reader), &wanted)?;
            let decided = identity.map_or(0, |identity| identity.operations as usize);
            Ok::<_, DirectoryError>((plc::log(&this.reader, &wanted)?, decided))
        });
        let (Some(log), decided) = read.await? else { return Ok(true) };
        for entry in log.entries().iter().skip(decided) {
            let signed = transaction(ledger, did, &entry.operation)?;
            match ledger.submit_and_wait(signed, DECISION_WAIT).await {
                Ok(Some(Outcome::Posted)) | Err(SubmitError::Decided) => {}
                Err(SubmitError::Stopped) => return Ok(false),
                Ok(None) => return Ok(false),
                Ok(Some(outcome)) | Err(SubmitError::Outcome(outcome)) => {
                    tracing::debug!(%did, %outcome, "an operation is not carried over yet");
                    return Ok(false);
                }
                Err(error) => {
                    tracing::debug!(%did, %error, "an operation is not carried over yet");
                    return Ok(false);
                }
            }
        }
        let this = self.clone();
        blocking::run(move || {
            let mut batch = Batch::new();
            plc::stage_dropped(&mut batch, &log).map_err(|error| DirectoryError::Refused(error.to_string()))?;
            Ok::<_, DirectoryError>(this.writer.commit(batch).map(drop)?)
        })
        .await?;
        Ok(true)
    }
}
