//! Each kind of failure that the contract names, as a real fault brings it about, and what the
//! dead letter then says.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        fake_s3::{BUCKET, FakeS3, Fault, Object, Objects, On},
        trees::Tree,
        wire::{Answer, Delivery, Reply, Wire},
    },
    syncs::{Sync, s3_sync},
};

/// A server that never answers is given up after four tries of this many seconds.
const URL_TIMEOUT: &str = "4";

const DEADLINE: Duration = Duration::from_secs(120);

/// What is in the URLs and credentials of this test, and may be in no message.
const SECRETS: [&str; 3] = ["hunter2", "s3cret-signature", "not-a-secret"];

/// What fails, how that is called, and what its message has to say.
const FAILURES: [(&str, &str, &[&str]); 11] = [
    ("broken", "download_failed", &["InternalError", "the next runs try again"]),
    ("lost", "not_found", &["/lost", "404", "correct what refers to it"]),
    ("forbidden", "permission_denied", &["AccessDenied", "allow it to be read"]),
    ("throttled", "rate_limited", &["slow down", "sync_concurrency"]),
    ("silent", "timeout", &["/silent", "no answer within 4 s", "can be reached"]),
    ("huge", "too_large", &["/huge", "more than 1073741824 bytes", "make it smaller"]),
    ("foreign", "validation_error", &["user name or password"]),
    ("unowned", "schema_mismatch", &["owner", "required"]),
    ("restless", "changed_during_read", &["it changed while it was read", "once it stays"]),
    ("torn", "checksum_mismatch", &["CRC32C", "upload it anew"]),
    ("", "unsupported_type", &["the synced prefix itself", "another name"]),
];

/// Elsewhere on the web.
fn web() -> Wire {
    Wire::serve(|request| match request.raw_path() {
        "/huge" => Answer { delivery: Delivery::Announced(2 << 30), ..Answer::new(200, "") }.into(),
        "/silent" => Reply::Silence,
        _ => Answer::new(404, "").into(),
    })
}

/// A bucket in which everything goes wrong that can, below `folder/`.
fn world(web: &Wire) -> FakeS3 {
    let s3 = FakeS3::start();
    let owned = |bytes: &str| Object::new(bytes).metadata("owner", "Ada");
    for key in ["good", "broken", "forbidden", "throttled", "restless"] {
        s3.put_object(format!("folder/{key}"), owned(key));
    }
    for key in ["lost", "silent", "huge"] {
        let url = format!("{}/{key}?X-Amz-Signature=s3cret-signature", web.url());
        s3.put_object(format!("folder/{key}"), owned(key).metadata("poster", &url));
    }
    let url = "http://ada:hunter2@example.com/?X-Amz-Signature=s3cret-signature";
    s3.put_object("folder/foreign", owned("foreign").metadata("poster", url));
    s3.put_object("folder/unowned", Object::new("unowned"));
    // Of other bytes.
    s3.put_object("folder/torn", owned("torn").checksum("crc32c", "4waSgw=="));
    s3.put_object("folder/", owned("the prefix itself"));
    s3.inject(Fault::error(On::GetOf("folder/broken"), 500, "InternalError"));
    s3.inject(Fault::error(On::GetOf("folder/forbidden"), 403, "AccessDenied"));
    s3.inject(Fault::slow_down(On::GetOf("folder/throttled"), 0));
    s3.inject(Fault::first(On::GetOf("folder/restless"), |objects: &mut Objects| {
        let next = Object::new(fastrand::u64(..).to_string()).metadata("owner", "Ada");
        objects.insert(b"folder/restless".to_vec(), next);
    }));
    s3
}

fn letters(sync: &Sync<'_>, wanted: &Value) -> Vec<Value> {
    let list = sync.server.post(&format!("{}/dlq", sync.path), wanted).is(200);
    list["results"].as_array().unwrap().clone()
}

