//! What the API returns for an asset and its files, as entries.

use std::{cmp::Reverse, collections::BTreeMap};

use globset::GlobSet;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{feed::instant, source_path::is_id};
use crate::{
    model::{
        Details, Entry, EntryId, EntryKind, EntryPath, ErrorType, ExpectedHash, Fingerprint,
        HashAlgorithm, Identity, PartAddress, SizeKind, SkipReason, Version,
    },
    sources::{Outline, Placed, browse::Item},
};

/// The fields of assets that a search is asked for.
pub(super) const FIELDS: &[&str] = &[
    "id",
    "title",
    "description",
    "status",
    "type",
    "object_type",
    "category",
    "media_type",
    "external_id",
    "external_link",
    "created_by_user",
    "archive_status",
    "is_online",
    "date_created",
    "date_modified",
    "date_imported",
    "duration_milliseconds",
    "in_collections",
    "metadata",
    "versions",
    "formats",
    "files",
    "proxies",
    "keyframes",
];

/// Begins the address of a named part.
const PART: &str = "part://";

/// How long after its date an asset may get its proxy: until then each full pass asks for it.
const PROXY_IS_MADE_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Separates what the listing returned from what the files are, in a version.
const EXPANDED: u8 = b'\n';

/// `null` is what was left out.
pub(super) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// An asset, as a search or its own address returns it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asset {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) title: String,
    status: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    object_type: Option<String>,
    category: Option<String>,
    media_type: Option<String>,
    external_id: Option<String>,
    external_link: Option<String>,
    description: Option<String>,
    created_by_user: Option<String>,
    archive_status: Option<String>,
    is_online: Option<bool>,
    date_created: Option<String>,
    pub(super) date_modified: Option<String>,
    date_imported: Option<String>,
    duration_milliseconds: Option<u64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) in_collections: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) metadata: Map<String, Value>,
    #[serde(deserialize_with = "or_default")]
    versions: Vec<AssetVersion>,
    pub(super) files: Option<Vec<File>>,
    pub(super) formats: Option<Vec<Format>>,
    pub(super) proxies: Option<Vec<Proxy>>,
    pub(super) keyframes: Option<Vec<Proxy>>,
    #[serde(rename = "_sort")]
    pub(super) sort: Option<Vec<Value>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct AssetVersion {
    id: Option<String>,
    version_number: Option<u64>,
}

/// A file of an asset.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    name: Option<String>,
    original_name: Option<String>,
    status: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    size: Option<u64>,
    checksum: Option<String>,
    format_id: Option<String>,
    version_id: Option<String>,
    file_date_modified: Option<String>,
}

/// A format of an asset, which its files belong to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Format {
    id: Option<String>,
    name: Option<String>,
    status: Option<String>,
    archive_status: Option<String>,
    is_online: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    metadata: Vec<Map<String, Value>>,
}

/// A smaller version of an asset, made to be looked at: a proxy, or a keyframe, which is a still
/// picture of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Proxy {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    name: Option<String>,
    filename: Option<String>,
    status: Option<String>,
    size: Option<u64>,
    date_modified: Option<String>,
    resolution: Option<Resolution>,
    /// Of a keyframe: whether a person chose it.
    is_custom_keyframe: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// A part of an asset that mappings can make a blob of, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedPart {
    Proxy,
    Keyframe,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Resolution {
    width: Option<u64>,
    height: Option<u64>,
}

/// Which files of an asset are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FileSelection {
    /// Those of its original format.
    #[default]
    Originals,
    /// The proxy, in the place of the original.
    Proxy,
    /// Both.
    All,
}

/// An asset with its files, and what is wanted of them.
pub(super) struct Whole<'a> {
    pub(super) asset: &'a Asset,
    pub(super) files: &'a [File],
    pub(super) formats: &'a [Format],
    pub(super) proxies: &'a [Proxy],
    pub(super) wanted: FileSelection,
    pub(super) patterns: Option<&'a GlobSet>,
    pub(super) now: Timestamp,
}

/// What a file or a proxy is to a sync.
struct Part {
    id: String,
    name: String,
    size: Option<u64>,
    modified: Option<String>,
    checksum: Option<String>,
    state: State,
    is_proxy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ready,
    Missing,
    Archived,
    Arriving,
}

impl Asset {
    pub(super) fn entry_id(&self) -> EntryId {
        EntryPath::new(self.id.as_bytes())
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.status.as_deref() == Some("DELETED")
    }

