//! Recognitions of people who belong to a business, and the karma that they earn by them (KAR-01 to KAR-04). What a
//! recognition is worth and which ones are not given, `angel_protocol::people::karma` says.
//!
//! They lie in the tenant's own partition of its workspace, each with who gave it (ADR 036), and count in that business
//! alone. Nobody's karma is stored: it is added up when somebody asks, as other figures are.

use angel_protocol::data::{Map, Value, cbor};
use angel_protocol::ids::{AtIdentifier, AtUri, Did, RecordKey, RepoPath};
use angel_protocol::people::karma::{Award, Karma, Privacy, RECIPROCAL, Recognition, Weighing, Wish};
use angel_protocol::people::{ACCOUNT, PROFILE, RECOGNITION};
use angel_protocol::rules::figures::{Counts, figures};
use serde_json::json;

use super::{Business, BusinessError, Entries, Entry, nsid, text};
use crate::clock;
use crate::spaces::announce::Announcement;
use crate::tenants::{Tenant, workspace};

/// Spaces of a person in which their account's record is looked for. Of somebody with more, nobody is told anything.
const SPACES_MAX: usize = 1000;

/// A recognition that somebody wants to give.
#[derive(Clone, Debug)]
pub(crate) struct NewRecognition {
    /// To whom.
    pub(crate) to: Did,
    /// Of which type.
    pub(crate) kind: String,
    /// Why, in words.
    pub(crate) reason: Option<String>,
    /// What it is about.
    pub(crate) content: Option<String>,
}

