//! Spaces of an account that is taken over from another node: their rows come as that node had them, under numbers of
//! this one, and what its index had not reached yet is taken in from the records.

use std::sync::PoisonError;

use angel_protocol::ids::Did;
use angel_storage::AccountId;
use angel_storage::belongings::{self, InstallError, Installed};

use super::{SpaceError, Spaces};

/// Why it is not done. What was, stays so; begin anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotInstalled {
    /// The rows.
    #[error(transparent)]
    Rows(#[from] InstallError),
    /// The index.
    #[error(transparent)]
    Space(#[from] SpaceError),
}

impl Spaces {
    /// Puts the private rows of an account's copy in force, those of its spaces among them. Nothing is indexed
    /// meanwhile. Blocks until that is durable.
    ///
    /// # Errors
    /// The store fails; what was done stays so, and it can be begun anew.
    pub(crate) fn install_blocking(&self, account: AccountId, did: &Did) -> Result<Installed, NotInstalled> {
        let step = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
        let number = || self.0.numbers.next(&self.0.writer);
        let installed = belongings::install(&self.0.reader, &self.0.writer, account, did, number)?;
        drop(step);
        if let Some(account) = self.0.accounts.by_id_blocking(account).map_err(SpaceError::from)? {
            let rooms: Vec<_> = self.rooms_of(&account)?.into_iter().map(|room| (room, did.clone())).collect();
            self.take_in_rooms(&rooms)?;
        }
        self.0.strangers.send_modify(|count| *count += 1);
        Ok(installed)
    }
}
