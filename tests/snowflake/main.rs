//! Snowflake, against an imitation of its SQL API (`tests/support/fake_snowflake.py`): each module
//! a part, each test a promise.
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

#[path = "../support/snowflake.rs"]
#[allow(dead_code)]
mod fake;

mod account;
mod blobs;
mod daily;
mod failures;
mod kills;
mod kinds;
mod news;
mod odd_servers;
mod orders;
mod reading;
mod secrecy;
mod syncs;
mod tables;
