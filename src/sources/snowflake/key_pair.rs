//! Key pairs: made here, read from PEM, and the tokens that they sign.
//!
//! RSA by `aws-lc-rs`, which TLS brings anyway. The private key leaves this module only as the PEM
//! that is stored with the connection.

use std::time::Duration;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use pkcs8::{
    EncryptedPrivateKeyInfoRef,
    der::Decode as _,
    pkcs5::{EncryptionScheme, pbes2::Kdf},
};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{account::Account, names::Name};

/// How long a token is good for: Snowflake takes at most an hour.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(59 * 60);

/// How far in the past tokens begin, for clocks that differ a little.
const LEEWAY: Duration = Duration::from_secs(30);

/// Characters on a line of PEM.
const PEM_LINE: usize = 64;

/// Largest PEM that is looked at: a key of 8,192 bits has about 6,500 bytes.
const PEM_LIMIT: usize = 64 * 1024;

/// Most bytes of memory that opening an encrypted key may take. OpenSSL's own takes 16 MiB.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;

/// Most rounds of hashing that opening an encrypted key may take: seconds.
const MOST_ROUNDS: u64 = 10_000_000;

/// Why there is no usable private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    /// No key in PEM.
    #[error(
        "the private key is no PEM: it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN \
         ENCRYPTED PRIVATE KEY-----"
    )]
    NotPem,
    /// The public half.
    #[error("this is the public key: the connection needs the private one")]
    Public,
    /// Encrypted the old way.
    #[error(
        "this private key is encrypted in OpenSSL's old format: convert it with openssl pkcs8 \
         -topk8 -in KEY -out NEW_KEY"
    )]
    OldEncryption,
    /// Encrypted, and no passphrase.
    #[error("the private key is encrypted: enter its private_key_passphrase")]
    NoPassphrase,
    /// Encrypted, and not with this passphrase.
    #[error("the private_key_passphrase does not open the private key")]
    WrongPassphrase,
    /// Encrypted by something unknown.
    #[error(
        "the private key is encrypted with an algorithm that is not known here: convert it with \
         openssl pkcs8 -topk8 -v2 aes256 -in KEY -out NEW_KEY"
    )]
    UnknownEncryption,
    /// Encrypted with more effort than is made here.
    #[error(
        "opening the private key would take more memory or time than is given to it: convert it \
         with openssl pkcs8 -topk8 -v2 aes256 -in KEY -out NEW_KEY"
    )]
    TooCostly,
    /// A key of another kind, a damaged one, or one of fewer than 2,048 bits.
    #[error("the private key is not an RSA key of 2,048 bits or more, which Snowflake asks for")]
    NotRsa,
    /// The generator of keys failed.
    #[error("this machine could not make a key pair")]
    NotMade,
}

impl KeyError {
    /// The field of the credentials that has to be changed.
    pub(super) const fn field(&self) -> &'static str {
        match self {
            Self::NoPassphrase | Self::WrongPassphrase => "private_key_passphrase",
            _ => "private_key",
        }
    }
}

/// A private key that signs tokens.
pub(super) struct PrivateKey {
    pair: KeyPair,
    random: SystemRandom,
}

impl PrivateKey {
    /// Reads a key in PEM, with real line breaks, `\n` in two characters, or spaces in their place,
    /// which is what copying through forms and files of settings makes of it.
    ///
    /// # Errors
    /// See [`KeyError`]; none of them quotes the key.
    pub(super) fn read(pem: &str, passphrase: Option<&SecretString>) -> Result<Self, KeyError> {
        let (label, der) = decode_pem(pem)?;
        let pair = match label.as_str() {
            "PRIVATE KEY" => KeyPair::from_pkcs8(&der),
            "RSA PRIVATE KEY" => KeyPair::from_der(&der),
            "ENCRYPTED PRIVATE KEY" => {
                let passphrase = passphrase.filter(|text| !text.expose_secret().is_empty());
                let plain = decrypt(&der, passphrase.ok_or(KeyError::NoPassphrase)?)?;
                KeyPair::from_pkcs8(&plain)
            }
            label if label.ends_with("PUBLIC KEY") => return Err(KeyError::Public),
            label if label.ends_with("PRIVATE KEY") => return Err(KeyError::NotRsa),
            _ => return Err(KeyError::NotPem),
        };
        Ok(Self { pair: pair.map_err(|_| KeyError::NotRsa)?, random: SystemRandom::new() })
    }

