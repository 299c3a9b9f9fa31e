//! What the API returns for a file, as an entry or a folder.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{
    export::{FOLDER, Formats, GOOGLE_APPS, SHORTCUT},
    source_path::is_id,
};
use crate::model::{
    Details, Entry, EntryId, EntryKind, EntryPath, ErrorType, ExpectedHash, Fingerprint, Folder,
    FolderId, HashAlgorithm, Identity, Link, SizeKind, SkipReason, Version,
};

/// The fields of a file that are asked for.
pub(super) const FIELDS: &str = "id,name,mimeType,parents,trashed,driveId,md5Checksum,\
     sha256Checksum,headRevisionId,size,modifiedTime,createdTime,description,starred,properties,\
     appProperties,webViewLink,owners(emailAddress),capabilities(canDownload),sharedWithMeTime,\
     resourceKey,shortcutDetails(targetId,targetMimeType,targetResourceKey)";

/// The folder of files that are in none that the account sees. No file has this id.
pub(super) const NOWHERE: &str = "-";

/// The folder of what is shared with the account. No file has this id.
pub(super) const SHARED: &str = "shared-with-me";

/// Of how many folders that a file is in it is kept.
const MOST_PARENTS: usize = 100;

/// A file or folder, as far as [`FIELDS`] selects it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct File {
    #[serde(deserialize_with = "lenient")]
    pub(super) id: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) name: String,
    pub(super) mime_type: String,
    pub(super) parents: Vec<String>,
    pub(super) trashed: bool,
    pub(super) drive_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    md5_checksum: Option<String>,
    #[serde(deserialize_with = "lenient")]
    sha256_checksum: Option<String>,
    #[serde(deserialize_with = "lenient")]
    head_revision_id: Option<String>,
    #[serde(deserialize_with = "size_text")]
    size: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) modified_time: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    created_time: Option<Timestamp>,
    #[serde(deserialize_with = "lenient")]
    description: Option<String>,
    #[serde(deserialize_with = "lenient")]
    starred: bool,
    #[serde(deserialize_with = "lenient")]
    properties: Map<String, Value>,
    #[serde(deserialize_with = "lenient")]
    app_properties: Map<String, Value>,
    #[serde(deserialize_with = "lenient")]
    web_view_link: Option<String>,
    #[serde(deserialize_with = "lenient")]
    owners: Vec<Owner>,
    #[serde(deserialize_with = "lenient")]
    capabilities: Capabilities,
    shared_with_me_time: Option<String>,
    /// What opens it to who only has its link.
    #[serde(deserialize_with = "lenient")]
    resource_key: Option<String>,
    shortcut_details: ShortcutDetails,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ShortcutDetails {
    target_id: Option<String>,
    target_mime_type: Option<String>,
    target_resource_key: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Owner {
    #[serde(deserialize_with = "lenient")]
    email_address: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Capabilities {
    #[serde(deserialize_with = "lenient")]
    can_download: Option<bool>,
}

/// Reads a fact of a file, or its default where it is of another type than documented: the file is
/// synced with what can be read of it, and the others of its page are no worse off. What decides
/// where a file is, or what, is not read so: a wrong guess would remove it.
fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read<T> {
        Documented(T),
        Other(IgnoredAny),
    }
    Ok(match Read::deserialize(deserializer)? {
        Read::Documented(value) => value,
        Read::Other(_) => T::default(),
    })
}

/// Reads a number of bytes, which is documented as text.
fn size_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read {
        Text(String),
        Number(u64),
        Other(IgnoredAny),
    }
    Ok(match Read::deserialize(deserializer)? {
        Read::Text(text) => Some(text),
        Read::Number(number) => Some(number.to_string()),
        Read::Other(_) => None,
    })
}

/// What a file is to a sync.
pub(super) enum ListedItem {
    Folder(Folder),
    Entry(Entry),
    /// A shortcut that is followed.
    Link(Link),
}

/// How files are listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listings<'a> {
    /// What documents are exported to.
    pub(super) formats: &'a Formats,
    /// Whether what is shared with the account and in no folder that it sees belongs to the folder
    /// [`SHARED`].
    pub(super) shared_is_root: bool,
    /// Whether shortcuts are followed.
    pub(super) follows_shortcuts: bool,
}

impl File {
    pub(super) fn is_folder(&self) -> bool {
        self.mime_type == FOLDER
    }

    /// The resource keys that the API shows with it, by ids: its own, and that of what it leads to.
    pub(super) fn resource_keys(&self) -> impl Iterator<Item = (&str, &str)> {
        let ShortcutDetails { target_id, target_resource_key, .. } = &self.shortcut_details;
        let own = self.resource_key.as_ref().map(|key| (self.id.as_str(), key.as_str()));
        let target = target_id.as_deref().zip(target_resource_key.as_deref());
        own.into_iter().chain(target)
    }

