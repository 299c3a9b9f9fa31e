//! Pages of `ListObjectsV2`: how they are asked for, read, and proved complete.
//!
//! See <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>. A page is taken
//! only if nothing in it contradicts itself, because what a listing leaves out counts as gone.

use std::borrow::Cow;

use jiff::Timestamp;
use percent_encoding::percent_decode;

use super::{address, object, xml};
use crate::{
    model::{Cursor, Entry, EntryId, EntryKind, ErrorType, SkipReason},
    sources::{Page, SourceError, trail::Trail},
};

/// The most that S3 gives on one page.
const PAGE_SIZE: &[u8] = b"1000";

/// Where a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The server's own mark.
    pub(super) token: Option<String>,
    /// The key behind which to begin; counts where there is no token.
    pub(super) start_after: Option<Vec<u8>>,
}

impl Position {
    /// The query that asks for the page.
    pub(super) fn query(&self, prefix: &str) -> String {
        let mut pairs: Vec<(&str, &[u8])> = Vec::with_capacity(6);
        if let Some(token) = &self.token {
            pairs.push(("continuation-token", token.as_bytes()));
        }
        pairs.push(("encoding-type", b"url"));
        pairs.push(("list-type", b"2"));
        pairs.push(("max-keys", PAGE_SIZE));
        if !prefix.is_empty() {
            pairs.push(("prefix", prefix.as_bytes()));
        }
        if let (Some(key), None) = (&self.start_after, &self.token) {
            pairs.push(("start-after", key));
        }
        address::query(&pairs)
    }
}

/// One page as the server sent it, checked for itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) objects: Vec<ListedObject>,
    /// Where the next page begins; `None` on the last.
    pub(super) next: Option<String>,
}

/// One object of a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ListedObject {
    key: Vec<u8>,
    etag: String,
    size: Option<u64>,
    modified: Option<Timestamp>,
    storage_class: String,
    restoring: bool,
    restored_until: bool,
}

impl Answer {
    /// Whether the listing has no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.next.is_none()
    }

    /// Whether the listing shows the key: on this page, or perhaps on a later one.
    pub(super) fn may_show(&self, key: &[u8]) -> bool {
        let is_here = self.objects.iter().any(|object| object.key == key);
        let last = self.objects.last().map(|object| object.key.as_slice());
        is_here || (self.next.is_some() && last.is_none_or(|last| last < key))
    }
}

/// Where a listing of the prefix begins that shows a key near its beginning: behind the key without
/// its last character. `None`: at the beginning.
pub(super) fn position_before(key: &[u8], prefix: &str) -> Option<Cursor> {
    let mut before = key.to_vec();
    // The bytes of a character in UTF-8 that follow its first one.
    while before.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
    (before.len() > prefix.len()).then_some(Cursor(before))
}

/// Why an answer to a listing is no page.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ListingError {
    /// It is an error document after all.
    #[error("an error document")]
    ErrorDocument,
    /// It is not a whole page.
    #[error("{0}")]
    Incomplete(String),
}

impl From<xml::XmlError> for ListingError {
    fn from(error: xml::XmlError) -> Self {
        Self::Incomplete(error.to_string())
    }
}

/// What is gathered while reading.
#[derive(Default)]
struct Draft {
    is_result: bool,
    is_error: bool,
    url_encoded: bool,
    truncated: Option<bool>,
    token: Option<String>,
    key_count: Option<String>,
    prefixes: usize,
    object: ListedObject,
    key_missing: bool,
    raw_key: Option<String>,
    objects: Vec<(String, ListedObject)>,
}

/// Reads a page and proves that it is whole.
pub(super) fn parse(body: &[u8]) -> Result<Answer, ListingError> {
    let text = str::from_utf8(body)
        .map_err(|_| ListingError::Incomplete("the listing is not valid UTF-8".into()))?;
    let mut draft = Draft::default();
    xml::fields(text, |path, value| draft.take(path, value))?;
    draft.finish()
}

impl Draft {
    fn take(&mut self, path: &[&str], value: String) {
        match path {
            ["ListBucketResult"] => self.is_result = true,
            ["Error"] => self.is_error = true,
            ["ListBucketResult", "EncodingType"] => self.url_encoded = value == "url",
            ["ListBucketResult", "IsTruncated"] => {
                self.truncated = match value.trim() {
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => None,
                }
            }
            ["ListBucketResult", "NextContinuationToken"] => self.token = Some(value),
            ["ListBucketResult", "KeyCount"] => self.key_count = Some(value),
            ["ListBucketResult", "CommonPrefixes"] => self.prefixes += 1,
            ["ListBucketResult", "Contents"] => match self.raw_key.take() {
                Some(key) => self.objects.push((key, std::mem::take(&mut self.object))),
                None => self.key_missing = true,
            },
            ["ListBucketResult", "Contents", rest @ ..] => self.take_field(rest, value),
            _ => {}
        }
    }

