//! `co.kendev.tenants.*`: businesses, who belongs to them, what they may use.
//!
//! A request names one tenant and can reach no other. Whoever is no member is told the same as of a tenant that does not
//! exist, but for what its profile says to everybody.

pub(crate) mod accept_invite;
pub(crate) mod archive;
mod asker;
pub(crate) mod create_webhook;
pub(crate) mod delete_webhook;
pub(crate) mod export_tenant;
pub(crate) mod get_plan;
pub(crate) mod get_provisioning;
pub(crate) mod get_tenant;
pub(crate) mod get_usage;
pub(crate) mod import_tenant;
pub(crate) mod invite;
pub(crate) mod list_memberships;
pub(crate) mod list_tenants;
pub(crate) mod list_webhooks;
pub(crate) mod provision;
pub(crate) mod rotate_webhook_secret;
pub(crate) mod set_role;
pub(crate) mod suspend;
pub(crate) mod test_webhook;
pub(crate) mod update_tenant;
pub(crate) mod update_webhook;
pub(crate) mod upload_blob;
mod view;
mod webhooks;

#[cfg(test)]
mod tests;

pub(crate) use self::asker::{Asker, find};