    /// The size in bytes, of a file that has bytes of its own.
    pub(super) fn size(&self) -> Option<u64> {
        if self.mime_type.starts_with(GOOGLE_APPS) {
            None
        } else {
            self.size.as_ref()?.parse().ok()
        }
    }

    /// Its id and the folders that it is in, where those are several: nothing new can be in more
    /// than one since 2020, but what was before may still be
    /// (<https://developers.google.com/workspace/drive/api/guides/ref-single-parent>).
    pub(super) fn several_parents(&self) -> Option<(EntryId, Vec<FolderId>)> {
        let path = |id: &String| EntryPath::new(id.as_bytes());
        let parents = self.parents.iter().take(MOST_PARENTS).map(path);
        (self.parents.len() > 1).then(|| (path(&self.id), parents.collect()))
    }

    /// The folder that it is in, the first where an old one has several.
    fn parent(&self, shared_is_root: bool) -> EntryPath {
        let shared = shared_is_root && self.shared_with_me_time.is_some();
        let parent = match self.parents.first() {
            Some(parent) => parent,
            None if shared => SHARED,
            None => NOWHERE,
        };
        EntryPath::new(parent.as_bytes())
    }

    /// What it is to a sync.
    pub(super) fn listed(&self, listings: Listings<'_>) -> ListedItem {
        let Listings { formats, shared_is_root, follows_shortcuts } = listings;
        let id = EntryPath::new(self.id.as_bytes());
        let parent = self.parent(shared_is_root);
        if self.is_folder() {
            let name = self.name.clone().into_bytes();
            return ListedItem::Folder(Folder { id, parent: Some(parent), name });
        }
        if let Some(target) = self.shortcut_details.target_id.as_ref().filter(|_| follows_shortcuts)
        {
            let mime = self.shortcut_details.target_mime_type.as_deref();
            let name = self.named_as(mime.unwrap_or_default(), formats);
            let target = EntryPath::new(target.as_bytes());
            return ListedItem::Link(Link { id, parent, name: name.into_bytes(), target });
        }
        let path = EntryPath::new(self.named_as(&self.mime_type, formats).into_bytes());
        let kind = self.kind(formats);
        ListedItem::Entry(Entry { id, path, parent: Some(parent), kind })
    }

    /// Its name, with the extension of what a document of that type is exported to.
    fn named_as(&self, mime_type: &str, formats: &Formats) -> String {
        match formats.of(mime_type) {
            Some(format) => format!("{}.{}", self.name, format.extension),
            None if self.name.is_empty() => self.id.clone(),
            None => self.name.clone(),
        }
    }

    fn kind(&self, formats: &Formats) -> EntryKind {
        if !is_id(&self.id) || self.name.is_empty() {
            return EntryKind::Unreadable {
                error_type: ErrorType::UnsupportedType,
                message: "Google returned it without a valid id and name".to_owned(),
            };
        }
        if self.mime_type == SHORTCUT {
            return EntryKind::Skipped(SkipReason::Shortcut);
        }
        let is_document = self.mime_type.starts_with(GOOGLE_APPS);
        if is_document && formats.of(&self.mime_type).is_none() {
            return EntryKind::Skipped(SkipReason::NoContent);
        }
        if self.capabilities.can_download == Some(false) {
            return EntryKind::Unreadable {
                error_type: ErrorType::PermissionDenied,
                message: "its owner does not let it be downloaded".to_owned(),
            };
        }
        EntryKind::File(self.fingerprint(formats))
    }

    fn fingerprint(&self, formats: &Formats) -> Fingerprint {
        let format = formats.of(&self.mime_type);
        let size = self.size();
        let version = match format {
            Some(format) => {
                let modified = self.modified_time.map(|at| at.to_string()).unwrap_or_default();
                format!("export {} {modified}", format.extension)
            }
            None => self.version(size),
        };
        let details = Details {
            size: if size.is_some() { SizeKind::Exact } else { SizeKind::Unknown },
            no_ranges: format.is_some(),
            hashes: if format.is_some() { Vec::new() } else { self.hashes() },
            facts_mark: Some(self.facts_mark()),
            properties: Some(self.all_properties()),
            other_folders: self
                .parents
                .iter()
                .take(MOST_PARENTS)
                .skip(1)
                .map(|id| EntryPath::new(id.as_bytes()))
                .collect(),
            ..Details::default()
        };
        Fingerprint {
            size: size.unwrap_or_default(),
            version: Version(version.into_bytes()),
            modified: self.modified_time,
            etag: None,
            mime: Some(
                format.map_or_else(|| self.mime_type.clone(), |format| format.mime.to_owned()),
            ),
            details: Some(Box::new(details)),
        }
    }

