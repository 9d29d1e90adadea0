//! Messages as they go over the wire. What a server sends is not masked (RFC 6455, section 5.1), so the bytes are the same
//! for every follower: they are made once, and shared.

use axum::body::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A message with its head.
#[derive(Clone, Debug)]
pub(crate) struct Framed {
    wire: Bytes,
    head: usize,
}

impl Framed {
    /// A message of bytes.
    pub(crate) fn binary(payload: &[u8]) -> Self {
        Self::new(Data::Binary, payload)
    }

    /// A message of text.
    pub(crate) fn text(payload: &str) -> Self {
        Self::new(Data::Text, payload.as_bytes())
    }

    fn new(kind: Data, payload: &[u8]) -> Self {
        let head = FrameHeader { opcode: OpCode::Data(kind), ..FrameHeader::default() };
        let length = payload.len() as u64;
        let begin = head.len(length);
        let mut wire = Vec::with_capacity(begin + payload.len());
        head.format(length, &mut wire).expect("a vector takes every byte");
        wire.extend_from_slice(payload);
        Self { wire: wire.into(), head: begin }
    }

    /// All of it.
    pub(crate) fn wire(&self) -> Bytes {
        self.wire.clone()
    }

    /// What it says.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.wire[self.head..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_kind_and_length_in_the_fewest_bytes() {
        for (length, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xFF, 0xFF]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload = vec![7; length];
            let framed = Framed::binary(&payload);
            assert_eq!((&framed.wire()[..head.len()], framed.payload()), (head, &payload[..]), "{length}");
        }
        assert_eq!(&Framed::text("hi").wire()[..], b"\x81\x02hi");
    }
}
