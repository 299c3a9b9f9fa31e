//! `/v1/organizations/connections`.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        fake_s3::{BUCKET, FakeS3},
    },
};

const CONNECTIONS: &str = "/v1/organizations/connections";

/// A connection to the fake, as the client would make it.
fn to(s3: &FakeS3, name: &str) -> Value {
    let endpoint = s3.endpoint();
    json!({
        "name": name,
        "provider_type": "s3",
        "provider_config": {
            "provider_type": "s3",
            "credentials": {
                "type": "access_key",
                "access_key_id": endpoint.access_key,
                "secret_access_key": endpoint.secret_key,
            },
            "endpoint_url": endpoint.url,
            "use_ssl": true,
        },
    })
}

fn names(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap();
    results.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_connection_lives_from_create_to_archive() {
    let (server, s3) = (Server::start(), FakeS3::start());
    let made = server.post(CONNECTIONS, &to(&s3, "lake")).is(200);
    let id = made["connection_id"].as_str().unwrap();
    assert!(id.starts_with("conn_"));
    assert_eq!(made["provider_config"]["credentials"], json!({ "type": "access_key" }));
    assert_eq!(made["provider_config"]["region"], "us-east-1");
    assert_eq!((&made["status"], &made["is_active"]), (&json!("ACTIVE"), &json!(true)));

    let by_name = server.get(&format!("{CONNECTIONS}/lake")).is(200);
    assert_eq!(by_name, made);
    let path = format!("{CONNECTIONS}/{id}");
    let renamed = server.patch(&path, &json!({ "name": "pond", "metadata": { "a": 1 } })).is(200);
    assert_eq!((&renamed["name"], &renamed["metadata"]), (&json!("pond"), &json!({ "a": 1 })));
    let off = server.patch(&path, &json!({ "status": "SUSPENDED" })).is(200);
    assert_eq!(off["is_active"], false);

    assert_eq!(server.delete(&path).is(200)["status"], "ARCHIVED");
    assert_eq!(server.get(&path).is(200)["status"], "ARCHIVED");
    let archived = json!({ "status": "ARCHIVED" });
    let list = server.post(&format!("{CONNECTIONS}/list"), &archived).is(200);
    assert_eq!(names(&list), ["pond"]);
    server.post(&format!("{path}/test"), &json!({})).fails_with(409);
    server.post(CONNECTIONS, &to(&s3, "pond")).is(200);
}

#[test]
fn two_connections_cannot_have_one_name() {
    let (server, s3) = (Server::start(), FakeS3::start());
    server.post(CONNECTIONS, &to(&s3, "lake")).is(200);
    assert_eq!(server.post(CONNECTIONS, &to(&s3, "lake")).fails_with(409)["code"], "name_taken");
    server.post(CONNECTIONS, &to(&s3, "pond")).is(200);
    let renamed = server.patch(&format!("{CONNECTIONS}/pond"), &json!({ "name": "lake" }));
    renamed.fails_with(409);
}

#[test]
fn a_connection_that_does_not_work_is_not_kept_unless_asked() {
    let (server, s3) = (Server::start(), FakeS3::start());
    let mut wrong = to(&s3, "lake");
    wrong["provider_config"]["credentials"]["secret_access_key"] = "canary-wrong".into();
    let refused = server.post(CONNECTIONS, &wrong);
    let reason = refused.blames("provider_config")["message"].as_str().unwrap().to_owned();
    assert!(reason.contains("SignatureDoesNotMatch"), "{reason}");
    assert!(!refused.text().contains("canary"), "{refused}");
    server.get(&format!("{CONNECTIONS}/lake")).fails_with(404);

    wrong["test_before_save"] = false.into();
    server.post(CONNECTIONS, &wrong).is(200);
    let tested = server.post(&format!("{CONNECTIONS}/lake/test"), &json!({})).is(200);
    assert_eq!(tested["success"], false);
    let failed = server.get(&format!("{CONNECTIONS}/lake")).is(200);
    assert_eq!(failed["consecutive_failures"], 0, "a failed test suspends nothing");
    assert!(failed["last_error"].as_str().unwrap().contains("SignatureDoesNotMatch"));

    let right = to(&s3, "lake")["provider_config"]["credentials"].clone();
    let change = json!({ "provider_config": { "credentials": right } });
    server.patch(&format!("{CONNECTIONS}/lake"), &change).is(200);
    let tested = server.post(&format!("{CONNECTIONS}/lake/test"), &json!({})).is(200);
    assert_eq!(tested["success"], true, "{tested}");
    let mended = server.get(&format!("{CONNECTIONS}/lake")).is(200);
    assert_eq!((&mended["consecutive_failures"], &mended["last_error"]), (&json!(0), &Value::Null));
    assert!(mended["last_used_at"].is_string());
}

#[test]
fn a_list_shows_newest_first_filters_pages_and_leaves_this_computer_out() {
    let (server, s3) = (Server::start(), FakeS3::start());
    for name in ["one", "two", "three"] {
        server.post(CONNECTIONS, &to(&s3, name)).is(200);
    }
    server.patch(&format!("{CONNECTIONS}/two"), &json!({ "is_active": false })).is(200);
    let list = |query: &str, body: Value| {
        server.post(&format!("{CONNECTIONS}/list{query}"), &body).is(200)
    };
    assert_eq!(names(&list("", json!({}))), ["three", "two", "one"]);
    assert_eq!(names(&list("", json!({ "is_active": true }))), ["three", "one"]);
    assert_eq!(names(&list("", json!({ "status": "SUSPENDED" }))), ["two"]);
    assert_eq!(names(&list("", json!({ "provider_type": "box" }))), Vec::<String>::new());
    assert_eq!(names(&list("", json!({ "provider_type": "local" }))), ["This computer"]);
    let first = list("?limit=2", json!({}));
    assert_eq!((names(&first).len(), &first["total"]), (2, &json!(3)));
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap();
    assert_eq!(names(&list(&format!("?limit=2&cursor={cursor}"), json!({}))), ["one"]);
}

#[test]
fn this_computer_is_always_there_and_stays_as_it_is() {
    let server = Server::start();
    let path = format!("{CONNECTIONS}/conn_local");
    assert_eq!(server.get(&path).is(200)["provider_type"], "local");
    assert_eq!(server.post(&format!("{path}/test"), &json!({})).is(200)["success"], true);
    server.patch(&path, &json!({ "name": "mine" })).fails_with(403);
    server.delete(&path).fails_with(403);
}

#[test]
fn a_provider_that_cannot_be_read_yet_is_kept_and_its_wrong_fields_are_named() {
    let server = Server::start();
    let mut body = json!({
        "name": "feed", "provider_type": "rtsp",
        "provider_config": { "url": "rtsp://camera/1", "segment_seconds": 30 },
    });
    server.post(CONNECTIONS, &body).is(200);
    let tested = server.post(&format!("{CONNECTIONS}/feed/test"), &json!({})).is(200);
    assert_eq!(tested["success"], false);
    body["provider_config"]["segment_seconds"] = 3.into();
    body["provider_config"]["nonsense"] = 1.into();
    let refused = server.post(CONNECTIONS, &body);
    let blamed = refused.blames("provider_config.segment_seconds");
    assert_eq!(
        (&blamed["value"], &blamed["accepted"]),
        (&json!(3), &json!("a whole number from 5 to 300"))
    );
    assert_eq!(refused.blames("provider_config.nonsense")["type"], "extra_forbidden");
}

#[test]
fn folders_and_files_of_this_computer_are_shown_whatever_they_are_called() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let root = dir.path();
    for folder in ["plain", ".hidden", "sp ace?&#%"] {
        std::fs::create_dir(root.join(folder)).unwrap();
    }
    std::fs::create_dir(root.join(OsStr::from_bytes(b"not\xfftext"))).unwrap();
    std::os::unix::fs::symlink("/", root.join("link-to-root")).unwrap();
    std::fs::write(root.join("a.jpg"), b"12345").unwrap();
    std::fs::write(root.join("nl\nend"), b"").unwrap();

    let look = |what: &str, path: &Path| {
        let path =
            path.to_str().unwrap().replace('%', "%25").replace('#', "%23").replace('&', "%26");
        server.get(&format!("{CONNECTIONS}/conn_local/{what}?path={}", path.replace(' ', "%20")))
    };
    let folders = look("folders", root).is(200);
    assert_eq!(names(&folders), [".hidden", "not%FFtext", "plain", "sp ace?&#%"]);
    let odd = look("folders", &root.join("sp ace?&#%")).is(200);
    assert_eq!(names(&odd), Vec::<String>::new());
    let files = look("files", root).is(200);
    assert_eq!(names(&files), ["a.jpg", "nl\nend"]);
    let first = &files["results"][0];
    assert_eq!((&first["size_bytes"], &first["mime_type"]), (&json!(5), &json!("image/jpeg")));
    assert_eq!(first["path"], root.join("a.jpg").to_str().unwrap());
    look("folders", &root.join("absent")).blames("path");
    server.get(&format!("{CONNECTIONS}/conn_local/folders?path=/etc/..")).blames("path");
    server.get(&format!("{CONNECTIONS}/conn_local/folders?path=etc")).blames("path");
    assert_eq!(
        server.get(&format!("{CONNECTIONS}/conn_local/folders")).is(200)["parent_path"],
        "/"
    );
}

