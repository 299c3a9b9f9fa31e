//! S3 and its compatible services as providers: settings, credentials, places, filters.

use std::{ffi::OsStr, path::Path, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::S3;
use crate::{
    model::{Connection, ProviderName, Shard},
    sources::{
        Source, SourceError,
        browse::{Item, ItemKind},
        provider::{
            Browsing, Filters, Given, Kind, LocationError, Locations, Opening, Presence, Provider,
            ProviderFilterError, Reader, Schema, Wrong,
            field::{Field, Literal, Shape, field, one_of, text, word},
        },
    },
};

/// A provider with S3's API.
#[derive(Debug)]
pub struct Compatible {
    /// Its name in the API and in the database.
    pub(in crate::sources) name: &'static str,
    /// Its settings and credentials.
    pub(in crate::sources) schema: &'static Schema,
    /// Schemes of its addresses.
    pub(in crate::sources) schemes: &'static [&'static str],
    /// An address for messages.
    pub(in crate::sources) example: &'static str,
    /// The endpoint that is stored with a connection that names none.
    pub(in crate::sources) endpoint: Option<&'static str>,
    /// The region that is stored with access keys where none is named.
    pub(in crate::sources) region: &'static str,
    /// What requests go to.
    pub(in crate::sources) service: Service,
}

/// Whose endpoints and regions are the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon's, or whatever endpoint is configured in their place.
    Amazon,
    /// Tigris's own, whatever endpoint is configured for other programs.
    Tigris,
}

/// Amazon S3 and S3-compatible storage.
pub static AMAZON: Compatible = Compatible {
    name: "s3",
    schema: &Schema {
        model: "S3Config",
        settings: &[
            REGION,
            ENDPOINT,
            USE_SSL,
            VERIFY_SSL,
            PROFILE,
            ANONYMOUS,
            REQUESTER_PAYS,
            ADDRESSING,
        ],
        presence: Presence::Required,
        kinds: &[
            Kind {
                tag: "access_key",
                model: "S3AccessKeyCredentials",
                fields: &[
                    field("access_key_id", Shape::Text { min: 1, max: 128 }).required(),
                    word("secret_access_key").required(),
                    text("session_token"),
                ],
                dropped: &[],
            },
            Kind {
                tag: "iam_role",
                model: "S3RoleCredentials",
                fields: &[
                    field("role_arn", Shape::Role).required(),
                    field("external_id", Shape::Text { min: 8, max: 128 }).required(),
                ],
                dropped: &[],
            },
            AMBIENT,
        ],
    },
    schemes: &["s3"],
    example: "s3://bucket/prefix",
    endpoint: None,
    region: "us-east-1",
    service: Service::Amazon,
};

pub(in crate::sources) const ENDPOINT: Field =
    field("endpoint_url", Shape::Url { schemes: &["https", "http"], bare: true, query: false });
pub(in crate::sources) const REGION: Field = field("region", Shape::Text { min: 1, max: 32 });
pub(in crate::sources) const PROFILE: Field = word("profile");
pub(in crate::sources) const ANONYMOUS: Field =
    field("anonymous", Shape::Bool).or(Literal::Bool(false));
pub(in crate::sources) const REQUESTER_PAYS: Field =
    field("requester_pays", Shape::Bool).or(Literal::Bool(false));
pub(in crate::sources) const ADDRESSING: Field =
    one_of("addressing", &["auto", "path", "virtual_host"]);
const USE_SSL: Field = field("use_ssl", Shape::Bool).or(Literal::Bool(true));
const VERIFY_SSL: Field = field("verify_ssl", Shape::Bool).or(Literal::Bool(true));

/// The AWS chain of this machine, with what selects from it: ours, beside the contract's.
pub(in crate::sources) const AMBIENT: Kind =
    Kind { tag: "ambient", model: "AmbientCredentials", fields: &[], dropped: &[] };

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

/// Where the keys come from.
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
    const fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "ambient",
            Self::AccessKey => "access_key",
            Self::IamRole => "iam_role",
        }
    }
}

/// The settings of a connection as they are stored. Hold no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3Connection {
    /// Where the keys come from.
    pub keys: KeySource,
    /// The endpoint in place of the provider's own, with scheme.
    pub endpoint_url: Option<String>,
    /// The region; by default what the AWS chain says, else `us-east-1`. Tigris: `auto`.
    pub region: Option<String>,
    /// The profile in the shared config and credentials files.
    pub profile: Option<String>,
    /// A role to assume with those credentials.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// Send unsigned requests: for public buckets.
    pub anonymous: bool,
    /// Agree to pay for requests and transfer.
    pub requester_pays: bool,
    /// Where the bucket's name goes.
    pub addressing: Addressing,
    /// As it was given; the scheme of the endpoint decides.
    pub use_ssl: Option<bool>,
    /// As it was given; certificates are verified wherever there are any.
    pub verify_ssl: Option<bool>,
}

