//! Tenants: accounts that are businesses, who belongs to them, who is invited, what they used, and what was done.
//!
//! Every key but that of the index of names begins with the tenant, so that a range of one tenant cannot hold a row of
//! another, and one tenant can be read, written and dropped by itself. This module decides nothing: it keeps rows.

use angel_protocol::ids::{Did, Tid};
use angel_protocol::tenants::invitation::{Invitation, TokenHash};
use angel_protocol::tenants::{
    Allowance, MembershipStatus, Month, Permissions, Role, Slug, Template, TenantStatus, Usage,
};
use angel_protocol::time::Timestamp;
use angel_protocol::webhooks::{Position, Track};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batch::{Batch, RowRefused};
use crate::codec::{self, Cbor, CodecError, Row};
use crate::events::TrimError;
use crate::key::{AccountId, Key};
use crate::limits::BULK_ROWS;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::verify::Check;

/// Every tenant.
pub const TENANTS: Table<AccountId, TenantRow> = Table::new(TableId::Tenants);

/// Tenants by their short name.
pub const TENANTS_BY_SLUG: Table<String, Cbor<AccountId>> = Table::new(TableId::TenantsBySlug);

/// Who belongs to a tenant.
pub const TENANT_MEMBERS: Table<(AccountId, Did), MembershipRow> = Table::new(TableId::TenantMembers);

/// Who is invited, by the hash of the token.
pub const TENANT_INVITATIONS: Table<(AccountId, TokenHash), Cbor<Invitation>> = Table::new(TableId::TenantInvitations);

/// What a tenant used in a month ([`Month::number`]).
pub const TENANT_USAGE: Table<(AccountId, u32), Cbor<Usage>> = Table::new(TableId::TenantUsage);

/// How often a form of a tenant was seen, by the key of the form.
pub const FORM_VIEWS: Table<(AccountId, String), Cbor<FormViews>> = Table::new(TableId::FormViews);

/// The webhooks of a tenant, by their names; those of forms under `form.` and the key of the form.
pub const WEBHOOKS: Table<(AccountId, String), WebhookRow> = Table::new(TableId::Webhooks);

/// What was done to a tenant, in order.
pub const TENANT_AUDIT: Table<(AccountId, u64), AuditRow> = Table::new(TableId::TenantAudit);

/// A tenant as the node and its operator know it. What it says of itself in public is its profile record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRow {
    /// Its account.
    pub did: Did,
    /// Its short name.
    pub slug: Slug,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub owner: Did,
    /// What may be done with it.
    pub status: TenantStatus,
    /// What it may use.
    pub allowance: Allowance,
    /// What it began as.
    pub template: Template,
    /// Its kind of business.
    pub business_type: String,
    /// When it was made. The records of its template say so too.
    pub created_at: Timestamp,
    /// When this row was last changed.
    pub updated_at: Timestamp,
    /// When it was ready.
    pub provisioned_at: Option<Timestamp>,
    /// How setting it up went.
    pub log: Vec<StepRow>,
}

impl Row for TenantRow {
    const VERSION: u8 = 1;
}

/// A tenant with everybody who belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTenant {
    /// Its account.
    pub id: AccountId,
    /// Its row.
    pub row: TenantRow,
    /// Its members.
    pub members: Vec<(Did, MembershipRow)>,
}

/// An entry of the provisioning log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRow {
    /// Which step.
    pub action: String,
    /// How it ended.
    pub status: StepStatus,
    /// In words.
    pub details: String,
    /// When.
    pub at: Timestamp,
}

/// How a step of provisioning ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Done.
    Success,
    /// Not done; it can be tried again.
    Failed,
    /// Waits for something.
    Pending,
}

/// How often a form was seen, and answered since that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormViews {
    /// How often it was asked for by others than the tenant's own people.
    pub views: u64,
    /// How often it was answered.
    pub answers: u64,
}

