//! A file system so small that a test can fill it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A mounted tmpfs, unmounted when dropped.
pub struct SmallDisk {
    mount_point: PathBuf,
    _home: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many MiB.
    pub fn of_mib(mib: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mount_point = home.path().join("disk");
        std::fs::create_dir(&mount_point).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0755"), "tmpfs"])
            .arg(&mount_point)
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test mounts a small file system, which takes root; without it, run \
             `unshare --user --map-root-user --mount tests/run`"
        );
        Self { mount_point, _home: home }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Makes it larger.
    pub fn grow_to_mib(&self, mib: usize) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,size={mib}m")])
            .arg(&self.mount_point)
            .status();
        assert!(status.unwrap().success(), "the small file system grows");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a command of a failed test may still be on it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount_point).status();
    }
}
