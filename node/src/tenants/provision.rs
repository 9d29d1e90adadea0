//! Making a tenant: account, handle, profile, space, pages, owner, in the steps of `rules.md` PRV-04.
//!
//! The account and the tenant's row are made in one batch, so that no account is left of which nobody knows what it was to
//! be. Every step after that writes what follows from the row alone, and can be done again: a tenant that was cut short
//! is continued by asking for it again.

use angel_protocol::hosted_handle::{self, HandleRefused};
use angel_protocol::ids::{Did, Handle, InvalidHandle};
use angel_protocol::lexicon::Schemas;
use angel_protocol::lexicon::flags::{Flags, Visibility};
use angel_protocol::limits::COMMIT_WRITES_MAX;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::permissioned::policy::SpaceConfig;
use angel_protocol::rules::{By, Place, Refused};
use angel_protocol::tenants::template::{Seed, Setting};
use angel_protocol::tenants::{Allowance, Plan, Slug, Template, TenantStatus};
use angel_protocol::time::Timestamp;
use angel_storage::tenants::{StepRow, StepStatus, TenantRow};
use angel_storage::{CommitError, TableId};

use super::transfer::workspace;
use super::{Actor, Blueprint, Rulebook, RulebookError, Tenant, TenantError, Tenants};
use crate::accounts::{Account, AccountError, Accounts};
use crate::blocking;
use crate::handles::{HandleError, Handles};
use crate::lifecycle::{Lifecycle, LifecycleError, SignUp};
use crate::permissioned::{Permissioned, PermissionedError};
use crate::repos::{Action, NewRecord, RepoError, RepoWrite, Repos};
use crate::spaces::{SpaceError, Spaces};

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// What it begins as.
    pub template: Template,
    /// Its short name, which becomes the first label of its handle.
    pub slug: Slug,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub owner: Did,
    /// Its kind of business; the template's when nobody says.
    pub business_type: Option<String>,
    /// What it may use.
    pub plan: Plan,
    /// The owner's recovery key for the tenant's identity.
    pub recovery_key: Option<Did>,
    /// By which it is made, if it is by one.
    pub blueprint: Option<Blueprint>,
}

/// Makes tenants. Cheap to clone.
#[derive(Clone)]
pub struct Provisioner {
    pub(crate) tenants: Tenants,
    pub(crate) accounts: Accounts,
    pub(crate) repos: Repos,
    pub(crate) permissioned: Permissioned,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) handles: Handles,
    pub(crate) rulebook: Rulebook,
    pub(crate) spaces: Spaces,
    /// The domains of hosted handles, each with its leading dot, the preferred one first.
    pub(crate) domains: Vec<String>,
}

impl std::fmt::Debug for Provisioner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provisioner")
    }
}

