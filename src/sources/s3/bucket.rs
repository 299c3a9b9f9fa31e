//! Requests to a bucket: opening objects, their headers and tags, and pages of the listing. Where
//! the bucket turns out to be in another region, or to serve objects in another way, the requests
//! that follow know.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method, Request, header};
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore as _, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    client::{HttpRequest, HttpRequestBody},
    path::Path,
};
use tokio::time::{Instant, timeout_at};

use super::{
    address::{self, Endpoint},
    checksum,
    credentials::{Keyring, Resolved},
    listing::{self, Answer, ListingError, Position, Progress},
    object::{self, Asking, Pinned},
    provider::{Addressing, S3Connection},
    refusal::{Refusal, Subject, Unlike},
    sign,
    transport::{TakesGzip, Transport, Wire, streamed},
};
use crate::{
    clock::SharedClock,
    model::{Entry, EntryId, EntryKind, Fingerprint},
    sources::{
        Content, ErrorClass, Facts, SourceError,
        http::{Budget, Tcp},
        retry::RetryPolicy,
    },
};

/// Largest answer to a listing: a thousand keys of 1,024 bytes, each byte encoded in three.
pub(super) const LISTING_BYTES: usize = 16 * 1024 * 1024;

/// Largest answer with an object's tags, of which there are ten at most.
const TAG_BYTES: usize = 256 * 1024;

/// How long one page may take with all its retries.
const LISTING_DEADLINE: Duration = Duration::from_secs(110);

/// How often a request follows its bucket to another region.
const MAX_MOVES: usize = 2;

/// Everything about the place that does not change between requests, but for its region.
pub(super) struct Bucket {
    pub(super) name: String,
    /// Empty, or with a slash at its end.
    pub(super) prefix: String,
    endpoint: Endpoint,
    addressing: Addressing,
    signer: Option<Arc<Keyring>>,
    /// Headers of every request, signed with it.
    headers: HeaderMap,
    pub(super) transport: Arc<Transport>,
    site: RwLock<Arc<Site>>,
    manners: RwLock<Manners>,
}

/// What has turned out of how this server serves objects.
#[derive(Clone, Copy, Default)]
pub(super) struct Manners {
    pub(super) asking: Asking,
    /// It serves objects only whole.
    pub(super) has_no_ranges: bool,
}

/// A bucket's name, and the prefix that keys are named behind.
pub(super) struct BucketPrefix {
    name: String,
    prefix: String,
}

impl BucketPrefix {
    /// The place that a `source_path` names.
    pub(super) fn of(source_path: &[u8]) -> Self {
        let text = String::from_utf8_lossy(source_path);
        let (name, prefix) = text.split_once('/').unwrap_or((&text, ""));
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { name: name.to_owned(), prefix }
    }
}

/// The bucket as it is reached in one region.
pub(super) struct Site {
    region: String,
    pub(super) bucket_url: String,
    store: AmazonS3,
}

/// The key as `object_store` names it, if it does so byte for byte.
fn ordinary(key: &[u8]) -> Option<Path> {
    let key = str::from_utf8(key).ok()?;
    Path::parse(key).ok().filter(|path| path.as_ref() == key && !key.is_empty())
}

impl Bucket {
    pub(super) fn new(
        place: BucketPrefix,
        settings: &S3Connection,
        resolved: Resolved,
        (budget, clock): (Arc<Budget>, &SharedClock),
    ) -> Result<Self, SourceError> {
        let BucketPrefix { name, prefix } = place;
        let Resolved { region, endpoint, signer } = resolved;
        let plain = endpoint.is_plain();
        let transport = Arc::new(Transport::new(plain, budget, Arc::clone(clock))?);
        let mut headers = HeaderMap::new();
        if settings.requester_pays {
            headers.insert("x-amz-request-payer", HeaderValue::from_static("requester"));
        }
        let addressing = settings.addressing;
        let bucket_url = endpoint.bucket_url(&name, addressing, &region);
        if bucket_url.parse::<http::Uri>().is_err() {
            return Err(SourceError::Misconfigured {
                message: format!("{name:?} cannot be the name of a bucket"),
            });
        }
        let store = open_store(&name, &region, &bucket_url, signer.as_ref(), &headers, &transport)?;
        let site = RwLock::new(Arc::new(Site { region, bucket_url, store }));
        let manners = RwLock::default();
        Ok(Self { name, prefix, endpoint, addressing, signer, headers, transport, site, manners })
    }

