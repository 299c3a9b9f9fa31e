//! A drive, a folder, or what is shared with the account, as a source.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::{
    api::{Api, FOLDERS_AT_ONCE, NO_TOKEN, UNITS_PER_MINUTE, is_token, units},
    batch,
    export::{Format, Formats},
    file::{FIELDS, File, ListedItem, SHARED, file_id},
    refusal::{RESTARTS, Subject},
    resource_keys::ResourceKeys,
    source_path::SourcePath,
    user::User,
};
use crate::{
    model::{Credentials, Cursor, Entry, EntryId, EntryPath, Fingerprint, Folder, FolderId, Shard},
    sources::{
        Absence, Body, ByteRange, Content, Facts, Listing, Needs, Opening, Page, Profile,
        RootFolder, RootIdentity, Source, SourceError,
        browse::{ItemKind, Level},
        http::{Client, USER_AGENT, Usage, headers::text_of, stream},
        limits::Rate,
        oauth::google::Google,
        retry::RetryPolicy,
        trail::Trail,
    },
};

/// How many downloads at once the quota lets through without waiting.
const CONCURRENCY: usize = 8;

/// See the module.
pub(super) struct Drive {
    pub(super) api: Api,
    pub(super) root: Root,
    pub(super) formats: Formats,
    /// The person's own query, if there is one.
    pub(super) own_query: Option<String>,
    acknowledge_abuse: bool,
    pub(super) follows_shortcuts: bool,
    /// Of the folders that pages had, whether they are in another drive than the shared one that
    /// is synced; empty where none is.
    pub(super) folders: Mutex<HashMap<String, bool>>,
    /// Whether it has been asked where the feed is, as it is by a full pass.
    is_listing_all: AtomicBool,
    /// The permission id of who is signed in, if the connection knows that.
    account: Option<String>,
    /// Who is signed in, once that was asked for.
    pub(super) user: OnceCell<User>,
}

/// What is synced, known by ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Above all drives, for people who look around.
    Top,
    /// A whole drive; `drive` is its id if it is a shared one.
    Whole { folder: String, drive: Option<String> },
    /// A folder.
    Folder { id: String, drive: Option<String> },
    /// What is shared with the account.
    Shared,
}

impl Root {
    /// Whether the folder of that id is it.
    pub(super) fn is(&self, folder: &str) -> bool {
        match self {
            Self::Whole { folder: id, .. } | Self::Folder { id, .. } => id == folder,
            Self::Top | Self::Shared => false,
        }
    }
}

/// The settings of a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    shared_drive_id: Option<String>,
    impersonate_user: Option<String>,
}

impl Drive {
    /// Opens a place. One that is not resolved to ids yet takes requests.
    pub(super) async fn open(opening: Opening<'_>) -> Result<Self, SourceError> {
        let Opening { location, credentials, options, tuning, .. } = opening;
        let misconfigured = |message: String| SourceError::Misconfigured { message };
        let config = location.connection.settings.get("config").cloned().unwrap_or_default();
        let settings: Settings =
            serde_json::from_value(config).map_err(|error| misconfigured(error.to_string()))?;
        let credentials = credentials.ok_or_else(|| {
            misconfigured("this connection's credentials are gone: enter them again".to_owned())
        })?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let google =
            Google { hosts: tuning.hosts.clone(), subject: given(settings.impersonate_user) };
        let connection = Credentials::keeper(credentials).and_then(|keeper| keeper.id());
        let per_minute = tuning.budgets.limits().google_drive_units_per_minute;
        let per_minute = per_minute.map_or(UNITS_PER_MINUTE, Rate::of_a_minute);
        let budget = tuning.budgets.of(connection, Some(per_minute));
        let host = tuning.hosts.google_api.as_str().to_owned();
        let client: Client<Full<Bytes>> =
            Client::new(host.starts_with("http://"), USER_AGENT, budget)?;
        let clock = tuning.clock.clone();
        let grant = tuning.grants.of(credentials, std::sync::Arc::new(google), clock.clone());
        let filters = &options.provider_filters;
        let text = |name: &str| {
            let value = filters.get(name).and_then(serde_json::Value::as_str);
            given(value.map(str::to_owned))
        };
        let mut drive = Self {
            api: Api { client, grant, host, clock, keys: ResourceKeys::default() },
            root: Root::Top,
            formats: Formats::read(filters.get("export_formats")).unwrap_or_default(),
            own_query: text("q"),
            acknowledge_abuse: filters.get("acknowledge_abuse") == Some(&true.into()),
            follows_shortcuts: filters.get("follow_shortcuts") != Some(&false.into()),
            folders: Mutex::default(),
            is_listing_all: AtomicBool::new(false),
            account: location.connection.account().map(str::to_owned),
            user: OnceCell::new(),
        };
        let shared_drive = text("shared_drive_id").or(given(settings.shared_drive_id));
        let place = SourcePath::parse(&String::from_utf8_lossy(&location.source_path))
            .map_err(|problem| misconfigured(format!("source_path {problem}")))?;
        drive.root = drive.resolve(place, shared_drive).await?;
        Ok(drive)
    }

