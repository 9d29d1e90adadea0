//! Votes of authors elsewhere for features that this node has (RMP-01). They are noted of everybody who is followed; whose count,
//! is looked at when they are counted ([`crate::roadmap`]).

use angel_protocol::data::cbor;
use angel_protocol::ids::{AtIdentifier, AtUri, Did};
use angel_storage::{Batch, roadmap};

use super::take::Written;
use crate::roadmap::{FEATURE, VOTE};
use crate::spaces::{SpaceError, Spaces};

/// What becomes of a vote.
pub(super) struct Vote {
    /// Its key, which is the feature's.
    rkey: String,
    /// The feature that it is for from now on; absent when it is taken back.
    feature: Option<String>,
}

/// The key of the vote at a path, if there would be one.
pub(super) fn vote_key(path: &str) -> Option<&str> {
    path.strip_prefix(VOTE)?.strip_prefix('/')
}

impl Vote {
    /// Writes it down with what else is written of its voter.
    pub(super) fn stage(&self, batch: &mut Batch, voter: &Did) -> Result<(), SpaceError> {
        match &self.feature {
            Some(feature) => roadmap::note(batch, voter, &self.rkey, feature)?,
            None => roadmap::forget(batch, voter, &self.rkey)?,
        }
        Ok(())
    }
}

impl Spaces {
    /// Of what an author wrote, what changes their votes. What is for no feature that there is here is no vote: nobody
    /// has more of them than there are features. Blocks.
    pub(super) fn votes_in(&self, did: &Did, written: &[Written]) -> Result<Vec<Vote>, SpaceError> {
        let mut votes = vec![];
        for (path, record) in written {
            let Some(rkey) = vote_key(path) else { continue };
            let vote = record.as_ref().and_then(|(_, bytes)| cbor::decode(bytes).ok());
            let feature = vote.as_ref().and_then(|vote| vote.get("feature")?.as_str());
            let feature = match feature {
                Some(feature) if self.has_feature(feature, rkey)? => Some(feature.to_owned()),
                _ => None,
            };
            if feature.is_some() || roadmap::is_noted(&self.0.reader, did, rkey)? {
                votes.push(Vote { rkey: rkey.to_owned(), feature });
            }
        }
        Ok(votes)
    }

    /// Whether a feature with this key is in a repository here.
    fn has_feature(&self, uri: &str, rkey: &str) -> Result<bool, SpaceError> {
        let Some(AtIdentifier::Did(holder)) = uri.parse::<AtUri>().ok().map(|uri| uri.authority().clone()) else {
            return Ok(false);
        };
        // One spelling of it, as the count has.
        let path = format!("{FEATURE}/{rkey}");
        if uri != format!("at://{holder}/{path}") {
            return Ok(false);
        }
        let Some(account) = self.0.accounts.resident_blocking(&holder)? else { return Ok(false) };
        Ok(self.0.repos.record_blocking(account.id(), &path)?.is_some())
    }
}
