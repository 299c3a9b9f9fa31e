//! Entries whose bytes are here and which are decided about anew: what they become under the settings
//! of today.

use rusqlite::{OptionalExtension as _, params};

use super::{Result, commit::Work, shape::Shape};
use crate::model::{BlobHash, UniqueValue};

/// An entry that was taken before, and is decided about anew without its bytes.
#[derive(Clone, Debug)]
pub struct Rejudged {
    /// Internal key of its row.
    pub entry_key: i64,
    /// What its object is to become; `None` where that is not this entry's to say.
    pub object: Option<Reshaped>,
}

/// An object whose bytes stay and whose shape is made anew.
#[derive(Clone, Debug)]
pub struct Reshaped {
    /// What the sync's mapping makes of it; `None` where it has none.
    pub shape: Option<Box<Shape>>,
    /// User metadata, where the source was asked for it.
    pub metadata: Option<String>,
}

impl Reshaped {
    /// What is to name it in its bucket, where something has to.
    pub(super) fn unique_key(&self) -> Option<&UniqueValue> {
        self.shape.as_ref()?.unique_key.as_ref()
    }

    /// Whether files that it is to have were collected since they were written.
    pub(super) fn lacks_files(&self, file_exists: &impl Fn(&BlobHash) -> bool) -> bool {
        self.shape.iter().flat_map(|shape| shape.files()).any(|hash| !file_exists(hash))
    }
}

/// A mark that no settings leave: an object has gone to this entry, and says what another one was.
pub const HANDED_OVER: i64 = -1;

impl Work<'_> {
    /// Decides about an entry anew whose bytes are here. Where files that it is to have were
    /// collected meanwhile, it stays unsettled for the next run.
    pub(super) fn rejudge(
        &mut self,
        rejudged: &Rejudged,
        file_exists: &impl Fn(&BlobHash) -> bool,
    ) -> Result<()> {
        if let Some(object) = &rejudged.object
            && object.lacks_files(file_exists)
        {
            self.counts.unchanged += 1;
            return self.settle_entry(rejudged.entry_key, Some(HANDED_OVER)).map(drop);
        }
        let object_key = self.settle_entry(rejudged.entry_key, self.target.mark)?;
        let is_updated = match (&rejudged.object, object_key) {
            (Some(object), Some(object_key)) => self.reshape_here(object, object_key)?,
            _ => false,
        };
        match (is_updated, object_key) {
            (true, Some(object_key)) => {
                self.touch(object_key)?;
                self.note_updated(object_key)?;
                self.counts.updated += 1;
            }
            _ => self.counts.unchanged += 1,
        }
        Ok(())
    }

    /// Gives an object whose bytes stay its new shape and metadata. Answers whether they are others.
    pub(super) fn reshape_here(&mut self, object: &Reshaped, object_key: i64) -> Result<bool> {
        let Some(blob_key) = self.content_of(object_key)? else { return Ok(false) };
        let is_reshaped = self.reshape(object.shape.as_deref(), object_key, blob_key)?;
        Ok(self.update_metadata(object_key, object.metadata.as_deref())? || is_reshaped)
    }

    /// Notes on an entry's row that it was judged in this pass; answers its object's key.
    fn settle_entry(&self, entry_key: i64, mark: Option<i64>) -> Result<Option<i64>> {
        Ok(self
            .tx
            .prepare_cached(
                "UPDATE entries SET judged_by = ?2, pass = ?3 WHERE entry_key = ?1
                 RETURNING object_key",
            )?
            .query_row(params![entry_key, mark, self.target.pass], |row| row.get(0))
            .optional()?)
    }

    fn update_metadata(&self, object_key: i64, metadata: Option<&str>) -> Result<bool> {
        let Some(metadata) = metadata else { return Ok(false) };
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE objects SET metadata = nullif(?2, '{}')
                 WHERE object_key = ?1 AND metadata IS NOT nullif(?2, '{}')",
            )?
            .execute(params![object_key, metadata])?;
        Ok(changed > 0)
    }
}
