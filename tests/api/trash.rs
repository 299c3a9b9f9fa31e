//! The trash of a bucket: what is deleted can be restored, until its time is up.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    folders::{FolderSync, address, paths},
    objects::files,
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        trees::Tree,
    },
};

const TRASH: &str = "/v1/buckets/films/objects/trash";

fn trash(sync: &FolderSync) -> Vec<Value> {
    sync.listed("trash/list", json!({}))
}

fn restore(sync: &FolderSync, which: Value) -> Value {
    sync.server.post(&format!("{TRASH}/restore"), &which).is(200)
}

#[test]
fn a_deleted_object_is_restored_with_its_id_fields_and_bytes() {
    let sync = FolderSync::of(Tree::of_files("tree", 2), json!({}), json!({}));
    let object = sync.object("d00/f0000").unwrap();
    sync.server.patch(&address(&object), &json!({ "stars": 5 })).is(200);
    let before = sync.object("d00/f0000").unwrap();
    let size = before["source"]["size_bytes"].clone();

    assert_eq!(sync.server.delete(&address(&object)).status, 204);
    sync.server.get(&address(&object)).fails_with(404);
    assert_eq!(sync.paths(), ["d00/f0001"]);
    let bucket = sync.bucket();
    assert_eq!((&bucket["object_count"], &bucket["trash_count"]), (&json!(1), &json!(1)));
    assert_eq!(bucket["trash_bytes"], size);
    let listed = trash(&sync);
    assert_eq!(paths(&listed), ["d00/f0000"]);
    assert_eq!((&listed[0]["stars"], &listed[0]["deleted_by"]), (&json!(5), &json!("person")));
    let days = |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let kept = days(&listed[0]["purge_at"]).duration_since(days(&listed[0]["deleted_at"]));
    assert_eq!(kept.as_hours(), 30 * 24);

    let restored = restore(&sync, json!({ "object_ids": [object["object_id"]] }));
    assert_eq!((&restored["restored"], &restored["refused"]), (&json!(1), &json!(0)));
    let mut after = sync.object("d00/f0000").unwrap();
    assert_eq!(sync.content(&after), sync.content(&before));
    after["updated_at"] = before["updated_at"].clone();
    assert_eq!(after, before);
    let bucket = sync.bucket();
    assert_eq!((&bucket["object_count"], &bucket["trash_count"]), (&json!(2), &json!(0)));
    assert_eq!(sync.run()["files_verified"], 2, "and the sync goes on with it");
}

#[test]
fn an_entry_whose_object_a_person_deleted_is_not_taken_again_while_it_is_in_the_trash() {
    let sync = FolderSync::of(Tree::of_files("tree", 2), json!({}), json!({}));
    let object = sync.object("d00/f0000").unwrap();
    sync.server.delete(&address(&object));

    sync.tree.write("d00/f0000", "another version");
    assert_eq!(sync.run()["files_verified"], 2);
    sync.run_with("?full_sync=true&refetch=true");
    sync.tree.remove("d00/f0000");
    sync.run();
    sync.tree.write("d00/f0000", "back again");
    sync.run();
    assert_eq!(sync.paths(), ["d00/f0001"]);

    restore(&sync, json!({ "all": true }));
    assert_ne!(sync.content(&sync.object("d00/f0000").unwrap()), "back again");
    sync.run();
    let after = sync.object("d00/f0000").unwrap();
    assert_eq!(after["object_id"], object["object_id"]);
    assert_eq!(sync.content(&after), "back again", "once it is restored, it is the sync's again");
}

#[test]
fn what_a_sync_removes_goes_to_the_trash_if_the_bucket_says_so_and_comes_back_with_its_entry() {
    let sync =
        FolderSync::of(Tree::of_files("tree", 3), json!({ "trash_synced": true }), json!({}));
    let first = sync.object("d00/f0000").unwrap();
    sync.server.patch(&address(&first), &json!({ "stars": 5 })).is(200);
    sync.tree.remove("d00/f0000");
    sync.tree.remove("d00/f0001");
    sync.run();
    let listed = trash(&sync);
    assert_eq!((listed.len(), &listed[0]["deleted_by"]), (2, &json!("sync")));

    sync.tree.write("d00/f0000", "back again");
    let job = sync.run();
    assert_eq!(job["files_synced"], 1, "{job}");
    let back = sync.object("d00/f0000").unwrap();
    assert_eq!((&back["object_id"], &back["stars"]), (&first["object_id"], &json!(5)));
    assert_eq!(sync.content(&back), "back again");
    assert_eq!(paths(&trash(&sync)), ["d00/f0001"]);

    // One that is restored by hand stays, although its entry is gone, until the source shows it.
    restore(&sync, json!({ "filters": { "key_prefix": "d00/f0001" } }));
    sync.run();
    let kept = sync.object("d00/f0001").unwrap();
    assert_eq!(kept["released"], true, "{kept}");
    sync.tree.write("d00/f0001", "back as well");
    sync.run();
    let back = sync.object("d00/f0001").unwrap();
    assert_eq!(back["object_id"], kept["object_id"]);
    assert_eq!((sync.content(&back).as_str(), &back["released"]), ("back as well", &json!(false)));
}

