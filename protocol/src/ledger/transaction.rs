//! A transaction: what one wallet asks the ledger to do, under its signature.

use std::fmt;
use std::ops::Range;
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
            return Err(another_encoding());
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
    body: Range<usize>,
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

fn another_encoding() -> InvalidTransaction {
    InvalidTransaction::Encoding("another encoding of the same values".to_owned())
}

/// Where the body lies in a canonical envelope, and its signature; nothing where the bytes are none. There is one way to
/// write an envelope of a body and a signature, so reading it that way shows that it is that one: the keys sort as `tx`,
/// `sig`, by length first, and lengths are written as short as they can be.
fn unwrap(bytes: &[u8]) -> Option<(Range<usize>, Option<Signature>)> {
    let (entries, rest) = bytes.split_first_chunk::<4>()?;
    let signed = match entries {
        b"\xa1\x62tx" => false,
        b"\xa2\x62tx" => true,
        _ => return None,
    };
    let (kind, rest) = rest.split_first()?;
    let (head, length) = match kind {
        0x40..=0x57 => (1, usize::from(kind - 0x40)),
        0x58 => (2, usize::from(*rest.first()?)),
        0x59 => (3, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        _ => return None,
    };
    // The least length that needs so long a head.
    if length < [0, 0, 24, 256][head] {
        return None;
    }
    let start = 4 + head;
    let body = start..start + length;
    let behind = bytes.get(body.end..)?;
    let signature = match behind.strip_prefix(b"\x63sig\x58\x40") {
        Some(signature) if signed => Some(signature.try_into().ok()?),
        None if !signed && behind.is_empty() => None,
        _ => return None,
    };
    Some((body, signature))
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
        let Some((body, signature)) = unwrap(bytes) else {
            decode::<Envelope>(bytes)?;
            return Err(another_encoding());
        };
        let transaction: Transaction = decode(&bytes[body.clone()])?;
        if encode(&transaction)? != bytes[body.clone()] {
            return Err(another_encoding());
        }
        transaction.bounded()?;
        let operation = match &transaction.action {
            Action::ChangeIdentity(it) => Some(it.read()?),
            _ => None,
        };
        if operation.is_some() == signature.is_some() {
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
        Ok(Self(Arc::new(Inner {
            id,
            operation,
            digest: Sha256::digest(bytes).into(),
            body,
            signature,
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
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidTransaction::Encoding(crate::data::misfit(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`unwrap`] is to find, by the encoder: an envelope that is written as it was read.
    fn by_encoding(bytes: &[u8]) -> Option<(Vec<u8>, Option<Signature>)> {
        let envelope = decode::<Envelope>(bytes).ok()?;
        (encode(&envelope).as_deref() == Ok(bytes)).then_some((envelope.tx, envelope.sig))
    }

    #[test]
    fn an_envelope_is_read_where_it_is_the_one_that_is_written() {
        let (mut read, mut refused) = (0, 0);
        let mut same = |bytes: &[u8]| {
            let found = unwrap(bytes).map(|(body, signature)| (bytes[body].to_vec(), signature));
            assert_eq!(found, by_encoding(bytes), "{bytes:02x?}");
            *(if found.is_some() { &mut read } else { &mut refused }) += 1;
        };
        for length in [0, 1, 22, 23, 24, 25, 63, 64, 65, 254, 255, 256, 257, 1000] {
            for sig in [None, Some([0x61; 64])] {
                let bytes = encode(&Envelope { sig, tx: vec![0x78; length] }).expect("bytes");
                same(&bytes);
                same(&[&bytes[..], &[0]].concat());
                same(&bytes[..bytes.len() - 1]);
                // Every other byte wherever it is not one of the contents.
                for place in (0..8).chain(4 + length..(length + 16).min(bytes.len())) {
                    let mut altered = bytes.clone();
                    for value in 0..=u8::MAX {
                        let Some(byte) = altered.get_mut(place) else { break };
                        *byte = value;
                        same(&altered);
                    }
                }
                // The length in more bytes than it takes.
                let start = bytes.len() - length - sig.map_or(0, |_| 70);
                let short = u16::try_from(length).expect("small").to_be_bytes();
                let heads: [&[u8]; 4] =
                    [&[0x58, short[1]], &[0x59, short[0], short[1]], &[0x5a, 0, 0, short[0], short[1]], &[0x5f]];
                for head in heads {
                    same(&[&bytes[..4], head, &bytes[start..]].concat());
                }
            }
        }
        assert!(read > 28 && refused > 10_000, "{read} read, {refused} refused");
    }
}
