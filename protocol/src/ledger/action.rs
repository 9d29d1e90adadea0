//! What a transaction can ask for. One variant per kind; how each is judged is in the file of its kind.

use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::certificate::Vote;
use super::parameters::{Currency, Parameters, Rate};
use super::transaction::{InvalidTransaction, Transaction};
use crate::crypto::Signature;
use crate::ids::{Did, NodeName};
use crate::limits::{
    BACKUPS_MAX, LEDGER_DID_BYTES_MAX, LEDGER_TEXT_BYTES_MAX, LEDGER_URI_BYTES_MAX, VALIDATORS_MAX, WITNESSES_MAX,
};
use crate::time::Timestamp;

/// What a transaction asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// A home node pays a person for karma gained (TOK-04).
    KarmaReward(KarmaReward),
    /// A person recognises another (KAR-02).
    PeerRecognition(PeerRecognition),
    /// Pays across tenants, nodes or scopes (TOK-07).
    CrossTenantExchange(Exchange),
    /// A validator pays a node for a day's work.
    NodeReward(NodeReward),
    /// Pays into the justice fund or out of it.
    JusticeFund(JusticeFund),
    /// The operators together grant tokens.
    SystemGrant(SystemGrant),
    /// Undoes a posted transfer (`network.md` 7.6).
    Reversal(Reversal),
    /// Locks tokens for voting power (TOK-12).
    Stake(Stake),
    /// Unlocks staked tokens; they are free after the notice period.
    Unstake(Stake),
    /// Gives one's voting power to another, or takes it back.
    Delegate(Delegate),
    /// Puts a question to the vote.
    Propose(Propose),
    /// Votes on a proposal.
    Vote(CastVote),
    /// Counts a proposal whose time is over and carries it out when it passed.
    Close(Close),
    /// Opens the wallet of an account.
    RegisterWallet(RegisterWallet),
    /// Replaces the wallet's key.
    RotateKey(RotateKey),
    /// Moves the wallet to another home node.
    MoveHome(MoveHome),
    /// Confirms that a person is human (TOK-05).
    Vouch(Vouch),
    /// Takes that confirmation back.
    WithdrawVouch(Vouch),
    /// Marks a wallet as suspicious, or clears the mark (TOK-13).
    Flag(Flag),
    /// Registers the signing node, or renews what it says about itself.
    RegisterNode(RegisterNode),
    /// Takes the signing node off the network.
    RetireNode,
    /// Places a tenant for the first time.
    PlaceTenant(PlaceTenant),
    /// Changes a tenant's backups.
    ChangeHosts(ChangeHosts),
    /// Moves a tenant from its living primary to another node.
    Migrate(Migrate),
    /// Undoes a migration within its grace.
    RollBack(RollBack),
    /// Takes a tenant over from a silent primary.
    Failover(Failover),
    /// The signing node becomes a validator.
    JoinValidators(JoinValidators),
    /// The signing node stops being a validator.
    LeaveValidators(LeaveValidators),
    /// The others remove a validator.
    RemoveValidator(RemoveValidator),
    /// Shows two votes of one validator that contradict each other.
    ReportDoubleVote(ReportDoubleVote),
    /// The validators change rates or parameters.
    Change(ApprovedChange),
}

/// See [`Action::KarmaReward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KarmaReward {
    /// The person.
    pub to: Did,
    /// The tenant inside which it was earned.
    pub tenant: Option<Did>,
    /// What the policy gives for the karma gained; stated, so that the signer says what he means.
    pub amount: Amount,
    /// The person's karma now.
    pub karma: u64,
    /// What is rewarded, and who saw it.
    pub cause: Cause,
}

/// The content, campaign or event that a reward is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cause {
    /// Its at-uri.
    pub uri: String,
    /// When it came about.
    pub at: Timestamp,
    /// Impact score, 0 to 100: follows from the witnesses (TOK-06).
    pub impact: u8,
    /// Those who confirm it.
    pub witnesses: Vec<Witness>,
}

/// One person's confirmation of a contribution (`network.md` 7.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Witness {
    /// The person.
    pub account: Did,
    /// The tenant the person speaks from.
    pub tenant: Option<Did>,
    /// The person's wallet key, over [`super::statement::witness`].
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// See [`Action::PeerRecognition`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerRecognition {
    /// The person recognised.
    pub to: Did,
    /// The tenant inside which both balances are.
    pub tenant: Option<Did>,
    /// What is given.
    pub amount: Amount,
    /// What is recognised.
    pub cause: Cause,
    /// In the giver's words.
    pub reason: String,
}

