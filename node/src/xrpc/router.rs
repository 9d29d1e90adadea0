//! Every method with its path, in the order of the specification. Reading goes by `GET`, acting by `POST`.

use std::sync::Arc;

use angel_protocol::limits::{FORM_BODY_BYTES_MAX, TENANT_IMPORT_BYTES_MAX};
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use axum::{Router, middleware};

use super::app::bsky::actor;
use super::co::kendev::{business, content, network, people, spaces, tenants};
use super::com::atproto::{admin, identity, lexicon, moderation, repo, server, simplespace, space, sync, temp};
use super::host::Host;
use super::jetstream;
use super::proxied;
use crate::http::live;
use crate::rate_limits::count_requests;

/// The methods.
pub(crate) fn routes(host: Arc<Host>) -> Router {
    let limits = host.limits.clone();
    let or_elsewhere = middleware::from_fn_with_state(Arc::clone(&host), proxied::or_here);
    let unless_named = middleware::from_fn_with_state(Arc::clone(&host), proxied::or_here_unless_named);
    let write_body = DefaultBodyLimit::max(repo::WRITE_BYTES_MAX);
    let space_body = DefaultBodyLimit::max(space::WRITE_BYTES_MAX);
    Router::new()
        .route("/xrpc/app.bsky.actor.getPreferences", get(actor::get_preferences::handler).layer(unless_named.clone()))
        .route("/xrpc/app.bsky.actor.putPreferences", post(actor::put_preferences::handler).layer(unless_named))
        .route("/xrpc/com.atproto.admin.deleteAccount", post(admin::delete_account::handler))
        .route("/xrpc/com.atproto.admin.disableAccountInvites", post(admin::disable_account_invites::handler))
        .route("/xrpc/com.atproto.admin.disableInviteCodes", post(admin::disable_invite_codes::handler))
        .route("/xrpc/com.atproto.admin.enableAccountInvites", post(admin::enable_account_invites::handler))
        .route("/xrpc/com.atproto.admin.getAccountInfo", get(admin::get_account_info::handler))
        .route("/xrpc/com.atproto.admin.getAccountInfos", get(admin::get_account_infos::handler))
        .route("/xrpc/com.atproto.admin.getInviteCodes", get(admin::get_invite_codes::handler))
        .route("/xrpc/com.atproto.admin.getSubjectStatus", get(admin::get_subject_status::handler))
        .route("/xrpc/com.atproto.admin.searchAccounts", get(admin::search_accounts::handler))
        .route("/xrpc/com.atproto.admin.sendEmail", post(admin::send_email::handler))
        .route("/xrpc/com.atproto.admin.updateAccountEmail", post(admin::update_account_email::handler))
        .route("/xrpc/com.atproto.admin.updateAccountHandle", post(admin::update_account_handle::handler))
        .route("/xrpc/com.atproto.admin.updateAccountPassword", post(admin::update_account_password::handler))
        .route("/xrpc/com.atproto.admin.updateSubjectStatus", post(admin::update_subject_status::handler))
        .route(
            "/xrpc/com.atproto.moderation.createReport",
            post(moderation::create_report::handler).layer(or_elsewhere),
        )
        .route("/xrpc/com.atproto.server.activateAccount", post(server::activate_account::handler))
        .route("/xrpc/com.atproto.server.checkAccountStatus", get(server::check_account_status::handler))
        .route("/xrpc/com.atproto.server.confirmEmail", post(server::confirm_email::handler))
        .route("/xrpc/com.atproto.server.createAccount", post(server::create_account::handler))
        .route("/xrpc/com.atproto.server.createAppPassword", post(server::create_app_password::handler))
        .route("/xrpc/com.atproto.server.createInviteCode", post(server::create_invite_code::handler))
        .route("/xrpc/com.atproto.server.createInviteCodes", post(server::create_invite_codes::handler))
        .route("/xrpc/com.atproto.server.createSession", post(server::create_session::handler))
        .route("/xrpc/com.atproto.server.deactivateAccount", post(server::deactivate_account::handler))
        .route("/xrpc/com.atproto.server.deleteAccount", post(server::delete_account::handler))
        .route("/xrpc/com.atproto.server.deleteSession", post(server::delete_session::handler))
        .route("/xrpc/com.atproto.server.describeServer", get(server::describe_server::handler))
        .route("/xrpc/com.atproto.server.getAccountInviteCodes", get(server::get_account_invite_codes::handler))
        .route("/xrpc/com.atproto.server.getServiceAuth", get(server::get_service_auth::handler))
        .route("/xrpc/com.atproto.server.getSession", get(server::get_session::handler))
        .route("/xrpc/com.atproto.server.listAppPasswords", get(server::list_app_passwords::handler))
        .route("/xrpc/com.atproto.server.refreshSession", post(server::refresh_session::handler))
        .route("/xrpc/com.atproto.server.requestAccountDelete", post(server::request_account_delete::handler))
        .route("/xrpc/com.atproto.server.requestEmailConfirmation", post(server::request_email_confirmation::handler))
        .route("/xrpc/com.atproto.server.requestEmailUpdate", post(server::request_email_update::handler))
        .route("/xrpc/com.atproto.server.requestPasswordReset", post(server::request_password_reset::handler))
        .route("/xrpc/com.atproto.server.reserveSigningKey", post(server::reserve_signing_key::handler))
        .route("/xrpc/com.atproto.server.resetPassword", post(server::reset_password::handler))
        .route("/xrpc/com.atproto.server.revokeAppPassword", post(server::revoke_app_password::handler))
        .route("/xrpc/com.atproto.server.updateEmail", post(server::update_email::handler))
        .route("/xrpc/com.atproto.temp.checkHandleAvailability", get(temp::check_handle_availability::handler))
        .route("/xrpc/com.atproto.temp.checkSignupQueue", get(temp::check_signup_queue::handler))
        .route(
            "/xrpc/com.atproto.identity.getRecommendedDidCredentials",
            get(identity::get_recommended_did_credentials::handler),
        )
        .route("/xrpc/com.atproto.identity.refreshIdentity", post(identity::refresh_identity::handler))
        .route(
            "/xrpc/com.atproto.identity.requestPlcOperationSignature",
            post(identity::request_plc_operation_signature::handler),
        )
        .route("/xrpc/com.atproto.identity.resolveDid", get(identity::resolve_did::handler))
        .route("/xrpc/com.atproto.identity.resolveHandle", get(identity::resolve_handle::handler))
        .route("/xrpc/com.atproto.identity.resolveIdentity", get(identity::resolve_identity::handler))
        .route("/xrpc/com.atproto.identity.signPlcOperation", post(identity::sign_plc_operation::handler))
        .route("/xrpc/com.atproto.identity.submitPlcOperation", post(identity::submit_plc_operation::handler))
        .route("/xrpc/com.atproto.identity.updateHandle", post(identity::update_handle::handler))
        .route("/xrpc/com.atproto.lexicon.resolveLexicon", get(lexicon::resolve_lexicon::handler))
        .route("/xrpc/com.atproto.repo.applyWrites", post(repo::apply_writes::handler).layer(write_body))
        .route("/xrpc/com.atproto.repo.createRecord", post(repo::create_record::handler).layer(write_body))
        .route("/xrpc/com.atproto.repo.deleteRecord", post(repo::delete_record::handler))
        .route("/xrpc/com.atproto.repo.describeRepo", get(repo::describe_repo::handler))
        .route("/xrpc/com.atproto.repo.getRecord", get(repo::get_record::handler))
        .route("/xrpc/com.atproto.repo.importRepo", post(repo::import_repo::handler))
        .route("/xrpc/com.atproto.repo.listMissingBlobs", get(repo::list_missing_blobs::handler))
        .route("/xrpc/com.atproto.repo.listRecords", get(repo::list_records::handler))
        .route("/xrpc/com.atproto.repo.putRecord", post(repo::put_record::handler).layer(write_body))
        .route("/xrpc/com.atproto.repo.uploadBlob", post(repo::upload_blob::handler))
        .route("/xrpc/com.atproto.space.applyWrites", post(space::apply_writes::handler).layer(space_body))
        .route("/xrpc/com.atproto.space.createRecord", post(space::create_record::handler).layer(space_body))
        .route("/xrpc/com.atproto.space.deleteRecord", post(space::delete_record::handler))
        .route("/xrpc/com.atproto.space.getBlob", get(space::get_blob::handler))
        .route("/xrpc/com.atproto.space.getDelegationToken", get(space::get_delegation_token::handler))
        .route("/xrpc/com.atproto.space.getLatestCommit", get(space::get_latest_commit::handler))
        .route("/xrpc/com.atproto.space.getRecord", get(space::get_record::handler))
        .route("/xrpc/com.atproto.space.getRepo", get(space::get_repo::handler))
        .route("/xrpc/com.atproto.space.getSpaceCredential", post(space::get_space_credential::handler))
        .route("/xrpc/com.atproto.space.listBlobs", get(space::list_blobs::handler))
        .route("/xrpc/com.atproto.space.listRecords", get(space::list_records::handler))
        .route("/xrpc/com.atproto.space.listRepoOps", get(space::list_repo_ops::handler))
        .route("/xrpc/com.atproto.space.listRepos", get(space::list_repos::handler))
        .route("/xrpc/com.atproto.space.listSpaces", get(space::list_spaces::handler))
        .route("/xrpc/com.atproto.space.notifyCredentialRevoked", post(space::notify_credential_revoked::handler))
        .route("/xrpc/com.atproto.space.notifySpaceDeleted", post(space::notify_space_deleted::handler))
        .route("/xrpc/com.atproto.space.notifyWrite", post(space::notify_write::handler))
        .route("/xrpc/com.atproto.space.putRecord", post(space::put_record::handler).layer(space_body))
        .route("/xrpc/com.atproto.space.registerNotify", post(space::register_notify::handler))
        .route("/xrpc/com.atproto.space.unregisterNotify", post(space::unregister_notify::handler))
        .route("/xrpc/com.atproto.simplespace.createSpace", post(simplespace::create_space::handler))
        .route("/xrpc/com.atproto.simplespace.deleteSpace", post(simplespace::delete_space::handler))
        .route("/xrpc/com.atproto.simplespace.getSpace", get(simplespace::get_space::handler))
        .route("/xrpc/com.atproto.simplespace.listMembers", get(simplespace::list_members::handler))
        .route("/xrpc/com.atproto.simplespace.putMember", post(simplespace::put_member::handler))
        .route("/xrpc/com.atproto.simplespace.removeMember", post(simplespace::remove_member::handler))
        .route("/xrpc/com.atproto.simplespace.updateSpace", post(simplespace::update_space::handler))
        .route("/xrpc/com.atproto.sync.getBlob", get(sync::get_blob::handler))
        .route("/xrpc/com.atproto.sync.getBlocks", get(sync::get_blocks::handler))
        .route("/xrpc/com.atproto.sync.getCheckout", get(sync::get_checkout::handler))
        .route("/xrpc/com.atproto.sync.getHead", get(sync::get_head::handler))
        .route("/xrpc/com.atproto.sync.getLatestCommit", get(sync::get_latest_commit::handler))
        .route("/xrpc/com.atproto.sync.getRecord", get(sync::get_record::handler))
        .route("/xrpc/com.atproto.sync.getRepo", get(sync::get_repo::handler))
        .route("/xrpc/com.atproto.sync.getRepoStatus", get(sync::get_repo_status::handler))
        .route("/xrpc/com.atproto.sync.listBlobs", get(sync::list_blobs::handler))
        .route("/xrpc/com.atproto.sync.listRepos", get(sync::list_repos::handler))
        .route("/xrpc/com.atproto.sync.listReposByCollection", get(sync::list_repos_by_collection::handler))
        .route("/xrpc/com.atproto.sync.subscribeRepos", get(sync::subscribe_repos::handler))
        .merge(network_routes())
        .merge(space_routes())
        .merge(business_routes())
        .merge(content_routes())
        .merge(people_routes())
        .merge(tenant_routes())
        .route("/subscribe", get(jetstream::handler))
        .route("/xrpc/{method}", any(proxied::handler))
        .route_layer(middleware::from_fn_with_state(limits, count_requests))
        .with_state(host)
}

