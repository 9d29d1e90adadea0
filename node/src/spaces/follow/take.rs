//! What an author elsewhere wrote, verified and put into the event log.

use std::collections::HashMap;

use angel_protocol::data::{Block, Cid, Value, cbor};
use angel_protocol::firehose::CommitBody;
use angel_protocol::ids::{Did, Tid};
use angel_protocol::repo::{VerifyError, verify_commit};
use angel_protocol::spaces::{MESSAGE, REACTION};
use angel_storage::Batch;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{AUTHORS, AuthorRow, Foreign, RECORDS, SpaceEvent, event};

use super::Follower;
use super::votes::Vote;
use crate::blocking;
use crate::clock;
use crate::spaces::agents::{Agent, PROFILE};
use crate::spaces::records::{Said, read};
use crate::spaces::{SpaceError, Spaces};

/// Events of one batch, and about how many bytes of them.
const EVENTS: usize = 100;
const EVENT_BYTES: usize = 3 * 1024 * 1024;

/// A record of an author elsewhere, or that one is gone.
pub(super) type Written = (String, Option<(Cid, Vec<u8>)>);

/// Whether a message is one that people do not write, or not as themselves.
fn is_of_an_agent(record: Option<&(Cid, Vec<u8>)>) -> bool {
    let message = record.and_then(|(_, bytes)| cbor::decode(bytes).ok());
    message.is_some_and(|message| message.get("messageType").and_then(Value::as_str) != Some("user"))
}

/// What somebody wrote says of whether they are an agent, if it says anything.
pub(super) fn profile_in(written: &[Written]) -> Option<bool> {
    written.iter().find(|(path, _)| path == PROFILE).map(|(_, record)| record.is_some())
}

impl Follower {
    /// Verifies a commit and takes what concerns a space. One that is not believed, or was dealt with, is passed over.
    pub(super) async fn take_commit(&self, host: &str, body: CommitBody) -> Result<(), SpaceError> {
        let did = body.repo.clone();
        let before = self.author(&did).await?;
        if before.as_ref().and_then(|author| author.rev).is_some_and(|rev| rev >= body.rev) {
            return Ok(());
        }
        let Some(verified) = self.verified(host, &body).await else { return Ok(()) };
        if verified.commit().is_from_the_future(clock::now()) {
            tracing::debug!(%did, "a commit claims to be of a time to come");
            return Ok(());
        }
        // A commit in between was missed: the repository knows what was in it.
        let gap = before.as_ref().is_some_and(|author| author.rev.is_some() && author.rev != body.since);
        let by_cid: HashMap<Cid, &Block> = verified.records().iter().map(|block| (block.cid(), block)).collect();
        let written = verified.changes().iter().filter_map(|change| {
            let record = match change.after {
                Some(cid) => Some((cid, by_cid.get(&cid)?.bytes().to_vec())),
                None => None,
            };
            Some((change.key.as_str().to_owned(), record))
        });
        let written: Vec<Written> = written.collect();
        let said = before.and_then(|author| author.says_agent);
        let says_agent = profile_in(&written).or(said);
        let row = AuthorRow {
            host: host.to_owned(),
            rev: Some(verified.commit().rev()),
            data: Some(verified.commit().data()),
            active: true,
            says_agent,
        };
        self.take(&did, row, written, true).await?;
        if gap {
            self.backfill(host, &did).await;
        }
        Ok(())
    }

    /// A commit that its author's key signed, whom this host serves. The key may have changed: then it is asked for anew.
    async fn verified(&self, host: &str, body: &CommitBody) -> Option<angel_protocol::repo::VerifiedCommit> {
        for fresh in [false, true] {
            let did = &body.repo;
            let found = if fresh { self.0.resolver.fresh_did(did).await } else { self.0.resolver.did(did).await };
            let resolved = found.ok()?;
            if resolved.document.pds().map(|pds| pds.trim_end_matches('/')) != Some(host) {
                continue;
            }
            let Some(key) = resolved.document.signing_key() else { continue };
            let body = body.clone();
            let verified = blocking::run(move || verify_commit(body.message(), key)).await;
            match verified {
                Ok(verified) => return Some(verified),
                Err(VerifyError::Signature(_)) if !fresh => {}
                Err(error) => {
                    tracing::debug!(%did, %error, "a commit from elsewhere is not believed");
                    return None;
                }
            }
        }
        None
    }

