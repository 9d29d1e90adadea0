//! What a decoder says of bytes that are no value of a type, in words for whoever sent them.

use std::fmt::Debug;

use serde_ipld_dagcbor::DecodeError;

/// The library's own text is how its types look inside.
pub(crate) fn misfit<E: Debug>(error: &DecodeError<E>) -> String {
    match error {
        DecodeError::Msg(text) => text.clone(),
        DecodeError::Mismatch { name, .. } | DecodeError::Unsupported { name, .. } => {
            format!("a value of the type {name} was expected, and is another")
        }
        DecodeError::Eof { name, .. } => format!("the bytes end where a value of the type {name} was expected"),
        DecodeError::CastOverflow { name } => format!("a number is beyond what the type {name} holds"),
        DecodeError::LengthMismatch { expect, value, .. } => format!("{expect} entries were expected, not {value}"),
        DecodeError::TrailingData => "bytes follow the value".to_owned(),
        DecodeError::UnorderedKey => "the keys of a map are not in order".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Load {
        percent: u8,
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let said = |bytes: &[u8]| misfit(&serde_ipld_dagcbor::from_slice::<Load>(bytes).expect_err("no load"));
        assert_eq!(said(b"\xa0"), "missing field `percent`");
        assert_eq!(said(b"\xa1\x67percent\x20"), "a value of the type u8 was expected, and is another");
        assert_eq!(said(b"\xa1\x67percent"), "the bytes end where a value of the type u8 was expected");
        assert_eq!(said(b"\xa1\x67percent\x01\x01"), "bytes follow the value");
    }
}
