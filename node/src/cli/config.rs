//! `angel config`: what is set, and what can be.

use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::Failure;
use super::{Common, output};
use crate::config::{Config, Loaded, template};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Show every setting, its value and where the value came from.
    Show,
    /// Print a configuration file with every key, its meaning and its default.
    Example,
}

pub(super) fn config(common: &Common, verb: ConfigVerb) -> Result<(), Failure> {
    match verb {
        ConfigVerb::Show => {
            let loaded = common.load(vec![])?;
            let lines = loaded.settings().map(|setting| {
                let value = setting.value.map_or_else(|| "(unset)".to_owned(), |value| value.to_string());
                format!("{} = {value}    # {}", setting.key, setting.origin)
            });
            output::print(common, &settings_json(&loaded), lines.collect::<Vec<_>>())?;
        }
        ConfigVerb::Example => {
            let keys: Vec<_> = Config::fields()
                .iter()
                .map(|field| json!({ "key": field.key(), "variable": field.variable(), "doc": field.doc }))
                .collect();
            output::print(common, &json!({ "keys": keys }), template().lines().map(str::to_owned))?;
        }
    }
    Ok(())
}

/// Every setting as JSON, by key.
pub(super) fn settings_json(loaded: &Loaded) -> Value {
    let settings = loaded.settings().map(|setting| {
        let value = setting.value.map(|value| serde_json::to_value(value).expect("TOML settings are JSON values"));
        (setting.key, json!({ "value": value, "origin": setting.origin.to_string() }))
    });
    Value::Object(settings.collect())
}
