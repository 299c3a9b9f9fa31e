//! A folder of the target: making and opening the ones in it, and what bears a name there.
//!
//! Every call names one thing in an open folder, so nothing leads out of it. Nothing is written
//! here but folders.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::{self, ErrorKind},
    sync::Arc,
};

use cap_std::fs::{Dir, MetadataExt as _};
use jiff::Timestamp;
use unicode_normalization::UnicodeNormalization as _;

use super::{
    dir::{entries, path},
    filesystem::FilesystemTraits,
    leftover::clear_leftovers,
    refusal::{Refusal, Trouble},
};
use crate::{model::EntryPath, store::objects::Object};

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: Arc<Dir>,
    /// Whether this export made it.
    pub(super) is_new: bool,
    /// Hashes of the names in it, sorted, read when first asked for: 8 bytes a name.
    listing: Option<Listing>,
}

#[derive(Debug)]
pub(super) struct Listing {
    hasher: RandomState,
    names: Vec<u64>,
}

/// What bears a name in a folder.
#[derive(Debug)]
pub(super) struct FolderItem {
    kind: Kind,
    size: u64,
    modified: Option<Timestamp>,
    listed: NameMatch,
}

/// How a folder lists what a name finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NameMatch {
    Exactly,
    /// By a name that the filesystem holds equal; `None` where it does not let on which.
    Otherwise(Option<EntryPath>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    Other,
}

/// What to do about a name that is taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Unchanged,
    /// Only its bytes can show it.
    Compare,
    Replace,
}

impl Folder {
    pub(super) fn new(dir: Dir, is_new: bool) -> Self {
        Self { dir: Arc::new(dir), is_new, listing: None }
    }

    pub(super) fn open_or_make(
        &mut self,
        name: &[u8],
        traits: &FilesystemTraits,
    ) -> Result<Self, Trouble> {
        traits.check(name)?;
        let is_new = match self.dir.create_dir(path(name)) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.check_folder(name)?;
                false
            }
            Err(error) => return Err(Trouble::naming(error)),
        };
        let dir = self.dir.open_dir(path(name))?;
        if !is_new {
            clear_leftovers(&dir);
        }
        Ok(Self::new(dir, is_new))
    }

    /// Refuses a name that is taken by anything but a folder of exactly that name.
    fn check_folder(&mut self, name: &[u8]) -> Result<(), Trouble> {
        let Some(found) = self.find(name)? else { return Ok(()) };
        if let NameMatch::Otherwise(other) = found.listed {
            return Err(Refusal::Collision(other).into());
        }
        match found.kind {
            Kind::Folder => Ok(()),
            Kind::Link => Err(Refusal::LinkedFolder(EntryPath::new(name)).into()),
            Kind::File | Kind::Other => Err(Refusal::NoFolder(EntryPath::new(name)).into()),
        }
    }

    pub(super) fn find(&mut self, name: &[u8]) -> Result<Option<FolderItem>, Trouble> {
        find(&self.dir, name, Some(&mut self.listing))
    }
}

/// What bears `name` in `dir`, and by which name the folder lists it. The listing, where one is
/// kept, may lag behind: it saves reading the folder again for each name that is in it.
pub(super) fn find(
    dir: &Dir,
    name: &[u8],
    listing: Option<&mut Option<Listing>>,
) -> Result<Option<FolderItem>, Trouble> {
    let facts = match dir.symlink_metadata(path(name)) {
        Ok(facts) => facts,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Trouble::naming(error)),
    };
    let kind = match facts.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Folder,
        kind if kind.is_symlink() => Kind::Link,
        _ => Kind::Other,
    };
    let modified = facts.modified().ok().and_then(|at| Timestamp::try_from(at.into_std()).ok());
    let is_listed = match listing {
        None => false,
        Some(Some(listing)) => listing.has(name),
        Some(none) => none.insert(Listing::of(dir)?).has(name),
    };
    let listed = if is_listed { NameMatch::Exactly } else { listed(dir, name, facts.ino())? };
    Ok(Some(FolderItem { kind, size: facts.len(), modified, listed }))
}

impl Listing {
    fn of(dir: &Dir) -> io::Result<Self> {
        let hasher = RandomState::new();
        let mut names = Vec::new();
        for entry in entries(dir)? {
            names.push(hasher.hash_one(entry?.file_name().to_bytes()));
        }
        names.sort_unstable();
        Ok(Self { hasher, names })
    }

    fn has(&self, name: &[u8]) -> bool {
        self.names.binary_search(&self.hasher.hash_one(name)).is_ok()
    }
}

/// How `dir` lists what `name` finds, which is this inode.
fn listed(dir: &Dir, name: &[u8], inode: u64) -> io::Result<NameMatch> {
    let (folded, mut alike, mut same_inode) = (fold(name), None, None);
    for entry in entries(dir)? {
        let entry = entry?;
        let other = entry.file_name().to_bytes();
        if other == name {
            return Ok(NameMatch::Exactly);
        }
        if folded.is_some() && fold(other) == folded {
            alike = Some(EntryPath::new(other));
        } else if entry.ino() == inode {
            // A weaker sign: some filesystems list other inodes than `stat` returns.
            same_inode = Some(EntryPath::new(other));
        }
    }
    Ok(NameMatch::Otherwise(alike.or(same_inode)))
}

