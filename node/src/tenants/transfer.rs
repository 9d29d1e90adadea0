//! A whole tenant as lines of JSON: its row, members, counts, audit log, records and private records, and a digest at the
//! end that tells whether anything is missing. Files are fetched one by one (`com.atproto.sync.listBlobs`), identities
//! move as accounts do.

use std::collections::HashMap;

use angel_protocol::data::{self, Block, Cid, Codec, cbor};
use angel_protocol::ids::{Did, Nsid, RecordKey, RepoPath};
use angel_protocol::limits::TENANT_EXPORT_LINE_BYTES_MAX;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::rules::{By, Place, Refused};
use angel_protocol::tenants::{TenantStatus, Usage};
use angel_storage::codec::Cbor;
use angel_storage::tenants::{self, AuditRow, MembershipRow, TENANT_AUDIT, TENANT_MEMBERS, TENANT_USAGE, TenantRow};
use angel_storage::{AccountId, Batch};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{Actor, ProvisionError, Provisioner, RulebookError, Tenant, TenantError, Tenants};
use crate::accounts::AccountError;
use crate::blocking;
use crate::lifecycle::LifecycleError;
use crate::permissioned::PermissionedError;
use crate::repos::{Action, NewRecord, RepoError, RepoWrite};

/// Records that are read or written at a time.
const PAGE: usize = 100;

/// Entries of the audit log that are read at a time.
const AUDIT_PAGE: usize = 1000;

/// A line of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    /// First: whose export it is.
    Tenant { version: u32, row: Box<TenantRow> },
    /// Somebody who belongs to it.
    Member { did: Did, row: MembershipRow },
    /// What it used in this month.
    Usage { row: Usage },
    /// What was done to it.
    Audit { number: u64, row: AuditRow },
    /// A record of its public repository.
    Record { path: RepoPath, cid: Cid, value: Json },
    /// A record of its workspace.
    Private { path: RepoPath, cid: Cid, value: Json },
    /// Last: how many lines came before, and the SHA-256 of their bytes.
    End { lines: u64, sha256: String },
}

/// The form that this release writes and reads.
const VERSION: u32 = 1;

/// Why an export is not taken in. Nothing has changed then, unless a record was refused halfway: the same import goes on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No line of an export, or one out of its place.
    #[error("line {0} is none of a tenant's export: {1}")]
    Line(u64, String),
    /// It ends too early, or was changed.
    #[error("the export is not whole: its digest does not fit what came before it")]
    NotWhole,
    /// Written by a newer release.
    #[error("the export has version {0}; this release reads up to {VERSION}")]
    Version(u32),
    /// A record is not the one that its CID names.
    #[error("the record {0} is not the one that its CID names")]
    OtherRecord(RepoPath),
    /// A record breaks the rules of its collection.
    #[error("the record {0} is refused: {1}")]
    Record(RepoPath, Refused),
    /// The account is not here.
    #[error("{0} has no account here: move the account first, then import its tenant")]
    NoAccount(Did),
    /// The tenant is here and in use.
    #[error("{0} is a tenant here already; archive it first, if the export is to take its place")]
    InUse(Did),
    /// Anything else.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
}

macro_rules! passes_on {
    ($($error:ty),*) => {$(
        impl From<$error> for ImportError {
            fn from(error: $error) -> Self {
                Self::Provision(error.into())
            }
        }
    )*};
}

passes_on!(TenantError, AccountError, LifecycleError, RepoError, PermissionedError, RulebookError);

/// Puts lines together and counts them.
#[derive(Default)]
struct Lines {
    hash: Sha256,
    count: u64,
}

