//! Votes for features of this node's roadmap by people whose repositories are on other hosts, as those were heard. Both tables say
//! the same: one finds the votes for a feature, the other those of a person. They are written together.

use angel_protocol::ids::Did;

use crate::batch::{Batch, RowRefused};
use crate::codec::{Cbor, Present};
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::verify::Check;

/// The URI of the feature that a vote is for, by the key of the feature, which is the vote's, and the voter.
const VOTES: Table<(String, Did), Cbor<String>> = Table::new(TableId::RoadmapVotes);

/// The votes of a voter, by their keys.
const VOTES_OF: Table<(Did, String), Present> = Table::new(TableId::RoadmapVotesOf);

/// Votes of one voter that are read at once: each is for a feature that this node has.
const PAGE: usize = 1000;

/// Notes a vote. Another one of the same voter under the same key makes way.
///
/// # Errors
/// The URI is too long for a row.
pub fn note(batch: &mut Batch, voter: &Did, rkey: &str, feature: &str) -> Result<(), RowRefused> {
    batch.put(&VOTES, &(rkey.to_owned(), voter.clone()), &Cbor(feature.to_owned()))?;
    batch.put(&VOTES_OF, &(voter.clone(), rkey.to_owned()), &Present)
}

/// Forgets a vote that was taken back.
///
/// # Errors
/// The key is too long for a row.
pub fn forget(batch: &mut Batch, voter: &Did, rkey: &str) -> Result<(), RowRefused> {
    batch.delete(&VOTES, &(rkey.to_owned(), voter.clone()))?;
    batch.delete(&VOTES_OF, &(voter.clone(), rkey.to_owned()))
}

/// Whether a vote was noted.
///
/// # Errors
/// The engine fails.
pub fn is_noted(reader: &Reader, voter: &Did, rkey: &str) -> Result<bool, ReadError> {
    reader.contains(&VOTES_OF, &(voter.clone(), rkey.to_owned()))
}

/// The keys of a voter's votes.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn of_voter(reader: &Reader, voter: &Did) -> Result<Vec<String>, ReadError> {
    let (mut found, mut last) = (vec![], None);
    loop {
        let mut scan = reader.scan(&VOTES_OF).prefix(voter);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(PAGE)?;
        found.extend(page.rows.iter().map(|((_, rkey), _)| rkey.clone()));
        last = page.rows.into_iter().next_back().map(|(key, _)| key);
        if !page.more {
            return Ok(found);
        }
    }
}

/// Up to `limit` voters with a vote under this key, behind `after`, each with the URI of the feature that it is for.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn under(reader: &Reader, rkey: &str, after: Option<&Did>, limit: usize) -> Result<Vec<(Did, String)>, ReadError> {
    let mut scan = reader.scan(&VOTES).prefix(&rkey.to_owned());
    if let Some(after) = after {
        scan = scan.after(&(rkey.to_owned(), after.clone()));
    }
    Ok(scan.page(limit)?.rows.into_iter().map(|((_, voter), Cbor(feature))| (voter, feature)).collect())
}

/// How the tables of this module are checked by [`crate::verify`].
pub(crate) fn checks() -> Vec<Check> {
    vec![Check::of(&VOTES), Check::of(&VOTES_OF)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn votes_are_found_by_their_feature_and_by_their_voter() {
        let store = Store::in_memory().expect("starts");
        let (reader, writer) = (store.reader(), store.writer());
        let voter = |number: usize| -> Did { format!("did:web:v{number}.example").parse().expect("valid") };
        let mut batch = Batch::new();
        for number in 0..5 {
            note(&mut batch, &voter(number), "3k", "at://here/3k").expect("fits");
        }
        note(&mut batch, &voter(0), "3l", "at://here/3l").expect("fits");
        note(&mut batch, &voter(0), "3k", "at://elsewhere/3k").expect("fits");
        writer.commit(batch).expect("commits");
        let found = under(reader, "3k", None, 3).expect("reads");
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], (voter(0), "at://elsewhere/3k".to_owned()), "the later word counts");
        let rest = under(reader, "3k", Some(&voter(2)), 3).expect("reads");
        assert_eq!(rest.into_iter().map(|(did, _)| did).collect::<Vec<_>>(), [voter(3), voter(4)]);
        assert_eq!(of_voter(reader, &voter(0)).expect("reads"), ["3k", "3l"]);
        let mut batch = Batch::new();
        forget(&mut batch, &voter(0), "3k").expect("fits");
        writer.commit(batch).expect("commits");
        assert_eq!(of_voter(reader, &voter(0)).expect("reads"), ["3l"]);
        assert!(!is_noted(reader, &voter(0), "3k").expect("reads"));
        assert!(is_noted(reader, &voter(1), "3k").expect("reads"));
        assert_eq!(under(reader, "3k", None, 9).expect("reads").len(), 4);
        assert_eq!(under(reader, "3", None, 9).expect("reads"), [], "a key is no part of another");
        store.close().expect("closes");
    }
}
