//! Tables, synced through the built program and its API.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    fake::{ACCOUNT, FakeSnowflake, USER, private_key},
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        client::run_client,
    },
};

/// No run of these tests takes longer, on a slow and busy machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// An installation whose Snowflake is the imitation.
pub fn home(fake: &FakeSnowflake) -> Catchment {
    home_with(fake, "")
}

/// The same, with more lines of `config.toml`.
pub fn home_with(fake: &FakeSnowflake, more: &str) -> Catchment {
    let home = Catchment::new();
    std::fs::create_dir_all(home.data_dir()).unwrap();
    let text = format!("{more}\n[hosts]\nsnowflake = \"{}\"\n", fake.url());
    std::fs::write(home.data_dir().join("config.toml"), text).unwrap();
    home
}

/// A server with a connection to the imitation, with these settings besides, and a bucket.
pub struct Fixture {
    pub server: Server,
    pub connection: String,
}

impl Fixture {
    pub fn with(fake: &FakeSnowflake, settings: &Value) -> Self {
        Self::on(&home(fake), settings)
    }

    /// On that installation.
    pub fn on(home: &Catchment, settings: &Value) -> Self {
        let server = Server::on(home);
        let mut config = json!({
            "account": ACCOUNT, "warehouse": "load_wh", "role": "reader", "database": "db",
            "credentials": {"type": "key_pair", "username": USER, "private_key": private_key()},
        });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let made = server.post(
            "/v1/organizations/connections",
            &json!({ "name": "tables", "provider_type": "snowflake", "provider_config": config }),
        );
        let made = made.is(200);
        let connection = made["connection_id"].as_str().unwrap().to_owned();
        let schema = json!({ "properties": {
            "title": {"type": "string"}, "content": {"type": "text"}, "poster": {"type": "image"},
        } });
        let bucket = json!({ "bucket_name": "rows", "bucket_schema": schema });
        server.post("/v1/buckets", &bucket).is(200);
        Self { server, connection }
    }

    /// A sync of a table that has not run; returns where it is.
    pub fn sync(&self, table: &str, more: &Value) -> String {
        let mut order = json!({
            "connection_id": self.connection, "source_path": table, "status": "SUSPENDED",
        });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.server.post("/v1/buckets/rows/syncs", &order).is(200);
        format!("/v1/buckets/rows/syncs/{}", made["sync_config_id"].as_str().unwrap())
    }

    /// Runs a sync and waits for its end; returns the job.
    pub fn run(&self, sync: &str) -> Value {
        let order = if self.server.get(sync).is(200)["status"] == "SUSPENDED" {
            "resume"
        } else {
            "trigger"
        };
        let before = self.jobs(sync).len();
        self.server.post(&format!("{sync}/{order}"), &json!({})).is(200);
        poll_until("the job", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(50));
            let jobs = self.jobs(sync);
            let over = jobs.iter().all(|job| job["status"] != "running");
            (jobs.len() > before && over).then(|| jobs[0].clone())
        })
    }

    pub fn jobs(&self, sync: &str) -> Vec<Value> {
        let list = self.server.post(&format!("{sync}/jobs"), &json!({})).is(200);
        list["results"].as_array().unwrap().clone()
    }

    /// The rows in the bucket by their paths, as JSON.
    pub fn rows(&self) -> BTreeMap<String, Value> {
        let all = "/v1/buckets/rows/objects/list?limit=1000";
        let list = self.server.post(all, &json!({})).is(200);
        let objects = list["results"].as_array().unwrap();
        objects
            .iter()
            .map(|object| {
                let url = object["blobs"][0]["properties"]["url"].as_str().unwrap();
                let path = url.split_once("/v1/").map(|(_, path)| format!("/v1/{path}")).unwrap();
                let path = path.as_str();
                let row = self.server.get(path).is(200);
                (object["key_prefix"].as_str().unwrap().to_owned(), row)
            })
            .collect()
    }
}

#[test]
fn rows_become_objects_follow_their_table_and_cost_no_query_while_nothing_changes() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table FILMS (ID number(38,0) primary key, TITLE varchar)",
        "insert into FILMS values (1, 'Stalker'), (2, 'Solaris')",
    ]);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.public.films", &json!({}));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    let expected = |rows: &[(u32, &str)]| -> BTreeMap<String, Value> {
        let row =
            |(id, title): &(u32, &str)| (format!("{id}.json"), json!({"ID": id, "TITLE": title}));
        rows.iter().map(row).collect()
    };
    assert_eq!(fixture.rows(), expected(&[(1, "Stalker"), (2, "Solaris")]));
    fake.sql(&[
        "update FILMS set TITLE = 'Nostalghia' where ID = 2",
        "delete from FILMS where ID = 1",
        "insert into FILMS values (3, 'Mirror')",
    ]);
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(fixture.rows(), expected(&[(2, "Nostalghia"), (3, "Mirror")]));
}

