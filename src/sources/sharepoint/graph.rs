//! Microsoft Graph over HTTP: requests with the connection's token, what its refusals mean, and
//! downloads from other hosts, which never get that token.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    clock::SharedClock,
    sources::{
        SourceError,
        hosts::Host,
        http::{self as transport, Client, headers::LONGEST_WAIT},
        oauth::{AccessToken, Grant},
        retry::RetryPolicy,
    },
};

/// As Microsoft asks programs to call themselves
/// (<https://learn.microsoft.com/sharepoint/dev/general-development/how-to-avoid-getting-throttled-or-blocked-in-sharepoint-online>).
pub(super) const USER_AGENT: http::HeaderValue = http::HeaderValue::from_static(concat!(
    "NONISV|Catchment|Catchment/",
    env!("CARGO_PKG_VERSION")
));

/// The longest answer of Graph that is read, in bytes.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Most of a refusal that is read, in bytes.
const REFUSAL_BYTES: usize = 256 * 1024;
/// A longer Retry-After ends the run, which is due when it is over.
const LONG_WAIT: Duration = Duration::from_secs(60);
/// Requests in one batch at most.
pub(super) const BATCH: usize = 20;

/// Units that requests cost, as Microsoft counts them.
const LIGHT: u32 = 1;
const HEAVY: u32 = 2;

/// See the module.
pub(super) struct Graph {
    pub(super) http: Client<Full<Bytes>>,
    pub(super) grant: Arc<Grant>,
    pub(super) host: Host,
    pub(super) clock: SharedClock,
}

/// What a request is about: it decides whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A site, a drive, the root: nothing works without it.
    Place,
    /// A page of changes.
    Changes,
    /// One item.
    Item,
}

/// Graph's errors (<https://learn.microsoft.com/graph/errors>).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: RefusedError,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefusedError {
    code: String,
    message: String,
}