    /// Makes a new key of 2,048 bits.
    ///
    /// # Errors
    /// When the machine cannot.
    pub(super) fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::NotMade)?;
        Ok(Self { pair, random: SystemRandom::new() })
    }

    /// The private key as PEM, to be stored encrypted.
    ///
    /// # Errors
    /// When the key cannot be written.
    pub(super) fn to_pem(&self) -> Result<SecretString, KeyError> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(|_| KeyError::NotMade)?;
        let base64 = Zeroizing::new(BASE64_STANDARD.encode(der.as_ref()));
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in base64.as_bytes().chunks(PEM_LINE) {
            pem.push_str(str::from_utf8(line).unwrap_or_default());
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(SecretString::from(pem))
    }

    /// The public key as Snowflake takes it: base64 of its DER on one line.
    ///
    /// # Errors
    /// When the key cannot be written.
    pub(super) fn public_key(&self) -> Result<String, KeyError> {
        Ok(BASE64_STANDARD.encode(self.public_der()?))
    }

    /// The one statement that lets the key in. Needs a role that may change the user.
    ///
    /// # Errors
    /// When the key cannot be written.
    pub(super) fn statement(&self, username: &str) -> Result<String, KeyError> {
        let user = Name::exact(username.trim().to_uppercase());
        Ok(format!("ALTER USER {user} SET RSA_PUBLIC_KEY='{}';", self.public_key()?))
    }

    /// A token for that user, good from now on for [`TOKEN_LIFETIME`].
    ///
    /// # Errors
    /// When the key cannot sign.
    pub(super) fn sign(
        &self,
        account: &Account,
        username: &str,
        now: Timestamp,
    ) -> Result<SecretString, KeyError> {
        let user = username.trim().to_uppercase();
        let subject = format!("{}.{user}", account.token_name);
        let issued = now.as_second() - i64::try_from(LEEWAY.as_secs()).unwrap_or_default();
        let lifetime = i64::try_from(TOKEN_LIFETIME.as_secs()).unwrap_or_default();
        let claims = serde_json::json!({
            "iss": format!("{subject}.{}", self.fingerprint()?),
            "sub": subject,
            "iat": issued,
            "exp": issued + lifetime,
        });
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &self.random, signed.as_bytes(), &mut signature)
            .map_err(|_| KeyError::NotRsa)?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        Ok(SecretString::from(format!("{signed}.{signature}")))
    }

    /// What Snowflake shows as `RSA_PUBLIC_KEY_FP` of the user.
    ///
    /// # Errors
    /// When the key cannot be written.
    pub(super) fn fingerprint(&self) -> Result<String, KeyError> {
        let hash = Sha256::digest(self.public_der()?);
        Ok(format!("SHA256:{}", BASE64_STANDARD.encode(hash)))
    }

    fn public_der(&self) -> Result<Vec<u8>, KeyError> {
        let der: PublicKeyX509Der<'_> =
            self.pair.public_key().as_der().map_err(|_| KeyError::NotMade)?;
        Ok(der.as_ref().to_vec())
    }
}

/// The label of a PEM and the bytes in it.
fn decode_pem(pem: &str) -> Result<(String, Zeroizing<Vec<u8>>), KeyError> {
    if pem.len() > PEM_LIMIT {
        return Err(KeyError::NotPem);
    }
    let pem = Zeroizing::new(pem.replace("\\r", "").replace("\\n", "\n"));
    let (_, behind) = pem.split_once("-----BEGIN ").ok_or(KeyError::NotPem)?;
    let (label, behind) = behind.split_once("-----").ok_or(KeyError::NotPem)?;
    let end = format!("-----END {label}-----");
    let (body, _) = behind.split_once(end.as_str()).ok_or(KeyError::NotPem)?;
    // Headers between the lines (`DEK-Info:`), which only OpenSSL's own encryption writes.
    if body.contains(':') {
        return Err(KeyError::OldEncryption);
    }
    let base64: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|c| !c.is_whitespace()).collect());
    let der = BASE64_STANDARD.decode(base64.as_bytes()).map_err(|_| KeyError::NotPem)?;
    Ok((label.to_owned(), Zeroizing::new(der)))
}

/// Opens a PKCS #8 envelope.
fn decrypt(der: &[u8], passphrase: &SecretString) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let sealed =
        EncryptedPrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::UnknownEncryption)?;
    if !is_affordable(&sealed.encryption_algorithm) {
        return Err(KeyError::TooCostly);
    }
    let opened = sealed.decrypt(passphrase.expose_secret()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => {
            KeyError::UnknownEncryption
        }
        _ => KeyError::WrongPassphrase,
    })?;
    Ok(Zeroizing::new(opened.as_bytes().to_vec()))
}

