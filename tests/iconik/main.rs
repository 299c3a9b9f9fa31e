//! Iconik, against an imitation of its API (`tests/support/fake_iconik.rs`): each module a part,
//! each test a promise.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// The support modules are written like a library, for their readers.
#![allow(unreachable_pub)]

#[path = "../support/conformance.rs"]
mod conformance;
#[path = "../support/fake_iconik.rs"]
#[allow(dead_code)]
mod fake;
#[path = "../support/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "../support/mod.rs"]
// Each test crate uses its own part of it.
#[allow(dead_code)]
mod support;

mod browsing;
mod failures;
mod fetching;
mod library;
mod listing;
mod syncs;
