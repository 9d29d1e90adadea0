//! The rules of this network's collections: what holds for a record beyond its lexicon, in one place for every way in
//! which a record can be written (network specification, `records.md` 1.1 and 1.5, section 12).
//!
//! | rule | refusal |
//! |---|---|
//! | the record is held by whom its collection says | [`Refused::HeldIn`], [`Refused::OtherTenant`] |
//! | it is written by whom its collection says | [`Refused::NotByClients`] |
//! | what is for certain people stays out of public repositories | [`Refused::NotPublic`], [`Refused::VisibilityUnknown`] |
//! | references stay within the tenant, and a public record names nobody's private one | [`Refused::CrossTenant`], [`Refused::PrivateReference`] |
//! | computed fields are the node's ([`computed`], [`figures`]) | [`Refused::Computed`] |
//! | what the fields of a record say together can hold ([`consistency`]) | [`Refused::Contradiction`] |
//! | what one record alone of a tenant's is called ([`unique`]) | [`Refused::Taken`] |
//! | rates and what was sent stay within what was agreed | [`Refused::Rate`], [`Refused::LowRate`], [`Refused::NoContract`], [`Refused::Sent`] |
//! | a vote is for what takes votes | [`Refused::Vote`] |
//! | the questions of a form can be meant | [`Refused::Question`] |
//! | answers to a form are sent to a URL that can be called | [`Refused::Target`] |
//! | no secret is in a record ([`secrets`]) | [`Refused::Secret`] |
//! | a record is not larger than one of this network may be | [`Refused::TooLarge`] |
//!
//! Whoever writes first asks [`asks`], [`reads`] and [`looks_at`] what has to be found out, finds it out, and then calls [`judge`], which refuses by
//! name and path or leaves the record as it is to be stored. Which collection has which rule stands in
//! `lexicons/flags.json`; the few that code alone can say are in [`TABLE`]. A collection of another network has no rules
//! here.

pub mod computed;
pub mod consistency;
pub mod figures;
pub mod secrets;
mod table;
pub mod unique;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::business::FORM_SUBMISSION;
use crate::data::{Value, cbor};
use crate::ids::{AtIdentifier, AtUri, Did, Handle, Nsid, RepoPath};
use crate::lexicon::Schemas;
use crate::lexicon::flags::{Class, Collection, FieldPath, Flags, Holder, Visibility, Writer};
use crate::limits::LEXICON_RECORD_BYTES_MAX;
use crate::tenants::{Allowance, Permission, TenantStatus};
use crate::time::Timestamp;
use crate::webhooks::TargetFlaw;

use self::consistency::{Flaw, Subject};
pub use self::table::{Elsewhere, Rule, TABLE};

/// Where a record is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a public repository.
    Public,
    /// In the permissioned store.
    Permissioned,
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// By a plain record write.
    Client,
    /// By a method that checks more than the record.
    Procedure,
    /// By the node itself.
    Node,
}

/// A record that is about to be written.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// In whose repository, or whose partition of the permissioned store.
    pub repo: &'a Did,
    /// What that is: a tenant, a person, or the node with its operator.
    pub holder: Holder,
    /// Who writes: the owner of the repository, or a member of the tenant.
    pub author: &'a Did,
    /// The collection.
    pub collection: &'a Nsid,
    /// Where it is to be kept.
    pub place: Place,
    /// How it is written.
    pub by: By,
    /// When.
    pub now: Timestamp,
}

/// What has to be known besides the record.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Of each record that [`asks`] named, whether it is public; what cannot be found out is left out.
    pub public: BTreeMap<String, bool>,
    /// For what another record decides ([`Elsewhere`]), whether it says that this one is public.
    pub elsewhere: Option<bool>,
    /// The handle of the repository.
    pub handle: Option<Handle>,
    /// The records of the same holder that [`reads`] named, by their paths; what is not there is left out.
    pub records: BTreeMap<String, Value>,
    /// The public records that [`looks_at`] named, whoever holds them, by their URIs; `None` where there is none. What
    /// cannot be found out is left out.
    pub others: BTreeMap<String, Option<Value>>,
    /// How the tenant stands whose record it is.
    pub standing: Option<Standing>,
    /// Whether whoever writes is a super admin of the node (RBC-03).
    pub super_admin: bool,
}

