//! Small pictures of objects, drawn when somebody looks: by the same extractor as `thumbnail@v1`,
//! in the same confined processes, kept in the database within a bound. No collection is
//! needed, and nothing here waits for processing.

use std::{collections::BTreeMap, io::Read as _, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Map, json};
use tokio::sync::Semaphore;

pub use super::extract::builtin::thumbnail::{DEFAULT_SIZE, SIZES};
use super::{
    extract::{Class, Extractor, Extractors, Failure, Given, Job, builtin, drawing, protocol},
    work,
};
use crate::{
    engine::Engine,
    model::BlobHash,
    store::{
        StoreError,
        thumbnails::{self, Drawn},
    },
};

/// How long one picture may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long somebody waits for their turn, while others' pictures are drawn.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a reason holds for: another version of this program may draw more, and so may programs of
/// the system that are installed later. Too much time or memory holds for a while only.
fn version() -> String {
    format!("{} {}", env!("CARGO_PKG_VERSION"), drawing::installed())
}

/// Draws pictures and keeps them; clones share their slots.
#[derive(Clone, Debug)]
pub struct Thumbnails {
    engine: Engine,
    extractors: Extractors,
    extractor: Arc<Extractor>,
    /// Bytes that are kept.
    most: u64,
    slots: Arc<Semaphore>,
}

/// What is to be drawn.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The bytes.
    pub hash: BlobHash,
    /// How many they are.
    pub size: u64,
    /// MIME type, if one is known.
    pub mime: Option<String>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum NoThumbnail {
    /// None can be drawn of this, whoever asks.
    #[error("{reason}")]
    NotDrawable {
        /// Why.
        reason: String,
        /// Whether it took too much time or memory: it is tried again after a while.
        may_pass: bool,
    },
    /// It may be there later: others are being drawn, or something failed in passing.
    #[error("{0}")]
    NotNow(String),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Thumbnails {
    /// Draws `concurrency` pictures at once and keeps `most` bytes of them.
    #[must_use]
    pub fn new(engine: Engine, extractors: Extractors, concurrency: usize, most: u64) -> Self {
        let mut extractor = Extractor::from(&builtin::thumbnail::THUMBNAIL);
        extractor.timeout = TIMEOUT;
        let extractor = Arc::new(extractor);
        let slots = Arc::new(Semaphore::new(concurrency.max(1)));
        Self { engine, extractors, extractor, most, slots }
    }

    /// The picture of a blob in WebP, `size` pixels at its longest edge at most.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn of(&self, subject: &Subject, size: u32) -> Result<Bytes, NoThumbnail> {
        if let Some(known) = self.kept(subject, size).await? {
            return known;
        }
        let wait = tokio::time::timeout(PATIENCE, self.slots.acquire());
        let busy = || NoThumbnail::NotNow("many other pictures are being drawn".to_owned());
        let Ok(Ok(_place)) = wait.await else { return Err(busy()) };
        // Somebody who waited for the same may have had it drawn.
        if let Some(known) = self.kept(subject, size).await? {
            return known;
        }
        let version = version();
        let drawn = self.draw(subject, size).await;
        let kept = match &drawn {
            Ok(picture) => Drawn::Picture(picture.to_vec()),
            Err(NoThumbnail::NotDrawable { reason, may_pass }) => {
                Drawn::None { reason: reason.clone(), may_pass: *may_pass }
            }
            Err(_) => return drawn,
        };
        let (hash, most, now) = (subject.hash, self.most, self.engine.clock().now());
        self.engine
            .store
            .write(move |tx| thumbnails::keep(tx, &hash, size, &kept, &version, most, now))
            .await?;
        drawn
    }

    async fn kept(
        &self,
        subject: &Subject,
        size: u32,
    ) -> Result<Option<Result<Bytes, NoThumbnail>>, StoreError> {
        let (hash, now) = (subject.hash, self.engine.clock().now());
        let found = self
            .engine
            .store
            .read(move |db| thumbnails::find(db, &hash, size, &version(), now))
            .await?;
        let Some((kept, is_to_be_touched)) = found else { return Ok(None) };
        if is_to_be_touched {
            self.engine.store.write(move |tx| thumbnails::touch(tx, &hash, size, now)).await?;
        }
        Ok(Some(match kept {
            Drawn::Picture(webp) => Ok(webp.into()),
            Drawn::None { reason, may_pass } => Err(NoThumbnail::NotDrawable { reason, may_pass }),
        }))
    }

    async fn draw(&self, subject: &Subject, size: u32) -> Result<Bytes, NoThumbnail> {
        let file = work::open(&self.engine, &subject.hash).await.map_err(why)?;
        let facts = protocol::FileFacts {
            mime_type: subject.mime.clone(),
            size_bytes: subject.size,
            hash: subject.hash.to_string(),
            filename: String::new(),
        };
        let mut parameters = Map::new();
        parameters.insert("size".to_owned(), json!(size));
        let job = Job {
            run: "thumbnail".to_owned(),
            object: protocol::ObjectFacts::default(),
            inputs: BTreeMap::from([("file".to_owned(), Given::File { file, facts })]),
            parameters,
        };
        let made = self.extractors.extract(&self.extractor, job).await.map_err(why)?;
        let Some(piece) = made.documents.first().and_then(|document| document.blobs.first()) else {
            let reason = made.left_out.first().map_or("there is no picture", String::as_str);
            let reason = reason.to_owned();
            return Err(NoThumbnail::NotDrawable { reason, may_pass: false });
        };
        let failed = |error| NoThumbnail::NotNow(format!("the picture cannot be read: {error}"));
        let (mut file, mut webp) = (piece.file.open().map_err(failed)?, Vec::new());
        (&mut file).take(piece.file.size()).read_to_end(&mut webp).map_err(failed)?;
        Ok(webp.into())
    }
}

fn why(failure: Failure) -> NoThumbnail {
    let Failure { class, message: reason, .. } = failure;
    match class {
        Class::Permanent => NoThumbnail::NotDrawable { reason, may_pass: false },
        Class::Resource => NoThumbnail::NotDrawable { reason, may_pass: true },
        Class::Transient | Class::Unavailable => NoThumbnail::NotNow(reason),
    }
}
