//! Credentials, region and endpoint from the standard AWS chain, and their renewal.
//!
//! The chain is the AWS SDK's own; what is added is that it is only built where the environment has
//! no keys, a cache that renews before the end, once for all who wait, and messages that say what
//! was tried.

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_config::{
    BehaviorVersion, Region, SdkConfig,
    default_provider::credentials::DefaultCredentialsChain,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    imds,
    meta::{credentials::CredentialsProviderChain, region::RegionProviderChain},
    profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider},
    provider_config::ProviderConfig,
    sts::AssumeRoleProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_types::{
    os_shim_internal::{Env, Fs},
    service_config::ServiceConfigKey,
};
use object_store::{CredentialProvider, aws::AwsCredential};
use tokio::sync::{Mutex, OnceCell};

use super::{
    address::{self, Endpoint},
    provider::{KeySource, S3Connection, Service},
    refusal::Refusal,
    sdk_http::SdkHttp,
};
use crate::{model, sources::SourceError};

/// The region of a connection that neither the user nor the chain gives one.
const DEFAULT_REGION: &str = "us-east-1";

/// How long before their end credentials are renewed, where they last that long.
const RENEW_BEFORE_END: Duration = Duration::from_secs(5 * 60);

/// How long credentials that still work are used on after a renewal that failed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// How long the chain may take; single sign-on and helper programs have their own pace.
const CHAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Instance metadata answers within milliseconds where it exists at all.
const IMDS_TIMEOUT: Duration = Duration::from_secs(1);

/// What the chain and the user's settings come to.
pub(super) struct Resolved {
    /// The region to begin with.
    pub(super) region: String,
    /// Where to send requests.
    pub(super) endpoint: Endpoint,
    /// What to sign them with; `None` for anonymous access.
    pub(super) signer: Option<Arc<Keyring>>,
}

/// Reads the settings. Makes no request yet: credentials are loaded when the first one is signed.
pub(super) async fn resolve(
    service: Service,
    settings: &S3Connection,
    stored: Option<&model::Credentials>,
) -> Result<Resolved, SourceError> {
    let profile = settings.profile.as_deref();
    require_profile(profile).await?;
    let region = region(service, settings).await?;
    let config = shared_config(profile, &region).await;
    let endpoint = endpoint(service, settings, &config)?;
    let signer = match settings.anonymous {
        true => None,
        false => {
            let provider = match (settings.keys, stored) {
                (KeySource::Chain, _) => chain(settings, &region, &config).await,
                (KeySource::AccessKey | KeySource::IamRole, Some(stored)) => {
                    kept(stored, &region).await?
                }
                (KeySource::AccessKey | KeySource::IamRole, None) => return Err(no_keys_kept()),
            };
            Some(Arc::new(Keyring::new(provider, profile)))
        }
    };
    Ok(Resolved { region, endpoint, signer })
}

/// A profile that is named must exist; the chain itself would only say so much later.
async fn require_profile(profile: Option<&str>) -> Result<(), SourceError> {
    let Some(name) = profile else { return Ok(()) };
    let (fs, env) = (Fs::real(), Env::real());
    let selected = Some(Cow::Owned(name.to_owned()));
    let profiles = aws_config::profile::load(&fs, &env, &Default::default(), selected)
        .await
        .map_err(|error| SourceError::Misconfigured {
            message: format!("cannot read the AWS profiles: {}", chain_of(&error)),
        })?;
    match profiles.get_profile(name) {
        Some(_) => Ok(()),
        None => {
            let known: Vec<&str> = profiles.profiles().collect();
            let known = match known.as_slice() {
                [] => "there are none".to_owned(),
                known => format!("there are: {}", known.join(", ")),
            };
            let place = |variable: &str, usual: &str| {
                std::env::var(variable).unwrap_or_else(|_| usual.to_owned())
            };
            let (config, keys) = (
                place("AWS_CONFIG_FILE", "~/.aws/config"),
                place("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
            );
            Err(SourceError::Misconfigured {
                message: format!(
                    "there is no profile {name:?} in {config} and {keys}, the AWS config and \
                     credentials files; {known}"
                ),
            })
        }
    }
}

/// The region: the user's, else the environment's, else the profile's, else the default. Instance
/// metadata is not asked: a wrong guess costs one answer, which names the right region.
async fn region(service: Service, settings: &S3Connection) -> Result<String, SourceError> {
    let region = match &settings.region {
        Some(region) => region.clone(),
        None if service == Service::Tigris => "auto".to_owned(),
        None => chain_region(settings.profile.as_deref()).await,
    };
    match address::is_region(&region) {
        true => Ok(region),
        false => Err(SourceError::Misconfigured {
            message: format!("{region:?} is not a region: regions look like eu-central-1"),
        }),
    }
}

async fn chain_region(profile: Option<&str>) -> String {
    let mut of_profile = ProfileFileRegionProvider::builder();
    if let Some(name) = profile {
        of_profile = of_profile.profile_name(name);
    }
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(of_profile.build())
        .region()
        .await
        .map_or_else(|| DEFAULT_REGION.to_owned(), |region| region.to_string())
}

async fn shared_config(profile: Option<&str>, region: &str) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .http_client(SdkHttp::default())
        .no_credentials();
    if let Some(name) = profile {
        loader = loader.profile_name(name);
    }
    loader.load().await
}

