//! Places: what a `source_path` names is resolved to ids, and people look around.

use serde::Deserialize;

use super::{
    api::units,
    export::FOLDER,
    file::File,
    listing::{condition, quoted},
    refusal::Subject,
    source::{Drive, Root},
    source_path::SourcePath,
    user::User,
};
use crate::{
    model::{EntryPath, FolderId},
    sources::{
        SourceError,
        browse::{Item, ItemKind, Level},
        trail::Trail,
    },
};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Drives {
    drives: Vec<File>,
    next_page_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    user: User,
}

impl Drive {
    pub(super) async fn resolve(
        &self,
        place: SourcePath,
        shared_drive: Option<String>,
    ) -> Result<Root, SourceError> {
        Ok(match place {
            SourcePath::Top => Root::Top,
            SourcePath::SharedWithMe => Root::Shared,
            SourcePath::MyDrive { root } => Root::Whole { folder: root, drive: None },
            SourcePath::Drive => match shared_drive {
                Some(drive) => Root::Whole { folder: drive.clone(), drive: Some(drive) },
                None => {
                    let folder = self.get(Subject::Root, "root").await?.id;
                    Root::Whole { folder, drive: None }
                }
            },
            SourcePath::Folder { id, drive: Some(drive), .. } if id == drive => {
                Root::Whole { folder: id, drive: Some(drive) }
            }
            SourcePath::Folder { id, drive, key } => {
                self.opened_with(&id, key);
                Root::Folder { id, drive }
            }
            SourcePath::Id { id, key } => {
                self.opened_with(&id, key);
                self.by_id(&id).await?
            }
            SourcePath::Path(names) => {
                let mut at = shared_drive.clone().unwrap_or_else(|| "root".to_owned());
                for name in &names {
                    at = self.child(&at, name, shared_drive.as_deref()).await?;
                }
                Root::Folder { id: at, drive: shared_drive }
            }
        })
    }

    fn opened_with(&self, id: &str, key: Option<String>) {
        if let Some(key) = key {
            self.api.keys.insert(id, &key);
        }
    }

    async fn by_id(&self, id: &str) -> Result<Root, SourceError> {
        let file = self.get(Subject::Root, id).await?;
        let drive = file.drive_id.clone();
        if !file.is_folder() {
            return Err(SourceError::Misconfigured {
                message: format!(
                    "{id} is the file {:?}: to sync one file, sync its folder with a filter",
                    file.name
                ),
            });
        }
        Ok(match drive.as_deref() == Some(id) {
            true => Root::Whole { folder: file.id, drive },
            false => Root::Folder { id: file.id, drive },
        })
    }

    /// The folder of that name in another.
    async fn child(
        &self,
        parent: &str,
        name: &str,
        drive: Option<&str>,
    ) -> Result<String, SourceError> {
        let query = format!(
            "{} in parents and name = {} and mimeType = '{FOLDER}' and trashed = false",
            quoted(parent),
            quoted(name)
        );
        let of = [EntryPath::new(parent.as_bytes())];
        let found = self.list(drive, &query, None, &of, "name").await?.files;
        match found.as_slice() {
            [] => Err(SourceError::RootMissing { message: format!("there is no folder {name:?}") }),
            [only] => Ok(only.id.clone()),
            several => {
                let ids: Vec<&str> = several.iter().map(|folder| folder.id.as_str()).collect();
                Err(SourceError::Misconfigured {
                    message: format!(
                        "there are {} folders {name:?}: name one by its id, {}",
                        several.len(),
                        ids.join(" or ")
                    ),
                })
            }
        }
    }

    /// Who is signed in; asked for once.
    pub(super) async fn about(&self) -> Result<&User, SourceError> {
        let query = [("fields", "user(emailAddress,permissionId)")];
        let ask =
            || self.api.json(self.api.call(Subject::Root, units::GET, "/drive/v3/about", &query));
        let about = || async move { self.again::<About, _>(ask).await.map(|about| about.user) };
        self.user.get_or_try_init(about).await
    }

    /// The drives and places that there are.
    pub(super) async fn top(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        if wanted == ItemKind::Files {
            return Ok(Level::default());
        }
        let mut items = vec![
            folder("My Drive", "root"),
            folder("Shared with me", super::source_path::SHARED_WITH_ME),
        ];
        let (mut token, mut trail) = (None::<String>, Trail::default());
        loop {
            let mut query = vec![("pageSize", "100"), ("fields", "nextPageToken,drives(id,name)")];
            query.extend(token.as_deref().map(|token| ("pageToken", token)));
            let page: Drives = self
                .again(|| {
                    let path = "/drive/v3/drives";
                    self.api.json(self.api.call(Subject::Root, units::LIST, path, &query))
                })
                .await?;
            items.extend(page.drives.iter().map(|drive| folder(&drive.name, &drive.id)));
            token = page.next_page_token;
            trail.follow(page.drives.len(), token.as_deref())?;
            if token.is_none() || items.len() > limit {
                break;
            }
        }
        let truncated = items.len() > limit || token.is_some();
        items.truncate(limit);
        Ok(Level { items, truncated })
    }

    /// The folders or files of a folder, by name.
    pub(super) async fn level(
        &self,
        folder: &FolderId,
        wanted: ItemKind,
        limit: usize,
    ) -> Result<Level, SourceError> {
        let kind = match wanted {
            ItemKind::Folders => "=",
            ItemKind::Files => "!=",
        };
        let query =
            format!("{} and mimeType {kind} '{FOLDER}' and trashed = false", condition(folder));
        let (mut items, mut token, mut trail) = (Vec::new(), None::<String>, Trail::default());
        loop {
            let of = std::slice::from_ref(folder);
            let page = self.list(self.drive(), &query, token.as_deref(), of, "name").await?;
            items.extend(page.files.iter().map(item));
            token = page.next_page_token;
            trail.follow(page.files.len(), token.as_deref())?;
            if token.is_none() || items.len() > limit {
                break;
            }
        }
        let truncated = items.len() > limit || token.is_some();
        items.truncate(limit);
        Ok(Level { items, truncated })
    }
}

fn folder(name: &str, id: &str) -> Item {
    Item {
        name: EntryPath::new(name.as_bytes()),
        id: Some(id.to_owned()),
        mime: None,
        size: None,
        modified: None,
        note: None,
    }
}

fn item(file: &File) -> Item {
    Item {
        name: EntryPath::new(file.name.as_bytes()),
        id: Some(file.id.clone()),
        mime: Some(file.mime_type.clone()),
        size: file.size(),
        modified: file.modified_time,
        note: None,
    }
}
