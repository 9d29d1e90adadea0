//! What one record alone of a tenant's is called: its slug, its numbers of stock, the address of a lead (ORD-08, LEA-06,
//! `records.md` 4.1, 7.1, 8.1, 8.2). Which other records there are, whoever writes looks up; names are one whatever their case.

use std::collections::{BTreeMap, BTreeSet};

use crate::business::{LEAD, PRODUCT};
use crate::data::Value;
use crate::spaces::SPACE;

/// The collections of such records.
pub const COLLECTIONS: [&str; 5] = [LEAD, PRODUCT, "co.kendev.content.page", "co.kendev.content.post", SPACE];

/// What a record is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Where it says so, as a JSON pointer.
    pub path: String,
    /// Names of different kinds do not meet.
    pub kind: &'static str,
    /// In lower case.
    pub value: String,
}

/// What a record is called that no other of its collection may be.
#[must_use]
pub fn names(collection: &str, record: &Value) -> Vec<Name> {
    let name = |path: String, kind, value: Option<&Value>| {
        let value = value.and_then(Value::as_str).map(str::trim).filter(|value| !value.is_empty())?;
        Some(Name { path, kind, value: value.to_lowercase() })
    };
    let field = |field: &'static str| name(format!("/{field}"), field, record.get(field));
    match collection {
        LEAD => field("email").into_iter().collect(),
        PRODUCT => {
            let variants = match record.get("pricing").and_then(|pricing| pricing.get("variants")) {
                Some(Value::List(variants)) => variants.as_slice(),
                _ => &[],
            };
            let of_variant = |(index, variant): (usize, &Value)| {
                name(format!("/pricing/variants/{index}/sku"), "sku", variant.get("sku"))
            };
            let variants = variants.iter().enumerate().filter_map(of_variant);
            field("slug").into_iter().chain(field("sku")).chain(variants).collect()
        }
        collection if COLLECTIONS.contains(&collection) => field("slug").into_iter().collect(),
        _ => vec![],
    }
}

/// Records of one collection that are to be written together, while it is looked whether others are called the same.
#[derive(Debug, Default)]
pub struct Claims {
    /// Who claims a name, and where it says so.
    claimed: BTreeMap<(&'static str, String), (String, String)>,
    /// The keys that are written, whatever for.
    written: BTreeSet<String>,
    /// What those records are called already.
    had: BTreeSet<(String, &'static str, String)>,
    /// Whom others stand in the way of: by the key, where it says so, and the name; with the key of the other.
    met: Vec<(String, String, (&'static str, String), String)>,
}

impl Claims {
    /// Adds a record that is to be at the key `rkey`; `None` for one that goes.
    pub fn claim(&mut self, collection: &str, rkey: &str, record: Option<&Value>) {
        self.written.insert(rkey.to_owned());
        for Name { path, kind, value } in record.map(|record| names(collection, record)).unwrap_or_default() {
            let claimed = self.claimed.get(&(kind, value.clone())).map(|(other, _)| other.clone());
            match claimed.filter(|other| other != rkey) {
                Some(other) => self.met.push((rkey.to_owned(), path, (kind, value), other)),
                None => drop(self.claimed.insert((kind, value), (rkey.to_owned(), path))),
            }
        }
    }

    /// Whether any name is claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claimed.is_empty()
    }

    /// Looks at a record that is there now.
    pub fn look(&mut self, collection: &str, rkey: &str, record: &Value) {
        for Name { kind, value, .. } in names(collection, record) {
            if self.written.contains(rkey) {
                self.had.insert((rkey.to_owned(), kind, value));
            } else if let Some((own, path)) = self.claimed.get(&(kind, value.clone())) {
                self.met.push((own.clone(), path.clone(), (kind, value), rkey.to_owned()));
            }
        }
    }

    /// The first name that another record has: where it is said, and the key of the other. What a record was called before
    /// it keeps: nobody is kept from changing one of two that were called the same from early on.
    #[must_use]
    pub fn taken(self) -> Option<(String, String)> {
        let met = self.met.into_iter();
        let new = met.filter(|(own, _, (kind, value), _)| !self.had.contains(&(own.clone(), kind, value.clone())));
        new.map(|(_, path, _, other)| (path, other)).next()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::from_json;

    fn product(slug: &str, sku: &str, variants: &[&str]) -> Value {
        let variants: Vec<_> = variants.iter().map(|sku| json!({ "sku": sku })).collect();
        let record = json!({ "slug": slug, "sku": sku, "pricing": { "variants": variants } });
        from_json(&record).expect("of the data model")
    }

    fn taken(writes: &[(&str, Option<&Value>)], there: &[(&str, &Value)]) -> Option<(String, String)> {
        let mut claims = Claims::default();
        writes.iter().for_each(|(rkey, record)| claims.claim(PRODUCT, rkey, *record));
        there.iter().for_each(|(rkey, record)| claims.look(PRODUCT, rkey, record));
        claims.taken()
    }

    fn at(path: &str, other: &str) -> Option<(String, String)> {
        Some((path.to_owned(), other.to_owned()))
    }

    #[test]
    fn a_name_is_one_records_alone() {
        let (pot, cup) = (product("pot", "P-1", &["P-2"]), product("cup", "C-1", &["C-2"]));
        assert_eq!(taken(&[("b", Some(&cup))], &[("a", &pot)]), None);
        assert_eq!(taken(&[("b", Some(&product("pot", "x", &[])))], &[("a", &pot)]), at("/slug", "a"));
        assert_eq!(taken(&[("b", Some(&product("x", "p-1", &[])))], &[("a", &pot)]), at("/sku", "a"), "in any case");
        let variant = product("x", "y", &["z", "P-1"]);
        assert_eq!(taken(&[("b", Some(&variant))], &[("a", &pot)]), at("/pricing/variants/1/sku", "a"));
        assert_eq!(taken(&[("b", Some(&product("P-1", "pot", &[])))], &[("a", &pot)]), None, "of another kind");
        assert_eq!(taken(&[("b", Some(&product("x", " ", &[])))], &[("a", &product("y", "", &[]))]), None);
        assert_eq!(taken(&[("a", Some(&pot))], &[("a", &pot)]), None, "its own");
    }

    #[test]
    fn records_that_are_written_together_are_looked_at_together() {
        let pot = product("pot", "P-1", &[]);
        assert_eq!(taken(&[("a", Some(&pot)), ("b", Some(&pot))], &[]), at("/slug", "a"));
        assert_eq!(taken(&[("a", None), ("b", Some(&pot))], &[("a", &pot)]), None, "one that goes makes way");
        let other = product("cup", "C-1", &[]);
        assert_eq!(taken(&[("a", Some(&other)), ("b", Some(&pot))], &[("a", &pot)]), None, "so does one that changes");
    }

    #[test]
    fn what_was_called_the_same_from_early_on_may_change() {
        let pot = product("pot", "P-1", &[]);
        assert_eq!(taken(&[("b", Some(&pot))], &[("a", &pot), ("b", &pot)]), None);
        assert_eq!(taken(&[("b", Some(&pot))], &[("b", &product("pot", "P-2", &[])), ("a", &pot)]), at("/sku", "a"));
    }
}
