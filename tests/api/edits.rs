//! What people wrote to objects of syncs, and objects that they kept.

use serde_json::{Value, json};

use crate::{
    folders::{FolderSync, address, paths},
    support::trees::Tree,
};

/// Each film has the title that its name begins with, and a kind.
fn mapped() -> Value {
    let title = json!({ "type": "filename_regex", "pattern": "^(.*)[.]txt$" });
    json!({ "schema_mapping": { "mappings": {
        "title": { "target_type": "field", "source": title },
        "kind": { "target_type": "field", "source": { "type": "constant", "value": "film" } },
    } } })
}

#[test]
fn what_a_person_wrote_to_a_synced_object_stays_through_changes_and_full_syncs() {
    let tree = Tree::new("tree");
    tree.write("alien.txt", "1979");
    let sync = FolderSync::of(tree, json!({}), mapped());
    let made = sync.object("alien.txt").unwrap();
    assert_eq!((&made["title"], &made["edited_fields"]), (&json!("alien"), &json!([])));
    let path = address(&made);

    let edit = json!({ "title": "Alien", "stars": 5, "kind": null });
    let edited = sync.server.patch(&path, &edit).is(200);
    let is_edited = |object: &Value| {
        assert_eq!((&object["title"], &object["stars"]), (&json!("Alien"), &json!(5)), "{object}");
        assert_eq!(object.get("kind"), None, "{object}");
        assert_eq!(object["edited_fields"], json!(["kind", "stars", "title"]));
    };
    is_edited(&edited);
    sync.tree.write("alien.txt", "1979, restored");
    assert_eq!(sync.run()["files_synced"], 1);
    let changed = sync.object("alien.txt").unwrap();
    is_edited(&changed);
    assert_eq!(sync.content(&changed), "1979, restored");
    sync.run_with("?full_sync=true&refetch=true");
    is_edited(&sync.object("alien.txt").unwrap());
    let found = json!({ "filters": { "edited_fields": "stars", "title": "alien" } });
    assert_eq!(paths(&sync.listed("list", found)), ["alien.txt"]);

    let back = json!({ "title": null, "stars": null, "kind": null });
    let back = sync.server.patch(&path, &back).is(200);
    assert_eq!((&back["title"], &back["kind"]), (&json!("alien"), &json!("film")), "{back}");
    assert_eq!((back.get("stars"), &back["edited_fields"]), (None, &json!([])));
}

#[test]
fn an_edit_stays_over_what_a_changed_mapping_gives() {
    let tree = Tree::new("tree");
    tree.write("alien.txt", "1979");
    let sync = FolderSync::of(tree, json!({}), mapped());
    let path = address(&sync.object("alien.txt").unwrap());
    sync.server.put(&path, &json!({ "metadata": { "title": "Alien" } })).is(200);

    let mut other = mapped();
    other["schema_mapping"]["mappings"]["kind"]["source"]["value"] = "horror".into();
    sync.server.patch(&sync.path, &other).is(200);
    sync.run();

    let object = sync.object("alien.txt").unwrap();
    assert_eq!((&object["title"], &object["kind"]), (&json!("Alien"), &json!("horror")));
    assert_eq!(object["edited_fields"], json!(["title"]));
}

#[test]
fn a_unique_key_that_a_person_wrote_stays_with_its_object() {
    let tree = Tree::new("tree");
    tree.write("alien.txt", "1979");
    tree.write("brazil.txt", "1985");
    let bucket = json!({
        "bucket_schema": { "properties": {
            "title": { "type": "string" }, "kind": { "type": "string" } } },
        "unique_key": { "fields": ["title"], "default_policy": "upsert" },
    });
    let sync = FolderSync::of(tree, bucket, mapped());
    let path = address(&sync.object("alien.txt").unwrap());
    sync.server.patch(&path, &json!({ "title": "brazil" })).fails_with(409);
    sync.server.patch(&path, &json!({ "title": "Alien" })).is(200);

    sync.tree.write("alien.txt", "1979, restored");
    // The name that the other one has let go of.
    sync.tree.write("d/alien.txt", "another");
    let job = sync.run();

    assert_eq!((&job["files_failed"], &job["files_synced"]), (&json!(0), &json!(2)), "{job}");
    assert_eq!(sync.object("alien.txt").unwrap()["title"], "Alien");
    let again = sync.server.post("/v1/buckets/films/objects", &json!({ "title": "Alien" })).is(200);
    assert_eq!(address(&again), path, "an upsert finds it by what the person wrote");
}

#[test]
fn objects_that_are_kept_although_the_source_lost_them_are_listed_counted_and_removable() {
    let sync = FolderSync::of(Tree::of_files("tree", 4), json!({}), json!({ "max_delete": 1 }));
    for number in 1..4 {
        sync.tree.remove(&format!("d00/f{number:04}"));
    }
    assert_eq!(sync.run()["phase"], "held");
    let kept = sync.server.post(&format!("{}/removals/reject", sync.path), &json!({})).is(200);
    assert_eq!(kept["kept"], 3);

    let released = json!({ "filters": { "released": true }, "include_total": true });
    let listed = sync.server.post("/v1/buckets/films/objects/list", &released).is(200);
    assert_eq!(listed["pagination"]["total"], 3, "{listed}");
    assert!(listed["results"].as_array().unwrap().iter().all(|one| one["released"] == true));
    let others = sync.listed("list", json!({ "filters": { "released": false } }));
    assert_eq!(paths(&others), ["d00/f0000"]);
    assert_eq!(sync.now()["released_objects"], 3);

    sync.run();
    let gone = address(&sync.object("d00/f0003").unwrap());
    assert_eq!(sync.server.delete(&gone).status, 204);
    sync.tree.write("d00/f0002", "back again");
    sync.run();
    assert_eq!(sync.now()["released_objects"], 1, "one was removed, one came back");
    assert_eq!(sync.paths(), ["d00/f0000", "d00/f0001", "d00/f0002"]);
}
