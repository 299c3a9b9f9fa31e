//! OAuth 2.0 beneath every provider that uses it: how a person signs in, and how a connection gets
//! its access tokens.
//!
//! - [`grant`]: one grant per connection and process: it holds the access token and renews it
//! - [`authority`]: what a provider's authorization server is asked, and what its refusals mean
//! - [`sign_in`]: a person signs in: with a browser (authorization code with PKCE) or on another
//!   device
//! - `endpoint`: one request to an authorization server
//! - `google`, `microsoft`: the two authorization servers
//!
//! What does not live here: where credentials are kept (their [`Keeper`](crate::model::Keeper)),
//! and what a token is used for.

pub mod authority;
mod endpoint;
pub mod google;
pub mod grant;
pub mod microsoft;
pub mod sign_in;

pub use authority::Authority;
pub use grant::{AccessToken, Grant, Grants};
