//! What the API's document says of batches, tasks and documents is what they are.

use serde_json::{Value, json};

use crate::ledger::Fixture;

/// Asserts that an answer fits the schema of that name, and has no key besides.
fn fits(document: &Value, name: &str, answer: &Value) {
    let schema = json!({
        "$ref": format!("#/components/schemas/{name}"), "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(answer)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{answer}");
    let known = &document["components"]["schemas"][name];
    if known.get("additionalProperties").is_none() && known.get("allOf").is_none() {
        let said = known["properties"].as_object().unwrap();
        let unknown: Vec<_> =
            answer.as_object().unwrap().keys().filter(|key| !said.contains_key(*key)).collect();
        assert!(unknown.is_empty(), "{name} does not name {unknown:?}");
    }
}

#[test]
fn batches_tasks_and_documents_are_what_the_document_of_the_api_says() {
    let here = Fixture::new();
    here.tree.write("a.txt", "words");
    here.tree.write("b.txt", "other words");
    here.sync(json!({}));
    let batches = here.settled();
    let document = here.server.get("/openapi.json").is(200);
    let get = |target: &str| here.server.get(target).is(200);

    let id = batches[0]["batch_id"].as_str().unwrap();
    let batch = get(&format!("/v1/buckets/films/batches/{id}"));
    fits(&document, "BatchResponse", &batch);
    fits(&document, "TierTaskResponse", &batch["tier_tasks"][0]);
    let list = |target: &str| here.server.post(target, &json!({})).is(200);
    fits(&document, "ListBatchesResponse", &list("/v1/buckets/films/batches/list"));

    let tasks = list("/v1/tasks/list");
    fits(&document, "ListTasksResponse", &tasks);
    assert!(!tasks["results"].as_array().unwrap().is_empty());
    for task in tasks["results"].as_array().unwrap() {
        fits(&document, "TaskResponse", task);
    }

    let documents = here.documents("facts");
    assert_eq!(documents.len(), 2);
    for one in &documents {
        fits(&document, "DocumentResponse", one);
    }
    fits(&document, "ListDocumentsResponse", &list("/v1/collections/facts/documents/list"));
}
