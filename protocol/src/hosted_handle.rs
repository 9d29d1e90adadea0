//! Which handles a host gives out under its domains: one label of bounded length that nobody takes for the host itself.
//! The bounds are those of the reference implementation, whose clients check them too.

use crate::ids::Handle;

/// Fewest and most characters of the label.
const LABEL_MIN: usize = 3;
const LABEL_MAX: usize = 18;

/// Labels that would be taken for the host, its staff or a part of the protocol. Sorted.
const RESERVED: [&str; 118] = [
    "about",
    "abuse",
    "access",
    "account",
    "accounts",
    "activate",
    "admin",
    "administrator",
    "admins",
    "ads",
    "alerts",
    "analytics",
    "angel",
    "api",
    "apis",
    "app",
    "apps",
    "archive",
    "assets",
    "at",
    "atp",
    "atproto",
    "auth",
    "backup",
    "beta",
    "billing",
    "blog",
    "bluesky",
    "bot",
    "bots",
    "bsky",
    "business",
    "cache",
    "calendar",
    "cdn",
    "chat",
    "client",
    "community",
    "config",
    "console",
    "contact",
    "dashboard",
    "demo",
    "dev",
    "developer",
    "developers",
    "did",
    "dns",
    "docs",
    "download",
    "email",
    "events",
    "everyone",
    "example",
    "faq",
    "federation",
    "feed",
    "feedback",
    "files",
    "forum",
    "ftp",
    "gateway",
    "guest",
    "handle",
    "help",
    "home",
    "host",
    "hostmaster",
    "imap",
    "info",
    "invite",
    "jobs",
    "kendev",
    "legal",
    "lexicon",
    "localhost",
    "login",
    "logout",
    "mail",
    "me",
    "media",
    "metrics",
    "moderation",
    "moderator",
    "monitor",
    "news",
    "node",
    "nsid",
    "official",
    "operator",
    "owner",
    "password",
    "payment",
    "pds",
    "plc",
    "pop",
    "postmaster",
    "privacy",
    "proxy",
    "register",
    "relay",
    "repo",
    "root",
    "security",
    "server",
    "service",
    "signin",
    "signup",
    "smtp",
    "staff",
    "status",
    "support",
    "system",
    "team",
    "terms",
    "webmaster",
    "www",
    "xrpc",
];

/// People and houses that others like to pretend to be. Their own is a handle of their own domain.
const WELL_KNOWN: [&str; 98] = [
    "amazon",
    "angelamerkel",
    "apple",
    "arianagrande",
    "barackobama",
    "bbcnews",
    "berniesanders",
    "beyonce",
    "billgates",
    "britneyspears",
    "cnn",
    "conanobrien",
    "cristiano",
    "cristianoronaldo",
    "dalailama",
    "donaldtrump",
    "drake",
    "edsheeran",
    "ellendegeneres",
    "elonmusk",
    "eminem",
    "emmanuelmacron",
    "europeanunion",
    "facebook",
    "github",
    "gmail",
    "google",
    "gretathunberg",
    "hillaryclinton",
    "instagram",
    "interpol",
    "jackdorsey",
    "jeffbezos",
    "jimmyfallon",
    "jkrowling",
    "jlo",
    "joebiden",
    "justinbieber",
    "justintimberlake",
    "kamalaharris",
    "katyperry",
    "kimkardashian",
    "kingjames",
    "kyliejenner",
    "ladygaga",
    "lebronjames",
    "leomessi",
    "linkedin",
    "linustorvalds",
    "lionelmessi",
    "malala",
    "markzuckerberg",
    "michelleobama",
    "microsoft",
    "mozilla",
    "narendramodi",
    "nasa",
    "neilgaiman",
    "netflix",
    "neymarjr",
    "nytimes",
    "openai",
    "oprah",
    "paypal",
    "pontifex",
    "potus",
    "rafaelnadal",
    "realdonaldtrump",
    "reddit",
    "reuters",
    "rihanna",
    "rogerfederer",
    "satyanadella",
    "selenagomez",
    "serenawilliams",
    "shakira",
    "signal",
    "spotify",
    "stephenking",
    "sundarpichai",
    "taylorswift",
    "telegram",
    "theguardian",
    "tiktok",
    "timbernerslee",
    "timcook",
    "twitter",
    "unicef",
    "unitednations",
    "usainbolt",
    "volodymyrzelenskyy",
    "washingtonpost",
    "whatsapp",
    "whitehouse",
    "wikipedia",
    "yahoo",
    "youtube",
    "zelenskyyua",
];

