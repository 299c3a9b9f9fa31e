//! Filters and orders as SQL against the same said plainly over values in memory.
#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;

use proptest::prelude::*;
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};

use super::query::Query;
use crate::{
    model::{
        BucketId, BucketSettings, Condition, FieldPath, Filter, Literal, Relation, Sort, Test,
    },
    store::{RowPosition, buckets::Bucket, functions},
};

pub(super) fn database(objects: &[Map<String, Value>]) -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(include_str!("../../../schema.sql")).unwrap();
    functions::register(&db).unwrap();
    db.execute_batch(
        "INSERT INTO buckets (bucket_key, id, namespace_key, name, created_at_ms, updated_at_ms)
         VALUES (1, 'bkt_1', 1, 'b', 0, 0)",
    )
    .unwrap();
    for (key, fields) in (1_i64..).zip(objects) {
        db.execute(
            "INSERT INTO objects (object_key, id, bucket_key, entry_key, path, size, fields,
                                  created_at_ms, updated_at_ms)
             VALUES (?1, 'obj_' || ?1, 1, 0, ?2, ?3, ?4, 0, 0)",
            params![
                key,
                path(key).as_bytes(),
                size(key),
                Value::Object(fields.clone()).to_string()
            ],
        )
        .unwrap();
    }
    db
}

fn path(key: i64) -> String {
    format!("{}/Ünit {key}", ["a", "ab", "b"][usize::try_from(key % 3).unwrap()])
}

const fn size(key: i64) -> i64 {
    key % 4 * 10
}

pub(super) fn bucket() -> Bucket {
    Bucket {
        key: 1,
        id: BucketId::from_stored("bkt_1".to_owned()),
        namespace_key: 1,
        name: "b".to_owned(),
        settings: BucketSettings::default(),
        object_count: 0,
        object_bytes: 0,
        created_at: jiff::Timestamp::UNIX_EPOCH,
        updated_at: jiff::Timestamp::UNIX_EPOCH,
        is_deleting: false,
        trash_count: 0,
        trash_bytes: 0,
    }
}

fn keys(db: &Connection, query: &Query) -> Vec<i64> {
    query.keys(db, None, 0, 1000, None).unwrap().places.iter().map(RowPosition::key).collect()
}

/// The values of a field, as a condition sees them.
fn values(object: &Map<String, Value>, key: i64, field: &FieldPath) -> Vec<Value> {
    match field.dotted().as_str() {
        "key_prefix" => return vec![path(key).into()],
        "size_bytes" => return vec![size(key).into()],
        _ => {}
    }
    let mut value = object.get(&field.parts()[0]);
    for part in &field.parts()[1..] {
        value = value.and_then(|value| value.as_object()?.get(part));
    }
    match value {
        Some(Value::Array(items)) => items.clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    }
    .into_iter()
    .filter(|value| !value.is_null() && !value.is_object() && !value.is_array())
    .collect()
}

fn holds(filter: &Filter, object: &Map<String, Value>, key: i64) -> bool {
    match filter {
        Filter::All(all) => all.iter().all(|filter| holds(filter, object, key)),
        Filter::Any(any) => any.iter().any(|filter| holds(filter, object, key)),
        Filter::No(none) => !none.iter().any(|filter| holds(filter, object, key)),
        Filter::Is(condition) => {
            let values = values(object, key, &condition.field);
            // Paths are compared as they are; text is looked for in them as everywhere.
            let whole = matches!(
                condition.test,
                Test::Is(..) | Test::Ne(_) | Test::In(_) | Test::NotIn(_) | Test::StartsWith(_)
            );
            let is_path = condition.field.dotted() == "key_prefix";
            let exact = condition.case_sensitive || (is_path && whole);
            passes(&condition.test, &values, exact)
        }
    }
}

fn passes(test: &Test, values: &[Value], exact: bool) -> bool {
    let fold = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
    let some = |relation: Relation, literal: &Literal| {
        values.iter().any(|value| {
            let order = match (value, literal) {
                (Value::String(a), Literal::Text(b)) => Some(fold(a).cmp(&fold(b))),
                (Value::Number(a), Literal::Integer(b)) => {
                    a.as_f64().unwrap().partial_cmp(&(*b as f64))
                }
                (Value::Number(a), Literal::Real(b)) => a.as_f64().unwrap().partial_cmp(b),
                (Value::Bool(a), Literal::Bool(b)) if relation == Relation::Eq => Some(a.cmp(b)),
                _ => None,
            };
            order.is_some_and(|order| match relation {
                Relation::Eq => order == Ordering::Equal,
                Relation::Gt => order == Ordering::Greater,
                Relation::Lt => order == Ordering::Less,
                Relation::Gte => order != Ordering::Less,
                Relation::Lte => order != Ordering::Greater,
            })
        })
    };
    let text = |is: &dyn Fn(&str) -> bool| {
        values.iter().any(|value| value.as_str().is_some_and(|value| is(&fold(value))))
    };
    match test {
        Test::Is(relation, literal) => some(*relation, literal),
        Test::Ne(literal) => !some(Relation::Eq, literal),
        Test::In(literals) => literals.iter().any(|literal| some(Relation::Eq, literal)),
        Test::NotIn(literals) => !literals.iter().any(|literal| some(Relation::Eq, literal)),
        Test::Contains(part) => text(&|value| value.contains(&fold(part))),
        Test::StartsWith(part) => text(&|value| value.starts_with(&fold(part))),
        Test::EndsWith(part) => text(&|value| value.ends_with(&fold(part))),
        Test::IsNull(is_null) => values.is_empty() == *is_null,
        Test::Regex(_) | Test::Words(_) | Test::Phrase(_) => unreachable!("not drawn"),
    }
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "A", "ab", "ÄB", "äb", "a/", "50%", "x_y", "it's", "b/Ü"])
        .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        word().prop_map(Value::from),
        (-2_i64..4).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.0, -2.0]).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    prop_oneof![
        4 => scalar.clone(),
        1 => prop::collection::vec(scalar.clone(), 0..3).prop_map(Value::from),
        1 => scalar.prop_map(|inner| json!({ "in": inner })),
    ]
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop::sample::select(vec!["p", "q", "a b", "ü"]).prop_map(str::to_owned);
    prop::collection::hash_map(name, value(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        word().prop_map(Literal::Text),
        (-2_i64..4).prop_map(Literal::Integer),
        prop::sample::select(vec![0.5, 1.0, -2.0]).prop_map(Literal::Real),
        any::<bool>().prop_map(Literal::Bool),
    ]
}

