//! What the target's filesystem does to names and times, found out by trying it.

use std::{
    fs::{File, FileTimes, Permissions, TryLockError},
    io,
    time::{Duration, SystemTime},
};

use cap_std::fs::{Dir, OpenOptions};
use jiff::Timestamp;
use unicode_normalization::is_nfd;

use super::{
    dir::readable,
    leftover::{TAKEN, temp_name},
    refusal::Refusal,
};
use crate::model::EntryPath;

/// A folder to try things out in, open and locked. It goes with what is in it.
#[derive(Debug)]
struct Scratch<'a> {
    parent: &'a Dir,
    name: String,
    dir: Dir,
    /// Holds the lock.
    _lock: File,
}

impl<'a> Scratch<'a> {
    /// An empty folder in `parent`.
    fn create(parent: &'a Dir) -> io::Result<Self> {
        let name = temp_name();
        parent.create_dir(&name)?;
        let dir = parent.open_dir(&name)?;
        let lock = File::from(readable(&dir)?);
        let is_taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
        if is_taken || parent.symlink_metadata(&name).is_err() {
            return Err(io::Error::other(TAKEN));
        }
        Ok(Self { parent, name, dir, _lock: lock })
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // What stays behind goes with the next export.
        let _ = self.parent.remove_dir_all(&self.name);
    }
}

/// How the target's filesystem keeps the names and times it is given.
#[derive(Debug)]
pub(super) struct FilesystemTraits {
    /// The permissions that it gives to new files.
    pub(super) permissions: Permissions,
    /// The step that it keeps times in.
    time_step: Duration,
    alters: Vec<Alteration>,
}

/// A way in which filesystems silently keep another name than the one they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alteration {
    /// HFS+ decomposes: <https://developer.apple.com/library/archive/technotes/tn/tn1150.html>.
    Decomposed,
    /// FAT and exFAT drop dots at the end.
    TrailingDot,
    /// Shares that follow Windows' rules drop spaces at the end, too:
    /// <https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file>.
    TrailingSpace,
}

impl Alteration {
    const ALL: [Self; 3] = [Self::Decomposed, Self::TrailingDot, Self::TrailingSpace];

    /// A name that comes back different where names are altered in this way.
    const fn sample(self) -> &'static str {
        match self {
            Self::Decomposed => "\u{e9}",
            Self::TrailingDot => "dot.",
            Self::TrailingSpace => "space ",
        }
    }

    fn hits(self, name: &[u8]) -> bool {
        match self {
            Self::Decomposed => str::from_utf8(name).is_ok_and(|name| !is_nfd(name)),
            Self::TrailingDot => name.ends_with(b"."),
            Self::TrailingSpace => name.ends_with(b" "),
        }
    }
}

/// Steps that filesystems keep times in: from one nanosecond (ext4) to two seconds (FAT:
/// <https://learn.microsoft.com/en-us/windows/win32/sysinfo/file-times>).
const TIME_STEPS: [Duration; 7] = [
    Duration::from_nanos(1),
    Duration::from_nanos(100),
    Duration::from_micros(1),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

impl FilesystemTraits {
    /// Tries the filesystem out in `dir`, in a folder that is gone afterwards.
    pub(super) fn of(dir: &Dir) -> io::Result<Self> {
        Self::observe(&Scratch::create(dir)?.dir)
    }

    fn observe(scratch: &Dir) -> io::Result<Self> {
        // An odd second, and no digit behind it is a zero.
        let given = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_001, 123_456_789);
        let file = create_new(scratch, "time")?;
        file.set_times(times(given))?;
        let kept = file.metadata()?;
        let lost = given.duration_since(kept.modified()?).unwrap_or_else(|later| later.duration());
        let time_step = TIME_STEPS.into_iter().find(|step| lost < *step);
        let tried: Vec<_> = Alteration::ALL
            .into_iter()
            .filter(|alteration| create_new(scratch, alteration.sample()).is_ok())
            .collect();
        let mut names = Vec::new();
        for entry in scratch.entries()? {
            names.push(entry?.file_name());
        }
        Ok(Self {
            permissions: kept.permissions(),
            time_step: time_step.unwrap_or(TIME_STEPS[0]),
            // A name that is refused outright will be so again, and needs no guess.
            alters: tried
                .into_iter()
                .filter(|alteration| !names.iter().any(|name| name == alteration.sample()))
                .collect(),
        })
    }

    /// Whether `kept` is how the target keeps the time `given`.
    pub(super) fn is_same_time(&self, given: Timestamp, kept: Timestamp) -> bool {
        given.duration_since(kept).unsigned_abs() < self.time_step
    }

    /// Refuses a name that the target would silently change.
    pub(super) fn check(&self, name: &[u8]) -> Result<(), Refusal> {
        match self.alters.iter().any(|alteration| alteration.hits(name)) {
            true => Err(Refusal::Altered(EntryPath::new(name))),
            false => Ok(()),
        }
    }
}

/// The times of a file that was modified at `modified`. Some drivers in user space silently ignore
/// a time that is set without the other (seen of exFAT's, on libfuse 2).
pub(super) fn times(modified: SystemTime) -> FileTimes {
    FileTimes::new().set_accessed(modified).set_modified(modified)
}

fn create_new(dir: &Dir, name: &str) -> io::Result<std::fs::File> {
    Ok(dir.open_with(name, OpenOptions::new().write(true).create_new(true))?.into_std())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use cap_std::ambient_authority;

    use super::*;

    fn traits(time_step: Duration, alters: Vec<Alteration>) -> FilesystemTraits {
        FilesystemTraits { permissions: Permissions::from_mode(0o644), time_step, alters }
    }

    #[test]
    fn trying_a_folder_out_leaves_nothing_in_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(home.path(), ambient_authority()).unwrap();
        FilesystemTraits::of(&dir).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_time_is_the_same_where_the_target_keeps_no_finer_one() {
        let given: Timestamp = "2026-01-31T12:00:01.5Z".parse().unwrap();
        let kept: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert!(traits(Duration::from_secs(2), Vec::new()).is_same_time(given, kept));
        assert!(!traits(Duration::from_secs(1), Vec::new()).is_same_time(given, kept));
    }

    #[test]
    fn names_are_refused_only_where_the_target_alters_them() {
        let fat = traits(Duration::from_secs(2), vec![Alteration::TrailingDot]);
        assert_eq!(fat.check(b"etc."), Err(Refusal::Altered(EntryPath::new("etc."))));
        assert_eq!(fat.check("caf\u{e9} ".as_bytes()), Ok(()));
        let hfs = traits(Duration::from_secs(1), vec![Alteration::Decomposed]);
        assert_eq!(hfs.check("caf\u{e9}".as_bytes()).unwrap_err().error_type(), "name");
        assert_eq!(hfs.check("cafe\u{301}.".as_bytes()), Ok(()));
    }
}