    fn take_field(&mut self, path: &[&str], value: String) {
        let object = &mut self.object;
        match path {
            ["Key"] => self.raw_key = Some(value),
            ["ETag"] => object.etag = value,
            ["Size"] => object.size = value.trim().parse().ok(),
            ["LastModified"] => object.modified = value.trim().parse().ok(),
            ["StorageClass"] => object.storage_class = value,
            ["RestoreStatus", "IsRestoreInProgress"] => object.restoring = value.trim() == "true",
            ["RestoreStatus", "RestoreExpiryDate"] => object.restored_until = true,
            _ => {}
        }
    }

    fn finish(self) -> Result<Answer, ListingError> {
        let incomplete = |problem: String| Err(ListingError::Incomplete(problem));
        if self.is_error {
            return Err(ListingError::ErrorDocument);
        }
        if !self.is_result {
            return incomplete("the response is not a bucket listing".into());
        }
        let Some(truncated) = self.truncated else {
            return incomplete(
                "the listing does not say whether it is the end (IsTruncated)".into(),
            );
        };
        if self.key_missing {
            return incomplete("the listing has an object without a key".into());
        }
        if let Some(count) = &self.key_count {
            let listed = self.objects.len() + self.prefixes;
            if count.trim().parse() != Ok(listed) {
                return incomplete(format!("the listing announces {count} keys and has {listed}"));
            }
        }
        let next = self.token.filter(|token| truncated && !token.is_empty());
        if truncated && next.is_none() {
            return incomplete(
                "the listing continues without saying where (NextContinuationToken)".into(),
            );
        }
        let url_encoded = self.url_encoded;
        let objects = self.objects.into_iter().map(|(key, mut object)| {
            object.key = decode_key(key, url_encoded);
            match object.size {
                Some(_) => Ok(object),
                None => {
                    Err(ListingError::Incomplete("the listing has an object without a size".into()))
                }
            }
        });
        Ok(Answer { objects: objects.collect::<Result<_, _>>()?, next })
    }
}

/// The exact bytes of a key. With `encoding-type=url` S3 encodes as forms do, a space as `+` and a
/// plus as `%2B`; so do SeaweedFS, rclone and MinIO. Servers that say nothing of an encoding did
/// not encode.
pub(super) fn decode_key(key: String, url_encoded: bool) -> Vec<u8> {
    if !url_encoded {
        return key.into_bytes();
    }
    let spaced = match key.contains('+') {
        true => key.replace('+', " "),
        false => key,
    };
    match Cow::from(percent_decode(spaced.as_bytes())) {
        Cow::Borrowed(_) => spaced.into_bytes(),
        Cow::Owned(decoded) => decoded,
    }
}

impl ListedObject {
    /// The entry below `prefix`. `Ok(None)` for the marker of the prefix itself: consoles create
    /// empty objects named like folders, and the folder that is synced has no name within itself.
    fn into_entry(self, prefix: &[u8], listed: &[u8]) -> Result<Option<Entry>, SourceError> {
        let name = self.key.strip_prefix(prefix).filter(|_| self.key.starts_with(listed));
        let Some(name) = name else {
            return Err(SourceError::Permanent {
                message: format!(
                    "the server lists {:?}, which does not begin with the prefix {:?}",
                    EntryId::new(self.key),
                    EntryId::new(listed)
                ),
            });
        };
        let id = EntryId::new(name);
        let size = self.size.unwrap_or_default();
        let kind = match (name.is_empty(), size) {
            (true, 0) => return Ok(None),
            (true, _) => EntryKind::Unreadable {
                error_type: ErrorType::UnsupportedType,
                message: "its key is the synced prefix itself, so it has no name below it".into(),
            },
            _ if self.is_out_of_reach() => EntryKind::Skipped(SkipReason::Archived),
            _ => EntryKind::File(object::fingerprint(&self.etag, size, self.modified)),
        };
        Ok(Some(Entry { path: id.clone(), id, parent: None, kind }))
    }

    fn is_out_of_reach(&self) -> bool {
        object::is_archive(&self.storage_class) && (self.restoring || !self.restored_until)
    }
}

/// Follows a listing from page to page and notices when it leads nowhere.
#[derive(Debug)]
pub(super) struct Progress {
    prefix: Vec<u8>,
    /// What every key begins with: the prefix, or more.
    listed: String,
    position: Position,
    /// The key that came last, to see the order by.
    last: Option<Vec<u8>>,
    /// Keys have come in order of their bytes so far; some servers do not keep it.
    ordered: bool,
    trail: Trail,
    /// First and last key of the page before.
    page: Option<(Vec<u8>, Vec<u8>)>,
}

