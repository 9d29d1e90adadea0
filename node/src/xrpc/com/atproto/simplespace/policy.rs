//! Settings of a space as requests and answers have them (`com.atproto.simplespace.defs`).

use angel_protocol::permissioned::{AppAccess, Policy};
use serde::{Deserialize, Serialize};

/// Who is let in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "$type")]
pub(super) enum PolicyView {
    #[serde(rename = "com.atproto.simplespace.defs#publicPolicy")]
    Public {},
    #[serde(rename = "com.atproto.simplespace.defs#memberListPolicy")]
    MemberList {},
    #[serde(rename = "com.atproto.simplespace.defs#managingAppPolicy")]
    ManagingApp {
        #[serde(rename = "managingApp")]
        managing_app: String,
    },
}

/// With which apps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "$type")]
pub(super) enum AppAccessView {
    #[serde(rename = "com.atproto.simplespace.defs#open")]
    Open {},
    #[serde(rename = "com.atproto.simplespace.defs#allowList")]
    AllowList { allowed: Vec<String> },
}

impl From<PolicyView> for Policy {
    fn from(view: PolicyView) -> Self {
        match view {
            PolicyView::Public {} => Self::Public,
            PolicyView::MemberList {} => Self::MemberList,
            PolicyView::ManagingApp { managing_app } => Self::ManagingApp(managing_app),
        }
    }
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Public => Self::Public {},
            Policy::MemberList => Self::MemberList {},
            Policy::ManagingApp(managing_app) => Self::ManagingApp { managing_app },
        }
    }
}

impl From<AppAccessView> for AppAccess {
    fn from(view: AppAccessView) -> Self {
        match view {
            AppAccessView::Open {} => Self::Open,
            AppAccessView::AllowList { allowed } => Self::AllowList(allowed),
        }
    }
}

impl From<AppAccess> for AppAccessView {
    fn from(access: AppAccess) -> Self {
        match access {
            AppAccess::Open => Self::Open {},
            AppAccess::AllowList(allowed) => Self::AllowList { allowed },
        }
    }
}