#[test]
fn without_a_trash_what_is_deleted_is_gone_with_its_bytes() {
    let tree = Tree::new("tree");
    tree.write("large", vec![7; 200_000]);
    let sync = FolderSync::of(tree, json!({ "trash_days": 0 }), json!({}));
    let blobs = sync.server.home.data_dir().join("blobs");
    assert_eq!(files(&blobs), 1);

    sync.server.delete(&address(&sync.object("large").unwrap()));

    assert_eq!(sync.bucket()["trash_count"], 0);
    poll_until("the end of its bytes", Duration::from_secs(30), || {
        (files(&blobs) == 0).then_some(())
    });
    assert_eq!(sync.run()["files_verified"], 1, "the version that was deleted stays away");
    sync.tree.write("large", "another version");
    sync.run();
    assert_eq!(sync.paths(), ["large"]);
}

#[test]
fn gc_keeps_what_is_in_the_trash_and_purging_frees_it() {
    let tree = Tree::new("tree");
    for name in ["a", "b", "c"] {
        tree.write(name, name.repeat(100_000));
    }
    let sync = FolderSync::of(tree, json!({}), json!({}));
    let (home, blobs) = (&sync.server.home, sync.server.home.data_dir().join("blobs"));
    let stored = || sync.server.get("/v1/overview").is(200)["stored_bytes"].clone();
    let all = json!({ "reason": "no longer wanted", "filters": { "size_bytes": { "gte": 1 } } });
    let deleted = sync.server.post("/v1/buckets/films/objects/bulk-soft-delete", &all).is(200);
    assert_eq!(deleted["soft_deleted"], 3);
    home.run(&["gc"]).exits(0);
    assert_eq!((files(&blobs), stored()), (3, json!(300_000)), "it counts in what is on disk");
    assert_eq!(trash(&sync)[0]["delete_reason"], "no longer wanted");

    let purge = |which: Value| sync.server.post(&format!("{TRASH}/purge"), &which);
    purge(json!({})).blames("object_ids");
    purge(json!({ "all": true, "object_ids": ["obj_x"] })).blames("filters");
    assert_eq!(purge(json!({ "filters": { "key_prefix": "a" } })).is(200)["purged"], 1);
    assert_eq!(paths(&sync.listed("trash/list", json!({ "search": "b" }))), ["b"]);
    assert_eq!(purge(json!({ "all": true })).is(200)["purged"], 2);
    assert_eq!(sync.bucket()["trash_bytes"], 0);
    poll_until("the end of their bytes", Duration::from_secs(30), || {
        (stored() == 0 && files(&blobs) == 0).then_some(())
    });
}

#[test]
fn what_has_had_its_time_in_the_trash_is_purged_by_the_scheduler() {
    let home = Catchment::new();
    let server = Server::on(&home);
    let tree = Tree::of_files("tree", 2);
    let sync = FolderSync::on(server, tree, json!({ "trash_days": 3 }), json!({}));
    sync.server.delete(&address(&sync.object("d00/f0000").unwrap()));
    let FolderSync { server, .. } = sync;
    assert!(server.stop().success());

    let early = Server::on(&home.under_clock("+2d"));
    let bucket = |server: &Server| server.get("/v1/buckets/films").is(200);
    assert_eq!(bucket(&early)["trash_count"], 1);
    assert!(early.stop().success());

    let late = Server::on(&home.under_clock("+4d"));
    poll_until("the purge", Duration::from_secs(60), || {
        (bucket(&late)["trash_count"] == 0).then_some(())
    });
    assert_eq!(bucket(&late)["object_count"], 1);
}

#[test]
fn an_object_whose_unique_key_another_one_has_by_now_is_not_restored_and_says_why() {
    let server = Server::start();
    let schema = json!({ "properties": { "sku": { "type": "string" } } });
    let bucket = json!({ "bucket_name": "films", "bucket_schema": schema,
        "unique_key": { "fields": ["sku"], "default_policy": "insert" } });
    server.post("/v1/buckets", &bucket).is(200);
    let make = || server.post("/v1/buckets/films/objects", &json!({ "sku": "1" })).is(200);
    let first = make();
    server.delete(&address(&first));
    let second = make();

    let refused = server.post(&format!("{TRASH}/restore"), &json!({ "all": true })).is(200);
    assert_eq!((&refused["restored"], &refused["refused"]), (&json!(0), &json!(1)));
    let why = refused["errors"][0]["message"].as_str().unwrap();
    assert!(why.contains(second["object_id"].as_str().unwrap()), "{why}");

    server.delete(&address(&second));
    let ids = json!({ "object_ids": [first["object_id"]] });
    assert_eq!(server.post(&format!("{TRASH}/restore"), &ids).is(200)["restored"], 1);
    assert_eq!(server.get(&address(&first)).is(200)["sku"], "1");
}
