//! A transaction: what one wallet asks the ledger to do, under its signature.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::action::{Action, ChangeIdentity};
use crate::crypto::{Domain, NodeKey, Signature};
use crate::data::Cid;
use crate::ids::{Did, NetworkId};
use crate::limits::TRANSACTION_BYTES_MAX;
use crate::plc::{Inadmissible, InvalidOperation, PlcOperation};
use crate::time::Timestamp;

/// What a wallet's signature covers first.
pub(crate) const TRANSACTION: Domain = Domain::new("angel/transaction/1");

/// A transaction's id: a hash of the wallet and a nonce that the client chose.
///
/// The client knows it before it sends, so a retry is safe; and because the wallet is in it, nobody can use up
/// another's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 32]);

impl TransactionId {
    /// The id of `wallet`'s transaction with `nonce`.
    #[must_use]
    pub fn new(wallet: &Did, nonce: &[u8; 16]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"angel/transaction-id/1\0");
        hash.update(nonce);
        hash.update(wallet.as_str());
        Self(hash.finalize().into())
    }

    /// The id of a did:plc operation of the identity `did`: it follows from the operation.
    #[must_use]
    pub fn of_operation(did: &Did, cid: Cid) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"angel/operation-id/1\0");
        hash.update(cid.digest());
        hash.update(did.as_str());
        Self(hash.finalize().into())
    }
}

/// Base32, lower case, without padding, as `records.md` 6.3 writes transaction ids.
impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&multibase::Base::Base32Lower.encode(self.0))
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not the base32 of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a transaction id is 52 letters and digits of base32")]
pub struct InvalidTransactionId;

impl std::str::FromStr for TransactionId {
    type Err = InvalidTransactionId;

    fn from_str(text: &str) -> Result<Self, InvalidTransactionId> {
        let bytes = multibase::Base::Base32Lower.decode(text).map_err(|_| InvalidTransactionId)?;
        let id = Self(bytes.try_into().map_err(|_| InvalidTransactionId)?);
        if id.to_string() == text { Ok(id) } else { Err(InvalidTransactionId) }
    }
}

/// What the wallet signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transaction {
    /// The network it is for.
    pub network: NetworkId,
    /// The account whose wallet signs, and pays. The identity itself where the action is [`Action::ChangeIdentity`].
    pub wallet: Did,
    /// The wallet's next number: 0 for its first transaction.
    pub sequence: u64,
    /// Chosen by the client, once per transaction; a retry repeats it.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
    /// After this batch time it can no longer be decided.
    pub expires: Timestamp,
    /// What it asks for.
    pub action: Action,
}

impl Transaction {
    /// Its canonical DAG-CBOR: what a wallet signs, for the domain `angel/transaction/1`.
    ///
    /// # Errors
    /// [`InvalidTransaction`] when it has no encoding.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidTransaction> {
        encode(self)
    }

    /// Reads one that nobody has signed yet, from untrusted bytes.
    ///
    /// # Errors
    /// [`InvalidTransaction`], by what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidTransaction> {
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(InvalidTransaction::TooLarge);
        }
        let transaction: Self = decode(bytes)?;
        if encode(&transaction)? != bytes {
            return Err(InvalidTransaction::Encoding("another encoding of the same values".to_owned()));
        }
        transaction.bounded()?;
        Ok(transaction)
    }
}

/// A transaction with its signature, as it travels and as batches hold it. Cheap to clone.
#[derive(Clone)]
pub struct Signed(Arc<Inner>);

struct Inner {
    transaction: Transaction,
    id: TransactionId,
    bytes: Vec<u8>,
    body: std::ops::Range<usize>,
    signature: Option<Signature>,
    operation: Option<PlcOperation>,
    digest: [u8; 32],
}

/// Why bytes are no transaction. Such bytes never reach the ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// Longer than [`TRANSACTION_BYTES_MAX`].
    #[error("a transaction has at most {TRANSACTION_BYTES_MAX} bytes")]
    TooLarge,
    /// Not canonical DAG-CBOR of a transaction.
    #[error("not the canonical DAG-CBOR of a transaction: {0}")]
    Encoding(String),
    /// A list, text or DID beyond its bound.
    #[error("{0} is beyond its bound")]
    Bound(&'static str),
    /// The signature of a wallet is missing, or there is one where an operation brings its own.
    #[error("a transaction carries its wallet's signature, and a did:plc operation none but its own")]
    Signature,
    /// The operation it carries is none.
    #[error(transparent)]
    Operation(InvalidOperation),
    /// The operation it carries is beyond the bounds of a directory.
    #[error(transparent)]
    OperationBound(Inadmissible),
    /// An operation in another wrapping than [`Signed::from_operation`] gives it.
    #[error("a did:plc operation has sequence 0, a nonce of zeros, and never expires")]
    Wrapping,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    sig: Option<Signature>,
    #[serde(with = "serde_bytes")]
    tx: Vec<u8>,
}

