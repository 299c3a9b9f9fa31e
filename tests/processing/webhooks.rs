//! Webhooks: what happens is delivered in order and at least once, signed, to receivers that take
//! it, fail and stall; and secrets stay where they belong.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    receiver::{Mood, Receiver, is_signed},
    server::Server,
    support::catchment::{Catchment, poll_until},
};

/// Nothing in these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(90);
const HOOKS: &str = "/v1/organizations/webhooks";

fn hook(url: &str) -> Value {
    json!({
        "webhook_name": "told",
        "event_types": ["object.created", "object.deleted", "collection.created"],
        "channels": [{"channel": "webhook", "configs": {
            "url": url, "signing_secret": "a secret", "timeout": 1.0,
            "headers": {"X-Token": "token of the receiver"},
        }}],
    })
}

fn server() -> Server {
    let server = Server::start();
    let bucket = json!({"bucket_name": "films", "bucket_schema": {"properties": {}}});
    server.post("/v1/buckets", &bucket).is(200);
    server
}

fn make_object(server: &Server, name: &str) -> String {
    let made = server.post("/v1/buckets/films/objects", &json!({"key_prefix": name, "blobs": []}));
    made.is(200)["object_id"].as_str().unwrap().to_owned()
}

fn health(server: &Server, id: &str) -> Value {
    server.get(&format!("{HOOKS}/{id}")).is(200)["delivery_health"].clone()
}

#[test]
fn what_happens_is_delivered_in_order_and_signed() {
    let (server, receiver) = (server(), Receiver::start());
    make_object(&server, "before");
    let id = server.post(HOOKS, &hook(&receiver.url())).is(200)["webhook_id"].clone();
    let made: Vec<String> =
        (0..5).map(|number| make_object(&server, &format!("object {number}"))).collect();
    server.delete(&format!("/v1/buckets/films/objects/{}", made[0])).is(204);

    let taken = receiver.waits_for(6);

    let ids: Vec<&str> =
        taken.iter().map(|body| body["data"]["ids"][0].as_str().unwrap()).collect();
    assert_eq!(ids[..5], made, "what was before it is not told, and the order is kept");
    assert_eq!(taken[5]["event_type"], "object.deleted");
    let bucket = server.get("/v1/buckets/films").is(200);
    for (body, delivery) in taken.iter().zip(receiver.seen()) {
        assert_eq!(body["data"]["bucket_id"], bucket["bucket_id"]);
        assert!(body["namespace_id"].as_str().unwrap().starts_with("ns_"), "{body}");
        assert!(is_signed(&delivery, "a secret") && !is_signed(&delivery, "another"));
        assert_eq!(delivery.request.header("x-token"), Some("token of the receiver"));
    }
    let told = health(&server, id.as_str().unwrap());
    assert_eq!(
        (told["status"].as_str(), told["consecutive_failures"].as_u64()),
        (Some("healthy"), Some(0))
    );
    assert!(told["last_success_at"].is_string(), "{told}");
}

#[test]
fn a_delivery_that_fails_stalls_or_is_redirected_is_tried_again_before_what_is_behind_it() {
    let (server, receiver) = (server(), Receiver::start());
    receiver.next(&[Mood::Status(500), Mood::Stall, Mood::Redirect]);
    let id = server.post(HOOKS, &hook(&receiver.url())).is(200)["webhook_id"].clone();
    let id = id.as_str().unwrap();
    let first = make_object(&server, "first");
    let second = make_object(&server, "second");
    let failing = poll_until("a failure that is told", DEADLINE, || {
        let told = health(&server, id);
        (told["status"] == "failing").then_some(told)
    });
    assert!(failing["last_error"].is_string() && failing["first_failure_at"].is_string());

    let taken = receiver.waits_for(2);

    assert_eq!(taken[0]["data"]["ids"], json!([first]));
    assert_eq!(taken[1]["data"]["ids"], json!([second]));
    let tries: Vec<Value> =
        receiver.seen()[..4].iter().map(|delivery| delivery.body["event_id"].clone()).collect();
    assert_eq!(tries, vec![taken[0]["event_id"].clone(); 4], "the same id at every try");
    poll_until("health after the success", DEADLINE, || {
        (health(&server, id)["status"] == "healthy").then_some(())
    });
}