/// How a handle stands to a host's domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleKind {
    /// Under one of them: the host answers for it.
    Hosted,
    /// Elsewhere: its owner shows that it is theirs.
    Custom,
}

/// Why a host gives a handle to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleRefused {
    /// Its top-level domain leads nowhere.
    #[error("Handle TLD is invalid or disallowed")]
    TopLevel,
    /// More than one label before the domain.
    #[error("Invalid characters in handle")]
    Labels,
    /// The label is too short.
    #[error("Handle too short")]
    TooShort,
    /// The label is too long.
    #[error("Handle too long")]
    TooLong,
    /// The label is kept for the host.
    #[error("Reserved handle")]
    Reserved,
}

impl HandleRefused {
    /// The name of the error on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopLevel | Self::Labels | Self::TooShort | Self::TooLong => "InvalidHandle",
            Self::Reserved => "HandleNotAvailable",
        }
    }
}

/// Whether an account may have `handle` on a host that gives out handles under `domains`, each with its leading dot.
/// `reserved_too` is for the operator, who may give away what is kept back.
///
/// # Errors
/// [`HandleRefused`], by what is wrong.
pub fn check(handle: &Handle, domains: &[String], reserved_too: bool) -> Result<HandleKind, HandleRefused> {
    let Some(label) = domains.iter().find_map(|domain| handle.as_str().strip_suffix(domain.as_str())) else {
        return if handle.is_reserved() { Err(HandleRefused::TopLevel) } else { Ok(HandleKind::Custom) };
    };
    if label.contains('.') {
        Err(HandleRefused::Labels)
    } else if label.len() < LABEL_MIN {
        Err(HandleRefused::TooShort)
    } else if label.len() > LABEL_MAX {
        Err(HandleRefused::TooLong)
    } else if !reserved_too && [&RESERVED[..], &WELL_KNOWN].iter().any(|names| names.binary_search(&label).is_ok()) {
        Err(HandleRefused::Reserved)
    } else {
        Ok(HandleKind::Hosted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(handle: &str) -> Result<HandleKind, HandleRefused> {
        let domains = [".host.example".to_owned(), ".test".to_owned()];
        check(&handle.parse().expect("a handle"), &domains, false)
    }

    #[test]
    fn reserved_labels_are_sorted_for_the_search() {
        assert!(RESERVED.is_sorted() && WELL_KNOWN.is_sorted());
    }

    #[test]
    fn one_label_of_usual_length_is_given_out() {
        assert_eq!(judge("alice.host.example"), Ok(HandleKind::Hosted), "a host may live under a reserved domain");
        assert_eq!(judge("bob.test"), Ok(HandleKind::Hosted));
        assert_eq!(judge("a.bob.test"), Err(HandleRefused::Labels));
        assert_eq!(judge("al.test"), Err(HandleRefused::TooShort));
        assert_eq!(judge("abcdefghijklmnopqrs.test"), Err(HandleRefused::TooLong));
        assert_eq!(judge("Admin.test"), Err(HandleRefused::Reserved));
        assert_eq!(judge("barackobama.test"), Err(HandleRefused::Reserved));
        let admin = "admin.test".parse().expect("a handle");
        assert_eq!(check(&admin, &[".test".to_owned()], true), Ok(HandleKind::Hosted));
    }

    #[test]
    fn handles_elsewhere_are_their_owners() {
        assert_eq!(judge("alice.example.org"), Ok(HandleKind::Custom));
        assert_eq!(judge("host.example"), Err(HandleRefused::TopLevel));
        assert_eq!(judge("alice.local"), Err(HandleRefused::TopLevel));
    }
}
