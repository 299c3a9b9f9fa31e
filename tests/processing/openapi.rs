//! What the API's document says of batches, tasks and documents is what they are.

use serde_json::{Value, json};

use crate::{ledger::Fixture, server::Server, support::catchment::Catchment};

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

/// The schemas that a schema is made of, references followed.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(name) => {
            let place = name.strip_prefix('#').unwrap();
            resolved(document, document.pointer(place).unwrap())
        }
        None => schema,
    }
}

/// Whether a schema says nothing of what an object holds.
fn is_untyped(document: &Value, schema: &Value) -> bool {
    let schema = resolved(document, schema);
    for several in ["allOf", "oneOf", "anyOf"] {
        if let Some(parts) = schema[several].as_array() {
            return parts.iter().any(|part| is_untyped(document, part));
        }
    }
    let says = ["properties", "items", "additionalProperties", "enum", "const"];
    let is_simple = matches!(
        schema["type"].as_str(),
        Some("string" | "integer" | "number" | "boolean" | "null")
    );
    !is_simple && says.iter().all(|word| schema.get(word).is_none())
}

#[test]
fn no_operation_takes_or_returns_an_object_of_which_nothing_is_said() {
    let server = Server::on(&Catchment::new());
    let document = server.get("/openapi.json").is(200);
    let (mut untyped, mut looked_at) = (Vec::new(), 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let mut bodies = vec![("request".to_owned(), &operation["requestBody"])];
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                bodies.push((status.clone(), resolved(&document, response)));
            }
            for (what, body) in bodies {
                let schema = &body["content"]["application/json"]["schema"];
                if schema.is_null() {
                    continue;
                }
                looked_at += 1;
                if is_untyped(&document, schema) {
                    untyped.push(format!("{method} {path} {what}"));
                }
            }
        }
    }
    assert!(looked_at > 300, "bodies were looked at: {looked_at}");
    assert!(untyped.is_empty(), "these say only that they are objects: {untyped:#?}");
}

#[test]
fn collections_diagnostics_and_analytics_are_what_the_document_of_the_api_says() {
    let here = Fixture::new();
    here.tree.write("a.txt", "words");
    let hook = json!({"interval_seconds": 3600, "start_immediately": false});
    let below = json!({
        "collection_name": "below", "metadata": {"a": 1},
        "source": {"type": "collection", "collection_id": "facts",
                   "source_filters": {"filters": {"mime_type": "text/plain"}}},
        "schedule": {"trigger_type": "interval", "schedule_config": hook},
        "feature_extractor": {
            "feature_extractor_name": "passthrough_extractor", "version": "v1",
            "parameters": {"preserve_metadata": true},
        },
    });
    let server = &here.server;
    let document = server.get("/openapi.json").is(200);
    fits(&document, "CollectionResponse", &server.post("/v1/collections", &below).is(200));
    here.sync(json!({}));
    let batches = here.settled();
    let get = |name: &str, target: &str| fits(&document, name, &server.get(target).is(200));
    let post = |name: &str, target: &str, body: Value| {
        let answer = server.post(target, &body);
        assert!(answer.status < 300, "{target}: {}", answer.text());
        fits(&document, name, &answer.json());
    };
    get("CollectionResponse", "/v1/collections/facts");
    get("CollectionFailuresResponse", "/v1/collections/facts/failures");
    post("RetryFailuresResponse", "/v1/collections/facts/failures/retry", json!({}));
    post("ListCollectionsResponse", "/v1/collections/list", json!({}));
    get("ListExtractorsResponse", "/v1/collections/features/extractors");
    get("ExtractorResponse", "/v1/collections/features/extractors/file_facts");
    let again = json!({"dedup_strategy": "replace"});
    post("TriggerCollectionResponse", "/v1/collections/facts/trigger", again);
    here.settled();
    let objects = server.post("/v1/buckets/films/objects/list", &json!({})).is(200);
    let tried = json!({
        "bucket_id": "films", "object_ids": [objects["results"][0]["object_id"]],
        "feature_extractor": {"feature_extractor_name": "file_facts", "version": "v1"},
    });
    post("TryCollectionResponse", "/v1/collections/try", tried);

    let batch = format!("/v1/buckets/films/batches/{}", batches[0]["batch_id"].as_str().unwrap());
    get("FailedDocumentsResponse", &format!("{batch}/failed-documents"));
    get("BatchLogsResponse", &format!("{batch}/logs"));
    get("BatchDiagnosisResponse", &format!("{batch}/diagnose"));
    post("RetryBatchResponse", &format!("{batch}/retry"), json!({"retry_mode": "all"}));
    post("ResubmitBatchResponse", &format!("{batch}/resubmit"), json!({}));
    here.settled();
    post("SubmitAllBatchesResponse", "/v1/buckets/films/batches/submit-all", json!({}));
    post("BulkSubmitBatchesResponse", "/v1/buckets/films/batches/bulk-submit", json!({}));
    here.settled();

    let documents = "/v1/collections/facts/documents";
    get("CountDocumentsResponse", &format!("{documents}/count"));
    let distinct = json!({"field": "mime_type"});
    post("DistinctValuesResponse", &format!("{documents}/distinct"), distinct);
    let counted = json!({"aggregations": [{"function": "count", "alias": "n"}]});
    post("ObjectAggregationResponse", &format!("{documents}/aggregate"), counted);
    let id = here.documents("facts")[0]["document_id"].clone();
    let update = json!({"updates": [{"document_id": id, "update_data": {"a": 1}}]});
    post("BatchUpdateDocumentsResponse", &format!("{documents}/batch"), update);
    let bulk = server.patch(&format!("{documents}/bulk"), &json!({"update_data": {"b": 2}}));
    fits(&document, "BulkUpdateDocumentsResponse", &bulk.is(200));
    let gone = server.request("DELETE", &format!("{documents}/batch"));
    let gone = gone.json(&json!({"document_ids": [id, "doc_none"]})).send().is(200);
    fits(&document, "BatchDeleteDocumentsResponse", &gone);

    let analytics = "/v1/analytics/buckets";
    get("BucketsHealthResponse", &format!("{analytics}/health"));
    get("BucketHealthResponse", &format!("{analytics}/films/health"));
    get("SyncPerformanceResponse", &format!("{analytics}/films/sync-performance"));
    get("SyncComparisonResponse", &format!("{analytics}/films/sync-comparison"));
    get("StorageAnalyticsResponse", &format!("{analytics}/films/storage"));
    get("UsageAnalyticsResponse", &format!("{analytics}/films/usage"));
    get("UploadPerformanceResponse", &format!("{analytics}/films/upload-performance"));
    get("SupportBundle", "/v1/settings/support-bundle");
    let gone = server.delete("/v1/collections/below").is(200);
    fits(&document, "DeletedCollectionResponse", &gone);
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
