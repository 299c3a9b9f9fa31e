//! What is tried when, how often, and beside what: turns, places, memory, syncs, a full disk.

use std::{collections::BTreeSet, process::Command, sync::Arc};

use catchment::{
    clock::SystemClock,
    config::Config,
    engine::Engine,
    model::Dedup,
    sources::Registry,
    store::{
        StoreError, buckets, namespaces,
        processing::{
            batches::{self, NewBatch},
            collections,
        },
    },
};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    ledger::{DEADLINE, Fixture},
    programs::{collect, define, failures, shell},
    server::Server,
    stopping::Told,
    support::{
        catchment::{Catchment, poll_until},
        fake_s3::{FakeS3, Fault, Kind, On},
        wire::Delivery,
    },
};

/// A data directory without a server, in which nothing of a bucket `films` has been extracted by
/// its collections, and no batch waits.
struct Quiet {
    home: Catchment,
    told: Told,
    _tree: crate::support::trees::Tree,
}

/// The name and bytes of a file.
type Given<'a> = (&'a str, &'a str);

impl Quiet {
    /// Programs report to `told` under the names of their collections.
    fn with(files: &[Given<'_>], programs: &[(&str, String)]) -> Self {
        let (here, told) = (Fixture::new(), Told::new());
        here.server.delete("/v1/collections/facts").is(200);
        for (name, text) in programs {
            define(&here.home, name, &text.replace("{PORT}", &told.port().to_string()));
        }
        for (name, _) in programs {
            let collection = json!({
                "collection_name": name,
                "source": {"type": "bucket", "bucket_ids": ["films"]},
                "feature_extractor": {"feature_extractor_name": name, "version": "1"},
            });
            here.server.post("/v1/collections", &collection).is(200);
        }
        for (name, content) in files {
            here.tree.write(name, content);
        }
        here.sync(json!({"skip_batch_submission": true}));
        let Fixture { home, server, tree } = here;
        assert!(server.stop().success());
        Self { home, told, _tree: tree }
    }

    fn db(&self) -> Connection {
        Connection::open(self.home.data_dir().join("catchment.db")).unwrap()
    }

    /// Submits batches of these files, one each, for these collections.
    fn queue(&self, files: &[&str], names: &[&str], is_backfill: bool) {
        let db = self.db();
        let key_of = |file: &&str| -> i64 {
            let of_path = "SELECT object_key FROM objects WHERE CAST(path AS TEXT) = ?1";
            db.query_row(of_path, [file], |row| row.get(0)).unwrap()
        };
        let objects: Vec<i64> = files.iter().map(key_of).collect();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let config = Config::load(Some(self.home.data_dir().to_owned())).unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let engine = Engine::open(&config, Arc::new(SystemClock), Arc::new(Registry)).unwrap();
            let asked = engine.store.write(move |tx| {
                let (now, namespace) = (Timestamp::now(), namespaces::default(tx)?.key);
                let bucket_key = buckets::by_name(tx, "films")?.expect("it was made").key;
                let mut keys = Vec::new();
                for name in &names {
                    let found = collections::named(tx, namespace, name)?;
                    keys.push(found.expect("it was made").key);
                }
                let tiers = collections::tiers(tx, &keys)?;
                for object in objects {
                    let batch = NewBatch {
                        bucket_key,
                        is_backfill,
                        dedup: Dedup::Skip,
                        collections: Some(keys.clone()),
                        ..NewBatch::default()
                    };
                    let key = batches::insert(tx, &batch, now)?;
                    batches::add_keys(tx, key, &[object])?;
                    batches::submit(tx, key, &tiers, now)?;
                }
                Ok::<_, StoreError>(())
            });
            asked.await.unwrap();
        });
    }

    fn process(&self, concurrency: u32) {
        let run = self.home.run(&["process", "--concurrency", &concurrency.to_string()]);
        assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    }
}