impl S3Connection {
    /// Reads the settings of a stored connection.
    ///
    /// # Errors
    /// [`SourceError::Misconfigured`] when they are not those of a provider with S3's API.
    pub fn of(connection: &Connection) -> Result<Self, SourceError> {
        serde_json::from_value(Value::Object(connection.settings.clone())).map_err(|error| {
            SourceError::Misconfigured {
                message: format!("the stored settings of this connection are invalid: {error}"),
            }
        })
    }

    /// In the form that a [`Connection`] stores.
    #[must_use]
    pub fn to_settings(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(settings)) => settings,
            _ => Map::new(),
        }
    }
}

impl Provider for Compatible {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(self.schema)
    }

    fn check(&self, given: &Given<'_>) -> Vec<Wrong> {
        check(given)
    }

    fn connection(&self, given: &Given<'_>) -> Connection {
        let own = |name: &str| given.text(name).map(str::to_owned);
        let flag = |name: &str| given.settings.get(name).and_then(Value::as_bool);
        let use_ssl = flag("use_ssl");
        let keys = match given.kind {
            Some("access_key") => KeySource::AccessKey,
            Some("iam_role") => KeySource::IamRole,
            _ => KeySource::Chain,
        };
        // The chain knows the region of its profile; keys that are stored know nothing.
        let default_region = (keys != KeySource::Chain).then(|| self.region.to_owned());
        let endpoint = given.text("endpoint_url").or(self.endpoint);
        let settings = S3Connection {
            keys,
            endpoint_url: endpoint.map(|endpoint| with_scheme(endpoint, use_ssl != Some(false))),
            region: own("region").or(default_region),
            profile: own("profile"),
            anonymous: flag("anonymous").unwrap_or_default(),
            requester_pays: flag("requester_pays").unwrap_or_default(),
            addressing: match given.text("addressing") {
                Some("path") => Addressing::Path,
                Some("virtual_host") => Addressing::VirtualHost,
                _ => Addressing::Auto,
            },
            use_ssl,
            verify_ssl: flag("verify_ssl"),
            ..S3Connection::default()
        };
        Connection { provider: ProviderName::new(self.name), settings: settings.to_settings() }
    }

    /// The settings as the contract spells them.
    fn settings(&self, connection: &Connection) -> (Map<String, Value>, Option<String>) {
        let stored = S3Connection::of(connection).unwrap_or_default();
        let settings = json!({
            "region": stored.region,
            "endpoint_url": stored.endpoint_url,
            "use_ssl": stored.use_ssl.unwrap_or(true),
            "verify_ssl": stored.verify_ssl.unwrap_or(true),
            "profile": stored.profile,
            "anonymous": stored.anonymous,
            "requester_pays": stored.requester_pays,
            "addressing": stored.addressing,
        });
        let settings = settings.as_object().cloned().unwrap_or_default();
        (settings, Some(stored.keys.as_str().to_owned()))
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }
}

/// Every rule between fields that is broken.
fn check(given: &Given<'_>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let endpoint = given.text("endpoint_url");
    let is = |name: &str, value: bool| given.settings.get(name) == Some(&Value::Bool(value));
    let use_ssl = !is("use_ssl", false);
    if !use_ssl && endpoint.is_none() {
        let message = "the provider's own endpoint is reached with TLS only";
        let accepted = "true, or false with an endpoint_url";
        wrong.push(Wrong::invalid("use_ssl", Some(false.into()), message, accepted));
    }
    let plain =
        endpoint.is_some_and(|endpoint| with_scheme(endpoint, use_ssl).starts_with("http://"));
    if is("verify_ssl", false) && !plain {
        let message = "certificates are always verified: for a certificate of your own, add its \
                       authority to this system's, or name its file in SSL_CERT_FILE";
        wrong.push(Wrong::invalid("verify_ssl", Some(false.into()), message, "true"));
    }
    if let Some(region) = given.text("region")
        && !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        let accepted = "lower-case letters, digits and hyphens, as in eu-central-1";
        wrong.push(Wrong::invalid("region", Some(region.into()), "this is not a region", accepted));
    }
    if given.kind != Some(AMBIENT.tag) {
        if let Some(profile) = given.text("profile") {
            let message = "a profile is read with ambient credentials only";
            let accepted = "null, or credentials of the type ambient";
            wrong.push(Wrong::invalid("profile", Some(profile.into()), message, accepted));
        }
        if is("anonymous", true) {
            let message = "anonymous access uses no keys";
            let accepted = "false, or credentials of the type ambient";
            wrong.push(Wrong::invalid("anonymous", Some(true.into()), message, accepted));
        }
    }
    wrong
}

