//! The folder that is exported to: finding, writing and naming files in it, and never anything
//! outside it.
//!
//! Folders are opened one name at a time from their parents, through [`Dir`], which nothing leads out
//! of, and links in their place are refused; every call below names one thing in an open folder. Objects come in the order of their paths, so each folder is
//! entered once, and only the chain of folders to the current one is kept open. A file is written
//! under a name of its own and gets its real one when it is whole.

use std::{
    ffi::OsStr,
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, ErrorKind, Read as _, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, MetadataExt as _, OpenOptions},
};
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags, RenameFlags};
use tokio_util::sync::CancellationToken;
use unicode_normalization::UnicodeNormalization as _;

use super::{
    habits::{Habits, times},
    place::Place,
    refusal::{Refusal, Trouble},
};
use crate::{
    model::{BlobHash, EntryPath},
    store::objects::Object,
};

/// How an object came to be in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It was written, or made where it is a folder.
    Exported,
    /// It was there already.
    Unchanged,
}

/// What an object takes, once its name has been looked at.
#[derive(Debug)]
pub(super) enum Step {
    Settled(Settled),
    /// Something that can go on beside other objects' work.
    Work(Work),
}

/// Work on one file, from [`Target::prepare`] by way of a thread to [`Target::place`].
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// The folder that the file belongs to.
    pub(super) folder: Arc<Dir>,
    name: Vec<u8>,
    task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Write it where nothing is.
    Write,
    /// Write it over what is there.
    Replace,
    /// See whether what is there has its content.
    Compare,
}

/// What came of [`Work`].
#[derive(Debug)]
pub(super) enum Done {
    Written(Temp),
    Same,
}

/// The bytes of an object.
#[derive(Debug)]
pub(super) enum Bytes {
    Inline(Vec<u8>),
    File(File),
}

/// The folder that is exported to.
#[derive(Debug)]
pub(super) struct Target {
    root: Folder,
    /// The folders from the root to the current one. A refused one is the last.
    chain: Vec<Level>,
    overwrite: bool,
    facts: Arc<Facts>,
}

/// What all work on a target shares.
#[derive(Debug)]
pub(super) struct Facts {
    habits: Habits,
    /// Whether sharing blocks with the stored bytes is worth another try.
    can_clone: AtomicBool,
}

#[derive(Debug)]
struct Level {
    name: Vec<u8>,
    folder: Result<Folder, Refusal>,
}

#[derive(Debug)]
struct Folder {
    dir: Arc<Dir>,
    /// Whether this export made it.
    is_new: bool,
    /// Hashes of the names in it, sorted, read when first asked for: 8 bytes a name.
    listing: Option<Listing>,
}

#[derive(Debug)]
struct Listing {
    hasher: RandomState,
    names: Vec<u64>,
}

/// What bears a name in a folder.
#[derive(Debug)]
struct Found {
    kind: Kind,
    size: u64,
    modified: Option<Timestamp>,
    listed: Listed,
}

/// How a folder lists what answers to a name.
#[derive(Debug, PartialEq, Eq)]
enum Listed {
    Exactly,
    /// By a name that the filesystem holds equal; `None` where it does not let on which.
    Otherwise(Option<EntryPath>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Link,
    Other,
}

/// What to do about a name that is taken.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Unchanged,
    /// Only its bytes can tell.
    Compare,
    Replace,
}

