//! What the methods of `co.kendev.business.*` take. Written by `scripts/types` from their documents under `lexicons/`:
//! change those, and not this.

use angel_protocol::ids::Did;
use serde::Deserialize;
use serde_json::Value;

/// The body of `co.kendev.business.cancelOrder`.
#[derive(Deserialize)]
pub(crate) struct CancelOrderInput {
    /// The order. An AT URI.
    pub(crate) order: String,
}

/// The body of `co.kendev.business.capturePayment`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CapturePaymentInput {
    /// The last four digits of the card. Exactly 4 bytes.
    pub(crate) last4: Option<String>,
    /// The order. An AT URI.
    pub(crate) order: String,
    /// The payment's identifier at the provider. At most 256 bytes.
    pub(crate) transaction_id: Option<String>,
}

/// The body of `co.kendev.business.completeOrder`.
#[derive(Deserialize)]
pub(crate) struct CompleteOrderInput {
    /// The order. An AT URI.
    pub(crate) order: String,
}

/// The body of `co.kendev.business.createLead`.
#[derive(Deserialize)]
pub(crate) struct CreateLeadInput {
    /// The lead, as co.kendev.business.lead has it; what the node computes is left out.
    pub(crate) record: Value,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.business.createOrder`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateOrderInput {
    /// Where the bill goes.
    pub(crate) billing_address: Option<Value>,
    /// Who orders, if it is not the caller.
    pub(crate) customer: Option<Did>,
    /// What the customer says. At most 20000 bytes. At most 2000 graphemes.
    pub(crate) customer_notes: Option<String>,
    /// What is ordered. From 1 to 200 entries.
    pub(crate) line_items: Vec<CreateOrderNewLine>,
    /// How it reaches the customer. One of `digital`, `physical`, `service`, `pickup`.
    pub(crate) method: String,
    /// The way of paying. At most 64 bytes. For example `credit_card`, `paypal`, `stripe`, `bank_transfer`, `crypto`.
    pub(crate) payment_method: Option<String>,
    /// Where it is sent; required when a line needs sending.
    pub(crate) shipping_address: Option<Value>,
    /// Where the customer came from. One of `system_generated`, `pickup_job`, `referral_source`, `repeat_customer`.
    pub(crate) source: Option<String>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// One line of an order.
#[derive(Deserialize)]
pub(crate) struct CreateOrderNewLine {
    /// The product. An AT URI.
    pub(crate) product: String,
    /// How many. From 1 to 100000.
    pub(crate) quantity: u32,
    /// The variant. At most 64 bytes.
    pub(crate) sku: Option<String>,
}

/// The body of `co.kendev.business.deliverOrder`.
#[derive(Deserialize)]
pub(crate) struct DeliverOrderInput {
    /// The order. An AT URI.
    pub(crate) order: String,
}

/// The body of `co.kendev.business.enterMetrics`.
#[derive(Deserialize)]
pub(crate) struct EnterMetricsInput {
    /// The campaign. An AT URI.
    pub(crate) campaign: String,
    /// How it goes.
    pub(crate) metrics: Value,
}

/// The parameters of `co.kendev.business.getCampaign`.
#[derive(Deserialize)]
pub(crate) struct GetCampaignParameters {
    /// The campaign. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.business.getCustomer`.
#[derive(Deserialize)]
pub(crate) struct GetCustomerParameters {
    /// The member.
    pub(crate) person: Did,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.business.getLead`.
#[derive(Deserialize)]
pub(crate) struct GetLeadParameters {
    /// The lead. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.business.getOrder`.
#[derive(Deserialize)]
pub(crate) struct GetOrderParameters {
    /// The order. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.business.getProject`.
#[derive(Deserialize)]
pub(crate) struct GetProjectParameters {
    /// The project. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.business.getRevenue`.
#[derive(Deserialize)]
pub(crate) struct GetRevenueParameters {
    /// Only that of one calendar month in UTC, as YYYY-MM. At most 7 bytes.
    pub(crate) month: Option<String>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.business.getTask`.
#[derive(Deserialize)]
pub(crate) struct GetTaskParameters {
    /// The task. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.business.listCustomers`.
#[derive(Deserialize)]
pub(crate) struct ListCustomersParameters {
    /// What the page before gave. At most 2048 bytes.
    pub(crate) cursor: Option<String>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// Only those of this tier. At most 64 bytes. For example `prospect`, `lead`, `customer`, `vip`.
    pub(crate) tier: Option<String>,
}

/// The parameters of `co.kendev.business.listLeads`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListLeadsParameters {
    /// Only those of this colleague.
    pub(crate) assigned_to: Option<Did>,
    /// What the page before gave. At most 2048 bytes.
    pub(crate) cursor: Option<String>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// Only those that stand here. One of `new`, `contacted`, `qualified`, `unqualified`, `nurturing`, `opportunity`,
    /// `customer`, `lost`.
    pub(crate) status: Option<String>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.business.listOrders`.
#[derive(Deserialize)]
pub(crate) struct ListOrdersParameters {
    /// What the page before gave. At most 2048 bytes.
    pub(crate) cursor: Option<String>,
    /// Only those of this customer.
    pub(crate) customer: Option<Did>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// Only those that stand here. One of `pending`, `processing`, `shipped`, `delivered`, `completed`, `cancelled`,
    /// `refunded`.
    pub(crate) status: Option<String>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.business.logActivity`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogActivityInput {
    /// The lead. An AT URI.
    pub(crate) lead: String,
    /// What is to be done next. At most 5000 bytes. At most 500 graphemes.
    pub(crate) next_action: Option<String>,
    /// What came of it. At most 64 bytes. For example `positive`, `neutral`, `negative`, `no-response`.
    pub(crate) outcome: Option<String>,
    /// What it was about. At most 2000 bytes. At most 200 graphemes.
    pub(crate) subject: String,
    /// What happened. At most 64 bytes. For example `email`, `call`, `meeting`, `website-visit`, `content-download`,
    /// `form-submission`, `social`, `note`.
    pub(crate) r#type: String,
}

/// The body of `co.kendev.business.refundOrder`.
#[derive(Deserialize)]
pub(crate) struct RefundOrderInput {
    /// How much, in minor units; without it, all. From 1 to 9007199254740991.
    pub(crate) amount: Option<u64>,
    /// The order. An AT URI.
    pub(crate) order: String,
}

/// The body of `co.kendev.business.shipOrder`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShipOrderInput {
    /// Who carries it. At most 64 bytes. For example `ups`, `fedex`, `usps`, `dhl`, `other`.
    pub(crate) carrier: Option<String>,
    /// The order. An AT URI.
    pub(crate) order: String,
    /// The carrier's number. At most 128 bytes.
    pub(crate) tracking_number: Option<String>,
}
