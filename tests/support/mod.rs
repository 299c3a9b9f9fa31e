//! What the tests stand on: the built program in a private home, real S3 servers as peers, a
//! scripted S3 of our own that fails on demand, and trees and contents to sync.
//!
//! Nothing in here asserts a promise of Catchment, with one exception: every `sync --json` that the
//! runner starts is held to the arithmetic of its summary and to the books of its installation
//! ([`accounts`]), so that no test has to remember to.

pub mod accounts;
pub mod catchment;
pub mod client;
pub mod cloud;
pub mod content;
pub mod fake_authority;
pub mod fake_graph;
pub mod fake_s3;
pub mod peers;
pub mod sharing_disk;
pub mod sigv4;
pub mod small_disk;
pub mod trees;
pub mod wire;

/// The way that a test reaches an S3 server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `http://host:port`
    pub url: String,
    /// The access key id that it knows.
    pub access_key: String,
    /// The secret of that key.
    pub secret_key: String,
}
