//! Libraries, synced through the built program and its API.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    fake::{APP_ID, AUTH_TOKEN, Asset, FakeIconik, Media, VIEW},
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        client::run_client,
        wire::{Answer, Reply, Wire},
    },
};

/// No run of these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often everything is listed.
const EVERY_RUN: &str = "[limits]\nfull_pass_hours = 0\n";

/// A server with a connection to the imitation, and a bucket.
struct Fixture {
    server: Server,
    connection: String,
}

impl Fixture {
    fn new(fake: &FakeIconik) -> Self {
        Self::with(fake, "", json!({}))
    }

    /// With a `config.toml`, and more settings of the connection.
    fn with(fake: &FakeIconik, config: &str, settings: Value) -> Self {
        let home = Catchment::new();
        std::fs::create_dir_all(home.data_dir()).unwrap();
        std::fs::write(home.data_dir().join("config.toml"), config).unwrap();
        let server = Server::on(&home);
        let mut config = json!({
            "base_url": fake.url(), "rate_limit_rps": 10_000,
            "credentials": {"type": "app_token", "app_id": APP_ID, "auth_token": AUTH_TOKEN},
        });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let made = server.post(
            "/v1/organizations/connections",
            &json!({ "name": "library", "provider_type": "iconik", "provider_config": config }),
        );
        let connection = made.is(200)["connection_id"].as_str().unwrap().to_owned();
        let schema = json!({ "properties": {
            "campaign": {"type": "string"}, "content": {"type": "video"},
        } });
        let bucket = json!({ "bucket_name": "media", "bucket_schema": schema });
        server.post("/v1/buckets", &bucket).is(200);
        Self { server, connection }
    }

    /// A sync of a place that has not run; returns where it is.
    fn sync(&self, place: &str, more: &Value) -> String {
        let mut order = json!({
            "connection_id": self.connection, "source_path": place, "status": "SUSPENDED",
        });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.server.post("/v1/buckets/media/syncs", &order).is(200);
        format!("/v1/buckets/media/syncs/{}", made["sync_config_id"].as_str().unwrap())
    }

    /// Runs a sync and waits for its end; returns the job.
    fn run(&self, sync: &str) -> Value {
        let order = if self.server.get(sync).is(200)["status"] == "SUSPENDED" {
            "resume"
        } else {
            "trigger"
        };
        // A run that is under way may have begun before what this one is to see.
        let before = self.idle(sync);
        self.server.post(&format!("{sync}/{order}"), &json!({})).is(200);
        poll_until("the job", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(50));
            let jobs = self.jobs(sync);
            let over =
                jobs.iter().all(|job| job["status"] != "running" && job["status"] != "queued");
            (jobs.len() > before && over).then(|| jobs[0].clone())
        })
    }

    /// Waits until no run is under way; returns how many there were. A run that begins by itself
    /// after that, as behind a changed mapping, is as good as one that is asked for.
    fn idle(&self, sync: &str) -> usize {
        poll_until("the end of all runs", DEADLINE, || {
            let jobs = self.jobs(sync);
            let is_over = |job: &Value| job["status"] != "running" && job["status"] != "queued";
            jobs.iter().all(is_over).then_some(jobs.len())
        })
    }

    /// Runs a sync until a run makes no more requests than these: where entries were moved with
    /// their folders, another run follows by itself.
    fn runs_with_requests(&self, sync: &str, requests: u64) {
        poll_until("a run with so few requests", DEADLINE, || {
            (self.run(sync)["details"]["requests"] == requests).then_some(())
        });
    }

    /// Runs a sync that is to succeed.
    fn runs(&self, sync: &str) {
        let job = self.run(sync);
        assert_eq!(job["status"], "completed", "{job}\n{}", self.server.log());
    }

    fn jobs(&self, sync: &str) -> Vec<Value> {
        let list = self.server.post(&format!("{sync}/jobs"), &json!({})).is(200);
        list["results"].as_array().unwrap().clone()
    }

    fn objects(&self) -> Vec<Value> {
        let all = "/v1/buckets/media/objects/list?limit=1000";
        self.server.post(all, &json!({})).is(200)["results"].as_array().unwrap().clone()
    }

    /// The ids of the objects, by their paths.
    fn paths(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.objects().iter().map(|of| (text(&of["key_prefix"]), text(&of["object_id"]))).collect()
    }
}

fn keys(paths: &BTreeMap<String, String>) -> Vec<&str> {
    paths.keys().map(String::as_str).collect()
}

#[test]
fn new_assets_cost_two_calls_each_besides_their_bytes_and_nothing_new_costs_one_search() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    for number in 0..5 {
        fake.asset(&format!("{number}.mxf"), &[&news], format!("content {number}"));
    }
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(fixture.paths().len(), 5);
    let counts = fake.counts();
    assert_eq!((counts["search"], counts["collections"]), (1, 1), "{counts:?}");
    assert_eq!((counts["files"], counts["download_url"], counts["download"]), (5, 5, 5));
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(fake.counts(), BTreeMap::from([("search", 1)]));
    for number in 5..8 {
        fake.asset(&format!("{number}.mxf"), &[&news], format!("content {number}"));
    }
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(fixture.paths().len(), 8);
    let counts = fake.counts();
    let expected = [("search", 1), ("files", 3), ("download_url", 3), ("download", 3)];
    assert_eq!(counts, expected.into_iter().collect());
    assert_eq!(fake.leaks(), 0);
}

