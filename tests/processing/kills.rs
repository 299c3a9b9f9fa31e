//! A processor that dies at each of its commits in turn, or loses its right to process there:
//! whatever it was at, each object has one set of documents afterwards, and who has lost the right
//! writes nothing.
//!
//! The processor runs in a process of its own, which is this test program again. SQLite's hooks
//! into commits tell it where it is.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Read as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use catchment::{
    clock::SystemClock,
    config::Config,
    engine::Engine,
    model::Dedup,
    processing::{
        chores::{self, Edit, Trigger},
        extract::Extractors,
        processor::until_idle,
    },
    sources::Registry,
    store::{
        StoreError, namespaces,
        processing::{collections, documents, processor},
    },
};
use image::ImageFormat;
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, backup::Backup, hooks::Wal, types::Value as Cell};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    files,
    ledger::{DEADLINE, Fixture},
    services,
    support::{
        catchment::{Catchment, poll_until},
        wire::{Answer, Wire},
    },
};

/// The variable with an [`Order`], in JSON.
const ORDER: &str = "CATCHMENT_TEST_PROCESSOR";
/// What a processor logs when it finds that it has lost the right.
const LOST: &str = "another process took processing over";

/// What becomes of a processor.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    data_dir: PathBuf,
    /// At which of its commits, the first being 1.
    at: u64,
    end: End,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum End {
    /// It is killed just before the commit.
    Killed,
    /// Just after the commit, this worker takes the right over. What the database has then is
    /// copied to that file.
    Robbed { thief: String, copy: PathBuf },
}

/// Carries out an order. Its standard input ends when it is to stop.
fn process(order: Order) {
    let config = Config::load(Some(order.data_dir.clone())).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine =
            Engine::open(&config, Arc::new(SystemClock), Arc::new(Registry)).expect("it opens");
        let stop = CancellationToken::new();
        let until = stop.clone();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            until.cancel();
        });
        let own = Extractors::own_folder(&order.data_dir);
        let program = PathBuf::from(env!("CARGO_BIN_EXE_catchment"));
        let extractors = Extractors::with(program, engine.blobs.scratch(), Some(own), None);
        engine.store.on_writer(move |connection| Ok(await_end(connection, order)?)).await.unwrap();
        until_idle(engine, extractors, 1, stop).await.unwrap();
    });
}

/// Lets the end come with the commit that the order names.
fn await_end(connection: &mut Connection, order: Order) -> rusqlite::Result<()> {
    let mut commits = 0;
    let mut is_due = move || {
        commits += 1;
        commits == order.at
    };
    match order.end {
        End::Killed => connection.commit_hook(Some(move || {
            if is_due() {
                kill_process(getpid(), Signal::KILL).unwrap();
                std::thread::park();
            }
            false
        })),
        End::Robbed { thief, copy } => connection.wal_hook(Some(move |_: &mut Wal, _| {
            if is_due() {
                rob(&order.data_dir, &thief, &copy);
            }
            Ok(())
        })),
    }
}

fn rob(data_dir: &Path, thief: &str, copy: &Path) {
    let mut db = Connection::open(data_dir.join("catchment.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let until = Timestamp::now() + Duration::from_secs(3600);
    processor::take(&tx, thief, until).unwrap();
    tx.commit().unwrap();
    let mut copied = Connection::open(copy).unwrap();
    let backup = Backup::new(&db, &mut copied).unwrap();
    backup.run_to_completion(1000, Duration::ZERO, None).unwrap();
}

#[test]
#[ignore = "the other tests start it as a process of its own"]
fn carries_out_the_order_of_its_environment() {
    catchment::logging::start("info".parse().unwrap(), false);
    process(serde_json::from_str(&env::var(ORDER).expect("an order")).unwrap());
}

/// A processor in a process of its own.
struct Processor {
    child: Child,
    said: Option<JoinHandle<String>>,
    saying: Arc<Mutex<String>>,
}

impl Processor {
    fn start(home: &Catchment, order: &Order) -> Self {
        let environment = home.command::<&str>(&[]);
        let environment = environment.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "kills::carries_out_the_order_of_its_environment", "--ignored"])
            .arg("--nocapture")
            .env_clear()
            .envs(environment)
            .env(ORDER, serde_json::to_string(order).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let saying: Arc<Mutex<String>> = Arc::default();
        let (mut pipe, into) = (child.stderr.take().unwrap(), saying.clone());
        let said = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut chunk) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
            into.lock().unwrap().clone()
        });
        Self { child, said: Some(said), saying }
    }

    fn has_said(&self, words: &str) -> bool {
        self.saying.lock().unwrap().contains(words)
    }

    /// Asks it to stop.
    fn stop(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end, and returns whether it came by itself rather than by a kill.
    fn ends(mut self) -> bool {
        let status =
            poll_until("the end of a processor", DEADLINE, || self.child.try_wait().unwrap());
        let said = self.said.take().unwrap().join().unwrap();
        assert!(status.success() || status.code().is_none(), "{status}: {said}");
        status.success()
    }
}

