//! Iconik: the assets of a media library, known by their ids, in collections
//! (<https://app.iconik.io/docs/>).
//!
//! - `provider`: settings, credentials, places, filters, browsing
//! - `source_path`: what a `source_path` names
//! - `source`: the place as a source
//! - `listing`: collections as folders, and what the search or the changes return for assets
//! - `expanding`: assets one by one, and their files
//! - `downloads`: how the addresses of bytes are obtained and used
//! - `link`: such an address
//! - `browsing`: what people see who look around
//! - `feed`: where a listing or the changes continue
//! - `search`: the search that lists assets and collections
//! - `api`: one request within the budget, and downloads from the hosts of storages
//! - `refusal`: what an error response means
//! - `tree`: the collections and their paths
//! - `asset`: what the API returns for an asset and its files, as entries
//!
//! A search shows whether an asset has changed; only one that has is asked for its files.
//! Nothing here keeps state between runs, and nothing writes.

mod api;
mod asset;
mod browsing;
mod downloads;
mod expanding;
mod feed;
mod link;
mod listing;
pub mod provider;
mod refusal;
mod search;
mod source;
mod source_path;
mod tree;
