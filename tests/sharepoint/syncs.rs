//! Libraries and drives, synced through the built program, its API and its command line.

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        client::run_client,
        fake_authority::PUBLIC_CLIENT,
        fake_graph::{DRIVE, FakeGraph, Fault, Kind, Seen},
        wire::Reply,
    },
    synced::{DEADLINE, Fixture, Object, SYNCS},
};

/// An installation whose Microsoft is the fake.
pub fn home(graph: &FakeGraph) -> Catchment {
    let home = Catchment::new();
    std::fs::create_dir_all(home.data_dir()).unwrap();
    std::fs::write(home.data_dir().join("config.toml"), graph.hosts()).unwrap();
    home
}

pub fn credentials(graph: &FakeGraph) -> Value {
    json!({ "type": "delegated", "tenant_id": "common", "client_id": PUBLIC_CLIENT,
            "refresh_token": graph.authority.refresh_token() })
}

/// A sync of that place in the drive.
pub fn synced(graph: &FakeGraph, place: &str) -> Fixture {
    let fixture = Fixture::made(&home(graph), "sharepoint", &credentials(graph), place);
    graph.forget();
    fixture
}

/// The id of an object's entry.
pub fn id_of(item: &str) -> String {
    format!("{DRIVE}!{item}")
}

/// A drive with so many files in `/Reports/2026`, told ten at a time; returns their folder.
pub fn reports(graph: &FakeGraph, files: usize) -> String {
    graph.page_size(10);
    let reports = graph.folder("root", "Reports");
    let folder = graph.folder(&reports, "2026");
    for number in 0..files {
        graph.file(&folder, &format!("{number:03}.txt"), format!("content {number}"));
    }
    folder
}

/// What was asked for: pages of deltas, downloads at the other host, and downloads through Graph.
pub fn asked(graph: &FakeGraph) -> [usize; 3] {
    let counts = [Kind::Delta, Kind::Download, Kind::Content].map(|kind| graph.count(kind));
    assert_eq!(graph.leaks(), 0, "credentials went to the download host");
    // As Microsoft asks programs to call themselves.
    let is_named = |seen: &Seen| seen.user_agent.starts_with("NONISV|Catchment|Catchment/");
    assert!(graph.seen().iter().all(is_named), "{:?}", graph.seen());
    graph.forget();
    counts
}

#[test]
fn a_drive_is_listed_by_pages_downloaded_once_and_costs_one_request_from_then_on() {
    let graph = FakeGraph::start();
    reports(&graph, 24);
    let fixture = synced(&graph, "/");
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_synced"]), (&json!("completed"), &json!(24)), "{job}");
    // 27 items, the root among them, and nothing through Graph while the addresses are fresh.
    assert_eq!(graph.seen().len(), 3 + 24, "{:?}", graph.seen());
    assert_eq!(asked(&graph), [3, 24, 0]);
    let objects = fixture.objects();
    assert_eq!(objects.len(), 24);
    assert!(
        objects.values().any(|object| {
            object.path == "Reports/2026/007.txt" && object.content == "content 7"
        })
    );
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(graph.seen().len(), 1, "{:?}", graph.seen());
    assert_eq!(asked(&graph), [1, 0, 0]);
    assert_eq!(fixture.objects(), objects);
}

/// Items of a drive with a folder of many files.
const MANY: usize = 10_000;

