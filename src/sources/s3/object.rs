//! One object: its fingerprint, what its headers say, and whether a response is the version that
//! was asked for, whole.

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use jiff::Timestamp;
use object_store::client::{HttpError, HttpErrorKind};
use tokio::time::{Instant, Sleep};

use super::{
    checksum::Checksum,
    refusal::{Refusal, Unlike},
    xml,
};
use crate::{
    model::{
        Entry, EntryId, EntryKind, ExpectedHash, Fingerprint, HashAlgorithm, Identity, SkipReason,
        Version,
    },
    sources::{
        ByteRange, Facts, SourceError,
        http::headers::{http_date, text_of},
        pace::Pace,
    },
};

/// The fingerprint of an object. Listings give milliseconds and quoted or bare tags, HEAD gives
/// seconds and quoted tags; both come out alike.
pub(super) fn fingerprint(etag: &str, size: u64, modified: Option<Timestamp>) -> Fingerprint {
    let tag = bare(etag);
    let seconds = modified.map(|at| at.as_millisecond().div_euclid(1000));
    let version = match seconds {
        Some(seconds) => format!("{tag} {size} {seconds}"),
        None => format!("{tag} {size} -"),
    };
    Fingerprint {
        size,
        version: Version(version.into_bytes()),
        modified: seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        etag: Some(if is_weak(etag) { etag.trim() } else { tag })
            .filter(|etag| !etag.is_empty())
            .map(str::to_owned),
        mime: None,
        details: None,
    }
}

/// Whether a look at an object found what was listed, under another tag: some servers call one
/// version differently in listings and in responses to each kind of read.
pub(super) fn is_called_otherwise(listed: &Fingerprint, now: &Fingerprint) -> bool {
    listed.size == now.size
        && listed.modified.is_some()
        && listed.modified == now.modified
        && listed.version != now.version
}

/// The MD5 of the content, where the tag is one, and its size. Tags of uploads in parts, and those
/// that servers make of other things than the content, do not look like one
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
pub(super) fn identity(fingerprint: &Fingerprint) -> Option<Identity> {
    let etag = fingerprint.etag.as_deref()?;
    let is_md5 = etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_md5 && fingerprint.size > 0)
        .then(|| Identity::of(&[b"md5", etag.as_bytes(), &fingerprint.size.to_le_bytes()]))
}

/// The hash that [`identity`] takes a tag for: some servers make tags that only look like one.
pub(super) fn identity_hash(fingerprint: &Fingerprint) -> Option<ExpectedHash> {
    identity(fingerprint)?;
    let tag = fingerprint.etag.as_deref()?;
    let byte = |at| u8::from_str_radix(tag.get(at..at + 2)?, 16).ok();
    let digest = (0..32).step_by(2).map(byte).collect::<Option<_>>()?;
    Some(ExpectedHash { algorithm: HashAlgorithm::Md5, digest })
}

/// An entity tag without its quotes, and without the mark of a weak one: what lies between us and
/// the server may add it.
fn bare(etag: &str) -> &str {
    let etag = etag.trim();
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(etag)
}

fn is_weak(etag: &str) -> bool {
    etag.trim().starts_with("W/")
}

/// An entity tag as If-Match wants it, which never matches a weak one
/// (<https://www.rfc-editor.org/rfc/rfc9110#name-if-match>).
pub(super) fn if_match(etag: &str) -> Option<String> {
    (!is_weak(etag)).then(|| format!("\"{etag}\""))
}

/// Whether a storage class keeps its objects out of reach until they are restored
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html>).
pub(super) fn is_archive(storage_class: &str) -> bool {
    ["GLACIER", "DEEP_ARCHIVE"].contains(&storage_class)
}

/// An entry, from the answer to HEAD.
pub(super) fn entry_of_head(id: &EntryId, headers: &HeaderMap) -> Result<Entry, SourceError> {
    let size = content_length(headers).ok_or_else(|| SourceError::Transient {
        message: "the response to HEAD has no Content-Length".into(),
    })?;
    let etag = text_of(headers, header::ETAG.as_str()).unwrap_or_default();
    let modified = text_of(headers, header::LAST_MODIFIED.as_str()).and_then(http_date);
    let kind = match archived(headers) {
        true => EntryKind::Skipped(SkipReason::Archived),
        false => EntryKind::File(fingerprint(etag, size, modified)),
    };
    Ok(Entry { id: id.clone(), path: id.clone(), parent: None, kind })
}

