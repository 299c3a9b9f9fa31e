//! `/v1/buckets/{bucket}/uploads`.

use serde_json::{Value, json};

use crate::{
    buckets::bucket,
    objects::files,
    server::{Answer, Server},
    support::content::pattern,
};

fn announce(server: &Server, bucket: &str, body: Value) -> Value {
    server.post(&format!("{bucket}/uploads"), &body).is(200)
}

fn put(server: &Server, upload: &Value, bytes: &[u8]) -> Answer {
    let link = upload["presigned_url"].as_str().unwrap();
    let target = link.strip_prefix(&format!("http://{}", server.address)).unwrap();
    server
        .request("PUT", target)
        .without_token()
        .header("Content-Type", "video/mp4")
        .body(bytes)
        .send()
}

fn confirm(server: &Server, bucket: &str, upload: &Value, body: Value) -> Answer {
    let id = upload["upload_id"].as_str().unwrap();
    server.post(&format!("{bucket}/uploads/{id}/confirm"), &body)
}

#[test]
fn bytes_that_are_uploaded_become_an_object_when_they_are_confirmed() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let bytes = pattern(2, 300_000);
    let upload = announce(
        &server,
        &bucket,
        json!({"filename": "clip.mp4", "content_type": "video/mp4",
        "file_size_bytes": bytes.len(), "object_metadata": {"stars": 5}}),
    );
    assert_eq!(upload["status"], "PENDING");
    assert_eq!(confirm(&server, &bucket, &upload, json!({})).fails_with(409)["code"], "no_bytes");
    let sent = put(&server, &upload, &bytes);
    assert_eq!(sent.status, 200, "{sent}");
    let etag = sent.header("etag").unwrap();
    confirm(&server, &bucket, &upload, json!({"etag": "\"nope\""})).blames("etag");
    confirm(&server, &bucket, &upload, json!({"file_size_bytes": 3})).blames("file_size_bytes");
    let confirmed =
        confirm(&server, &bucket, &upload, json!({"etag": etag, "file_size_bytes": bytes.len()}))
            .is(200);
    assert_eq!(confirmed["status"], "COMPLETED");
    let object = server
        .get(&format!("{bucket}/objects/{}", confirmed["object_id"].as_str().unwrap()))
        .is(200);
    assert_eq!((&object["key_prefix"], &object["stars"]), (&json!("clip.mp4"), &json!(5)));
    let blob = &object["blobs"][0];
    assert_eq!((&blob["property"], &blob["type"]), (&json!("clip"), &json!("video")));
    let url = blob["properties"]["url"].as_str().unwrap();
    let content = server.get(url.strip_prefix(&format!("http://{}", server.address)).unwrap());
    assert_eq!(content.body, bytes);
    let again = confirm(&server, &bucket, &upload, json!({})).is(200);
    assert_eq!(again["object_id"], confirmed["object_id"]);
    let hash = confirmed["file_hash"].as_str().unwrap();
    let twin = announce(
        &server,
        &bucket,
        json!({"filename": "x.mp4", "content_type": "video/mp4", "file_hash": hash}),
    );
    assert_eq!((&twin["is_duplicate"], &twin["presigned_url"]), (&json!(true), &Value::Null));
}

#[test]
fn several_uploads_become_one_object() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let request = |name: &str| json!({"filename": name, "content_type": "text/plain", "create_object_on_confirm": false});
    let batch =
        json!({"uploads": [request("a.txt"), request("b.txt")], "shared_metadata": {"run": "7"}});
    let uploads =
        server.post(&format!("{bucket}/uploads/batch"), &batch).is(200)["uploads"].clone();
    for (index, upload) in uploads.as_array().unwrap().iter().enumerate() {
        assert_eq!(put(&server, upload, &[b'0' + index as u8; 3]).status, 200);
    }
    let (a, b) = (&uploads[0]["upload_id"], &uploads[1]["upload_id"]);
    let blob =
        |property: &str, id: &Value| json!({"property": property, "type": "text", "upload_id": id});
    let body = json!({"blobs": [blob("a", a), blob("b", b)]});
    server.post(&format!("{bucket}/objects"), &body).blames("blobs[0].upload_id");
    let confirmed = server
        .post(
            &format!("{bucket}/uploads/confirm/batch"),
            &json!({"confirmations": [{"upload_id": a}, {"upload_id": b}, {"upload_id": "upl_x"}]}),
        )
        .is(200);
    assert_eq!(confirmed["status"], "COMPLETED_WITH_ERRORS");
    let object = server.post(&format!("{bucket}/objects"), &body).is(200);
    assert_eq!(object["blobs"].as_array().unwrap().len(), 2);
    assert_eq!(server.get(&bucket).is(200)["total_size_bytes"], 6);
    let list = |body: Value| server.post(&format!("{bucket}/uploads/list"), &body).is(200);
    assert_eq!(
        list(json!({"filters": {"metadata.run": "7", "status": "COMPLETED"}}))["stats"]["total_uploads"],
        2
    );
    assert_eq!(list(json!({"search": "B.TX"}))["results"][0]["filename"], "b.txt");
    let sort = json!({"field": "filename", "direction": "asc"});
    assert_eq!(list(json!({"sort": sort, "limit": 1}))["results"][0]["filename"], "a.txt");
}

#[test]
fn bytes_of_an_upload_that_is_cancelled_are_collected() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let upload =
        announce(&server, &bucket, json!({"filename": "a.bin", "content_type": "application/x"}));
    assert_eq!(put(&server, &upload, &pattern(3, 100_000)).status, 200);
    let path = format!("{bucket}/uploads/{}", upload["upload_id"].as_str().unwrap());
    assert_eq!(server.get(&path).is(200)["status"], "IN_PROGRESS");
    assert_eq!(server.delete(&path).status, 204);
    server.get(&path).fails_with(404);
    put(&server, &upload, b"late").fails_with(404);
    let home = server.home.clone();
    server.stop();
    home.run(&["gc"]).exits(0);
    assert_eq!(files(&home.data_dir().join("blobs")), 0, "files are left");
}

#[test]
fn bytes_that_are_not_what_was_announced_are_refused() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let request = |more: Value| {
        let mut body = json!({"filename": "a.bin", "content_type": "application/x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        announce(&server, &bucket, body)
    };
    assert_eq!(
        put(&server, &request(json!({"file_size_bytes": 4})), b"abc").fails_with(400)["code"],
        "wrong_size"
    );
    put(&server, &request(json!({"file_size_bytes": 70_000})), &pattern(4, 80_000)).fails_with(413);
    let hash = json!({"file_hash": "0".repeat(64)});
    assert_eq!(put(&server, &request(hash), b"abc").fails_with(400)["code"], "wrong_hash");
    let wrong = json!({"filename": "../a", "content_type": "nonsense"});
    server.post(&format!("{bucket}/uploads"), &wrong).blames("filename");
}
