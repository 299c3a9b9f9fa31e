//! The archives that links were given out for. They are lists of objects, kept in memory until
//! their links end; nothing is packed before the link is followed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{api::error::ApiError, model::ArchiveId, store::objects::chosen::Chosen};

/// Bytes that the lists of all archives together may take; beyond, the oldest archives go.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The most downloads at once: each holds a name for every file that it has packed.
const DOWNLOADS: usize = 4;

/// What to pack.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) id: ArchiveId,
    pub(super) bucket_key: i64,
    /// What the file is called.
    pub(super) filename: String,
    /// From the last path down, so that folders come before files of their names.
    pub(super) objects: Vec<Chosen>,
    /// Until when it can be had.
    pub(super) until: Timestamp,
}

impl Archive {
    /// Bytes that it takes in memory, about.
    fn weight(&self) -> usize {
        let names = |object: &Chosen| object.id.as_str().len() + object.path.as_bytes().len();
        let objects = self.objects.iter().map(|object| size_of::<Chosen>() + names(object));
        size_of::<Self>() + objects.sum::<usize>()
    }
}

/// The archives of this process; clones share them.
#[derive(Clone, Debug)]
pub(in crate::api) struct Archives {
    kept: Arc<Mutex<VecDeque<Arc<Archive>>>>,
    downloads: Arc<Semaphore>,
}

impl Default for Archives {
    fn default() -> Self {
        Self { kept: Arc::default(), downloads: Arc::new(Semaphore::new(DOWNLOADS)) }
    }
}

impl Archives {
    /// Keeps an archive until its end, or until there are too many younger ones.
    pub(super) fn keep(&self, archive: Archive, now: Timestamp) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Arc::new(archive));
        kept.retain(|archive| now < archive.until);
        let mut bytes: usize = kept.iter().map(|archive| archive.weight()).sum();
        while kept.len() > 1 && bytes > MAX_BYTES {
            bytes -= kept.pop_front().map_or(0, |oldest| oldest.weight());
        }
    }

    /// The archive of that id, if it is one of the bucket.
    pub(super) fn find(&self, bucket_key: i64, id: &str, now: Timestamp) -> Option<Arc<Archive>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |archive: &&Arc<Archive>| {
            archive.id.as_str() == id && archive.bucket_key == bucket_key && now < archive.until
        };
        kept.iter().find(is_it).cloned()
    }

    /// A place among the downloads.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(super) fn begin(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        self.downloads.clone().try_acquire_owned().map_err(|_| {
            let words = format!("{DOWNLOADS} archives are being downloaded, which is the most");
            ApiError::too_many(words, 10)
        })
    }
}
