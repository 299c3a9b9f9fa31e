//! The token of this installation: 32 random bytes, in the file `token` for whoever may read the
//! data directory, and hashed in `token.sha256` for checking.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The variable that overrides the file.
pub const VARIABLE: &str = "CATCHMENT_TOKEN";

/// A hash of a secret, compared in constant time.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The hash of `secret`.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Whether it is that of `secret`. Takes as long for every wrong secret of one length.
    #[must_use]
    pub fn matches(&self, secret: &str) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(hex: &str) -> Option<Self> {
        let hex = hex.trim();
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// A secret that nobody can guess: 32 random bytes as text.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random_secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Where a data directory's token is, and what checks it.
#[derive(Clone, Debug)]
pub struct TokenFile {
    token: PathBuf,
    hash: PathBuf,
}

impl TokenFile {
    /// The token of that data directory.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self { token: data_dir.join("token"), hash: data_dir.join("token.sha256") }
    }

    /// The token, made if there is none yet.
    ///
    /// # Errors
    /// When the files cannot be read or written.
    pub fn ensure(&self) -> io::Result<String> {
        match fs::read_to_string(&self.token) {
            Ok(token) if !token.trim().is_empty() => {
                let token = token.trim().to_owned();
                fs::set_permissions(&self.token, fs::Permissions::from_mode(0o600))?;
                if !self.fingerprint()?.is_some_and(|hash| hash.matches(&token)) {
                    replace(&self.hash, &Fingerprint::of(&token).to_hex())?;
                }
                Ok(token)
            }
            Ok(_) => self.rotate(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rotate(),
            Err(error) => Err(error),
        }
    }

    /// Makes a new token; the old one is worth nothing from now on.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn rotate(&self) -> io::Result<String> {
        let token = random_secret()?;
        // The token first: `ensure` puts a hash right that a crash in between leaves behind.
        replace(&self.token, &token)?;
        replace(&self.hash, &Fingerprint::of(&token).to_hex())?;
        Ok(token)
    }

    /// What the token is checked with, read each time: another process may have rotated it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        match fs::read_to_string(&self.hash) {
            Ok(hex) => Ok(Fingerprint::from_hex(&hex)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The token that counts: the environment's, or else the file's.
#[derive(Clone, Debug)]
pub struct Token {
    file: TokenFile,
    override_token: Option<Fingerprint>,
}

impl Token {
    /// That of `file`, unless it is overridden.
    #[must_use]
    pub fn new(file: TokenFile, override_token: Option<&str>) -> Self {
        Self { file, override_token: override_token.map(Fingerprint::of) }
    }

    /// Whether the environment's token counts instead of the file's.
    #[must_use]
    pub const fn is_overridden(&self) -> bool {
        self.override_token.is_some()
    }

    /// What it is checked with now; `None` while there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn fingerprint(&self) -> io::Result<Option<Fingerprint>> {
        match self.override_token {
            Some(token) => Ok(Some(token)),
            None => self.file.fingerprint(),
        }
    }

    /// Makes a new token; `None` where the environment's counts.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn rotate(&self) -> io::Result<Option<String>> {
        match self.override_token {
            Some(_) => Ok(None),
            None => self.file.rotate().map(Some),
        }
    }
}

/// Puts a private file in place of whatever was there, whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}
