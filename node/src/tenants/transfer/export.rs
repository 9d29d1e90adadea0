//! A tenant taken out, page by page: nothing of it is held as a whole.

use angel_protocol::data::{self, Cid, cbor};
use angel_protocol::ids::{Nsid, RecordKey, RepoPath};
use angel_protocol::permissioned::SpaceUri;

use super::{Line, Lines, PAGE, VERSION};
use crate::blocking;
use crate::permissioned::PermissionedError;
use crate::spaces::SpaceLine;
use crate::tenants::{ProvisionError, Provisioner, Tenant};

/// Entries of the audit log that are read at a time.
const AUDIT_PAGE: usize = 1000;

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
        let Some(account) = self.accounts.by_id(tenant.id()).await? else { return Ok(()) };
        let mut rooms = vec![];
        let whole = self.export_records(tenant, &mut lines, &mut sink).await?
            && self
                .spaces
                .take_out(&account, |page| {
                    let named = |line: &SpaceLine| match line {
                        SpaceLine::Room { room, .. } => Some(room.clone()),
                        _ => None,
                    };
                    rooms.extend(page.iter().filter_map(named));
                    sink(page.into_iter().flat_map(|line| lines.line(&Line::Space(line))).collect())
                })
                .await?;
        if !whole {
            return Ok(());
        }
        for room in rooms {
            if !self.export_private(tenant, &room, &mut lines, &mut sink).await? {
                return Ok(());
            }
        }
        sink(lines.end()).await;
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
        room: &SpaceUri,
        lines: &mut Lines,
        sink: &mut F,
    ) -> Result<bool, ProvisionError>
    where
        F: FnMut(Vec<u8>) -> E,
        E: Future<Output = bool>,
    {
        let mut cursor = None;
        loop {
            let page = self.permissioned.list(room, tenant.did(), None, cursor, PAGE, true).await;
            let page = match page {
                // The tenant has written nothing there.
                Err(PermissionedError::SpaceNotFound) => return Ok(true),
                page => page?,
            };
            let mut piece = Vec::new();
            for listed in page.records {
                let Ok(value) = cbor::decode(&listed.record.bytes) else { continue };
                let (path, cid): (RepoPath, Cid) = (listed.path, listed.record.cid);
                piece.extend(lines.line(&Line::Private {
                    room: Some(room.clone()),
                    path,
                    cid,
                    value: data::to_json(&value),
                }));
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
}
