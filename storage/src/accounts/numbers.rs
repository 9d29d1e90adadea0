//! Numbers that are given out once: of accounts, mails, reports. Reserved in strides, so that a number is never given
//! out twice, not after a deletion and not after a crash; gaps are normal.

use std::sync::Mutex;

use crate::batch::{Batch, RowRefused};
use crate::codec::Cbor;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::writer::{CommitError, Writer};

/// For each name the first number that was not reserved yet.
const NUMBERS: Table<String, Cbor<u64>> = Table::new(TableId::Local);

/// How many numbers one durable write reserves. A restart skips the rest.
const STRIDE: u64 = 256;

/// Gives out the numbers of one name. One per store and name.
#[derive(Debug)]
pub struct Numbers {
    name: &'static str,
    /// The next number and the first that is not reserved.
    state: Mutex<(u64, u64)>,
}

/// Why no number can be given out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NumbersError {
    /// The reservation cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// It is not durable.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl Numbers {
    /// Continues behind the last reservation. Blocks.
    ///
    /// # Errors
    ///
    /// The engine fails, or the row cannot be read.
    pub fn open(reader: &Reader, name: &'static str) -> Result<Self, ReadError> {
        let next = reader.get(&NUMBERS, &key(name))?.map_or(1, |Cbor(next)| next);
        Ok(Self { name, state: Mutex::new((next, next)) })
    }

    /// Whether none was ever given out.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        *self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner) == (1, 1)
    }

    /// A number that was never given out before. Blocks, at times until a reservation is durable.
    ///
    /// # Errors
    ///
    /// The reservation fails.
    pub fn next(&self, writer: &Writer) -> Result<u64, NumbersError> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (next, reserved) = *state;
        if next == reserved {
            let mut batch = Batch::new();
            batch.put(&NUMBERS, &key(self.name), &Cbor(reserved + STRIDE))?;
            writer.commit(batch)?;
            *state = (next, reserved + STRIDE);
        }
        state.0 += 1;
        Ok(next)
    }
}

fn key(name: &str) -> String {
    format!("numbers/{name}")
}
