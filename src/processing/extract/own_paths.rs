//! Keeps paths of the data directory out of messages and logs of programs: they name their input by
//! the path that we gave it, and the API shows what they say.

use std::path::Path;

/// Characters that end a path in a sentence.
const ENDS: &[char] = &[' ', '\t', '\n', '\r', '"', '\'', '`', ':', ',', ';', ')', ']', '>', '<'];

/// Folders whose paths are not shown.
#[derive(Debug)]
pub(super) struct OwnPaths(Vec<String>);

impl OwnPaths {
    /// These folders, by each of their names, the longest first.
    pub(super) fn of<'a>(folders: impl Iterator<Item = &'a Path>) -> Self {
        let mut all = Vec::new();
        for folder in folders {
            let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            all.push(absolute.to_string_lossy().into_owned());
            // Below links, what the system calls it: of a folder that is not there yet, its parent.
            if let Ok(real) = absolute.canonicalize() {
                all.push(real.to_string_lossy().into_owned());
            }
        }
        all.retain(|path| path.len() > 1);
        all.sort_by_key(|path| std::cmp::Reverse(path.len()));
        all.dedup();
        Self(all)
    }

    /// The text with the last name alone of each path below these folders.
    pub(super) fn redacted(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for folder in &self.0 {
            if text.contains(folder.as_str()) {
                text = without(&text, folder);
            }
        }
        text
    }
}

fn without(text: &str, folder: &str) -> String {
    let mut shorter = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(folder) {
        let end = behind.find(ENDS).unwrap_or(behind.len());
        let (path, after) = behind.split_at(end);
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        shorter.push_str(before);
        shorter.push_str(name);
        rest = after;
    }
    shorter.push_str(rest);
    shorter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_of_ours_the_last_name_is_left() {
        let own = OwnPaths::of([Path::new("/home/me/my data")].into_iter());
        let shown = own.redacted("Error reading '/home/me/my data/a/01K/input.svg': no, /etc/x");
        assert_eq!(shown, "Error reading 'input.svg': no, /etc/x");
    }
}