/// Why a tenant is not made, or not finished. One that was begun says so in its log.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The tenant's row or members.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// No handle can be made of the short name.
    #[error("no handle can be made of the short name: {0}")]
    Form(#[from] InvalidHandle),
    /// This host gives the handle to nobody.
    #[error(transparent)]
    Refused(#[from] HandleRefused),
    /// The handle.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The account.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The permissioned store.
    #[error(transparent)]
    Permissioned(#[from] PermissionedError),
    /// The rules.
    #[error(transparent)]
    Rulebook(#[from] RulebookError),
    /// The spaces.
    #[error("its spaces: {0}")]
    Space(String),
    /// A record of the template is refused.
    #[error("a record of the template is refused: {0}")]
    Record(#[from] Refused),
    /// The blueprint is none.
    #[error("the blueprint cannot be used: {0}")]
    Blueprint(String),
    /// What it is to be called has no place in a record.
    #[error("the {0} has no place in the tenant's profile")]
    Name(String),
    /// A tenant of this name was begun for somebody else, or as something else.
    #[error("a tenant is called {0} already; choose another short name")]
    Taken(Slug),
}

impl From<SpaceError> for ProvisionError {
    fn from(error: SpaceError) -> Self {
        Self::Space(error.to_string())
    }
}

/// The steps, in their order. What this node has no part in is said to be done, with the reason.
const RESERVE: &str = "reserve storage";
const IDENTITY: &str = "create DID, keys and handle";
const PROFILE: &str = "write the profile";
const CONTENT: &str = "create spaces, channels and pages";
const AGENTS: &str = "create agents";
const FRONT_END: &str = "front end and mobile app";
const WEBHOOKS: &str = "connect webhooks and billing";
const ROLES: &str = "create roles and the first admin";
const BACKUPS: &str = "place backups";
const PUBLISH: &str = "publish";

impl Provisioner {
    /// Makes a tenant, or goes on with one that was cut short.
    ///
    /// # Errors
    /// [`ProvisionError`]. Before the account is made nothing has changed then; after, asking again goes on.
    pub async fn provision(&self, wish: NewTenant, by: &Actor, now: Timestamp) -> Result<Tenant, ProvisionError> {
        let blueprint = wish.blueprint.clone();
        let begun = match self.tenants.by_slug(&wish.slug) {
            Some(tenant) if is_begun(&tenant, &wish) => tenant,
            Some(tenant) if tenant.row().owner == wish.owner => match &blueprint {
                Some(blueprint) if self.is_made_by(&tenant, blueprint).await? => return Ok(tenant),
                _ => return Err(ProvisionError::Taken(wish.slug)),
            },
            Some(_) => return Err(ProvisionError::Taken(wish.slug)),
            None => self.begin(wish, by, now).await?,
        };
        let account = self.accounts.by_id(begun.id()).await?.ok_or(AccountError::NotFound)?;
        let mut tenant = begun;
        if let Some(blueprint) = &blueprint {
            self.keep_blueprint(&tenant, &account, blueprint).await?;
        }
        for step in [PROFILE, CONTENT, AGENTS, FRONT_END, WEBHOOKS, ROLES, BACKUPS, PUBLISH] {
            if is_done(&tenant, step) {
                continue;
            }
            let ended = self.perform(step, &tenant, &account, now).await;
            let said = ended.as_ref().map(Clone::clone).map_err(ToString::to_string);
            let (tenants, did) = (self.tenants.clone(), tenant.did().clone());
            let ready = step == PUBLISH && said.is_ok();
            let log = move || tenants.log_step_blocking(&did, step, said, ready, crate::clock::now());
            tenant = blocking::run(log).await?;
            ended?;
        }
        tracing::info!(tenant = %tenant.did(), slug = %tenant.row().slug, "a tenant is ready");
        Ok(tenant)
    }

    /// Makes the account and the row.
    async fn begin(&self, wish: NewTenant, by: &Actor, now: Timestamp) -> Result<Tenant, ProvisionError> {
        self.tenants.check_free(&wish.slug)?;
        let domain = self.domains.first().map_or(".test", String::as_str);
        let handle: Handle = format!("{}{domain}", wish.slug).parse()?;
        hosted_handle::check(&handle, &self.domains, *by == Actor::Operator)?;
        self.handles.check(&handle, None, *by == Actor::Operator).await?;
        let business_type = wish.business_type.unwrap_or_else(|| wish.template.business_type().to_owned());
        let success = |action: &str, details: String| StepRow {
            action: action.to_owned(),
            status: StepStatus::Success,
            details,
            at: now,
        };
        let row = TenantRow {
            // Known once the account is; until then the owner stands in its place.
            did: wish.owner.clone(),
            slug: wish.slug,
            name: wish.name,
            owner: wish.owner,
            status: TenantStatus::Pending,
            allowance: Allowance::of(wish.plan),
            template: wish.template,
            business_type,
            created_at: now,
            updated_at: now,
            provisioned_at: None,
            log: vec![
                success(RESERVE, "a partition of its own in every table".to_owned()),
                success(IDENTITY, handle.to_string()),
            ],
        };
        check_names(&row, &handle)?;
        let sign_up = SignUp {
            handle,
            email: None,
            // Nobody logs in as the tenant: its members act for it.
            password: None,
            invite_code: None,
            recovery_key: wish.recovery_key,
            moved: None,
        };
        let (staged, by) = (row.clone(), by.clone());
        let made = self.lifecycle.sign_up_with(sign_up, now, move |id, did, batch| {
            Tenants::stage_new(batch, id, &TenantRow { did: did.clone(), ..staged }, &by)
        });
        match made.await {
            Ok(made) => {
                let did = made.account.did().clone();
                Ok(self.tenants.made(made.account.id(), TenantRow { did, ..row }))
            }
            Err(LifecycleError::Account(AccountError::Commit(CommitError::Conflict {
                table: TableId::TenantsBySlug,
                ..
            }))) => Err(ProvisionError::Taken(row.slug)),
            Err(error) => {
                // The account may be there all the same, waiting for its identity to be decided: asking again goes on.
                let tenants = self.tenants.clone();
                blocking::run(move || tenants.adopt_blocking(&row.slug)).await?;
                Err(error.into())
            }
        }
    }

    /// Does one step, and tells what it did.
    async fn perform(
        &self,
        step: &'static str,
        tenant: &Tenant,
        account: &Account,
        now: Timestamp,
    ) -> Result<String, ProvisionError> {
        match step {
            PROFILE => self.write_seeds(tenant, account, true).await,
            CONTENT => self.write_seeds(tenant, account, false).await,
            AGENTS => Ok("the template has none".to_owned()),
            WEBHOOKS => Ok("none are configured".to_owned()),
            ROLES => {
                let (tenants, did, owner) = (self.tenants.clone(), tenant.did().clone(), tenant.row().owner.clone());
                let rkey = self.repos.next_tid()?;
                blocking::run(move || tenants.seat_owner_blocking(&did, rkey, now)).await?;
                Ok(format!("{owner} is the owner"))
            }
            BACKUPS => Ok("where copies lie is decided on the ledger".to_owned()),
            PUBLISH => Ok("it is listed".to_owned()),
            _ => Ok("not part of this node".to_owned()),
        }
    }

    /// Writes the profile, or all other records of the template: the public ones in one commit, the others into the
    /// tenant's workspace.
    async fn write_seeds(&self, tenant: &Tenant, account: &Account, profile: bool) -> Result<String, ProvisionError> {
        let (public, private): (Vec<_>, Vec<_>) = seeds(tenant.row(), &account.handle_or_invalid())
            .into_iter()
            .filter(|seed| (seed.path.collection.as_str() == PROFILE_COLLECTION) == profile)
            .partition(|seed| is_public(seed, tenant.row().created_at));
        let told = format!("{} public records, {} for members", public.len(), private.len());
        let writes = self.judged(tenant, account, Place::Public, public).await?;
        let owner = self.lifecycle.owner(account).await?;
        self.repos.write(&owner, writes, None).await?;
        // Its people write there whether or not the template does.
        let workspace = self.workspace(account).await?;
        if !private.is_empty() {
            let writes = self.judged(tenant, account, Place::Permissioned, private).await?;
            self.permissioned.write(account, &workspace, writes).await?;
        }
        Ok(told)
    }

    /// The writes of a template's records, as the rules of their collections complete them.
    async fn judged(
        &self,
        tenant: &Tenant,
        account: &Account,
        place: Place,
        seeds: Vec<Seed>,
    ) -> Result<Vec<RepoWrite>, ProvisionError> {
        debug_assert!(seeds.len() <= COMMIT_WRITES_MAX, "a template fits one commit");
        let mut court = self.rulebook.court(account, &tenant.row().owner, place, By::Node, &[]).await?;
        for seed in &seeds {
            court.together_with(format!("at://{}/{}", tenant.did(), seed.path));
        }
        let mut writes = Vec::with_capacity(seeds.len());
        for Seed { path, mut record } in seeds {
            court.judge(&path.collection, &mut record, None)?;
            writes.push(RepoWrite { path, action: Action::Put(NewRecord::new(&record)), swap: None });
        }
        Ok(writes)
    }

    /// The space in which a tenant keeps what is not public, made when it is not there yet.
    pub(super) async fn workspace(&self, account: &Account) -> Result<SpaceUri, ProvisionError> {
        let uri = workspace(account.did());
        let (space_type, key) = (uri.space_type.clone(), uri.key.clone());
        match self.permissioned.create_space(account, space_type, Some(key), SpaceConfig::default()).await {
            Ok(_) | Err(PermissionedError::SpaceExists) => Ok(uri),
            Err(error) => Err(error.into()),
        }
    }
}

/// The collection of the profile.
const PROFILE_COLLECTION: &str = "co.kendev.tenants.profile";

fn seeds(row: &TenantRow, handle: &Handle) -> Vec<Seed> {
    row.template.seeds(&Setting {
        tenant: &row.did,
        name: &row.name,
        slug: &row.slug,
        domain: handle.as_str(),
        business_type: &row.business_type,
        created_at: row.created_at,
    })
}

fn is_public(seed: &Seed, now: Timestamp) -> bool {
    let rules = Flags::builtin().collection(seed.path.collection.as_str());
    rules.is_some_and(|rules| rules.visibility(&seed.record, now) != Visibility::Permissioned)
}

/// Whether the template's records will fit their lexicons with these names: before anything is made.
fn check_names(row: &TenantRow, handle: &Handle) -> Result<(), ProvisionError> {
    if row.name.trim().is_empty() {
        return Err(ProvisionError::Name("name is empty and".to_owned()));
    }
    for seed in seeds(row, handle) {
        let Some(schema) = Schemas::builtin().record(seed.path.collection.as_str()) else { continue };
        schema.validate(&seed.record).map_err(|error| ProvisionError::Name(error.to_string()))?;
    }
    Ok(())
}

/// Whether a tenant is what is asked for and not ready yet.
fn is_begun(tenant: &Tenant, wish: &NewTenant) -> bool {
    let row = tenant.row();
    row.status == TenantStatus::Pending && row.owner == wish.owner && row.template == wish.template
}

fn is_done(tenant: &Tenant, step: &str) -> bool {
    tenant.row().log.iter().any(|entry| entry.action == step && entry.status == StepStatus::Success)
}