/// Whether a key is opened within bounds: how much memory and time that takes is what its file
/// says.
fn is_affordable(algorithm: &EncryptionScheme) -> bool {
    let EncryptionScheme::Pbes2(parameters) = algorithm else { return true };
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => u64::from(kdf.iteration_count) <= MOST_ROUNDS,
        Kdf::Scrypt(kdf) => {
            let block = 128 * u64::from(kdf.block_size);
            let memory = kdf.cost_parameter.checked_mul(block);
            let work = memory.and_then(|bytes| bytes.checked_mul(kdf.parallelization.into()));
            work.is_some_and(|work| work <= MOST_MEMORY)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use pkcs8::der::Encode as _;
    use serde_json::Value;

    use super::*;

    const PASSPHRASE: &str = "correct horse";

    fn fixture(name: &str) -> String {
        let path = format!("{}/tests/fixtures/snowflake/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    }

    fn read(pem: &str) -> Result<String, KeyError> {
        let passphrase = SecretString::from(PASSPHRASE);
        PrivateKey::read(pem, Some(&passphrase))?.fingerprint()
    }

    #[test]
    fn one_key_is_the_same_key_in_every_file_that_openssl_writes_of_it() {
        let expected = fixture("fingerprint.txt");
        for name in ["plain.p8", "rsa.pem", "des3.p8", "aes256.p8", "aes256_sha1.p8", "scrypt.p8"] {
            assert_eq!(read(&fixture(name)).unwrap(), expected.trim(), "{name}");
        }
    }

    #[test]
    fn line_breaks_may_be_escaped_turned_into_spaces_or_windows_ones() {
        let pem = fixture("plain.p8");
        let expected = read(&pem).unwrap();
        for spelled in [
            pem.replace('\n', "\\n"),
            pem.replace('\n', "\\r\\n"),
            pem.replace('\n', "\r\n"),
            pem.replace('\n', " "),
            format!("\n\n  {pem}\n"),
        ] {
            assert_eq!(read(&spelled).unwrap(), expected);
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_refused_with_the_way_out_and_without_the_key() {
        let sealed = fixture("des3.p8");
        assert_eq!(PrivateKey::read(&sealed, None).err(), Some(KeyError::NoPassphrase));
        let wrong = SecretString::from("wrong");
        assert_eq!(PrivateKey::read(&sealed, Some(&wrong)).err(), Some(KeyError::WrongPassphrase));
        assert_eq!(read(&fixture("public.pem")).err(), Some(KeyError::Public));
        assert_eq!(read(&fixture("old.pem")).err(), Some(KeyError::OldEncryption));
        assert_eq!(read(&fixture("ec.p8")).err(), Some(KeyError::NotRsa));
        assert_eq!(read(&fixture("small.p8")).err(), Some(KeyError::NotRsa));
        for text in
            ["", "ssh-rsa AAAA", "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----"]
        {
            assert_eq!(read(text).err(), Some(KeyError::NotPem), "{text}");
        }
    }

    #[test]
    fn a_key_that_says_it_takes_all_memory_or_days_to_open_is_refused_before_that() {
        let with_kdf = |name: &str, change: fn(&mut Kdf)| {
            let (label, der) = decode_pem(&fixture(name)).unwrap();
            let mut sealed = EncryptedPrivateKeyInfoRef::from_der(&der).unwrap();
            let EncryptionScheme::Pbes2(parameters) = &mut sealed.encryption_algorithm else {
                panic!("{label}");
            };
            change(&mut parameters.kdf);
            let base64 = BASE64_STANDARD.encode(sealed.to_der().unwrap());
            format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
        };
        let scrypt = with_kdf("scrypt.p8", |kdf| match kdf {
            Kdf::Scrypt(scrypt) => scrypt.cost_parameter = 1 << 48,
            other => panic!("{other:?}"),
        });
        let pbkdf2 = with_kdf("aes256.p8", |kdf| match kdf {
            Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count = 99_000_000,
            other => panic!("{other:?}"),
        });
        for sealed in [scrypt, pbkdf2] {
            assert_eq!(read(&sealed).err(), Some(KeyError::TooCostly));
        }
    }

    #[test]
    fn a_new_key_can_be_stored_and_read_again_and_its_statement_names_the_user() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::read(key.to_pem().unwrap().expose_secret(), None).unwrap();
        assert_eq!(again.fingerprint().unwrap(), key.fingerprint().unwrap());
        let expected =
            format!("ALTER USER \"LOADER\" SET RSA_PUBLIC_KEY='{}';", key.public_key().unwrap());
        assert_eq!(key.statement("loader").unwrap(), expected);
        assert!(!expected.contains('\n'));
    }

    #[test]
    fn a_token_names_account_user_and_fingerprint_and_is_signed_by_the_key() {
        let key = PrivateKey::read(&fixture("plain.p8"), None).unwrap();
        let account = Account::parse("xy12345.eu-central-1").unwrap();
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let token = key.sign(&account, "loader", now).unwrap();
        let token = token.expose_secret();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let json = |part| -> Value {
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(json(header), serde_json::json!({"alg": "RS256", "typ": "JWT"}));
        let claims = json(claims);
        assert_eq!(claims["sub"], "XY12345.LOADER");
        let fingerprint = fixture("fingerprint.txt");
        assert_eq!(claims["iss"], format!("XY12345.LOADER.{}", fingerprint.trim()));
        let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(issued, now.as_second() - 30);
        assert!(expires - issued < 3600);
        let public = BASE64_STANDARD.decode(key.public_key().unwrap()).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
            .verify(signed.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap())
            .unwrap();
    }
}
