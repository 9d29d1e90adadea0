//! Second versions of records, kept where two nodes had written one, until somebody has looked at them.

use std::ops::ControlFlow;

use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::chunked::ChunkedTable;
use crate::codec::{Cbor, Raw};
use crate::events::TrimError;
use crate::reader::{ReadError, Reader};
use crate::tables::TableId;

/// Of which tenant a second version is, its path, and its revision.
pub type VersionKey = (Did, String, String);

/// Second versions of records, kept where two nodes had written one: by tenant, path and revision. The path of a record
/// in a space stands behind a digest of the space ([`version_path`]), whose URI alone may be as long as a key.
pub const VERSIONS: ChunkedTable<VersionKey> = ChunkedTable::new(TableId::ReplicaVersions);

/// A second version of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRow {
    /// The node that wrote it.
    pub node: Did,
    /// The revision that it had there.
    pub rev: Tid,
    /// When it was kept.
    pub at: Timestamp,
    /// Its bytes; nothing where it had been taken away.
    pub record: Option<serde_bytes::ByteBuf>,
    /// In which space, for a record that is for certain people only.
    #[serde(default)]
    pub space: Option<SpaceUri>,
}

/// Where the second version of a record lies.
#[must_use]
pub fn version_path(space: Option<&SpaceUri>, path: &str) -> String {
    match space {
        Some(space) => {
            let digest: String = space.digest()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digest}~{path}")
        }
        None => path.to_owned(),
    }
}

/// How much is kept of second versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many.
    pub versions: usize,
    /// Their bytes, as they are stored.
    pub bytes: u64,
}

impl Kept {
    /// With one more of so many bytes.
    #[must_use]
    pub const fn with(self, bytes: u64) -> Self {
        Self { versions: self.versions + 1, bytes: self.bytes.saturating_add(bytes) }
    }
}