#[test]
fn buckets_folders_and_files_of_s3_are_shown_whatever_they_are_called() {
    let (server, s3) = (Server::start(), FakeS3::start());
    for key in ["top.txt", "a/one.txt", "a/b/deep", "a//odd", "sp ace/x", "z"] {
        s3.put(key, "12345");
    }
    s3.page_size(2);
    server.post(CONNECTIONS, &to(&s3, "lake")).is(200);
    let look = |what: &str| server.get(&format!("{CONNECTIONS}/lake/{what}")).is(200);

    assert_eq!(names(&look("folders")), [BUCKET]);
    assert_eq!(names(&look(&format!("folders?path=/{BUCKET}"))), ["a", "sp ace"]);
    let below = look(&format!("folders?path=/{BUCKET}/a"));
    assert_eq!(names(&below), ["", "b"]);
    let nameless = below["results"][0]["path"].as_str().unwrap();
    assert_eq!(names(&look(&format!("files?path={nameless}"))), ["odd"]);
    assert_eq!(names(&look(&format!("files?path={BUCKET}"))), ["top.txt", "z"]);
    let one = look(&format!("files?path={BUCKET}&max_results=1"));
    assert_eq!((names(&one), &one["truncated"]), (vec!["top.txt".to_owned()], &json!(true)));
    server.get(&format!("{CONNECTIONS}/lake/files?path=/no-such-bucket")).blames("path");
}

