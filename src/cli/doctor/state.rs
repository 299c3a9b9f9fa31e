//! What is in the data directory: whether it may be used, whether the database is whole, whether
//! the keys are there, and whether the sources of syncs can be reached.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};

use super::{Finding, machine};
use crate::{
    clock::{Clock as _, SystemClock},
    config::Config,
    engine::Engine,
    secrets::SecretsError,
    sources::{self, Registry},
    store::{
        DATABASE_FILE, StoreError, jobs, schedule, secrets,
        snapshot::{self, SCHEMA_VERSION},
        syncs::{self, Sync},
    },
};

/// How long a source may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Sources that are tried at once.
const AT_ONCE: usize = 8;

const DAMAGED: &str = "Stop the server and copy the data directory as it is. Then restore the last \
                       backup into an empty one (`catchment restore`). Without a backup: move \
                       catchment.db and its -wal and -shm aside, keep blobs/, and run the syncs \
                       again; docs/recovery.md says what that brings back and what is lost";

/// Whether the data directory is ours to use, and nobody else's to read.
pub(super) fn permissions(data_dir: &Path) -> Finding {
    const CHECK: &str = "permissions";
    let shown = data_dir.display();
    let facts = match fs::metadata(data_dir) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("{shown} is not there yet: the first sync makes it");
            return Finding::ok(CHECK, message);
        }
        Err(error) => {
            let fix = format!("Let yourself in: sudo chown -R \"$USER\" {shown}");
            return Finding::error(CHECK, format!("{shown}: {error}"), fix);
        }
    };
    if !facts.is_dir() {
        let fix = "Choose another data directory with CATCHMENT_DATA_DIR";
        return Finding::error(CHECK, format!("{shown} is not a folder"), fix);
    }
    let own = rustix::process::geteuid().as_raw();
    let strange = ["", DATABASE_FILE, "blobs", "staging", "workers", "token"]
        .iter()
        .map(|name| data_dir.join(name))
        .find(|path| fs::metadata(path).is_ok_and(|facts| facts.uid() != own));
    if let Some(path) = strange {
        return Finding::error(
            CHECK,
            format!("{} belongs to another user than the one that runs this", path.display()),
            format!(
                "Run Catchment as that user (for the system service: sudo -u catchment), or make it \
                 yours: sudo chown -R \"$USER\" {shown}"
            ),
        );
    }
    let probe = data_dir.join(format!("doctor.{}", std::process::id()));
    let written = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe));
    if let Err(error) = written {
        let fix = format!("Let yourself write there: chmod u+rwx {shown}");
        return Finding::error(CHECK, format!("{shown} cannot be written: {error}"), fix);
    }
    if facts.permissions().mode() & 0o077 != 0 {
        let fix = format!("chmod 700 {shown}");
        return Finding::warning(CHECK, format!("others may look into {shown}"), fix);
    }
    Finding::ok(CHECK, format!("{shown} is yours alone"))
}

/// Everything that takes the database to know.
pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let now = SystemClock.now();
    let path = config.data_dir.join(DATABASE_FILE);
    if !path.exists() {
        return vec![machine::clock(now, None)];
    }
    let checked = tokio::task::spawn_blocking(move || snapshot::inspect(&path)).await;
    let version = match checked.unwrap_or(Err(StoreError::Stopped)) {
        Ok(version) => version,
        Err(error) => return vec![database_error(&error), machine::clock(now, None)],
    };
    if version < SCHEMA_VERSION {
        let message = "an older version wrote it; the next command brings it up to date";
        let fix =
            "Run `catchment backup` first if you may want to go back, then `catchment status`";
        return vec![Finding::warning("database", message, fix), machine::clock(now, None)];
    }
    let engine = match Engine::open(config, Arc::new(SystemClock), Arc::new(Registry)) {
        Ok(engine) => engine,
        Err(error) => {
            let fix = "See the other findings, or restore a backup";
            return vec![Finding::error("database", error.to_string(), fix)];
        }
    };
    let mut findings = vec![Finding::ok("database", "whole, by SQLite's own check")];
    match with_engine(&engine, config).await {
        Ok(more) => findings.extend(more),
        Err(error) => findings.push(database_error(&error)),
    }
    findings
}

