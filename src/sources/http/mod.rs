//! HTTP beneath every provider that is reached by it: connections, proxies, time limits, and the
//! budget of a connection.
//!
//! - [`Client`]: sends one request and returns whatever response comes; follows no redirect
//! - [`Budget`]: how fast a connection may send requests, and until when it has to wait
//! - `connect`: connections to hosts, directly or through a proxy
//! - `body`: bodies read whole up to a limit, or as a stream that may not stall
//! - `resolve`: names of hosts
//! - [`post`]: one POST to an address that a person gave
//! - [`headers`]: what the headers of a response say
//!
//! What does not live here: what a status means, and who is signed in. A client adds no credentials
//! to a request by itself.

mod body;
mod budget;
mod client;
mod connect;
pub mod headers;
pub mod post;
mod resolve;

pub use self::{
    body::{body_of, explanation, read, stream},
    budget::{Budget, Budgets, Ledger, Meter, Reservation, Usage},
    client::{Client, causes},
    connect::{Connect, Tcp},
    resolve::Resolver,
};

/// What this program calls itself.
pub const USER_AGENT: http::HeaderValue =
    http::HeaderValue::from_static(concat!("catchment/", env!("CARGO_PKG_VERSION")));
