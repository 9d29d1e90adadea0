//! The directory that the ledger keeps. Read from this node's own copy; written by transactions that the validators
//! decide.

use std::time::Duration;

use angel_protocol::data::Cid;
use angel_protocol::did_document::DidDocument;
use angel_protocol::ids::Did;
use angel_protocol::ledger::directory::{self, Exported};
use angel_protocol::ledger::transaction::InvalidTransaction;
use angel_protocol::ledger::{Outcome, Signed};
use angel_protocol::mempool::Refusal;
use angel_protocol::plc::{LogError, PlcLog, PlcOperation};
use angel_storage::ledger::LedgerView;
use angel_storage::plc::{self, LogReadError};
use angel_storage::reader::ReadError;
use angel_storage::{Batch, CommitError};

use super::earlier::Earlier;
use super::{After, DECISION_WAIT, DirectoryError};
use crate::ledger::Ledger;
use crate::mempool::SubmitError;

/// How often a log is read again when it has grown meanwhile.
const READS: usize = 8;

/// How long to wait before an operation that has to be decided is brought up again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Cheap to clone. What is not `async` blocks.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    ledger: Ledger,
    earlier: Earlier,
}

impl Decided {
    pub(super) fn open(ledger: Ledger) -> Result<Self, ReadError> {
        let earlier = Earlier::open(&ledger.shared.reader, &ledger.shared.writer)?;
        Ok(Self { ledger, earlier })
    }

    fn view(&self) -> LedgerView<'_> {
        LedgerView(&self.ledger.shared.reader)
    }

    pub(super) fn document(&self, did: &Did) -> Result<DidDocument, DirectoryError> {
        let operation = match self.earlier.log(did)? {
            Some(log) => log.head().operation.clone(),
            None => {
                let last = directory::last(&self.view(), did)?;
                last.ok_or_else(|| DirectoryError::NotRegistered(did.clone()))?.operation
            }
        };
        let data = operation.statement().data().ok_or_else(|| DirectoryError::Tombstoned(did.clone()))?;
        Ok(data.document(did.clone()))
    }

    /// The rows of a log are read one by one, so a log that has grown meanwhile is read again.
    pub(super) fn log(&self, did: &Did) -> Result<PlcLog, DirectoryError> {
        if let Some(log) = self.earlier.log(did)? {
            return Ok(log);
        }
        for _ in 0..READS {
            let log = directory::log(&self.view(), did)?;
            let log = log.ok_or_else(|| DirectoryError::NotRegistered(did.clone()))?;
            let identity = directory::identity(&self.view(), did)?;
            if identity.is_some_and(|identity| identity.is_head(&log.head().operation)) {
                return Ok(log);
            }
        }
        Err(DirectoryError::Busy)
    }

    pub(super) fn head(&self, did: &Did) -> Result<Cid, DirectoryError> {
        if let Some(log) = self.earlier.log(did)? {
            return Ok(log.head().cid);
        }
        let identity = directory::identity(&self.view(), did)?;
        Ok(identity.ok_or_else(|| DirectoryError::NotRegistered(did.clone()))?.cid())
    }

    pub(super) async fn submit(&self, did: &Did, operation: &PlcOperation) -> Result<(), DirectoryError> {
        if self.earlier.holds(did).await? {
            return Err(DirectoryError::Busy);
        }
        let signed = self.transaction(did, operation)?;
        match self.ledger.submit_and_wait(signed, DECISION_WAIT).await {
            Ok(Some(Outcome::Posted)) => Ok(()),
            Ok(Some(outcome)) => Err(refused(did, operation, outcome)),
            Ok(None) => Err(DirectoryError::Undecided),
            Err(SubmitError::Outcome(outcome)) => Err(refused(did, operation, outcome)),
            Err(SubmitError::Decided) => Err(refused(did, operation, Outcome::AlreadyDecided)),
            Err(error) => Err(DirectoryError::Submit(error)),
        }
    }

    pub(super) async fn would_take(&self, did: &Did, operation: &PlcOperation) -> Result<(), DirectoryError> {
        if self.earlier.holds(did).await? {
            return Err(DirectoryError::Busy);
        }
        let signed = self.transaction(did, operation)?;
        let admitted = self.ledger.admits(signed).await?;
        admitted.map_err(|outcome| refused(did, operation, outcome))
    }

    pub(super) async fn settle(&self, did: &Did, operation: &PlcOperation) -> Result<(), DirectoryError> {
        let signed = self.transaction(did, operation)?;
        loop {
            let outcome = match self.ledger.settle(signed.clone()).await {
                Ok(Some(outcome)) | Err(SubmitError::Outcome(outcome)) => outcome,
                Err(SubmitError::Decided) => return Ok(()),
                Ok(None) | Err(SubmitError::Refused(Refusal::Full { .. } | Refusal::IdentityFull { .. })) => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                    continue;
                }
                Err(error) => return Err(DirectoryError::Submit(error)),
            };
            match outcome {
                Outcome::Posted | Outcome::AlreadyDecided => return Ok(()),
                // Nobody has decided against it: there was no room, or no time.
                Outcome::Expired | Outcome::IdentitiesSpent | Outcome::IdentityTooOften => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                outcome => return Err(refused(did, operation, outcome)),
            }
        }
    }

    pub(super) fn pending(&self, after: Option<&Did>) -> Result<Vec<(Did, PlcOperation)>, LogReadError> {
        plc::pending(&self.ledger.shared.reader, after)
    }

    pub(super) fn commit(&self, batch: Batch) -> Result<(), DirectoryError> {
        match self.ledger.shared.writer.commit(batch) {
            Err(CommitError::Conflict { .. }) => Err(DirectoryError::Busy),
            committed => Ok(committed.map(drop)?),
        }
    }

    pub(super) fn export(&self, after: After, count: usize) -> Result<Vec<Exported>, DirectoryError> {
        Ok(match after {
            After::Number(number) => directory::export(&self.view(), number, count)?,
            After::Time(time) => directory::export_after(&self.view(), time, count)?,
        })
    }

    pub(super) async fn carry_over(&self) -> Result<(), DirectoryError> {
        self.earlier.carry_over(&self.ledger).await
    }

    fn transaction(&self, did: &Did, operation: &PlcOperation) -> Result<Signed, DirectoryError> {
        transaction(&self.ledger, did, operation)
    }
}

/// The transaction that an operation is.
pub(super) fn transaction(ledger: &Ledger, did: &Did, operation: &PlcOperation) -> Result<Signed, DirectoryError> {
    Signed::from_operation(ledger.network().clone(), did.clone(), operation).map_err(|error| match error {
        InvalidTransaction::OperationBound(error) => DirectoryError::Inadmissible(error),
        error => DirectoryError::Refused(error.to_string()),
    })
}

/// In the words of a directory, where it has words for it.
fn refused(did: &Did, operation: &PlcOperation, outcome: Outcome) -> DirectoryError {
    match (outcome, operation.creates()) {
        (Outcome::UnknownIdentity, None) => DirectoryError::NotRegistered(did.clone()),
        (Outcome::OtherIdentity, Some(makes)) => DirectoryError::OtherDid(makes),
        (Outcome::IdentityExists, _) | (Outcome::AlreadyDecided, Some(_)) => LogError::SecondGenesis.into(),
        (outcome, _) => DirectoryError::Outcome(outcome),
    }
}
