//! Globs, checked against a second implementation of what is promised about them, and against what
//! people know from other tools.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn matches(glob: &str, path: &str) -> bool {
    let patterns = spellings(glob).unwrap();
    patterns.iter().any(|pattern| pattern.matches(&EntryPath::new(path.as_bytes())))
}

/// A piece of a glob, as the promise has it.
#[derive(Clone, Debug)]
enum Piece {
    /// This character.
    Just(char),
    /// `?`: any one but `/`.
    One,
    /// `*`: any number but of `/`.
    Many,
    /// `[ab]` or `[!ab]`.
    Class { negated: bool, members: Vec<char> },
    /// `/**/` between folders: nothing or whole folders.
    Folders,
}

fn spell(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Just(c) => c.to_string(),
            Piece::One => "?".to_owned(),
            Piece::Many => "*".to_owned(),
            Piece::Class { negated, members } => {
                let mark = if *negated { "!" } else { "" };
                format!("[{mark}{}]", members.iter().collect::<String>())
            }
            Piece::Folders => "/**/".to_owned(),
        })
        .collect()
}

/// The promise, word by word: slow, and too simple to be wrong.
fn reference(pieces: &[Piece], text: &[char]) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return text.is_empty() };
    let first = text.first().copied();
    match piece {
        Piece::Just(c) => first == Some(*c) && reference(rest, &text[1..]),
        Piece::One => first.is_some_and(|c| c != '/') && reference(rest, &text[1..]),
        Piece::Class { negated, members } => {
            first.is_some_and(|c| c != '/' && members.contains(&c) != *negated)
                && reference(rest, &text[1..])
        }
        Piece::Many => {
            reference(rest, text)
                || (first.is_some_and(|c| c != '/') && reference(pieces, &text[1..]))
        }
        Piece::Folders => {
            first == Some('/')
                && (reference(rest, &text[1..])
                    || (2..text.len())
                        .any(|end| text[end] == '/' && reference(rest, &text[end + 1..]))
                    || (text.get(1) == Some(&'/') && reference(rest, &text[2..])))
        }
    }
}

fn piece() -> impl Strategy<Value = Piece> {
    let letter = || prop::sample::select(vec!['a', 'b', '.', '-']);
    prop_oneof![
        6 => letter().prop_map(Piece::Just),
        2 => Just(Piece::Just('/')),
        2 => Just(Piece::One),
        1 => (any::<bool>(), prop::collection::vec(prop::sample::select(vec!['a', 'b', '.']), 1..3))
            .prop_map(|(negated, members)| Piece::Class { negated, members }),
    ]
}

fn glob() -> impl Strategy<Value = Vec<Piece>> {
    // Stars and folder wildcards stand between other pieces: two stars in a row mean something
    // else.
    let joint =
        prop_oneof![3 => Just(None), 2 => Just(Some(Piece::Many)), 1 => Just(Some(Piece::Folders))];
    prop::collection::vec((piece(), joint), 1..7).prop_map(|parts| {
        let last = parts.len() - 1;
        let mut pieces = Vec::new();
        for (place, (piece, joint)) in parts.into_iter().enumerate() {
            pieces.push(piece);
            let ends = place == last && matches!(joint, Some(Piece::Folders));
            pieces.extend(joint.filter(|_| !ends));
        }
        pieces
    })
}

proptest! {
    #[test]
    fn a_glob_means_what_is_promised(pieces in glob(), path in "[ab./-]{0,12}") {
        let text = spell(&pieces);
        // Slashes at either end have meanings of their own, see below.
        prop_assume!(!text.starts_with('/') && !text.ends_with('/') && !text.contains("//"));
        let chars: Vec<char> = path.chars().collect();
        let name: Vec<char> = path.rsplit('/').next().unwrap_or_default().chars().collect();
        let subject = if text.contains('/') { &chars } else { &name };
        prop_assert_eq!(matches(&text, &path), reference(&pieces, subject), "{} on {}", text, path);
    }

    /// Above, hardly any path has a slash where a class is.
    #[test]
    fn a_negated_class_matches_no_slash(class in r"\[![]a.-]{1,4}\]", before in "[ab]{0,2}") {
        let glob = format!("{before}{class}/x");
        prop_assume!(spellings(&glob).is_ok());
        prop_assert!(!matches(&glob, &format!("{before}//x")), "{}", class);
    }

    #[test]
    fn no_text_makes_the_compiler_panic(glob in any::<String>()) {
        let _ = spellings(&glob);
    }

    #[test]
    fn every_name_matches_itself_escaped(name in "[^/]{1,12}") {
        let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        prop_assert!(matches(&escaped, &format!("any/folder/{name}")), "{}", escaped);
    }
}

/// From <https://rclone.org/filtering/>, as far as both tools promise the same.
#[test]
fn what_rclone_users_know() {
    for (glob, path, does) in [
        ("file.jpg", "file.jpg", true),
        ("file.jpg", "directory/file.jpg", true),
        ("file.jpg", "afile.jpg", false),
        ("/file.jpg", "file.jpg", true),
        ("/file.jpg", "directory/file.jpg", false),
        ("*.jpg", "directory/file.jpg", true),
        ("*.jpg", "file.jpg/something", false),
        ("**/directory/*.jpg", "a/directory/file.jpg", true),
        ("/directory/**", "directory/sub/file.jpg", true),
        ("h?llo", "hello", true),
        ("h?llo", "hllo", false),
        ("h[ae]llo", "hallo", true),
        ("h[ae]llo", "hillo", false),
        ("{one,two}_potato", "one_potato", true),
        ("{one,two}_potato", "three_potato", false),
        ("\\*.jpg", "*.jpg", true),
        ("\\*.jpg", "a.jpg", false),
        ("dir/", "dir/sub/file", true),
    ] {
        assert_eq!(matches(glob, path), does, "{glob} on {path}");
    }
}

/// From <https://git-scm.com/docs/gitignore>, as far as both tools promise the same.
#[test]
fn what_git_users_know() {
    for (glob, path, does) in [
        ("**/foo", "foo", true),
        ("**/foo", "a/b/foo", true),
        ("**/foo/bar", "x/foo/bar", true),
        ("abc/**", "abc/x", true),
        ("abc/**", "abc", false),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "ab", false),
        ("foo/*", "foo/test.json", true),
        ("foo/*", "foo/bar/hello.c", false),
        ("doc/frotz", "doc/frotz", true),
        ("doc/frotz", "a/doc/frotz", false),
        ("frotz/", "a/frotz/file", true),
        ("frotz/", "frotz", false),
        ("\\!important", "!important", true),
        ("#file", "#file", true),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
    ] {
        assert_eq!(matches(glob, path), does, "{glob} on {path}");
    }
}

#[test]
fn names_are_bytes_and_letters_are_themselves() {
    assert!(matches("été/*.txt", "été/a.txt"));
    assert!(!matches("e\u{301}te\u{301}", "été"), "composed and decomposed are two names");
    let path = EntryPath::new(b"caf\xe9.txt".as_slice());
    assert!(spellings("caf*.txt").unwrap().iter().any(|pattern| pattern.matches(&path)));
}