    /// Whether it is something that a sync takes: no part of another asset, no segment.
    pub(super) fn is_entry(&self) -> bool {
        let is_asset = self.object_type.as_deref().is_none_or(|of| of == "assets");
        is_asset && !self.id.is_empty() && self.kind.as_deref() != Some("SUBCLIP")
    }

    pub(super) fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Whether mappings and filters find something under a name, which may have `metadata.` before
    /// it.
    pub(super) fn has_property(&self, name: &str) -> bool {
        let all = self.properties();
        let name = name.strip_prefix("metadata.").unwrap_or(name);
        all.keys().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether people who look around see it.
    pub(super) fn is_shown(&self) -> bool {
        self.is_entry() && !self.is_deleted()
    }

    /// It as people see it who look around.
    pub(super) fn item(&self) -> Item {
        let title = if self.title.is_empty() { &self.id } else { &self.title };
        let file = self.files.iter().flatten().max_by_key(|file| file.size);
        let name = EntryPath::new(title.as_bytes());
        let of_name = name
            .mime_guess()
            .or_else(|| EntryPath::new(file?.name.as_deref()?.as_bytes()).mime_guess());
        Item {
            mime: of_name.map(str::to_owned).or_else(|| self.media_type.clone()),
            id: Some(self.id.clone()),
            size: file.and_then(|file| file.size),
            modified: self.date_modified.as_deref().and_then(instant),
            note: None,
            name,
        }
    }

    /// Why it has no files that could be asked for.
    pub(super) fn without_files(&self, wanted: FileSelection) -> Option<SkipReason> {
        if matches!(self.kind.as_deref(), Some("PLACEHOLDER" | "LINK")) {
            return Some(SkipReason::NoContent);
        }
        let is_archived = self.archive_status.as_deref() == Some("ARCHIVED");
        (is_archived && wanted == FileSelection::Originals).then_some(SkipReason::Archived)
    }

    /// Whether it is so new that a proxy may yet be made of it, or has no date that would change
    /// with one.
    fn may_get_a_proxy(&self, now: Timestamp) -> bool {
        let dated = self.date_modified.as_deref().and_then(instant);
        dated.is_none_or(|dated| now.duration_since(dated) < PROXY_IS_MADE_WITHIN)
    }

    fn version_id(&self) -> Option<&str> {
        let newest = self.versions.iter().filter(|of| of.version_number.is_some());
        let newest = newest.max_by_key(|of| of.version_number);
        newest.or_else(|| self.versions.first())?.id.as_deref()
    }

    /// What changes with everything that is done to an asset, as far as its date does.
    fn listed_version(&self) -> String {
        let date = self.date_modified.as_deref().unwrap_or_default();
        format!("{date} {}", self.version_id().unwrap_or_default()).replace('\n', " ")
    }

    /// What a search returns for it: enough to see whether it has changed.
    pub(super) fn outline(&self, folders: Vec<EntryId>) -> Outline {
        let mark = Value::Object(self.properties()).to_string();
        Outline {
            id: self.entry_id(),
            version: Version(self.listed_version().into_bytes()),
            facts_mark: Identity::of(&[mark.as_bytes()]).0,
            folders,
        }
    }

    /// What mappings and filters know by bare names: first what every asset has, then the fields of
    /// its metadata; of those with a taken name, `metadata.NAME`.
    fn properties(&self) -> Map<String, Value> {
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let duration = self.duration_milliseconds;
        let resolution = self.resolution();
        let built_in = [
            ("title", Some(self.title.clone().into())),
            ("description", text(&self.description)),
            ("status", text(&self.status)),
            ("type", text(&self.kind)),
            ("category", text(&self.category)),
            ("media_type", text(&self.media_type)),
            ("external_id", text(&self.external_id)),
            ("external_link", text(&self.external_link)),
            ("created_by", text(&self.created_by_user)),
            ("archive_status", text(&self.archive_status)),
            ("date_created", text(&self.date_created)),
            ("date_modified", text(&self.date_modified)),
            ("date_imported", text(&self.date_imported)),
            ("duration_milliseconds", duration.map(Value::from)),
            ("duration", duration.map(seconds)),
            ("width", resolution.and_then(|of| of.width).map(Value::from)),
            ("height", resolution.and_then(|of| of.height).map(Value::from)),
        ];
        // Sorted, so that the order in which the API returns them makes no difference.
        let mut all: BTreeMap<String, Value> = built_in
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        for (name, value) in &self.metadata {
            let Some(value) = field_value(value) else { continue };
            match all.contains_key(name) {
                true => all.insert(format!("metadata.{name}"), value),
                false => all.insert(name.clone(), value),
            };
        }
        all.into_iter().collect()
    }

    fn resolution(&self) -> Option<Resolution> {
        let number = |of: &Map<String, Value>, name: &str| of.get(name).and_then(Value::as_u64);
        let formats = self.formats.iter().flatten().filter(|format| format.is_original());
        let of_format = formats.flat_map(|format| &format.metadata).find_map(|of| {
            let (width, height) = (number(of, "width"), number(of, "height"));
            width.or(height).map(|_| Resolution { width, height })
        });
        of_format.or_else(|| self.proxies.iter().flatten().find_map(|proxy| proxy.resolution))
    }
}

/// Milliseconds as seconds.
fn seconds(milliseconds: u64) -> Value {
    #[allow(clippy::cast_precision_loss, reason = "no medium lasts for 285,000 years")]
    let seconds = milliseconds as f64 / 1000.0;
    seconds.into()
}

/// The value of a field of metadata: several stay a list, one is that one, and none is absent. The
/// search returns them as a list, the view's own address as `{"field_values": [{"value": …}]}`.
fn field_value(value: &Value) -> Option<Value> {
    let values: Vec<Value> = match value {
        Value::Null => return None,
        Value::Array(all) => all.clone(),
        Value::Object(of) => match of.get("field_values").and_then(Value::as_array) {
            Some(all) => all.iter().filter_map(|one| one.get("value").cloned()).collect(),
            None => return Some(value.clone()),
        },
        other => return Some(other.clone()),
    };
    match values.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        _ => Some(values.into()),
    }
}

