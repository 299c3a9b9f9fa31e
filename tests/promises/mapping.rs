//! Mappings: what becomes of tags, metadata, names and URLs, at what cost in requests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{
    catchment::{Catchment, Run},
    fake_s3::{BUCKET, FakeS3, Kind, Object},
    peers::{self, Peer},
    wire::{Answer, Wire},
};

const SOURCE: &str = "s3://catchment-test";

fn sync(catchment: &Catchment, source: &str, mappings: &Value) -> Run {
    let file = catchment.write_home("mapping.json", json!({"mappings": mappings}).to_string());
    catchment.sync_with(source, &["--mapping", file.to_str().unwrap()])
}

fn fields(catchment: &Catchment, bucket: &str) -> BTreeMap<String, Value> {
    let objects = catchment.objects(bucket).into_iter();
    objects.map(|(path, listed)| (String::from_utf8(path).unwrap(), listed.fields)).collect()
}

fn database(catchment: &Catchment) -> rusqlite::Connection {
    rusqlite::Connection::open(catchment.data_dir().join("catchment.db")).unwrap()
}

/// Property, type, MIME type and bytes of a blob.
type Blob = (String, Option<String>, Option<String>, Option<Vec<u8>>);

/// The blobs of the bucket, by object and property.
fn blobs(catchment: &Catchment) -> Vec<Blob> {
    let db = database(catchment);
    let mut statement = db
        .prepare(
            "SELECT property, type, ob.mime, bytes FROM object_blobs ob
             JOIN objects USING (object_key) LEFT JOIN blob_bytes USING (blob_key)
             ORDER BY path, property",
        )
        .unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

/// Gives the only bucket a schema, as somebody would through the API.
fn set_schema(catchment: &Catchment, properties: &Value) {
    let settings = json!({"bucket_schema": {"properties": properties}}).to_string();
    database(catchment).execute("UPDATE buckets SET settings = ?1", [settings]).unwrap();
}

#[test]
fn a_mapping_of_names_and_metadata_costs_no_request_and_one_of_tags_costs_one_an_object() {
    let s3 = FakeS3::start();
    for number in 0..20 {
        let object = Object::new(number.to_string()).metadata("n", "1").tag("k", "v");
        s3.put_object(format!("folder/{number}.txt"), object);
    }
    let free = json!({
        "n": {"source": {"type": "metadata", "key": "N"}},
        "folder": {"source": {"type": "folder_path"}},
        "number": {"source": {"type": "filename_regex", "pattern": "^(\\d+)"}},
        "always": {"source": {"type": "constant", "value": true}},
    });
    let catchment = Catchment::reaching(&s3.endpoint());
    sync(&catchment, SOURCE, &free).exits(0);
    let costs = || (s3.count(Kind::Get), s3.count(Kind::Head), s3.count(Kind::Tags));
    assert_eq!(costs(), (20, 0, 0));
    let seven = fields(&catchment, BUCKET).remove("folder/7.txt").unwrap();
    assert_eq!(seven, json!({"n": "1", "folder": "folder", "number": "7", "always": true}));

    s3.forget_requests();
    let other = Catchment::reaching(&s3.endpoint());
    let tags = json!({
        "k": {"source": {"type": "tag", "key": "k"}, "transform": "uppercase"},
        "again": {"source": {"type": "tag", "key": "k"}},
    });
    sync(&other, SOURCE, &tags).exits(0);
    assert_eq!(costs(), (20, 0, 20));
    assert!(
        fields(&other, BUCKET).values().all(|fields| *fields == json!({"k": "V", "again": "v"}))
    );

    s3.forget_requests();
    let again = sync(&other, SOURCE, &tags).exits(0).summary();
    assert_eq!((again.unchanged, s3.requests().len()), (20, 1), "one listing");
}

#[test]
fn fields_hold_the_tags_and_metadata_that_boto3_wrote() {
    let server = Peer::seaweedfs();
    // What is not ASCII is written as S3 hands it out, for boto3 writes nothing else.
    let metadata = json!({"Author": "Ada", "rating": "7.50", "town": "=?UTF-8?B?R8O2dGVib3Jn?="});
    let answers = server.prepare(&[
        json!({"do": "put", "key": "été/日本 ü.txt", "content": "eA==", "metadata": metadata,
               "tagging": "Projekt=blau%20%26%20gr%C3%BCn&leer="}),
    ]);
    assert!(answers[0]["error"].is_null(), "{answers:?}");
    let catchment = Catchment::reaching(server.endpoint());
    let mapping = json!({
        "author": {"source": {"type": "metadata", "key": "AUTHOR"}},
        "rating": {"source": {"type": "metadata", "key": "rating"}},
        "town": {"source": {"type": "metadata", "key": "town"}, "transform": "uppercase"},
        "project": {"source": {"type": "tag", "key": "Projekt"}, "required": true},
        "way": {"source": {"type": "folder_path", "full_path": true}},
        "kind": {"source": {"type": "constant", "value": "résumé"}},
        "empty": {"source": {"type": "tag", "key": "leer"}},
        "place": {"source": {"type": "folder_path", "segment": 0}},
        "name": {"source": {"type": "filename_regex", "pattern": "^(\\S+)"}},
    });

    sync(&catchment, &format!("s3://{}", peers::BUCKET), &mapping).exits(0);

    let fields = fields(&catchment, peers::BUCKET).remove("été/日本 ü.txt").unwrap();
    assert_eq!(
        fields,
        json!({"author": "Ada", "rating": "7.50", "project": "blau & grün", "empty": "",
               "place": "été", "name": "日本", "town": "GÖTEBORG", "way": "été", "kind": "résumé"})
    );
}

#[test]
fn an_entry_without_what_is_required_fails_alone_and_says_what_to_do() {
    let s3 = FakeS3::start();
    s3.put_object("good", Object::new("1").tag("owner", "Ada"));
    s3.put_object("bad", Object::new("2"));
    let catchment = Catchment::reaching(&s3.endpoint());
    let mapping = json!({"owner": {"source": {"type": "tag", "key": "owner"}, "required": true}});

    sync(&catchment, SOURCE, &mapping).exits(3).says(&["bad", "owner", "required"]);

    let status = catchment.run(&["status", "--json"]).exits(0).stdout();
    assert!(status.contains("schema_mismatch"), "{status}");
    assert_eq!(fields(&catchment, BUCKET), [("good".into(), json!({"owner": "Ada"}))].into());
}

#[test]
fn values_become_what_the_buckets_schema_wants_or_the_entry_fails() {
    let s3 = FakeS3::start();
    let object = |n: &str, at: &str| Object::new(n).metadata("n", n).metadata("at", at);
    s3.put_object("fits", object("12", "2026-01-31T12:00:00+02:00"));
    s3.put_object("many", object("dozens", "2026-01-31"));
    let catchment = Catchment::reaching(&s3.endpoint());
    let mapping = json!({
        "n": {"source": {"type": "metadata", "key": "n"}},
        "at": {"source": {"type": "metadata", "key": "at"}},
    });
    sync(&catchment, SOURCE, &mapping).exits(0);
    set_schema(
        &catchment,
        &json!({
            "n": {"type": "integer"}, "at": {"type": "datetime"},
            "state": {"type": "string", "default": "new"},
        }),
    );
    s3.forget_requests();

    sync(&catchment, SOURCE, &mapping).exits(3).says(&["many", "dozens", "integer"]);

    assert_eq!(s3.requests().len(), 1, "a new schema is decided from what is kept");
    let all = fields(&catchment, BUCKET);
    assert_eq!(all["fits"], json!({"n": 12, "at": "2026-01-31T10:00:00Z", "state": "new"}));
    assert_eq!(all["many"], json!({"n": "dozens", "at": "2026-01-31"}), "left as it was");
}

#[test]
fn another_mapping_changes_the_fields_and_reads_no_object_again() {
    let s3 = FakeS3::start();
    s3.put_object("a/x", Object::new("1").metadata("m", "one").tag("t", "uno"));
    s3.put_object("b/x", Object::new("2").metadata("m", "two").tag("t", "dos"));
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(SOURCE).exits(0);
    let ids = |catchment: &Catchment| -> Vec<String> {
        catchment.objects(BUCKET).into_values().map(|listed| listed.object_id).collect()
    };
    let before = ids(&catchment);
    let costs = || (s3.count(Kind::Get), s3.count(Kind::Head), s3.count(Kind::Tags));
    s3.forget_requests();

    let metadata = json!({"m": {"source": {"type": "metadata", "key": "m"}}});
    let summary = sync(&catchment, SOURCE, &metadata).exits(0).summary();
    assert_eq!((summary.updated, costs()), (2, (0, 0, 0)), "its metadata is kept");
    assert_eq!(fields(&catchment, BUCKET)["b/x"], json!({"m": "two"}));

    let both = json!({
        "t": {"source": {"type": "tag", "key": "t"}},
        "f": {"source": {"type": "folder_path"}},
        "v": {"source": {"type": "file"}, "blob_property": "video", "blob_type": "video"},
    });
    let summary = sync(&catchment, SOURCE, &both).exits(0).summary();
    assert_eq!((summary.updated, costs()), (2, (0, 0, 2)), "its tags are not");
    assert_eq!(fields(&catchment, BUCKET)["a/x"], json!({"t": "uno", "f": "a"}));
    assert_eq!(blobs(&catchment)[0].0, "video");
    assert_eq!(catchment.get(BUCKET, b"a/x"), b"1", "the file is found under its new property");

    let summary = catchment.sync(SOURCE).exits(0).summary();
    assert_eq!((summary.updated, costs()), (2, (0, 0, 2)));
    assert_eq!(fields(&catchment, BUCKET)["a/x"], Value::Null);
    assert_eq!(blobs(&catchment)[0].0, "content");
    assert_eq!(ids(&catchment), before, "they are the same objects");
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn a_dry_run_says_what_another_mapping_and_another_schema_would_change_and_why() {
    let s3 = FakeS3::start();
    s3.put_object("a/1", Object::new("1").metadata("m", "1").tag("t", "uno"));
    s3.put_object("b/2", Object::new("2").metadata("m", "two"));
    s3.put_object("c/3", Object::new("3"));
    let catchment = Catchment::reaching(&s3.endpoint());
    let dry = |mappings: &Value| {
        let file = catchment.write_home("mapping.json", json!({"mappings": mappings}).to_string());
        catchment.sync_with(SOURCE, &["--dry-run", "--mapping", file.to_str().unwrap()])
    };
    let reasons = |run: &Run| -> Vec<(String, String, String)> {
        let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        let told = run.events().into_iter().filter(|event| event["event"] != "summary");
        told.map(|it| (text(&it, "event"), text(&it, "path"), text(&it, "reason"))).collect()
    };
    let metadata = json!({"m": {"source": {"type": "metadata", "key": "m"}}});
    sync(&catchment, SOURCE, &metadata).exits(0);

    let none = dry(&metadata).exits(0);
    assert_eq!((none.summary().unchanged, reasons(&none)), (3, Vec::new()));
    let mut more = metadata.clone();
    more["t"] = json!({"source": {"type": "tag", "key": "t"}});
    let told = dry(&more).exits(0);
    let why = "the settings make it another object: t".to_owned();
    assert_eq!(reasons(&told), [("would_update".to_owned(), "a/1".to_owned(), why)]);
    assert_eq!((told.summary().updated, told.summary().unchanged, told.summary().bytes), (1, 2, 0));

    set_schema(&catchment, &json!({"m": {"type": "integer"}}));
    let told = dry(&more).exits(3);
    assert_eq!((told.summary().updated, told.summary().failed), (1, 1));
    let failed = reasons(&told).into_iter().find(|told| told.0 == "would_fail").unwrap();
    assert!(failed.1 == "b/2" && failed.2.contains("integer"), "{failed:?}");
    assert_eq!(fields(&catchment, BUCKET)["a/1"], json!({"m": "1"}), "nothing is done");
    let done = sync(&catchment, SOURCE, &more).exits(3).summary();
    assert_eq!((done.updated, done.unchanged, done.failed), (1, 1, 1), "as it was foretold");
}

#[test]
fn changed_metadata_changes_the_fields() {
    let s3 = FakeS3::start();
    s3.put_object("x", Object::new("1").metadata("m", "one").modified(1_700_000_000));
    let catchment = Catchment::reaching(&s3.endpoint());
    let mapping = json!({"m": {"source": {"type": "metadata", "key": "m"}}});
    sync(&catchment, SOURCE, &mapping).exits(0);
    s3.put_object("x", Object::new("1").metadata("m", "two").modified(1_700_000_009));

    let summary = sync(&catchment, SOURCE, &mapping).exits(0).summary();

    assert_eq!(summary.updated, 1);
    assert_eq!(fields(&catchment, BUCKET)["x"], json!({"m": "two"}));
}

/// A web server of one small picture, and of ways to it.
fn web() -> Wire {
    Wire::serve(|request| match request.raw_path() {
        "/pic.png" => Answer::new(200, "png bytes").header("Content-Type", "image/png").into(),
        "/there" => Answer::new(302, "").header("Location", "/pic.png").into(),
        "/loop" => Answer::new(302, "").header("Location", "/loop").into(),
        "/file" => Answer::new(302, "").header("Location", "file:///etc/passwd").into(),
        _ => Answer::new(404, "").into(),
    })
}

fn poster() -> Value {
    json!({"poster": {
        "source": {"type": "metadata", "key": "poster"}, "blob_property": "poster",
        "target_type": "blob",
    }})
}

#[test]
fn a_blob_that_is_a_url_is_fetched_where_that_is_allowed() {
    let (s3, web) = (FakeS3::start(), web());
    let url = format!("{}/there?secret=signature", web.url());
    s3.put_object("film", Object::new("film bytes").metadata("poster", &url));
    s3.put_object("none", Object::new("no poster"));
    let catchment = Catchment::reaching(&s3.endpoint()).env("CATCHMENT_ALLOW_PRIVATE_URLS", "true");

    sync(&catchment, SOURCE, &poster()).exits(0);

    let image = Some("image".to_owned());
    let png = Some("image/png".to_owned());
    assert_eq!(
        blobs(&catchment),
        [
            ("content".to_owned(), None, None, Some(b"film bytes".to_vec())),
            ("poster".to_owned(), image, png, Some(b"png bytes".to_vec())),
            ("content".to_owned(), None, None, Some(b"no poster".to_vec())),
        ]
    );
    catchment.run(&["verify", BUCKET]).exits(0);
    let sizes: i64 = database(&catchment)
        .query_row("SELECT object_bytes FROM buckets", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sizes, 10 + 9 + 9);
}

#[test]
fn a_url_that_leads_to_this_machine_is_not_fetched_unless_that_is_allowed() {
    let (s3, web) = (FakeS3::start(), web());
    let url = format!("{}/pic.png?secret=signature", web.url());
    s3.put_object("film", Object::new("film bytes").metadata("poster", &url));
    let catchment = Catchment::reaching(&s3.endpoint());

    let run = sync(&catchment, SOURCE, &poster()).exits(3).says(&["private", "allow_private_urls"]);

    assert!(!format!("{}{}", run.stdout(), run.stderr).contains("signature"), "{run}");
    let status = catchment.run(&["status", "--json"]).exits(0).stdout();
    assert!(status.contains("validation_error"), "{status}");
}

#[test]
fn a_redirect_is_checked_like_the_url_itself() {
    let (s3, web) = (FakeS3::start(), web());
    for way in ["loop", "file", "nothing"] {
        let url = format!("{}/{way}", web.url());
        s3.put_object(way, Object::new(way).metadata("poster", &url));
    }
    let catchment = Catchment::reaching(&s3.endpoint()).env("CATCHMENT_ALLOW_PRIVATE_URLS", "true");

    sync(&catchment, SOURCE, &poster()).exits(3).says(&[
        "more than 5 times",
        "only http:// and https://",
        "nothing there (404",
    ]);
}

#[test]
fn a_url_is_fetched_again_when_its_entry_changes_and_not_when_the_mapping_does() {
    let (s3, web) = (FakeS3::start(), web());
    let url = format!("{}/pic.png", web.url());
    s3.put_object("film", Object::new("1").metadata("poster", &url));
    let catchment = Catchment::reaching(&s3.endpoint()).env("CATCHMENT_ALLOW_PRIVATE_URLS", "true");
    sync(&catchment, SOURCE, &poster()).exits(0);
    drop(web);

    let mut more = poster();
    more["always"] = json!({"source": {"type": "constant", "value": 1}});
    let summary = sync(&catchment, SOURCE, &more).exits(0).summary();

    assert_eq!(summary.updated, 1);
    let poster = blobs(&catchment).remove(1);
    let (image, png) = (Some("image".to_owned()), Some("image/png".to_owned()));
    let bytes = Some(b"png bytes".to_vec());
    assert_eq!(poster, ("poster".to_owned(), image, png, bytes), "the poster is still there");
}

#[test]
fn an_invalid_mapping_is_refused_with_everything_that_is_wrong() {
    let catchment = Catchment::new();
    let mapping = json!({
        "a": {"source": {"type": "filename_regex", "pattern": "("}},
        "b": {"source": {"type": "tag", "key": "k"}, "transform": "reverse"},
    });
    sync(&catchment, "/tmp", &mapping)
        .exits(2)
        .says(&["mappings.a.source.pattern", "mappings.b.transform"]);
    let foreign = json!({"t": {"source": {"type": "tag", "key": "k"}}});
    sync(&catchment, "/tmp", &foreign).exits(2).says(&["mappings.t.source.type", "no tag"]);
}

#[test]
fn local_files_are_mapped_by_their_names() {
    let catchment = Catchment::new();
    catchment.write_home("tree/a/b/7 x.txt", "seven");
    let mapping = json!({
        "first": {"source": {"type": "folder_path", "segment": 0}},
        "all": {"source": {"full_path": true}},
        "number": {"source": {"pattern": "^(\\d+)"}},
    });

    sync(&catchment, catchment.home().join("tree").to_str().unwrap(), &mapping).exits(0);

    let fields = fields(&catchment, "tree").remove("a/b/7 x.txt").unwrap();
    assert_eq!(fields, json!({"first": "a", "all": "a/b", "number": "7"}));
}