impl Target {
    /// Opens the folder at `path`, making it if need be.
    pub(super) fn open(path: &Path, overwrite: bool) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        // The one place where a path of this machine is followed.
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let habits = Habits::of(&dir, &temp_name())?;
        Ok(Self {
            root: Folder::new(dir, false),
            chain: Vec::new(),
            overwrite,
            facts: Arc::new(Facts { habits, can_clone: AtomicBool::new(true) }),
        })
    }

    pub(super) fn facts(&self) -> Arc<Facts> {
        self.facts.clone()
    }

    /// The folder in which an object's next folder would be looked for or made. Files that are
    /// still on their way into it come first: they may want the same name.
    pub(super) fn branching(&self, place: &Place<'_>) -> Option<&Arc<Dir>> {
        let known = self.known(&place.folders);
        if known == place.folders.len() {
            return None;
        }
        match known.checked_sub(1) {
            None => Some(&self.root.dir),
            Some(last) => self.chain[last].folder.as_ref().ok().map(|folder| &folder.dir),
        }
    }

    /// Enters the object's folder, making what is missing, and looks at what bears its name.
    pub(super) fn prepare(&mut self, place: &Place<'_>, object: &Object) -> Result<Step, Trouble> {
        let made = self.enter(&place.folders)?;
        let Some(name) = place.file else {
            return Ok(Step::Settled(if made { Settled::Exported } else { Settled::Unchanged }));
        };
        self.facts.habits.check(name)?;
        let overwrite = self.overwrite;
        let facts = self.facts.clone();
        let folder = self.current()?;
        let task = match folder.find(name)? {
            None => Task::Write,
            Some(found) => match found.judge(object, overwrite, &facts.habits)? {
                Verdict::Unchanged => return Ok(Step::Settled(Settled::Unchanged)),
                Verdict::Compare => Task::Compare,
                Verdict::Replace => Task::Replace,
            },
        };
        Ok(Step::Work(Work { folder: folder.dir.clone(), name: name.to_vec(), task }))
    }

    /// Gives what was written its name. Nothing is replaced that was not to be.
    pub(super) fn place(
        &self,
        work: &Work,
        done: Done,
        object: &Object,
    ) -> Result<Settled, Trouble> {
        let Done::Written(temp) = done else { return Ok(Settled::Unchanged) };
        if work.task == Task::Replace {
            temp.replace(&work.name)?;
            return Ok(Settled::Exported);
        }
        if temp.take_free_name(&work.name)? {
            return Ok(Settled::Exported);
        }
        // The name was free a moment ago. Either another object of this export has taken it since,
        // which then is listed by another name, or somebody else works in the folder.
        let found = find(&work.folder, &work.name, None)?.ok_or(Refusal::Conflict)?;
        match found.judge(object, self.overwrite, &self.facts.habits)? {
            Verdict::Unchanged => Ok(Settled::Unchanged),
            Verdict::Compare => Err(Refusal::Conflict.into()),
            Verdict::Replace => {
                temp.replace(&work.name)?;
                Ok(Settled::Exported)
            }
        }
    }

    /// Makes what was written durable. Filesystems that write later tell here what went wrong.
    pub(super) fn flush(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(readable(&self.root.dir)?)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }

    /// How many of `folders` the current chain begins with.
    fn known(&self, folders: &[&[u8]]) -> usize {
        self.chain.iter().zip(folders).take_while(|(level, name)| level.name == **name).count()
    }

    /// Makes `folders` the current chain; answers whether the last of them was made just now.
    fn enter(&mut self, folders: &[&[u8]]) -> Result<bool, Trouble> {
        let known = self.known(folders);
        self.chain.truncate(known);
        for name in &folders[known..] {
            let habits = self.facts.clone();
            let parent = self.current()?;
            let folder = match parent.open_or_make(name, &habits.habits) {
                Ok(folder) => Ok(folder),
                Err(Trouble::Refused(refusal)) => Err(refusal),
                Err(trouble) => return Err(trouble),
            };
            self.chain.push(Level { name: name.to_vec(), folder });
        }
        let is_new = self.current()?.is_new;
        Ok(is_new && known < folders.len())
    }

    fn current(&mut self) -> Result<&mut Folder, Refusal> {
        match self.chain.last_mut() {
            None => Ok(&mut self.root),
            Some(level) => level.folder.as_mut().map_err(|refusal| refusal.clone()),
        }
    }
}

impl Folder {
    fn new(dir: Dir, is_new: bool) -> Self {
        Self { dir: Arc::new(dir), is_new, listing: None }
    }

    fn open_or_make(&mut self, name: &[u8], habits: &Habits) -> Result<Self, Trouble> {
        habits.check(name)?;
        let is_new = match self.dir.create_dir(path(name)) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.check_folder(name)?;
                false
            }
            Err(error) => return Err(Trouble::naming(error)),
        };
        Ok(Self::new(self.dir.open_dir(path(name))?, is_new))
    }

    /// Refuses a name that is taken by anything but a folder of exactly that name.
    fn check_folder(&mut self, name: &[u8]) -> Result<(), Trouble> {
        let Some(found) = self.find(name)? else { return Ok(()) };
        if let Listed::Otherwise(other) = found.listed {
            return Err(Refusal::Collision(other).into());
        }
        match found.kind {
            Kind::Folder => Ok(()),
            Kind::Link => Err(Refusal::LinkedFolder(EntryPath::new(name)).into()),
            Kind::File | Kind::Other => Err(Refusal::NoFolder(EntryPath::new(name)).into()),
        }
    }

    fn find(&mut self, name: &[u8]) -> Result<Option<Found>, Trouble> {
        find(&self.dir, name, Some(&mut self.listing))
    }
}

