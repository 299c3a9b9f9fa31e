//! By which name this server was called, and from which page.
//!
//! A page of another site can make a browser send requests here, and can point a name of its own at
//! this computer to look like us. It cannot choose the `Host`, `Origin` and `Sec-Fetch-Site` that
//! the browser sends: <https://developer.mozilla.org/en-US/docs/Web/HTTP/Headers/Sec-Fetch-Site>.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, header, request::Parts, uri::Authority};

use crate::api::error::ApiError;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The names that lead here.
#[derive(Clone, Debug)]
pub(super) struct Names {
    allowed: Vec<String>,
    /// Where others can reach us, we are also called by address.
    is_remote: bool,
}

impl Names {
    pub(super) fn new(allowed: &[String], listen: SocketAddr) -> Self {
        let allowed = allowed.iter().map(|name| plain(name)).collect();
        Self { allowed, is_remote: !listen.ip().is_loopback() }
    }

    /// The authority (`host[:port]`) that the request was sent to, if it is one of ours.
    pub(super) fn check(&self, parts: &Parts) -> Result<Authority, ApiError> {
        let mut given = parts.headers.get_all(header::HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            return Err(ApiError::malformed("there must be exactly one Host header"));
        };
        let authority: Authority = host
            .to_str()
            .ok()
            .and_then(|host| host.parse().ok())
            .ok_or_else(|| ApiError::malformed("the Host header names no host"))?;
        // The absolute form of a request names its host besides; it must not name another.
        let agrees = parts.uri.authority().is_none_or(|other| *other == authority);
        if agrees && self.is_ours(authority.host()) {
            return Ok(authority);
        }
        Err(ApiError::forbidden(format!(
            "this server is not called {:?}; --allow-host gives it more names",
            authority.host()
        ))
        .code("host_not_allowed"))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = plain(host);
        let address: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
        match address {
            Some(address) if address.is_loopback() => true,
            // A page's own name can be made to lead here; an address cannot.
            Some(_) if self.is_remote => true,
            _ => name == "localhost" || self.allowed.contains(&name),
        }
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a request asks for something to change.
pub(super) fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Refuses what another site's page sent.
pub(super) fn refuse_foreign(headers: &HeaderMap, us: &Authority) -> Result<(), ApiError> {
    let foreign = || {
        ApiError::forbidden("requests from pages of other sites change nothing here")
            .code("foreign_origin")
    };
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().map_err(|_| foreign())?;
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if !authority.is_some_and(|origin| origin.eq_ignore_ascii_case(us.as_str())) {
            return Err(foreign());
        }
    }
    if is_foreign_fetch(headers) { Err(foreign()) } else { Ok(()) }
}

/// Whether the browser says that another site's page asks.
pub(super) fn is_foreign_fetch(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none")
}

/// Whether the browser says that a page of ours asks.
pub(super) fn is_own_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
}
