//! A small network to try transactions on: four nodes that validate, people, an agent, a shop and a justice fund.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::crypto::{Domain, NodeKey, Signature};
use crate::ids::{Did, NetworkId};
use crate::ledger::action::*;
use crate::ledger::certificate::{Certificate, CertificateSignature, Step, VOTE, ValueHash, Vote};
use crate::ledger::genesis::{GenesisNode, GenesisWallet};
use crate::ledger::statement::{self, Statement};
use crate::ledger::*;
use crate::time::Timestamp;

/// 2026-01-01T00:00:00Z, the start of an hour and a day.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);

pub(crate) fn tokens(whole: u64) -> Amount {
    Amount::tokens(whole)
}

pub(crate) fn micro(micro: u64) -> Amount {
    Amount::new(micro).expect("small")
}

pub(crate) fn did(name: &str) -> Did {
    format!("did:plc:{name}").parse().expect("a DID")
}

pub(crate) fn key(seed: u8, number: u8) -> NodeKey {
    let mut bytes = [seed; 32];
    bytes[31] = number;
    NodeKey::from_seed(&bytes)
}

pub(crate) fn network() -> NetworkId {
    "test-dev".parse().expect("a network id")
}

/// The network with everybody's keys.
pub(crate) struct World {
    pub(crate) view: MemoryView,
    pub(crate) now: Timestamp,
    pub(crate) height: u64,
    pub(crate) header: Header,
    pub(crate) keys: BTreeMap<Did, NodeKey>,
    pub(crate) nonce: u64,
    pub(crate) last: Option<TransactionId>,
}

/// The node with this number: 0 to 3 validate.
pub(crate) fn node(number: u8) -> Did {
    key(1, number).did()
}

pub(crate) const PEOPLE: [&str; 6] = ["ada", "ben", "cleo", "dan", "eve", "fay"];