#[test]
fn columns_are_mapped_and_filtered_without_a_statement_for_any_row() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table FILMS (ID number(38,0) primary key, TITLE varchar, LANG varchar)",
        "insert into FILMS values (1, 'Stalker', 'ru'), (2, 'Alien', 'en'), (3, 'Mirror', 'ru')",
    ]);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync(
        "db.public.films",
        &json!({
            "schema_mapping": {"mappings": {
                "content": {"target_type": "blob", "source": {"type": "file"}},
                "title": {"target_type": "field", "source": {"type": "column", "name": "title"}},
            }},
            "file_filters": {"metadata_filters": [
                {"field": "LANG", "operator": "equals", "value": "ru"},
            ]},
        }),
    );
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    let list = fixture.server.post("/v1/buckets/rows/objects/list", &json!({})).is(200);
    let mut titles: Vec<_> =
        list["results"].as_array().unwrap().iter().map(|object| object["title"].clone()).collect();
    titles.sort_by_key(ToString::to_string);
    assert_eq!(titles, ["Mirror", "Stalker"]);
    let queries = fake.log().iter().filter(|entry| entry["takes_warehouse"] == true).count();
    assert_eq!(queries, 1);
}

#[test]
fn a_row_with_null_in_its_key_is_a_dead_letter_that_names_no_cell() {
    let fake = FakeSnowflake::start();
    let columns = json!([["A", "text", null], ["B", "fixed", 0]]);
    fake.table(["DB", "S", "T"], &columns, &["A", "B"], &json!([["x", "1"], [null, "2"]]));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    fixture.run(&sync);
    assert_eq!(fixture.rows().len(), 1);
    let letters = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    let letter = &letters["results"][0];
    assert_eq!(letter["error_type"], "validation_error", "{letters}");
    assert!(letter["error_message"].as_str().unwrap().contains(r#""A", "B""#), "{letter}");
}

#[test]
fn an_object_says_that_its_row_is_json_how_large_it_is_and_when_it_was_written() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_tz", 9], ["V", "text", null]]);
    let row = json!([["1", "1641008096.123456789 960", "ü"]]);
    fake.table(["DB", "S", "T"], &columns, &["ID"], &row);
    let fixture = Fixture::with(&fake, &json!({ "incremental_column": "w" }));
    let sync = fixture.sync("db.s.t", &json!({}));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    let text = r#"{"ID":1,"W":"2021-12-31T19:34:56.123456789-08:00","V":"ü"}"#;
    let hash = blake3::hash(text.as_bytes()).to_hex();
    let list = fixture.server.post("/v1/buckets/rows/objects/list", &json!({})).is(200);
    let object = &list["results"][0];
    let details = json!({
        "filename": "1.json", "size_bytes": text.len(), "mime_type": "application/json",
        "hash": format!("blake3:{hash}"),
    });
    assert_eq!(object["blobs"][0]["details"], details, "{object}");
    let source = &object["source"];
    assert_eq!(source["provider"], "snowflake", "{object}");
    assert_eq!(source["source_object_id"], "n1:1", "{object}");
    assert_eq!(source["path"], "1.json", "{object}");
    assert_eq!(source["size_bytes"], text.len(), "{object}");
    assert!(source["version"].as_str().unwrap().starts_with(hash.as_str()), "{object}");
    assert_eq!(source["modified_at"], "2022-01-01T03:34:56.123456789Z", "in UTC: {object}");
    let url = object["blobs"][0]["properties"]["url"].as_str().unwrap();
    let content = fixture.server.get(&format!("/v1/{}", url.split_once("/v1/").unwrap().1));
    assert_eq!(content.header("content-type"), Some("application/json"));
    assert_eq!(content.text(), text);
    // What a filter calls a row's type.
    let only = json!({ "file_filters": { "mime_types": ["text/*"] } });
    fixture.server.patch(&sync, &only).is(200);
    assert_eq!(fixture.run(&sync)["metadata"]["counts"]["filtered"], 1);
}

#[test]
fn keys_of_any_text_and_length_become_objects_that_are_read_changed_and_removed() {
    const T: [&str; 3] = ["DB", "S", "T"];
    let fake = FakeSnowflake::start();
    let (long, wide) = ("x".repeat(1500), "ü/".repeat(700));
    let keys = [
        "../../etc/passwd",
        "/",
        "..",
        "50%",
        "%2F",
        "\u{1}\r\n\u{7f}\u{9b}",
        "<script>",
        "",
        " ",
        "it's \"x\"",
        "\u{202e}gpj",
        &long,
        &wide,
    ];
    let rows = |keys: &[&str], value: &str| -> Vec<Value> {
        keys.iter().map(|key| json!([key, value])).collect()
    };
    let columns = json!([["K", "text", null], ["V", "text", null]]);
    fake.table(T, &columns, &["K"], &json!(rows(&keys, "a")));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    let path = |key: &str| {
        let part = |c: char| match c {
            '/' | '%' | '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
                let bytes = c.to_string().into_bytes();
                bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
            }
            _ => c.to_string(),
        };
        key.chars().map(part).collect::<String>() + ".json"
    };
    let expected = |keys: &[&str], value: &str| -> BTreeMap<String, Value> {
        keys.iter().map(|key| (path(key), json!({ "K": key, "V": value }))).collect()
    };
    assert_eq!(fixture.run(&sync)["status"], "completed");
    assert_eq!(fixture.rows(), expected(&keys, "a"));
    // Looked up by their keys.
    let all: Vec<Value> = keys.iter().map(|key| json!([key])).collect();
    fake.change(T, &json!(all), &json!(rows(&keys, "b")));
    assert_eq!(fixture.run(&sync)["metadata"]["counts"]["updated"], keys.len());
    assert_eq!(fixture.rows(), expected(&keys, "b"));
    let (gone, kept) = keys.split_at(6);
    fake.change(T, &json!(all[..gone.len()]), &json!([]));
    assert_eq!(fixture.run(&sync)["metadata"]["counts"]["removed"], gone.len());
    assert_eq!(fixture.rows(), expected(kept, "b"));
}

