//! Random transactions, judged by the ledger and by the auditor. `ANGEL_TEST_TRANSACTIONS` sets how many,
//! `ANGEL_TEST_SEED` which ones; `scripts/soak ledger` runs a million.

mod identities;
mod network;

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::random::Random;
use super::world::*;
use crate::crypto::{Domain, NodeKey, Signature};
use crate::ids::Did;
use crate::ledger::action::*;
use crate::ledger::audit::{self, Auditor, Who};
use crate::ledger::parameters::Currency;
use crate::ledger::statement::Statement;
use crate::ledger::*;
use crate::time::Timestamp;

/// A signature anybody can make and check in a microsecond, so that a million transactions take a minute. Everything
/// else in the run is the real thing; real signatures are used by every other test, and by [`with_real_signatures`].
struct Cheap;

impl Cheap {
    fn sign(key: &[u8; 32], message: &[u8]) -> Signature {
        let half: [u8; 32] = Sha256::new().chain_update(key).chain_update(message).finalize().into();
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&half);
        signature
    }
}

impl Signatures for Cheap {
    fn holds(&self, key: &[u8; 32], _: Domain, message: &[u8], signature: &Signature) -> bool {
        *signature == Self::sign(key, message)
    }
}

struct Run {
    random: Random,
    seed: u64,
    cheap: bool,
    world: World,
    twin: MemoryView,
    names: Vec<Did>,
    nodes: Vec<Did>,
    /// Nodes that come and go.
    newcomers: Vec<Did>,
    identities: identities::Known,
    keys: BTreeMap<Did, [u8; 32]>,
    recent: Vec<Signed>,
    transfers: Vec<TransactionId>,
    seen: BTreeMap<Outcome, u64>,
    posted: BTreeMap<String, u64>,
}

impl Run {
    fn new(seed: u64, cheap: bool) -> Self {
        let mut world = World::with(|genesis| {
            // Low bounds, so that they are met.
            genesis.parameters.ceilings.karma_reward = tokens(60);
            genesis.parameters.ceilings.node_reward = tokens(60);
            genesis.parameters.ceilings.system_grant = tokens(300);
            genesis.parameters.ceilings.peer_recognition = tokens(400);
            genesis.parameters.vouches_per_node = 3;
            genesis.parameters.transactions_per_hour = 40;
            genesis.parameters.identities_per_hour = 4;
        });
        let newcomers: Vec<_> = (0..4).map(|number| network::newcomer(&mut world, number)).collect();
        let nodes: Vec<_> = (0..4).map(node).collect();
        let mut names: Vec<_> = PEOPLE.iter().map(|name| did(name)).collect();
        names.extend(["bot", "shop", "fund"].map(did));
        let public = |key: &NodeKey| key.public().to_bytes();
        let keys = world.keys.iter().map(|(did, key)| (did.clone(), public(key))).collect();
        let twin = world.view.clone();
        Self {
            random: Random::new(seed),
            seed,
            cheap,
            world,
            twin,
            names,
            nodes,
            newcomers,
            identities: identities::Known::default(),
            keys,
            recent: Vec::new(),
            transfers: Vec::new(),
            seen: BTreeMap::new(),
            posted: BTreeMap::new(),
        }
    }

