//! What people may do with a batch in each of its states, and with what failed in a collection.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::{
    ledger::{DEADLINE, Fixture},
    support::catchment::poll_until,
};

/// A program whose files say what becomes of them.
const OBEYS: &str = r#"
version = "1"
program = ["/bin/sh", "-c", "case $(cat \"$1\") in bad*) head -n 1 \"$1\" >&2; exit 65;; slow*) sleep 600;; *) echo words;; esac", "sh", "{input}"]
output = "text"
limits = { timeout = "10m" }
"#;

/// A bucket `films` whose files only the collection `made` takes, through a program that obeys
/// them.
pub struct Here {
    pub fixture: Fixture,
    pub objects: Vec<(String, String)>,
}

impl Here {
    /// With these files, of which no batch is made, unless a chunk size says how many a batch has.
    pub fn with(files: &[(String, String)], chunk: Option<u32>) -> Self {
        let fixture = Fixture::new();
        fixture.server.delete("/v1/collections/facts").is(200);
        let folder = fixture.home.data_dir().join("extractors");
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(folder.join("obeys.toml"), OBEYS).unwrap();
        fs::set_permissions(folder.join("obeys.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        let collection = json!({
            "collection_name": "made",
            "source": {"type": "bucket", "bucket_ids": ["films"]},
            "feature_extractor": {"feature_extractor_name": "obeys", "version": "1"},
        });
        poll_until("the definition", DEADLINE, || {
            (fixture.server.post("/v1/collections", &collection).status == 200).then_some(())
        });
        for (name, text) in files {
            fixture.tree.write(name, text);
        }
        fixture.sync(match chunk {
            None => json!({"skip_batch_submission": true}),
            Some(size) => json!({"batch_chunk_size": size}),
        });
        let list = "/v1/buckets/films/objects/list?limit=1000";
        let listed = fixture.server.post(list, &json!({})).is(200);
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let rows = listed["results"].as_array().unwrap();
        let objects =
            rows.iter().map(|row| (text(row, "key_prefix"), text(row, "object_id"))).collect();
        Self { fixture, objects }
    }

    pub fn batch(&self, files: &[&str]) -> Batch<'_> {
        let ids: Vec<&str> = files
            .iter()
            .map(|file| {
                let found = self.objects.iter().find(|(name, _)| name == file);
                found.unwrap_or_else(|| panic!("{file}: {:?}", self.objects)).1.as_str()
            })
            .collect();
        let order = json!({"object_ids": ids, "collection_ids": ["made"]});
        let made = self.fixture.server.post("/v1/buckets/films/batches", &order).is(200);
        let id = made["batch_id"].as_str().unwrap();
        Batch { here: self, path: format!("/v1/buckets/films/batches/{id}") }
    }

    fn documents(&self) -> usize {
        self.fixture.documents("made").len()
    }
}

pub struct Batch<'a> {
    here: &'a Here,
    pub path: String,
}

impl Batch<'_> {
    pub fn does(&self, what: &str, body: Value, status: u16) -> Value {
        let answer = self.here.fixture.server.post(&format!("{}/{what}", self.path), &body);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        answer.json()
    }

    pub fn status(&self) -> String {
        let shown = self.here.fixture.server.get(&self.path).is(200);
        shown["status"].as_str().unwrap().to_owned()
    }

    pub fn becomes(&self, wanted: &str) {
        poll_until(wanted, DEADLINE, || (self.status() == wanted).then_some(()));
        if ["IN_PROGRESS", "CANCELED"].contains(&wanted) {
            return;
        }
        let shown = self.here.fixture.server.get(&self.path).is(200);
        for tier in shown["tier_tasks"].as_array().unwrap() {
            let audit = &tier["audit"];
            assert_eq!((&audit["balanced"], &audit["lost"]), (&json!(true), &json!(0)), "{shown}");
        }
    }
}