#[test]
fn a_receiver_that_does_not_respond_delays_no_other() {
    let (server, dead, alive) = (server(), Receiver::start(), Receiver::start());
    dead.always(Mood::Stall);
    let mut both = hook(&dead.url());
    let other = hook(&alive.url())["channels"][0].clone();
    both["channels"].as_array_mut().unwrap().push(other);
    server.post(HOOKS, &both).is(200);
    for number in 0..3 {
        make_object(&server, &format!("object {number}"));
    }
    assert_eq!(alive.waits_for(3).len(), 3);
}

#[test]
fn what_was_not_delivered_is_delivered_by_the_next_server_once_more_at_most() {
    let home = Catchment::new();
    let receiver = Receiver::start();
    let server = Server::on(&home);
    let bucket = json!({"bucket_name": "films", "bucket_schema": {"properties": {}}});
    server.post("/v1/buckets", &bucket).is(200);
    server.post(HOOKS, &hook(&receiver.url())).is(200);
    make_object(&server, "first");
    receiver.waits_for(1);
    receiver.always(Mood::Status(503));
    let second = make_object(&server, "second");
    poll_until("a failed try", DEADLINE, || (receiver.seen().len() > 1).then_some(()));
    server.kill();
    receiver.always(Mood::Status(200));

    let server = Server::on(&home);
    let third = make_object(&server, "third");

    let taken = receiver.waits_for(3);
    assert_eq!(taken[1]["data"]["ids"], json!([second]));
    assert_eq!(taken[2]["data"]["ids"], json!([third]));
}

#[test]
fn a_receiver_that_was_off_for_longer_than_the_log_goes_back_is_told_that_events_are_lost() {
    let home = Catchment::new();
    let receiver = Receiver::start();
    let server = Server::on(&home);
    let bucket = json!({"bucket_name": "films", "bucket_schema": {"properties": {}}});
    server.post("/v1/buckets", &bucket).is(200);
    server.post(HOOKS, &hook(&receiver.url())).is(200);
    make_object(&server, "first");
    assert_eq!(receiver.waits_for(1)[0]["events_lost"], Value::Null);
    receiver.always(Mood::Status(503));
    make_object(&server, "lost");
    let kept = make_object(&server, "kept");
    poll_until("a failed try", DEADLINE, || (receiver.seen().len() > 1).then_some(()));
    server.kill();
    // As when as many events came since as the log keeps.
    let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
    let oldest = "SELECT max(event_key) FROM events WHERE kind = 'objects.added'";
    let oldest: i64 = db.query_row(oldest, [], |row| row.get(0)).unwrap();
    db.execute("DELETE FROM events WHERE event_key < ?1", [oldest]).unwrap();
    drop(db);
    receiver.always(Mood::Status(200));

    let server = Server::on(&home);
    let last = make_object(&server, "last");

    let taken = receiver.waits_for(3);
    assert_eq!(
        (&taken[1]["data"]["ids"], &taken[1]["events_lost"]),
        (&json!([kept]), &json!(true))
    );
    assert_eq!(
        (&taken[2]["data"]["ids"], &taken[2]["events_lost"]),
        (&json!([last]), &Value::Null)
    );
}