/// `x-amz-restore` and `x-amz-archive-status` are those of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>.
fn archived(headers: &HeaderMap) -> bool {
    let restored = text_of(headers, "x-amz-restore").is_some_and(|restore| {
        restore.contains("ongoing-request=\"false\"") && restore.contains("expiry-date")
    });
    let in_archive = text_of(headers, "x-amz-storage-class").is_some_and(is_archive)
        || headers.contains_key("x-amz-archive-status");
    in_archive && !restored
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    text_of(headers, header::CONTENT_LENGTH.as_str())?.parse().ok()
}

/// Content type and user metadata.
pub(super) fn facts(headers: &HeaderMap) -> Facts {
    const PREFIX: &str = "x-amz-meta-";
    let mut metadata = BTreeMap::new();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(PREFIX) {
            metadata
                .insert(name.to_owned(), decode_words(&String::from_utf8_lossy(value.as_bytes())));
        }
    }
    Facts { mime: mime(headers), metadata, ..Facts::default() }
}

/// What else the headers of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html> tell, by the names that
/// filters know. The storage class is only sent where it is not STANDARD.
pub(super) fn properties(headers: &HeaderMap) -> serde_json::Map<String, serde_json::Value> {
    const KEPT_HEADERS: [(&str, &str); 6] = [
        ("x-amz-storage-class", "storage_class"),
        ("cache-control", "cache_control"),
        ("content-disposition", "content_disposition"),
        ("content-encoding", "content_encoding"),
        ("content-language", "content_language"),
        ("x-amz-version-id", "version_id"),
    ];
    let kept =
        KEPT_HEADERS.iter().filter_map(|(header, name)| Some((*name, text_of(headers, header)?)));
    [("storage_class", "STANDARD")]
        .into_iter()
        .chain(kept)
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

/// The tags in an answer of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>.
pub(super) fn tags(document: &[u8]) -> Result<BTreeMap<String, String>, SourceError> {
    let garbled = |message: String| SourceError::Garbled { message };
    let text = str::from_utf8(document)
        .map_err(|_| garbled("the tags of the object are not UTF-8".into()))?;
    let (mut key, mut value) = (String::new(), String::new());
    let mut tags = BTreeMap::new();
    let mut is_tagging = false;
    xml::fields(text, |path, content| match path {
        ["Tagging", "TagSet", "Tag", "Key"] => key = content,
        ["Tagging", "TagSet", "Tag", "Value"] => value = content,
        ["Tagging", "TagSet", "Tag"] => {
            tags.insert(std::mem::take(&mut key), std::mem::take(&mut value));
        }
        ["Tagging"] => is_tagging = true,
        _ => {}
    })
    .map_err(|error| garbled(error.to_string()))?;
    if is_tagging { Ok(tags) } else { Err(garbled("the answer holds no tags".into())) }
}

/// The content type, unless it is one of those that stand for "nobody said".
fn mime(headers: &HeaderMap) -> Option<String> {
    let mime = text_of(headers, header::CONTENT_TYPE.as_str())?.trim();
    let says_nothing = mime.is_empty()
        || ["binary/octet-stream", "application/octet-stream"]
            .iter()
            .any(|nothing| mime.eq_ignore_ascii_case(nothing));
    (!says_nothing).then(|| mime.to_owned())
}

/// Metadata that is not ASCII comes as RFC 2047 words in UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>). A value that is
/// not made of such words throughout is taken as it is.
fn decode_words(value: &str) -> String {
    let words: Option<Vec<Vec<u8>>> = value.split_ascii_whitespace().map(decode_word).collect();
    words
        .filter(|words| !words.is_empty())
        .and_then(|words| String::from_utf8(words.concat()).ok())
        .unwrap_or_else(|| value.to_owned())
}

fn decode_word(word: &str) -> Option<Vec<u8>> {
    let (charset, rest) = word.strip_prefix("=?")?.strip_suffix("?=")?.split_once('?')?;
    let (encoding, text) = rest.split_once('?')?;
    match (charset.to_ascii_uppercase().as_str(), encoding) {
        ("UTF-8", "B" | "b") => BASE64_STANDARD.decode(text).ok(),
        ("UTF-8", "Q" | "q") => decode_q(text),
        _ => None,
    }
}

fn decode_q(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        bytes.push(match first {
            b'_' => b' ',
            b'=' => {
                let hex = str::from_utf8(rest.get(..2)?).ok()?;
                rest = &rest[2..];
                u8::from_str_radix(hex, 16).ok()?
            }
            other => *other,
        });
    }
    Some(bytes)
}

