//! The places of SharePoint and OneDrive: as a `source_path` names them, and as drive and item ids.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;

use super::{
    graph::{About, Graph},
    item::{DriveItem, SELECT, drive_id},
};
use crate::sources::{SourceError, trail::Trail};

/// What stands for itself in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a `source_path` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourcePath {
    /// `DRIVE!ITEM`: what browsing returns.
    Item { drive: String, item: String },
    /// `/sites`: all of them, to look around in.
    Sites,
    /// `/sites/Name/…/Library/folder`: subsites, library and folders follow each other.
    Site { path: Vec<String> },
    /// `SITE/DRIVE!ITEM/Name/…`: a site and libraries of it, as a sync of several keeps them; the
    /// id of a site alone is what browsing returns for those that are not below /sites.
    Libraries { site: String, all: Vec<(String, DriveFolder)> },
    /// `/users/UPN/folder`: a person's OneDrive, for applications.
    User { name: String, folder: Vec<String> },
    /// `/folder`: the connection's drive and folder, else the OneDrive of whoever signed in.
    Own { folder: Vec<String> },
}

/// The forms of a place, in words.
pub(super) const ACCEPTED: &str = "/sites/Name/Library/folder, /sites/Name with \
     provider_filters.libraries, /folder in the OneDrive of whoever signed in, /users/NAME@EXAMPLE.ORG/folder for an application, or the id of an item";

impl SourcePath {
    /// Reads a `source_path`.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on from "source_path …".
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return by_id(text)
                .ok_or_else(|| format!("is no place of SharePoint or OneDrive: write {ACCEPTED}"));
        };
        let all = parts_of(path);
        if all.iter().any(|part| part == "..") {
            return Err("has .. in it, which leads nowhere there".to_owned());
        }
        match all.split_first() {
            Some((first, [])) if first.eq_ignore_ascii_case("sites") => Ok(Self::Sites),
            Some((first, path)) if first.eq_ignore_ascii_case("sites") => {
                Ok(Self::Site { path: path.to_vec() })
            }
            Some((first, [name, folder @ ..])) if first.eq_ignore_ascii_case("users") => {
                Ok(Self::User { name: name.clone(), folder: folder.to_vec() })
            }
            _ => Ok(Self::Own { folder: all }),
        }
    }

    /// The one way in which it is stored.
    pub(super) fn spelled(&self) -> String {
        let joined = |start: &str, path: &[String]| {
            path.iter().fold(start.to_owned(), |path, part| format!("{path}/{part}"))
        };
        match self {
            Self::Item { drive, item } => format!("{drive}!{item}"),
            Self::Libraries { site, all } => {
                all.iter().fold(site.clone(), |text, (name, DriveFolder { drive, item })| {
                    format!("{text}/{drive}!{item}/{name}")
                })
            }
            Self::Sites => "/sites".to_owned(),
            Self::Site { path } => joined("/sites", path),
            Self::User { name, folder } => joined(&format!("/users/{name}"), folder),
            Self::Own { folder } if folder.is_empty() => "/".to_owned(),
            Self::Own { folder } => joined("", folder),
        }
    }
}

/// A place that is named by ids.
fn by_id(text: &str) -> Option<SourcePath> {
    let folder = |text: &str| {
        let (drive, item) = text.rsplit_once('!')?;
        let is_whole = !drive.is_empty() && !item.is_empty();
        is_whole.then(|| DriveFolder { drive: drive_id(drive), item: item.to_owned() })
    };
    let Some((site, libraries)) = text.split_once('/') else {
        // The id of a site has three parts.
        if text.split(',').filter(|part| !part.is_empty()).count() == 3 {
            return Some(SourcePath::Libraries { site: text.to_owned(), all: Vec::new() });
        }
        return folder(text).map(|DriveFolder { drive, item }| SourcePath::Item { drive, item });
    };
    let parts: Vec<&str> = libraries.split('/').collect();
    let library = |part: &[&str]| match part {
        [id, name] if !name.is_empty() => Some(((*name).to_owned(), folder(id)?)),
        _ => None,
    };
    let all: Option<Vec<(String, DriveFolder)>> = parts.chunks(2).map(library).collect();
    let all = all.filter(|_| !site.is_empty())?;
    Some(SourcePath::Libraries { site: site.to_owned(), all })
}