/// The endpoint: the user's, else that of the environment or profile, else the provider's own.
///
/// `tigris://` means Tigris, so it takes only Tigris's own hosts from the environment (Fly machines
/// set one), not the S3 service that somebody configured for other programs.
fn endpoint(
    service: Service,
    settings: &S3Connection,
    config: &SdkConfig,
) -> Result<Endpoint, SourceError> {
    if let Some(url) = &settings.endpoint_url {
        return Endpoint::parse(url);
    }
    let configured = configured_endpoint(config).map(|url| Endpoint::parse(&url)).transpose()?;
    match configured {
        Some(endpoint) if service == Service::Amazon || endpoint.is_tigris() => Ok(endpoint),
        _ => address::default_endpoint(service),
    }
}

/// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or the profile's `endpoint_url`, in the order of
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>.
fn configured_endpoint(config: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    config
        .service_config()
        .and_then(|services| services.load_config(key))
        .or_else(|| config.endpoint_url().map(str::to_owned))
        .filter(|url| !url.is_empty())
}

/// Credentials that a connection keeps, in the contract's shapes.
#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum StoredCredentials {
    AccessKey {
        access_key_id: String,
        secret_access_key: String,
        #[serde(default)]
        session_token: Option<String>,
    },
    IamRole {
        role_arn: String,
        external_id: String,
    },
}

/// The provider of kept credentials. A role is assumed with what the chain says.
async fn kept(
    stored: &model::Credentials,
    region: &str,
) -> Result<SharedCredentialsProvider, SourceError> {
    let kept: StoredCredentials =
        stored.read().map_err(|error| SourceError::Misconfigured { message: error.to_string() })?;
    Ok(match kept {
        StoredCredentials::AccessKey { access_key_id, secret_access_key, session_token } => {
            let keys = Credentials::new(
                access_key_id,
                secret_access_key,
                session_token,
                None,
                "the connection",
            );
            SharedCredentialsProvider::new(keys)
        }
        StoredCredentials::IamRole { role_arn, external_id } => {
            let settings = S3Connection {
                role_arn: Some(role_arn),
                external_id: Some(external_id),
                ..S3Connection::default()
            };
            let config = shared_config(None, region).await;
            chain(&settings, region, &config).await
        }
    })
}

fn no_keys_kept() -> SourceError {
    SourceError::Misconfigured {
        message: "this connection's credentials are gone: enter them again".to_owned(),
    }
}

/// The providers to ask. A profile that the user names is the only one: like in AWS's own tools,
/// naming it says more than a variable that happens to be set.
async fn chain(
    settings: &S3Connection,
    region: &str,
    config: &SdkConfig,
) -> SharedCredentialsProvider {
    let region = Region::new(region.to_owned());
    let base = match &settings.profile {
        Some(name) => SharedCredentialsProvider::new(
            ProfileFileCredentialsProvider::builder()
                .configure(&provider_config(&region))
                .profile_name(name)
                .build(),
        ),
        None => {
            let environment = EnvironmentVariableCredentialsProvider::new();
            let rest = DefaultChain { region: region.clone(), built: OnceCell::new() };
            SharedCredentialsProvider::new(
                CredentialsProviderChain::first_try("Environment", environment)
                    .or_else("DefaultChain", rest),
            )
        }
    };
    let Some(role) = &settings.role_arn else { return base };
    let mut assume = AssumeRoleProvider::builder(role)
        .session_name("catchment")
        .region(region)
        .configure(config);
    if let Some(external_id) = &settings.external_id {
        assume = assume.external_id(external_id);
    }
    SharedCredentialsProvider::new(assume.build_from_provider(base).await)
}

