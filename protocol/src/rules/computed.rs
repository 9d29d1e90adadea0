//! Fields that the node computes: from the record itself, from what was there before, and from who writes when.
//!
//! What takes more than that (stock, payments, scores over activities) is written by the procedures that know it; a
//! plain write keeps what is there. What stands in no record at all is in [`super::figures`].
//!
//! Some fields are the node's and nothing computes them yet, because what they tell of is not there: payments and
//! subscriptions, taxes, calendars and reminders, AI providers and the engine that would use them, links to services
//! outside, work on pictures and films, web chats, onboarding, and what follows from records of other kinds (a lead that
//! became an opportunity, an opportunity that was won); and what the node keeps in its ledger
//! and its rows and writes into no record (tokens, places, moves, memberships, usage). Clients cannot write those either.
//! Each of them by name is in the list `NOBODY` of this room's tests.

pub(super) mod agents;
pub(super) mod business;
pub(super) mod content;
pub(super) mod people;
pub(super) mod sales;
pub(super) mod tenants;

use super::{Facts, Refused, Write, pointer};
use crate::data::{Map, Value};
use crate::ids::{AtUri, RepoPath};
use crate::lexicon::ast::Type;
use crate::lexicon::flags::{Collection, FieldPath};
use crate::lexicon::{Catalog, Definition, Document};
use crate::rules::By;

/// Fills in what one collection's records compute.
pub type Fill = fn(&mut Draft<'_>) -> Result<(), Refused>;

/// A record on its way.
pub struct Draft<'a> {
    record: &'a mut Value,
    before: Option<&'a Value>,
    write: &'a Write<'a>,
    facts: &'a Facts,
}

/// The field that every record has (`records.md` 1.4).
const UPDATED_AT: &str = "updatedAt";

/// Refuses computed fields that a client made up, and writes the true ones.
pub(super) fn complete(
    write: &Write<'_>,
    rules: &Collection,
    record: &mut Value,
    before: Option<&Value>,
    facts: &Facts,
) -> Result<(), Refused> {
    if let Some(field) = rules.view_only.iter().find(|field| !field.find(record).is_empty()) {
        return Err(Refused::Computed { path: pointer(field) });
    }
    let claimed = record.clone();
    if write.by == By::Client {
        for field in &rules.node_written {
            restore(record, before, write.collection.as_str(), field);
        }
    }
    let mut draft = Draft { record, before, write, facts };
    if let Some(fill) = super::table::of(write.collection.as_str()).and_then(|rule| rule.fill) {
        fill(&mut draft)?;
    }
    draft.touch();
    if write.by != By::Client {
        return Ok(());
    }
    let made_up = rules.node_written.iter().find(|field| {
        let claimed = field.find(&claimed);
        let is_before = before.is_some_and(|before| claimed == field.find(before));
        !claimed.is_empty() && !is_before && claimed != field.find(&*record)
    });
    made_up.map_or(Ok(()), |field| Err(Refused::Computed { path: pointer(field) }))
}

/// Puts a field back to what it was before; what was not there is taken away.
fn restore(record: &mut Value, before: Option<&Value>, collection: &str, field: &FieldPath) {
    let steps: Vec<_> = field.steps().collect();
    remove(record, &steps);
    if steps.iter().any(|(_, each)| *each) {
        return;
    }
    let old = before.map(|before| field.find(before)).unwrap_or_default();
    if let [old] = old.as_slice() {
        let names: Vec<_> = steps.iter().map(|(name, _)| *name).collect();
        let make = may_be_made(collection, &names);
        set(record, &names, (*old).clone(), make);
    }
}

/// Whether the objects on the way to a field may be made for it alone: whoever leaves them out does not take away what is
/// the node's. One that has to hold more is not made, so that what is missing is told as missing.
fn may_be_made(collection: &str, names: &[&str]) -> bool {
    let Some(Definition::Record(record)) = Catalog::builtin().get(collection).and_then(Document::main) else {
        return false;
    };
    let Some((_, way)) = names.split_last() else { return false };
    let mut object = &record.object;
    for name in way {
        let Some(Type::Ref(id)) = object.properties.get(*name).map(|schema| &schema.ty) else { return false };
        let Some(Definition::Type(schema)) = Catalog::builtin().definition(id) else { return false };
        let Type::Object(inner) = &schema.ty else { return false };
        if !inner.required.is_empty() {
            return false;
        }
        object = inner;
    }
    true
}

