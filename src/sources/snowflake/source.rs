//! A table as a source, and what people see who look around in an account.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::{
    account::Account,
    catalogue::{self, CatalogueItem, ConfiguredColumns},
    feed::{Finished, Mark, Order, UnderWay},
    names::{self, Name, NotATable, Table},
    pass::{Batch, Ended, Pass, Progress, Rowset, decode},
    protocol::Context,
    row::{self, MARK_BYTES, Row, State},
    session::{Session, Takes, Wire},
    sign_in::SignIn,
    sql::{self, Shape},
    wire,
};
use crate::{
    model::{
        Connection, Cursor, Details, Entry, EntryId, EntryKind, EntryPath, ErrorType, Fingerprint,
        Shard, Version,
    },
    sources::{
        Body, ByteRange, Content, Facts, Needs, Outline, Page, Profile, RootIdentity, Source,
        SourceError, VersionMatch,
        browse::{self, Item, Level},
        http::Usage,
        provider::Opening,
    },
};

/// What rows are.
const MIME: &str = "application/json";

/// How many rows at once are looked up by their keys: hardly ever, as bytes come with the listing.
const CONCURRENCY: usize = 8;

/// What a folder's place begins with: no table's does.
const FOLDER: u8 = b'/';

/// The length of the hash of a row's JSON, which a version begins with. The row's mark follows.
const CONTENT_BYTES: usize = 32;

/// From so many rows on that were looked up by their keys, and more than a quarter of all, a pass
/// over keys goes on as one over rows: it would look up most of the table.
const LOOKED_UP_MANY: u64 = 2000;

/// The settings of a connection, as the contract has them.
#[derive(Debug, Deserialize)]
struct Settings {
    account: String,
    warehouse: String,
    database: Option<String>,
    schema: Option<String>,
    role: Option<String>,
    incremental_column: Option<String>,
    primary_key_columns: Option<Vec<String>>,
    query_timeout_seconds: u64,
}

/// A place in an account.
enum SourcePath {
    /// A table, whose rows are entries.
    Table(Table),
    /// Above or at a table, to look around in: no names, a database, a schema, a table.
    Folder(Vec<Name>),
}

/// The place of a folder to look into.
pub(super) fn folder(names: &[Name]) -> Vec<u8> {
    let mut place = vec![FOLDER];
    place.extend(names::spelled(names).into_bytes());
    place
}

impl Settings {
    fn of(connection: &Connection) -> Result<Self, SourceError> {
        let config = connection.settings.get("config").cloned().unwrap_or_default();
        serde_json::from_value(config).map_err(|error| SourceError::Misconfigured {
            message: format!("the stored settings of this connection are invalid: {error}"),
        })
    }

    fn context(&self) -> Result<Context, SourceError> {
        let role = self.role.as_deref().filter(|role| !role.is_empty());
        let named = |setting: &str, text: &str| {
            names::one_name(text).map_err(|error| SourceError::Misconfigured {
                message: format!("{setting}: {error}"),
            })
        };
        Ok(Context {
            warehouse: named("warehouse", &self.warehouse)?,
            role: role.map(|role| named("role", role)).transpose()?,
            lets_in: None,
        })
    }

    fn place(&self, source_path: &[u8]) -> Result<SourcePath, SourceError> {
        let text = String::from_utf8_lossy(source_path);
        let wrong = |error: NotATable| SourceError::Misconfigured { message: error.to_string() };
        match text.strip_prefix('/') {
            Some("") => Ok(SourcePath::Folder(Vec::new())),
            Some(folder) => names::parse_parts(folder).map(SourcePath::Folder).map_err(wrong),
            None => {
                let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
                let (database, schema) = (given(&self.database), given(&self.schema));
                Table::parse(&text, database.as_deref(), schema.as_deref())
                    .map(SourcePath::Table)
                    .map_err(wrong)
            }
        }
    }

    /// The database, and the schema in it, that tables are in which are named without them.
    fn defaults(&self) -> Vec<Name> {
        let given = |name: &Option<String>| names::one_name(name.as_deref()?).ok();
        let database = given(&self.database);
        let schema = database.as_ref().and_then(|_| given(&self.schema));
        database.into_iter().chain(schema).collect()
    }

    fn wanted(&self) -> ConfiguredColumns {
        ConfiguredColumns {
            key: self.primary_key_columns.clone().unwrap_or_default(),
            watermark: self.incremental_column.clone().filter(|name| !name.is_empty()),
        }
    }
}