    pub(super) async fn get(&self, subject: Subject, id: &str) -> Result<File, SourceError> {
        let path = format!("/drive/v3/files/{id}");
        let query = [("fields", FIELDS), ("supportsAllDrives", "true")];
        let call = || self.api.call(subject, units::GET, &path, &query);
        self.again(|| self.api.json(self.api.with_keys(call(), [id]))).await
    }

    /// Asks until there is a response, as a listing does.
    pub(super) async fn again<T, F>(&self, ask: impl FnMut() -> F + Send) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>> + Send,
    {
        RetryPolicy::LISTING.run(ask).await
    }

    async fn download(
        &self,
        id: &str,
        size: u64,
        range: Option<ByteRange>,
    ) -> Result<Response<Incoming>, SourceError> {
        let mut query = vec![("alt", "media"), ("supportsAllDrives", "true")];
        if self.acknowledge_abuse {
            query.push(("acknowledgeAbuse", "true"));
        }
        let path = format!("/drive/v3/files/{id}");
        let call = self.api.call(Subject::File, units::DOWNLOAD, &path, &query);
        let mut call = self.api.with_keys(call, [id]);
        if let Some(ByteRange { start, len }) = range {
            let last = start + len.saturating_sub(1);
            call = call.header(header::RANGE, &format!("bytes={start}-{last}"));
        }
        let response = self.api.open(call).await?;
        match range {
            Some(range) => check_range(&response, range, size).map(|()| response),
            None => Ok(response),
        }
    }
}

/// What the identity of a root begins with; the account's id follows.
const ACCOUNT: &str = "account ";

impl Drive {
    /// The permission id of who is signed in.
    async fn account_now(&self) -> Result<String, SourceError> {
        match &self.account {
            Some(account) => Ok(account.clone()),
            None => Ok(self.about().await?.id().to_owned()),
        }
    }

    /// What the feed is from a token on that cannot be sent back: in a full pass it ends, so that
    /// the next pass is a full one, too; and in a changes pass a full one is needed now.
    fn without_feed(&self, bytes: usize) -> Result<Page, SourceError> {
        let message =
            format!("Google's token of changes cannot be sent back: it has {bytes} bytes");
        if !self.is_listing_all.load(Ordering::Relaxed) {
            return Err(SourceError::FeedExpired { message });
        }
        tracing::warn!("{message}");
        Ok(Page { cursor: Some(Cursor(NO_TOKEN.into())), ..Page::default() })
    }
}