/// What is the same for most names that filesystems hold equal. Only words depend on it.
fn fold(name: &[u8]) -> Option<String> {
    Some(str::from_utf8(name).ok()?.nfd().collect::<String>().to_lowercase())
}

impl FolderItem {
    /// What to do with this in the way of `object`.
    pub(super) fn judge(
        &self,
        object: &Object,
        overwrite: bool,
        traits: &FilesystemTraits,
    ) -> Result<Verdict, Refusal> {
        if let NameMatch::Otherwise(other) = &self.listed {
            return Err(Refusal::Collision(other.clone()));
        }
        let has_its_time = match (object.modified, self.modified) {
            (Some(given), Some(kept)) => traits.is_same_time(given, kept),
            _ => false,
        };
        match self.kind {
            Kind::Folder => Err(Refusal::IsFolder),
            Kind::Other => Err(Refusal::NoFile),
            Kind::Link if overwrite => Ok(Verdict::Replace),
            Kind::Link => Err(Refusal::Link),
            Kind::File if self.size == object.size && has_its_time => Ok(Verdict::Unchanged),
            Kind::File if overwrite => Ok(Verdict::Replace),
            Kind::File if self.size == object.size => Ok(Verdict::Compare),
            Kind::File => Err(Refusal::Conflict),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use cap_std::ambient_authority;

    use super::*;
    use crate::model::{BlobHash, ObjectId};

    const MODIFIED: Timestamp = Timestamp::constant(1_234_567_891, 5);

    fn object(path: &str, content: &[u8]) -> Object {
        Object {
            key: 1,
            id: ObjectId::from_stored("obj_1".to_owned()),
            path: EntryPath::new(path),
            size: content.len() as u64,
            modified: Some(MODIFIED),
            mime: None,
            metadata: None,
            hash: BlobHash::of(content),
            fields: None,
        }
    }

    fn found(kind: Kind, size: u64, modified: Timestamp) -> FolderItem {
        FolderItem { kind, size, modified: Some(modified), listed: NameMatch::Exactly }
    }

    fn judge(found: &FolderItem, overwrite: bool) -> Result<Verdict, Refusal> {
        let home = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(home.path(), ambient_authority()).unwrap();
        let traits = FilesystemTraits::of(&dir).unwrap();
        found.judge(&object("a", b"123"), overwrite, &traits)
    }

    #[test]
    fn a_file_of_the_same_size_and_time_is_unchanged() {
        for overwrite in [false, true] {
            let there = found(Kind::File, 3, MODIFIED);
            assert_eq!(judge(&there, overwrite), Ok(Verdict::Unchanged));
        }
    }

    #[test]
    fn a_file_of_another_time_is_compared_or_else_replaced() {
        let there = found(Kind::File, 3, Timestamp::UNIX_EPOCH);
        assert_eq!(judge(&there, false), Ok(Verdict::Compare));
        assert_eq!(judge(&there, true), Ok(Verdict::Replace));
    }

    #[test]
    fn a_file_of_another_size_is_a_conflict_or_else_replaced() {
        let there = found(Kind::File, 4, MODIFIED);
        assert_eq!(judge(&there, false), Err(Refusal::Conflict));
        assert_eq!(judge(&there, true), Ok(Verdict::Replace));
    }

    #[test]
    fn what_is_listed_by_another_name_is_never_merged_nor_replaced() {
        let other = Some(EntryPath::new("A"));
        for kind in [Kind::File, Kind::Folder, Kind::Link] {
            for overwrite in [false, true] {
                let mut there = found(kind, 3, MODIFIED);
                there.listed = NameMatch::Otherwise(other.clone());
                assert_eq!(judge(&there, overwrite), Err(Refusal::Collision(other.clone())));
            }
        }
    }

    #[test]
    fn folders_and_devices_are_never_replaced() {
        for (kind, refusal) in [(Kind::Folder, Refusal::IsFolder), (Kind::Other, Refusal::NoFile)] {
            assert_eq!(judge(&found(kind, 3, MODIFIED), true), Err(refusal));
        }
    }

    #[test]
    fn a_name_that_the_folder_does_not_list_belongs_to_another() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("A.txt"), "").unwrap();
        let dir = Dir::open_ambient_dir(home.path(), ambient_authority()).unwrap();
        assert_eq!(listed(&dir, b"A.txt", 0).unwrap(), NameMatch::Exactly);
        let other = Some(EntryPath::new("A.txt"));
        assert_eq!(listed(&dir, b"a.txt", 0).unwrap(), NameMatch::Otherwise(other));
        assert_eq!(listed(&dir, b"b", 0).unwrap(), NameMatch::Otherwise(None));
    }
}
