//! Google Drive.

pub mod provider;
