//! Profiles of the time before blobs had a type name their pictures as `{cid, mimeType}`. Apps read such a profile, change
//! something else, and send the pictures back as they were: they are written as blobs of today then, as the reference host
//! does it.

use angel_protocol::data::Cid;
use angel_protocol::ids::Nsid;
use angel_storage::AccountId;
use serde_json::{Value, json};

use crate::blobs::{BlobError, Blobs};

const PROFILE: &str = "app.bsky.actor.profile";
const PICTURES: [&str; 2] = ["avatar", "banner"];

/// Brings the pictures of a profile into today's form, as far as their files are here: of others nobody knows the size.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn bring_up_to_date(
    blobs: &Blobs,
    account: AccountId,
    collection: &Nsid,
    record: &mut Value,
) -> Result<(), BlobError> {
    if collection.as_str() != PROFILE {
        return Ok(());
    }
    for name in PICTURES {
        let Some(picture) = record.get_mut(name) else { continue };
        let Some((cid, media_type)) = old_form(picture) else { continue };
        if let Some(size) = blobs.size_of(account, cid).await? {
            *picture = json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": media_type, "size": size });
        }
    }
    Ok(())
}

fn old_form(picture: &Value) -> Option<(Cid, String)> {
    let fields = picture.as_object().filter(|fields| fields.len() == 2)?;
    let cid = fields.get("cid")?.as_str()?.parse().ok()?;
    Some((cid, fields.get("mimeType")?.as_str()?.to_owned()))
}
