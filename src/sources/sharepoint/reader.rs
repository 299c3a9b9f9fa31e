//! SharePoint and OneDrive as a provider that can be read: its places, how people look around in
//! it, and how its source is opened.

use std::{ffi::OsStr, path::Path, sync::Arc};

use async_trait::async_trait;

use super::{
    graph::{Graph, USER_AGENT},
    place::{ACCEPTED, Defaults, Place, parts_of},
    provider::Sharepoint,
    source::{Root, SharePoint},
};
use crate::sources::{
    Source, SourceError,
    browse::Item,
    http::Client,
    limits::Rate,
    oauth::microsoft::Microsoft,
    provider::{Browsing, Filters, LocationError, NotAFolder, Opening, Places, Reader},
};

#[async_trait]
impl Reader for Sharepoint {
    async fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Source>, SourceError> {
        let Opening { location, credentials, tuning, .. } = opening;
        let Some(credentials) = credentials else {
            let message = "this connection has no credentials: sign in again".to_owned();
            return Err(SourceError::Misconfigured { message });
        };
        let settings = location.connection.settings.get("config");
        let setting = |name: &str| {
            let value = settings.and_then(|all| all.get(name)).and_then(|value| value.as_str());
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let defaults = Defaults {
            site: setting("site_id"),
            drive: setting("drive_id"),
            folder: parts_of(setting("folder_path").as_deref().unwrap_or_default()),
        };
        let text = String::from_utf8_lossy(&location.source_path).into_owned();
        let place = Place::read(&text).map_err(|wrong| SourceError::Misconfigured {
            message: format!("the place {wrong}"),
        })?;
        let hosts = Arc::clone(&tuning.hosts);
        let connection = credentials.keeper().and_then(|keeper| keeper.id().map(str::to_owned));
        let host = hosts.microsoft_graph.clone();
        let per_minute = tuning.budgets.limits().sharepoint_requests_per_minute;
        let per_minute = per_minute.map(Rate::of_a_minute);
        let graph = Graph {
            http: Client::new(
                host.as_str().starts_with("http://"),
                USER_AGENT,
                tuning.budgets.of(connection.as_deref(), per_minute),
            )?,
            grant: tuning.grants.of(
                credentials,
                Arc::new(Microsoft { hosts }),
                tuning.clock.clone(),
            ),
            host,
            clock: tuning.clock.clone(),
        };
        let is_application = location.connection.text("credentials") == Some("client_credentials");
        let root = match place {
            Place::Own { folder } if folder.is_empty() && is_application && defaults.is_empty() => {
                Root::Sites
            }
            Place::Sites => Root::Sites,
            Place::Site { path } if path.len() == 1 => Root::Libraries { path, defaults },
            place => Root::Folder(graph.find(&place, &defaults).await?),
        };
        Ok(Arc::new(SharePoint::new(graph, root)))
    }

    fn offers(&self) -> &'static [&'static str] {
        &["column"]
    }
}

impl Places for Sharepoint {
    fn accepted(&self) -> &'static str {
        ACCEPTED
    }

    fn place(&self, source_path: &str, _own_data: &Path) -> Result<Vec<u8>, String> {
        let place = Place::read(source_path)?;
        let needed = match &place {
            Place::Sites => "names no site",
            Place::Site { path } if path.len() == 1 => "names a site and no library",
            _ => return Ok(place.spelled().into_bytes()),
        };
        Err(format!("{needed}: write {ACCEPTED}"))
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["sharepoint"]
    }

    fn example(&self) -> &'static str {
        "sharepoint:///sites/Name/Library"
    }

    fn addressed(&self, _scheme: &str, rest: &OsStr) -> Result<Vec<u8>, LocationError> {
        let Some(text) = rest.to_str() else {
            return Err(LocationError::NotText(rest.to_string_lossy().into_owned()));
        };
        self.place(text, Path::new("")).map_err(|problem| LocationError::NoPlace {
            address: format!("sharepoint://{text}"),
            problem,
            accepted: format!("{}, where the place is {ACCEPTED}", self.example()),
        })
    }

    fn suggested_name(&self, source_path: &[u8]) -> String {
        let text = String::from_utf8_lossy(source_path).into_owned();
        let last = text.rsplit('/').find(|part| !part.is_empty()).unwrap_or("OneDrive");
        last.split('!').next_back().unwrap_or(last).to_owned()
    }
}

impl Filters for Sharepoint {}

#[async_trait]
impl Browsing for Sharepoint {
    fn root(&self) -> Vec<u8> {
        b"/".to_vec()
    }

    fn browsed(&self, path: &str) -> Result<Vec<u8>, NotAFolder> {
        let place = Place::read(path).map_err(|_| NotAFolder {
            message: "this is no place of SharePoint or OneDrive",
            accepted: ACCEPTED,
        })?;
        Ok(place.spelled().into_bytes())
    }

    fn below(&self, parent: &str, item: &Item) -> (String, String) {
        let name = item.name.to_json_text();
        let path = match parent.starts_with('/') {
            true => format!("{}/{name}", parent.trim_end_matches('/')),
            // The folder was named by its id.
            false => format!("/{name}"),
        };
        (item.id.clone().unwrap_or_else(|| path.clone()), path)
    }

    async fn test(&self, source: &dyn Source) -> Result<String, SourceError> {
        source.account().await?;
        Ok("Connection test succeeded".to_owned())
    }
}