/// See [`Action::CrossTenantExchange`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exchange {
    /// Who receives.
    pub to: Did,
    /// The payer's scope.
    pub from_tenant: Option<Did>,
    /// The receiver's scope.
    pub to_tenant: Option<Did>,
    /// Millionths of the unit of `currency`.
    pub amount: Amount,
    /// What `amount` is counted in. What moves is always tokens.
    pub currency: Currency,
    /// The rate that the payer was promised; needed for every currency but tokens.
    pub quote: Option<Quote>,
    /// In the payer's words.
    pub reason: String,
}

/// A node's promise of a rate (`network.md` 6.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quote {
    /// Who promises.
    pub node: Did,
    /// Since when.
    pub issued: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// Micro-tokens for one unit of the currency.
    pub rate: u64,
    /// Fee across nodes, basis points.
    pub fee: u16,
    /// The node's key, over [`super::statement::quote`].
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// See [`Action::NodeReward`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeReward {
    /// The node.
    pub to: Did,
    /// What it gets.
    pub amount: Amount,
    /// The day it worked: whole days since 1970. Each day is paid once.
    pub day: u64,
}

/// See [`Action::JusticeFund`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JusticeFund {
    /// The fund, or whom the fund helps.
    pub to: Did,
    /// What is given.
    pub amount: Amount,
    /// In the giver's words.
    pub reason: String,
}

/// See [`Action::SystemGrant`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemGrant {
    /// Who receives.
    pub to: Did,
    /// The receiver's scope.
    pub tenant: Option<Did>,
    /// What is granted.
    pub amount: Amount,
    /// Why.
    pub reason: String,
    /// A quorum of validators.
    pub approvals: Vec<Approval>,
}

/// A validator's consent to one transaction, over [`super::statement::approval`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// The validator.
    pub validator: Did,
    /// Its node key's signature.
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// See [`Action::Reversal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reversal {
    /// The transfer to undo.
    #[serde(with = "serde_bytes")]
    pub reverses: [u8; 32],
    /// Why.
    pub reason: String,
    /// Empty when the receiver of the transfer signs; a quorum of validators when fraud was proven.
    pub approvals: Vec<Approval>,
}

/// See [`Action::Stake`] and [`Action::Unstake`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stake {
    /// How much.
    pub amount: Amount,
}

/// See [`Action::Delegate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delegate {
    /// Whom; nobody takes the power back.
    pub to: Option<Did>,
}

/// See [`Action::Propose`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Propose {
    /// What it is about.
    pub title: String,
    /// When voting ends.
    pub ends: Timestamp,
    /// What happens when it passes; nothing for a question of opinion.
    pub change: Option<Change>,
}

/// A change of what the whole network agrees on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Change {
    /// One currency's rate, from a time on; no rate makes the currency unavailable.
    Rate(RateChange),
    /// All parameters.
    Parameters(Box<Parameters>),
}

/// See [`Change::Rate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateChange {
    /// Which currency.
    pub currency: Currency,
    /// Its new rate.
    pub rate: Option<Rate>,
}

/// See [`Action::Vote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CastVote {
    /// Id of the transaction that proposed.
    #[serde(with = "serde_bytes")]
    pub proposal: [u8; 32],
    /// For or against.
    pub in_favour: bool,
}

/// See [`Action::Close`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Close {
    /// Id of the transaction that proposed.
    #[serde(with = "serde_bytes")]
    pub proposal: [u8; 32],
}

/// What kind of account a wallet belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Holder {
    /// A human being, as far as it says itself.
    Person,
    /// A tenant.
    Business,
    /// Software that acts for somebody.
    Agent {
        /// Who answers for it.
        owner: Did,
    },
}

/// See [`Action::RegisterWallet`]. Signed with the wallet key itself, at sequence 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterWallet {
    /// The wallet's Ed25519 key.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// Whose it is.
    pub holder: Holder,
    /// The node that hosts the account.
    pub home: Did,
    /// The home node's word that this key is the account's, over [`super::statement::binding`].
    #[serde(with = "serde_bytes")]
    pub binding: Signature,
}

