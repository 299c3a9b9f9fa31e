//! The browser interface: the files of `web/`, which are part of the program.
//!
//! The page asks for them under a folder that is named after their content, so that a browser that
//! has them does not ask again, and it names at once what its scripts import, so that nothing waits
//! for a script to be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::LazyLock,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use include_dir::{Dir, include_dir};

use super::headers;

static WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web");

/// A file with what names this content of it.
struct Asset {
    bytes: Bytes,
    etag: String,
    kind: &'static str,
}

/// The page, and what it is drawn by at first: what they import is asked for at once.
const PAGE: &str = "index.html";
const FIRST: [&str; 2] = ["app.js", "pages/home.js"];

/// All files by their paths, and the folder under which the page asks for them.
struct Interface {
    assets: BTreeMap<String, Asset>,
    folder: String,
}

static INTERFACE: LazyLock<Interface> = LazyLock::new(|| {
    let mut files = BTreeMap::new();
    gather(&WEB, &mut files);
    let mut hasher = blake3::Hasher::new();
    for (path, bytes) in &files {
        hasher.update(path.as_bytes()).update(blake3::hash(bytes).as_bytes());
    }
    let folder = format!("~{}/", &hasher.finalize().to_hex()[..16]);
    let page = files.get(PAGE).map(|page| written_out(page, &folder, &files));
    let asset = |(path, bytes): (String, &'static [u8])| {
        let bytes = match &page {
            Some(page) if path == PAGE => Bytes::from(page.clone()),
            _ => Bytes::from_static(bytes),
        };
        let etag = format!("\"{}\"", &blake3::hash(&bytes).to_hex()[..32]);
        let kind = kind(Path::new(&path));
        (path, Asset { bytes, etag, kind })
    };
    Interface { assets: files.into_iter().map(asset).collect(), folder }
});

fn gather(dir: &'static Dir<'_>, files: &mut BTreeMap<String, &'static [u8]>) {
    for file in dir.files() {
        files.insert(file.path().to_string_lossy().into_owned(), file.contents());
    }
    for dir in dir.dirs() {
        gather(dir, files);
    }
}

/// The page as it is sent: its files are asked for in `folder`, and so is what its scripts import.
fn written_out(page: &[u8], folder: &str, files: &BTreeMap<String, &'static [u8]>) -> String {
    let mut imported = BTreeSet::new();
    for path in FIRST {
        import(path, files, &mut imported);
    }
    let ahead: String = imported
        .iter()
        .map(|path| format!("<link rel=\"modulepreload\" href=\"/{path}\">\n"))
        .collect();
    String::from_utf8_lossy(page)
        .replacen("<script", &format!("{ahead}<script"), 1)
        .replace("href=\"/", &format!("href=\"/{folder}"))
        .replace("src=\"/", &format!("src=\"/{folder}"))
}

/// Adds a script and all that it imports from its first lines.
fn import(path: &str, files: &BTreeMap<String, &'static [u8]>, imported: &mut BTreeSet<String>) {
    let Some(script) = files.get(path) else { return };
    if !imported.insert(path.to_owned()) {
        return;
    }
    let script = String::from_utf8_lossy(script);
    let statements = script.lines().filter(|line| line.starts_with("import "));
    for from in statements.filter_map(|line| line.split('"').nth(1)) {
        let mut way: Vec<&str> = path.split('/').collect();
        way.pop();
        for part in from.split('/') {
            match part {
                "." => {}
                ".." => drop(way.pop()),
                part => way.push(part),
            }
        }
        import(&way.join("/"), files, imported);
    }
}

/// Browsers accept scripts and styles only under their exact types: every response says `nosniff`.
fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(std::ffi::OsStr::to_str) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest") => "application/json",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// The file that a request asks for, if there is one.
pub(super) fn file(request: &Request) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let path = request.uri().path().trim_start_matches('/');
    let (path, freshness) = match path.strip_prefix(INTERFACE.folder.as_str()) {
        Some(path) => (path, FOR_EVER),
        None => (of_whatever_version(path), ASK_AGAIN),
    };
    let path = if path.is_empty() { PAGE } else { path };
    Some(answer(INTERFACE.assets.get(path)?, freshness, request.headers()))
}

/// Another content would have another path.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Revalidated each time, which costs next to nothing unless there is a newer version.
const ASK_AGAIN: &str = "no-cache";

/// The path of a file that a page of another version asks for: it gets today's.
fn of_whatever_version(path: &str) -> &str {
    match path.split_once('/') {
        Some((folder, rest)) if folder.starts_with('~') => rest,
        _ => path,
    }
}

fn answer(asset: &'static Asset, freshness: &'static str, asked: &HeaderMap) -> Response {
    let common = [
        (header::ETAG, asset.etag.as_str()),
        (header::CACHE_CONTROL, freshness),
        (header::CONTENT_SECURITY_POLICY, headers::PAGE),
    ];
    let has_it = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == asset.etag);
    if has_it {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, asset.kind)], Body::from(asset.bytes.clone())).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_page_names_all_that_its_first_scripts_import_and_nothing_that_is_not_there() {
        let Interface { assets, folder } = &*INTERFACE;
        let page = std::str::from_utf8(&assets[PAGE].bytes).unwrap();
        let named: Vec<&str> =
            page.split('"').filter_map(|text| text.strip_prefix(&format!("/{folder}"))).collect();
        assert!(named.iter().all(|path| assets.contains_key(*path)), "{named:?}");
        for path in ["app.js", "pages/home.js", "lib/dom.js", "lib/dialog.js", "style/tokens.css"] {
            assert!(named.contains(&path), "{path} is not in {named:?}");
        }
        assert!(!named.contains(&"pages/settings.js"), "it is not needed at first");
    }
}