/// What one place of an account is read through.
pub(super) struct Snowflake {
    session: Arc<Session>,
    /// What requests go over.
    wire: Arc<wire::Account>,
    place: SourcePath,
    /// The connection's own database, and schema, as far as it has them.
    defaults: Vec<Name>,
    wanted: ConfiguredColumns,
    /// The account's own host, whatever requests go through.
    host: String,
    shape: OnceCell<Shape>,
    /// What the walk of this run has found out, once it has come to its end.
    finished: Mutex<Option<Finished>>,
    /// How far before the last watermark rows are looked at again.
    overlap: Duration,
    /// How many rows were looked up by their keys.
    looked_up: AtomicU64,
}

impl Snowflake {
    /// Settles how a place is reached. Makes no request.
    ///
    /// # Errors
    /// [`SourceError::Misconfigured`] when the settings, the credentials or the place cannot work.
    pub(super) fn open(opening: &Opening<'_>) -> Result<Self, SourceError> {
        let settings = Settings::of(&opening.location.connection)?;
        let account = Account::parse(&settings.account)
            .map_err(|error| SourceError::Misconfigured { message: error.to_string() })?;
        let place = settings.place(&opening.location.source_path)?;
        let host = account.host.clone();
        let base = match &opening.tuning.hosts.snowflake {
            Some(host) => host.as_str().to_owned(),
            None => format!("https://{host}"),
        };
        let sign_in = SignIn::new(account, opening.credentials)?;
        let sign_in = opening.tuning.grants.shared(&sign_in.id(), || sign_in);
        let context = Context { lets_in: sign_in.statement(), ..settings.context()? };
        let wire = wire::Account::new(base, opening)?;
        let session = Session {
            wire: Arc::clone(&wire) as Arc<dyn Wire>,
            sign_in,
            context,
            table: match &place {
                SourcePath::Table(table) => Some(table.clone()),
                SourcePath::Folder(_) => None,
            },
            timeout: Duration::from_secs(settings.query_timeout_seconds),
            clock: Arc::clone(&opening.tuning.clock),
            worked: Mutex::default(),
            cancels: Mutex::default(),
        };
        Ok(Self {
            session: Arc::new(session),
            wire,
            place,
            defaults: settings.defaults(),
            wanted: settings.wanted(),
            host,
            shape: OnceCell::new(),
            finished: Mutex::default(),
            overlap: Duration::from_secs(
                opening.tuning.budgets.limits().snowflake_overlap_seconds.into(),
            ),
            looked_up: AtomicU64::default(),
        })
    }

    fn table(&self) -> Result<&Table, SourceError> {
        match &self.place {
            SourcePath::Table(table) => Ok(table),
            SourcePath::Folder(_) => Err(SourceError::Misconfigured {
                message: "this is no table: name one as DATABASE.SCHEMA.TABLE".to_owned(),
            }),
        }
    }

    /// The table's columns, and what its rows are found and ordered by; asked for once.
    async fn shape(&self) -> Result<&Shape, SourceError> {
        let table = self.table()?;
        self.shape.get_or_try_init(|| catalogue::shape(&self.session, table, &self.wanted)).await
    }

    /// Rows, looked up by their keys in one statement; those that are gone are left out.
    async fn rows_of(&self, ids: &[&EntryId]) -> Result<Vec<Row>, SourceError> {
        let shape = self.shape().await?;
        let key = |id: &&EntryId| {
            let text = str::from_utf8(id.as_bytes()).ok()?;
            row::key_of_id(text, &shape.key)
        };
        if shape.key.is_empty() {
            return Err(SourceError::Permanent {
                message: "a row without a key is only found by reading the whole table".to_owned(),
            });
        }
        // What is no key is that of no row.
        let keys: Vec<_> = ids.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let statement = sql::rows_by_key(shape, &keys)
            .map_err(|error| SourceError::Permanent { message: error.to_string() })?;
        let session = &self.session;
        let outcome = session.select(&statement, Takes::Warehouse).await;
        let selected = outcome.map_err(|failed| session.explain(failed))?;
        decode(shape, selected).await.map_err(|failed| session.explain(failed))
    }

    /// A row, looked up by its key.
    async fn row_of(&self, id: &EntryId) -> Result<Option<Row>, SourceError> {
        Ok(self.rows_of(&[id]).await?.into_iter().find(|row| row.id == *id))
    }

