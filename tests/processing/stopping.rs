//! Programs that are stopped: each is asked to end, may put things in order, and is killed with all
//! that it has started if it does not.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    ledger::{DEADLINE, Fixture},
    programs::{collect, define, left_behind, nothing_is_left, shell},
    support::{
        catchment::poll_until,
        wire::{Answer, Wire},
    },
};

/// How long a program has to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Somebody whom programs tell how far they are.
pub struct Told {
    wire: Wire,
    words: Arc<Mutex<Vec<String>>>,
}

impl Told {
    pub fn new() -> Self {
        let words: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = words.clone();
        let wire = Wire::serve(move |request| {
            kept.lock().unwrap().push(request.target.trim_start_matches('/').to_owned());
            Answer::new(200, "").into()
        });
        Self { wire, words }
    }

    pub fn port(&self) -> u16 {
        self.wire.port()
    }

    /// All that was told so far.
    pub fn words(&self) -> Vec<String> {
        self.words.lock().unwrap().clone()
    }

    fn has(&self, word: &str) -> bool {
        self.words.lock().unwrap().iter().any(|said| said == word)
    }

    fn waits_for(&self, word: &str) {
        poll_until(word, DEADLINE, || self.has(word).then_some(()));
    }
}

/// A bucket with one file, whose program does as the file says, and is under way.
fn under_way(manners: &str) -> (Fixture, Told, String) {
    let (here, told) = (Fixture::new(), Told::new());
    let script = format!(
        "say() {{ exec 3<>/dev/tcp/127.0.0.1/{}; printf 'GET /%s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' $1 >&3; \
         read -r _ <&3; exec 3>&-; }}\n\
         case $(cat \"$1\") in\n\
         polite) trap 'say ended; exit 0' TERM;;\n\
         stubborn) trap '' TERM; setsid sh -c 'sleep 600' & sleep 600 & ;;\n\
         esac\n\
         say begun\n\
         while :; do sleep 1; done",
        told.port()
    );
    let more = "output = \"text\"\nallow = { network = true }\nlimits = { timeout = \"10m\" }";
    define(&here.home, "works", &shell(&script, more).replace("/bin/sh", "/bin/bash"));
    collect(&here, "works", Value::Null);
    here.tree.write("a.txt", manners);
    let sync = here.sync(json!({}));
    told.waits_for("begun");
    let shown = here.server.get(&sync).is(200);
    let batch = shown["batch_ids"][0].as_str().unwrap();
    (here, told, format!("/v1/buckets/films/batches/{batch}"))
}

/// Asserts that the batch is cancelled, has made nothing, and that no process is left.
fn is_cancelled(here: &Fixture, batch: &str) {
    nothing_is_left(&here.home);
    assert_eq!(here.server.get(batch).is(200)["status"], "CANCELED");
    assert_eq!(here.documents("made").len(), 0);
}

#[test]
fn a_program_whose_batch_is_cancelled_is_asked_to_end_and_may_put_things_in_order() {
    let (here, told, batch) = under_way("polite");
    here.server.post(&format!("{batch}/cancel"), &json!({})).is(200);
    told.waits_for("ended");
    is_cancelled(&here, &batch);
}

#[test]
fn a_program_that_will_not_end_is_killed_after_five_seconds_with_all_that_it_started() {
    let (here, told, batch) = under_way("stubborn");
    assert!(left_behind(&here.home).len() >= 3, "it has children");
    let since = Instant::now();
    here.server.post(&format!("{batch}/cancel"), &json!({})).is(200);
    is_cancelled(&here, &batch);
    assert!(since.elapsed() >= GRACE, "it had {:?}", since.elapsed());
    assert!(!told.has("ended"));
}

#[test]
fn a_collection_deleted_by_force_ends_its_programs_and_only_its_work_is_lost() {
    for manners in ["polite", "stubborn"] {
        let (here, told, batch) = under_way(manners);
        let refused = here.server.delete("/v1/collections/made").fails_with(409);
        assert_eq!(refused["code"], "batch_runs");
        assert!(refused["message"].as_str().unwrap().contains("?force=true"), "{refused}");
        assert!(!left_behind(&here.home).is_empty(), "what is refused ends nothing");

        here.server.delete("/v1/collections/made?force=true").is(200);

        // By itself it would run for ten minutes.
        nothing_is_left(&here.home);
        assert_eq!(told.has("ended"), manners == "polite");
        here.server.get("/v1/collections/made").fails_with(404);
        assert_eq!(here.settled().len(), 1);
        let ended = here.server.get(&batch).is(200);
        assert_eq!(ended["status"], "COMPLETED", "{ended}");
        let audit = &ended["tier_tasks"][0]["audit"];
        assert_eq!((&audit["balanced"], &audit["processed"]), (&json!(true), &json!(1)), "{ended}");
        assert_eq!(here.documents("facts").len(), 1, "the other collection has its document");
        let db = rusqlite::Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
        poll_until("the end of the collection", DEADLINE, || {
            let rows = "SELECT (SELECT count(*) FROM collections) + (SELECT count(*) FROM outcomes)
                             + (SELECT count(*) FROM documents)";
            let rows: u64 = db.query_row(rows, [], |row| row.get(0)).unwrap();
            (rows == 3).then_some(())
        });
    }
}

#[test]
fn a_bucket_deleted_by_force_ends_its_programs_and_its_task_says_when_it_is_gone() {
    let (here, told, batch) = under_way("polite");
    let gone = here.server.delete("/v1/buckets/films?force_foreclose=true").is(200);
    nothing_is_left(&here.home);
    assert!(told.has("ended"));
    let task = format!("/v1/tasks/{}", gone["task_id"].as_str().unwrap());
    let ended = poll_until("the end of the bucket", DEADLINE, || {
        let shown = here.server.get(&task).is(200);
        (shown["status"] == "COMPLETED").then_some(shown)
    });
    assert_eq!(ended["task_type"], "api_buckets_delete", "{ended}");
    assert_eq!(ended["additional_data"]["bucket_id"], gone["bucket_id"], "{ended}");
    here.server.get(&batch).fails_with(404);
    assert_eq!(here.documents("made").len(), 0);
    let listed = json!({"task_type": "api_buckets_delete"});
    let listed = here.server.post("/v1/tasks/list", &listed).is(200);
    assert_eq!(listed["results"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn a_server_that_stops_waits_until_its_programs_have_ended_whatever_their_manners() {
    for manners in ["polite", "stubborn"] {
        let (here, told, _) = under_way(manners);
        let Fixture { home, server, tree: _tree } = here;
        assert!(server.stop().success());
        assert!(left_behind(&home).is_empty(), "{manners}");
        assert_eq!(told.has("ended"), manners == "polite");
    }
}
