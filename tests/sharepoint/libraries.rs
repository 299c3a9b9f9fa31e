//! Several libraries of a site in one sync: each has its own shard, and its own token of changes.

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::poll_until,
        fake_graph::{DRIVE, ELSEWHERE, FakeGraph, Fault, Kind, Seen},
        wire::Reply,
    },
    synced::{DEADLINE, Fixture, SYNCS},
    syncs::{credentials, home},
};

const ARCHIVE: &str = "b!drive-2";

/// A site with the libraries Documents and Archive, each with a file `a.txt`; returns the root of
/// Archive.
fn site() -> (FakeGraph, String) {
    let graph = FakeGraph::start();
    let archive = graph.library(ARCHIVE, "Archive");
    graph.file("root", "a.txt", "of Documents");
    let folder = graph.folder(&archive, "2020");
    graph.file(&folder, "a.txt", "of Archive");
    (graph, archive)
}

fn of_libraries(graph: &FakeGraph, names: &[&str]) -> Fixture {
    let settings = json!({
        "source_path": "/sites/Team", "provider_filters": { "libraries": names },
    });
    let fixture = Fixture::ordered(&home(graph), "sharepoint", &credentials(graph), &settings);
    graph.forget();
    fixture
}

#[test]
fn each_library_has_a_token_of_its_own_and_its_paths_begin_with_its_name() {
    let (graph, archive) = site();
    let fixture = of_libraries(&graph, &["Shared Documents", "Archive"]);
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), ["Archive/2020/a.txt", "Shared Documents/a.txt"]);
    // A listing of each, and two downloads.
    assert_eq!((graph.count(Kind::Delta), graph.count(Kind::Download)), (2, 2));
    assert_eq!(graph.seen().len(), 4, "{:?}", graph.seen());
    let shards = fixture.status()["sync_checkpoints"].clone();
    assert!(shards.to_string().contains("Archive"), "{shards}");
    assert!(shards.to_string().contains("Shared Documents"), "{shards}");

    graph.forget();
    fixture.run();
    let asked: Vec<String> = graph.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(asked.len(), 2, "no change is one request of each: {asked:?}");
    assert!(asked[0].contains(DRIVE) && asked[1].contains(ARCHIVE), "{asked:?}");

    graph.file(&archive, "new.txt", "new");
    graph.rename_library(ARCHIVE, "Old things");
    graph.forget();
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_synced"]), (&json!("completed"), &json!(1)), "{job}");
    assert_eq!(graph.seen().len(), 3, "{:?}", graph.seen());
    assert!(fixture.paths().contains(&"Archive/new.txt".to_owned()), "{:?}", fixture.paths());
}

#[test]
fn a_library_whose_token_is_refused_costs_listings_and_no_download() {
    let (graph, _) = site();
    let fixture = of_libraries(&graph, &["Documents", "Archive"]);
    fixture.run();
    let before = fixture.objects();
    for library in 0..2 {
        graph.forget();
        graph.inject(Fault::resync().after(library));
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(graph.count(Kind::Download), 0);
        assert_eq!(fixture.objects(), before);
    }
}

#[test]
fn a_library_that_is_named_no_longer_takes_its_objects_with_it_and_one_that_is_named_comes() {
    let (graph, _) = site();
    let fixture = of_libraries(&graph, &["Documents"]);
    fixture.run();
    let documents = fixture.objects();
    assert_eq!(fixture.paths(), ["Documents/a.txt"]);
    let named = |libraries: Value| {
        let change = json!({ "provider_filters": { "libraries": libraries } });
        fixture.server.patch(&fixture.sync, &change).is(200);
        graph.forget();
        let job = fixture.run();
        assert_eq!(job["status"], "completed", "{job}");
    };
    named(json!(["Documents", "Archive"]));
    assert_eq!(fixture.paths(), ["Archive/2020/a.txt", "Documents/a.txt"]);
    assert_eq!(graph.count(Kind::Download), 1);
    named(json!(["Documents"]));
    assert_eq!(fixture.objects(), documents);
    assert_eq!(graph.count(Kind::Download), 0);
}

