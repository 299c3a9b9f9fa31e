//! Comments are at most 100 columns wide.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The most columns that a line of a comment may have.
const WIDTH: usize = 100;

/// What is not checked: steps of the schema never change once they are released, and the rest is
/// still to be wrapped. This list only shrinks.
const NOT_CHECKED: &[&str] = &[
    "src/store/migrations",
    "schema.sql",
    "src/api",
    "src/blobs",
    "src/engine",
    "src/model",
    "src/processing",
    "src/scheduler",
    "src/secrets",
    "src/sources",
    "src/store",
    "tests/api",
    "tests/engine",
    "tests/simulation",
    "tests/support",
];

#[test]
fn no_comment_is_wider_than_100_columns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("schema.sql")];
    for folder in ["src", "web", "tests", "benches", "packaging"] {
        collect(&root.join(folder), &mut files);
    }
    let is_checked = |file: &&PathBuf| {
        let path = file.strip_prefix(root).unwrap();
        !NOT_CHECKED.iter().any(|prefix| path.starts_with(prefix))
    };
    let mut too_wide = Vec::new();
    for file in files.iter().filter(is_checked) {
        let text = fs::read_to_string(file).unwrap();
        for line in wide_comments(file, &text) {
            too_wide.push(format!("{}:{line}", file.strip_prefix(root).unwrap().display()));
        }
    }
    assert!(too_wide.is_empty(), "wrap these comments:\n{}", too_wide.join("\n"));
}

#[test]
fn a_wide_comment_is_found_in_every_language() {
    let long = "x".repeat(WIDTH);
    for (file, comment) in [
        ("a.rs", "/// "),
        ("a.js", " * "),
        ("a.mjs", "  // "),
        ("a.py", "    # "),
        ("a.sql", "-- "),
        ("a.sh", "# "),
    ] {
        let text = format!("short\n{comment}short\n{comment}{long}\n{long}{long}\n");
        assert_eq!(wide_comments(Path::new(file), &text), [3], "{file}");
    }
}

/// The numbers of the lines that are comments and too wide.
fn wide_comments(file: &Path, text: &str) -> Vec<usize> {
    let marks: &[&str] = match file.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => &["//"],
        Some("js" | "mjs") => &["//", "/*", "* "],
        Some("py" | "sh") => &["#"],
        Some("sql") => &["--"],
        _ => return Vec::new(),
    };
    let is_comment = |line: &str| {
        let line = line.trim();
        // A type in front of code, as in `/** @type {Row} */ (row)`, is not what is wide.
        let has_code = line.split_once("*/").is_some_and(|(_, code)| !code.is_empty());
        marks.iter().any(|mark| line.starts_with(mark)) && !has_code
    };
    let is_wide = |line: &str| line.chars().count() > WIDTH;
    let lines = text.lines().enumerate();
    lines.filter(|(_, line)| is_comment(line) && is_wide(line)).map(|(at, _)| at + 1).collect()
}

/// The source files below a folder, without what tools put there.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let is_ours = !["node_modules", "target", ".venv", "__pycache__"]
                .iter()
                .any(|name| path.ends_with(name));
            if is_ours {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| {
            ["rs", "js", "mjs", "py", "sh", "sql"].iter().any(|known| extension == *known)
        }) {
            files.push(path);
        }
    }
}