/// An endpoint's own scheme counts; one without gets it from `use_ssl`.
fn with_scheme(endpoint: &str, use_ssl: bool) -> String {
    match (endpoint.contains("://"), use_ssl) {
        (true, _) => endpoint.to_owned(),
        (false, true) => format!("https://{endpoint}"),
        (false, false) => format!("http://{endpoint}"),
    }
}

#[async_trait]
impl Reader for Compatible {
    async fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Source>, SourceError> {
        Ok(Arc::new(S3::connect(self.service, opening).await?))
    }

    fn offers(&self) -> &'static [&'static str] {
        &["tag", "metadata"]
    }
}

impl Locations for Compatible {
    fn accepted(&self) -> &'static str {
        "bucket or bucket/prefix, without scheme"
    }

    /// `bucket[/prefix]`; one trailing slash says the same as none.
    fn place(&self, text: &str, _: &Path) -> Result<Vec<u8>, String> {
        if text.contains("://") {
            return Err("has a scheme: the connection names the provider already".to_owned());
        }
        let place = text.strip_suffix('/').unwrap_or(text);
        if place.is_empty() || place.starts_with('/') {
            return Err("names no bucket".to_owned());
        }
        Ok(place.as_bytes().to_vec())
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }

    fn example(&self) -> &'static str {
        self.example
    }

    fn addressed(&self, scheme: &str, rest: &OsStr) -> Result<Vec<u8>, LocationError> {
        let text = rest.to_str().ok_or_else(|| {
            LocationError::NotText(format!("{scheme}://{}", rest.to_string_lossy()))
        })?;
        let place = text.strip_suffix('/').unwrap_or(text);
        if place.is_empty() || place.starts_with('/') {
            return Err(LocationError::NoPlace {
                address: format!("{scheme}://"),
                problem: "names no bucket".to_owned(),
                accepted: format!("{scheme}://BUCKET or {scheme}://BUCKET/PREFIX"),
            });
        }
        Ok(place.as_bytes().to_vec())
    }

    fn ambient(&self, options: &Map<String, Value>) -> Option<Connection> {
        let mut settings = S3Connection::default().to_settings();
        settings.extend(options.clone());
        Some(Connection { provider: ProviderName::new(self.name), settings })
    }
}

/// What the one filter may be.
const PREFIX: &str = "text that keys below source_path begin with, or a list of such texts";

impl Filters for Compatible {
    fn keys(&self) -> &'static [&'static str] {
        &["prefix"]
    }

    /// Only keys that begin with `prefix` behind the source path are listed; where it is a list,
    /// each of its prefixes is a shard.
    fn shards(&self, filters: &Map<String, Value>) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
        match filters.get("prefix") {
            None | Some(Value::Null) => Ok(vec![Shard::whole()]),
            Some(Value::String(prefix)) => Ok(vec![Shard::only(prefix)]),
            Some(Value::Array(prefixes)) if !prefixes.is_empty() => shard_each(prefixes),
            Some(Value::Array(_)) => Err(vec![wrong_prefix(
                None,
                &Value::Array(Vec::new()),
                "names nothing, so nothing would be listed: leave the filter out to list everything",
            )]),
            Some(other) => {
                Err(vec![wrong_prefix(None, other, "is neither text nor a list of texts")])
            }
        }
    }

    fn only_names_shards(&self, key: &str, value: &Value) -> bool {
        key == "prefix" && value.is_array()
    }
}

