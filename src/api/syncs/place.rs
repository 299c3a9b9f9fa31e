//! Where a sync reads: from `connection_id` and `source_path` to a [`Location`] that was reached.

use std::{sync::Arc, time::Duration};

use crate::{
    api::{
        App,
        error::{ApiError, FieldError},
    },
    engine::RunError,
    model::{Location, SyncOptions},
    sources::{self, Source},
    store::connections::{self, StoredConnection},
};

/// How long a source may take to respond while a caller waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connection that a request names.
pub(super) async fn connection(app: &App, named: &str) -> Result<StoredConnection, ApiError> {
    let wanted = named.to_owned();
    let found = app.engine.store.read(move |db| connections::named(db, &wanted)).await?;
    let wrong = |message: String| {
        ApiError::invalid_field(FieldError::new("connection_id", named, message).accepting(
            "the id or name of a connection that can be read; conn_local is this computer",
        ))
    };
    match found {
        None => Err(wrong(format!("there is no connection {named:?}"))),
        Some(found) if found.status == "ARCHIVED" => {
            Err(wrong(format!("the connection {:?} was deleted", found.name)))
        }
        Some(found) if sources::reader(&found.settings.provider).is_none() => Err(wrong(format!(
            "this version stores connections to {} and cannot sync from it yet; it can sync from {}",
            found.settings.provider,
            sources::readable()
        ))),
        Some(found) => Ok(found),
    }
}

/// The place that `source_path` names, by the rules of the connection's provider.
pub(super) fn location(
    app: &App,
    connection: &StoredConnection,
    source_path: Option<&str>,
    options: &SyncOptions,
) -> Result<Location, FieldError> {
    let reader = sources::reader(&connection.settings.provider);
    let accepted = reader.map_or("nothing yet", |reader| reader.accepted());
    let wrong = |message: String| {
        let value = source_path.map_or(serde_json::Value::Null, Into::into);
        FieldError::new("source_path", value, message).accepting(accepted)
    };
    let assumed = || reader?.assumed_place(&options.provider_filters);
    let Some(text) = source_path.filter(|text| !text.is_empty()).or_else(assumed) else {
        let mut missing = wrong("this field is required".to_owned());
        missing.kind = "missing";
        return Err(missing);
    };
    let reader = reader.ok_or_else(|| wrong("cannot be read by this version".to_owned()))?;
    let source_path = reader.place(text, &app.config.data_dir).map_err(wrong)?;
    Ok(Location { connection: connection.settings.clone(), source_path })
}

/// Opens the source and makes sure that it can be reached.
pub(super) async fn reach(
    app: &App,
    connection: &StoredConnection,
    location: &Location,
    options: &SyncOptions,
) -> Result<Arc<dyn Source>, ApiError> {
    let reaching = async {
        let credentials = app.engine.vault.credentials(connection.key).await?;
        let source = app.engine.connect(location, credentials.as_ref(), options).await?;
        source.probe().await?;
        Ok(source)
    };
    let outcome: Result<_, RunError> = match tokio::time::timeout(PATIENCE, reaching).await {
        Ok(outcome) => outcome,
        Err(_) => {
            return Err(unreachable(
                location,
                &format!("no answer from the source within {} s", PATIENCE.as_secs()),
            ));
        }
    };
    outcome.map_err(|error| match error {
        RunError::Source(error) => unreachable(location, &error.to_string()),
        error => error.into(),
    })
}

fn unreachable(location: &Location, reason: &str) -> ApiError {
    let path = crate::model::EntryPath::new(location.source_path.as_slice());
    ApiError::invalid_field(
        FieldError::new("source_path", path.to_json_text(), reason)
            .accepting("a place that is there and that the connection may list"),
    )
    .code("source_unreachable")
}
