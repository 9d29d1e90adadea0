//! `angel tenant`: the businesses that this node hosts.

mod backups;
mod claim;
mod dismiss;
mod migrate;
mod place;
mod promote;
mod recovery;
mod rollback;
mod vault;
mod webhooks;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use angel_protocol::lexicon::Schemas;
use angel_protocol::tenants::slug::Slug;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::account;
use super::client::Daemon;
use super::exit::{Code, Failure};
use super::output::{print, row};
use super::{Common, block_on};
use crate::lifecycle::NewRecoveryKey;

/// Largest export that is read from a file, in bytes: what the daemon takes.
const EXPORT_BYTES_MAX: u64 = angel_protocol::limits::TENANT_IMPORT_BYTES_MAX as u64;

#[derive(Debug, Subcommand)]
pub(super) enum TenantVerb {
    /// Make a tenant from a template, with its owner's account when there is none yet.
    Create(CreateArgs),
    /// List the tenants, oldest first.
    List,
    /// Show one tenant: who owns it, what it may use, how setting it up went.
    Show(Which),
    /// Let nobody write for a tenant any more.
    Suspend(Which),
    /// Open a suspended tenant again.
    Reopen(Which),
    /// Put a tenant away for good; its owner can still take it out.
    Archive(ArchiveArgs),
    /// Change what a tenant may use.
    Plan(PlanArgs),
    /// Write a whole tenant into a file.
    Export(ExportArgs),
    /// Take a tenant in from a file, for an account that is hosted here.
    Import(ImportArgs),
    /// Give a tenant its backups on other nodes, or change them; returns when the network has decided.
    Place(place::PlaceArgs),
    /// Show who holds copies of a tenant, what would be lost if this machine died now, and who would take over.
    Backups(backups::BackupsArgs),
    /// Forget second versions of records, once somebody has looked at them; `angel tenant backups` lists them.
    Dismiss(dismiss::DismissArgs),
    /// Make this node the primary of a tenant of which it holds a copy; its present primary hands it over.
    Promote(promote::PromoteArgs),
    /// Make this node the primary of a tenant whose hosts are gone, with its owner's recovery key: what lies here was restored
    /// from a backup, or is a copy.
    Claim(claim::ClaimArgs),
    /// The owner's recovery key of a tenant's identity.
    #[command(subcommand)]
    Recovery(recovery::RecoveryVerb),
    /// Move a tenant to another node while its clients read and write; shows how far it is.
    Migrate(migrate::MigrateArgs),
    /// Show the archives that this node keeps for others as a vault, and take one out.
    #[command(subcommand)]
    Vault(vault::VaultVerb),
    /// Undo a move: call it off before the switch, or move the tenant back within the grace.
    Rollback(rollback::RollbackArgs),
    /// Show the webhooks of a tenant and how their calls went, or delete one; its own people make them.
    Webhooks(webhooks::WebhooksArgs),
}

#[derive(Args, Debug)]
pub(super) struct Which {
    /// The tenant's short name, handle or DID.
    #[arg(value_name = "TENANT")]
    tenant: String,
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// What it begins as: basic-business, ecommerce-store, service-provider, creative-agency, saas-company, non-profit or
    /// custom.
    #[arg(long, value_name = "NAME", required_unless_present = "blueprint")]
    template: Option<String>,
    /// A blueprint to make it by, in TOML or JSON; it names the template that it rests on.
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    blueprint: Option<PathBuf>,
    /// Its short name: lower-case letters, digits and hyphens. It becomes the first part of its handle.
    #[arg(value_name = "SLUG")]
    slug: String,
    /// What it is called [default: the short name].
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The owner's handle or DID; without one an account SLUG-admin is made.
    #[arg(long, value_name = "ACCOUNT")]
    owner: Option<String>,
    /// Where mail reaches an owner whose account is made.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// What it may use: free, starter, professional, business, enterprise or custom [default: the smallest that has what
    /// the template makes].
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Its kind of business, for example salon or retail [default: the template's].
    #[arg(long, value_name = "KIND")]
    business_type: Option<String>,
    /// The public half of a recovery key that the tenant's owner has already (did:key). Without it one is made, and told
    /// once: it takes the tenant back when every node that hosts it is gone.
    #[arg(long, value_name = "DID")]
    recovery_key: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct ArchiveArgs {
    #[command(flatten)]
    which: Which,
    /// The short name, typed again.
    #[arg(long, value_name = "SLUG")]
    confirm: String,
}

#[derive(Args, Debug)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    which: Which,
    /// free, starter, professional, business, enterprise or custom.
    #[arg(value_name = "PLAN")]
    plan: String,
}

#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    which: Which,
    /// The file to write; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// The file that `angel tenant export` wrote.
    #[arg(value_name = "FILE")]
    from: PathBuf,
}

