//! Indexed fields of documents: the same results as without them, whatever is in the documents.

use serde_json::{Value, json};

use crate::{
    server::{Answer, Server},
    support::catchment::Catchment,
};

/// A server with two namespaces of the same documents: `plain`, and `indexed`.
struct Twins(Server);

impl Twins {
    /// Both with these documents, in collections of the name `films`.
    fn of(documents: &[Value], indexed: &[&str]) -> Self {
        let here = Self(Server::on(&Catchment::new()));
        for (namespace, fields) in [("plain", &[] as &[&str]), ("indexed", indexed)] {
            let order = json!({"namespace_name": namespace, "payload_indexes": indexes(fields)});
            let made = here.0.post("/v1/namespaces", &order).is(200);
            assert_eq!(made["payload_index_count"], fields.len());
            let bucket = json!({"bucket_name": "bucket", "bucket_schema": {"properties": {}}});
            here.post(namespace, "/v1/buckets", &bucket).is(200);
            let collection = json!({
                "collection_name": "films",
                "source": {"type": "bucket", "bucket_ids": ["bucket"]},
                "feature_extractor": {"feature_extractor_name": "passthrough_extractor", "version": "v1"},
            });
            here.post(namespace, "/v1/collections", &collection).is(200);
            for document in documents {
                here.post(namespace, "/v1/collections/films/documents", document).is(200);
            }
        }
        here
    }

    fn request(&self, method: &str, namespace: &str, target: &str, body: &Value) -> Answer {
        self.0.request(method, target).header("x-namespace", namespace).json(body).send()
    }

    fn post(&self, namespace: &str, target: &str, body: &Value) -> Answer {
        self.request("POST", namespace, target, body)
    }

    /// What both return for a request about their documents, which is the same.
    fn both(&self, target: &str, body: &Value) -> Value {
        let [plain, indexed] = ["plain", "indexed"].map(|namespace| {
            let target = format!("/v1/collections/films/documents/{target}");
            nameless(self.post(namespace, &target, body).is(200))
        });
        assert_eq!(plain, indexed, "{target} {body}");
        indexed
    }
}

fn indexes(fields: &[&str]) -> Value {
    fields.iter().map(|field| json!({"field_name": field, "type": "keyword"})).collect()
}

