//! A sync that was made through the API, met by the command line.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    buckets::bucket,
    server::Server,
    support::{
        catchment::{Catchment, Run, poll_until},
        trees::Tree,
    },
};

/// No run of these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder, and a sync of it that was made through the API and takes its text files only.
struct Met {
    home: Catchment,
    tree: Tree,
    id: String,
}

impl Met {
    /// The sync has run once, and no server is there any more.
    fn after(orders: impl FnOnce(&Server, &str)) -> Self {
        let home = Catchment::new().env("CATCHMENT_QUIET_PERIOD_MS", "0");
        let tree = Tree::new("tree");
        tree.write("sub/a.txt", "text");
        tree.write("b.png", "picture");
        let server = Server::on(&home);
        let films = bucket(&server, "films");
        let order = json!({
            "connection_id": "conn_local", "source_path": tree.root(),
            "file_filters": {"extensions": ["txt"]},
            "schema_mapping": {"mappings": {"folder": {"source": {"type": "folder_path"}}}},
        });
        let made = server.post(&format!("{films}/syncs"), &order).is(200);
        let id = made["sync_config_id"].as_str().unwrap().to_owned();
        let path = format!("{films}/syncs/{id}");
        poll_until("its first run", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(20));
            server.get(&path).is(200)["last_sync_at"].as_str().map(drop)
        });
        orders(&server, &path);
        assert!(server.stop().success());
        Self { home, tree, id }
    }

    fn sync(&self, args: &[&str]) -> Run {
        self.home.sync_with(self.tree.source(), &[&["--bucket", "films"], args].concat())
    }

    /// The syncs as `status` tells them.
    fn syncs(&self) -> Vec<Value> {
        let told = self.home.run(&["status", "--json"]).exits(0).stdout();
        let told: Value = serde_json::from_str(&told).unwrap();
        told["syncs"].as_array().unwrap().clone()
    }
}

#[test]
fn the_command_line_runs_the_sync_that_is_there_with_its_own_settings() {
    let met = Met::after(|_, _| {});
    met.tree.write("new/c.txt", "more text");
    met.tree.write("new/d.png", "another picture");

    let dry = met.sync(&["--dry-run"]).exits(0).summary();
    assert_eq!((dry.synced, dry.unchanged, dry.filtered), (1, 1, 2));
    let done = met.sync(&["--extension", "txt"]).exits(0).summary();

    assert_eq!((done.synced, done.unchanged, done.filtered, done.removed), (1, 1, 2, 0));
    let objects = met.home.objects("films");
    assert_eq!(objects[&b"new/c.txt"[..]].fields, json!({"folder": "new"}));
    assert_eq!(met.syncs().len(), 1, "no second one is made");
}

#[test]
fn arguments_that_would_change_the_settings_of_that_sync_are_refused_by_name() {
    let met = Met::after(|_, _| {});
    for args in [&["--extension", "png", "--no-delete"][..], &["--extension", "png", "--dry-run"]] {
        let refused = met.sync(args).exits(2).says(&["--extension", &met.id, "films", "PATCH"]);
        assert_eq!(refused.stderr.contains("--no-delete"), args.contains(&"--no-delete"));
    }
    assert_eq!(met.home.objects("films").len(), 1);
    met.sync(&["--max-delete", "5", "--full"]).exits(0);
}

#[test]
fn a_sync_that_somebody_paused_stays_paused_and_the_way_out_is_named() {
    let met = Met::after(|server, path| {
        server.post(&format!("{path}/pause"), &json!({"reason": "the disk is away"})).is(200);
    });
    met.tree.write("c.txt", "more text");

    met.sync(&[]).exits(1).says(&["paused", "the disk is away", "resume"]);

    assert_eq!(met.home.objects("films").len(), 1);
    assert_eq!(met.syncs().len(), 1);
}
