//! Every way a transaction can end.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// How a transaction ended: posted, or refused and why.
        ///
        /// Listed in order of precedence: a transaction that could be refused in several ways is refused in the one
        /// listed first. Every check asserts this in debug builds (see `Checks`). The order is part of the rules:
        /// receipts hold it, so a new outcome needs a new version of the ledger.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, BorshSerialize,
            BorshDeserialize,
        )]
        pub enum Outcome {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Outcome {
            /// All, in order of precedence.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What happened and what to do next, for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

outcomes! {
    /// It took effect.
    Posted => "posted",

    // Is it fit for a batch at all? Until its sequence and rate are checked, refusing leaves no trace.
    /// For another network.
    WrongNetwork => "the transaction is for another network; sign it for this one",
    /// Its time has passed.
    Expired => "the transaction expired before it was decided; sign a new one",
    /// It wants to live longer than a transaction may.
    ExpiresTooLate => "the transaction expires too far in the future; choose an earlier time",
    /// It was decided before.
    AlreadyDecided => "the transaction was decided before; ask for its receipt",
    /// Another transaction with this nonce was decided before.
    IdReused => "another transaction with this nonce was decided before; choose a new nonce",
    /// The account has no wallet.
    WalletUnknown => "the account has no wallet on this ledger; register one first",
    /// The account has a wallet already.
    WalletExists => "the account has a wallet already",
    /// The signature is not the wallet's.
    BadSignature => "the signature is not that of the wallet's key",
    /// The wallet is further.
    SequencePassed => "the wallet has used this sequence number; ask for the next one and sign again",
    /// The wallet is not that far.
    SequenceAhead => "an earlier transaction of the wallet is missing",
    /// Too many in this hour.
    RateLimited => "the wallet has reached its transactions for this hour; wait for the next",

    // Identities (did:plc). A refused operation leaves no trace, as one in any other directory.
    /// Its first operation is missing.
    UnknownIdentity => "the identity does not exist; the operation that creates it comes first",
    /// The operation creates another.
    OtherIdentity => "the operation creates another identity than the one named",
    /// Others came first.
    IdentitiesSpent => "the network takes no more new identities in this hour; try again in the next",
    /// It can be created once.
    IdentityExists => "the identity exists; an operation names the one before it",
    /// Nothing to follow on.
    PrevUnknown => "the operation before this one is unknown, or was taken back",
    /// Too late.
    TooLateToTakeBack => "what the operation takes back is more than 72 hours old",
    /// There is nothing to change.
    IdentityEnded => "the identity has ended with a tombstone",
    /// Too many of late.
    IdentityTooOften => "the identity has changed as often as it may for now; wait an hour, a day or a week",
    /// Too many altogether.
    IdentityLogFull => "the identity has changed as often as it may for good",
    /// Not by a key that may.
    BadOperationSignature => "no rotation key with the power for this has signed the operation",

    // Who signs?
    /// Only nodes may ask for it.
    NotANode => "only a registered node may ask for this",
    /// Only validators may ask for it.
    NotAValidator => "only a validator may ask for this",
    /// Agents receive, they do not grant.
    AgentMayNotGrant => "an agent may receive recognition, not grant it",
    /// Nothing is to move.
    AmountZero => "the amount must be above zero",

    // Is everything there that it speaks of?
    /// Nobody to receive.
    UnknownReceiver => "the receiver has no wallet on this ledger",
    /// No such account.
    UnknownAccount => "the account has no wallet on this ledger",
    /// No such node, or it left.
    UnknownNode => "no such node is registered, or it has retired",
    /// No such transfer.
    UnknownTransfer => "no transfer with this id was posted",
    /// No such proposal.
    UnknownProposal => "no such proposal was made",
    /// No such tenant.
    UnknownTenant => "the tenant is not placed on this network",
    /// No such validator.
    UnknownValidator => "the node is no validator",

    // Do the parties fit?
    /// Payer and receiver are one.
    SameWallet => "payer and receiver are the same",
    /// One's own agent.
    OwnAgent => "nobody recognises an agent of his own, nor an agent its owner",
    /// Only the home node may.
    NotHomeNode => "only the account's home node may ask for this",
    /// The signer may not.
    NotPermitted => "the signer may not ask for this",
    /// Only people.
    NotAPerson => "this is for people; the account is none",
    /// The fund is on neither side.
    NotJusticeFund => "the justice fund must be payer or receiver",
    /// An anomaly stands against the payer.
    Frozen => "outgoing exchanges are frozen until an operator clears the wallet's flags",
    /// The signer lacks proof of humanity.
    NotHuman => "the signer has no proof of humanity",
    /// The receiver lacks proof of humanity.
    ReceiverNotHuman => "the receiver has no proof of humanity",
    /// The receiver is no node.
    ReceiverNotANode => "the receiver is no registered node",
    /// It was undone before.
    AlreadyReversed => "the transfer was reversed before",

    // Is the cause good?
    /// It has not happened yet.
    CauseInFuture => "the cause lies in the future",
    /// It is too long ago.
    CauseTooOld => "the cause is too old to be rewarded",
    /// It was rewarded before.
    CauseRewarded => "the cause was rewarded before",

    // Are the witnesses?
    /// One counted twice.
    WitnessRepeated => "a witness is named twice",
    /// Payer or receiver.
    WitnessIsParty => "nobody witnesses in his own cause",
    /// Without a wallet.
    WitnessUnknown => "a witness has no wallet on this ledger",
    /// Without proof of humanity.
    WitnessNotHuman => "a witness has no proof of humanity",
    /// Another impact follows from the witnesses.
    ImpactWrong => "the impact score does not follow from the witnesses",
    /// More are needed.
    TooFewWitnesses => "the reward needs more witnesses",
    /// A witness signed something else.
    BadWitnessSignature => "a witness's signature does not verify",

    // Does the quote hold?
    /// None, and the currency needs one.
    QuoteMissing => "an exchange in this currency needs a quote",
    /// By somebody who is no node.
    QuoteNodeUnknown => "the quote's node is not registered, or has retired",
    /// Not yet valid.
    QuoteInFuture => "the quote is not valid yet",
    /// Valid for too long.
    QuoteTooLong => "the quote is valid for longer than quotes may be",
    /// No longer valid.
    QuoteExpired => "the quote has expired; ask for a new one",
    /// The currency had no rate.
    RateUnavailable => "the currency has no rate",
    /// Not the agreed rate or fee.
    QuoteMismatch => "the quote's rate or fee is not the one in force",
    /// The node signed something else.
    BadQuoteSignature => "the quote's signature does not verify",
    /// Rounded down, nothing is left; or it is more than there can be.
    NothingMoves => "converted to tokens the amount is nothing, or more than can exist",

    // Is it earned?
    /// Enough recognition for today.
    RecognitionLimit => "the person has given all of today's recognitions",
    /// Two people alone.
    ReciprocalRecognition => "two people who recognise each other alone have reached their limit",
    /// The policy gives another amount.
    RewardNotEarned => "the reward policy gives another amount",

    // Voting.
    /// One level only.
    DelegationChain => "delegation is one level deep: one of the two delegates or is delegated to already",
    /// Enough delegators.
    DelegatorsFull => "the delegate votes for as many as it may",
    /// Too late.
    VotingOver => "voting on the proposal is over",
    /// Too early.
    VotingNotOver => "voting on the proposal is not over",
    /// Counted before.
    ProposalClosed => "the proposal was closed before",
    /// Another votes.
    PowerDelegated => "the voting power is delegated; take it back first",
    /// Once is enough.
    AlreadyVoted => "the account has voted on the proposal",
    /// Nothing to vote with.
    NoVotingPower => "the account has no voting power; stake tokens first",
    /// Open too short or too long.
    VotingTimeWrong => "the proposal is open for too short or too long a time",

    // Wallets.
    /// The home node has bound enough for now.
    BindingsSpent => "the home node has bound as many wallets as it may in this hour",
    /// The home node said nothing of the kind.
    BadBinding => "the home node's binding of key and account does not verify",
    /// The new key said nothing of the kind.
    BadPossession => "the new key's signature does not verify",
    /// Once is enough.
    AlreadyVouched => "the signer vouches for the person already",
    /// All words are spent.
    VouchesSpent => "the signer may not vouch for more people, or the person needs no more",
    /// There is nothing to withdraw.
    NotVouched => "the signer does not vouch for the person",

    // Nodes.
    /// By another node.
    NameTaken => "the node name belongs to another node",
    /// The network asks for an invitation, or for a place on its list.
    NotInvited => "the network does not admit the node; ask a member for an invitation",
    /// By somebody who is no member.
    InviterUnknown => "the inviting node is not registered, or has retired",
    /// Too late.
    InvitationExpired => "the invitation has expired; ask for a new one",
    /// The member said nothing of the kind.
    BadInvitation => "the invitation's signature does not verify",
    /// Leave the set first.
    StillValidator => "the node is a validator; leave the set first",
    /// Move the tenants first.
    StillPrimary => "the node is primary of a tenant; move it first",

    // Placement.
    /// Once is enough.
    AlreadyPlaced => "the tenant is placed already",
    /// Another epoch.
    StaleEpoch => "the placement has moved on to another epoch",
    /// No such node, or it left.
    HostUnknown => "a hosting node is not registered, or has retired",
    /// Takes no tenants.
    HostNotHosting => "a hosting node does not take tenants",
    /// Counted twice.
    HostRepeated => "a hosting node is named twice",
    /// The strategy needs more.
    TooFewHosts => "the strategy needs more backups",
    /// There is no room for another.
    TooManyHosts => "the tenant has as many backups as it may; remove one first",
    /// The strategy needs more.
    TooFewRegions => "the strategy needs backups in more regions",
    /// Outside the residency.
    ResidencyViolation => "a hosting node stands outside the tenant's residency",
    /// The node said nothing of the kind.
    BadAcceptance => "the new primary's consent does not verify",
    /// There is nothing to undo.
    NoMigration => "there is no migration to undo",
    /// Too late.
    GraceOver => "the time to undo the migration is over",

    // Failover.
    /// Counted twice.
    ObserverRepeated => "an observer is named twice",
    /// Neither host, witness nor owner.
    ObserverUnknown => "an observer hosts nothing of the tenant, and is neither witness nor owner",
    /// Too old, or from the future.
    ObservationStale => "an observation is too old, or lies in the future",
    /// Not long enough silent.
    PrimaryHeard => "an observer has heard the primary too recently",
    /// Not enough of them.
    NoMajority => "the observers are no majority of the hosting nodes",
    /// Another standby has more.
    NotMostAdvanced => "another standby has received more of the tenant's data",
    /// The observer said nothing of the kind.
    BadObservation => "an observation's signature does not verify",

    // Validators.
    /// Not able, or not long enough on the network.
    NotACandidate => "the node is no validator candidate, or is too new",
    /// Once is enough.
    AlreadyValidator => "the node is a validator, or will be one",
    /// One operator, one validator.
    OperatorTaken => "the node's operator runs another validator",
    /// In the past, or too far ahead.
    HeightWrong => "the height lies in the past or too far ahead",
    /// As many as there may be.
    ValidatorsFull => "the network has as many validators as it may",
    /// Others first.
    ChangesPending => "other changes of the validators wait for their height; ask again after it",
    /// Somebody must decide.
    LastValidator => "nobody would be left to decide",
    /// Both can be signed honestly.
    VotesAgree => "the two votes do not contradict each other",
    /// The validator signed something else.
    BadVoteSignature => "a vote's signature does not verify",

    // Consent of the validators.
    /// A network could not run with it.
    ChangeInvalid => "the change is not one a network can run with",
    /// By somebody who is no validator, or counted twice.
    ApprovalInvalid => "an approval is by no validator, or counted twice",
    /// Two thirds or fewer.
    NoQuorum => "more than two thirds of the validators must approve",
    /// The validator signed something else.
    BadApproval => "an approval's signature does not verify",

    // Is there enough? Last, because it changes from batch to batch.
    /// Others first.
    TooManyReleases => "too many unstaked parts wait for their time; wait for one",
    /// Others first.
    DebtsFull => "the receiver owes to as many as it may",
    /// Tomorrow.
    DailyCeiling => "the day's ceiling for this type is reached; try tomorrow",
    /// There is no more to mint.
    SupplyExhausted => "no more tokens may be minted",
    /// Not that much is staked.
    InsufficientStake => "less is staked",
    /// Not that much is there.
    InsufficientBalance => "the balance does not cover amount and fee",

    // Claims. They came later, and stand behind the others so that receipts keep their meaning.
    /// Nobody can prove to be the owner here.
    OwnerUnknown => "the network does not hold the tenant's identity, or it has ended: nobody can prove here to be its owner",
    /// The owner said nothing of the kind.
    BadClaim => "the claim is not signed by the key of the tenant's identity that no other can overrule, or is for another node or epoch",
}

impl Outcome {
    /// Whether it took effect.
    #[must_use]
    pub const fn is_posted(self) -> bool {
        matches!(self, Self::Posted)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// Makes the checks of one transaction, and sees to it in debug builds that they come in [`Outcome`]'s order, so
/// that precedence is what the enum says.
#[derive(Debug)]
pub(crate) struct Checks(Outcome);

impl Checks {
    pub(crate) const fn new() -> Self {
        Self(Outcome::Posted)
    }

    /// Refuses with `otherwise` unless `condition` holds.
    pub(crate) fn require(&mut self, condition: bool, otherwise: Outcome) -> Result<(), Outcome> {
        debug_assert!(self.0 < otherwise, "{otherwise:?} is checked after {:?}, which it precedes", self.0);
        self.0 = otherwise;
        if condition { Ok(()) } else { Err(otherwise) }
    }

    /// The value, or a refusal with `otherwise`.
    pub(crate) fn some<T>(&mut self, value: Option<T>, otherwise: Outcome) -> Result<T, Outcome> {
        self.require(value.is_some(), otherwise)?;
        value.ok_or(otherwise)
    }
}
