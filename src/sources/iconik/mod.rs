//! Iconik: the assets of a media library, known by their ids, in collections
//! (<https://app.iconik.io/docs/>).
//!
//! - `provider`: settings, credentials, places, filters, browsing
//! - `place`: what a `source_path` names
//! - `source`: the place as a source
//! - `feed`: where a listing or the changes continue
//! - `search`: the search that lists assets and collections
//! - `api`: one request within the budget, and downloads from the hosts of storages
//! - `refusal`: what an error response means
//! - `tree`: the collections and their paths
//! - `asset`: what the API tells of an asset and its files, as entries
//!
//! A search tells whether an asset has changed; only one that has is asked for its files.
//! Nothing here keeps state between runs, and nothing writes.

mod api;
mod asset;
mod feed;
mod place;
pub mod provider;
mod refusal;
mod search;
mod source;
mod tree;