pub fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_batch_is_cancelled_retried_and_run_again_from_every_state_or_says_why_not() {
    let all = files(&[("good.txt", "good"), ("bad.txt", "bad"), ("slow.txt", "slow")]);
    let here = Here::with(&all, None);

    let draft = here.batch(&["good.txt"]);
    draft.does("retry", json!({}), 409);
    draft.does("resubmit", json!({}), 409);
    draft.does("cancel", json!({}), 200);
    draft.becomes("CANCELED");

    let running = here.batch(&["slow.txt"]);
    running.does("submit", json!({}), 200);
    running.becomes("IN_PROGRESS");
    running.does("retry", json!({}), 409);
    running.does("resubmit", json!({}), 409);
    for what in ["", "/documents"] {
        let deleted = here.fixture.server.delete(&format!("{}{what}", running.path));
        assert_eq!(deleted.status, 409, "{}", deleted.text());
    }
    running.does("cancel", json!({}), 200);
    running.becomes("CANCELED");
    running.does("cancel", json!({}), 200);
    assert_eq!(running.does("retry", json!({}), 200)["retried_count"], 0);
    running.does("submit", json!({}), 409);
    running.does("resubmit", json!({}), 200);
    running.becomes("IN_PROGRESS");
    running.does("cancel", json!({}), 200);
    running.becomes("CANCELED");

    let done = here.batch(&["good.txt"]);
    done.does("submit", json!({}), 200);
    done.becomes("COMPLETED");
    assert_eq!(here.documents(), 1);
    done.does("cancel", json!({}), 409);
    assert_eq!(done.does("retry", json!({"retry_mode": "all"}), 200)["retried_count"], 0);
    done.does("resubmit", json!({}), 200);
    done.becomes("COMPLETED");
    done.does("resubmit", json!({"dedup_strategy": "replace"}), 200);
    done.becomes("COMPLETED");
    assert_eq!(here.documents(), 1, "run again, an object has one set of documents");

    let failed = here.batch(&["bad.txt"]);
    failed.does("submit", json!({}), 200);
    failed.becomes("FAILED");
    failed.does("cancel", json!({}), 409);
    assert_eq!(failed.does("retry", json!({}), 200)["retried_count"], 0, "it failed for good");
    assert_eq!(failed.does("retry", json!({"retry_mode": "all"}), 200)["retried_count"], 1);
    failed.becomes("FAILED");
    failed.does("resubmit", json!({}), 200);
    failed.becomes("FAILED");

    let mixed = here.batch(&["bad.txt", "good.txt"]);
    mixed.does("submit", json!({}), 200);
    poll_until("an end", DEADLINE, || mixed.status().starts_with("COMPLETED").then_some(()));
    mixed.does("cancel", json!({}), 409);
    mixed.does("resubmit", json!({"dedup_strategy": "replace"}), 200);
    mixed.becomes("COMPLETED_WITH_ERRORS");
    assert_eq!(mixed.does("retry", json!({"retry_mode": "all"}), 200)["retried_count"], 1);
    mixed.becomes("COMPLETED_WITH_ERRORS");
    assert_eq!(here.documents(), 1);
}

/// As many files that never end as there are batches under way at once, and one more.
fn never_ending() -> Vec<String> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let under_way = (processors / 2).max(1) + 1;
    (0..under_way).map(|number| format!("slow {number}.txt")).collect()
}

