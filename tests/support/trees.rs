//! Folders to sync.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A folder of the test, gone with it.
pub struct Tree {
    _home: TempDir,
    root: PathBuf,
}

impl Tree {
    /// An empty folder whose last part is `name`, after which a bucket is named.
    pub fn new(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join(name);
        std::fs::create_dir(&root).unwrap();
        Self { _home: home, root }
    }

    /// A folder of small files, `f0000` and so on, in folders of a hundred.
    pub fn of_files(name: &str, files: usize) -> Self {
        let tree = Self::new(name);
        for number in 0..files {
            let path = format!("d{:02}/f{number:04}", number / 100);
            tree.write(&path, format!("the content of {number}"));
        }
        tree
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder as an argument.
    pub fn source(&self) -> &OsStr {
        self.root.as_os_str()
    }

    /// Where a path below the root lies on this disk.
    pub fn at(&self, path: impl AsRef<[u8]>) -> PathBuf {
        self.root.join(OsStr::from_bytes(path.as_ref()))
    }

    /// Writes a file, and the folders that it needs.
    pub fn write(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.at(path)).unwrap();
    }

    /// Regular files by their paths from the root, with the hashes of their bytes.
    pub fn contents(&self) -> BTreeMap<Vec<u8>, String> {
        contents_of(&self.root)
    }
}

/// Regular files below `root` by their paths from it, with the hashes of their bytes. Does not
/// follow symlinks.
pub fn contents_of(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).unwrap() {
            let item = item.unwrap();
            let kind = item.file_type().unwrap();
            if kind.is_dir() {
                folders.push(item.path());
            } else if kind.is_file() {
                let path = item.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
                found.insert(path, super::content::hash(&std::fs::read(item.path()).unwrap()));
            }
        }
    }
    found
}

/// Names of every kind that Unix file systems allow and programs stumble over.
pub fn odd_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        ".hidden",
        "...",
        "-rf",
        "--",
        "~",
        " leading",
        "trailing ",
        "two  spaces",
        "new\nline",
        "carriage\rreturn",
        "tab\there",
        "\u{1b}[31mred",
        "\u{7f}del",
        "quote'\"`",
        "back\\slash",
        "*?[a]{b}",
        "%41",
        "%zz",
        "a+b",
        "#hash",
        "&amp;",
        "<xml>",
        "C:",
        "CON",
        "nul.txt",
        "a:b",
        "emoji \u{1f600}",
        "\u{202e}gnp.exe",
        "zero\u{200b}width",
        "bom\u{feff}",
        "caf\u{e9}",
        "cafe\u{301}",
        "UPPER",
        "upper",
        "Thumbs.db",
        "$HOME",
        "dot.",
        "s3:",
        "\u{fffd}",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.extend((1..=31u8).map(|control| vec![b'c', control]));
    names.push(b"latin-1 caf\xe9".to_vec());
    names.push(b"\xff\xfe".to_vec());
    names.push(b"cut emoji \xf0\x9f\x98".to_vec());
    names.push(b"surrogate \xed\xa0\x80".to_vec());
    names.push(vec![b'l'; 255]);
    names
}