fn condition() -> impl Strategy<Value = Filter> {
    let relation = prop::sample::select(vec![
        Relation::Eq,
        Relation::Gt,
        Relation::Lt,
        Relation::Gte,
        Relation::Lte,
    ]);
    let test = prop_oneof![
        (relation, literal()).prop_map(|(relation, literal)| Test::Is(relation, literal)),
        literal().prop_map(Test::Ne),
        prop::collection::vec(literal(), 0..3).prop_map(Test::In),
        prop::collection::vec(literal(), 0..3).prop_map(Test::NotIn),
        word().prop_map(Test::Contains),
        word().prop_map(Test::StartsWith),
        word().prop_map(Test::EndsWith),
        any::<bool>().prop_map(Test::IsNull),
    ];
    let field = prop::sample::select(vec![
        "p",
        "q",
        "p.in",
        "a b",
        "ü",
        "none",
        "key_prefix",
        "size_bytes",
    ]);
    (field, test, any::<bool>()).prop_map(|(field, test, case_sensitive)| {
        Filter::Is(Condition { field: FieldPath::parse(field).unwrap(), test, case_sensitive })
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    condition().prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner, 0..3);
        prop_oneof![
            several.clone().prop_map(Filter::All),
            several.clone().prop_map(Filter::Any),
            several.prop_map(Filter::No),
        ]
    })
}

proptest! {
    #[test]
    fn a_filter_finds_what_it_says(objects in prop::collection::vec(object(), 0..12), filter in filter()) {
        let db = database(&objects);
        let query = Query::new(&bucket(), Some(&filter), None, None).unwrap();
        let mut expected: Vec<i64> = (1..)
            .zip(&objects)
            .filter(|(key, object)| holds(&filter, object, *key))
            .map(|(key, _)| key)
            .collect();
        expected.reverse();
        prop_assert_eq!(keys(&db, &query), expected.clone());
        prop_assert_eq!(query.count(&db).unwrap(), expected.len() as u64);
    }

    #[test]
    fn pages_of_any_order_show_every_object_once(
        objects in prop::collection::vec(object(), 0..12),
        field in prop::sample::select(vec!["p", "q", "key_prefix", "size_bytes", "created_at", "none"]),
        descending in any::<bool>(),
        page in 1_u32..5,
    ) {
        let db = database(&objects);
        let sort = Sort { field: FieldPath::parse(field).unwrap(), descending };
        let query = Query::new(&bucket(), None, None, Some(&sort)).unwrap();
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let places = query.keys(&db, after.as_ref(), 0, page, None).unwrap().places;
            all.extend(places.iter().map(RowPosition::key));
            // As it goes out to a client and comes back.
            let text = serde_json::to_string(&places.last()).unwrap();
            match serde_json::from_str(&text).unwrap() {
                Some(place) => after = Some(place),
                None => break,
            }
        }
        prop_assert_eq!(&all, &keys(&db, &query));
        all.sort_unstable();
        prop_assert_eq!(all, (1..).take(objects.len()).collect::<Vec<i64>>());
    }

    #[test]
    fn pages_that_look_at_few_objects_at_a_time_show_every_one_that_is_wanted_once(
        objects in prop::collection::vec(object(), 0..12),
        search in prop::sample::select(vec!["unit", "a", "ab", "1", "zz"]),
        field in prop::sample::select(vec!["key_prefix", "size_bytes", "created_at", "p"]),
        descending in any::<bool>(),
        page in 1_u32..5,
        most in 1_u32..5,
    ) {
        let db = database(&objects);
        let sort = Sort { field: FieldPath::parse(field).unwrap(), descending };
        let query = Query::new(&bucket(), None, Some(search), Some(&sort)).unwrap();
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let found = query.keys(&db, after.as_ref(), 0, page, Some(most)).unwrap();
            // Longer ones are found by the index of text.
            if field != "p" && search.len() < 3 {
                prop_assert!(found.places.len() <= most as usize, "{found:?}");
            }
            all.extend(found.places.iter().map(RowPosition::key));
            let is_full = found.places.len() == page as usize;
            after = found.ends_at.or_else(|| found.places.last().filter(|_| is_full).cloned());
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(&all, &keys(&db, &query));
    }
}
