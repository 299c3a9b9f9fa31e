//! Edits of tags and metadata: what is passed through is written anew, and only what goes into an
//! extractor has it run again, as far as the sync's settings let changes through.

use serde_json::{Value, json};

use crate::{
    ledger::{DEADLINE, Fixture},
    support::{
        catchment::poll_until,
        fake_s3::{BUCKET, FakeS3, Object},
    },
};

/// A bucket `tagged` of a scripted S3 server whose objects have a tag `state`. The collection
/// `facts` passes it through; `states`, if it is there, has it extracted.
struct Tagged {
    s3: FakeS3,
    fixture: Fixture,
    sync: String,
    runs: u64,
}

impl Tagged {
    fn with(names: &[&str], reconcile: Value) -> Self {
        let (s3, fixture) = (FakeS3::start(), Fixture::new());
        s3.put_object("a.txt", Object::new("of one").tag("state", "draft"));
        s3.put_object("b.txt", Object::new("of two").tag("state", "draft"));
        let schema = json!({"properties": {"state": {"type": "string"}}});
        let bucket = json!({"bucket_name": "tagged", "bucket_schema": schema});
        fixture.server.post("/v1/buckets", &bucket).is(200);
        for name in names {
            let extractor = match *name {
                "states" => json!({
                    "feature_extractor_name": "passthrough_extractor", "version": "v1",
                    "input_mappings": {"state": "state"},
                    "parameters": {"preserve_metadata": false},
                    "field_passthrough": [{"source_path": "key_prefix"}],
                }),
                _ => json!({
                    "feature_extractor_name": "file_facts", "version": "v1",
                    "field_passthrough": [{"source_path": "key_prefix"}, {"source_path": "state"}],
                }),
            };
            let collection = json!({
                "collection_name": format!("tagged {name}"),
                "source": {"type": "bucket", "bucket_ids": ["tagged"]},
                "feature_extractor": extractor,
            });
            fixture.server.post("/v1/collections", &collection).is(200);
        }
        let endpoint = s3.endpoint();
        let connection = json!({
            "name": "the fake", "provider_type": "s3", "test_before_save": false,
            "provider_config": {
                "endpoint_url": endpoint.url, "region": "us-east-1",
                "credentials": {
                    "type": "access_key", "access_key_id": endpoint.access_key,
                    "secret_access_key": endpoint.secret_key,
                },
            },
        });
        let made = fixture.server.post("/v1/organizations/connections", &connection).is(200);
        let order = json!({
            "connection_id": made["connection_id"], "source_path": BUCKET, "reconcile": reconcile,
            "schema_mapping": {"mappings": {
                "state": {"source": {"type": "tag", "key": "state"}},
            }},
        });
        let made = fixture.server.post("/v1/buckets/tagged/syncs", &order).is(200);
        let sync = format!("/v1/buckets/tagged/syncs/{}", made["sync_config_id"].as_str().unwrap());
        fixture.has_run(&sync, 1);
        Self { s3, fixture, sync, runs: 1 }
    }

    /// Puts an object and has the sync notice.
    fn put(&mut self, key: &str, bytes: &str, state: &str) {
        // S3 says when something was written to the second, and the first was written just now.
        let later = jiff::Timestamp::now().as_second() + 10 * i64::try_from(self.runs).unwrap();
        self.s3.put_object(key, Object::new(bytes).tag("state", state).modified(later));
        self.runs += 1;
        self.fixture.run_again(&self.sync, self.runs);
    }

    fn batches(&self) -> usize {
        self.fixture.settled_in("tagged").len()
    }

    fn extracted(&self) -> u64 {
        self.fixture.extracted_in("tagged")
    }

    /// The document of an object.
    fn document(&self, collection: &str, key: &str) -> Value {
        self.fixture.settled_in("tagged");
        let all = self.fixture.documents(&format!("tagged%20{collection}"));
        let found: Vec<Value> = all.into_iter().filter(|it| it["key_prefix"] == key).collect();
        assert_eq!(found.len(), 1, "{key} in {collection}: {found:?}");
        found[0].clone()
    }

