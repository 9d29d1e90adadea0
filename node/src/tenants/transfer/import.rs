//! A tenant taken in from its export. The whole is read and checked before anything is changed.

use std::collections::{BTreeMap, HashMap};

use angel_protocol::data::{self, Block, Cid, Codec, cbor};
use angel_protocol::ids::{Did, RepoPath};
use angel_protocol::limits::TENANT_EXPORT_LINE_BYTES_MAX;
use angel_protocol::permissioned::wire::notice::WriteNotice;
use angel_protocol::permissioned::{Member, SpaceConfig, SpaceUri};
use angel_protocol::rules::{By, Place};
use angel_protocol::tenants::{TenantStatus, Usage};
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::tenants::{self, AuditRow, MembershipRow, TENANT_AUDIT, TENANT_MEMBERS, TENANT_USAGE, TenantRow};
use angel_storage::{AccountId, Batch};
use data_encoding::HEXLOWER;
use serde_json::Value as Json;
use sha2::Digest as _;

use super::{ImportError, Line, Lines, PAGE, VERSION, workspace};
use crate::accounts::AccountError;
use crate::repos::{Action, NewRecord, RepoWrite};
use crate::spaces::{Known, SpaceLine};
use crate::tenants::{Actor, Provisioner, Tenant, TenantError, Tenants};
use crate::{blocking, clock};

impl Provisioner {
    /// Takes a tenant in from its export. Its account is hosted here already, and is no tenant, or an archived one, which
    /// the export replaces. The whole is checked before anything is changed.
    ///
    /// # Errors
    /// [`ImportError`].
    pub async fn import(&self, export: &[u8]) -> Result<Tenant, ImportError> {
        let Parsed { row, members, usage, audit, public, rooms, known, written, blocks, asked } = parse(export)?;
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
        for (uri, room) in &rooms {
            self.spaces.take_room(&account, uri, room.config.clone(), &room.entrants).await?;
            for chunk in room.records.chunks(PAGE) {
                let writes = self.checked(&tenant, Place::Permissioned, chunk).await?;
                self.permissioned.write(&account, uri, writes).await?;
            }
            // What came with the account's repository was there before the room was, and is told of by no write.
            self.spaces.take_in_writer(uri, &did).await?;
        }
        self.spaces.take_known(&did, known).await?;
        self.spaces.take_written(&did, written).await?;
        for other in blocks {
            self.spaces.take_block(&account, other).await?;
        }
        for (space, times) in asked {
            // One that is no space is left out: the whole is here by now.
            self.spaces.take_asked(&account, &space, times).await?;
        }
        // Of everybody who wrote, once their writes count: of who lives here what is here, of others what their hosts have.
        for notice in rooms.into_values().flat_map(|room| room.writers) {
            self.spaces.take_writer(notice).await?;
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

#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) row: TenantRow,
    members: Vec<(Did, MembershipRow)>,
    usage: Option<Usage>,
    audit: Vec<(u64, AuditRow)>,
    pub(super) public: Vec<(RepoPath, data::Value)>,
    pub(super) rooms: BTreeMap<SpaceUri, Room>,
    pub(super) known: Vec<Known>,
    written: Vec<Known>,
    blocks: Vec<Did>,
    asked: Vec<(String, (Timestamp, Timestamp))>,
}

/// A permissioned space of the tenant's, with what is in it.
#[derive(Debug, Default)]
pub(super) struct Room {
    config: SpaceConfig,
    pub(super) entrants: Vec<(Did, Member)>,
    writers: Vec<WriteNotice>,
    pub(super) records: Vec<(RepoPath, data::Value)>,
}

impl Parsed {
    fn of(row: TenantRow) -> Self {
        let (members, audit, public, rooms, known, written, blocks, asked) = Default::default();
        Self { row, members, usage: None, audit, public, rooms, known, written, blocks, asked }
    }

    /// The room of that name, if it was named before.
    fn room(&mut self, uri: &SpaceUri) -> Result<&mut Room, String> {
        self.rooms.get_mut(uri).ok_or_else(|| format!("the room {uri} was not named before"))
    }

    /// Takes a line in that is neither the first nor the last.
    fn take(&mut self, line: Line) -> Result<(), Unfit> {
        match line {
            Line::Member { did, row } => self.members.push((did, row)),
            Line::Usage { row } => self.usage = Some(row),
            Line::Audit { number, row } => self.audit.push((number, row)),
            Line::Record { path, cid, value } => self.public.push(record(path, cid, &value)?),
            Line::Space(SpaceLine::Room { room, config }) => {
                if room.authority != self.row.did {
                    return Err(format!("the room {room} is under another account").into());
                }
                self.rooms.insert(room, Room { config, ..Room::default() });
            }
            Line::Space(SpaceLine::Entrant { room, did, member }) => self.room(&room)?.entrants.push((did, member)),
            Line::Space(SpaceLine::Block { did }) => self.blocks.push(did),
            Line::Space(SpaceLine::Asked { space, at, heard_at }) => self.asked.push((space, (at, heard_at))),
            Line::Space(SpaceLine::Writer(notice)) => self.room(&notice.space)?.writers.push(*notice),
            Line::Private { room: Some(room), path, cid, value } => {
                let record = record(path, cid, &value)?;
                self.room(&room)?.records.push(record);
            }
            Line::Private { room: None, path, cid, value } => {
                let record = record(path, cid, &value)?;
                self.rooms.entry(workspace(&self.row.did)).or_default().records.push(record);
            }
            Line::Space(SpaceLine::Known(known)) => {
                if !known.is_sound() {
                    return Err("what is known of a space has another name".to_owned().into());
                }
                self.known.push(*known);
            }
            Line::Space(SpaceLine::Membership { value }) => {
                let known = Known::of_record(&self.row.did, &value, clock::now());
                self.written.push(known.map_err(|error| error.to_string())?);
            }
            Line::Tenant { .. } | Line::End { .. } => return Err("out of its place".to_owned().into()),
        }
        Ok(())
    }
}

/// Why a line is not taken in.
enum Unfit {
    Line(String),
    Record(RepoPath),
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self::Line(why)
    }
}

pub(super) fn parse(export: &[u8]) -> Result<Parsed, ImportError> {
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
            let whole = *count == lines.count && *sha256 == HEXLOWER.encode(&lines.hash.finalize());
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
            parsed = Some(Parsed::of(*row));
            continue;
        };
        parsed.take(read).map_err(|unfit| match unfit {
            Unfit::Line(why) => unreadable(why),
            Unfit::Record(path) => ImportError::OtherRecord(path),
        })?;
    }
    Err(ImportError::NotWhole)
}

fn record(path: RepoPath, cid: Cid, value: &Json) -> Result<(RepoPath, data::Value), Unfit> {
    let read = data::record_from_json(value).ok();
    let same = |value: &data::Value| Block::new(Codec::DagCbor, cbor::encode(value)).cid() == cid;
    match read.filter(same) {
        Some(value) => Ok((path, value)),
        None => Err(Unfit::Record(path)),
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
