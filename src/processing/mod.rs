//! From objects to documents: a collection says which objects go through which extractor, and this
//! is what carries it out.
//!
//! ```text
//! a sync commits ─ same transaction ─▶ to_batch ─ enough, or the run ends ─▶ batch, a task a tier
//!   ─▶ extractor, a confined process ─ one transaction ─▶ documents, outcome ─▶ events
//! ```
//!
//! The map, in the order of the flow:
//!
//! - `to_batch` (in `store::processing`): what the commit of a sync notes, and the batches made of
//!   it.
//! - [`processor`]: the one process that processes: what is carried out next, and how much at once.
//!   `sweep` is what it does now and then, [`chores`] the tasks that are no batch.
//! - `batch` and `tier`: a batch from tier to tier; members page by page, settled in one
//!   transaction.
//! - `plan`: what is to be done about one object in one collection, from the ledger and [`digest`]s
//!   of what goes in; `view` is what a collection can see of an object.
//! - `work`: one object through its extractor, into documents that are ready to be written.
//! - [`extract`]: the boundary to extractors. On this side a request and what came of it; on the
//!   other a child process that speaks lines. Nothing there knows of batches or of the database.
//! - [`thumbnails`]: pictures drawn on demand, for whoever looks at an object; no collection
//!   needed.
//! - `context`: what all of these share: the right to process, slots for extractors, their pauses.
//!
//! What does not live here: SQL (`store::processing`), HTTP (`api::{collections, batches, tasks,
//! documents}`), anything about a sync's own run (`engine`).

mod batch;
pub mod chores;
mod context;
pub mod digest;
pub mod extract;
mod job;
mod plan;
pub mod processor;
mod sweep;
pub mod thumbnails;
mod tier;
mod view;
mod work;

pub use plan::RESERVED;
pub use work::{Tried, try_out};
