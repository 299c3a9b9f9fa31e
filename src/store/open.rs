//! Opening the database: the directory, the settings of a connection, the schema.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use rustix::{
    fs::{Access, AtFlags, CWD},
    io::Errno,
};

use super::{Result, StoreError, functions, log, migrate};

/// The database's name in the data directory.
pub const DATABASE_FILE: &str = "catchment.db";

/// A file that is in the data directory while a restore fills it.
pub const RESTORING_FILE: &str = "restore.incomplete";

/// Prepared statements kept by a connection: more than the writer ever uses.
const STATEMENT_CACHE: usize = 128;

/// How long to wait for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes sure that the data directory is there, ours and private. Returns the database's path.
pub(super) fn prepare(data_dir: &Path) -> Result<PathBuf> {
    let wrong = |error| StoreError::DataDir { path: data_dir.to_owned(), error };
    match fs::metadata(data_dir) {
        Ok(found) if !found.is_dir() => {
            return Err(wrong(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(found) => {
            if !data_dir.join(DATABASE_FILE).exists() {
                refuse_anothers(&found).map_err(wrong)?;
            }
            if found.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(data_dir, fs::Permissions::from_mode(0o700)).map_err(wrong)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(wrong)?;
        }
        Err(error) => return Err(wrong(error)),
    }
    if data_dir.join(RESTORING_FILE).exists() {
        return Err(StoreError::HalfRestored { path: data_dir.to_owned() });
    }
    let path = data_dir.join(DATABASE_FILE);
    // SQLite's own word for a directory it may not write is "unable to open database file".
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| StoreError::DataDir { path: path.clone(), error })?;
    Ok(path)
}

/// Refuses a folder that is there already, without a database of ours, and that belongs to somebody
/// else or to everybody: it is not ours to close.
fn refuse_anothers(found: &fs::Metadata) -> io::Result<()> {
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    // The sticky bit is for folders that many write to.
    let is_everybodys = found.permissions().mode() & 0o1002 != 0;
    if is_ours && !is_everybodys {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it belongs to others too: name a folder of your own, or a new one, which is then made",
    ))
}

/// Whether nothing can be written in the data directory: it is on a medium that is mounted to be
/// read only, or its permissions are.
#[must_use]
pub fn is_read_only(data_dir: &Path) -> bool {
    [data_dir.to_owned(), data_dir.join(DATABASE_FILE)].iter().any(|path| {
        let access = rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS);
        matches!(access, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    })
}

/// Finds the database of a data directory in which nothing can be written.
pub(super) fn find(data_dir: &Path) -> Result<PathBuf> {
    if data_dir.join(RESTORING_FILE).exists() {
        return Err(StoreError::HalfRestored { path: data_dir.to_owned() });
    }
    let path = data_dir.join(DATABASE_FILE);
    fs::File::open(&path).map_err(|error| StoreError::DataDir { path: path.clone(), error })?;
    let connection = connect_where_nothing_can_be_written(&path)?;
    match migrate::version_of(&connection, &path)? {
        migrate::LATEST => Ok(path),
        found => Err(StoreError::Older { path, found }),
    }
}

/// A connection to a database beside which nothing can be written, as SQLite can open it
/// (<https://www.sqlite.org/wal.html#read_only_databases>).
pub(super) fn connect_where_nothing_can_be_written(path: &Path) -> Result<Connection> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        fs::metadata(name).ok()
    };
    let has_log = beside("-wal").is_some_and(|facts| facts.len() > 0);
    let is_indexed = beside("-shm").is_some();
    let mut address = format!("file:{}?mode=ro", percent_encode(path.as_os_str().as_bytes(), PATH));
    match (has_log, is_indexed) {
        // All there is is in the database, and who cannot write has no log to begin.
        (false, _) => address.push_str("&immutable=1"),
        (true, true) => {}
        // The index of the log is made in memory, for which SQLite wants the database for itself:
        // without locks, which cannot be had without writing.
        (true, false) => address.push_str("&vfs=unix-none"),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(address, flags)?;
    if has_log && !is_indexed {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    set_up(connection)
}

/// What of a path means itself in SQLite's addresses.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// What all connections have in common.
fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    set_up(connection)
}

fn set_up(connection: Connection) -> Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // A plan stands for all values that are bound: without this, SQLite parses and plans a kept
    // statement anew whenever others are, and a tenth of what small runs cost went there.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    functions::register(&connection)?;
    Ok(connection)
}

/// The one connection that writes. Creates the schema or brings it up to date.
pub(super) fn connect_writer(path: &Path) -> Result<Connection> {
    let mut connection = connect(path)?;
    // Looked at before anything is written: a newer database is left as it is.
    if migrate::version_of(&connection, path)? == 0 {
        configure(&connection)
            .map_err(|error| StoreError::Damaged { path: path.to_owned(), error })?;
    }
    migrate::bring_up_to_date(&mut connection, path)?;
    connection.execute_batch(
        // FULL: a commit is on the disk when it returns. A log that grew longer than usual is cut
        // back when it starts over.
        "PRAGMA synchronous = FULL;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -8192;
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;",
    )?;
    log::copy_beside(&mut connection, path, connect_copier)?;
    Ok(connection)
}

/// The settings that must be made before the first table is.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        // A page of 16 KiB holds a few small blobs whole, where one of 4 KiB would hold the head of
        // each and chain the rest: a fifth less work for 20,000 of 4 KiB, measured.
        "PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;",
    )
}

/// A connection that copies the log back. Needs no pages in memory.
pub(super) fn connect_copier(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = 0;")?;
    Ok(connection)
}

/// A connection that can only read; `can_write` says whether this process can write at all.
pub(super) fn connect_reader(path: &Path, can_write: bool) -> Result<Connection> {
    let connection =
        if can_write { connect(path)? } else { connect_where_nothing_can_be_written(path)? };
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -2048;")?;
    Ok(connection)
}
