//! SharePoint and OneDrive as a provider that can be read: its places, how people look around in
//! it, and how its source is opened.

use std::{ffi::OsStr, path::Path, sync::Arc};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{
    columns::Columns,
    graph::{Graph, USER_AGENT},
    provider::Sharepoint,
    source::{Root, SharePoint},
    source_path::{ACCEPTED, Defaults, SourcePath, parts_of},
};
use crate::{
    model::Shard,
    sources::{
        Source, SourceError,
        browse::Item,
        http::Client,
        limits::Rate,
        oauth::microsoft::Microsoft,
        provider::{
            Browsing, Filters, LocationError, Locations, NotAFolder, Opening, ProviderFilterError,
            Reader,
        },
    },
};

#[async_trait]
impl Reader for Sharepoint {
    async fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Source>, SourceError> {
        let Opening { location, credentials, tuning, options, .. } = opening;
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
        let place = SourcePath::read(&text).map_err(|wrong| SourceError::Misconfigured {
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
        let libraries = libraries(&options.provider_filters)
            .map_err(|problem| SourceError::Misconfigured { message: problem.to_string() })?;
        let is_site = matches!(place, SourcePath::Site { .. } | SourcePath::Libraries { .. });
        if !libraries.is_empty() && !is_site {
            let message = "provider_filters.libraries goes with a place /sites/Name".to_owned();
            return Err(SourceError::Misconfigured { message });
        }
        let is_nowhere = is_application && defaults.is_empty();
        let root = match place {
            SourcePath::Own { folder } if folder.is_empty() && is_nowhere => {
                Root::Sites { follows: false }
            }
            SourcePath::Own { folder } if folder.is_empty() && defaults.is_nothing() => {
                Root::Own(graph.find(&SourcePath::Own { folder }, &defaults).await?)
            }
            SourcePath::Sites => Root::Sites { follows: !is_application },
            SourcePath::Site { path } if !libraries.is_empty() => {
                let (site, rest) = graph.site(&path, &defaults).await?;
                if let Some(library) = rest.first() {
                    let message = format!(
                        "provider_filters.libraries goes with a place that ends with its site: \
                         leave {library:?} out of the place, and name it there"
                    );
                    return Err(SourceError::Misconfigured { message });
                }
                let all = graph.libraries_named(&site.id, &libraries, &[]).await?;
                Root::Libraries { site: site.id, all }
            }
            SourcePath::Libraries { site, all } if !libraries.is_empty() => {
                let all = graph.libraries_named(&site, &libraries, &all).await?;
                Root::Libraries { site, all }
            }
            SourcePath::Libraries { site, .. } => Root::Site { id: site },
            SourcePath::Site { path } => match graph.site(&path, &defaults).await? {
                (site, []) => Root::Site { id: site.id },
                (site, rest) => Root::Folder(graph.folder_of_site(&site.id, rest).await?),
            },
            place => Root::Folder(graph.find(&place, &defaults).await?),
        };
        let columns = Columns::among(opening.named_properties());
        Ok(Arc::new(SharePoint::new(graph, root, columns)))
    }

    fn offers(&self) -> &'static [&'static str] {
        &["metadata", "column"]
    }
}

impl Locations for Sharepoint {
    fn accepted(&self) -> &'static str {
        ACCEPTED
    }

    fn place(&self, source_path: &str, _own_data: &Path) -> Result<Vec<u8>, String> {
        match SourcePath::read(source_path)? {
            SourcePath::Sites => Err(format!("names no site: write {ACCEPTED}")),
            place => Ok(place.spelled().into_bytes()),
        }
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

impl Filters for Sharepoint {
    fn keys(&self) -> &'static [&'static str] {
        &["libraries"]
    }

    fn shards(&self, filters: &Map<String, Value>) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
        match libraries(filters) {
            Ok(names) if names.is_empty() => Ok(vec![Shard::whole()]),
            Ok(names) => Ok(names.iter().map(Shard::named).collect()),
            Err(problem) => Err(vec![problem]),
        }
    }
}

/// Libraries of one sync at most.
const MOST_LIBRARIES: usize = 100;

/// The libraries that a sync names.
fn libraries(filters: &Map<String, Value>) -> Result<Vec<String>, ProviderFilterError> {
    let wrong = |value: &Value, problem: &str| {
        let accepted = "the names of libraries of the site, at most 100, each once";
        Err(ProviderFilterError::wrong_value("libraries", value, problem, accepted))
    };
    let Some(given) = filters.get("libraries").filter(|of| !of.is_null()) else {
        return Ok(Vec::new());
    };
    let Some(all) = given.as_array().filter(|all| all.len() <= MOST_LIBRARIES) else {
        return wrong(given, "is not a list of at most 100 names");
    };
    let mut names: Vec<String> = Vec::with_capacity(all.len());
    for one in all {
        let name = match one.as_str().map(str::trim) {
            None | Some("") => return wrong(one, "is no name"),
            Some(name) if name.contains('/') => return wrong(one, "has a slash in it"),
            Some(name) => name.to_owned(),
        };
        if names.iter().any(|other| other.to_lowercase() == name.to_lowercase()) {
            return wrong(one, "is named twice");
        }
        names.push(name);
    }
    Ok(names)
}

#[async_trait]
impl Browsing for Sharepoint {
    fn root(&self) -> Vec<u8> {
        b"/".to_vec()
    }

    fn browsed(&self, path: &str) -> Result<Vec<u8>, NotAFolder> {
        let place = SourcePath::read(path).map_err(|_| NotAFolder {
            message: "this is no place of SharePoint or OneDrive",
            accepted: ACCEPTED,
        })?;
        Ok(place.spelled().into_bytes())
    }

    /// Sites, and what is in a folder that was named by its id, are looked into by their ids.
    fn below(&self, parent: &str, item: &Item) -> (String, String) {
        let path = format!("{}/{}", parent.trim_end_matches('/'), item.name.to_json_text());
        let Some(id) = item.id.clone() else { return (path.clone(), path) };
        let is_site = !id.contains('!');
        let path = if parent.starts_with('/') && !is_site { path } else { id.clone() };
        (id, path)
    }

    async fn test(&self, source: &dyn Source) -> Result<String, SourceError> {
        source.account().await?;
        Ok("Connection test succeeded".to_owned())
    }
}
