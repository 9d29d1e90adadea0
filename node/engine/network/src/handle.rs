//! Handles of a network that cannot be started: none of these values can exist.

use bytes::Bytes;
use libp2p::request_response::{InboundRequestId, OutboundRequestId};

use crate::validator_proof::ProofVerificationResult;
use crate::{
    Channel, Event, Multiaddr, NetworkStateDump, PeerId, PersistentPeerError, ValidatorInfo,
};

type Result<T> = std::result::Result<T, eyre::Report>;

/// Both halves.
pub enum Handle {}

/// The half that hears.
pub enum RecvHandle {}

/// The half that speaks.
pub enum CtrlHandle {}

impl Handle {
    pub fn split(self) -> (RecvHandle, CtrlHandle) {
        match self {}
    }
}

impl RecvHandle {
    pub async fn recv(&mut self) -> Option<Event> {
        match *self {}
    }
}

impl CtrlHandle {
    pub fn peer_id(&self) -> PeerId {
        match *self {}
    }

    pub async fn publish(&self, _: Channel, _: Bytes) -> Result<()> {
        match *self {}
    }

    pub async fn broadcast(&self, _: Channel, _: Bytes) -> Result<()> {
        match *self {}
    }

    pub async fn sync_request(&self, _: PeerId, _: Bytes) -> Result<OutboundRequestId> {
        match *self {}
    }

    pub async fn sync_reply(&self, _: InboundRequestId, _: Bytes) -> Result<()> {
        match *self {}
    }

    pub async fn sync_cancel_reply(&self, _: InboundRequestId) -> Result<()> {
        match *self {}
    }

    pub async fn update_validator_set(&self, _: Vec<ValidatorInfo>) -> Result<()> {
        match *self {}
    }

    pub async fn dump_state(&self) -> Result<NetworkStateDump> {
        match *self {}
    }

    pub async fn add_persistent_peer(&self, _: Multiaddr) -> Result<std::result::Result<(), PersistentPeerError>> {
        match *self {}
    }

    pub async fn remove_persistent_peer(&self, _: Multiaddr) -> Result<std::result::Result<(), PersistentPeerError>> {
        match *self {}
    }

    pub async fn validator_proof_verified(
        &self,
        _: PeerId,
        _: ProofVerificationResult,
        _: Option<Vec<u8>>,
    ) -> Result<()> {
        match *self {}
    }

    pub async fn wait_shutdown(self) -> Result<()> {
        match self {}
    }
}
