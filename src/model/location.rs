//! Where a sync reads: a provider, how to reach it, and a place in it.

use std::{
    ffi::OsStr,
    fmt,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! providers {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A kind of storage that connections lead to.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
        )]
        #[schema(as = StorageProvider)]
        #[serde(rename_all = "snake_case")]
        pub enum Provider {
            $($(#[$doc])* $name,)*
        }

        impl Provider {
            /// Wire and database spelling; of those that can be synced also the scheme of their
            /// addresses.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The provider of that spelling.
            #[must_use]
            pub fn named(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

providers! {
    /// Folders of this machine, mounted shares included.
    Local = "local",
    /// Google Drive.
    GoogleDrive = "google_drive",
    /// Amazon S3 and what speaks its protocol.
    S3 = "s3",
    /// Snowflake tables.
    Snowflake = "snowflake",
    /// SharePoint and OneDrive for Business.
    Sharepoint = "sharepoint",
    /// Tigris (<https://www.tigrisdata.com/docs/sdks/s3/>): S3's protocol with one global region.
    Tigris = "tigris",
    /// PostgreSQL tables.
    Postgresql = "postgresql",
    /// Instagram accounts.
    Instagram = "instagram",
    /// TikTok accounts.
    Tiktok = "tiktok",
    /// RSS and Atom feeds.
    Rss = "rss",
    /// JSON over HTTP.
    HttpApi = "http_api",
    /// Box.
    Box = "box",
    /// Bright Data datasets.
    Brightdata = "brightdata",
    /// Backblaze B2.
    Backblaze = "backblaze",
    /// Mux video assets.
    Mux = "mux",
    /// Mail that comes in.
    Email = "email",
    /// Supabase Storage.
    Supabase = "supabase",
    /// Iconik.
    Iconik = "iconik",
    /// Google Cloud Storage.
    Gcs = "gcs",
    /// Azure Blob Storage.
    AzureBlob = "azure_blob",
    /// Cameras.
    Rtsp = "rtsp",
}

/// How a bucket's name becomes part of its URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addressing {
    /// Virtual-host style on the provider's own endpoint, path style on any other and for bucket
    /// names that a TLS certificate or host name cannot carry.
    #[default]
    Auto,
    /// `https://endpoint/bucket/key`
    Path,
    /// `https://bucket.endpoint/key`
    VirtualHost,
}

/// Where the keys to S3 or Tigris come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The standard AWS chain, at run time.
    #[default]
    Chain,
    /// The connection's own access key, sealed in the database.
    AccessKey,
    /// A role to assume, sealed with its external id in the database, with what the chain says.
    IamRole,
}

impl KeySource {
    /// The `type` of credentials on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "ambient",
            Self::AccessKey => "access_key",
            Self::IamRole => "iam_role",
        }
    }
}

/// How to reach S3 or Tigris. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3Connection {
    /// Where the keys come from.
    pub keys: KeySource,
    /// Another endpoint than the provider's own, with scheme.
    pub endpoint_url: Option<String>,
    /// The region; by default what the AWS chain says, else `us-east-1`. Tigris: `auto`.
    pub region: Option<String>,
    /// The profile in the shared config and credentials files.
    pub profile: Option<String>,
    /// A role to assume with those credentials.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// Sign nothing: public buckets.
    pub anonymous: bool,
    /// Agree to pay for requests and transfer.
    pub requester_pays: bool,
    /// Where the bucket's name goes.
    pub addressing: Addressing,
    /// What was asked for: the scheme of the endpoint is what counts.
    pub use_ssl: Option<bool>,
    /// What was asked for: certificates are verified wherever there are any.
    pub verify_ssl: Option<bool>,
}

/// How to reach a provider that this build keeps connections to and cannot read. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherConnection {
    /// Which one.
    #[serde(rename = "type")]
    pub provider: Provider,
    /// Its settings, in the contract's words.
    pub config: Map<String, Value>,
    /// The `type` of the credentials that are kept for it.
    pub credentials: Option<String>,
}