/// A shard for each prefix. Two of which one begins with the other would list some keys twice.
fn shard_each(prefixes: &[Value]) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
    let mut problems = Vec::new();
    let mut texts: Vec<&str> = Vec::with_capacity(prefixes.len());
    for (position, value) in prefixes.iter().enumerate() {
        let problem = match value.as_str() {
            None => Some("is not text".to_owned()),
            Some("") => Some("lists everything: leave the filter out for that".to_owned()),
            Some(Shard::WHOLE) => {
                Some("is the name of the shard of an undivided source".to_owned())
            }
            Some(text) => {
                let other = texts.iter().find(|o| o.starts_with(text) || text.starts_with(**o));
                other.map(|other| format!("overlaps with {other:?}: leave the longer one out"))
            }
        };
        match (problem, value.as_str()) {
            (None, Some(text)) => texts.push(text),
            (problem, _) => {
                problems.push(wrong_prefix(Some(position), value, problem.unwrap_or_default()));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    texts.sort_unstable();
    Ok(texts.into_iter().map(Shard::beneath).collect())
}

fn wrong_prefix(
    position: Option<usize>,
    value: &Value,
    problem: impl Into<String>,
) -> ProviderFilterError {
    let place = position.map(|position| format!("[{position}]")).unwrap_or_default();
    ProviderFilterError::wrong_value(&format!("prefix{place}"), value, problem, PREFIX)
}

#[async_trait]
impl Browsing for Compatible {
    fn below(&self, parent: &str, item: &Item) -> (String, String) {
        let parent = parent.strip_suffix('/').unwrap_or(parent);
        let parent = parent.strip_prefix('/').unwrap_or(parent);
        let name = item.name.to_json_text();
        let mut id = if parent.is_empty() { name } else { format!("{parent}/{name}") };
        // One slash at the end says nothing; a folder whose name ends with one, or is empty, needs
        // two.
        if id.ends_with('/') {
            id.push('/');
        }
        (id.clone(), format!("/{id}"))
    }

    async fn test(&self, source: &dyn Source) -> Result<String, SourceError> {
        /// Most buckets that are counted.
        const MOST: usize = 1000;
        match source.browse(ItemKind::Folders, MOST).await {
            Ok(level) => {
                Ok(format!("Connection test succeeded: {} buckets in sight", level.items.len()))
            }
            // The keys are known there; they may just not list all buckets.
            Err(SourceError::PermissionDenied { .. }) => Ok(
                "Connection test succeeded: these credentials may not list buckets, so a sync has \
                 to name its own"
                    .to_owned(),
            ),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{filters_besides_shards, provider_filters};

    const NAME: ProviderName = ProviderName::new("s3");

    fn read(json: &Value) -> Result<Vec<Shard>, String> {
        let filters = json.as_object().cloned().unwrap_or_default();
        provider_filters(&NAME, &filters)
            .map(|filters| filters.shards)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_bucket_may_have_a_prefix_and_no_scheme() {
        let place = |text| AMAZON.place(text, Path::new("/data"));
        assert_eq!(place("b/p/").unwrap(), b"b/p");
        assert_eq!(place("b").unwrap(), b"b");
        for wrong in ["", "/", "/p", "s3://b"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_that_a_provider_does_not_have_is_refused_with_those_that_it_has() {
        assert_eq!(read(&json!({"prefix": "2026/"})).unwrap(), [Shard::only("2026/")]);
        let error = read(&json!({"perfix": "2026/"})).unwrap_err();
        assert_eq!(error, "provider_filters.perfix: s3 has no such filter; it has prefix");
        assert!(read(&json!({"prefix": 5})).unwrap_err().contains("neither text"));
    }

    #[test]
    fn a_list_of_prefixes_is_a_shard_each_in_the_order_of_the_paths() {
        let shards = read(&json!({"prefix": ["b/", "a", "b."]})).unwrap();
        assert_eq!(shards, ["a", "b.", "b/"].map(Shard::beneath));
    }

    #[test]
    fn prefixes_that_would_list_a_key_twice_are_refused_by_their_place() {
        for (prefixes, place, reason) in [
            (json!(["a/", "b", "a/x"]), "prefix[2]: \"a/x\"", "overlaps with \"a/\""),
            (json!(["a/x", "a/"]), "prefix[1]: \"a/\"", "overlaps with \"a/x\""),
            (json!(["a", "a"]), "prefix[1]: \"a\"", "overlaps"),
            (json!(["a", ""]), "prefix[1]: \"\"", "everything"),
            (json!(["__default__"]), "prefix[0]", "undivided"),
            (json!([7]), "prefix[0]: 7", "not text"),
            (json!([]), "prefix: []", "nothing would be listed"),
        ] {
            let error = read(&json!({ "prefix": prefixes })).unwrap_err();
            assert!(error.contains(place) && error.contains(reason), "{prefixes}: {error}");
        }
    }

    #[test]
    fn only_a_list_of_prefixes_may_change_without_changing_what_a_shard_is() {
        let others = |json: Value| filters_besides_shards(&NAME, json.as_object().unwrap());
        assert_eq!(others(json!({"prefix": ["a"]})), others(json!({"prefix": ["a", "b"]})));
        assert_ne!(others(json!({"prefix": "a"})), others(json!({"prefix": "b"})));
    }
}
