//! The engine's votes are the ledger's.

use malachitebft_core_types::{NilOrVal, Round, VoteType};

use super::super::{Address, Height, ValidatorSet, ValueId, Vote};
use crate::crypto::NodeKey;
use crate::ids::NetworkId;
use crate::ledger;
use crate::ledger::certificate::{self, Certificate, CertificateSignature};

#[test]
fn precommits_make_a_certificate_of_the_ledger() {
    let network: NetworkId = "home-dev".parse().expect("a network id");
    let keys: Vec<_> = (1..=4).map(|seed| NodeKey::from_seed(&[seed; 32])).collect();
    let set = ledger::ValidatorSet::new(keys.iter().map(NodeKey::did).collect());
    let value = ValueId([3; 32]);
    let mut signatures: Vec<_> = keys[..3]
        .iter()
        .map(|key| {
            let vote = Vote {
                height: Height(8),
                round: Round::new(2),
                step: VoteType::Precommit,
                value: NilOrVal::Val(value),
                validator: Address(key.did()),
            };
            let message = vote.in_ledger(&network).expect("in a round").sign_bytes();
            CertificateSignature { validator: key.did(), signature: key.sign(certificate::VOTE, &message) }
        })
        .collect();
    signatures.sort_by(|a, b| a.validator.cmp(&b.validator));
    let mut certificate = Certificate { network, height: 8, round: 2, value: value.into(), signatures };
    assert_eq!(certificate.verify(&set), Ok(()));
    certificate.round = 1;
    assert!(certificate.verify(&set).is_err(), "of another round");
}

#[test]
fn turns_go_round() {
    use malachitebft_core_types::{Validator as _, ValidatorSet as _};
    let dids = (1..=7).map(|seed| NodeKey::from_seed(&[seed; 32]).did()).collect();
    let set = ValidatorSet::new(&ledger::ValidatorSet::new(dids));
    for height in [0, 1, 6, 7, u64::MAX - 1, u64::MAX] {
        let turns: std::collections::BTreeSet<_> =
            (0..7).map(|round| set.proposer(height, round).address().clone()).collect();
        assert_eq!(turns.len(), set.count(), "everybody has a turn at height {height}");
    }
    assert_ne!(set.proposer(1, 0), set.proposer(2, 0));
}
