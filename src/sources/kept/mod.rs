//! Providers that this version keeps connections to and cannot read yet: their settings and
//! credentials, one file a family. One that gets a source moves to a folder of its own.

pub(super) mod documents;
pub(super) mod feeds;
pub(super) mod media;
pub(super) mod storage;
pub(super) mod tables;

use super::provider::{Given, Provider, Schema, Wrong};

/// A provider without a source.
#[derive(Debug)]
pub(super) struct WithoutSource {
    name: &'static str,
    schema: &'static Schema,
    /// The rules between its fields, if it has any.
    rule: Option<fn(&Given<'_>) -> Vec<Wrong>>,
}

impl Provider for WithoutSource {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(self.schema)
    }

    fn check(&self, given: &Given<'_>) -> Vec<Wrong> {
        self.rule.map_or_else(Vec::new, |rule| rule(given))
    }
}