/// A program that tells `began/NAME/CONTENT` and `ended/NAME/CONTENT`, and between them does what
/// the script says.
fn telling(name: &str, script: &str, more: &str) -> String {
    let script = format!(
        "say() {{ exec 3<>/dev/tcp/127.0.0.1/{{PORT}}; printf 'GET /%s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' $1 >&3; \
         read -r _ <&3; exec 3>&-; }}\n\
         what=$(cat \"$1\")\n\
         say began/{name}/$what\n\
         {script}\n\
         say ended/{name}/$what\n\
         echo $what"
    );
    let more = format!("output = \"text\"\nallow = {{ network = true }}\n{more}");
    shell(&script, &more).replace("/bin/sh", "/bin/bash")
}

/// How many were under way at once at most, by what was told.
fn most_at_once(words: &[String]) -> usize {
    let (mut now, mut most) = (BTreeSet::new(), 0);
    for word in words {
        match word.split_once('/').unwrap() {
            ("began", what) => now.insert(what.to_owned()),
            (_, what) => now.remove(what),
        };
        most = most.max(now.len());
    }
    most
}

/// Limits that let many run at once on any computer.
const SMALL: &str = "limits = { memory = \"100MiB\" }";

const SIX: [Given<'static>; 6] = [
    ("1.txt", "one"),
    ("2.txt", "two"),
    ("3.txt", "three"),
    ("4.txt", "four"),
    ("5.txt", "five"),
    ("6.txt", "six"),
];

fn names<'a>(files: &[Given<'a>]) -> Vec<&'a str> {
    files.iter().map(|(name, _)| *name).collect()
}

#[test]
fn as_many_objects_as_there_are_places_are_extracted_at_once_and_while_a_sync_runs_one() {
    for syncs in [false, true] {
        let quiet = Quiet::with(&SIX, &[("slow", telling("slow", "sleep 0.5", SMALL))]);
        quiet.queue(&names(&SIX), &["slow"], false);
        let s3 = FakeS3::start();
        s3.put("key", "x".repeat(100));
        s3.inject(Fault::delivery(On::AnyGet, Delivery::StallAfter(10)));
        let endpoint = s3.endpoint();
        let home = (quiet.home.clone())
            .env("AWS_ACCESS_KEY_ID", &endpoint.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &endpoint.secret_key)
            .with_endpoint(&endpoint.url);
        let run = syncs.then(|| {
            let run = home.start_sync("s3://catchment-test", &[] as &[&str]);
            s3.wait_until("a read", |seen| seen.iter().any(|seen| seen.kind == Kind::Get));
            run
        });
        quiet.process(4);
        let words = quiet.told.words();
        assert_eq!(words.len(), 12, "{words:?}");
        let most = most_at_once(&words);
        assert!(if syncs { most == 1 } else { (2..=4).contains(&most) }, "{most}: {words:?}");
        s3.heal();
        drop(run);
    }
}

#[test]
fn as_many_extractors_run_at_once_as_the_settings_say_in_a_server_and_without_one() {
    for (most, allowed) in [("1", 1..=1), ("3", 2..=3)] {
        let quiet = Quiet::with(&SIX, &[("slow", telling("slow", "sleep 0.5", SMALL))]);
        let home = quiet.home.clone().env("CATCHMENT_PROCESSING", most);
        quiet.queue(&names(&SIX), &["slow"], false);
        home.run(&["process"]).exits(0);
        let words = quiet.told.words();
        assert_eq!(words.len(), 12, "{words:?}");
        assert!(allowed.contains(&most_at_once(&words)), "{most}: {words:?}");

        let set = format!("processing = {most}\n");
        std::fs::write(quiet.home.data_dir().join("config.toml"), set).unwrap();
        let server = Server::on(&quiet.home);
        let again = json!({"dedup_strategy": "replace"});
        server.post("/v1/collections/slow/trigger", &again).is(202);
        let words = poll_until("all of them", DEADLINE, || {
            let words = quiet.told.words();
            (words.len() == 24).then_some(words)
        });
        assert!(allowed.contains(&most_at_once(&words[12..])), "{most}: {words:?}");
    }
    let none = Catchment::new().env("CATCHMENT_PROCESSING", "0");
    none.run(&["extractors"]).exits(1).says(&["CATCHMENT_PROCESSING", "a number of extractors"]);
}