#[async_trait]
impl Source for Drive {
    /// A whole drive is there if it can be listed, and takes no request. The same place is another
    /// root for another account, which may see other things there.
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        let drive = match &self.root {
            Root::Top => return Ok(RootIdentity(None)),
            Root::Whole { folder, .. } => format!("drive {folder}"),
            Root::Folder { id, drive } => {
                let folder = self.get(Subject::Root, id).await?;
                if folder.trashed {
                    let message = format!("the folder {:?} is in the trash", folder.name);
                    return Err(SourceError::RootMissing { message });
                }
                format!("drive {} folder {id}", drive.as_deref().unwrap_or("my"))
            }
            Root::Shared => "shared".to_owned(),
        };
        Ok(RootIdentity(Some(format!("{ACCOUNT}{} {drive}", self.account_now().await?))))
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.root().await?;
        match &self.root {
            Root::Whole { .. } => {
                self.list(self.drive(), &self.query(""), None, &[], "").await.map(drop)
            }
            _ => Ok(()),
        }
    }

    fn place(&self) -> Option<Vec<u8>> {
        let place = match self.root.clone() {
            Root::Top | Root::Whole { drive: Some(_), .. } | Root::Shared => return None,
            Root::Whole { folder, drive: None } => SourcePath::MyDrive { root: folder },
            Root::Folder { id, drive } => {
                let key = self.api.keys.of(&id);
                SourcePath::Folder { id, drive, key }
            }
        };
        Some(place.to_string().into_bytes())
    }

    fn profile(&self) -> Profile {
        let root = match &self.root {
            Root::Top => return Profile::default(),
            Root::Whole { folder, .. } => folder.as_str(),
            Root::Folder { id, .. } => id.as_str(),
            Root::Shared => SHARED,
        };
        let id = EntryPath::new(root.as_bytes());
        Profile {
            roots: vec![RootFolder { id, path: EntryPath::new(Vec::new()) }],
            listing: match &self.root {
                Root::Whole { .. } => Listing::Flat,
                _ => Listing::ByFolder { at_once: FOLDERS_AT_ONCE },
            },
            has_feed: self.own_query.is_none(),
            absence: Absence::LookUp { at_once: batch::MOST },
            filters_itself: self.own_query.is_some(),
            has_outlines: false,
            // The feed of a shared drive is about nothing else.
            asks_for_targets: self.follows_shortcuts && self.drive().is_some(),
        }
    }

    /// Everything that the account sees in the drive. A page token that is refused makes the
    /// listing begin anew.
    fn walk(&self, _: &Shard, from: Option<Cursor>) -> BoxStream<'_, Result<Page, SourceError>> {
        let from = from.map(|cursor| String::from_utf8_lossy(&cursor.0).into_owned());
        let query = self.query("");
        let start = Some((from, 0, Trail::default()));
        stream::try_unfold(start, move |at| {
            let query = query.clone();
            async move {
                let Some((mut token, mut restarts, mut trail)) = at else { return Ok(None) };
                let files = loop {
                    match self.list(self.drive(), &query, token.as_deref(), &[], "").await {
                        Err(SourceError::FeedExpired { message }) => {
                            if restarts == RESTARTS {
                                return Err(SourceError::Garbled { message });
                            }
                            (token, restarts, trail) = (None, restarts + 1, Trail::default());
                        }
                        outcome => break outcome?,
                    }
                };
                let next = files.next_page_token;
                trail.follow(files.files.len(), next.as_deref())?;
                let page = self.page(&files.files, next.clone());
                Ok(Some((page, next.map(|token| (Some(token), restarts, trail)))))
            }
        })
        .boxed()
    }

    fn children(
        &self,
        _: &Shard,
        folders: &[FolderId],
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let folders = folders.to_vec();
        stream::once(async move { self.lots(&folders).await })
            .flat_map(|lots| match lots {
                Ok(lots) => self.listed(lots),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    async fn folder(&self, id: &FolderId) -> Result<Option<Folder>, SourceError> {
        let Some(id) = file_id(id) else { return Ok(None) };
        match self.get(Subject::File, id).await {
            Ok(file) if file.trashed => Ok(None),
            Ok(file) => Ok(match file.listed(self.listings()) {
                ListedItem::Folder(folder) => Some(folder),
                ListedItem::Entry(_) | ListedItem::Link(_) => None,
            }),
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn feed_token(&self, _: &Shard) -> Result<Cursor, SourceError> {
        let token = self.start_page_token().await?;
        self.is_listing_all.store(true, Ordering::Relaxed);
        Ok(token)
    }

    fn changes(&self, _: &Shard, from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        let from = String::from_utf8_lossy(&from.0).into_owned();
        let start = Some((from, Trail::default()));
        stream::try_unfold(start, move |at| async move {
            let Some((token, mut trail)) = at else { return Ok(None) };
            if !is_token(&token) {
                let page = self.without_feed(token.len())?;
                return Ok(Some((page, None)));
            }
            let page = self.feed(&token).await?;
            let next = page.next_page_token.filter(|next| *next != token);
            trail.follow(page.changes.len(), next.as_deref())?;
            let cursor = next.clone().or(page.new_start_page_token).ok_or_else(|| {
                let message = "Google's page of changes has no token".to_owned();
                SourceError::Garbled { message }
            })?;
            // One that cannot be sent back is not kept either.
            let cursor = if is_token(&cursor) { cursor } else { NO_TOKEN.to_owned() };
            let changed = self.changed(page.changes, cursor).await?;
            Ok(Some((changed, next.map(|next| (next, trail)))))
        })
        .boxed()
    }

    async fn folders(&self, ids: &[FolderId]) -> Result<Page, SourceError> {
        self.folders_now(ids).await
    }

    async fn drifted(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, SourceError> {
        self.not_matching(ids).await
    }

    async fn by_ids(&self, ids: &[EntryId]) -> Result<Page, SourceError> {
        self.all_of(ids).await
    }

    fn use_access_keys(&self, keys: Vec<(EntryId, String)>) {
        for (id, key) in keys {
            self.api.keys.insert(&id.to_json_text(), &key);
        }
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        let Some(id) = file_id(id) else { return Ok(None) };
        match self.get(Subject::File, id).await {
            Ok(file) if file.trashed => Ok(None),
            Ok(file) => Ok(match file.listed(self.listings()) {
                ListedItem::Entry(entry) => Some(entry),
                ListedItem::Folder(_) | ListedItem::Link(_) => None,
            }),
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn fetch(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        range: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let facts = Facts { mime: fingerprint.mime.clone(), ..Facts::default() };
        if fingerprint.known_size() == Some(0) {
            return Ok(Content { facts, body: Body::Stream(stream::empty().boxed()) });
        }
        let id = file_id(id).ok_or_else(|| SourceError::NotFound {
            message: format!("{} is no id of a file", id.to_json_text()),
        })?;
        let response = match Format::of_version(&fingerprint.version) {
            Some(format) => self.api.export(id, format).await?,
            None => self.download(id, fingerprint.size, range).await?,
        };
        Ok(Content { facts, body: Body::Stream(stream(response.into_body())) })
    }

    async fn facts(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        needs: Needs,
    ) -> Result<Facts, SourceError> {
        if !needs.properties {
            return Ok(Facts::default());
        }
        let listed = match fingerprint.properties() {
            Some(properties) => Some(properties.clone()),
            None => match self.stat(id).await?.map(|entry| entry.kind) {
                Some(crate::model::EntryKind::File(now)) => now.properties().cloned(),
                _ => None,
            },
        };
        let properties = listed.unwrap_or_default();
        Ok(Facts { mime: fingerprint.mime.clone(), properties, ..Facts::default() })
    }

    async fn browse(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        match self.profile().roots.first() {
            Some(root) => self.level(&root.id, wanted, limit).await,
            None => self.top(wanted, limit).await,
        }
    }

    async fn account(&self) -> Result<Option<String>, SourceError> {
        Ok(Some(self.about().await?.email_address.clone()))
    }

    fn known_account(&self) -> Option<String> {
        let asked = self.user.get().map(|user| user.id().to_owned());
        asked.or_else(|| self.account.clone())
    }

    /// Earlier versions did not write the account down, or in other words.
    fn is_same_root(&self, was: &str, is: &str) -> bool {
        let now = is.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(' '));
        now.is_some_and(|(account, place)| {
            was == place || (place == "shared" && was == format!("shared with {account}"))
        })
    }

    fn may_follow(&self, root: Option<&str>) -> bool {
        let of = root.and_then(|root| root.strip_prefix(ACCOUNT)?.split(' ').next());
        self.account.is_some() && (of.is_none() || of == self.account.as_deref())
    }

    async fn place_for_account(&self) -> Result<Option<Vec<u8>>, SourceError> {
        let Root::Whole { folder, drive: None } = &self.root else { return Ok(None) };
        let root = self.get(Subject::Root, "root").await?.id;
        let is_another = root != *folder;
        Ok(is_another.then(|| SourcePath::MyDrive { root }.to_string().into_bytes()))
    }

    fn default_concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn usage(&self) -> Usage {
        self.api.usage()
    }
}

/// Whether a response is the range that was asked for, of a file of that size.
fn check_range(
    response: &Response<Incoming>,
    range: ByteRange,
    size: u64,
) -> Result<(), SourceError> {
    let last = range.start + range.len.saturating_sub(1);
    let expected = format!("bytes {}-{last}/{size}", range.start);
    let got = text_of(response.headers(), header::CONTENT_RANGE.as_str()).unwrap_or_default();
    if response.status() == StatusCode::PARTIAL_CONTENT && got == expected {
        return Ok(());
    }
    let message = format!("{got:?} (HTTP {}) instead of {expected:?}", response.status());
    match got.rsplit('/').next().and_then(|total| total.parse::<u64>().ok()) {
        Some(total) if total != size => Err(SourceError::Changed { message }),
        _ => Err(SourceError::Garbled { message }),
    }
}