/// The parts of a path.
pub(super) fn parts_of(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A folder of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DriveFolder {
    pub(super) drive: String,
    pub(super) item: String,
}

/// What the connection says of places.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) site: Option<String>,
    pub(super) drive: Option<String>,
    pub(super) folder: Vec<String>,
}

impl Defaults {
    /// Whether it names no drive.
    pub(super) const fn is_empty(&self) -> bool {
        self.site.is_none() && self.drive.is_none()
    }

    /// Whether it names nothing at all.
    pub(super) const fn is_nothing(&self) -> bool {
        self.is_empty() && self.folder.is_empty()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drive {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) web_url: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Site {
    pub(super) id: String,
    pub(super) display_name: Option<String>,
    pub(super) web_url: Option<String>,
    site_collection: Option<SiteCollection>,
}

#[derive(Clone, Debug, Deserialize)]
struct SiteCollection {
    hostname: Option<String>,
}

/// A page of a collection.
#[derive(Debug, Deserialize)]
pub(super) struct Collection<T> {
    pub(super) value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    pub(super) next: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    pub(super) delta: Option<String>,
}

impl Graph {
    /// Finds a place.
    pub(super) async fn find(
        &self,
        place: &SourcePath,
        defaults: &Defaults,
    ) -> Result<DriveFolder, SourceError> {
        match place {
            SourcePath::Sites => {
                Err(SourceError::RootMissing { message: "the place names no site".to_owned() })
            }
            SourcePath::Item { drive, item } => {
                Ok(DriveFolder { drive: drive.clone(), item: item.clone() })
            }
            SourcePath::User { name, folder } => {
                let path = format!("/users/{}/drive", segment(name));
                let drive: Drive = self.get(&path, About::Place).await?;
                self.folder_of(&drive.id, folder).await
            }
            SourcePath::Own { folder } => {
                let drive = match (&defaults.drive, &defaults.site) {
                    (Some(drive), _) => drive.clone(),
                    (None, Some(site)) => {
                        let path = format!("/sites/{}/drive", site_ref(site));
                        self.get::<Drive>(&path, About::Place).await?.id
                    }
                    (None, None) => self.get::<Drive>("/me/drive", About::Place).await?.id,
                };
                let path: Vec<String> = defaults.folder.iter().chain(folder).cloned().collect();
                self.folder_of(&drive, &path).await
            }
            SourcePath::Site { path } => {
                let (site, rest) = self.site(path, defaults).await?;
                self.folder_of_site(&site.id, rest).await
            }
            SourcePath::Libraries { site, .. } => self.folder_of_site(site, &[]).await,
        }
    }

    /// A folder of a site: the path begins with the library.
    pub(super) async fn folder_of_site(
        &self,
        site: &str,
        path: &[String],
    ) -> Result<DriveFolder, SourceError> {
        let libraries = self.libraries(site).await?;
        let Some((wanted, folder)) = path.split_first() else {
            return Err(no_library(None, &libraries));
        };
        let Some(library) = library(&libraries, wanted) else {
            return Err(no_library(Some(wanted), &libraries));
        };
        self.folder_of(&library.id, folder).await
    }

    /// The libraries of a site with those names, each with its name. Those that are `known` already
    /// are not asked for.
    pub(super) async fn libraries_named(
        &self,
        site: &str,
        names: &[String],
        known: &[(String, DriveFolder)],
    ) -> Result<Vec<(String, DriveFolder)>, SourceError> {
        let mut there = None;
        let mut all: Vec<(String, DriveFolder)> = Vec::with_capacity(names.len());
        for name in names {
            let found = match known.iter().find(|(of, _)| of == name) {
                Some((_, found)) => found.clone(),
                None => {
                    let there = match &there {
                        Some(there) => there,
                        None => there.insert(self.libraries(site).await?),
                    };
                    let Some(library) = library(there, name) else {
                        return Err(no_library(Some(name), there));
                    };
                    self.folder_of(&library.id, &[]).await?
                }
            };
            if let Some((other, _)) = all.iter().find(|(_, other)| other.drive == found.drive) {
                let message = format!(
                    "provider_filters.libraries: {other:?} and {name:?} are the same library: name \
                     it once"
                );
                return Err(SourceError::Misconfigured { message });
            }
            all.push((name.clone(), found));
        }
        Ok(all)
    }

    /// The deepest site that the path names, and what is left of the path.
    pub(super) async fn site<'a>(
        &self,
        path: &'a [String],
        defaults: &Defaults,
    ) -> Result<(Site, &'a [String]), SourceError> {
        let home = match &defaults.site {
            Some(site) => format!("/sites/{}", site_ref(site)),
            None => "/sites/root".to_owned(),
        };
        let home: Site = self.get(&home, About::Place).await?;
        let host = home.site_collection.as_ref().and_then(|all| all.hostname.clone());
        let host = host.or_else(|| home.id.split(',').next().map(str::to_owned));
        let host = host.unwrap_or_default();
        let mut found = None;
        for depth in 1..=path.len() {
            let encoded: Vec<String> = path[..depth].iter().map(|part| segment(part)).collect();
            let address = format!("/sites/{host}:/sites/{}", encoded.join("/"));
            match self.get::<Site>(&address, About::Place).await {
                Ok(site) => found = Some((site, &path[depth..])),
                Err(SourceError::RootMissing { .. }) if found.is_some() => break,
                Err(SourceError::RootMissing { .. }) => {
                    let message = format!("there is no site {:?} at {host}", path[0]);
                    return Err(SourceError::RootMissing { message });
                }
                Err(error) => return Err(error),
            }
        }
        found.ok_or_else(|| SourceError::RootMissing {
            message: "the place names no site".to_owned(),
        })
    }

    /// The document libraries of a site.
    pub(super) async fn libraries(&self, site: &str) -> Result<Vec<Drive>, SourceError> {
        let path = format!("/sites/{site}/drives?$select=id,name,webUrl&$top=200");
        let mut page: Collection<Drive> = self.get(&path, About::Place).await?;
        let (mut all, mut trail) = (std::mem::take(&mut page.value), Trail::default());
        while let Some(next) = page.next.take() {
            page = self.follow(&next, About::Place).await?;
            trail.follow(page.value.len(), page.next.as_deref())?;
            all.append(&mut page.value);
        }
        Ok(all)
    }

    /// A folder of a drive, by its path there.
    async fn folder_of(&self, drive: &str, path: &[String]) -> Result<DriveFolder, SourceError> {
        let encoded: Vec<String> = path.iter().map(|part| segment(part)).collect();
        let place = match encoded.as_slice() {
            [] => format!("/drives/{drive}/root"),
            encoded => format!("/drives/{drive}/root:/{}", encoded.join("/")),
        };
        let place = format!("{place}?$select={SELECT}");
        let item: DriveItem = self.get(&place, About::Place).await?;
        if item.folder.is_none() && item.root.is_none() {
            let message = format!("/{} is a file: name the folder that it is in", path.join("/"));
            return Err(SourceError::RootMissing { message });
        }
        Ok(DriveFolder { drive: drive_id(drive), item: item.id })
    }
}

/// The library of that name: by the last part of its address first, for the one that is *called*
/// "Documents" *is* `Shared Documents` there, and both are translated in other languages.
fn library<'a>(all: &'a [Drive], wanted: &str) -> Option<&'a Drive> {
    let in_address = |drive: &&Drive| {
        let last = drive.web_url.as_deref().and_then(|url| url.rsplit('/').next());
        last.is_some_and(|last| {
            percent_decode_str(last).decode_utf8_lossy().eq_ignore_ascii_case(wanted)
        })
    };
    let by_name = |drive: &&Drive| {
        drive.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
    };
    all.iter().find(in_address).or_else(|| all.iter().find(by_name))
}

