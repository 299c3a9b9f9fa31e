//! The API, asked over HTTP as its users ask it: each module a resource or a promise, each test a
//! sentence, told through the built program.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// The support module is written like a library, for its readers.
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
// Each test crate uses its own part of it.
#[allow(dead_code)]
mod support;

#[path = "../support/server.rs"]
mod server;

mod access;
mod archive;
mod bounds;
mod buckets;
mod client;
mod confirm;
mod connections;
mod content;
mod counts;
mod crowds;
mod edits;
mod events;
mod failures;
mod fields;
mod folders;
mod health;
mod input;
mod meeting;
mod namespaces;
mod notices;
mod objects;
mod panics;
mod refusals;
mod serving;
mod settings;
mod shards;
mod suspension;
mod syncs;
mod takeover;
mod trash;
mod unique_keys;
mod uploads;
mod watching;