impl Format {
    pub(super) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    fn is_original(&self) -> bool {
        let is_named = self.name.as_deref().is_some_and(|of| of.eq_ignore_ascii_case("ORIGINAL"));
        is_named && self.status.as_deref() != Some("DELETED")
    }
}

impl NamedPart {
    pub(super) const ALL: [Self; 2] = [Self::Proxy, Self::Keyframe];

    /// Its name in mappings.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Keyframe => "keyframe",
        }
    }

    /// What the API calls all of an asset's.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Proxy => "proxies",
            Self::Keyframe => "keyframes",
        }
    }

    /// The address of that one of an asset's which stands for it: what a person chose, a poster,
    /// the largest, by name. It changes with the bytes. `None` where none is there.
    pub(super) fn address_of(self, all: &[Proxy]) -> Option<PartAddress> {
        let is_there = |of: &&Proxy| {
            let is_missing =
                ["DELETED", "FAILED", "ARCHIVED", "OPEN", "GROWING", "AWAITED", "MISSING"];
            is_id(&of.id) && !of.status.as_deref().is_some_and(|of| is_missing.contains(&of))
        };
        let rank = |of: &&Proxy| {
            let is_chosen = of.is_custom_keyframe == Some(true);
            let is_poster = of.kind.as_deref() == Some("POSTER");
            (Reverse((is_chosen, is_poster, of.size)), of.name.clone(), of.id.clone())
        };
        let chosen = all.iter().filter(is_there).min_by_key(rank)?;
        let name = [&chosen.filename, &chosen.name].into_iter().flatten();
        let name = name.into_iter().find(|name| !name.is_empty()).map_or("", String::as_str);
        let version = format!(
            "{} {}",
            chosen.size.map(|size| size.to_string()).unwrap_or_default(),
            chosen.date_modified.as_deref().unwrap_or_default()
        );
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (kind, id) = (self.kind(), &chosen.id);
        let address = format!("{PART}{kind}/{id}/{}?{}", encode(name), encode(&version));
        Some(PartAddress(address))
    }

    /// What an address leads to: the part, its id and its own name.
    pub(super) fn read(address: &PartAddress) -> Option<(Self, &str, String)> {
        let rest = address.0.strip_prefix(PART)?.split('?').next()?;
        let mut pieces = rest.split('/');
        let (kind, id, name) = (pieces.next()?, pieces.next()?, pieces.next()?);
        let part = Self::ALL.into_iter().find(|part| part.kind() == kind)?;
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        (is_id(id) && pieces.next().is_none()).then_some((part, id, name))
    }
}

