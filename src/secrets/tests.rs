//! What sealing promises: nothing readable without the key, and no key lost on the way to another.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Map;

use super::*;
use crate::{
    clock::{ManualClock, SystemClock},
    model::{Connection, ProviderName},
    store::connections::{self, NewConnection},
};

/// A keyring in memory.
#[derive(Debug, Default)]
struct Pretend(Mutex<BTreeMap<String, SecretString>>);

impl Keyring for Pretend {
    fn get(&self, name: &str) -> Result<Option<SecretString>, KeyringError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    fn set(&self, name: &str, secret: &SecretString) -> Result<(), KeyringError> {
        self.0.lock().unwrap().insert(name.to_owned(), secret.clone());
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), KeyringError> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
}

/// A session without a keyring.
#[derive(Debug)]
struct Absent;

impl Keyring for Absent {
    fn get(&self, _: &str) -> Result<Option<SecretString>, KeyringError> {
        Err(KeyringError::None)
    }

    fn set(&self, _: &str, _: &SecretString) -> Result<(), KeyringError> {
        Err(KeyringError::None)
    }

    fn remove(&self, _: &str) -> Result<(), KeyringError> {
        Err(KeyringError::None)
    }
}

struct House {
    dir: tempfile::TempDir,
    store: Store,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        Self { dir, store }
    }

    /// As another process, or the next start, would see it.
    fn vault(&self, keyring: Option<Arc<dyn Keyring>>) -> Vault {
        Vault::new(self.store.clone(), self.dir.path(), keyring, Arc::new(SystemClock))
    }

    fn key_files(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|end| end == "key")).collect()
    }

    /// Keeps `secret` for a new connection; returns its internal key.
    async fn keep(&self, vault: &Vault, name: &str, secret: &str) -> i64 {
        let id = ConnectionId::generate();
        let sealed = vault.seal(&id, &Credentials::from_json(secret.to_owned())).await.unwrap();
        let new = NewConnection {
            id,
            name: name.to_owned(),
            settings: Connection { provider: ProviderName::new("local"), settings: Map::new() },
            description: None,
            metadata: Map::new(),
            write_enabled: false,
            sealed: Some(sealed),
        };
        let wanted = name.to_owned();
        self.store
            .write(move |tx| {
                assert!(connections::insert(tx, &new, Timestamp::UNIX_EPOCH)?);
                Ok::<_, StoreError>(connections::named(tx, &wanted)?.unwrap().key)
            })
            .await
            .unwrap()
    }
}

async fn opened(vault: &Vault, key: i64) -> Result<String, SecretsError> {
    Ok(vault.credentials(key).await?.unwrap().expose_json().to_owned())
}

#[tokio::test]
async fn what_was_sealed_opens_after_a_restart() {
    let house = House::new();
    let key = house.keep(&house.vault(None), "a", "{\"secret\":1}").await;
    assert_eq!(opened(&house.vault(None), key).await.unwrap(), "{\"secret\":1}");
}

#[tokio::test]
async fn no_key_is_made_before_there_is_something_to_seal() {
    let house = House::new();
    assert!(house.vault(None).credentials(1).await.unwrap().is_none());
    assert!(house.key_files().is_empty());
}

