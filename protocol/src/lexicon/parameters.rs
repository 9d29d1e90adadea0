//! URL parameters of a method, from text to types.
//!
//! A list is a parameter given several times. A parameter the method does not define is ignored, as the XRPC
//! specification asks; one that is absent takes its default.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::compile::{MethodSchema, Parameter, Scalar, SubscriptionSchema};
use super::validate::{check_boolean, check_integer, check_items, check_text};
use super::violation::{Rule, Violation};
use crate::limits::XRPC_PARAMETERS_MAX;

/// The parameters of one request, checked and typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<Box<str>, ParameterValue>);

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterValue {
    /// `true` or `false`.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// Text.
    Text(Box<str>),
    /// All values of a parameter that may be repeated, in the order given.
    List(Vec<Self>),
}

impl Parameters {
    /// A boolean parameter or its default.
    #[must_use]
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(ParameterValue::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    /// An integer parameter or its default.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(ParameterValue::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text parameter or its default.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(ParameterValue::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// The values of a repeatable text parameter; none when it was not given.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = match self.0.get(name) {
            Some(ParameterValue::List(values)) => values.as_slice(),
            _ => &[],
        };
        values.iter().filter_map(|value| match value {
            ParameterValue::Text(text) => Some(&**text),
            _ => None,
        })
    }

    /// All of them as a JSON object.
    #[must_use]
    pub fn into_json(self) -> Json {
        self.0.into_iter().map(|(name, value)| (name.into_string(), value.into_json())).collect()
    }

    /// A parameter of any type.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ParameterValue> {
        self.0.get(name)
    }
}

impl ParameterValue {
    fn into_json(self) -> Json {
        match self {
            Self::Boolean(value) => value.into(),
            Self::Integer(value) => value.into(),
            Self::Text(value) => Json::String(value.into_string()),
            Self::List(values) => values.into_iter().map(Self::into_json).collect(),
        }
    }
}

impl MethodSchema<'_> {
    /// Reads the parameters of a request from its decoded query pairs.
    pub fn parameters<'q>(
        &self,
        pairs: impl IntoIterator<Item = (&'q str, &'q str)>,
    ) -> Result<Parameters, Box<Violation>> {
        read(&self.method.parameters, pairs)
    }
}

impl SubscriptionSchema<'_> {
    /// Reads the parameters of a subscription from its decoded query pairs.
    pub fn parameters<'q>(
        &self,
        pairs: impl IntoIterator<Item = (&'q str, &'q str)>,
    ) -> Result<Parameters, Box<Violation>> {
        read(&self.stream.parameters, pairs)
    }
}

fn read<'q>(
    known: &[Parameter],
    pairs: impl IntoIterator<Item = (&'q str, &'q str)>,
) -> Result<Parameters, Box<Violation>> {
    let mut given: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (count, (name, value)) in pairs.into_iter().enumerate() {
        if count == XRPC_PARAMETERS_MAX {
            return Err(Rule::Parameters(XRPC_PARAMETERS_MAX).here());
        }
        given.entry(name).or_default().push(value);
    }
    let mut parameters = Parameters::default();
    for parameter in known {
        let values = given.get(&*parameter.name).map(Vec::as_slice).unwrap_or_default();
        let value = parameter.read(values).map_err(|violation| violation.under_key(&parameter.name))?;
        if let Some(value) = value {
            parameters.0.insert(parameter.name.clone(), value);
        }
    }
    Ok(parameters)
}

impl Parameter {
    fn read(&self, given: &[&str]) -> Result<Option<ParameterValue>, Box<Violation>> {
        match (given, self.list) {
            ([], _) if self.required => Err(Rule::Required.here()),
            ([], Some(_)) => Ok(None),
            ([], None) => Ok(self.scalar.default()),
            (values, Some(rule)) => {
                check_items(rule, values.len())?;
                let element = |(index, value): (usize, &&str)| {
                    self.scalar.read(value).map_err(|violation| violation.under_index(index))
                };
                Ok(Some(ParameterValue::List(values.iter().enumerate().map(element).collect::<Result<_, _>>()?)))
            }
            ([value], None) => self.scalar.read(value).map(Some),
            _ => Err(Rule::Repeated.here()),
        }
    }
}

impl Scalar {
    fn read(&self, text: &str) -> Result<ParameterValue, Box<Violation>> {
        let not = |expected| Rule::WrongType { expected, found: "text" }.here();
        match self {
            Self::Boolean { constant, .. } => {
                let value = text.parse().map_err(|_| not("true or false"))?;
                check_boolean(*constant, value)?;
                Ok(ParameterValue::Boolean(value))
            }
            Self::Integer { rule, .. } => {
                // `parse` would take a leading plus sign, which no other implementation writes or reads.
                let value = Some(text).filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok());
                let value = value.ok_or_else(|| not("an integer"))?;
                check_integer(rule, value)?;
                Ok(ParameterValue::Integer(value))
            }
            Self::Text { rule, .. } => {
                check_text(rule, text)?;
                Ok(ParameterValue::Text(text.into()))
            }
        }
    }

    fn default(&self) -> Option<ParameterValue> {
        match self {
            Self::Boolean { default, .. } => default.map(ParameterValue::Boolean),
            Self::Integer { default, .. } => default.map(ParameterValue::Integer),
            Self::Text { default, .. } => default.clone().map(ParameterValue::Text),
        }
    }
}

#[cfg(test)]
mod tests;
