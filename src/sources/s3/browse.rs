//! One level of a bucket, or the buckets themselves.
//!
//! See <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html> (`delimiter`) and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>. What is shown here
//! decides nothing, so pages are taken with fewer checks than those of a run.

use http::Method;
use jiff::Timestamp;

use super::{
    address,
    bucket::{Bucket, LISTING_BYTES, Site},
    listing::decode_key,
    refusal::{Refusal, Subject},
    xml,
};
use crate::{
    model::EntryPath,
    sources::{
        SourceError,
        browse::{First, Item, ItemKind, Level},
    },
};

/// Pages that are looked at before giving up on finding more: files may stand behind many folders.
const MOST_PAGES: usize = 20;

/// One page of a level.
#[derive(Debug, Default)]
struct Shelf {
    /// Whole keys or prefixes, as the server spells them.
    names: Vec<(String, Facts)>,
    url_encoded: bool,
    next: Option<String>,
    understood: bool,
    key: Option<String>,
    facts: Facts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    size: Option<u64>,
    modified: Option<Timestamp>,
}

impl Bucket {
    /// What lies directly below the prefix; where no bucket is named, the buckets as folders.
    pub(super) async fn level(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        match (self.name.is_empty(), wanted) {
            (true, ItemKind::Folders) => self.buckets(limit).await,
            (true, ItemKind::Files) => Ok(Level::default()),
            (false, _) => self.folder(wanted, limit).await,
        }
    }

    /// The buckets that the keys belong to.
    async fn buckets(&self, limit: usize) -> Result<Level, SourceError> {
        let shelf = self
            .located(|site| async move {
                let url = site.bucket_url.clone();
                // A refusal says only that these keys may not list buckets.
                self.shelf(&site, &url, Subject::Object).await
            })
            .await?;
        let mut first = First::new(limit);
        for (name, facts) in shelf.names {
            first.offer(name.into_bytes(), facts);
        }
        Ok(first.into_level(|name, _| Some(item(name, Facts::default()))))
    }

    async fn folder(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        let mut first = First::new(limit);
        let mut token = None;
        for page in 0..MOST_PAGES {
            let shelf = self.located(|site| {
                let url = format!("{}/?{}", site.bucket_url, self.level_query(token.as_deref()));
                async move { self.shelf(&site, &url, Subject::Listing).await }
            });
            let shelf = shelf.await.map_err(|error| self.about_the_place(&self.prefix, error))?;
            for (name, facts) in shelf.names {
                let key = decode_key(name, shelf.url_encoded);
                let Some(name) = key.strip_prefix(self.prefix.as_bytes()) else { continue };
                match (name.strip_suffix(b"/"), wanted) {
                    (Some(folder), ItemKind::Folders) => first.offer(folder.to_vec(), facts),
                    (None, ItemKind::Files) if !name.is_empty() => {
                        first.offer(name.to_vec(), facts)
                    }
                    _ => {}
                }
            }
            token = shelf.next;
            if token.is_none() || first.is_full() {
                break;
            }
            if page + 1 == MOST_PAGES {
                first.cut();
            }
        }
        Ok(first.into_level(|name, facts| Some(item(name, facts))))
    }

    fn level_query(&self, token: Option<&str>) -> String {
        let mut pairs: Vec<(&str, &[u8])> = Vec::with_capacity(5);
        if let Some(token) = token {
            pairs.push(("continuation-token", token.as_bytes()));
        }
        pairs.push(("delimiter", b"/"));
        pairs.push(("encoding-type", b"url"));
        pairs.push(("list-type", b"2"));
        if !self.prefix.is_empty() {
            pairs.push(("prefix", self.prefix.as_bytes()));
        }
        address::query(&pairs)
    }

    async fn shelf(&self, site: &Site, url: &str, subject: Subject) -> Result<Shelf, Refusal> {
        let request = self.request(site, Method::GET, url, |_| ()).await?;
        let (_, body) = self.transport.read(request, subject, LISTING_BYTES).await?;
        let garbled = |message: String| SourceError::Garbled { message };
        let text = str::from_utf8(&body).map_err(|error| garbled(error.to_string()))?;
        let mut shelf = Shelf::default();
        xml::fields(text, |path, value| shelf.take(path, value))
            .map_err(|error| garbled(error.to_string()))?;
        match shelf.understood {
            true => Ok(shelf),
            false => Err(garbled("the response is not a bucket listing".into()).into()),
        }
    }
}

impl Shelf {
    fn take(&mut self, path: &[&str], value: String) {
        match path {
            ["ListBucketResult" | "ListAllMyBucketsResult"] => self.understood = true,
            ["ListBucketResult", "EncodingType"] => self.url_encoded = value == "url",
            ["ListBucketResult", "NextContinuationToken"] => {
                self.next = Some(value).filter(|token| !token.is_empty());
            }
            ["ListBucketResult", "CommonPrefixes", "Prefix"]
            | ["ListAllMyBucketsResult", "Buckets", "Bucket", "Name"] => {
                self.names.push((value, Facts::default()));
            }
            ["ListBucketResult", "Contents", "Key"] => self.key = Some(value),
            ["ListBucketResult", "Contents", "Size"] => self.facts.size = value.trim().parse().ok(),
            ["ListBucketResult", "Contents", "LastModified"] => {
                self.facts.modified = value.trim().parse().ok();
            }
            ["ListBucketResult", "Contents"] => {
                let facts = std::mem::take(&mut self.facts);
                self.names.extend(self.key.take().map(|key| (key, facts)));
            }
            _ => {}
        }
    }
}

fn item(name: &[u8], facts: Facts) -> Item {
    Item {
        name: EntryPath::new(name),
        id: None,
        note: None,
        mime: None,
        size: facts.size,
        modified: facts.modified,
    }
}
