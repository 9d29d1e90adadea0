//! Three nodes that host one tenant, a ledger, and messages between them: the state in which the rules are tried out.
//! Nodes are 0, 1 and 2; 0 is primary at first. A tick is a second.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::failover::quorum::{contacts_needed, shares_needed};
use crate::failover::{Config, Effect, Hosts, Input, Lease, Poll, Promise, Suspicion, Watch};
use crate::ids::Did;
use crate::ledger::action::Observation;
use crate::time::Timestamp;

pub(super) const NODES: usize = 3;

pub(super) const CONFIG: Config =
    Config { silence: Duration::from_secs(2), promise: Duration::from_secs(5), patience: Duration::from_secs(1) };

/// What is switched off, to see that the rules are needed and the model would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Broken {
    pub(super) lease: bool,
    pub(super) promise: bool,
    pub(super) replicas: bool,
    pub(super) copies: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Message {
    /// What the primary tells a backup: its epoch, its whole log, and when it sent this.
    Page { from: usize, to: usize, epoch: u64, sent: Timestamp, log: Vec<u8> },
    /// That a backup has it.
    Confirm { from: usize, to: usize, epoch: u64, sent: Timestamp, length: usize },
    /// Asks for a signed word.
    Observe { from: usize, to: usize, epoch: u64 },
    /// A signed word: when the primary was heard, when this was said, how far the copy goes.
    Observed { from: usize, to: usize, heard: Timestamp, at: Timestamp, cursor: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) up: bool,
    pub(super) watch: Watch,
    pub(super) lease: Lease,
    pub(super) durable_promise: Option<Promise>,
    /// In which epoch its copy was last whole, and how far it went.
    pub(super) whole: Option<(u64, u64)>,
    /// The writes it holds, in order.
    pub(super) log: Vec<u8>,
    /// How far the backups' copies go, as it knows in this epoch.
    pub(super) copies: [usize; NODES],
}

/// Who said when that it had heard the primary when, and how far its copy goes.
type Said = (usize, Timestamp, Timestamp, u64);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) broken: Broken,
    /// What a primary tells and what an observer asks arrives at once or never; only what comes back may take its time.
    /// The search is smaller so, and the delays that matter are still in it: those that make a primary believe in
    /// confirmations that are old.
    pub(super) prompt: bool,
    pub(super) now: Timestamp,
    pub(super) nodes: Vec<Node>,
    pub(super) ledger: Hosts,
    /// A failover on its way to the ledger: who asks, for which epoch, with what was observed.
    pub(super) submitted: BTreeSet<(usize, u64, Vec<Said>)>,
    pub(super) messages: BTreeSet<Message>,
    /// Which node is cut off.
    pub(super) cut: Option<usize>,
    pub(super) crashes_left: u8,
    pub(super) cuts_left: u8,
    pub(super) writes: u8,
    /// Which node the identity leads to, and since which epoch.
    pub(super) identity: (usize, u64),
    /// Who accepted writes in which epoch.
    pub(super) acceptors: BTreeSet<(u64, usize)>,
    /// Writes that were answered as replicated.
    pub(super) replicated: BTreeSet<u8>,
    /// A write was accepted in an epoch that was over.
    pub(super) late: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Tick,
    Write(usize),
    Send(usize, usize),
    Deliver(Message),
    Lose(Message),
    Suspect(usize),
    Decide(usize, u64),
    Learn(usize),
    MoveIdentity(usize),
    Cut(usize),
    Heal,
    Crash(usize),
    Restart(usize),
}

pub(super) fn did(node: usize) -> Did {
    ["did:web:a.example", "did:web:b.example", "did:web:c.example"][node].parse().expect("a DID")
}

fn number(did: &Did) -> usize {
    (0..NODES).find(|node| self::did(*node) == *did).expect("one of the three")
}

