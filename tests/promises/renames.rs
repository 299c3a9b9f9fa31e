//! A file that is only called otherwise keeps its object, and not a byte of it is read again.

use serde_json::json;

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3, Kind, Object},
    trees::Tree,
};

const SOURCE: &str = "s3://catchment-test";

#[test]
fn a_renamed_file_keeps_its_object_and_is_not_read() {
    let tree = Tree::of_files("tree", 5);
    tree.write("draft.txt", "the text");
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let id = catchment.objects("tree")[&b"draft.txt"[..]].object_id.clone();
    std::fs::rename(tree.at("draft.txt"), tree.at("final.md")).unwrap();

    catchment.sync_with(tree.source(), &["--dry-run"]).exits(0).says(&["was draft.txt"]);
    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.updated, summary.synced, summary.removed), (1, 0, 0));
    assert_eq!((summary.unchanged, summary.bytes), (5, 0));
    let objects = catchment.objects("tree");
    let renamed = &objects[&b"final.md"[..]];
    assert_eq!(renamed.object_id, id);
    assert_eq!(renamed.mime_type.as_deref(), Some("text/markdown"));
    catchment.holds_exactly("tree", &tree.contents());
    assert_eq!(catchment.sync(tree.source()).exits(0).summary().unchanged, 6);
}

