//! Where settings come from, and which source wins: flag, then environment, then file, then default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::section::Field;

/// Variables that begin like settings and are none.
const OTHER_VARIABLES: [&str; 2] = ["ANGEL_ADMIN_PASSWORD", "ANGEL_CONFIG"];

/// Where the value of a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, named.
    Flag(&'static str),
    /// An environment variable, named.
    Environment(String),
    /// The configuration file.
    File(PathBuf),
    /// The code, or the profile.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// All sources laid over one another, by key.
#[derive(Debug, Default)]
pub(super) struct Layers(BTreeMap<String, (toml::Value, Origin)>);

impl Layers {
    pub(super) fn get(&self, key: &str) -> Option<(&toml::Value, &Origin)> {
        self.0.get(key).map(|(value, origin)| (value, origin))
    }

    pub(super) fn origin(&self, key: &str) -> Origin {
        self.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Lays the text of a configuration file over what is there. Keys that no field knows are refused.
    pub(super) fn lay_file(&mut self, path: &Path, text: &str, fields: &[Field]) -> Result<(), ConfigError> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Syntax { path: path.into(), why: error.to_string() })?;
        let origin = Origin::File(path.into());
        let mut lay = |key: String, value: toml::Value| {
            if fields.iter().any(|field| field.key() == key) {
                self.0.insert(key, (value, origin.clone()));
                Ok(())
            } else {
                Err(ConfigError::UnknownKey { nearest: nearest(&key, fields), key, origin: origin.to_string() })
            }
        };
        for (name, value) in table {
            match value {
                toml::Value::Table(section) if fields.iter().any(|field| field.table == name) => {
                    section.into_iter().try_for_each(|(field, value)| lay(format!("{name}.{field}"), value))?;
                }
                value => lay(name, value)?,
            }
        }
        Ok(())
    }

    /// Lays the environment over what is there. Returns the variables that begin with `ANGEL_` and set nothing, with
    /// the nearest that would: they may be somebody else's, so they are no error.
    pub(super) fn lay_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
        fields: &[Field],
    ) -> Result<Vec<UnusedVariable>, ConfigError> {
        let mut unused = vec![];
        for (name, text) in variables {
            if !name.starts_with("ANGEL_") || OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let Some(field) = fields.iter().find(|field| field.variable() == name) else {
                let known: Vec<_> = fields.iter().map(Field::variable).collect();
                let nearest = nearest_of(&name, known.iter().map(String::as_str)).map(str::to_owned);
                unused.push(UnusedVariable { name, nearest });
                continue;
            };
            self.lay_text(field, &text, Origin::Environment(name))?;
        }
        Ok(unused)
    }

    /// Lays a value given as text over what is there.
    pub(super) fn lay_text(&mut self, field: &Field, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = (field.text_to_toml)(text).map_err(|why| ConfigError::Value {
            key: field.key(),
            value: format!("\"{text}\""),
            origin: origin.to_string(),
            why,
        })?;
        self.0.insert(field.key(), (value, origin));
        Ok(())
    }
}

/// A variable that begins with `ANGEL_` and sets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedVariable {
    /// Its name.
    pub name: String,
    /// The variable that was perhaps meant.
    pub nearest: Option<String>,
}

fn nearest(key: &str, fields: &[Field]) -> Option<String> {
    let keys: Vec<String> = fields.iter().map(Field::key).collect();
    // A key that only lost its section is nearer to its namesake than to anything spelled alike.
    let namesake = keys.iter().find(|known| known.rsplit('.').next() == key.rsplit('.').next());
    let spelled_alike = || nearest_of(key, keys.iter().map(String::as_str).chain(fields.iter().map(|f| f.table)));
    namesake.map(String::as_str).or_else(spelled_alike).map(str::to_owned)
}

fn nearest_of<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= candidate.len().max(3))
        .min()
        .map(|(_, candidate)| candidate)
}