impl Business {
    /// Gives a recognition. Whoever gives it belongs to the tenant; that is for the caller to check.
    ///
    /// # Errors
    /// [`BusinessError`], by what stands in the way.
    pub(crate) async fn recognise(
        &self,
        tenant: &Tenant,
        by: &Did,
        new: NewRecognition,
    ) -> Result<Entry, BusinessError> {
        let account = self.account(tenant).await?;
        let NewRecognition { to, kind, reason, content } = new;
        self.0.tenants.role(tenant.did(), &to).ok_or(BusinessError::PersonNotFound)?;
        let by_handle = |uri: &String| {
            let uri = uri.parse::<AtUri>();
            uri.is_ok_and(|uri| matches!(uri.authority(), AtIdentifier::Handle(_)))
        };
        if content.as_ref().is_some_and(by_handle) {
            let text = "relatedContent: name its author by their DID: handles change hands";
            return Err(BusinessError::Malformed(text.to_owned()));
        }
        if self.0.spaces.is_agent(by).await? {
            return Err(BusinessError::NotAPerson);
        }
        let own_agent = to != *by && self.0.spaces.is_agent_of(&to, by).await?.ok_or(BusinessError::OwnerUnknown)?;
        let now = clock::now();
        let wish = Wish { by: by.as_str(), to: to.as_str(), kind: &kind, content: content.as_deref(), own_agent };
        let mut weighing = Weighing::new(wish, now)?;

        // Between what was seen and what is written, nobody else gives one.
        let turn = self.turn(tenant).await;
        let whole = self.each(tenant.did(), RECOGNITION, |_, record| {
            if let Some(given) = Recognition::read(record) {
                weighing.add(&given);
            }
        });
        let whole = whole.await?;
        let award = weighing.decide()?;
        let optional = [
            ("reason", reason),
            ("relatedContent", content.clone()),
            ("anomaly", award.reciprocal.then(|| RECIPROCAL.to_owned())),
        ];
        let mut record = Map::from([
            ("tenant".to_owned(), text(tenant.did().as_str())),
            ("toUser".to_owned(), text(to.as_str())),
            ("type".to_owned(), text(kind.as_str())),
            ("createdAt".to_owned(), text(now.to_string())),
        ]);
        record.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value?)))));
        let record = self.judged(&account, by, RECOGNITION, record, None).await?;
        let newest = self.entries(tenant.did(), RECOGNITION, None, 1, |_| true).await?.entries.pop();
        let path = RepoPath::new(nsid(RECOGNITION), self.next_key(newest.as_ref())?);
        let made = self.write(&account, vec![(path, record, None)]).await?.swap_remove(0);
        drop(turn);
        // Of a sum that is not whole, nobody knows whether it was passed just now.
        if whole && award.makes_angel() {
            self.tell_of_angel(tenant, &to, &made, award).await;
        }
        Ok(made)
    }

    async fn tell_of_angel(&self, tenant: &Tenant, person: &Did, by: &Entry, award: Award) {
        let subject = Some(format!("at://{}/{}", tenant.did(), by.path));
        let data = Some(json!({ "person": person, "score": award.after }));
        let event = "guardian_angel.assigned";
        let told = Announcement { event, subject, data, ..Announcement::of_department("people") };
        self.0.spaces.announce(tenant.did(), told).await;
    }

    /// Takes a recognition back. `manages` says whether whoever asks manages the people of the tenant. One that was taken
    /// back before stays as it is.
    ///
    /// # Errors
    /// [`BusinessError`], by what stands in the way.
    pub(crate) async fn revoke_recognition(
        &self,
        tenant: &Tenant,
        by: &Did,
        manages: bool,
        path: &RepoPath,
    ) -> Result<Entry, BusinessError> {
        let account = self.account(tenant).await?;
        let _turn = self.turn(tenant).await;
        let before = self.entry(tenant.did(), path).await?;
        let before = before.filter(|entry| manages || concerns(&entry.record, by));
        let before = before.ok_or(BusinessError::RecordNotFound)?;
        if !manages && before.record.get("awardedBy").and_then(Value::as_str) != Some(by.as_str()) {
            return Err(BusinessError::Forbidden("a recognition is taken back by who gave it"));
        }
        if before.record.contains_key("revokedAt") {
            return Ok(before);
        }
        let mut record = before.record.clone();
        record.insert("revokedAt".to_owned(), text(clock::now().to_string()));
        record.insert("revokedBy".to_owned(), text(by.as_str()));
        let record = self.judged(&account, by, RECOGNITION, record, Some(&before.record)).await?;
        Ok(self.write(&account, vec![(before.path, record, Some(before.cid))]).await?.swap_remove(0))
    }

    /// Recognitions of a tenant, the newest first: those that each of `concerning` gave or received.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn recognitions(
        &self,
        tenant: &Tenant,
        concerning: &[&Did],
        cursor: Option<RecordKey>,
        limit: usize,
    ) -> Result<Entries, BusinessError> {
        let wanted = |record: &Map| concerning.iter().all(|person| concerns(record, person));
        self.entries(tenant.did(), RECOGNITION, cursor, limit, wanted).await
    }

    /// What a person who belongs to the tenant earned in it, as figures; for others without what that person does not want
    /// to be told.
    ///
    /// # Errors
    /// [`BusinessError::PersonNotFound`], or the store cannot be read.
    pub(crate) async fn karma(&self, tenant: &Tenant, person: &Did, asker: &Did) -> Result<Map, BusinessError> {
        self.0.tenants.role(tenant.did(), person).ok_or(BusinessError::PersonNotFound)?;
        let counts = self.earned(tenant.did(), person).await?;
        let mut figures = figures(PROFILE, &Value::Map(Map::new()), &counts);
        if person != asker {
            self.privacy(person).await?.hide(&mut figures);
        }
        Ok(figures)
    }

    /// The sum of somebody's recognitions, remembered for as long as the workspace stands where it stood.
    async fn earned(&self, tenant: &Did, person: &Did) -> Result<Counts, BusinessError> {
        let head = self.0.permissioned.head(&workspace(tenant), tenant).await?;
        let Some(head) = head else { return Ok(Counts { karma: Some(0), ..Counts::default() }) };
        if let Some(known) = self.0.counted.at(tenant, person.as_str(), head.rev) {
            return Ok(known);
        }
        let mut karma = Karma::of(person.as_str());
        let whole = self.each(tenant, RECOGNITION, |_, record| {
            if let Some(given) = Recognition::read(record) {
                karma.add(&given);
            }
        });
        let whole = whole.await?;
        let counts = Counts { karma: whole.then(|| karma.score()), ..Counts::default() };
        self.0.counted.note(tenant, person.as_str(), head.rev, counts);
        Ok(counts)
    }

    /// What a person wants others to be told: as their account's record says, which lies in a space of their own. Of somebody
    /// whose account is elsewhere it is not known.
    async fn privacy(&self, person: &Did) -> Result<Privacy, BusinessError> {
        let Some(account) = self.0.accounts.resident(person).await? else { return Ok(Privacy::CLOSED) };
        let spaces = self.0.permissioned.spaces_of(&account, None, SPACES_MAX).await?;
        if spaces.len() == SPACES_MAX {
            return Ok(Privacy::CLOSED);
        }
        let path = RepoPath::new(nsid(ACCOUNT), "self".parse().expect("a word is a record key"));
        let mut privacy = Privacy::OPEN;
        for space in spaces {
            if let Some(found) = self.0.permissioned.read(&space.uri, person, &path).await?
                && let Ok(said) = cbor::decode(&found.bytes)
            {
                privacy = privacy.and(Privacy::read(&said));
            }
        }
        Ok(privacy)
    }
}

/// Whether somebody gave a recognition or received it.
fn concerns(record: &Map, person: &Did) -> bool {
    ["awardedBy", "toUser"].iter().any(|field| record.get(*field).and_then(Value::as_str) == Some(person.as_str()))
}