#[test]
fn a_batch_that_waits_in_the_queue_is_cancelled_and_run_again_without_having_begun() {
    let slow = never_ending();
    let mut all = files(&[("good.txt", "good"), ("bad.txt", "bad")]);
    all.extend(slow.iter().map(|name| (name.clone(), format!("slow: {name}"))));
    let here = Here::with(&all, None);
    let server = &here.fixture.server;
    let failed = here.batch(&["bad.txt"]);
    failed.does("submit", json!({}), 200);
    failed.becomes("FAILED");
    let before: Vec<Batch<'_>> = slow.iter().map(|name| here.batch(&[name])).collect();
    for batch in &before {
        batch.does("submit", json!({}), 200);
        batch.becomes("IN_PROGRESS");
    }

    let waiting = here.batch(&["good.txt"]);
    let task = waiting.does("submit", json!({}), 200);
    let task = format!("/v1/tasks/{}", task["task_id"].as_str().unwrap());
    let is_pending = |batch: &Batch<'_>, task: &str| {
        let shown = server.get(&batch.path).is(200);
        assert_eq!((&shown["status"], &shown["lifecycle"]), (&json!("PENDING"), &json!("queued")));
        assert_eq!((&shown["started_at"], &shown["health"]), (&Value::Null, &json!("healthy")));
        assert_eq!(shown["queue_context"]["queue_position"], slow.len(), "{shown}");
        assert_eq!(server.get(task).is(200)["status"], "PENDING");
        batch.does("retry", json!({}), 409);
        batch.does("resubmit", json!({}), 409);
        assert_eq!(server.delete(&batch.path).status, 409);
    };
    is_pending(&waiting, &task);
    let again = waiting.does("submit", json!({}), 200);
    assert!(task.ends_with(again["task_id"].as_str().unwrap()), "the same task: {again}");

    let stopped = waiting.does("cancel", json!({}), 200);
    assert_eq!(stopped["cancellation"]["ray_jobs_requested"], 0, "nothing ran for it");
    waiting.becomes("CANCELED");
    let shown = server.get(&waiting.path).is(200);
    assert_eq!((&shown["started_at"], shown["completed_at"].is_string()), (&Value::Null, true));
    assert_eq!(server.get(&task).is(200)["status"], "CANCELED");
    assert_eq!(waiting.does("retry", json!({"retry_mode": "all"}), 200)["retried_count"], 0);
    let again = waiting.does("resubmit", json!({}), 200);
    let task = format!("/v1/tasks/{}", again["task_id"].as_str().unwrap());
    is_pending(&waiting, &task);
    server.delete(&task).is(200);
    waiting.becomes("CANCELED");
    assert_eq!(server.get(&task).is(200)["status"], "CANCELED");
    server.delete(&task).is(200);
    let again = waiting.does("resubmit", json!({}), 200);
    let task = format!("/v1/tasks/{}", again["task_id"].as_str().unwrap());

    assert_eq!(failed.does("retry", json!({"retry_mode": "all"}), 200)["retried_count"], 1);
    assert_eq!(failed.status(), "PENDING");
    failed.does("cancel", json!({}), 200);
    failed.becomes("CANCELED");
    failed.does("resubmit", json!({}), 200);

    assert_eq!(here.documents(), 0, "nothing has been extracted so far");
    for batch in &before {
        batch.does("cancel", json!({}), 200);
    }
    waiting.becomes("COMPLETED");
    failed.becomes("FAILED");
    assert_eq!(server.get(&task).is(200)["status"], "COMPLETED");
    assert_eq!(here.documents(), 1);
}

