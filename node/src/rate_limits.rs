//! How often is too often: counts per client address and per account, in fixed windows, announced in `RateLimit-*`
//! headers as hosts of the network do.
//!
//! A fixed window is coarser than a leaky bucket, and says exactly what the headers promise: so many in this window, the
//! rest after that second. The counts live in memory, are bounded, and begin anew with the process.

mod layer;
mod window;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::limits::SPACE_MESSAGES_PER_MINUTE;
use angel_protocol::time::Timestamp;
use axum::http::StatusCode;

use crate::clock;
use crate::config::HttpConfig;
use crate::http::XrpcError;

pub(crate) use self::layer::{ClientAddress, HEADERS, count_requests};
use self::window::{Windows, note};

/// What is counted. The order is that of `RULES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Requests of one address.
    Requests,
    /// Logins of one address.
    LoginsByAddress,
    /// Logins of one address to one account.
    Logins,
    /// The same over a day.
    LoginsByDay,
    /// Wrong passwords for one account, whoever offers them.
    WrongPasswords,
    /// Accounts made from one address.
    SignUps,
    /// Passwords set anew from one address.
    PasswordResets,
    /// Deletions asked for from one address.
    Deletions,
    /// Mails that one account has sent to itself.
    Mails,
    /// The same over a day.
    MailsByDay,
    /// Mails asked for from one address, without a login.
    MailsByAddress,
    /// Changes of one account's handle.
    Handles,
    /// The same over a day.
    HandlesByDay,
    /// Writes of one account: a creation counts 3, a change 2, a deletion 1.
    Writes,
    /// The same over a day.
    WritesByDay,
    /// Complaints of one account.
    Reports,
    /// Messages of one account into one space.
    SpaceMessages,
    /// Codes and invitations that one account tries.
    SpaceCodes,
    /// Signals of one account that it is writing.
    SpaceSignals,
    /// Invitations into tenants that one address tries to accept.
    Invitations,
    /// Answers to forms from one address.
    FormAnswers,
    /// Answers to one form, from wherever.
    AnswersOfForm,
}

/// Each limit with its count and its window. Most are those of the reference implementation, so that what works
/// elsewhere works here.
const RULES: [(Limit, u32, Duration); 22] = [
    (Limit::Requests, 3000, Duration::from_mins(5)),
    (Limit::LoginsByAddress, 300, Duration::from_mins(5)),
    (Limit::Logins, 30, Duration::from_mins(5)),
    (Limit::LoginsByDay, 300, Duration::from_hours(24)),
    // Beyond what one address may try, and still far from guessing anything but the worst passwords.
    (Limit::WrongPasswords, 1000, Duration::from_hours(24)),
    (Limit::SignUps, 100, Duration::from_mins(5)),
    (Limit::PasswordResets, 50, Duration::from_mins(5)),
    (Limit::Deletions, 50, Duration::from_mins(5)),
    (Limit::Mails, 5, Duration::from_hours(1)),
    (Limit::MailsByDay, 15, Duration::from_hours(24)),
    (Limit::MailsByAddress, 15, Duration::from_hours(1)),
    (Limit::Handles, 10, Duration::from_mins(5)),
    (Limit::HandlesByDay, 50, Duration::from_hours(24)),
    (Limit::Writes, 5000, Duration::from_hours(1)),
    (Limit::WritesByDay, 35_000, Duration::from_hours(24)),
    (Limit::Reports, 50, Duration::from_hours(1)),
    (Limit::SpaceMessages, SPACE_MESSAGES_PER_MINUTE, Duration::from_mins(1)),
    (Limit::SpaceCodes, 10, Duration::from_hours(1)),
    (Limit::SpaceSignals, 120, Duration::from_mins(1)),
    (Limit::Invitations, 100, Duration::from_hours(1)),
    // Several people behind one router, and no machine.
    (Limit::FormAnswers, 30, Duration::from_hours(1)),
    (Limit::AnswersOfForm, 1000, Duration::from_hours(1)),
];

impl Limit {
    fn rule(self) -> (u32, Duration) {
        let (_, count, window) = RULES[self as usize];
        (count, window)
    }
}

/// The limits of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RateLimits(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    windows: Windows,
    trusted_proxies: Vec<IpAddr>,
}

impl RateLimits {
    /// As configured; without `http.rate_limits` nothing is counted.
    #[must_use]
    pub fn new(config: &HttpConfig) -> Self {
        let shared = || Shared { windows: Windows::new(), trusted_proxies: config.trusted_proxies.clone() };
        Self(config.rate_limits.then(|| Arc::new(shared())))
    }

    /// Counts `points` against a limit for `whom` and refuses when that is too much. The answer to the request that is
    /// being served will tell how much is left.
    ///
    /// # Errors
    /// 429 `RateLimitExceeded`.
    pub(crate) fn spend(&self, limit: Limit, whom: &str, points: u32) -> Result<(), XrpcError> {
        self.spend_at(limit, whom, points, clock::now())
    }

    /// Counts one login from `address` to whoever `identifier` means.
    ///
    /// # Errors
    /// 429 `RateLimitExceeded`.
    pub(crate) fn login(&self, address: ClientAddress, identifier: &str) -> Result<(), XrpcError> {
        let address = address.to_string();
        let both = format!("{identifier}-{address}");
        self.spend(Limit::LoginsByAddress, &address, 1)?;
        self.spend(Limit::LoginsByDay, &both, 1)?;
        self.spend(Limit::Logins, &both, 1)
    }

    /// Counts writes of an account: 3 points for a creation, 2 for a change, 1 for a deletion.
    ///
    /// # Errors
    /// 429 `RateLimitExceeded`.
    pub(crate) fn writes(&self, did: &Did, points: u32) -> Result<(), XrpcError> {
        self.spend(Limit::WritesByDay, did.as_str(), points)?;
        self.spend(Limit::Writes, did.as_str(), points)
    }

    fn spend_at(&self, limit: Limit, whom: &str, points: u32, now: Timestamp) -> Result<(), XrpcError> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let verdict = shared.windows.spend(limit, whom, points, now);
        note(verdict);
        if verdict.exceeded {
            let text = format!("Rate Limit Exceeded: try again in {} s", verdict.seconds_left(now));
            return Err(XrpcError::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", text));
        }
        Ok(())
    }
}

/// What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that a client does not choose.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_finds_its_own_rule() {
        for (index, (limit, count, window)) in RULES.iter().enumerate() {
            assert_eq!(*limit as usize, index, "{limit:?}");
            assert!(*count > 0 && *window >= Duration::from_mins(1));
        }
    }

    #[test]
    fn a_limit_holds_for_its_window_and_its_subject() {
        let limits = RateLimits::new(&HttpConfig::default());
        let start = Timestamp::from_millis(1_700_000_000_000);
        let spend = |whom: &str, now| limits.spend_at(Limit::Mails, whom, 1, now).is_ok();
        assert!((0..5).all(|_| spend("alice", start)) && !spend("alice", start));
        assert!(spend("bob", start), "another account has its own count");
        let minute = Duration::from_mins(1);
        assert!(!spend("alice", start + minute * 59) && spend("alice", start + minute * 61));
        let off = RateLimits::new(&HttpConfig { rate_limits: false, ..HttpConfig::default() });
        assert!((0..100).all(|_| off.spend_at(Limit::Mails, "alice", 1, start).is_ok()));
    }

    #[test]
    fn a_v6_client_is_its_network() {
        let ip = |text: &str| client(text.parse().expect("an address"));
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
    }
}
