//! Putting a backup back, into a data directory that is empty or that an earlier try has begun to
//! fill. The database comes last: until then no command takes the directory for complete.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::SecretString;

use super::{
    BackupError, Manifest, Moved, Secrets, at,
    bytes::{self, Move},
    make::blocking,
    make_dir, replace,
    seal::Bundle,
    sync_dir, sync_file,
};
use crate::{
    processing::extract::Extractors,
    secrets::put_key_file,
    store::{
        DATABASE_FILE, RESTORING_FILE,
        snapshot::{SCHEMA_VERSION, Snapshot},
    },
};

/// What a restore came to.
#[derive(Debug)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// How the files of blobs came; damaged ones are missing.
    pub moved: Moved,
    /// Whether the secrets came, too.
    pub with_secrets: bool,
}

/// Inspects the backup in `dir`: whether it can be put back, and whether it takes a passphrase.
///
/// # Errors
/// When there is none, or not one for this version.
pub fn inspect(dir: &Path) -> Result<Manifest, BackupError> {
    let manifest =
        Manifest::read(dir)?.ok_or_else(|| BackupError::NoBackup { path: dir.to_owned() })?;
    if manifest.schema > SCHEMA_VERSION {
        return Err(BackupError::Newer { program: manifest.program });
    }
    Ok(manifest)
}

/// Refuses a data directory that holds anything but what an earlier try left.
///
/// # Errors
/// [`BackupError::NotEmpty`], or the system's.
pub fn check_empty(data_dir: &Path) -> Result<(), BackupError> {
    let entries = match fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(data_dir)(error)),
    };
    let is_empty = entries.count() == 0 || data_dir.join(RESTORING_FILE).exists();
    match is_empty {
        true => Ok(()),
        false => Err(BackupError::NotEmpty { path: data_dir.to_owned() }),
    }
}

/// Puts the backup in `dir` back into `data_dir`. Without a passphrase the secrets are left out.
///
/// # Errors
/// When it cannot be put back; the same call again continues. Damaged blobs are no error.
pub async fn restore(
    dir: &Path,
    data_dir: &Path,
    passphrase: Option<SecretString>,
) -> Result<Restored, BackupError> {
    let (dir, data_dir) = (dir.to_owned(), data_dir.to_owned());
    blocking(move || {
        let manifest = inspect(&dir)?;
        check_empty(&data_dir)?;
        let bundle = match (&manifest.secrets, &passphrase) {
            (Secrets::Sealed(sealed), Some(passphrase)) => {
                Some(sealed.open(passphrase, &manifest.installation)?)
            }
            _ => None,
        };
        let (with_secrets, without) =
            (bundle.is_some(), matches!(manifest.secrets, Secrets::Sealed(_)) && bundle.is_none());
        let draft = begin(&dir, &data_dir, &manifest)?;
        let snapshot = Snapshot::open(&draft)?;
        snapshot.check()?;
        if without {
            snapshot.strip(true)?;
        }
        let moved = bring_blobs(&snapshot, &dir, &data_dir)?;
        put_files(&data_dir, &manifest, bundle.unwrap_or_default())?;
        snapshot.put_to_use()?;
        end(&draft, &data_dir)?;
        Ok(Restored { manifest, moved, with_secrets })
    })
    .await
}

/// Marks the data directory as incomplete, and copies the state into it, not under its name yet.
fn begin(dir: &Path, data_dir: &Path, manifest: &Manifest) -> Result<PathBuf, BackupError> {
    make_dir(data_dir)?;
    let marker = data_dir.join(RESTORING_FILE);
    let opened =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&marker);
    opened
        .and_then(|mut file| writeln!(file, "A restore of {} is under way.", dir.display()))
        .map_err(at(&marker))?;
    sync_dir(data_dir)?;

    let (from, draft) =
        (dir.join("state").join(&manifest.state.name), data_dir.join("restoring.db"));
    for end in ["", "-wal", "-shm", "-journal"] {
        let stale = data_dir.join(format!("restoring.db{end}"));
        match fs::remove_file(&stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&stale)(error)),
            _ => {}
        }
    }
    if reflink_copy::reflink(&from, &draft).is_err() {
        fs::copy(&from, &draft).map_err(at(&from))?;
    }
    if bytes::hash_of(&draft).map_err(at(&draft))?.to_string() != manifest.state.hash {
        let reason = "its bytes are not what was written".to_owned();
        return Err(BackupError::Unreadable { path: from, reason });
    }
    Ok(draft)
}

fn bring_blobs(snapshot: &Snapshot, dir: &Path, data_dir: &Path) -> Result<Moved, BackupError> {
    let drafts = data_dir.join("restoring");
    make_dir(&drafts)?;
    make_dir(&data_dir.join("blobs"))?;
    let work = Move { from: dir, to: data_dir, drafts: &drafts, checks_all: true };
    let mut moved = Moved::default();
    snapshot.each_page(|page| {
        moved.add(work.bring(page)?);
        Ok::<_, BackupError>(())
    })?;
    bytes::sync_names(data_dir)?;
    fs::remove_dir_all(&drafts).map_err(at(&drafts))?;
    Ok(moved)
}

/// Settings and secrets.
fn put_files(data_dir: &Path, manifest: &Manifest, bundle: Bundle) -> Result<(), BackupError> {
    if let Some(config) = &manifest.config {
        replace(&data_dir.join("config.toml"), config.as_bytes())?;
    }
    for (id, text) in &bundle.keys {
        let text = SecretString::from(text.as_str().to_owned());
        // A name from outside, made into one of a file.
        if !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(BackupError::Seal(format!("{id:?} is no name of a key")));
        }
        put_key_file(data_dir, id, &text).map_err(at(data_dir))?;
    }
    for (name, text) in &bundle.files {
        let bytes = BASE64_STANDARD.decode(text.as_bytes());
        let bytes = bytes.map_err(|error| BackupError::Seal(error.to_string()))?;
        if name.contains(['/', '\0']) || name.starts_with('.') {
            return Err(BackupError::Seal(format!("{name:?} is no name of a file")));
        }
        replace(&data_dir.join(name), &bytes)?;
    }
    put_extractors(data_dir, &bundle)
}

/// The owner's extractors, with the permissions that their files had. Their folder is the owner's
/// alone: they are refused in one that others may write.
fn put_extractors(data_dir: &Path, bundle: &Bundle) -> Result<(), BackupError> {
    if bundle.extractors.is_empty() {
        return Ok(());
    }
    let folder = Extractors::own_folder(data_dir);
    make_dir(&folder)?;
    for (name, file) in &bundle.extractors {
        let bytes = BASE64_STANDARD.decode(file.bytes.as_bytes());
        let bytes = bytes.map_err(|error| BackupError::Seal(error.to_string()))?;
        if name.contains(['/', '\0']) || name.starts_with('.') {
            return Err(BackupError::Seal(format!("{name:?} is no name of a file")));
        }
        let path = folder.join(name);
        replace(&path, &bytes)?;
        let permissions = fs::Permissions::from_mode(file.mode & 0o777);
        fs::set_permissions(&path, permissions).map_err(at(&path))?;
    }
    sync_dir(&folder)
}

/// Gives the database its name, which makes the data directory complete.
fn end(draft: &Path, data_dir: &Path) -> Result<(), BackupError> {
    sync_file(draft)?;
    let database = data_dir.join(DATABASE_FILE);
    fs::rename(draft, &database).map_err(at(&database))?;
    sync_dir(data_dir)?;
    let marker = data_dir.join(RESTORING_FILE);
    fs::remove_file(&marker).map_err(at(&marker))?;
    sync_dir(data_dir)
}
