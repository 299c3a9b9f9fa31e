//! A file system on which two files can share their blocks.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The variable that lets the tests pass on a machine that cannot make such a file system.
const GO_WITHOUT: &str = "CATCHMENT_TEST_WITHOUT_SHARING_DISK";

/// A mounted XFS in a sparse file, unmounted when dropped.
pub struct SharingDisk {
    mount_point: PathBuf,
    _home: TempDir,
}

impl SharingDisk {
    /// Makes and mounts one. `None`, and a word about it, only where somebody has said by
    /// `CATCHMENT_TEST_WITHOUT_SHARING_DISK=1` that this cannot be.
    pub fn mount() -> Option<Self> {
        if std::env::var_os(GO_WITHOUT).is_some() {
            eprintln!("NOT TESTED: sharing blocks, for {GO_WITHOUT} is set");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let (image, mount_point) = (home.path().join("image"), home.path().join("disk"));
        std::fs::create_dir(&mount_point).unwrap();
        // XFS's own least size is 300 MB; next to nothing of it is written.
        std::fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
        let succeeds =
            |command: &mut Command| command.status().is_ok_and(|status| status.success());
        let is_there =
            succeeds(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))
                && succeeds(
                    Command::new("mount").args(["-o", "loop"]).args([&image, &mount_point]),
                );
        assert!(
            is_there,
            "this test mounts an XFS from a file, which takes root outside of any container, \
             mkfs.xfs and loop devices; to go without it, set {GO_WITHOUT}=1"
        );
        Some(Self { mount_point, _home: home })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Bytes that are in use, once everything is written.
    pub fn used(&self) -> u64 {
        rustix::fs::syncfs(std::fs::File::open(&self.mount_point).unwrap()).unwrap();
        let space = rustix::fs::statvfs(&self.mount_point).unwrap();
        (space.f_blocks - space.f_bfree) * space.f_frsize
    }
}

impl Drop for SharingDisk {
    fn drop(&mut self) {
        // Lazily: a command of a failed test may still be on it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount_point).status();
    }
}
