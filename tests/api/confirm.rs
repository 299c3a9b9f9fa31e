//! Syncs whose bytes wait as uploads, and become objects once these are confirmed.

use serde_json::{Value, json};

use crate::{
    folders::{FolderSync, paths},
    support::trees::Tree,
};

const UPLOADS: &str = "/v1/buckets/films/uploads";

fn waiting(sync: &FolderSync) -> Vec<Value> {
    let by_name = json!({ "sort": { "field": "filename", "direction": "asc" } });
    let listed = sync.server.post(&format!("{UPLOADS}/list"), &by_name).is(200);
    listed["results"].as_array().unwrap().clone()
}

fn confirm(sync: &FolderSync, upload: &Value) -> Value {
    let id = upload["upload_id"].as_str().unwrap();
    sync.server.post(&format!("{UPLOADS}/{id}/confirm"), &json!({})).is(200)
}

fn of_three(more: Value) -> FolderSync {
    let tree = Tree::new("tree");
    tree.write("a.txt", "one");
    tree.write("b.txt", "two");
    tree.write("d/c.txt", "three");
    let mut settings = json!({ "create_object_on_confirm": false });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    FolderSync::of(tree, json!({}), settings)
}

#[test]
fn bytes_of_such_a_sync_land_as_confirmed_uploads_and_become_objects_when_confirmed() {
    let source = json!({ "type": "constant", "value": "film" });
    let mapping = json!({ "mappings": { "kind": { "target_type": "field", "source": source } } });
    let sync = of_three(json!({ "schema_mapping": mapping }));
    let uploads = waiting(&sync);
    assert_eq!(uploads.len(), 3);
    assert_eq!((sync.paths(), sync.bucket()["object_count"].clone()), (vec![], json!(0)));
    let c = &uploads[2];
    assert_eq!((&c["status"], &c["object_id"]), (&json!("COMPLETED"), &Value::Null));
    assert_eq!((&c["filename"], &c["file_size_bytes"]), (&json!("c.txt"), &json!(5)));
    assert_eq!(
        (&c["metadata"]["path"], &c["object_metadata"]["kind"]),
        (&json!("d/c.txt"), &json!("film"))
    );
    let job = &sync.jobs()[0];
    assert_eq!(job["files_synced"], 3, "{job}");

    let made = confirm(&sync, c);
    assert_eq!(sync.paths(), ["d/c.txt"]);
    let object = sync.object("d/c.txt").unwrap();
    assert_eq!((&made["object_id"], &object["kind"]), (&object["object_id"], &json!("film")));
    assert_eq!(
        (sync.content(&object).as_str(), &object["source"]["path"]),
        ("three", &json!("d/c.txt"))
    );
    assert_eq!(sync.bucket()["total_size_bytes"], 5);
    assert_eq!(confirm(&sync, c)["object_id"], object["object_id"], "again changes nothing");
    assert_eq!(sync.run()["files_verified"], 3);
}

#[test]
fn an_unconfirmed_upload_follows_its_entry() {
    let sync = of_three(json!({}));
    sync.tree.write("a.txt", "one, changed");
    sync.tree.remove("b.txt");
    sync.run();

    let uploads = waiting(&sync);
    let names: Vec<_> = uploads.iter().map(|upload| upload["filename"].clone()).collect();
    assert_eq!(names, ["a.txt", "c.txt"]);
    confirm(&sync, &uploads[0]);
    assert_eq!(sync.content(&sync.object("a.txt").unwrap()), "one, changed");

    let c = format!("{UPLOADS}/{}", uploads[1]["upload_id"].as_str().unwrap());
    assert_eq!(sync.server.delete(&c).status, 204);
    sync.run();
    assert_eq!(waiting(&sync).len(), 1, "an upload that was cancelled does not come back");
    sync.tree.write("a.txt", "once more");
    sync.run();
    assert_eq!(paths(&sync.listed("list", json!({}))), ["a.txt"]);
    assert_eq!(sync.content(&sync.object("a.txt").unwrap()), "once more");
}
