//! The bytes of blobs, and signed links to them.

use serde_json::{Value, json};

use crate::{buckets::bucket, server::Server, support::content::pattern};

fn with_blob(server: &Server, data: Value) -> (String, Value) {
    let bucket = bucket(server, "b");
    let blob = json!({"property": "content", "type": "text", "data": data});
    let object = server.post(&format!("{bucket}/objects"), &json!({"blobs": [blob]})).is(200);
    let id = object["object_id"].as_str().unwrap();
    let blob = object["blobs"][0]["blob_id"].as_str().unwrap();
    (format!("{bucket}/objects/{id}/blobs/{blob}/content"), object)
}

fn base64(bytes: &[u8], mime: &str) -> Value {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    json!({"base64": BASE64_STANDARD.encode(bytes), "mime_type": mime, "filename": "a.bin"})
}

#[test]
fn bytes_come_as_they_went_whole_and_in_part() {
    let server = Server::start();
    // Beyond what lives in the database, and beyond what is read at once.
    let bytes = pattern(1, 700_000);
    let (path, object) = with_blob(&server, base64(&bytes, "application/octet-stream"));
    let whole = server.get(&path);
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    assert_eq!(whole.header("content-length"), Some("700000"));
    let hash =
        object["blobs"][0]["details"]["hash"].as_str().unwrap().trim_start_matches("blake3:");
    assert_eq!(whole.header("etag"), Some(format!("\"{hash}\"").as_str()));
    let part = server.request("GET", &path).header("Range", "bytes=300000-300009").send();
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[300_000..300_010]));
    assert_eq!(part.header("content-range"), Some("bytes 300000-300009/700000"));
    let end = server.request("GET", &path).header("Range", "bytes=-5").send();
    assert_eq!(end.body, bytes[699_995..]);
    let behind = server.request("GET", &path).header("Range", "bytes=700000-").send();
    behind.fails_with(416);
    assert_eq!(behind.header("content-range"), Some("bytes */700000"));
    let head = server.request("HEAD", &path).send();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("700000"));
    let known = server.request("GET", &path).header("If-None-Match", &format!("\"{hash}\"")).send();
    assert_eq!((known.status, known.body.len()), (304, 0));
    let since = whole.header("last-modified").unwrap();
    assert_eq!(server.request("GET", &path).header("If-Modified-Since", since).send().status, 304);
}

#[test]
fn what_a_browser_would_run_is_handed_over_as_a_file_in_a_sandbox() {
    let server = Server::start();
    let (path, _) = with_blob(&server, base64(b"<script>alert(1)</script>", "text/html"));
    let page = server.get(&path);
    assert!(page.header("content-disposition").unwrap().starts_with("attachment"));
    assert!(page.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_signed_link_needs_no_token_and_admits_to_nothing_else() {
    let server = Server::start();
    let (path, object) = with_blob(&server, json!("secret"));
    server.request("GET", &path).without_token().send().fails_with(401);
    let shown = server.get(&format!(
        "/v1/buckets/b/objects/{}?return_presigned_urls=true",
        object["object_id"].as_str().unwrap()
    ));
    let link = shown.is(200)["blobs"][0]["presigned_url"].as_str().unwrap().to_owned();
    let target = link.strip_prefix(&format!("http://{}", server.address)).unwrap();
    let open = |method: &str, target: &str| server.request(method, target).without_token().send();
    assert_eq!(open("GET", target).text(), "secret");
    assert_eq!(open("HEAD", target).status, 200);
    open("DELETE", target).fails_with(401);
    open("GET", &target.replace("expires=", "expires=9")).fails_with(401);
    open("GET", &target.replace("/content", "")).fails_with(401);
    let key = server.home.data_dir().join("links.key");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
