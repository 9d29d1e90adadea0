//! Who speaks as an agent (MSG-02, AGT-10): an account that says it is one (`agentProfile`), and whose owner says so too
//! (`ownership`). Both are public records, wherever the two accounts are.
//!
//! What lies here is read when it is asked for, so what an owner withdraws counts at once. What lies elsewhere is fetched,
//! believed because it is signed, and remembered for a while. The index cannot wait for others: a message of an agent
//! of whom nothing is known is left out, the records are looked up beside it, again and again while nobody answers,
//! and then the message is taken in ([`Lookups`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::data::{Value, cbor};
use angel_protocol::ids::Did;
use angel_protocol::spaces::{Speaker, Unheard, UnheardMessages};
use angel_storage::codec::Cbor;
use angel_storage::spaces::{AUTHORS, SpaceRow};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use super::apply::{Change, Step};
use super::{SpaceError, Spaces};
use crate::{blocking, clock};

/// The record by which an account says that it is an agent.
pub(super) const PROFILE: &str = "co.kendev.agents.agentProfile/self";

/// The collection of records by which owners say so too.
const OWNERSHIP: &str = "co.kendev.agents.ownership";

/// Agents of whom something is known from elsewhere.
const KNOWN_MAX: usize = 10_000;

/// How long what was fetched counts.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// How long it still counts when nobody answers.
const STALE_FOR: Duration = Duration::from_secs(3600);

/// Agents that are looked up at once.
const LOOK_UPS_AT_ONCE: usize = 8;

/// What an account is, as far as the two records say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Agent {
    /// It does not say that it is an agent.
    None,
    /// It says so, and its owner does not.
    Unconfirmed,
    /// Both say so; this is the owner.
    Of(Did),
}

/// What is remembered of agents of whom not everything lies here, and of whom something has to be found out.
pub(super) struct Agents {
    /// What was found, and when; and when it was last tried.
    known: Cache<Did, (Option<(Agent, Instant)>, Instant)>,
    /// Whose messages wait until it is known what they are.
    unheard: Mutex<Unheard>,
    came: Notify,
}

impl Default for Agents {
    fn default() -> Self {
        Self { known: Cache::new(KNOWN_MAX), unheard: Mutex::default(), came: Notify::new() }
    }
}

impl Agents {
    /// What was found out, as long as that counts: a minute, and an hour while nobody answers.
    fn known(&self, did: &Did) -> Option<Agent> {
        let (found, tried) = self.known.get(did)?;
        let counts = |(_, at): &(Agent, Instant)| tried.elapsed() < KNOWN_FOR && at.elapsed() < STALE_FOR;
        found.filter(counts).map(|(agent, _)| agent)
    }

    /// Whether others were asked a moment ago.
    fn was_tried(&self, did: &Did) -> bool {
        self.known.get(did).is_some_and(|(_, tried)| tried.elapsed() < KNOWN_FOR)
    }

    fn note(&self, did: &Did, found: Option<Agent>) {
        let now = Instant::now();
        if found.is_some() {
            self.unheard().found(did, clock::now());
            self.came.notify_one();
        }
        let before = self.known.get(did).and_then(|(before, _)| before);
        self.known.insert(did.clone(), (found.map(|agent| (agent, now)).or(before), now));
    }

    /// Somebody of whom has to be found out what they are, and what they said. Of too many, and of too much, nothing is kept.
    fn wait(&self, change: &Change<'_>) {
        let Change { did, path, room, sequence, .. } = *change;
        if self.unheard().add(did, (room.cloned(), path.to_owned()), sequence, clock::now()) {
            self.came.notify_one();
        } else {
            tracing::debug!(%did, path, "too much waits for the records of agents: this is not shown");
        }
    }

    /// A public record of an author elsewhere came, changed or went: what it was before is judged no more.
    pub(super) fn forget(&self, did: &Did, path: &str) {
        self.unheard().forget(did, &(None, path.to_owned()));
    }

    /// All public records of an author elsewhere come again: those that do not are gone.
    pub(super) fn forget_public(&self, did: &Did) {
        let mut unheard = self.unheard();
        for (said, sequence) in unheard.take(did) {
            // What they said in rooms waits on: there was room for it.
            if said.0.is_some() && !unheard.add(did, said, sequence, clock::now()) {
                break;
            }
        }
    }

