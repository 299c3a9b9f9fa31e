//! SharePoint and OneDrive, by Microsoft Graph: drives of files and folders known by their ids,
//! with a change feed.
//!
//! - `provider`: settings and credentials
//! - `reader`: how a location is opened, browsed and filtered
//! - `source_path`: what a `source_path` names, and how it is found
//! - `source`: the place as a source
//! - `graph`: one request, and many in one
//! - `item`: a drive item, as an entry or a folder
//! - `columns`: the columns of a library's list
//!
//! Nothing here keeps state between runs, and nothing writes.

mod columns;
mod graph;
mod item;
pub mod provider;
mod reader;
mod source;
mod source_path;