/// What owners ask of the network for their accounts.
fn network_routes() -> Router<Arc<Host>> {
    Router::new()
        .route("/xrpc/co.kendev.network.dismissRecordVersions", post(network::dismiss_record_versions::handler))
        .route("/xrpc/co.kendev.network.listRecordVersions", get(network::list_record_versions::handler))
        .route("/xrpc/co.kendev.network.openWallet", post(network::open_wallet::handler))
        .route("/xrpc/co.kendev.network.sendTokens", post(network::send_tokens::handler))
}

/// The methods of spaces.
fn space_routes() -> Router<Arc<Host>> {
    Router::new()
        .route("/api/spaces/events", get(live::events))
        .route("/xrpc/co.kendev.spaces.approveMember", post(spaces::approve_member::handler))
        .route("/xrpc/co.kendev.spaces.banMember", post(spaces::ban_member::handler))
        .route("/xrpc/co.kendev.spaces.createChannel", post(spaces::create_channel::handler))
        .route("/xrpc/co.kendev.spaces.createSpace", post(spaces::create_space::handler))
        .route("/xrpc/co.kendev.spaces.deleteMessage", post(spaces::delete_message::handler))
        .route("/xrpc/co.kendev.spaces.deleteSpace", post(spaces::delete_space::handler))
        .route("/xrpc/co.kendev.spaces.editMessage", post(spaces::edit_message::handler))
        .route("/xrpc/co.kendev.spaces.exportSpaces", get(spaces::export_spaces::handler))
        .route("/xrpc/co.kendev.spaces.getMessage", get(spaces::get_message::handler))
        .route("/xrpc/co.kendev.spaces.getMessageInsight", get(spaces::get_message_insight::handler))
        .route("/xrpc/co.kendev.spaces.getSpace", get(spaces::get_space::handler))
        .route("/xrpc/co.kendev.spaces.getThread", get(spaces::get_thread::handler))
        .route("/xrpc/co.kendev.spaces.hideMessage", post(spaces::hide_message::handler))
        .route("/xrpc/co.kendev.spaces.importRepo", post(spaces::import_repo::handler))
        .route("/xrpc/co.kendev.spaces.importSpaces", post(spaces::import_spaces::handler))
        .route("/xrpc/co.kendev.spaces.inviteMember", post(spaces::invite_member::handler))
        .route("/xrpc/co.kendev.spaces.joinSpace", post(spaces::join_space::handler))
        .route("/xrpc/co.kendev.spaces.leaveSpace", post(spaces::leave_space::handler))
        .route("/xrpc/co.kendev.spaces.listChannels", get(spaces::list_channels::handler))
        .route("/xrpc/co.kendev.spaces.listInvitations", get(spaces::list_invitations::handler))
        .route("/xrpc/co.kendev.spaces.listMembers", get(spaces::list_members::handler))
        .route("/xrpc/co.kendev.spaces.listMessageVersions", get(spaces::list_message_versions::handler))
        .route("/xrpc/co.kendev.spaces.listMessages", get(spaces::list_messages::handler))
        .route("/xrpc/co.kendev.spaces.listReports", get(spaces::list_reports::handler))
        .route("/xrpc/co.kendev.spaces.listSpaces", get(spaces::list_spaces::handler))
        .route("/xrpc/co.kendev.spaces.markRead", post(spaces::mark_read::handler))
        .route("/xrpc/co.kendev.spaces.react", post(spaces::react::handler))
        .route("/xrpc/co.kendev.spaces.reportMessage", post(spaces::report_message::handler))
        .route("/xrpc/co.kendev.spaces.searchMessages", get(spaces::search_messages::handler))
        .route("/xrpc/co.kendev.spaces.sendMessage", post(spaces::send_message::handler))
        .route("/xrpc/co.kendev.spaces.blockPerson", post(spaces::block_person::handler))
        .route("/xrpc/co.kendev.spaces.notifyInvitation", post(spaces::notify_invitation::handler))
        .route("/xrpc/co.kendev.spaces.openDirect", post(spaces::open_direct::handler))
        .route("/xrpc/co.kendev.spaces.setChannelAccess", post(spaces::set_channel_access::handler))
        .route("/xrpc/co.kendev.spaces.setMemberRole", post(spaces::set_member_role::handler))
        .route("/xrpc/co.kendev.spaces.setTyping", post(spaces::set_typing::handler))
        .route("/xrpc/co.kendev.spaces.settleReport", post(spaces::settle_report::handler))
        .route("/xrpc/co.kendev.spaces.subscribeSpace", get(spaces::subscribe_space::handler))
        .route("/xrpc/co.kendev.spaces.suspendMember", post(spaces::suspend_member::handler))
        .route("/xrpc/co.kendev.spaces.updateChannel", post(spaces::update_channel::handler))
        .route("/xrpc/co.kendev.spaces.updateSpace", post(spaces::update_space::handler))
}

