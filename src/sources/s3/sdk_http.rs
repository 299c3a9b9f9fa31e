//! The HTTP client that the AWS SDK gets credentials with: HTTP/1 over the TLS that everything else
//! here uses, so that the program has one HTTP stack.
//!
//! The SDK retries, signs and parses; this only sends one request.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error},
    rt::TokioExecutor,
};
use tokio::time::timeout;

use crate::sources::http::{Connect, Resolver, Tcp};

/// How long a host may take to accept a connection where the SDK does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for the AWS SDK. Reads the system's root certificates at its first `https` request.
#[derive(Clone, Debug, Default)]
pub(super) struct SdkHttp {
    tls: Arc<OnceLock<HttpsConnector<Connect>>>,
}

/// The same with the timeouts of one use.
#[derive(Debug)]
struct Connector {
    tls: Arc<OnceLock<HttpsConnector<Connect>>>,
    settings: HttpConnectorSettings,
}

impl HttpClient for SdkHttp {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector { tls: self.tls.clone(), settings: settings.clone() })
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (tls, settings) = (self.tls.clone(), self.settings.clone());
        HttpConnectorFuture::new(send(tls, settings, request))
    }
}

async fn send(
    tls: Arc<OnceLock<HttpsConnector<Connect>>>,
    settings: HttpConnectorSettings,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let connect_timeout = settings.connect_timeout().unwrap_or(CONNECT_TIMEOUT);
    // Credentials are asked for once an hour: connections are not worth keeping.
    let sending = match request.uri().scheme_str() {
        Some("https") => {
            let connector = match tls.get() {
                Some(connector) => connector,
                None => {
                    let made = https().map_err(|error| ConnectorError::user(error.into()))?;
                    tls.get_or_init(|| made)
                }
            };
            Client::builder(TokioExecutor::new()).build(connector.clone()).request(request)
        }
        _ => Client::builder(TokioExecutor::new()).build(tcp(connect_timeout)).request(request),
    };
    let sent = match settings.read_timeout() {
        // Of connecting as well: it is part of what is sent.
        Some(limit) => timeout(connect_timeout + limit, sending)
            .await
            .map_err(|error| ConnectorError::timeout(error.into()))?,
        None => sending.await,
    };
    let response = sent.map_err(failed)?.map(SdkBody::from_body_1_x);
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

/// All of these are worth a retry: nothing came back.
fn failed(error: Error) -> ConnectorError {
    ConnectorError::io(error.into())
}

fn tcp(connect_timeout: Duration) -> Connect {
    let mut tcp = Tcp::new_with_resolver(Resolver::new());
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    tcp.enforce_http(false);
    Connect::new(tcp)
}

fn https() -> std::io::Result<HttpsConnector<Connect>> {
    let builder = HttpsConnectorBuilder::new().with_native_roots()?;
    Ok(builder.https_only().enable_http1().wrap_connector(tcp(CONNECT_TIMEOUT)))
}