/// One connection of every kind, with `canary` in every secret field.
fn every_provider(canary: &str) -> Vec<Value> {
    let key = json!({ "type": "service_account", "private_key": canary, "project_id": canary,
        "private_key_id": canary, "client_email": canary, "client_id": canary });
    let delegated = json!({ "type": "delegated", "tenant_id": canary, "client_id": canary,
        "client_secret": canary, "refresh_token": canary });
    let jwt = json!({ "type": "jwt", "client_id": canary, "client_secret": canary,
        "enterprise_id": canary, "jwt_key_id": canary, "private_key": canary,
        "private_key_passphrase": canary });
    let oauth = json!({ "type": "oauth", "client_id": canary, "client_secret": canary,
        "access_token": canary, "instagram_user_id": canary });
    let tiktok = json!({ "type": "oauth", "client_key": canary, "client_secret": canary,
        "access_token": canary, "refresh_token": canary, "open_id": canary });
    let headers = json!({ "headers": { "Authorization": canary } });
    let access_key =
        json!({ "type": "access_key", "access_key_id": canary, "secret_access_key": canary });
    let pem = json!({ "type": "key_pair", "username": canary, "private_key": canary,
        "private_key_passphrase": canary });
    let role = json!({ "type": "iam_role", "role_arn": "arn:aws:iam::123456789012:role/r", "external_id": canary });
    let of = |provider: &str, settings: Value, credentials: Value| {
        let mut config = settings;
        config["credentials"] = credentials;
        json!({ "provider_type": provider, "provider_config": config, "test_before_save": false })
    };
    vec![
        of("google_drive", json!({}), key),
        of("s3", json!({}), access_key.clone()),
        of("s3", json!({}), role),
        of("tigris", json!({}), access_key.clone()),
        of("snowflake", json!({ "account": "a", "warehouse": "w" }), pem),
        of("sharepoint", json!({}), delegated),
        of(
            "postgresql",
            json!({ "host": "h", "database": "d" }),
            json!({ "username": canary, "password": canary }),
        ),
        of("instagram", json!({}), oauth),
        of("tiktok", json!({}), tiktok),
        of("rss", json!({}), headers.clone()),
        of("http_api", json!({}), headers),
        of("box", json!({}), jwt),
        of("brightdata", json!({}), json!({ "api_token": canary })),
        of("backblaze", json!({}), json!({ "key_id": canary, "application_key": canary })),
        of(
            "mux",
            json!({}),
            json!({ "access_token_id": canary, "access_token_secret": canary, "webhook_secret": canary }),
        ),
        of("email", json!({}), json!({ "webhook_secret": canary })),
        of("supabase", json!({ "project_ref": "p" }), access_key),
        of(
            "iconik",
            json!({}),
            json!({ "app_id": canary, "auth_token": canary, "webhook_secret": canary }),
        ),
        of(
            "gcs",
            json!({ "bucket": "b" }),
            json!({ "service_account_json": { "private_key": canary } }),
        ),
        of(
            "azure_blob",
            json!({ "container": "c" }),
            json!({ "type": "account_key", "account_name": canary, "account_key": canary }),
        ),
        of(
            "rtsp",
            json!({ "url": "rtsp://c/1" }),
            json!({ "username": canary, "password": canary }),
        ),
    ]
}

