//! Google Drive as a provider: settings, credentials, places, filters.

use std::{ffi::OsStr, path::Path, sync::Arc};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{
    export::Formats,
    source::Drive,
    source_path::{SHARED_WITH_ME, SourcePath, TOP},
};
use crate::{
    model::Shard,
    sources::{
        Source, SourceError,
        browse::Item,
        oauth::{google::WithGoogle, sign_in::SignIn},
        provider::{
            Browsing, Filters, Kind, LocationError, Locations, NotAFolder, Opening, Presence,
            Provider, ProviderFilterError, Reader, Schema, field::text,
        },
    },
};

/// How the drive of the account is shown.
const MY_DRIVE: &str = "/My Drive";

/// Google Drive.
#[derive(Debug)]
pub struct GoogleDrive;

const SCHEMA: Schema = Schema {
    model: "GoogleDriveConfig",
    settings: &[text("shared_drive_id"), text("impersonate_user")],
    presence: Presence::Required,
    kinds: &[
        Kind {
            tag: "service_account",
            model: "GoogleDriveServiceAccountCredentials",
            fields: &[
                text("project_id").required(),
                text("private_key_id").required(),
                text("private_key").required(),
                text("client_email").required(),
                text("client_id").required(),
            ],
            // The rest of the key file as it is downloaded.
            dropped: &[
                "auth_uri",
                "token_uri",
                "auth_provider_x509_cert_url",
                "client_x509_cert_url",
                "universe_domain",
            ],
        },
        Kind {
            tag: "oauth",
            model: "GoogleDriveOAuthCredentials",
            fields: &[
                text("client_id").required(),
                text("client_secret").required(),
                text("refresh_token").required(),
            ],
            dropped: &[],
        },
    ],
};

impl Provider for GoogleDrive {
    fn name(&self) -> &'static str {
        "google_drive"
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(&SCHEMA)
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn sign_in(&self) -> Option<&'static dyn SignIn> {
        Some(&WithGoogle)
    }
}

#[async_trait]
impl Reader for GoogleDrive {
    async fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Source>, SourceError> {
        Ok(Arc::new(Drive::open(opening).await?))
    }

    fn offers(&self) -> &'static [&'static str] {
        &["drive_property"]
    }
}

impl Locations for GoogleDrive {
    fn accepted(&self) -> &'static str {
        "a folder's id or link, root, a path such as /Reports/2026, or /Shared with me"
    }

    fn place(&self, text: &str, _: &Path) -> Result<Vec<u8>, String> {
        let place = SourcePath::parse(text)?;
        if place == SourcePath::Top {
            return Err("has a folder without a name in it".to_owned());
        }
        Ok(place.to_string().into_bytes())
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["gdrive"]
    }

    fn example(&self) -> &'static str {
        "gdrive:///folder"
    }

    /// `gdrive:///a/b` is a path, `gdrive://ID` an id.
    fn addressed(&self, scheme: &str, rest: &OsStr) -> Result<Vec<u8>, LocationError> {
        let text = rest.to_str().ok_or_else(|| {
            LocationError::NotText(format!("{scheme}://{}", rest.to_string_lossy()))
        })?;
        self.place(text, Path::new("")).map_err(|problem| LocationError::NoPlace {
            address: format!("{scheme}://{text}"),
            problem,
            accepted: format!("{scheme}:///FOLDER/FOLDER or {scheme}://FOLDER_ID"),
        })
    }
}

impl Filters for GoogleDrive {
    fn keys(&self) -> &'static [&'static str] {
        &["q", "shared_drive_id", "export_formats", "acknowledge_abuse", "follow_shortcuts"]
    }

    fn shards(&self, filters: &Map<String, Value>) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
        let mut problems = Formats::read(filters.get("export_formats")).err().unwrap_or_default();
        let given = |name: &str| filters.get(name).filter(|value| !value.is_null());
        for name in ["q", "shared_drive_id"] {
            if let Some(value) = given(name).filter(|value| !value.is_string()) {
                let problem = "is not text";
                problems.push(ProviderFilterError::wrong_value(name, value, problem, "text"));
            }
        }
        for name in ["acknowledge_abuse", "follow_shortcuts"] {
            if let Some(value) = given(name).filter(|value| !value.is_boolean()) {
                let (problem, accepted) = ("is neither true nor false", "true or false");
                problems.push(ProviderFilterError::wrong_value(name, value, problem, accepted));
            }
        }
        if problems.is_empty() { Ok(vec![Shard::whole()]) } else { Err(problems) }
    }
}