#[test]
fn the_failures_of_a_collection_are_listed_and_retried_over_all_its_batches() {
    const FAILING: usize = 24;
    let mut all: Vec<(String, String)> = (0..FAILING)
        .map(|number| {
            let reason = if number < 20 { "bad light" } else { "bad sound" };
            (format!("{number:02}.txt"), format!("{reason}\n{number}"))
        })
        .collect();
    all.push(("good.txt".to_owned(), "good".to_owned()));
    let here = Here::with(&all, Some(1));
    let server = &here.fixture.server;
    let get = |query: &str| server.get(&format!("/v1/collections/made/failures{query}")).is(200);
    poll_until("all failures", DEADLINE, || {
        here.fixture.settled();
        (get("")["total"] == FAILING).then_some(())
    });
    assert!(here.fixture.settled().len() > FAILING, "a batch each");

    let shown = get("?limit=10");
    assert_eq!(
        (shown["results"].as_array().unwrap().len(), &shown["has_more"]),
        (10, &json!(true))
    );
    let groups = shown["groups"].as_array().unwrap();
    let counts: Vec<u64> = groups.iter().map(|group| group["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [20, 4], "{shown}");
    let mut seen: Vec<String> = Vec::new();
    for offset in [0, 10, 20] {
        let page = get(&format!("?limit=10&offset={offset}"));
        let rows = page["results"].as_array().unwrap().clone();
        seen.extend(rows.iter().map(|row| row["object_id"].as_str().unwrap().to_owned()));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), FAILING, "each object once");
    let of_type = get("?error_type=transient");
    assert_eq!((&of_type["total"], &of_type["results"]), (&json!(0), &json!([])));

    let retry = |body: Value| server.post("/v1/collections/made/failures/retry", &body);
    let none = retry(json!({})).is(200);
    assert_eq!((&none["retried_count"], &none["skipped_count"]), (&json!(0), &json!(FAILING)));
    assert_eq!(none["task_id"], Value::Null);
    retry(json!({"retry_mode": "some"})).blames("retry_mode");

    let before = here.fixture.settled().len();
    let sound = groups[1]["error"].clone();
    let again = retry(json!({"retry_mode": "all", "error": sound})).is(200);
    assert_eq!((&again["retried_count"], &again["skipped_count"]), (&json!(4), &json!(0)));
    let task = again["task_id"].as_str().unwrap().to_owned();
    poll_until("the task", DEADLINE, || {
        (server.get(&format!("/v1/tasks/{task}")).is(200)["status"] != "PENDING"
            && here.fixture.settled().len() > before)
            .then_some(())
    });
    let batches = here.fixture.settled();
    assert_eq!(batches.last().unwrap()["object_count"], 4, "those, and nothing else");
    poll_until("the failures again", DEADLINE, || (get("")["total"] == FAILING).then_some(()));

    let id = here.objects.iter().find(|(name, _)| name == "00.txt").unwrap().1.clone();
    let one = retry(json!({"retry_mode": "all", "object_ids": [id]})).is(200);
    assert_eq!(one["retried_count"], 1);
    here.fixture.settled();
    server.patch("/v1/collections/made", &json!({"enabled": false})).is(200);
    assert_eq!(retry(json!({"retry_mode": "all"})).fails_with(409)["code"], "collection_disabled");
}

#[test]
fn a_restart_or_an_upgrade_of_the_data_directory_extracts_nothing_again() {
    let here =
        Here::with(&files(&[("a.txt", "good"), ("b.txt", "better"), ("c.txt", "bad")]), Some(9));
    let before = here.fixture.settled();
    assert_eq!(here.documents(), 2);
    let written = |documents: &[Value]| {
        let mut all: Vec<String> =
            documents.iter().map(|it| it["_internal"]["updated_at"].to_string()).collect();
        all.sort();
        all
    };
    let times = written(&here.fixture.documents("made"));
    let Here { fixture: Fixture { home, server, tree }, .. } = here;
    assert!(server.stop().success());
    // As an installation of before indexes of documents left it: opening it brings it up to date.
    let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
    db.execute_batch(
        "DROP TABLE document_index; DROP TABLE indexed_fields;
         ALTER TABLE secrets DROP COLUMN refusal; DROP TABLE access_keys;
         ALTER TABLE thumbnails DROP COLUMN tries; ALTER TABLE thumbnails DROP COLUMN retry_at_ms;
         ALTER TABLE leases DROP COLUMN is_to_stop; DROP TABLE several_parents;",
    )
    .unwrap();
    db.pragma_update(None, "user_version", 21).unwrap();
    drop(db);
    let server = crate::server::Server::on(&home);
    let fixture = Fixture { home, server, tree };
    fixture.server.post("/v1/collections/made/trigger", &json!({})).is(202);
    let after = fixture.settled();
    assert_eq!(after.len(), before.len(), "nothing is to be extracted");
    let shown = fixture.server.get("/v1/collections/made").is(200);
    assert_eq!((&shown["outdated"], &shown["waiting"]), (&json!(0), &json!(0)), "{shown}");
    assert_eq!(written(&fixture.documents("made")), times, "no document was written again");
}