#[test]
fn secrets_are_never_returned_and_stay_when_they_are_left_out() {
    let (server, receiver) = (server(), Receiver::start());
    let made = server.post(HOOKS, &hook(&receiver.url())).is(200);
    let target = format!("{HOOKS}/{}", made["webhook_id"].as_str().unwrap());
    for answer in [
        server.get(&target),
        server.post(&format!("{HOOKS}/list"), &json!({"event_type": "object.created"})),
    ] {
        let text = answer.text();
        assert!(text.contains("redacted"), "{text}");
        assert!(!text.contains("a secret") && !text.contains("token of the receiver"), "{text}");
    }
    let kept = std::fs::read(server.home.data_dir().join("catchment.db")).unwrap();
    let wal = std::fs::read(server.home.data_dir().join("catchment.db-wal")).unwrap_or_default();
    for secret in [&b"a secret"[..], b"token of the receiver"] {
        let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!has(&kept) && !has(&wal), "a secret is at rest as it is");
    }

    // Exactly what was shown, sent back.
    server.put(&target, &made).is(200);
    make_object(&server, "first");
    let delivery = {
        receiver.waits_for(1);
        receiver.seen().remove(0)
    };
    assert!(is_signed(&delivery, "a secret"));
    assert_eq!(delivery.request.header("x-token"), Some("token of the receiver"));

    let mut elsewhere = made;
    elsewhere["channels"][0]["configs"]["url"] = json!("http://127.0.0.2:1/");
    server.put(&target, &elsewhere).blames("channels[0].configs.headers.X-Token");
    server.delete(&target).is(204);
    server.delete(&target).is(204);
    server.get(&target).fails_with(404);
}

#[test]
fn addresses_that_give_a_machines_secrets_away_are_refused_by_name_and_by_number() {
    let server = server();
    for url in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "ftp://example.com/",
        "http://user:password@example.com/",
    ] {
        server.post(HOOKS, &hook(url)).blames("channels[0].configs.url");
    }
    let mut mail = hook("http://127.0.0.1:1/");
    mail["channels"][0]["channel"] = json!("email");
    server.post(HOOKS, &mail).blames("channels[0].channel");
    let mut template = hook("http://127.0.0.1:1/");
    template["channels"][0]["configs"]["payload_template"] = json!({"a": "{{ secret }}"});
    server.post(HOOKS, &template).blames("channels[0].configs.payload_template");
    let mut unknown = hook("http://127.0.0.1:1/");
    unknown["event_types"] = json!(["batch.finished"]);
    server.post(HOOKS, &unknown).blames("event_types[0]");
}

#[test]
fn a_webhook_gets_no_events_from_the_time_it_was_switched_off() {
    let (server, receiver) = (server(), Receiver::start());
    let made = server.post(HOOKS, &hook(&receiver.url())).is(200);
    let target = format!("{HOOKS}/{}", made["webhook_id"].as_str().unwrap());
    let switch = |is_active: bool| {
        let mut wanted = hook(&receiver.url());
        wanted["is_active"] = json!(is_active);
        assert_eq!(server.put(&target, &wanted).is(200)["is_active"], is_active);
    };
    switch(false);
    make_object(&server, "meanwhile");
    switch(true);
    let after = make_object(&server, "after");
    assert_eq!(receiver.waits_for(1)[0]["data"]["ids"], json!([after]));
}

#[test]
fn slack_gets_one_line_at_an_address_that_is_not_shown() {
    let (server, receiver) = (server(), Receiver::start());
    let mut wanted = hook("");
    wanted["channels"] = json!([{"channel": "slack", "configs": {
        "webhook_url": format!("{}/T0/B0/key", receiver.url()), "channel": "#films"}}]);
    let made = server.post(HOOKS, &wanted).is(200);
    assert!(!made.to_string().contains("/T0/B0/key"), "{made}");
    let target = format!("{HOOKS}/{}", made["webhook_id"].as_str().unwrap());
    server.put(&target, &made).is(200);
    make_object(&server, "first");
    let told = receiver.waits_for(1).remove(0);
    assert_eq!(told["channel"], "#films");
    assert!(told["text"].as_str().unwrap().starts_with("object.created: 1"), "{told}");
    assert!(receiver.seen()[0].request.target.ends_with("/T0/B0/key"));
}