/// A webhook (`rules.md` API-01, FRM-02). It holds no secret: that follows from a key of the account's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRow {
    /// What is called; of a form the settings of the form say it.
    pub url: Option<String>,
    /// Which events are told, by their names; all without any.
    pub events: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it; nobody the hook of a form.
    pub created_by: Option<Did>,
    /// Chance from which, with a key of the account's, its secret follows: another one makes another secret.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 16],
    /// The public half of that key.
    pub key: Did,
    /// Whether anybody was told the secret.
    pub is_secret_told: bool,
    /// The last record that was told, or passed over.
    pub told: Position,
    /// How its calls went.
    pub track: Track,
    /// Calls that were taken.
    pub delivered: u64,
    /// When the last one was taken.
    pub accepted_at: Option<Timestamp>,
    /// When the last one failed, and how. Never what was sent, never where to.
    pub failed: Option<(Timestamp, String)>,
    /// Whether its people were told that it is paused.
    pub is_noticed: bool,
}

impl Row for WebhookRow {
    const VERSION: u8 = 1;
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipRow {
    /// The key of the record that tells of it.
    pub rkey: Tid,
    /// As what. The owner is kept as an admin: whose the tenant is stands in its row.
    pub role: Role,
    /// With which permissions, for a manager.
    pub permissions: Permissions,
    /// Whether it is in force.
    pub status: MembershipStatus,
    /// Since when.
    pub joined_at: Option<Timestamp>,
    /// Who invited; `None` when the operator did.
    pub invited_by: Option<Did>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Row for MembershipRow {
    const VERSION: u8 = 1;
}

/// An entry of a tenant's audit log: who did what, when, as what (`rules.md` AUD-01). Entries are chained, so that one
/// that is changed or taken out shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// When.
    pub at: Timestamp,
    /// Who; `None` for the operator of the node.
    pub by: Option<Did>,
    /// As what.
    pub role: String,
    /// What.
    pub action: String,
    /// To whom or what. Never a secret, never the text of a message.
    pub subject: String,
    /// The hash of the entry before; zeros in the first.
    #[serde(with = "serde_bytes")]
    pub previous: [u8; 32],
}

impl Row for AuditRow {
    const VERSION: u8 = 1;
}

impl AuditRow {
    /// The hash by which the next entry names this one.
    ///
    /// # Errors
    /// None that can happen: the row has a stored form.
    pub fn hash(&self) -> Result<[u8; 32], CodecError> {
        Ok(Sha256::digest(codec::encode(self)?).into())
    }
}

/// Adds a new tenant. The batch is refused when the account is a tenant already or the short name is taken.
///
/// # Errors
/// The batch is full.
pub fn stage_new(batch: &mut Batch, id: AccountId, row: &TenantRow) -> Result<(), RowRefused> {
    batch.expect_absent(&TENANTS, &id)?;
    batch.put(&TENANTS, &id, row)?;
    let slug = row.slug.as_str().to_owned();
    batch.expect_absent(&TENANTS_BY_SLUG, &slug)?;
    batch.put(&TENANTS_BY_SLUG, &slug, &Cbor(id))
}

/// Removes everything of a tenant but its account.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn stage_remove(reader: &Reader, batch: &mut Batch, id: AccountId) -> Result<(), TrimError> {
    if let Some(row) = reader.get(&TENANTS, &id)? {
        // A tenant that was taken over from another node may have a short name that somebody else has here.
        let slug = row.slug.as_str().to_owned();
        if reader.get(&TENANTS_BY_SLUG, &slug)? == Some(Cbor(id)) {
            batch.delete(&TENANTS_BY_SLUG, &slug)?;
        }
        batch.delete(&TENANTS, &id)?;
    }
    stage_remove_all(reader, batch, &TENANT_MEMBERS, id)?;
    stage_remove_all(reader, batch, &TENANT_INVITATIONS, id)?;
    stage_remove_all(reader, batch, &TENANT_USAGE, id)?;
    stage_remove_all(reader, batch, &FORM_VIEWS, id)?;
    stage_remove_all(reader, batch, &WEBHOOKS, id)?;
    stage_remove_all(reader, batch, &TENANT_AUDIT, id)
}

fn stage_remove_all<B: Key + Clone, V: codec::StoredValue>(
    reader: &Reader,
    batch: &mut Batch,
    table: &Table<(AccountId, B), V>,
    id: AccountId,
) -> Result<(), TrimError> {
    for (key, _) in crate::accounts::all_of(reader, table, id)? {
        batch.delete(table, &(id, key))?;
    }
    Ok(())
}

