use angel_storage::replicas::Restored;

use super::*;

fn row(operation: Option<&[u8]>, restored: bool) -> ReplicaRow {
    let node: Did = "did:web:old.example".parse().expect("a DID");
    ReplicaRow {
        epoch: 1,
        restored: restored.then_some(Restored { node, sequence: 4 }),
        operation: operation.map(|bytes| ByteBuf::from(bytes.to_vec())),
        ..ReplicaRow::new(AccountId(1), Role::TakingOver)
    }
}

#[test]
fn an_owners_operation_counts_for_what_was_claimed_and_for_nothing_else() {
    let owners = Way::Owners(ByteBuf::from(b"signed".to_vec()));
    assert_eq!(Way::of(row(Some(b"signed"), false), false), owners, "a copy that was claimed has no other host");
    assert_eq!(Way::of(row(Some(b"signed"), true), false), owners);
    assert_eq!(Way::of(row(Some(b"signed"), true), true), owners, "nobody has a share of what was restored");
    // A claim of this standby's copy came to nothing, and later the primary failed.
    assert_eq!(Way::of(row(Some(b"signed"), false), true), Way::Shares);
    assert_eq!(Way::of(row(None, false), true), Way::Shares);
    assert_eq!(Way::of(row(None, true), false), Way::OwnerAgain);
}

#[test]
fn a_copy_that_was_dropped_leaves_no_role_to_the_one_that_follows() {
    let given = |before, account, is_here| in_role(before, AccountId(account), is_here, Role::GivingWay, 3, 70);
    assert_eq!(given(None, 1, false), None, "nothing is noted of what is gone");
    assert_eq!(given(Some(row(None, false)), 2, true), None, "what is noted is of another copy");
    let was_primary = given(None, 1, true).expect("an account that was here before it was placed");
    assert_eq!((was_primary.role, was_primary.epoch, was_primary.cursor), (Role::GivingWay, 1, 70));
    let again = in_role(Some(was_primary), AccountId(1), true, Role::GivingWay, 3, 90).expect("the same");
    assert_eq!(again.cursor, 70, "what was written until it gave way, and no more");
    let standby = in_role(Some(again), AccountId(1), true, Role::Standby, 3, 99).expect("the same");
    assert_eq!((standby.role, standby.cursor), (Role::Standby, 70));
}

#[test]
fn a_trouble_that_lasts_is_told_once_and_again_after_a_while() {
    let (mut troubles, began) = (Troubles::default(), Instant::now());
    let [one, two]: [Did; 2] = ["did:web:one.example", "did:web:two.example"].map(|did| did.parse().expect("a DID"));
    let mut news = |tenant: &Did, trouble: Option<&str>, second: u64| {
        troubles.news(tenant, trouble.map(str::to_owned), began + Duration::from_secs(second))
    };
    assert_eq!(news(&one, Some("no shares"), 0).as_deref(), Some("no shares"));
    assert_eq!(news(&one, Some("no shares"), 1), None);
    assert_eq!(news(&two, Some("no shares"), 1).as_deref(), Some("no shares"), "another tenant's");
    assert_eq!(news(&one, Some("too often"), 2).as_deref(), Some("too often"), "another trouble");
    assert_eq!(news(&one, Some("too often"), 301), None);
    assert_eq!(news(&one, Some("too often"), 302).as_deref(), Some("too often"));
    assert_eq!(news(&one, None, 303), None);
    assert_eq!(news(&one, Some("too often"), 304).as_deref(), Some("too often"), "it had gone well in between");
}