/// Whether the formats have to be asked for to tell which files are original ones.
pub(super) fn needs_formats(files: &[File], formats: Option<&[Format]>) -> bool {
    let knows = formats.is_some_and(|all| all.iter().any(Format::is_original));
    let mut ids = files.iter().map(|file| &file.format_id);
    let first = ids.next();
    !knows && ids.any(|id| Some(id) != first)
}

impl Whole<'_> {
    /// The entries: the asset's own, and one for each further file. Also whether some of its files
    /// are still arriving.
    pub(super) fn entries(&self, placed: &Placed) -> (Vec<Entry>, bool) {
        let mut parts = match self.wanted {
            FileSelection::Originals => self.originals(),
            FileSelection::Proxy => self.proxy().into_iter().collect(),
            FileSelection::All => {
                let mut all = self.originals();
                all.extend(self.usable_proxies());
                all
            }
        };
        let is_arriving = parts.iter().any(|part| part.state == State::Arriving);
        if parts.is_empty() {
            let reason = match self.wanted {
                FileSelection::Proxy if self.asset.may_get_a_proxy(self.now) => {
                    SkipReason::NoProxyYet
                }
                FileSelection::Proxy => SkipReason::NoProxy,
                FileSelection::Originals | FileSelection::All => SkipReason::NoContent,
            };
            return (vec![self.skipped(placed, reason)], is_arriving);
        }
        let is_frame = |file: &File| file.kind.as_deref() == Some("SEQUENCE");
        let is_sequence =
            self.asset.kind.as_deref() == Some("SEQUENCE") || self.files.iter().any(is_frame);
        let further = parts.split_off(1);
        let mut entries = Vec::with_capacity(1 + further.len());
        for part in parts {
            entries.push(self.entry(placed, &part, self.asset.id.clone(), is_sequence));
        }
        for part in further {
            let id = format!("{}/{}", self.asset.id, part.id);
            entries.push(self.entry(placed, &part, id, true));
        }
        (entries, is_arriving)
    }

    /// The asset as an entry that is left out.
    pub(super) fn skipped(&self, placed: &Placed, reason: SkipReason) -> Entry {
        Entry {
            id: self.asset.entry_id(),
            path: EntryPath::new(self.title().as_bytes()),
            parent: Some(placed.folder.clone()),
            kind: EntryKind::Skipped(reason),
        }
    }

    fn title(&self) -> &str {
        if self.asset.title.is_empty() { &self.asset.id } else { &self.asset.title }
    }

    /// The title, with the ending of the asset's type where it has none.
    fn title_as_name(&self) -> String {
        let title = self.title();
        let has_ending = EntryPath::new(title.as_bytes()).mime_guess().is_some();
        let endings = self.mime().and_then(|mime| mime_guess::get_mime_extensions_str(&mime));
        match endings.and_then(<[&str]>::first).filter(|_| !has_ending) {
            Some(ending) => format!("{title}.{ending}"),
            None => title.to_owned(),
        }
    }

    /// The files of the original format, the asset's own first: what is there, the largest, by
    /// name.
    fn originals(&self) -> Vec<Part> {
        let original: Vec<&Format> =
            self.formats.iter().filter(|format| format.is_original()).collect();
        let format_of =
            |file: &File| original.iter().copied().find(|format| format.id == file.format_id);
        let current = self.asset.version_id();
        let has_current = self.files.iter().any(|file| file.version_id.as_deref() == current);
        let is_wanted = |file: &&File| {
            let is_kind = !matches!(file.kind.as_deref(), Some("DIRECTORY" | "SYMLINK"));
            let is_current = !has_current || file.version_id.as_deref() == current;
            let is_original = original.is_empty() || format_of(file).is_some();
            is_kind && is_current && is_original && !file.id.is_empty()
        };
        let mut parts: Vec<Part> = self
            .files
            .iter()
            .filter(is_wanted)
            .filter_map(|file| self.part_of(file, format_of(file)))
            .collect();
        parts.sort_by(|a, b| {
            (a.state, Reverse(a.size), &a.name).cmp(&(b.state, Reverse(b.size), &b.name))
        });
        parts
    }

    fn part_of(&self, file: &File, format: Option<&Format>) -> Option<Part> {
        let archive = format.and_then(|format| format.archive_status.as_deref());
        let is_archived =
            [archive, self.asset.archive_status.as_deref()].contains(&Some("ARCHIVED"));
        let is_online = format.and_then(|format| format.is_online).or(self.asset.is_online);
        let state = match file.status.as_deref() {
            Some("DELETED" | "FAILED") => return None,
            Some("ARCHIVED") => State::Archived,
            _ if is_archived => State::Archived,
            Some("OPEN" | "GROWING" | "AWAITED") => State::Arriving,
            Some("MISSING") => State::Missing,
            _ if is_online == Some(false) => State::Missing,
            _ => State::Ready,
        };
        let name =
            [&file.name, &file.original_name].into_iter().flatten().find(|of| !of.is_empty());
        Some(Part {
            id: file.id.clone(),
            name: name.cloned().unwrap_or_else(|| self.title_as_name()),
            size: file.size,
            modified: file.file_date_modified.clone(),
            checksum: file.checksum.clone().filter(|checksum| !checksum.is_empty()),
            state,
            is_proxy: false,
        })
    }

    /// The proxy that stands for the asset: what is there, the largest, by name.
    fn proxy(&self) -> Option<Part> {
        self.usable_proxies().into_iter().next()
    }

    fn usable_proxies(&self) -> Vec<Part> {
        let state = |proxy: &Proxy| match proxy.status.as_deref() {
            Some("DELETED" | "FAILED") => None,
            Some("ARCHIVED") => Some(State::Archived),
            Some("OPEN" | "GROWING" | "AWAITED") => Some(State::Arriving),
            Some("MISSING") => Some(State::Missing),
            _ => Some(State::Ready),
        };
        let part = |proxy: &Proxy| {
            let name = [&proxy.filename, &proxy.name].into_iter().flatten();
            let name = name.into_iter().find(|name| !name.is_empty());
            Some(Part {
                id: Some(proxy.id.clone()).filter(|id| !id.is_empty())?,
                name: name.cloned().unwrap_or_else(|| self.title().to_owned()),
                size: proxy.size,
                modified: proxy.date_modified.clone(),
                checksum: None,
                state: state(proxy)?,
                is_proxy: true,
            })
        };
        let mut parts: Vec<Part> = self.proxies.iter().filter_map(part).collect();
        parts.sort_by(|a, b| {
            (a.state, Reverse(a.size), &a.name).cmp(&(b.state, Reverse(b.size), &b.name))
        });
        parts
    }

    fn entry(&self, placed: &Placed, part: &Part, id: String, is_below_title: bool) -> Entry {
        let name = match is_below_title {
            true => format!("{}/{}", self.title(), part.name),
            false => part.name.clone(),
        };
        let path = EntryPath::new(name.into_bytes());
        let kind = self.kind(placed, part, &path);
        let id = EntryPath::new(id.into_bytes());
        Entry { id, path, parent: Some(placed.folder.clone()), kind }
    }

    fn kind(&self, placed: &Placed, part: &Part, path: &EntryPath) -> EntryKind {
        if let Some(patterns) = self.patterns
            && !matches_any(patterns, placed, path)
        {
            return EntryKind::Skipped(SkipReason::OtherPath);
        }
        match part.state {
            State::Ready => EntryKind::File(self.fingerprint(placed, part, path)),
            State::Arriving => EntryKind::Skipped(SkipReason::StillArriving),
            State::Archived => EntryKind::Skipped(SkipReason::Archived),
            State::Missing => EntryKind::Unreadable {
                error_type: ErrorType::NotFound,
                message: "Iconik lists it as missing from its storage, or the storage is off line"
                    .to_owned(),
            },
        }
    }

    fn fingerprint(&self, placed: &Placed, part: &Part, path: &EntryPath) -> Fingerprint {
        let kind = if part.is_proxy { "proxy" } else { "file" };
        let content = match &part.checksum {
            Some(checksum) => checksum.clone(),
            None => {
                let size = part.size.map(|size| size.to_string()).unwrap_or_default();
                format!("{size} {}", part.modified.as_deref().unwrap_or_default())
            }
        };
        let version = format!("{}\n{kind} {} {content}", self.asset.listed_version(), part.id);
        let mut properties = self.asset.properties();
        if !placed.others.is_empty() {
            let others = placed.others.iter().map(|path| format!("/{}", path.to_json_text()));
            properties.insert("collections".into(), others.collect::<Vec<_>>().into());
        }
        let outline = self.asset.outline(Vec::new());
        let details = Details {
            size: if part.size.is_some() { SizeKind::Claimed } else { SizeKind::Unknown },
            hashes: part.checksum.as_deref().and_then(expected).into_iter().collect(),
            facts_mark: Some(outline.mark_in(placed)),
            properties: Some(properties),
            ..Details::default()
        };
        let modified = part.modified.as_deref().or(self.asset.date_modified.as_deref());
        Fingerprint {
            size: part.size.unwrap_or_default(),
            version: Version(version.into_bytes()),
            modified: modified.and_then(instant),
            etag: None,
            mime: path.mime_guess().map(str::to_owned).or_else(|| self.mime()),
            details: Some(Box::new(details)),
        }
    }

    /// The type as Iconik knows it, where the name shows none.
    fn mime(&self) -> Option<String> {
        let of_format = self.formats.iter().filter(|format| format.is_original()).find_map(|of| {
            of.metadata
                .iter()
                .find_map(|of| Some(of.get("internet_media_type")?.as_str()?.to_owned()))
        });
        let of_asset = self.asset.media_type.clone();
        of_format.or(of_asset).filter(|mime| mime.contains('/'))
    }
}