/// Every file below a folder that has `needle` in it.
fn files_with(folder: &Path, needle: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), needle));
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_secret_is_found_in_no_response_no_log_and_no_file() {
    const CANARY: &str = "canary-0f3a9c";
    const LATER: &str = "canary-77b1e2";
    let home = Catchment::new().env("CATCHMENT_LOG", "debug");
    let server = Server::on(&home);
    let mut answers = Vec::new();
    for (number, mut body) in every_provider(CANARY).into_iter().enumerate() {
        let name = format!("c{number}");
        body["name"] = name.as_str().into();
        let made = server.post(CONNECTIONS, &body);
        made.is(200);
        let path = format!("{CONNECTIONS}/{name}");
        let new =
            every_provider(LATER).swap_remove(number)["provider_config"]["credentials"].clone();
        let change =
            json!({ "provider_config": { "credentials": new }, "test_before_save": false });
        let changed = server.patch(&path, &change);
        changed.is(200);
        // The same with other fields wrong, in every way that a body can be.
        let mut wrong = body.clone();
        wrong["name"] = "".into();
        wrong["unknown"] = CANARY.into();
        let refused = [
            server.post(CONNECTIONS, &wrong),
            server.post(CONNECTIONS, &{
                let mut wrong = body.clone();
                wrong["provider_config"]["credentials"]["unknown"] = CANARY.into();
                wrong["provider_config"]["unknown"] = CANARY.into();
                wrong
            }),
            server.post(CONNECTIONS, &{
                let mut wrong = body.clone();
                wrong["provider_config"] = CANARY.into();
                wrong
            }),
            server.post(CONNECTIONS, &{
                let mut wrong = body.clone();
                wrong["provider_config"]["credentials"] = json!([CANARY]);
                wrong
            }),
        ];
        for answer in &refused {
            answer.fails_with(422);
        }
        answers.extend(refused);
        answers.extend([made, changed, server.get(&path)]);
    }
    answers.push(server.post(&format!("{CONNECTIONS}/list?limit=100"), &json!({})));
    for answer in &answers {
        assert!(!answer.text().contains("canary-"), "{answer}");
    }
    assert!(!server.log().contains("canary-"), "the log");
    // As the server runs, so that the write-ahead log is there too: what a backup would hold.
    assert_eq!(files_with(home.data_dir(), "canary-"), Vec::<std::path::PathBuf>::new());
    server.stop();
    assert_eq!(files_with(home.data_dir(), "canary-"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn credentials_work_after_their_key_was_rotated_under_a_running_server() {
    let (s3, home) = (FakeS3::start(), Catchment::new());
    let server = Server::on(&home);
    server.post(CONNECTIONS, &to(&s3, "lake")).is(200);
    let rotated = home.run(&["secrets", "rotate", "--json"]);
    let rotated = rotated.exits(0);
    assert!(rotated.stdout().contains("\"resealed\":1"), "{}", rotated.stdout());
    let tested = server.post(&format!("{CONNECTIONS}/lake/test"), &json!({})).is(200);
    assert_eq!(tested["success"], true, "{tested}");
}

/// The key files in a data directory, and those that were to become one.
fn key_files(home: &Catchment) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(home.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("secrets.")).collect()
}

#[test]
fn key_files_that_a_killed_command_left_go_with_a_later_one_and_those_in_use_stay() {
    let (s3, home) = (FakeS3::start(), Catchment::new());
    let server = Server::on(&home);
    server.post(CONNECTIONS, &to(&s3, "lake")).is(200);
    server.stop();
    let used = key_files(&home).remove(0);
    // A rotation makes its new key and then reads the old one: here it waits for that for ever.
    let aside = home.home().join("aside");
    std::fs::rename(&used, &aside).unwrap();
    assert!(Command::new("mkfifo").arg(&used).status().unwrap().success());
    let rotation = home.start(&["secrets", "rotate"]);
    poll_until("the new key", Duration::from_secs(60), || {
        let is_whole = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "key");
        let count = key_files(&home).iter().filter(|path| is_whole(path)).count();
        (count == 2).then_some(())
    });
    rotation.kill();
    std::fs::remove_file(&used).unwrap();
    std::fs::rename(&aside, &used).unwrap();
    let draft = used.with_extension("key.new");
    std::fs::write(&draft, "cut off").unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    std::fs::File::open(&draft).unwrap().set_modified(long_ago).unwrap();

    home.run(&["gc"]).exits(0);
    assert_eq!(key_files(&home).len(), 2, "whoever made the new key may be about to use it");
    home.at_time("+2h").run(&["gc"]).exits(0);

    assert_eq!(key_files(&home), [used]);
    let server = Server::on(&home);
    let tested = server.post(&format!("{CONNECTIONS}/lake/test"), &json!({})).is(200);
    assert_eq!(tested["success"], true, "{tested}");
}

#[test]
fn without_its_key_a_connection_says_what_is_missing_and_takes_new_credentials() {
    let (s3, home) = (FakeS3::start(), Catchment::new());
    let server = Server::on(&home);
    server.post(CONNECTIONS, &to(&s3, "lake")).is(200);
    server.stop();
    for entry in std::fs::read_dir(home.data_dir()).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name().to_string_lossy().starts_with("secrets.") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let server = Server::on(&home);
    let tested = server.post(&format!("{CONNECTIONS}/lake/test"), &json!({})).is(200);
    assert!(tested["message"].as_str().unwrap().contains("enter the credentials"), "{tested}");
    let error = server.get(&format!("{CONNECTIONS}/lake/folders")).fails_with(409);
    assert_eq!(error["code"], "credentials_unreadable");
    let again = to(&s3, "lake")["provider_config"]["credentials"].clone();
    let change = json!({ "provider_config": { "credentials": again } });
    server.patch(&format!("{CONNECTIONS}/lake"), &change).is(200);
    let tested = server.post(&format!("{CONNECTIONS}/lake/test"), &json!({})).is(200);
    assert_eq!(tested["success"], true, "{tested}");
}

#[test]
fn a_connection_in_use_is_deleted_only_by_force_which_pauses_its_syncs() {
    let s3 = FakeS3::start();
    s3.put("key", "content");
    let home = Catchment::reaching(&s3.endpoint());
    home.sync_with(format!("s3://{BUCKET}"), &["--bucket", "b"]).exits(0);
    let server = Server::on(&home);
    let list = server.post(&format!("{CONNECTIONS}/list"), &json!({})).is(200);
    let id = list["results"][0]["connection_id"].as_str().unwrap().to_owned();
    let refused = server.delete(&format!("{CONNECTIONS}/{id}")).fails_with(409);
    assert_eq!(refused["code"], "connection_in_use");
    server.delete(&format!("{CONNECTIONS}/{id}?force=true")).is(200);
    assert_eq!(server.get(&format!("{CONNECTIONS}/{id}")).is(200)["status"], "ARCHIVED");
}