#[test]
fn renames_moves_and_edits_download_nothing_and_the_objects_keep_their_ids() {
    let fake = FakeIconik::start();
    let (news, old) = (fake.collection("News", None), fake.collection("Old", None));
    let asset = fake.asset("a.mxf", &[&news], "a");
    fake.asset("b.mxf", &[&news], "b");
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({ "metadata_view_id": VIEW }));
    let sync = fixture.sync("/", &json!({}));
    fixture.runs(&sync);
    let before = fixture.paths();
    assert_eq!(keys(&before), ["News/a.mxf", "News/b.mxf"]);
    fake.forget();
    fake.rename_collection(&news, "Nachrichten");
    fixture.runs(&sync);
    let renamed = fixture.paths();
    assert_eq!(keys(&renamed), ["Nachrichten/a.mxf", "Nachrichten/b.mxf"]);
    fake.change(&asset, |asset| {
        asset.in_collections = vec![old.clone(), news.clone()];
        asset.title = "Another".into();
        asset.metadata.insert("Campaign".into(), json!(["spring"]));
    });
    fixture.runs(&sync);
    // The first by path stays its place, and the other is told.
    assert_eq!(keys(&fixture.paths()), ["Nachrichten/a.mxf", "Nachrichten/b.mxf"]);
    let objects = fixture.objects();
    let object = objects.iter().find(|of| of["key_prefix"] == "Nachrichten/a.mxf").unwrap();
    let facts = &object["source"]["metadata"];
    assert_eq!(
        (&facts["title"], &facts["Campaign"]),
        (&json!("Another"), &json!("spring")),
        "{object}"
    );
    assert_eq!(facts["collections"], json!(["/Old"]));
    fake.change(&asset, |asset| asset.in_collections = vec![old.clone()]);
    fixture.runs(&sync);
    let moved = fixture.paths();
    assert_eq!(keys(&moved), ["Nachrichten/b.mxf", "Old/a.mxf"]);
    assert_eq!(moved["Old/a.mxf"], before["News/a.mxf"]);
    assert_eq!(moved["Nachrichten/b.mxf"], before["News/b.mxf"]);
    assert!(!fake.counts().contains_key("download"), "{:?}", fake.counts());
}

#[test]
fn a_renamed_collection_shows_in_paths_collections_mappings_and_filters_and_downloads_nothing() {
    let fake = FakeIconik::start();
    let (news, others) = (fake.collection("News", None), fake.collection("Others", None));
    let inner = fake.collection("2026", Some(&news));
    fake.asset("a.mxf", &[&others, &news], "a");
    fake.asset("b.mxf", &[&inner], "b");
    fake.asset("c.mxf", &[&others], "c");
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({}));
    let folders = json!({ "type": "folder_path", "full_path": true });
    let sync = fixture.sync(
        "/",
        &json!({
            "provider_filters": { "path_patterns": ["N*/**", "O*/*"] },
            "schema_mapping": { "mappings": {
                "content": { "target_type": "blob", "source": { "type": "file" } },
                "campaign": { "target_type": "field", "source": folders },
            } },
        }),
    );
    fixture.runs(&sync);
    let before = fixture.paths();
    assert_eq!(keys(&before), ["News/2026/b.mxf", "News/a.mxf", "Others/c.mxf"]);
    fake.forget();
    fake.rename_collection(&news, "Nachrichten");
    fake.rename_collection(&others, "Ordner");
    fixture.runs(&sync);
    let object = |path: &str| {
        let objects = fixture.objects();
        objects.iter().find(|object| object["key_prefix"] == path).cloned().unwrap()
    };
    let after = fixture.paths();
    assert_eq!(keys(&after), ["Nachrichten/2026/b.mxf", "Nachrichten/a.mxf", "Ordner/c.mxf"]);
    assert!(before.values().all(|id| after.values().any(|other| other == id)), "{after:?}");
    assert_eq!(
        object("Nachrichten/a.mxf")["source"]["metadata"]["collections"],
        json!(["/Ordner"])
    );
    assert_eq!(object("Nachrichten/a.mxf")["campaign"], "Nachrichten");
    assert_eq!(object("Nachrichten/2026/b.mxf")["campaign"], "Nachrichten/2026");
    // No pattern names it any more, and the first of a's collections that is left is the other.
    fake.rename_collection(&inner, "Intern");
    fake.rename_collection(&news, "Zeitung");
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["Ordner/a.mxf", "Ordner/c.mxf"]);
    assert_eq!(object("Ordner/a.mxf")["source"]["metadata"]["collections"], json!(["/Zeitung"]));
    fixture.runs_with_requests(&sync, 2);
    let counts = fake.counts();
    assert!(!counts.contains_key("download") && !counts.contains_key("download_url"), "{counts:?}");
}

