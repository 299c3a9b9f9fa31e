//! The browser interface: the files of `web/`, which are part of the program.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use include_dir::{Dir, include_dir};

use super::access::headers;

static WEB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web");

/// A file with what names this content of it.
struct Asset {
    bytes: &'static [u8],
    etag: String,
    kind: &'static str,
}

static ASSETS: LazyLock<HashMap<String, Asset>> = LazyLock::new(|| {
    let mut assets = HashMap::new();
    gather(&WEB, &mut assets);
    assets
});

fn gather(dir: &'static Dir<'_>, assets: &mut HashMap<String, Asset>) {
    for file in dir.files() {
        let (path, bytes) = (file.path(), file.contents());
        let etag = format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32]);
        assets.insert(path.to_string_lossy().into_owned(), Asset { bytes, etag, kind: kind(path) });
    }
    for dir in dir.dirs() {
        gather(dir, assets);
    }
}

/// Scripts and styles are only taken under their exact types, as `nosniff` is on every answer.
fn kind(path: &std::path::Path) -> &'static str {
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
    let path = match request.uri().path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    Some(answer(ASSETS.get(path)?, request.headers()))
}

fn answer(asset: &'static Asset, asked: &HeaderMap) -> Response {
    // Asked again each time, answered with next to nothing unless there is a newer version.
    let common = [
        (header::ETAG, asset.etag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
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
    (common, [(header::CONTENT_TYPE, asset.kind)], Body::from(asset.bytes)).into_response()
}