    fn auditor<'s>(&self, signatures: &'s dyn Signatures) -> Auditor<'s> {
        let parameters = rows::parameters(&self.world.view).expect("memory reads").expect("genesis");
        let mut auditor = Auditor::new(network(), parameters, signatures);
        auditor.validators = self.nodes.iter().cloned().collect();
        for node in &self.nodes {
            auditor.open(node.clone(), Who::Node, node.clone(), self.keys[node], 0, false);
            let row = rows::node(&self.world.view, node).expect("memory reads").expect("genesis");
            let rows::Node { name, operator, region, hosts, since, .. } = row;
            auditor.nodes.insert(node.clone(), audit::Node { name, operator, region, hosts, since, here: true });
        }
        for did in &self.names {
            let wallet = self.world.wallet(did);
            let who = match wallet.kind {
                rows::Kind::Person => Who::Person,
                rows::Kind::Business => Who::Business,
                rows::Kind::Agent(owner) => Who::Agent(owner),
                rows::Kind::Node => Who::Node,
            };
            let grant = wallet.balance.total().micro();
            auditor.open(did.clone(), who, wallet.home, wallet.key, grant, wallet.vouched_by_home);
        }
        auditor
    }

    fn sign(&mut self, by: &Did, statement: &Statement) -> Signature {
        let mut signature = if self.cheap {
            self.keys.get(by).map_or([0; 64], |key| Cheap::sign(key, &statement.1))
        } else {
            self.world.keys.get(by).map_or([0; 64], |key| key.sign(statement.0, &statement.1))
        };
        if self.random.one_in(60) {
            signature[0] ^= 1;
        }
        signature
    }

    fn anybody(&mut self) -> Did {
        if self.random.one_in(40) {
            return did("nobody");
        }
        if self.random.one_in(10) { self.node() } else { self.random.pick(&self.names).clone() }
    }

    /// Mostly one of those that are always here.
    fn node(&mut self) -> Did {
        let among = if self.random.one_in(4) { &self.newcomers } else { &self.nodes };
        self.random.pick(among).clone()
    }

    fn person(&mut self) -> Did {
        if self.random.one_in(8) { self.anybody() } else { did(PEOPLE[self.random.below(PEOPLE.len())]) }
    }

    fn scope(&mut self) -> Option<Did> {
        if self.random.one_in(4) { Some(did("shop")) } else { None }
    }

    fn amount(&mut self) -> Amount {
        micro(match self.random.below(12) {
            0 => 0,
            1 => self.random.next() % 200_000_000,
            2 => 1,
            _ => self.random.next() % 8_000_000,
        })
    }

    fn near(&mut self, now: Timestamp, spread: u64) -> Timestamp {
        now - Duration::from_millis(self.random.next() % spread)
            + Duration::from_millis(if self.random.one_in(20) { spread } else { 0 })
    }

    fn cause(&mut self, now: Timestamp) -> Cause {
        let name = self.random.below(4000).to_string();
        let spread = if self.random.one_in(30) { 40 * 86_400_000 } else { 86_400_000 };
        cause(&name, self.near(now, spread))
    }

    fn quote(&mut self, now: Timestamp, currency: Currency) -> Quote {
        let issued = self.near(now, 50_000);
        let mut quote = Quote {
            node: if self.random.one_in(20) { did("ada") } else { self.random.pick(&self.nodes).clone() },
            issued,
            expires: issued + Duration::from_secs(if self.random.one_in(15) { 61 } else { 60 }),
            rate: if self.random.one_in(15) {
                7
            } else if currency == Currency::AngelTokens {
                1_000_000
            } else {
                10_000
            },
            fee: if self.random.one_in(20) { 9 } else { 10 },
            signature: [0; 64],
        };
        let node = quote.node.clone();
        quote.signature = self.sign(&node, &statement::quote(&network(), currency, &quote));
        quote
    }

    /// An action and who should sign it.
    fn action(&mut self, now: Timestamp) -> (Did, Action) {
        let home = |run: &Self, did: &Did| rows::wallet(&run.world.view, did).expect("reads").map(|it| it.home);
        let mut validator = self.random.pick(&self.nodes).clone();
        if self.random.one_in(25) {
            validator = self.anybody();
        }
        match self.random.below(30) {
            0..8 => {
                let currency = match self.random.below(12) {
                    0 => Currency::Usd,
                    1..4 => Currency::KarmaPoints,
                    _ => Currency::AngelTokens,
                };
                let wanted = currency != Currency::AngelTokens || self.random.one_in(10);
                let quote = (wanted && !self.random.one_in(12)).then(|| self.quote(now, currency));
                let amount = self.amount();
                let scale = if currency == Currency::KarmaPoints { 100 } else { 1 };
                let it = Exchange {
                    to: self.anybody(),
                    from_tenant: self.scope(),
                    to_tenant: self.scope(),
                    amount: micro(amount.micro() * scale),
                    currency,
                    quote,
                    reason: String::new(),
                };
                (self.anybody(), Action::CrossTenantExchange(it))
            }
            8..11 => {
                let (to, by) = (self.person(), self.person());
                let (tenant, amount, cause) = (self.scope(), self.amount(), self.cause(now));
                let it = PeerRecognition { to, tenant, amount, cause, reason: String::new() };
                (by, Action::PeerRecognition(it))
            }
            11..13 => {
                let to = self.person();
                let known = rows::wallet(&self.world.view, &to).expect("reads");
                let before = known.map_or(0, |wallet| wallet.karma);
                let karma = before + self.random.next() % 350;
                let earned = tokens(karma / 100 - before / 100);
                let amount = if self.random.one_in(8) { self.amount() } else { earned };
                let by = home(self, &to).filter(|_| !self.random.one_in(10)).unwrap_or(validator);
                let (tenant, cause) = (self.scope(), self.cause(now));
                (by, Action::KarmaReward(KarmaReward { to, tenant, amount, karma, cause }))
            }
            13 => {
                let to = if self.random.one_in(10) { self.anybody() } else { self.random.pick(&self.nodes).clone() };
                let today = now.as_millis() / 86_400_000;
                let day = (today + 1).saturating_sub(self.random.next() % 35);
                let amount = self.amount();
                (validator, Action::NodeReward(NodeReward { to, amount, day }))
            }
            14 => {
                let it = |to, amount| Action::JusticeFund(JusticeFund { to, amount, reason: String::new() });
                let amount = self.amount();
                match self.random.below(3) {
                    0 => (did("fund"), it(self.anybody(), amount)),
                    1 => (self.anybody(), it(self.anybody(), amount)),
                    _ => (self.anybody(), it(did("fund"), amount)),
                }
            }
            15 => {
                let (to, tenant, amount) = (self.anybody(), self.scope(), self.amount());
                let it = SystemGrant { to, tenant, amount, reason: String::new(), approvals: Vec::new() };
                (validator, Action::SystemGrant(it))
            }
            16..18 if !self.transfers.is_empty() => {
                let reverses = self.random.pick(&self.transfers).0;
                let receipt = rows::receipt(&self.world.view, TransactionId(reverses)).expect("reads");
                let receiver = receipt.and_then(|receipt| receipt.moved).map(|moved| moved.to);
                let by = receiver.filter(|_| self.random.one_in(2)).unwrap_or(validator);
                (by, Action::Reversal(Reversal { reverses, reason: String::new(), approvals: Vec::new() }))
            }
            18 => (self.anybody(), Action::Stake(Stake { amount: self.amount() })),
            19 => (self.anybody(), Action::Unstake(Stake { amount: self.amount() })),
            20 => {
                let person = self.person();
                let by = if self.random.one_in(2) { self.person() } else { home(self, &person).unwrap_or(validator) };
                let it = Vouch { person };
                (by, if self.random.one_in(4) { Action::WithdrawVouch(it) } else { Action::Vouch(it) })
            }
            21 => {
                let account = self.anybody();
                let by = if self.random.one_in(2) { validator } else { home(self, &account).unwrap_or(validator) };
                let anomaly = *self.random.pick(&[Anomaly::CircularTransfers, Anomaly::ReciprocalRecognition]);
                let raised = self.random.one_in(4);
                let it = Flag { account, anomaly, raised, reason: String::new(), approvals: Vec::new() };
                (by, Action::Flag(it))
            }
            22..24 => self.node_action(now),
            _ => self.placement_action(now),
        }
    }

    fn transaction(&mut self, now: Timestamp, next: impl Fn(&Did) -> u64) -> Signed {
        if !self.recent.is_empty() && self.random.one_in(50) {
            return self.random.pick(&self.recent).clone();
        }
        if self.random.one_in(25) {
            return self.operation();
        }
        let (by, action) = self.action(now);
        let mut transaction = self.world.draft(&by, action);
        transaction.sequence = match self.random.below(50) {
            0 => next(&by) + 1,
            1 => next(&by).saturating_sub(1),
            _ => next(&by),
        };
        transaction.expires = match self.random.below(60) {
            0 => now - Duration::from_millis(1),
            1 => now + Duration::from_hours(26),
            _ => now + HOUR,
        };
        if self.random.one_in(60)
            && let Some(other) = self.recent.iter().rev().find(|other| other.transaction().wallet == by)
        {
            transaction.nonce = other.transaction().nonce;
        }
        if self.random.one_in(100) {
            transaction.network = "other-dev".parse().expect("a name");
        }
        self.add_statements(&mut transaction);
        let key = self.keys.get(&by).copied().unwrap_or_default();
        let forged = self.random.one_in(60);
        let flip = |mut signature: Signature| {
            signature[1] ^= u8::from(forged);
            signature
        };
        let sign = |body: &[u8]| match self.world.keys.get(&by) {
            Some(real) if !self.cheap => flip(real.sign(transaction::TRANSACTION, body)),
            _ => flip(Cheap::sign(&key, body)),
        };
        let signed = Signed::sign_with(&transaction, sign).expect("within bounds");
        if self.recent.len() < 200 {
            self.recent.push(signed.clone());
        } else {
            let place = self.random.below(200);
            self.recent[place] = signed.clone();
        }
        signed
    }

    /// Approvals and witnesses, mostly good ones.
    fn add_statements(&mut self, transaction: &mut Transaction) {
        let id = TransactionId::new(&transaction.wallet, &transaction.nonce);
        let bare = transaction.action.clone();
        let wants_approval = matches!(bare, Action::SystemGrant(_))
            || (matches!(bare, Action::Reversal(_) | Action::Flag(_))
                && self.nodes.contains(&transaction.wallet)
                && self.random.one_in(2));
        if wants_approval {
            let count = if self.random.one_in(8) { 2 } else { 3 };
            let mut signers: Vec<_> = self.nodes.iter().take(count).cloned().collect();
            if self.random.one_in(15) {
                signers[0] = did("ada");
            }
            signers.sort();
            if self.random.one_in(20) {
                signers.reverse();
            }
            let what = statement::approval(&network(), id, &bare);
            let list = signers
                .into_iter()
                .map(|validator| Approval { signature: self.sign(&validator, &what), validator })
                .collect();
            match &mut transaction.action {
                Action::SystemGrant(SystemGrant { approvals, .. })
                | Action::Reversal(Reversal { approvals, .. })
                | Action::Flag(Flag { approvals, .. }) => *approvals = list,
                _ => unreachable!("only these want approval"),
            }
        }
        if let Action::PeerRecognition(_) | Action::KarmaReward(_) = bare {
            let count = self.random.below(4);
            let people: Vec<_> = (0..count).map(|_| (self.person(), self.scope())).collect();
            let distinct: std::collections::BTreeSet<_> = people.iter().map(|(did, _)| did).collect();
            let tenants = usize::from(people.iter().any(|(_, tenant)| tenant.is_some()));
            let impact = 20 * distinct.len() + 10 * tenants + usize::from(self.random.one_in(30));
            cause_of(&mut transaction.action).impact = u8::try_from(impact).expect("small");
            let bare = transaction.action.clone();
            let witnesses = people
                .into_iter()
                .map(|(account, tenant)| {
                    let what = statement::witness(&network(), id, &bare, &account, tenant.as_ref());
                    Witness { signature: self.sign(&account, &what), account, tenant }
                })
                .collect();
            cause_of(&mut transaction.action).witnesses = witnesses;
        }
    }

    fn step(&mut self, auditor: &mut Auditor<'_>, signatures: &dyn Signatures) -> usize {
        let pause = match self.random.below(40) {
            0 => 86_400_000 * *self.random.pick(&[1, 1, 4]),
            1..4 => self.random.next() % 7_200_000,
            _ => self.random.next() % 60_000,
        };
        self.world.now = self.world.now + Duration::from_millis(1 + pause);
        let now = self.world.now;
        let mut expected = Vec::new();
        let mut transactions = Vec::new();
        for _ in 0..1 + self.random.below(60) {
            let signed = self.transaction(now, |did| auditor.accounts.get(did).map_or(0, |account| account.next));
            expected.push(auditor.expect(&signed, now.as_millis()));
            transactions.push(signed);
        }
        let count = transactions.len();
        let batch = Batch { height: self.world.height + 1, time: now, transactions };
        let applied = apply(&self.world.view, &batch, signatures).expect("the next batch");
        for (index, (entry, expected)) in applied.entries.iter().zip(&expected).enumerate() {
            let signed = &batch.transactions[index];
            assert_eq!(
                entry.outcome, *expected,
                "seed {}, height {}, transaction {index}: the ledger on the left, the auditor on the right: {signed:?}",
                self.seed, batch.height
            );
            *self.seen.entry(entry.outcome).or_default() += 1;
            if entry.outcome.is_posted() {
                let action = format!("{:?}", signed.transaction().action);
                let kind = action.split_once('(').map_or(action.as_str(), |(kind, _)| kind).to_owned();
                *self.posted.entry(kind).or_default() += 1;
            }
            let moves = entry.outcome.is_posted() && !matches!(signed.transaction().action, Action::Reversal(_));
            if moves && self.transfers.len() < 5000 {
                self.transfers.push(entry.id);
            }
        }
        // A copy fed the same ends with the same bytes.
        let again = apply(&self.twin, &batch, signatures).expect("the next batch");
        assert_eq!(again, applied, "seed {}", self.seed);
        self.twin.write(again.changes);
        self.world.view.write(applied.changes);
        self.world.height += 1;
        count
    }

    fn compare(&self, auditor: &Auditor<'_>) {
        let seed = self.seed;
        let supply = self.world.supply();
        assert_eq!((supply.minted.micro(), supply.pool.micro()), (auditor.minted, auditor.pool), "seed {seed}");
        assert_eq!(auditor.everything(), auditor.minted, "seed {seed}");
        self.world.check_conservation();
        for (did, scope) in auditor.scopes() {
            let balance = rows::balance(&self.world.view, &did, scope.as_ref()).expect("reads").unwrap_or_default();
            for token in TokenType::ALL {
                let part = balance.parts.get(token).micro();
                assert_eq!(part, auditor.part(&did, &scope, token), "seed {seed}: {did} {scope:?} {token:?}");
            }
        }
        for (did, account) in &auditor.accounts {
            let wallet = self.world.wallet(did);
            assert_eq!(wallet.sequence, account.next, "seed {seed}: {did}");
            assert_eq!(wallet.staked.total().micro(), auditor.staked(did), "seed {seed}: {did}");
        }
        self.compare_network(auditor);
        self.compare_identities(auditor);
        let head = rows::head(&self.world.view).expect("reads").expect("genesis");
        assert_eq!(head.posted, auditor.posted, "seed {seed}");
        assert_eq!(self.twin, self.world.view, "seed {seed}: two copies fed alike stay alike");
    }
}