#[test]
fn a_changed_file_is_downloaded_and_a_second_one_is_an_object_of_its_own() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "long content");
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fixture.runs(&sync);
    let before = fixture.paths();
    let further = fake.new_id();
    fake.change(&asset, |asset| {
        asset.file().bytes = b"changed content".to_vec();
        asset.files.push(Media::new(&further, "a.xml", "side"));
    });
    fixture.runs(&sync);
    let both = fixture.paths();
    assert_eq!(keys(&both), ["a.mxf", "a/a.xml"]);
    assert_eq!(both["a.mxf"], before["a.mxf"], "the asset's object is the same");
    fake.change(&asset, |asset| asset.files.truncate(1));
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["a.mxf"]);
}

#[test]
fn what_is_still_arriving_is_taken_once_it_is_there() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "content");
    fake.change(&asset, |asset| asset.file().status = "OPEN");
    let later = fake.asset("z.mxf", &[], "z");
    fake.change_silently(&later, |asset| {
        asset.date_modified = "2026-05-01T23:00:00.000000+00:00".into();
    });
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["z.mxf"]);
    fake.change_silently(&asset, |asset| asset.file().status = "CLOSED");
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["a.mxf", "z.mxf"]);
}

#[test]
fn a_deleted_asset_goes_with_its_files_and_an_index_that_knows_nothing_removes_nothing() {
    let fake = FakeIconik::start();
    let assets: Vec<String> =
        (0..12).map(|n| fake.asset(&format!("{n}.mxf"), &[], format!("content {n}"))).collect();
    let further = fake.new_id();
    fake.change(&assets[0], |asset| asset.files.push(Media::new(&further, "0.xml", "side")));
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({}));
    let sync = fixture.sync("/", &json!({}));
    fixture.runs(&sync);
    assert_eq!(fixture.paths().len(), 13);
    fake.rebuild_index(true);
    fixture.run(&sync);
    assert_eq!(fixture.paths().len(), 13);
    fake.rebuild_index(false);
    fake.change(&assets[0], |asset| asset.status = "DELETED");
    fake.change_silently(&assets[1], |asset| asset.is_purged = true);
    fake.lag(&assets[2], false);
    fixture.runs(&sync);
    let paths = fixture.paths();
    assert_eq!(paths.len(), 10, "{paths:?}");
    assert!(paths.contains_key("2.mxf"), "what the search skipped still exists");
}

#[test]
fn what_was_archived_stays_as_it_was_taken_and_what_was_restored_is_taken() {
    let fake = FakeIconik::start();
    let (taken, not_yet) = (fake.asset("a.mxf", &[], "a"), fake.asset("b.mxf", &[], "b"));
    let archive = |asset: &mut Asset| asset.archive_status = "ARCHIVED";
    fake.change(&not_yet, archive);
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["a.mxf"]);
    fake.change(&taken, archive);
    fake.change(&not_yet, |asset| asset.archive_status = "NOT_ARCHIVED");
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["a.mxf", "b.mxf"]);
}

#[test]
fn a_missing_file_is_a_dead_letter_with_the_assets_id_and_the_rest_arrives() {
    let fake = FakeIconik::start();
    let missing = fake.asset("a.mxf", &[], "a");
    fake.change(&missing, |asset| asset.file().status = "MISSING");
    fake.asset("b.mxf", &[], "b");
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fixture.run(&sync);
    assert_eq!(keys(&fixture.paths()), ["b.mxf"]);
    let letters = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    let letter = &letters["results"][0];
    assert_eq!(letter["error_type"], "not_found", "{letters}");
    assert!(letter.to_string().contains(&missing), "{letter}");
}

#[test]
fn fields_are_mapped_and_filtered_by_their_bare_names_without_a_request_more() {
    let fake = FakeIconik::start();
    for (name, campaign) in [("a.mxf", "spring"), ("b.mxf", "autumn")] {
        let asset = fake.asset(name, &[], name);
        fake.change(&asset, |asset| {
            asset.metadata.insert("Campaign".into(), json!([campaign]));
        });
    }
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({ "metadata_view_id": VIEW }));
    let sync = fixture.sync(
        "/",
        &json!({
            "schema_mapping": {"mappings": {
                "content": {"target_type": "blob", "source": {"type": "file"}},
                "campaign": {"target_type": "field", "source": {"type": "metadata", "key": "Campaign"}},
            }},
            "file_filters": {"metadata_filters": [
                {"field": "Campaign", "operator": "equals", "value": "spring"},
            ]},
        }),
    );
    fake.forget();
    fixture.runs(&sync);
    let objects = fixture.objects();
    assert_eq!(objects.len(), 1, "{objects:?}");
    assert_eq!(objects[0]["campaign"], "spring");
    assert!(!fake.counts().contains_key("metadata"));
    fake.forget();
    fixture.runs(&sync);
    let counts = fake.counts();
    assert!(!counts.contains_key("files"), "what was left out is not asked again: {counts:?}");
}