/// Whether a path matches a pattern: the whole path, or the file's name where the pattern has no
/// slash.
fn matches_any(patterns: &GlobSet, placed: &Placed, name: &EntryPath) -> bool {
    let path = match placed.path.as_bytes() {
        b"" => name.as_bytes().to_vec(),
        folder => [folder, b"/", name.as_bytes()].concat(),
    };
    let path = String::from_utf8_lossy(&path).into_owned();
    patterns.is_match(path)
}

/// A checksum by its length: Iconik does not say which it is.
fn expected(checksum: &str) -> Option<ExpectedHash> {
    let algorithm = match checksum.len() {
        32 => HashAlgorithm::Md5,
        40 => HashAlgorithm::Sha1,
        64 => HashAlgorithm::Sha256,
        _ => return None,
    };
    if !checksum.is_ascii() {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&checksum[at..at + 2], 16).ok();
    let digest: Option<Vec<u8>> = (0..checksum.len()).step_by(2).map(byte).collect();
    Some(ExpectedHash { algorithm, digest: digest? })
}

/// What a version says of the bytes, behind what it says of the listing.
fn content(version: &[u8]) -> Option<&[u8]> {
    let at = version.iter().position(|byte| *byte == EXPANDED)?;
    version.get(at + 1..)
}

/// Whether two versions are of the same bytes; for an outline, whether its asset is as it was.
pub(super) fn is_same(stored: &[u8], listed: &[u8]) -> bool {
    match content(listed) {
        Some(content_now) => content(stored) == Some(content_now),
        None => stored.split(|byte| *byte == EXPANDED).next() == Some(listed),
    }
}

