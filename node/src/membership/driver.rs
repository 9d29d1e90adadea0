//! The task that owns the machine: what happens goes in, effects are performed, and the next deadline is kept.

mod questions;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::{Did, NetworkId};
use angel_protocol::limits::INVITE_USES_MAX;
use angel_protocol::membership::{
    Effect, Input, Invite, InviteTerms, LocalNode, NodeEventKind, OpenedHeartbeat, Refusal, Source, State, Status,
    VerifiedHeartbeat,
};
use angel_protocol::wire::gossip::{Topic, Verdict};
use angel_storage::reader::ReadError;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, future::BoxFuture};
use serde_bytes::ByteArray;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::questions::Answered;
use super::profile::Described;
use super::saver::{self, SaveError, Saver, describe};
use super::{
    Command, Connection, HeartbeatAnswer, InviteWish, KNOWN_NODES_MAX, KnownNode, ListedNode, NodeList, OwnNode, Parts,
};
use crate::clock;
use crate::events::{Events, HeartbeatWay};
use crate::health::{Service, ServiceState};
use crate::machine::Load;
use crate::network::{self, Acceptance, Multiaddr};
use crate::placement::HostedCount;
use crate::tasks::TaskResult;

/// The longest the driver sleeps: a machine that was suspended, or whose clock was set, is not asleep for longer.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Weight of a message that no honest node sends. Eight within a minute cut a peer off.
const PENALTY: u32 = 10;

