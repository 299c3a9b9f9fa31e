//! Where keys are kept: the keyring where there is one, else a file each, beside the database and
//! not in it.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use zeroize::Zeroizing;

use super::{Keyring, SecretsError};

/// What a key file says to those who find it.
const HEAD: &str = "# The key to the credentials that Catchment keeps. With this file and the \
                    database they can be read;\n# without it they have to be entered again.\n";

/// A key and its name. Never printed, wiped when dropped.
pub(super) struct Key {
    id: String,
    bytes: SecretBox<[u8; 32]>,
}

impl Key {
    pub(super) fn generate() -> Result<Self, SecretsError> {
        let mut bytes = Box::new([0; 32]);
        getrandom::fill(&mut bytes[..]).map_err(SecretsError::NoRandomness)?;
        Ok(Self { id: format!("key_{}", ulid::Ulid::generate()), bytes: SecretBox::new(bytes) })
    }

    /// Reads the text that [`Key::to_text`] made.
    fn from_text(id: &str, text: &SecretString, place: &str) -> Result<Self, SecretsError> {
        let damaged =
            || SecretsError::KeyDamaged { key_id: id.to_owned(), place: place.to_owned() };
        let line = text.expose_secret().lines().find(|line| !line.starts_with('#'));
        let bytes = BASE64_STANDARD.decode(line.unwrap_or_default().trim());
        let bytes = Zeroizing::new(bytes.map_err(|_| damaged())?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| damaged())?;
        Ok(Self { id: id.to_owned(), bytes: SecretBox::new(Box::new(bytes)) })
    }

    pub(super) fn to_text(&self) -> SecretString {
        BASE64_STANDARD.encode(self.expose()).into()
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn expose(&self) -> &[u8; 32] {
        self.bytes.expose_secret()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// All places where keys may be. Calls block.
#[derive(Debug)]
pub(super) struct Keys {
    data_dir: PathBuf,
    keyring: Option<Arc<dyn Keyring>>,
}

impl Keys {
    pub(super) const fn new(data_dir: PathBuf, keyring: Option<Arc<dyn Keyring>>) -> Self {
        Self { data_dir, keyring }
    }

    /// Keeps a new key, durable when this returns.
    pub(super) fn keep(&self, key: &Key) -> Result<(), SecretsError> {
        if let Some(keyring) = &self.keyring {
            match keyring.set(key.id(), &key.to_text()) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "no keyring: the key is kept in a file");
                }
            }
        }
        let path = self.path(key.id());
        self.write(key).map_err(|error| SecretsError::KeyFile { path, error })
    }

    /// The key of that name, wherever it is.
    pub(super) fn load(&self, id: &str) -> Result<Key, SecretsError> {
        let path = self.path(id);
        match fs::read_to_string(&path) {
            Ok(text) => return Key::from_text(id, &text.into(), &path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SecretsError::KeyFile { path, error }),
        }
        let keyring = match self.keyring.as_ref().map(|keyring| keyring.get(id)) {
            Some(Ok(Some(text))) => return Key::from_text(id, &text, "this computer's keyring"),
            Some(Ok(None)) => "it has no such key".to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "switched off".to_owned(),
        };
        Err(SecretsError::KeyGone { key_id: id.to_owned(), path, keyring })
    }

    /// Removes a key from all places where it may be.
    pub(super) fn remove(&self, id: &str) -> Result<(), SecretsError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SecretsError::KeyFile { path, error }),
        }
        if let Some(keyring) = &self.keyring
            && let Err(error) = keyring.remove(id)
        {
            tracing::warn!(key = id, %error, "an old key stays in this computer's keyring");
        }
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        key_file(&self.data_dir, id)
    }

    fn write(&self, key: &Key) -> io::Result<()> {
        put_key_file(&self.data_dir, key.id(), &key.to_text())
    }
}

fn key_file(data_dir: &Path, id: &str) -> PathBuf {
    data_dir.join(format!("secrets.{id}.key"))
}

/// Keeps a key in a file of the data directory. Written whole under another name first: a key file
/// is there whole or not at all. Its name is the key's, which is never given twice, so no other key
/// is ever overwritten.
///
/// # Errors
/// The disk's.
pub fn put_key_file(data_dir: &Path, id: &str, text: &SecretString) -> io::Result<()> {
    let path = key_file(data_dir, id);
    let draft = path.with_extension("key.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(HEAD.as_bytes())?;
    file.write_all(text.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    File::open(data_dir)?.sync_all()
}