impl Lines {
    fn line(&mut self, line: &Line) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(line).expect("rows and records have a JSON form");
        bytes.push(b'\n');
        self.hash.update(&bytes);
        self.count += 1;
        bytes
    }

    fn end(self) -> Vec<u8> {
        let line = Line::End { lines: self.count, sha256: hex(&self.hash.finalize()) };
        let mut bytes = serde_json::to_vec(&line).expect("a number and a text have a JSON form");
        bytes.push(b'\n');
        bytes
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

impl Provisioner {
    /// Hands a whole tenant to `sink`, piece by piece; what `sink` refuses ends it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn export<F, E>(&self, tenant: &Tenant, mut sink: F) -> Result<(), ProvisionError>
    where
        F: FnMut(Vec<u8>) -> E,
        E: Future<Output = bool>,
    {
        let mut lines = Lines::default();
        let mut pieces = vec![lines.line(&Line::Tenant { version: VERSION, row: Box::new(tenant.row().clone()) })];
        for (did, row) in self.tenants.memberships(tenant.did(), None, usize::MAX) {
            pieces.push(lines.line(&Line::Member { did, row }));
        }
        pieces.push(lines.line(&Line::Usage { row: self.tenants.usage(tenant) }));
        if !sink(pieces.concat()).await {
            return Ok(());
        }
        let mut after = None;
        loop {
            let (tenants, of) = (self.tenants.clone(), tenant.clone());
            let page = blocking::run(move || tenants.audit_blocking(&of, after, AUDIT_PAGE)).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            let piece = page.into_iter().map(|(number, row)| lines.line(&Line::Audit { number, row }));
            if !sink(piece.collect::<Vec<_>>().concat()).await {
                return Ok(());
            }
        }
        if self.export_records(tenant, &mut lines, &mut sink).await?
            && self.export_private(tenant, &mut lines, &mut sink).await?
        {
            sink(lines.end()).await;
        }
        Ok(())
    }

    async fn export_records<F, E>(
        &self,
        tenant: &Tenant,
        lines: &mut Lines,
        sink: &mut F,
    ) -> Result<bool, ProvisionError>
    where
        F: FnMut(Vec<u8>) -> E,
        E: Future<Output = bool>,
    {
        let (repos, id) = (self.repos.clone(), tenant.id());
        let described = blocking::run(move || repos.describe_blocking(id)).await?;
        for collection in described.map(|described| described.collections).unwrap_or_default() {
            let Ok(collection) = collection.parse::<Nsid>() else { continue };
            let mut cursor: Option<String> = None;
            loop {
                let (repos, id, of, from) = (self.repos.clone(), tenant.id(), collection.clone(), cursor.clone());
                let page = blocking::run(move || repos.list_blocking(id, &of, PAGE, from.as_deref(), true)).await?;
                let Some((last, _)) = page.records.last() else { break };
                cursor = Some(last.clone());
                let mut piece = Vec::new();
                for (rkey, record) in page.records {
                    let Ok(rkey) = rkey.parse::<RecordKey>() else { continue };
                    let Ok(value) = cbor::decode(&record.bytes) else { continue };
                    let path = RepoPath::new(collection.clone(), rkey);
                    let line = Line::Record { path, cid: record.cid, value: data::to_json(&value) };
                    piece.extend(lines.line(&line));
                }
                if !sink(piece).await {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn export_private<F, E>(
        &self,
        tenant: &Tenant,
        lines: &mut Lines,
        sink: &mut F,
    ) -> Result<bool, ProvisionError>
    where
        F: FnMut(Vec<u8>) -> E,
        E: Future<Output = bool>,
    {
        let workspace = workspace(tenant.did());
        let mut cursor = None;
        loop {
            let page = self.permissioned.list(&workspace, tenant.did(), None, cursor, PAGE, true).await;
            let page = match page {
                // Nothing was ever private there.
                Err(PermissionedError::SpaceNotFound) => return Ok(true),
                page => page?,
            };
            let mut piece = Vec::new();
            for listed in page.records {
                let Ok(value) = cbor::decode(&listed.record.bytes) else { continue };
                let cid = listed.record.cid;
                piece.extend(lines.line(&Line::Private { path: listed.path, cid, value: data::to_json(&value) }));
            }
            if !sink(piece).await {
                return Ok(false);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(true);
            }
        }
    }

    /// Takes a tenant in from its export. Its account is hosted here already, and is no tenant, or an archived one, which
    /// the export replaces. The whole is checked before anything is changed.
    ///
    /// # Errors
    /// [`ImportError`].
    pub async fn import(&self, export: &[u8]) -> Result<Tenant, ImportError> {
        let Parsed { row, members, usage, audit, public, private } = parse(export)?;
        let did = row.did.clone();
        let account = self.accounts.by_did(&did).await?.ok_or_else(|| ImportError::NoAccount(did.clone()))?;
        match self.tenants.find(&did) {
            Some(tenant) if tenant.status() != TenantStatus::Archived => return Err(ImportError::InUse(did)),
            Some(_) => {
                let (tenants, did) = (self.tenants.clone(), did.clone());
                blocking::run(move || tenants.forget_blocking(&did)).await?;
            }
            None => {}
        }
        self.tenants.check_free(&row.slug)?;
        let (tenants, id) = (self.tenants.clone(), account.id());
        let restore = move || tenants.restore_blocking(id, row, members, usage, audit);
        let tenant = blocking::run(restore).await?;
        let owner = self.lifecycle.owner(&account).await?;
        for chunk in public.chunks(PAGE) {
            let writes = self.checked(&tenant, Place::Public, chunk).await?;
            self.repos.write(&owner, writes, None).await?;
        }
        if !private.is_empty() {
            let workspace = self.workspace(&account).await?;
            for chunk in private.chunks(PAGE) {
                let writes = self.checked(&tenant, Place::Permissioned, chunk).await?;
                self.permissioned.write(&account, &workspace, writes).await?;
            }
        }
        Ok(tenant)
    }

    /// The writes of records that were exported: they stay as they are, bytes and all, if the rules have nothing against
    /// them.
    async fn checked(
        &self,
        tenant: &Tenant,
        place: Place,
        records: &[(RepoPath, data::Value)],
    ) -> Result<Vec<RepoWrite>, ImportError> {
        let account = self.accounts.by_id(tenant.id()).await?.ok_or(AccountError::NotFound)?;
        let judged: Vec<_> = records.iter().map(|(path, value)| (&path.collection, value)).collect();
        let mut court = self.rulebook.court(&account, &tenant.row().owner, place, By::Node, &judged).await?;
        for (path, _) in records {
            court.together_with(format!("at://{}/{path}", tenant.did()));
        }
        let mut writes = Vec::with_capacity(records.len());
        for (path, value) in records {
            let refused = court.judge(&path.collection, &mut value.clone(), None);
            refused.map_err(|refused| ImportError::Record(path.clone(), refused))?;
            let action = Action::Put(NewRecord::new(value));
            writes.push(RepoWrite { path: path.clone(), action, swap: None });
        }
        Ok(writes)
    }
}

/// The space in which a tenant keeps what is not public.
pub(crate) fn workspace(tenant: &Did) -> SpaceUri {
    SpaceUri {
        authority: tenant.clone(),
        space_type: super::provision::WORKSPACE.parse().expect("a space type of ours"),
        key: "self".parse().expect("a word is a record key"),
    }
}

#[derive(Debug)]
struct Parsed {
    row: TenantRow,
    members: Vec<(Did, MembershipRow)>,
    usage: Option<Usage>,
    audit: Vec<(u64, AuditRow)>,
    public: Vec<(RepoPath, data::Value)>,
    private: Vec<(RepoPath, data::Value)>,
}

fn parse(export: &[u8]) -> Result<Parsed, ImportError> {
    let mut lines = Lines::default();
    let mut parsed: Option<Parsed> = None;
    for line in export.split_inclusive(|byte| *byte == b'\n') {
        let number = lines.count + 1;
        let unreadable = |why: String| ImportError::Line(number, why);
        if line.len() > TENANT_EXPORT_LINE_BYTES_MAX {
            return Err(unreadable("it is too long".to_owned()));
        }
        let read: Line = serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
        if let Line::End { lines: count, sha256 } = &read {
            let whole = *count == lines.count && *sha256 == hex(&lines.hash.finalize());
            return parsed.filter(|_| whole).ok_or(ImportError::NotWhole);
        }
        lines.hash.update(line);
        lines.count += 1;
        let Some(parsed) = &mut parsed else {
            let Line::Tenant { version, row } = read else {
                return Err(unreadable("the tenant comes first".to_owned()));
            };
            if version > VERSION {
                return Err(ImportError::Version(version));
            }
            let (members, audit, public, private) = Default::default();
            parsed = Some(Parsed { row: *row, members, usage: None, audit, public, private });
            continue;
        };
        match read {
            Line::Member { did, row } => parsed.members.push((did, row)),
            Line::Usage { row } => parsed.usage = Some(row),
            Line::Audit { number, row } => parsed.audit.push((number, row)),
            Line::Record { path, cid, value } => parsed.public.push(record(path, cid, &value)?),
            Line::Private { path, cid, value } => parsed.private.push(record(path, cid, &value)?),
            Line::Tenant { .. } | Line::End { .. } => return Err(unreadable("out of its place".to_owned())),
        }
    }
    Err(ImportError::NotWhole)
}

fn record(path: RepoPath, cid: Cid, value: &Json) -> Result<(RepoPath, data::Value), ImportError> {
    let read = data::record_from_json(value).ok();
    let same = |value: &data::Value| Block::new(Codec::DagCbor, cbor::encode(value)).cid() == cid;
    match read.filter(same) {
        Some(value) => Ok((path, value)),
        None => Err(ImportError::OtherRecord(path)),
    }
}

impl Tenants {
    /// Makes a tenant of an account with all that is kept about it. Blocks until that is durable.
    ///
    /// # Errors
    /// The short name is taken, or the store fails.
    fn restore_blocking(
        &self,
        id: AccountId,
        row: TenantRow,
        members: Vec<(Did, MembershipRow)>,
        usage: Option<Usage>,
        audit: Vec<(u64, AuditRow)>,
    ) -> Result<Tenant, TenantError> {
        let mut batch = Batch::new();
        tenants::stage_new(&mut batch, id, &row)?;
        for (did, row) in &members {
            batch.put(&TENANT_MEMBERS, &(id, did.clone()), row)?;
        }
        if let Some(usage) = &usage {
            batch.put(&TENANT_USAGE, &(id, usage.month.number()), &Cbor(usage.clone()))?;
        }
        for (number, row) in &audit {
            batch.put(&TENANT_AUDIT, &(id, *number), row)?;
        }
        self.0.writer.commit(batch)?;
        let did = row.did.clone();
        self.made_with(id, row, members.into_iter().collect::<HashMap<_, _>>(), usage);
        let now = crate::clock::now();
        let (tenant, ()) = self.change_blocking(&did, now, |change| {
            change.note(&Actor::Operator, "import", "the whole tenant");
            Ok(())
        })?;
        Ok(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(lines: &[Line]) -> Vec<u8> {
        let mut put = Lines::default();
        let mut bytes: Vec<u8> = lines.iter().flat_map(|line| put.line(line)).collect();
        bytes.extend(put.end());
        bytes
    }

    fn tenant() -> Line {
        let row = serde_json::json!({
            "did": "did:web:one.example", "slug": "one", "name": "One", "owner": "did:web:owner.example",
            "status": "active", "allowance": { "plan": "free" }, "template": "custom", "business_type": "other",
            "created_at": 7, "updated_at": 7, "provisioned_at": null, "log": [],
        });
        Line::Tenant { version: VERSION, row: Box::new(serde_json::from_value(row).expect("a row")) }
    }

    #[test]
    fn an_export_is_read_as_it_was_written_and_one_that_was_changed_is_refused() {
        let value = serde_json::json!({ "$type": "com.example.note", "text": "hi" });
        let cid = Block::new(Codec::DagCbor, cbor::encode(&data::record_from_json(&value).expect("a record"))).cid();
        let path: RepoPath = "com.example.note/a".parse().expect("a path");
        let whole = export(&[tenant(), Line::Record { path: path.clone(), cid, value }]);
        let parsed = parse(&whole).expect("whole");
        assert_eq!((parsed.row.slug.as_str(), parsed.public.len()), ("one", 1));

        let text = String::from_utf8(whole.clone()).expect("text");
        let renamed = text.replace("\"One\"", "\"Two\"");
        assert!(matches!(parse(renamed.as_bytes()), Err(ImportError::NotWhole)));
        let short = whole.len() - 200;
        assert!(parse(&whole[..short]).is_err());
        assert!(matches!(parse(b""), Err(ImportError::NotWhole)));
        assert!(matches!(parse(&export(&[])), Err(ImportError::NotWhole)));
        let other = Line::Record { path, cid, value: serde_json::json!({ "$type": "com.example.note" }) };
        assert!(matches!(parse(&export(&[tenant(), other])), Err(ImportError::OtherRecord(_))));
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(matches!(parse(newer.as_bytes()), Err(ImportError::Version(2))));
        assert!(matches!(parse(&export(&[tenant(), tenant()])), Err(ImportError::Line(2, _))));
    }
}
