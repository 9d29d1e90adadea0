//! Events of a business as messages (MSG-01): what happens in a tenant is a message of type system in the tenant's own
//! system space, a private one that is made when the first event comes. So whoever may follow that space hears of
//! orders, payments and people live, searches them, and filters them by department, workflow and priority.

use angel_protocol::data::{Map, Value};
use angel_protocol::ids::Did;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::spaces::{Context, EVENTS, SPACE, Visibility};
use angel_storage::CommitError;
use angel_storage::spaces::{SPACES, SPACES_OF, SpaceId, SpaceRow};
use serde_json::{Value as Json, json};

use super::keep::finished;
use super::rooms::room_of;
use super::told::space_uri;
use super::{SpaceError, Spaces};
use crate::accounts::{Account, AccountError};
use crate::blocking;
use crate::permissioned::PermissionedError;
use crate::placement::NotWritable;
use crate::repos::RepoError;

/// What the URL of a system space says.
const SLUG: &str = "system";

/// Spaces of one holder that are looked at for its system space.
const LOOKED_AT_MAX: usize = 1000;

/// Something that happened in a business.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcement {
    /// Its name, one of [`EVENTS`].
    pub(crate) event: &'static str,
    /// The record that it is about.
    pub(crate) subject: Option<String>,
    /// Who caused it.
    pub(crate) actor: Option<Did>,
    /// More about it, for programs.
    pub(crate) data: Option<Json>,
    /// By what it is filtered.
    pub(crate) context: Context,
    /// How urgent it is, when it is not as usual.
    pub(crate) priority: Option<&'static str>,
}

impl Announcement {
    /// One for a department, of which the rest is still to be said.
    pub(crate) fn of_department(department: &str) -> Self {
        Self { context: Context { department: Some(department.to_owned()), ..Context::default() }, ..Self::default() }
    }
}

/// What became of something that was to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// It is told, or never will be.
    Done,
    /// Nothing can be written just now.
    Later,
}

impl Spaces {
    /// Tells of something in the system space of a tenant; of an account that is no tenant nothing is told. While nothing
    /// can be written there, as after a failover until a standby has confirmed the new primary, it waits, and is told in
    /// its turn ([`super::untold`]). That it could not be told is logged and keeps nothing else from happening.
    pub(crate) async fn announce(&self, tenant: &Did, announcement: Announcement) {
        debug_assert!(EVENTS.contains(&announcement.event), "an event has one of the names that there are");
        // What happened before is told before.
        if self.0.untold.is_waiting(tenant) || self.tell(tenant, &announcement).await == Telling::Later {
            self.0.untold.push(tenant, announcement);
        }
    }

    /// Tells of something if it can be told now.
    pub(super) async fn tell(&self, tenant: &Did, announcement: &Announcement) -> Telling {
        match self.try_announce(tenant, announcement.clone()).await {
            Ok(()) => Telling::Done,
            Err(error) if passes(&error) => Telling::Later,
            Err(error) => {
                tracing::warn!(%tenant, event = announcement.event, %error, "an event of a tenant was not told");
                Telling::Done
            }
        }
    }

    async fn try_announce(&self, tenant: &Did, announcement: Announcement) -> Result<(), SpaceError> {
        if self.0.tenants.find(tenant).is_none() || !self.0.tenants.takes_writes(tenant) {
            return Ok(());
        }
        let Some(account) = self.0.accounts.by_did(tenant).await?.filter(Account::is_active) else { return Ok(()) };
        self.0.repos.may_write_now(account.id()).map_err(AccountError::from)?;
        let space = self.system_space(&account).await?;
        let Some(room) = room_of(&space) else { return Ok(()) };
        let record = finished(angel_protocol::spaces::MESSAGE, message(&space, announcement))?;
        let record = self.judged(Some(&room), &account, angel_protocol::spaces::MESSAGE, record, None).await?;
        let stored = match self.store(Some(&room), &account, angel_protocol::spaces::MESSAGE, None, &record).await {
            // It is told here, and copies have it when they follow again.
            Err(SpaceError::Permissioned(PermissionedError::Account(AccountError::NotWritable(
                NotWritable::ReplicationUnavailable,
            )))) => Ok(()),
            stored => stored.map(drop),
        };
        self.0.bell.ring(tenant);
        stored
    }

