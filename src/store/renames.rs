//! Entries that were renamed at the source and otherwise unchanged: they keep their objects.

use rusqlite::{OptionalExtension as _, params};

use super::{
    Result, changes::Changes, dead_letters::Failure, entries::DELETED, entries::HANDED_OVER,
    reevaluate::Reshaped, time,
};
use crate::model::{BlobHash, EntryId, EntryPath, Fingerprint};

/// A stored entry under a new name. Whoever makes one has proved that the old name is gone.
#[derive(Clone, Debug)]
pub struct Renamed {
    /// Internal key of its row.
    pub entry_key: i64,
    /// The source's new name for it.
    pub id: EntryId,
    /// Its new path.
    pub path: EntryPath,
    /// What the listing says about it under its new name.
    pub fingerprint: Fingerprint,
    /// The new shape of its object; `None` where only its name changes, or its object is that of
    /// another entry.
    pub object: Option<Reshaped>,
    /// Why that could not be determined.
    pub failure: Option<Failure>,
}

impl Changes<'_> {
    /// Renames an entry and its object. A row that the pass has written meanwhile stays as it is.
    /// What could not be determined is left to the next pass.
    pub(super) fn rename(
        &mut self,
        renamed: &Renamed,
        file_exists: &impl Fn(&BlobHash) -> bool,
    ) -> Result<()> {
        let object = renamed.object.as_ref().filter(|object| !object.lacks_files(file_exists));
        let is_current = renamed.failure.is_none() && object.is_some() == renamed.object.is_some();
        let mark = if is_current { self.target.mark } else { Some(HANDED_OVER) };
        let Some((object_key, is_duplicate)) = self.rename_entry(renamed, mark)? else {
            return Ok(());
        };
        if renamed.failure.is_none() {
            self.counts.updated += 1;
        }
        if is_duplicate || object_key <= DELETED {
            return Ok(());
        }
        self.before_change(object_key)?;
        self.rename_object(object_key, renamed)?;
        if let Some(object) = object {
            self.reshape_stored(object, object_key)?;
        }
        self.note_updated(object_key)
    }

    /// Returns the key of the entry's object, and whether that is another entry's.
    fn rename_entry(&self, renamed: &Renamed, mark: Option<i64>) -> Result<Option<(i64, bool)>> {
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
                    renamed.entry_key,
                    self.target.fence.sync_key,
                    renamed.id.as_bytes(),
                    (renamed.path != renamed.id).then(|| renamed.path.as_bytes()),
                    renamed.fingerprint.version.0,
                    renamed.fingerprint.modified.map(time::to_ns),
                    renamed.fingerprint.etag,
                    self.target.pass,
                    mark,
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?)
    }

    /// A MIME type that was guessed from the old name is guessed again.
    fn rename_object(&self, object_key: i64, renamed: &Renamed) -> Result<()> {
        let (path, mime): (Vec<u8>, Option<String>) = self
            .tx
            .prepare_cached("SELECT path, mime FROM objects WHERE object_key = ?1")?
            .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let was_guessed = mime.as_deref() == EntryPath::new(path).mime_guess();
        let mime = if was_guessed { renamed.path.mime_guess().map(str::to_owned) } else { mime };
        self.tx
            .prepare_cached(
                "UPDATE objects SET path = ?2, modified_ns = ?3, mime = ?4, updated_at_ms = ?5
                 WHERE object_key = ?1",
            )?
            .execute(params![
                object_key,
                renamed.path.as_bytes(),
                renamed.fingerprint.modified.map(time::to_ns),
                mime,
                self.now.as_millisecond(),
            ])?;
        Ok(())
    }
}