impl World {
    pub(super) fn new(broken: Broken, prompt: bool) -> Self {
        let ledger = Hosts { epoch: 1, primary: did(0), standbys: vec![did(1), did(2)], vaults: vec![], witness: None };
        let now = Timestamp::EPOCH;
        let node = |node| Node {
            up: true,
            watch: Watch::new(did(node), CONFIG, ledger.clone(), None, now),
            lease: Lease::new(NODES, CONFIG.silence),
            durable_promise: None,
            whole: None,
            log: Vec::new(),
            copies: [0; NODES],
        };
        Self {
            broken,
            prompt,
            now,
            nodes: (0..NODES).map(node).collect(),
            ledger,
            submitted: BTreeSet::new(),
            messages: BTreeSet::new(),
            cut: None,
            crashes_left: 1,
            cuts_left: 1,
            writes: 0,
            identity: (0, 1),
            acceptors: BTreeSet::new(),
            replicated: BTreeSet::new(),
            late: false,
        }
    }

    fn connected(&self, a: usize, b: usize) -> bool {
        self.cut.is_none_or(|cut| (a == cut) == (b == cut))
    }

    /// Whether the node reaches the ledger: one that is cut off does not.
    fn reaches_ledger(&self, node: usize) -> bool {
        self.nodes[node].up && self.cut != Some(node)
    }

    pub(super) fn is_primary(&self, node: usize) -> bool {
        number(&self.nodes[node].watch.hosts().primary) == node
    }

    pub(super) fn may_write(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        let epoch = it.watch.hosts().epoch;
        let has_identity = epoch == 1 || self.identity == (node, epoch);
        it.up && self.is_primary(node) && has_identity && (self.broken.lease || it.lease.holds(self.now))
    }

    /// What can happen, apart from the bounds that a search sets.
    pub(super) fn steps(&self, steps: &mut Vec<Step>) {
        steps.push(Step::Tick);
        for node in 0..NODES {
            let it = &self.nodes[node];
            if !it.up {
                steps.push(Step::Restart(node));
                continue;
            }
            if self.may_write(node) {
                steps.push(Step::Write(node));
            }
            if self.is_primary(node) {
                let waits = |to: usize| {
                    self.messages.iter().any(|message| match message {
                        Message::Page { from, to: at, .. } => *from == node && *at == to,
                        Message::Confirm { from, to: at, .. } => *from == to && *at == node,
                        _ => false,
                    })
                };
                steps.extend((0..NODES).filter(|to| *to != node && !waits(*to)).map(|to| Step::Send(node, to)));
                let epoch = it.watch.hosts().epoch;
                if epoch > 1 && self.identity != (node, epoch) && self.shares_at(node, epoch) {
                    steps.push(Step::MoveIdentity(node));
                }
            } else if it.watch.next_deadline() <= self.now {
                steps.push(Step::Suspect(node));
            }
            if self.reaches_ledger(node) && it.watch.hosts().epoch < self.ledger.epoch {
                steps.push(Step::Learn(node));
            }
            if self.crashes_left > 0 {
                steps.push(Step::Crash(node));
            }
        }
        for message in &self.messages {
            let (from, to) = message.ends();
            if self.connected(from, to) && self.nodes[to].up {
                steps.push(Step::Deliver(message.clone()));
            }
            if !self.connected(from, to) || !self.nodes[to].up {
                steps.push(Step::Lose(message.clone()));
            }
        }
        steps.extend(self.submitted.iter().map(|(node, epoch, _)| Step::Decide(*node, *epoch)));
        match self.cut {
            Some(_) => steps.push(Step::Heal),
            None if self.cuts_left > 0 => steps.extend((0..NODES).map(Step::Cut)),
            None => {}
        }
    }

