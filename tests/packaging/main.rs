//! What makes Catchment last on somebody's machine, shown through the built program: what it says
//! of itself to packages, backups, and the doctor. The packages themselves are tried by
//! `tests/packaging/run`.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// The support module is written like a library, for its readers.
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
// Each test crate uses its own part of it.
#[allow(dead_code)]
mod support;

#[path = "../support/server.rs"]
#[allow(dead_code)]
mod server;

mod backups;
mod doctor;
mod program;
mod replication;
