//! The index of text against going through all objects, while they come, change and go and the
//! index follows by fits and starts.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    filter_tests::{bucket, database},
    query::{Index, Query},
    text,
};
use crate::{
    model::{FieldPath, Sort},
    store::RowPosition,
};

#[derive(Clone, Debug)]
enum Step {
    Add(i64, String, Option<String>),
    Rename(usize, String),
    Reword(usize, Option<String>),
    Remove(usize),
    CatchUp(u32),
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "abc",
        "obj_1",
        "bcd",
        "ABCD",
        "x\"y'z",
        "Ünit",
        "ünIT",
        "日本語",
        "a\0bc",
        "12",
        "3",
        "/",
        " ",
        "*",
        "%",
    ]);
    prop::collection::vec(word, 1..4).prop_map(|words| words.concat())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_i64..3, words(), prop::option::of(words())).prop_map(|(b, p, f)| Step::Add(b, p, f)),
        1 => (any::<usize>(), words()).prop_map(|(nth, path)| Step::Rename(nth, path)),
        1 => (any::<usize>(), prop::option::of(words())).prop_map(|(nth, f)| Step::Reword(nth, f)),
        2 => any::<usize>().prop_map(Step::Remove),
        3 => (1_u32..5).prop_map(Step::CatchUp),
    ]
}

/// What each object says of itself: bucket, path, value of a field.
type Model = BTreeMap<i64, (i64, String, Option<String>)>;

fn fields(value: Option<&String>) -> Option<String> {
    value.map(|value| json!({"deep": [{"er": value}], "no": null}).to_string())
}

fn apply(db: &mut Connection, model: &mut Model, step: Step) {
    let chosen = |model: &Model, nth: usize| {
        (!model.is_empty()).then(|| *model.keys().nth(nth % model.len()).unwrap())
    };
    match step {
        Step::Add(bucket, path, value) => {
            // As the store gives out keys: those of the last ones that went come again.
            let key = model.keys().next_back().map_or(1, |last| last + 1);
            db.execute(
                "INSERT INTO objects (object_key, id, bucket_key, entry_key, path, size, fields,
                                      created_at_ms, updated_at_ms)
                 VALUES (?1, 'obj_' || ?1, ?2, 0, ?3, 1, ?4, 0, 0)",
                params![key, bucket, path.as_bytes(), fields(value.as_ref())],
            )
            .unwrap();
            model.insert(key, (bucket, path, value));
        }
        Step::Rename(nth, path) => {
            let Some(key) = chosen(model, nth) else { return };
            db.execute(
                "UPDATE objects SET path = ?2 WHERE object_key = ?1",
                params![key, path.as_bytes()],
            )
            .unwrap();
            model.get_mut(&key).unwrap().1 = path;
        }
        Step::Reword(nth, value) => {
            let Some(key) = chosen(model, nth) else { return };
            db.execute(
                "UPDATE objects SET fields = ?2 WHERE object_key = ?1",
                params![key, fields(value.as_ref())],
            )
            .unwrap();
            model.get_mut(&key).unwrap().2 = value;
        }
        Step::Remove(nth) => {
            let Some(key) = chosen(model, nth) else { return };
            db.execute("DELETE FROM objects WHERE object_key = ?1", [key]).unwrap();
            model.remove(&key);
        }
        Step::CatchUp(most) => {
            let tx = db.transaction().unwrap();
            text::catch_up(&tx, most).unwrap();
            tx.commit().unwrap();
        }
    }
}

/// The objects of the first bucket with all those words, or that id, the newest first.
fn expected(model: &Model, wanted: &str) -> Vec<i64> {
    let found = model.iter().rev().filter(|(key, (bucket, path, value))| {
        let has = |word: &str| {
            let word = word.to_lowercase();
            let is_in = |text: &String| text.to_lowercase().contains(&word);
            is_in(path) || value.as_ref().is_some_and(is_in)
        };
        let is_called_so = wanted == format!("obj_{key}");
        *bucket == 1 && (is_called_so || text::words(wanted).into_iter().all(has))
    });
    found.map(|(key, _)| *key).collect()
}

/// The same, two a page, where a page looks at no more than so many objects.
fn page_by_page(db: &Connection, query: &Query, most: u32) -> Vec<i64> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let found = query.keys(db, after.as_ref(), 0, 2, Some(most)).unwrap();
        all.extend(found.places.iter().map(RowPosition::key));
        let is_full = found.places.len() == 2;
        after = found.ends_at.or_else(|| found.places.last().filter(|_| is_full).cloned());
        if after.is_none() {
            return all;
        }
    }
}

proptest! {
    #[test]
    fn a_search_by_the_index_finds_what_going_through_all_objects_would(
        steps in prop::collection::vec(step(), 1..40),
        wanted in prop_oneof![words(), (1..6).prop_map(|key| format!("obj_{key}"))],
        few in prop::bool::ANY,
        descending in prop::bool::ANY,
    ) {
        let mut db = database(&[]);
        db.execute_batch(
            "INSERT INTO buckets (bucket_key, id, namespace_key, name, created_at_ms, updated_at_ms)
             VALUES (2, 'bkt_2', 1, 'other', 0, 0)",
        )
        .unwrap();
        let mut model = Model::new();
        let sort = Sort { field: FieldPath::parse("created_at").unwrap(), descending };
        let mut query = Query::new(&bucket(), None, Some(&wanted), Some(&sort)).unwrap();
        if !few {
            query.few = 0;
        }
        for step in steps {
            apply(&mut db, &mut model, step);
            if few && text::words(&wanted).iter().any(|word| word.chars().count() >= 3) {
                prop_assert_eq!(query.fewest(&db).unwrap(), Some(Index::Text));
            }
            let found = query.keys(&db, None, 0, 1000, None).unwrap().places;
            let found: Vec<i64> = found.iter().map(RowPosition::key).collect();
            let mut wanted = expected(&model, &wanted);
            if !descending {
                wanted.reverse();
            }
            prop_assert_eq!(&found, &wanted);
            for most in 1..4 {
                prop_assert_eq!(&page_by_page(&db, &query, most), &wanted);
            }
            prop_assert_eq!(query.count(&db).unwrap(), found.len() as u64);
        }
        while text::is_behind(&db).unwrap() {
            apply(&mut db, &mut model, Step::CatchUp(3));
        }
        let indexed: i64 =
            db.query_row("SELECT count(*) FROM object_text('\"\u{e000}\u{e000}\u{e001}\"')", [], |row| row.get(0)).unwrap();
        let here = model.values().filter(|(bucket, ..)| *bucket == 1).count();
        prop_assert_eq!(indexed, i64::try_from(here).unwrap());
    }
}
