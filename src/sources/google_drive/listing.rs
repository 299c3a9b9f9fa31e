//! Listings and the change feed: what is asked for, and what the pages are to a sync.

use std::{
    collections::{BTreeSet, HashSet},
    sync::PoisonError,
};

use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    api::{FOLDERS_AT_ONCE, NO_TOKEN, is_token, units},
    batch::{self, Part},
    export::FOLDER,
    file::{FIELDS, File, ListedItem, Listings, NOWHERE, SHARED, file_id},
    refusal::{self, RESTARTS, Subject},
    source::{Drive, Root},
};
use crate::{
    model::{Cursor, Entry, EntryId, EntryPath, FolderId},
    sources::{Page, SourceError, trail::Trail},
};

/// Files of a page.
const PAGE: &str = "1000";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Files {
    pub(super) files: Vec<File>,
    pub(super) next_page_token: Option<String>,
    incomplete_search: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Changes {
    pub(super) changes: Vec<Change>,
    pub(super) next_page_token: Option<String>,
    pub(super) new_start_page_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Change {
    change_type: String,
    removed: bool,
    file_id: String,
    file: Option<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartPageToken {
    start_page_token: String,
}

/// What some ids are now. Those that could not be asked for are in neither.
#[derive(Default)]
struct FilesNow {
    files: Vec<File>,
    gone: Vec<EntryId>,
}

/// Folders that one query lists: all in the drive that is synced, or all elsewhere.
#[derive(Debug)]
pub(super) struct Lot {
    folders: Vec<FolderId>,
    is_elsewhere: bool,
}

impl Lot {
    fn each(&self) -> impl Iterator<Item = Self> {
        let is_elsewhere = self.is_elsewhere;
        let lot = move |folder: &FolderId| Self { folders: vec![folder.clone()], is_elsewhere };
        self.folders.iter().map(lot)
    }
}

/// Folders whose content is still to be listed, and where that continues.
#[derive(Default)]
struct Rest {
    lots: Vec<Lot>,
    token: Option<String>,
    trail: Trail,
    /// How often a lot has begun anew because its page token was refused.
    restarts: usize,
}

impl Drive {
    /// A page of files that a query finds, which is about these folders; in no order, if `order` is
    /// empty.
    pub(super) async fn list(
        &self,
        drive: Option<&str>,
        query: &str,
        token: Option<&str>,
        folders: &[FolderId],
        order: &str,
    ) -> Result<Files, SourceError> {
        let fields = format!("nextPageToken,incompleteSearch,files({FIELDS})");
        let mut pairs = vec![
            ("q", query),
            ("pageSize", PAGE),
            ("fields", &fields),
            ("spaces", "drive"),
            ("supportsAllDrives", "true"),
            ("includeItemsFromAllDrives", "true"),
        ];
        match drive {
            Some(drive) => pairs.extend([("corpora", "drive"), ("driveId", drive)]),
            None => pairs.push(("corpora", "user")),
        }
        if !order.is_empty() {
            pairs.push(("orderBy", order));
        }
        pairs.extend(token.map(|token| ("pageToken", token)));
        let subject = if token.is_some() { Subject::Feed } else { Subject::Root };
        let call = || {
            let call = self.api.call(subject, units::LIST, "/drive/v3/files", &pairs);
            self.api.with_keys(call, folders.iter().filter_map(file_id))
        };
        let files: Files = self.again(|| self.api.json(call())).await?;
        if files.incomplete_search {
            let message = "Google has not searched all drives".to_owned();
            return Err(SourceError::Transient { message });
        }
        match &files.next_page_token {
            Some(token) if !is_token(token) => Err(SourceError::Garbled {
                message: format!(
                    "Google's page token cannot be sent back: it has {} bytes",
                    token.len()
                ),
            }),
            _ => Ok(files),
        }
    }

    /// The shared drive that is synced, or that the folder is in.
    pub(super) fn drive(&self) -> Option<&str> {
        match &self.root {
            Root::Whole { drive, .. } | Root::Folder { drive, .. } => drive.as_deref(),
            Root::Top | Root::Shared => None,
        }
    }

    /// A condition with what holds for every listing, and with the person's query: folders are
    /// listed all the same, for they lead to what it finds.
    pub(super) fn query(&self, condition: &str) -> String {
        let mut query = "trashed = false".to_owned();
        if !condition.is_empty() {
            query.push_str(&format!(" and ({condition})"));
        }
        if let Some(own) = &self.own_query {
            query.push_str(&format!(" and (({own}) or mimeType = '{FOLDER}')"));
        }
        query
    }

    pub(super) fn page(&self, files: &[File], cursor: Option<String>) -> Page {
        let mut page =
            Page { cursor: cursor.map(|token| Cursor(token.into_bytes())), ..Page::default() };
        for file in files.iter().filter(|file| !file.trashed) {
            for (id, key) in file.resource_keys() {
                if self.api.keys.insert(id, key) {
                    page.access_keys.push((EntryPath::new(id.as_bytes()), key.to_owned()));
                }
            }
            page.several_parents.extend(file.several_parents());
            match file.listed(self.listings()) {
                ListedItem::Folder(folder) => {
                    self.note_drive(file);
                    page.folders.push(folder);
                }
                ListedItem::Entry(entry) => page.entries.push(entry),
                ListedItem::Link(link) => page.links.push(link),
            }
        }
        page
    }

    pub(super) fn listings(&self) -> Listings<'_> {
        Listings {
            formats: &self.formats,
            shared_is_root: self.root == Root::Shared,
            follows_shortcuts: self.follows_shortcuts,
        }
    }

    /// What is in some folders, lot after lot, from the last one on.
    pub(super) fn listed(&self, lots: Vec<Lot>) -> BoxStream<'_, Result<Page, SourceError>> {
        let rest = Rest { lots, ..Rest::default() };
        stream::try_unfold(rest, move |mut rest| async move {
            let Some(lot) = rest.lots.last() else { return Ok(None) };
            let (folders, drive) = (&lot.folders, self.drive_of(lot));
            let query = self.query(&in_any(folders));
            let listed = self.list(drive, &query, rest.token.as_deref(), folders, "").await;
            let Files { files, next_page_token: token, .. } = match listed {
                // What was listed before comes a second time.
                Err(SourceError::FeedExpired { .. }) if rest.restarts < RESTARTS => {
                    (rest.token, rest.trail) = (None, Trail::default());
                    rest.restarts += 1;
                    return Ok(Some((Page::default(), rest)));
                }
                Err(SourceError::FeedExpired { message }) => {
                    return Err(SourceError::Garbled { message });
                }
                // One of them is gone, and has nothing in it.
                Err(SourceError::RootMissing { .. })
                    if rest.token.is_none() && !self.is_root_only(folders) =>
                {
                    let several = rest.lots.pop().filter(|lot| lot.folders.len() > 1);
                    rest.lots.extend(several.iter().flat_map(Lot::each));
                    return Ok(Some((Page::default(), rest)));
                }
                listed => listed?,
            };
            rest.trail.follow(files.len(), token.as_deref())?;
            if token.is_none()
                && let Some(lot) = rest.lots.pop()
                && lot.folders.len() > 1
                && files.is_empty()
                && rest.token.is_none()
            {
                // Service accounts may get nothing at all in a shared drive, when several folders
                // are asked for at once.
                rest.lots.extend(lot.each());
            }
            rest.token = token;
            Ok(Some((self.page(&files, None), rest)))
        })
        .boxed()
    }

    fn is_root_only(&self, folders: &[FolderId]) -> bool {
        matches!(folders, [only] if file_id(only).is_some_and(|id| self.root.is(id)))
    }

    /// Folders by where they are. Listings of a shared drive have nothing of what is in folders
    /// elsewhere, to which shortcuts lead.
    pub(super) async fn lots(&self, folders: &[FolderId]) -> Result<Vec<Lot>, SourceError> {
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        if self.drive().is_some() {
            let unknown: Vec<EntryId> =
                folders.iter().filter(|id| self.is_elsewhere(id).is_none()).cloned().collect();
            if !unknown.is_empty() {
                // An earlier run has listed them.
                self.all_of(&unknown).await?;
            }
        }
        for folder in folders {
            match self.is_elsewhere(folder) {
                Some(true) => elsewhere.push(folder.clone()),
                Some(false) | None => here.push(folder.clone()),
            }
        }
        let lots = [
            Lot { folders: here, is_elsewhere: false },
            Lot { folders: elsewhere, is_elsewhere: true },
        ];
        Ok(lots.into_iter().filter(|lot| !lot.folders.is_empty()).collect())
    }

    /// The drive that a lot is listed in.
    fn drive_of(&self, lot: &Lot) -> Option<&str> {
        self.drive().filter(|_| !lot.is_elsewhere)
    }

    /// Notes where a folder is, if that makes a difference.
    fn note_drive(&self, folder: &File) {
        if let Some(drive) = self.drive() {
            let is_elsewhere = folder.drive_id.as_deref() != Some(drive);
            let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            folders.insert(folder.id.clone(), is_elsewhere);
        }
    }

    /// Whether a folder is in another drive than the shared one that is synced; `None` where that
    /// is not known.
    fn is_elsewhere(&self, folder: &FolderId) -> Option<bool> {
        let id = file_id(folder)?;
        if self.root.is(id) {
            return Some(false);
        }
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// Where the feed is now.
    pub(super) async fn start_page_token(&self) -> Result<Cursor, SourceError> {
        let mut query = vec![("supportsAllDrives", "true")];
        query.extend(self.drive().map(|drive| ("driveId", drive)));
        let token: StartPageToken = self
            .again(|| {
                let path = "/drive/v3/changes/startPageToken";
                self.api.json(self.api.call(Subject::Root, units::LIST, path, &query))
            })
            .await?;
        let token = token.start_page_token;
        Ok(Cursor(if is_token(&token) { token.into_bytes() } else { NO_TOKEN.into() }))
    }

    pub(super) async fn feed(&self, token: &str) -> Result<Changes, SourceError> {
        let fields = format!(
            "nextPageToken,newStartPageToken,changes(changeType,removed,fileId,file({FIELDS}))"
        );
        let mut pairs = vec![
            ("pageToken", token),
            ("pageSize", PAGE),
            ("fields", &fields),
            ("spaces", "drive"),
            ("includeRemoved", "true"),
            ("supportsAllDrives", "true"),
            ("includeItemsFromAllDrives", "true"),
        ];
        pairs.extend(self.drive().map(|drive| ("driveId", drive)));
        self.again(|| {
            self.api.json(self.api.call(Subject::Feed, units::LIST, "/drive/v3/changes", &pairs))
        })
        .await
    }

    /// A page of changes, with the last word on each id. What changed and comes without its file is
    /// asked for: only what Google calls removed, or is in the trash, is gone.
    pub(super) async fn changed(
        &self,
        changes: Vec<Change>,
        cursor: String,
    ) -> Result<Page, SourceError> {
        let mut last: Vec<Change> = Vec::with_capacity(changes.len());
        let mut seen = HashSet::new();
        for change in changes.into_iter().rev() {
            if change.change_type != "drive" && seen.insert(change.file_id.clone()) {
                last.push(change);
            }
        }
        let (mut files, mut removed, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for change in last.into_iter().rev() {
            let id = EntryPath::new(change.file_id.into_bytes());
            match change.file {
                Some(file) if !change.removed && !file.trashed => files.push(file),
                None if !change.removed => unknown.push(id),
                _ => removed.push(id),
            }
        }
        for ids in unknown.chunks(batch::MOST) {
            let now = self.files_now(ids).await?;
            files.extend(now.files);
            removed.extend(now.gone);
        }
        Ok(Page { removed, ..self.page(&files, Some(cursor)) })
    }

    /// What these folders, at most [`batch::MOST`], are now. One that the account does not see may
    /// be anywhere.
    pub(super) async fn folders_now(&self, ids: &[FolderId]) -> Result<Page, SourceError> {
        let (ids, nowhere): (Vec<FolderId>, Vec<FolderId>) =
            ids.iter().cloned().partition(|id| file_id(id).is_some());
        if ids.is_empty() {
            return Ok(Page { removed: nowhere, ..Page::default() });
        }
        let (mut files, mut removed) = (Vec::new(), nowhere);
        for (id, part) in ids.iter().zip(self.parts(&ids, FIELDS).await?) {
            if part.status == 200 {
                let file: File = read(&part)?;
                match file.is_folder() && !file.trashed {
                    true => files.push(file),
                    false => removed.push(id.clone()),
                }
            }
        }
        Ok(Page { removed, ..self.page(&files, None) })
    }

    /// Which of these, at most [`batch::MOST`], are there and do not match the person's query: the
    /// folders that they are in, listed by themselves, do not have them either.
    pub(super) async fn not_matching(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, SourceError> {
        let mut entries = self.all_of(ids).await?.entries;
        entries.retain(|entry| entry.folders().iter().all(|folder| file_id(folder).is_some()));
        let folders: BTreeSet<FolderId> = entries.iter().flat_map(Entry::folders).collect();
        let folders: Vec<FolderId> = folders.into_iter().collect();
        let mut matching = HashSet::new();
        for folders in folders.chunks(FOLDERS_AT_ONCE) {
            let mut pages = self.listed(self.lots(folders).await?);
            while let Some(page) = pages.try_next().await? {
                matching.extend(page.entries.into_iter().map(|entry| entry.id));
            }
        }
        entries.retain(|entry| !matching.contains(&entry.id));
        Ok(entries.into_iter().map(|entry| entry.id).collect())
    }

    /// What these, at most [`batch::MOST`], are now.
    pub(super) async fn all_of(&self, ids: &[EntryId]) -> Result<Page, SourceError> {
        let FilesNow { files, gone } = self.files_now(ids).await?;
        Ok(Page { removed: gone, ..self.page(&files, None) })
    }

    async fn files_now(&self, ids: &[EntryId]) -> Result<FilesNow, SourceError> {
        let mut now = FilesNow::default();
        for (id, part) in ids.iter().zip(self.parts(ids, FIELDS).await?) {
            match part.status {
                200 => {
                    let file: File = read(&part)?;
                    match file.trashed {
                        true => now.gone.push(id.clone()),
                        false => now.files.push(file),
                    }
                }
                _ if is_not_found(&part) => now.gone.push(id.clone()),
                _ => {}
            }
        }
        Ok(now)
    }

    /// What the API says of each of these ids.
    async fn parts(&self, ids: &[EntryId], fields: &str) -> Result<Vec<Part>, SourceError> {
        let fields = utf8_percent_encode(fields, NON_ALPHANUMERIC).to_string();
        let ids: Vec<&str> = ids.iter().map(|id| file_id(id).unwrap_or(NOWHERE)).collect();
        let path =
            |id: &&str| format!("/drive/v3/files/{id}?fields={fields}&supportsAllDrives=true");
        let paths: Vec<String> = ids.iter().map(path).collect();
        self.again(|| self.api.batch(&paths, &ids)).await
    }
}

/// Whether Google itself says that there is no such file: a proxy's 404 is none.
fn is_not_found(part: &Part) -> bool {
    part.status == 404 && refusal::reason(part.body.as_bytes()) == "notFound"
}

fn read<T: DeserializeOwned>(part: &Part) -> Result<T, SourceError> {
    serde_json::from_str(&part.body)
        .map_err(|error| SourceError::Garbled { message: error.to_string() })
}

/// Text in a query (<https://developers.google.com/workspace/drive/api/guides/search-files>).
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What a query says of the files of a folder.
pub(super) fn condition(folder: &FolderId) -> String {
    match str::from_utf8(folder.as_bytes()) {
        Ok(SHARED) => "sharedWithMe = true".to_owned(),
        Ok(id) => format!("{} in parents", quoted(id)),
        Err(_) => format!("{} in parents", quoted(NOWHERE)),
    }
}

/// What a query says of the files of any of these folders.
fn in_any(folders: &[FolderId]) -> String {
    let each: Vec<String> = folders.iter().map(condition).collect();
    each.join(" or ")
}
