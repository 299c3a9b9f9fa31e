//! Google Drive: files and folders known by their ids, with a change feed
//! (<https://developers.google.com/workspace/drive/api/reference/rest/v3>).
//!
//! - `provider`: settings, credentials, places, filters
//! - `source_path`: what a `source_path` names, as people write it and as it is stored
//! - `source`: the place as a source
//! - `listing`: listings and the change feed
//! - `places`: places are resolved to ids, and people look around
//! - `api`: one request, signed in and within the budget
//! - `refusal`: what an error response means
//! - `file`: what the API returns for a file, as an entry or a folder
//! - `export`: documents without bytes of their own
//! - `batch`: many requests in one
//! - `user`: who is signed in
//! - `resource_keys`: what opens files that are shared by their links
//!
//! Nothing here keeps state between runs, and nothing writes.

mod api;
mod batch;
mod export;
mod file;
mod listing;
mod places;
pub mod provider;
mod refusal;
mod resource_keys;
mod source;
mod source_path;
mod user;