/// The version and the stretch that a GET must bring. Travels with the request, so that every way
/// to make it ends in the same checks.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    pub(super) etag: Option<String>,
    /// When it was last written, which distinguishes versions where no tag can.
    pub(super) modified: Option<Timestamp>,
    /// Of the whole object.
    pub(super) size: u64,
    pub(super) range: Option<ByteRange>,
    pub(super) asking: Asking,
}

/// How bytes are asked for, where servers differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asking {
    /// With `Accept-Encoding: gzip`: some servers unpack what is stored packed for who does not
    /// take it so (<https://cloud.google.com/storage/docs/transcoding>).
    pub(super) takes_gzip: bool,
    /// The answer need not say its length.
    pub(super) without_length: bool,
}

impl Pinned {
    pub(super) fn new(fingerprint: &Fingerprint, range: Option<ByteRange>, asking: Asking) -> Self {
        Self {
            etag: fingerprint.etag.clone(),
            modified: fingerprint.modified,
            size: fingerprint.size,
            range,
            asking,
        }
    }

    /// How many bytes the body must have.
    pub(super) fn len(&self) -> u64 {
        self.range.map_or(self.size, |range| range.len)
    }

    /// Whether a success is what was asked for. Some servers ignore If-Match, so the tag of what
    /// came is compared here.
    pub(super) fn check(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), Refusal> {
        let got = text_of(headers, header::ETAG.as_str()).map(bare);
        if let (Some(asked), Some(got)) = (self.etag.as_deref().map(bare), got)
            && asked != got
        {
            let message = format!("ETag {got} instead of {asked}");
            return Err(SourceError::Changed { message }.into());
        }
        let written = text_of(headers, header::LAST_MODIFIED.as_str()).and_then(http_date);
        if let (None, Some(asked), Some(got)) = (&self.etag, self.modified, written)
            && asked.as_second() != got.as_second()
        {
            let message = format!("last written at {got} instead of {asked}");
            return Err(SourceError::Changed { message }.into());
        }
        match self.range {
            Some(range) => self.check_range(range, status, headers)?,
            None if status != StatusCode::OK => {
                let message = format!("HTTP {status} in answer to a request for the whole object");
                return Err(SourceError::Permanent { message }.into());
            }
            None => {}
        }
        match content_length(headers) {
            Some(length) if length == self.len() => Ok(()),
            Some(length) if self.range.is_none() => {
                let error = self.resized(length);
                Err(Refusal::NotAsAsked { what: Unlike::Length, error })
            }
            Some(length) => {
                let message = format!("{length} bytes instead of {}", self.len());
                Err(SourceError::Transient { message }.into())
            }
            None if self.asking.without_length => Ok(()),
            None => {
                let message = "the server does not say how long its answer is".into();
                let error = SourceError::Permanent { message };
                Err(Refusal::NotAsAsked { what: Unlike::NoLength, error })
            }
        }
    }

    fn check_range(
        &self,
        range: ByteRange,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let text = text_of(headers, header::CONTENT_RANGE.as_str()).unwrap_or_default();
        let no_range = |message: String| Refusal::NotAsAsked {
            what: Unlike::Range,
            error: SourceError::Permanent { message },
        };
        // `rclone serve s3` serves ranges with status 200, so it is the range that counts.
        if status != StatusCode::PARTIAL_CONTENT && text.is_empty() {
            let message = "the server does not serve ranges: it answers with the whole object";
            return Err(no_range(message.into()));
        }
        let Some((start, end, size)) = content_range(text) else {
            let message = format!("the server serves a range without saying which: {text:?}");
            return Err(no_range(message));
        };
        if let Some(size) = size.filter(|size| *size != self.size) {
            return Err(Refusal::NotAsAsked { what: Unlike::Length, error: self.resized(size) });
        }
        if start != range.start
            || end.checked_sub(start).and_then(|len| len.checked_add(1)) != Some(range.len)
        {
            return Err(no_range(format!(
                "the server answers with bytes {start}-{end} to a request for {} bytes from {}",
                range.len, range.start
            )));
        }
        Ok(())
    }

