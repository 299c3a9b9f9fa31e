//! From objects to documents: a collection says which objects go through which extractor, and this
//! is what carries it out.
//!
//! ```text
//! a sync commits ── same transaction ──▶ to_batch ── enough, or the run ends ──▶ a batch, a task a tier
//!      ──▶ [`extract`] (a confined process) ── one transaction ──▶ documents, outcome ──▶ events
//! ```
//!
//! The map, in the order of the flow:
//!
//! - [`extract`]: the boundary to extractors. On this side a request and what came of it; on the
//!   other a child process that speaks lines. Nothing there knows of batches or of the database.
//!
//! What does not live here: SQL (`store::processing`), HTTP (`api::{collections, batches, tasks,
//! documents}`), anything about a sync's own run (`engine`).

pub mod extract;