/// Every tenant with its members, in the order of their numbers.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn all(reader: &Reader) -> Result<Vec<StoredTenant>, ReadError> {
    let mut tenants = Vec::new();
    let mut last = None;
    loop {
        let scan = reader.scan(&TENANTS);
        let page = match &last {
            Some(last) => scan.after(last).page(BULK_ROWS)?,
            None => scan.page(BULK_ROWS)?,
        };
        last = page.rows.last().map(|(id, _)| *id);
        for (id, row) in page.rows {
            tenants.push(StoredTenant { id, row, members: crate::accounts::all_of(reader, &TENANT_MEMBERS, id)? });
        }
        if !page.more {
            return Ok(tenants);
        }
    }
}

/// Up to `limit` entries of a tenant's audit log behind `after`, the oldest first.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn audit(
    reader: &Reader,
    id: AccountId,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, AuditRow)>, ReadError> {
    let scan = reader.scan(&TENANT_AUDIT).prefix(&id);
    let page = match after {
        Some(after) => scan.after(&(id, after)).page(limit)?,
        None => scan.page(limit)?,
    };
    Ok(page.rows.into_iter().map(|((_, number), row)| (number, row)).collect())
}

/// The newest entry of a tenant's audit log.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn last_audit(reader: &Reader, id: AccountId) -> Result<Option<(u64, AuditRow)>, ReadError> {
    let page = reader.scan(&TENANT_AUDIT).prefix(&id).reverse().page(1)?;
    Ok(page.rows.into_iter().next().map(|((_, number), row)| (number, row)))
}

/// What a tenant used in a month.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn usage(reader: &Reader, id: AccountId, month: Month) -> Result<Usage, ReadError> {
    let row = reader.get(&TENANT_USAGE, &(id, month.number()))?;
    Ok(row.map_or_else(|| Usage::new(month), |Cbor(usage)| usage))
}

/// How often a form was seen.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn form_views(reader: &Reader, id: AccountId, rkey: &str) -> Result<FormViews, ReadError> {
    let row = reader.get(&FORM_VIEWS, &(id, rkey.to_owned()))?;
    Ok(row.map_or_else(FormViews::default, |Cbor(views)| views))
}

/// A tenant's webhooks, in the order of their names.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn webhooks(reader: &Reader, id: AccountId) -> Result<Vec<(String, WebhookRow)>, ReadError> {
    crate::accounts::all_of(reader, &WEBHOOKS, id)
}

/// How the tables of this module are checked by [`crate::verify`].
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::of(&TENANTS),
        Check::of(&TENANTS_BY_SLUG),
        Check::of(&TENANT_MEMBERS),
        Check::of(&TENANT_INVITATIONS),
        Check::of(&TENANT_USAGE),
        Check::of(&FORM_VIEWS),
        Check::of(&WEBHOOKS),
        Check::of(&TENANT_AUDIT),
    ]
}

#[cfg(test)]
mod tests {
    use angel_protocol::tenants::{Plan, Resource};
    use angel_protocol::webhooks::Answer;

    use super::*;
    use crate::store::Store;

    fn tenant(slug: &str) -> TenantRow {
        TenantRow {
            did: format!("did:web:{slug}.example").parse().expect("valid"),
            slug: slug.parse().expect("valid"),
            name: slug.to_owned(),
            owner: "did:web:owner.example".parse().expect("valid"),
            status: TenantStatus::Active,
            allowance: Allowance { limits: [(Resource::ApiCalls, 7)].into(), ..Allowance::of(Plan::Free) },
            template: Template::BasicBusiness,
            business_type: "other".to_owned(),
            created_at: Timestamp::from_millis(7),
            updated_at: Timestamp::from_millis(7),
            provisioned_at: None,
            log: vec![],
        }
    }

    fn member() -> MembershipRow {
        MembershipRow {
            rkey: Tid::new(7, 1),
            role: Role::Manager,
            permissions: Permissions::ALL,
            status: MembershipStatus::Active,
            joined_at: None,
            invited_by: None,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
        }
    }

