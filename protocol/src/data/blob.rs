//! References to blobs within records ("Data Model", section "Blob Type").

use super::cid::{Cid, Codec};
use super::value::{Map, Value};

/// What a record says of a blob. The size is what the author claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The CID of the bytes, of codec raw.
    pub cid: Cid,
    /// The media type.
    pub mime_type: String,
    /// Size in bytes; `None` in the older form, which does not say it.
    pub size: Option<u64>,
}

impl BlobRef {
    /// Reads a map with `$type: blob`, or the older form `{"cid", "mimeType"}`; `None` when it is neither.
    #[must_use]
    pub fn from_map(map: &Map) -> Option<Self> {
        let mime_type = map.get("mimeType")?.as_str()?.to_owned();
        match map.get("$type") {
            Some(Value::String(name)) if name == "blob" => {
                let cid = map.get("ref")?.as_link().filter(|cid| cid.codec() == Codec::Raw)?;
                let size = u64::try_from(map.get("size")?.as_integer()?).ok()?;
                Some(Self { cid, mime_type, size: Some(size) })
            }
            Some(_) => None,
            None if map.len() == 2 => {
                let cid: Cid = map.get("cid")?.as_str()?.parse().ok()?;
                (cid.codec() == Codec::Raw).then_some(Self { cid, mime_type, size: None })
            }
            None => None,
        }
    }

    /// The form for a new record. The older form becomes the present one; a size that is not known is written as -1,
    /// as the reference implementation does.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let size = self.size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
        Value::Map(Map::from([
            ("$type".to_owned(), Value::String("blob".to_owned())),
            ("ref".to_owned(), Value::Link(self.cid)),
            ("mimeType".to_owned(), Value::String(self.mime_type.clone())),
            ("size".to_owned(), Value::Integer(size)),
        ]))
    }
}

/// Every blob a value refers to, in the order of the value, repeats included.
#[must_use]
pub fn blob_refs(value: &Value) -> Vec<BlobRef> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found
}

/// Recursion is as deep as the value, which decoding has bounded.
fn collect(value: &Value, found: &mut Vec<BlobRef>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Map(map) => match BlobRef::from_map(map) {
            Some(blob) => found.push(blob),
            None => map.values().for_each(|item| collect(item, found)),
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::from_json;
    use super::*;

    const CID: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    #[test]
    fn finds_both_forms_wherever_they_are() {
        let value = from_json(&json!({
            "avatar": {"$type": "blob", "ref": {"$link": CID}, "mimeType": "image/png", "size": 12},
            "list": [{"image": {"cid": CID, "mimeType": "image/jpeg"}}],
            "near": {"cid": CID, "mimeType": "image/jpeg", "more": 1},
        }))
        .expect("valid");
        let blobs = blob_refs(&value);
        let seen: Vec<_> = blobs.iter().map(|blob| (blob.mime_type.as_str(), blob.size)).collect();
        assert_eq!(seen, [("image/png", Some(12)), ("image/jpeg", None)]);
        assert_eq!(BlobRef::from_map(blobs[0].to_value().as_map().expect("a map")).as_ref(), Some(&blobs[0]));
    }
}