#[test]
fn assets_that_filters_leave_out_are_expanded_once_and_not_again_in_a_full_pass() {
    for filters in [
        json!({ "provider_filters": { "path_patterns": ["Raw/*.mov"] } }),
        json!({ "file_filters": { "include_patterns": ["Raw/*.mov"] } }),
        json!({ "file_filters": { "max_size_bytes": 5 } }),
    ] {
        let fake = FakeIconik::start();
        let news = fake.collection("News", None);
        let taken = fake.collection("Raw", None);
        fake.asset("a.mov", &[&taken], "a");
        for number in 0..5 {
            fake.asset(&format!("{number}.mxf"), &[&news], format!("content {number}"));
        }
        let fixture = Fixture::with(&fake, EVERY_RUN, json!({}));
        let sync = fixture.sync("/", &filters);
        fake.forget();
        fixture.runs(&sync);
        assert_eq!(keys(&fixture.paths()), ["Raw/a.mov"]);
        assert_eq!(fake.counts()["files"], 6, "{filters}");
        for _ in 0..2 {
            fake.forget();
            fixture.runs(&sync);
            let expected = BTreeMap::from([("search", 1), ("collections", 1)]);
            assert_eq!(fake.counts(), expected, "{filters}");
        }
    }
}

#[test]
fn what_was_left_out_is_taken_once_its_collection_its_title_or_the_filters_let_it_in() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    let moved = fake.asset("a.mxf", &[&news], "a");
    fake.asset("b.mxf", &[&news], "b");
    let raw = fake.collection("Raw", None);
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({}));
    let sync =
        fixture.sync("/", &json!({ "provider_filters": { "path_patterns": ["Raw/*.mxf"] } }));
    fixture.runs(&sync);
    assert!(fixture.paths().is_empty());
    // Neither is dated anew.
    fake.change_silently(&moved, |asset| asset.in_collections = vec![raw.clone()]);
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["Raw/a.mxf"]);
    fake.rename_collection(&raw, "Old");
    fake.rename_collection(&news, "Raw");
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["Raw/b.mxf"], "what Old has is left out now");
    let filters = json!({ "provider_filters": { "path_patterns": ["*.mxf"] } });
    fixture.server.patch(&sync, &filters).is(200);
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["Old/a.mxf", "Raw/b.mxf"]);
}

#[test]
fn a_proxy_and_a_keyframe_become_blobs_where_they_are_mapped_and_are_fetched_once() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "original");
    let (proxy, frame) = (fake.new_id(), fake.new_id());
    fake.change(&asset, |asset| {
        asset.proxies.push(Media::new(&proxy, "a small.mp4", "the proxy"));
        asset.keyframes.push(Media::new(&frame, "a.jpg", "the keyframe"));
    });
    fake.asset("without.mxf", &[], "no proxy");
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({}));
    let blob = |source: Value, property: &str| {
        json!({ "target_type": "blob", "source": source, "blob_type": "auto",
                "blob_property": property })
    };
    let mapping = json!({ "schema_mapping": { "mappings": {
        "small": blob(json!({"type": "metadata", "key": "proxy"}), "small"),
        "poster": blob(json!({"type": "column", "name": "keyframe"}), "poster"),
    } } });
    let sync = fixture.sync("/", &mapping);
    fake.forget();
    fixture.runs(&sync);
    let counts = fake.counts();
    assert_eq!((counts["proxies"], counts["keyframes"]), (2, 2), "{counts:?}");
    assert_eq!((counts["keyframe"], counts["download_url"], counts["download"]), (1, 3, 4));
    assert_eq!(fake.leaks(), 0);
    let content = |property: &str| {
        let objects = fixture.objects();
        let object = objects.iter().find(|of| of["key_prefix"] == "a.mxf").unwrap();
        let blobs = object["blobs"].as_array().unwrap();
        let blob = blobs.iter().find(|blob| blob["property"] == property);
        let blob = blob.unwrap_or_else(|| panic!("{property}: {object}"));
        let object = object["object_id"].as_str().unwrap();
        let at = format!(
            "/v1/buckets/media/objects/{object}/blobs/{}/content",
            blob["blob_id"].as_str().unwrap()
        );
        (fixture.server.get(&at).body, blob["details"]["filename"].clone())
    };
    assert_eq!(content("small"), (b"the proxy".to_vec(), json!("a small.mp4")));
    assert_eq!(content("poster"), (b"the keyframe".to_vec(), json!("a.jpg")));
    let objects = fixture.objects();
    let without = objects.iter().find(|of| of["key_prefix"] == "without.mxf").unwrap();
    assert_eq!(without["blobs"].as_array().unwrap().len(), 1, "{without}");
    // An edited title fetches neither again; another keyframe is fetched.
    fake.forget();
    fake.change(&asset, |asset| asset.title = "Another".into());
    fixture.runs(&sync);
    assert!(!fake.counts().contains_key("download"), "{:?}", fake.counts());
    fake.change(&asset, |asset| {
        asset.keyframes[0] = Media::new(&frame, "a.jpg", "another keyframe");
    });
    fixture.runs(&sync);
    assert_eq!(fake.counts()["download"], 1);
    assert_eq!(content("poster").0, b"another keyframe");
}