/// A data directory in which everything that a processor does is waiting to be done: a batch over
/// two tiers with new, changed, renamed and removed files, a trigger, a change of documents, and a
/// collection that is to go.
struct Prepared {
    home: Catchment,
    folder: tempfile::TempDir,
    /// Ids of the documents that are there before.
    ids: Vec<String>,
}

impl Prepared {
    fn new() -> Self {
        let Fixture { home, server, tree } = Fixture::new();
        let collection = |name: &str, source: Value, extractor: &str| {
            let extractor = json!({"feature_extractor_name": extractor, "version": "v1"});
            let collection = json!({
                "collection_name": name, "source": source, "feature_extractor": extractor,
            });
            server.post("/v1/collections", &collection).is(200);
        };
        let of_bucket = json!({"type": "bucket", "bucket_ids": ["films"]});
        collection("faces", of_bucket.clone(), "thumbnail");
        collection("going", of_bucket, "passthrough_extractor");
        let of_facts = json!({"type": "collection", "collection_id": "facts"});
        collection("below", of_facts, "passthrough_extractor");
        assert!(server.stop().success());
        let sync = || {
            home.run(&["sync", tree.root().to_str().unwrap(), "--bucket", "films"]).exits(0);
        };
        let picture = |size: u32| files::picture(size, size, ImageFormat::Png);
        tree.write("a.png", picture(10));
        tree.write("b.png", picture(11));
        tree.write("c.txt", "words");
        sync();
        home.run(&["process"]).exits(0);

        tree.write("a.png", picture(20));
        tree.remove("b.png");
        fs::rename(tree.at("c.txt"), tree.at("d.txt")).unwrap();
        tree.write("e.png", picture(12));
        sync();
        ask_for_chores(&home);
        let ids = State::of(home.data_dir(), &[]).ids();
        assert!(ids.len() >= 5, "{ids:?}");
        Self { home, folder: tempfile::tempdir().unwrap(), ids }
    }

    /// A copy of the data directory, to be processed.
    fn copy(&self, name: &str) -> Catchment {
        let to = self.folder.path().join(name);
        copy_folder(self.home.data_dir(), &to);
        self.home.clone().with_data_dir(&to)
    }

    fn state(&self, home: &Catchment) -> State {
        State::of(home.data_dir(), &self.ids)
    }
}

/// A trigger that extracts anew, a change of all documents, and the removal of a collection.
fn ask_for_chores(home: &Catchment) {
    let config = Config::load(Some(home.data_dir().to_owned())).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = Engine::open(&config, Arc::new(SystemClock), Arc::new(Registry)).unwrap();
        let asked = engine.store.write(|tx| {
            let now = Timestamp::now();
            let namespace = namespaces::default(tx)?.key;
            let named = |name: &str| {
                let found = collections::named(tx, namespace, name)?;
                Ok::<_, StoreError>(found.expect("it was made"))
            };
            let trigger = Trigger { dedup: Dedup::Replace, ..Trigger::default() };
            let faces = named("faces")?.key;
            chores::begin_trigger(tx, namespace, faces, &trigger, &[0; 16], now)?;
            let edit = Edit {
                filter: None,
                patch: json!({"seen": true}).as_object().cloned(),
                after: 0,
                last: documents::newest(tx)?,
                count: 0,
            };
            chores::begin_edit(tx, namespace, named("facts")?.key, &edit, now)?;
            collections::begin_removal(tx, &named("going")?, now)
        });
        asked.await.unwrap();
    });
}

fn copy_folder(from: &Path, to: &Path) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), &target).unwrap();
                fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
            }
        }
    }
    let mode = fs::metadata(from).unwrap().permissions().mode();
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).unwrap();
}

