//! Whether the plan of a tenant has room for records that a client writes for it (USE-02 to USE-04), wherever they are
//! to lie: in its public repository or in a space of certain people. Asked last, so that what is refused for another
//! reason is answered by that reason and counts for nothing.

use angel_protocol::ids::{Did, Nsid};
use angel_protocol::tenants::{Bill, Resource};

use super::host::Host;
use crate::accounts::Account;
use crate::blocking;
use crate::http::XrpcError;
use crate::tenants::{Admitted, Tenant, Use, workspace};

/// Most records that are counted one by one: the largest figure of any plan.
const COUNTED_MAX: usize = 10_000;

const PRODUCT: &str = "co.kendev.business.product";

/// Holds room for what is about to be written for `account`; one that is no tenant has no plan.
pub(crate) async fn admit(host: &Host, account: &Account, bill: &Bill) -> Result<Admitted, XrpcError> {
    admit_for(host, account.did(), bill).await
}

/// The same for writes by which somebody names a tenant whose records they are not.
pub(crate) async fn admit_for(host: &Host, named: &Did, bill: &Bill) -> Result<Admitted, XrpcError> {
    let Some(tenant) = host.tenants.find(named) else { return Ok(Admitted::without_plan()) };
    let allowance = &tenant.row().allowance;
    bill.check_features(allowance)?;
    let is_added_to = bill.uses.keys().any(|resource| !resource.is_monthly());
    let turn = if is_added_to { Some(host.tenants.turn_to_add(&tenant).await) } else { None };
    let mut uses = vec![Use::one(Resource::ApiCalls)];
    for (&resource, &more) in &bill.uses {
        let is_looked_at = !resource.is_monthly() && allowance.limit(resource).is_some();
        let now = if is_looked_at { there(host, &tenant, resource).await? } else { 0 };
        uses.push(Use { resource, more, now });
    }
    Ok(host.tenants.hold(&tenant, uses, turn)?)
}

/// How many there are of what a plan limits and no month resets.
pub(crate) async fn there(host: &Host, tenant: &Tenant, resource: Resource) -> Result<u64, XrpcError> {
    match resource {
        Resource::Users => Ok(host.tenants.active_members(tenant.did())),
        Resource::Spaces => {
            let public = public_count(host, tenant, "co.kendev.spaces.space").await?;
            Ok(public.saturating_add(host.spaces.private_spaces_held(tenant.did()).await?))
        }
        Resource::Products => {
            let public = public_count(host, tenant, PRODUCT).await?;
            // Those that are not offered lie in the workspace.
            let (space, collection) = (workspace(tenant.did()), PRODUCT.parse().expect("a collection of ours"));
            let drafts = host.permissioned.count(&space, tenant.did(), &collection, COUNTED_MAX).await?;
            Ok(public.saturating_add(drafts as u64))
        }
        Resource::Storage => {
            let (tenants, of) = (host.tenants.clone(), tenant.clone());
            Ok(blocking::run(move || tenants.file_bytes_blocking(&of)).await? / 1_000_000)
        }
        monthly => Ok(host.tenants.usage(tenant).of(monthly)),
    }
}

async fn public_count(host: &Host, tenant: &Tenant, collection: &str) -> Result<u64, XrpcError> {
    let (repos, id) = (host.repos.clone(), tenant.id());
    let collection: Nsid = collection.parse().expect("a collection of ours");
    Ok(blocking::run(move || repos.count_blocking(id, &collection, COUNTED_MAX)).await? as u64)
}