#[test]
fn a_field_of_the_metadata_that_reads_like_the_address_of_a_part_is_no_part() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "original");
    let (proxy, frame) = (fake.new_id(), fake.new_id());
    fake.change(&asset, |asset| {
        asset.proxies.push(Media::new(&proxy, "a.mp4", "the proxy"));
        asset.keyframes.push(Media::new(&frame, "a.jpg", "the keyframe"));
        let address = format!("part://keyframes/{frame}/a%2Ejpg?12%20");
        asset.metadata.insert("Link".into(), json!([address]));
        asset.metadata.insert("proxy".into(), json!(["a word of the view"]));
    });
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({ "metadata_view_id": VIEW }));
    let mapping = |name: &str, source: Value| {
        let blob = json!({ "target_type": "blob", "source": source, "blob_type": "auto",
                           "blob_property": name });
        let word =
            json!({ "target_type": "field", "source": { "type": "column", "name": "proxy" } });
        json!({ "schema_mapping": { "mappings": { name: blob, "campaign": word } } })
    };
    let link = mapping("link", json!({ "type": "column", "name": "Link" }));
    let sync = fixture.sync("/", &link);
    fake.forget();
    fixture.run(&sync);
    assert!(fixture.objects().is_empty());
    let letters = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    assert!(letters.to_string().contains("part://"), "{letters}");
    assert!(!fake.counts().contains_key("keyframe"), "{:?}", fake.counts());
    // A part goes by its name, and a field of that name is a field all the same.
    let proxy = mapping("proxy", json!({ "type": "metadata", "key": "proxy" }));
    fixture.server.patch(&sync, &proxy).is(200);
    fixture.runs(&sync);
    let objects = fixture.objects();
    assert_eq!(objects[0]["campaign"], "a word of the view", "{objects:?}");
    let blobs = objects[0]["blobs"].as_array().unwrap();
    assert!(blobs.iter().any(|blob| blob["details"]["filename"] == "a.mp4"), "{objects:?}");
    assert!(!objects[0]["source"].to_string().contains("part://proxies"), "{objects:?}");
}

#[test]
fn an_asset_that_has_no_proxy_is_asked_for_one_until_it_is_a_week_old_and_then_once_more() {
    let fake = FakeIconik::start();
    let (old, new) = (fake.asset("old.mxf", &[], "old"), fake.asset("new.mxf", &[], "new"));
    let taken = fake.asset("taken.mxf", &[], "original");
    let proxy = fake.new_id();
    fake.change(&taken, |asset| asset.proxies.push(Media::new(&proxy, "taken.mp4", "proxy")));
    let days_ago = |days: i64| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        then.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
    };
    fake.change_silently(&old, |asset| asset.date_modified = days_ago(8));
    fake.change_silently(&new, |asset| asset.date_modified = days_ago(6));
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({}));
    let sync = fixture.sync("/", &json!({ "provider_filters": { "files": "proxy" } }));
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["taken.mp4"]);
    assert_eq!(fake.counts()["proxies"], 3);
    for _ in 0..2 {
        fake.forget();
        fixture.runs(&sync);
        let expected = [("search", 1), ("collections", 1), ("proxies", 1)];
        assert_eq!(fake.counts(), BTreeMap::from(expected), "only the new one is asked");
    }
    // Both get one; that of the old asset is found because its date says that it has changed.
    for (asset, name) in [(&old, "old.mp4"), (&new, "new.mp4")] {
        let id = fake.new_id();
        fake.change_silently(asset, |asset| {
            asset.proxies.push(Media::new(&id, name, format!("proxy of {name}")));
        });
    }
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["new.mp4", "taken.mp4"]);
    fake.change_silently(&old, |asset| asset.date_modified = days_ago(7));
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["new.mp4", "old.mp4", "taken.mp4"]);
}

#[test]
fn the_requests_of_a_large_library_are_those_that_are_promised() {
    const ASSETS: usize = 1100;
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    let assets: Vec<String> = (0..ASSETS)
        .map(|n| fake.asset(&format!("{n}.mxf"), &[&news], format!("content {n}")))
        .collect();
    let fixture = Fixture::with(&fake, "", json!({ "metadata_view_id": VIEW }));
    let sync = fixture.sync("/", &json!({}));
    fake.forget();
    fixture.runs(&sync);
    // Two pages of the search and one of the collections, two calls for each asset and its bytes.
    let of_each = [("files", ASSETS), ("download_url", ASSETS), ("download", ASSETS)];
    let first = BTreeMap::from_iter([("search", 2), ("collections", 1)].into_iter().chain(of_each));
    assert_eq!(fake.counts(), first);
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(fake.counts(), BTreeMap::from([("search", 1)]), "nothing has changed");
    fake.change(&assets[3], |asset| asset.title = "Another".into());
    fake.change(&assets[4], |asset| {
        asset.metadata.insert("Campaign".into(), json!(["spring"]));
    });
    fake.change(&assets[5], |asset| asset.in_collections.clear());
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(fake.counts(), BTreeMap::from([("search", 1), ("files", 3)]), "edits");
    // A full pass: one request for each thousand assets, and the collections.
    let home = fixture.server.home.clone();
    fixture.server.kill();
    std::fs::write(home.data_dir().join("config.toml"), EVERY_RUN).unwrap();
    let fixture = Fixture { server: Server::on(&home), connection: fixture.connection };
    fixture.idle(&sync);
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(fake.counts(), BTreeMap::from([("search", 2), ("collections", 1)]), "a full pass");
    assert_eq!(fixture.server.get(&sync).is(200)["status"], "ACTIVE");
}

#[test]
fn without_a_mapping_neither_proxies_nor_keyframes_are_asked_for() {
    let fake = FakeIconik::start();
    fake.asset("a.mxf", &[], "original");
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fake.forget();
    fixture.runs(&sync);
    let counts = fake.counts();
    assert!(!counts.contains_key("proxies") && !counts.contains_key("keyframes"), "{counts:?}");
}