#[test]
fn what_took_too_much_is_tried_once_more_while_nothing_else_runs() {
    let script = "case $what in big) kill -KILL $$;; *) sleep 0.3;; esac";
    let files = [("big.txt", "big"), SIX[0], SIX[1], SIX[2], SIX[3], SIX[4], SIX[5]];
    let quiet = Quiet::with(&files, &[("mixed", telling("mixed", script, SMALL))]);
    quiet.queue(&names(&files), &["mixed"], false);
    quiet.process(4);
    let words = quiet.told.words();
    let is_big = |word: &String| word == "began/mixed/big";
    assert_eq!(words.iter().filter(|word| is_big(word)).count(), 2, "{words:?}");
    let again = words.iter().rposition(is_big).unwrap();
    let before = words[..again].iter().filter(|word| !is_big(word));
    let (began, ended): (Vec<&String>, Vec<&String>) =
        before.partition(|word| word.starts_with("began"));
    assert_eq!(began.len(), ended.len(), "something ran beside it: {words:?}");
    let said = quiet.db().query_row(
        "SELECT class, attempts FROM outcomes WHERE state = 'failed'",
        [],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)),
    );
    assert_eq!(said.unwrap(), ("resource".to_owned(), 2));
}

#[test]
fn programs_that_run_at_once_may_use_a_quarter_of_the_memory_together() {
    let info = rustix::system::sysinfo();
    let all = info.totalram as u64 * u64::from(info.mem_unit);
    // Two of these are more than a quarter; each alone is not.
    let limits = format!("limits = {{ memory = {} }}", all / 5);
    let program = |name: &str| (name.to_owned(), telling(name, "sleep 0.3", &limits));
    let (one, other) = (program("one"), program("other"));
    let quiet = Quiet::with(&SIX[..3], &[(&one.0, one.1), (&other.0, other.1)]);
    let three = names(&SIX[..3]);
    quiet.queue(&three, &["one"], false);
    quiet.queue(&three, &["other"], false);
    quiet.process(4);
    let words = quiet.told.words();
    assert_eq!((words.len(), most_at_once(&words)), (12, 1), "{words:?}");
}

#[test]
fn collections_take_turns_and_what_is_of_old_has_a_place_beside_what_is_fresh() {
    let program = |name: &str| (name.to_owned(), telling(name, ":", ""));
    let (busy, late, old) = (program("busy"), program("late"), program("old"));
    let quiet = Quiet::with(&SIX, &[(&busy.0, busy.1), (&late.0, late.1), (&old.0, old.1)]);
    quiet.queue(&names(&SIX), &["busy"], false);
    quiet.queue(&[SIX[0].0], &["late"], false);
    quiet.queue(&names(&SIX[..2]), &["old"], true);
    quiet.process(1);
    let words = quiet.told.words();
    assert_eq!(words.len(), 2 * 9, "{words:?}");
    let first = |name: &str| words.iter().position(|word| word.starts_with(name)).unwrap();
    let last_of_busy = words.iter().rposition(|word| word.starts_with("began/busy")).unwrap();
    assert!(first("began/late") < first("began/busy/three"), "{words:?}");
    assert!(first("began/old") < last_of_busy, "{words:?}");
}

#[test]
fn nothing_is_extracted_while_the_disk_is_as_full_as_it_may_be() {
    let quiet = Quiet::with(&SIX[..1], &[("plain", telling("plain", ":", ""))]);
    quiet.queue(&[SIX[0].0], &["plain"], false);
    let full = quiet.home.clone().env("CATCHMENT_MIN_FREE", "1EiB");
    let said = full.run(&["process"]).exits(0).stdout();
    assert!(said.contains("0 documents; 0 objects failed; 1 batch waiting"), "{said}");
    assert_eq!(quiet.told.words(), [] as [&str; 0]);
    let said = quiet.home.run(&["process"]).exits(0).stdout();
    assert!(said.contains("1 document; 0 objects failed; 0 batches waiting"), "{said}");
}

