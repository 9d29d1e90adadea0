//! Room on the disk (SLF-04). A node whose disk fills up goes on serving what it has and takes nothing more in, before the
//! store fails for want of room: what goes on by itself, and what people delete, still finds some.

use std::path::Path;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use crate::http::XrpcError;
use crate::machine::{self, Load};

/// What is kept free: of a disk one part in so many, of a large one no more than so many bytes.
const RESERVE_PART: u64 = 20;
const RESERVE_BYTES_MAX: u64 = 128 << 20;

/// When whoever was refused may ask again, in seconds.
const RETRY_AFTER: u16 = 60;

/// Whether less is free on the data directory's disk than is kept for what must go on. A disk that cannot be measured has
/// room.
pub(crate) fn is_short(load: &Load) -> bool {
    lacks(load.disk_used_bytes, load.disk_capacity_bytes)
}

/// The same of the disk of `path`, as it is now. Blocks for a moment.
pub(crate) fn is_short_at(path: &Path) -> bool {
    machine::disk(path).is_ok_and(|(used, capacity)| lacks(used, capacity))
}

fn lacks(used: u64, capacity: u64) -> bool {
    capacity.saturating_sub(used) < (capacity / RESERVE_PART).min(RESERVE_BYTES_MAX)
}

/// What whoever wants to add something is told, and the operator.
pub(crate) const SHORT: &str = "the disk of this node is nearly full: it serves what it has, and takes something more in \
                                when its operator has made room";

/// Refuses methods that add something while there is no room for it.
pub(crate) async fn or_refuse(State(load): State<watch::Receiver<Load>>, request: Request, next: Next) -> Response {
    let adds = request.method() == Method::POST && adds_something(request.uri().path());
    if adds && is_short(&load.borrow()) {
        let mut response = XrpcError::new(StatusCode::SERVICE_UNAVAILABLE, "DiskFull", SHORT).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        return response;
    }
    next.run(request).await
}

/// Whether a procedure adds to what is kept here. Logins, what operators and owners of identities do, and what takes
/// something away has to work all the more; what is for another service is kept there.
fn adds_something(path: &str) -> bool {
    let Some(method) = path.strip_prefix("/xrpc/") else { return false };
    let verb = method.rsplit('.').next().unwrap_or_default();
    let takes_away = ["delete", "remove", "revoke", "leave", "unblock"].iter().any(|word| verb.starts_with(word));
    let groups = ["com.atproto.repo.", "com.atproto.space.", "com.atproto.simplespace.", "co.kendev."];
    let adds = groups.iter().any(|group| method.starts_with(group)) || method == "com.atproto.server.createAccount";
    adds && !takes_away
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_is_kept_and_of_a_large_disk_no_more_than_is_needed() {
        let mib = |count: u64| count << 20;
        assert!(!lacks(mib(95), mib(100)) && lacks(mib(95) + 1, mib(100)));
        let large = mib(1 << 20);
        assert!(!lacks(large - RESERVE_BYTES_MAX, large) && lacks(large - RESERVE_BYTES_MAX + 1, large));
        assert!(!is_short(&Load::default()), "one that cannot be measured");
    }

    #[test]
    fn what_takes_away_and_logins_work_on() {
        for method in ["com.atproto.repo.createRecord", "com.atproto.repo.uploadBlob", "co.kendev.spaces.sendMessage"] {
            assert!(adds_something(&format!("/xrpc/{method}")), "{method}");
        }
        let others = [
            "com.atproto.repo.deleteRecord",
            "com.atproto.server.createSession",
            "com.atproto.server.deleteAccount",
            "com.atproto.admin.updateSubjectStatus",
            "co.kendev.spaces.leaveSpace",
            "chat.bsky.convo.sendMessage",
        ];
        for method in others {
            assert!(!adds_something(&format!("/xrpc/{method}")), "{method}");
        }
        assert!(!adds_something("/admin/accounts/code"));
    }
}
