//! Keeps paths of the data directory out of what programs say: they name their input by the path
//! that we gave it, and what they say is shown to whoever may use the API.

use std::path::Path;

/// What ends a path in a sentence.
const ENDS: &[char] = &[' ', '\t', '\n', '\r', '"', '\'', '`', ':', ',', ';', ')', ']', '>', '<'];

/// Folders whose paths are not told.
#[derive(Debug)]
pub(super) struct Places(Vec<String>);

impl Places {
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
        all.retain(|place| place.len() > 1);
        all.sort_by_key(|place| std::cmp::Reverse(place.len()));
        all.dedup();
        Self(all)
    }

    /// The text with the last name alone of each path below these folders.
    pub(super) fn shortened(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for place in &self.0 {
            if text.contains(place.as_str()) {
                text = without(&text, place);
            }
        }
        text
    }
}

fn without(text: &str, place: &str) -> String {
    let mut shorter = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(place) {
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
        let places = Places::of([Path::new("/home/me/my data")].into_iter());
        let told = places.shortened("Error reading '/home/me/my data/a/01K/input.svg': no, /etc/x");
        assert_eq!(told, "Error reading 'input.svg': no, /etc/x");
    }
}