#[test]
fn the_requests_for_a_folder_of_ten_thousand_files_are_exactly_as_many_as_promised() {
    let graph = FakeGraph::start();
    let folder = graph.folder("root", "2026");
    // The root and the folder are items, too.
    let files = MANY - 2;
    for number in 0..files {
        graph.file(&folder, &format!("{number:05}.txt"), format!("content {number}"));
    }
    let fixture = synced(&graph, "/");
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_synced"]), (&json!("completed"), &json!(files)));
    assert_eq!(graph.seen().len(), MANY.div_ceil(200) + files);
    assert_eq!(job["details"]["requests"], MANY.div_ceil(200) + files, "{job}");
    assert_eq!(asked(&graph), [MANY.div_ceil(200), files, 0]);
    fixture.run();
    assert_eq!((graph.seen().len(), asked(&graph)), (1, [1, 0, 0]));
    graph.change(&folder, |item| item.name = "2026 final".to_owned());
    let job = fixture.run();
    assert_eq!((graph.seen().len(), asked(&graph)), (1, [1, 0, 0]));
    assert_eq!(job["metadata"]["counts"]["bytes"], 0, "{job}");
    assert!(fixture.paths().iter().all(|path| path.starts_with("2026 final/")));
}

#[test]
fn a_folder_of_a_library_is_followed_by_its_id() {
    let graph = FakeGraph::start();
    let folder = reports(&graph, 3);
    graph.file("root", "elsewhere.txt", "not synced");
    let fixture = synced(&graph, "/sites/Team/Shared Documents/Reports");
    fixture.run();
    assert_eq!(fixture.paths(), ["2026/000.txt", "2026/001.txt", "2026/002.txt"]);
    let parent = graph.item_of(&folder).parent.unwrap();
    graph.change(&parent, |item| item.name = "Archive".to_owned());
    graph.file(&folder, "new.txt", "new");
    asked(&graph);
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(asked(&graph), [1, 1, 0]);
    assert!(fixture.paths().contains(&"2026/new.txt".to_owned()));
}

#[test]
fn a_renamed_folder_costs_one_request_and_its_files_keep_their_objects() {
    let graph = FakeGraph::start();
    let folder = reports(&graph, 30);
    let other = graph.folder("root", "Other");
    let fixture = synced(&graph, "/");
    fixture.run();
    let before = fixture.objects();
    graph.forget();
    graph.change(&folder, |item| item.name = "2026 final".to_owned());
    fixture.run();
    assert_eq!((graph.seen().len(), asked(&graph)), (1, [1, 0, 0]));
    graph.change(&folder, |item| item.parent = Some(other.clone()));
    fixture.run();
    assert_eq!((graph.seen().len(), asked(&graph)), (1, [1, 0, 0]));
    let after = fixture.objects();
    for (file, object) in &before {
        let path = object.path.replace("Reports/2026/", "Other/2026 final/");
        assert_eq!(after[file], Object { path, ..object.clone() });
    }
}

#[test]
fn a_changes_pass_adds_updates_moves_and_removes_what_graph_reports() {
    let graph = FakeGraph::start();
    let folder = reports(&graph, 0);
    let [changed, moved, deleted, other] =
        ["a", "b", "c", "d"].map(|name| graph.file(&folder, name, format!("content of {name}")));
    let fixture = synced(&graph, "/");
    fixture.run();
    let before = fixture.objects();
    graph.forget();
    let added = graph.file("root", "new", "new content");
    graph.change(&changed, |item| {
        item.bytes = Some(b"changed content".to_vec());
        item.content += 1;
    });
    graph.change(&moved, |item| {
        item.parent = Some("root".to_owned());
        item.name = "moved".to_owned();
    });
    graph.repeat(&moved);
    graph.delete(&deleted);
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(asked(&graph), [1, 2, 0]);
    let after = fixture.objects();
    let of = |item: &String| after[&id_of(item)].clone();
    assert_eq!(of(&added).path, "new");
    assert_eq!(of(&changed).content, "changed content");
    let was = &before[&id_of(&moved)];
    assert_eq!(of(&moved), Object { path: "moved".to_owned(), ..was.clone() });
    assert_eq!(of(&other), before[&id_of(&other)]);
    assert_eq!(after.len(), 4);
}

