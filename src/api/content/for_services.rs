//! The bytes that a service of the owner's is to extract: `/v1/blobs/{hash}/content`, by signed
//! links only. A link is for one blob and ends with the time that the service has.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use url::Url;

use super::{Shown, answer, links::Links};
use crate::{
    api::{App, error::ApiError, json::FromPath},
    clock::SharedClock,
    model::BlobHash,
    processing::extract,
    store::blobs::{self, BlobLocation},
};

/// What stands in a link for the namespace: a blob is in none.
const NO_NAMESPACE: &str = "-";

/// Makes links to blobs for services.
#[derive(Debug)]
pub struct BlobLinks {
    links: Arc<Links>,
    base: Url,
    clock: SharedClock,
}

impl BlobLinks {
    /// Links to a server that listens there.
    ///
    /// # Errors
    /// When that is no address.
    pub fn new(
        links: Arc<Links>,
        mut address: SocketAddr,
        clock: SharedClock,
    ) -> Result<Self, url::ParseError> {
        // One that listens everywhere is reached at home.
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(Self { links, base: Url::parse(&format!("http://{address}"))?, clock })
    }
}

impl extract::Links for BlobLinks {
    fn link(&self, hash: &str, lasts: Duration) -> Option<String> {
        let hash: BlobHash = hash.parse().ok()?;
        let path = format!("/v1/blobs/{}/content", hash.to_hex());
        // The end of a link is a whole second.
        let until = self.clock.now() + lasts + Duration::from_secs(1);
        Some(self.links.sign(&Method::GET, &path, NO_NAMESPACE, until))
    }

    fn base(&self) -> Url {
        self.base.clone()
    }
}

/// Read a blob by a link
///
/// Links are made for services that extract; nothing else leads here.
#[utoipa::path(
    get, path = "/v1/blobs/{hash}/content", tag = "bucket_objects",
    operation_id = "get_blob_by_link",
    params(
        ("hash" = String, Path, description = "64 hexadecimal digits"),
        ("namespace" = Option<String>, Query, description = "Of the link"),
        ("expires" = Option<i64>, Query, description = "Of the link"),
        ("signature" = Option<String>, Query, description = "Of the link"),
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, description = "A stretch", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 304, description = "The client has it"),
        (status = 416, description = "The stretch lies behind the end"),
    )
)]
pub(super) async fn content(
    State(app): State<App>,
    method: Method,
    uri: Uri,
    FromPath(hex): FromPath<String>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let link = app.links.admission(&method, &uri, app.now());
    if !link.is_admitted() {
        let unsigned = || ApiError::forbidden("this is read by a signed link only");
        return Err(link.ended().unwrap_or_else(unsigned));
    }
    let gone = || ApiError::not_found("blob", &hex);
    let hash: BlobHash = format!("blake3:{hex}").parse().map_err(|_| gone())?;
    let size = app
        .engine
        .store
        .read(move |db| {
            Ok(match blobs::locate(db, &hash)? {
                None => None,
                Some(BlobLocation::Inline(bytes)) => Some(bytes.len() as u64),
                Some(BlobLocation::File { size }) => Some(size),
            })
        })
        .await?;
    let shown = Shown {
        hash,
        size: size.ok_or_else(gone)?,
        mime: None,
        filename: "content".to_owned(),
        modified: jiff::Timestamp::UNIX_EPOCH,
        owner: "a blob".to_owned(),
    };
    answer(&app, &shown, &request).await
}