    /// A row as an entry that has its bytes with it.
    fn entry(&self, row: Row) -> Entry {
        let kind = match row.state {
            State::Whole => EntryKind::File(Fingerprint {
                size: row.body.len() as u64,
                version: Version([&blake3::hash(&row.body).as_bytes()[..], &row.mark].concat()),
                modified: row.modified,
                etag: None,
                mime: Some(MIME.to_owned()),
                details: Some(Box::new(Details {
                    bytes: Some(row.body.into()),
                    ..Details::default()
                })),
            }),
            State::NullKey => EntryKind::Unreadable {
                error_type: ErrorType::ValidationError,
                message: format!("a row has NULL in its key {}", row.key_columns.join(", ")),
            },
            State::TooLarge(size) => EntryKind::Unreadable {
                error_type: ErrorType::TooLarge,
                message: format!(
                    "the row has {size} bytes as JSON; at most {} are taken",
                    row::MAX_ROW_BYTES
                ),
            },
        };
        Entry { id: row.id, path: row.path, parent: None, kind }
    }

    fn page(&self, rows: Vec<Row>, cursor: Option<Cursor>) -> Page {
        let entries = rows.into_iter().map(|row| self.entry(row)).collect();
        Page { entries, cursor, ..Page::default() }
    }

    /// A page of rows of which there are only keys and hashes.
    fn outlined(&self, rows: Vec<Row>, cursor: Option<Cursor>) -> Page {
        let mut page = Page { cursor, ..Page::default() };
        for row in rows {
            match row.state {
                State::Whole => page.outlines.push(Outline {
                    id: row.id,
                    version: Version(row.mark.to_vec()),
                    facts_mark: 0,
                    folders: Vec::new(),
                }),
                State::NullKey | State::TooLarge(_) => page.entries.push(self.entry(row)),
            }
        }
        page
    }