/// How to reach a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "snake_case")]
pub enum Connection {
    /// This computer.
    Local,
    /// Amazon S3 or a compatible service.
    S3(S3Connection),
    /// Tigris.
    Tigris(S3Connection),
    /// A provider that this build cannot read.
    Other(OtherConnection),
}

impl Connection {
    /// The provider at the other end.
    #[must_use]
    pub const fn provider(&self) -> Provider {
        match self {
            Self::Local => Provider::Local,
            Self::S3(_) => Provider::S3,
            Self::Tigris(_) => Provider::Tigris,
            Self::Other(other) => other.provider,
        }
    }

    /// What tells two connections apart: the same provider at the same address is the same
    /// connection, whichever profile or role reads it today.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Local | Self::Other(_) => self.provider().as_str().to_owned(),
            Self::S3(s3) | Self::Tigris(s3) => match &s3.endpoint_url {
                Some(endpoint) => {
                    format!("{}+{}", self.provider().as_str(), endpoint.trim_end_matches('/'))
                }
                None => self.provider().as_str().to_owned(),
            },
        }
    }
}

/// A place in a provider, with the connection that reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// How to reach the provider.
    pub connection: Connection,
    /// The contract's `source_path`, as bytes: an absolute folder, or `bucket[/prefix]` without a
    /// trailing slash.
    pub source_path: Vec<u8>,
}

/// A SOURCE that names no place.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A scheme that this build does not have.
    #[error(
        "unknown scheme {scheme:?} in {source_text:?}: a source is a folder, s3://bucket/prefix or \
         tigris://bucket/prefix"
    )]
    UnknownScheme {
        /// What stood before `://`.
        scheme: String,
        /// The whole argument.
        source_text: String,
    },
    /// `s3://` and nothing behind it.
    #[error("{0:?} names no bucket: write {0}BUCKET or {0}BUCKET/PREFIX")]
    NoBucket(String),
    /// An S3 address must be text.
    #[error("{0:?} is not valid UTF-8, which the name of a bucket or prefix must be")]
    NotText(String),
    /// The current directory is needed and gone.
    #[error("cannot make {path:?} absolute: {error}")]
    NoCurrentDirectory {
        /// The argument.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// No argument at all.
    #[error("the source is empty: give a folder, s3://bucket/prefix or tigris://bucket/prefix")]
    Empty,
}

impl Location {
    /// Reads a SOURCE argument. `s3` says how to reach S3 or Tigris should the source be one.
    ///
    /// # Errors
    /// When the argument has an unknown scheme, names no bucket, or is empty.
    pub fn parse(source: &OsStr, s3: &S3Connection) -> Result<Self, LocationError> {
        if source.is_empty() {
            return Err(LocationError::Empty);
        }
        let Some(scheme) = scheme(source.as_bytes()) else {
            return Self::folder(Path::new(source));
        };
        let place = || s3_place(source, scheme);
        match scheme {
            "s3" => Ok(Self { connection: Connection::S3(s3.clone()), source_path: place()? }),
            "tigris" | "t3" => {
                Ok(Self { connection: Connection::Tigris(s3.clone()), source_path: place()? })
            }
            "file" => {
                Self::folder(Path::new(OsStr::from_bytes(&source.as_bytes()["file://".len()..])))
            }
            _ => Err(LocationError::UnknownScheme {
                scheme: scheme.to_owned(),
                source_text: source.to_string_lossy().into_owned(),
            }),
        }
    }

    /// A folder, made absolute by its spelling alone, so that it is the same folder when its mount
    /// is away.
    fn folder(path: &Path) -> Result<Self, LocationError> {
        let absolute = std::path::absolute(path)
            .map_err(|error| LocationError::NoCurrentDirectory { path: path.to_owned(), error })?;
        let mut plain = PathBuf::new();
        for part in absolute.components() {
            match part {
                Component::ParentDir => {
                    plain.pop();
                }
                other => plain.push(other),
            }
        }
        Ok(Self { connection: Connection::Local, source_path: plain.into_os_string().into_vec() })
    }