#[test]
fn a_renamed_folder_is_no_mass_removal() {
    let tree = Tree::of_files("tree", 60);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    std::fs::rename(tree.at("d00"), tree.at("elsewhere")).unwrap();

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.synced, summary.removed, summary.bytes), (0, 0, 0));
    assert!(summary.updated > 0);
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn a_copy_of_a_file_that_is_still_there_is_an_object_of_its_own() {
    let tree = Tree::new("tree");
    tree.write("z original", "content");
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    std::fs::hard_link(tree.at("z original"), tree.at("a link")).unwrap();

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.synced, summary.removed), (1, 0));
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn a_key_that_was_copied_and_deleted_is_not_fetched_again() {
    let s3 = FakeS3::start();
    for number in 0..5 {
        s3.put(format!("key {number}"), content::pattern(number, 1000));
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(SOURCE).exits(0);
    let id = catchment.objects(BUCKET)[&b"key 3"[..]].object_id.clone();
    s3.change(|objects| {
        let object = objects.remove(&b"key 3"[..]).unwrap().modified(1_800_000_000);
        objects.insert(b"a new key".to_vec(), object);
    });
    s3.forget_requests();

    let summary = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((summary.updated, summary.synced, summary.removed), (1, 0, 0));
    assert_eq!(s3.count(Kind::Get), 0);
    assert_eq!(catchment.objects(BUCKET)[&b"a new key"[..]].object_id, id);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn fields_made_from_a_name_are_right_as_soon_as_the_file_is_renamed() {
    let tree = Tree::new("tree");
    tree.write("drafts/7 a.txt", "the text");
    tree.write("drafts/8 b.txt", "another");
    let catchment = Catchment::new();
    let mapping = json!({"mappings": {
        "folder": {"source": {"type": "folder_path"}},
        "number": {"source": {"type": "filename_regex", "pattern": "^(\\d+)"}},
    }});
    let file = catchment.write_home("mapping.json", mapping.to_string());
    let sync =
        || catchment.sync_with(tree.source(), &["--mapping", file.to_str().unwrap()]).exits(0);
    sync();
    let id = catchment.objects("tree")[&b"drafts/7 a.txt"[..]].object_id.clone();
    std::fs::create_dir(tree.at("final")).unwrap();
    std::fs::rename(tree.at("drafts/7 a.txt"), tree.at("final/9 a.txt")).unwrap();

    let summary = sync().summary();

    assert_eq!((summary.updated, summary.unchanged, summary.removed), (1, 1, 0));
    assert_eq!((summary.synced, summary.bytes), (0, 0));
    let renamed = &catchment.objects("tree")[&b"final/9 a.txt"[..]];
    assert_eq!(renamed.object_id, id);
    assert_eq!(renamed.fields, json!({"folder": "final", "number": "9"}));
    assert_eq!(sync().summary().unchanged, 2, "nothing is left for the next run");
}

#[test]
fn a_copied_keys_metadata_is_requested_and_its_bytes_are_not() {
    let s3 = FakeS3::start();
    s3.put_object("old", Object::new("bytes").metadata("m", "then"));
    s3.put("other", "more bytes");
    let catchment = Catchment::reaching(&s3.endpoint());
    let mapping = json!({"mappings": {"m": {"source": {"type": "metadata", "key": "m"}}}});
    let file = catchment.write_home("mapping.json", mapping.to_string());
    let sync = || catchment.sync_with(SOURCE, &["--mapping", file.to_str().unwrap()]).exits(0);
    sync();
    s3.delete("old");
    s3.put_object("new", Object::new("bytes").metadata("m", "now"));
    s3.forget_requests();

    let summary = sync().summary();

    assert_eq!((summary.updated, summary.removed, summary.bytes), (1, 0, 0));
    assert_eq!((s3.count(Kind::Get), s3.count(Kind::Head)), (0, 1));
    assert_eq!(catchment.objects(BUCKET)[&b"new"[..]].fields, json!({"m": "now"}));
    assert_eq!(sync().summary().unchanged, 2);
}

#[test]
fn a_renamed_file_that_the_mapping_refuses_keeps_its_object_and_says_why() {
    let tree = Tree::new("tree");
    tree.write("7 a", "the text");
    tree.write("8 b", "another");
    let catchment = Catchment::new();
    let number = json!({
        "source": {"type": "filename_regex", "pattern": "^(\\d+)"}, "required": true,
    });
    let mapping = json!({"mappings": {"number": number}}).to_string();
    let file = catchment.write_home("mapping.json", mapping);
    let sync = || catchment.sync_with(tree.source(), &["--mapping", file.to_str().unwrap()]);
    sync().exits(0);
    let id = catchment.objects("tree")[&b"7 a"[..]].object_id.clone();
    std::fs::rename(tree.at("7 a"), tree.at("a")).unwrap();

    let run = sync().exits(3).says(&["number", "required"]);

    assert_eq!((run.summary().failed, run.summary().removed), (1, 0));
    assert_eq!(catchment.objects("tree")[&b"a"[..]].object_id, id);
    std::fs::rename(tree.at("a"), tree.at("9 a")).unwrap();
    let mended = sync().exits(0).summary();
    assert_eq!((mended.updated, mended.failed, mended.bytes), (1, 0, 0));
    let renamed = &catchment.objects("tree")[&b"9 a"[..]];
    assert_eq!((&renamed.object_id, &renamed.fields), (&id, &json!({"number": "9"})));
}

#[test]
fn several_equal_objects_are_not_confused() {
    let s3 = FakeS3::start();
    s3.put("one", "equal");
    s3.put("other", "equal");
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(SOURCE).exits(0);
    s3.delete("one");
    s3.put("third", "equal");

    let summary = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((summary.synced, summary.removed, summary.updated), (1, 1, 0));
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn with_no_delete_a_renamed_file_leaves_its_object_where_it_was() {
    let tree = Tree::of_files("tree", 3);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    std::fs::rename(tree.at("d00/f0000"), tree.at("d00/new")).unwrap();

    catchment.sync_with(tree.source(), &["--no-delete"]).exits(0);

    assert_eq!(catchment.objects("tree").len(), 4);
}

#[test]
fn a_renamed_folder_and_stored_bytes_are_found_among_tens_of_thousands_of_files() {
    let tree = Tree::of_files("tree", 20_000);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    std::fs::rename(tree.at("d05"), tree.at("elsewhere")).unwrap();

    let summary = catchment.sync(tree.source()).exits(0).summary();
    assert_eq!((summary.updated, summary.unchanged, summary.bytes), (100, 19_900, 0));
    assert_eq!((summary.synced, summary.removed), (0, 0));

    catchment.sync_with(tree.source(), &["--bucket", "second"]).exits(0);
    catchment.holds_exactly("second", &tree.contents());
    catchment.run(&["status"]).exits(0).says(&["20,000 blobs"]);
}

#[test]
fn renames_of_more_entries_than_fit_in_memory_each_keep_their_object() {
    let tree = Tree::new("tree");
    for number in 0..12_500 {
        tree.write(format!("old/f{number:05}"), format!("content {number}"));
    }
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let objects = |folder: &str| -> Vec<(Vec<u8>, String)> {
        let objects = catchment.objects("tree").into_iter();
        objects.map(|(path, object)| (path[folder.len()..].to_vec(), object.object_id)).collect()
    };
    let before = objects("old");
    std::fs::rename(tree.at("old"), tree.at("new")).unwrap();

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.updated, summary.synced, summary.removed), (12_500, 0, 0));
    assert_eq!(summary.bytes, 0);
    assert!(objects("new") == before, "each has the object that it had");
    assert_eq!(catchment.sync(tree.source()).exits(0).summary().unchanged, 12_500);
}

/// Some servers' tags say nothing about the content, and look as if they did.
#[test]
fn an_object_with_the_tag_of_one_that_is_gone_is_read_where_tags_are_no_hashes() {
    const TAG: &str = "d41d8cd98f00b204e9800998ecf8427e";
    let s3 = FakeS3::start();
    for number in 0..20 {
        s3.put(format!("stays {number}"), format!("content {number}"));
    }
    s3.put_object("old", Object::new("one content").etag(TAG));
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(SOURCE).exits(0);
    s3.delete("old");
    s3.put_object("new", Object::new("two content").etag(TAG));

    let summary = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((summary.synced, summary.removed), (1, 1));
    catchment.holds_exactly(BUCKET, &s3.contents());
}
