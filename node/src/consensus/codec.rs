//! The engine's messages as bytes: Borsh throughout. What comes from outside is bounded before it is read, by gossip and
//! by streams; nothing here allocates by a length it has not received.

use angel_protocol::consensus::{Address, Height, LedgerContext, Part, ValueId};
use angel_protocol::crypto::Signature;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use malachitebft_codec::{Codec, HasEncodedLen};
use malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachitebft_core_types::{
    ExtendedCommitCertificate, ExtendedCommitSignature, PolkaCertificate, Round, ValidatorProof,
};
use malachitebft_engine::util::streaming::StreamMessage;
use malachitebft_sync::{RawDecidedValue, Request, Response, Status, ValueRequest, ValueResponse};

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("not a message of this kind: {0}")]
pub(super) struct Malformed(String);

impl From<std::io::Error> for Malformed {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Writes and reads the engine's messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct BorshCodec;

macro_rules! borsh_codec {
    ($($message:ty),+ $(,)?) => {$(
        impl Codec<$message> for BorshCodec {
            type Error = Malformed;

            fn decode(&self, bytes: Bytes) -> Result<$message, Malformed> {
                Ok(borsh::from_slice(&bytes)?)
            }

            fn encode(&self, message: &$message) -> Result<Bytes, Malformed> {
                Ok(borsh::to_vec(message)?.into())
            }
        }
    )+};
}

borsh_codec!(
    Part,
    SignedConsensusMsg<LedgerContext>,
    LivenessMsg<LedgerContext>,
    ProposedValue<LedgerContext>,
    PolkaCertificate<LedgerContext>,
    StreamMessage<Part>,
);

impl Codec<ValidatorProof<LedgerContext>> for BorshCodec {
    type Error = Malformed;

    fn decode(&self, bytes: Bytes) -> Result<ValidatorProof<LedgerContext>, Malformed> {
        let (public_key, peer_id, signature) = borsh::from_slice(&bytes)?;
        Ok(ValidatorProof { public_key, peer_id, signature })
    }

    fn encode(&self, proof: &ValidatorProof<LedgerContext>) -> Result<Bytes, Malformed> {
        Ok(borsh::to_vec(&(&proof.public_key, &proof.peer_id, &proof.signature))?.into())
    }
}

impl Codec<Status<LedgerContext>> for BorshCodec {
    type Error = Malformed;

    fn decode(&self, bytes: Bytes) -> Result<Status<LedgerContext>, Malformed> {
        let (peer, tip_height, history_min_height): (Vec<u8>, _, _) = borsh::from_slice(&bytes)?;
        let peer_id = malachitebft_peer::PeerId::from_bytes(&peer).map_err(|error| Malformed(error.to_string()))?;
        Ok(Status { peer_id, tip_height, history_min_height })
    }

    fn encode(&self, status: &Status<LedgerContext>) -> Result<Bytes, Malformed> {
        Ok(borsh::to_vec(&(status.peer_id.to_bytes(), status.tip_height, status.history_min_height))?.into())
    }
}

impl Codec<Request<LedgerContext>> for BorshCodec {
    type Error = Malformed;

    fn decode(&self, bytes: Bytes) -> Result<Request<LedgerContext>, Malformed> {
        let (first, last): (Height, Height) = borsh::from_slice(&bytes)?;
        Ok(Request::ValueRequest(ValueRequest::new(first..=last)))
    }

    fn encode(&self, Request::ValueRequest(request): &Request<LedgerContext>) -> Result<Bytes, Malformed> {
        Ok(borsh::to_vec(&(request.range.start(), request.range.end()))?.into())
    }
}

/// A decided height on its way to one that missed it.
#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct SentValue {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) value: ValueId,
    pub(super) signatures: Vec<(Address, Signature)>,
    pub(super) body: Vec<u8>,
}

impl SentValue {
    fn from_engine(value: &RawDecidedValue<LedgerContext>) -> Self {
        let certificate = &value.certificate;
        let signatures = certificate.commit_signatures.iter();
        Self {
            height: certificate.height,
            round: certificate.round,
            value: certificate.value_id,
            signatures: signatures.map(|entry| (entry.address.clone(), entry.signature)).collect(),
            body: value.value_bytes.to_vec(),
        }
    }

    fn into_engine(self) -> RawDecidedValue<LedgerContext> {
        let signatures = self.signatures.into_iter();
        let certificate = ExtendedCommitCertificate {
            height: self.height,
            round: self.round,
            value_id: self.value,
            commit_signatures: signatures
                .map(|(address, signature)| ExtendedCommitSignature::new(address, signature, None))
                .collect(),
        };
        RawDecidedValue::new(self.body.into(), certificate)
    }
}

impl Codec<Response<LedgerContext>> for BorshCodec {
    type Error = Malformed;

    fn decode(&self, bytes: Bytes) -> Result<Response<LedgerContext>, Malformed> {
        let (start, values): (Height, Vec<SentValue>) = borsh::from_slice(&bytes)?;
        let values = values.into_iter().map(SentValue::into_engine).collect();
        Ok(Response::ValueResponse(ValueResponse::new(start, values)))
    }

    fn encode(&self, Response::ValueResponse(response): &Response<LedgerContext>) -> Result<Bytes, Malformed> {
        let values: Vec<_> = response.values.iter().map(SentValue::from_engine).collect();
        Ok(borsh::to_vec(&(response.start_height, values))?.into())
    }
}

impl HasEncodedLen<Response<LedgerContext>> for BorshCodec {
    fn encoded_len(&self, response: &Response<LedgerContext>) -> Result<usize, Malformed> {
        Ok(<Self as Codec<Response<LedgerContext>>>::encode(self, response)?.len())
    }
}
