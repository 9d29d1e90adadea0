//! Who may read a space, whose writes count in it, and with which app: the baseline that every host serves (proposal
//! 0016, "Required PDS space management: simplespace").
//!
//! The authority itself always may. Everything else is a decision over a [`SpaceConfig`] and one [`Member`]; whoever
//! asks looks them up, and asks the managing app where the decision is its to make.

use serde::{Deserialize, Serialize};

use crate::ids::Did;
use crate::limits::{CLIENT_ID_BYTES_MAX, SPACE_APPS_MAX};
use crate::service_auth::ServiceId;

/// How the authority decides about a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// Whoever asks.
    Public,
    /// Whoever is on the list of members.
    #[default]
    MemberList,
    /// Whoever the managing app says.
    ManagingApp(String),
}

/// How the authority decides about an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppAccess {
    /// Any app, known or not.
    #[default]
    Open,
    /// Only apps that prove to be one of these.
    AllowList(Vec<String>),
}

/// The settings of a space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceConfig {
    /// Who may read.
    pub read: Policy,
    /// Whose writes are listed and passed on. It does not keep anybody from writing into a repository of their own.
    pub write: Policy,
    /// With which apps.
    pub apps: AppAccess,
}

/// What a member of a space may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Read the space, where the list of members decides.
    pub read: bool,
    /// Have their writes listed and passed on, where the list of members decides.
    pub write: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A credential that reads the space.
    Read,
    /// A place among those whose writes count.
    Write,
}

/// What the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Yes,
    /// No.
    No,
    /// What this service says.
    Ask(ServiceId),
}

/// Why settings are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// The managing app is not named as a service.
    #[error("a managing app is named by a DID and the name of one of its services, such as did:web:app.example#forum")]
    ManagingApp,
    /// More than [`SPACE_APPS_MAX`] apps.
    #[error("a space lists at most {SPACE_APPS_MAX} apps")]
    TooManyApps,
    /// An app with a longer name than [`CLIENT_ID_BYTES_MAX`], or one that is no `https` URL.
    #[error("an app is named by its client id, an https URL of at most {CLIENT_ID_BYTES_MAX} bytes")]
    App,
}

impl SpaceConfig {
    /// Whether the settings can be kept and enforced.
    ///
    /// # Errors
    /// [`InvalidConfig`], by what is wrong.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        for policy in [&self.read, &self.write] {
            if let Policy::ManagingApp(app) = policy {
                app.parse::<ServiceId>().map_err(|_| InvalidConfig::ManagingApp)?;
            }
        }
        if let AppAccess::AllowList(apps) = &self.apps {
            if apps.len() > SPACE_APPS_MAX {
                return Err(InvalidConfig::TooManyApps);
            }
            let is_url = |app: &String| app.len() <= CLIENT_ID_BYTES_MAX && is_client_id(app);
            if !apps.iter().all(is_url) {
                return Err(InvalidConfig::App);
            }
        }
        Ok(())
    }

    /// What becomes of `user`, who asks for `access`.
    #[must_use]
    pub fn decide(&self, access: Access, authority: &Did, user: &Did, member: Option<Member>) -> Decision {
        if user == authority {
            return Decision::Yes;
        }
        let policy = match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        };
        let may = |member: Member| match access {
            Access::Read => member.read,
            Access::Write => member.write,
        };
        match policy {
            Policy::Public => Decision::Yes,
            Policy::MemberList if member.is_some_and(may) => Decision::Yes,
            Policy::MemberList => Decision::No,
            Policy::ManagingApp(app) => app.parse().map_or(Decision::No, Decision::Ask),
        }
    }

    /// Whether an app may, by the client id that it proved to have.
    #[must_use]
    pub fn admits_app(&self, client_id: Option<&str>) -> bool {
        match &self.apps {
            AppAccess::Open => true,
            AppAccess::AllowList(apps) => client_id.is_some_and(|id| apps.iter().any(|app| app == id)),
        }
    }
}

/// Whether `text` may be the client id of an app whose keys can be looked up.
#[must_use]
pub fn is_client_id(text: &str) -> bool {
    text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(name: &str) -> Did {
        format!("did:web:{name}.example").parse().expect("a DID")
    }

    #[test]
    fn the_authority_may_always_and_a_member_as_far_as_the_list_says() {
        let config = SpaceConfig::default();
        let (owner, bob) = (did("owner"), did("bob"));
        let decide = |access, member| config.decide(access, &owner, &bob, member);
        for access in [Access::Read, Access::Write] {
            assert_eq!(config.decide(access, &owner, &owner, None), Decision::Yes);
            assert_eq!(decide(access, None), Decision::No);
        }
        let reader = Some(Member { read: true, write: false });
        assert_eq!(decide(Access::Read, reader), Decision::Yes);
        assert_eq!(decide(Access::Write, reader), Decision::No);
        let public = SpaceConfig { read: Policy::Public, ..SpaceConfig::default() };
        assert_eq!(public.decide(Access::Read, &owner, &bob, None), Decision::Yes);
        assert_eq!(public.decide(Access::Write, &owner, &bob, None), Decision::No);
    }

    #[test]
    fn a_managing_app_is_asked_and_one_that_cannot_be_is_refused() {
        let app = "did:web:app.example#forum";
        let config = SpaceConfig { read: Policy::ManagingApp(app.to_owned()), ..SpaceConfig::default() };
        assert_eq!(config.check(), Ok(()));
        let asked = config.decide(Access::Read, &did("owner"), &did("bob"), None);
        assert_eq!(asked, Decision::Ask(app.parse().expect("a service")));
        let config = SpaceConfig { write: Policy::ManagingApp("app".to_owned()), ..SpaceConfig::default() };
        assert_eq!(config.check(), Err(InvalidConfig::ManagingApp));
        assert_eq!(config.decide(Access::Write, &did("owner"), &did("bob"), None), Decision::No);
    }

    #[test]
    fn listed_apps_alone_come_in() {
        let list = |apps: &[&str]| SpaceConfig {
            apps: AppAccess::AllowList(apps.iter().map(ToString::to_string).collect()),
            ..SpaceConfig::default()
        };
        let config = list(&["https://app.example/client.json"]);
        assert_eq!(config.check(), Ok(()));
        assert!(config.admits_app(Some("https://app.example/client.json")));
        assert!(!config.admits_app(Some("https://other.example/client.json")));
        assert!(!config.admits_app(None));
        assert!(SpaceConfig::default().admits_app(None));
        assert_eq!(list(&["http://app.example"]).check(), Err(InvalidConfig::App));
        assert_eq!(list(&["https://a"; SPACE_APPS_MAX + 1]).check(), Err(InvalidConfig::TooManyApps));
    }
}
