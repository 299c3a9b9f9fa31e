//! What a source needs to know of this installation besides its location.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{closings::Closings, hosts::Hosts, http::Budgets, oauth::Grants};
use crate::clock::SharedClock;

/// What a source needs to know besides its location.
#[derive(Clone, Debug)]
pub struct SourceTuning {
    /// The time.
    pub clock: SharedClock,
    /// A file modified less than this ago may still be being written and is waited for.
    pub quiet_period: Duration,
    /// Folders of our own, never to be listed: a bucket must not contain itself.
    pub own_folders: Vec<PathBuf>,
    /// Where providers with an address of their own are reached.
    pub hosts: Arc<Hosts>,
    /// The access tokens of this process, shared by all sources of a connection.
    pub grants: Grants,
    /// How fast each connection may send requests, shared by all its sources.
    pub budgets: Budgets,
    /// Files that are known to be finished.
    pub closings: Closings,
}
