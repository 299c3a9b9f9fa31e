//! SharePoint and OneDrive.

mod columns;
mod graph;
mod item;
mod place;
pub mod provider;
mod reader;
mod source;
