//! Syncs whose source is listed in parts, one for each prefix that they name.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        fake_s3::{FakeS3, Fault, Kind, On},
        wire::Delivery,
    },
    takeover::{connect, order},
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A bucket of twenty objects a year, ten to a page.
fn of_three_years() -> FakeS3 {
    let s3 = FakeS3::start();
    s3.page_size(10);
    for (year, number) in (2025..2028).flat_map(|year| (0..20).map(move |n| (year, n))) {
        s3.put(format!("{year}/{number:02}"), format!("{number} of {year}"));
    }
    s3
}

/// Waits until the sync has ended its newest job, and answers that job.
fn newest_job(server: &Server, sync: &str, jobs: usize) -> Value {
    poll_until("the job", DEADLINE, || {
        let list = server.post(&format!("{sync}/jobs"), &json!({})).is(200)["results"].clone();
        let list = list.as_array()?;
        (list.len() >= jobs && list.iter().all(|job| job["status"] != "running"))
            .then(|| list[0].clone())
    })
}

/// The listings that were asked for: the prefix, and whether from its beginning.
fn listings(s3: &FakeS3) -> Vec<(String, bool)> {
    let query = |target: &str, name: &str| {
        let (_, query) = target.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)).map(str::to_owned)
    };
    let seen = s3.requests();
    let lists = seen.iter().filter(|seen| seen.kind == Kind::List);
    lists
        .map(|seen| {
            let target = &seen.request.target;
            let goes_on = ["start-after=", "continuation-token="]
                .iter()
                .any(|name| query(target, name).is_some());
            (query(target, "prefix=").unwrap_or_default().replace("%2F", "/"), !goes_on)
        })
        .collect()
}

#[test]
fn each_prefix_goes_on_from_its_own_checkpoint_and_one_that_is_added_begins_at_its_beginning() {
    let s3 = of_three_years();
    let server = Server::start();
    connect(&server, &s3);
    // A look whether it is there, two pages of 2025, one of 2026, and no more.
    s3.inject(Fault::error(On::Listing, 403, "AccessDenied").after(4));
    let filters = json!({ "prefix": ["2026/", "2025/"] });
    let order = order(json!({ "provider_filters": filters }));
    let made = server.post("/v1/buckets/films/syncs", &order).is(200);
    let sync = format!("/v1/buckets/films/syncs/{}", made["sync_config_id"].as_str().unwrap());
    assert_eq!(newest_job(&server, &sync, 1)["status"], "failed");

    let now = server.get(&sync).is(200);
    let checkpoints = now["sync_checkpoints"].as_object().unwrap();
    assert_eq!(checkpoints.keys().collect::<Vec<_>>(), ["2025/", "2026/"]);
    assert!(checkpoints["2025/"]["completed_at"].is_string(), "{now}");
    assert_eq!(checkpoints["2026/"]["completed_at"], Value::Null, "{now}");
    assert_eq!(checkpoints["2026/"]["cursor"], "2026/09");
    assert_eq!(now["resume_cursor"], "2026/09");
    assert_eq!(now["per_shard_last_sync_at"].as_object().unwrap().len(), 1, "{now}");
    assert_eq!(
        (&now["last_sync_at"], &now["resume_objects_processed"]),
        (&Value::Null, &30.into())
    );

    s3.heal();
    s3.forget_requests();
    let more = json!({ "provider_filters": { "prefix": ["2025/", "2026/", "2027/"] } });
    server.patch(&sync, &more).is(200);
    server.post(&format!("{sync}/trigger"), &json!({})).is(200);
    let job = newest_job(&server, &sync, 2);

    assert_eq!((&job["status"], &job["resumed_via"]), (&"completed".into(), &"checkpoint".into()));
    let asked = |prefix: &str, from_its_beginning| (prefix.to_owned(), from_its_beginning);
    let listed = listings(&s3);
    let (resumed, again) = listed.split_at(3);
    assert_eq!(
        resumed,
        [asked("2026/", false), asked("2027/", true), asked("2027/", false)],
        "2025 was complete"
    );
    let whole = |prefix| [asked(prefix, true), asked(prefix, false)];
    let all = [whole("2025/"), whole("2026/"), whole("2027/")].concat();
    assert_eq!(again, all, "what lies before the checkpoint is compared once more");
    let now = server.get(&sync).is(200);
    assert_eq!(now["per_shard_last_sync_at"]["2027/"], now["last_sync_at"]);
    let processed = &now["sync_checkpoints"]["2026/"]["objects_processed"];
    assert_eq!(*processed, 40, "20 in the pass that was resumed, 20 compared once more");
    assert_eq!(server.get("/v1/buckets/films").is(200)["object_count"], 60);
}

