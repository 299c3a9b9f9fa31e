//! Folders for what an extractor writes, which go when nobody needs them any more, and the one way
//! to read a file that an extractor has made.
//!
//! An extractor may put whatever it likes into its folder, and change it at any time; this process
//! may read far more than the extractor. So its files are opened component by component from the
//! open folder, following no link, and only plain files that have no other name are read.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{CWD, Mode, OFlags, openat};

/// A folder that goes when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    folder: OwnedFd,
}

impl Scratch {
    /// A new folder in `parent`.
    ///
    /// # Errors
    /// The disk's.
    pub fn new(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let path = parent.join(ulid::Ulid::generate().to_string());
        fs::DirBuilder::new().create(&path)?;
        let folder = open_folder(CWD, &path)?;
        Ok(Self { path, folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same folder, moved into another.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn moved_into(mut self, parent: &Path) -> io::Result<Self> {
        let path = self.path_in(parent);
        fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(self)
    }

    /// Where it will be once it has been moved into another.
    pub(super) fn path_in(&self, parent: &Path) -> PathBuf {
        parent.join(self.path.file_name().unwrap_or_default())
    }

    /// The file of that name, which may be its whole path.
    ///
    /// # Errors
    /// When it is no plain file of this folder, or has another name, too.
    pub(super) fn file(self: &Arc<Self>, name: &Path) -> io::Result<ScratchFile> {
        let name = name.strip_prefix(&self.path).unwrap_or(name).to_owned();
        let (_, identity) = self.open(&name)?;
        Ok(ScratchFile { scratch: self.clone(), name, identity })
    }

    fn open(&self, name: &Path) -> io::Result<(File, Identity)> {
        let mut parts = Vec::new();
        for part in name.components() {
            let Component::Normal(part) = part else { return Err(refused("it leads out of it")) };
            parts.push(Path::new(part));
        }
        let Some((last, folders)) = parts.split_last() else {
            return Err(refused("it has no name"));
        };
        let mut folder: Option<OwnedFd> = None;
        for part in folders {
            let within = folder.as_ref().map_or(self.folder.as_fd(), |folder| folder.as_fd());
            folder = Some(open_folder(within, part)?);
        }
        let within = folder.as_ref().map_or(self.folder.as_fd(), |folder| folder.as_fd());
        // A pipe must not make this process wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(within, *last, flags | OFlags::NOCTTY, Mode::empty())?);
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(refused("it is no plain file"));
        }
        if found.nlink() != 1 {
            return Err(refused("it is a hard link"));
        }
        let identity = Identity { device: found.dev(), inode: found.ino(), size: found.len() };
        Ok((file, identity))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot go now goes with the staging folder that it is in.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn open_folder(within: BorrowedFd<'_>, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(within, name, flags, Mode::empty())?)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// By what a file is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
}

/// A file that an extractor has made. Its folder stays as long as this does.
#[derive(Clone, Debug)]
pub struct ScratchFile {
    scratch: Arc<Scratch>,
    name: PathBuf,
    identity: Identity,
}

impl ScratchFile {
    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.identity.size
    }

    /// Opens it for reading. An open file is not kept: there may be more of them than this process
    /// may have open.
    ///
    /// # Errors
    /// When it cannot be opened, or is not the file that it was.
    pub fn open(&self) -> io::Result<File> {
        let (file, identity) = self.scratch.open(&self.name)?;
        if identity != self.identity {
            return Err(refused("it is not the file that it was"));
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_plain_files_below_the_folder_are_opened_and_only_as_long_as_they_stay_the_same() {
        let home = tempfile::tempdir().unwrap();
        let secret = home.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let scratch = Arc::new(Scratch::new(&home.path().join("scratch")).unwrap());
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("folder/good"), "good").unwrap();
        symlink(&secret, at("link")).unwrap();
        symlink(home.path(), at("linked folder")).unwrap();
        symlink("folder", at("folder of its own")).unwrap();
        fs::hard_link(&secret, at("hard link")).unwrap();
        rustix::fs::mknodat(
            CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for name in [
            "link",
            "linked folder/secret",
            "folder of its own/good",
            "hard link",
            "pipe",
            "folder",
            "",
            ".",
            "../../secret",
            "/etc/passwd",
        ] {
            assert!(scratch.file(Path::new(name)).is_err(), "{name}");
        }
        let good = scratch.file(&at("folder/good")).unwrap();
        assert_eq!(io::read_to_string(good.open().unwrap()).unwrap(), "good");
        fs::remove_file(at("folder/good")).unwrap();
        symlink(&secret, at("folder/good")).unwrap();
        assert!(good.open().is_err());
        fs::remove_file(at("folder/good")).unwrap();
        fs::write(at("folder/good"), "longer").unwrap();
        assert!(good.open().is_err());
    }
}