impl World {
    /// Ada, Ben and Cleo are human and live on node 0, Dan on node 1, Eve on node 2; Fay is nobody anyone vouched for.
    /// Everyone has 100 tokens. Bot is Ada's agent, the shop is a business, the fund a business with nothing.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Genesis)) -> Self {
        let mut keys = BTreeMap::new();
        let regions = [Region::UsEast, Region::UsWest, Region::Europe, Region::Asia];
        let nodes = (0..4).zip(regions).map(|(number, region)| {
            let key = key(1, number);
            let did = key.did();
            keys.insert(did.clone(), key);
            GenesisNode {
                did,
                name: format!("node-{number}").parse().expect("a name"),
                operator: did_of_operator(number),
                region,
                hosts: true,
                validator: true,
            }
        });
        let nodes = nodes.collect();
        let mut wallets = Vec::new();
        let mut add = |name: &str, holder, home: u8, grant, human| {
            let key = key(2, u8::try_from(wallets.len()).expect("few"));
            wallets.push(GenesisWallet {
                account: did(name),
                key: key.public().to_bytes(),
                holder,
                home: node(home),
                grant,
                human,
            });
            keys.insert(did(name), key);
        };
        for (name, home) in PEOPLE.into_iter().zip([0, 0, 0, 1, 2, 3]) {
            add(name, Holder::Person, home, tokens(100), name != "fay");
        }
        add("bot", Holder::Agent { owner: did("ada") }, 0, tokens(100), false);
        add("shop", Holder::Business, 1, tokens(100), false);
        add("fund", Holder::Business, 0, Amount::ZERO, false);
        let mut genesis =
            Genesis { network: network(), time: START, parameters: Parameters::new(did("fund")), nodes, wallets };
        genesis.parameters.voting_power_min = 1;
        change(&mut genesis);
        let (changes, header) = genesis.rows().expect("a valid genesis");
        let mut view = MemoryView::new();
        view.write(changes);
        Self { view, now: START, height: 0, header, keys, nonce: 0, last: None }
    }

    pub(crate) fn add_key(&mut self, account: Did, key: NodeKey) {
        self.keys.insert(account, key);
    }

    pub(crate) fn sign(&self, by: &Did, statement: &Statement) -> Signature {
        self.sign_bytes(by, statement.0, &statement.1)
    }

    pub(crate) fn sign_bytes(&self, by: &Did, domain: Domain, message: &[u8]) -> Signature {
        self.keys[by].sign(domain, message)
    }

    pub(crate) fn wallet(&self, account: &Did) -> rows::Wallet {
        rows::wallet(&self.view, account).expect("memory reads").expect("a wallet")
    }

    pub(crate) fn balance(&self, name: &str) -> u64 {
        self.wallet(&did(name)).balance.total().micro()
    }

    pub(crate) fn scoped(&self, name: &str, tenant: &str) -> u64 {
        rows::balance(&self.view, &did(name), Some(&did(tenant)))
            .expect("memory reads")
            .map_or(0, |balance| balance.total().micro())
    }

    pub(crate) fn supply(&self) -> rows::Supply {
        rows::supply(&self.view).expect("memory reads").expect("genesis")
    }

    pub(crate) fn placement(&self, tenant: &str) -> rows::Placement {
        rows::placement(&self.view, &did(tenant)).expect("memory reads").expect("placed")
    }

    pub(crate) fn receipt(&self, id: TransactionId) -> rows::Receipt {
        rows::receipt(&self.view, id).expect("memory reads").expect("a receipt")
    }

    /// An unsigned transaction that is `by`'s next.
    pub(crate) fn draft(&mut self, by: &Did, action: Action) -> Transaction {
        self.nonce += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
        let wallet = rows::wallet(&self.view, by).expect("memory reads");
        Transaction {
            network: network(),
            wallet: by.clone(),
            sequence: wallet.map_or(0, |wallet| wallet.sequence),
            nonce,
            expires: self.now + HOUR,
            action,
        }
    }

    pub(crate) fn signed(&self, transaction: &Transaction) -> Signed {
        Signed::sign(transaction, &self.keys[&transaction.wallet]).expect("within bounds")
    }

    /// Decides a batch one second later.
    pub(crate) fn decide(&mut self, transactions: Vec<Signed>) -> Applied {
        self.now = self.now + Duration::from_secs(1);
        let batch = Batch { height: self.height + 1, time: self.now, transactions };
        let applied = apply(&self.view, &batch, &Strict).expect("the next batch");
        self.height += 1;
        self.header = applied.header.clone();
        self.view.write(applied.changes.clone());
        self.check_conservation();
        applied
    }

    /// Decides one transaction.
    pub(crate) fn submit(&mut self, transaction: &Transaction) -> Outcome {
        let signed = self.signed(transaction);
        self.last = Some(signed.id());
        self.decide(vec![signed]).entries[0].outcome
    }

    /// Decides `by`'s next transaction.
    pub(crate) fn act(&mut self, by: &Did, action: Action) -> Outcome {
        let transaction = self.draft(by, action);
        self.submit(&transaction)
    }

    /// As [`World::act`], with approvals of the nodes with these numbers.
    pub(crate) fn act_approved(&mut self, by: &Did, action: Action, approvers: &[u8]) -> Outcome {
        let mut transaction = self.draft(by, action);
        let id = TransactionId::new(&transaction.wallet, &transaction.nonce);
        let approvals = self.approvals(id, &transaction.action, approvers);
        match &mut transaction.action {
            Action::SystemGrant(SystemGrant { approvals: list, .. })
            | Action::Reversal(Reversal { approvals: list, .. })
            | Action::Flag(Flag { approvals: list, .. })
            | Action::JoinValidators(JoinValidators { approvals: list, .. })
            | Action::RemoveValidator(RemoveValidator { approvals: list, .. })
            | Action::Change(ApprovedChange { approvals: list, .. }) => *list = approvals,
            _ => panic!("this kind has no approvals"),
        }
        self.submit(&transaction)
    }

    pub(crate) fn approvals(&self, id: TransactionId, action: &Action, approvers: &[u8]) -> Vec<Approval> {
        let statement = statement::approval(&network(), id, action);
        let mut approvals: Vec<_> = approvers
            .iter()
            .map(|number| Approval { validator: node(*number), signature: self.sign(&node(*number), &statement) })
            .collect();
        approvals.sort_by(|a, b| a.validator.cmp(&b.validator));
        approvals
    }

    /// Adds witnesses, and the impact that follows from them, to a transaction about a contribution.
    pub(crate) fn witness(&self, transaction: &mut Transaction, witnesses: &[(&str, Option<&str>)]) {
        let tenants: std::collections::BTreeSet<_> = witnesses.iter().filter_map(|(_, tenant)| *tenant).collect();
        let impact = (20 * witnesses.len() + 10 * tenants.len()).min(100);
        cause_of(&mut transaction.action).impact = u8::try_from(impact).expect("at most 100");
        let id = TransactionId::new(&transaction.wallet, &transaction.nonce);
        let action = transaction.action.clone();
        cause_of(&mut transaction.action).witnesses = witnesses
            .iter()
            .map(|(name, tenant)| {
                let (account, tenant) = (did(name), tenant.map(did));
                let statement = statement::witness(&network(), id, &action, &account, tenant.as_ref());
                Witness { signature: self.sign(&account, &statement), account, tenant }
            })
            .collect();
    }

    /// What the validators with these numbers make of the latest header.
    pub(crate) fn certificate(&self, signers: &[u8]) -> Certificate {
        let value = ValueHash(self.header.hash());
        let vote = Vote {
            network: network(),
            height: self.header.height,
            round: 0,
            step: Step::Precommit,
            value: Some(value),
        };
        let mut signatures: Vec<_> = signers
            .iter()
            .map(|number| CertificateSignature {
                validator: node(*number),
                signature: self.sign_bytes(&node(*number), VOTE, &vote.sign_bytes()),
            })
            .collect();
        signatures.sort_by(|a, b| a.validator.cmp(&b.validator));
        Certificate { network: network(), height: self.header.height, round: 0, value, signatures }
    }

    /// What was minted is what there is.
    pub(crate) fn check_conservation(&self) {
        let supply = self.supply();
        assert_eq!(total(&self.view) + supply.pool.micro(), supply.minted.micro(), "tokens were made or lost");
    }
}