#[test]
fn a_program_has_few_rights_and_gives_way_to_others() {
    let here = Fixture::new();
    // Ten more than this process, and 19 at most.
    let own = Command::new("nice").output().unwrap();
    let own: i32 = String::from_utf8(own.stdout).unwrap().trim().parse().unwrap();
    let nice = (own + 10).min(19);
    let script = "ulimit -n; ulimit -c; nice; [ $(ulimit -t) -gt 0 ] && echo seconds; \
                  [ $(ulimit -f) = unlimited ] || echo blocks";
    define(&here.home, "limits", &shell(script, "output = \"text\""));
    collect(&here, "limits", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    here.settled();
    let made = here.documents("made");
    assert_eq!(made.len(), 1, "{:?}", failures(&here));
    assert_eq!(made[0]["text"], format!("256\n0\n{nice}\nseconds\nblocks\n"));
}

#[test]
fn an_object_that_fails_in_passing_is_tried_four_times_with_one_name_and_longer_waits() {
    let (home, clock) = Catchment::new().under_steered_clock();
    let (here, told) = (Fixture::on(home), Told::new());
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; printf 'GET /%s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' \
         $CATCHMENT_RUN >&3; read -r _ <&3; echo busy >&2; exit 75",
        told.port()
    );
    let more = "output = \"text\"\nallow = { network = true }";
    define(&here.home, "busy", &shell(&script, more).replace("/bin/sh", "/bin/bash"));
    collect(&here, "busy", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    let Fixture { home, mut server, tree } = here;
    let db = Connection::open(home.data_dir().join("catchment.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let stands = |attempts: u32| {
        poll_until("a try", DEADLINE, || {
            let of_it = "SELECT attempts, retry_at_ms - r.updated_at_ms FROM outcomes r
                 JOIN collections c USING (collection_key)
                 WHERE c.name = 'made' AND state = 'waiting' AND class = 'transient'";
            let found = db.query_row(of_it, [], |row| Ok((row.get(0)?, row.get(1)?)));
            let (tried, wait): (u32, i64) = found.ok()?;
            (tried == attempts).then_some(wait)
        })
    };
    // It is tried the second time after a second, which may have passed by now.
    for (attempts, seconds) in [(2, 10), (3, 60)] {
        let wait = stands(attempts);
        let (least, most) = (seconds * 750, seconds * 1250);
        assert!((least..=most).contains(&wait), "{wait} ms before try {}", attempts + 1);
        // A server that comes later finds that the time has come.
        assert!(server.stop().success());
        clock.forward(100);
        server = Server::on(&home);
    }
    let here = Fixture { home, server, tree };
    here.settled();
    let failed = failures(&here);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].0.contains("busy") && failed[0].1 == "transient", "{failed:?}");
    let runs = told.words();
    assert_eq!(runs.len(), 4, "{runs:?}");
    assert!(runs.iter().all(|run| *run == runs[0] && run.contains("obj_")), "{runs:?}");

    let batch = here.settled().remove(0);
    let path = format!("/v1/buckets/films/batches/{}", batch["batch_id"].as_str().unwrap());
    let diagnosis = here.server.get(&format!("{path}/diagnose")).is(200);
    assert!(diagnosis["recommendations"].to_string().contains("Retry the batch"), "{diagnosis}");
    let again = here.server.post(&format!("{path}/retry"), &json!({})).is(200);
    assert_eq!(again["retried_count"], 1, "it may pass: {again}");
    here.server.post(&format!("{path}/cancel"), &json!({})).is(200);
    let again = here.server.post("/v1/collections/made/trigger", &json!({})).is(202);
    assert_eq!(again["object_count"], 1, "a trigger takes it, too: {again}");
}

