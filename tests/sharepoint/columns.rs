//! Columns of a library's list, mapped and filtered by the names that people know.

use serde_json::{Value, json};

use crate::{
    support::fake_graph::{FakeGraph, Kind},
    synced::Fixture,
    syncs::{credentials, home},
};

/// A library with two files whose campaigns are spring and autumn; returns their ids.
fn campaigns(graph: &FakeGraph) -> [String; 2] {
    graph.column("Campaign_x0020_name", "Campaign");
    graph.column("Owner", "Responsible");
    [("a.txt", "spring"), ("b.txt", "autumn")].map(|(name, campaign)| {
        let id = graph.file("root", name, name);
        graph.change(&id, |item| {
            item.fields = json!({ "Campaign_x0020_name": campaign, "Owner": "Ada" });
        });
        id
    })
}

/// A sync with the campaign mapped from that source, and with those filters.
fn mapped(graph: &FakeGraph, source: Value, filters: Value) -> Fixture {
    let settings = json!({
        "source_path": "/sites/Team/Documents",
        "schema_mapping": { "mappings": {
            "content": { "target_type": "blob", "source": { "type": "file" } },
            "campaign": { "target_type": "field", "source": source },
        } },
        "file_filters": { "metadata_filters": filters },
    });
    let fixture = Fixture::ordered(&home(graph), "sharepoint", &credentials(graph), &settings);
    graph.forget();
    fixture
}

/// Requests for pages of changes, for names of columns, and all of them.
fn asked(graph: &FakeGraph) -> [usize; 3] {
    let counts = [graph.count(Kind::Delta), graph.count(Kind::Columns), graph.seen().len()];
    graph.forget();
    counts
}

#[test]
fn columns_come_with_the_listing_by_their_internal_names_without_a_request_more() {
    for (number, source) in [
        json!({ "type": "column", "name": "Campaign_x0020_name" }),
        json!({ "type": "metadata", "key": "Campaign_x0020_name" }),
        // What the internal name stands for.
        json!({ "type": "column", "name": "Campaign name" }),
    ]
    .into_iter()
    .enumerate()
    {
        let graph = FakeGraph::start();
        let [a, _] = campaigns(&graph);
        let fixture = mapped(&graph, source, json!([]));
        fixture.run();
        // One page, and two downloads.
        assert_eq!(asked(&graph), [1, 0, 3], "{number}");
        let objects = fixture.models();
        assert_eq!(objects["a.txt"]["campaign"], "spring", "{objects:?}");
        assert_eq!(objects["b.txt"]["campaign"], "autumn");
        fixture.run();
        assert_eq!(asked(&graph), [1, 0, 1]);
        // A column changes, and no byte: nothing is downloaded.
        graph.change(&a, |item| item.fields["Campaign_x0020_name"] = json!("summer"));
        fixture.run();
        assert_eq!(asked(&graph), [1, 0, 1]);
        assert_eq!(fixture.models()["a.txt"]["campaign"], "summer");
        assert_eq!(fixture.models()["a.txt"]["object_id"], objects["a.txt"]["object_id"]);
    }
}

#[test]
fn display_names_are_looked_up_once_in_a_run_that_lists_files() {
    let graph = FakeGraph::start();
    let [a, _] = campaigns(&graph);
    let filters = json!([{ "field": "Responsible", "operator": "equals", "value": "Ada" }]);
    let fixture = mapped(&graph, json!({ "type": "column", "name": "Campaign" }), filters);
    fixture.run();
    assert_eq!(asked(&graph), [1, 1, 4]);
    assert_eq!(fixture.models()["a.txt"]["campaign"], "spring");
    fixture.run();
    assert_eq!(asked(&graph), [1, 0, 1], "no change is one request");
    graph.change(&a, |item| item.fields["Owner"] = json!("Bob"));
    fixture.run();
    assert_eq!(asked(&graph), [1, 1, 2]);
}

#[test]
fn a_column_decides_what_is_taken_before_anything_is_downloaded() {
    let graph = FakeGraph::start();
    let [_, b] = campaigns(&graph);
    let filters = json!([{
        "field": "metadata.Campaign_x0020_name", "operator": "equals", "value": "spring",
    }]);
    let column = json!({ "type": "column", "name": "Campaign_x0020_name" });
    let fixture = mapped(&graph, column, filters);
    fixture.run();
    assert_eq!(asked(&graph), [1, 0, 2]);
    assert_eq!(fixture.paths(), ["a.txt"]);
    graph.change(&b, |item| item.fields["Campaign_x0020_name"] = json!("spring"));
    fixture.run();
    assert_eq!(asked(&graph), [1, 0, 2]);
    assert_eq!(fixture.paths(), ["a.txt", "b.txt"]);
}

#[test]
fn nothing_but_items_is_asked_for_where_no_column_is_named() {
    let graph = FakeGraph::start();
    campaigns(&graph);
    let fixture = mapped(&graph, json!({ "type": "column", "name": "webUrl" }), json!([]));
    fixture.run();
    assert!(graph.seen().iter().all(|seen| !seen.target.contains("expand")), "{:?}", graph.seen());
    let campaign = fixture.models()["a.txt"]["campaign"].clone();
    assert_eq!(campaign, "https://contoso.sharepoint.com/a.txt");
}

#[test]
fn a_personal_drive_has_no_list_and_is_not_asked_for_one() {
    let graph = FakeGraph::start();
    let drive = "0abcdef012345678";
    let root = graph.library(drive, "OneDrive");
    graph.file(&root, "a.txt", "a");
    let settings = json!({
        "source_path": format!("ABCDEF012345678!{root}"),
        "schema_mapping": { "mappings": {
            "content": { "target_type": "blob", "source": { "type": "file" } },
            "campaign": { "target_type": "field", "source": { "type": "column", "name": "X" } },
        } },
    });
    let fixture = Fixture::ordered(&home(&graph), "sharepoint", &credentials(&graph), &settings);
    graph.forget();
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(asked(&graph), [1, 0, 2]);
    assert_eq!(fixture.paths(), ["a.txt"]);
}