    /// What it means that a range is refused (416). Nothing beyond the end is ever asked for, so an
    /// end elsewhere is another version; otherwise the server serves no ranges.
    pub(super) fn unsatisfied(&self, headers: &HeaderMap) -> Option<Refusal> {
        self.range?;
        let text = text_of(headers, header::CONTENT_RANGE.as_str()).unwrap_or_default();
        let size = text.strip_prefix("bytes */").and_then(|size| size.trim().parse().ok());
        Some(match size {
            Some(size) if size != self.size => self.resized(size).into(),
            _ => Refusal::NotAsAsked {
                what: Unlike::Range,
                error: SourceError::Permanent {
                    message: "the server refuses a range of the object (HTTP 416)".into(),
                },
            },
        })
    }

    fn resized(&self, size: u64) -> SourceError {
        SourceError::Changed { message: format!("{size} bytes instead of {}", self.size) }
    }
}

/// First byte, last byte and, where it is given, the size of the whole
/// (<https://www.rfc-editor.org/rfc/rfc9110#name-content-range>).
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let size = match size.trim() {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    Some((start.trim().parse().ok()?, end.trim().parse().ok()?, size))
}

/// A body that must have a length, where that is known, and may not stand still.
pub(super) struct Measured {
    body: Incoming,
    /// How many bytes are still to come.
    left: Option<u64>,
    idle: Duration,
    patience: Option<Pin<Box<Sleep>>>,
    /// Since when.
    waiting: Option<Instant>,
    pace: Pace,
    checksum: Option<Checksum>,
}

impl Measured {
    pub(super) fn new(body: Incoming, length: Option<u64>, idle: Duration) -> Self {
        Self {
            body,
            left: length,
            idle,
            patience: None,
            waiting: None,
            pace: Pace::default(),
            checksum: None,
        }
    }

    /// Compared with this, too.
    pub(super) fn checked_by(self, checksum: Option<Checksum>) -> Self {
        Self { checksum, ..self }
    }

    fn count(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        let Some(left) = self.left else { return Ok(()) };
        self.left = left.checked_sub(bytes.len() as u64);
        // Who has all bytes need not ask for the end, so this is where it is checked.
        if self.left == Some(0)
            && let Some(checksum) = self.checksum.take()
        {
            return checksum.check();
        }
        match self.left {
            Some(_) => Ok(()),
            None => Err(SourceError::Changed {
                message: "the body is longer than the object was listed with".into(),
            }),
        }
    }

    fn end(&self) -> Option<SourceError> {
        self.left.filter(|left| *left > 0).map(cut_short)
    }

    /// Starts or continues waiting; ready when it has lasted too long.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        if self.waiting.is_none() {
            let now = Instant::now();
            patience.as_mut().reset(now + idle);
            self.waiting = Some(now);
        }
        patience.as_mut().poll(context)
    }
}