/// Everything all wallets have.
pub(crate) fn total(view: &MemoryView) -> u64 {
    view.rows()
        .map(|(key, value)| match key[0] {
            0x10 => rows::parse::<rows::Wallet>(value).expect("a wallet").holdings(),
            0x11 => rows::parse::<rows::ScopedBalance>(value).expect("a balance").balance.total().micro(),
            _ => 0,
        })
        .sum()
}

fn did_of_operator(number: u8) -> Did {
    did(&format!("operator{number}"))
}

pub(crate) fn cause_of(action: &mut Action) -> &mut Cause {
    match action {
        Action::KarmaReward(KarmaReward { cause, .. }) | Action::PeerRecognition(PeerRecognition { cause, .. }) => {
            cause
        }
        _ => panic!("this kind has no cause"),
    }
}

pub(crate) fn cause(name: &str, at: Timestamp) -> Cause {
    Cause { uri: format!("at://did:plc:x/co.kendev.spaces.message/{name}"), at, impact: 0, witnesses: Vec::new() }
}

pub(crate) fn pay(to: &str, amount: Amount) -> Action {
    pay_did(&did(to), amount)
}

pub(crate) fn pay_did(to: &Did, amount: Amount) -> Action {
    Action::CrossTenantExchange(Exchange {
        to: to.clone(),
        from_tenant: None,
        to_tenant: None,
        amount,
        currency: parameters::Currency::AngelTokens,
        quote: None,
        reason: "for bread".into(),
    })
}

pub(crate) fn recognise(to: &str, amount: Amount, cause: Cause) -> Action {
    Action::PeerRecognition(PeerRecognition { to: did(to), tenant: None, amount, cause, reason: "thanks".into() })
}

pub(crate) fn karma_reward(to: &str, karma: u64, amount: Amount, cause: Cause) -> Action {
    Action::KarmaReward(KarmaReward { to: did(to), tenant: None, amount, karma, cause })
}

pub(crate) fn grant(to: &str, amount: Amount) -> Action {
    Action::SystemGrant(SystemGrant {
        to: did(to),
        tenant: None,
        amount,
        reason: "a start".into(),
        approvals: Vec::new(),
    })
}
