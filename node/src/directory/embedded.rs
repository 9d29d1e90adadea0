//! The directory in this node's store.

use angel_protocol::did_document::DidDocument;
use angel_protocol::ids::Did;
use angel_protocol::plc::{LogError, PlcLog, PlcOperation, admit};
use angel_protocol::time::Timestamp;
use angel_storage::plc::{self, Clock, Exported, LogReadError, Moment};
use angel_storage::{Batch, CommitError, Reader, Writer};

use super::DirectoryError;

/// How often an operation is tried again when another came in between.
const ATTEMPTS: usize = 8;

/// Cheap to clone. Everything blocks.
#[derive(Clone, Debug)]
pub(super) struct Embedded {
    reader: Reader,
    writer: Writer,
    clock: Clock,
}

impl Embedded {
    pub(super) fn open(reader: Reader, writer: Writer) -> Result<Self, LogReadError> {
        let clock = Clock::new(plc::newest(&reader)?);
        Ok(Self { reader, writer, clock })
    }

    pub(super) fn document(&self, did: &Did) -> Result<DidDocument, DirectoryError> {
        let head = plc::head(&self.reader, did)?.ok_or_else(|| DirectoryError::NotRegistered(did.clone()))?;
        let data = head.operation.statement().data().ok_or_else(|| DirectoryError::Tombstoned(did.clone()))?;
        Ok(data.document(did.clone()))
    }

    pub(super) fn log(&self, did: &Did) -> Result<PlcLog, DirectoryError> {
        plc::log(&self.reader, did)?.ok_or_else(|| DirectoryError::NotRegistered(did.clone()))
    }

    pub(super) fn submit(&self, did: &Did, operation: &PlcOperation, now: Timestamp) -> Result<(), DirectoryError> {
        for _ in 0..ATTEMPTS {
            let moment = self.clock.next(now);
            let mut batch = Batch::new();
            match plc::log(&self.reader, did)? {
                Some(log) => {
                    admit(Some(&log), operation, moment.at())?;
                    plc::stage(&mut batch, log, operation, moment.at())?;
                }
                None => {
                    let makes = operation.creates().ok_or_else(|| DirectoryError::NotRegistered(did.clone()))?;
                    if makes != *did {
                        return Err(DirectoryError::OtherDid(makes));
                    }
                    self.stage(&mut batch, operation, moment.at())?;
                }
            }
            match self.writer.commit(batch) {
                Err(CommitError::Conflict { .. }) => continue,
                committed => return Ok(committed.map(drop)?),
            }
        }
        Err(DirectoryError::Busy)
    }

    pub(super) fn stage_genesis(
        &self,
        batch: &mut Batch,
        operation: &PlcOperation,
        now: Timestamp,
    ) -> Result<Moment, DirectoryError> {
        let moment = self.clock.next(now);
        self.stage(batch, operation, moment.at())?;
        Ok(moment)
    }

    fn stage(&self, batch: &mut Batch, operation: &PlcOperation, at: Timestamp) -> Result<(), DirectoryError> {
        if operation.creates().is_none() {
            return Err(LogError::NotGenesis.into());
        }
        admit(None, operation, at)?;
        plc::stage_genesis(batch, operation, at)?;
        Ok(())
    }

    pub(super) fn export(&self, after: Timestamp, count: usize) -> Result<Vec<Exported>, DirectoryError> {
        Ok(plc::export(&self.reader, after, self.clock.settled(), count)?)
    }
}
