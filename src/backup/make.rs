//! Making a backup, or adding to one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{
    BackupError, FORMAT, MANIFEST_FILE, Manifest, Moved, Secrets, StateFile, at,
    bytes::{self, Move},
    make_dir,
    seal::{Bundle, ExtractorFile},
    sync_dir, sync_file,
};
use crate::{
    blobs,
    engine::Engine,
    model::BlobHash,
    processing::extract::Extractors,
    secrets::SecretsError,
    store::{
        StoreError, installation, secrets,
        snapshot::{self, SCHEMA_VERSION, Snapshot},
    },
};

/// Files of the data directory that let somebody in.
const SECRET_FILES: &[&str] = &["token", "links.key"];

/// How often the state is copied again because the key to credentials was changed meanwhile.
const MOST_ATTEMPTS: usize = 3;

/// What to do with secrets.
#[derive(Clone, Debug)]
pub enum Keep {
    /// Seal them with this.
    Sealed(SecretString),
    /// Leave them out.
    LeaveOut,
}

/// What a backup came to.
#[derive(Debug)]
pub struct Made {
    /// What is in it.
    pub manifest: Manifest,
    /// How the files of blobs came.
    pub moved: Moved,
    /// Bytes of the database.
    pub state_bytes: u64,
    /// Blobs that went, since nothing needs them any more.
    pub removed: u64,
    /// How many files of the owner's extractors were left out with the secrets.
    pub extractors_left_out: usize,
    /// Keys to credentials that could not be had, and why.
    pub missing_keys: Vec<String>,
}

/// Whether there is anything secret to seal.
///
/// # Errors
/// The store's.
pub async fn has_secrets(engine: &Engine) -> Result<bool, BackupError> {
    let has_files = SECRET_FILES.iter().any(|name| engine.data_dir().join(name).exists());
    let has_files = has_files || !extractors(engine.data_dir())?.is_empty();
    Ok(has_files || !engine.store.read(secrets::key_ids).await?.is_empty())
}

/// Makes a backup in `dir`, or adds what is new to the one that is there. `checks_all` reads again
/// what earlier ones brought.
///
/// # Errors
/// When it cannot be made; the one before is then as good as it was. Damaged blobs are no error.
pub async fn make(
    engine: &Engine,
    dir: &Path,
    keep: Keep,
    checks_all: bool,
) -> Result<Made, BackupError> {
    let installation = engine.store.read(installation::read).await?.organization_id;
    prepare(dir, engine.data_dir(), &installation)?;
    let files = engine.blobs.clone();
    let kept = blocking(move || Ok(files.keep_all()?)).await?;

    let draft = dir.join("incoming/state.db");
    let without_secrets = matches!(keep, Keep::LeaveOut);
    let (bundle, missing_keys) = copy_state(engine, &draft, without_secrets).await?;
    let extractors_left_out = if without_secrets { bundle.extractors.len() } else { 0 };
    let secrets = match keep {
        _ if bundle.is_empty() => Secrets::None,
        Keep::LeaveOut => Secrets::LeftOut,
        Keep::Sealed(passphrase) => Secrets::Sealed(bundle.seal(&passphrase, &installation)?),
    };
    let config = read_if_there(&engine.data_dir().join("config.toml"))?;
    let made_at = engine.clock().now();

    let (dir, data_dir) = (dir.to_owned(), engine.data_dir().to_owned());
    blocking(move || {
        let snapshot = Snapshot::open(&draft)?;
        snapshot.check()?;
        let moved = bring_blobs(&snapshot, &data_dir, &dir, checks_all)?;
        drop(kept);
        let state = put_state(&draft, &dir)?;
        let state_bytes = state.size;
        let manifest = Manifest {
            format: FORMAT,
            made_at,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            schema: SCHEMA_VERSION,
            installation,
            state,
            config: config.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            secrets,
            damaged: moved.damaged.iter().map(BlobHash::to_string).collect(),
        };
        manifest.write(&dir)?;
        let removed = remove_the_rest(&snapshot, &manifest, &dir)?;
        Ok(Made { manifest, moved, state_bytes, removed, extractors_left_out, missing_keys })
    })
    .await
}

/// Makes the folder ready, or refuses one that is no place for this backup.
fn prepare(dir: &Path, data_dir: &Path, installation: &str) -> Result<(), BackupError> {
    let refused = |reason| Err(BackupError::Place { path: dir.to_owned(), reason });
    make_dir(dir)?;
    let (here, there) = (real(dir)?, real(data_dir)?);
    if here.starts_with(&there) || there.starts_with(&here) {
        return refused("is the data directory, in it or around it");
    }
    match Manifest::read(dir)? {
        Some(before) if before.installation != installation => {
            return refused("holds the backup of another installation");
        }
        None if !is_ours(dir)? => return refused("is not empty, and holds no backup"),
        _ => {}
    }
    let incoming = dir.join("incoming");
    match fs::remove_dir_all(&incoming) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&incoming)(error)),
        _ => {}
    }
    ["incoming", "state", "blobs"].iter().try_for_each(|name| make_dir(&dir.join(name)))
}