    /// Whether enough backups of the epoch before would release their shares to `node`: they know the decision.
    fn shares_at(&self, node: usize, epoch: u64) -> bool {
        let holds = |other: &usize| *other == node || (self.nodes[*other].up && self.connected(node, *other));
        // The shares lie with the backups of the first epoch: 1 and 2.
        let knows = |other: &usize| self.nodes[*other].watch.hosts().epoch >= epoch;
        [1, 2].iter().filter(|other| holds(other) && knows(other)).count() >= shares_needed(NODES - 1)
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Tick => self.now = self.now + Duration::from_secs(1),
            Step::Write(node) => self.write(node),
            Step::Send(from, to) => {
                let epoch = self.nodes[from].watch.hosts().epoch;
                let log = self.nodes[from].log.clone();
                self.post(Message::Page { from, to, epoch, sent: self.now, log });
            }
            Step::Deliver(message) => {
                self.messages.remove(&message);
                self.deliver(message);
            }
            Step::Lose(message) => drop(self.messages.remove(&message)),
            Step::Suspect(node) => self.suspect(node),
            Step::Decide(node, epoch) => self.decide(node, epoch),
            Step::Learn(node) => self.learn(node),
            Step::MoveIdentity(node) => self.identity = (node, self.nodes[node].watch.hosts().epoch),
            Step::Cut(node) => {
                self.cut = Some(node);
                self.cuts_left -= 1;
            }
            Step::Heal => self.cut = None,
            Step::Crash(node) => {
                self.nodes[node].up = false;
                self.crashes_left -= 1;
            }
            Step::Restart(node) => self.restart(node),
        }
    }

    fn post(&mut self, message: Message) {
        let (from, to) = message.ends();
        if !self.prompt {
            self.messages.insert(message);
        } else if self.connected(from, to) && self.nodes[to].up {
            self.deliver(message);
        }
    }

    fn write(&mut self, node: usize) {
        self.writes += 1;
        let epoch = self.nodes[node].watch.hosts().epoch;
        self.nodes[node].log.push(self.writes);
        self.acceptors.insert((epoch, node));
        self.late |= epoch < self.ledger.epoch;
    }

    fn learn(&mut self, node: usize) {
        let (now, hosts) = (self.now, self.ledger.clone());
        let it = &mut self.nodes[node];
        it.watch.handle(now, Input::Placed(hosts), &mut Vec::new());
        it.lease = Lease::new(NODES, CONFIG.silence);
        it.copies = [0; NODES];
        if self.broken.copies {
            let (epoch, cursor) = (self.ledger.epoch, it.log.len() as u64);
            it.watch.handle(now, Input::Advanced { epoch, cursor }, &mut Vec::new());
        }
    }

    /// What was not durable is gone; the log and the promise were.
    fn restart(&mut self, node: usize) {
        let now = self.now;
        let it = &mut self.nodes[node];
        it.up = true;
        it.lease = Lease::new(NODES, CONFIG.silence);
        it.copies = [0; NODES];
        it.watch = Watch::new(did(node), CONFIG, it.watch.hosts().clone(), it.durable_promise, now);
        if let Some((epoch, cursor)) = it.whole {
            it.watch.handle(now, Input::Advanced { epoch, cursor }, &mut Vec::new());
        }
    }

    fn deliver(&mut self, message: Message) {
        let now = self.now;
        match message {
            Message::Page { from, to, epoch, sent, log } => {
                let it = &mut self.nodes[to];
                let follows =
                    it.watch.may_follow(epoch, now) || (self.broken.promise && it.watch.hosts().epoch == epoch);
                if !follows || number(&it.watch.hosts().primary) != from {
                    return;
                }
                it.log = log;
                let length = it.log.len();
                let cursor = length as u64;
                it.whole = Some((epoch, cursor));
                it.watch.handle(now, Input::Advanced { epoch, cursor }, &mut Vec::new());
                it.watch.handle(now, Input::Heard, &mut Vec::new());
                self.messages.insert(Message::Confirm { from: to, to: from, epoch, sent, length });
            }
            Message::Confirm { from, to, epoch, sent, length } => {
                if self.nodes[to].watch.hosts().epoch != epoch || !self.is_primary(to) {
                    return;
                }
                let it = &mut self.nodes[to];
                it.lease.confirm(&did(from), sent);
                it.copies[from] = it.copies[from].max(length);
                let needed = if self.broken.replicas { 0 } else { contacts_needed(NODES) };
                let log = &self.nodes[to].log;
                let copies = self.nodes[to].copies;
                let safe = |place: usize| copies.iter().filter(|copy| **copy > place).count() >= needed;
                self.replicated.extend((0..log.len()).filter(|place| safe(*place)).map(|place| log[place]));
            }
            Message::Observe { from, to, epoch } => {
                let mut effects = Vec::new();
                let suspicion = self.nodes[to].watch.observe(epoch, now, &mut effects);
                self.promised(to, &effects);
                if let Some(suspicion) = suspicion {
                    let (heard, cursor) = (now - suspicion.silent_for, suspicion.cursor);
                    self.messages.insert(Message::Observed { from: to, to: from, heard, at: now, cursor });
                }
            }
            Message::Observed { from, to, heard, at, cursor } => {
                let observation = Observation { observer: did(from), heard, at, cursor, signature: [0; 64] };
                self.feed(to, Input::Observed(observation));
            }
        }
    }

    fn promised(&mut self, node: usize, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Promise(promise) = effect {
                self.nodes[node].durable_promise = Some(*promise);
            }
        }
    }

    fn suspect(&mut self, node: usize) {
        let isolated = self.cut == Some(node);
        self.feed(node, Input::Isolated(isolated));
        self.feed(node, Input::Tick);
    }

    fn feed(&mut self, node: usize, input: Input) {
        let mut effects = Vec::new();
        self.nodes[node].watch.handle(self.now, input, &mut effects);
        self.promised(node, &effects);
        for effect in effects {
            match effect {
                Effect::Poll(who) => {
                    let (other, epoch) = (number(&who), self.nodes[node].watch.hosts().epoch + 1);
                    if self.nodes[other].up && self.connected(node, other) {
                        let poll = self.nodes[other].watch.poll(epoch, self.now);
                        if matches!(poll, Poll::Silent { .. }) {
                            self.feed(node, Input::Polled(who, poll));
                        }
                    }
                }
                Effect::Promise(_) => {}
                Effect::Sign(Suspicion { silent_for, cursor, .. }) => {
                    let (heard, at) = (self.now - silent_for, self.now);
                    let own = Observation { observer: did(node), heard, at, cursor, signature: [0; 64] };
                    self.feed(node, Input::Observed(own));
                }
                Effect::Observe(who) => {
                    let epoch = self.nodes[node].watch.hosts().epoch + 1;
                    self.post(Message::Observe { from: node, to: number(&who), epoch });
                }
                Effect::Submit { epoch, observations } => {
                    let said = observations.iter().map(|it| (number(&it.observer), it.heard, it.at, it.cursor));
                    self.submitted.insert((node, epoch, said.collect()));
                }
            }
        }
    }

    /// What `ledger/kinds/failover.rs` decides, in the terms of this world.
    fn decide(&mut self, node: usize, epoch: u64) {
        let asked = self.submitted.iter().find(|(who, at, _)| *who == node && *at == epoch).cloned();
        let Some(asked) = asked else { return };
        self.submitted.remove(&asked);
        let (_, _, said) = asked;
        let current = epoch == self.ledger.epoch + 1 && self.ledger.standbys.contains(&did(node));
        let backups = said.iter().filter(|(who, ..)| self.ledger.is_backup(&did(*who))).count();
        let enough = backups * 2 > self.ledger.count();
        let fresh = said.iter().all(|(_, _, at, _)| *at + Duration::from_secs(4) >= self.now);
        let silent = said.iter().all(|(_, heard, at, _)| at.since(*heard) >= CONFIG.silence);
        let own = said.iter().find(|(who, ..)| *who == node).map_or(0, |it| it.3);
        if !current || !enough || !fresh || !silent || said.iter().any(|it| it.3 > own) {
            return;
        }
        let old = std::mem::replace(&mut self.ledger.primary, did(node));
        self.ledger.standbys.retain(|it| *it != did(node));
        self.ledger.standbys.push(old);
        self.ledger.epoch = epoch;
    }

    /// What must hold always; otherwise what is wrong.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let epochs: BTreeSet<_> = self.acceptors.iter().map(|(epoch, _)| epoch).collect();
        if epochs.len() != self.acceptors.len() {
            return Err("two nodes accepted writes in one epoch");
        }
        if self.late {
            return Err("a write was accepted in an epoch that was over");
        }
        let primary = &self.nodes[number(&self.ledger.primary)];
        if !self.replicated.iter().all(|write| primary.log.contains(write)) {
            return Err("a write that was answered as replicated is lost");
        }
        if self.identity.1 > self.ledger.epoch {
            return Err("the identity moved without a decision");
        }
        if self.identity.1 == self.ledger.epoch && self.identity.0 != number(&self.ledger.primary) {
            return Err("the identity leads to a node that is not primary");
        }
        Ok(())
    }
}

impl Message {
    const fn ends(&self) -> (usize, usize) {
        match self {
            Self::Page { from, to, .. }
            | Self::Confirm { from, to, .. }
            | Self::Observe { from, to, .. }
            | Self::Observed { from, to, .. } => (*from, *to),
        }
    }
}
