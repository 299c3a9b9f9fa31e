//! Catchment keeps local buckets up to date with storage that lives elsewhere.
//!
//! # Where things are
//!
//! From the outside in; a module calls those below it and none above it.
//!
//! - [`cli`]: the command line, one file per command. Start at [`cli::main`].
//! - [`api`]: the HTTP API and the browser interface, one folder per resource.
//! - [`webhooks`]: delivers what happened to whoever asked for it.
//! - [`scheduler`]: which sync runs when; watching folders; taking over from dead workers.
//! - [`engine`]: one run of one sync, in reading order. Start at [`engine::Engine`].
//! - [`processing`]: documents from objects, by extractors in confined child processes.
//! - [`sources`]: what can be read: the `Source` trait, and one folder per provider.
//! - [`blobs`]: the bytes of large blobs, in files named by their BLAKE3 hash.
//! - [`store`]: the state, in SQLite, and all SQL.
//! - [`secrets`]: credentials, encrypted at rest.
//! - [`model`]: the nouns, without any I/O.
//! - [`config`], [`clock`], [`logging`]: settings, time and the log, used everywhere.
//!
//! # What always holds
//!
//! An object that can be read is complete and durable. A removal needs proof. One run per sync:
//! every write of a run checks its fence. A checkpoint and the objects it covers commit together.
//! Memory is bounded by concurrency and page size. One bad entry stops nothing. Secrets are
//! encrypted at rest and redacted in types. Sources are never written to.
//!
//! `docs/architecture.md` has the glossary, the way of a file from its source into a bucket, and
//! what a crash between any two steps leaves behind.

pub mod api;
pub mod backup;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod logging;
pub mod model;
pub mod processing;
pub mod scheduler;
pub mod secrets;
pub mod sources;
pub mod store;
pub mod webhooks;
