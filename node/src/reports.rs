//! Complaints about accounts and records, kept for the operator.

use std::sync::Arc;

use angel_storage::accounts::{Numbers, REPORTS, ReportRow};
use angel_storage::reader::ReadError;
use angel_storage::{Batch, Reader, Writer};

use crate::accounts::AccountError;

/// Complaints kept; the oldest make room.
const REPORTS_MAX: u64 = 100_000;

/// The complaints of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reports(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reader: Reader,
    writer: Writer,
    numbers: Numbers,
}

impl Reports {
    /// The complaints in a store. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(reader: Reader, writer: Writer) -> Result<Self, ReadError> {
        let numbers = Numbers::open(&reader, "report")?;
        Ok(Self(Arc::new(Shared { reader, writer, numbers })))
    }

    /// Keeps a complaint and gives it its number. Blocks until that is durable.
    ///
    /// # Errors
    /// The store fails.
    pub fn add_blocking(&self, report: &ReportRow) -> Result<u64, AccountError> {
        let number = self.0.numbers.next(&self.0.writer)?;
        let mut batch = Batch::new();
        batch.put(&REPORTS, &number, report)?;
        if let Some(oldest) = number.checked_sub(REPORTS_MAX) {
            batch.delete(&REPORTS, &oldest)?;
        }
        self.0.writer.commit(batch)?;
        Ok(number)
    }

    /// Up to `limit` complaints, newest first, older than number `before`. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn newest_blocking(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, ReportRow)>, AccountError> {
        let scan = self.0.reader.scan(&REPORTS).reverse();
        let page = match before {
            Some(before) => scan.after(&before).page(limit)?,
            None => scan.page(limit)?,
        };
        Ok(page.rows)
    }
}