fn rows(db: &Connection, sql: &str) -> Vec<Vec<Cell>> {
    let mut statement = db.prepare(sql).unwrap();
    let columns = statement.column_count();
    let read = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

/// What processing has come to: the documents by collection, path and part, with their ids, bodies
/// and blobs.
#[derive(Debug, PartialEq)]
struct State(BTreeMap<String, Vec<String>>);

impl State {
    /// The ids of documents that are not among `known` are left out: each run makes its own.
    fn of(data_dir: &Path, known: &[String]) -> Self {
        let db = Connection::open(data_dir.join("catchment.db")).unwrap();
        let found = rows(
            &db,
            "SELECT c.name, CAST(o.path AS TEXT), part, d.id, body,
                    (SELECT group_concat(hex(hash)) FROM document_blobs b
                     JOIN blobs USING (blob_key) WHERE b.document_key = d.document_key)
             FROM documents d JOIN collections c USING (collection_key)
             JOIN objects o USING (object_key)",
        );
        let mut state = BTreeMap::new();
        for row in found {
            let text: Vec<String> = row.iter().map(|cell| format!("{cell:?}")).collect();
            let Cell::Text(id) = &row[3] else { panic!("{row:?}") };
            let id = if known.is_empty() || known.contains(id) { id } else { "new" };
            let at = text[..3].join(" ");
            let set = vec![id.to_owned(), text[4].clone(), text[5].clone()];
            assert!(state.insert(at, set).is_none(), "two sets of documents: {row:?}");
        }
        Self(state)
    }

    fn ids(&self) -> Vec<String> {
        self.0.values().map(|set| set[0].clone()).collect()
    }
}

/// Asserts that the books of a data directory balance and nothing is left to be done.
fn is_whole(data_dir: &Path) {
    let db = Connection::open(data_dir.join("catchment.db")).unwrap();
    for (what, sql) in [
        (
            "documents of nothing",
            "SELECT id FROM documents WHERE object_key NOT IN
            (SELECT object_key FROM objects)",
        ),
        (
            "documents that nothing found",
            "SELECT id FROM documents d WHERE NOT EXISTS
            (SELECT 1 FROM outcomes r WHERE r.object_key = d.object_key
                AND r.collection_key = d.collection_key)",
        ),
        ("unsettled objects", "SELECT * FROM outcomes WHERE state <> 'done'"),
        ("objects tried more often than twice", "SELECT * FROM outcomes WHERE attempts > 2"),
        (
            "wrong counts of documents",
            "SELECT name FROM collections c WHERE document_count <>
            (SELECT count(*) FROM documents d WHERE d.collection_key = c.collection_key)",
        ),
        (
            "documents that no search finds",
            "SELECT id FROM documents WHERE document_key NOT IN
            (SELECT rowid FROM document_text)",
        ),
        (
            "blobs that are gone",
            "SELECT * FROM document_blobs WHERE blob_key NOT IN
            (SELECT blob_key FROM blobs)",
        ),
        ("objects that wait", "SELECT * FROM to_batch"),
        ("open batches", "SELECT id FROM batches WHERE status <> 'COMPLETED'"),
        ("open tasks", "SELECT id, status FROM tasks WHERE status <> 'COMPLETED'"),
        (
            "tasks that do not balance",
            "SELECT id FROM tasks WHERE batch_key IS NOT NULL
            AND submitted <> processed + failed + skipped",
        ),
        (
            "batches that are not told of once",
            "SELECT id FROM batches b WHERE 1 <>
            (SELECT count(*) FROM events WHERE kind = 'batch.finished'
                AND detail ->> '$.batch_id' = b.id)",
        ),
        ("collections that are to go", "SELECT name FROM collections WHERE is_deleting"),
    ] {
        let wrong = rows(&db, sql);
        assert!(wrong.is_empty(), "{what}: {wrong:?}");
    }
}

#[test]
fn a_processor_that_dies_at_any_of_its_commits_leaves_each_object_one_set_of_documents() {
    let prepared = Prepared::new();
    let whole = prepared.copy("whole");
    whole.run(&["process"]).exits(0);
    is_whole(whole.data_dir());
    let expected = prepared.state(&whole);
    // Three files, each in two collections and their thumbnails.
    assert_eq!(expected.0.len(), 8, "{expected:?}");

    let mut kills = 0;
    for at in 1.. {
        let home = prepared.copy(&format!("killed at {at}"));
        let order = Order { data_dir: home.data_dir().to_owned(), at, end: End::Killed };
        let has_ended = Processor::start(&home, &order).ends();
        home.run(&["process"]).exits(0);
        println!("killed at commit {at}: {}", !has_ended);
        is_whole(home.data_dir());
        assert_eq!(prepared.state(&home), expected, "killed at commit {at}");
        if has_ended {
            break;
        }
        fs::remove_dir_all(home.data_dir()).unwrap();
        kills += 1;
    }
    assert!(kills >= 20, "only {kills} commits");
}

/// Every row of every table.
fn dump(db: &Path) -> BTreeMap<String, Vec<Vec<Cell>>> {
    let db = Connection::open(db).unwrap();
    let tables = rows(
        &db,
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'",
    );
    let name = |row: &Vec<Cell>| match &row[0] {
        Cell::Text(name) => name.clone(),
        other => panic!("{other:?}"),
    };
    let tables = tables.iter().map(name);
    tables.map(|name| (name.clone(), rows(&db, &format!("SELECT * FROM \"{name}\"")))).collect()
}

#[test]
fn a_processor_that_loses_its_right_at_any_of_its_commits_writes_nothing_more() {
    let prepared = Prepared::new();
    let whole = prepared.copy("whole");
    whole.run(&["process"]).exits(0);
    let expected = prepared.state(&whole);

    let mut losses = 0;
    for at in 1.. {
        let home = prepared.copy(&format!("robbed at {at}"));
        let config = Config::load(Some(home.data_dir().to_owned())).unwrap();
        // Alive for as long as this holds it.
        let thief = Engine::open(&config, Arc::new(SystemClock), Arc::new(Registry)).unwrap();
        let copy = prepared.folder.path().join(format!("{at}.db"));
        let end = End::Robbed { thief: thief.worker().id().to_owned(), copy: copy.clone() };
        let order = Order { data_dir: home.data_dir().to_owned(), at, end };
        let mut zombie = Processor::start(&home, &order);
        poll_until("a processor that notices, or has ended", DEADLINE, || {
            (zombie.has_said(LOST) || zombie.child.try_wait().unwrap().is_some()).then_some(())
        });
        zombie.stop();
        assert!(zombie.ends(), "nobody killed it");
        if !copy.exists() {
            assert_eq!(prepared.state(&home), expected, "nobody has robbed it");
            break;
        }
        let (before, after) = (dump(&copy), dump(&home.data_dir().join("catchment.db")));
        for (table, rows) in before {
            assert_eq!(rows, after[&table], "{table}, robbed at commit {at}");
        }
        drop(thief);
        home.run(&["process"]).exits(0);
        is_whole(home.data_dir());
        assert_eq!(prepared.state(&home), expected, "robbed at commit {at}");
        fs::remove_dir_all(home.data_dir()).unwrap();
        losses += 1;
    }
    assert!(losses >= 20, "only {losses} commits");
}

/// A door that is closed until it is opened.
#[derive(Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        let closed = self.is_open.lock().unwrap();
        let _open = self.opened.wait_timeout_while(closed, DEADLINE, |open| !*open).unwrap();
    }
}

