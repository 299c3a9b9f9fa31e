//! The house rules that a compiler does not check: the files of a folder of `src` import each other
//! in one direction, and comments are at most 100 columns wide. What a folder's `mod.rs` defines,
//! all of its files share.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Folders that still import in a circle, each with the files that do. This list only shrinks.
const CIRCLES_TO_REMOVE: &[(&str, &[&str])] =
    &[("processing/extract", &["builtin", "child", "confine", "gather", "process"])];

#[test]
fn no_folder_imports_in_a_circle() {
    let modules = Modules::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let mut found = Vec::new();
    for folder in modules.folders() {
        let name = folder.join("/");
        let allowed = CIRCLES_TO_REMOVE.iter().find(|(folder, _)| *folder == name);
        let allowed = allowed.map_or(&[] as &[&str], |(_, files)| files);
        for circle in circles(&modules.imports_within(&folder)) {
            if circle.iter().any(|file| !allowed.contains(&file.as_str())) {
                found.push(format!("src/{name}: {}", circle.join(", ")));
            }
        }
    }
    assert!(found.is_empty(), "these files import each other in a circle:\n{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_through_nested_use_trees_inline_paths_and_re_exports() {
    let modules = Modules::of(&[
        ("", "mod a; mod b; mod c; mod d;"),
        ("a", "pub use b::Thing; mod b; mod c; mod d; pub struct Door;"),
        ("a/b", "use super::{c::{self, Other}, Door};\npub struct Thing;"),
        ("a/c", "// use super::d;\nfn f() { crate::a::d::g(\"super::b\") }"),
        ("a/d", "use super::Thing;"),
        ("b", "use crate::a::Thing;"),
        ("c", ""),
        ("d", ""),
    ]);
    let within = modules.imports_within(&["a".to_owned()]);
    assert_eq!(circles(&within), [["b", "c", "d"]]);
    assert!(circles(&modules.imports_within(&[])).is_empty());
}

/// Which files of a folder import which.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The files that import each other in a circle, group by group.
fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reachable = |from: &String| {
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            for to in imports.get(file).into_iter().flatten() {
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|file| (file, reachable(file))).collect();
    let mut groups: Vec<Vec<String>> = Vec::new();
    for (file, reached) in &all {
        if !reached.contains(file) || groups.iter().any(|group| group.contains(file)) {
            continue;
        }
        let is_mutual = |other: &&&String| all.get(**other).is_some_and(|back| back.contains(file));
        groups.push(reached.iter().filter(is_mutual).map(|file| (*file).clone()).collect());
    }
    groups
}

/// A module, by its path from the crate.
type ModulePath = Vec<String>;

/// The modules of the crate with their code, stripped of comments, strings and tests.
struct Modules(BTreeMap<ModulePath, String>);

impl Modules {
    fn read(src: PathBuf) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![src.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !is_of_tests(&path)
                {
                    files.push(path);
                }
            }
        }
        let module = |file: &PathBuf| {
            let name = file.strip_prefix(&src).unwrap().with_extension("");
            let name = name.to_str().unwrap();
            let name = name.strip_suffix("mod").map_or(name, |folder| folder.trim_end_matches('/'));
            (path_of(if name == "lib" { "" } else { name }), fs::read_to_string(file).unwrap())
        };
        Self(files.iter().map(module).map(|(path, code)| (path, strip(&code))).collect())
    }

    fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, code)| (path_of(path), strip(code))).collect())
    }

    /// Every module that has modules in files of their own.
    fn folders(&self) -> BTreeSet<ModulePath> {
        self.0.keys().filter_map(|path| Some(path.split_last()?.1.to_vec())).collect()
    }

    /// Which files of a folder import which; a folder in it counts as one file.
    fn imports_within(&self, folder: &[String]) -> Imports {
        let mut imports = Imports::new();
        for (module, code) in &self.0 {
            let Some(file) = file_within(folder, module) else { continue };
            for path in paths(code) {
                let Some(target) = self.resolve(module, &path, 0) else { continue };
                let Some(to) = file_within(folder, &target) else { continue };
                let edges = imports.entry(file.clone()).or_default();
                if to != file {
                    edges.insert(to);
                }
            }
        }
        imports
    }

    /// The module in which the last name of a path is defined, following re-exports.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<ModulePath> {
        let (mut module, mut rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (from.to_vec(), &path[1..]),
            "super" => (from.split_last()?.1.to_vec(), &path[1..]),
            child => {
                self.0.get(&joined(from, child))?;
                (from.to_vec(), path)
            }
        };
        while let Some((name, behind)) = rest.split_first() {
            if name == "super" {
                module.pop();
            } else if self.0.contains_key(&joined(&module, name)) {
                module.push(name.clone());
            } else {
                break;
            }
            rest = behind;
        }
        let Some(name) = rest.first() else { return Some(module) };
        let code = self.0.get(&module)?;
        let exported = re_exports(code).into_iter().find(|path| path.last() == Some(name));
        match exported {
            Some(path) if depth < 8 => self.resolve(&module, &path, depth + 1).or(Some(module)),
            _ => Some(module),
        }
    }
}