/// How a tenant stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it may use.
    pub allowance: Allowance,
    /// What may be done with it.
    pub status: TenantStatus,
}

/// Why a record is not written. A path is a JSON pointer into it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Records of the collection belong elsewhere.
    #[error("records of {collection} are held by {}, not by {}", holders(expected), holder_name(*found))]
    HeldIn {
        /// The collection.
        collection: Nsid,
        /// Who holds them.
        expected: Vec<Holder>,
        /// Whose repository it is.
        found: Holder,
    },
    /// The record says that it is of another tenant than the one that holds it.
    #[error("/tenant: the record is held by {holder}, so its tenant is {holder}")]
    OtherTenant {
        /// The tenant that holds it.
        holder: Did,
    },
    /// Records of the collection are written in other ways.
    #[error("records of {0} are written by the node, not by clients")]
    NotByClients(Nsid),
    /// The record is for certain people.
    #[error("{}: such a record of {collection} is for certain people only, and a repository is public", place(path))]
    NotPublic {
        /// The collection.
        collection: Nsid,
        /// What decides it; empty for the collection as a whole.
        path: String,
    },
    /// Whether the record may be public depends on one that cannot be read.
    #[error(
        "{path}: whether {uri} is public cannot be found out, and so this record is not written into a public repository"
    )]
    VisibilityUnknown {
        /// Where it is referred to.
        path: String,
        /// What is referred to.
        uri: String,
    },
    /// A record of one tenant refers to one of another.
    #[error("{path}: refers to a record of {other}, and records of {tenant} refer to their own tenant's alone")]
    CrossTenant {
        /// Where.
        path: String,
        /// The tenant of the record.
        tenant: Did,
        /// Whose record is referred to.
        other: AtIdentifier,
    },
    /// A public record refers to somebody else's private one, whose existence alone may be private.
    #[error("{path}: a public record does not refer to a private record of somebody else")]
    PrivateReference {
        /// Where.
        path: String,
    },
    /// A field that is the node's.
    #[error("{path}: the node writes this field itself")]
    Computed {
        /// Which.
        path: String,
    },
    /// What the record says in one place cannot hold with what it says in another, or with what it said before.
    #[error("{path}: {why}")]
    Contradiction {
        /// Where.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// Another record of the tenant's is called the same (ORD-08).
    #[error("{path}: {other} has the same")]
    Taken {
        /// Where.
        path: String,
        /// Which one: its collection and key.
        other: String,
    },
    /// An amount that cannot be, or that a sum has no room for.
    #[error("{path}: the amounts do not add up")]
    Amount {
        /// Which.
        path: String,
    },
    /// A rate outside of what is agreed on anywhere (REV-05, REV-08).
    #[error("{path}: a rate is from {least} to {most} basis points")]
    Rate {
        /// Where.
        path: String,
        /// The lowest.
        least: i64,
        /// The highest.
        most: i64,
    },
    /// A rate that a super admin alone sets (REV-08).
    #[error("{path}: a rate below {least} basis points is set by a super admin of the node alone")]
    LowRate {
        /// Where.
        path: String,
        /// The lowest that others set.
        least: i64,
    },
    /// A rate of one's own without a contract (REV-06).
    #[error("{path}: a rate that was agreed on names its contract")]
    NoContract {
        /// Where it would be.
        path: String,
    },
    /// A vote for what takes none (RMP-01).
    #[error("{path}: {why}")]
    Vote {
        /// Where the feature is named.
        path: String,
        /// Why it takes none.
        why: &'static str,
    },
    /// What a question of a form cannot mean (FRM-01).
    #[error("{path}: {why}")]
    Question {
        /// Where.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// A URL that answers to a form cannot be sent to (FRM-02).
    #[error("{path}: {why}")]
    Target {
        /// Where.
        path: String,
        /// Why not.
        why: TargetFlaw,
    },
    /// What was sent is not changed.
    #[error("{path}: the invoice was sent, and its amounts stay as they are; write another one")]
    Sent {
        /// Which field would change.
        path: String,
    },
    /// Larger than a record of this network may be.
    #[error("the record has {bytes} bytes; one of this collection has at most {LEXICON_RECORD_BYTES_MAX}")]
    TooLarge {
        /// As it would be stored.
        bytes: usize,
    },
    /// What looks like a password or a key.
    #[error("{path}: this looks like {kind}; records hold the names of secrets, never secrets")]
    Secret {
        /// Where.
        path: String,
        /// Of which kind.
        kind: &'static str,
    },
}

/// What an empty path means, for people.
fn place(path: &str) -> &str {
    if path.is_empty() { "the record" } else { path }
}

const fn holder_name(holder: Holder) -> &'static str {
    match holder {
        Holder::Node => "a node",
        Holder::Operator => "the operator",
        Holder::Tenant => "a tenant",
        Holder::User => "a person",
    }
}