/// Stops a server where it is not in the middle of a transaction, which would keep everybody out.
fn freeze(here: &Fixture) {
    let db = Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
    db.busy_timeout(Duration::ZERO).unwrap();
    poll_until("a moment between transactions", DEADLINE, || {
        here.server.signal(Signal::STOP);
        let is_free = db.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok();
        if !is_free {
            here.server.signal(Signal::CONT);
        }
        is_free.then_some(())
    });
}

#[test]
fn a_server_frozen_until_another_process_took_over_writes_nothing_when_it_thaws() {
    let (gate, asked) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let (closed, count) = (gate.clone(), asked.clone());
    let wire = Wire::serve(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if number == 0 {
            closed.pass();
        }
        let document = json!({"document": {"answer": number}});
        Answer::new(200, format!("{document}\n{{\"done\":true}}\n")).into()
    });
    let here = Fixture::new();
    let text = format!("version = \"1\"\nhttp = \"{}/\"\nformat = \"catchment\"\n", wire.url());
    services::define(&here, "remote", &text);
    services::collect(&here, "remote", json!({}));
    here.tree.write("a.txt", "a");
    let sync = here.sync(json!({}));
    poll_until("the question", DEADLINE, || (asked.load(Ordering::SeqCst) == 1).then_some(()));
    freeze(&here);

    // By the clock of the other one the lease has run out.
    here.home.at_time("+2m").run(&["process"]).exits(0);

    let db = Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
    let of_the_first = || {
        [
            "SELECT * FROM documents JOIN objects o USING (object_key)
                WHERE o.path = CAST('a.txt' AS BLOB)",
            "SELECT r.* FROM outcomes r JOIN objects o USING (object_key)
                WHERE o.path = CAST('a.txt' AS BLOB)",
            "SELECT * FROM batches WHERE batch_key = 1",
            "SELECT * FROM tasks WHERE batch_key = 1",
        ]
        .map(|sql| {
            let found = rows(&db, sql);
            assert!(!found.is_empty(), "{sql}");
            found
        })
    };
    let before = of_the_first();
    gate.open();
    here.server.signal(Signal::CONT);
    // The right is free again, and the server takes it for what comes.
    here.tree.write("b.txt", "b");
    here.run_again(&sync, 2);
    poll_until("the next document", DEADLINE, || (here.documents("made").len() == 2).then_some(()));
    here.settled();
    assert_eq!(of_the_first(), before);
    assert_eq!(asked.load(Ordering::SeqCst), 3, "each was asked for once by each processor");
}
