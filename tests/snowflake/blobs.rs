//! Columns that lead to something else than the row: URLs, files in stages; and columns that a
//! mapping needs and the table has no more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    fake::FakeSnowflake,
    support::{
        catchment::Catchment,
        wire::{Answer, Wire},
    },
    syncs::{Fixture, home},
};

const T: [&str; 3] = ["DB", "S", "T"];

/// A web server that counts how often its picture is asked for.
fn web() -> (Wire, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let web = Wire::serve(move |request| match request.raw_path() {
        "/a.png" | "/b.png" => {
            count.fetch_add(1, Ordering::SeqCst);
            let bytes = format!("picture {}", request.raw_path());
            Answer::new(200, bytes).header("Content-Type", "image/png").into()
        }
        "/gone.png" => Answer::new(410, "").into(),
        "/odd.png" => Answer::new(418, "").into(),
        _ => Answer::new(404, "").into(),
    });
    (web, asked)
}

/// A table of films with the column POSTER, and a sync that makes a blob of it.
fn films(fake: &FakeSnowflake, posters: &[(u32, Option<String>)]) -> (Fixture, String) {
    films_on(fake, &home(fake).env("CATCHMENT_ALLOW_PRIVATE_URLS", "true"), posters)
}

fn films_on(
    fake: &FakeSnowflake,
    home: &Catchment,
    posters: &[(u32, Option<String>)],
) -> (Fixture, String) {
    let columns = json!([["ID", "fixed", 0], ["TITLE", "text", null], ["POSTER", "text", null]]);
    let rows = posters.iter().map(|(id, poster)| json!([id.to_string(), "x", poster]));
    fake.table(T, &columns, &["ID"], &json!(rows.collect::<Vec<_>>()));
    let fixture = Fixture::on(home, &json!({}));
    let poster = json!({
        "target_type": "blob", "blob_property": "poster", "blob_type": "image",
        "source": {"type": "column", "name": "poster"},
    });
    let mappings = json!({ "schema_mapping": { "mappings": { "poster": poster } } });
    let sync = fixture.sync("db.s.t", &mappings);
    (fixture, sync)
}

/// The pictures in the bucket, by the path of their row.
fn pictures(fixture: &Fixture) -> BTreeMap<String, String> {
    let list = fixture.server.post("/v1/buckets/rows/objects/list?limit=100", &json!({})).is(200);
    let mut pictures = BTreeMap::new();
    for object in list["results"].as_array().unwrap() {
        for blob in object["blobs"].as_array().unwrap() {
            if blob["property"] == "poster" {
                let url = blob["properties"]["url"].as_str();
                let url = url.unwrap_or_else(|| panic!("{object}"));
                let path = format!("/v1/{}", url.split_once("/v1/").unwrap().1);
                let path_of_row = object["key_prefix"].as_str().unwrap().to_owned();
                pictures.insert(path_of_row, fixture.server.get(&path).text());
            }
        }
    }
    pictures
}