    /// The `source_path` split into bucket and prefix; the prefix has no slash at its ends that the
    /// address did not need. Meaningful for S3 and Tigris only.
    #[must_use]
    pub fn bucket_and_prefix(&self) -> (String, String) {
        let text = String::from_utf8_lossy(&self.source_path);
        match text.split_once('/') {
            Some((bucket, prefix)) => (bucket.to_owned(), prefix.to_owned()),
            None => (text.into_owned(), String::new()),
        }
    }

    /// The folder that a local `source_path` names.
    #[must_use]
    pub fn as_folder(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.source_path))
    }

    /// What a bucket for this place is called when nobody names it.
    #[must_use]
    pub fn suggested_name(&self) -> String {
        match self.connection {
            Connection::Local => self
                .as_folder()
                .file_name()
                .map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned()),
            Connection::S3(_) | Connection::Tigris(_) | Connection::Other(_) => {
                String::from_utf8_lossy(&self.source_path).replace('/', "-")
            }
        }
    }
}

/// The address as a person would type it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = super::EntryPath::new(self.source_path.as_slice());
        match self.connection {
            Connection::Local => write!(f, "{path}"),
            Connection::S3(_) | Connection::Tigris(_) | Connection::Other(_) => {
                write!(f, "{}://{path}", self.connection.provider().as_str())
            }
        }
    }
}

/// What stands before `://`, if that looks like a scheme rather than a folder's name.
fn scheme(source: &[u8]) -> Option<&str> {
    let end = source.windows(3).position(|window| window == b"://")?;
    let scheme = str::from_utf8(&source[..end]).ok()?;
    let wellformed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    wellformed.then_some(scheme)
}

/// `bucket[/prefix]` out of an S3-like address; one trailing slash says the same as none.
fn s3_place(source: &OsStr, scheme: &str) -> Result<Vec<u8>, LocationError> {
    let text = source
        .to_str()
        .ok_or_else(|| LocationError::NotText(source.to_string_lossy().into_owned()))?;
    let place = &text[scheme.len() + "://".len()..];
    let place = place.strip_suffix('/').unwrap_or(place);
    if place.is_empty() || place.starts_with('/') {
        return Err(LocationError::NoBucket(format!("{scheme}://")));
    }
    Ok(place.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        Location::parse(OsStr::new(text), &S3Connection::default())
    }

    #[test]
    fn a_provider_is_spelled_the_same_everywhere() {
        for name in ["local", "google_drive", "s3", "http_api", "azure_blob", "tiktok", "rtsp"] {
            let provider = Provider::named(name).unwrap();
            assert_eq!(serde_json::to_value(provider).unwrap(), name);
            assert_eq!(provider.as_str(), name);
        }
    }

    #[test]
    fn one_trailing_slash_names_the_same_prefix() {
        assert_eq!(parse("s3://b/p/").unwrap(), parse("s3://b/p").unwrap());
        assert_eq!(parse("s3://b/p//").unwrap().bucket_and_prefix().1, "p/");
        assert_eq!(parse("s3://b/").unwrap().bucket_and_prefix(), ("b".into(), String::new()));
    }

    #[test]
    fn a_folder_is_the_same_however_it_is_spelled() {
        assert_eq!(parse("/a/./b/../c/").unwrap(), parse("/a/c").unwrap());
    }

    #[test]
    fn a_scheme_that_is_unknown_or_names_no_bucket_is_refused() {
        assert!(matches!(parse("gopher://x"), Err(LocationError::UnknownScheme { .. })));
        assert!(matches!(parse("s3://"), Err(LocationError::NoBucket(_))));
        assert!(matches!(parse("s3:///key"), Err(LocationError::NoBucket(_))));
        assert!(matches!(parse(""), Err(LocationError::Empty)));
    }
}
