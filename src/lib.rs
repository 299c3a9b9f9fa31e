//! Catchment keeps local buckets in step with storage that lives elsewhere.

pub mod api;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod logging;
pub mod model;
pub mod processing;
pub mod scheduler;
pub mod secrets;
pub mod sources;
pub mod store;