/// The methods of orders and leads.
fn business_routes() -> Router<Arc<Host>> {
    Router::new()
        .route("/xrpc/co.kendev.business.cancelOrder", post(business::cancel_order::handler))
        .route("/xrpc/co.kendev.business.capturePayment", post(business::capture_payment::handler))
        .route("/xrpc/co.kendev.business.completeOrder", post(business::complete_order::handler))
        .route("/xrpc/co.kendev.business.createLead", post(business::create_lead::handler))
        .route("/xrpc/co.kendev.business.createOrder", post(business::create_order::handler))
        .route("/xrpc/co.kendev.business.deliverOrder", post(business::deliver_order::handler))
        .route("/xrpc/co.kendev.business.enterMetrics", post(business::enter_metrics::handler))
        .route("/xrpc/co.kendev.business.getCampaign", get(business::get_campaign::handler))
        .route("/xrpc/co.kendev.business.getCustomer", get(business::get_customer::handler))
        .route("/xrpc/co.kendev.business.getLead", get(business::get_lead::handler))
        .route("/xrpc/co.kendev.business.getOrder", get(business::get_order::handler))
        .route("/xrpc/co.kendev.business.getProject", get(business::get_project::handler))
        .route("/xrpc/co.kendev.business.getRevenue", get(business::get_revenue::handler))
        .route("/xrpc/co.kendev.business.getTask", get(business::get_task::handler))
        .route("/xrpc/co.kendev.business.listCustomers", get(business::list_customers::handler))
        .route("/xrpc/co.kendev.business.listLeads", get(business::list_leads::handler))
        .route("/xrpc/co.kendev.business.listOrders", get(business::list_orders::handler))
        .route("/xrpc/co.kendev.business.logActivity", post(business::log_activity::handler))
        .route("/xrpc/co.kendev.business.refundOrder", post(business::refund_order::handler))
        .route("/xrpc/co.kendev.business.shipOrder", post(business::ship_order::handler))
}