/// See [`Action::RotateKey`]. Signed with the old key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateKey {
    /// The new key.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// The new key's consent, over [`super::statement::possession`].
    #[serde(with = "serde_bytes")]
    pub possession: Signature,
}

/// See [`Action::MoveHome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveHome {
    /// The new home node.
    pub home: Did,
}

/// See [`Action::Vouch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vouch {
    /// The person.
    pub person: Did,
}

/// A sign of fraud (TOK-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anomaly {
    /// Two transactions signed for one sequence.
    DoubleSpendAttempt,
    /// A decided transaction sent again.
    Replay,
    /// More than the hourly number of transfers.
    Velocity,
    /// Value that comes back to its sender.
    CircularTransfers,
    /// Two people who recognise each other alone.
    ReciprocalRecognition,
    /// A balance that does not follow from its transactions.
    BalanceMismatch,
}

/// See [`Action::Flag`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flag {
    /// Whose wallet.
    pub account: Did,
    /// What was seen.
    pub anomaly: Anomaly,
    /// Raised, or cleared.
    pub raised: bool,
    /// Why.
    pub reason: String,
    /// Empty when the home node signs; otherwise a quorum of validators.
    pub approvals: Vec<Approval>,
}

/// Where a node stands (`records.md` 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Region {
    /// North America, east.
    UsEast,
    /// North America, west.
    UsWest,
    /// Europe.
    Europe,
    /// Asia.
    Asia,
    /// Australia.
    Australia,
}

/// See [`Action::RegisterNode`]. The wallet is the node's own DID; its key is that `did:key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterNode {
    /// Its unique name.
    pub name: NodeName,
    /// The account that runs it.
    pub operator: Did,
    /// Where it stands.
    pub region: Region,
    /// Whether it takes tenants (`tenant_hosting`).
    pub hosts: bool,
    /// Whether it may become a validator (`blockchain_services`).
    pub validates: bool,
    /// A member's word, where the network asks for one.
    pub invitation: Option<Invitation>,
}

/// A member node's invitation, over [`super::statement::invitation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invitation {
    /// The member.
    pub node: Did,
    /// Until when it counts.
    pub expires: Timestamp,
    /// The member's signature.
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// How a tenant is spread (`network.md` 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// No backups.
    SingleNode,
    /// At least two backups.
    MultiNodeReplica,
    /// At least two backups in at least two regions.
    GeoDistributed,
    /// At least one backup.
    LoadBalanced,
}

/// Where a tenant's data may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, borsh::BorshSerialize, borsh::BorshDeserialize)]
#[serde(rename_all = "snake_case")]
pub enum Residency {
    /// us-east and us-west.
    Us,
    /// europe.
    Eu,
    /// asia.
    Asia,
    /// Anywhere.
    Global,
}

/// The nodes that back a tenant up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backups {
    /// May take over.
    pub standbys: Vec<Did>,
    /// Hold ciphertext only.
    pub vaults: Vec<Did>,
    /// Speaks instead of a majority where the tenant has exactly two hosting nodes.
    pub witness: Option<Did>,
}

/// See [`Action::PlaceTenant`]. Signed by the tenant's own wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceTenant {
    /// The first primary.
    pub primary: Did,
    /// Its backups.
    pub backups: Backups,
    /// How it is spread.
    pub strategy: Strategy,
    /// Where it may lie.
    pub residency: Residency,
    /// The primary's consent, over [`super::statement::hosting`].
    #[serde(with = "serde_bytes")]
    pub accepted: Signature,
}

/// See [`Action::ChangeHosts`]. Signed by the primary or the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeHosts {
    /// The tenant.
    pub tenant: Did,
    /// The current epoch.
    pub epoch: u64,
    /// The new backups.
    pub backups: Backups,
}

/// See [`Action::Migrate`]. Signed by the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migrate {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that begins: the current one and one.
    pub epoch: u64,
    /// The new primary.
    pub to: Did,
    /// Its consent, over [`super::statement::hosting`].
    #[serde(with = "serde_bytes")]
    pub accepted: Signature,
}

/// See [`Action::RollBack`]. Signed by the tenant, or by either node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollBack {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that begins: the current one and one.
    pub epoch: u64,
}