/// What bears `name` in `dir`, and by which name the folder lists it. The listing, where one is
/// kept, may lag behind: it saves reading the folder again for each name that is in it.
fn find(
    dir: &Dir,
    name: &[u8],
    listing: Option<&mut Option<Listing>>,
) -> Result<Option<Found>, Trouble> {
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
    let listed = if is_listed { Listed::Exactly } else { listed(dir, name, facts.ino())? };
    Ok(Some(Found { kind, size: facts.len(), modified, listed }))
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

/// How `dir` lists what answers to `name`, which is this inode.
fn listed(dir: &Dir, name: &[u8], inode: u64) -> io::Result<Listed> {
    let (folded, mut alike, mut same_inode) = (fold(name), None, None);
    for entry in entries(dir)? {
        let entry = entry?;
        let other = entry.file_name().to_bytes();
        if other == name {
            return Ok(Listed::Exactly);
        }
        if folded.is_some() && fold(other) == folded {
            alike = Some(EntryPath::new(other));
        } else if entry.ino() == inode {
            // A weaker sign: some filesystems list other inodes than they tell of a file.
            same_inode = Some(EntryPath::new(other));
        }
    }
    Ok(Listed::Otherwise(alike.or(same_inode)))
}

/// What is the same for most names that filesystems hold equal. Only words depend on it.
fn fold(name: &[u8]) -> Option<String> {
    Some(str::from_utf8(name).ok()?.nfd().collect::<String>().to_lowercase())
}

fn entries(dir: &Dir) -> io::Result<rustix::fs::Dir> {
    Ok(rustix::fs::Dir::new(readable(dir)?)?)
}

/// The folder itself, opened to be read; a [`Dir`] is one through which other things are opened.
fn readable(dir: &Dir) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, c".", flags, Mode::empty())?)
}