#[test]
fn files_of_an_asset_that_a_kill_has_cut_off_arrive_without_a_new_date() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "the largest file");
    let (one, two) = (fake.new_id(), fake.new_id());
    fake.change(&asset, |asset| {
        asset.files.push(Media::new(&one, "b.xml", "sidecar"));
        asset.files.push(Media::new(&two, "c.xml", "the other"));
    });
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    // The addresses of the further files are never given, as long as this server runs.
    fake.fail_after("download_url", 1, 2, || Reply::Silence);
    fixture.server.post(&format!("{sync}/resume"), &json!({})).is(200);
    poll_until("the first file", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(20));
        (!fixture.paths().is_empty()).then_some(())
    });
    let home = fixture.server.home.clone();
    fixture.server.kill();
    let fixture = Fixture { server: Server::on(&home), connection: fixture.connection };
    poll_until("all files", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(50));
        (fixture.paths().len() == 3).then_some(())
    });
}

#[test]
fn the_paths_of_collection_ids_are_full_and_nothing_else_on_their_way_is_taken() {
    let fake = FakeIconik::start();
    let top = fake.collection("Top", None);
    let (a, b) = (fake.collection("A", Some(&top)), fake.collection("B", Some(&top)));
    let nested = fake.collection("Nested", Some(&b));
    fake.asset("top.mxf", &[&top], "top");
    fake.asset("a.mxf", &[&a], "a");
    fake.asset("b.mxf", &[&nested], "b");
    fake.asset("loose.mxf", &[], "loose");
    let fixture = Fixture::new(&fake);
    let filters = json!({ "provider_filters": { "collection_ids": [a, b] } });
    let sync = fixture.sync("/", &filters);
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["Top/A/a.mxf", "Top/B/Nested/b.mxf"]);
    let shown = fixture.server.get(&sync).is(200);
    assert!(shown.to_string().contains(&a), "the shards are named by their ids: {shown}");
    fake.asset("late-top.mxf", &[&top], "x");
    fake.asset("late-b.mxf", &[&b], "late");
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["Top/A/a.mxf", "Top/B/Nested/b.mxf", "Top/B/late-b.mxf"]);
}

#[test]
fn a_server_killed_between_pages_has_each_asset_once_afterwards() {
    let fake = FakeIconik::start();
    fake.page_limit(10);
    for number in 0..60 {
        fake.asset(&format!("{number:02}.mxf"), &[], format!("content {number}"));
    }
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fake.fail_after("search", 3, 1, || Reply::Silence);
    fixture.server.post(&format!("{sync}/resume"), &json!({})).is(200);
    poll_until("the first assets", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(20));
        (fixture.paths().len() >= 20).then_some(())
    });
    let home = fixture.server.home.clone();
    fixture.server.kill();
    let fixture = Fixture { server: Server::on(&home), connection: fixture.connection };
    poll_until("all assets", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(50));
        let jobs = fixture.jobs(&sync);
        jobs.iter().any(|job| job["status"] == "completed").then_some(())
    });
    assert_eq!((fixture.objects().len(), fixture.paths().len()), (60, 60));
}

#[test]
fn a_refused_token_suspends_the_connection_at_once() {
    let fake = FakeIconik::start();
    fake.asset("a.mxf", &[], "a");
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fixture.runs(&sync);
    fake.refuse_token(true);
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "failed", "{job}");
    let place = format!("/v1/organizations/connections/{}", fixture.connection);
    let connection = fixture.server.get(&place).is(200);
    assert_eq!(connection["status"], "SUSPENDED", "{connection}");
    assert!(connection["last_error"].as_str().unwrap().contains("application token"));
    assert!(!connection.to_string().contains(AUTH_TOKEN));
}

#[test]
fn a_job_shows_the_kind_of_its_pass_and_its_requests() {
    let fake = FakeIconik::start();
    fake.asset("a.mxf", &[], "a");
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    let first = fixture.run(&sync);
    assert_eq!(first["details"]["pass"], "full", "{first}");
    // The collections, the assets, the files of one, its address and its bytes.
    assert_eq!(first["details"]["requests"], 5, "{first}");
    let second = fixture.run(&sync);
    assert_eq!(second["details"]["pass"], "changes");
    assert_eq!(second["details"]["requests"], 1);
    assert_eq!(second["details"]["rate_limit_hits"], 0);
    assert!(second["details"]["throttled_seconds"].is_number());
}

#[test]
fn the_limits_of_an_installation_hold_where_a_connection_names_none() {
    let fake = FakeIconik::start();
    for number in 0..20 {
        fake.asset(&format!("{number}.mxf"), &[], format!("content {number}"));
    }
    let config = "[limits]\niconik_requests_per_second = 10\n";
    let fixture = Fixture::with(&fake, config, json!({ "rate_limit_rps": null }));
    let sync = fixture.sync("/", &json!({}));
    fake.forget();
    fixture.runs(&sync);
    let api: Vec<_> = fake.seen().into_iter().filter(|seen| seen.kind != "download").collect();
    assert_eq!(api.len(), 42);
    for (first, from) in api.iter().enumerate() {
        let within = api[first..]
            .iter()
            .filter(|seen| seen.at.duration_since(from.at) < Duration::from_secs(2));
        assert!(within.count() <= 26, "more than ten a second");
    }
}