fn remove(value: &mut Value, steps: &[(&str, bool)]) {
    let (Some(((name, each), rest)), Value::Map(map)) = (steps.split_first(), value) else { return };
    match (rest.is_empty(), *each) {
        (true, _) => drop(map.remove(*name)),
        (false, false) => {
            if let Some(inner) = map.get_mut(*name) {
                remove(inner, rest);
            }
        }
        (false, true) => {
            if let Some(Value::List(items)) = map.get_mut(*name) {
                items.iter_mut().for_each(|item| remove(item, rest));
            }
        }
    }
}

/// Sets a field. Maps on the way are made if `make` says so; without, a field with no place is not set.
fn set(value: &mut Value, names: &[&str], new: Value, make: bool) {
    let (Some((name, rest)), Value::Map(map)) = (names.split_first(), value) else { return };
    if rest.is_empty() {
        map.insert((*name).to_owned(), new);
        return;
    }
    if make && !map.contains_key(*name) {
        map.insert((*name).to_owned(), Value::Map(Map::new()));
    }
    if let Some(inner) = map.get_mut(*name) {
        set(inner, rest, new, make);
    }
}

impl Draft<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.record.get(name)?.as_str()
    }

    fn integer(&self, name: &str) -> i64 {
        self.record.get(name).and_then(Value::as_integer).unwrap_or(0)
    }

    fn had(&self, names: &[&str]) -> Option<Value> {
        names.iter().try_fold(self.before?, |value, name| value.get(name)).cloned()
    }

    fn set(&mut self, names: &[&str], new: Value) {
        set(self.record, names, new, true);
    }

    fn unset(&mut self, names: &[&str]) {
        let steps: Vec<_> = names.iter().map(|name| (*name, false)).collect();
        remove(self.record, &steps);
    }

    /// A text within maps.
    fn text_at(&self, names: &[&str]) -> Option<&str> {
        self.at(names)?.as_str()
    }

    fn at(&self, names: &[&str]) -> Option<&Value> {
        names.iter().try_fold(&*self.record, |value, name| value.get(name))
    }

    /// Sets a field that nobody has set yet.
    fn initially(&mut self, names: &[&str], new: Value) {
        if self.at(names).is_none() {
            self.set(names, new);
        }
    }

    /// Whether whoever writes is held to the rules that bind people: the node writes what it was given before.
    fn is_told(&self) -> bool {
        self.write.by != By::Node
    }

    /// A record of the tenant that this one refers to, if it is there and could be read.
    fn known(&self, path: Option<&RepoPath>) -> Option<&Value> {
        self.facts.records.get(&path?.to_string())
    }

    fn now(&self) -> Value {
        Value::String(self.write.now.to_string())
    }

    /// Sets a moment when `holds` begins to hold and keeps it from then on; takes it away when it no longer holds and
    /// `forgets`.
    fn since(&mut self, names: &[&str], holds: bool, forgets: bool) {
        match (holds, self.had(names)) {
            (true, had) => {
                let moment = had.unwrap_or_else(|| self.now());
                self.set(names, moment);
            }
            (false, Some(had)) if !forgets => self.set(names, had),
            (false, _) => self.unset(names),
        }
    }

    /// Sets whoever wrote the record first.
    fn first_author(&mut self, name: &str) {
        let author = self.had(&[name]).unwrap_or_else(|| Value::String(self.write.author.to_string()));
        self.set(&[name], author);
    }

    /// A record that was changed says when; one that is as it was keeps what it says, so that it stays the same record.
    fn touch(&mut self) {
        let Some(before) = self.before else { return };
        let without = |value: &Value| {
            let mut value = value.clone();
            remove(&mut value, &[(UPDATED_AT, false)]);
            value
        };
        if without(self.record) == without(before) {
            match before.get(UPDATED_AT) {
                Some(had) => self.set(&[UPDATED_AT], had.clone()),
                None => self.unset(&[UPDATED_AT]),
            }
        } else {
            let now = self.now();
            self.set(&[UPDATED_AT], now);
        }
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// The path of the record of `collection` that a field refers to, directly or by a strong reference.
fn referred(record: &Value, field: &str, collection: &str) -> Option<RepoPath> {
    let target = record.get(field)?;
    let uri = target.as_str().or_else(|| target.get("uri")?.as_str())?;
    uri.parse::<AtUri>().ok()?.path().filter(|path| path.collection.as_str() == collection)
}
