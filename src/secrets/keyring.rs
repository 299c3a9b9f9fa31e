//! The keyring of the operating system: Keychain on macOS, the Secret Service on Linux
//! (<https://specifications.freedesktop.org/secret-service-spec/latest/>), over D-Bus and without
//! any C library. It may ask a person to unlock it, so callers wait for it a moment only.

use std::{fmt, path::Path, sync::mpsc, thread, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

/// What our keys are filed under.
const SERVICE: &str = "catchment";

/// How long a keyring may take; a person who unlocks it takes longer, and the next try finds it
/// open.
const PATIENCE: Duration = Duration::from_secs(5);

/// A place for small secrets that belongs to the person who is logged in. Calls block, not for
/// long.
pub trait Keyring: fmt::Debug + Send + Sync {
    /// The secret of that name.
    ///
    /// # Errors
    /// When the keyring cannot be asked.
    fn get(&self, name: &str) -> Result<Option<SecretString>, KeyringError>;

    /// Keeps a secret under a name.
    ///
    /// # Errors
    /// When the keyring does not take it.
    fn set(&self, name: &str, secret: &SecretString) -> Result<(), KeyringError>;

    /// Removes a secret, if it is there.
    ///
    /// # Errors
    /// When the keyring cannot be asked.
    fn remove(&self, name: &str) -> Result<(), KeyringError>;
}

/// A keyring that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Nobody is logged in to a desktop, or it has none.
    #[error("there is none in this session")]
    None,
    /// It waits for a person, or hangs.
    #[error("it did not answer within {} s: unlock it and try again", PATIENCE.as_secs())]
    Silent,
    /// What it says.
    #[error("{0}")]
    Refused(keyring::Error),
}

/// The one of the session that this process runs in.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemKeyring;

impl Keyring for SystemKeyring {
    fn get(&self, name: &str) -> Result<Option<SecretString>, KeyringError> {
        let got = call(name, |entry| entry.get_password());
        absent_is_none(got.map(SecretString::from))
    }

    fn set(&self, name: &str, secret: &SecretString) -> Result<(), KeyringError> {
        let secret = secret.clone();
        call(name, move |entry| entry.set_password(secret.expose_secret()))
    }

    fn remove(&self, name: &str) -> Result<(), KeyringError> {
        absent_is_none(call(name, |entry| entry.delete_credential())).map(|_| ())
    }
}

fn absent_is_none<T>(got: Result<T, KeyringError>) -> Result<Option<T>, KeyringError> {
    match got {
        Ok(got) => Ok(Some(got)),
        Err(KeyringError::Refused(keyring::Error::NoEntry)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls the keyring on a thread of its own, which is left behind if it hangs.
fn call<T: Send + 'static>(
    name: &str,
    question: impl FnOnce(&keyring::Entry) -> keyring::Result<T> + Send + 'static,
) -> Result<T, KeyringError> {
    if !has_session() {
        return Err(KeyringError::None);
    }
    let (sender, answer) = mpsc::sync_channel(1);
    let name = name.to_owned();
    let asking = move || {
        let answer = keyring::Entry::new(SERVICE, &name).and_then(|entry| question(&entry));
        // Whoever asked may have left.
        drop(sender.send(answer));
    };
    if thread::Builder::new().name("keyring".into()).spawn(asking).is_err() {
        return Err(KeyringError::Silent);
    }
    match answer.recv_timeout(PATIENCE) {
        Ok(answer) => answer.map_err(KeyringError::Refused),
        Err(_) => Err(KeyringError::Silent),
    }
}

/// Whether there is a session bus to find a Secret Service on; elsewhere the system decides.
fn has_session() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|address| !address.is_empty())
        || std::env::var_os("XDG_RUNTIME_DIR")
            .is_some_and(|dir| Path::new(&dir).join("bus").exists())
}
