use angel_storage::AccountId;
use angel_storage::replicas::Restored;

use super::*;

fn row(operation: Option<&[u8]>, restored: bool) -> ReplicaRow {
    let node: Did = "did:web:old.example".parse().expect("a DID");
    ReplicaRow {
        account: AccountId(1),
        epoch: 1,
        cursor: 0,
        complete: None,
        state: [0; 32],
        bytes: 0,
        role: Role::TakingOver,
        stopped: None,
        mended: 0,
        told: None,
        restored: restored.then_some(Restored { node, sequence: 4 }),
        operation: operation.map(|bytes| ByteBuf::from(bytes.to_vec())),
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
