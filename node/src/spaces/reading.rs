//! What is read from: the index of this node, or that of another node whose copy lies here. While the space's node is away
//! its standby serves what it holds, with the same checks by the memberships that the copy has, and says how old that is.
//! Nothing is written, and nobody is told live, from a copy.

use angel_protocol::ids::{AtIdentifier, AtUri, Did};
use angel_protocol::spaces::Standing;
use angel_protocol::tenants::{MembershipStatus, Permission, Role, role};
use angel_protocol::time::Timestamp;
use angel_storage::replicas::{self, REPLICAS};
use angel_storage::spaces::MessageRow;
use angel_storage::tenants::{TENANT_MEMBERS, TENANTS};
use angel_storage::{AccountId, Reader, belongings};

use super::find::Found;
use super::{SpaceError, Spaces};
use crate::accounts::Account;

/// An index of spaces to read from.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(super) spaces: Spaces,
    pub(super) reader: Reader,
    copy: Option<Copied>,
}

/// A copy of another node's.
#[derive(Debug)]
struct Copied {
    /// Whose.
    holder: Did,
    /// Their account here.
    account: AccountId,
    /// When it was the same as what its node had.
    as_of: Timestamp,
}

impl Spaces {
    /// This node's own index.
    pub(crate) fn here(&self) -> Reading {
        Reading { spaces: self.clone(), reader: self.0.reader.clone(), copy: None }
    }

    /// What there is to read of the space or channel at `uri`: this node's own index, or a copy. Blocks.
    ///
    /// # Errors
    /// [`SpaceError::SpaceNotFound`], when another node serves it and no whole copy lies here.
    pub(crate) fn reading_of(&self, uri: &str) -> Result<Reading, SpaceError> {
        let uri: AtUri = uri.parse().map_err(|_| SpaceError::SpaceNotFound)?;
        match uri.authority() {
            AtIdentifier::Did(holder) => self.reading_for(holder),
            AtIdentifier::Handle(_) => Err(SpaceError::SpaceNotFound),
        }
    }

    /// What there is to read of the spaces of `holder`. Blocks.
    ///
    /// # Errors
    /// As [`Self::reading_of`].
    pub(crate) fn reading_for(&self, holder: &Did) -> Result<Reading, SpaceError> {
        if self.serves(holder) {
            return Ok(self.here());
        }
        self.copy_for(holder)?.ok_or(SpaceError::SpaceNotFound)
    }

    /// The message at `uri`, if whoever asks may read it, with what it is read from. Whose the space is, the URI does not
    /// say. Blocks.
    ///
    /// # Errors
    /// [`SpaceError::MessageNotFound`], for whatever reason.
    pub(crate) fn find_message(
        &self,
        uri: &str,
        asker: Option<&Did>,
    ) -> Result<(Reading, Found, u64, MessageRow), SpaceError> {
        let mut readings = vec![self.here()];
        readings.extend(self.copies_with(uri)?);
        for reading in readings {
            match reading.message(uri, asker) {
                Ok((found, position, row)) => return Ok((reading, found, position, row)),
                Err(SpaceError::MessageNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SpaceError::MessageNotFound)
    }

    /// The space at `uri`, if whoever asks may know of it and it is told live here. Blocks.
    ///
    /// # Errors
    /// [`SpaceError::SpaceNotFound`], for whatever reason; [`SpaceError::HolderElsewhere`], where only a copy lies here.
    pub(crate) fn find_live(&self, uri: &str, asker: Option<&Did>) -> Result<Found, SpaceError> {
        let reading = self.reading_of(uri)?;
        let found = reading.find(uri, asker)?;
        if reading.copy.is_some() { Err(SpaceError::HolderElsewhere) } else { Ok(found) }
    }

    /// The copies that may tell of the message at `uri`. Blocks.
    fn copies_with(&self, uri: &str) -> Result<Vec<Reading>, SpaceError> {
        let mut found = vec![];
        let Some((AtIdentifier::Did(author), path)) =
            uri.parse::<AtUri>().ok().and_then(|uri| Some((uri.authority().clone(), uri.path()?.to_string())))
        else {
            return Ok(found);
        };
        for account in belongings::copies_with(&self.0.reader, &author, &path)? {
            let holder = self.0.accounts.by_id_blocking(account)?;
            if let Some(holder) = holder.as_ref().map(Account::did).filter(|holder| !self.serves(holder)) {
                found.extend(self.copy_for(holder)?);
            }
        }
        Ok(found)
    }

    /// Whether this node serves what is of `holder`, as far as it lies here.
    pub(super) fn serves(&self, holder: &Did) -> bool {
        let account = self.0.accounts.by_did_blocking(holder).ok().flatten();
        if account.is_some_and(|account| account.has_moved_away()) {
            return false;
        }
        let placed = self.0.permissioned.fence().placement().and_then(|placement| placement.tenant(holder));
        placed.is_none_or(|tenant| tenant.is_primary() && tenant.serves())
    }

    /// The copy of what is of `holder`, if it was whole once in this epoch. Blocks.
    fn copy_for(&self, holder: &Did) -> Result<Option<Reading>, SpaceError> {
        let Some(row) = self.0.reader.get(&REPLICAS, holder)? else { return Ok(None) };
        let is_copy = matches!(row.role, replicas::Role::Standby | replicas::Role::TakingOver);
        let seen = self.0.permissioned.fence().placement().and_then(|placement| placement.current_at(holder));
        let Some(as_of) = seen.max(row.current).filter(|_| is_copy && row.complete.is_some()) else {
            return Ok(None);
        };
        let copy = Some(Copied { holder: holder.clone(), account: row.account, as_of });
        Ok(Some(Reading { spaces: self.clone(), reader: self.0.reader.of_copy(row.account), copy }))
    }
}

impl Reading {
    /// When what is read was the same as what its node had; `None` where that node is this one.
    pub(crate) fn as_of(&self) -> Option<Timestamp> {
        self.copy.as_ref().map(|copy| copy.as_of)
    }

    /// The account here under which a copy lies, when this is one.
    pub(super) fn copied_account(&self) -> Option<AccountId> {
        self.copy.as_ref().map(|copy| copy.account)
    }

    /// Whether what there is of `holder` is to be read here: the node that a copy comes from speaks for its own account,
    /// and what lies here of spaces that another node serves by now is old, and does not say how old.
    pub(super) fn speaks_for(&self, holder: &Did) -> bool {
        match &self.copy {
            Some(copy) => copy.holder == *holder,
            None => self.spaces.serves(holder),
        }
    }

    /// Who somebody is to the account that holds a space. Blocks.
    pub(super) fn standing(&self, holder: &Did, did: &Did) -> Result<Standing, SpaceError> {
        let Some(copy) = &self.copy else { return Ok(self.spaces.standing(holder, did)) };
        if holder == did {
            return Ok(Standing::Holder);
        }
        let Some(tenant) = self.reader.get(&TENANTS, &copy.account)? else { return Ok(Standing::Stranger) };
        if tenant.owner == *did {
            return Ok(Standing::Holder);
        }
        let member = self.reader.get(&TENANT_MEMBERS, &(copy.account, did.clone()))?;
        let Some(member) = member.filter(|member| member.status == MembershipStatus::Active) else {
            return Ok(Standing::Stranger);
        };
        let manages = role::allows(member.role, member.permissions, tenant.status, Permission::ManageSpaces);
        Ok(match member.role {
            Role::Owner => Standing::Holder,
            _ if manages => Standing::Manager,
            _ => Standing::Stranger,
        })
    }
}