pub(super) fn tenant(common: &Common, verb: TenantVerb) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let (answer, words) = block_on(perform(&daemon, verb))??;
    print(common, &answer, words)?;
    Ok(())
}

type Said = (Value, Vec<String>);

async fn perform(daemon: &Daemon, verb: TenantVerb) -> Result<Said, Failure> {
    match verb {
        TenantVerb::Create(args) => create(daemon, args).await,
        TenantVerb::List => list(daemon).await,
        TenantVerb::Show(which) => show(daemon, &which.tenant).await,
        TenantVerb::Suspend(which) => set_suspended(daemon, &which.tenant, true).await,
        TenantVerb::Reopen(which) => set_suspended(daemon, &which.tenant, false).await,
        TenantVerb::Archive(ArchiveArgs { which, confirm }) => {
            let wish = json!({ "tenant": which.tenant, "slug": confirm });
            let answer = daemon.post("/xrpc/co.kendev.tenants.archive", &wish).await?;
            Ok((answer, vec![format!("{} is archived; `angel tenant export` still takes it out", which.tenant)]))
        }
        TenantVerb::Plan(PlanArgs { which, plan }) => {
            let wish = json!({ "tenant": which.tenant, "plan": plan });
            let answer = daemon.post("/xrpc/co.kendev.tenants.updateTenant", &wish).await?;
            let words = vec![row("tenant", text(&answer, "slug")), row("plan", text(&answer, "plan"))];
            Ok((answer, words))
        }
        TenantVerb::Export(args) => export(daemon, &args).await,
        TenantVerb::Import(args) => import(daemon, &args.from).await,
        TenantVerb::Place(args) => place::place(daemon, args).await,
        TenantVerb::Backups(args) => backups::backups(daemon, &args).await,
        TenantVerb::Dismiss(args) => dismiss::dismiss(daemon, &args).await,
        TenantVerb::Promote(args) => promote::promote(daemon, &args).await,
        TenantVerb::Claim(args) => claim::claim(daemon, &args).await,
        TenantVerb::Recovery(verb) => recovery::recovery(daemon, verb).await,
        TenantVerb::Migrate(args) => migrate::migrate(daemon, &args).await,
        TenantVerb::Vault(verb) => vault::vault(daemon, verb).await,
        TenantVerb::Rollback(args) => rollback::roll_back(daemon, &args).await,
        TenantVerb::Webhooks(args) => webhooks::webhooks(daemon, &args).await,
    }
}

async fn create(daemon: &Daemon, args: CreateArgs) -> Result<Said, Failure> {
    let blueprint = args.blueprint.as_deref().map(read_blueprint).transpose()?;
    let template = match (&args.template, &blueprint) {
        (Some(template), _) => template.clone(),
        (None, blueprint) => blueprint.as_ref().map(|it| text(it, "baseTemplate")).unwrap_or_default(),
    };
    let mut wish = json!({ "template": template, "slug": args.slug });
    for (name, value) in [("plan", &args.plan), ("name", &args.name), ("businessType", &args.business_type)] {
        if let Some(value) = value {
            wish[name] = value.as_str().into();
        }
    }
    if let Some(blueprint) = blueprint {
        wish["blueprint"] = blueprint;
    }
    let recovery = if args.recovery_key.is_some() { None } else { Some(NewRecoveryKey::generate()?) };
    let public = args.recovery_key.clone().or_else(|| recovery.as_ref().map(|key| key.public.to_string()));
    wish["recoveryKey"] = json!(public);
    // An account that is made for a wish that is refused is in nobody's hands.
    check_wish(&wish, daemon.did(), &args.slug)?;
    let owner = owner(daemon, &args).await?;
    wish["owner"] = owner.did.as_str().into();
    let made = daemon.post("/xrpc/co.kendev.tenants.provision", &wish).await.map_err(|failure| owner.told(failure))?;
    let mut answer = json!({ "tenant": made["tenant"], "log": made["log"], "recoveryKey": public });
    let tenant = &made["tenant"];
    let mut words = vec![
        row("tenant", text(tenant, "name")),
        row("did", text(tenant, "did")),
        row("handle", text(tenant, "handle")),
        row("plan", text(tenant, "plan")),
        row("owner", &owner.did),
    ];
    if let Some(key) = &recovery {
        answer["recoverySecret"] = key.secret.as_str().into();
        words.push(row("recovery", &*key.secret));
        words.push(
            "The recovery key is not kept here and told once. It takes the tenant back when every node that hosts it is gone:\n\
             write it down, and try it with `angel account recovery test`."
                .to_owned(),
        );
    }
    if let Some((account, told)) = owner.made {
        answer["owner"] = account;
        words.push(String::new());
        words.push("The owner's account was made; this is told once:".to_owned());
        words.extend(told);
    }
    Ok((answer, words))
}

