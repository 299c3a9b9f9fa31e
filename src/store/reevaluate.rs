//! Stored entries that are evaluated again under changed settings, without fetching their bytes.

use rusqlite::{OptionalExtension as _, params};

use super::{
    Result, blobs, changes::Changes, entries, entries::HANDED_OVER, fetched::FetchedEntry,
    shape::Shape, stored::Stored, time,
};
use crate::model::{BlobHash, EntryId, EntryPath, Fingerprint, UniqueValue};

/// A stored entry that was evaluated again.
#[derive(Clone, Debug)]
pub struct Reevaluated {
    /// Internal key of its row.
    pub entry_key: i64,
    /// The new shape of its object; `None` where its object is that of another entry.
    pub object: Option<Reshaped>,
    /// The object of its own that it gets, where it has shared another entry's until now.
    pub own: Option<Box<OwnObject>>,
    /// What the listing says of it, if that is something else than is stored.
    pub listing: Option<Box<Relisted>>,
}

/// What a listing says of an entry whose content is the stored one.
#[derive(Clone, Debug)]
pub struct Relisted {
    /// Its path from the root.
    pub path: EntryPath,
    /// The rest.
    pub fingerprint: Fingerprint,
    /// Whether its object gets them, too.
    pub updates_object: bool,
}

/// An object for an entry whose bytes are those of an object that it has shared.
#[derive(Clone, Debug)]
pub struct OwnObject {
    /// The source's name for the entry.
    pub id: EntryId,
    /// The entry's path.
    pub path: EntryPath,
    /// What the listing says about it.
    pub fingerprint: Fingerprint,
    /// Its MIME type, if one is known.
    pub mime: Option<String>,
    /// User metadata as a JSON object, if it has any.
    pub metadata: Option<String>,
    /// What the sync's mapping makes of it; `None` where it has none.
    pub shape: Option<Box<Shape>>,
}

impl OwnObject {
    /// Its value of the bucket's unique key, where the bucket has one.
    pub(super) fn unique_key(&self) -> Option<&UniqueValue> {
        self.shape.as_ref()?.unique_key.as_ref()
    }
}

/// An object whose bytes stay and whose shape is new.
#[derive(Clone, Debug)]
pub struct Reshaped {
    /// What the sync's mapping makes of it; `None` where it has none.
    pub shape: Option<Box<Shape>>,
    /// User metadata, where the source was asked for it.
    pub metadata: Option<String>,
}

impl Reshaped {
    /// Whether files that it needs were collected since they were written.
    pub(super) fn lacks_files(&self, file_exists: &impl Fn(&BlobHash) -> bool) -> bool {
        self.shape.iter().flat_map(|shape| shape.files()).any(|hash| !file_exists(hash))
    }
}

