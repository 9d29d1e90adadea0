//! Going on with the ledger of a store: what follows from the heights that were decided last may not have been written
//! before the node stopped (ADR 138). Their batches are applied again.

use angel_protocol::ledger::apply;
use angel_storage::ledger::{self, decided};

use super::{LedgerError, Shared, Tip, tip};

/// Applies what was decided behind the height of the tables, and answers how far the ledger has got. Blocks.
///
/// # Errors
/// The store cannot be read, or what it holds was not decided.
pub(super) fn reopen(shared: &Shared) -> Result<Tip, LedgerError> {
    let mut tip = tip(&shared.reader)?;
    let newest = decided::newest(&shared.reader)?.unwrap_or(0);
    if newest > tip.height {
        tracing::info!(from = tip.height + 1, to = newest, "decided heights of the ledger are applied again");
    }
    while tip.height < newest {
        let height = tip.height + 1;
        let decision = decided::decision(&shared.reader, height)?.ok_or(LedgerError::NoBatch(height))?;
        let batch = decided::batch(&shared.reader, height)?.ok_or(LedgerError::NoBatch(height))?;
        let view = shared.view();
        shared.verified.learn(&view, &batch.transactions)?;
        let applied = apply(&view, &batch, &shared.verified)?;
        if applied.header != decision.header {
            return Err(LedgerError::Elsewhere(height));
        }
        shared.kept.begin();
        ledger::hold(&shared.reader, &applied);
        shared.kept.end(&applied.changes);
        shared.verified.forget(&batch.transactions);
        tip = Tip { height, time: applied.header.time, root: applied.header.root };
    }
    Ok(tip)
}
