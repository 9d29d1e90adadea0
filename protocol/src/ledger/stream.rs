//! Decided heights as `co.kendev.network.subscribeLedger` tells them: frames of AT Protocol's event streams, one for each
//! height. The height is the place in the stream, so a follower goes on with the height after the last it has seen.

use serde::Serialize;
use serde_bytes::Bytes;

use super::batch::{Batch, Header};
use super::certificate::Certificate;
use super::transaction::encode;
use crate::ids::Did;

/// The kind of a height's message.
pub const HEIGHT: &str = "#height";

#[derive(Serialize)]
struct FrameHeader<'a> {
    op: i8,
    t: &'a str,
}

/// What one message says. The certificate proves it to whoever knows the validators.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    seq: u64,
    time: String,
    root: &'a Bytes,
    previous: &'a Bytes,
    batch: &'a Bytes,
    proposer: &'a Did,
    transactions: Vec<String>,
    certificate: &'a Certificate,
}

/// The frame of a decided height.
#[must_use]
pub fn height_frame(header: &Header, certificate: &Certificate, proposer: &Did, batch: &Batch) -> Vec<u8> {
    let told = Told {
        seq: header.height,
        time: header.time.to_string(),
        root: Bytes::new(&header.root),
        previous: Bytes::new(&header.previous),
        batch: Bytes::new(&header.batch),
        proposer,
        transactions: batch.transactions.iter().map(|signed| signed.id().to_string()).collect(),
        certificate,
    };
    let mut frame = encode(&FrameHeader { op: 1, t: HEIGHT }).expect("an integer and a name");
    frame.extend(encode(&told).expect("a height has only integers, texts and hashes"));
    frame
}
