//! An owner gives a tenant to this node, whose hosts are gone: what there is to sign, and what follows once it is signed.
//!
//! The secret half of the owner's key never comes here. This node says what has to be signed, is handed the owner's word for
//! the ledger and the operation that points the identity here, and keeps that operation before it asks the ledger: once
//! the ledger has decided, a crash loses nothing of what was signed, and taking over goes its usual way.

use std::collections::BTreeSet;

use angel_protocol::crypto::Signature;
use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::ledger::action::{Claim, Source};
use angel_protocol::ledger::rows::Placement;
use angel_protocol::ledger::{Action, Outcome, rows};
use angel_protocol::membership::Status;
use angel_protocol::plc::PlcOperation;
use angel_storage::Batch;
use angel_storage::ledger::LedgerView;
use angel_storage::replicas::{self, ReplicaRow, Role};
use serde::Serialize;
use serde_bytes::ByteBuf;

use crate::accounts::Account;
use crate::blocking;
use crate::directory::DirectoryError;
use crate::ledger::custody::SubmitFailed;
use crate::ledger::wallet::WalletError;
use crate::replication::{Replication, ReplicationError};

/// How often keeping the operation is tried while somebody else writes the row.
const KEEP_TRIES: usize = 8;

/// What an owner has to sign so that this node becomes primary.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToSign {
    /// The tenant.
    pub(crate) did: Did,
    /// The network whose ledger is asked.
    pub(crate) network: NetworkId,
    /// The epoch that would begin.
    pub(crate) epoch: u64,
    /// This node.
    pub(crate) to: Did,
    /// Whose data lies here.
    pub(crate) from: Option<Source>,
    /// Whether the ledger has made this node primary already, so that the identity alone is to be moved.
    pub(crate) is_claimed: bool,
    /// The other hosts by the ledger that answer and could serve it; no vaults.
    pub(crate) living: Vec<Did>,
    /// Whether what lies here is all that there was when it was made.
    pub(crate) is_whole: bool,
    /// Where the identity has to lead.
    pub(crate) endpoint: String,
    /// The key that signs for the account here.
    pub(crate) signing_key: Did,
    /// The rotation keys that come behind the owner's.
    pub(crate) rotation_keys: Vec<Did>,
}

/// What an owner has signed.
#[derive(Debug)]
pub(crate) struct SignedClaim {
    /// The epoch that begins.
    pub(crate) epoch: u64,
    /// The word for the ledger; none where the ledger has decided.
    pub(crate) owner: Option<Signature>,
    /// Points the identity here.
    pub(crate) operation: PlcOperation,
    /// Although other hosts answer, or the copy here is not whole.
    pub(crate) anyway: bool,
}

/// Why a tenant was not claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotClaimed {
    /// Its identity is not decided here.
    #[error(
        "the identity of {0} is not kept by this network, so the network cannot tell who its owner is: restore the account \
         without --claim, point its identity at this node, switch it on with `angel account activate`, and place it anew"
    )]
    IdentityElsewhere(Did),
    /// Nothing of it is here.
    #[error("{0} is neither a copy here nor was it restored to be claimed: see `angel restore --tenant {0} --claim`")]
    NothingHere(Did),
    /// The restore was cut short.
    #[error(
        "{0} was put back from a backup by half: restore it again with `angel restore --tenant {0} --claim`, then claim it"
    )]
    HalfRestored(Did),
    /// It is served here.
    #[error("this node serves {0} already")]
    Served(Did),
    /// Others could go on.
    #[error(
        "the tenant has hosts that answer ({hosts}): have it moved with `angel tenant migrate` or `promote`, which loses nothing; a \
         claim goes back to what lies here, and is made all the same with --anyway"
    )]
    HostsLive {
        /// Who.
        hosts: String,
    },
    /// A copy that has not come whole.
    #[error("the copy that lies here is not whole; it is claimed all the same with --anyway")]
    NotWhole,
    /// The placement is another than was signed for.
    #[error("the placement has moved on to another epoch: claim it again")]
    Stale,
    /// The owner's word is missing.
    #[error("the owner's signature of the claim is missing")]
    Unsigned,
    /// The operation does not point here.
    #[error(
        "the operation does not point the identity at this node, at the key that is here and at this node's rotation key"
    )]
    LeadsElsewhere,
    /// The directory would not take the operation.
    #[error("the operation that points the identity here is refused: {0}")]
    Operation(#[from] DirectoryError),
    /// The ledger refuses.
    #[error("the ledger refuses the claim: {text} ({name:?})", text = .0.text(), name = .0)]
    Outcome(Outcome),
    /// Everything else.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
}