fn holders(holders: &[Holder]) -> String {
    holders.iter().map(|holder| holder_name(*holder)).collect::<Vec<_>>().join(" or ")
}

/// The record URIs of which has to be known whether they are public before [`judge`] can say whether this record may be.
/// Empty for most.
#[must_use]
pub fn asks(write: &Write<'_>, record: &Value) -> Vec<String> {
    let Some(rules) = Flags::builtin().collection(write.collection.as_str()) else { return Vec::new() };
    match (write.place, rules.visibility(record, write.now)) {
        (Place::Public, Visibility::Depends { follows, .. }) => {
            let found = follows.iter().flat_map(|field| targets(field, record).into_iter().map(str::to_owned));
            found.collect()
        }
        _ => Vec::new(),
    }
}

/// The records that judging this one reads, by their paths: of the same holder, in its public repository or, of a tenant,
/// in its workspace. Empty for most.
#[must_use]
pub fn reads(collection: &Nsid, record: &Value) -> Vec<RepoPath> {
    let reads = table::of(collection.as_str()).and_then(|rule| rule.reads);
    reads.map(|reads| reads(record)).unwrap_or_default()
}

/// The public records of whomever that judging this one looks at, by their URIs. Empty for most.
#[must_use]
pub fn looks_at(collection: &Nsid, record: &Value) -> Vec<String> {
    let looks_at = table::of(collection.as_str()).and_then(|rule| rule.looks_at);
    looks_at.map(|looks_at| looks_at(record)).unwrap_or_default()
}

/// Whether a super admin writes records of `collection` for the operator, into the repository of the node's own account
/// (RMP-03): those that the operator holds, in public, and nobody else computes.
#[must_use]
pub fn is_operators(collection: &str) -> bool {
    let rules = Flags::builtin().collection(collection);
    rules.is_some_and(|rules| rules.held_in.contains(&Holder::Operator) && rules.writer == Writer::Holder)
}

/// What a member of a tenant must be allowed to do to write records of `collection` for it; `None` for collections that
/// no role opens to plain writes.
#[must_use]
pub fn permission(collection: &str) -> Option<Permission> {
    let rules = Flags::builtin().collection(collection)?;
    let of_tenant = rules.held_in.contains(&Holder::Tenant) && rules.writer == Writer::Holder;
    of_tenant.then(|| table::permission(collection))
}

/// What a member of a tenant must be allowed to do to read records of `collection` where they lie. Whoever may write them
/// reads them, but customers, who are for those who may see figures; answers to forms are written by a method alone, and read
/// by those who look after forms. Admins read what no role opens.
#[must_use]
pub fn reading(collection: &str) -> Option<Permission> {
    let of_forms = || (collection == FORM_SUBMISSION).then(|| table::permission(collection));
    permission(collection).map(|_| table::permission_to_read(collection)).or_else(of_forms)
}

/// Judges a record of any collection and completes it: fields that the node computes are filled in. `before` is what is
/// there now.
///
/// # Errors
/// [`Refused`], by the first rule that is broken; the record is not to be written then.
pub fn judge(write: &Write<'_>, record: &mut Value, before: Option<&Value>, facts: &Facts) -> Result<(), Refused> {
    let Some(rules) = Flags::builtin().collection(write.collection.as_str()) else { return Ok(()) };
    check_holder(write, rules)?;
    check_writer(write, rules)?;
    if write.place == Place::Public {
        check_public(write, rules, record, facts)?;
    }
    check_references(write, rules, record)?;
    if let Some((path, kind)) = secrets::find(record) {
        return Err(Refused::Secret { path, kind });
    }
    let is_new = |path: &str, text: &str| {
        before.is_none_or(|before| at_pointer(before, path).and_then(Value::as_str) != Some(text))
    };
    if let Some((path, _)) = secrets::cards(record).into_iter().find(|(path, text)| is_new(path, text)) {
        return Err(Refused::Secret { path, kind: secrets::CARD });
    }
    computed::complete(write, rules, record, before, facts)?;
    check_consistency(write, record, before, facts)?;
    let bytes = cbor::length(record);
    if bytes > LEXICON_RECORD_BYTES_MAX { Err(Refused::TooLarge { bytes }) } else { Ok(()) }
}