#[test]
fn a_batch_that_another_process_carries_out_is_shown_and_cancelled_by_the_server() {
    let script = "case $what in two) while :; do sleep 0.2; done;; esac";
    let quiet = Quiet::with(&SIX[..2], &[("slow", telling("slow", script, SMALL))]);
    quiet.queue(&names(&SIX[..2]), &["slow"], false);
    let process = quiet.home.start(&["process", "--concurrency", "2"]);
    poll_until("both", DEADLINE, || {
        let words = quiet.told.words();
        let has = |word: &str| words.iter().any(|said| said == word);
        (has("ended/slow/one") && has("began/slow/two")).then_some(())
    });

    let server = Server::on(&quiet.home);
    let batches = |status: &str| {
        let wanted = json!({"status": status});
        let listed = server.post("/v1/buckets/films/batches/list", &wanted).is(200);
        listed["results"].as_array().unwrap().clone()
    };
    poll_until("the first, as it is written down", DEADLINE, || {
        (batches("COMPLETED").len() == 1).then_some(())
    });
    let counted = server.get("/v1/collections/slow/documents/count").is(200);
    assert_eq!(counted["count"], 1);
    let running = batches("IN_PROGRESS");
    assert_eq!((running.len(), &running[0]["health"]), (1, &json!("healthy")), "{running:?}");
    let path = format!("/v1/buckets/films/batches/{}", running[0]["batch_id"].as_str().unwrap());
    server.post(&format!("{path}/cancel"), &json!({})).is(200);
    process.ends().exits(0);
    assert_eq!(server.get(&path).is(200)["status"], "CANCELED");
    assert!(!quiet.told.words().contains(&"ended/slow/two".to_owned()));
}

#[test]
fn a_schedule_takes_what_no_batch_has_taken_each_time_that_it_is_due() {
    let (home, clock) = Catchment::new().under_steered_clock();
    let here = Fixture::on(home);
    here.server.delete("/v1/collections/facts").is(200);
    let mut collection = Fixture::collection("hourly");
    collection["schedule"] =
        json!({"trigger_type": "interval", "schedule_config": {"interval_seconds": 3600}});
    here.tree.write("a.txt", "a");
    let sync = here.sync(json!({"skip_batch_submission": true}));
    here.server.post("/v1/collections", &collection).is(200);
    let has = |documents: usize| {
        poll_until("the documents", DEADLINE, || {
            (here.documents("hourly").len() == documents).then_some(())
        });
        here.settled()
    };
    has(0);
    clock.forward(3700);
    assert_eq!(has(1).len(), 1);
    here.tree.write("b.txt", "b");
    here.run_again(&sync, 2);
    clock.forward(3700);
    let batches = has(2);
    assert_eq!(batches.last().unwrap()["object_count"], 1, "only what is new: {batches:?}");
}

#[test]
fn the_members_of_a_batch_without_failures_are_forgotten_after_a_month() {
    let files = [("good.txt", "good"), ("bad.txt", "bad")];
    let script = "case $what in bad) exit 65;; esac";
    let quiet = Quiet::with(&files, &[("mixed", telling("mixed", script, ""))]);
    quiet.queue(&names(&files), &["mixed"], false);
    quiet.process(1);
    let db = quiet.db();
    let members = || {
        let of_batches = "SELECT b.status FROM batch_objects JOIN batches b USING (batch_key)";
        let mut statement = db.prepare(of_batches).unwrap();
        let mut found: Vec<String> =
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        found.sort();
        found
    };
    assert_eq!(members(), ["COMPLETED", "FAILED"]);
    quiet.home.at_time("+29d").run(&["process"]);
    assert_eq!(members(), ["COMPLETED", "FAILED"]);
    quiet.home.at_time("+31d").run(&["process"]);
    assert_eq!(members(), ["FAILED"], "what failed can be retried for ever");
}