fn no_library(wanted: Option<&str>, libraries: &[Drive]) -> SourceError {
    let known: Vec<&str> = libraries.iter().filter_map(|drive| drive.name.as_deref()).collect();
    let what = match wanted {
        Some(wanted) => format!("the site has no library {wanted:?}"),
        None => "the place names a site and no library: add one to it, or name some in \
                 provider_filters.libraries"
            .to_owned(),
    };
    SourceError::RootMissing { message: format!("{what}; there are: {}", known.join(", ")) }
}

/// A part of a path, percent-encoded: `#`, `%` and `+` occur.
pub(super) fn segment(part: &str) -> String {
    utf8_percent_encode(part, SEGMENT).to_string()
}

/// A site as a connection names it: by its id of three parts, or by its address.
fn site_ref(site: &str) -> String {
    let Some((_, address)) = site.split_once("://") else { return site.to_owned() };
    match address.trim_end_matches('/').split_once('/') {
        Some((host, path)) => format!("{host}:/{path}"),
        None => address.trim_end_matches('/').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> SourcePath {
        SourcePath::read(text).unwrap()
    }

    fn all(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn every_form_of_a_place_is_read_and_spelled_one_way() {
        let site = SourcePath::Site { path: all(&["Team", "Shared Documents", "a#b"]) };
        for (text, place, spelled) in [
            ("/sites/Team/Shared Documents/a#b/", site, "/sites/Team/Shared Documents/a#b"),
            ("/", SourcePath::Own { folder: Vec::new() }, "/"),
            ("//a//b/", SourcePath::Own { folder: all(&["a", "b"]) }, "/a/b"),
            (
                "/users/ada@contoso.example/x",
                SourcePath::User { name: "ada@contoso.example".into(), folder: all(&["x"]) },
                "/users/ada@contoso.example/x",
            ),
            (
                "ABCDEF012345678!01ITEM",
                SourcePath::Item { drive: "0abcdef012345678".into(), item: "01ITEM".into() },
                "0abcdef012345678!01ITEM",
            ),
            (
                "contoso,1,2/b!A!01A/Shared Documents/b!B!01B/Bücher",
                SourcePath::Libraries {
                    site: "contoso,1,2".into(),
                    all: [("Shared Documents", "A"), ("Bücher", "B")]
                        .map(|(name, of)| {
                            let (drive, item) = (format!("b!{of}"), format!("01{of}"));
                            (name.to_owned(), DriveFolder { drive, item })
                        })
                        .to_vec(),
                },
                "contoso,1,2/b!A!01A/Shared Documents/b!B!01B/Bücher",
            ),
        ] {
            assert_eq!(read(text), place, "{text}");
            assert_eq!(read(text).spelled(), spelled);
        }
        let site = SourcePath::Libraries { site: "contoso,1,2".into(), all: Vec::new() };
        assert_eq!((read("contoso,1,2"), site.spelled().as_str()), (site.clone(), "contoso,1,2"));
        for wrong in
            ["a,b", "a,,b", "", "sites/Team", "/a/../b", "!x", "x!", "site/x!1", "site/x!1/"]
        {
            assert!(SourcePath::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_library_is_found_by_its_address_before_its_name() {
        let drive = |id: &str, name: &str, url: &str| Drive {
            id: id.into(),
            name: Some(name.into()),
            web_url: Some(format!("https://contoso.sharepoint.com/sites/Team/{url}")),
        };
        let libraries = [
            drive("1", "Shared Documents", "Archive"),
            drive("2", "Dokumente", "Shared%20Documents"),
        ];
        assert_eq!(library(&libraries, "Shared Documents").unwrap().id, "2");
        assert_eq!(library(&libraries, "dokumente").unwrap().id, "2");
        assert!(library(&libraries, "Nothing").is_none());
        assert!(no_library(None, &libraries).to_string().contains("Dokumente"));
    }

    #[test]
    fn a_site_may_be_named_by_its_address() {
        let site = "https://contoso.sharepoint.com/sites/Team/";
        assert_eq!(site_ref(site), "contoso.sharepoint.com:/sites/Team");
        assert_eq!(site_ref("contoso.sharepoint.com,a,b"), "contoso.sharepoint.com,a,b");
    }
}
