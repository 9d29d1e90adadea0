//! Which records of an account are about a subject, in collections where it has one for each. An index beside the records:
//! whoever writes a record there keeps it, and what an import or another node brought is added when it is first asked for.

use sha2::{Digest as _, Sha256};

use super::{Contents, LINKS};
use crate::batch::{Batch, RowRefused};
use crate::codec::Present;
use crate::reader::{ReadError, Reader};

/// The digest of a subject. Whoever is told of a record looks at it: two subjects may have one digest.
pub(super) type Subject = [u8; 16];

fn subject_digest(subject: &str) -> Subject {
    let digest = Sha256::digest(subject);
    std::array::from_fn(|at| digest[at])
}

/// The row that says that all records are in the index.
fn complete(contents: Contents) -> (Contents, String, Subject, String) {
    (contents, String::new(), Subject::default(), String::new())
}

/// Notes that the record with the key `rkey` is about `subject`.
///
/// # Errors
/// The batch is full.
pub fn put_link(
    batch: &mut Batch,
    contents: Contents,
    (collection, rkey): (&str, &str),
    subject: &str,
) -> Result<(), RowRefused> {
    batch.put(&LINKS, &(contents, collection.to_owned(), subject_digest(subject), rkey.to_owned()), &Present)
}

/// Notes that it is so no more.
///
/// # Errors
/// The batch is full.
pub fn delete_link(
    batch: &mut Batch,
    contents: Contents,
    (collection, rkey): (&str, &str),
    subject: &str,
) -> Result<(), RowRefused> {
    batch.delete(&LINKS, &(contents, collection.to_owned(), subject_digest(subject), rkey.to_owned()))
}

/// Notes that all records are in the index, from this batch on.
///
/// # Errors
/// The batch is full.
pub fn put_links_complete(batch: &mut Batch, contents: Contents) -> Result<(), RowRefused> {
    batch.put(&LINKS, &complete(contents), &Present)
}

/// Whether all records are in the index.
///
/// # Errors
/// The engine fails.
pub fn has_all_links(reader: &Reader, contents: Contents) -> Result<bool, ReadError> {
    reader.contains(&LINKS, &complete(contents))
}

/// The keys of up to `limit` records of `collection` that may be about `subject`, in order.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn linking(
    reader: &Reader,
    contents: Contents,
    collection: &str,
    subject: &str,
    limit: usize,
) -> Result<Vec<String>, ReadError> {
    let prefix = (contents, collection.to_owned(), subject_digest(subject));
    let page = reader.scan(&LINKS).prefix(&prefix).page(limit)?;
    Ok(page.rows.into_iter().map(|((_, _, _, rkey), _)| rkey).collect())
}