fn provider_config(region: &Region) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_region(Some(region.clone()))
        .with_http_client(SdkHttp::default())
}

/// The SDK's chain, built when it is first asked: keys from the environment need none of it.
#[derive(Debug)]
struct DefaultChain {
    region: Region,
    built: OnceCell<DefaultCredentialsChain>,
}

impl DefaultChain {
    async fn build(&self) -> DefaultCredentialsChain {
        let config = provider_config(&self.region);
        let imds = imds::Client::builder()
            .configure(&config)
            .connect_timeout(IMDS_TIMEOUT)
            .read_timeout(IMDS_TIMEOUT)
            .max_attempts(1)
            .build();
        let chain = DefaultCredentialsChain::builder().configure(config);
        chain.region(self.region.clone()).imds_client(imds).build().await
    }
}

impl ProvideCredentials for DefaultChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.built.get_or_init(|| self.build()).await.provide_credentials().await
        })
    }
}

/// Credentials, kept until shortly before their end.
pub(super) struct Keyring {
    provider: SharedCredentialsProvider,
    profile: Option<String>,
    current: RwLock<Option<Keys>>,
    /// Held while loading, so that many who wait cost one request. The keys that have expired and
    /// for which there were no others.
    loading: Mutex<Option<Keys>>,
}

/// One set of credentials, in both spellings.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) aws: Credentials,
    object_store: Arc<AwsCredential>,
    renew_at: Option<SystemTime>,
}

impl Keys {
    fn new(aws: Credentials, now: SystemTime) -> Self {
        let renew_at = aws.expiry().map(|end| {
            let lifetime = end.duration_since(now).unwrap_or_default();
            now + (lifetime / 2).max(lifetime.saturating_sub(RENEW_BEFORE_END))
        });
        let object_store = Arc::new(AwsCredential {
            key_id: aws.access_key_id().to_owned(),
            secret_key: aws.secret_access_key().to_owned(),
            token: aws.session_token().map(str::to_owned),
        });
        Self { aws, object_store, renew_at }
    }

    /// Whether they are the same.
    fn are(&self, other: &Self) -> bool {
        let parts = |keys: &Self| {
            let keys = &keys.object_store;
            (keys.key_id.clone(), keys.secret_key.clone(), keys.token.clone())
        };
        parts(self) == parts(other)
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.renew_at.is_none_or(|at| now < at)
    }

    fn still_works(&self, now: SystemTime) -> bool {
        self.aws.expiry().is_none_or(|end| now < end)
    }
}

impl Keyring {
    fn new(provider: SharedCredentialsProvider, profile: Option<&str>) -> Self {
        Self {
            provider,
            profile: profile.map(str::to_owned),
            current: RwLock::default(),
            loading: Mutex::default(),
        }
    }

    /// The credentials to sign with now.
    pub(super) async fn keys(&self) -> Result<Keys, SourceError> {
        if let Some(keys) = self.fresh() {
            return Ok(keys);
        }
        let _loading = self.loading.lock().await;
        match self.fresh() {
            Some(keys) => Ok(keys),
            None => self.renew().await,
        }
    }

    /// What was signed with last, if anything was.
    pub(super) fn current(&self) -> Option<Keys> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for credentials again, because those of `refused` have expired whatever was said of
    /// their end. Returns whether there are others now.
    pub(super) async fn replace(&self, refused: Option<&Keys>) -> Result<bool, SourceError> {
        let Some(refused) = refused else { return Ok(false) };
        let mut final_keys = self.loading.lock().await;
        // Somebody else may have done so meanwhile.
        if self.current().is_some_and(|keys| !keys.are(refused)) {
            return Ok(true);
        }
        if final_keys.as_ref().is_some_and(|keys| keys.are(refused)) {
            return Ok(false);
        }
        let are_others = !self.renew().await?.are(refused);
        if !are_others {
            *final_keys = Some(refused.clone());
        }
        Ok(are_others)
    }