impl Graph {
    /// GET of a path below `/v1.0`, retried as a listing is.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        about: About,
    ) -> Result<T, SourceError> {
        let url = self.host.url(&format!("/v1.0{path}"));
        RetryPolicy::LISTING.run(|| self.get_once(&url, about)).await
    }

    /// GET of an address that Graph gave, which must lead to Graph.
    pub(super) async fn follow<T: DeserializeOwned>(
        &self,
        link: &str,
        about: About,
    ) -> Result<T, SourceError> {
        let ours = link.strip_prefix(self.host.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if !ours {
            let message = "the provider's link to the next page leads to another host".to_owned();
            return Err(SourceError::Permanent { message });
        }
        RetryPolicy::LISTING.run(|| self.get_once(link, about)).await
    }

    /// GET, tried once.
    pub(super) async fn get_once<T: DeserializeOwned>(
        &self,
        url: &str,
        about: About,
    ) -> Result<T, SourceError> {
        let weight = if about == About::Item { LIGHT } else { HEAVY };
        let response = self.send(Method::GET, url, None, weight).await?;
        self.json(response, about).await
    }

    /// Looks at several items in one request; `None` for those that are gone.
    pub(super) async fn batch(&self, paths: &[String]) -> Result<Vec<Option<Value>>, SourceError> {
        RetryPolicy::LISTING.run(|| self.batch_once(paths)).await
    }

    async fn batch_once(&self, paths: &[String]) -> Result<Vec<Option<Value>>, SourceError> {
        #[derive(Deserialize)]
        struct Answers {
            responses: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            id: String,
            status: u16,
            #[serde(default)]
            headers: serde_json::Map<String, Value>,
            #[serde(default)]
            body: Value,
        }
        let asked = paths
            .iter()
            .enumerate()
            .map(|(index, path)| json!({ "id": index.to_string(), "method": "GET", "url": path }));
        let body = json!({ "requests": asked.collect::<Vec<_>>() }).to_string();
        let url = self.host.url("/v1.0/$batch");
        let weight = u32::try_from(paths.len()).unwrap_or(u32::MAX);
        let response = self.send(Method::POST, &url, Some(body.into()), weight).await?;
        let answers: Answers = self.json(response, About::Place).await?;
        let mut found: Vec<Option<Option<Value>>> = vec![None; paths.len()];
        for one in answers.responses {
            let place = one.id.parse::<usize>().ok().and_then(|index| found.get_mut(index));
            let Some(place) = place else { continue };
            let status = StatusCode::from_u16(one.status).unwrap_or(StatusCode::BAD_GATEWAY);
            *place = Some(match status {
                StatusCode::NOT_FOUND | StatusCode::GONE => None,
                status if status.is_success() => Some(one.body),
                status => {
                    // A throttled item of a batch holds everybody back, like any other answer.
                    let wait = one
                        .headers
                        .iter()
                        .find(|(name, _)| name.eq_ignore_ascii_case(header::RETRY_AFTER.as_str()));
                    let wait = wait.and_then(|(_, value)| match value {
                        Value::String(text) => text.parse().ok(),
                        value => value.as_u64(),
                    });
                    self.slow_down(status, wait);
                    let body = one.body.to_string();
                    return Err(self.refusal(status, wait, body.as_bytes(), About::Item));
                }
            });
        }
        found.into_iter().collect::<Option<_>>().ok_or_else(|| SourceError::Garbled {
            message: "the provider answered some requests of a batch only".to_owned(),
        })
    }

    /// The pre-signed address of an item's content.
    pub(super) async fn content(&self, path: &str) -> Result<String, SourceError> {
        let url = self.host.url(&format!("/v1.0{path}"));
        let response = self.send(Method::GET, &url, None, LIGHT).await?;
        if response.status().is_redirection()
            && let Some(to) = response.headers().get(header::LOCATION)
            && let Ok(to) = to.to_str()
        {
            return Ok(to.to_owned());
        }
        if response.status().is_success() {
            let message = "the provider gives no address to download from".to_owned();
            return Err(SourceError::Garbled { message });
        }
        Err(self.explain(response, About::Item).await)
    }

    /// Opens a pre-signed address. It carries its own permission: no token of ours goes there.
    pub(super) async fn download(
        &self,
        url: &str,
        range: Option<String>,
    ) -> Result<Response<Incoming>, SourceError> {
        let mut request = Request::get(url);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let request = request.body(Full::default()).map_err(|_| SourceError::Garbled {
            message: "the provider's download address is no address".to_owned(),
        })?;
        self.send_when_allowed(request, LIGHT).await
    }

    /// What a refused download means.
    pub(super) async fn refused_download(&self, response: Response<Incoming>) -> SourceError {
        self.explain(response, About::Item).await
    }

    /// Sends a request with the token; where that is refused, once more with a new one.
    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<Bytes>,
        weight: u32,
    ) -> Result<Response<Incoming>, SourceError> {
        let token = self.grant.token().await?;
        let response = self.send_with(&token, &method, url, body.clone(), weight).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let token = self.grant.token_after(&token).await?;
        self.send_with(&token, &method, url, body, weight).await
    }

    async fn send_with(
        &self,
        token: &AccessToken,
        method: &Method,
        url: &str,
        body: Option<Bytes>,
        weight: u32,
    ) -> Result<Response<Incoming>, SourceError> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.expose()))
            .header(header::ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(body.unwrap_or_default())).map_err(|error| {
            SourceError::Permanent { message: format!("an address that cannot be asked: {error}") }
        })?;
        self.send_when_allowed(request, weight).await
    }

    /// Sends a request, unless the provider wants none from this connection for longer than a run
    /// waits: then the run ends, and goes on once that is over.
    async fn send_when_allowed(
        &self,
        request: Request<Full<Bytes>>,
        weight: u32,
    ) -> Result<Response<Incoming>, SourceError> {
        if let Some(left) = self.http.budget().held_beyond(LONG_WAIT).await {
            let message = "it wants no requests from this connection until then".to_owned();
            return Err(SourceError::Held { message, until: self.clock.now() + left });
        }
        let response = self.http.send(request, weight).await?;
        self.mind(response.status(), response.headers());
        Ok(response)
    }

    async fn json<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
        about: About,
    ) -> Result<T, SourceError> {
        if !response.status().is_success() {
            return Err(self.explain(response, about).await);
        }
        let body = transport::read(response.into_body(), MOST_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| SourceError::Garbled {
            message: format!("the provider's answer makes no sense: {error}"),
        })
    }

    async fn explain(&self, response: Response<Incoming>, about: About) -> SourceError {
        let (parts, body) = response.into_parts();
        let body = transport::explanation(body, REFUSAL_BYTES).await;
        self.refusal(parts.status, retry_after(&parts.headers), &body, about)
    }

    /// Slows everybody down where the provider asks for it, and before it has to: its headers
    /// `RateLimit-…` are described where [`USER_AGENT`] is, too.
    fn mind(&self, status: StatusCode, headers: &HeaderMap) {
        let number = |name: &str| -> Option<u64> { headers.get(name)?.to_str().ok()?.parse().ok() };
        self.slow_down(status, retry_after(headers));
        // Only sent once most of what is allowed is used up.
        if let (Some(remaining), Some(reset)) =
            (number("RateLimit-Remaining"), number("RateLimit-Reset"))
        {
            let remaining = u32::try_from(remaining.max(1)).unwrap_or(u32::MAX);
            self.http.budget().hold((Duration::from_secs(reset) / remaining).min(LONG_WAIT));
        }
    }

    fn slow_down(&self, status: StatusCode, retry_after: Option<u64>) {
        if !is_throttled(status) {
            return;
        }
        self.http.meter().was_limited();
        if let Some(wait) = retry_after {
            self.http.budget().rest(Duration::from_secs(wait));
        }
    }

    /// What an answer means that is no success.
    fn refusal(
        &self,
        status: StatusCode,
        retry_after: Option<u64>,
        body: &[u8],
        about: About,
    ) -> SourceError {
        let Refused { error } = serde_json::from_slice(body).unwrap_or_default();
        let words: String = error.message.chars().filter(|c| !c.is_control()).take(300).collect();
        let message = match error.code.as_str() {
            "" => format!("the provider answered {status}"),
            code => format!("the provider answered {status}: {code}: {words}"),
        };
        let wait = retry_after.map(|wait| Duration::from_secs(wait).min(LONGEST_WAIT));
        match status.as_u16() {
            429 | 503 | 509 if wait.is_some_and(|wait| wait > LONG_WAIT) => {
                let until = self.clock.now() + wait.unwrap_or_default();
                SourceError::Held { message, until }
            }
            429 | 503 | 509 => SourceError::RateLimited { message, retry_after: wait },
            500..=599 | 408 => SourceError::Transient { message },
            401 => SourceError::SignInAgain {
                message,
                way_out: "sign in again, or enter a new secret".to_owned(),
            },
            403 if about != About::Item => SourceError::Misconfigured {
                message: format!(
                    "{message}. Grant the application Sites.Read.All, or Sites.Selected for this \
                     site, and let an administrator consent to it; a person needs Files.Read.All \
                     and access to the place"
                ),
            },
            403 if error.code.contains("irm") || words.contains("IRM") => {
                SourceError::Unsupported { message: format!("protected by rights: {message}") }
            }
            403 => SourceError::PermissionDenied { message },
            // Checked out or locked: the next run finds it free.
            423 => SourceError::PermissionDenied { message: format!("locked: {message}") },
            // The inner code says how to resync; a full pass is right for all of them.
            410 if about == About::Changes => SourceError::FeedExpired { message },
            400 | 404 if about == About::Changes => SourceError::FeedExpired { message },
            404 | 410 if about == About::Place => SourceError::RootMissing { message },
            404 | 410 => SourceError::NotFound { message },
            412 | 416 => SourceError::Changed { message },
            _ => SourceError::Permanent { message },
        }
    }
}

fn is_throttled(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 503 | 509)
}

fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}
