//! The providers of this build, and the source of any location.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{
    Source, SourceError, google_drive, iconik, kept, local,
    provider::{
        self, Accepted, Opening, Provider, ProviderFilterError, ProviderFilters, Reader, Wrong,
    },
    s3, sharepoint, snowflake, tigris,
    tuning::SourceTuning,
};
use crate::model::{Connection, Credentials, Location, ProviderName, SyncOptions};

/// Every provider, this computer first, the others in the contract's order. A new one is one line.
static PROVIDERS: &[&dyn Provider] = &[
    &local::provider::ThisComputer,
    &google_drive::provider::GoogleDrive,
    &s3::provider::AMAZON,
    &snowflake::provider::Snowflake,
    &sharepoint::provider::Sharepoint,
    &tigris::TIGRIS,
    &kept::tables::POSTGRESQL,
    &kept::media::INSTAGRAM,
    &kept::media::TIKTOK,
    &kept::feeds::RSS,
    &kept::feeds::HTTP_API,
    &kept::documents::BOX,
    &kept::feeds::BRIGHTDATA,
    &kept::storage::BACKBLAZE,
    &kept::media::MUX,
    &kept::feeds::EMAIL,
    &kept::storage::SUPABASE,
    &iconik::provider::Iconik,
    &kept::storage::GCS,
    &kept::storage::AZURE_BLOB,
    &kept::media::RTSP,
];

/// The state of a connection to a provider that has no reader.
pub const NOT_READ: &str = "stored; this build does not sync from it yet";

/// Every provider.
pub fn providers() -> impl Iterator<Item = &'static dyn Provider> {
    PROVIDERS.iter().copied()
}

/// Every provider that can be read.
pub(super) fn readers() -> impl Iterator<Item = (&'static dyn Provider, &'static dyn Reader)> {
    providers().filter_map(|provider| Some((provider, provider.reader()?)))
}

/// The provider of that name.
#[must_use]
pub fn provider(name: &ProviderName) -> Option<&'static dyn Provider> {
    providers().find(|provider| provider.name() == name.as_str())
}

/// What reads the provider of that name, if this version can.
#[must_use]
pub fn reader(name: &ProviderName) -> Option<&'static dyn Reader> {
    provider(name)?.reader()
}

/// The names of the providers that can be read, as in "local, s3 and tigris".
#[must_use]
pub fn readable() -> String {
    let names: Vec<&str> = readers().map(|(provider, _)| provider.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The names of the providers whose one connection is always there.
#[must_use]
pub fn built_in() -> Vec<&'static str> {
    let built_in = providers().filter(|provider| provider.schema().is_none());
    built_in.map(Provider::name).collect()
}

/// The names of the providers whose places are folders that can be watched for changes.
#[must_use]
pub fn watched() -> Vec<&'static str> {
    let watched = readers().filter(|(_, reader)| reader.is_watched());
    watched.map(|(provider, _)| provider.name()).collect()
}

/// Whether connections to the provider can be made, changed and deleted.
#[must_use]
pub fn is_configurable(name: &ProviderName) -> bool {
    provider(name).is_some_and(|provider| provider.schema().is_some())
}

/// The JSON Schemas of all settings and credentials, by the contract's names of their models.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    let mut all: Vec<(&'static str, Value)> = Vec::new();
    for provider in providers() {
        let Some(schema) = provider.schema() else { continue };
        all.push((schema.model, schema.json_schema(provider.name())));
        for kind in schema.kinds {
            if all.iter().all(|(name, _)| *name != kind.model) {
                all.push((kind.model, kind.json_schema()));
            }
        }
    }
    all
}

/// Takes the `provider_config` of a new connection.
///
/// # Errors
/// Every field that is wrong.
pub fn accept(name: &ProviderName, config: &Value) -> Result<Accepted, Vec<Wrong>> {
    provider::accept::accept(configurable(name)?, config)
}

/// Takes a change to the `provider_config` of a connection: keys that are sent replace those
/// before, null clears, and credentials stay unless others are sent.
///
/// # Errors
/// Every field that is wrong.
pub fn amend(connection: &Connection, change: &Value) -> Result<Accepted, Vec<Wrong>> {
    provider::accept::amend(configurable(&connection.provider)?, connection, change)
}