#[test]
fn the_end_of_a_batch_is_delivered_to_webhooks_and_once_to_the_address_given_with_it() {
    let (server, receiver, once) = (server(), Receiver::start(), Receiver::start());
    once.next(&[Mood::Status(500)]);
    let collection = json!({
        "collection_name": "facts",
        "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": {"feature_extractor_name": "passthrough_extractor", "version": "v1"},
    });
    let collection = server.post("/v1/collections", &collection).is(200)["collection_id"].clone();
    let mut wanted = hook(&receiver.url());
    wanted["event_types"] =
        json!(["collection.documents.batch_completed", "collection.documents.written"]);
    server.post(HOOKS, &wanted).is(200);
    let object = make_object(&server, "first");
    let batch = server.post("/v1/buckets/films/batches", &json!({"object_ids": [object]})).is(200)
        ["batch_id"]
        .clone();
    let submit = format!("/v1/buckets/films/batches/{}/submit", batch.as_str().unwrap());
    let refused = json!({"webhook_url": "http://169.254.169.254/"});
    server.post(&submit, &refused).blames("webhook_url");
    server.post(&submit, &json!({"webhook_url": once.url()})).is(200);

    let told = once.waits_for(1).remove(0);
    let taken = receiver.waits_for(2);

    assert_eq!(told["data"]["batch_id"], batch);
    assert_eq!(told["data"]["status"], "COMPLETED");
    assert_eq!(once.seen().len(), 2, "one that failed, one that arrived");
    let types: Vec<&str> = taken.iter().map(|body| body["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["collection.documents.written", "collection.documents.batch_completed"]);
    for body in &taken {
        assert_eq!(body["data"]["collection_id"], collection);
        assert_eq!(body["data"]["batch_id"], batch);
    }
}

#[test]
fn after_a_day_of_failures_a_webhook_is_paused_and_goes_on_where_it_was_once_that_is_lifted() {
    let home = Catchment::new();
    let receiver = Receiver::start();
    receiver.always(Mood::Status(500));
    let server = Server::on(&home);
    let bucket = json!({"bucket_name": "films", "bucket_schema": {"properties": {}}});
    server.post("/v1/buckets", &bucket).is(200);
    let id = server.post(HOOKS, &hook(&receiver.url())).is(200)["webhook_id"].clone();
    let id = id.as_str().unwrap();
    let first = make_object(&server, "first");
    poll_until("a failure", DEADLINE, || {
        (health(&server, id)["status"] == "failing").then_some(())
    });
    server.stop();

    let server = Server::on(&home.under_clock("+25h"));
    let paused = poll_until("a pause", DEADLINE, || {
        let told = health(&server, id);
        (told["status"] == "paused").then_some(told)
    });
    assert!(paused["paused_at"].is_string() && paused["paused_reason"].is_string(), "{paused}");
    let target = format!("{HOOKS}/{id}");
    assert_eq!(server.get(&target).is(200)["is_active"], false);
    receiver.always(Mood::Status(200));
    let second = make_object(&server, "second");
    assert_eq!(server.put(&target, &hook(&receiver.url())).is(200)["is_active"], true);

    let taken = receiver.waits_for(2);
    assert_eq!(taken[0]["data"]["ids"], json!([first]));
    assert_eq!(taken[1]["data"]["ids"], json!([second]));
}

#[test]
fn a_proxy_is_asked_for_the_receiver_of_a_webhook() {
    let receiver = Receiver::start();
    let home = Catchment::new().env("HTTP_PROXY", receiver.url());
    let server = Server::on(&home);
    let bucket = json!({"bucket_name": "films", "bucket_schema": {"properties": {}}});
    server.post("/v1/buckets", &bucket).is(200);
    server.post(HOOKS, &hook("http://hooks.invalid/told")).is(200);
    let made = make_object(&server, "object");

    let taken = receiver.waits_for(1);

    assert_eq!(taken[0]["data"]["ids"], json!([made]));
    assert_eq!(receiver.seen()[0].request.proxied.as_deref(), Some("http://hooks.invalid"));
}
