//! Writes canonical DAG-CBOR item by item. The caller gives map keys in canonical order.

use crate::data::cid::Cid;

/// Bytes in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// How many bytes there are so far.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn null(&mut self) {
        self.bytes.push(0xf6);
    }

    pub(crate) fn bool(&mut self, bool: bool) {
        self.bytes.push(if bool { 0xf5 } else { 0xf4 });
    }

    pub(crate) fn integer(&mut self, integer: i64) {
        match u64::try_from(integer) {
            Ok(argument) => self.head(0, argument),
            // -1 - n, and never negative: for i64::MIN it is i64::MAX.
            Err(_) => self.head(1, (-1 - integer).unsigned_abs()),
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(3, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(2, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn link(&mut self, cid: Cid) {
        self.bytes.extend_from_slice(&[0xd8, 42, 0x58, 37, 0]);
        self.bytes.extend_from_slice(&cid.to_bytes());
    }

    pub(crate) fn link_or_null(&mut self, cid: Option<Cid>) {
        match cid {
            Some(cid) => self.link(cid),
            None => self.null(),
        }
    }

    pub(crate) fn list(&mut self, count: usize) {
        self.head(4, count as u64);
    }

    pub(crate) fn map(&mut self, count: usize) {
        self.head(5, count as u64);
    }

    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        let bytes = argument.to_be_bytes();
        match argument {
            0..24 => self.bytes.push(major | bytes[7]),
            24..0x100 => self.bytes.extend_from_slice(&[major | 24, bytes[7]]),
            0x100..0x1_0000 => {
                self.bytes.push(major | 25);
                self.bytes.extend_from_slice(&bytes[6..]);
            }
            0x1_0000..0x1_0000_0000 => {
                self.bytes.push(major | 26);
                self.bytes.extend_from_slice(&bytes[4..]);
            }
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend_from_slice(&bytes);
            }
        }
    }
}
