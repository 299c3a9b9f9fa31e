//! A drive item as Graph returns it, and the folder or entry that it is here
//! (<https://learn.microsoft.com/graph/api/resources/driveitem>).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    model::{
        Details, Entry, EntryId, EntryKind, EntryPath, ErrorType, ExpectedHash, Fingerprint,
        Folder, HashAlgorithm, SizeKind, SkipReason, Version,
    },
    sources::VersionMatch,
};

/// What is asked of an item; the address to download from is lost unless it is named
/// (<https://github.com/onyx-dot-app/onyx/issues/13851>).
pub(super) const SELECT: &str = "id,name,size,eTag,cTag,deleted,root,folder,file,package,malware,\
     remoteItem,parentReference,fileSystemInfo,createdDateTime,lastModifiedDateTime,createdBy,\
     lastModifiedBy,description,webUrl,@microsoft.graph.downloadUrl";

/// See the module. Most of it may be missing: deletions may have no name, and a delta of a business
/// drive has no cTag.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DriveItem {
    pub(super) id: String,
    pub(super) name: Option<String>,
    size: Option<u64>,
    e_tag: Option<String>,
    c_tag: Option<String>,
    pub(super) deleted: Option<Value>,
    pub(super) root: Option<Value>,
    pub(super) folder: Option<Value>,
    file: Option<File>,
    package: Option<Value>,
    malware: Option<Value>,
    remote_item: Option<Value>,
    pub(super) parent_reference: Option<Parent>,
    file_system_info: Option<Times>,
    last_modified_date_time: Option<Timestamp>,
    created_date_time: Option<Timestamp>,
    created_by: Option<Identities>,
    last_modified_by: Option<Identities>,
    description: Option<String>,
    web_url: Option<String>,
    #[serde(rename = "@microsoft.graph.downloadUrl")]
    pub(super) download_url: Option<SecretString>,
    list_item: Option<ListItem>,
    /// The columns of its list that were asked for, by the names that they were asked for by.
    #[serde(skip)]
    pub(super) columns: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct ListItem {
    fields: Option<Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Parent {
    pub(super) drive_id: Option<String>,
    pub(super) id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    mime_type: Option<String>,
    hashes: Option<Hashes>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hashes {
    quick_xor_hash: Option<String>,
    sha1_hash: Option<String>,
    sha256_hash: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    created_date_time: Option<Timestamp>,
    last_modified_date_time: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Identities {
    user: Option<User>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    email: Option<String>,
    display_name: Option<String>,
}

/// The marks of a file's content, the strongest first. Compared by the strongest that both have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Marks {
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(rename = "s")]
    size: u64,
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    c_tag: Option<String>,
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    e_tag: Option<String>,
}

/// What an item is here.
#[derive(Debug)]
pub(super) enum ListedItem {
    Folder(Folder),
    Entry(Entry),
    Removed(EntryId),
    /// The root of the drive, and what is neither.
    Nothing,
}

/// Whether that is the id of a personal drive, as [`drive_id`] writes it.
pub(super) fn is_personal(drive: &str) -> bool {
    drive.len() == 16 && drive.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The ids of a drive as they are compared: those of personal drives come with 15 or 16 digits, in
/// either case (<https://github.com/OneDrive/onedrive-api-docs/issues/1890>).
pub(super) fn drive_id(given: &str) -> String {
    let is_personal = given.len() <= 16 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_personal {
        true => format!("{:0>16}", given.to_ascii_lowercase()),
        false => given.to_owned(),
    }
}

/// The id of an item among all drives.
pub(super) fn entry_id(drive: &str, item: &str) -> EntryId {
    EntryPath::new(format!("{drive}!{item}"))
}

/// The drive and the item of an id.
pub(super) fn parts(id: &EntryId) -> Option<(&str, &str)> {
    str::from_utf8(id.as_bytes()).ok()?.rsplit_once('!')
}

impl DriveItem {
    /// The columns of its list, where it is a file that has some.
    pub(super) fn fields(&self) -> Option<&Map<String, Value>> {
        self.file.as_ref().and(self.list_item.as_ref()?.fields.as_ref())
    }

    /// The item as a listing of that drive has it.
    pub(super) fn into_listed(self, drive: &str) -> ListedItem {
        let id = entry_id(drive, &self.id);
        if self.deleted.is_some() {
            return ListedItem::Removed(id);
        }
        let parent = self.parent_reference.as_ref().and_then(|parent| parent.id.as_deref());
        let parent = parent.map(|parent| entry_id(drive, parent));
        if self.root.is_some() {
            let name = Vec::new();
            return ListedItem::Folder(Folder { id, parent: None, name });
        }
        let Some(name) = self.name.clone().filter(|name| !name.is_empty()) else {
            return ListedItem::Nothing;
        };
        if self.folder.is_some() && self.package.is_none() && self.remote_item.is_none() {
            return ListedItem::Folder(Folder { id, parent, name: name.into_bytes() });
        }
        let kind = self.kind();
        ListedItem::Entry(Entry { id, path: EntryPath::new(name), parent, kind })
    }

    fn kind(self) -> EntryKind {
        if self.package.is_some() {
            return EntryKind::Skipped(SkipReason::NoContent);
        }
        if self.remote_item.is_some() {
            return EntryKind::Skipped(SkipReason::Elsewhere);
        }
        if self.malware.is_some() {
            // Such downloads break off in ways that look like the network's.
            return EntryKind::Unreadable {
                error_type: ErrorType::PermissionDenied,
                message: "the provider has found malware in it and does not let it be downloaded"
                    .to_owned(),
            };
        }
        match self.file {
            Some(_) => EntryKind::File(self.fingerprint()),
            None => EntryKind::Skipped(SkipReason::NoContent),
        }
    }

    fn fingerprint(self) -> Fingerprint {
        let size = self.size.unwrap_or_default();
        let properties = self.properties(size);
        let file = self.file;
        let hashes = file.as_ref().and_then(|file| file.hashes.as_ref());
        let modified = self
            .file_system_info
            .as_ref()
            .and_then(|times| times.last_modified_date_time)
            .or(self.last_modified_date_time);
        let marks = Marks {
            hash: hashes.and_then(Hashes::strongest),
            size,
            c_tag: self.c_tag,
            e_tag: self.e_tag.clone(),
        };
        let details = Details {
            size: SizeKind::Claimed,
            hashes: hashes.map(Hashes::expected).unwrap_or_default(),
            facts_mark: Some(mark_of(&properties)),
            properties: Some(properties),
            ..Details::default()
        };
        Fingerprint {
            size,
            version: Version(serde_json::to_vec(&marks).unwrap_or_default()),
            modified,
            etag: self.e_tag,
            mime: file.and_then(|file| file.mime_type),
            details: Some(Box::new(details)),
        }
    }

    /// What mappings and filters may name.
    fn properties(&self, size: u64) -> Map<String, Value> {
        let times = self.file_system_info.as_ref();
        let created = times.and_then(|times| times.created_date_time).or(self.created_date_time);
        let modified =
            times.and_then(|times| times.last_modified_date_time).or(self.last_modified_date_time);
        let text = |value: Option<&String>| value.map(|text| Value::from(text.as_str()));
        let time = |value: Option<Timestamp>| value.map(|time| Value::from(time.to_string()));
        let mime = self.file.as_ref().and_then(|file| file.mime_type.as_ref());
        let all = [
            ("name", text(self.name.as_ref())),
            ("size", Some(size.into())),
            ("mimeType", text(mime)),
            ("webUrl", text(self.web_url.as_ref())),
            ("description", text(self.description.as_ref())),
            ("createdDateTime", time(created)),
            ("lastModifiedDateTime", time(modified)),
            ("createdBy", self.created_by.as_ref().and_then(Identities::address)),
            ("lastModifiedBy", self.last_modified_by.as_ref().and_then(Identities::address)),
        ];
        let all = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        all.chain(self.columns.clone()).collect()
    }
}

impl Identities {
    fn address(&self) -> Option<Value> {
        let user = self.user.as_ref()?;
        user.email.as_deref().or(user.display_name.as_deref()).map(Value::from)
    }
}

impl Hashes {
    /// One of them, with its kind: the same one whenever it is there.
    fn strongest(&self) -> Option<String> {
        let kinds = [
            ("quickxor", &self.quick_xor_hash),
            ("sha256", &self.sha256_hash),
            ("sha1", &self.sha1_hash),
        ];
        kinds.into_iter().find_map(|(kind, hash)| Some(format!("{kind}:{}", hash.as_ref()?)))
    }

    fn expected(&self) -> Vec<ExpectedHash> {
        let hex = |text: &String| {
            let pairs = text.as_bytes().chunks(2);
            pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
        };
        let decoded: [(HashAlgorithm, Option<Vec<u8>>); 3] = [
            (
                HashAlgorithm::QuickXor,
                self.quick_xor_hash.as_ref().and_then(|text| BASE64_STANDARD.decode(text).ok()),
            ),
            (HashAlgorithm::Sha256, self.sha256_hash.as_ref().and_then(hex)),
            (HashAlgorithm::Sha1, self.sha1_hash.as_ref().and_then(hex)),
        ];
        let expected = decoded.into_iter().filter_map(|(algorithm, digest)| {
            let digest = digest.filter(|digest| digest.len() == algorithm_len(algorithm))?;
            Some(ExpectedHash { algorithm, digest })
        });
        // One is enough, and the first is the one that parts can be joined by.
        expected.take(1).collect()
    }
}

const fn algorithm_len(algorithm: HashAlgorithm) -> usize {
    match algorithm {
        HashAlgorithm::Md5 => 16,
        HashAlgorithm::Sha1 | HashAlgorithm::QuickXor => 20,
        HashAlgorithm::Sha256 => 32,
    }
}

/// Changes with everything that the listing shows besides content.
fn mark_of(properties: &Map<String, Value>) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in properties {
        hasher.update(name.as_bytes()).update(&[0]).update(value.to_string().as_bytes());
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(bytes)
}

/// Whether two versions have the same content, by the strongest mark that both have. Hashes may be
/// missing and come later; an eTag changes with everything.
pub(super) fn compare(stored: &[u8], listed: &[u8]) -> VersionMatch {
    let read = |bytes| serde_json::from_slice::<Marks>(bytes).unwrap_or_default();
    let (stored, listed) = (read(stored), read(listed));
    let same = |is_same: bool| if is_same { VersionMatch::Same } else { VersionMatch::Other };
    let kind = |hash: &String| hash.split(':').next().map(str::to_owned);
    if let (Some(one), Some(other)) = (&stored.hash, &listed.hash)
        && kind(one) == kind(other)
    {
        return same(one == other);
    }
    if let (Some(one), Some(other)) = (&stored.c_tag, &listed.c_tag) {
        return same(one == other);
    }
    match (&stored.e_tag, &listed.e_tag) {
        (Some(one), Some(other)) if one == other => VersionMatch::Same,
        _ => VersionMatch::Unknown,
    }
}