#[test]
fn libraries_that_are_none_and_places_that_have_none_are_refused_by_their_fields() {
    let (graph, _) = site();
    let fixture = of_libraries(&graph, &["Documents"]);
    let connection = fixture.status()["connection_id"].clone();
    let order = |place: &str, libraries: Value| {
        let filters = json!({ "libraries": libraries });
        let order = json!({
            "connection_id": connection, "source_path": place, "provider_filters": filters,
        });
        fixture.server.post(SYNCS, &order)
    };
    for wrong in [json!("Documents"), json!([5]), json!([""]), json!(["a/b"]), json!(["A", "a"])] {
        let refused = order("/sites/Team", wrong.clone()).fails_with(422).to_string();
        assert!(refused.contains("libraries"), "{wrong}: {refused}");
    }
    for (place, libraries, words) in [
        ("/sites/Team", json!(["Nothing"]), "there are: Documents, Archive"),
        ("/sites/Team", json!(["Documents", "Shared Documents"]), "the same library"),
        ("/sites/Team/Documents", json!(["Archive"]), "ends with its site"),
        ("/", json!(["Archive"]), "/sites/Name"),
        ("/sites/Team", json!([]), "provider_filters.libraries"),
    ] {
        let refused = order(place, libraries).blames("source_path").to_string();
        assert!(refused.contains(words), "{place}: {refused}");
    }
}

#[test]
fn a_site_that_is_not_below_sites_is_found_by_looking_around_and_synced_by_its_id() {
    let (graph, _) = site();
    graph.site_elsewhere();
    let fixture = of_libraries(&graph, &["Documents"]);
    let folders = "/v1/organizations/connections/Work/folders?path=";
    let looked = fixture.server.get(&format!("{folders}/sites")).is(200).to_string();
    // Both by what leads there, and not by what they are called.
    assert!(looked.contains(&format!("\"path\":\"{ELSEWHERE}\"")), "{looked}");
    assert!(looked.contains("\"path\":\"/sites/Team\""), "{looked}");
    let looked = fixture.server.get(&format!("{folders}{ELSEWHERE}")).is(200);
    assert!(looked.to_string().contains("Archive"), "{looked}");
    let order = json!({
        "connection_id": fixture.status()["connection_id"], "source_path": ELSEWHERE,
        "provider_filters": { "libraries": ["Archive"] }, "status": "SUSPENDED",
    });
    let made = fixture.server.post(SYNCS, &order).is(200);
    let place = made["source_path"].as_str().unwrap();
    assert!(place.starts_with(ELSEWHERE) && place.ends_with("/Archive"), "{place}");
}

#[test]
fn a_server_killed_between_libraries_goes_on_and_has_every_file_once() {
    let (graph, archive) = site();
    graph.page_size(10);
    for (parent, name) in [("root", "d"), (&*archive, "a")] {
        for number in 0..20 {
            graph.file(parent, &format!("{name}{number:02}.txt"), format!("of {name}{number:02}"));
        }
    }
    let fixture = of_libraries(&graph, &["Documents", "Archive"]);
    // The second library falls silent while it is listed.
    graph.inject(Fault::reply(Kind::Delta, || Reply::Silence).after(4).times(3));
    fixture.begin();
    poll_until("silence", DEADLINE, || {
        let silent = |seen: &Seen| seen.kind == Kind::Delta && seen.status == 0;
        graph.seen().iter().any(silent).then_some(())
    });
    let Fixture { server, sync } = fixture;
    let home = server.home.clone();
    server.kill();
    graph.heal();
    let fixture = Fixture { server: Server::on(&home), sync };
    let objects = poll_until("the rest", DEADLINE, || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let is_over = fixture.jobs().iter().all(|job| job["status"] != "running")
            && fixture.status()["status"] == "ACTIVE";
        is_over.then(|| fixture.objects()).filter(|objects| objects.len() == 42)
    });
    assert!(objects.values().all(|object| {
        let name = object.path.rsplit('/').next().unwrap();
        name == "a.txt" || object.content == format!("of {}", name.trim_end_matches(".txt"))
    }));
    graph.forget();
    fixture.run();
    assert_eq!(graph.seen().len(), 2, "{:?}", graph.seen());
}

#[test]
fn a_site_below_a_site_is_found_with_its_libraries() {
    let (graph, _) = site();
    let fixture = of_libraries(&graph, &["Documents"]);
    let connection = fixture.status()["connection_id"].clone();
    let order = json!({
        "connection_id": connection, "source_path": "/sites/Team/Sub",
        "provider_filters": { "libraries": ["Documents"] }, "status": "SUSPENDED",
    });
    let made = fixture.server.post(SYNCS, &order).is(200);
    assert!(made["source_path"].as_str().unwrap().contains("web-2"), "{made}");
    let looked = "/v1/organizations/connections/Work/folders?path=/sites/Team/Sub";
    let looked = fixture.server.get(looked).is(200);
    assert!(looked.to_string().contains("Documents"), "{looked}");
}
