//! Downloads: the addresses that the API gives for them, and what storages respond.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    api::REFUSAL_BYTES,
    asset::{NamedPart, download_of},
    link::Link,
    refusal::{About, Meaning, meaning},
    source::{Library, ids},
    source_path::is_id,
};
use crate::{
    model::{EntryId, PartAddress, Version},
    sources::{
        SourceError,
        http::{explanation, headers::retry_after},
    },
};

/// How long an address of a download is used.
const LINK_LIFE: Duration = Duration::from_secs(10 * 60);

/// Most addresses that are kept.
const MOST_LINKS: usize = 256;

#[derive(Deserialize)]
struct DownloadUrl {
    url: Option<SecretString>,
}

impl DownloadUrl {
    fn read(self) -> Result<SecretString, SourceError> {
        let url = self.url.filter(|url| !url.expose_secret().is_empty());
        url.ok_or_else(|| SourceError::Garbled {
            message: "Iconik gives no address to download from".to_owned(),
        })
    }
}

impl Library {
    pub(super) fn link_of(&self, id: &EntryId) -> Arc<tokio::sync::Mutex<Option<Link>>> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= MOST_LINKS {
            links.retain(|_, link| Arc::strong_count(link) > 1);
        }
        links.entry(id.clone()).or_default().clone()
    }

    /// The address of an entry's bytes: one that is known, unless it is `expired`, else a new one.
    pub(super) async fn address(
        &self,
        id: &EntryId,
        version: &Version,
        expired: Option<&SecretString>,
    ) -> Result<SecretString, SourceError> {
        let link = self.link_of(id);
        let mut link = link.lock().await;
        if let Some(known) = link.as_ref() {
            let is_expired =
                expired.is_some_and(|expired| expired.expose_secret() == known.url.expose_secret());
            if !is_expired && known.since.elapsed() < LINK_LIFE {
                return Ok(known.url.clone());
            }
        }
        let gone = || SourceError::NotFound { message: "this is no id of a file".to_owned() };
        let (asset, _) = ids(id).ok_or_else(gone)?;
        let (kind, part) = download_of(version).filter(|(_, id)| is_id(id)).ok_or_else(gone)?;
        let path = format!("/API/files/v1/assets/{asset}/{kind}/{part}/download_url/");
        let found: DownloadUrl = self.api.get(&path, &[], About::Item).await?;
        let url = found.read()?;
        let etag = link.take().and_then(|link| link.etag);
        *link = Some(Link { url: url.clone(), since: Instant::now(), etag });
        Ok(url)
    }

    /// Where a named part of an entry's asset can be downloaded from, and its own name.
    pub(super) async fn part_address(
        &self,
        id: &EntryId,
        address: &PartAddress,
    ) -> Result<(SecretString, String), SourceError> {
        let gone = || SourceError::NotFound { message: "this is no part of an asset".to_owned() };
        let (asset, _) = ids(id).ok_or_else(gone)?;
        let (part, part_id, name) = NamedPart::read(address).ok_or_else(gone)?;
        let path = format!("/API/files/v1/assets/{asset}/{}/{part_id}/", part.kind());
        let found: DownloadUrl = match part {
            NamedPart::Proxy => {
                self.api.get(&format!("{path}download_url/"), &[], About::Item).await?
            }
            // A keyframe's own record has its address.
            NamedPart::Keyframe => {
                self.api.get(&path, &[("generate_signed_url", "true")], About::Item).await?
            }
        };
        Ok((found.read()?, name))
    }

    /// Makes sure that parts of a file are of one version.
    pub(super) async fn pin(&self, id: &EntryId, etag: Option<&str>) -> Result<(), SourceError> {
        let Some(etag) = etag else { return Ok(()) };
        let link = self.link_of(id);
        let mut link = link.lock().await;
        let Some(known) = link.as_mut() else { return Ok(()) };
        match &known.etag {
            Some(first) if first != etag => {
                *link = None;
                let message = format!("its entity tag is {etag} and was another before");
                Err(SourceError::Changed { message })
            }
            Some(_) => Ok(()),
            None => {
                known.etag = Some(etag.to_owned());
                Ok(())
            }
        }
    }

    pub(super) async fn refused_download(
        &self,
        response: http::Response<hyper::body::Incoming>,
    ) -> SourceError {
        let (parts, body) = response.into_parts();
        let body = explanation(body, REFUSAL_BYTES).await;
        let message = format!("the storage responded with HTTP {}", parts.status);
        match parts.status.as_u16() {
            401 | 403 => SourceError::PermissionDenied { message },
            404 | 410 => SourceError::NotFound { message },
            412 | 416 => SourceError::Changed { message },
            429 => SourceError::RateLimited {
                message,
                retry_after: retry_after(&parts.headers, self.api.now()),
            },
            408 | 500..=599 => SourceError::Transient { message },
            _ => match meaning(parts.status, &parts.headers, &body, About::Item, self.api.now()) {
                Meaning::Final(error) | Meaning::Stumbled(error) => error,
                Meaning::SlowDown(retry_after) => SourceError::RateLimited { message, retry_after },
            },
        }
    }
}
