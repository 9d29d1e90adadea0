use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use angel_protocol::ids::Tid;
use angel_protocol::tenants::invitation::{Guest, InvitationRefused};
use angel_protocol::tenants::role::RoleRefused;
use angel_protocol::tenants::{Allowance, Plan, Resource, Template};
use angel_protocol::time::Timestamp;
use angel_storage::{Batch, Store};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_273_200_000);

fn did(name: &str) -> Did {
    format!("did:web:{name}.example").parse().expect("valid")
}

fn open(store: &Store) -> Tenants {
    Tenants::open(store.reader().clone(), store.writer().clone()).expect("opens")
}

/// A tenant of the plan `free`, ready for use, owned by `owner`.
fn make(tenants: &Tenants, store: &Store, id: u64, slug: &str) -> Tenant {
    let row = TenantRow {
        did: did(slug),
        slug: slug.parse().expect("valid"),
        name: slug.to_owned(),
        owner: did("owner"),
        status: TenantStatus::Active,
        allowance: Allowance::of(Plan::Free),
        template: Template::BasicBusiness,
        business_type: "other".to_owned(),
        created_at: NOW,
        updated_at: NOW,
        provisioned_at: Some(NOW),
        log: vec![],
    };
    let mut batch = Batch::new();
    tenants.check_free(&row.slug).expect("free");
    Tenants::stage_new(&mut batch, AccountId(id), &row, &Actor::Operator).expect("fits");
    store.writer().commit(batch).expect("commits");
    let tenant = tenants.made(AccountId(id), row);
    tenants.seat_owner_blocking(tenant.did(), Tid::new(id, 0), NOW).expect("seated")
}

fn wish(role: Role) -> Wish {
    Wish { role, permissions: Permissions::NONE, user: None, email: None, message: None, expires_at: None }
}

fn owner() -> Actor {
    Actor::Person(did("owner"), Role::Owner)
}

fn accept(tenants: &Tenants, tenant: &Did, token: &str, who: &str, at: Timestamp) -> Result<Accepted, TenantError> {
    static NEXT: AtomicUsize = AtomicUsize::new(1000);
    let rkey = Tid::new(NEXT.fetch_add(1, Ordering::Relaxed) as u64, 0);
    tenants.accept_blocking(tenant, token, Guest { did: &did(who), verified_email: None }, rkey, at)
}

fn join(tenants: &Tenants, tenant: &Did, who: &str, role: Role) {
    let invited = tenants.invite_blocking(tenant, &owner(), wish(role), NOW).expect("invited");
    accept(tenants, tenant, &invited.token, who, NOW).expect("accepted");
}

#[test]
fn roles_allow_what_they_allow_in_their_own_tenant_alone() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let (one, two) = (make(&tenants, &store, 1, "one"), make(&tenants, &store, 2, "two"));
    join(&tenants, one.did(), "admin", Role::Admin);
    join(&tenants, one.did(), "member", Role::Member);
    for tenants in [&tenants, &open(&store)] {
        assert_eq!(tenants.role(one.did(), &did("owner")), Some(Role::Owner));
        assert_eq!(tenants.role(one.did(), &did("admin")), Some(Role::Admin));
        assert_eq!(tenants.role(two.did(), &did("admin")), None);
        assert!(tenants.allows(one.did(), &did("admin"), Permission::ManageUsers));
        assert!(!tenants.allows(one.did(), &did("admin"), Permission::ManageBilling));
        assert!(!tenants.allows(one.did(), &did("member"), Permission::ManageUsers));
        assert!(tenants.may_read(one.did(), &did("member")) && !tenants.may_read(two.did(), &did("member")));
        assert!(!tenants.allows(&did("nobody"), &did("owner"), Permission::ManageUsers));
        let named = tenants.memberships(one.did(), None, 10).into_iter().map(|(did, _)| did);
        assert_eq!(named.collect::<Vec<_>>(), ["owner", "admin", "member"].map(did));
        let of_admin = tenants.list(None, 10, |_, member| member.is_some(), Some(&did("admin")));
        assert_eq!(of_admin.iter().map(Tenant::did).collect::<Vec<_>>(), [one.did()]);
    }
}