    /// The strongest proof of content that the listing has.
    fn version(&self, size: Option<u64>) -> String {
        let size = size.unwrap_or_default();
        match (&self.md5_checksum, &self.sha256_checksum, &self.head_revision_id) {
            (Some(md5), _, _) => format!("md5 {md5} {size}"),
            (None, Some(sha256), _) => format!("sha256 {sha256} {size}"),
            (None, None, Some(revision)) => format!("revision {revision} {size}"),
            (None, None, None) => {
                let modified = self.modified_time.map(|at| at.to_string()).unwrap_or_default();
                format!("modified {modified} {size}")
            }
        }
    }

    fn hashes(&self) -> Vec<ExpectedHash> {
        [
            (HashAlgorithm::Md5, &self.md5_checksum, 16),
            (HashAlgorithm::Sha256, &self.sha256_checksum, 32),
        ]
        .into_iter()
        .filter_map(|(algorithm, hex, length)| {
            let digest = from_hex(hex.as_deref()?).filter(|digest| digest.len() == length)?;
            Some(ExpectedHash { algorithm, digest })
        })
        .collect()
    }

    /// Changes with what people see of a file besides its content. Not with `version`, which counts
    /// who it is shared with, too.
    fn facts_mark(&self) -> i64 {
        let modified = self.modified_time.map(|at| at.to_string()).unwrap_or_default();
        let properties = Value::Object(self.properties.clone()).to_string();
        let app_properties = Value::Object(self.app_properties.clone()).to_string();
        Identity::of(&[
            self.name.as_bytes(),
            modified.as_bytes(),
            self.description.as_deref().unwrap_or_default().as_bytes(),
            &[u8::from(self.starred)],
            properties.as_bytes(),
            app_properties.as_bytes(),
        ])
        .0
    }

