//! Signing in: how connections get their access tokens and keep what renews them, and how people
//! sign in. Against an authorization server of our own, which ends a sign-in whose refresh token is
//! used twice.

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

mod api;
mod command_line;
mod grants;
mod processes;