#[test]
fn a_resync_at_any_page_loses_removes_and_repeats_nothing() {
    let graph = FakeGraph::start();
    let folder = reports(&graph, 27);
    let fixture = synced(&graph, "/");
    // In a full pass, of three pages.
    for page in 0..3 {
        graph.inject(Fault::resync().after(page));
        let job = fixture.run();
        assert_eq!(job["status"], "completed", "{job}");
        assert_eq!(job["metadata"]["counts"]["removed"], 0, "{job}");
        let downloads = asked(&graph)[1];
        assert_eq!(downloads, if page == 0 { 27 } else { 0 }, "a resync before page {page}");
        assert_eq!(fixture.objects().len(), 27);
    }
    // In a pass of changes with several pages.
    let before = fixture.objects();
    for page in 0..3 {
        for item in 0..25 {
            graph.file(&folder, &format!("{page} {item}"), format!("{page} {item}"));
        }
        graph.inject(Fault::resync().after(page));
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(asked(&graph)[1], 25, "a resync before page {page} of changes");
        let after = fixture.objects();
        assert_eq!(after.len(), 27 + 25 * (page + 1));
        assert!(before.iter().all(|(file, object)| after[file] == *object));
    }
}

#[test]
fn a_resync_at_any_page_of_the_first_pass_downloads_every_file_once() {
    for page in 0..4 {
        let graph = FakeGraph::start();
        reports(&graph, 37);
        let fixture = synced(&graph, "/");
        // Forty items are four pages.
        graph.inject(Fault::resync().after(page));
        let job = fixture.run();
        let counts = &job["metadata"]["counts"];
        assert_eq!((&job["status"], &counts["removed"]), (&json!("completed"), &json!(0)), "{job}");
        assert_eq!(asked(&graph), [page + 1 + 4, 37, 0], "a resync at page {page}");
        assert_eq!(fixture.objects().len(), 37);
        fixture.run();
        assert_eq!(asked(&graph), [1, 0, 0]);
    }
}

#[test]
fn throttling_loses_no_file() {
    let graph = FakeGraph::start();
    reports(&graph, 12);
    let fixture = synced(&graph, "/");
    graph.inject(Fault::throttled(Kind::Delta, 429, 0).times(5));
    graph.inject(Fault::throttled(Kind::Delta, 503, 1).after(1));
    let job = fixture.run();
    assert_eq!((&job["status"], fixture.objects().len()), (&json!("completed"), 12), "{job}");
    assert_eq!(fixture.letters(), []);
}

