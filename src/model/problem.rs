//! What is wrong with one field of somebody's settings.

use std::fmt;

use serde_json::Value;

/// A field that cannot be as it is. Settings are checked whole, so that somebody who puts them
/// right learns of all that is wrong at once.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldProblem {
    /// Where it is, from the settings' own root: names and indexes, joined by dots
    /// (`metadata_filters.0.value`).
    pub field: String,
    /// What stands there; `None` where something is missing.
    pub value: Option<Value>,
    /// What is wrong with it.
    pub message: String,
    /// What would do.
    pub accepted: Option<String>,
}

impl FieldProblem {
    /// A field whose value will not do.
    #[must_use]
    pub fn new(
        field: impl Into<String>,
        value: impl Into<Value>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            value: Some(value.into()),
            message: message.into(),
            accepted: None,
        }
    }

    /// A field that is not there.
    #[must_use]
    pub fn missing(field: impl Into<String>) -> Self {
        let message = "is missing".into();
        Self { field: field.into(), value: None, message, accepted: None }
    }

    /// With what would do.
    #[must_use]
    pub fn accepts(mut self, accepted: impl Into<String>) -> Self {
        self.accepted = Some(accepted.into());
        self
    }

    /// The same field, seen from further out.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }

    /// All of them in one text for a person.
    #[must_use]
    pub fn join(problems: &[Self]) -> String {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)?;
        match &self.accepted {
            Some(accepted) => write!(f, " (accepted: {accepted})"),
            None => Ok(()),
        }
    }
}