    /// Where a tenant is told what happens; `None` while nothing has.
    pub(crate) async fn system_room(&self, tenant: &Did) -> Result<Option<SpaceUri>, SpaceError> {
        let (this, did) = (self.clone(), tenant.clone());
        let found = blocking::run(move || this.find_system_space(&did)).await?;
        Ok(found.as_ref().and_then(room_of))
    }

    /// The system space of an account, made when there is none.
    async fn system_space(&self, account: &Account) -> Result<SpaceRow, SpaceError> {
        // One number for all that are made, beyond those of spaces: they are made once each.
        let _turn = self.lock(SpaceId(account.id().0)).await;
        for made in [false, true] {
            let (this, did) = (self.clone(), account.did().clone());
            if let Some(found) = blocking::run(move || this.find_system_space(&did)).await? {
                return Ok(found);
            }
            if !made {
                let record = json!({
                    "name": "System", "slug": SLUG, "visibility": "private", "memberApproval": "disabled",
                    "description": "What happens in the business, told by its node.",
                    "businessIdentity": { "type": "business", "industry": "general" },
                });
                let record = self.space_record(account, record, None)?;
                let room = self.open_room(account).await?;
                let record = self.judged(Some(&room), account, SPACE, record, None).await?;
                self.store(Some(&room), account, SPACE, Some(room.key.as_str()), &record).await?;
                self.caught_up().await;
            }
        }
        Err(SpaceError::SpaceNotFound)
    }

    fn find_system_space(&self, did: &Did) -> Result<Option<SpaceRow>, SpaceError> {
        let spaces = self.0.reader.scan(&SPACES_OF).prefix(did).page(LOOKED_AT_MAX)?;
        for ((_, id), _) in spaces.rows {
            let is_it = |row: &SpaceRow| row.holder == *did && row.gone_at.is_none() && is_system(row);
            if let Some(row) = self.0.reader.get(&SPACES, &id)?.filter(is_it) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// Whether it may go well when it is tried again in a moment.
const fn passes(error: &SpaceError) -> bool {
    match error {
        SpaceError::Account(AccountError::NotWritable(error))
        | SpaceError::Repo(RepoError::NotWritable(error))
        | SpaceError::Permissioned(PermissionedError::Account(AccountError::NotWritable(error))) => error.passes(),
        SpaceError::Commit(CommitError::Busy)
        | SpaceError::Repo(RepoError::Store(CommitError::Busy))
        | SpaceError::Permissioned(PermissionedError::Store(CommitError::Busy)) => true,
        _ => false,
    }
}

/// Whether a space is the one in which its holder is told what happens.
pub(super) fn is_system(row: &SpaceRow) -> bool {
    row.slug == SLUG && row.rules.visibility == Visibility::Private
}

/// The record of a message that tells of an event.
fn message(space: &SpaceRow, announcement: Announcement) -> Map {
    let Announcement { event, subject, actor, data, context, priority } = announcement;
    let text = |text: &str| Value::String(text.to_owned());
    let mut told = Map::from([("event".to_owned(), text(event))]);
    let optional = [
        ("subject", subject),
        ("actor", actor.map(|did| did.to_string())),
        ("data", data.map(|data| data.to_string())),
    ];
    told.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))));
    let mut metadata = json!({});
    let words =
        [("department", context.department), ("workflow", context.workflow), ("customerJourney", context.journey)];
    for (name, word) in words {
        if let Some(word) = word {
            metadata[name] = word.into();
        }
    }
    let content = Map::from([
        ("type".to_owned(), text("system")),
        ("text".to_owned(), text(event)),
        ("systemData".to_owned(), Value::Map(told)),
        ("metadata".to_owned(), text(&metadata.to_string())),
    ]);
    let mut record = Map::from([
        ("space".to_owned(), Value::String(space_uri(space))),
        ("messageType".to_owned(), text("system")),
        ("sourceKind".to_owned(), text("system")),
        ("content".to_owned(), Value::Map(content)),
    ]);
    if let Some(priority) = priority {
        record.insert("priority".to_owned(), text(priority));
    }
    record
}