/// Judges a record of a repository that comes as a whole from elsewhere: what is for certain people stays out of public
/// repositories, and secrets out of all. What is in it beside, whether it fits a lexicon of today and how large it is, is
/// the owner's history: an index leaves out what it cannot read. What it was written by, and what it refers to, was judged where it was written,
/// and whether others' records are public there is not asked again.
///
/// # Errors
/// [`Refused::NotPublic`] or [`Refused::Secret`].
pub fn judge_import(collection: &Nsid, record: &Value, place: Place, now: Timestamp) -> Result<(), Refused> {
    let Some(rules) = Flags::builtin().collection(collection.as_str()) else { return Ok(()) };
    if place == Place::Public && rules.visibility(record, now) == Visibility::Permissioned {
        return Err(Refused::NotPublic { collection: collection.clone(), path: String::new() });
    }
    match secrets::find(record) {
        Some((path, kind)) => Err(Refused::Secret { path, kind }),
        None => Ok(()),
    }
}

/// Whether records of the collection may be taken away this way.
///
/// # Errors
/// [`Refused::NotByClients`].
pub fn judge_removal(collection: &Nsid, by: By) -> Result<(), Refused> {
    match Flags::builtin().collection(collection.as_str()) {
        Some(rules) if !may_write(rules.writer, by) => Err(Refused::NotByClients(collection.clone())),
        _ => Ok(()),
    }
}

const fn may_write(writer: Writer, by: By) -> bool {
    match writer {
        Writer::Holder => true,
        Writer::Procedure => matches!(by, By::Procedure | By::Node),
        Writer::Node => matches!(by, By::Node),
    }
}

/// A tenant is an account like any other, so it holds what people hold too; the node's account holds what is its
/// operator's.
fn check_holder(write: &Write<'_>, rules: &Collection) -> Result<(), Refused> {
    let fits = rules.held_in.iter().any(|holder| match (write.holder, holder) {
        (Holder::Node | Holder::Operator, Holder::Node | Holder::Operator) => true,
        (_, Holder::User) => true,
        (found, expected) => found == *expected,
    });
    if fits {
        return Ok(());
    }
    Err(Refused::HeldIn { collection: write.collection.clone(), expected: rules.held_in.clone(), found: write.holder })
}

fn check_writer(write: &Write<'_>, rules: &Collection) -> Result<(), Refused> {
    if may_write(rules.writer, write.by) { Ok(()) } else { Err(Refused::NotByClients(write.collection.clone())) }
}

fn check_public(write: &Write<'_>, rules: &Collection, record: &Value, facts: &Facts) -> Result<(), Refused> {
    let not_public = |path: String| Refused::NotPublic { collection: write.collection.clone(), path };
    match rules.visibility(record, write.now) {
        Visibility::Public => Ok(()),
        Visibility::Permissioned => {
            let decides = rules.public_when.iter().filter(|_| rules.class == Class::Conditional);
            let failed = decides.map(|condition| &condition.field).find(|field| {
                // The condition that fails, found by asking each for itself.
                let alone = rules.public_when.iter().filter(|one| one.field == **field).cloned().collect();
                let alone = Collection { public_when: alone, ..rules.clone() };
                alone.visibility(record, write.now) == Visibility::Permissioned
            });
            Err(not_public(failed.map(pointer).unwrap_or_default()))
        }
        Visibility::Depends { follows, elsewhere } => {
            for field in follows {
                for uri in targets(field, record) {
                    match facts.public.get(uri) {
                        Some(true) => {}
                        Some(false) => return Err(not_public(pointer(field))),
                        None => return Err(Refused::VisibilityUnknown { path: pointer(field), uri: uri.to_owned() }),
                    }
                }
            }
            let by_rule = table::of(write.collection.as_str()).and_then(|rule| rule.elsewhere);
            match (elsewhere, by_rule) {
                (None, _) | (Some(_), Some(Elsewhere::Writer)) => Ok(()),
                (Some(_), Some(Elsewhere::Record { default })) if facts.elsewhere.unwrap_or(default) => Ok(()),
                _ => Err(not_public(String::new())),
            }
        }
    }
}