#[test]
fn prefixes_that_would_list_a_key_twice_are_refused_by_their_place_and_change_nothing() {
    let s3 = of_three_years();
    let server = Server::start();
    connect(&server, &s3);
    let with = |prefix: Value| json!({ "provider_filters": { "prefix": prefix } });
    for (prefix, field) in [
        (json!(["2025/", "20"]), "provider_filters.prefix[1]"),
        (json!(["2025/", 7]), "provider_filters.prefix[1]"),
        (json!([]), "provider_filters.prefix"),
        (json!({"of": "2025/"}), "provider_filters.prefix"),
    ] {
        let answer = server.post("/v1/buckets/films/syncs", &order(with(prefix)));
        assert!(answer.blames(field)["accepted"].is_string(), "{field}");
    }
    let rests = json!({ "status": "SUSPENDED", "provider_filters": { "prefix": ["2025/"] } });
    let made = server.post("/v1/buckets/films/syncs", &order(rests)).is(200);
    let sync = format!("/v1/buckets/films/syncs/{}", made["sync_config_id"].as_str().unwrap());

    let refused = server.patch(&sync, &with(json!(["2025/", "2025/1"])));

    assert_eq!(refused.blames("provider_filters.prefix[1]")["value"], "2025/1");
    let now = server.get(&sync).is(200);
    assert_eq!(now["provider_filters"], json!({ "prefix": ["2025/"] }));
}

/// A sync of these prefixes, before anything of it has run.
fn resting(server: &Server, s3: &FakeS3, prefixes: &[&str]) -> String {
    connect(server, s3);
    let filters = json!({ "prefix": prefixes });
    let order = order(json!({ "status": "SUSPENDED", "provider_filters": filters }));
    let made = server.post("/v1/buckets/films/syncs", &order).is(200);
    s3.forget_requests();
    format!("/v1/buckets/films/syncs/{}", made["sync_config_id"].as_str().unwrap())
}

#[test]
fn a_killed_server_leaves_the_shards_that_it_had_listed_complete() {
    let s3 = of_three_years();
    let home = Catchment::new();
    let server = Server::on(&home);
    let sync = resting(&server, &s3, &["2025/", "2026/", "2027/"]);
    s3.inject(Fault::delivery(On::GetOf("2026/15"), Delivery::StallAfter(0)));
    server.post(&format!("{sync}/resume"), &json!({})).is(200);
    poll_until("the checkpoint of the second shard", DEADLINE, || {
        let now = server.get(&sync).is(200);
        (now["sync_checkpoints"]["2026/"]["cursor"] == "2026/09").then_some(())
    });
    server.kill();
    s3.heal();
    s3.forget_requests();

    let server = Server::on(&home);
    poll_until("the end of the pass", DEADLINE, || {
        server.get(&sync).is(200)["last_sync_at"].is_string().then_some(())
    });

    let beginnings: Vec<String> = listings(&s3)
        .into_iter()
        .filter_map(|(prefix, from_its_beginning)| from_its_beginning.then_some(prefix))
        .collect();
    assert_eq!(beginnings[0], "2027/", "2025 was complete, 2026 goes on");
    let again = ["2025/", "2026/", "2027/"];
    assert_eq!(beginnings[1..], again, "what lies before the checkpoint is compared once more");
    assert!(s3.count(Kind::Get) <= 30, "what was committed is not fetched again");
    assert_eq!(server.get("/v1/buckets/films").is(200)["object_count"], 60);
}

#[test]
fn an_object_that_is_gone_from_one_prefix_stays_until_the_others_are_listed_too() {
    let s3 = of_three_years();
    let server = Server::start();
    let sync = resting(&server, &s3, &["2025/", "2026/"]);
    server.post(&format!("{sync}/resume"), &json!({})).is(200);
    assert_eq!(newest_job(&server, &sync, 1)["status"], "completed");
    s3.delete("2025/07");
    s3.inject(Fault::error(On::Listing, 403, "AccessDenied").after(2));

    server.post(&format!("{sync}/trigger"), &json!({})).is(200);
    assert_eq!(newest_job(&server, &sync, 2)["status"], "failed");
    let objects = || server.get("/v1/buckets/films").is(200)["object_count"].clone();
    assert_eq!(objects(), 40, "2025 is listed to its end, 2026 is not");

    s3.heal();
    server.post(&format!("{sync}/trigger"), &json!({})).is(200);
    let job = newest_job(&server, &sync, 3);
    assert_eq!(
        (&job["status"], &job["metadata"]["counts"]["removed"]),
        (&"completed".into(), &1.into())
    );
    assert_eq!(objects(), 39);
}
