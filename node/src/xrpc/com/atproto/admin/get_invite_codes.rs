//! `com.atproto.admin.getInviteCodes`: every invite code, newest or most used first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::http::XrpcError;
use crate::invites::Invite;
use crate::xrpc::auth::Moderator;
use crate::xrpc::com::atproto::invite_view::InviteView;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    Recent,
    Usage,
}

#[derive(Deserialize)]
pub(crate) struct Query {
    #[serde(default)]
    sort: Sort,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    codes: Vec<InviteView>,
}

pub(crate) async fn handler(
    _: Moderator,
    State(host): State<Arc<Host>>,
    Params(Query { sort, limit, cursor }): Params<Query>,
) -> Result<Json<Output>, XrpcError> {
    let limit = limit.unwrap_or(100);
    if !(1..=500).contains(&limit) {
        return Err(XrpcError::invalid_request("limit lies between 1 and 500"));
    }
    let place = move |(code, row): &Invite| {
        let primary = match sort {
            Sort::Recent => row.created_at.as_millis(),
            Sort::Usage => row.uses.len() as u64,
        };
        (primary, code.clone())
    };
    let after = cursor.map(|cursor| read_cursor(&cursor)).transpose()?;
    let invites = host.invites.clone();
    let mut all = blocking::run(move || invites.all_blocking()).await?;
    all.sort_by_cached_key(|invite| std::cmp::Reverse(place(invite)));
    let mut rest = all.into_iter().skip_while(|invite| after.as_ref().is_some_and(|after| place(invite) >= *after));
    let page: Vec<Invite> = rest.by_ref().take(limit).collect();
    let last = page.last().map(|last| {
        let (primary, code) = place(last);
        format!("{primary}::{code}")
    });
    let cursor = last.filter(|_| rest.next().is_some());
    Ok(Json(Output { cursor, codes: page.into_iter().map(InviteView::from).collect() }))
}

fn read_cursor(cursor: &str) -> Result<(u64, String), XrpcError> {
    let parts = cursor.split_once("::").and_then(|(primary, code)| Some((primary.parse().ok()?, code.to_owned())));
    parts.ok_or_else(|| XrpcError::invalid_request("cursor: not one that this method gave"))
}