    fn fresh(&self) -> Option<Keys> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|keys| keys.is_fresh(SystemTime::now())).cloned()
    }

    async fn renew(&self) -> Result<Keys, SourceError> {
        let loaded = tokio::time::timeout(CHAIN_TIMEOUT, self.provider.provide_credentials()).await;
        let now = SystemTime::now();
        let keys = match loaded {
            Ok(Ok(credentials)) => Keys::new(credentials, now),
            Ok(Err(error)) => self.carry_on(now).ok_or_else(|| self.explain(&error))?,
            Err(_) => self.carry_on(now).ok_or_else(|| SourceError::Timeout {
                message: "the AWS credential chain".into(),
            })?,
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        Ok(keys)
    }

    /// The old credentials for a little longer, where they still work.
    fn carry_on(&self, now: SystemTime) -> Option<Keys> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let keys = current.filter(|keys| keys.still_works(now))?;
        Some(Keys { renew_at: Some(now + RENEWAL_PAUSE), ..keys })
    }

    fn explain(&self, error: &CredentialsError) -> SourceError {
        let tried = match &self.profile {
            Some(name) => format!("the profile {name:?}"),
            None => "the environment, the shared config and credentials files, web identity, and \
                     the container's and the instance's role"
                .to_owned(),
        };
        let ways_out = "give --profile, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use \
                        --anonymous for a public bucket";
        let message = match error {
            CredentialsError::CredentialsNotLoaded(_) => {
                format!("no AWS credentials found; tried {tried}: {ways_out}")
            }
            _ => format!("no AWS credentials from {tried} ({}): {ways_out}", chain_of(error)),
        };
        SourceError::Auth { message }
    }
}

/// An error with everything that caused it, in one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Shows no secret.
impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Keyring {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let keys = self.keys().await.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(Refusal::from(error)),
        })?;
        Ok(keys.object_store)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Hands out credentials that last `lifetime`, until `fail_after` loads.
    #[derive(Debug)]
    struct Fake {
        loads: Arc<AtomicU32>,
        lifetime: Option<Duration>,
        fail_after: u32,
    }

    impl ProvideCredentials for Fake {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                tokio::task::yield_now().await;
                if self.loads.fetch_add(1, Ordering::SeqCst) >= self.fail_after {
                    return Err(CredentialsError::not_loaded("none"));
                }
                let end = self.lifetime.map(|lifetime| SystemTime::now() + lifetime);
                Ok(Credentials::new("id", "secret", None, end, "fake"))
            })
        }
    }

    fn keyring(lifetime: Option<Duration>, fail_after: u32) -> (Keyring, Arc<AtomicU32>) {
        let loads = Arc::new(AtomicU32::new(0));
        let fake = Fake { loads: Arc::clone(&loads), lifetime, fail_after };
        (Keyring::new(SharedCredentialsProvider::new(fake), None), loads)
    }

    #[tokio::test]
    async fn many_who_wait_for_credentials_cost_one_load() {
        let (keyring, loads) = keyring(None, 9);
        let all = futures_util::future::join_all((0..50).map(|_| keyring.keys())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn credentials_are_renewed_before_their_end() {
        let (keyring, loads) = keyring(Some(Duration::ZERO), 9);
        keyring.keys().await.unwrap();
        keyring.keys().await.unwrap();
        assert_eq!(loads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn credentials_that_still_work_outlive_a_renewal_that_failed() {
        let (keyring, loads) = keyring(Some(Duration::from_secs(3600)), 1);
        let keys = keyring.keys().await.unwrap();
        let due = Keys { renew_at: Some(SystemTime::UNIX_EPOCH), ..keys };
        *keyring.current.write().unwrap() = Some(due);
        assert!(keyring.keys().await.is_ok());
        assert!(keyring.keys().await.is_ok());
        assert_eq!(loads.load(Ordering::SeqCst), 2, "no attempt for each request");
    }

    #[tokio::test]
    async fn missing_credentials_name_what_was_tried_and_the_ways_out() {
        let (keyring, _) = keyring(None, 0);
        let error = keyring.keys().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, SourceError::Auth { .. }));
        for word in ["environment", "instance", "--profile", "AWS_ACCESS_KEY_ID", "--anonymous"] {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn short_credentials_are_used_for_half_their_life_and_long_ones_until_five_minutes_before() {
        let now = SystemTime::UNIX_EPOCH;
        let renewal = |seconds| {
            let end = Some(now + Duration::from_secs(seconds));
            Keys::new(Credentials::new("i", "s", None, end, "t"), now).renew_at.unwrap()
        };
        assert_eq!(renewal(60), now + Duration::from_secs(30));
        assert_eq!(renewal(3600), now + Duration::from_secs(3300));
    }
}