    /// Snowflake's token of the last change; none where it has none for this table, or the role may
    /// not learn it: whether the table is there and may be read, its rows show.
    async fn last_change(&self) -> Result<Option<String>, SourceError> {
        match self.session.all(&sql::last_change(self.table()?)).await {
            Ok((_, rows)) => Ok(rows.first().and_then(|rows| rows.single()).map(str::to_owned)),
            Err(SourceError::Permanent { message } | SourceError::RootMissing { message }) => {
                tracing::debug!(message, "whether anything is new has to be asked with a query");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// All rows, behind `from`; of a new pass with a key only the keys and hashes, if `keys_only`.
    async fn walk_from(
        &self,
        from: Option<Cursor>,
        keys_only: bool,
    ) -> Result<Pages<'_>, SourceError> {
        let shape = self.shape().await?.clone();
        let progress = from.map(|Cursor(bytes)| serde_json::from_slice(&bytes)).transpose();
        let progress: Option<Progress> = progress.map_err(|_| SourceError::Garbled {
            message: "the place that was kept is not one of this version".to_owned(),
        })?;
        let keys_only = keys_only && !shape.key.is_empty();
        let last = progress.unwrap_or(Progress { keys_only, ..Progress::default() });
        let order = Order::of(&shape);
        let walk = Walk {
            source: self,
            shape,
            order,
            last,
            pass: None,
            has_begun_again: false,
            failed: None,
            listed: 0,
        };
        Ok(stream::unfold(walk, |mut walk| async move {
            let next = walk.next().await.transpose()?;
            Some((next, walk))
        })
        .boxed())
    }

    /// What is new since a token.
    async fn changes_from(&self, from: &Cursor) -> Result<Pages<'_>, SourceError> {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mark = Mark::read(from, &self.wanted)?;
        let was_under_way = mark.under_way.clone();
        let mark = if mark.order.is_none() { mark.after(finished.as_ref()) } else { mark };
        let (change, progress) = match was_under_way {
            Some(UnderWay { change, progress }) => (change, progress),
            None => {
                let change = self.last_change().await?;
                if change.is_some() && change == mark.change {
                    return Ok(only(self.page(Vec::new(), Some(mark.cursor()))));
                }
                let columns = mark.columns.clone();
                (change, Progress { columns, ..Progress::default() })
            }
        };
        match (&mark.order, &mark.watermark) {
            (Some(order), Some(last)) => {
                let shape = order.shape(self.table()?);
                let kind = shape.watermark.as_ref().map(|column| column.kind);
                let since = kind.and_then(|kind| sql::before(kind, last, self.overlap));
                let since = since.ok_or_else(|| SourceError::FeedExpired {
                    message: "the last watermark cannot be read".to_owned(),
                })?;
                let rowset = Rowset::Since(since);
                let pass = Pass::new(Arc::clone(&self.session), shape, rowset, progress.clone());
                let batches = pass.batches();
                let news = News { source: self, batches, mark, change, progress, failed: None };
                Ok(stream::unfold(Some(news), |news| async move { news?.next().await }).boxed())
            }
            // The walk of this very run has just read everything: what came since, the next one
            // finds.
            _ if finished.is_some() => Ok(only(self.page(Vec::new(), Some(mark.cursor())))),
            _ => Err(SourceError::FeedExpired {
                message: "rows have changed, and no incremental_column shows which".to_owned(),
            }),
        }
    }

    /// The bytes of a row in the version that was listed.
    async fn bytes(&self, id: &EntryId, fingerprint: &Fingerprint) -> Result<Bytes, SourceError> {
        if let Some(bytes) = fingerprint.bytes() {
            return Ok(bytes.clone());
        }
        let row = self.row_of(id).await?.ok_or_else(|| SourceError::NotFound {
            message: "the table has no row with this key any more".to_owned(),
        })?;
        match self.entry(row).kind {
            EntryKind::File(now) if content(&now.version.0) == content(&fingerprint.version.0) => {
                Ok(now.bytes().cloned().unwrap_or_default())
            }
            _ => Err(SourceError::Changed { message: "the row is another one now".to_owned() }),
        }
    }

    /// Signs in, and finds the warehouse and what the place names. Wakes no warehouse.
    async fn find(&self) -> Result<(), SourceError> {
        let warehouse = &self.session.context.warehouse;
        if !catalogue::has_warehouse(&self.session, warehouse).await? {
            return Err(self.session.no_warehouse());
        }
        match &self.place {
            SourcePath::Table(_) => self.shape().await.map(drop),
            SourcePath::Folder(names) if names.is_empty() => self.find_defaults().await,
            SourcePath::Folder(names) => self.folders(names, 1).await.map(drop),
        }
    }

    /// Finds what the connection's own database and schema name, or any database where it has none.
    async fn find_defaults(&self) -> Result<(), SourceError> {
        let listed = self.folders(&self.defaults, 1).await;
        let (setting, missing) = match self.defaults.as_slice() {
            [] => ("role", "no database is in sight".to_owned()),
            [database] => ("database", format!("there is no {database} in sight")),
            [database, schema, ..] => {
                ("schema", format!("there is no {database}.{schema} in sight"))
            }
        };
        let is_there = match &listed {
            // A schema may be empty, an account that has no database is none that can be read.
            Ok(level) => !self.defaults.is_empty() || !level.items.is_empty(),
            Err(SourceError::Misconfigured { .. }) => false,
            Err(_) => return listed.map(drop),
        };
        let context = &self.session.context;
        match is_there {
            true => Ok(()),
            false => Err(SourceError::Misconfigured {
                message: format!(
                    "{setting}: {missing}; check the spelling, or let the role use it: {}",
                    context.usage_grants(&self.defaults)
                ),
            }),
        }
    }

    /// Databases, schemas, tables or columns below a place.
    async fn folders(&self, names: &[Name], limit: usize) -> Result<Level, SourceError> {
        let session = &self.session;
        let (listed, truncated) = match names {
            [] => catalogue::databases(session, limit).await?,
            [database] => catalogue::schemas(session, database, limit).await?,
            [database, schema] => catalogue::objects(session, (database, schema), limit).await?,
            [database, schema, name, ..] => {
                let table = Table {
                    database: database.clone(),
                    schema: schema.clone(),
                    name: name.clone(),
                };
                return self.columns(&table, limit).await;
            }
        };
        let item = |found: CatalogueItem| {
            let mut full = names.to_vec();
            full.push(Name::exact(found.name.as_str()));
            item(&found.name, &full, found.kind)
        };
        Ok(Level { items: listed.into_iter().map(item).collect(), truncated })
    }

    /// The first rows of a table. Wakes a warehouse: only done for who asks to see them.
    async fn first_rows(&self, names: &[Name], limit: usize) -> Result<Level, SourceError> {
        let [database, schema, name] = names else { return Ok(Level::default()) };
        let table =
            Table { database: database.clone(), schema: schema.clone(), name: name.clone() };
        let session = &self.session;
        let shape = catalogue::shape(session, &table, &ConfiguredColumns::default()).await?;
        let statement = sql::first_rows(&shape, limit);
        let outcome = session.select(&statement, Takes::Warehouse).await;
        let selected = outcome.map_err(|failed| session.explain(failed))?;
        let rows = decode(&shape, selected).await.map_err(|failed| session.explain(failed))?;
        let item = |row: Row| Item {
            id: Some(row.id.to_json_text()),
            name: row.path,
            note: None,
            mime: Some(MIME.to_owned()),
            size: Some(row.body.len() as u64),
            modified: row.modified,
        };
        Ok(Level { items: rows.into_iter().map(item).collect(), truncated: false })
    }

    /// The columns of a table, with their types, and which would do for a key and a watermark.
    async fn columns(&self, table: &Table, limit: usize) -> Result<Level, SourceError> {
        let described = catalogue::describe(&self.session, table).await?;
        let declared = catalogue::declared_key(&self.session, table).await?;
        let columns: Vec<_> = described.iter().map(|(column, _)| column.clone()).collect();
        let proposal = catalogue::propose(&columns, declared);
        let path = [table.database.clone(), table.schema.clone(), table.name.clone()];
        let item = |(column, kind): &(_, String)| {
            let column: &super::columns::Column = column;
            let mut note = kind.clone();
            if proposal.key.contains(&column.name) {
                note.push_str(", suits primary_key_columns");
            }
            if proposal.watermark.as_ref() == Some(&column.name) {
                note.push_str(", suits incremental_column");
            }
            let mut full = path.to_vec();
            full.push(column.quoted());
            item(&column.name, &full, Some(note))
        };
        let items = described.iter().take(limit).map(item).collect();
        Ok(Level { items, truncated: described.len() > limit })
    }
}

/// What a person should know of a table without a key.
const WITHOUT_KEY: &str = "this table declares no key, so each row is known by a hash of what is in it: a row that \
     changes is one that goes and one that comes, and every change takes a pass over the whole \
     table. If columns tell its rows apart, name them in the connection's primary_key_columns";

/// Whether a value refers to a file in a stage: a path such as `@STAGE/a.jpg`, or a FILE, which
/// arrives as the text of its JSON.
fn is_staged(value: &serde_json::Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let is_path = text.strip_prefix('@').and_then(|path| path.split_once('/'));
    let is_file = text.starts_with('{') && text.contains("\"RELATIVE_PATH\"");
    is_path.is_some_and(|(stage, _)| !stage.contains(char::is_whitespace)) || is_file
}

/// The part of a version that says what is in the row.
fn content(version: &[u8]) -> &[u8] {
    version.get(..CONTENT_BYTES).unwrap_or(version)
}

/// Pages as they come.
type Pages<'a> = BoxStream<'a, Result<Page, SourceError>>;

fn only(page: Page) -> Pages<'static> {
    stream::once(async { Ok(page) }).boxed()
}

