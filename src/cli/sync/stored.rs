//! The stored connection that a sync is made through, where its provider needs one.

use super::Args;
use crate::{
    cli::{Settings, error::CliError},
    model::ProviderName,
    sources::{self, LocationError},
    store::{
        Store,
        connections::{self, ConnectionFilter, StoredConnection},
    },
};

/// The connection that the command names, else the only one of the provider; `None` where the
/// provider is reached without one.
///
/// # Errors
/// When there is no such connection, or one has to be named.
pub(super) async fn connection(
    args: &Args,
    settings: &Settings,
) -> Result<Option<StoredConnection>, CliError> {
    let located = sources::locate(&args.source, &args.settings());
    let is_needed = matches!(located, Err(LocationError::NeedsConnection { .. }));
    if !is_needed && args.connection.is_none() {
        return Ok(None);
    }
    let (provider, _) = sources::place(&args.source).map_err(CliError::usage)?;
    let all = match settings.store()? {
        Some(store) => of(&store, &provider).await?,
        None => Vec::new(),
    };
    choose(all, &provider, args.connection.as_deref()).map(Some)
}

async fn of(store: &Store, provider: &ProviderName) -> Result<Vec<StoredConnection>, CliError> {
    let wanted = ConnectionFilter {
        provider: Some(provider.as_str().to_owned()),
        ..ConnectionFilter::default()
    };
    let mut all = store.read(move |db| connections::list(db, &wanted, None, 0, u32::MAX)).await?;
    all.retain(|connection| connection.status != "ARCHIVED");
    Ok(all)
}

fn choose(
    mut all: Vec<StoredConnection>,
    provider: &ProviderName,
    name: Option<&str>,
) -> Result<StoredConnection, CliError> {
    let names: Vec<String> = all.iter().map(|of| format!("{:?}", of.name)).collect();
    let names = names.join(", ");
    let make = format!("`catchment connect {provider}` makes one");
    match name {
        Some(name) => {
            all.retain(|connection| connection.id.as_str() == name || connection.name == name);
            all.pop().ok_or_else(|| {
                let there_are = if names.is_empty() { make } else { format!("there are {names}") };
                CliError::usage(format!("{provider} has no connection {name:?}: {there_are}"))
            })
        }
        None if all.len() > 1 => Err(CliError::usage(format!(
            "there are several connections to {provider}: name one with --connection ({names})"
        ))),
        None => all.pop().ok_or_else(|| {
            CliError::usage(format!("there is no connection to {provider} yet: {make}"))
        }),
    }
}
