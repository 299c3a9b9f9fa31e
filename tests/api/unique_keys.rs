//! The unique key of a bucket, kept among the objects of its syncs and those that are made by hand.

use serde_json::{Value, json};

use crate::{
    buckets::bucket_with,
    server::Server,
    support::catchment::{Catchment, Run},
};

/// A server with a bucket whose objects are named by their `sku`, and a folder that is synced into
/// it, each file named after its own.
struct Shop {
    home: Catchment,
    server: Server,
    bucket: String,
}

impl Shop {
    fn open() -> Self {
        let home = Catchment::new();
        let mapping = json!({"mappings": {
            "sku": {"source": {"type": "filename_regex", "pattern": "^(\\d+)"}},
        }});
        home.write_home("mapping.json", mapping.to_string());
        let server = Server::on(&home);
        let bucket = bucket_with(
            &server,
            json!({"bucket_name": "shop", "unique_key": {"fields": ["sku"]},
                   "bucket_schema": {"properties": {"sku": {"type": "string"}}}}),
        );
        Self { home, server, bucket }
    }

    fn put(&self, name: &str) {
        self.home.write_home(&format!("files/{name}"), name);
    }

    fn rename(&self, from: &str, to: &str) {
        let files = self.home.home().join("files");
        std::fs::rename(files.join(from), files.join(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.home.home().join("files").join(name)).unwrap();
    }

    fn sync(&self) -> Run {
        self.sync_with(&[])
    }

    fn sync_with(&self, more: &[&str]) -> Run {
        let mapping = self.home.home().join("mapping.json");
        let files = self.home.home().join("files");
        let args = ["--bucket", "shop", "--max-delete", "100%", "--mapping"];
        self.home.sync_with(files, &[&args[..], &[mapping.to_str().unwrap()], more].concat())
    }

    /// Path, sku and id of each object, in the order of their paths.
    fn objects(&self) -> Vec<(String, String, String)> {
        let path = format!("{}/objects", self.bucket);
        let rows = self.server.get(&path).is(200)["results"].clone();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let read =
            |row: &Value| (text(row, "key_prefix"), text(row, "sku"), text(row, "object_id"));
        let mut objects: Vec<_> = rows.as_array().unwrap().iter().map(read).collect();
        objects.sort();
        objects
    }

    /// Paths and skus.
    fn shelf(&self) -> Vec<(String, String)> {
        self.objects().into_iter().map(|(path, sku, _)| (path, sku)).collect()
    }
}

fn on_shelf(wares: &[(&str, &str)]) -> Vec<(String, String)> {
    wares.iter().map(|(path, sku)| ((*path).to_owned(), (*sku).to_owned())).collect()
}

#[test]
fn an_entry_whose_unique_key_is_taken_fails_until_the_one_that_has_it_is_gone() {
    let shop = Shop::open();
    shop.put("7 a");
    shop.sync().exits(0);
    let holder = shop.objects()[0].2.clone();
    shop.put("7 b");

    shop.sync().exits(3).says(&["7 b", "unique key (sku)", "[\\\"7\\\"]", &holder]);
    let again = shop.sync().exits(3).summary();
    assert_eq!((again.failed, again.unchanged, again.removed), (1, 1, 0));
    let status = shop.home.run(&["status", "--json"]).exits(0).stdout();
    assert!(status.contains("validation_error"), "{status}");
    assert_eq!(shop.shelf(), on_shelf(&[("7 a", "7")]));

    shop.remove("7 a");
    shop.sync();
    let healed = shop.sync().exits(0).summary();
    assert_eq!((healed.synced, healed.failed), (1, 0), "at once, whatever its backoff was");
    assert_eq!(shop.shelf(), on_shelf(&[("7 b", "7")]));
}

#[test]
fn an_object_stays_as_it_is_while_its_new_unique_key_is_another_ones() {
    let shop = Shop::open();
    shop.put("1 a");
    shop.sync().exits(0);
    let id = shop.objects()[0].2.clone();
    let create = format!("{}/objects?policy=insert", shop.bucket);
    let by_hand = shop.server.post(&create, &json!({"key_prefix": "hand", "sku": "2"})).is(200);
    let by_hand = by_hand["object_id"].as_str().unwrap();
    shop.server.post(&create, &json!({"sku": "1"})).fails_with(409);
    shop.rename("1 a", "2 a");

    shop.sync().exits(3).says(&["2 a", by_hand]);
    assert_eq!(shop.shelf(), on_shelf(&[("2 a", "1"), ("hand", "2")]));
    shop.sync_with(&["--dry-run"]).exits(3).says(&["would_fail", by_hand]);
    let again = shop.sync().exits(3).summary();
    assert_eq!((again.failed, again.removed), (1, 0));

    shop.server.patch(&format!("{}/objects/{by_hand}", shop.bucket), &json!({"sku": "3"})).is(200);
    shop.sync().exits(0);
    assert_eq!(shop.shelf(), on_shelf(&[("2 a", "2"), ("hand", "3")]));
    assert_eq!(shop.objects()[0].2, id);
}

#[test]
fn unique_keys_that_move_along_in_one_run_are_no_collision() {
    let shop = Shop::open();
    ["1 a", "2 b", "3 c"].iter().for_each(|name| shop.put(name));
    shop.sync().exits(0);
    shop.rename("3 c", "4 c");
    shop.rename("2 b", "3 b");
    shop.rename("1 a", "2 a");

    let summary = shop.sync().exits(0).summary();

    assert_eq!((summary.updated, summary.removed, summary.bytes), (3, 0, 0));
    assert_eq!(shop.shelf(), on_shelf(&[("2 a", "2"), ("3 b", "3"), ("4 c", "4")]));
}