/// Pages that have to be begun with requests.
fn begun<'a>(begin: impl Future<Output = Result<Pages<'a>, SourceError>> + Send + 'a) -> Pages<'a> {
    stream::once(begin)
        .flat_map(|begun| begun.unwrap_or_else(|error| stream::once(async { Err(error) }).boxed()))
        .boxed()
}

/// A walk through a whole table.
struct Walk<'a> {
    source: &'a Snowflake,
    shape: Shape,
    order: Order,
    last: Progress,
    pass: Option<BoxStream<'static, Result<Batch, Ended>>>,
    /// Whether it has begun again because the columns were other ones.
    has_begun_again: bool,
    /// The error that it ends with, once it is written down that the next one begins anew.
    failed: Option<SourceError>,
    /// How many rows were listed by their keys.
    listed: u64,
}

impl Walk<'_> {
    async fn next(&mut self) -> Result<Option<Page>, SourceError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            if self.last.keys_only && self.has_looked_up_most() {
                tracing::info!("most rows have changed: the rest of the table is read whole");
                self.last.keys_only = false;
                self.pass = None;
            }
            let pass = self.pass.get_or_insert_with(|| {
                let session = Arc::clone(&self.source.session);
                let rowset = if self.last.keys_only { Rowset::Keys } else { Rowset::All };
                Pass::new(session, self.shape.clone(), rowset, self.last.clone()).batches()
            });
            match pass.next().await {
                Some(Ok(Batch { rows, progress })) => {
                    let place = progress.place.is_some();
                    // Texts only: this cannot fail.
                    let cursor = serde_json::to_vec(&progress).unwrap_or_default();
                    let cursor = place.then_some(Cursor(cursor));
                    self.last = progress;
                    if !self.last.keys_only {
                        return Ok(Some(self.source.page(rows, cursor)));
                    }
                    self.listed += rows.len() as u64;
                    return Ok(Some(self.source.outlined(rows, cursor)));
                }
                // Other columns than when it was interrupted: from the beginning.
                Some(Err(Ended::Reshaped(_)))
                    if self.last != Progress::default() && !self.has_begun_again =>
                {
                    self.has_begun_again = true;
                    self.last = Progress::default();
                    self.pass = None;
                }
                Some(Err(Ended::Reshaped(message))) => {
                    return Err(SourceError::Transient { message });
                }
                Some(Err(Ended::Untrue(error))) => {
                    self.failed = Some(error);
                    return Ok(Some(self.anew()));
                }
                Some(Err(Ended::Source(error))) => return Err(error),
                None => {
                    let (progress, order) = (self.last.clone(), self.order.clone());
                    let finished = Finished { progress, order };
                    let mut kept =
                        self.source.finished.lock().unwrap_or_else(PoisonError::into_inner);
                    *kept = Some(finished);
                    return Ok(None);
                }
            }
        }
    }

    /// A page behind which the table is listed from its beginning: whoever went on behind the last
    /// row would take for gone what was left out before it.
    fn anew(&self) -> Page {
        let beginning = Progress { keys_only: self.last.keys_only, ..Progress::default() };
        // Texts only: this cannot fail.
        let cursor = serde_json::to_vec(&beginning).unwrap_or_default();
        let has_places = !self.shape.key.is_empty();
        Page { cursor: has_places.then_some(Cursor(cursor)), ..Page::default() }
    }

    fn has_looked_up_most(&self) -> bool {
        let looked_up = self.source.looked_up.load(Ordering::Relaxed);
        looked_up >= LOOKED_UP_MANY && looked_up > self.listed / 4
    }
}