#[test]
fn two_equal_downloads_are_believed_rather_than_a_wrong_hash() {
    let graph = FakeGraph::start();
    let folder = reports(&graph, 3);
    let wrong = graph.file(&folder, "wrong.pdf", "these bytes");
    graph.change(&wrong, |item| {
        item.facets = json!({ "file": { "hashes": { "quickXorHash": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
                              "mimeType": "application/pdf" } });
    });
    let fixture = synced(&graph, "/");
    fixture.run();
    assert_eq!(fixture.objects().len(), 4);
    assert_eq!(fixture.letters(), []);
}

#[test]
fn a_server_killed_in_either_kind_of_pass_goes_on_and_has_every_file_once() {
    let graph = FakeGraph::start();
    let folder = reports(&graph, 40);
    let fixture = synced(&graph, "/");
    let fixture = killed_in_silence(&graph, fixture, 40);
    let before = fixture.objects();
    for number in 40..80 {
        graph.file(&folder, &format!("{number:03}.txt"), format!("content {number}"));
    }
    graph.change(&folder, |item| item.name = "renamed".to_owned());
    let fixture = killed_in_silence(&graph, fixture, 80);
    let after = fixture.objects();
    for (file, object) in &before {
        assert_eq!(after[file].id, object.id);
        assert!(after[file].path.starts_with("Reports/renamed/"), "{}", after[file].path);
    }
}

/// Begins a run whose downloads fall silent, kills the server, and lets a new one finish: then
/// there are so many objects, each with the content that its name says.
fn killed_in_silence(graph: &FakeGraph, fixture: Fixture, expected: usize) -> Fixture {
    graph.forget();
    graph.inject(Fault::reply(Kind::Download, || Reply::Silence).after(17).times(8));
    fixture.begin();
    poll_until("silence", DEADLINE, || {
        graph
            .seen()
            .iter()
            .any(|seen| seen.kind == Kind::Download && seen.status == 0)
            .then_some(())
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
        is_over.then(|| fixture.objects()).filter(|objects| objects.len() == expected)
    });
    for object in objects.values() {
        let number: usize = object.path.rsplit('/').next().unwrap()[..3].parse().unwrap();
        assert_eq!(object.content, format!("content {number}"), "{}", object.path);
    }
    fixture
}

#[test]
fn places_without_a_library_are_refused_when_the_sync_is_made() {
    let graph = FakeGraph::start();
    reports(&graph, 1);
    let fixture = synced(&graph, "/");
    let connection = fixture.status()["connection_id"].clone();
    for (place, word) in [
        ("/sites", "names no site"),
        ("/sites/Team", "no library"),
        ("/sites/Team/Nothing", "no library"),
        ("/Nowhere", "Nowhere"),
    ] {
        let order = json!({ "connection_id": connection, "source_path": place });
        let refused = fixture.server.post(SYNCS, &order).blames("source_path");
        assert!(refused.to_string().contains(word), "{place}: {refused}");
    }
}

#[test]
fn the_public_client_makes_the_connection_and_the_sync_unmodified() {
    let graph = FakeGraph::start();
    reports(&graph, 2);
    let server = Server::on(&home(&graph));
    let given = json!({
        "server": format!("http://{}", server.address), "token": server.token,
        "client_id": PUBLIC_CLIENT, "refresh_token": graph.authority.refresh_token(),
    });
    run_client("onedrive.py", &given, || server.log());
}

#[test]
fn the_command_line_syncs_a_library() {
    let graph = FakeGraph::start();
    reports(&graph, 5);
    let home = home(&graph);
    let file = home.write_home("credentials.json", credentials(&graph).to_string());
    let connect = ["connect", "sharepoint", "--name", "Work", "--credentials"];
    let connect: Vec<&str> = connect.into_iter().chain([file.to_str().unwrap()]).collect();
    home.run(&connect).exits(0);
    let sync = ["sync", "sharepoint:///sites/Team/Shared Documents/Reports", "--bucket", "team"];
    home.run(&sync).exits(0).says(&["5 new"]);
    graph.forget();
    home.run(&sync).exits(0).says(&["0 new"]);
    assert_eq!(asked(&graph), [1, 0, 0]);
}

#[test]
fn a_preview_shows_paths_with_folders_and_counts_no_more_than_the_folder_that_is_synced() {
    let graph = FakeGraph::start();
    reports(&graph, 3);
    graph.file("root", "elsewhere.txt", "not synced");
    let fixture = synced(&graph, "/Reports");
    let preview = |question: &Value| {
        let preview = fixture.server.post(&format!("{SYNCS}/preview"), question).is(200);
        let sample = preview["sample"].as_array().unwrap().iter();
        let paths = sample.map(|entry| entry["path"].as_str().unwrap().to_owned());
        let mut paths: Vec<String> = paths.collect();
        paths.sort();
        (paths, preview["looked_at"].as_u64().unwrap())
    };
    let connection = fixture.status()["connection_id"].clone();
    let whole = preview(&json!({ "connection_id": connection, "source_path": "/" }));
    let paths = ["Reports/2026/000.txt", "Reports/2026/001.txt", "Reports/2026/002.txt"];
    let paths: Vec<&str> = paths.into_iter().chain(["elsewhere.txt"]).collect();
    assert_eq!((whole.0, whole.1), (paths.into_iter().map(str::to_owned).collect(), 4));
    let of_folder = preview(&json!({ "sync_config_id": fixture.status()["sync_config_id"] }));
    let paths = ["2026/000.txt", "2026/001.txt", "2026/002.txt"].map(str::to_owned);
    assert_eq!(of_folder, (paths.to_vec(), 3));
}
