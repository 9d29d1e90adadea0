//! What a business does with its orders and leads: which step follows which, what a sale is shared out into, how
//! promising a lead is, how close a customer somebody is, whether a campaign may go on (network specification, `rules.md`
//! 1, 2 and 5).
//!
//! Functions of records alone, in integers that round as the rules say. Where records lie, what is in stock and who may
//! do what belongs to the node. The fields that follow from an order or a lead by itself are computed by the table of
//! rules ([`crate::rules`]), which calls what is here.

pub mod campaign;
pub mod customer;
pub mod due;
pub mod lead;
pub mod order;
pub mod revenue;
pub mod stock;

/// The collection of orders.
pub const ORDER: &str = "co.kendev.business.order";

/// The collection of leads.
pub const LEAD: &str = "co.kendev.business.lead";

/// The collection of what was done about leads and opportunities.
pub const ACTIVITY: &str = "co.kendev.business.activity";

/// The collection of what is known about members as customers.
pub const MEMBER_CRM: &str = "co.kendev.spaces.memberCrm";

/// The collection of booked times.
pub const APPOINTMENT: &str = "co.kendev.business.appointment";

/// The collection of campaigns.
pub const CAMPAIGN: &str = "co.kendev.business.campaign";

/// The collection of projects.
pub const PROJECT: &str = "co.kendev.business.project";

/// The collection of tasks.
pub const TASK: &str = "co.kendev.business.task";

/// The collection of what was worked on tasks.
pub const TIME_ENTRY: &str = "co.kendev.business.timeEntry";

/// The collection of products.
pub const PRODUCT: &str = "co.kendev.business.product";

/// The collection of the private halves of products.
pub const PRODUCT_SETTINGS: &str = "co.kendev.business.productSettings";

/// The collection of the private halves of forms.
pub const FORM_SETTINGS: &str = "co.kendev.content.formSettings";

/// The collection of posts.
pub const POST: &str = "co.kendev.content.post";

/// The collection of what people filled in.
pub const FORM_SUBMISSION: &str = "co.kendev.content.formSubmission";

/// The collection of what a tenant has settled for itself, of which there is one record, `self`.
pub const TENANT_SETTINGS: &str = "co.kendev.tenants.settings";