    fn unheard(&self) -> MutexGuard<'_, Unheard> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As whom an account speaks that says it is an agent, in a space of `holder`.
fn speaker(agent: &Agent, holder: &Did) -> Speaker {
    match agent {
        Agent::None => Speaker::Person,
        Agent::Unconfirmed => Speaker::Unconfirmed,
        Agent::Of(owner) if owner == holder => Speaker::HouseAgent,
        Agent::Of(_) => Speaker::Agent,
    }
}

/// As whom somebody speaks with a message of type user. Who their owner is does not matter to it.
const fn as_a_person(says_agent: bool) -> Speaker {
    if says_agent { Speaker::Unconfirmed } else { Speaker::Person }
}

/// The record by which an owner confirms an agent: its key is the agent's DID, in which a port is written with `~`.
fn ownership(agent: &Did) -> String {
    format!("{OWNERSHIP}/{}", agent.as_str().replace('%', "~"))
}

fn owner_of(profile: &Value) -> Option<Did> {
    profile.get("owner")?.as_str()?.parse().ok()
}

/// What an account that has a profile is, by what its owner says.
fn judge(agent: &Did, owner: Did, word: Option<&Value>) -> Agent {
    let says = word.and_then(|word| word.get("agent")).and_then(Value::as_str);
    if says == Some(agent.as_str()) && owner != *agent { Agent::Of(owner) } else { Agent::Unconfirmed }
}

impl Spaces {
    /// As whom somebody speaks in a space of `holder` with a message of this type.
    ///
    /// # Errors
    /// [`SpaceError::AgentUnknown`], when the records of an agent cannot be had now; or the store cannot be read.
    pub(super) async fn speaker(&self, holder: &Did, did: &Did, kind: &str) -> Result<Speaker, SpaceError> {
        if kind == "user" {
            let (this, asked) = (self.clone(), did.clone());
            let says_so = blocking::run(move || this.says_agent(&asked)).await?;
            return Ok(as_a_person(says_so));
        }
        if holder == did {
            return Ok(Speaker::House);
        }
        let agent = self.agent(did).await?.ok_or(SpaceError::AgentUnknown)?;
        Ok(speaker(&agent, holder))
    }

    /// What an account is; `None` when that cannot be found out.
    pub(super) async fn agent(&self, did: &Did) -> Result<Option<Agent>, SpaceError> {
        let (this, asked) = (self.clone(), did.clone());
        if let Some(known) = blocking::run(move || this.agent_here(&asked)).await? {
            return Ok(Some(known));
        }
        // Of somebody who does not answer, nobody is asked with every message.
        if !self.0.agents.was_tried(did) {
            self.look_up(did).await?;
        }
        Ok(self.0.agents.known(did))
    }

    /// Asks others what an account is, and remembers it.
    async fn look_up(&self, did: &Did) -> Result<(), SpaceError> {
        let found = self.agent_elsewhere(did).await?;
        self.0.agents.note(did, found);
        Ok(())
    }

    /// Whether it is known now what an account is, which was looked up in vain or not at all; others are asked if need be.
    async fn finds_out(&self, did: &Did) -> Result<bool, SpaceError> {
        let (this, asked) = (self.clone(), did.clone());
        if blocking::run(move || this.agent_here(&asked)).await?.is_some() {
            return Ok(true);
        }
        self.look_up(did).await?;
        Ok(self.0.agents.known(did).is_some())
    }

    async fn agent_elsewhere(&self, did: &Did) -> Result<Option<Agent>, SpaceError> {
        let profile = match self.0.rulebook.public_record(&format!("at://{did}/{PROFILE}")).await? {
            None => return Ok(None),
            Some(None) => return Ok(Some(Agent::None)),
            Some(Some(profile)) => profile,
        };
        let Some(owner) = owner_of(&profile) else { return Ok(Some(Agent::Unconfirmed)) };
        let word = self.0.rulebook.public_record(&format!("at://{owner}/{}", ownership(did))).await?;
        Ok(word.map(|word| judge(did, owner, word.as_ref())))
    }

    /// What an account is, as far as it can be said without asking others. Blocks.
    fn agent_here(&self, did: &Did) -> Result<Option<Agent>, SpaceError> {
        let known = || self.0.agents.known(did);
        let Some(profile) = self.record_here(did, PROFILE)? else { return Ok(known()) };
        let Some(profile) = profile else { return Ok(Some(Agent::None)) };
        let Some(owner) = owner_of(&profile) else { return Ok(Some(Agent::Unconfirmed)) };
        Ok(match self.record_here(&owner, &ownership(did))? {
            None => known(),
            Some(word) => Some(judge(did, owner, word.as_ref())),
        })
    }

    /// Whether an account is known to say that it is an agent, without others being asked.
    pub(crate) async fn is_agent(&self, did: &Did) -> Result<bool, SpaceError> {
        let (this, asked) = (self.clone(), did.clone());
        blocking::run(move || this.says_agent(&asked)).await
    }

