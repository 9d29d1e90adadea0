//! Proving a row of the ledger to somebody who knows the validators and nothing else.
//!
//! A proof travels with the header it leads to and the certificate of that header: precommits of more than two
//! thirds of the validators. Checking it needs no network and no storage.

use serde::{Deserialize, Serialize};

use super::batch::Header;
use super::certificate::{Certificate, InvalidCertificate};
use super::rows::{self, Identity, Placement, Receipt, Row, ScopedBalance, Wallet};
use super::token::Balance;
use super::transaction::TransactionId;
use super::tree::{ProofError, RowProof, prove};
use super::validators::ValidatorSet;
use super::view::{View, ViewError};
use crate::ids::Did;
use crate::limits::PROOF_BYTES_MAX;

/// What can be proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An account's wallet, with its balance outside tenants.
    Wallet(Did),
    /// An account's balance inside a tenant.
    ScopedBalance(Did, Did),
    /// Where a tenant is.
    Placement(Did),
    /// What became of a transaction.
    Receipt(TransactionId),
    /// The head of an identity's log.
    Identity(Did),
}

impl Subject {
    /// The key of the row.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Wallet(account) => rows::key::<Wallet>(&[account.as_str().as_bytes()]),
            Self::ScopedBalance(account, tenant) => {
                rows::key::<ScopedBalance>(&[account.as_str().as_bytes(), tenant.as_str().as_bytes()])
            }
            Self::Placement(tenant) => rows::key::<Placement>(&[tenant.as_str().as_bytes()]),
            Self::Receipt(id) => rows::key::<Receipt>(&[&id.0]),
            Self::Identity(did) => rows::key::<Identity>(&[did.as_str().as_bytes()]),
        }
    }
}

/// A row, or its absence, at one height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerProof {
    /// The height's header.
    pub header: Header,
    /// That the validators decided it.
    pub certificate: Certificate,
    /// The row's value; absent when the proof is of absence.
    #[serde(with = "serde_bytes")]
    pub value: Option<Vec<u8>>,
    /// The way from the row to the header's root.
    #[serde(with = "row_proof")]
    pub path: RowProof,
}

/// Why a proof convinces nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProved {
    /// The bytes are no proof.
    #[error("not a proof of the ledger: {0}")]
    Encoding(String),
    /// The certificate is for another header.
    #[error("the certificate does not belong to the header shown")]
    Header,
    /// The certificate does not hold.
    #[error(transparent)]
    Certificate(#[from] InvalidCertificate),
    /// The way leads elsewhere.
    #[error(transparent)]
    Path(#[from] ProofError),
    /// The row is not what the ledger writes.
    #[error("the row shown is not of the kind asked for")]
    Row,
}

impl LedgerProof {
    /// Proves `subject` in `view`, whose latest height has this `header` and `certificate`.
    ///
    /// # Errors
    /// [`ViewError`] when a row cannot be read.
    pub fn make(
        view: &impl View,
        subject: &Subject,
        header: Header,
        certificate: Certificate,
    ) -> Result<Self, ViewError> {
        let key = subject.key();
        Ok(Self { header, certificate, value: view.get(&key)?, path: prove(view, &key)? })
    }

    /// As it travels: canonical DAG-CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        super::transaction::encode(self).expect("a proof has only integers, names and bytes")
    }

    /// Reads a proof from untrusted bytes.
    ///
    /// # Errors
    /// [`NotProved::Encoding`].
    pub fn decode(bytes: &[u8]) -> Result<Self, NotProved> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(NotProved::Encoding("too long".to_owned()));
        }
        serde_ipld_dagcbor::from_slice(bytes).map_err(|error| NotProved::Encoding(crate::data::misfit(&error)))
    }

    /// Checks everything against `validators`, the set of the header's height.
    ///
    /// # Errors
    /// [`NotProved`], by what is wrong.
    pub fn verify(&self, validators: &ValidatorSet, subject: &Subject) -> Result<(), NotProved> {
        let Certificate { network, height, value, .. } = &self.certificate;
        let header = &self.header;
        if (network, *height, value.0) != (&header.network, header.height, header.hash()) {
            return Err(NotProved::Header);
        }
        self.certificate.verify(validators)?;
        Ok(self.path.verify(&header.root, &subject.key(), self.value.as_deref())?)
    }

    /// As [`LedgerProof::verify`], and reads the balance proved: of a wallet, or inside a tenant. An account without
    /// the row has nothing.
    ///
    /// # Errors
    /// [`NotProved`], by what is wrong.
    pub fn balance(
        &self,
        validators: &ValidatorSet,
        account: &Did,
        tenant: Option<&Did>,
    ) -> Result<Balance, NotProved> {
        match tenant {
            None => {
                self.verify(validators, &Subject::Wallet(account.clone()))?;
                Ok(self.read::<Wallet>()?.map(|wallet| wallet.balance).unwrap_or_default())
            }
            Some(tenant) => {
                self.verify(validators, &Subject::ScopedBalance(account.clone(), tenant.clone()))?;
                Ok(self.read::<ScopedBalance>()?.unwrap_or_default().balance)
            }
        }
    }

    /// As [`LedgerProof::verify`], and reads where the tenant is; nothing when it is not placed.
    ///
    /// # Errors
    /// [`NotProved`], by what is wrong.
    pub fn placement(&self, validators: &ValidatorSet, tenant: &Did) -> Result<Option<Placement>, NotProved> {
        self.verify(validators, &Subject::Placement(tenant.clone()))?;
        self.read()
    }

    /// As [`LedgerProof::verify`], and reads what became of a transaction; nothing when it was not decided.
    ///
    /// # Errors
    /// [`NotProved`], by what is wrong.
    pub fn receipt(&self, validators: &ValidatorSet, id: TransactionId) -> Result<Option<Receipt>, NotProved> {
        self.verify(validators, &Subject::Receipt(id))?;
        self.read()
    }

    /// As [`LedgerProof::verify`], and reads the head of an identity's log; nothing when it does not exist. The
    /// operation itself travels beside the proof: [`Identity::is_head`] tells whether it is the one.
    ///
    /// # Errors
    /// [`NotProved`], by what is wrong.
    pub fn identity(&self, validators: &ValidatorSet, did: &Did) -> Result<Option<Identity>, NotProved> {
        self.verify(validators, &Subject::Identity(did.clone()))?;
        self.read()
    }

    fn read<R: Row>(&self) -> Result<Option<R>, NotProved> {
        self.value.as_deref().map(rows::parse).transpose().map_err(|_| NotProved::Row)
    }
}

/// A path in the data model: its Borsh bytes.
mod row_proof {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserializer, Serializer};

    use super::RowProof;
    use crate::limits::TREE_DEPTH_MAX;

    pub(super) fn serialize<S: Serializer>(path: &RowProof, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&borsh::to_vec(path).map_err(S::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RowProof, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        if bytes.len() > 32 * (TREE_DEPTH_MAX + 3) {
            return Err(D::Error::custom("a path is at most 256 hashes long"));
        }
        borsh::from_slice(&bytes).map_err(D::Error::custom)
    }
}
