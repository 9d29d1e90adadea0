//! Rust types from lexicon documents: for each method of a group its parameters and its JSON body, and the definitions
//! that these refer to. The text is as `rustfmt` has it, and the same for the same documents.
//!
//! What a document asks for beyond a type (bounds, formats, lists of words) is said in the docs of a field and not checked
//! again. A field is optional where the document has it so, except where it gives a default; parameters come with their
//! defaults already. A definition that holds itself other than in a list has no type of finite size, which the compiler
//! says.

mod names;
mod prose;
mod writer;

use angel_protocol::lexicon::Catalog;
use angel_protocol::lexicon::ast::{Body, Definition, Document, Params};

use self::names::camel;
use self::writer::{Fields, Kind, Writer};
use super::choices::Choices;

/// Why there is no type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// A reference to nothing.
    #[error("{at} refers to {to}, which does not exist")]
    Dangling { at: String, to: String },
    /// A reference to what is no data.
    #[error("{at} refers to {to}, which is a {kind}")]
    NoData { at: String, to: String, kind: &'static str },
    /// A body of another kind than an object.
    #[error("the body of {0} is no object")]
    NoObject(String),
    /// Two types of one name.
    #[error("both {0} and {1} would be called {2}")]
    NameTaken(String, String, String),
    /// The type chosen for words does not know one.
    #[error("{at} may be {word:?}, which {path} does not read")]
    Word { at: String, word: String, path: &'static str },
    /// A default that no constant expresses.
    #[error("{0} has a default, and a type of our own")]
    Default(String),
    /// A choice for what does not exist, or is none for it.
    #[error("there is nothing to choose at {0}")]
    NoChoice(String),
}

/// The file of a group: the types of the methods whose NSIDs begin with `group` and a dot.
pub(super) fn types(catalog: &Catalog, group: &str, choices: Choices) -> Result<String, Refused> {
    let mut writer = Writer::new(catalog, choices);
    let within = |nsid: &str| nsid.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'));
    for document in catalog.iter().filter(|document| within(&document.id)) {
        let (parameters, body) = input(document);
        if choices.by_hand.contains(&&*document.id) {
            if parameters.is_none() && body.is_none() {
                return Err(Refused::NoChoice(document.id.to_string()));
            }
            continue;
        }
        let name = camel(document.id.rsplit('.').next().unwrap_or_default());
        if let Some(params) = parameters {
            let docs =
                prose::sentences([Some(format!("The parameters of `{}`.", document.id)), params.description.clone()]);
            let fields = Fields {
                properties: &params.properties,
                required: &params.required,
                nullable: None,
                kind: Kind::Parameters,
            };
            writer.object(&format!("{name}Parameters"), &document.id, docs, fields)?;
        }
        if let Some(body) = body {
            let docs = prose::sentences([Some(format!("The body of `{}`.", document.id)), body.description.clone()]);
            writer.body(&format!("{name}Input"), &document.id, docs, body)?;
        }
    }
    for place in choices.by_hand {
        if within(place) && catalog.get(place).is_none() {
            return Err(Refused::NoChoice((*place).to_owned()));
        }
    }
    writer.finish(group, within)
}

/// What a method takes that has a type: parameters if there are any, and a body that is JSON and described.
fn input(document: &Document) -> (Option<&Params>, Option<&Body>) {
    let (parameters, body) = match document.main() {
        Some(Definition::Query(method) | Definition::Procedure(method)) => (&method.parameters, method.input.as_ref()),
        Some(Definition::Subscription(stream)) => (&stream.parameters, None),
        _ => return (None, None),
    };
    let parameters = parameters.as_ref().filter(|params| !params.properties.is_empty());
    (parameters, body.filter(|body| body.encoding == "application/json" && body.schema.is_some()))
}

#[cfg(test)]
mod tests;