    fn object(&self, key: &str) -> String {
        let list = "/v1/buckets/tagged/objects/list";
        let listed = self.fixture.server.post(list, &json!({})).is(200);
        let rows = listed["results"].as_array().unwrap();
        let found = rows.iter().find(|row| row["key_prefix"] == key).unwrap();
        found["object_id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_tag_edit_rewrites_what_is_passed_through_and_extracts_only_where_the_tag_goes_in() {
    let mut here = Tagged::with(&["facts", "states"], json!({}));
    assert_eq!(here.extracted(), 4);
    let before = here.document("facts", "a.txt");
    assert_eq!(before["state"], "draft");
    let states = here.document("states", "a.txt");

    here.put("a.txt", "of one", "final");

    let after = here.document("facts", "a.txt");
    assert_eq!((&after["state"], &after["document_id"]), (&json!("final"), &before["document_id"]));
    assert_eq!(here.document("facts", "b.txt")["state"], "draft");
    assert_eq!(here.extracted(), 5, "the tag goes into one collection, and of one object");
    let again = here.document("states", "a.txt");
    assert_eq!(again["document_id"], states["document_id"]);
    assert_ne!(again["_internal"]["updated_at"], states["_internal"]["updated_at"]);

    here.put("b.txt", "of two, longer", "draft");
    assert_eq!(here.extracted(), 6, "content goes into the other one");
    assert_eq!(here.document("facts", "b.txt")["size_bytes"], 14);
}

#[test]
fn the_settings_of_a_sync_say_which_changes_reach_its_documents() {
    // Which change of an object is batched: that of its tag, that of its content.
    for (reconcile, of_tag, of_content) in [
        (json!({}), true, true),
        (json!({"re_extract_on_update": false}), false, false),
        (json!({"re_extract_fields": ["content"]}), false, true),
        (json!({"re_extract_fields": ["state"]}), true, false),
        (json!({"re_extract_fields": ["state", "content"]}), true, true),
        (json!({"re_extract_fields": ["another"]}), false, false),
    ] {
        let mut here = Tagged::with(&["facts"], reconcile.clone());
        assert_eq!((here.batches(), here.extracted()), (1, 2), "{reconcile}");

        here.put("a.txt", "of one", "final");
        let batches = 1 + usize::from(of_tag);
        assert_eq!((here.batches(), here.extracted()), (batches, 2), "tag, {reconcile}");
        let state = if of_tag { "final" } else { "draft" };
        assert_eq!(here.document("facts", "a.txt")["state"], state, "{reconcile}");

        here.put("b.txt", "of two, longer", "draft");
        let (batches, extracted) = (batches + usize::from(of_content), 2 + u64::from(of_content));
        assert_eq!(
            (here.batches(), here.extracted()),
            (batches, extracted),
            "content, {reconcile}"
        );
        let size = if of_content { 14 } else { 6 };
        assert_eq!(here.document("facts", "b.txt")["size_bytes"], size, "{reconcile}");
    }
}

#[test]
fn what_a_person_changes_in_an_object_waits_for_a_trigger_that_extracts_nothing() {
    let here = Tagged::with(&["facts"], json!({}));
    let batches = here.batches();
    let object = format!("/v1/buckets/tagged/objects/{}", here.object("a.txt"));
    here.fixture.server.patch(&object, &json!({"state": "archived"})).is(200);
    assert_eq!(here.batches(), batches, "an edit makes no batch");
    assert_eq!(here.document("facts", "a.txt")["state"], "draft");

    here.fixture.server.post("/v1/collections/tagged%20facts/trigger", &json!({})).is(202);

    poll_until("the edit", DEADLINE, || {
        (here.document("facts", "a.txt")["state"] == "archived").then_some(())
    });
    assert_eq!(here.extracted(), 2, "nothing is extracted for it");
}