/// The records to which a field refers, directly or by a strong reference.
fn targets<'v>(field: &FieldPath, record: &'v Value) -> Vec<&'v str> {
    let found = field.find(record).into_iter();
    let uri = |value: &'v Value| value.as_str().or_else(|| value.get("uri").and_then(Value::as_str));
    found.filter_map(uri).collect()
}

/// The tenant within which the record's references have to stay; `None` where they may lead anywhere.
fn scope(write: &Write<'_>, rules: &Collection, record: &Value) -> Result<Option<Did>, Refused> {
    let named = record.get("tenant").and_then(Value::as_str).and_then(|text| text.parse::<Did>().ok());
    if write.holder == Holder::Tenant && rules.held_in.contains(&Holder::Tenant) {
        return match named {
            Some(named) if named != *write.repo => Err(Refused::OtherTenant { holder: write.repo.clone() }),
            _ => Ok(Some(write.repo.clone())),
        };
    }
    if named.is_some() {
        return Ok(named);
    }
    let field = table::of(write.collection.as_str()).and_then(|rule| rule.scope);
    let uri = field.and_then(|field| record.get(field)).and_then(Value::as_str);
    let authority = uri.and_then(|uri| uri.parse::<AtUri>().ok()).map(|uri| uri.authority().clone());
    Ok(match authority {
        Some(AtIdentifier::Did(did)) => Some(did),
        _ => None,
    })
}

fn check_references(write: &Write<'_>, rules: &Collection, record: &Value) -> Result<(), Refused> {
    let tenant = scope(write, rules, record)?;
    let Some(schema) = Schemas::builtin().record(write.collection.as_str()) else { return Ok(()) };
    for reference in schema.references(record) {
        let Ok(uri) = reference.uri.parse::<AtUri>() else { continue };
        let Some(target) = uri.collection().and_then(|nsid| Flags::builtin().collection(nsid.as_str())) else {
            continue;
        };
        let other = uri.authority();
        let is_of = |did: &Did| matches!(other, AtIdentifier::Did(authority) if authority == did);
        let path = || reference.path.to_string();
        let of_tenants = target.held_in.contains(&Holder::Tenant)
            && target.held_in.iter().all(|holder| matches!(holder, Holder::Tenant | Holder::User));
        // What people hold too may be their own: a picture that somebody sends into a space.
        let is_own = target.held_in.contains(&Holder::User) && is_of(write.repo);
        if let Some(tenant) = &tenant
            && of_tenants
            && !is_own
            && !is_of(tenant)
        {
            return Err(Refused::CrossTenant { path: path(), tenant: tenant.clone(), other: other.clone() });
        }
        if write.place == Place::Public && target.class == Class::Permissioned && !is_of(write.repo) {
            return Err(Refused::PrivateReference { path: path() });
        }
    }
    Ok(())
}

/// Whoever writes is told; the node writes on what was there before.
fn check_consistency(write: &Write<'_>, record: &Value, before: Option<&Value>, facts: &Facts) -> Result<(), Refused> {
    let check = table::of(write.collection.as_str()).and_then(|rule| rule.check).filter(|_| write.by != By::Node);
    let schema = Schemas::builtin().record(write.collection.as_str());
    let (Some(check), Some(schema)) = (check, schema) else { return Ok(()) };
    match check(&Subject { write, record, before, facts }) {
        Some(Flaw { path, why }) if schema.validate(record).is_ok() => Err(Refused::Contradiction { path, why }),
        _ => Ok(()),
    }
}

/// What is at a path that [`secrets::cards`] gave.
fn at_pointer<'v>(record: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('/').skip(1).try_fold(record, |value, step| match value {
        Value::List(items) => items.get(step.parse::<usize>().ok()?),
        value => value.get(step),
    })
}

/// A field as a JSON pointer, with `-` for "each element".
fn pointer(field: &FieldPath) -> String {
    field.steps().fold(String::new(), |path, (name, each)| format!("{path}/{name}{}", if each { "/-" } else { "" }))
}