/// An answer without what is another one in each namespace.
fn nameless(answer: Value) -> Value {
    match answer {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| {
                let own =
                    ["document_id", "collection_id", "_internal", "pagination", "searchable_at"];
                !own.contains(&name.as_str())
            })
            .map(|(name, value)| (name, nameless(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(nameless).collect(),
        other => other,
    }
}

/// Values of every kind, some of which are nearly the same.
fn values() -> Vec<Value> {
    vec![
        json!("red"),
        json!("Red"),
        json!("RED "),
        json!("reddish"),
        json!(""),
        json!("1"),
        json!("true"),
        json!("Straße"),
        json!("ΑΣ"),
        json!("ας"),
        json!("[1,2]"),
        json!(1),
        json!(1.0),
        json!(0),
        json!(-3),
        json!(2.5),
        json!(9_007_199_254_740_993_i64),
        json!(true),
        json!(false),
        Value::Null,
        json!([]),
        json!([1, 2]),
        json!(["red", "blue", 1, true]),
        json!([["red"], null]),
        json!({"b": "red"}),
        json!([{"b": "red"}]),
        json!("nul\u{0}inside"),
    ]
}

fn documents() -> Vec<Value> {
    let mut documents: Vec<Value> = values()
        .into_iter()
        .enumerate()
        .map(
            |(number, value)| json!({"number": number, "a": {"b": value}, "even": number % 2 == 0}),
        )
        .collect();
    documents.push(json!({"number": 1000}));
    documents.push(json!({"number": 1001, "a": {"b": "red"}, "even": "neither"}));
    documents
}

#[test]
fn filters_find_the_same_documents_with_an_index_as_without_one() {
    let here = Twins::of(&documents(), &["a.b", "even"]);
    let mut found = 0;
    let mut ask = |operator: &str, value: &Value| {
        let cases: &[bool] = if value.is_string() { &[false, true] } else { &[false] };
        for is_exact in cases {
            let condition = json!({
                "field": "a.b", "operator": operator, "value": value, "case_sensitive": is_exact,
            });
            let filters = match operator {
                "ne" | "nin" => json!({"NOT": [condition]}),
                "lte" => {
                    json!({"OR": [condition, {"field": "even", "operator": "eq", "value": true}]})
                }
                _ => json!({"AND": [condition]}),
            };
            let body = json!({"filters": filters, "limit": 100, "include_total": true});
            let answer = here.both("list", &body);
            let rows = answer["results"].as_array().unwrap().len();
            assert_eq!(answer["total_documents"], rows, "{body}");
            found += rows;
        }
    };
    let scalars =
        values().into_iter().filter(|it| !it.is_array() && !it.is_object() && !it.is_null());
    for value in scalars {
        ask("eq", &value);
        ask("ne", &value);
    }
    for operator in ["gt", "gte", "lt", "lte"] {
        for value in [json!("red"), json!("Straße"), json!(""), json!(1), json!(2.5)] {
            ask(operator, &value);
        }
    }
    for operator in ["starts_with", "ends_with", "contains"] {
        for text in ["Re", "Σ", ""] {
            ask(operator, &json!(text));
        }
    }
    for operator in ["in", "nin"] {
        ask(operator, &json!(["Red", 1, true, "nothing"]));
    }
    for operator in ["exists", "is_null"] {
        ask(operator, &json!(true));
        ask(operator, &json!(false));
    }
    assert!(found > 300, "these filters find something: {found}");
}

#[test]
fn pages_in_the_order_of_an_indexed_field_are_the_same_as_without_an_index() {
    let here = Twins::of(&documents(), &["a.b", "even"]);
    for direction in ["asc", "desc"] {
        for filters in [
            json!({}),
            json!({"even": true}),
            json!({"NOT": [{"field": "even", "operator": "eq", "value": true}]}),
        ] {
            let mut seen = [Vec::new(), Vec::new()];
            for (namespace, seen) in ["plain", "indexed"].iter().zip(&mut seen) {
                let mut cursor = Value::Null;
                loop {
                    let body = json!({
                        "filters": filters, "sort": {"field": "a.b", "direction": direction},
                        "limit": 4, "cursor": cursor,
                    });
                    let page =
                        here.post(namespace, "/v1/collections/films/documents/list", &body).is(200);
                    seen.extend(
                        page["results"].as_array().unwrap().iter().map(|it| it["number"].clone()),
                    );
                    cursor = page["pagination"]["next_cursor"].clone();
                    if cursor.is_null() {
                        break;
                    }
                }
            }
            assert_eq!(seen[0], seen[1], "{direction} {filters}");
            let mut each = seen[0].iter().map(Value::to_string).collect::<Vec<_>>();
            each.sort();
            each.dedup();
            assert_eq!(each.len(), seen[0].len(), "each once");
        }
    }
}

#[test]
fn groups_by_an_indexed_field_are_the_same_as_without_an_index() {
    let here = Twins::of(&documents(), &["a.b", "even"]);
    for field in ["a.b", "even", "number", "a", "_internal.part"] {
        for filters in [None, Some(json!({"even": true}))] {
            let distinct = here.both("distinct", &json!({"field": field, "filters": filters}));
            let values = distinct["values"].as_array().unwrap();
            assert_eq!(distinct["total_distinct"], values.len());
            let listed =
                here.both("list", &json!({"group_by": field, "filters": filters, "limit": 100}));
            for (group, value) in listed["groups"].as_array().unwrap().iter().zip(values) {
                assert_eq!(
                    (&group["group_key"], &group["count"]),
                    (&value["value"], &value["count"])
                );
                let shown = group["documents"].as_array().unwrap().len() as u64;
                assert_eq!(shown, value["count"].as_u64().unwrap().min(10), "{group}");
            }
            let count = json!({"function": "count", "alias": "n"});
            for metric in [count, json!({"function": "max", "field": "number", "alias": "n"})] {
                let body = json!({
                    "group_by": [{"field": field}], "aggregations": [metric], "filters": filters,
                    "sort_by": field, "sort_direction": "asc",
                });
                here.both("aggregate", &body);
            }
        }
    }
    let red = here.both("distinct", &json!({"field": "a.b"}));
    let red =
        red["values"].as_array().unwrap().iter().find(|it| it["value"] == "red").unwrap().clone();
    assert_eq!(red["count"], 3, "as it is, as an item of a list, and in another document");
}

#[test]
fn an_index_declared_later_has_every_document_and_follows_their_changes_and_removal() {
    let documents: Vec<Value> =
        (0..20).map(|number| json!({"number": number, "colour": "red"})).collect();
    let here = Twins::of(&documents, &[]);
    let ids: Vec<String> = {
        let body = json!({"limit": 100, "sort": {"field": "number", "direction": "asc"}});
        let list = here.post("indexed", "/v1/collections/films/documents/list", &body).is(200);
        let rows = list["results"].as_array().unwrap().clone();
        rows.iter().map(|row| row["document_id"].as_str().unwrap().to_owned()).collect()
    };
    let declared = json!({"payload_indexes": indexes(&["colour", "number"])});
    here.0.patch("/v1/namespaces/indexed", &declared).is(200);
    let one = |number: usize| format!("/v1/collections/films/documents/{}", ids[number]);
    here.request("PATCH", "indexed", &one(3), &json!({"colour": "Blue"})).is(200);
    here.request("PATCH", "indexed", &one(4), &json!({"colour": null})).is(200);
    here.request("DELETE", "indexed", &one(5), &json!({})).is(200);
    // It may be complete by now, or not.
    for _ in 0..20 {
        let body = json!({"filters": {"colour": "red"}, "limit": 1, "include_total": true});
        let red = here.post("indexed", "/v1/collections/films/documents/list", &body).is(200);
        assert_eq!(red["total_documents"], 17, "built or not");
        let blue = json!({"filters": {"colour": "blue"}, "limit": 9});
        let blue = here.post("indexed", "/v1/collections/films/documents/list", &blue).is(200);
        assert_eq!(blue["results"].as_array().unwrap().len(), 1);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let declared = json!({"payload_indexes": [{"field_name": "a..b", "type": "keyword"}]});
    here.0.patch("/v1/namespaces/indexed", &declared).blames("payload_indexes[0].field_name");
    let twice = json!({"payload_indexes": indexes(&["colour", "colour"])});
    here.0.patch("/v1/namespaces/indexed", &twice).blames("payload_indexes[1].field_name");
    let odd = json!({"payload_indexes": [{"field_name": "a", "type": "colour"}]});
    here.0.patch("/v1/namespaces/indexed", &odd).blames("payload_indexes[0].type");
}

#[test]
fn a_namespace_counts_its_collections_and_documents_and_deletes_them_only_when_asked_to() {
    let here = Twins::of(&[json!({"colour": "red"}), json!({"colour": "blue"})], &["colour"]);
    let shown = here.0.get("/v1/namespaces/indexed").is(200);
    assert_eq!((&shown["collection_count"], &shown["document_count"]), (&json!(1), &json!(2)));
    let stats = here.0.get("/v1/namespaces/indexed/stats").is(200);
    assert_eq!((&stats["collection_count"], &stats["document_count"]), (&json!(1), &json!(2)));
    let refused = here.0.delete("/v1/namespaces/indexed").fails_with(409);
    assert_eq!(refused["code"], "namespace_not_empty");
    here.0.delete("/v1/namespaces/indexed?force=true").is(200);
    here.0.get("/v1/namespaces/indexed").is(404);
    let plain = here.0.get("/v1/namespaces/plain").is(200);
    assert_eq!(plain["document_count"], 2, "the other one keeps its own");
}
