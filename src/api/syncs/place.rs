//! Where a sync reads: from `connection_id` and `source_path` to a [`Location`] that has answered.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    api::{
        App,
        error::{ApiError, FieldError},
    },
    engine::RunError,
    model::{Connection, Location, Provider, SyncOptions},
    sources::Source,
    store::connections::{self, StoredConnection},
};

/// How long a source may take to answer somebody who waits for it.
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
        Some(found) => match &found.settings {
            Connection::Other(other) => Err(wrong(format!(
                "this version keeps connections to {} and cannot sync from it yet; it can sync \
                 from local, s3 and tigris",
                other.provider.as_str()
            ))),
            _ => Ok(found),
        },
    }
}

/// The place that `source_path` names, by the rules of the connection's provider.
pub(super) fn location(
    app: &App,
    connection: &StoredConnection,
    source_path: Option<&str>,
) -> Result<Location, FieldError> {
    let provider = connection.settings.provider();
    let accepted = match provider {
        Provider::Local => "an absolute folder outside Catchment's own data, as in /home/me/photos",
        _ => "bucket or bucket/prefix, without scheme",
    };
    let wrong = |message: String| {
        let value = source_path.map_or(serde_json::Value::Null, Into::into);
        FieldError::new("source_path", value, message).accepting(accepted)
    };
    let Some(text) = source_path.filter(|text| !text.is_empty()) else {
        let mut missing = wrong("this field must be given".to_owned());
        missing.kind = "missing";
        return Err(missing);
    };
    let source_path = match provider {
        Provider::Local => folder(text, &app.config.data_dir),
        _ => bucket_and_prefix(text),
    };
    Ok(Location {
        connection: connection.settings.clone(),
        source_path: source_path.map_err(wrong)?,
    })
}

/// An absolute folder by its spelling, so that it is the same folder when its mount is away.
fn folder(text: &str, data_dir: &Path) -> Result<Vec<u8>, String> {
    if !text.starts_with('/') {
        return Err("is not an absolute folder".to_owned());
    }
    if text.contains('\0') {
        return Err("has a NUL in it, which no path can have".to_owned());
    }
    let mut plain = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(&plain).starts_with(real(data_dir)) {
        return Err("is Catchment's own data: a bucket cannot swallow itself".to_owned());
    }
    Ok(plain.into_os_string().into_encoded_bytes())
}

/// `bucket[/prefix]`; one trailing slash says the same as none.
fn bucket_and_prefix(text: &str) -> Result<Vec<u8>, String> {
    if text.contains("://") {
        return Err("has a scheme: the connection tells the provider already".to_owned());
    }
    let place = text.strip_suffix('/').unwrap_or(text);
    if place.is_empty() || place.starts_with('/') {
        return Err("names no bucket".to_owned());
    }
    Ok(place.as_bytes().to_vec())
}

/// Opens the source and makes sure that it answers.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_however_it_is_spelled_and_never_our_own() {
        let data = Path::new("/var/lib/catchment");
        assert_eq!(folder("/a/./b/../c/", data).unwrap(), b"/a/c");
        assert!(folder("relative", data).is_err());
        assert!(folder("/var/lib/x/../catchment/files", data).is_err());
        assert!(folder("/var/lib/catchment", data).is_err());
        assert!(folder("/var/lib", data).is_ok(), "what is ours is left out of the listing");
    }

    #[test]
    fn a_bucket_may_have_a_prefix_and_no_scheme() {
        assert_eq!(bucket_and_prefix("b/p/").unwrap(), b"b/p");
        assert_eq!(bucket_and_prefix("b").unwrap(), b"b");
        for wrong in ["", "/", "/p", "s3://b"] {
            assert!(bucket_and_prefix(wrong).is_err(), "{wrong}");
        }
    }
}