/// See [`Action::Failover`]. Signed by the standby that takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failover {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that begins: the current one and one.
    pub epoch: u64,
    /// What the hosting nodes saw, the standby's own observation among them.
    pub observations: Vec<Observation>,
}

/// One observer's word that the primary is silent, over [`super::statement::silence`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    /// Who saw: a hosting node, the witness, or the tenant's owner.
    pub observer: Did,
    /// When the primary was last heard.
    pub heard: Timestamp,
    /// When the observer said so.
    pub at: Timestamp,
    /// How far the observer's copy goes: the primary's event number. An owner or witness says 0.
    pub cursor: u64,
    /// The observer's key.
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// See [`Action::JoinValidators`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinValidators {
    /// The first height it decides.
    pub at: u64,
    /// A quorum of the validators.
    pub approvals: Vec<Approval>,
}

/// See [`Action::LeaveValidators`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaveValidators {
    /// The first height it does not decide.
    pub at: u64,
}

/// See [`Action::RemoveValidator`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveValidator {
    /// Whom.
    pub validator: Did,
    /// The first height it does not decide.
    pub at: u64,
    /// Why.
    pub reason: String,
    /// A quorum of the validators.
    pub approvals: Vec<Approval>,
}

/// See [`Action::ReportDoubleVote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportDoubleVote {
    /// Whose votes.
    pub validator: Did,
    /// One vote.
    pub first: SignedVote,
    /// Another of the same height, round and step, for something else.
    pub second: SignedVote,
}

/// A consensus vote with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedVote {
    /// The vote.
    pub vote: Vote,
    /// The validator's signature, over [`Vote::sign_bytes`].
    #[serde(with = "serde_bytes")]
    pub signature: Signature,
}

/// See [`Action::Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovedChange {
    /// What changes.
    pub change: Change,
    /// A quorum of the validators.
    pub approvals: Vec<Approval>,
}

impl Action {
    /// The approvals it carries, none for most kinds.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match self {
            Self::SystemGrant(SystemGrant { approvals, .. })
            | Self::Reversal(Reversal { approvals, .. })
            | Self::Flag(Flag { approvals, .. })
            | Self::JoinValidators(JoinValidators { approvals, .. })
            | Self::RemoveValidator(RemoveValidator { approvals, .. })
            | Self::Change(ApprovedChange { approvals, .. }) => approvals,
            _ => &[],
        }
    }

    /// The same without approvals and witnesses: what approvals and witnesses sign.
    #[must_use]
    pub fn bare(&self) -> Self {
        let mut bare = self.clone();
        match &mut bare {
            Self::SystemGrant(SystemGrant { approvals, .. })
            | Self::Reversal(Reversal { approvals, .. })
            | Self::Flag(Flag { approvals, .. })
            | Self::JoinValidators(JoinValidators { approvals, .. })
            | Self::RemoveValidator(RemoveValidator { approvals, .. })
            | Self::Change(ApprovedChange { approvals, .. }) => approvals.clear(),
            Self::KarmaReward(KarmaReward { cause, .. }) | Self::PeerRecognition(PeerRecognition { cause, .. }) => {
                cause.witnesses.clear();
            }
            _ => {}
        }
        bare
    }

    /// Whether the network's own running depends on it: placement, nodes and validators. Such transactions have
    /// room of their own where transactions wait.
    #[must_use]
    pub const fn is_operational(&self) -> bool {
        matches!(
            self,
            Self::RegisterNode(_)
                | Self::RetireNode
                | Self::PlaceTenant(_)
                | Self::ChangeHosts(_)
                | Self::Migrate(_)
                | Self::RollBack(_)
                | Self::Failover(_)
                | Self::JoinValidators(_)
                | Self::LeaveValidators(_)
                | Self::RemoveValidator(_)
                | Self::ReportDoubleVote(_)
                | Self::Change(_)
        )
    }
}

type Bounded = Result<(), InvalidTransaction>;

fn did(did: &Did) -> Bounded {
    if did.as_str().len() > LEDGER_DID_BYTES_MAX { Err(InvalidTransaction::Bound("a DID")) } else { Ok(()) }
}

fn text(text: &str) -> Bounded {
    if text.len() > LEDGER_TEXT_BYTES_MAX { Err(InvalidTransaction::Bound("a text")) } else { Ok(()) }
}

