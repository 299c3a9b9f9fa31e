//! Amazon S3, Tigris, and what else speaks S3's protocol.
//!
//! Start at [`S3`]. Ordinary keys are fetched through `object_store`; listings, keys that its
//! `Path` cannot name or its signer would normalise (`a//b`, `..`), and stretches of large objects
//! that no TLS covers, go beneath it, over the same `transport`. All ways end in the same checks
//! and errors. Nothing here remembers anything from run to run, and nothing writes.
//!
//! - `bucket`: requests to a bucket, wherever it is
//! - `walk`: a listing under way
//! - `address`: endpoint, region, URLs
//! - `provider`: settings, places and filters
//! - `credentials`: the AWS chain, and renewal
//! - `sign`: Signature Version 4 for requests of our own
//! - `transport`: connections, time limits, holding back
//! - `socket`: bodies that are read to where they belong
//! - `refusal`: what an error answer means
//! - `listing`, `xml`: pages of `ListObjectsV2`, proved complete
//! - `browse`: one level of a bucket, for people
//! - `object`: fingerprints, facts, and the check that a body is the pinned version
//! - `checksum`: the checksums that S3 keeps of bytes

mod address;
mod browse;
mod bucket;
mod checksum;
mod credentials;
mod listing;
mod object;
pub mod provider;
mod refusal;
mod sdk_http;
mod sign;
mod socket;
mod transport;
mod walk;
mod xml;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};

use self::{
    bucket::{Bucket, BucketPrefix},
    listing::Progress,
    object::Pinned,
    provider::{S3Connection, Service},
    refusal::Refusal,
    walk::Walk,
};
use super::{
    ByteRange, Content, ErrorClass, Facts, Needs, Opening, Page, RootIdentity, Source, SourceError,
    browse::{ItemKind, Level},
    http::Usage,
    retry::RetryPolicy,
};
use crate::model::{
    Credentials, Cursor, Entry, EntryId, ExpectedHash, Fingerprint, Identity, Shard,
};

/// How many fetches at once serve S3 best: enough to hide its latency, few enough for memory.
const CONCURRENCY: usize = 64;

/// A bucket or a prefix in it.
pub struct S3 {
    bucket: Arc<Bucket>,
    shards: Vec<Shard>,
    /// Whether the first page had no key, once somebody has looked.
    is_empty: OnceLock<bool>,
}

impl S3 {
    /// Works out how a location is reached. Makes no request to the bucket.
    ///
    /// # Errors
    /// [`SourceError::Misconfigured`] when the settings cannot work.
    pub(super) async fn connect(
        service: Service,
        opening: Opening<'_>,
    ) -> Result<Self, SourceError> {
        let settings = S3Connection::of(&opening.location.connection)?;
        let resolved = credentials::resolve(service, &settings, opening.credentials).await?;
        let place = BucketPrefix::of(&opening.location.source_path);
        let keeper = opening.credentials.and_then(Credentials::keeper);
        let budget = opening.tuning.budgets.of(keeper.and_then(|keeper| keeper.id()), None);
        let bucket = Bucket::new(place, &settings, resolved, (budget, &opening.tuning.clock))?;
        let shards = opening.filters.shards.clone();
        Ok(Self { bucket: Arc::new(bucket), shards, is_empty: OnceLock::new() })
    }

    /// A listing of a shard, behind `from`.
    fn progress(&self, shard: &Shard, from: Option<Cursor>) -> Progress {
        let prefix = &self.bucket.prefix;
        Progress::new(prefix, &format!("{prefix}{}", shard.prefix()), from)
    }
}

#[async_trait]
impl Source for S3 {
    /// Makes no request: that the bucket can be listed shows on the first page, and a run that
    /// changes nothing costs nothing but its pages.
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        Ok(RootIdentity(None))
    }

    /// One page, and none ahead. Where a prefix has nothing, an object of that name may be meant.
    async fn probe(&self) -> Result<(), SourceError> {
        match self.is_empty().await? {
            true => self.bucket.refuse_object().await,
            false => Ok(()),
        }
    }

    async fn is_empty(&self) -> Result<bool, SourceError> {
        if let Some(known) = self.is_empty.get() {
            return Ok(*known);
        }
        let Some(shard) = self.shards.first() else { return Ok(false) };
        let is_empty = self.bucket.page(&self.progress(shard, None)).await?.is_empty();
        Ok(*self.is_empty.get_or_init(|| is_empty))
    }

    /// The prefixes that are listed, all of them if there are none.
    fn shards(&self) -> Vec<Shard> {
        self.shards.clone()
    }

    fn walk(
        &self,
        shard: &Shard,
        from: Option<Cursor>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let progress = self.progress(shard, from);
        let walk = Walk::Ahead(Arc::clone(&self.bucket), Box::new(progress));
        stream::unfold(walk, Walk::next).boxed()
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        let key = self.bucket.key(id);
        match self.bucket.head(&key).await {
            Ok(headers) => object::entry_of_head(id, &headers).map(Some),
            Err(error) if matches!(error.class(), ErrorClass::Retry | ErrorClass::RetryBriefly) => {
                Err(error)
            }
            Err(_) => self.bucket.explain_head(&key).await,
        }
    }

    /// Asks for the page of the listing that begins just before the key.
    async fn is_listed(&self, id: &EntryId) -> Result<bool, SourceError> {
        let key = self.bucket.key(id);
        let before = listing::position_before(&key, &self.bucket.prefix);
        let progress = self.progress(&Shard::whole(), before);
        Ok(self.bucket.page(&progress).await?.may_show(&key))
    }

    async fn fetch(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        range: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let key = self.bucket.key(id);
        let pinned = Pinned::new(fingerprint, range, self.bucket.manners().asking);
        match self.bucket.open(&key, &pinned).await {
            Ok(content) => Ok(content),
            Err(Refusal::NotAsAsked { what, error }) => {
                self.bucket.open_otherwise(&key, pinned, what, error).await
            }
            Err(refusal) => Err(refusal.give_up()),
        }
    }

    fn identity_hash(&self, fingerprint: &Fingerprint) -> Option<ExpectedHash> {
        object::identity_hash(fingerprint)
    }

    fn is_called_otherwise(&self, listed: &Fingerprint, now: &Fingerprint) -> bool {
        object::is_called_otherwise(listed, now)
    }

    fn ranges(&self) -> bool {
        !self.bucket.manners().has_no_ranges
    }

    fn identity(&self, fingerprint: &Fingerprint) -> Option<Identity> {
        object::identity(fingerprint)
    }

    async fn browse(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        RetryPolicy::FETCH.run(|| self.bucket.level(wanted, limit)).await
    }

    async fn facts(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        needs: Needs,
    ) -> Result<Facts, SourceError> {
        let key = self.bucket.key(id);
        let mut facts = Facts::default();
        if needs.metadata || needs.properties {
            let headers = self.bucket.head_of_version(id, &key, fingerprint).await?;
            facts = object::facts(&headers);
            facts.properties = object::properties(&headers);
        }
        if needs.tags {
            facts.tags = self.bucket.tags(&key).await?;
        }
        Ok(facts)
    }

    fn default_concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn usage(&self) -> Usage {
        self.bucket.transport.usage()
    }
}
