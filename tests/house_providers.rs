//! A provider is one folder: what is outside `src/sources` treats every provider alike.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use catchment::sources;

/// Folders in `src/sources` that all providers share.
const SHARED: [&str; 5] = ["http", "kept", "oauth", "provider", "web"];

fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The Rust files below a folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines of a file that are part of the program, with their numbers: neither tests nor
/// comments.
fn program(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    (1..).zip(lines).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The provider that a line compares something with, if it does.
fn compared<'a>(line: &str, names: &[&'a str]) -> Option<&'a str> {
    let compares = ["=>", "==", "!=", "<>", " = '", "| \"", "matches!", " IN ("]
        .iter()
        .any(|sign| line.contains(sign));
    let names_it =
        |name: &&str| [format!("\"{name}\""), format!("'{name}'")].iter().any(|n| line.contains(n));
    names.iter().copied().find(|name| compares && names_it(name))
}

#[test]
fn nothing_outside_the_sources_names_a_provider_in_a_match_or_comparison() {
    let names: Vec<&str> = sources::providers().map(|provider| provider.name()).collect();
    let sources = source_dir().join("sources");
    let modules: Vec<String> = fs::read_dir(&sources)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|folder| !SHARED.contains(&folder.as_str()))
        .collect();
    let mut files = Vec::new();
    rust_files(&source_dir(), &mut files);
    let mut found = Vec::new();
    for path in files.iter().filter(|path| !path.starts_with(&sources)) {
        if path.file_stem().unwrap().to_str().unwrap().ends_with("tests") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for (number, line) in program(&text) {
            let module = modules.iter().find(|module| line.contains(&format!("sources::{module}")));
            let named = compared(line, &names).map(str::to_owned).or(module.cloned());
            if let Some(name) = named {
                found.push(format!("{}:{number} names {name}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "what is known of a provider belongs into its folder:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_check_sees_matches_comparisons_and_sql_and_no_other_mention() {
    let names = ["s3", "local"];
    for line in [
        "        \"s3\" | \"tigris\" => true,",
        "if provider == \"local\" {",
        "WHERE c.provider = 'local' AND s.is_active",
        "WHERE provider IN ('s3', 'tigris')",
    ] {
        assert!(compared(line, &names).is_some(), "{line}");
    }
    assert_eq!(compared("let greeting = \"local\";", &names), None);
    let text = "let a = 1;\n// provider == \"s3\"\n#[cfg(test)]\nassert!(x == \"s3\");\n";
    assert_eq!(program(text).map(|(_, line)| line).collect::<Vec<_>>(), ["let a = 1;"]);
}
