//! SharePoint and OneDrive.

mod columns;
mod graph;
mod item;
pub mod provider;
mod reader;
mod source;
mod source_path;
