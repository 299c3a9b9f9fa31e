//! Settings of this installation: flag, else environment, else `config.toml` in the data
//! directory, else default. Read once, here, and passed down as values.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use serde::Deserialize;

use crate::{
    clock::SharedClock,
    sources::{closings::Closings, http::Budgets, oauth::Grants},
};

// What sources are configured with is theirs; it is read here.
pub use crate::sources::{
    hosts::{Host, Hosts},
    limits::Limits,
    tuning::SourceTuning,
};

/// The default data directory, by the platform's convention.
///
/// # Errors
/// When there is no home directory to put it in.
pub fn default_data_dir() -> Result<PathBuf, ConfigError> {
    directories::ProjectDirs::from("", "", "catchment")
        .map(|dirs| dirs.data_local_dir().to_owned())
        .ok_or(ConfigError::NoHome)
}

/// The settings that `config.toml` may have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    min_free: Option<ByteSize>,
    quiet_period_ms: Option<u64>,
    thumbnail_cache: Option<ByteSize>,
    processing: Option<NonZeroU16>,
    listen: Option<SocketAddr>,
    allowed_hosts: Vec<String>,
    open_metrics: bool,
    keyring: Option<Switch>,
    allow_private_urls: Option<bool>,
    url_timeout_seconds: Option<NonZeroU16>,
    hosts: Hosts,
    limits: Limits,
}

/// On or off, as a person writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Switch {
    On,
    Off,
}

impl std::str::FromStr for Switch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}

/// The settings of this installation.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything lives.
    pub data_dir: PathBuf,
    /// How much space must stay free on the data directory's filesystem; `None`: a twentieth of
    /// it, at most 1 GiB.
    pub min_free: Option<ByteSize>,
    /// See [`SourceTuning::quiet_period`].
    pub quiet_period: Duration,
    /// How much of what was drawn of pictures on demand is kept, in the database.
    pub thumbnail_cache: ByteSize,
    /// How many extractors may run at once; `None`: half as many as there are processors.
    pub processing: Option<NonZeroU16>,
    /// URLs in a source's data may lead to this machine and its private networks.
    pub allow_private_urls: bool,
    /// How long the server of a URL in a source's data may take to begin its response.
    pub url_timeout: Duration,
    /// Whether the key to stored credentials is kept in this computer's keyring, where there is
    /// one; it is in a file of the data directory otherwise.
    pub keyring: bool,
    /// Where providers are reached.
    pub hosts: Arc<Hosts>,
    /// Bounds of what is done without being asked.
    pub limits: Limits,
    /// What `serve` does.
    pub serve: ServeConfig,
}

/// Where the server listens, and who may reach it.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Host names that it accepts besides those of this computer's loopback.
    pub allowed_hosts: Vec<String>,
    /// Whether programs on this computer may read `/metrics` without the token.
    pub open_metrics: bool,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no home directory, and no data directory was given.
    #[error("there is no home directory for the data: give --data-dir or set CATCHMENT_DATA_DIR")]
    NoHome,
    /// The file is there and cannot be read.
    #[error("cannot read {path:?}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is not valid.
    #[error("{path:?} is not a valid configuration: {error}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: Box<toml::de::Error>,
    },
    /// An environment variable has an invalid value.
    #[error("{name}={value:?} is not {expected}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self { listen: Config::LISTEN, allowed_hosts: Vec::new(), open_metrics: false }
    }
}

impl Config {
    /// The default of [`SourceTuning::quiet_period`].
    pub const QUIET_PERIOD: Duration = Duration::from_millis(500);
    /// The longest that [`SourceTuning::quiet_period`] may be.
    pub const MAX_QUIET_PERIOD: Duration = Duration::from_secs(2);

    /// The default of [`Config::url_timeout`].
    pub const URL_TIMEOUT: Duration = Duration::from_secs(30);

    /// The default of [`Config::thumbnail_cache`].
    pub const THUMBNAIL_CACHE: ByteSize = ByteSize::mib(256);

    /// Where the server listens by default.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400);

    /// Gathers the settings for `data_dir` (the flag's or variable's, else the default).
    ///
    /// # Errors
    /// When a setting is there and cannot be used.
    pub fn load(data_dir: Option<PathBuf>) -> Result<Self, ConfigError> {
        let data_dir = match data_dir {
            Some(dir) => dir,
            None => default_data_dir()?,
        };
        let file = File::read(&data_dir.join("config.toml"))?;
        let min_free = environment("CATCHMENT_MIN_FREE", "a size such as 10GiB")?.or(file.min_free);
        let quiet_period = environment("CATCHMENT_QUIET_PERIOD_MS", "a number of milliseconds")?
            .or(file.quiet_period_ms)
            .map_or(Self::QUIET_PERIOD, Duration::from_millis)
            .min(Self::MAX_QUIET_PERIOD);
        let thumbnail_cache = environment("CATCHMENT_THUMBNAIL_CACHE", "a size such as 1GiB")?
            .or(file.thumbnail_cache)
            .unwrap_or(Self::THUMBNAIL_CACHE);
        let processing =
            environment("CATCHMENT_PROCESSING", "a number of extractors")?.or(file.processing);
        let serve = ServeConfig {
            listen: environment("CATCHMENT_LISTEN", "an address such as 127.0.0.1:7400")?
                .or(file.listen)
                .unwrap_or(Self::LISTEN),
            allowed_hosts: file.allowed_hosts,
            open_metrics: file.open_metrics,
        };
        let keyring = environment("CATCHMENT_KEYRING", "on or off")?
            .or(file.keyring)
            .is_none_or(|switch| switch == Switch::On);
        let allow_private_urls = environment("CATCHMENT_ALLOW_PRIVATE_URLS", "true or false")?
            .or(file.allow_private_urls)
            .unwrap_or_default();
        let url_timeout = environment("CATCHMENT_URL_TIMEOUT_SECONDS", "a number of seconds")?
            .or(file.url_timeout_seconds)
            .map_or(Self::URL_TIMEOUT, |seconds| Duration::from_secs(seconds.get().into()));
        let (hosts, limits) = (Arc::new(file.hosts), file.limits);
        Ok(Self {
            data_dir,
            min_free,
            quiet_period,
            thumbnail_cache,
            processing,
            allow_private_urls,
            url_timeout,
            keyring,
            hosts,
            limits,
            serve,
        })
    }

    /// The part that sources need.
    #[must_use]
    pub fn source_tuning(&self, clock: SharedClock) -> SourceTuning {
        SourceTuning {
            clock,
            quiet_period: self.quiet_period,
            own_folders: vec![self.data_dir.clone()],
            hosts: Arc::clone(&self.hosts),
            grants: Grants::default(),
            budgets: Budgets::within(self.limits.clone()),
            closings: Closings::default(),
        }
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            // A missing or unreachable data directory is reported where it is opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(ConfigError::Unreadable { path: path.to_owned(), error }),
        };
        toml::from_str(&text)
            .map_err(|error| ConfigError::Invalid { path: path.to_owned(), error: Box::new(error) })
    }
}

/// The value of an environment variable, if it is set.
fn environment<T: std::str::FromStr>(
    name: &'static str,
    expected: &'static str,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let value = value.to_string_lossy().into_owned();
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(_) => Err(ConfigError::Environment { name, value, expected }),
    }
}
