//! How active the members of a space are (SPC-02, SPC-03), as far as this node can tell: by what they wrote there in the last
//! 30 days. Posts are the tenant's and name no member as their author here, nobody takes note of who comes to events, and nobody
//! watches how long people read; those parts count 0.
//!
//! It is computed when somebody asks for the space or its members, once an hour at most for each space, and never for a message. The
//! newest messages are gone through, and one space at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use angel_protocol::ids::Did;
use angel_protocol::spaces::{ACTIVE_DAYS, Activity, Permission, member_score, space_score};
use angel_protocol::time::Timestamp;
use angel_storage::spaces::{Among, MEMBERS, SpaceId, SpaceRow, messages_back};
use quick_cache::sync::Cache;
use serde_json::{Value as Json, json};

use super::SpaceError;
use super::find::Found;
use super::reading::Reading;
use crate::clock;

/// Messages that are gone through: of a space with more in 30 days, the newest.
const MESSAGES_MAX: usize = 100_000;

/// Messages that are read at a time.
const PAGE: usize = 1000;

/// How long what was computed is told.
const FRESH_FOR: Duration = Duration::from_secs(3600);

/// Spaces of which it is remembered.
const REMEMBERED_MAX: usize = 1000;

/// Members of one space of whom it is remembered; of more, those who wrote last.
const MEMBERS_MAX: usize = 5000;

/// A day, in milliseconds.
const DAY: u64 = 24 * 3600 * 1000;

/// What a member did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Did30 {
    messages: u64,
    last: Timestamp,
    score: u64,
}

/// How active a space is.
pub(super) struct Engagement {
    score: Option<u64>,
    members: HashMap<Did, Did30>,
}

/// What was computed of spaces.
pub(super) struct Engagements {
    known: Cache<SpaceId, (Instant, Arc<Engagement>)>,
    /// Held while one is computed: whoever waits finds it done.
    turn: Mutex<()>,
}

impl Default for Engagements {
    fn default() -> Self {
        Self { known: Cache::new(REMEMBERED_MAX), turn: Mutex::default() }
    }
}

impl Reading {
    /// How active a space is, computed if it was not lately. Of a copy of another node's space nothing is. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn look_at_engagement(&self, found: &Found) -> Result<(), SpaceError> {
        if self.copied_account().is_some() {
            return Ok(());
        }
        let engagements = &self.spaces.0.engagements;
        let is_fresh = || engagements.known.get(&found.id).is_some_and(|(at, _)| at.elapsed() < FRESH_FOR);
        if is_fresh() {
            return Ok(());
        }
        let _turn = engagements.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_fresh() {
            let engagement = self.engagement(found.id, &found.row)?;
            engagements.known.insert(found.id, (Instant::now(), Arc::new(engagement)));
        }
        Ok(())
    }

    /// How active a space is, if that was computed.
    pub(super) fn engagement_score(&self, id: SpaceId) -> Option<u64> {
        self.known_engagement(id)?.score
    }

    /// How active a member is, if that was computed, for whoever looks after the space and for the member.
    pub(super) fn engagement_of(&self, found: &Found, did: &Did) -> Option<Json> {
        if found.did.as_ref() != Some(did) && !found.access().allows(Permission::ViewAnalytics) {
            return None;
        }
        let engagement = self.known_engagement(found.id)?;
        let Some(member) = engagement.members.get(did) else {
            return Some(json!({ "messagesCount": 0, "engagementScore": 0 }));
        };
        Some(json!({
            "messagesCount": member.messages,
            "lastActive": member.last.to_string(),
            "engagementScore": member.score,
        }))
    }

    fn known_engagement(&self, id: SpaceId) -> Option<Arc<Engagement>> {
        let known = self.copied_account().is_none().then(|| self.spaces.0.engagements.known.get(&id))?;
        known.map(|(_, engagement)| engagement)
    }

    fn engagement(&self, id: SpaceId, row: &SpaceRow) -> Result<Engagement, SpaceError> {
        let now = clock::now();
        let since = now.as_millis().saturating_sub(ACTIVE_DAYS * DAY);
        let mut wrote: HashMap<Did, (u64, Timestamp)> = HashMap::new();
        let (mut before, mut looked_at) = (u64::MAX, 0);
        'reading: loop {
            let (rows, more) = messages_back(&self.reader, id, Among::Space, before, PAGE)?;
            for (position, message) in &rows {
                before = *position;
                looked_at += 1;
                if message.indexed_at.as_millis() < since || looked_at > MESSAGES_MAX {
                    break 'reading;
                }
                if wrote.len() < MEMBERS_MAX || wrote.contains_key(&message.author) {
                    // The newest comes first.
                    wrote.entry(message.author.clone()).or_insert((0, message.indexed_at)).0 += 1;
                }
            }
            if !more {
                break;
            }
        }
        let mut members = HashMap::new();
        for (did, (messages, last)) in wrote {
            let member = self.reader.get(&MEMBERS, &(id, did.clone()))?;
            if member.is_none_or(|member| !member.membership.is_active()) {
                continue;
            }
            let idle_days = now.as_millis().saturating_sub(last.as_millis()) / DAY;
            let score = member_score(&Activity { messages, idle_days, ..Activity::default() });
            members.insert(did, Did30 { messages, last, score });
        }
        let score = space_score(members.values().map(|member| member.score), row.members);
        Ok(Engagement { score, members })
    }
}