#[test]
fn an_invitation_is_accepted_once_and_in_time() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let (one, two) = (make(&tenants, &store, 1, "one"), make(&tenants, &store, 2, "two"));
    let invited = tenants.invite_blocking(one.did(), &owner(), wish(Role::Member), NOW).expect("invited");
    let elsewhere = accept(&tenants, two.did(), &invited.token, "guest", NOW);
    assert!(matches!(elsewhere, Err(TenantError::NoInvitation)), "a token opens one tenant");
    let late = accept(&tenants, one.did(), &invited.token, "guest", invited.invitation.expires_at);
    assert!(matches!(late, Err(TenantError::Invitation(InvitationRefused::Expired))));
    accept(&tenants, one.did(), &invited.token, "guest", NOW).expect("in time");
    let again = accept(&tenants, one.did(), &invited.token, "other", NOW);
    assert!(matches!(again, Err(TenantError::NoInvitation)));
    let known =
        tenants.invite_blocking(one.did(), &owner(), Wish { user: Some(did("guest")), ..wish(Role::Admin) }, NOW);
    assert!(matches!(known, Err(TenantError::AlreadyMember(_))));
}

#[test]
fn of_two_who_use_one_token_at_once_one_gets_in() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let one = make(&tenants, &store, 1, "one");
    let invited = tenants.invite_blocking(one.did(), &owner(), wish(Role::Member), NOW).expect("invited");
    let let_in = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (tenants, one, invited, let_in) = (&tenants, &one, &invited, &let_in);
            scope.spawn(move || {
                if accept(tenants, one.did(), &invited.token, &format!("guest{n}"), NOW).is_ok() {
                    let_in.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(let_in.into_inner(), 1);
    assert_eq!(tenants.active_members(one.did()), 2);
}

#[test]
fn a_plan_holds_so_many_members() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let one = make(&tenants, &store, 1, "one");
    let allowance = Allowance { limits: [(Resource::Users, 2)].into(), ..Allowance::of(Plan::Free) };
    tenants.set_allowance_blocking(one.did(), &Actor::Operator, allowance, NOW).expect("set");
    let early = tenants.invite_blocking(one.did(), &owner(), wish(Role::Member), NOW).expect("room for one");
    join(&tenants, one.did(), "second", Role::Member);
    let third = accept(&tenants, one.did(), &early.token, "third", NOW);
    let Err(TenantError::Limit(refused)) = third else { panic!("{third:?}") };
    assert_eq!((refused.resource, refused.used, refused.limit), (Resource::Users, 2, 2));
    assert!(matches!(
        tenants.invite_blocking(one.did(), &owner(), wish(Role::Member), NOW),
        Err(TenantError::Limit(_))
    ));
    let gone = (Role::Member, Permissions::NONE, MembershipStatus::Revoked);
    tenants.set_role_blocking(one.did(), &owner(), &did("second"), gone, NOW).expect("revoked");
    assert_eq!(tenants.role(one.did(), &did("second")), None);
    accept(&tenants, one.did(), &early.token, "third", NOW).expect("there is room again");
}

#[test]
fn ownership_is_handed_over_and_never_taken() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let one = make(&tenants, &store, 1, "one");
    join(&tenants, one.did(), "admin", Role::Admin);
    let admin = Actor::Person(did("admin"), Role::Admin);
    let revoke = (Role::Member, Permissions::NONE, MembershipStatus::Revoked);
    let refused = tenants.set_role_blocking(one.did(), &admin, &did("owner"), revoke, NOW);
    assert!(matches!(refused, Err(TenantError::Role(RoleRefused::Owner))));
    let offer = Wish { user: Some(did("admin")), ..wish(Role::Owner) };
    assert!(tenants.invite_blocking(one.did(), &admin, offer.clone(), NOW).is_err());
    let invited = tenants.invite_blocking(one.did(), &owner(), offer, NOW).expect("offered");
    accept(&tenants, one.did(), &invited.token, "admin", NOW).expect("taken");
    for tenants in [&tenants, &open(&store)] {
        assert_eq!(tenants.role(one.did(), &did("admin")), Some(Role::Owner));
        assert_eq!(tenants.role(one.did(), &did("owner")), Some(Role::Admin));
    }
}

