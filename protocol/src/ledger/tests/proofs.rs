//! Proofs for somebody who holds the validator set alone.

use super::world::*;
use crate::ledger::certificate::InvalidCertificate;
use crate::ledger::proof::{NotProved, Subject};
use crate::ledger::tree::ProofError;
use crate::ledger::*;

fn proof(world: &World, subject: &Subject, signers: &[u8]) -> LedgerProof {
    LedgerProof::make(&world.view, subject, world.header.clone(), world.certificate(signers)).expect("memory reads")
}

#[test]
fn a_balance_is_proved_to_whoever_knows_the_validators() {
    let mut world = World::new();
    world.act(&did("ada"), pay("ben", tokens(30)));
    let validators = rows::validators(&world.view).expect("memory reads").expect("genesis");
    let subject = Subject::Wallet(did("ben"));
    let good = proof(&world, &subject, &[0, 1, 2]);
    let bytes = serde_ipld_dagcbor::to_vec(&good).expect("encodes");
    let read: LedgerProof = serde_ipld_dagcbor::from_slice(&bytes).expect("its own encoding");
    assert_eq!(read.balance(&validators, &did("ben"), None).expect("proved").total(), tokens(130));
    assert_eq!(read.balance(&validators, &did("ada"), None), Err(NotProved::Path(ProofError::WrongRoot)));

    let few = proof(&world, &subject, &[0, 1]);
    assert_eq!(
        few.verify(&validators, &subject),
        Err(NotProved::Certificate(InvalidCertificate::NoQuorum { held: 2, validators: 4 }))
    );
    let mut repeated = proof(&world, &subject, &[0, 1, 2]);
    repeated.certificate.signatures[1] = repeated.certificate.signatures[0].clone();
    assert_eq!(repeated.verify(&validators, &subject), Err(NotProved::Certificate(InvalidCertificate::Order)));
    let mut forged = good.clone();
    forged.certificate.signatures[0].signature[0] ^= 1;
    assert!(matches!(
        forged.verify(&validators, &subject),
        Err(NotProved::Certificate(InvalidCertificate::Signature(_)))
    ));
    let strangers = ValidatorSet::new(vec![node(7), node(8)]);
    assert!(matches!(good.verify(&strangers, &subject), Err(NotProved::Certificate(InvalidCertificate::Stranger(_)))));
    let mut other_root = good.clone();
    other_root.header.root[0] ^= 1;
    assert_eq!(other_root.verify(&validators, &subject), Err(NotProved::Header));
    let mut richer = good;
    let last = richer.value.as_mut().expect("a value").len() - 1;
    richer.value.as_mut().expect("a value")[last] ^= 1;
    assert_eq!(richer.verify(&validators, &subject), Err(NotProved::Path(ProofError::WrongRoot)));
}

#[test]
fn what_is_not_there_is_proved_too() {
    let mut world = World::new();
    world.act(&did("ada"), pay("ben", tokens(30)));
    let validators = rows::validators(&world.view).expect("memory reads").expect("genesis");
    let absent = proof(&world, &Subject::Placement(did("shop")), &[0, 1, 2, 3]);
    assert_eq!(absent.placement(&validators, &did("shop")), Ok(None));
    let scoped = proof(&world, &Subject::ScopedBalance(did("ada"), did("shop")), &[0, 1, 2]);
    assert_eq!(scoped.balance(&validators, &did("ada"), Some(&did("shop"))).map(|it| it.total()), Ok(Amount::ZERO));
    let id = world.last.expect("sent");
    let receipt = proof(&world, &Subject::Receipt(id), &[0, 1, 2]).receipt(&validators, id).expect("proved");
    assert_eq!(receipt.map(|receipt| receipt.outcome), Some(Outcome::Posted));
    // Hiding a wallet that is there does not work.
    let mut hidden = proof(&world, &Subject::Wallet(did("ada")), &[0, 1, 2]);
    hidden.value = None;
    assert!(hidden.balance(&validators, &did("ada"), None).is_err());
}

#[test]
fn genesis_is_the_same_for_everyone_and_says_what_is_wrong() {
    let (one, two) = (World::new(), World::new());
    assert_eq!((one.header.hash(), &one.view), (two.header.hash(), &two.view));
    let wrong = |change: fn(&mut Genesis)| {
        let mut result = None;
        World::with(|genesis| {
            let mut copy = genesis.clone();
            change(&mut copy);
            result = Some(copy.rows().expect_err("wrong"));
        });
        result.expect("asked")
    };
    use genesis::InvalidGenesis as Wrong;
    assert_eq!(wrong(|it| it.parameters.exchange_fee = 10_001), Wrong::Parameters);
    assert_eq!(wrong(|it| it.nodes.iter_mut().for_each(|node| node.validator = false)), Wrong::Validators);
    assert_eq!(wrong(|it| it.nodes[1].did = it.nodes[0].did.clone()), Wrong::Node(node(0)));
    assert_eq!(wrong(|it| it.nodes[1].did = did("ada")), Wrong::Node(did("ada")));
    assert_eq!(wrong(|it| it.wallets[0].home = did("ada")), Wrong::Wallet(did("ada")));
    assert_eq!(wrong(|it| it.wallets[1].account = did("ada")), Wrong::Wallet(did("ada")));
    let too_much = wrong(|it| it.wallets[0].grant = Amount::new(amount::SUPPLY_MAX).expect("the bound"));
    assert_eq!(too_much, Wrong::Supply);
}

#[test]
fn a_genesis_file_is_json() {
    World::with(|genesis| {
        let text = serde_json::to_string_pretty(genesis).expect("writes");
        let read: Genesis = serde_json::from_str(&text).expect("its own text");
        assert_eq!((read.hash(), &read), (genesis.hash(), &*genesis));
    });
}