impl Progress {
    /// A listing of what begins with `listed`, behind `from`, named as it is below `prefix`.
    pub(super) fn new(prefix: &str, listed: &str, from: Option<Cursor>) -> Self {
        let start_after = from.map(|Cursor(key)| key);
        Self {
            prefix: prefix.as_bytes().to_vec(),
            listed: listed.to_owned(),
            last: start_after.clone(),
            position: Position { token: None, start_after },
            ordered: true,
            trail: Trail::default(),
            page: None,
        }
    }

    /// What every key is to begin with.
    pub(super) fn listed(&self) -> &str {
        &self.listed
    }

    /// What to ask for next.
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// The same place without the server's mark, for when it no longer knows it.
    pub(super) fn without_token(&self) -> Option<Position> {
        let known = self.position.token.is_some() && self.ordered;
        let key = self.last.clone().filter(|_| known)?;
        Some(Position { token: None, start_after: Some(key) })
    }

    /// Checks that `answer` leads on from the pages before.
    pub(super) fn check(&self, answer: &Answer) -> Result<(), SourceError> {
        self.trail.check(answer.objects.len(), answer.next.as_deref())?;
        let same_page = match (&self.page, bounds(&answer.objects)) {
            (Some((first, last)), Some((f, l))) => first == f && last == l,
            _ => false,
        };
        match same_page {
            true => Err(SourceError::Garbled {
                message: "the listing goes in circles: a page came twice".into(),
            }),
            false => Ok(()),
        }
    }

    /// Takes a page that was checked, and whether more are to come.
    pub(super) fn advance(&mut self, answer: Answer) -> Result<(Page, bool), SourceError> {
        for object in &answer.objects {
            if self.last.as_ref().is_some_and(|last| *last >= object.key) {
                self.ordered = false;
            }
            self.last = Some(object.key.clone());
        }
        self.trail.advance(answer.objects.len(), answer.next.as_deref());
        if let Some((first, last)) = bounds(&answer.objects) {
            self.page = Some((first.to_vec(), last.to_vec()));
        }
        let more = answer.next.is_some();
        self.position.token = answer.next;
        let mut entries = Vec::with_capacity(answer.objects.len());
        for object in answer.objects {
            entries.extend(object.into_entry(&self.prefix, self.listed.as_bytes())?);
        }
        let cursor = self.last.clone().filter(|_| self.ordered).map(Cursor);
        Ok((Page { entries, cursor, ..Page::default() }, more))
    }
}

