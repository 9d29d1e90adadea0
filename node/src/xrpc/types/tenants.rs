//! What the methods of `co.kendev.tenants.*` take. Written by `scripts/types` from their documents under `lexicons/`:
//! change those, and not this.

use angel_protocol::ids::{Datetime, Did, Tid};
use angel_protocol::tenants::{Feature, MembershipStatus, Permission, Plan, Resource, Role, Template};
use serde::Deserialize;
use serde_json::Value;

/// The body of `co.kendev.tenants.acceptInvite`.
#[derive(Deserialize)]
pub(crate) struct AcceptInviteInput {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// What opens the invitation. At most 64 bytes.
    pub(crate) token: String,
}

/// The body of `co.kendev.tenants.archive`.
#[derive(Deserialize)]
pub(crate) struct ArchiveInput {
    /// The short name, typed again. At most 18 bytes.
    pub(crate) slug: String,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.tenants.createWebhook`.
#[derive(Deserialize)]
pub(crate) struct CreateWebhookInput {
    /// Of which events; of all there are, and all there will be, without any. At most 29 entries. Each: One of
    /// `inventory.updated`, `inventory.low`, `payment.captured`, `payment.failed`, `payment.refunded`, `order.placed`,
    /// `order.shipped`, `order.completed`, `appointment.booked`, `appointment.cancelled`, `form.submitted`,
    /// `lead.created`, `lead.scored`, `opportunity.created`, `opportunity.won`, `opportunity.lost`, `member.joined`,
    /// `member.left`, `recognition.awarded`, `guardian_angel.assigned`, `token.confirmed`, `agent.decision`,
    /// `job.completed`, `job.failed`, `tenant.provisioned`, `tenant.migrated`, `node.degraded`, `node.recovered`,
    /// `campaign.overspent`.
    pub(crate) events: Option<Vec<String>>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// What is called by POST: an https URL without user and password. http is for receivers on the node's own machine,
    /// where its operator runs it for that. At most 2048 bytes.
    pub(crate) url: String,
}

/// The body of `co.kendev.tenants.deleteWebhook`.
#[derive(Deserialize)]
pub(crate) struct DeleteWebhookInput {
    /// The webhook's name, as it was told when it was made; that of a form's is form. and the key of the form. At most
    /// 520 bytes.
    pub(crate) id: String,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.tenants.exportTenant`.
#[derive(Deserialize)]
pub(crate) struct ExportTenantParameters {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.tenants.getPlan`.
#[derive(Deserialize)]
pub(crate) struct GetPlanParameters {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.tenants.getProvisioning`.
#[derive(Deserialize)]
pub(crate) struct GetProvisioningParameters {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.tenants.getTenant`.
#[derive(Deserialize)]
pub(crate) struct GetTenantParameters {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.tenants.getUsage`.
#[derive(Deserialize)]
pub(crate) struct GetUsageParameters {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.tenants.invite`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InviteInput {
    /// Whoever proved to have this e-mail address. At most 320 bytes.
    pub(crate) email: Option<String>,
    /// Until when; a week when absent, ninety days at most.
    pub(crate) expires_at: Option<Datetime>,
    /// A few words. At most 10000 bytes. At most 1000 graphemes.
    pub(crate) message: Option<String>,
    /// What a manager may do. At most 9 entries. Each: One of `manage_users`, `manage_spaces`, `manage_content`,
    /// `manage_products`, `manage_orders`, `view_analytics`, `manage_settings`, `manage_billing`, `export_data`.
    pub(crate) permissions: Option<Vec<Permission>>,
    /// As what; owner hands the tenant over. One of `tenant_member`, `tenant_manager`, `tenant_admin`, `owner`.
    pub(crate) role: Role,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// One account alone.
    pub(crate) user: Option<Did>,
}

/// The parameters of `co.kendev.tenants.listMemberships`.
#[derive(Deserialize)]
pub(crate) struct ListMembershipsParameters {
    /// What the page before gave.
    pub(crate) cursor: Option<Tid>,
    /// Most memberships on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.tenants.listTenants`.
#[derive(Deserialize)]
pub(crate) struct ListTenantsParameters {
    /// What the page before gave. At most 64 bytes.
    pub(crate) cursor: Option<String>,
    /// Most tenants on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// Only those the caller belongs to.
    pub(crate) mine: Option<bool>,
}

/// The parameters of `co.kendev.tenants.listWebhooks`.
#[derive(Deserialize)]
pub(crate) struct ListWebhooksParameters {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.tenants.provision`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProvisionInput {
    /// A record of co.kendev.tenants.blueprint, by which the tenant is made. It is checked before anything is made, and
    /// kept with the tenant.
    pub(crate) blueprint: Option<Value>,
    /// Its kind of business; the template's when absent. At most 64 bytes.
    pub(crate) business_type: Option<String>,
    /// What it is called; the short name when absent. At most 1000 bytes. At most 100 graphemes.
    pub(crate) name: Option<String>,
    /// Whose it is.
    pub(crate) owner: Did,
    /// What it may use; when absent, the smallest plan that has what the template makes. One of `free`, `starter`,
    /// `professional`, `business`, `enterprise`, `custom`.
    pub(crate) plan: Option<Plan>,
    /// The owner's recovery key for the tenant's identity.
    pub(crate) recovery_key: Option<Did>,
    /// Its short name, which becomes the first label of its handle. At most 18 bytes.
    pub(crate) slug: String,
    /// What it begins as. One of `basic-business`, `ecommerce-store`, `service-provider`, `creative-agency`,
    /// `saas-company`, `non-profit`, `custom`.
    pub(crate) template: Template,
}

/// The body of `co.kendev.tenants.rotateWebhookSecret`.
#[derive(Deserialize)]
pub(crate) struct RotateWebhookSecretInput {
    /// The webhook's name, as it was told when it was made; that of a form's is form. and the key of the form. At most
    /// 520 bytes.
    pub(crate) id: String,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.tenants.setRole`.
#[derive(Deserialize)]
pub(crate) struct SetRoleInput {
    /// What a manager may do. At most 9 entries. Each: One of `manage_users`, `manage_spaces`, `manage_content`,
    /// `manage_products`, `manage_orders`, `view_analytics`, `manage_settings`, `manage_billing`, `export_data`.
    pub(crate) permissions: Option<Vec<Permission>>,
    /// The role. One of `tenant_member`, `tenant_manager`, `tenant_admin`.
    pub(crate) role: Option<Role>,
    /// Whether the membership is in force. One of `active`, `suspended`, `revoked`.
    pub(crate) status: Option<MembershipStatus>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// The member.
    pub(crate) user: Did,
}

/// The body of `co.kendev.tenants.suspend`.
#[derive(Deserialize)]
pub(crate) struct SuspendInput {
    /// False opens it again.
    pub(crate) suspended: Option<bool>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.tenants.testWebhook`.
#[derive(Deserialize)]
pub(crate) struct TestWebhookInput {
    /// The webhook's name, as it was told when it was made; that of a form's is form. and the key of the form. At most
    /// 520 bytes.
    pub(crate) id: String,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.tenants.updateTenant`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateTenantInput {
    /// Its kind of business. At most 64 bytes.
    pub(crate) business_type: Option<String>,
    /// Features besides the plan's; for the operator. At most 10 entries. Each: A feature. One of `crm`, `ecommerce`,
    /// `projects`, `analytics`, `api`, `branding`, `priority-support`, `webhooks`, `sso`, `white-label`.
    pub(crate) features: Option<Vec<Feature>>,
    /// Limits that count in place of the plan's; for the operator. At most 9 entries.
    pub(crate) limits: Option<Vec<UpdateTenantLimit>>,
    /// What it is called. At most 1000 bytes. At most 100 graphemes.
    pub(crate) name: Option<String>,
    /// The plan; for the operator. At most 64 bytes. For example `free`, `starter`, `professional`, `business`,
    /// `enterprise`, `custom`.
    pub(crate) plan: Option<String>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// A limit of one tenant.
#[derive(Deserialize)]
pub(crate) struct UpdateTenantLimit {
    /// How much of it may be used.
    pub(crate) limit: u64,
    /// What is counted. One of `users`, `spaces`, `storage`, `products`, `apiCalls`, `orders`, `tasks`, `posts`,
    /// `emails`.
    pub(crate) resource: Resource,
}

/// The body of `co.kendev.tenants.updateWebhook`.
#[derive(Deserialize)]
pub(crate) struct UpdateWebhookInput {
    /// Of which events; of all there are, and all there will be, without any. At most 29 entries. Each: One of
    /// `inventory.updated`, `inventory.low`, `payment.captured`, `payment.failed`, `payment.refunded`, `order.placed`,
    /// `order.shipped`, `order.completed`, `appointment.booked`, `appointment.cancelled`, `form.submitted`,
    /// `lead.created`, `lead.scored`, `opportunity.created`, `opportunity.won`, `opportunity.lost`, `member.joined`,
    /// `member.left`, `recognition.awarded`, `guardian_angel.assigned`, `token.confirmed`, `agent.decision`,
    /// `job.completed`, `job.failed`, `tenant.provisioned`, `tenant.migrated`, `node.degraded`, `node.recovered`,
    /// `campaign.overspent`.
    pub(crate) events: Option<Vec<String>>,
    /// The webhook's name, as it was told when it was made; that of a form's is form. and the key of the form. At most
    /// 520 bytes.
    pub(crate) id: String,
    /// Whether no calls are made.
    pub(crate) paused: Option<bool>,
    /// Whether what waits is passed over. When absent, `false`.
    #[serde(default)]
    pub(crate) skip: bool,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// What is called by POST: an https URL without user and password. http is for receivers on the node's own machine,
    /// where its operator runs it for that. At most 2048 bytes.
    pub(crate) url: Option<String>,
}

/// The parameters of `co.kendev.tenants.uploadBlob`.
#[derive(Deserialize)]
pub(crate) struct UploadBlobParameters {
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}