#[async_trait]
impl Browsing for GoogleDrive {
    fn root(&self) -> Vec<u8> {
        TOP.into()
    }

    /// `/` is above all drives; anything else is a place as `source_path` takes it, or a path from
    /// there.
    fn browsed(&self, path: &str) -> Result<Vec<u8>, NotAFolder> {
        let below =
            path.strip_prefix(MY_DRIVE).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let place = match (path, below) {
            ("/", _) => TOP,
            (_, Some("")) => "root",
            (_, Some(rest)) => rest,
            (path, None) => path,
        };
        match SourcePath::parse(place) {
            Ok(place) => Ok(place.to_string().into_bytes()),
            Err(_) => Err(NotAFolder {
                message: "this is neither a folder's id nor a path",
                accepted: "/, /My Drive, a folder's id or a path below My Drive",
            }),
        }
    }

    /// A readable path where it leads back, else the id.
    fn below(&self, parent: &str, item: &Item) -> (String, String) {
        let name = item.name.to_json_text();
        let id = item.id.clone().unwrap_or_default();
        let parent = parent.trim_end_matches('/');
        let is_readable = !name.contains('/')
            && match parent {
                "" => ["root", SHARED_WITH_ME].contains(&id.as_str()),
                parent => parent == MY_DRIVE || parent.starts_with(&format!("{MY_DRIVE}/")),
            };
        let path = if is_readable { format!("{parent}/{name}") } else { id.clone() };
        (id, path)
    }

    async fn test(&self, source: &dyn Source) -> Result<String, SourceError> {
        let account = source.account().await?.unwrap_or_default();
        let hint = match account.ends_with(".iam.gserviceaccount.com") {
            true => format!(". It sees what is shared with it: share the folder with {account}"),
            false => String::new(),
        };
        Ok(format!("Connection test succeeded: signed in as {account}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::model::EntryPath;

    fn item(name: &str, id: &str) -> Item {
        Item {
            name: EntryPath::new(name.as_bytes()),
            id: Some(id.to_owned()),
            mime: None,
            size: None,
            modified: None,
            note: None,
        }
    }

    #[test]
    fn what_browsing_returns_can_be_sent_back_as_path_and_as_source_path() {
        let mut parent = "/".to_owned();
        for (name, id) in [("My Drive", "root"), ("a", "1AbCdef"), ("b", "2AbCdef")] {
            let (source_path, path) = GoogleDrive.below(&parent, &item(name, id));
            assert!(GoogleDrive.place(&source_path, Path::new("")).is_ok());
            assert!(GoogleDrive.browsed(&path).is_ok(), "{path}");
            parent = path;
        }
        assert_eq!(parent, "/My Drive/a/b");
        assert_eq!(GoogleDrive.browsed(&parent).unwrap(), b"/a/b");
        for (name, id) in [("Team", "0ADriveId"), ("Shared with me", "/Shared with me")] {
            let (source_path, path) = GoogleDrive.below("/", &item(name, id));
            assert_eq!(source_path, path);
            assert!(GoogleDrive.browsed(&path).is_ok());
        }
        let slashed = GoogleDrive.below("/My Drive", &item("a/b", "3AbCdef"));
        assert_eq!(slashed.1, "3AbCdef", "a name with a slash is addressed by id");
    }

    #[test]
    fn wrong_filters_are_named_with_what_is_accepted() {
        let read = |filters: Value| GoogleDrive.shards(filters.as_object().unwrap());
        assert!(read(json!({ "q": "name contains 'x'", "follow_shortcuts": false })).is_ok());
        for wrong in [
            json!({ "q": 5 }),
            json!({ "shared_drive_id": [] }),
            json!({ "acknowledge_abuse": "yes" }),
            json!({ "follow_shortcuts": "no" }),
            json!({ "export_formats": { "application/vnd.google-apps.document": "exe" } }),
        ] {
            assert_eq!(read(wrong.clone()).unwrap_err().len(), 1, "{wrong}");
        }
    }
}