/// How much is kept of second versions for a tenant.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn kept(reader: &Reader, tenant: &Did) -> Result<Kept, ReadError> {
    let mut kept = Kept::default();
    each_part(reader, tenant, None, |(_, part), bytes| {
        kept.versions += usize::from(*part == 0);
        kept.bytes = kept.bytes.saturating_add(bytes.len() as u64);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(kept)
}

/// Parts of versions that lie in memory at once: two megabytes of the largest.
const PARTS_PAGE: usize = 32;

/// Shows the parts of a tenant's second versions, of those behind `after`, to `look`, a page at a time, until it has seen
/// enough.
fn each_part(
    reader: &Reader,
    tenant: &Did,
    after: Option<&VersionKey>,
    mut look: impl FnMut(&(VersionKey, u16), &[u8]) -> Result<ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    let rows = VERSIONS.rows();
    let mut after = after.map(|key| (key.clone(), u16::MAX));
    loop {
        let scan = reader.scan(&rows).prefix(tenant);
        let page = match &after {
            Some(after) => scan.after(after),
            None => scan,
        }
        .page(PARTS_PAGE)?;
        for (key, Raw(bytes)) in page.rows {
            if look(&key, &bytes)?.is_break() {
                return Ok(());
            }
            after = Some(key);
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// Whether this second version is kept.
///
/// # Errors
/// The engine fails.
pub fn is_kept(reader: &Reader, key: &VersionKey) -> Result<bool, ReadError> {
    reader.contains(&VERSIONS.rows(), &(key.clone(), 0))
}

/// Adds to `batch` that a second version is gone; answers whether it was there.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn dismiss(reader: &Reader, batch: &mut Batch, key: &VersionKey) -> Result<bool, TrimError> {
    let is_there = is_kept(reader, key)?;
    if is_there {
        VERSIONS.delete(reader, batch, key)?;
    }
    Ok(is_there)
}

/// A page of second versions, in the order of their keys, and whether there are more behind it.
pub type VersionPage = (Vec<(VersionKey, VersionRow)>, bool);

/// Second versions kept for a tenant, behind `after`: at most `limit`, and no more once those found have `bytes_max`
/// bytes in them. One is found whatever its size.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn versions(
    reader: &Reader,
    tenant: &Did,
    after: Option<&VersionKey>,
    limit: usize,
    bytes_max: u64,
) -> Result<VersionPage, ReadError> {
    let (mut found, mut bytes, mut more) = (Vec::new(), 0_u64, false);
    each_part(reader, tenant, after, |(key, part), _| {
        if *part > 0 {
            return Ok(ControlFlow::Continue(()));
        }
        if found.len() == limit || (bytes >= bytes_max && !found.is_empty()) {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        if let Some(row) = VERSIONS.get(reader, key)?
            && let Ok(Cbor(row)) = crate::codec::decode::<Cbor<VersionRow>>(&row)
        {
            bytes = bytes.saturating_add(row.record.as_ref().map_or(0, |record| record.len() as u64));
            found.push((key.clone(), row));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((found, more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn did(name: &str) -> Did {
        format!("did:web:{name}.example").parse().expect("a DID")
    }

    fn page(store: &Store, tenant: &str, after: Option<&VersionKey>, limit: usize) -> VersionPage {
        versions(store.reader(), &did(tenant), after, limit, u64::MAX).expect("reads")
    }

    #[test]
    fn pages_hold_every_version_once_and_no_more_bytes_than_they_may() {
        let store = Store::in_memory().expect("starts");
        let mut batch = Batch::new();
        // Some of several parts, some of one, and another tenant's on either side.
        for (tenant, count) in [("a", 1), ("b", 7), ("c", 1)] {
            for at in 0..count {
                let rev = Tid::new(at + 1, 0);
                let record = Some(serde_bytes::ByteBuf::from(vec![7; if at % 2 == 0 { 150_000 } else { 10 }]));
                let row = VersionRow { node: did("n"), rev, at: Timestamp::EPOCH, record, space: None };
                let bytes = crate::codec::encode(&Cbor(row)).expect("encodes");
                VERSIONS
                    .put(&mut batch, &(did(tenant), format!("x/{}", at / 3), rev.to_string()), &bytes)
                    .expect("fits");
            }
        }
        store.writer().commit(batch).expect("commits");
        for limit in 1..9 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let (found, more) = page(&store, "b", after.as_ref(), limit);
                assert!(found.len() <= limit);
                after = found.last().map(|(key, _)| key.clone());
                seen.extend(found.into_iter().map(|(_, row)| row.rev));
                if !more {
                    break;
                }
            }
            assert_eq!(seen, (1..8).map(|at| Tid::new(at, 0)).collect::<Vec<_>>(), "pages of {limit}");
        }
        let bounded = |bytes: u64| {
            let (found, more) = versions(store.reader(), &did("b"), None, 10, bytes).expect("reads");
            (found.len(), more)
        };
        assert_eq!(bounded(0), (1, true), "one is found whatever its size");
        assert_eq!(bounded(150_001), (2, true));
        assert_eq!(bounded(150_011), (3, true));
        assert_eq!(bounded(10_000_000), (7, false));
    }

    #[test]
    fn versions_are_listed_for_their_tenant_alone() {
        let store = Store::in_memory().expect("starts");
        let mut batch = Batch::new();
        let row = VersionRow { node: did("n"), rev: Tid::new(5, 0), at: Timestamp::EPOCH, record: None, space: None };
        let bytes = crate::codec::encode(&Cbor(row.clone())).expect("encodes");
        for tenant in ["a", "b"] {
            VERSIONS.put(&mut batch, &(did(tenant), "x/y".to_owned(), "r".to_owned()), &bytes).expect("fits");
        }
        store.writer().commit(batch).expect("commits");
        let key = (did("a"), "x/y".to_owned(), "r".to_owned());
        assert_eq!(page(&store, "a", None, 10), (vec![(key, row)], false));
        assert_eq!(page(&store, "c", None, 10), (vec![], false));
        assert_eq!(kept(store.reader(), &did("a")).expect("reads").versions, 1);
        assert_eq!(kept(store.reader(), &did("c")).expect("reads"), Kept::default());
    }

    #[test]
    fn large_versions_count_once_and_go_as_a_whole() {
        let store = Store::in_memory().expect("starts");
        let key = |tenant: &str, rev: u64| (did(tenant), "x/y".to_owned(), Tid::new(rev, 0).to_string());
        let row = |rev: u64, bytes: usize| VersionRow {
            node: did("n"),
            rev: Tid::new(rev, 0),
            at: Timestamp::EPOCH,
            record: Some(serde_bytes::ByteBuf::from(vec![7; bytes])),
            space: None,
        };
        let mut batch = Batch::new();
        for (tenant, rev, bytes) in [("a", 1, 70_000), ("a", 2, 10), ("b", 1, 70_000)] {
            let bytes = crate::codec::encode(&Cbor(row(rev, bytes))).expect("encodes");
            VERSIONS.put(&mut batch, &key(tenant, rev), &bytes).expect("fits");
        }
        store.writer().commit(batch).expect("commits");
        let all = kept(store.reader(), &did("a")).expect("reads");
        assert!(all.versions == 2 && (70_000..72_000).contains(&all.bytes), "{all:?}");
        let (found, more) = page(&store, "a", None, 10);
        assert_eq!(found.iter().map(|(_, it)| it.rev).collect::<Vec<_>>(), [Tid::new(1, 0), Tid::new(2, 0)]);
        assert!(!more);

        let mut batch = Batch::new();
        assert!(dismiss(store.reader(), &mut batch, &key("a", 1)).expect("fits"));
        assert!(!dismiss(store.reader(), &mut batch, &key("a", 3)).expect("fits"), "it is not there");
        store.writer().commit(batch).expect("commits");
        assert!(!is_kept(store.reader(), &key("a", 1)).expect("reads"));
        assert!(kept(store.reader(), &did("a")).expect("reads").bytes < 1000);
        assert_eq!(kept(store.reader(), &did("b")).expect("reads").versions, 1);
    }
}