/// Transactions by outcome, and those that took effect by kind.
type Tally = (BTreeMap<Outcome, u64>, BTreeMap<String, u64>);

fn run(count: usize, cheap: bool) -> Tally {
    let seed = Random::seed_from_env();
    let signatures: &dyn Signatures = if cheap { &Cheap } else { &Strict };
    let (mut seen, mut posted) = Tally::default();
    let mut done = 0;
    // A new network every so often keeps the slow one fast.
    for part in 0.. {
        let mut run = Run::new(seed.wrapping_add(part), cheap);
        let mut auditor = run.auditor(signatures);
        let until = (done + 20_000).min(count);
        while done < until {
            done += run.step(&mut auditor, signatures);
        }
        run.compare(&auditor);
        for (outcome, count) in run.seen {
            *seen.entry(outcome).or_default() += count;
        }
        for (kind, count) in run.posted {
            *posted.entry(kind).or_default() += count;
        }
        if done >= count {
            break;
        }
    }
    (seen, posted)
}

#[test]
fn the_auditor_foresees_every_outcome_and_balance() {
    let count = std::env::var("ANGEL_TEST_TRANSACTIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let (seen, posted) = run(count, true);
    for (outcome, count) in &seen {
        println!("{count:>8} {outcome:?}");
    }
    println!("posted, by kind:");
    for (kind, count) in &posted {
        println!("{count:>8} {kind}");
    }
    // The run is worth something only if it reaches most outcomes and posts a good part.
    let total: u64 = seen.values().sum();
    assert!(seen[&Outcome::Posted] * 5 > total, "too few transactions are good: {seen:?}");
    assert!(seen.len() >= 75, "too few outcomes are reached: {seen:?}");
    for kind in
        ["ChangeIdentity", "RegisterNode", "RetireNode", "PlaceTenant", "Migrate", "RollBack", "Failover", "Claim"]
    {
        assert!(posted.contains_key(kind), "no {kind} took effect: {posted:?}");
    }
}

#[test]
fn with_real_signatures() {
    run(1500, false);
}