fn list<T>(list: &[T], max: usize, name: &'static str, each: impl Fn(&T) -> Bounded) -> Bounded {
    if list.len() > max {
        return Err(InvalidTransaction::Bound(name));
    }
    list.iter().try_for_each(each)
}

fn approvals(approvals: &[Approval]) -> Bounded {
    list(approvals, VALIDATORS_MAX, "the number of approvals", |approval| did(&approval.validator))
}

fn cause(cause: &Cause) -> Bounded {
    if cause.uri.is_empty() || cause.uri.len() > LEDGER_URI_BYTES_MAX {
        return Err(InvalidTransaction::Bound("the cause's address"));
    }
    list(&cause.witnesses, WITNESSES_MAX, "the number of witnesses", |witness| {
        did(&witness.account)?;
        witness.tenant.iter().try_for_each(did)
    })
}

fn backups(backups: &Backups) -> Bounded {
    if backups.standbys.len() + backups.vaults.len() > BACKUPS_MAX {
        return Err(InvalidTransaction::Bound("the number of backups"));
    }
    backups.standbys.iter().chain(&backups.vaults).chain(&backups.witness).try_for_each(did)
}

impl Transaction {
    /// Checks every bound, so that nothing behind this door needs to.
    pub(crate) fn bounded(&self) -> Bounded {
        did(&self.wallet)?;
        match &self.action {
            Action::KarmaReward(it) => {
                did(&it.to)?;
                it.tenant.iter().try_for_each(did)?;
                cause(&it.cause)
            }
            Action::PeerRecognition(it) => {
                did(&it.to)?;
                it.tenant.iter().try_for_each(did)?;
                text(&it.reason)?;
                cause(&it.cause)
            }
            Action::CrossTenantExchange(it) => {
                did(&it.to)?;
                it.from_tenant.iter().chain(&it.to_tenant).try_for_each(did)?;
                it.quote.iter().try_for_each(|quote| did(&quote.node))?;
                text(&it.reason)
            }
            Action::NodeReward(it) => did(&it.to),
            Action::JusticeFund(it) => {
                did(&it.to)?;
                text(&it.reason)
            }
            Action::SystemGrant(it) => {
                did(&it.to)?;
                it.tenant.iter().try_for_each(did)?;
                text(&it.reason)?;
                approvals(&it.approvals)
            }
            Action::Reversal(it) => {
                text(&it.reason)?;
                approvals(&it.approvals)
            }
            Action::Delegate(it) => it.to.iter().try_for_each(did),
            Action::Propose(it) => text(&it.title),
            Action::RegisterWallet(it) => {
                if let Holder::Agent { owner } = &it.holder {
                    did(owner)?;
                }
                did(&it.home)
            }
            Action::MoveHome(it) => did(&it.home),
            Action::Vouch(it) | Action::WithdrawVouch(it) => did(&it.person),
            Action::Flag(it) => {
                did(&it.account)?;
                text(&it.reason)?;
                approvals(&it.approvals)
            }
            Action::RegisterNode(it) => {
                did(&it.operator)?;
                it.invitation.iter().try_for_each(|invitation| did(&invitation.node))
            }
            Action::PlaceTenant(it) => {
                did(&it.primary)?;
                backups(&it.backups)
            }
            Action::ChangeHosts(it) => {
                did(&it.tenant)?;
                backups(&it.backups)
            }
            Action::Migrate(it) => {
                did(&it.tenant)?;
                did(&it.to)
            }
            Action::RollBack(it) => did(&it.tenant),
            Action::Failover(it) => {
                did(&it.tenant)?;
                list(&it.observations, BACKUPS_MAX + 2, "the number of observations", |it| did(&it.observer))
            }
            Action::JoinValidators(it) => approvals(&it.approvals),
            Action::RemoveValidator(it) => {
                did(&it.validator)?;
                text(&it.reason)?;
                approvals(&it.approvals)
            }
            Action::ReportDoubleVote(it) => did(&it.validator),
            Action::Change(it) => approvals(&it.approvals),
            Action::Stake(_)
            | Action::Unstake(_)
            | Action::Vote(_)
            | Action::Close(_)
            | Action::RotateKey(_)
            | Action::RetireNode
            | Action::LeaveValidators(_) => Ok(()),
        }
    }
}
