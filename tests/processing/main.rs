//! Processing: from objects to documents, through the library and the server.

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

#[path = "../support/receiver.rs"]
mod receiver;

mod asked;
mod client;
mod commands;
mod contract;
mod extract;
mod facts;
mod files;
mod hostile;
mod indexes;
mod jail;
mod kept;
mod kills;
mod ledger;
mod openapi;
mod operations;
mod options;
mod programs;
mod services;
mod stopping;
mod tags;
mod text;
mod thumbnails;
mod tiers;
mod turns;
mod webhooks;