impl NotClaimed {
    /// A word for programs.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::IdentityElsewhere(_) => "IdentityElsewhere",
            Self::NothingHere(_) => "NothingToClaim",
            Self::HalfRestored(_) => "HalfRestored",
            Self::Served(_) => "AlreadyPrimary",
            Self::HostsLive { .. } => "HostsLive",
            Self::NotWhole => "CopyNotWhole",
            Self::Stale | Self::Outcome(Outcome::StaleEpoch) => "StaleEpoch",
            Self::Outcome(Outcome::BadClaim) | Self::Unsigned => "BadClaim",
            Self::Outcome(Outcome::OwnerUnknown) => "OwnerUnknown",
            Self::Outcome(Outcome::HostNotHosting) => "HostNotHosting",
            Self::Outcome(Outcome::ResidencyViolation) => "ResidencyViolation",
            Self::Outcome(_) => "LedgerRefused",
            Self::LeadsElsewhere | Self::Operation(_) => "BadOperation",
            Self::Replication(_) => "NotClaimed",
        }
    }
}

impl From<SubmitFailed> for NotClaimed {
    fn from(error: SubmitFailed) -> Self {
        match error {
            SubmitFailed::Outcome(outcome) | SubmitFailed::Wallet(WalletError::Outcome(outcome)) => {
                Self::Outcome(outcome)
            }
            error => Self::Replication(error.into()),
        }
    }
}

/// What lies here of a tenant, and where the ledger has it.
struct Here {
    row: ReplicaRow,
    placed: Option<Placement>,
}

impl Replication {
    /// What the owner of an account that lies here has to sign.
    pub(crate) async fn to_sign(&self, account: &Account) -> Result<ToSign, NotClaimed> {
        let Here { row, placed } = self.here(account).await?;
        let is_claimed = placed.as_ref().is_some_and(|placed| placed.primary == *self.own());
        let epoch = placed.as_ref().map_or(1, |placed| placed.epoch);
        // What it is a copy of, and how far: a node that had more tells the rest when it comes back.
        let from = match (&row.restored, &placed) {
            (Some(restored), _) => Some(Source { node: restored.node.clone(), sequence: restored.sequence }),
            (None, Some(placed)) => {
                Some(Source { node: placed.primary.clone(), sequence: row.complete.unwrap_or_default() })
            }
            (None, None) => None,
        };
        // A vault that answers saves nobody a claim: it cannot read what it keeps.
        let readers = placed.iter().flat_map(|it| it.hosts().filter(|host| !it.vaults.contains(host)));
        let others: BTreeSet<Did> = readers.filter(|it| *it != self.own()).cloned().collect();
        let identities = &self.0.parts.lifecycle.identities;
        Ok(ToSign {
            did: account.did().clone(),
            network: self.placement().ledger().network().clone(),
            epoch: if is_claimed { epoch } else { epoch.saturating_add(1) },
            to: self.own().clone(),
            from: from.filter(|_| !is_claimed),
            is_claimed,
            living: if is_claimed { Vec::new() } else { self.online_among(others).await? },
            is_whole: row.restored.is_some() || row.complete.is_some() || is_claimed,
            endpoint: identities.endpoint().to_owned(),
            signing_key: account.row().signing_key.clone(),
            rotation_keys: identities.rotation_keys(None),
        })
    }