/// What is downloaded for a version: a file or a proxy, by its id.
pub(super) fn download_of(version: &Version) -> Option<(&'static str, &str)> {
    let content = str::from_utf8(content(&version.0)?).ok()?;
    let (kind, rest) = content.split_once(' ')?;
    let kind = match kind {
        "file" => "files",
        "proxy" => "proxies",
        _ => return None,
    };
    Some((kind, rest.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_checksum_is_known_by_its_length_and_one_of_another_length_is_not_checked() {
        for (digits, algorithm) in
            [(32, HashAlgorithm::Md5), (40, HashAlgorithm::Sha1), (64, HashAlgorithm::Sha256)]
        {
            let expected = expected(&"0f".repeat(digits / 2)).unwrap();
            assert_eq!(expected.algorithm, algorithm);
            assert_eq!(expected.digest, vec![0x0f; digits / 2]);
        }
        let (short, other, wide) = ("0f".repeat(4), "xy".repeat(16), "é".repeat(16));
        for unknown in [short, other, wide] {
            assert_eq!(expected(&unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_file_without_a_name_has_the_title_of_its_asset_and_the_ending_of_its_type() {
        let read = |title: &str| -> (Asset, Format) {
            let asset = serde_json::json!({ "id": "a", "title": title });
            let format = serde_json::json!({
                "id": "f", "name": "ORIGINAL", "metadata": [{ "internet_media_type": "image/png" }],
            });
            (serde_json::from_value(asset).unwrap(), serde_json::from_value(format).unwrap())
        };
        for (title, name) in [("Interview", "Interview.png"), ("Interview.mov", "Interview.mov")] {
            let (asset, format) = read(title);
            let whole = Whole {
                asset: &asset,
                files: &[],
                formats: &[format],
                proxies: &[],
                wanted: FileSelection::Originals,
                patterns: None,
                now: Timestamp::UNIX_EPOCH,
            };
            let file = File { id: "1".into(), ..File::default() };
            assert_eq!(whole.part_of(&file, None).unwrap().name, name);
        }
    }
}
