//! One canonical form: the DAG-CBOR check that every message passes before it is decoded.
//!
//! A signature covers bytes, so two encodings of one message would be two messages. [`check`] walks the bytes once by
//! the rules of [`data::cbor`](crate::data::cbor), allocates nothing, and never builds a value; `serde` does that
//! afterwards, for the parts that are wanted.

use crate::data::CborError;
use crate::data::cbor::reader::{Item, Reader};
use crate::limits::CBOR_DEPTH_MAX;

/// Checks that `bytes` are exactly one canonical item, nested at most [`CBOR_DEPTH_MAX`] deep.
///
/// # Errors
/// [`CborError`], by the first rule broken.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    skip(&mut reader, CBOR_DEPTH_MAX)?;
    reader.finish()
}

/// Moves behind the next item, checking all of it. Recursion is bounded by `depth`, the levels still allowed.
pub(super) fn skip(reader: &mut Reader<'_>, depth: usize) -> Result<(), CborError> {
    let inner = || depth.checked_sub(1).ok_or(CborError::Depth);
    match reader.item()? {
        Item::List(count) => {
            let inner = inner()?;
            for _ in 0..count {
                skip(reader, inner)?;
            }
        }
        Item::Map(count) => {
            let inner = inner()?;
            let mut last = None;
            for _ in 0..count {
                reader.key(&mut last)?;
                skip(reader, inner)?;
            }
        }
        Item::Null | Item::Bool(_) | Item::Integer(_) | Item::Text(_) | Item::Bytes(_) | Item::Link(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::cbor;

    proptest! {
        /// It accepts what the decoder accepts, and nothing else.
        #[test]
        fn agrees_with_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(check(&bytes), cbor::decode(&bytes).map(drop));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels| [vec![0x81; levels], vec![0x00]].concat();
        assert_eq!(check(&nested(CBOR_DEPTH_MAX)), Ok(()));
        assert_eq!(check(&nested(CBOR_DEPTH_MAX + 1)), Err(CborError::Depth));
    }
}
