//! `co.kendev.spaces.*`: spaces, who is in them and what is said there. Whoever asks is known by a session here, or by a
//! token that the key of an account elsewhere signed for the method ("Inter-Service Authentication"), or not at all.

pub(crate) mod approve_member;
mod asker;
pub(crate) mod ban_member;
pub(crate) mod block_person;
pub(crate) mod create_channel;
pub(crate) mod create_space;
pub(crate) mod delete_message;
pub(crate) mod delete_space;
pub(crate) mod edit_message;
pub(crate) mod export_spaces;
pub(crate) mod get_message;
pub(crate) mod get_message_insight;
pub(crate) mod get_space;
pub(crate) mod get_thread;
pub(crate) mod hide_message;
pub(crate) mod import_repo;
pub(crate) mod import_spaces;
pub(crate) mod invite_member;
pub(crate) mod join_space;
pub(crate) mod leave_space;
pub(crate) mod list_channels;
pub(crate) mod list_invitations;
pub(crate) mod list_members;
pub(crate) mod list_message_versions;
pub(crate) mod list_messages;
pub(crate) mod list_reports;
pub(crate) mod list_spaces;
pub(crate) mod mark_read;
mod messages;
pub(crate) mod notify_invitation;
pub(crate) mod open_direct;
pub(crate) mod react;
pub(crate) mod report_message;
pub(crate) mod search_messages;
pub(crate) mod send_message;
pub(crate) mod set_channel_access;
pub(crate) mod set_member_role;
pub(crate) mod set_typing;
pub(crate) mod settle_report;
pub(crate) mod subscribe_space;
pub(crate) mod suspend_member;
#[cfg(test)]
mod tests;
pub(crate) mod update_channel;
pub(crate) mod update_space;

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::spaces::Membership;
use axum::Json;
use serde_json::{Value, json};

use crate::blocking;
use crate::http::XrpcError;
use crate::spaces::{Asker, Change, Page, Reading, SpaceError, Written};
use crate::xrpc::host::Host;

type Shared = Arc<Host>;

/// A sanction against a member, or the end of one.
async fn sanction(
    host: &Host,
    asker: &Asker,
    (space, user): (&str, &Did),
    change: Change,
) -> Result<Json<Value>, XrpcError> {
    Ok(membership(&host.spaces.change_member(space, asker.somebody()?, user, change).await?))
}

/// Where a membership stands.
fn membership(membership: &Membership) -> Json<Value> {
    Json(json!({ "role": membership.role, "status": membership.status }))
}

/// Work that reads, and its answer.
async fn reading(work: impl FnOnce() -> Result<Value, SpaceError> + Send + 'static) -> Result<Json<Value>, XrpcError> {
    Ok(Json(blocking::run(work).await?))
}

/// A cursor that is a number.
fn number(cursor: Option<&str>) -> Result<Option<u64>, SpaceError> {
    let wrong = |_| SpaceError::Malformed("the cursor is none of ours".to_owned());
    cursor.map(|cursor| cursor.parse().map_err(wrong)).transpose()
}

fn page(name: &str, page: Page) -> Value {
    let mut answer = json!({ name: page.items });
    if let Some(cursor) = page.cursor {
        answer["cursor"] = cursor.into();
    }
    answer
}

/// An answer, with how old it is where it was read from a copy.
fn aged(mut answer: Value, reading: &Reading) -> Value {
    if let Some(as_of) = reading.as_of() {
        answer["asOf"] = as_of.to_string().into();
    }
    answer
}

fn written(written: &Written) -> Json<Value> {
    Json(json!({ "uri": written.uri, "cid": written.cid.to_string() }))
}

/// Sets the code of a space when one is given.
async fn set_code(host: &Host, uri: &str, by: &Did, code: Option<&str>) -> Result<(), XrpcError> {
    let Some(code) = code else { return Ok(()) };
    let (spaces, at, did) = (host.spaces.clone(), uri.to_owned(), by.clone());
    let found = blocking::run(move || spaces.find_live(&at, Some(&did))).await?;
    Ok(host.spaces.set_code(found.id, by, Some(code)).await?)
}