/// Whether the wish could be granted, as far as that can be told without asking; `somebody` stands for its owner.
fn check_wish(wish: &Value, somebody: &str, slug: &str) -> Result<(), Failure> {
    let wrong = |why: String| Failure::new(Code::Usage, why);
    slug.parse::<Slug>().map_err(|error| wrong(format!("the short name \"{slug}\": {error}")))?;
    let mut whole = wish.clone();
    whole["owner"] = somebody.into();
    let method = Schemas::builtin().method("co.kendev.tenants.provision").expect("this software serves the method");
    method.validate_input(&whole).map_err(|violation| wrong(violation.to_string()))
}

/// A blueprint from a file: JSON if its name says so, else TOML.
fn read_blueprint(path: &Path) -> Result<Value, Failure> {
    let wrong = |why: String| Failure::new(Code::Usage, format!("the blueprint {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let read: Result<Value, String> = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    read.map_err(wrong)
}

/// The owner of a tenant to be.
struct Owner {
    did: String,
    /// What was told of an account that was made.
    made: Option<Said>,
}

impl Owner {
    /// A failure after the account was made says so, or its password would be lost.
    fn told(&self, failure: Failure) -> Failure {
        let Some((account, _)) = &self.made else { return failure };
        let (handle, password) = (text(account, "handle"), text(account, "password"));
        let words = format!(
            "{}; the owner's account {handle} was made with the password {password} and the recovery key {}, which are \
             told once: ask again with --owner {handle}",
            failure.words(),
            text(account, "recoverySecret"),
        );
        Failure::new(Code::Daemon, words)
    }
}

async fn owner(daemon: &Daemon, args: &CreateArgs) -> Result<Owner, Failure> {
    match &args.owner {
        Some(named) if named.starts_with("did:") => Ok(Owner { did: named.clone(), made: None }),
        Some(named) => {
            let found = daemon.post("/admin/accounts/find", &json!({ "account": named })).await?;
            Ok(Owner { did: text(&found, "did"), made: None })
        }
        None => {
            // Names have eighteen characters at most.
            let start: String = args.slug.chars().take(12).collect();
            let name = format!("{}-admin", start.trim_end_matches('-'));
            let made = account::make(daemon, name, args.email.clone()).await?;
            Ok(Owner { did: text(&made.0, "did"), made: Some(made) })
        }
    }
}

async fn list(daemon: &Daemon) -> Result<Said, Failure> {
    let mut tenants = vec![];
    let mut after = String::new();
    loop {
        let path = format!("/xrpc/co.kendev.tenants.listTenants?limit=100{after}");
        let mut page = daemon.get(&path).await?;
        tenants.extend(page["tenants"].as_array_mut().map(std::mem::take).unwrap_or_default());
        let Some(cursor) = page["cursor"].as_str() else { break };
        after = format!("&cursor={cursor}");
    }
    let line = |tenant: &Value| {
        let members = tenant["members"].as_u64().unwrap_or_default();
        let [slug, status, plan, did] = ["slug", "status", "plan", "did"].map(|name| text(tenant, name));
        format!("{slug:20} {status:10} {plan:13} members {members:>6}  {did}")
    };
    let words = tenants.iter().map(line).collect();
    Ok((json!({ "tenants": tenants }), words))
}

async fn show(daemon: &Daemon, tenant: &str) -> Result<Said, Failure> {
    let mut answer = daemon.get(&format!("/xrpc/co.kendev.tenants.getTenant?tenant={tenant}")).await?;
    let usage = daemon.get(&format!("/xrpc/co.kendev.tenants.getUsage?tenant={tenant}")).await?;
    let provisioning = daemon.get(&format!("/xrpc/co.kendev.tenants.getProvisioning?tenant={tenant}")).await?;
    let mut words: Vec<_> = ["name", "did", "handle", "owner", "status", "plan", "template", "createdAt"]
        .into_iter()
        .map(|name| row(name, text(&answer, name)))
        .collect();
    for figure in usage["figures"].as_array().into_iter().flatten() {
        let limit = figure["limit"].as_u64().map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        words.push(row(&text(figure, "resource"), format!("{} of {limit}", figure["used"])));
    }
    for step in provisioning["log"].as_array().into_iter().flatten() {
        words.push(format!("{:<9} {}: {}", text(step, "status"), text(step, "action"), text(step, "details")));
    }
    let did = text(&answer, "did");
    let losses = daemon.post("/admin/replicas/losses/show", &json!({ "account": did })).await?;
    let mut label = "if it dies";
    for said in crate::losses::words(&losses) {
        words.push(row(std::mem::take(&mut label), said));
    }
    answer["ifThisMachineDies"] = losses;
    answer["usage"] = usage["figures"].clone();
    answer["provisioning"] = provisioning["log"].clone();
    Ok((answer, words))
}

async fn set_suspended(daemon: &Daemon, tenant: &str, suspended: bool) -> Result<Said, Failure> {
    let wish = json!({ "tenant": tenant, "suspended": suspended });
    let answer = daemon.post("/xrpc/co.kendev.tenants.suspend", &wish).await?;
    let words = vec![format!("{tenant} is {}", text(&answer, "status"))];
    Ok((answer, words))
}

async fn export(daemon: &Daemon, args: &ExportArgs) -> Result<Said, Failure> {
    let ExportArgs { which, to } = args;
    let export = daemon.get_bytes(&format!("/xrpc/co.kendev.tenants.exportTenant?tenant={}", which.tenant)).await?;
    let last = export.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let last: Value = serde_json::from_slice(last).unwrap_or_default();
    if last["kind"] != "end" {
        return Err(Failure::new(Code::Daemon, "the export broke off; the log says why"));
    }
    write_new(to, &export)?;
    let (bytes, lines) = (export.len(), last["lines"].clone());
    let words = vec![row("file", to.display()), row("lines", &lines), row("bytes", bytes)];
    Ok((json!({ "file": to, "lines": lines, "bytes": bytes }), words))
}

/// Private data is in it: for its owner's eyes.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| Failure::new(Code::Usage, format!("cannot write {}: {error}", path.display())))
}

async fn import(daemon: &Daemon, from: &Path) -> Result<Said, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::new(Code::Usage, format!("cannot read {}: {error}", from.display()));
    if std::fs::metadata(from).map_err(unreadable)?.len() > EXPORT_BYTES_MAX {
        let words =
            format!("{} is larger than {EXPORT_BYTES_MAX} bytes, which is what is taken in at once", from.display());
        return Err(Failure::new(Code::Usage, words));
    }
    let export = std::fs::read(from).map_err(unreadable)?;
    let answer = daemon.send("/xrpc/co.kendev.tenants.importTenant", "application/jsonl", export).await?;
    let tenant = &answer["tenant"];
    let words = vec![row("tenant", text(tenant, "slug")), row("did", text(tenant, "did"))];
    Ok((answer, words))
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_never_be_made_is_refused_before_an_account_is() {
        let did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        let refused = |wish: &Value, slug: &str| check_wish(wish, did, slug).expect_err("refused").words().to_owned();
        let good = json!({ "template": "basic-business", "slug": "cafe", "recoveryKey": did });
        check_wish(&good, did, "cafe").expect("nothing is wrong with it");
        assert!(refused(&good, "Bad_Slug").contains("Bad_Slug"));
        for (name, value) in [("template", "nope"), ("template", ""), ("plan", "nope"), ("recoveryKey", "mine")] {
            let mut wish = good.clone();
            wish[name] = value.into();
            assert!(refused(&wish, "cafe").contains(&format!("/{name}")), "{name} {value}");
        }
    }

    #[test]
    fn a_failure_after_the_owners_account_tells_all_that_is_told_once() {
        let account =
            json!({ "handle": "cafe-admin.test", "password": "secret word", "recoverySecret": "angel-recovery-x" });
        let owner = Owner { did: "did:plc:x".to_owned(), made: Some((account, vec![])) };
        let words = owner.told(Failure::new(Code::Daemon, "the name is taken")).words().to_owned();
        for told in ["the name is taken", "secret word", "angel-recovery-x", "--owner cafe-admin.test"] {
            assert!(words.contains(told), "{told}: {words}");
        }
    }
}