fn configurable(name: &ProviderName) -> Result<&'static dyn Provider, Vec<Wrong>> {
    let makeable = || providers().filter(|provider| provider.schema().is_some());
    makeable().find(|provider| provider.name() == name.as_str()).ok_or_else(|| {
        vec![Wrong {
            field: "provider_type".into(),
            value: Some(name.as_str().into()),
            kind: "invalid",
            message: "this connection exists already and cannot be made or set up".into(),
            accepted: makeable().map(Provider::name).collect::<Vec<_>>().join(", "),
        }]
    })
}

/// The `provider_config` that a reader of the connection sees: of its credentials only their type.
#[must_use]
pub fn public_config(connection: &Connection) -> Map<String, Value> {
    let mut config = Map::new();
    config.insert("provider_type".into(), connection.provider.as_str().into());
    config.insert("credentials".into(), Value::Null);
    if let Some(provider) = provider(&connection.provider) {
        config.extend(provider::accept::public_settings(provider, connection));
    }
    config
}

/// Checks the `provider_filters` of a sync with a source at that provider.
///
/// # Errors
/// Every filter that the provider does not have, and every value that is wrong.
pub fn provider_filters(
    name: &ProviderName,
    filters: &Map<String, Value>,
) -> Result<ProviderFilters, Vec<ProviderFilterError>> {
    ProviderFilters::read(name, reader(name), filters)
}

/// Those `provider_filters` that say more than which shards there are.
#[must_use]
pub fn filters_besides_shards(
    name: &ProviderName,
    filters: &Map<String, Value>,
) -> Map<String, Value> {
    let mut others = filters.clone();
    if let Some(reader) = reader(name) {
        others.retain(|key, value| !reader.only_names_shards(key, value));
    }
    others
}

/// Whether those `provider_filters` look at the folders that an entry is in.
#[must_use]
pub fn filters_look_at_folders(name: &ProviderName, filters: &Map<String, Value>) -> bool {
    reader(name).is_some_and(|reader| reader.look_at_folders(filters))
}

/// Where sources come from: [`Registry`], or a test's own.
#[async_trait]
pub trait Opener: fmt::Debug + Send + Sync {
    /// Opens the source of a location, with the credentials that are kept for its connection.
    ///
    /// # Errors
    /// When the connection's settings cannot work (a profile that does not exist, a bad endpoint).
    async fn open(
        &self,
        location: &Location,
        credentials: Option<&Credentials>,
        options: &SyncOptions,
        tuning: &SourceTuning,
    ) -> Result<Arc<dyn Source>, SourceError>;
}

/// Opens the sources of the providers of this build.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registry;

#[async_trait]
impl Opener for Registry {
    async fn open(
        &self,
        location: &Location,
        credentials: Option<&Credentials>,
        options: &SyncOptions,
        tuning: &SourceTuning,
    ) -> Result<Arc<dyn Source>, SourceError> {
        let name = &location.connection.provider;
        let reader = reader(name).ok_or_else(|| SourceError::Misconfigured {
            message: format!("this version stores connections to {name} and cannot read it yet"),
        })?;
        let filters = &provider_filters(name, &options.provider_filters).map_err(|wrong| {
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            SourceError::Misconfigured { message: wrong.join("; ") }
        })?;
        reader.open(Opening { location, credentials, options, filters, tuning }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_has_a_name_of_its_own_and_every_scheme_leads_to_one() {
        let names: Vec<_> = providers().map(Provider::name).collect();
        let schemes: Vec<_> =
            readers().flat_map(|(_, reader)| reader.schemes().iter().copied()).collect();
        for all in [names, schemes] {
            let mut unique = all.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), all.len(), "{all:?}");
        }
    }

    #[test]
    fn the_document_names_every_model_of_the_contract_once() {
        let names: Vec<_> = schemas().into_iter().map(|(name, _)| name).collect();
        for name in ["S3Config", "TigrisConfig", "SnowflakeKeyPairCredentials", "BoxJWTCredentials"]
        {
            assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{name}");
        }
    }
}