impl Changes<'_> {
    /// Applies what the evaluation of a stored entry found. Where files that it needs were
    /// collected meanwhile, the next run evaluates it again.
    pub(super) fn reevaluate(
        &mut self,
        reevaluated: &Reevaluated,
        file_exists: &impl Fn(&BlobHash) -> bool,
    ) -> Result<()> {
        if let Some(own) = &reevaluated.own {
            return self.separate(reevaluated.entry_key, own, file_exists);
        }
        if let Some(object) = &reevaluated.object
            && object.lacks_files(file_exists)
        {
            self.counts.unchanged += 1;
            return self.mark_evaluated(reevaluated.entry_key, Some(HANDED_OVER)).map(drop);
        }
        let object_key = self.mark_evaluated(reevaluated.entry_key, self.target.mark)?;
        if let Some(object_key) = object_key {
            self.before_change(object_key)?;
        }
        let mut is_updated = match (&reevaluated.object, object_key) {
            (Some(object), Some(object_key)) => self.reshape_stored(object, object_key)?,
            _ => false,
        };
        if let Some(listing) = &reevaluated.listing {
            is_updated |= self.apply_listing(reevaluated.entry_key, listing)?;
        }
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

    /// Gives an entry that shares another entry's object one of its own, with the same bytes. Where
    /// these, or files that it needs, are gone meanwhile, the next run does it.
    fn separate(
        &mut self,
        entry_key: i64,
        own: &OwnObject,
        file_exists: &impl Fn(&BlobHash) -> bool,
    ) -> Result<()> {
        let shared: Option<i64> = self
            .tx
            .prepare_cached(
                "SELECT object_key FROM entries WHERE entry_key = ?1 AND is_duplicate = 1",
            )?
            .query_row([entry_key], |row| row.get(0))
            .optional()?;
        let content = shared.map(|shared| self.content_of(shared)).transpose()?.flatten();
        let mut files = own.shape.iter().flat_map(|shape| shape.files());
        let Some(blob_key) = content.filter(|_| files.all(file_exists)) else {
            self.counts.unchanged += 1;
            return self.mark_evaluated(entry_key, Some(HANDED_OVER)).map(drop);
        };
        let (hash, size) = blobs::hash_and_size(self.tx, blob_key)?;
        let entry = FetchedEntry {
            id: own.id.clone(),
            path: own.path.clone(),
            fingerprint: own.fingerprint.clone(),
            identity: None,
            mime: own.mime.clone(),
            metadata: own.metadata.clone(),
            stored: Stored { hash, size, inline: None },
            shape: own.shape.clone(),
        };
        let object_key = self.next_object_key()?;
        self.insert_object(&entry, object_key, entry_key, blob_key)?;
        self.tx
            .prepare_cached(
                "UPDATE entries SET object_key = ?2, is_duplicate = 0 WHERE entry_key = ?1",
            )?
            .execute([entry_key, object_key])?;
        self.mark_evaluated(entry_key, self.target.mark)?;
        if own.fingerprint.details.is_some() {
            let (path, fingerprint) = (own.path.clone(), own.fingerprint.clone());
            let listing = Relisted { path, fingerprint, updates_object: true };
            self.apply_listing(entry_key, &listing)?;
        }
        self.counts.synced += 1;
        Ok(())
    }

    /// Gives an entry, and the object that it has of its own, its new place and facts. Returns
    /// whether the object has changed.
    fn apply_listing(&self, entry_key: i64, listing: &Relisted) -> Result<bool> {
        let Relisted { path, fingerprint, updates_object } = listing;
        let modified = fingerprint.modified.map(time::to_ns);
        let updated: Option<(i64, bool)> = self
            .tx
            .prepare_cached(
                "UPDATE entries SET path = ?2, version = ?3, modified_ns = ?4, etag = ?5
                 WHERE entry_key = ?1 RETURNING object_key, is_duplicate",
            )?
            .query_row(
                params![
                    entry_key,
                    path.as_bytes(),
                    fingerprint.version.0,
                    modified,
                    fingerprint.etag
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        entries::save_details(self.tx, self.target.fence.sync_key, entry_key, fingerprint)?;
        let Some((object_key, false)) = updated.filter(|_| *updates_object) else {
            return Ok(false);
        };
        let mime = fingerprint.mime.as_deref().or_else(|| path.mime_guess());
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE objects SET path = ?2, modified_ns = ?3, mime = coalesce(?4, mime)
                 WHERE object_key = ?1
                   AND (path, modified_ns, mime) IS NOT (?2, ?3, coalesce(?4, mime))",
            )?
            .execute(params![object_key, path.as_bytes(), modified, mime])?;
        Ok(changed > 0)
    }

    /// Gives an object whose bytes stay its new shape and metadata. Returns whether they have
    /// changed.
    pub(super) fn reshape_stored(&mut self, object: &Reshaped, object_key: i64) -> Result<bool> {
        let Some(blob_key) = self.content_of(object_key)? else { return Ok(false) };
        let is_reshaped = self.reshape(object.shape.as_deref(), object_key, blob_key)?;
        Ok(self.update_metadata(object_key, object.metadata.as_deref())? || is_reshaped)
    }

    /// Records on an entry's row that it was evaluated in this pass; returns its object's key.
    fn mark_evaluated(&self, entry_key: i64, mark: Option<i64>) -> Result<Option<i64>> {
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
