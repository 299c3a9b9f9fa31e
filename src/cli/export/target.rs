//! The folder that is exported to: finding, writing and naming files in it, and never anything
//! outside it.
//!
//! Folders are opened one name at a time from their parents, through [`Dir`], which nothing leads
//! out of, and links in their place are refused (`folder`). Objects come in the order of their
//! paths, so each folder is entered once, and only the chain of folders to the current one is kept
//! open. A file is written (`work`) under a name of its own and gets its real one when it is whole
//! (`temp`).

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use cap_std::{ambient_authority, fs::Dir};

use super::{
    dir::readable,
    facts::Facts,
    file_task::{Done, FileTask, Task},
    filesystem::FilesystemTraits,
    folder::{Folder, Verdict, find},
    leftover::clear_leftovers,
    refusal::{Refusal, Trouble},
    relative_path::RelativePath,
};
use crate::store::objects::Object;

/// How an object came to be in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileOutcome {
    /// It was written, or made where it is a folder.
    Exported,
    /// It was there already.
    Unchanged,
}

/// What an object takes, once its name has been looked at.
#[derive(Debug)]
pub(super) enum Step {
    Done(FileOutcome),
    /// Something that can go on beside other objects' work.
    Write(FileTask),
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

#[derive(Debug)]
struct Level {
    name: Vec<u8>,
    folder: Result<Folder, Refusal>,
}

impl Target {
    /// Opens the folder at `path`, making it if need be.
    pub(super) fn open(path: &Path, overwrite: bool) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        // The one place where a path of this machine is followed.
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        clear_leftovers(&dir);
        let traits = FilesystemTraits::of(&dir)?;
        Ok(Self {
            root: Folder::new(dir, false),
            chain: Vec::new(),
            overwrite,
            facts: Arc::new(Facts { traits, can_clone: AtomicBool::new(true) }),
        })
    }

    pub(super) fn facts(&self) -> Arc<Facts> {
        self.facts.clone()
    }

    /// The folder in which an object's next folder would be looked for or made. Files that are
    /// still on their way into it come first: they may want the same name.
    pub(super) fn branching(&self, place: &RelativePath<'_>) -> Option<&Arc<Dir>> {
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
    pub(super) fn prepare(
        &mut self,
        place: &RelativePath<'_>,
        object: &Object,
    ) -> Result<Step, Trouble> {
        let made = self.enter(&place.folders)?;
        let Some(name) = place.file else {
            return Ok(Step::Done(if made {
                FileOutcome::Exported
            } else {
                FileOutcome::Unchanged
            }));
        };
        self.facts.traits.check(name)?;
        let overwrite = self.overwrite;
        let facts = self.facts.clone();
        let folder = self.current()?;
        let task = match folder.find(name)? {
            None => Task::Write,
            Some(found) => match found.judge(object, overwrite, &facts.traits)? {
                Verdict::Unchanged => return Ok(Step::Done(FileOutcome::Unchanged)),
                Verdict::Compare => Task::Compare,
                Verdict::Replace => Task::Replace,
            },
        };
        Ok(Step::Write(FileTask { folder: folder.dir.clone(), name: name.to_vec(), task }))
    }

    /// Gives what was written its name. Nothing is replaced that was not to be.
    pub(super) fn place(
        &self,
        work: &FileTask,
        done: Done,
        object: &Object,
    ) -> Result<FileOutcome, Trouble> {
        let Done::Written(temp) = done else { return Ok(FileOutcome::Unchanged) };
        if work.task == Task::Replace {
            temp.replace(&work.name)?;
            return Ok(FileOutcome::Exported);
        }
        if temp.take_free_name(&work.name)? {
            return Ok(FileOutcome::Exported);
        }
        // The name was free a moment ago. Either another object of this export has taken it since,
        // which then is listed by another name, or somebody else works in the folder.
        let found = find(&work.folder, &work.name, None)?.ok_or(Refusal::Conflict)?;
        match found.judge(object, self.overwrite, &self.facts.traits)? {
            Verdict::Unchanged => Ok(FileOutcome::Unchanged),
            Verdict::Compare => Err(Refusal::Conflict.into()),
            Verdict::Replace => {
                temp.replace(&work.name)?;
                Ok(FileOutcome::Exported)
            }
        }
    }

    /// Makes what was written durable. Filesystems that write later report here what went wrong.
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

    /// Makes `folders` the current chain; returns whether the last of them was made just now.
    fn enter(&mut self, folders: &[&[u8]]) -> Result<bool, Trouble> {
        let known = self.known(folders);
        self.chain.truncate(known);
        for name in &folders[known..] {
            let traits = self.facts.clone();
            let parent = self.current()?;
            let folder = match parent.open_or_make(name, &traits.traits) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        fs::{self, create_dir},
        time::SystemTime,
    };

    use jiff::Timestamp;
    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;

    use super::{super::file_task::Bytes, *};
    use crate::model::{BlobHash, EntryPath, ObjectId};

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

    fn prepare(target: &mut Target, object: &Object) -> Result<Step, Trouble> {
        target.prepare(&RelativePath::of(&object.path, object.size).unwrap(), object)
    }

    fn work(target: &mut Target, object: &Object) -> FileTask {
        match prepare(target, object).unwrap() {
            Step::Write(work) => work,
            settled @ Step::Done(_) => panic!("{settled:?}"),
        }
    }

    fn write(target: &Target, work: &FileTask, object: &Object, content: &[u8]) -> Done {
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
    fn of_two_files_that_want_a_name_at_once_the_first_has_it() {
        let (home, mut target) = target(false);
        let (first, second) = (object("a", b"123"), object("a", b"456"));
        let (one, two) = (work(&mut target, &first), work(&mut target, &second));
        let late = write(&target, &two, &second, b"456");
        let early = write(&target, &one, &first, b"123");
        assert_eq!(target.place(&one, early, &first).unwrap(), FileOutcome::Exported);
        let there = home.path().join("out/a");
        // The time distinguishes them as little as the size does: it is another's all the same.
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
        let place = RelativePath::of(&deeper, 1).unwrap();
        assert!(Arc::ptr_eq(target.branching(&place).unwrap(), &folder));
        assert!(target.branching(&RelativePath::of(&same, 1).unwrap()).is_none());
    }

    #[test]
    fn a_folder_marker_makes_its_folder_once() {
        let (home, mut target) = target(false);
        let marker = object("a/b/", b"");
        let first = prepare(&mut target, &marker).unwrap();
        assert!(matches!(first, Step::Done(FileOutcome::Exported)));
        assert!(home.path().join("out/a/b").is_dir());
        let mut again = Target::open(&home.path().join("out"), false).unwrap();
        let second = prepare(&mut again, &marker).unwrap();
        assert!(matches!(second, Step::Done(FileOutcome::Unchanged)));
    }
}