/// The methods of what is published.
fn content_routes() -> Router<Arc<Host>> {
    let answers = DefaultBodyLimit::max(FORM_BODY_BYTES_MAX);
    Router::new()
        .route("/xrpc/co.kendev.content.deleteSubmission", post(content::delete_submission::handler))
        .route("/xrpc/co.kendev.content.getForm", get(content::get_form::handler))
        .route("/xrpc/co.kendev.content.getFormSettings", get(content::get_form_settings::handler))
        .route("/xrpc/co.kendev.content.getRoadmapFeature", get(content::get_roadmap_feature::handler))
        .route("/xrpc/co.kendev.content.submitForm", post(content::submit_form::handler).layer(answers))
}

/// The methods of people.
fn people_routes() -> Router<Arc<Host>> {
    Router::new()
        .route("/xrpc/co.kendev.people.getKarma", get(people::get_karma::handler))
        .route("/xrpc/co.kendev.people.listRecognitions", get(people::list_recognitions::handler))
        .route("/xrpc/co.kendev.people.recognise", post(people::recognise::handler))
        .route("/xrpc/co.kendev.people.revokeRecognition", post(people::revoke_recognition::handler))
}

/// The methods of tenants.
fn tenant_routes() -> Router<Arc<Host>> {
    let whole = DefaultBodyLimit::max(TENANT_IMPORT_BYTES_MAX);
    Router::new()
        .route("/xrpc/co.kendev.tenants.acceptInvite", post(tenants::accept_invite::handler))
        .route("/xrpc/co.kendev.tenants.archive", post(tenants::archive::handler))
        .route("/xrpc/co.kendev.tenants.createWebhook", post(tenants::create_webhook::handler))
        .route("/xrpc/co.kendev.tenants.deleteWebhook", post(tenants::delete_webhook::handler))
        .route("/xrpc/co.kendev.tenants.exportTenant", get(tenants::export_tenant::handler))
        .route("/xrpc/co.kendev.tenants.getPlan", get(tenants::get_plan::handler))
        .route("/xrpc/co.kendev.tenants.getProvisioning", get(tenants::get_provisioning::handler))
        .route("/xrpc/co.kendev.tenants.getTenant", get(tenants::get_tenant::handler))
        .route("/xrpc/co.kendev.tenants.getUsage", get(tenants::get_usage::handler))
        .route("/xrpc/co.kendev.tenants.importTenant", post(tenants::import_tenant::handler).layer(whole))
        .route("/xrpc/co.kendev.tenants.invite", post(tenants::invite::handler))
        .route("/xrpc/co.kendev.tenants.listMemberships", get(tenants::list_memberships::handler))
        .route("/xrpc/co.kendev.tenants.listTenants", get(tenants::list_tenants::handler))
        .route("/xrpc/co.kendev.tenants.listWebhooks", get(tenants::list_webhooks::handler))
        .route("/xrpc/co.kendev.tenants.provision", post(tenants::provision::handler))
        .route("/xrpc/co.kendev.tenants.rotateWebhookSecret", post(tenants::rotate_webhook_secret::handler))
        .route("/xrpc/co.kendev.tenants.setRole", post(tenants::set_role::handler))
        .route("/xrpc/co.kendev.tenants.suspend", post(tenants::suspend::handler))
        .route("/xrpc/co.kendev.tenants.testWebhook", post(tenants::test_webhook::handler))
        .route("/xrpc/co.kendev.tenants.updateTenant", post(tenants::update_tenant::handler))
        .route("/xrpc/co.kendev.tenants.updateWebhook", post(tenants::update_webhook::handler))
        .route("/xrpc/co.kendev.tenants.uploadBlob", post(tenants::upload_blob::handler))
}
