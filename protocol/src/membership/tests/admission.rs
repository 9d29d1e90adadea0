//! Who may join: open, by list, by invitation.

use serde_bytes::ByteArray;

use super::*;

fn invited(founders: BTreeSet<Did>) -> Node {
    Node::with(Config { admission: Admission::Invite { founders }, ..Config::default() })
}

fn invite(by: &NodeKey, invitee: Option<Did>, uses: u16) -> Invite {
    let terms = InviteTerms {
        network: network(),
        inviter: by.did(),
        invitee,
        uses,
        expires_at: START + secs(3_600),
        nonce: ByteArray::new([1; 16]),
    };
    Invite::sign(by, terms)
}

fn with_invite(seed: u8, invite: Invite) -> Other {
    let mut other = Other::new(seed);
    other.body.invite = Some(invite);
    other
}

#[test]
fn an_allow_list_admits_those_on_it() {
    let mut others = [Other::new(1), Other::new(2)];
    let admission = Admission::Allowlist([others[0].did()].into());
    let mut node = Node::with(Config { admission, ..Config::default() });
    assert_eq!(node.refusal(others[0].beat(START)), None);
    let heartbeat = others[1].beat(START);
    let refusal = Refusal::NotAdmitted(NotAdmitted::NotListed);
    assert_eq!(node.state.precheck(START, heartbeat.head()), Err(refusal.clone()), "before any signature is checked");
    assert_eq!(refusal.xrpc(), (403, "NotAdmitted"));
    assert_eq!(node.refusal(heartbeat), Some(refusal));
}

#[test]
fn an_invitation_by_a_member_admits() {
    let mut node = invited(BTreeSet::new());
    assert_eq!(node.refusal(Other::new(1).beat(START)), Some(Refusal::NotAdmitted(NotAdmitted::NotInvited)));
    // This node is a member of its own network; whom it invites may invite in turn.
    let mut first = with_invite(1, invite(&key(0), None, 1));
    assert_eq!(node.refusal(first.beat(START)), None);
    let mut second = with_invite(2, invite(&key(1), Some(key(2).did()), 1));
    assert_eq!(node.refusal(second.beat(START)), None);
    let mut stranger = with_invite(3, invite(&key(9), None, 1));
    assert_eq!(node.refusal(stranger.beat(START)), Some(Refusal::NotAdmitted(NotAdmitted::InviterUnknown)));
}

#[test]
fn an_invitation_is_used_up_and_expires() {
    let mut node = invited(BTreeSet::new());
    let invite = invite(&key(0), None, 2);
    for seed in [1, 2] {
        assert_eq!(node.refusal(with_invite(seed, invite.clone()).beat(START)), None);
    }
    let used_up = Some(Refusal::NotAdmitted(NotAdmitted::UsedUp));
    assert_eq!(node.refusal(with_invite(3, invite.clone()).beat(START)), used_up);

    // Uses are counted from what is stored: a restart does not hand out more.
    let config = Config { admission: Admission::Invite { founders: BTreeSet::new() }, ..Config::default() };
    let mut node = Node::start(config, local(), START + secs(60), node.reserved, node.stored.clone());
    assert_eq!(node.refusal(with_invite(3, invite.clone()).beat(node.now)), used_up);

    node.pass(secs(3_600));
    let mut late = with_invite(4, invite);
    assert_eq!(node.refusal(late.beat(node.now)), Some(Refusal::NotAdmitted(NotAdmitted::Expired)));
}

#[test]
fn members_stay_members_when_their_invitation_is_over() {
    let mut node = invited(BTreeSet::new());
    let mut other = with_invite(1, invite(&key(0), None, 1));
    node.hear(other.beat(START));
    node.pass(secs(7_200));
    other.body.invite = None;
    assert_eq!(node.refusal(other.beat(node.now)), None);
}

#[test]
fn an_invitation_for_somebody_else_or_forged_never_verifies() {
    let verify = |other: &Other| {
        VerifiedHeartbeat::seal(&other.key, &network(), 1, START, other.body.clone())
            .and_then(|sealed| OpenedHeartbeat::from_cbor(sealed.bytes(), &network()))
            .and_then(VerifiedHeartbeat::verify)
    };
    assert!(verify(&with_invite(1, invite(&key(0), Some(key(1).did()), 1))).is_ok());
    let other_invitee = verify(&with_invite(1, invite(&key(0), Some(key(2).did()), 1)));
    assert!(other_invitee.is_err());
    let mut forged = invite(&key(0), None, 1);
    forged.terms.uses = 60;
    let refusal = Refusal::from(verify(&with_invite(1, forged)).expect_err("forged"));
    assert_eq!((refusal.label(), refusal.xrpc()), ("signature", (401, "BadSignature")));
}

#[test]
fn a_newcomer_trusts_its_inviter_and_through_it_the_rest() {
    let local = LocalNode { invite: Some(invite(&key(1), None, 1)), ..local() };
    let config = Config { admission: Admission::Invite { founders: BTreeSet::new() }, ..Config::default() };
    let mut node = Node::start(config, local, START, 0, BTreeMap::new());
    let (mut inviter, mut member) = (Other::new(1), Other::new(2));
    assert_eq!(node.refusal(member.beat(START)), Some(Refusal::NotAdmitted(NotAdmitted::NotInvited)));
    node.feed(Input::PeerConnected(inviter.did()));
    let effects = exchange::answer(&mut node, &inviter.did(), &[inviter.beat(START), member.beat(START)]);
    assert_eq!(events(&effects), [NodeEventKind::Created, NodeEventKind::Created]);
    let view = node.state.node(&member.did(), START).expect("a member");
    assert_eq!(view.admitted_by, AdmittedBy::Voucher(inviter.did()));
}

#[test]
fn a_stranger_vouches_for_nobody() {
    let mut node = invited(BTreeSet::new());
    let (stranger, mut other) = (Other::new(1), Other::new(2));
    node.feed(Input::PeerConnected(stranger.did()));
    let effects = exchange::answer(&mut node, &stranger.did(), &[other.beat(START)]);
    assert_eq!(refusal(&effects), Some(Refusal::NotAdmitted(NotAdmitted::NotInvited)));
}

#[test]
fn founders_need_no_invitation() {
    let mut founder = Other::new(1);
    let mut node = invited([founder.did()].into());
    assert_eq!(node.refusal(founder.beat(START)), None);
    let mut guest = with_invite(2, invite(&key(1), None, 1));
    assert_eq!(node.refusal(guest.beat(START)), None);
}

#[test]
fn an_invitation_is_carried_while_it_holds() {
    let local = LocalNode { invite: Some(invite(&key(1), None, 1)), ..local() };
    let mut node = Node::start(Config::default(), local, START, 0, BTreeMap::new());
    assert!(node.state.own_heartbeat().expect("published").body().invite.is_some());
    node.pass(secs(3_700));
    assert!(node.state.own_heartbeat().expect("published").body().invite.is_none());
}
