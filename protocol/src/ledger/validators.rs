//! Who decides: the validators of each height, and changes that wait for theirs.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::ids::Did;
use crate::limits::{VALIDATOR_CHANGES_MAX, VALIDATORS_MAX};

/// The validators of one height, each with one vote, sorted by DID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(transparent)]
pub struct ValidatorSet(Vec<Did>);

impl ValidatorSet {
    /// From DIDs in any order; each counts once.
    #[must_use]
    pub fn new(mut validators: Vec<Did>) -> Self {
        validators.sort();
        validators.dedup();
        Self(validators)
    }

    /// How many they are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `node` is one of them.
    #[must_use]
    pub fn contains(&self, node: &Did) -> bool {
        self.0.binary_search(node).is_ok()
    }

    /// The validators, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Did> {
        self.0.iter()
    }

    /// Whether `votes` of them are more than two thirds.
    #[must_use]
    pub const fn is_quorum(&self, votes: usize) -> bool {
        votes * 3 > self.0.len() * 2
    }
}

/// A change that takes effect at a height.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Pending {
    at: u64,
    node: Did,
    joins: bool,
}

/// Why the set does not change as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unchangeable {
    /// It would have more than [`VALIDATORS_MAX`] members.
    Full,
    /// More changes wait than the set can stand: see [`Validators::schedule`].
    Pending,
    /// Nobody would be left.
    Last,
}

/// The current set and what will become of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Validators {
    current: ValidatorSet,
    pending: Vec<Pending>,
}

impl Validators {
    pub(crate) const fn new(current: ValidatorSet) -> Self {
        Self { current, pending: Vec::new() }
    }

    /// The set of the height being decided.
    pub(crate) const fn current(&self) -> &ValidatorSet {
        &self.current
    }

    /// Whether `node` is a validator now and stays one, or becomes one.
    pub(crate) fn will_contain(&self, node: &Did) -> bool {
        self.pending
            .iter()
            .rev()
            .find(|change| change.node == *node)
            .map_or_else(|| self.current.contains(node), |change| change.joins)
    }

    /// Everybody who is a validator now or becomes one.
    pub(crate) fn present_and_future(&self) -> impl Iterator<Item = &Did> {
        self.current.iter().chain(self.pending.iter().filter(|change| change.joins).map(|change| &change.node))
    }

    /// Whether a change can be scheduled.
    ///
    /// At most as many changes wait as the set can lose and still decide: (n - 1) / 3, but always one. So any set
    /// shares a quorum with the one that approved it, and one newcomer who never shows up cannot stop it alone,
    /// except in a set below four, which has no fault tolerance to begin with.
    pub(crate) fn check(&self, joins: bool) -> Result<(), Unchangeable> {
        let joining = self.pending.iter().filter(|change| change.joins).count();
        let leaving = self.pending.len() - joining;
        if joins && self.current.len() + joining >= VALIDATORS_MAX {
            return Err(Unchangeable::Full);
        }
        let bearable = (self.current.len().saturating_sub(1) / 3).clamp(1, VALIDATOR_CHANGES_MAX);
        if self.pending.len() >= bearable {
            return Err(Unchangeable::Pending);
        }
        if !joins && self.current.len() <= leaving + 1 {
            return Err(Unchangeable::Last);
        }
        Ok(())
    }

    /// Schedules a change that [`Validators::check`] allowed.
    pub(crate) fn schedule(&mut self, at: u64, node: Did, joins: bool) {
        self.pending.push(Pending { at, node, joins });
        self.pending.sort_by(|a, b| (a.at, &a.node).cmp(&(b.at, &b.node)));
    }

    /// Removes a proven cheat from the next height on, unless nobody would be left. Needs no room among the waiting
    /// changes: a cheat must not be able to fill them.
    pub(crate) fn check_expel(&self, node: &Did) -> Result<(), Unchangeable> {
        let leaving = self.pending.iter().filter(|change| !change.joins && change.node != *node).count();
        if self.current.len() <= leaving + 1 { Err(Unchangeable::Last) } else { Ok(()) }
    }

    /// See [`Validators::check_expel`].
    pub(crate) fn expel(&mut self, at: u64, node: &Did) {
        self.pending.retain(|change| change.node != *node);
        self.schedule(at, node.clone(), false);
    }

    /// Carries out what takes effect at `height`.
    pub(crate) fn advance(&mut self, height: u64) {
        let due: Vec<_> = self.pending.extract_if(.., |change| change.at <= height).collect();
        for change in due {
            match self.current.0.binary_search(&change.node) {
                Err(place) if change.joins => self.current.0.insert(place, change.node),
                Ok(place) if !change.joins => {
                    self.current.0.remove(place);
                }
                _ => {}
            }
        }
        debug_assert!(!self.current.is_empty(), "no change may empty the validator set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(name: &str) -> Did {
        format!("did:web:{name}").parse().expect("valid")
    }

    fn set(n: usize) -> Validators {
        Validators::new(ValidatorSet::new((0..n).map(|i| did(&format!("v{i:03}"))).collect()))
    }

    #[test]
    fn a_quorum_is_more_than_two_thirds() {
        for (n, quorum) in [(1, 1), (2, 2), (3, 3), (4, 3), (6, 5), (7, 5), (100, 67)] {
            let set = set(n);
            assert!(set.current().is_quorum(quorum) && !set.current().is_quorum(quorum - 1), "{n}");
        }
    }

    #[test]
    fn the_last_validator_stays() {
        assert_eq!(set(1).check(false), Err(Unchangeable::Last));
        assert_eq!(set(1).check_expel(&did("v000")), Err(Unchangeable::Last));
        assert_eq!(set(1).check(true), Ok(()));
    }

    #[test]
    fn the_set_never_grows_past_its_bound() {
        assert_eq!(set(VALIDATORS_MAX).check(true), Err(Unchangeable::Full));
    }

    #[test]
    fn no_more_changes_wait_than_the_set_can_lose() {
        let mut validators = set(7);
        validators.schedule(5, did("new0"), true);
        validators.schedule(5, did("v000"), false);
        assert_eq!(validators.check(true), Err(Unchangeable::Pending));
        validators.advance(4);
        assert_eq!(validators.current().len(), 7);
        validators.advance(5);
        assert!(validators.current().contains(&did("new0")) && !validators.current().contains(&did("v000")));
        assert_eq!(validators.check(true), Ok(()));
    }

    #[test]
    fn expelling_cuts_the_queue() {
        let mut validators = set(4);
        validators.schedule(9, did("new0"), true);
        assert_eq!(validators.check_expel(&did("v001")), Ok(()));
        validators.expel(2, &did("v001"));
        validators.advance(2);
        assert!(!validators.current().contains(&did("v001")));
        assert!(validators.will_contain(&did("new0")));
    }
}
