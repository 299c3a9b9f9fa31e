//! From a host's name to its addresses: the system's answer, with an error that can be told from
//! others.
//!
//! Names below `localhost` are this machine, as RFC 6761 has it
//! (<https://www.rfc-editor.org/rfc/rfc6761#section-6.3>): glibc asks the network for them unless
//! it is set up otherwise, and a bucket of a server on this machine may well be `bucket.localhost`.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    task::{Context, Poll},
    vec,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// See the module.
#[derive(Clone, Debug)]
pub struct Resolver(GaiResolver);

/// A name that has no address, as far as the system can tell.
#[derive(Debug, thiserror::Error)]
#[error("the name does not resolve ({0}); check its spelling, and this machine's DNS")]
pub struct Unresolved(io::Error);

impl Resolver {
    /// A resolver that asks the system.
    #[must_use]
    pub fn new() -> Self {
        Self(GaiResolver::new())
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = BoxFuture<'static, Result<Self::Response, Unresolved>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        self.0.poll_ready(context).map_err(Unresolved)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if is_this_machine(name.as_str()) {
            // The port comes from the URL.
            let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let here = here.map(|address| SocketAddr::new(address, 0)).to_vec();
            return std::future::ready(Ok(here.into_iter())).boxed();
        }
        let asked = self.0.call(name);
        async { Ok(asked.await.map_err(Unresolved)?.collect::<Vec<_>>().into_iter()) }.boxed()
    }
}

/// `localhost` itself is left to the system, which knows it from its hosts file.
fn is_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_below_localhost_are_resolved_without_a_query() {
        for name in ["bucket.localhost", "a.B.LocalHost", "bucket.localhost."] {
            assert!(is_this_machine(name), "{name}");
        }
        for name in ["localhost", "notlocalhost", "localhost.example.com", "bucket.local", ""] {
            assert!(!is_this_machine(name), "{name}");
        }
    }
}