/// The types of errors, by the path of their row.
fn letters(fixture: &Fixture, sync: &str) -> BTreeMap<String, String> {
    let list = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    let letters = list["results"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    letters
        .iter()
        .map(|letter| (text(&letter["source_path"]), text(&letter["error_type"])))
        .collect()
}

#[test]
fn a_column_with_a_url_becomes_a_blob_that_is_fetched_again_only_when_its_text_changes() {
    let (fake, (web, asked)) = (FakeSnowflake::start(), web());
    let url = |name: &str| Some(format!("{}/{name}", web.url()));
    let (fixture, sync) = films(&fake, &[(1, url("a.png")), (2, None)]);
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    let is = |name: &str| BTreeMap::from([("1.json".to_owned(), format!("picture /{name}"))]);
    assert_eq!(pictures(&fixture), is("a.png"));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    fake.change(T, &json!([["1"]]), &json!([["1", "another title", url("a.png")]]));
    let job = fixture.run(&sync);
    assert_eq!(job["metadata"]["counts"]["updated"], 1, "{job}");
    assert_eq!(fixture.rows()["1.json"]["TITLE"], "another title");
    assert_eq!(pictures(&fixture), is("a.png"), "it is still there");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "and was not fetched again");
    fake.change(T, &json!([["1"]]), &json!([["1", "another title", url("b.png")]]));
    fixture.run(&sync);
    assert_eq!(pictures(&fixture), is("b.png"));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn what_cannot_be_fetched_is_a_dead_letter_of_its_row_by_its_reason() {
    let (fake, (web, _)) = (FakeSnowflake::start(), web());
    let url = |name: &str| Some(format!("{}/{name}", web.url()));
    let file = r#"{"STAGE": "@DB.S.ST", "RELATIVE_PATH": "a.jpg", "SIZE": 3}"#;
    let (fixture, sync) = films(
        &fake,
        &[
            (1, url("a.png")),
            (2, url("missing.png")),
            (3, url("gone.png")),
            (4, url("odd.png")),
            (5, Some("@DB.S.STAGE/posters/a.jpg".to_owned())),
            (6, Some(file.to_owned())),
            (7, Some("no url".to_owned())),
        ],
    );
    fixture.run(&sync);
    assert_eq!(pictures(&fixture).into_keys().collect::<Vec<_>>(), ["1.json"]);
    let expected = [
        ("2.json", "not_found"),
        ("3.json", "not_found"),
        ("4.json", "download_failed"),
        ("5.json", "unsupported_type"),
        ("6.json", "unsupported_type"),
        ("7.json", "schema_mismatch"),
    ];
    let expected = expected.map(|(path, why)| (path.to_owned(), why.to_owned()));
    assert_eq!(letters(&fixture, &sync), BTreeMap::from(expected));
}

#[test]
fn a_url_that_leads_into_the_own_network_is_asked_for_by_no_row() {
    let (fake, (web, asked)) = (FakeSnowflake::start(), web());
    let posters = [(1, Some(format!("{}/a.png", web.url()))), (2, None)];
    let (fixture, sync) = films_on(&fake, &home(&fake), &posters);
    fixture.run(&sync);
    let refused = letters(&fixture, &sync);
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["1.json"], "{refused:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(fixture.rows().into_keys().collect::<Vec<_>>(), ["2.json"]);
}

#[test]
fn a_column_of_files_in_stages_is_not_fetched() {
    let fake = FakeSnowflake::start();
    let (fixture, sync) = films(&fake, &[]);
    let columns = json!([["ID", "fixed", 0], ["TITLE", "text", null], ["POSTER", "file", null]]);
    let file = r#"{"STAGE": "@DB.S.ST", "RELATIVE_PATH": "a.jpg", "SIZE": 3}"#;
    fake.table(T, &columns, &["ID"], &json!([["1", "x", file]]));
    fixture.run(&sync);
    let expected = BTreeMap::from([("1.json".to_owned(), "unsupported_type".to_owned())]);
    assert_eq!(letters(&fixture, &sync), expected);
}

#[test]
fn a_column_that_is_gone_and_required_is_a_schema_mismatch_of_each_row() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_ntz", 9], ["TITLE", "text", null]]);
    let rows = json!([["1", "1700000000.0", "a"], ["2", "1700000000.0", "b"]]);
    fake.table(T, &columns, &["ID"], &rows);
    let fixture = Fixture::with(&fake, &json!({ "incremental_column": "w" }));
    let title = json!({
        "target_type": "field", "required": true, "source": {"type": "column", "name": "title"},
    });
    let mapping = json!({ "schema_mapping": { "mappings": { "title": title } } });
    let sync = fixture.sync("db.s.t", &mapping);
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_ntz", 9]]);
    let rows = json!([["1", "1700000000.0"], ["2", "1700000000.0"]]);
    fake.table(T, &columns, &["ID"], &rows);
    let job = fixture.run(&sync);
    assert_eq!(job["details"]["pass"], "full", "{job}");
    let expected = ["1.json", "2.json"].map(|path| (path.to_owned(), "schema_mismatch".to_owned()));
    assert_eq!(letters(&fixture, &sync), BTreeMap::from(expected));
    assert_eq!(fixture.rows()["1.json"]["TITLE"], "a", "what was there stays");
}