    /// Whether an account is an agent of `owner`, as far as one of the two says so: who wants to hide it withholds a
    /// word, not both. `None` when what they say cannot be had now.
    pub(crate) async fn is_agent_of(&self, did: &Did, owner: &Did) -> Result<Option<bool>, SpaceError> {
        let (profile, word) = (format!("at://{did}/{PROFILE}"), format!("at://{owner}/{}", ownership(did)));
        let rulebook = &self.0.rulebook;
        let both = futures::future::try_join(rulebook.public_record(&profile), rulebook.public_record(&word));
        let (profile, word) = both.await?;
        let says = |record: &Option<Option<Value>>, field: &str, who: &Did| {
            let found = record.as_ref().and_then(Option::as_ref);
            found.and_then(|found| found.get(field)).and_then(Value::as_str) == Some(who.as_str())
        };
        if says(&profile, "owner", owner) || says(&word, "agent", did) {
            return Ok(Some(true));
        }
        Ok((profile.is_some() && word.is_some()).then_some(false))
    }

    /// Whether an account is known to say that it is an agent: by its records here, or as far as it was followed at its host.
    /// Nobody waits for others to be asked: whoever wants to hide it need not say it. Blocks.
    pub(super) fn says_agent(&self, did: &Did) -> Result<bool, SpaceError> {
        if let Some(profile) = self.record_here(did, PROFILE)? {
            return Ok(profile.is_some());
        }
        let followed = self.0.reader.get(&AUTHORS, did)?.and_then(|Cbor(author)| author.says_agent);
        Ok(followed.unwrap_or_else(|| self.0.agents.known(did).is_some_and(|agent| agent != Agent::None)))
    }

    /// A public record of an account that lives here, with whether there is one; `None` for an account elsewhere.
    fn record_here(&self, did: &Did, path: &str) -> Result<Option<Option<Value>>, SpaceError> {
        let Some(account) = self.0.accounts.resident_blocking(did)? else { return Ok(None) };
        let record = self.0.repos.record_blocking(account.id(), path)?;
        Ok(Some(record.and_then(|record| cbor::decode(&record.bytes).ok())))
    }
}

impl Step<'_> {
    /// As whom an author speaks: the holder of a space for the house where it says that it does, an agent when its owner
    /// confirms it. `None` when that is not known yet; it is looked up then.
    pub(super) fn speaker(
        &self,
        space: &SpaceRow,
        change: &Change<'_>,
        kind: &str,
    ) -> Result<Option<Speaker>, SpaceError> {
        if kind == "user" {
            return Ok(Some(as_a_person(self.spaces().says_agent(change.did)?)));
        }
        if space.holder == *change.did {
            return Ok(Some(Speaker::House));
        }
        let agent = self.spaces().agent_here(change.did)?;
        if agent.is_none() {
            self.spaces().0.agents.wait(change);
        }
        Ok(agent.map(|agent| speaker(&agent, &space.holder)))
    }
}

/// Somebody who was looked up, and whether anything is known of them now.
type Found = (Did, bool);

/// Looks up agents beside the index.
#[derive(Default)]
pub(super) struct Lookups(FuturesUnordered<Pin<Box<dyn Future<Output = Found> + Send>>>);

impl Lookups {
    /// The next one of whom something is known now, with what they said. May be dropped and called again.
    pub(super) async fn next(&mut self, spaces: &Spaces) -> (Did, UnheardMessages) {
        let agents = &spaces.0.agents;
        loop {
            while self.0.len() < LOOK_UPS_AT_ONCE
                && let Some(did) = agents.unheard().begin(clock::now())
            {
                self.0.push(Box::pin(find_out(spaces.clone(), did)));
            }
            let is_full = self.0.len() >= LOOK_UPS_AT_ONCE;
            let due = agents.unheard().next_due().filter(|_| !is_full).map(|due| due.since(clock::now()));
            tokio::select! {
                Some((did, is_known)) = self.0.next() => {
                    if is_known {
                        let said = agents.unheard().take(&did);
                        return (did, said);
                    }
                    if let Some(messages) = agents.unheard().failed(&did, clock::now(), rand::random()) {
                        tracing::debug!(%did, messages, "what an agent said waits no longer for its records");
                    }
                }
                () = agents.came.notified() => {}
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {}
            }
        }
    }
}

async fn find_out(spaces: Spaces, did: Did) -> Found {
    let found = spaces.finds_out(&did).await;
    if let Err(error) = &found {
        tracing::warn!(%did, %error, "the records of an agent cannot be looked up");
    }
    (did, matches!(found, Ok(true)))
}