/// A pass over what is new.
struct News<'a> {
    source: &'a Snowflake,
    batches: BoxStream<'static, Result<Batch, Ended>>,
    mark: Mark,
    /// The token of the last change before it began.
    change: Option<String>,
    progress: Progress,
    /// The error that it ends with, once it is written down that the next one begins anew.
    failed: Option<SourceError>,
}

impl News<'_> {
    async fn next(mut self) -> Option<(Result<Page, SourceError>, Option<Self>)> {
        if let Some(error) = self.failed.take() {
            return Some((Err(error), None));
        }
        match self.batches.next().await {
            Some(Ok(Batch { rows, progress })) => {
                self.progress = progress.clone();
                let under_way = Some(UnderWay { change: self.change.clone(), progress });
                let mark = Mark { under_way, ..self.mark.clone() };
                Some((Ok(self.source.page(rows, Some(mark.cursor()))), Some(self)))
            }
            Some(Err(Ended::Untrue(error))) => {
                self.failed = Some(error);
                let mark = Mark { under_way: None, ..self.mark.clone() };
                Some((Ok(self.source.page(Vec::new(), Some(mark.cursor()))), Some(self)))
            }
            Some(Err(Ended::Source(error))) => Some((Err(error), None)),
            Some(Err(Ended::Reshaped(message))) => {
                Some((Err(SourceError::FeedExpired { message }), None))
            }
            None => {
                let mark = Mark {
                    // What was left to the next pass may have been there before this token.
                    change: self.change.filter(|_| !self.progress.leaves_rows),
                    watermark: self.progress.watermark.or(self.mark.watermark),
                    under_way: None,
                    ..self.mark
                };
                Some((Ok(self.source.page(Vec::new(), Some(mark.cursor()))), None))
            }
        }
    }
}

fn item(name: &str, full: &[Name], note: Option<String>) -> Item {
    let quoted: Vec<String> = full.iter().map(Name::to_string).collect();
    Item {
        name: EntryPath::new(name),
        id: Some(quoted.join(".")),
        note,
        mime: None,
        size: None,
        modified: None,
    }
}

