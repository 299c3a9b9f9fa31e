//! A server that is killed again and again in one table: the table ends up in the bucket all the
//! same, each row once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    fake::FakeSnowflake,
    server::Server,
    support::{catchment::poll_until, content},
    syncs::{DEADLINE, Fixture, home_with},
};

const T: [&str; 3] = ["DB", "S", "T"];

/// Every run is a full pass.
const DAILY: &str = "[limits]\nfull_pass_hours = 0\n";

const ROWS: u32 = 800;

/// Rows of a partition.
const PARTITION: u32 = 40;

fn row(id: u32, value: &str) -> Value {
    json!([id.to_string(), value])
}

fn table(fake: &FakeSnowflake) {
    let columns = json!([["ID", "fixed", 0], ["V", "text", null]]);
    let rows: Vec<Value> = (1000..1000 + ROWS).map(|id| row(id, "a")).collect();
    fake.table(T, &columns, &["ID"], &json!(rows));
    fake.faults(&json!({ "first_rows": PARTITION, "partition_rows": PARTITION }));
}

/// Begins a run, kills its server five times, and lets it come to its end. Each time the result
/// stands still in a random partition; before some kills something new is committed, before others
/// perhaps nothing.
fn run_with_five_kills(fake: &FakeSnowflake, fixture: Fixture, sync: &str, order: &str) -> Fixture {
    let mut rng = fastrand::Rng::with_seed(content::seed());
    let mut gets_further = [true, true, true, false, false];
    rng.shuffle(&mut gets_further);
    let home = fixture.server.home.clone();
    let connection = fixture.connection.clone();
    let on_home = || Fixture { server: Server::on(&home), connection: connection.clone() };
    let jobs_before = fixture.jobs(sync).len();
    let mut first = Some(fixture);
    for (kills, gets_further) in gets_further.into_iter().enumerate() {
        let partition = rng.u32(1..=2);
        let asked = partition.to_string();
        let seen = fake.log().len();
        fake.faults(&json!({ "hold": partition }));
        let fixture = match first.take() {
            Some(fixture) => {
                fixture.server.post(&format!("{sync}/{order}"), &json!({})).is(200);
                fixture
            }
            None => on_home(),
        };
        poll_until("the partition that is held", DEADLINE, || {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let is_asked_for = |entry: &Value| entry["query"]["partition"] == asked.as_str();
            fake.log().iter().skip(seen).any(is_asked_for).then_some(())
        });
        if gets_further {
            poll_until("a commit", DEADLINE, || {
                std::thread::sleep(std::time::Duration::from_millis(10));
                let jobs = fixture.jobs(sync);
                (jobs.len() == jobs_before + kills + 1 && rows_of(&jobs[0]) > 0).then_some(())
            });
        }
        fixture.server.kill();
    }
    fake.faults(&json!({ "hold": null }));
    let fixture = on_home();
    poll_until("the end of the pass", DEADLINE, || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let now = fixture.server.get(sync).is(200);
        assert_ne!(now["status"], "SUSPENDED", "{now}");
        let jobs = fixture.jobs(sync);
        let is_over = jobs.iter().all(|job| job["status"] != "running");
        (is_over && jobs[0]["status"] == "completed").then_some(())
    });
    let jobs = fixture.jobs(sync);
    assert_eq!(jobs.len() - jobs_before, 6, "a job for each server: {jobs:?}");
    fixture
}

/// How many rows a job has dealt with.
fn rows_of(job: &Value) -> u64 {
    let counts = job["metadata"]["counts"].as_object().unwrap();
    ["synced", "updated", "unchanged"].iter().filter_map(|name| counts[*name].as_u64()).sum()
}

/// The value of each row in the bucket; none is there twice.
fn values(fixture: &Fixture) -> BTreeMap<String, String> {
    let all = "/v1/buckets/rows/objects/list?limit=1000";
    let list = fixture.server.post(all, &json!({})).is(200);
    let value = |row: Value| row["V"].as_str().unwrap().to_owned();
    let values: BTreeMap<String, String> =
        fixture.rows().into_iter().map(|(path, row)| (path, value(row))).collect();
    assert_eq!(list["results"].as_array().unwrap().len(), values.len(), "each once");
    values
}

fn expected(rows: impl Iterator<Item = (u32, &'static str)>) -> BTreeMap<String, String> {
    rows.map(|(id, value)| (format!("{id}.json"), value.to_owned())).collect()
}

#[test]
fn a_server_killed_five_times_in_its_first_pass_over_a_table_has_each_row_once_afterwards() {
    let fake = FakeSnowflake::start();
    table(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    let fixture = run_with_five_kills(&fake, fixture, &sync, "resume");
    assert_eq!(values(&fixture), expected((1000..1000 + ROWS).map(|id| (id, "a"))));
}

#[test]
fn a_server_killed_five_times_in_a_pass_over_keys_has_each_row_once_afterwards() {
    let fake = FakeSnowflake::start();
    table(&fake);
    let fixture = Fixture::on(&home_with(&fake, DAILY), &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    // Of every ten rows the first goes, the second changes, and there are ten new ones.
    let ids = || 1000..1000 + ROWS;
    let first: Vec<Value> =
        ids().filter(|id| id % 10 < 2).map(|id| json!([id.to_string()])).collect();
    let changed = ids().filter(|id| id % 10 == 1).map(|id| row(id, "b"));
    let new = (5000..5010).map(|id| row(id, "c"));
    fake.change(T, &json!(first), &json!(changed.chain(new).collect::<Vec<_>>()));
    let fixture = run_with_five_kills(&fake, fixture, &sync, "trigger");
    let kept = ids().filter(|id| id % 10 > 0);
    let kept = kept.map(|id| (id, if id % 10 == 1 { "b" } else { "a" }));
    assert_eq!(values(&fixture), expected(kept.chain((5000..5010).map(|id| (id, "c")))));
}