#[tokio::test]
async fn the_key_file_is_for_its_owner_only() {
    let house = House::new();
    house.keep(&house.vault(None), "a", "{}").await;
    let [file] = &house.key_files()[..] else { panic!("one key file") };
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_keyring_that_is_there_keeps_the_key_and_no_file_does() {
    let house = House::new();
    let keyring = Arc::new(Pretend::default());
    let key = house.keep(&house.vault(Some(keyring.clone())), "a", "{\"x\":1}").await;
    assert!(house.key_files().is_empty());
    assert_eq!(opened(&house.vault(Some(keyring)), key).await.unwrap(), "{\"x\":1}");
}

#[tokio::test]
async fn a_session_without_a_keyring_keeps_the_key_in_a_file() {
    let house = House::new();
    let key = house.keep(&house.vault(Some(Arc::new(Absent))), "a", "{\"x\":1}").await;
    assert_eq!(opened(&house.vault(None), key).await.unwrap(), "{\"x\":1}");
}

#[tokio::test]
async fn the_same_secret_sealed_twice_looks_different() {
    let house = House::new();
    let (vault, id) = (house.vault(None), ConnectionId::generate());
    let secret = Credentials::from_json("{\"x\":1}".to_owned());
    let first = vault.seal(&id, &secret).await.unwrap();
    assert_ne!(first.bytes, vault.seal(&id, &secret).await.unwrap().bytes);
}

#[tokio::test]
async fn an_envelope_moved_to_another_connection_does_not_open() {
    let house = House::new();
    let vault = house.vault(None);
    let one = house.keep(&vault, "one", "{\"x\":1}").await;
    let two = house.keep(&vault, "two", "{\"x\":2}").await;
    house
        .store
        .write(move |tx| {
            let moved = secrets::of(tx, one)?.unwrap();
            secrets::keep(tx, two, &moved.sealed)
        })
        .await
        .unwrap();
    assert!(matches!(opened(&vault, two).await, Err(SecretsError::Unopened { .. })));
}

#[tokio::test]
async fn an_envelope_with_any_byte_changed_does_not_open() {
    let house = House::new();
    let vault = house.vault(None);
    let key = house.keep(&vault, "a", "{}").await;
    let kept = house.store.read(move |db| secrets::of(db, key)).await.unwrap().unwrap();
    for at in 0..kept.sealed.bytes.len() {
        let mut changed = kept.clone();
        changed.sealed.bytes[at] ^= 1;
        assert!(vault.open(&changed).await.is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn a_lost_key_is_named_with_the_ways_out() {
    let house = House::new();
    let key = house.keep(&house.vault(None), "a", "{}").await;
    std::fs::remove_file(&house.key_files()[0]).unwrap();
    let error = opened(&house.vault(None), key).await.unwrap_err();
    assert!(matches!(error, SecretsError::KeyGone { .. }));
    for words in ["secrets.key_", "backup", "enter the credentials"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn after_a_lost_key_new_credentials_can_be_kept_and_old_ones_wait_for_their_key() {
    let house = House::new();
    let old = house.keep(&house.vault(None), "old", "{\"x\":1}").await;
    let (file, aside) = (house.key_files().remove(0), house.dir.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();

    let new = house.keep(&house.vault(None), "new", "{\"x\":2}").await;
    assert_eq!(opened(&house.vault(None), new).await.unwrap(), "{\"x\":2}");
    assert!(opened(&house.vault(None), old).await.is_err());

    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(opened(&house.vault(None), old).await.unwrap(), "{\"x\":1}");
}

#[tokio::test]
async fn rotation_seals_everything_with_a_new_key_and_removes_the_old_one() {
    let house = House::new();
    let server = house.vault(None);
    let one = house.keep(&server, "one", "{\"x\":1}").await;
    let two = house.keep(&server, "two", "{\"x\":2}").await;
    let old = house.key_files();

    let rotated = house.vault(None).rotate().await.unwrap();

    assert_eq!(rotated.resealed, 2);
    let [file] = &house.key_files()[..] else { panic!("one key file") };
    assert!(!old.contains(file) && file.to_string_lossy().contains(&rotated.key_id));
    // The server that was running meanwhile still works.
    assert_eq!(opened(&server, one).await.unwrap(), "{\"x\":1}");
    assert_eq!(opened(&house.vault(None), two).await.unwrap(), "{\"x\":2}");
    let three = house.keep(&server, "three", "{\"x\":3}").await;
    assert_eq!(opened(&house.vault(None), three).await.unwrap(), "{\"x\":3}");
}

#[tokio::test]
async fn a_rotation_that_cannot_open_something_changes_nothing() {
    let house = House::new();
    let lost = house.keep(&house.vault(None), "lost", "{}").await;
    std::fs::remove_file(&house.key_files()[0]).unwrap();
    let kept = house.keep(&house.vault(None), "kept", "{\"x\":1}").await;
    let before = house.key_files();

    assert!(house.vault(None).rotate().await.is_err());

    assert_eq!(house.key_files(), before);
    assert_eq!(opened(&house.vault(None), kept).await.unwrap(), "{\"x\":1}");
    assert!(opened(&house.vault(None), lost).await.is_err());
}

#[tokio::test]
async fn a_rotation_cut_short_anywhere_leaves_everything_readable_and_the_next_one_tidies_up() {
    let house = House::new();
    let key = house.keep(&house.vault(None), "a", "{\"x\":1}").await;
    // Cut short before the commit: the new key is there, and seals nothing.
    let cut = house.vault(None);
    let new = cut.new_key().await.unwrap();
    assert_eq!(opened(&house.vault(None), key).await.unwrap(), "{\"x\":1}");
    // Cut short behind the commit: the old key is still there.
    cut.reseal(&new).await.unwrap();
    assert_eq!(house.key_files().len(), 2);
    assert_eq!(opened(&house.vault(None), key).await.unwrap(), "{\"x\":1}");

    house.vault(None).rotate().await.unwrap();

    assert_eq!(house.key_files().len(), 1);
    assert_eq!(opened(&house.vault(None), key).await.unwrap(), "{\"x\":1}");
}

#[tokio::test]
async fn a_key_that_a_kill_left_unused_goes_later_and_no_other_does() {
    let house = House::new();
    let key = house.keep(&house.vault(None), "a", "{\"x\":1}").await;
    house.vault(None).new_key().await.unwrap();
    house.vault(None).remove_unneeded().await.unwrap();
    assert_eq!(house.key_files().len(), 2, "whoever made it may be about to use it");

    let clock = ManualClock::new(Timestamp::now() + jiff::SignedDuration::from_hours(2));
    let later = Vault::new(house.store.clone(), house.dir.path(), None, Arc::new(clock));
    later.remove_unneeded().await.unwrap();

    assert_eq!(house.key_files().len(), 1);
    assert_eq!(opened(&later, key).await.unwrap(), "{\"x\":1}");
}

#[tokio::test]
async fn credentials_sealed_while_the_key_was_rotated_are_refused_rather_than_lost() {
    let house = House::new();
    let vault = house.vault(None);
    let key = house.keep(&vault, "a", "{}").await;
    let (id, secret) = (ConnectionId::generate(), Credentials::from_json("{}".to_owned()));
    let late = vault.seal(&id, &secret).await.unwrap();
    house.vault(None).rotate().await.unwrap();
    let kept = house.store.write(move |tx| secrets::keep(tx, key, &late)).await;
    assert!(matches!(kept, Err(StoreError::KeyRotated)));
}

#[test]
fn neither_keys_nor_credentials_can_be_printed() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(dir.path().to_owned(), None);
    let key = Key::generate().unwrap();
    keys.keep(&key).unwrap();
    let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(file).unwrap();
    let secret = SecretString::from(text.lines().last().unwrap().to_owned());
    assert_eq!(secret.expose_secret().len(), 44);
    assert!(!format!("{key:?}").contains(secret.expose_secret()));
    assert!(!format!("{:?}", Credentials::from_json("canary".into())).contains("canary"));
}
