//! Those who follow a space live. What happens is made a frame once and shared by all; each follower hears what they may
//! hear at that moment, and has to go when they may no longer be there.
//!
//! A space has a hub while somebody follows it: the newest entries in a bounded ring, and who is there. Whoever comes
//! with a cursor is served from the index until they are up to date. Presence and typing are told to those who are there
//! and kept by nobody.

mod follower;
mod join;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use angel_protocol::data::Map;
use angel_protocol::ids::Did;
use angel_protocol::spaces::{Told, event_frame, event_json};
use angel_storage::spaces::{ChannelNumber, SpaceId};
use axum::extract::ws::close_code;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::told::{Audience, Body, Notice};
use crate::clock;
use crate::firehose::{Framed, Goodbye, NoPlace, Numbered, Place, Places, Round};
use crate::tasks::TaskResult;

pub(crate) use follower::{Form, SpaceFormat, SpaceStream};

/// Things told aside that a follower may be behind with before it misses some.
const ASIDE_MAX: usize = 64;

/// How long followers get to hear that the node stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// Who follows which space. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Live(Arc<Shared>);

struct Shared {
    hubs: RwLock<HashMap<SpaceId, Arc<Hub>>>,
    places: Places,
    closing: CancellationToken,
    /// Held while a step of the index is made and told: a hub begins between two steps.
    steps: Mutex<()>,
    numbers: AtomicU64,
    /// Hubs with something to be told, each once.
    waiting: Mutex<VecDeque<Arc<Hub>>>,
    more: Notify,
}

/// The followers of one space.
pub(super) struct Hub {
    space: SpaceId,
    round: Arc<Round<Entry>>,
    /// Whether it is among those that wait.
    waits: AtomicBool,
    /// The same for those who are not told in rounds.
    head: watch::Sender<u64>,
    aside: broadcast::Sender<Arc<Entry>>,
    followers: Mutex<HashMap<u64, Arc<Seat>>>,
}

/// A follower's seat: who they are, and what they may hear.
pub(super) struct Seat {
    did: Option<Did>,
    hears: RwLock<Hears>,
    /// Cancelled when they have to go.
    ended: CancellationToken,
    why: OnceLock<Goodbye>,
}

/// What somebody may hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hears {
    /// The channels they may read.
    pub(super) channels: HashSet<ChannelNumber>,
    /// Whether they are a member.
    pub(super) member: bool,
}

impl Hears {
    fn hears(&self, audience: Audience) -> bool {
        match audience {
            Audience::Channel(channel) => self.channels.contains(&channel),
            Audience::Members => self.member,
        }
    }
}

/// Something that happened, as followers get it. Made once, shared by all.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number in the space; 0 for what is not kept.
    pub(crate) number: u64,
    audience: Audience,
    /// What kind of thing it is.
    pub(crate) told: Told,
    body: Map,
    frame: Framed,
    text: OnceLock<Framed>,
}

impl Entry {
    pub(super) fn of(notice: Notice) -> Arc<Self> {
        let Notice { number, audience, told, body, .. } = notice;
        let frame = Framed::binary(&event_frame(told, &body));
        Arc::new(Self { number, audience, told, body, frame, text: OnceLock::new() })
    }

    /// The frame of DAG-CBOR.
    pub(crate) fn frame(&self) -> &Framed {
        &self.frame
    }

    /// The same in JSON, made when it is first asked for.
    pub(crate) fn text(&self) -> &Framed {
        self.text.get_or_init(|| Framed::text(&event_json(self.told, &self.body).to_string()))
    }
}

impl Numbered for Entry {
    fn sequence(&self) -> u64 {
        self.number
    }

    fn bytes(&self) -> usize {
        // The body beside the frame takes about as much again.
        self.frame.payload().len() * 2
    }
}

impl Live {
    /// Nobody yet; so many may follow at once.
    pub(super) fn new(followers_max: u32) -> Self {
        Self(Arc::new(Shared {
            hubs: RwLock::default(),
            places: Places::new(followers_max),
            closing: CancellationToken::new(),
            steps: Mutex::default(),
            numbers: AtomicU64::new(1),
            waiting: Mutex::default(),
            more: Notify::new(),
        }))
    }

    /// A place for a follower from `address`.
    ///
    /// # Errors
    /// [`NoPlace`] when there are too many.
    pub(crate) fn place(&self, address: IpAddr) -> Result<Place, NoPlace> {
        self.0.places.take(address)
    }