#[test]
fn a_connection_without_an_address_is_one_to_iconiks_own() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let proxy = Wire::serve({
        let asked = Arc::clone(&asked);
        move |request| {
            asked.lock().unwrap().push((request.method.clone(), request.target.clone()));
            Answer::new(403, "no way out of here").into()
        }
    });
    let home = Catchment::new().env("HTTPS_PROXY", proxy.url());
    let keys = json!({ "type": "app_token", "app_id": APP_ID, "auth_token": AUTH_TOKEN });
    let keys = home.write_home("keys.json", keys.to_string());
    let credentials = ["--credentials", keys.to_str().unwrap()];
    let connect =
        home.start(&[&["connect", "iconik", "--name", "library"], &credentials[..]].concat());
    let first = poll_until("a request", DEADLINE, || asked.lock().unwrap().first().cloned());
    assert_eq!(first, ("CONNECT".to_owned(), "app.iconik.io:443".to_owned()));
    connect.kill();
}

/// An installation with a connection of that name, made on the command line.
fn connected(fake: &FakeIconik, names: &[&str]) -> Catchment {
    let home = Catchment::new();
    let keys = json!({ "type": "app_token", "app_id": APP_ID, "auth_token": AUTH_TOKEN });
    let keys = home.write_home("keys.json", keys.to_string());
    for name in names {
        let (base, rate) = (format!("base_url={}", fake.url()), "rate_limit_rps=10000");
        let mut args = vec!["connect", "iconik", "--name", name, "--set", &base, "--set", rate];
        args.extend(["--credentials", keys.to_str().unwrap()]);
        home.run(&args).exits(0);
    }
    home
}

#[test]
fn the_command_line_syncs_through_a_connection_and_costs_one_search_while_nothing_changes() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    fake.asset("a.mxf", &[&news], "a");
    fake.asset("loose.mxf", &[], "loose");
    let home = connected(&fake, &["library"]);
    home.sync_with("iconik:///News", &["--connection", "library"]).exits(0);
    assert_eq!(home.objects("News").len(), 1);
    // Where there is but one connection, it need not be named.
    home.sync("iconik:///").exits(0);
    assert_eq!(home.objects("iconik").len(), 2);
    fake.forget();
    home.sync("iconik:///").exits(0);
    assert_eq!(fake.counts(), BTreeMap::from([("search", 1)]));
    fake.refuse_token(true);
    let run = home.sync("iconik:///").exits(1).says(&["application token"]);
    assert!(!run.stderr.contains(AUTH_TOKEN));
}

#[test]
fn among_several_connections_one_must_be_named_and_another_providers_is_refused() {
    let fake = FakeIconik::start();
    let home = connected(&fake, &["one", "two"]);
    home.sync("iconik:///").exits(2).says(&["--connection", "one", "two"]);
    home.sync_with("iconik:///", &["--connection", "three"]).exits(2).says(&["three"]);
    home.sync_with("s3://bucket", &["--connection", "one"]).exits(2).says(&["s3", "one"]);
    home.sync("snowflake://db.public.t").exits(2).says(&["catchment connect snowflake"]);
    home.sync_with("iconik:///", &["--connection", "one"]).exits(0);
}

#[test]
fn a_collection_that_is_named_by_its_path_is_kept_by_its_id() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    let asset = fake.asset("a.mxf", &[&news], "a");
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({}));
    let sync = fixture.sync("/News", &json!({}));
    assert_eq!(fixture.server.get(&sync).is(200)["source_path"], news);
    fixture.runs(&sync);
    fake.rename_collection(&news, "Nachrichten");
    fake.change(&asset, |asset| asset.title = "Another".into());
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["a.mxf"]);
    assert_eq!(fixture.objects()[0]["source"]["metadata"]["title"], "Another");
}

#[test]
fn everything_is_meant_where_no_place_is_named_and_the_search_is_to_be_used() {
    let fake = FakeIconik::start();
    fake.asset("a.mxf", &[], "a");
    let fixture = Fixture::new(&fake);
    let order = |filters: Value| {
        let order = json!({ "connection_id": fixture.connection, "provider_filters": filters });
        fixture.server.post("/v1/buckets/media/syncs", &order)
    };
    order(json!({ "use_search_api": false })).blames("source_path");
    let made = order(json!({ "use_search_api": true })).is(200);
    assert_eq!(made["source_path"], "/", "{made}");
}

#[test]
fn settings_without_an_effect_on_one_machine_are_kept_and_secrets_are_not_shown() {
    let fake = FakeIconik::start();
    let credentials = json!({
        "type": "app_token", "app_id": APP_ID, "auth_token": AUTH_TOKEN,
        "webhook_secret": "canary-webhook",
    });
    let redis = "redis://cache.example.org:6379/0";
    let settings = json!({ "rate_limit_redis_url": redis, "credentials": credentials });
    let fixture = Fixture::with(&fake, "", settings);
    let place = format!("/v1/organizations/connections/{}", fixture.connection);
    let shown = fixture.server.get(&place).is(200);
    assert_eq!(shown["provider_config"]["rate_limit_redis_url"], redis, "{shown}");
    for secret in [AUTH_TOKEN, "canary-webhook"] {
        assert!(!shown.to_string().contains(secret), "{shown}");
    }
}

