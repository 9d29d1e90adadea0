//! Memberships that come as records: as either early version of the platform wrote them (`records.md` 11.2), or as they
//! are described today. Here they are rows (ADR 071).

use angel_protocol::ids::{Datetime, Did};
use angel_protocol::spaces::{MembershipError, SPACE, Status, merge_versions};
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{Fact, MemberRow, Place, RECORDS, SPACES};
use serde_json::Value;

use super::super::records::Address;
use super::Known;
use crate::blocking;
use crate::spaces::{SpaceError, Spaces};

/// Why a membership that is written as a record means nothing here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrittenError {
    /// A field.
    #[error("a membership: {0}")]
    Membership(#[from] MembershipError),
    /// Nobody's.
    #[error("a membership has a user, by their DID")]
    User,
    /// In a space of somebody else, or in none.
    #[error("a membership names a space of the account whose spaces these are, by its at:// URI")]
    Space,
    /// A time.
    #[error("{0} of a membership is no time")]
    Time(&'static str),
}

impl Known {
    /// A membership in a space of `holder`, out of its record. What the record does not date began `now`.
    ///
    /// # Errors
    /// [`WrittenError`], by what means nothing.
    pub(crate) fn of_record(holder: &Did, record: &Value, now: Timestamp) -> Result<Self, WrittenError> {
        let membership = merge_versions(record)?;
        let text = |field: &str| record.get(field).and_then(Value::as_str);
        let user: Did = text("user").and_then(|did| did.parse().ok()).ok_or(WrittenError::User)?;
        let space = text("space").and_then(|uri| Address::of(uri, SPACE)).filter(|space| space.did == *holder);
        let space = space.ok_or(WrittenError::Space)?;
        let time = |field: &'static str| match record.get(field) {
            None => Ok::<_, WrittenError>(None),
            Some(value) => {
                let time = value.as_str().and_then(|time| Datetime::parse_lenient(time).ok()?.timestamp());
                Ok(Some(now.min(time.ok_or(WrittenError::Time(field))?)))
            }
        };
        let created_at = time("createdAt")?.unwrap_or(now);
        // Only a membership that was active once was joined, and then at the latest when it was written.
        let was_joined = matches!(membership.status, Status::Active | Status::Suspended);
        let joined_at = time("joinedAt")?.or(was_joined.then_some(created_at));
        let row = MemberRow { membership, joined_at, created_at, changed_at: now };
        let name = Fact::member(&user);
        Ok(Self { space: space.rkey().to_owned(), name, fact: Fact::Member(user, row) })
    }
}

impl Spaces {
    /// Takes in memberships that came as records. Those of another store of this kind come with the lists of who may enter
    /// which room; these say it themselves.
    ///
    /// # Errors
    /// The store fails. What was taken in stays so, and it can be done again.
    pub(crate) async fn take_written(&self, holder: &Did, written: Vec<Known>) -> Result<(), SpaceError> {
        self.take_known(holder, written.clone()).await?;
        for Known { space, fact, .. } in written {
            let Fact::Member(did, row) = fact else { continue };
            let (this, key) = (self.clone(), (holder.clone(), format!("{SPACE}/{space}")));
            let found = blocking::run(move || match this.0.reader.get(&RECORDS, &key)? {
                Some(Cbor(Place::Space(id))) => Ok(this.0.reader.get(&SPACES, &id)?.map(|space| (id, space))),
                _ => Ok::<_, SpaceError>(None),
            });
            if let Some((id, space)) = found.await? {
                self.let_in(id, &space, &did, Some(&row.membership)).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::spaces::{Permission, Role};
    use serde_json::json;

    use super::*;

    const HOLDER: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    const USER: &str = "did:plc:z72i7hdynmk6r22z27h6tvur";

    fn read(change: &Value) -> Result<Known, WrittenError> {
        let mut record = json!({
            "$type": "co.kendev.spaces.membership", "user": USER, "role": "admin",
            "space": format!("at://{HOLDER}/{SPACE}/3kznmn7xqxl22"),
            "permissions": { "canInviteUsers": true, "canManageSpace": false }, "invitationStatus": "accepted",
            "createdAt": "2024-02-03T04:05:06.000Z",
        });
        let fields = record.as_object_mut().expect("an object");
        fields.extend(change.as_object().expect("an object").clone());
        fields.retain(|_, value| !value.is_null());
        Known::of_record(&HOLDER.parse().expect("a DID"), &record, Timestamp::from_millis(1_790_000_000_000))
    }

    #[test]
    fn a_membership_of_an_early_version_is_one_of_today() {
        let known = read(&json!({})).expect("reads");
        assert!(known.is_sound());
        assert_eq!(known.space, "3kznmn7xqxl22");
        let Fact::Member(did, row) = known.fact else { panic!("no membership") };
        assert_eq!(did.as_str(), USER);
        assert_eq!((row.membership.role, row.membership.status), (Role::SpaceAdmin, Status::Active));
        assert_eq!(row.membership.permissions.into_iter().collect::<Vec<_>>(), [Permission::InviteUsers]);
        assert_eq!(
            (row.joined_at, row.created_at.to_string()),
            (Some(row.created_at), "2024-02-03T04:05:06.000Z".into())
        );
        let Fact::Member(_, asked) = read(&json!({ "invitationStatus": "pending" })).expect("reads").fact else {
            panic!("no membership")
        };
        assert_eq!((asked.membership.status, asked.joined_at), (Status::Pending, None));
        let Fact::Member(_, late) = read(&json!({ "joinedAt": "2999-01-01T00:00:00Z" })).expect("reads").fact else {
            panic!("no membership")
        };
        assert_eq!(late.joined_at, Some(late.changed_at), "nobody joins in times to come");
    }

    #[test]
    fn a_record_that_means_nothing_is_refused_by_its_field() {
        let elsewhere = format!("at://{USER}/{SPACE}/3kznmn7xqxl22");
        for (change, refused) in [
            (json!({ "user": null }), WrittenError::User),
            (json!({ "user": "alice" }), WrittenError::User),
            (json!({ "space": null }), WrittenError::Space),
            (json!({ "space": elsewhere }), WrittenError::Space),
            (json!({ "space": format!("at://{HOLDER}/com.example.room/1") }), WrittenError::Space),
            (json!({ "joinedAt": "yesterday" }), WrittenError::Time("joinedAt")),
            (json!({ "createdAt": 5 }), WrittenError::Time("createdAt")),
        ] {
            assert_eq!(read(&change), Err(refused), "{change}");
        }
        assert!(matches!(read(&json!({ "role": "king" })), Err(WrittenError::Membership(_))));
    }
}