    /// Brings what the owner signed before the ledger. It has decided when this returns, and the tenant is being taken over.
    pub(crate) async fn claim(&self, account: &Account, signed: SignedClaim) -> Result<(), NotClaimed> {
        let wanted = self.to_sign(account).await?;
        if !wanted.living.is_empty() && !signed.anyway {
            let hosts: Vec<_> = wanted.living.iter().map(ToString::to_string).collect();
            return Err(NotClaimed::HostsLive { hosts: hosts.join(", ") });
        }
        if !wanted.is_whole && !signed.anyway {
            return Err(NotClaimed::NotWhole);
        }
        if signed.epoch != wanted.epoch {
            return Err(NotClaimed::Stale);
        }
        let identities = &self.0.parts.lifecycle.identities;
        let can_change = |data: angel_protocol::plc::PlcData| data.rotation_keys.contains(&identities.rotation_key());
        let has_key = signed.operation.statement().data().is_some_and(can_change);
        if !has_key || !self.leads_here(account, &signed.operation) {
            return Err(NotClaimed::LeadsElsewhere);
        }
        identities.directory().would_take(account.did(), &signed.operation).await?;
        self.keep_operation(account.did(), Some(&signed.operation)).await?;
        if !wanted.is_claimed {
            let owner = signed.owner.ok_or(NotClaimed::Unsigned)?;
            let ToSign { did, epoch, from, .. } = wanted;
            tracing::warn!(tenant = %did, epoch, "its owner claims the tenant for this node");
            let claim = Action::Claim(Claim { tenant: did.clone(), epoch, from, owner });
            if let Err(error) = self.0.parts.submitter.as_node(claim).await {
                let error = NotClaimed::from(error);
                // What was refused must not point the identity anywhere later. Any other error leaves it open whether the
                // ledger decides yet, and then the operation is needed.
                if matches!(error, NotClaimed::Outcome(_)) {
                    self.keep_operation(&did, None).await?;
                }
                return Err(error);
            }
        }
        let (placement, did) = (self.placement().clone(), account.did().clone());
        let refreshed = blocking::run(move || placement.refresh_blocking(&did)).await;
        refreshed.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
        self.placement().touch();
        Ok(())
    }

    async fn here(&self, account: &Account) -> Result<Here, NotClaimed> {
        let did = account.did().clone();
        if did.method() != "plc" || !self.0.parts.lifecycle.identities.directory().is_own() {
            return Err(NotClaimed::IdentityElsewhere(did));
        }
        let reader = self.0.parts.reader.clone();
        blocking::run(move || {
            let placed = rows::placement(&LedgerView(&reader), &did);
            let placed = placed.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
            let row = reader.get(&replicas::REPLICAS, &did).map_err(ReplicationError::from)?;
            match row {
                Some(row) if row.is_half_restored() => Err(NotClaimed::HalfRestored(did)),
                Some(row) if row.role == Role::Primary => Err(NotClaimed::Served(did)),
                Some(row) if row.role != Role::GivingWay => Ok(Here { row, placed }),
                _ => Err(NotClaimed::NothingHere(did)),
            }
        })
        .await
    }

    async fn online_among(&self, nodes: BTreeSet<Did>) -> Result<Vec<Did>, NotClaimed> {
        let seen = self.0.parts.membership.nodes().await;
        let seen = seen.map_err(|stopped| ReplicationError::NotBelieved(stopped.to_string()))?.nodes;
        let online = seen.into_iter().filter(|node| node.view.status == Status::Online).map(|node| node.view.did);
        Ok(online.filter(|did| nodes.contains(did)).collect())
    }

    /// Keeps the owner's operation for when the ledger has decided, or forgets it; not once the ledger has made this node
    /// primary, for another claim may have been decided meanwhile.
    async fn keep_operation(&self, did: &Did, operation: Option<&PlcOperation>) -> Result<(), ReplicationError> {
        let (this, did) = (self.clone(), did.clone());
        let bytes = operation.map(|operation| ByteBuf::from(operation.to_bytes()));
        blocking::run(move || {
            let parts = &this.0.parts;
            for _ in 0..KEEP_TRIES {
                let row = parts.reader.get(&replicas::REPLICAS, &did)?.ok_or(ReplicationError::Unexpected)?;
                let placed = rows::placement(&LedgerView(&parts.reader), &did);
                let placed = placed.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
                if bytes.is_none() && placed.is_some_and(|placed| placed.primary == *this.own()) {
                    return Ok(());
                }
                let mut batch = Batch::new();
                batch.expect_value(&replicas::REPLICAS, &did, &row)?;
                let row = ReplicaRow { operation: bytes.clone(), ..row };
                replicas::put(&mut batch, &did, &row)?;
                match parts.writer.commit(batch) {
                    // Following writes the row as well.
                    Err(angel_storage::CommitError::Conflict { .. }) => {}
                    committed => return Ok(committed.map(drop)?),
                }
            }
            Err(ReplicationError::Unexpected)
        })
        .await
    }
}
