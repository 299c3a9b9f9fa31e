//! A copy of the whole database as it is at one moment, made while others write, and what is read
//! from such a copy. It is one file: it has no log beside it until it is put to use.

use std::{collections::BTreeSet, path::Path};

use rusqlite::{Connection, OpenFlags, backup::Backup, backup::StepResult, config::DbConfig};

use super::{
    Result, StoreError,
    blobs::{self, Blob},
    functions, migrate,
    open::{self, RESTORING_FILE},
    secrets,
};
use crate::model::BlobHash;

/// The version of the schema that this program writes.
pub const SCHEMA_VERSION: usize = migrate::LATEST;

/// Blobs that are read at once.
const PAGE: u32 = 1024;

/// A copy, open.
#[derive(Debug)]
pub struct Snapshot {
    connection: Connection,
}

/// Copies the database behind `source` to a new file. Writers go on meanwhile; the copy is what was
/// committed when this began.
///
/// # Errors
/// SQLite's.
pub fn copy(source: &Connection, path: &Path) -> Result<()> {
    let mut target = Connection::open(path)?;
    let copying = Backup::new(source, &mut target)?;
    // All pages in one step: it reads one snapshot, and never has to start over.
    match copying.step(-1)? {
        StepResult::Done => Ok(()),
        other => Err(StoreError::nonsense("snapshot", format!("copying ended with {other:?}"))),
    }
}

impl Snapshot {
    /// Opens a copy.
    ///
    /// # Errors
    /// When it is no database of ours, or a newer one.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        functions::register(&connection)?;
        migrate::version_of(&connection, path)?;
        Ok(Self { connection })
    }

    /// Removes what belongs to running processes: leases and browser sessions. With
    /// `without_secrets` also the sealed credentials. What is removed is overwritten.
    ///
    /// # Errors
    /// SQLite's.
    pub fn strip(&self, without_secrets: bool) -> Result<()> {
        self.connection.execute_batch(
            "PRAGMA secure_delete = ON;
             PRAGMA journal_mode = DELETE;
             DELETE FROM leases;
             DELETE FROM sessions;",
        )?;
        if without_secrets {
            secrets::erase_all(&self.connection)?;
        }
        Ok(())
    }

    /// Checks the structure of every table and index, and every reference.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        check(&self.connection)
    }

    /// Names of the keys that open the credentials in it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn key_ids(&self) -> Result<BTreeSet<String>> {
        secrets::key_ids(&self.connection)
    }

    /// All blobs, a page at a time.
    ///
    /// # Errors
    /// SQLite's, or the visitor's.
    pub fn each_page<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(&[Blob]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after = 0;
        loop {
            let page = blobs::page(&self.connection, None, after, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.key;
            visit(&page)?;
        }
    }

    /// Whether the bytes of an inline blob are what its name says.
    ///
    /// # Errors
    /// SQLite's.
    pub fn is_whole(&self, blob: &Blob) -> Result<bool> {
        let bytes = blobs::inline_bytes(&self.connection, blob.key)?;
        Ok(bytes.is_some_and(|bytes| BlobHash::of(&bytes) == blob.hash))
    }

    /// Whether a file of that hash belongs to it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn has_file(&self, hash: &BlobHash) -> Result<bool> {
        Ok(matches!(blobs::locate(&self.connection, hash)?, Some(blobs::BlobLocation::File { .. })))
    }

    /// Gives it the journal that a database in use has.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_to_use(self) -> Result<()> {
        self.connection.execute_batch("PRAGMA journal_mode = WAL;")?;
        Ok(())
    }
}

/// Looks at a database without changing it: checks it, and says which version wrote it.
///
/// # Errors
/// When it is damaged, newer, or cannot be opened.
pub fn inspect(path: &Path) -> Result<usize> {
    let folder = path.parent().unwrap_or(path);
    if folder.join(RESTORING_FILE).exists() {
        return Err(StoreError::HalfRestored { path: folder.to_owned() });
    }
    let connection = open::connect_reader(path, true)?;
    let version = migrate::version_of(&connection, path)?;
    check(&connection)?;
    Ok(version)
}

/// Checks the structure of every table and index, and every reference.
///
/// # Errors
/// [`StoreError::Corrupt`] with the first thing that is wrong.
pub fn check(connection: &Connection) -> Result<()> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Corrupt { reason: found });
    }
    migrate::check_references(connection)
}
