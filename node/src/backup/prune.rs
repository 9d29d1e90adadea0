//! Letting go of snapshots by the rule, and of chunks that no snapshot needs any more.

use std::collections::HashSet;

use angel_protocol::backup::{BackupKey, ChunkName, Keep, Manifest};
use serde::Serialize;

use super::BackupError;
use super::depot::Depot;
use super::progress::Progress;
use super::read::Snapshot;

/// What was let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pruned {
    pub(crate) snapshots: u64,
    pub(crate) chunks: u64,
}

/// Removes the snapshots that `keep` does not keep, the oldest first, then every chunk that is in none of those left.
/// Blocks.
///
/// # Errors
/// A snapshot that stays cannot be read: then no chunk is removed, for it may need any.
pub(crate) fn prune(
    depot: &mut Depot,
    key: &BackupKey,
    keep: Keep,
    progress: &Progress,
) -> Result<Pruned, BackupError> {
    progress.phase("letting go of old snapshots");
    let mut manifests = vec![];
    for number in depot.snapshots()? {
        let damaged = |source| BackupError::Manifest { number, source };
        manifests.push(Manifest::read(&depot.manifest(number)?).map_err(damaged)?);
    }
    let times: Vec<_> = manifests.iter().map(|manifest| (manifest.number, manifest.made_at)).collect();
    let kept = keep.choose(&times);
    let (stay, go): (Vec<_>, Vec<_>) = manifests.into_iter().partition(|manifest| kept.contains(&manifest.number));
    if go.is_empty() {
        return Ok(Pruned::default());
    }
    // Snapshots of another key share no chunks with these, and theirs cannot be told apart: all stay.
    if stay.iter().any(|manifest| manifest.key_id != key.id()) {
        return Err(BackupError::OtherKey);
    }
    let mut needed: HashSet<ChunkName> = HashSet::new();
    for manifest in stay {
        progress.check()?;
        needed.extend(manifest.index.iter().map(|chunk| chunk.name));
        let mut entries = Snapshot { manifest, key: key.clone() }.entries();
        while let Some(entry) = entries.next(depot)? {
            needed.extend(entry.chunks().iter().map(|chunk| chunk.name));
        }
    }
    let mut pruned = Pruned::default();
    // The manifests go first: a chunk that is missing must be missing from no snapshot.
    for manifest in go {
        depot.remove_manifest(manifest.number)?;
        pruned.snapshots += 1;
    }
    for name in depot.chunks()? {
        if !needed.contains(&name) {
            progress.check()?;
            depot.remove_chunk(name)?;
            pruned.chunks += 1;
        }
    }
    Ok(pruned)
}