fn bounds(objects: &[ListedObject]) -> Option<(&[u8], &[u8])> {
    Some((&objects.first()?.key, &objects.last()?.key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn object(key: &str) -> String {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;e&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    }

    fn page(keys: &[&str], rest: &str) -> String {
        let objects: String = keys.iter().map(|key| object(key)).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult>{objects}\
             <EncodingType>url</EncodingType>{rest}</ListBucketResult>"
        )
    }

    const END: &str = "<IsTruncated>false</IsTruncated>";

    fn keys(body: &str) -> Vec<Vec<u8>> {
        parse(body.as_bytes()).unwrap().objects.into_iter().map(|object| object.key).collect()
    }

    fn paths(progress: &mut Progress, body: &str) -> (Vec<String>, Option<Cursor>) {
        let (page, _) = progress.advance(parse(body.as_bytes()).unwrap()).unwrap();
        (page.entries.iter().map(|entry| entry.path.to_json_text()).collect(), page.cursor)
    }

    #[test]
    fn keys_are_decoded_as_forms_are() {
        let body = page(&["sp+ace", "pl%2Bus", "%01%0A%F0%9F%98%80", "per%2520x", "a//b"], END);
        assert_eq!(
            keys(&body),
            [&b"sp ace"[..], b"pl+us", "\u{1}\n😀".as_bytes(), b"per%20x", b"a//b"]
        );
    }

    #[test]
    fn keys_that_were_not_encoded_are_taken_as_they_are() {
        let body = page(&["a+b%20", " lead ", "x&#1;&amp;"], END)
            .replace("<EncodingType>url</EncodingType>", "");
        assert_eq!(keys(&body), [&b"a+b%20"[..], b" lead ", b"x\x01&"]);
    }

    #[test]
    fn a_page_that_is_cut_anywhere_is_no_page() {
        let body = page(&["a", "b"], END);
        for end in 0..body.len() {
            assert!(parse(&body.as_bytes()[..end]).is_err(), "{}", &body[..end]);
        }
    }

    #[test]
    fn a_page_that_contradicts_itself_is_no_page() {
        for (rest, reason) in [
            ("", "IsTruncated"),
            ("<IsTruncated>maybe</IsTruncated>", "IsTruncated"),
            ("<IsTruncated>true</IsTruncated>", "NextContinuationToken"),
            ("<IsTruncated>false</IsTruncated><KeyCount>3</KeyCount>", "announces 3"),
        ] {
            let error = parse(page(&["a", "b"], rest).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(reason), "{rest}: {error}");
        }
        assert!(parse(b"<html></html>").is_err());
        assert!(parse(b"").is_err());
        assert!(
            parse(
                page(&[], END)
                    .replace(END, &(object("k").replace("<Key>k</Key>", "") + END))
                    .as_bytes()
            )
            .is_err()
        );
    }

    #[test]
    fn an_error_document_under_a_successful_status_is_detected() {
        assert_eq!(
            parse(b"<Error><Code>SlowDown</Code></Error>"),
            Err(ListingError::ErrorDocument)
        );
    }

    #[test]
    fn the_path_is_the_key_behind_the_prefix_byte_for_byte() {
        let mut progress = Progress::new("p/", "p/", None);
        let (paths, cursor) = paths(
            &mut progress,
            &page(&["p/", "p//a", "p/a/", "p/b"], END).replacen("<Size>1<", "<Size>0<", 1),
        );
        assert_eq!(paths, ["/a", "a/", "b"], "the marker of the prefix itself has no name");
        assert_eq!(cursor, Some(Cursor(b"p/b".to_vec())));
    }

    #[test]
    fn a_key_outside_the_prefix_is_refused() {
        let mut progress = Progress::new("p/", "p/", None);
        let answer = parse(page(&["q/a"], END).as_bytes()).unwrap();
        assert!(matches!(progress.advance(answer), Err(SourceError::Permanent { .. })));
    }

    #[test]
    fn a_listing_of_less_than_the_prefix_names_keys_as_ever() {
        let mut progress = Progress::new("p/", "p/20", None);
        let (paths, _) = paths(&mut progress, &page(&["p/2026/a"], END));
        assert_eq!(paths, ["2026/a"]);
        let other = parse(page(&["p/1999/a"], END).as_bytes()).unwrap();
        assert!(Progress::new("p/", "p/20", None).advance(other).is_err());
    }

    #[test]
    fn once_keys_come_out_of_order_there_is_no_place_to_resume_from() {
        let mut progress = Progress::new("", "", None);
        let (_, cursor) = paths(&mut progress, &page(&["a", "b"], END));
        assert!(cursor.is_some());
        assert_eq!(paths(&mut progress, &page(&["d", "c"], END)).1, None);
        assert_eq!(paths(&mut progress, &page(&["e"], END)).1, None);
    }

    #[test]
    fn a_listing_that_goes_in_circles_is_noticed() {
        let more = |keys: &[&str], token: &str| {
            let rest = format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
            );
            parse(page(keys, &rest).as_bytes()).unwrap()
        };
        let mut progress = Progress::new("", "", None);
        for (key, token) in [("a", "1"), ("b", "2")] {
            progress.check(&more(&[key], token)).unwrap();
            progress.advance(more(&[key], token)).unwrap();
        }
        assert!(progress.check(&more(&["c"], "1")).is_err(), "an old token");
        assert!(progress.check(&more(&["b"], "3")).is_err(), "the same page");
        assert!(progress.check(&more(&["c"], "3")).is_ok());
    }

    #[test]
    fn a_token_that_the_server_forgot_is_replaced_by_the_last_key() {
        let mut progress = Progress::new("", "", None);
        assert_eq!(progress.without_token(), None);
        let rest =
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
        progress.advance(parse(page(&["a", "b"], rest).as_bytes()).unwrap()).unwrap();
        assert_eq!(
            progress.position().query(""),
            "continuation-token=t&encoding-type=url&list-type=2&max-keys=1000"
        );
        let again = progress.without_token().unwrap();
        assert_eq!(
            again.query("p/"),
            "encoding-type=url&list-type=2&max-keys=1000&prefix=p%2F&start-after=b"
        );
    }

    #[test]
    fn archived_objects_are_skipped_until_they_are_restored() {
        let kind = |class: &str, restore: &str| {
            let body = page(&["k"], END)
                .replace("STANDARD</StorageClass>", &format!("{class}</StorageClass>{restore}"));
            let (page, _) =
                Progress::new("", "", None).advance(parse(body.as_bytes()).unwrap()).unwrap();
            page.entries[0].kind.clone()
        };
        let skipped = EntryKind::Skipped(SkipReason::Archived);
        assert_eq!(kind("GLACIER", ""), skipped);
        assert_eq!(
            kind(
                "DEEP_ARCHIVE",
                "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"
            ),
            skipped
        );
        let restored = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
                        <RestoreExpiryDate>2026-02-01T00:00:00Z</RestoreExpiryDate></RestoreStatus>";
        assert!(matches!(kind("GLACIER", restored), EntryKind::File(_)));
        assert!(matches!(kind("GLACIER_IR", ""), EntryKind::File(_)));
    }
}