    fn webhook() -> WebhookRow {
        let mut track = Track::default();
        track.answered(Timestamp::EPOCH, Answer::Refused, 7);
        WebhookRow {
            url: Some("https://hooks.example/".to_owned()),
            events: vec!["order.placed".to_owned()],
            created_at: Timestamp::EPOCH,
            created_by: Some("did:web:owner.example".parse().expect("valid")),
            salt: [7; 16],
            is_secret_told: true,
            key: "did:web:key.example".parse().expect("valid"),
            told: Position { rev: Tid::new(7, 1), rkey: "3k".to_owned() },
            track,
            delivered: 7,
            accepted_at: None,
            failed: Some((Timestamp::EPOCH, "it answered 500".to_owned())),
            is_noticed: false,
        }
    }

    #[test]
    fn a_tenant_goes_with_everything_of_its_own_and_nothing_of_others() {
        let store = Store::in_memory().expect("starts");
        let (reader, writer) = (store.reader(), store.writer());
        let person: Did = "did:web:person.example".parse().expect("valid");
        for (id, slug) in [(AccountId(1), "one"), (AccountId(2), "two")] {
            let mut batch = Batch::new();
            stage_new(&mut batch, id, &tenant(slug)).expect("fits");
            batch.put(&TENANT_MEMBERS, &(id, person.clone()), &member()).expect("fits");
            let month = Month::of(Timestamp::EPOCH);
            let usage = Usage { counts: [(Resource::Tasks, 3)].into(), ..Usage::new(month) };
            batch.put(&TENANT_USAGE, &(id, month.number()), &Cbor(usage.clone())).expect("fits");
            let seen = FormViews { views: 8, answers: id.0 };
            batch.put(&FORM_VIEWS, &(id, "3kform".to_owned()), &Cbor(seen)).expect("fits");
            batch.put(&WEBHOOKS, &(id, "hook".to_owned()), &webhook()).expect("fits");
            writer.commit(batch).expect("commits");
            assert_eq!(webhooks(reader, id).expect("reads"), [("hook".to_owned(), webhook())]);
            assert_eq!(super::usage(reader, id, month).expect("reads"), usage);
            assert_eq!(form_views(reader, id, "3kform").expect("reads"), seen);
            assert_eq!(form_views(reader, id, "3kother").expect("reads"), FormViews::default());
        }
        let mut batch = Batch::new();
        stage_new(&mut batch, AccountId(3), &tenant("two")).expect("fits");
        assert!(writer.commit(batch).is_err(), "the name is taken");

        let mut batch = Batch::new();
        stage_remove(reader, &mut batch, AccountId(1)).expect("reads");
        writer.commit(batch).expect("commits");
        let left = all(reader).expect("reads");
        let two = StoredTenant { id: AccountId(2), row: tenant("two"), members: vec![(person, member())] };
        assert_eq!(left, [two]);
        assert_eq!(reader.scan(&TENANT_USAGE).page(10).expect("reads").rows.len(), 1);
        assert_eq!(form_views(reader, AccountId(1), "3kform").expect("reads"), FormViews::default());
        assert_eq!(form_views(reader, AccountId(2), "3kform").expect("reads").answers, 2);
        assert_eq!(webhooks(reader, AccountId(1)).expect("reads"), []);
        assert_eq!(webhooks(reader, AccountId(2)).expect("reads").len(), 1);
        assert_eq!(reader.scan(&TENANTS_BY_SLUG).page(10).expect("reads").rows.len(), 1);
    }

    #[test]
    fn an_entry_names_the_one_before_it() {
        let store = Store::in_memory().expect("starts");
        let id = AccountId(1);
        let entry = |previous| AuditRow {
            at: Timestamp::EPOCH,
            by: None,
            role: "operator".to_owned(),
            action: "suspend".to_owned(),
            subject: "did:web:one.example".to_owned(),
            previous,
        };
        let first = entry([0; 32]);
        let second = entry(first.hash().expect("has a form"));
        let mut batch = Batch::new();
        batch.put(&TENANT_AUDIT, &(id, 0), &first).expect("fits");
        batch.put(&TENANT_AUDIT, &(id, 1), &second).expect("fits");
        store.writer().commit(batch).expect("commits");
        assert_eq!(last_audit(store.reader(), id).expect("reads"), Some((1, second.clone())));
        assert_eq!(audit(store.reader(), id, Some(0), 10).expect("reads"), [(1, second.clone())]);
        assert_ne!(first.hash(), second.hash());
    }
}
