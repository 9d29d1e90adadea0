//! Where a record refers to other records: every text that its schema says is an AT URI.

use super::compile::{Node, NodeId, RecordSchema, Schemas};
use super::format::Format;
use super::path::Path;
use super::value::{DataModel, View};
use crate::limits::DATA_DEPTH_MAX;

/// A place in a record that refers to another record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'v> {
    /// Where.
    pub path: Path,
    /// What is referred to.
    pub uri: &'v str,
}

impl RecordSchema<'_> {
    /// Every AT URI in the fields that the schema names, in the order of the fields. Other fields are nobody's business.
    /// A value that the schema refuses gives those that are found in it.
    #[must_use]
    pub fn references<'v, V: DataModel>(&self, record: &'v V) -> Vec<Reference<'v>> {
        let mut found = Vec::new();
        collect(self.schemas, self.record.node, record, &mut Vec::new(), &mut found);
        found
    }
}

#[derive(Clone, Copy)]
enum Step<'s> {
    Key(&'s str),
    Index(usize),
}

fn collect<'s, 'v, V: DataModel>(
    schemas: &'s Schemas,
    node: NodeId,
    value: &'v V,
    place: &mut Vec<Step<'s>>,
    found: &mut Vec<Reference<'v>>,
) {
    let Some(node) = schemas.nodes.get(node as usize).filter(|_| place.len() <= DATA_DEPTH_MAX) else { return };
    match (node, value.view()) {
        (Node::Text(rule), View::String(uri)) if rule.format == Some(Format::AtUri) => {
            found.push(Reference { path: path_of(place), uri });
        }
        (Node::List { items, .. }, View::List(list)) => {
            for (index, item) in list.iter().enumerate() {
                place.push(Step::Index(index));
                collect(schemas, *items, item, place, found);
                place.pop();
            }
        }
        (Node::Object(rule), View::Map(map)) => {
            for property in &rule.properties {
                let Some(value) = V::get(map, &property.name) else { continue };
                place.push(Step::Key(&property.name));
                collect(schemas, property.node, value, place, found);
                place.pop();
            }
        }
        (Node::Union { variants, .. }, View::Map(map)) => {
            let Some(View::String(tag)) = V::get(map, "$type").map(DataModel::view) else { return };
            if let Ok(index) = variants.binary_search_by(|(name, _)| (**name).cmp(tag)) {
                collect(schemas, variants[index].1, value, place, found);
            }
        }
        _ => {}
    }
}

fn path_of(place: &[Step<'_>]) -> Path {
    place.iter().rev().fold(Path::default(), |path, step| match step {
        Step::Key(key) => path.under_key(key),
        Step::Index(index) => path.under_index(*index),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_where_the_schema_has_them() {
        let schema = Schemas::builtin().record("co.kendev.spaces.message").expect("shipped");
        let message = json!({
            "$type": "co.kendev.spaces.message",
            "content": {
                "type": "widget",
                "text": "at://did:web:a.example/co.kendev.spaces.space/not-one",
                "widgets": [
                    { "$type": "co.kendev.spaces.message#widgetPoll", "question": "?", "options": [] },
                    { "$type": "co.kendev.spaces.message#widgetProduct", "product": "at://p" },
                ],
            },
            "space": "at://s",
            "replyTo": { "root": { "uri": "at://r", "cid": "c" }, "parent": { "uri": "at://q", "cid": "c" } },
            "attachments": ["at://m", "at://n"],
            "extra": "at://x",
        });
        let found = schema.references(&message).into_iter().map(|one| (one.path.to_string(), one.uri));
        let mut found: Vec<_> = found.collect();
        found.sort();
        assert_eq!(
            found,
            [
                ("/attachments/0".to_owned(), "at://m"),
                ("/attachments/1".to_owned(), "at://n"),
                ("/content/widgets/1/product".to_owned(), "at://p"),
                ("/replyTo/parent/uri".to_owned(), "at://q"),
                ("/replyTo/root/uri".to_owned(), "at://r"),
                ("/space".to_owned(), "at://s"),
            ]
        );
    }
}