#[test]
fn of_many_uses_at_once_as_many_pass_as_the_plan_has() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let one = make(&tenants, &store, 1, "one");
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..25 {
            scope.spawn(|| {
                if tenants.check_limit(one.did(), Use::one(Resource::Tasks)).is_ok() {
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 10);
    assert!(tenants.check_limit(&did("nobody"), Use::one(Resource::Tasks)).is_ok(), "no tenant, no plan");
    tenants.flush_blocking().expect("written");
    let tenants = open(&store);
    let refused = tenants.check_limit(one.did(), Use::one(Resource::Tasks)).expect_err("still used up");
    assert_eq!((refused.used, refused.limit), (10, 10));
}

#[test]
fn what_is_not_written_after_all_is_given_back_and_several_uses_count_together() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let one = make(&tenants, &store, 1, "one");
    let used = |resource| tenants.usage(&one).of(resource);
    let many = |more| vec![Use { resource: Resource::Tasks, more, now: 0 }, Use::one(Resource::Posts)];
    tenants.hold(&one, many(4), None).expect("room").written();
    assert_eq!((used(Resource::Tasks), used(Resource::Posts)), (4, 1));
    drop(tenants.hold(&one, many(6), None).expect("room"));
    assert_eq!((used(Resource::Tasks), used(Resource::Posts)), (4, 1), "given back");
    let posts = Use { resource: Resource::Posts, more: 5, now: 0 };
    let refused = tenants.hold(&one, vec![Use::one(Resource::Tasks), posts], None).expect_err("four are left");
    assert_eq!((refused.resource, refused.used, used(Resource::Tasks)), (Resource::Posts, 1, 4), "all or none");
    tenants.flush_blocking().expect("written");
    assert_eq!(open(&store).usage(&one).of(Resource::Tasks), 4);
}

#[test]
fn a_month_that_is_over_is_kept_and_the_next_begins_with_nothing() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let one = make(&tenants, &store, 1, "one");
    let (month, next) = (Month::of(clock::now()), Month::of(clock::now() + Duration::from_hours(24 * 40)));
    tenants.check_limit(one.did(), Use::one(Resource::Posts)).expect("room");
    assert_eq!(tenants.counters().usage(one.id(), next).of(Resource::Posts), 0);
    assert_eq!(tenants.counters().usage(one.id(), month).month, next, "a month never comes back");
    tenants.flush_blocking().expect("written");
    let kept = angel_storage::tenants::usage(store.reader(), one.id(), month).expect("reads");
    assert_eq!(kept.of(Resource::Posts), 1);
}

#[test]
fn a_suspended_tenant_is_read_an_archived_one_is_its_owners() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let one = make(&tenants, &store, 1, "one");
    join(&tenants, one.did(), "admin", Role::Admin);
    let set = |to| tenants.set_status_blocking(one.did(), &Actor::Operator, to, NOW);
    set(TenantStatus::Suspended).expect("suspended");
    assert!(!tenants.takes_writes(one.did()) && tenants.takes_writes(&did("somebody")));
    assert!(tenants.may_read(one.did(), &did("admin")));
    assert!(!tenants.allows(one.did(), &did("owner"), Permission::ManageUsers));
    assert!(tenants.allows(one.did(), &did("admin"), Permission::ExportData));
    set(TenantStatus::Active).expect("opened again");
    set(TenantStatus::Archived).expect("archived");
    assert!(!tenants.may_read(one.did(), &did("admin")));
    assert!(tenants.allows(one.did(), &did("owner"), Permission::ExportData));
    assert!(matches!(set(TenantStatus::Active), Err(TenantError::Status { .. })));
}

#[test]
fn what_was_done_is_written_down_and_chained() {
    let store = Store::in_memory().expect("starts");
    let tenants = open(&store);
    let one = make(&tenants, &store, 1, "one");
    join(&tenants, one.did(), "admin", Role::Admin);
    tenants.set_status_blocking(one.did(), &Actor::Operator, TenantStatus::Suspended, NOW).expect("suspended");
    let entries = tenants.audit_blocking(&one, None, 100).expect("reads");
    let actions: Vec<_> = entries.iter().map(|(_, entry)| entry.action.as_str()).collect();
    assert_eq!(actions, ["create", "seat the owner", "invite", "accept invitation", "set status"]);
    for pair in entries.windows(2) {
        assert_eq!(pair[1].1.previous, pair[0].1.hash().expect("has a form"));
    }
    assert!(!format!("{entries:?}").contains("token\""));
    tenants.forget_blocking(one.did()).expect("forgotten");
    assert!(tenants.find(one.did()).is_none() && open(&store).find(one.did()).is_none());
    assert!(tenants.by_slug(&"one".parse().expect("valid")).is_none());
}