    /// Puts what concerns a space into the log, and notes how far the author was followed: `row`. What comes as it is written
    /// is `counted`.
    pub(super) async fn take(
        &self,
        did: &Did,
        mut row: AuthorRow,
        written: Vec<Written>,
        counted: bool,
    ) -> Result<(), SpaceError> {
        self.forget_unheard(did, &written, counted).await;
        let (spaces, author) = (self.0.spaces.clone(), did.clone());
        let looking = blocking::run(move || {
            let votes = spaces.votes_in(&author, &written)?;
            Ok::<_, SpaceError>((spaces.wanted_of(&author, written)?, votes))
        });
        let (wanted, votes) = looking.await?;
        let allowed = |(path, record): &Written| {
            let counts = counted && record.is_some() && path.starts_with(MESSAGE);
            let allowed = !counts || self.may_write(did);
            if !allowed {
                tracing::debug!(%did, "an author elsewhere writes more than a space takes");
            }
            allowed
        };
        let wanted: Vec<Written> = wanted.into_iter().filter(allowed).collect();
        // The index, which waits for nobody, then knows what they are.
        let mut messages = wanted.iter().filter(|(path, record)| path.starts_with(MESSAGE) && record.is_some());
        let is_unknown = row.says_agent.is_none() && messages.clone().next().is_some();
        if is_unknown || messages.any(|(_, record)| is_of_an_agent(record.as_ref())) {
            let found = self.0.spaces.agent(did).await?;
            row.says_agent = row.says_agent.or(found.map(|agent| agent != Agent::None));
        }
        let (spaces, did) = (self.0.spaces.clone(), did.clone());
        blocking::run(move || spaces.write_foreign(&did, wanted, &votes, &row)).await
    }

    /// What waits until it is known who says it, and is taken back meanwhile, waits no longer: the index does not have it, so
    /// that it is gone is no event.
    async fn forget_unheard(&self, did: &Did, written: &[Written], counted: bool) {
        let gone = |(path, record): &&Written| record.is_none() && path.starts_with(MESSAGE);
        if counted && !written.iter().any(|one| gone(&one)) {
            return;
        }
        // What came before has to be waiting by now.
        self.0.spaces.caught_up().await;
        let agents = &self.0.spaces.0.agents;
        if counted {
            written.iter().filter(gone).for_each(|(path, _)| agents.forget(did, path));
        } else {
            agents.forget_public(did);
        }
    }

    async fn author(&self, did: &Did) -> Result<Option<AuthorRow>, SpaceError> {
        let (spaces, did) = (self.0.spaces.clone(), did.clone());
        let row = blocking::run(move || spaces.0.reader.get(&AUTHORS, &did)).await?;
        Ok(row.map(|Cbor(row)| row))
    }

    /// Notes whether a host serves an author.
    pub(super) async fn note_active(&self, host: &str, did: &Did, active: bool) -> Result<(), SpaceError> {
        let before = self.author(did).await?;
        let unknown = AuthorRow { host: host.to_owned(), rev: None, data: None, active, says_agent: None };
        let row = before.unwrap_or(unknown);
        let row = AuthorRow { active, ..row };
        let (spaces, did) = (self.0.spaces.clone(), did.clone());
        blocking::run(move || {
            let mut batch = Batch::new();
            batch.put(&AUTHORS, &did, &Cbor(row))?;
            spaces.0.writer.commit(batch)?;
            Ok(())
        })
        .await
    }
}

impl Spaces {
    /// Of what an author wrote, what concerns a space here. Blocks.
    fn wanted_of(&self, did: &Did, written: Vec<Written>) -> Result<Vec<Written>, SpaceError> {
        let mut wanted = vec![];
        for (path, record) in written {
            let collection = path.split_once('/').map_or("", |(collection, _)| collection);
            if collection != MESSAGE && collection != REACTION {
                continue;
            }
            let is_known = self.0.reader.contains(&RECORDS, &(did.clone(), path.clone()))?;
            let concerns = match &record {
                _ if is_known => true,
                None => false,
                Some((_, bytes)) => {
                    let about = match cbor::decode(bytes).ok().and_then(|value| read(collection, &value)) {
                        Some(Said::Message(said)) => Some(said.space),
                        Some(Said::Reaction(said)) => Some(said.subject),
                        _ => None,
                    };
                    match about {
                        Some(address) => self.0.reader.contains(&RECORDS, &address.key())?,
                        None => false,
                    }
                }
            };
            if concerns {
                wanted.push((path, record));
            }
        }
        Ok(wanted)
    }

    /// Blocks.
    fn write_foreign(
        &self,
        did: &Did,
        mut written: Vec<Written>,
        votes: &[Vote],
        row: &AuthorRow,
    ) -> Result<(), SpaceError> {
        let (now, rev) = (clock::now(), row.rev.unwrap_or(Tid::MIN));
        loop {
            let mut batch = Batch::new();
            let mut events = 0;
            while events < EVENTS && batch.bytes() < EVENT_BYTES && !written.is_empty() {
                let (path, record) = written.remove(0);
                let record = record.map(|(cid, bytes)| (cid, bytes.into()));
                let foreign = Foreign { did: did.clone(), path, rev, record };
                batch.append_event(event(now, &SpaceEvent::Foreign(foreign))?)?;
                events += 1;
            }
            if written.is_empty() {
                // With the last of it, so that what was not written is looked for again.
                batch.put(&AUTHORS, did, &Cbor(row.clone()))?;
                for vote in votes {
                    vote.stage(&mut batch, did)?;
                }
                self.0.writer.commit(batch)?;
                return Ok(());
            }
            self.0.writer.commit(batch)?;
        }
    }
}