fn database_error(error: &StoreError) -> Finding {
    let fix = match error {
        StoreError::Newer { .. } => "Install the newer version again",
        StoreError::HalfRestored { .. } => "Run the same `catchment restore` again",
        _ => DAMAGED,
    };
    Finding::error("database", error.to_string(), fix)
}

async fn with_engine(engine: &Engine, config: &Config) -> Result<Vec<Finding>, StoreError> {
    let mut findings = vec![blobs(engine).await?, keys(engine, config).await?];
    let last = engine.store.read(jobs::last_at).await?;
    findings.push(machine::clock(SystemClock.now(), last));
    let folders = engine.store.read(|db| schedule::folders(db, &sources::watched())).await?;
    let folders: Vec<PathBuf> = folders
        .iter()
        .map(|folder| PathBuf::from(std::ffi::OsStr::from_bytes(&folder.path)))
        .collect();
    let watches = tokio::task::spawn_blocking(move || machine::watches(&folders)).await;
    findings.extend(watches.map_err(|_| StoreError::Stopped)?);
    let all = engine.store.read(syncs::all).await?;
    let tried = stream::iter(all).map(|sync| reach(engine, sync)).buffered(AT_ONCE);
    findings.extend(tried.collect::<Vec<_>>().await);
    Ok(findings)
}

/// Whether the file of every blob is there. Reads none of them, which `verify` does.
async fn blobs(engine: &Engine) -> Result<Finding, StoreError> {
    let (store, files) = (engine.store.clone(), engine.blobs.clone());
    let count = move || {
        let (mut after, mut missing, mut all) = (0, 0_u64, 0_u64);
        loop {
            let page =
                store.read_blocking(|db| crate::store::blobs::page(db, None, after, 1024))?;
            let Some(last) = page.last() else { return Ok((missing, all)) };
            after = last.key;
            all += page.len() as u64;
            let gone = page.iter().filter(|blob| !blob.inline && !files.exists(&blob.hash));
            missing += gone.count() as u64;
        }
    };
    let counted: Result<_, StoreError> =
        tokio::task::spawn_blocking(count).await.map_err(|_| StoreError::Stopped)?;
    let (missing, all) = counted?;
    Ok(match missing {
        0 => Finding::ok("blobs", format!("all {all} are there; `catchment verify` reads them")),
        _ => Finding::error(
            "blobs",
            format!("the files of {missing} of {all} are missing"),
            "`catchment verify --repair` fetches them again from their sources",
        ),
    })
}

/// Whether every key that opens stored credentials can be had.
async fn keys(engine: &Engine, config: &Config) -> Result<Finding, StoreError> {
    const CHECK: &str = "keyring";
    let needed = engine.store.read(secrets::key_ids).await?;
    for id in &needed {
        match engine.vault.key_text(id).await {
            Ok(_) => {}
            Err(SecretsError::Store(error)) => return Err(error),
            Err(error) => {
                return Ok(Finding::error(
                    CHECK,
                    error.to_string(),
                    "Unlock the keyring and try again; or put the key file back from a backup; or \
                     enter the credentials of each connection again",
                ));
            }
        }
    }
    let place = match config.keyring {
        true => "in this computer's keyring, or in the data directory where there is none",
        false => "in the data directory: the keyring is switched off",
    };
    Ok(match needed.len() {
        0 => Finding::ok(CHECK, "no credentials are kept"),
        n => Finding::ok(CHECK, format!("{n} key(s) to stored credentials are there, {place}")),
    })
}

/// Whether the source of a sync answers.
async fn reach(engine: &Engine, sync: Sync) -> Finding {
    const CHECK: &str = "provider";
    let place = sources::address(&sync.location);
    let attempt = async {
        let source = engine.open_source(&sync).await.map_err(|error| error.to_string())?;
        source.probe().await.map_err(|error| error.to_string())
    };
    let tried = tokio::time::timeout(PATIENCE, attempt).await;
    match tried.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs()))) {
        Ok(()) => Finding::ok(CHECK, format!("{place} can be read")),
        Err(error) => Finding::error(
            CHECK,
            format!("{place} cannot be read: {error}"),
            "See that it is there and that the network is up, then its credentials: \
             `catchment sync` of it says more",
        ),
    }
}