/// Whether a file holds the tests of a module, which may import whatever they test with.
fn is_of_tests(file: &Path) -> bool {
    file.file_stem().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with("tests"))
}

fn joined(path: &[String], name: &str) -> ModulePath {
    let mut path = path.to_vec();
    path.push(name.to_owned());
    path
}

fn path_of(name: &str) -> ModulePath {
    name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Which file, or folder, of a folder a module belongs to; `None` for its `mod.rs` as well.
fn file_within(folder: &[String], module: &[String]) -> Option<String> {
    module.strip_prefix(folder)?.first().cloned()
}

/// Code without comments, string literals and the tests at its end.
fn strip(code: &str) -> String {
    let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut stripped = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(['/', '"']) {
        stripped.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some(behind) = rest.strip_prefix('"') {
            rest = behind;
            while let Some(at) = rest.find(['\\', '"']) {
                let is_end = rest[at..].starts_with('"');
                rest = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or("");
                if is_end {
                    break;
                }
            }
        } else {
            stripped.push('/');
            rest = &rest[1..];
        }
    }
    stripped + rest
}

/// Every path that code imports or names. Re-exports are not imports: a door lists its rooms.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut others = String::new();
    for statement in code.split_inclusive(';') {
        match use_tree(statement) {
            Some((_, true)) => {}
            Some((tree, false)) => expand(tree, &[], &mut paths),
            None => others.push_str(statement),
        }
    }
    let is_in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for path in others.split(|c: char| !is_in_path(c)).filter(|path| path.contains("::")) {
        paths.push(path.split("::").map(str::to_owned).collect());
    }
    paths
}

/// The paths that code re-exports.
fn re_exports(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for statement in code.split_inclusive(';') {
        if let Some((tree, true)) = use_tree(statement) {
            expand(tree, &[], &mut paths);
        }
    }
    paths
}

/// The tree of a `use` statement, and whether it re-exports.
fn use_tree(statement: &str) -> Option<(&str, bool)> {
    let at = statement.rfind("use ").filter(|at| {
        let before = statement[..*at].trim_end_matches(' ');
        before.is_empty() || before.ends_with(['\n', ')', ']', '{', '}']) || before.ends_with("pub")
    })?;
    let before = statement[..at].trim_end();
    let is_public = before.ends_with("pub") || (before.ends_with(')') && before.contains("pub("));
    Some((statement[at + 4..].trim().trim_end_matches(';'), is_public))
}

fn expand(tree: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap();
        let mut path = prefix.to_vec();
        path.extend(name.split("::").map(|part| part.trim().to_owned()));
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        return paths.push(path);
    };
    let mut prefix = prefix.to_vec();
    prefix.extend(
        tree[..open].split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned),
    );
    let inner = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0, 0);
    let whole = &tree[open + 1..open + 1 + inner.len() + closing(&tree[open + 1..], inner.len())];
    for (at, c) in whole.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand_part(&whole[start..at], &prefix, paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand_part(&whole[start..], &prefix, paths);
}

fn expand_part(part: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    if !part.trim().is_empty() {
        expand(part, prefix, paths);
    }
}

/// How many of the braces that were trimmed belong to what is inside the outermost pair.
fn closing(rest: &str, len: usize) -> usize {
    rest[len..].matches('}').count().saturating_sub(1)
}

/// The most columns that a line of a comment may have.
const WIDTH: usize = 100;

/// What is not checked: steps of the schema never change once they are released, and the rest is
/// still to be wrapped. This list only shrinks.
const NOT_CHECKED: &[&str] = &["src/store/migrations"];

#[test]
fn no_comment_is_wider_than_100_columns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("schema.sql")];
    for folder in ["src", "web", "tests", "benches", "packaging"] {
        source_files(&root.join(folder), &mut files);
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
    // An address cannot be wrapped.
    let is_address = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        matches!(words[..], [word] if word.contains("<https://"))
    };
    let is_wide = |line: &str| line.chars().count() > WIDTH && !is_address(line);
    let lines = text.lines().enumerate();
    lines.filter(|(_, line)| is_comment(line) && is_wide(line)).map(|(at, _)| at + 1).collect()
}

/// The source files below a folder, without what tools put there.
fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let is_ours = !["node_modules", "target", ".venv", "__pycache__"]
                .iter()
                .any(|name| path.ends_with(name));
            if is_ours {
                source_files(&path, files);
            }
        } else if path.extension().is_some_and(|extension| {
            ["rs", "js", "mjs", "py", "sh", "sql"].iter().any(|known| extension == *known)
        }) {
            files.push(path);
        }
    }
}