impl Body for Measured {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let failed = |error: SourceError| {
            Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Interrupted, Refusal::from(error)))))
        };
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let waited = self.waiting.take().map(|since| since.elapsed()).unwrap_or_default();
                let bytes = frame.data_ref().cloned().unwrap_or_default();
                let paced = self.pace.received(bytes.len() as u64, waited);
                match paced.and_then(|()| self.count(&bytes)) {
                    Ok(()) => Poll::Ready(Some(Ok(frame))),
                    Err(error) => failed(error),
                }
            }
            Poll::Ready(Some(Err(error))) => failed(broken(&error)),
            Poll::Ready(None) => self.end().map_or(Poll::Ready(None), failed),
            Poll::Pending => match self.poll_patience(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => failed(stood_still(self.idle)),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.unwrap_or_default() == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body that ends this many bytes too early.
pub(super) fn cut_short(left: u64) -> SourceError {
    SourceError::Transient { message: format!("the connection ended {left} bytes too early") }
}

/// A body whose connection fails.
pub(super) fn broken(error: &(dyn std::error::Error + 'static)) -> SourceError {
    let causes = crate::sources::http::causes(error);
    SourceError::Transient { message: format!("the connection broke: {causes}") }
}

/// A body of which nothing has come for so long.
pub(super) fn stood_still(idle: Duration) -> SourceError {
    let message = format!("no byte came for {} seconds", idle.as_secs());
    SourceError::Timeout { message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sources::ErrorClass;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn id() -> EntryId {
        EntryId::new("k".as_bytes())
    }

    #[test]
    fn a_listing_and_a_head_of_one_object_give_one_fingerprint() {
        let listed = fingerprint("abc-2", 5, "2026-11-23T18:58:04.264Z".parse().ok());
        let answer = headers(&[
            ("etag", "\"abc-2\""),
            ("content-length", "5"),
            ("last-modified", "Mon, 23 Nov 2026 18:58:04 GMT"),
            ("content-type", "text/plain"),
        ]);
        assert_eq!(entry_of_head(&id(), &answer).unwrap().kind, EntryKind::File(listed));
    }

    #[test]
    fn a_weak_tag_is_the_same_version_and_nothing_that_if_match_can_ask_for() {
        let (strong, weak) = (fingerprint("\"a\"", 1, None), fingerprint("W/\"a\"", 1, None));
        assert_eq!(strong.version, weak.version);
        assert_eq!(if_match(&strong.etag.unwrap()).as_deref(), Some("\"a\""));
        assert_eq!(if_match(&weak.etag.unwrap()), None);
    }

    #[test]
    fn other_content_size_or_time_is_another_version() {
        let at = |second| Timestamp::from_second(second).ok();
        let versions = [
            fingerprint("a", 1, at(1)),
            fingerprint("b", 1, at(1)),
            fingerprint("a", 2, at(1)),
            fingerprint("a", 1, at(2)),
            fingerprint("a", 1, None),
        ];
        for (i, one) in versions.iter().enumerate() {
            assert!(versions[..i].iter().all(|other| other.version != one.version));
        }
    }

    #[test]
    fn an_archived_object_is_left_out_unless_a_restored_copy_is_there() {
        let kind = |more: &[(&'static str, &str)]| {
            let mut all = headers(&[("content-length", "1")]);
            all.extend(headers(more));
            entry_of_head(&id(), &all).unwrap().kind
        };
        let skipped = EntryKind::Skipped(SkipReason::Archived);
        assert_eq!(kind(&[("x-amz-storage-class", "GLACIER")]), skipped);
        assert_eq!(kind(&[("x-amz-archive-status", "ARCHIVE_ACCESS")]), skipped);
        let ongoing = ("x-amz-restore", "ongoing-request=\"true\"");
        assert_eq!(kind(&[("x-amz-storage-class", "DEEP_ARCHIVE"), ongoing]), skipped);
        let restored = (
            "x-amz-restore",
            "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"",
        );
        assert_ne!(kind(&[("x-amz-storage-class", "GLACIER"), restored]), skipped);
        assert_ne!(kind(&[("x-amz-storage-class", "GLACIER_IR")]), skipped);
    }

    #[test]
    fn tags_are_read_exactly_and_a_response_of_another_kind_has_none() {
        let document = "<?xml version=\"1.0\"?><Tagging xmlns=\"u\"><TagSet><Tag><Key>K &amp; l\
                        </Key><Value> ü </Value></Tag><Tag><Key>e</Key><Value/></Tag></TagSet>\
                        </Tagging>";
        let read = tags(document.as_bytes()).unwrap();
        assert_eq!(read, [("K & l".into(), " ü ".into()), ("e".into(), String::new())].into());
        assert!(tags(b"<Tagging><TagSet/></Tagging>").unwrap().is_empty());
        assert!(tags(b"<Error><Code>X</Code></Error>").is_err());
        assert!(tags(b"<Tagging><TagSet>").is_err());
    }

    #[test]
    fn metadata_is_lower_case_decoded_and_the_default_content_type_says_nothing() {
        let answer = headers(&[
            ("x-amz-meta-author", "=?UTF-8?B?w6k=?="),
            ("x-amz-meta-q", "=?UTF-8?Q?a_=C3=A9?="),
            ("x-amz-meta-not", "see =?UTF-8?B?w6k=?="),
            ("content-type", "Binary/Octet-Stream"),
        ]);
        let facts = facts(&answer);
        assert_eq!(facts.mime, None);
        assert_eq!(facts.metadata["author"], "é");
        assert_eq!(facts.metadata["q"], "a é");
        assert_eq!(facts.metadata["not"], "see =?UTF-8?B?w6k=?=");
    }

    fn pinned(range: Option<(u64, u64)>) -> Pinned {
        let range = range.map(|(start, len)| ByteRange { start, len });
        let (etag, asking) = (Some("v1".into()), Asking::default());
        Pinned { etag, modified: None, size: 10, range, asking }
    }

    #[test]
    fn another_tag_or_size_than_the_pinned_one_is_a_change() {
        let check =
            |pairs: &[(&'static str, &str)]| pinned(None).check(StatusCode::OK, &headers(pairs));
        for tag in ["\"v1\"", "v1", "W/\"v1\""] {
            assert!(check(&[("etag", tag), ("content-length", "10")]).is_ok(), "{tag}");
        }
        let changed =
            |pairs| matches!(check(pairs), Err(Refusal::Final(SourceError::Changed { .. })));
        assert!(changed(&[("etag", "\"v2\""), ("content-length", "10")]));
        let unlike = |pairs| match check(pairs) {
            Err(Refusal::NotAsAsked { what, error }) => Some((what, error.class())),
            _ => None,
        };
        let longer = unlike(&[("content-length", "11")]);
        assert_eq!(longer, Some((Unlike::Length, ErrorClass::Reread)));
        assert_eq!(unlike(&[]), Some((Unlike::NoLength, ErrorClass::Entry)));
    }

    #[test]
    fn without_a_tag_the_time_of_the_last_write_distinguishes_versions() {
        let modified = Timestamp::from_second(1_795_460_284).ok();
        let pinned = Pinned { etag: None, modified, ..pinned(None) };
        let check = |time: &str| {
            let answer = headers(&[("content-length", "10"), ("last-modified", time)]);
            pinned.check(StatusCode::OK, &answer)
        };
        assert!(check("Mon, 23 Nov 2026 18:58:04 GMT").is_ok());
        assert!(check("Mon, 23 Nov 2026 18:58:05 GMT").is_err());
    }

    #[test]
    fn a_range_must_be_the_one_that_was_asked_for() {
        let check = |status, range: &str| {
            let answer = headers(&[("content-length", "4"), ("content-range", range)]);
            pinned(Some((2, 4))).check(status, &answer)
        };
        let partial = StatusCode::PARTIAL_CONTENT;
        assert!(check(partial, "bytes 2-5/10").is_ok());
        assert!(check(partial, "bytes 2-5/*").is_ok());
        let unlike = |range| match check(partial, range) {
            Err(Refusal::NotAsAsked { what, .. }) => Some(what),
            _ => None,
        };
        assert_eq!(unlike("bytes 2-5/11"), Some(Unlike::Length));
        for wrong in ["bytes 0-3/10", "bytes 5-2/10", "", "lines 2-5/10"] {
            assert_eq!(unlike(wrong), Some(Unlike::Range), "{wrong}");
        }
        assert!(check(StatusCode::OK, "bytes 2-5/10").is_ok(), "rclone's way");
    }

    #[test]
    fn a_server_that_returns_everything_for_a_range_is_detected() {
        let whole = headers(&[("content-length", "10")]);
        let error = pinned(Some((2, 4))).check(StatusCode::OK, &whole).unwrap_err();
        assert!(error.to_string().contains("does not serve ranges"));
    }

    #[test]
    fn a_refused_range_means_a_change_where_the_size_differs() {
        let refused = |range: &str| {
            let refused = pinned(Some((2, 4))).unsatisfied(&headers(&[("content-range", range)]));
            refused.unwrap().give_up().class()
        };
        assert_eq!(refused("bytes */3"), ErrorClass::Reread);
        assert_eq!(refused("bytes */10"), ErrorClass::Entry);
        assert_eq!(refused("nonsense"), ErrorClass::Entry);
        assert!(pinned(None).unsatisfied(&headers(&[])).is_none());
    }
}
