//! SharePoint and OneDrive.

mod graph;
mod item;
mod place;
pub mod provider;
mod reader;
mod source;
