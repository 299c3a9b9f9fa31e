//! Entries that are written together, of which one may have what another one wants: the value of the
//! bucket's unique key. They take turns, until none can let go of anything more.

use rusqlite::{OptionalExtension as _, params};

use super::{
    Result, blobs,
    commit::{DELETED, Taken, Work},
    dead_letters::Failure,
    rejudge::{Rejudged, Reshaped},
    renames::Moved,
    syncs, unique_keys,
};
use crate::model::{BlobHash, ErrorType, Version};

/// What is to be written of an entry.
pub(super) enum Write<'a> {
    /// It was fetched; with the key of its blob.
    Take(&'a Taken, i64),
    /// It was decided about anew.
    Rejudge(&'a Rejudged),
    /// It has another name.
    Rename(&'a Moved),
}

impl Work<'_> {
    /// Writes all that can be. Answers what to tell of the rest, whose objects stay as they are and
    /// which the next pass tries again.
    pub(super) fn in_turn(
        &mut self,
        mut writes: Vec<Write<'_>>,
        file_exists: &impl Fn(&BlobHash) -> bool,
    ) -> Result<Vec<Failure>> {
        loop {
            let before = writes.len();
            let mut blocked = Vec::new();
            for write in writes {
                match self.blocked(&write)? {
                    None => self.write(&write, file_exists)?,
                    Some(why) => blocked.push((write, why)),
                }
            }
            if blocked.len() == before {
                let refuse = |(write, why)| self.refuse(write, why, file_exists);
                return blocked.into_iter().map(refuse).collect();
            }
            writes = blocked.into_iter().map(|(write, _)| write).collect();
        }
    }

    fn write(&mut self, write: &Write<'_>, file_exists: &impl Fn(&BlobHash) -> bool) -> Result<()> {
        match write {
            Write::Take(taken, blob_key) => self.take(taken, *blob_key),
            Write::Rejudge(rejudged) => self.rejudge(rejudged, file_exists),
            Write::Rename(moved) => self.rename(moved, file_exists),
        }
    }

    /// What to tell of an entry whose object would have a unique key that another one has.
    fn blocked(&self, write: &Write<'_>) -> Result<Option<String>> {
        match write {
            Write::Take(taken, blob_key) => self.take_blocked(taken, *blob_key),
            Write::Rejudge(rejudged) => {
                self.reshape_blocked(rejudged.entry_key, rejudged.object.as_ref())
            }
            Write::Rename(moved) => self.reshape_blocked(moved.entry_key, moved.object.as_ref()),
        }
    }

    fn take_blocked(&self, taken: &Taken, blob_key: i64) -> Result<Option<String>> {
        let Some(wanted) = taken.shape.as_ref().and_then(|shape| shape.unique_key.as_ref()) else {
            return Ok(None);
        };
        match self.row_of(taken)? {
            Some(row) if row.object_key == DELETED && row.same_version => Ok(None),
            Some(row) if row.object_key != DELETED && !row.is_duplicate => {
                unique_keys::taken(self.tx, row.object_key, wanted)
            }
            // It stands behind an object that is there.
            _ if self.equal_object(blob_key)?.is_some() => Ok(None),
            _ => unique_keys::taken_in(self.tx, self.target.bucket_key, wanted),
        }
    }

    fn reshape_blocked(&self, entry_key: i64, object: Option<&Reshaped>) -> Result<Option<String>> {
        let Some(wanted) = object.and_then(Reshaped::unique_key) else { return Ok(None) };
        let object_key: Option<i64> = self
            .tx
            .prepare_cached("SELECT object_key FROM entries WHERE entry_key = ?1")?
            .query_row([entry_key], |row| row.get(0))
            .optional()?;
        object_key.map_or(Ok(None), |key| unique_keys::taken(self.tx, key, wanted))
    }

    /// Leaves an entry's object as it is.
    fn refuse(
        &mut self,
        write: Write<'_>,
        message: String,
        file_exists: &impl Fn(&BlobHash) -> bool,
    ) -> Result<Failure> {
        let error_type = ErrorType::ValidationError;
        match write {
            Write::Take(taken, blob_key) => {
                self.counts.bytes += taken.stored.size;
                self.keep(&taken.id)?;
                blobs::maybe_orphaned(self.tx, blob_key)?;
                Ok(taken.failure(error_type, message))
            }
            Write::Rejudge(rejudged) => self.keep_unsettled(rejudged.entry_key, message),
            Write::Rename(moved) => {
                let failure = Failure {
                    id: moved.id.clone(),
                    path: moved.path.clone(),
                    version: Some(moved.fingerprint.version.clone()),
                    error_type,
                    message,
                };
                let failed =
                    Moved { object: None, failure: Some(failure.clone()), ..moved.clone() };
                self.rename(&failed, file_exists)?;
                Ok(failure)
            }
        }
    }

    /// Notes that an entry is there, and leaves it to the next pass to decide about it.
    fn keep_unsettled(&self, entry_key: i64, message: String) -> Result<Failure> {
        Ok(self
            .tx
            .prepare_cached(
                "UPDATE entries SET pass = ?2 WHERE entry_key = ?1
                 RETURNING source_id, coalesce(path, source_id), version",
            )?
            .query_row(params![entry_key, self.target.pass], |row| {
                Ok(Failure {
                    id: syncs::path(row.get(0)?),
                    path: syncs::path(row.get(1)?),
                    version: Some(Version(row.get(2)?)),
                    error_type: ErrorType::ValidationError,
                    message,
                })
            })?)
    }
}