/// Whether there is nothing in a folder but what a first backup that was cut short leaves.
fn is_ours(dir: &Path) -> Result<bool, BackupError> {
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let name = entry.map_err(at(dir))?.file_name();
        let ours = ["incoming", "state", "blobs", MANIFEST_FILE, "backup.new"];
        if !ours.iter().any(|ours| name == *ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn real(path: &Path) -> Result<PathBuf, BackupError> {
    path.canonicalize().map_err(at(path))
}

/// Copies the database, and gathers the secrets that belong to the copy.
async fn copy_state(
    engine: &Engine,
    draft: &Path,
    without_secrets: bool,
) -> Result<(Bundle, Vec<String>), BackupError> {
    let mut attempt = 1;
    loop {
        let path = draft.to_owned();
        engine.store.read(move |db| snapshot::copy(db, &path)).await?;
        let path = draft.to_owned();
        let needed = blocking(move || {
            let snapshot = Snapshot::open(&path)?;
            let needed = snapshot.key_ids()?;
            snapshot.strip(without_secrets)?;
            Ok(needed)
        })
        .await?;
        let (bundle, missing) = gather(engine, &needed).await?;
        // A key that is gone because another one was made meanwhile: the next copy needs that one.
        let changed = engine.store.read(secrets::key_ids).await? != needed;
        if missing.is_empty() || !changed || attempt == MOST_ATTEMPTS {
            return Ok((bundle, missing));
        }
        attempt += 1;
        fs::remove_file(draft).map_err(at(draft))?;
    }
}

/// All secrets of the data directory; and what became of keys that cannot be had.
async fn gather(
    engine: &Engine,
    needed: &BTreeSet<String>,
) -> Result<(Bundle, Vec<String>), BackupError> {
    let (mut bundle, mut missing) = (Bundle::default(), Vec::new());
    for id in needed {
        match engine.vault.key_text(id).await {
            Ok(text) => {
                bundle.keys.insert(id.clone(), Zeroizing::new(text.expose_secret().to_owned()));
            }
            Err(SecretsError::Store(error)) => return Err(error.into()),
            Err(error) => missing.push(error.to_string()),
        }
    }
    for name in SECRET_FILES {
        if let Some(bytes) = read_if_there(&engine.data_dir().join(name))? {
            let bytes = Zeroizing::new(bytes);
            let text = Zeroizing::new(BASE64_STANDARD.encode(&*bytes));
            bundle.files.insert((*name).to_owned(), text);
        }
    }
    bundle.extractors = extractors(engine.data_dir())?;
    Ok((bundle, missing))
}

/// The owner's extractors, with the permissions that their files have.
fn extractors(data_dir: &Path) -> Result<BTreeMap<String, ExtractorFile>, BackupError> {
    let folder = Extractors::own_folder(data_dir);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(at(&folder)(error)),
    };
    let mut all = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(at(&folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| name.ends_with(".toml")) else { continue };
        let facts = fs::metadata(&path).map_err(at(&path))?;
        if facts.is_file() {
            let bytes = Zeroizing::new(fs::read(&path).map_err(at(&path))?);
            let bytes = Zeroizing::new(BASE64_STANDARD.encode(&*bytes));
            let mode = facts.permissions().mode() & 0o777;
            all.insert(name.to_owned(), ExtractorFile { mode, bytes });
        }
    }
    Ok(all)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, BackupError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Brings the files of all blobs, and checks those that are in the database.
fn bring_blobs(
    snapshot: &Snapshot,
    data_dir: &Path,
    dir: &Path,
    checks_all: bool,
) -> Result<Moved, BackupError> {
    let drafts = dir.join("incoming");
    let work = Move { from: data_dir, to: dir, drafts: &drafts, checks_all };
    let mut moved = Moved::default();
    snapshot.each_page(|page| {
        moved.add(work.bring(page)?);
        for blob in page.iter().filter(|blob| blob.inline) {
            if !snapshot.is_whole(blob)? {
                moved.damaged.push(blob.hash);
            }
        }
        Ok::<_, BackupError>(())
    })?;
    bytes::sync_names(dir)?;
    Ok(moved)
}

/// Gives the copy of the database its name.
fn put_state(draft: &Path, dir: &Path) -> Result<StateFile, BackupError> {
    sync_file(draft)?;
    let size = fs::metadata(draft).map_err(at(draft))?.len();
    let hash = bytes::hash_of(draft).map_err(at(draft))?.to_string();
    let name = format!("{}.db", ulid::Ulid::generate());
    let folder = dir.join("state");
    fs::rename(draft, folder.join(&name)).map_err(at(&folder))?;
    sync_dir(&folder)?;
    Ok(StateFile { name, size, hash })
}

/// Removes what only earlier backups needed; says how many blobs that were.
fn remove_the_rest(
    snapshot: &Snapshot,
    manifest: &Manifest,
    dir: &Path,
) -> Result<u64, BackupError> {
    let folder = dir.join("state");
    for entry in fs::read_dir(&folder).map_err(at(&folder))? {
        let entry = entry.map_err(at(&folder))?;
        if entry.file_name() != manifest.state.name.as_str() {
            fs::remove_file(entry.path()).map_err(at(&entry.path()))?;
        }
    }
    let mut removed = 0;
    blobs::each_file(dir, |hash, _| {
        if !snapshot.has_file(&hash)? {
            let path = blobs::file_of(dir, &hash);
            fs::remove_file(&path).map_err(at(&path))?;
            removed += 1;
        }
        Ok::<_, BackupError>(())
    })?;
    Ok(removed)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
}
