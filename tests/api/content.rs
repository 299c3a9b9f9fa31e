//! The bytes of blobs, and signed links to them.

use serde_json::{Value, json};

use crate::{
    buckets::bucket,
    server::{Answer, Server},
    support::{catchment::Catchment, content::pattern},
};

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

/// The links of every object of a list, as their paths on the server.
fn links(answer: &Answer, server: &Server) -> Vec<String> {
    let of_server = format!("http://{}", server.address);
    let link = |object: &Value| {
        let link = object["blobs"][0]["presigned_url"].as_str().expect("a link").to_owned();
        link.strip_prefix(&of_server).expect("a link to this server").to_owned()
    };
    answer.is(200)["results"].as_array().unwrap().iter().map(link).collect()
}

#[test]
fn a_list_gives_a_working_link_to_each_object_if_it_is_asked_to() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    for text in ["one", "two"] {
        let blob = json!({"property": "content", "type": "text", "data": text});
        server.post(&format!("{bucket}/objects"), &json!({"blobs": [blob]})).is(200);
    }
    let list = |body: Value| server.post(&format!("{bucket}/objects/list"), &body);
    let plain = list(json!({})).is(200);
    assert_eq!(plain["results"][0]["blobs"][0]["presigned_url"], Value::Null);
    let links = links(&list(json!({"return_presigned_urls": true})), &server);
    let read = |link: &String| server.request("GET", link).without_token().send().text();
    assert_eq!(links.iter().map(read).collect::<Vec<_>>(), ["two", "one"]);
}

#[test]
fn a_signed_link_ends_after_an_hour() {
    let home = Catchment::new();
    let server = Server::on(&home);
    let (path, _) = with_blob(&server, json!("soon gone"));
    let list = path.split("/obj_").next().unwrap().to_owned() + "/list";
    let link = links(&server.post(&list, &json!({"return_presigned_urls": true})), &server);
    server.stop();
    let ask = |clock: &str| {
        let later = Server::on(&home.under_clock(clock));
        later.request("GET", &link[0]).without_token().send()
    };
    assert_eq!(ask("+59m").text(), "soon gone");
    let ended = ask("+61m").fails_with(401);
    assert_eq!(ended["code"], "link_expired", "{ended}");
    assert!(ended["message"].as_str().unwrap().contains("ask for a new one"), "{ended}");
}

#[test]
fn a_signed_link_ends_with_the_token_that_it_was_made_under() {
    let server = Server::start();
    let (path, _) = with_blob(&server, json!("shown"));
    let list = path.split("/obj_").next().unwrap().to_owned() + "/list";
    let link = links(&server.post(&list, &json!({"return_presigned_urls": true})), &server);
    let open = || server.request("GET", &link[0]).without_token().send();
    assert_eq!(open().text(), "shown");

    server.home.run(&["token", "--rotate"]).exits(0);

    open().fails_with(401);
}

#[test]
fn damaged_bytes_are_an_error_that_names_the_object_or_end_before_their_last() {
    let server = Server::start();
    let bytes = pattern(1, 3_000_000);
    let (path, object) = with_blob(&server, base64(&bytes, "application/octet-stream"));
    let hash = object["blobs"][0]["details"]["hash"].as_str().unwrap();
    let hex = hash.trim_start_matches("blake3:");
    let file = server.home.data_dir().join("blobs").join(&hex[..2]).join(hex);
    let mut flipped = bytes.clone();
    flipped[2_999_999] ^= 1;
    std::fs::write(&file, &flipped).unwrap();
    let mut stream = server.request("GET", &path).header("Connection", "close").open();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.len() - body < bytes.len(), "the last bytes do not come");

    std::fs::write(&file, &bytes[..1000]).unwrap();
    let refused = server.get(&path).fails_with(500);
    let id = object["object_id"].as_str().unwrap();
    assert_eq!(refused["type"], "blob_damaged");
    assert!(refused["message"].as_str().unwrap().contains(id), "{refused}");
}

#[test]
fn a_range_is_right_or_an_error_that_names_the_object() {
    const PART: usize = 8 << 20;
    let home = Catchment::new();
    let bytes = pattern(1, 2 * PART + 5);
    home.write_home("tree/large", &bytes);
    let source = home.home().join("tree");
    home.sync(&source).exits(0);
    let server = Server::on(&home);
    let objects = server.post("/v1/buckets/tree/objects/list", &json!({})).is(200);
    let object = &objects["results"][0];
    let id = object["object_id"].as_str().unwrap();
    let path = format!("/v1/buckets/tree/objects/{id}/blobs/content/content");
    let hash = object["blobs"][0]["details"]["hash"].as_str().unwrap();
    let hex = hash.trim_start_matches("blake3:");
    let file = home.data_dir().join("blobs").join(&hex[..2]).join(hex);
    let ask = |range: &str| server.request("GET", &path).header("Range", range).send();
    let mut flipped = bytes.clone();
    flipped[PART + 20] ^= 1;
    std::fs::write(&file, &flipped).unwrap();

    let right = ask("bytes=100-299");
    assert_eq!((right.status, right.body.as_slice()), (206, &bytes[100..300]));
    for range in ["bytes=8388620-8388640", "bytes=8389000-8389009"] {
        let refused = ask(range).fails_with(500);
        assert_eq!(refused["type"], "blob_damaged");
        assert!(refused["message"].as_str().unwrap().contains(id), "{refused}");
    }
    std::fs::write(&file, &bytes[..2 * PART]).unwrap();
    assert_eq!(ask("bytes=100-299").fails_with(500)["type"], "blob_damaged");

    home.sync(&source).exits(0);
    assert_eq!(ask("bytes=8388620-8388640").body, bytes[8_388_620..8_388_641]);
}

#[test]
fn a_type_that_is_none_is_handed_over_as_bytes_in_a_sandbox() {
    let server = Server::start();
    let hostile = [
        "application/pdf;a=b, text/html",
        "text/plain, text/html",
        "image/png;charset=utf-8\u{e9}",
        "text/html;",
        "nonsense",
        "image/*",
    ];
    for (number, mime) in hostile.iter().enumerate() {
        let bucket = bucket(&server, &format!("b{number}"));
        let data = base64(b"<script>alert(1)</script>", mime);
        let blob = json!({"property": "content", "type": "text", "data": data});
        let made = server.post(&format!("{bucket}/objects"), &json!({"blobs": [blob]}));
        if made.status == 422 {
            continue; // refused at the door is as good
        }
        let id = made.is(200)["object_id"].as_str().unwrap().to_owned();
        let answer = server.get(&format!("{bucket}/objects/{id}/blobs/content/content"));
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"), "{mime}");
        assert!(answer.header("content-disposition").unwrap().starts_with("attachment"), "{mime}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("sandbox") && policy.contains("form-action 'none'"), "{policy}");
    }
}
