//! Entries that have other names by now, and are otherwise what they were: they take their objects
//! along.

use rusqlite::{OptionalExtension as _, params};

use super::{
    Result,
    commit::{DELETED, Work},
    dead_letters::Failure,
    rejudge::{HANDED_OVER, Reshaped},
    time,
};
use crate::model::{BlobHash, EntryId, EntryPath, Fingerprint};

/// An entry that was taken under another name. Whoever says so has proved that the old one is gone.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Internal key of its row, which no longer is listed under its old name.
    pub entry_key: i64,
    /// The source's new name for it.
    pub id: EntryId,
    /// Its new path.
    pub path: EntryPath,
    /// What the listing tells about it under its new name.
    pub fingerprint: Fingerprint,
    /// What its object is to become; `None` where nothing else follows from its name, or its object
    /// is not this entry's to say.
    pub object: Option<Reshaped>,
    /// Why that could not be worked out.
    pub failure: Option<Failure>,
}

impl Work<'_> {
    /// Gives an entry its new name, and its object with it. A row that the pass has touched
    /// meanwhile is left alone. What could not be worked out is for the next pass.
    pub(super) fn rename(
        &mut self,
        moved: &Moved,
        file_exists: &impl Fn(&BlobHash) -> bool,
    ) -> Result<()> {
        let object = moved.object.as_ref().filter(|object| !object.lacks_files(file_exists));
        let is_settled = moved.failure.is_none() && object.is_some() == moved.object.is_some();
        let mark = if is_settled { self.target.mark } else { Some(HANDED_OVER) };
        let Some((object_key, is_duplicate)) = self.rename_entry(moved, mark)? else {
            return Ok(());
        };
        if moved.failure.is_none() {
            self.counts.updated += 1;
        }
        if is_duplicate || object_key == DELETED {
            return Ok(());
        }
        self.rename_object(object_key, moved)?;
        if let Some(object) = object {
            self.reshape_here(object, object_key)?;
        }
        self.note_updated(object_key)
    }

    /// Answers the key of the entry's object, and whether that is another entry's.
    fn rename_entry(&self, moved: &Moved, mark: Option<i64>) -> Result<Option<(i64, bool)>> {
        Ok(self
            .tx
            .prepare_cached(
                "UPDATE entries SET source_id = ?3, path = ?4, version = ?5, modified_ns = ?6,
                                    etag = ?7, pass = ?8, judged_by = ?9
                 WHERE entry_key = ?1 AND sync_key = ?2 AND pass <> ?8
                 RETURNING object_key, is_duplicate",
            )?
            .query_row(
                params![
                    moved.entry_key,
                    self.target.fence.sync_key,
                    moved.id.as_bytes(),
                    (moved.path != moved.id).then(|| moved.path.as_bytes()),
                    moved.fingerprint.version.0,
                    moved.fingerprint.modified.map(time::to_ns),
                    moved.fingerprint.etag,
                    self.target.pass,
                    mark,
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?)
    }

    /// A MIME type that was guessed from the old name is guessed anew.
    fn rename_object(&self, object_key: i64, moved: &Moved) -> Result<()> {
        let (path, mime): (Vec<u8>, Option<String>) = self
            .tx
            .prepare_cached("SELECT path, mime FROM objects WHERE object_key = ?1")?
            .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let was_guessed = mime.as_deref() == EntryPath::new(path).mime_guess();
        let mime = if was_guessed { moved.path.mime_guess().map(str::to_owned) } else { mime };
        self.tx
            .prepare_cached(
                "UPDATE objects SET path = ?2, modified_ns = ?3, mime = ?4, updated_at_ms = ?5
                 WHERE object_key = ?1",
            )?
            .execute(params![
                object_key,
                moved.path.as_bytes(),
                moved.fingerprint.modified.map(time::to_ns),
                mime,
                self.now.as_millisecond(),
            ])?;
        Ok(())
    }
}