    /// Whether somebody follows a space.
    pub(super) fn is_followed(&self, space: SpaceId) -> bool {
        self.hub(space).is_some()
    }

    /// What a step of the index holds.
    pub(super) fn steps(&self) -> &Mutex<()> {
        &self.0.steps
    }

    fn hub(&self, space: SpaceId) -> Option<Arc<Hub>> {
        self.0.hubs.read().unwrap_or_else(PoisonError::into_inner).get(&space).cloned()
    }

    /// Tells what a step of the index came to.
    pub(super) fn tell(&self, notices: Vec<Notice>) {
        let mut by_space: BTreeMap<SpaceId, Vec<Arc<Entry>>> = BTreeMap::new();
        for notice in notices {
            by_space.entry(notice.space).or_default().push(Entry::of(notice));
        }
        for (space, entries) in by_space {
            let (Some(hub), Some(last)) = (self.hub(space), entries.last().map(|entry| entry.number)) else { continue };
            hub.round.change(|ring| ring.push(entries, last));
            hub.head.send_replace(last);
            self.wake(hub);
        }
    }

    /// Has those who follow told what is new.
    fn wake(&self, hub: Arc<Hub>) {
        if !hub.waits.swap(true, Ordering::AcqRel) {
            self.waiting().push_back(hub);
            self.0.more.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Hub>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells some of what is new in each space in which something is, unless the node stops meanwhile.
    async fn tell_all(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let Some(hub) = self.waiting().pop_front() else { return };
            // Before looking, so that what comes meanwhile is looked for again.
            hub.waits.store(false, Ordering::Release);
            if hub.round.tell().await.more {
                self.wake(hub);
            }
        }
    }

    /// Those who follow a space, to be judged anew: all, or those of one person.
    pub(super) fn seats(&self, space: SpaceId, did: Option<&Did>) -> Vec<Arc<Seat>> {
        let Some(hub) = self.hub(space) else { return vec![] };
        let followers = hub.followers();
        followers.values().filter(|seat| did.is_none() || seat.did.as_ref() == did).cloned().collect()
    }

    /// Somebody is writing, or is there: for those who are there too.
    pub(crate) fn signal(&self, space: SpaceId, audience: Audience, told: Told, fill: impl FnOnce(&mut SignalBody)) {
        let Some(hub) = self.hub(space) else { return };
        let mut body = SignalBody(Body::new(0, clock::now()));
        fill(&mut body);
        let entry = Entry::of(Notice { space, number: 0, audience, told, body: body.0.finish() });
        hub.round.aside(Arc::clone(&entry));
        // Nobody listening is no failure.
        drop(hub.aside.send(entry));
        self.wake(hub);
    }

    /// Sends everybody away: the node stops.
    pub(super) async fn close(&self) {
        self.0.closing.cancel();
        drop(tokio::time::timeout(GOODBYE, self.0.places.all_free()).await);
    }
}

/// The fields of a signal.
pub(crate) struct SignalBody(Body);

impl SignalBody {
    /// Sets a field.
    pub(crate) fn text(&mut self, name: &str, text: impl Into<String>) -> &mut Self {
        self.0.text(name, text);
        self
    }
}

impl Hub {
    fn followers(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whose seat it is.
    pub(super) fn did(&self) -> Option<&Did> {
        self.did.as_ref()
    }

    /// What they may hear from now on.
    pub(super) fn set(&self, hears: Hears) {
        *self.hears.write().unwrap_or_else(PoisonError::into_inner) = hears;
    }

    /// They have to go.
    pub(super) fn end(&self, name: &'static str, message: &str) {
        self.set(Hears::default());
        drop(self.why.set(Goodbye { name, message: message.to_owned(), code: close_code::POLICY }));
        self.ended.cancel();
    }

    fn hears(&self, audience: Audience) -> bool {
        self.hears.read().unwrap_or_else(PoisonError::into_inner).hears(audience)
    }
}

/// Tells those who follow until told to stop.
pub(crate) async fn run(live: Live, stop: CancellationToken) -> TaskResult {
    loop {
        live.tell_all(&stop).await;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = live.0.more.notified() => {}
        }
    }
}

/// A number for a follower.
fn next_number(live: &Live) -> u64 {
    live.0.numbers.fetch_add(1, Ordering::Relaxed)
}