#[test]
fn with_on_update_off_what_is_there_stays_as_it_is_and_is_not_asked_for() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "a");
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({}));
    let sync = fixture.sync("/", &json!({ "reconcile": { "on_update": false } }));
    fixture.runs(&sync);
    fake.change(&asset, |asset| asset.file().bytes = b"changed".to_vec());
    fake.asset("b.mxf", &[], "b");
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["a.mxf", "b.mxf"]);
    let each = [("search", 1), ("collections", 1), ("files", 1)];
    let expected = each.into_iter().chain([("download_url", 1), ("download", 1)]);
    assert_eq!(fake.counts(), expected.collect(), "only for the new one");
}

#[test]
fn a_size_that_is_wrong_is_outvoted_by_two_equal_downloads() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "content");
    fake.change(&asset, |asset| {
        asset.file().size_lie = 5;
        asset.file().has_checksum = false;
    });
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({}));
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(keys(&fixture.paths()), ["a.mxf"]);
    assert_eq!(fake.counts()["download"], 2);
    assert_eq!(fixture.objects()[0]["source"]["metadata"]["size_mismatch"], true);
}

#[test]
fn the_view_is_asked_for_a_changed_asset_only_where_the_search_lacks_a_field_that_is_mapped() {
    let fake = FakeIconik::start();
    for (name, campaign) in [("a.mxf", Some("spring")), ("b.mxf", None)] {
        let asset = fake.asset(name, &[], name);
        fake.change(&asset, |asset| {
            asset.metadata.extend(campaign.map(|of| ("Campaign".to_owned(), json!([of]))));
        });
    }
    let fixture = Fixture::with(&fake, EVERY_RUN, json!({ "metadata_view_id": VIEW }));
    let sync = fixture.sync(
        "/",
        &json!({ "schema_mapping": { "mappings": {
        "content": { "target_type": "blob", "source": { "type": "file" } },
        "campaign": { "target_type": "field", "source": { "type": "metadata", "key": "Campaign" } },
    } } }),
    );
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(fixture.paths().len(), 2);
    assert_eq!(fake.counts()["metadata"], 1, "for the one without it");
    fake.forget();
    fixture.runs(&sync);
    assert_eq!(fake.counts(), BTreeMap::from([("search", 1), ("collections", 1)]));
}

#[test]
fn unknown_filters_and_places_are_refused_by_their_fields() {
    let fake = FakeIconik::start();
    fake.collection("News", None);
    fake.collection("News", None);
    let fixture = Fixture::new(&fake);
    let order = |place: &str, filters: Value| {
        let order = json!({
            "connection_id": fixture.connection, "source_path": place, "provider_filters": filters,
        });
        fixture.server.post("/v1/buckets/media/syncs", &order)
    };
    let error = order("/", json!({ "collections": ["x"] })).fails_with(422);
    assert!(error.to_string().contains("collection_ids"), "{error}");
    order("/", json!({ "files": "keyframes" })).fails_with(422);
    order("News", json!({ "files": "a b" })).fails_with(422);
    for place in ["no id", "/News", "/Nothing"] {
        order(place, json!({})).blames("source_path");
    }
}

#[test]
fn the_public_client_makes_the_connection_and_the_sync_unmodified() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    fake.asset("a.mxf", &[&news], "a");
    fake.asset("b.mxf", &[], "b");
    let server = Server::start();
    let given = json!({
        "server": format!("http://{}", server.address), "token": server.token,
        "base_url": fake.url(), "app_id": APP_ID, "auth_token": AUTH_TOKEN,
    });
    run_client("library.py", &given, || server.log());
}

#[test]
fn the_responses_of_the_imitation_are_those_that_the_public_client_of_iconik_parses() {
    let fake = FakeIconik::start();
    fake.search_has_files();
    let news = fake.collection("News", None);
    let asset = fake.asset("a.mxf", &[&news], "content");
    let proxy = fake.new_id();
    let frame = fake.new_id();
    fake.change(&asset, |asset| {
        asset.proxies.push(Media::new(&proxy, "a.mp4", "p"));
        asset.keyframes.push(Media::new(&frame, "a.jpg", "k"));
        asset.metadata.insert("Campaign".into(), json!(["spring"]));
    });
    let given = json!({
        "base_url": fake.url(), "app_id": APP_ID, "auth_token": AUTH_TOKEN, "asset": asset,
        "collection": news, "view": VIEW,
    });
    run_client("iconik.py", &given, String::new);
}

#[test]
fn a_run_takes_up_exactly_as_many_files_as_it_may() {
    let fake = FakeIconik::start();
    for number in 0..24 {
        fake.asset(&format!("{number:02}.mxf"), &[], format!("content {number}"));
    }
    let fixture = Fixture::new(&fake);
    let sync = fixture.sync("/", &json!({ "max_objects_per_run": 10 }));
    fixture.runs(&sync);
    let synced: Vec<_> =
        fixture.jobs(&sync).iter().rev().map(|job| job["files_synced"].clone()).collect();
    assert_eq!(synced, [json!(10), json!(10), json!(4)]);
    assert_eq!(fixture.paths().len(), 24);
}
