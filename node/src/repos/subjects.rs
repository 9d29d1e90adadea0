//! Records of which an account has one for each subject ([`subject`]): a new one takes the place of those before.

use angel_protocol::data::{Cid, cbor};
use angel_protocol::ids::RepoPath;
use angel_protocol::repo::{Repository, subject};
use angel_storage::batch::RowRefused;
use angel_storage::repos::{self, Contents, Order};
use angel_storage::{Batch, Reader};

use super::write::{Blocks, key_of};
use super::{NewRecord, RepoError, Repos};

/// Records that a new one may take the place of. Whoever has more of one subject made them on purpose.
const RIVALS_MAX: usize = 64;

/// Records that are added to the index in one batch.
const INDEXED_TOGETHER: usize = 1000;

/// The subject of a record, when its collection has one for each.
fn subject_of(path: &str, bytes: &[u8]) -> Option<String> {
    let collection = super::write::collection_of(path);
    if !subject::COLLECTIONS.contains(&collection) {
        return None;
    }
    subject::of(collection, &cbor::decode(bytes).ok()?).map(str::to_owned)
}

/// Keeps the index, when the record at `path` becomes another.
pub(super) fn stage(
    batch: &mut Batch,
    contents: Contents,
    path: &str,
    before: Option<&[u8]>,
    after: Option<&[u8]>,
) -> Result<(), RowRefused> {
    let Some(place) = path.split_once('/').filter(|(collection, _)| subject::COLLECTIONS.contains(collection)) else {
        return Ok(());
    };
    let subject = |bytes: Option<&[u8]>| bytes.and_then(|bytes| subject_of(path, bytes));
    let (before, after) = (subject(before), subject(after));
    if let Some(before) = before.filter(|before| Some(before) != after.as_ref()) {
        repos::delete_link(batch, contents, place, &before)?;
    }
    match after {
        Some(after) => repos::put_link(batch, contents, place, &after),
        None => Ok(()),
    }
}

impl Repos {
    /// The records beside which `record` would say nothing more, as the batches handed over leave them. Adds to the index
    /// what is not in it yet, which takes a while the first time. Blocks.
    pub(super) fn rivals(
        &self,
        repository: &Repository,
        blocks: &Blocks<'_>,
        path: &RepoPath,
        record: &NewRecord,
    ) -> Result<Vec<(RepoPath, Cid)>, RepoError> {
        let collection = path.collection.as_str();
        let Some(subject) = subject_of(&path.to_string(), record.block().bytes()) else { return Ok(Vec::new()) };
        let (reader, contents) = (&self.shared.reader, blocks.contents());
        if !repos::has_all_links(reader, contents)? {
            self.index_subjects(reader, contents)?;
        }
        let mut found = repos::linking(reader, contents, collection, &subject, RIVALS_MAX)?;
        // What is on its way is not in the store yet.
        for pending in blocks.pending {
            let prefix = format!("{collection}/");
            let written = pending.records.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
            found.extend(
                written.filter(|(_, record)| record.is_some()).map(|(path, _)| path[prefix.len()..].to_owned()),
            );
        }
        found.sort_unstable();
        found.dedup();
        let mut rivals = Vec::new();
        for rkey in found {
            let Ok(rkey) = rkey.parse() else { continue };
            let rival = RepoPath::new(path.collection.clone(), rkey);
            if rival == *path {
                continue;
            }
            let Some(cid) = repository.get(blocks, &key_of(&rival)?)? else { continue };
            let text = rival.to_string();
            let before = self.record_before(blocks, &text)?;
            if subject_of(&text, &before.bytes).as_deref() == Some(subject.as_str()) {
                rivals.push((rival, cid));
            }
        }
        rivals.truncate(RIVALS_MAX);
        Ok(rivals)
    }

    /// Adds all records that are stored. Those that are on their way bring their rows with them.
    fn index_subjects(&self, reader: &Reader, contents: Contents) -> Result<(), RepoError> {
        let (mut batch, mut rows) = (Batch::new(), 0);
        for collection in subject::COLLECTIONS {
            let (first, end) = (format!("{collection}/"), format!("{collection}0"));
            let mut scan = repos::records(reader, contents, &first, Some(&end), Order::Ascending);
            while let Some((path, record)) = scan.next(INDEXED_TOGETHER)? {
                stage(&mut batch, contents, &path, None, Some(&record.bytes))?;
                rows += 1;
                if rows == INDEXED_TOGETHER {
                    self.shared.writer.commit(std::mem::take(&mut batch))?;
                    rows = 0;
                }
            }
        }
        repos::put_links_complete(&mut batch, contents)?;
        self.shared.writer.commit(batch)?;
        Ok(())
    }
}