/// What the driver cannot go on without.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The store cannot be read.
    #[error("what is known of the peers cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error("what is known of the peers cannot be written: {0}")]
    Save(#[from] SaveError),
    /// The configuration describes a node that no peer would accept.
    #[error("this node's description of itself is not usable: {0}; change it in the [node] section")]
    Profile(&'static str),
}

/// The machine and what it acts through.
pub(crate) struct Driver {
    state: State,
    key: Arc<NodeKey>,
    network_id: NetworkId,
    topic: String,
    own: OwnNode,
    scope: network::Scope,
    listeners: usize,
    described: Described,
    saver: Saver,
    network: network::Handle,
    network_events: mpsc::Receiver<network::Event>,
    view: watch::Receiver<network::View>,
    load: watch::Receiver<Load>,
    hosted: HostedCount,
    commands: mpsc::Receiver<Command>,
    events: Events,
    service: Service,
    questions: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// Peers that wait for our answer to a registry request.
    replies: HashMap<u64, network::Reply>,
    next_request_id: u64,
    /// The statuses may have changed since they were last counted.
    recount: bool,
}

impl Driver {
    /// Restores what earlier runs knew. Reads the store: not for an async worker.
    ///
    /// # Errors
    /// [`DriverError`].
    pub(crate) fn new(parts: Parts, commands: mpsc::Receiver<Command>) -> Result<Self, DriverError> {
        let Parts { config, own, scope, listeners, key, invite, rotation, seed, reader, writer, .. } = parts;
        let Parts { network, network_events, load, hosted, events, service, .. } = parts;
        let now = clock::now();
        let own = OwnNode { created_at: saver::created_at(&reader, &writer, now)?, ..own };
        let network_id = own.network.clone();
        let described = own.describe(&reachable_at(&network, scope), &load.borrow());
        let local = LocalNode {
            network: network_id.clone(),
            key: Arc::clone(&key),
            profile: described.profile.clone(),
            invite,
            rotation,
            sequence_high_water: saver::sequence_high_water(&reader, &own.did)?,
        };
        let mut state = State::new(config, local, seed, now).map_err(DriverError::Profile)?;
        let mut effects = vec![];
        let entries = super::stored_entries(&reader)?;
        tracing::info!(peers = entries.len(), "restoring what was known of the network");
        state.restore(entries, &mut effects);
        state.handle(
            now,
            Input::ResourcesMeasured(own.resources(&load.borrow(), hosted.load(Ordering::Relaxed))),
            &mut effects,
        );
        let mut driver = Self {
            state,
            key,
            topic: Topic::Heartbeat.name(&network_id),
            network_id,
            saver: Saver::new(reader, writer, &own.did),
            described,
            own,
            scope,
            listeners,
            view: network.watch(),
            network,
            network_events,
            load,
            hosted,
            commands,
            events,
            service,
            questions: FuturesUnordered::new(),
            replies: HashMap::new(),
            next_request_id: 0,
            recount: true,
        };
        // Restoring only forgets; nothing is sent before the task runs.
        for effect in effects {
            if let Effect::Forget(did) = effect {
                driver.saver.forget(did);
            }
        }
        Ok(driver)
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> TaskResult {
        // The first heartbeat should say where this node may be found.
        self.network.until_listening(self.listeners).await;
        self.addresses_changed().await;
        self.dial_known().await;
        self.feed(Input::Tick).await;
        loop {
            self.saver.start();
            self.count();
            let wait = self.state.next_deadline().since(clock::now()).min(SLEEP_MAX);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => self.feed(Input::Tick).await,
                // A network that ends unasked is noticed by whoever supervises it.
                Some(event) = self.network_events.recv() => self.network_event(event).await,
                Some(command) = self.commands.recv() => self.command(command).await,
                Some(answered) = self.questions.next(), if !self.questions.is_empty() => self.answered(answered).await,
                saved = self.saver.saved() => {
                    if let Some(up_to) = saved.map_err(DriverError::from)? {
                        self.feed(Input::SequenceReserved { up_to }).await;
                    }
                }
                Ok(()) = self.load.changed() => {
                    let resources = self.own.resources(&self.load.borrow_and_update(), self.hosted.load(Ordering::Relaxed));
                    self.feed(Input::ResourcesMeasured(resources)).await;
                }
                Ok(()) = self.view.changed() => self.addresses_changed().await,
            }
        }
        self.saver.finish().await.map_err(DriverError::from)?;
        Ok(())
    }

    /// Feeds the machine, where nobody waits for its opinion.
    async fn feed(&mut self, input: Input) {
        let _refusal = self.handle(input).await;
    }

    /// Feeds the machine. A heartbeat that changed nothing was refused.
    async fn handle(&mut self, input: Input) -> Option<Refusal> {
        let mut effects = vec![];
        self.state.handle(clock::now(), input, &mut effects);
        self.perform(effects).await
    }

    /// Performs effects in their order. Answers the refusal among them, if there is one.
    async fn perform(&mut self, effects: Vec<Effect>) -> Option<Refusal> {
        let mut refused = None;
        for effect in effects {
            match effect {
                Effect::Publish(bytes) => self.publish(&bytes).await,
                Effect::ReserveSequence { up_to } => self.saver.reserve(up_to),
                Effect::Persist(entry) => self.saver.persist(entry),
                Effect::Forget(did) => self.saver.forget(did),
                Effect::Event(event) => {
                    tracing::info!(peer = %event.did, kind = event.kind.word(), "{}", describe(&event));
                    self.recount = true;
                    if matches!(event.kind, NodeEventKind::Created | NodeEventKind::Updated) {
                        self.meet(&event.did).await;
                    }
                    self.saver.event(event);
                }
                Effect::IsolationChanged { isolated } => self.isolation_changed(isolated),
                Effect::RequestRegistry { peer, request } => self.ask_registry(peer, &request),
                Effect::AnswerRegistry { request_id, page } => {
                    if let Some(reply) = self.replies.remove(&request_id) {
                        reply.send(Ok(page.to_cbor()));
                    }
                }
                Effect::FetchRecord { did, cid } => self.ask_record(did, &cid.to_string()),
                Effect::RecordVerified { did, .. } => tracing::debug!(peer = %did, "its record verifies"),
                Effect::Discovered { did, addresses } => self.discovered(&did, &addresses).await,
                Effect::Refused { did, source, refusal } => {
                    self.events.heartbeat_refused(way(&source), refusal.label());
                    tracing::debug!(peer = %did, reason = refusal.label(), "a heartbeat was refused: {refusal}");
                    refused = Some(refusal);
                }
                Effect::OwnKeySeenElsewhere { sequence } => tracing::error!(
                    sequence,
                    "a heartbeat of this node's own key came from elsewhere: is a second process using this key, or was \
                     an old copy of the data directory restored? The sequence goes on above it"
                ),
            }
        }
        refused
    }

    async fn publish(&mut self, bytes: &Arc<[u8]>) {
        match self.network.publish(&self.topic, bytes.to_vec()).await {
            Ok(network::Published::Sent(_)) => self.events.gossip_sent("heartbeat"),
            Ok(outcome) => tracing::trace!(?outcome, "a heartbeat was not sent"),
            Err(network::PublishError::Stopped) => {}
            Err(error) => tracing::warn!(%error, "a heartbeat could not be published"),
        }
    }

    /// A heartbeat whose form is right: is it news, and is it signed? Cheap checks first, unless the sender waits for
    /// the name of what is wrong: then a forgery is called one whatever its number.
    async fn receive(&mut self, opened: OpenedHeartbeat, source: Source) -> Result<(), Refusal> {
        let verified = match source {
            Source::Http => VerifiedHeartbeat::verify(opened).map_err(Refusal::from),
            Source::Gossip | Source::Registry(_) => self
                .state
                .precheck(clock::now(), opened.head())
                .and_then(|()| VerifiedHeartbeat::verify(opened).map_err(Refusal::from)),
        };
        match verified {
            Ok(heartbeat) => {
                let input = Input::HeartbeatReceived { heartbeat: Arc::new(heartbeat), source };
                self.handle(input).await.map_or(Ok(()), Err)
            }
            Err(refusal) => {
                self.events.heartbeat_refused(way(&source), refusal.label());
                Err(refusal)
            }
        }
    }

    async fn network_event(&mut self, event: network::Event) {
        use network::Event;
        match event {
            Event::Gossip(gossip) if gossip.topic == self.topic => self.gossip(gossip).await,
            Event::Gossip(gossip) => {
                self.report(&gossip, Acceptance::Ignore).await;
            }
            Event::Request(request) => self.request(request).await,
            Event::Ping { peer, rtt } => {
                if let Some(peer) = network::did_of(&peer) {
                    self.feed(Input::PingMeasured { peer, rtt_ms: millis(rtt) }).await;
                }
            }
            Event::PeerConnected { peer, .. } => {
                if let Some(did) = network::did_of(&peer) {
                    self.feed(Input::PeerConnected(did)).await;
                }
            }
            Event::PeerDisconnected { peer } => {
                if let Some(did) = network::did_of(&peer) {
                    self.feed(Input::PeerDisconnected(did)).await;
                }
            }
            // What the network finds out about connections and addresses it logs itself, and shows in its view.
            Event::PeerDirect { .. }
            | Event::HolePunched { .. }
            | Event::PeerRefused { .. }
            | Event::Reachability(_)
            | Event::Listening(_)
            | Event::ListeningEnded(_)
            | Event::ExternalAddress(_)
            | Event::ExternalAddressLost(_) => {}
        }
    }

    async fn gossip(&mut self, gossip: network::Gossip) {
        let outcome = match OpenedHeartbeat::from_cbor(&gossip.bytes, &self.network_id) {
            Ok(opened) => self.receive(opened, Source::Gossip).await,
            Err(error) => {
                self.events.heartbeat_refused(HeartbeatWay::Gossip, error.label());
                Err(error.into())
            }
        };
        let acceptance = match outcome {
            Ok(()) => {
                self.events.gossip_received("heartbeat");
                Acceptance::Accept
            }
            Err(refusal) => match refusal.verdict() {
                Verdict::Accept => Acceptance::Accept,
                Verdict::Ignore => Acceptance::Ignore,
                Verdict::Reject => Acceptance::Reject,
            },
        };
        self.report(&gossip, acceptance).await;
    }

    async fn report(&mut self, gossip: &network::Gossip, acceptance: Acceptance) {
        // A network that has stopped ends this task by its events.
        let _stopped = self.network.report(gossip.message_id.clone(), gossip.propagation_source, acceptance).await;
    }

    async fn command(&mut self, command: Command) {
        // Whoever asked may have gone; an answer that nobody waits for is no error.
        match command {
            Command::Heartbeat { opened, answer } => {
                let outcome = self.receive(*opened, Source::Http).await;
                drop(answer.send(outcome.map(|()| self.heartbeat_answer())));
            }
            Command::Nodes(answer) => drop(answer.send(self.node_list())),
            Command::Topology(answer) => drop(answer.send(self.state.topology(clock::now()))),
            Command::OwnHeartbeat(answer) => drop(answer.send(self.own_heartbeat())),
            Command::Invite { wish, answer } => drop(answer.send(self.invite(&wish))),
            Command::Declare { status, answer } => {
                self.feed(Input::StatusDeclared(status)).await;
                let _nobody_waits = answer.send(());
            }
            Command::AcceptAbsence(answer) => {
                self.feed(Input::AbsenceAccepted).await;
                let _nobody_waits = answer.send(());
            }
            Command::Remove { did, answer } => {
                let known = self.state.status_of(&did).is_some();
                self.feed(Input::NodeRemoved(did)).await;
                let _nobody_waits = answer.send(known);
            }
            Command::HealthMeasured { did, took } => {
                self.feed(Input::HealthMeasured { peer: did, response_ms: millis(took) }).await;
            }
            Command::Learned { did, addresses } => self.add_known(&did, addresses).await,
        }
    }

    fn own_heartbeat(&self) -> Option<serde_json::Value> {
        self.state.own_heartbeat().map(|heartbeat| heartbeat.to_json())
    }

    fn heartbeat_answer(&self) -> HeartbeatAnswer {
        let now = clock::now();
        let mut views = self.state.nodes(now);
        views.sort_by_key(|view| (view.status != Status::Online, std::cmp::Reverse(view.measured.last_seen)));
        let nodes = views.into_iter().take(KNOWN_NODES_MAX).map(|view| KnownNode {
            did: view.did,
            endpoint: view.declared.endpoint,
            region: view.declared.region,
            status: view.status,
            addresses: view.declared.listen_addresses,
        });
        HeartbeatAnswer {
            did: self.own.did.clone(),
            heartbeat: self.own_heartbeat(),
            nodes: nodes.collect(),
            time: now.to_string(),
        }
    }

    fn node_list(&self) -> NodeList {
        let connected = self.network.connected_peers();
        let connection = |did: &Did| {
            let peer = connected.get(&network::peer_id_of(did).ok()?)?;
            Some(if peer.relayed { Connection::Relayed } else { Connection::Direct })
        };
        let nodes = self.state.nodes(clock::now()).into_iter();
        NodeList {
            observer: self.own.did.clone(),
            isolated: self.state.is_isolated(),
            nodes: nodes.map(|view| ListedNode { connection: connection(&view.did), view }).collect(),
        }
    }

    fn invite(&self, wish: &InviteWish) -> Invite {
        let terms = InviteTerms {
            network: self.network_id.clone(),
            inviter: self.own.did.clone(),
            invitee: wish.invitee.clone(),
            uses: wish.uses.clamp(1, INVITE_USES_MAX),
            expires_at: clock::now() + wish.valid_for,
            nonce: ByteArray::new(rand::random()),
        };
        Invite::sign(&self.key, terms)
    }

    /// Our addresses follow from what the network finds out.
    async fn addresses_changed(&mut self) {
        if let Some(input) = self.describe_anew() {
            self.feed(input).await;
        }
    }

    fn describe_anew(&mut self) -> Option<Input> {
        self.view.borrow_and_update();
        let described = self.own.describe(&reachable_at(&self.network, self.scope), &self.load.borrow());
        if described.profile == self.described.profile {
            return None;
        }
        self.described = described;
        Some(Input::ProfileChanged(Box::new(self.described.profile.clone())))
    }

    /// Tells the network where the nodes of earlier runs were.
    async fn dial_known(&mut self) {
        for known in self.state.known_addresses() {
            self.discovered(&known.did, &known.addresses).await;
        }
    }

    /// Tells the network where a node may be found that is seen for the first time, or says something new of itself.
    async fn meet(&mut self, did: &Did) {
        let addresses = self.state.heartbeat_of(did).map(|heartbeat| heartbeat.body().listen_addresses.clone());
        self.discovered(did, &addresses.unwrap_or_default()).await;
    }

    async fn discovered(&mut self, did: &Did, addresses: &[Arc<str>]) {
        let addresses = addresses.iter().filter_map(|address| address.parse::<Multiaddr>().ok());
        self.add_known(did, addresses.collect()).await;
    }

    async fn add_known(&mut self, did: &Did, addresses: Vec<Multiaddr>) {
        if let Ok(peer) = network::peer_id_of(did)
            && !addresses.is_empty()
        {
            let _stopped = self.network.add_known(peer, addresses).await;
        }
    }

    fn isolation_changed(&mut self, isolated: bool) {
        self.recount = true;
        if isolated {
            tracing::warn!(
                "most of the nodes known ten minutes ago are gone: this node must assume that it is itself cut off, and \
                 takes nothing over. If they are gone for good: angel peer accept-absence"
            );
        } else {
            tracing::info!("no longer cut off");
        }
    }

    /// Brings the figures and the state of the service up to date.
    fn count(&mut self) {
        if !std::mem::take(&mut self.recount) {
            return;
        }
        let mut counts = [Status::Online, Status::Degraded, Status::Maintenance, Status::Offline].map(|s| (s, 0));
        for known in self.state.statuses() {
            counts.iter_mut().filter(|(status, _)| *status == known).for_each(|(_, count)| *count += 1);
        }
        for (status, count) in counts {
            self.events.peers_counted(status.word(), count);
        }
        self.service.set(if self.state.is_isolated() {
            ServiceState::Failing("most known nodes are gone; this one must assume that it is cut off".to_owned())
        } else if self.state.is_empty() {
            ServiceState::Off("this node knows no other".to_owned())
        } else {
            ServiceState::Ok
        });
    }
}

/// Where this node may be dialled: what it was found to be reachable at, and what it listens on as far as that counts.
fn reachable_at(network: &network::Handle, scope: network::Scope) -> Vec<Multiaddr> {
    let mut addresses = network.external_addresses();
    addresses.extend(network.listen_addresses().into_iter().filter(|address| scope.admits(address)));
    addresses
}

fn way(source: &Source) -> HeartbeatWay {
    match source {
        Source::Gossip => HeartbeatWay::Gossip,
        Source::Http => HeartbeatWay::Http,
        Source::Registry(_) => HeartbeatWay::Registry,
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
