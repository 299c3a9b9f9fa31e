//! What files are called in an archive: as their objects' paths say, as far as they can be unpacked
//! anywhere without getting out of the folder, over another file, or into nothing. "Anywhere" has
//! systems to which upper and lower case are the same, and Windows.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use crate::model::EntryPath;

/// Names of files and folders of one archive. Keeps a few bytes a name, not the names.
#[derive(Debug, Default)]
pub(super) struct Names {
    hasher: RandomState,
    /// Names of files.
    files: HashSet<u64>,
    /// Names that files should have had, each with the last number that was put behind it.
    numbers: HashMap<u64, u32>,
    /// Folders as their objects have it, each with the number that it has here.
    folders: HashMap<u64, u32>,
    /// Folders as they are called here.
    taken: HashSet<u64>,
    /// Folders that are in the archive by themselves.
    listed: HashSet<u64>,
}

impl Names {
    /// A name that nothing else in the archive has.
    pub(super) fn file(&mut self, path: &EntryPath) -> String {
        let mut parts = parts(path);
        let last = parts.pop().unwrap_or_else(|| "unnamed".to_owned());
        let folder = self.enter(parts);
        let wanted = self.hash(&format!("{folder}{last}"));
        let mut number = self.numbers.get(&wanted).copied().unwrap_or_default();
        loop {
            number += 1;
            let name = format!("{folder}{}", numbered(&last, number));
            let hash = self.hash(&name);
            if !self.taken.contains(&hash) && self.files.insert(hash) {
                self.numbers.insert(wanted, number);
                return name;
            }
        }
    }

    /// The name of a folder, with a slash at its end; `None` if the archive has it already.
    pub(super) fn folder(&mut self, path: &EntryPath) -> Option<String> {
        let name = self.enter(parts(path));
        let is_new = !name.is_empty() && self.listed.insert(self.hash(&name));
        is_new.then_some(name)
    }

    /// The folder that these are the way to: empty, or ending in a slash.
    fn enter(&mut self, parts: Vec<String>) -> String {
        let mut folder = String::new();
        for part in parts {
            let wanted = self.hash(&format!("{folder}{part}"));
            let mut number = self.folders.get(&wanted).copied().unwrap_or(1);
            let mut name = format!("{folder}{}", numbered(&part, number));
            while self.files.contains(&self.hash(&name)) {
                number += 1;
                name = format!("{folder}{}", numbered(&part, number));
            }
            self.folders.insert(wanted, number);
            self.taken.insert(self.hash(&name));
            folder = name + "/";
        }
        folder
    }

    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name.to_lowercase())
    }
}

/// The names on the way to a file, each one that every system can have. What cannot be in one is
/// `%XX`; a path that begins at a root begins in the archive.
fn parts(path: &EntryPath) -> Vec<String> {
    path.as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .map(|part| plain(&EntryPath::new(part)))
        .collect()
}

/// Bytes that a name may have; systems stop at 255, and a number may have to be appended.
const LONGEST: usize = 240;

/// Control characters, and characters that Windows takes for a separator or forbids in names
/// (<https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file>).
fn plain(part: &EntryPath) -> String {
    let text = part.to_string();
    let text = shortened(&text);
    let end = text.trim_end_matches(['.', ' ']).len();
    let mut plain = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let is_odd = match c {
            '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => true,
            // A name of nothing but dots is a way, and Windows drops those at the end of one.
            '.' | ' ' => at >= end,
            _ => at == 0 && is_device(&text),
        };
        match is_odd {
            true => plain.push_str(percent_encoding::percent_encode_byte(c as u8)),
            false => plain.push(c),
        }
    }
    plain
}

/// Whether Windows takes the name for a device, whatever its extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" => true,
        port => {
            let number = port.strip_prefix("COM").or_else(|| port.strip_prefix("LPT"));
            number.is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
        }
    }
}

/// The name without what is too much in its middle: its ending says what it is.
fn shortened(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST {
        return Cow::Borrowed(name);
    }
    let ending = match name.rsplit_once('.') {
        Some((_, ending)) if ending.len() < 20 => &name[name.len() - ending.len() - 1..],
        _ => "",
    };
    let stem = name.floor_char_boundary(LONGEST - ending.len());
    Cow::Owned(format!("{}{ending}", &name[..stem]))
}

/// `name (2).ext`; the first needs no number.
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (..=1, _) => name.to_owned(),
        (_, Some((stem, ending))) if !stem.is_empty() => format!("{stem} ({number}).{ending}"),
        _ => format!("{name} ({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files<const N: usize>(paths: [&[u8]; N]) -> Vec<String> {
        let mut names = Names::default();
        paths.iter().map(|path| names.file(&EntryPath::new(*path))).collect()
    }

    #[test]
    fn names_stay_in_the_archive_and_hold_nothing_that_steers() {
        let hostile: [&[u8]; 6] =
            [b"/etc/passwd", b"../../x", b"a//b", b"..\\..\\y", b"C:\\z", b"n\n\xff\0"];
        let told =
            ["etc/passwd", "%2E%2E/%2E%2E/x", "a/b", "..%5C..%5Cy", "C%3A%5Cz", "n%0A%FF%00"];
        assert_eq!(files(hostile), told);
        assert_eq!(files([b"", b"/", "grüße/日本.txt".as_bytes()])[2], "grüße/日本.txt");
    }

    #[test]
    fn windows_can_have_every_name() {
        let odd: [&[u8]; 6] = [b"NUL", b"com1.txt", b"a./b ", b"...", b"console", b"lpt10"];
        let told = ["%4EUL", "%63om1.txt", "a%2E/b%20", "%2E%2E%2E", "console", "lpt10"];
        assert_eq!(files(odd), told);
    }

    #[test]
    fn a_long_name_is_shortened_before_its_ending() {
        let [one, other] = ["é".repeat(300) + "1.txt", "é".repeat(300) + "2.txt"];
        let names = files([one.as_bytes(), other.as_bytes()]);
        assert!(names.iter().all(|name| name.len() < 256 && name.ends_with(".txt")), "{names:?}");
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn files_are_not_distinguished_by_upper_and_lower_case() {
        assert_eq!(files([b"a/x", b"A/x", b"A/y"]), ["a/x", "A/x (2)", "A/y"]);
    }

    #[test]
    fn no_two_files_have_one_name() {
        assert_eq!(
            files([b"a.txt", b"/a.txt", b"a (2).txt", b"a.txt", b".x", b"/.x"]),
            ["a.txt", "a (2).txt", "a (2) (2).txt", "a (3).txt", ".x", ".x (2)"]
        );
    }

    #[test]
    fn no_file_has_the_name_of_a_folder() {
        assert_eq!(files([b"a/b", b"a", b"/a/c"]), ["a/b", "a (2)", "a/c"]);
        assert_eq!(
            files([b"a", b"a/b", b"a/c", b"a (2)"]),
            ["a", "a (2)/b", "a (2)/c", "a (2) (2)"]
        );
    }

    #[test]
    fn a_folder_is_told_once() {
        let mut names = Names::default();
        let mut folder = |path: &str| names.folder(&EntryPath::new(path));
        assert_eq!(folder("a/b/").as_deref(), Some("a/b/"));
        assert_eq!(folder("a//b/"), None);
        assert_eq!(folder("/"), None);
    }
}