    /// What mappings and filters know by its bare name: what every file has, then what the client's
    /// own program has put on it (`appProperties`), then what any has (`properties`). Where two of
    /// them have one name, each is known by its full name, too.
    fn all_properties(&self) -> Map<String, Value> {
        let built_in = [
            ("name", Some(self.name.clone().into())),
            ("mimeType", Some(self.mime_type.clone().into())),
            ("description", self.description.clone().map(Value::from)),
            ("starred", Some(self.starred.into())),
            ("createdTime", self.created_time.map(|at| at.to_string().into())),
            ("modifiedTime", self.modified_time.map(|at| at.to_string().into())),
            ("size", self.size().map(Value::from)),
            ("webViewLink", self.web_view_link.clone().map(Value::from)),
            ("parents", Some(self.parents.clone().into())),
            (
                "owner_email",
                self.owners.first().and_then(|owner| owner.email_address.clone()).map(Value::from),
            ),
        ];
        let mut all: Map<String, Value> = built_in
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        for (kind, given) in
            [("appProperties", &self.app_properties), ("properties", &self.properties)]
        {
            for (name, value) in given {
                let other = match kind {
                    "appProperties" => &self.properties,
                    _ => &self.app_properties,
                };
                if all.contains_key(name) || other.contains_key(name) {
                    all.insert(format!("{kind}.{name}"), value.clone());
                }
                all.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        all
    }
}

/// The id of a file or folder, unless it is one that stands for something else.
pub(super) fn file_id(id: &EntryId) -> Option<&str> {
    let id = str::from_utf8(id.as_bytes()).ok()?;
    (![NOWHERE, SHARED].contains(&id) && is_id(id)).then_some(id)
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn entry(more: Value) -> Entry {
        let mut file = json!({
            "id": "file1", "name": "report", "mimeType": "text/plain", "parents": ["p1"], "size": "5",
            "md5Checksum": "5d41402abc4b2a76b9719d911017c592",
            "modifiedTime": "2026-01-02T03:04:05.678Z",
        });
        file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file: File = serde_json::from_value(file).unwrap();
        let formats = Formats::default();
        let listings =
            Listings { formats: &formats, shared_is_root: false, follows_shortcuts: false };
        match file.listed(listings) {
            ListedItem::Entry(entry) => entry,
            ListedItem::Folder(folder) => panic!("{folder:?}"),
            ListedItem::Link(link) => panic!("{link:?}"),
        }
    }

    fn fingerprint(more: Value) -> Fingerprint {
        match entry(more).kind {
            EntryKind::File(fingerprint) => fingerprint,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_new_name_a_star_or_a_description_changes_the_facts_and_not_the_version() {
        let before = fingerprint(json!({}));
        for change in [
            json!({ "name": "other" }),
            json!({ "starred": true }),
            json!({ "description": "d" }),
            json!({ "properties": { "a": "b" } }),
            json!({ "modifiedTime": "2026-02-02T03:04:05.678Z" }),
        ] {
            let after = fingerprint(change.clone());
            assert_eq!(after.version, before.version, "{change}");
            assert_ne!(
                after.details.unwrap().facts_mark,
                before.details.as_ref().unwrap().facts_mark
            );
        }
        let viewed =
            fingerprint(json!({ "version": "9", "viewedByMeTime": "2026-03-01T00:00:00Z" }));
        assert_eq!(viewed, before);
        let other = fingerprint(json!({ "md5Checksum": "00000000000000000000000000000000" }));
        assert_ne!(other.version, before.version);
    }

    #[test]
    fn a_document_is_what_it_is_exported_to_and_of_unknown_size() {
        let document = json!({
            "mimeType": "application/vnd.google-apps.document", "size": "1024", "md5Checksum": null,
        });
        assert_eq!(entry(document.clone()).path, EntryPath::new(b"report.docx".as_slice()));
        let facts = fingerprint(document);
        assert_eq!((facts.known_size(), facts.details.as_ref().unwrap().no_ranges), (None, true));
        assert!(facts.mime.unwrap().contains("wordprocessingml"));
    }

    #[test]
    fn what_cannot_be_downloaded_is_left_out_or_reported_without_a_request() {
        let kind = |mime: &str| entry(json!({ "mimeType": mime })).kind;
        let form = kind("application/vnd.google-apps.form");
        assert_eq!(form, EntryKind::Skipped(SkipReason::NoContent));
        assert_eq!(kind(SHORTCUT), EntryKind::Skipped(SkipReason::Shortcut));
        let refused = entry(json!({ "capabilities": { "canDownload": false } })).kind;
        assert!(matches!(
            refused,
            EntryKind::Unreadable { error_type: ErrorType::PermissionDenied, .. }
        ));
    }

    #[test]
    fn a_field_of_another_type_than_documented_is_left_out_and_the_rest_is_read() {
        let odd = fingerprint(json!({
            "size": 5, "modifiedTime": "2026-02-31T00:00:00Z", "starred": "yes", "owners": null,
        }));
        let plain = fingerprint(json!({}));
        assert_eq!((odd.size, odd.version), (5, plain.version));
        assert_eq!(odd.modified, None);
    }

    #[test]
    fn what_decides_where_a_file_is_has_to_be_as_documented() {
        for odd in [
            json!({ "parents": null }),
            json!({ "parents": "p1" }),
            json!({ "mimeType": 5 }),
            json!({ "trashed": "no" }),
            json!({ "sharedWithMeTime": 5 }),
            json!({ "shortcutDetails": "1target" }),
        ] {
            assert!(serde_json::from_value::<File>(odd.clone()).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_file_without_a_valid_id_or_name_cannot_be_read() {
        for odd in [json!({ "id": "1.odd:id" }), json!({ "id": "abc" }), json!({ "name": 7 })] {
            let kind = entry(odd.clone()).kind;
            assert!(matches!(kind, EntryKind::Unreadable { .. }), "{odd}: {kind:?}");
        }
    }

    #[test]
    fn properties_of_one_name_are_known_by_their_full_names_too() {
        let facts = fingerprint(json!({
            "appProperties": { "a": "app", "name": "app" }, "properties": { "a": "any", "b": "any" },
            "owners": [{ "emailAddress": "o@example.org" }],
        }));
        let properties = facts.properties().unwrap();
        let text = |name: &str| properties.get(name).and_then(Value::as_str);
        assert_eq!(text("name"), Some("report"));
        assert_eq!(text("appProperties.name"), Some("app"));
        assert_eq!((text("a"), text("b")), (Some("app"), Some("any")));
        assert_eq!(text("appProperties.a"), Some("app"));
        assert_eq!(text("properties.a"), Some("any"));
        assert_eq!(text("properties.b"), None);
        assert_eq!(text("owner_email"), Some("o@example.org"));
    }

    #[test]
    fn both_checksums_are_checked_and_nonsense_is_none() {
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let hashes = |more| fingerprint(more).details.unwrap().hashes.len();
        assert_eq!(hashes(json!({ "sha256Checksum": sha256 })), 2);
        assert_eq!(hashes(json!({ "md5Checksum": "not hex at all, é" })), 0);
    }
}