impl Found {
    /// What to do with this in the way of `object`.
    fn judge(&self, object: &Object, overwrite: bool, habits: &Habits) -> Result<Verdict, Refusal> {
        if let Listed::Otherwise(other) = &self.listed {
            return Err(Refusal::Collision(other.clone()));
        }
        let has_its_time = match (object.modified, self.modified) {
            (Some(given), Some(kept)) => habits.is_same_time(given, kept),
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

impl Work {
    /// Whether the object's bytes are needed for it.
    pub(super) fn writes(&self) -> bool {
        self.task != Task::Compare
    }

    /// Reads what is there: it is the object's content, or in its way.
    pub(super) fn compare(&self, hash: BlobHash) -> Result<Done, Trouble> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(self.folder.open(path(&self.name))?)?;
        match BlobHash::from(hasher.finalize()) == hash {
            true => Ok(Done::Same),
            false => Err(Refusal::Conflict.into()),
        }
    }

    /// Writes the object's bytes and time under a name of their own.
    pub(super) fn write(
        &self,
        bytes: Bytes,
        object: &Object,
        facts: &Facts,
        stop: &CancellationToken,
    ) -> Result<Done, Trouble> {
        let temp = Temp::new(self.folder.clone());
        let file = match bytes {
            Bytes::Inline(bytes) => {
                let mut file = temp.create()?;
                file.write_all(&bytes)?;
                file
            }
            Bytes::File(from) => match temp.clone_of(&from, facts) {
                Some(clone) => clone,
                None => temp.copy_of(&from, stop)?,
            },
        };
        let size = file.metadata()?.len();
        if size != object.size {
            let words = format!("{size} bytes instead of {}", object.size);
            return Err(Refusal::Damaged(words).into());
        }
        if let Some(modified) = object.modified.and_then(|at| SystemTime::try_from(at).ok()) {
            file.set_times(times(modified))?;
        }
        Ok(Done::Written(temp))
    }
}

/// A file that has no name of its own yet. It goes when it gets none.
#[derive(Debug)]
pub(super) struct Temp {
    folder: Arc<Dir>,
    name: String,
}

fn temp_name() -> String {
    format!(".catchment-{}.partial", ulid::Ulid::generate())
}

impl Temp {
    fn new(folder: Arc<Dir>) -> Self {
        Self { folder, name: temp_name() }
    }

    fn create(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = self.folder.open_with(&self.name, options.write(true).create_new(true))?;
        Ok(file.into_std())
    }

    /// Shares the blocks of `from` where the filesystem can. Whatever it says where it cannot,
    /// copying is as right, and it is not asked again.
    fn clone_of(&self, from: &File, facts: &Facts) -> Option<File> {
        if !facts.can_clone.load(Relaxed) {
            return None;
        }
        let clone =
            reflink_copy::reflink_file_to_dir(from, &self.folder, &self.name).and_then(|()| {
                let file = self.folder.open_with(&self.name, OpenOptions::new().write(true))?;
                let file = file.into_std();
                // A clone has the stored file's permissions, which are nobody else's business.
                file.set_permissions(facts.habits.permissions.clone())?;
                Ok(file)
            });
        if clone.is_err() {
            facts.can_clone.store(false, Relaxed);
            let _ = self.folder.remove_file(&self.name);
        }
        clone.ok()
    }

    fn copy_of(&self, from: &File, stop: &CancellationToken) -> Result<File, Trouble> {
        /// What is copied between two looks at whether to go on.
        const STRETCH: u64 = 32 * 1024 * 1024;
        let file = self.create()?;
        while io::copy(&mut from.take(STRETCH), &mut &file)? > 0 {
            if stop.is_cancelled() {
                return Err(Trouble::Stopped);
            }
        }
        Ok(file)
    }

    fn replace(&self, name: &[u8]) -> Result<(), Trouble> {
        self.folder.rename(&self.name, &self.folder, path(name)).map_err(Trouble::naming)
    }

    /// Renames it, but not over anything; answers whether the name was free.
    fn take_free_name(&self, name: &[u8]) -> Result<bool, Trouble> {
        let to = path(name);
        let flags = RenameFlags::NOREPLACE;
        let renamed =
            rustix::fs::renameat_with(&*self.folder, &self.name, &*self.folder, to, flags);
        let taken = |error: &io::Error| error.kind() == ErrorKind::AlreadyExists;
        match renamed.map_err(io::Error::from) {
            Ok(()) => return Ok(true),
            Err(error) if taken(&error) => return Ok(false),
            // Not every filesystem knows how; those that do refuse names in the same words. The
            // ways below do without.
            Err(error) if !may_not_know_how(&error) => return Err(Trouble::naming(error)),
            Err(_) => {}
        }
        match self.folder.hard_link(&self.name, &self.folder, to) {
            Ok(()) => return Ok(true),
            Err(error) if taken(&error) => return Ok(false),
            Err(_) => {}
        }
        // FAT has no links either. Between the look and the renaming only somebody else could
        // take the name.
        match self.folder.symlink_metadata(to) {
            Ok(_) => Ok(false),
            Err(_) => self.replace(name).map(|()| true),
        }
    }
}

fn may_not_know_how(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

impl Drop for Temp {
    fn drop(&mut self) {
        // Renamed, it is not there any more; linked, this is its second name.
        let _ = self.folder.remove_file(&self.name);
    }
}

/// One name as a path. [`Place`] has seen to it that it is one.
fn path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::{self, create_dir};

    use tempfile::TempDir;

    use super::*;
    use crate::model::ObjectId;

    const MODIFIED: Timestamp = Timestamp::constant(1_234_567_891, 5);

    fn target(overwrite: bool) -> (TempDir, Target) {
        let home = tempfile::tempdir().unwrap();
        let target = Target::open(&home.path().join("out"), overwrite).unwrap();
        (home, target)
    }

    fn object(path: &str, content: &[u8]) -> Object {
        Object {
            key: 1,
            id: ObjectId::from_stored("obj_1".to_owned()),
            path: EntryPath::new(path),
            size: content.len() as u64,
            modified: Some(MODIFIED),
            mime: None,
            metadata: None,
            fields: None,
            hash: BlobHash::of(content),
        }
    }

    fn found(kind: Kind, size: u64, modified: Timestamp) -> Found {
        Found { kind, size, modified: Some(modified), listed: Listed::Exactly }
    }

    fn judge(found: &Found, overwrite: bool) -> Result<Verdict, Refusal> {
        let (_home, target) = target(overwrite);
        found.judge(&object("a", b"123"), overwrite, &target.facts.habits)
    }

    fn prepare(target: &mut Target, object: &Object) -> Result<Step, Trouble> {
        target.prepare(&Place::of(&object.path, object.size).unwrap(), object)
    }

    fn work(target: &mut Target, object: &Object) -> Work {
        match prepare(target, object).unwrap() {
            Step::Work(work) => work,
            settled @ Step::Settled(_) => panic!("{settled:?}"),
        }
    }

    fn write(target: &Target, work: &Work, object: &Object, content: &[u8]) -> Done {
        let bytes = Bytes::Inline(content.to_vec());
        work.write(bytes, object, &target.facts(), &CancellationToken::new()).unwrap()
    }

    fn refusal<T: std::fmt::Debug>(outcome: Result<T, Trouble>) -> Refusal {
        match outcome.unwrap_err() {
            Trouble::Refused(refusal) => refusal,
            trouble => panic!("{trouble:?}"),
        }
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
                there.listed = Listed::Otherwise(other.clone());
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
        assert_eq!(listed(&dir, b"A.txt", 0).unwrap(), Listed::Exactly);
        let other = Some(EntryPath::new("A.txt"));
        assert_eq!(listed(&dir, b"a.txt", 0).unwrap(), Listed::Otherwise(other));
        assert_eq!(listed(&dir, b"b", 0).unwrap(), Listed::Otherwise(None));
    }

    #[test]
    fn of_two_files_that_want_a_name_at_once_the_first_has_it() {
        let (home, mut target) = target(false);
        let (first, second) = (object("a", b"123"), object("a", b"456"));
        let (one, two) = (work(&mut target, &first), work(&mut target, &second));
        let late = write(&target, &two, &second, b"456");
        let early = write(&target, &one, &first, b"123");
        assert_eq!(target.place(&one, early, &first).unwrap(), Settled::Exported);
        let there = home.path().join("out/a");
        // The time tells them apart as little as the size does: it is another's all the same.
        fs::File::open(&there).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(refusal(target.place(&two, late, &second)), Refusal::Conflict);
        assert_eq!(fs::read(&there).unwrap(), b"123");
    }

    #[test]
    fn a_time_before_1970_is_kept_to_the_nanosecond_where_the_target_can() {
        let (home, mut target) = target(false);
        let mut object = object("a", b"123");
        object.modified = Some("1969-12-31T23:59:58.75Z".parse().unwrap());
        let work = work(&mut target, &object);
        let done = write(&target, &work, &object, b"123");
        target.place(&work, done, &object).unwrap();
        let kept = fs::metadata(home.path().join("out/a")).unwrap().modified().unwrap();
        assert_eq!(Timestamp::try_from(kept).ok(), object.modified);
    }

    #[test]
    fn what_gets_no_name_leaves_nothing_behind() {
        let (home, mut target) = target(false);
        let object = object("a", b"123");
        let work = work(&mut target, &object);
        drop(write(&target, &work, &object, b"123"));
        assert_eq!(fs::read_dir(home.path().join("out")).unwrap().count(), 0);
    }

    #[test]
    fn a_file_beside_a_folder_of_its_name_is_refused_whichever_comes_second() {
        let (home, mut target) = target(true);
        let (file, within) = (object("a", b"123"), object("a/b", b"123"));
        let writing = work(&mut target, &file);
        let done = write(&target, &writing, &file, b"123");
        target.place(&writing, done, &file).unwrap();
        let reason = refusal(prepare(&mut target, &within));
        assert_eq!(reason, Refusal::NoFolder(EntryPath::new("a")));
        create_dir(home.path().join("out/z")).unwrap();
        assert_eq!(refusal(prepare(&mut target, &object("z", b"123"))), Refusal::IsFolder);
    }

    #[test]
    fn a_folder_is_branched_off_where_its_name_is_not_known_yet() {
        let (_home, mut target) = target(false);
        work(&mut target, &object("a/b", b"1"));
        let (deeper, same) = (EntryPath::new("a/c/d"), EntryPath::new("a/e"));
        let folder = target.current().unwrap().dir.clone();
        let place = Place::of(&deeper, 1).unwrap();
        assert!(Arc::ptr_eq(target.branching(&place).unwrap(), &folder));
        assert!(target.branching(&Place::of(&same, 1).unwrap()).is_none());
    }

    #[test]
    fn a_folder_marker_makes_its_folder_once() {
        let (home, mut target) = target(false);
        let marker = object("a/b/", b"");
        let first = prepare(&mut target, &marker).unwrap();
        assert!(matches!(first, Step::Settled(Settled::Exported)));
        assert!(home.path().join("out/a/b").is_dir());
        let mut again = Target::open(&home.path().join("out"), false).unwrap();
        let second = prepare(&mut again, &marker).unwrap();
        assert!(matches!(second, Step::Settled(Settled::Unchanged)));
    }
}
