//! How this server is called in the addresses that it gives out: as the request called it, which
//! `access` has found to be a name of ours.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{Uri, header, request::Parts},
};

use super::App;

/// The beginning of every address, without a slash at its end.
#[derive(Clone, Debug)]
pub(super) struct Base(String);

impl Base {
    /// The address of a path, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The port; `None` where it is the usual one.
    pub(super) fn port(&self) -> Option<u16> {
        self.0.parse::<Uri>().ok()?.port_u16()
    }
}

impl FromRequestParts<App> for Base {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        Ok(Self(match host {
            Some(host) => format!("http://{host}"),
            None => format!("http://{}", app.config.serve.listen),
        }))
    }
}
