//! The order in which entries of a batch are written. An object may need a value of the bucket's
//! unique key that another object of the batch still has, so writes are repeated until none is
//! unblocked.

use rusqlite::{OptionalExtension as _, params};

use super::{
    Result, blobs,
    changes::Changes,
    dead_letters::Failure,
    entries::DELETED,
    fetched::FetchedEntry,
    reevaluate::{Reevaluated, Reshaped},
    renames::Renamed,
    shape::{self, Shape},
    syncs, unique_keys,
};
use crate::model::{BlobHash, ErrorType, UniqueValue, Version};

/// What is written for an entry.
pub(super) enum Write<'a> {
    /// It was fetched; with the key of its blob.
    Fetched(&'a FetchedEntry, i64),
    /// It was evaluated again.
    Reevaluated(&'a Reevaluated),
    /// It has a new name.
    Renamed(&'a Renamed),
}

impl Changes<'_> {
    /// Writes all that can be written. Returns the failures of the rest, whose objects stay as they
    /// are and which the next pass tries again.
    pub(super) fn write_in_order(
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
            Write::Fetched(entry, blob_key) => self.apply_fetched(entry, *blob_key),
            Write::Reevaluated(reevaluated) => self.reevaluate(reevaluated, file_exists),
            Write::Renamed(renamed) => self.rename(renamed, file_exists),
        }
    }

    /// Why an entry cannot be written now: its object would have a unique key that another one has.
    fn blocked(&self, write: &Write<'_>) -> Result<Option<String>> {
        match write {
            Write::Fetched(entry, blob_key) => self.fetched_blocked(entry, *blob_key),
            Write::Reevaluated(Reevaluated { own: Some(own), .. }) => match own.unique_key() {
                Some(wanted) => unique_keys::taken_in(self.tx, self.target.bucket_key, wanted),
                None => Ok(None),
            },
            Write::Reevaluated(reevaluated) => {
                self.reshape_blocked(reevaluated.entry_key, reevaluated.object.as_ref())
            }
            Write::Renamed(renamed) => {
                self.reshape_blocked(renamed.entry_key, renamed.object.as_ref())
            }
        }
    }

    fn fetched_blocked(&self, entry: &FetchedEntry, blob_key: i64) -> Result<Option<String>> {
        let Some(shape) = entry.shape.as_deref() else { return Ok(None) };
        let Some(wanted) = &shape.unique_key else { return Ok(None) };
        match self.row_of(entry)? {
            Some(row) if row.is_left_alone() => Ok(None),
            Some(row) if row.object_key != DELETED && !row.is_duplicate => {
                self.own_key_blocked(row.object_key, shape)
            }
            Some(_) => self.new_key_blocked(wanted, blob_key),
            None => match self.in_trash(entry)? {
                Some(trashed) if !trashed.by_sync => Ok(None),
                Some(_) => unique_keys::taken_in(self.tx, self.target.bucket_key, wanted),
                None => self.new_key_blocked(wanted, blob_key),
            },
        }
    }

    /// The same for an object that is yet to be made, unless the entry shares an existing one.
    fn new_key_blocked(&self, wanted: &UniqueValue, blob_key: i64) -> Result<Option<String>> {
        match self.equal_object(blob_key)? {
            Some(_) => Ok(None),
            None => unique_keys::taken_in(self.tx, self.target.bucket_key, wanted),
        }
    }

    /// The same for an object that is there: what people wrote to it counts.
    fn own_key_blocked(&self, object_key: i64, shape: &Shape) -> Result<Option<String>> {
        match shape::unique_key(self.tx, object_key, shape)? {
            Some(wanted) => unique_keys::taken(self.tx, object_key, &wanted),
            None => Ok(None),
        }
    }

    fn reshape_blocked(&self, entry_key: i64, object: Option<&Reshaped>) -> Result<Option<String>> {
        let Some(shape) = object.and_then(|object| object.shape.as_deref()) else {
            return Ok(None);
        };
        if shape.unique_key.is_none() {
            return Ok(None);
        }
        let object_key: Option<i64> = self
            .tx
            .prepare_cached("SELECT object_key FROM entries WHERE entry_key = ?1")?
            .query_row([entry_key], |row| row.get(0))
            .optional()?;
        match object_key.filter(|key| *key > DELETED) {
            Some(key) => self.own_key_blocked(key, shape),
            None => Ok(None),
        }
    }

    /// Leaves an entry's object as it is and returns the failure.
    fn refuse(
        &mut self,
        write: Write<'_>,
        message: String,
        file_exists: &impl Fn(&BlobHash) -> bool,
    ) -> Result<Failure> {
        let error_type = ErrorType::ValidationError;
        match write {
            Write::Fetched(entry, blob_key) => {
                self.counts.bytes += entry.stored.size;
                self.mark_seen(&entry.id)?;
                blobs::maybe_orphaned(self.tx, blob_key)?;
                Ok(entry.failure(error_type, message))
            }
            Write::Reevaluated(reevaluated) => self.mark_seen_only(reevaluated.entry_key, message),
            Write::Renamed(renamed) => {
                let failure = Failure {
                    id: renamed.id.clone(),
                    path: renamed.path.clone(),
                    version: Some(renamed.fingerprint.version.clone()),
                    error_type,
                    message,
                    passes_by_itself: false,
                    wait: None,
                };
                let failed =
                    Renamed { object: None, failure: Some(failure.clone()), ..renamed.clone() };
                self.rename(&failed, file_exists)?;
                Ok(failure)
            }
        }
    }

    /// Records that an entry exists, and leaves it to the next pass to evaluate it.
    fn mark_seen_only(&self, entry_key: i64, message: String) -> Result<Failure> {
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
                    passes_by_itself: false,
                    wait: None,
                })
            })?)
    }
}