    /// The whole key of an entry.
    pub(super) fn key(&self, id: &EntryId) -> Vec<u8> {
        [self.prefix.as_bytes(), id.as_bytes()].concat()
    }

    /// Refuses a prefix that is the key of an object, and names the way to take it.
    pub(super) async fn refuse_object(&self) -> Result<(), SourceError> {
        let key = self.prefix.trim_end_matches('/');
        // Whatever else the answer is, there is no such object that could be read.
        if key.is_empty() || self.head(key.as_bytes()).await.is_err() {
            return Ok(());
        }
        let (folder, file) = key.rsplit_once('/').unwrap_or(("", key));
        let place = format!("{}/{folder}", self.name);
        Err(SourceError::Misconfigured {
            message: format!(
                "{}/{key} is an object, not a folder: to take that object alone, sync {:?} and \
                 include {file:?}",
                self.name,
                place.trim_end_matches('/'),
            ),
        })
    }

    fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn manners(&self) -> Manners {
        *self.manners.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Opens an object, in the way that suits its key and the range.
    pub(super) async fn open(&self, key: &[u8], pinned: &Pinned) -> Result<Content, Refusal> {
        let sockets = self.transport.sockets(&self.site().bucket_url);
        if let (Some(_), Some(tcp)) = (pinned.range, sockets) {
            return self
                .attempt(|site| async move { self.stretch(&site, tcp, key, pinned).await })
                .await;
        }
        match &ordinary(key) {
            Some(path) => self.attempt(|site| async move { site.get(path, pinned).await }).await,
            None => self.attempt(|site| async move { self.get(&site, key, pinned).await }).await,
        }
    }

    /// Asks in another way for what a server did not serve as it was asked, and remembers the way
    /// that works. What arrives is what is stored in every way, or an error.
    pub(super) async fn open_otherwise(
        &self,
        key: &[u8],
        mut pinned: Pinned,
        what: Unlike,
        error: SourceError,
    ) -> Result<Content, SourceError> {
        let asked = pinned.asking;
        pinned.asking.takes_gzip = !asked.takes_gzip;
        if let Ok(content) = self.open(key, &pinned).await {
            self.learn(|manners| manners.asking = pinned.asking);
            return Ok(content);
        }
        pinned.asking = Asking { without_length: true, ..asked };
        match what {
            Unlike::Length => Err(error),
            Unlike::Range => {
                self.learn(|manners| manners.has_no_ranges = true);
                Err(error)
            }
            Unlike::NoLength => {
                let content = self.open(key, &pinned).await.map_err(Refusal::give_up)?;
                self.learn(|manners| manners.asking = pinned.asking);
                Ok(content)
            }
        }
    }

    /// [`Bucket::attempt`] for what can be asked in one way only.
    pub(super) async fn located<T, F>(
        &self,
        attempt: impl Fn(Arc<Site>) -> F + Send,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, Refusal>> + Send,
    {
        self.attempt(attempt).await.map_err(Refusal::give_up)
    }

    /// Makes an attempt, and again where the bucket turns out to be in another region or the
    /// credentials to have expired.
    async fn attempt<T, F>(&self, attempt: impl Fn(Arc<Site>) -> F + Send) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send,
    {
        let (mut moves, mut is_renewed) = (0, false);
        loop {
            let site = self.site();
            let keys = self.signer.as_ref().and_then(|signer| signer.current());
            match attempt(Arc::clone(&site)).await {
                Ok(done) => return Ok(done),
                Err(Refusal::Elsewhere { region, other_host, error }) => {
                    // Only AWS's own hosts are derived from a region. To any other host, a new
                    // signature goes, never a request meant for somebody else.
                    let possible = !other_host || self.endpoint == Endpoint::Aws;
                    if moves == MAX_MOVES || !possible || region == site.region {
                        return Err(error.into());
                    }
                    moves += 1;
                    self.relocate(region)?;
                }
                Err(Refusal::Expired(error)) => match &self.signer {
                    Some(signer) if !is_renewed && signer.replace(keys.as_ref()).await? => {
                        tracing::debug!(bucket = self.name, "the credentials were renewed");
                        is_renewed = true;
                    }
                    _ => return Err(error.into()),
                },
                Err(refusal) => return Err(refusal),
            }
        }
    }

    fn relocate(&self, region: String) -> Result<(), SourceError> {
        if self.site().region == region {
            return Ok(());
        }
        tracing::debug!(bucket = self.name, region, "the bucket is in another region");
        let bucket_url = self.endpoint.bucket_url(&self.name, self.addressing, &region);
        let signer = self.signer.as_ref();
        let store =
            open_store(&self.name, &region, &bucket_url, signer, &self.headers, &self.transport)?;
        let site = Arc::new(Site { region, bucket_url, store });
        *self.site.write().unwrap_or_else(PoisonError::into_inner) = site;
        Ok(())
    }

    /// A request of our own, signed last.
    pub(super) async fn request(
        &self,
        site: &Site,
        method: Method,
        url: &str,
        more: impl FnOnce(&mut HttpRequest),
    ) -> Result<HttpRequest, SourceError> {
        let mut request =
            Request::builder().method(method).uri(url).body(HttpRequestBody::empty()).map_err(
                |error| SourceError::Permanent {
                    message: format!("{url} cannot be requested: {error}"),
                },
            )?;
        request.headers_mut().extend(self.headers.clone());
        more(&mut request);
        if let Some(signer) = &self.signer {
            let keys = signer.keys().await?;
            sign::sign(&mut request, &keys.aws, &site.region, SystemTime::now())?;
        }
        Ok(request)
    }

    /// Opens an object whose key `object_store` cannot name.
    async fn get(&self, site: &Site, key: &[u8], pinned: &Pinned) -> Result<Content, Refusal> {
        let request = self.get_request(site, key, pinned).await?;
        let (parts, body) = self.transport.open(request).await?.into_parts();
        let facts = parts.extensions.get::<Facts>().cloned().unwrap_or_default();
        Ok(Content { facts, body: streamed(body.bytes_stream()) })
    }

    /// Opens a stretch of an object, to be read from its socket.
    async fn stretch(
        &self,
        site: &Site,
        tcp: &Tcp,
        key: &[u8],
        pinned: &Pinned,
    ) -> Result<Content, Refusal> {
        let request = self.get_request(site, key, pinned).await?;
        self.transport.open_socket(tcp, request).await
    }

    async fn get_request(
        &self,
        site: &Site,
        key: &[u8],
        pinned: &Pinned,
    ) -> Result<HttpRequest, SourceError> {
        let url = address::key_url(&site.bucket_url, key);
        self.request(site, Method::GET, &url, |request| pin(request, pinned)).await
    }

    /// The headers of an object. A server that would unpack it gives the length of what it has
    /// stored only to who takes it packed.
    pub(super) async fn head(&self, key: &[u8]) -> Result<HeaderMap, SourceError> {
        let takes_gzip = self.manners().asking.takes_gzip;
        let headers = self.head_as(key, takes_gzip).await?;
        match headers.contains_key(header::CONTENT_LENGTH) {
            true => Ok(headers),
            false => self.head_as(key, !takes_gzip).await,
        }
    }

    async fn head_as(&self, key: &[u8], takes_gzip: bool) -> Result<HeaderMap, SourceError> {
        self.located(|site| async move {
            let url = address::key_url(&site.bucket_url, key);
            let mut request = self.request(&site, Method::HEAD, &url, |_| ()).await?;
            if takes_gzip {
                request.extensions_mut().insert(TakesGzip);
            }
            let answer = self.transport.send(request, Subject::Object).await?;
            Ok(answer.into_parts().0.headers)
        })
        .await
    }

    /// The headers of an object, provided that it is of the version that was listed.
    pub(super) async fn head_of_version(
        &self,
        id: &EntryId,
        key: &[u8],
        fingerprint: &Fingerprint,
    ) -> Result<HeaderMap, SourceError> {
        let headers = match self.head(key).await {
            Ok(headers) => headers,
            Err(error) if matches!(error.class(), ErrorClass::Retry | ErrorClass::RetryBriefly) => {
                return Err(error);
            }
            Err(refused) => {
                self.explain_head(key).await?;
                return Err(refused);
            }
        };
        match object::entry_of_head(id, &headers)?.kind {
            EntryKind::File(now)
                if now.version == fingerprint.version
                    || object::is_called_otherwise(fingerprint, &now) =>
            {
                Ok(headers)
            }
            _ => Err(SourceError::Changed { message: "it is not what was listed".into() }),
        }
    }

    /// The tags of an object. They have no version: they can change while the object does not.
    pub(super) async fn tags(&self, key: &[u8]) -> Result<BTreeMap<String, String>, SourceError> {
        self.located(|site| async move {
            let url = format!("{}?tagging", address::key_url(&site.bucket_url, key));
            let request = self.request(&site, Method::GET, &url, |_| ()).await?;
            let (_, document) = self.transport.read(request, Subject::Object, TAG_BYTES).await?;
            Ok(object::tags(&document)?)
        })
        .await
        .map_err(|error| match error {
            SourceError::PermissionDenied { message } => SourceError::PermissionDenied {
                message: format!("its tags cannot be read (s3:GetObjectTagging): {message}"),
            },
            other => other,
        })
    }

    /// HEAD refuses without a word; a GET of one byte says why. A missing key and a missing bucket,
    /// or a forbidden key and expired credentials, must not be taken for each other.
    pub(super) async fn explain_head(&self, key: &[u8]) -> Result<Option<Entry>, SourceError> {
        let reason = self
            .located(|site| async move {
                let url = address::key_url(&site.bucket_url, key);
                let first_byte = |request: &mut HttpRequest| {
                    let range = HeaderValue::from_static("bytes=0-0");
                    request.headers_mut().insert(header::RANGE, range);
                };
                let request = self.request(&site, Method::GET, &url, first_byte).await?;
                self.transport.send(request, Subject::Object).await.map(|answer| answer.status())
            })
            .await;
        match reason {
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(status) => Err(SourceError::Transient {
                message: format!("HEAD was refused, but GET answers with HTTP {status}"),
            }),
        }
    }

    /// One page, with retries; the error that remains says which place it is about.
    pub(super) async fn page(&self, progress: &Progress) -> Result<Answer, SourceError> {
        let deadline = Instant::now() + LISTING_DEADLINE;
        let listed = self.page_at(progress, progress.position(), deadline).await;
        let listed = match (listed, progress.without_token()) {
            // Tokens may expire while a slow consumer works.
            (Err(SourceError::Permanent { .. }), Some(position)) => {
                self.page_at(progress, &position, deadline).await
            }
            (listed, _) => listed,
        };
        listed.map_err(|error| self.about_the_place(progress.listed(), error))
    }

    async fn page_at(
        &self,
        progress: &Progress,
        position: &Position,
        deadline: Instant,
    ) -> Result<Answer, SourceError> {
        let attempt = || async {
            if let Some(wait) = self.transport.held_for()
                && Instant::now() + wait >= deadline
            {
                let message = "still waiting as long as it asked for".into();
                return Err(SourceError::RateLimited { message, retry_after: Some(wait) });
            }
            let listed = self
                .located(|site| async move { self.list(&site, progress.listed(), position).await });
            let answer =
                timeout_at(deadline, listed).await.map_err(|_| SourceError::Timeout {
                    message: format!("no listing within {} s", LISTING_DEADLINE.as_secs()),
                })??;
            progress.check(&answer).map(|()| answer)
        };
        RetryPolicy::LISTING.run(attempt).await
    }

    async fn list(
        &self,
        site: &Site,
        prefix: &str,
        position: &Position,
    ) -> Result<Answer, Refusal> {
        let url = format!("{}/?{}", site.bucket_url, position.query(prefix));
        let with_restores = |request: &mut HttpRequest| {
            let value = HeaderValue::from_static("RestoreStatus");
            request.headers_mut().insert("x-amz-optional-object-attributes", value);
        };
        let request = self.request(site, Method::GET, &url, with_restores).await?;
        let (parts, body) = self.transport.read(request, Subject::Listing, LISTING_BYTES).await?;
        listing::parse(&body).map_err(|error| match error {
            ListingError::ErrorDocument => {
                self.transport.refuse(Subject::Listing, parts.status, &parts.headers, &body)
            }
            ListingError::Incomplete(message) => SourceError::Garbled { message }.into(),
        })
    }

    /// Says which bucket and prefix an error is about, where a person has to act on it.
    pub(super) fn about_the_place(&self, prefix: &str, error: SourceError) -> SourceError {
        let place = format!("{:?}", EntryId::new(format!("{}/{prefix}", self.name)));
        match error {
            SourceError::RootMissing { message } => SourceError::RootMissing {
                message: format!("there is no bucket {:?} here ({message})", self.name),
            },
            SourceError::Auth { message } => {
                SourceError::Auth { message: format!("listing {place}: {message}") }
            }
            SourceError::PermissionDenied { message } => {
                SourceError::PermissionDenied { message: format!("listing {place}: {message}") }
            }
            other => other,
        }
    }
}

/// Asks for the pinned version and stretch, and lets the transport check that it comes.
fn pin(request: &mut HttpRequest, pinned: &Pinned) {
    request.headers_mut().extend([checksum::MODE]);
    if let Some(tag) = pinned.etag.as_deref().and_then(object::if_match)
        && let Ok(tag) = HeaderValue::from_str(&tag)
    {
        request.headers_mut().insert(header::IF_MATCH, tag);
    }
    if let Some(range) = pinned.range {
        let last = range.start + range.len.saturating_sub(1);
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-{last}", range.start)) {
            request.headers_mut().insert(header::RANGE, range);
        }
    }
    request.extensions_mut().insert(pinned.clone());
}

impl Site {
    /// Opens an object through `object_store`.
    async fn get(&self, path: &Path, pinned: &Pinned) -> Result<Content, Refusal> {
        let mut options = GetOptions {
            if_match: pinned.etag.as_deref().and_then(object::if_match),
            range: pinned
                .range
                .map(|range| GetRange::Bounded(range.start..range.start + range.len)),
            ..GetOptions::default()
        };
        options.extensions.insert(pinned.clone());
        let mut got =
            self.store.get_opts(path, options).await.map_err(|error| Refusal::within(&error))?;
        let facts = got.extensions.remove::<Facts>().unwrap_or_default();
        Ok(Content { facts, body: streamed(got.into_stream()) })
    }
}

/// `object_store` over our transport and credentials, without retries of its own: the engine knows
/// better which ones are worth it.
fn open_store(
    bucket: &str,
    region: &str,
    bucket_url: &str,
    signer: Option<&Arc<Keyring>>,
    headers: &HeaderMap,
    transport: &Arc<Transport>,
) -> Result<AmazonS3, SourceError> {
    // Nothing but reads of objects goes this way.
    let mut headers = headers.clone();
    headers.extend([checksum::MODE]);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        // With this, the endpoint is the bucket's URL, however it is addressed.
        .with_virtual_hosted_style_request(true)
        .with_endpoint(bucket_url)
        .with_client_options(ClientOptions::new().with_default_headers(headers))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_http_connector(Wire(Arc::clone(transport)));
    builder = match signer {
        Some(signer) => builder.with_credentials(Arc::clone(signer) as _),
        None => builder.with_skip_signature(true),
    };
    builder.build().map_err(|error| SourceError::Misconfigured { message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_object_store_names_byte_for_byte_go_through_it() {
        for key in ["a", "a/b c/+%#?😀", "a\\b", "~", "..a/.b"] {
            assert_eq!(ordinary(key.as_bytes()).map(String::from).as_deref(), Some(key));
        }
        for key in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "\u{1}", "/"] {
            assert!(ordinary(key.as_bytes()).is_none(), "{key:?}");
        }
        assert!(ordinary(b"\xff").is_none());
    }
}