impl Signed {
    /// Signs `transaction` with its wallet's key.
    ///
    /// # Errors
    /// [`InvalidTransaction`] when it is beyond a bound.
    pub fn sign(transaction: &Transaction, key: &NodeKey) -> Result<Self, InvalidTransaction> {
        Self::sign_with(transaction, |body| key.sign(TRANSACTION, body))
    }

    /// As [`Signed::sign`], for a key held elsewhere: `sign` receives the body to sign for the domain
    /// `angel/transaction/1`.
    ///
    /// # Errors
    /// [`InvalidTransaction`] when it is beyond a bound.
    pub fn sign_with(
        transaction: &Transaction,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Result<Self, InvalidTransaction> {
        let tx = encode(transaction)?;
        let sig = Some(sign(&tx));
        Self::decode(&encode(&Envelope { sig, tx })?)
    }

    /// The transaction of a did:plc operation for the identity `did`. An operation has one transaction on a network,
    /// whoever makes it.
    ///
    /// # Errors
    /// [`InvalidTransaction`] when the operation is beyond a bound.
    pub fn from_operation(network: NetworkId, did: Did, operation: &PlcOperation) -> Result<Self, InvalidTransaction> {
        let action = Action::ChangeIdentity(ChangeIdentity { operation: operation.to_bytes() });
        let transaction =
            Transaction { network, wallet: did, sequence: 0, nonce: [0; 16], expires: Timestamp::MAX, action };
        Self::decode(&encode(&Envelope { sig: None, tx: encode(&transaction)? })?)
    }

    /// Reads a transaction from untrusted bytes. The signature is not checked here: the key is in the ledger.
    ///
    /// # Errors
    /// [`InvalidTransaction`], by what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidTransaction> {
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(InvalidTransaction::TooLarge);
        }
        let envelope: Envelope = decode(bytes)?;
        let transaction: Transaction = decode(&envelope.tx)?;
        if encode(&transaction)? != envelope.tx || encode(&envelope)? != bytes {
            return Err(InvalidTransaction::Encoding("another encoding of the same values".to_owned()));
        }
        transaction.bounded()?;
        let operation = match &transaction.action {
            Action::ChangeIdentity(it) => Some(it.read()?),
            _ => None,
        };
        if operation.is_some() == envelope.sig.is_some() {
            return Err(InvalidTransaction::Signature);
        }
        let id = match &operation {
            None => TransactionId::new(&transaction.wallet, &transaction.nonce),
            Some(operation) => {
                let wrapping = (transaction.sequence, transaction.nonce, transaction.expires);
                if wrapping != (0, [0; 16], Timestamp::MAX) {
                    return Err(InvalidTransaction::Wrapping);
                }
                TransactionId::of_operation(&transaction.wallet, operation.cid())
            }
        };
        // Keys of the envelope sort as `tx`, `sig`: by length first.
        let start = bytes
            .windows(envelope.tx.len())
            .position(|window| window == envelope.tx)
            .expect("a canonical envelope holds its body as it is");
        Ok(Self(Arc::new(Inner {
            id,
            operation,
            digest: Sha256::digest(bytes).into(),
            body: start..start + envelope.tx.len(),
            signature: envelope.sig,
            bytes: bytes.to_vec(),
            transaction,
        })))
    }

    /// The transaction.
    #[must_use]
    pub fn transaction(&self) -> &Transaction {
        &self.0.transaction
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.0.id
    }

    /// The bytes that travel.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The bytes under the signature, without their domain.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0.bytes[self.0.body.clone()]
    }

    /// The wallet's signature; none where the transaction is a did:plc operation, which brings its own.
    #[must_use]
    pub fn signature(&self) -> Option<&Signature> {
        self.0.signature.as_ref()
    }

    /// The did:plc operation that it is, if it is one.
    #[must_use]
    pub fn operation(&self) -> Option<&PlcOperation> {
        self.0.operation.as_ref()
    }

    /// SHA-256 of [`Signed::bytes`].
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }
}

impl PartialEq for Signed {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for Signed {}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("id", &self.id()).field("transaction", self.transaction()).finish()
    }
}

/// Canonical DAG-CBOR.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>, InvalidTransaction> {
    serde_ipld_dagcbor::to_vec(value).map_err(|error| InvalidTransaction::Encoding(error.to_string()))
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, InvalidTransaction> {
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidTransaction::Encoding(error.to_string()))
}