#[async_trait]
impl Source for Snowflake {
    /// Makes no request: that the table is there shows with the first page.
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        Ok(RootIdentity(match &self.place {
            // Not the table's creation time: it is made anew by many who load tables.
            SourcePath::Table(table) => Some(format!("{}/{table}", self.host)),
            SourcePath::Folder(_) => None,
        }))
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.find().await
    }

    async fn clear_refusal(&self) -> Result<(), SourceError> {
        self.session.sign_in.clear_refusal().await
    }

    fn profile(&self) -> Profile {
        Profile { has_feed: true, has_outlines: true, ..Profile::default() }
    }

    fn walk(&self, _: &Shard, from: Option<Cursor>) -> BoxStream<'_, Result<Page, SourceError>> {
        begun(async move { self.walk_from(from, false).await })
    }

    /// Keys and hashes only, where the table has a key.
    fn walk_again(
        &self,
        _: &Shard,
        from: Option<Cursor>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        begun(async move { self.walk_from(from, true).await })
    }

    async fn look_up(&self, outlines: &[Outline]) -> Result<Vec<Entry>, SourceError> {
        let ids: Vec<&EntryId> = outlines.iter().map(|outline| &outline.id).collect();
        let mut entries = Vec::with_capacity(ids.len());
        for ids in ids.chunks(sql::KEYS_AT_ONCE) {
            let rows = self.rows_of(ids).await?;
            entries.extend(rows.into_iter().map(|row| self.entry(row)));
            self.looked_up.fetch_add(ids.len() as u64, Ordering::Relaxed);
        }
        Ok(entries)
    }

    /// What is in the row decides; of a row that was not read, its mark.
    fn compare(&self, stored: &[u8], listed: &Version) -> VersionMatch {
        let is_same = match listed.0.len() {
            MARK_BYTES => stored.get(CONTENT_BYTES..) == Some(&listed.0[..]),
            _ => content(stored) == content(&listed.0),
        };
        if is_same { VersionMatch::Same } else { VersionMatch::Other }
    }

    async fn feed_token(&self, _: &Shard) -> Result<Cursor, SourceError> {
        let change = self.last_change().await?;
        Ok(Mark { change, wanted: self.wanted.clone(), ..Mark::default() }.cursor())
    }

    fn changes(&self, _: &Shard, from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        begun(async move { self.changes_from(&from).await })
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        Ok(self.row_of(id).await?.map(|row| self.entry(row)))
    }

    /// The bytes that came with the listing, else the row as it is now.
    async fn fetch(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        _: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let body = self.bytes(id, fingerprint).await?;
        let facts = Facts { mime: Some(MIME.to_owned()), ..Facts::default() };
        Ok(Content { facts, body: Body::Stream(stream::once(async { Ok(body) }).boxed()) })
    }

    /// The row's columns, out of the bytes that came with it.
    async fn facts(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        needs: Needs,
    ) -> Result<Facts, SourceError> {
        let mut facts = Facts::default();
        if needs.properties {
            let body = self.bytes(id, fingerprint).await?;
            facts.mime = Some(MIME.to_owned());
            facts.properties = serde_json::from_slice(&body).map_err(|error| {
                SourceError::Permanent { message: format!("the row is no JSON: {error}") }
            })?;
            let references = facts.properties.iter().filter(|(_, value)| is_staged(value));
            facts.references = references.map(|(name, _)| name.clone()).collect();
        }
        Ok(facts)
    }

    async fn browse(&self, wanted: browse::ItemKind, limit: usize) -> Result<Level, SourceError> {
        match (&self.place, wanted) {
            (SourcePath::Folder(names), browse::ItemKind::Folders) => {
                self.folders(names, limit).await
            }
            (SourcePath::Folder(names), browse::ItemKind::Files) => {
                self.first_rows(names, limit).await
            }
            (SourcePath::Table(_), _) => Err(browse::not_browsable()),
        }
    }

    fn remark(&self) -> Option<String> {
        let shape = self.shape.get()?;
        shape.key.is_empty().then(|| WITHOUT_KEY.to_owned())
    }

    fn usage(&self) -> Usage {
        let worked = *self.session.worked.lock().unwrap_or_else(PoisonError::into_inner);
        Usage { paid: Some(("warehouse_seconds", worked)), ..self.wire.usage() }
    }

    async fn close(&self) {
        self.session.close().await;
    }

    fn ranges(&self) -> bool {
        false
    }

    fn default_concurrency(&self) -> usize {
        CONCURRENCY
    }
}