#[test]
fn each_kind_of_failure_is_named_found_by_its_name_and_says_what_to_do() {
    let home = Catchment::new()
        .env("CATCHMENT_ALLOW_PRIVATE_URLS", "true")
        .env("CATCHMENT_URL_TIMEOUT_SECONDS", URL_TIMEOUT);
    let other = Tree::new("other");
    other.write("of another sync", "in no other file");
    home.sync_with(other.source(), &["--bucket", "films"]).exits(0);
    let (server, web) = (Server::on(&home), web());
    let s3 = world(&web);

    let sync = s3_sync(
        &server,
        &s3,
        json!({
            "source_path": format!("{BUCKET}/folder/"),
            "schema_mapping": {"mappings": {
                "owner": {"source": {"type": "metadata", "key": "owner"}, "required": true},
                "poster": {
                    "target_type": "blob", "blob_property": "poster",
                    "source": {"type": "metadata", "key": "poster"},
                },
            }},
        }),
    );
    poll_until("the first run", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(100));
        sync.now()["last_sync_at"].is_string().then_some(())
    });

    assert_eq!(letters(&sync, &json!({})).len(), FAILURES.len());
    for (key, kind, words) in FAILURES {
        let found = letters(&sync, &json!({"error_types": [kind]}));
        let paths: Vec<_> = found.iter().map(|letter| &letter["source_path"]).collect();
        assert_eq!(paths, [key], "{kind}: {found:?}");
        let message = found[0]["error_message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{kind} does not say {word:?}: {message}");
        }
        for secret in SECRETS {
            assert!(!message.contains(secret), "{kind} tells a secret: {message}");
        }
    }
    let said = home.run(&["status"]).exits(0).stdout();
    assert!(said.contains("11 entries keep failing"), "{said}");
    assert!(SECRETS.iter().all(|secret| !said.contains(secret)), "{said}");
}

#[test]
fn wherever_the_state_of_a_sync_is_shown_entries_that_are_missing_are_said() {
    let home = Catchment::new();
    let (server, s3) = (Server::on(&home), FakeS3::start());
    crate::buckets::bucket(&server, "films");
    for key in ["a", "b", "c"] {
        s3.put(key, key);
    }
    s3.inject(Fault::error(On::GetOf("b"), 403, "AccessDenied"));
    let sync = s3_sync(&server, &s3, json!({ "source_path": BUCKET }));
    let id = sync.path.rsplit('/').next().unwrap().to_owned();
    let ended = |jobs: usize| {
        poll_until("the run", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(50));
            let list = server.post(&format!("{}/jobs", sync.path), &json!({})).is(200);
            let all = list["results"].as_array().unwrap().clone();
            let over = all.iter().filter(|job| job["status"] == "completed").count();
            (over >= jobs && over == all.len()).then(|| all[0].clone())
        })
    };
    let line = |name: &str| {
        let metrics = server.get("/metrics").text();
        metrics.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
    };
    let row = || {
        let overview = server.get("/v1/overview").is(200);
        let rows = overview["syncs"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["sync_config_id"] == id.as_str()).unwrap()
    };
    // Also of entries that are tried no more: they are missing all the same.
    for is_given_up in [false, true] {
        let job = ended(1);
        assert_eq!(job["files_failed"], 1, "{job}");
        assert_eq!(sync.now()["status"], "COMPLETED_WITH_ERRORS");
        assert_eq!(sync.now()["total_files_failed"], 1);
        assert_eq!(
            (&row()["status"], &row()["dead_letters"]),
            (&json!("COMPLETED_WITH_ERRORS"), &json!(1))
        );
        assert_eq!(line("catchment_dead_letters_open"), "catchment_dead_letters_open 1");
        assert_eq!(line("catchment_syncs{status=\"ACTIVE\"}"), "");
        let log = server.get("/v1/events/log?limit=100").is(200);
        let finished =
            log["results"].as_array().unwrap().iter().find(|event| event["type"] == "job.finished");
        assert_eq!(finished.unwrap()["detail"]["counts"]["failed"], 1, "{log}");
        let said = home.run(&["status"]).exits(0).stdout();
        assert!(said.contains("1 entry keeps failing"), "{said}");
        assert!(!said.contains("up to date"), "{said}");
        if !is_given_up {
            let kinds = json!({ "error_types": ["permission_denied"] });
            server.post(&format!("{}/dlq/bulk-mark-failed", sync.path), &kinds).is(200);
        }
    }
    s3.heal();
    server.post(&format!("{}/dlq/requeue", sync.path), &json!({})).is(200);
    ended(2);
    assert_eq!((&sync.now()["status"], &row()["dead_letters"]), (&json!("ACTIVE"), &json!(0)));
    assert_eq!(line("catchment_dead_letters_open"), "catchment_dead_letters_open 0");
    let said = home.run(&["status"]).exits(0).stdout();
    assert!(said.contains("up to date as of") && !said.contains("failing"), "{said}");
}