#[test]
fn a_column_is_found_without_regard_to_case_unless_two_differ_only_by_it() {
    let fake = FakeSnowflake::start();
    let columns = json!([
        ["ID", "fixed", 0],
        ["Title", "text", null],
        ["note", "text", null],
        ["NOTE", "text", null],
    ]);
    fake.table(["DB", "S", "T"], &columns, &["ID"], &json!([["1", "Mirror", "small", "large"]]));
    let fixture = Fixture::with(&fake, &json!({}));
    let mapped = |column: &str| {
        let field = json!({
            "target_type": "field", "required": true, "source": {"type": "column", "name": column},
        });
        json!({ "schema_mapping": { "mappings": { "title": field } } })
    };
    let sync = fixture.sync("db.s.t", &mapped("TITLE"));
    let title = |column: &str| {
        fixture.server.patch(&sync, &mapped(column)).is(200);
        assert_eq!(fixture.run(&sync)["status"], "completed");
        let list = fixture.server.post("/v1/buckets/rows/objects/list", &json!({})).is(200);
        list["results"][0]["title"].clone()
    };
    assert_eq!(title("title"), "Mirror");
    assert_eq!(title("note"), "small");
    assert_eq!(title("NOTE"), "large");
    fixture.server.patch(&sync, &mapped("Note")).is(200);
    fixture.run(&sync);
    let letters = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    assert_eq!(letters["results"][0]["error_type"], "schema_mismatch", "{letters}");
}

#[test]
fn a_server_killed_in_the_middle_of_a_table_has_each_row_once_afterwards() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["V", "text", null]]);
    let rows: Vec<_> = (1000..1400).map(|id| json!([id.to_string(), "x"])).collect();
    fake.table(["DB", "S", "T"], &columns, &["ID"], &json!(rows));
    fake.faults(&json!({ "first_rows": 50, "partition_rows": 50, "hold": 4 }));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    fixture.server.post(&format!("{sync}/resume"), &json!({})).is(200);
    poll_until("the first rows", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(20));
        (!fixture.rows().is_empty()).then_some(())
    });
    let home = fixture.server.home.clone();
    fixture.server.kill();
    fake.faults(&json!({ "hold": null }));
    fake.release();
    let fixture = Fixture { server: Server::on(&home), connection: fixture.connection };
    poll_until("all rows", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(50));
        let jobs = fixture.jobs(&sync);
        jobs.iter().any(|job| job["status"] == "completed").then_some(())
    });
    let rows = fixture.rows();
    assert_eq!(rows.len(), 400);
    let expected: Vec<String> = (1000..1400).map(|id| format!("{id}.json")).collect();
    assert_eq!(rows.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    let all = "/v1/buckets/rows/objects/list?limit=1000";
    let list = fixture.server.post(all, &json!({})).is(200);
    assert_eq!(list["results"].as_array().unwrap().len(), 400, "each once");
}

#[test]
fn a_filter_of_the_provider_is_refused_with_the_way_out() {
    let fake = FakeSnowflake::start();
    fake.sql(&["create table T (ID number(38,0) primary key)"]);
    let fixture = Fixture::with(&fake, &json!({}));
    let order = json!({
        "connection_id": fixture.connection, "source_path": "db.public.t",
        "provider_filters": {"where": "ID > 5"},
    });
    let answer = fixture.server.post("/v1/buckets/rows/syncs", &order);
    let error = answer.fails_with(422);
    assert!(error.to_string().contains("filter with a view"), "{error}");
}

#[test]
fn a_place_that_is_no_table_is_refused_by_its_field() {
    let fake = FakeSnowflake::start();
    let fixture = Fixture::with(&fake, &json!({}));
    for place in ["db.public.nope", "db.public.my-table", "\"db", "t"] {
        let order = json!({ "connection_id": fixture.connection, "source_path": place });
        fixture.server.post("/v1/buckets/rows/syncs", &order).blames("source_path");
    }
}

#[test]
fn the_public_client_makes_the_connection_and_the_sync_unmodified() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table FILMS (ID number(38,0) primary key, TITLE varchar)",
        "insert into FILMS values (1, 'Stalker'), (2, 'Solaris')",
    ]);
    let server = Server::on(&home(&fake));
    let given = json!({
        "server": format!("http://{}", server.address), "token": server.token,
        "username": USER, "private_key": private_key(), "table": "db.public.films",
    });
    run_client("table.py", &given, || server.log());
}
