//! What mappings make of entries.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{Fingerprint, Version};

fn mapping(json: Value) -> Mapping {
    Mapping::compile(&SchemaMapping::parse(&json!({"mappings": json})).unwrap()).unwrap()
}

fn map(mapping: &Mapping, path: &[u8], facts: &Facts) -> Result<Mapped, Mismatch> {
    let path = EntryPath::new(path);
    let fingerprint = Fingerprint {
        size: 1,
        version: Version(Vec::new()),
        modified: None,
        etag: None,
        mime: None,
        details: None,
    };
    mapping.map(&Dossier { path: &path, fingerprint: &fingerprint, facts: Some(facts) })
}

fn facts() -> Facts {
    Facts {
        metadata: [("author".to_owned(), " Ünal ".to_owned())].into(),
        tags: [("Cat".to_owned(), r#"{"a":[1,null]}"#.to_owned())].into(),
        properties: Map::from_iter([("URL".to_owned(), json!("https://x.example/a?b"))]),
        ..Facts::default()
    }
}

fn field_of(source: Value, path: &str) -> Option<Value> {
    let mapped = map(&mapping(json!({"f": {"source": source}})), path.as_bytes(), &facts());
    mapped.unwrap().fields.remove("f")
}

#[test]
fn each_source_gives_its_value() {
    let path = "a/b/2026-03-01_take.mov";
    assert_eq!(
        field_of(json!({"type": "tag", "key": "Cat"}), path),
        Some(json!(r#"{"a":[1,null]}"#))
    );
    assert_eq!(field_of(json!({"type": "tag", "key": "cat"}), path), None);
    assert_eq!(field_of(json!({"type": "metadata", "key": "Author"}), path), Some(json!(" Ünal ")));
    assert_eq!(field_of(json!({"name": "url"}), path), Some(json!("https://x.example/a?b")));
    assert_eq!(field_of(json!({"value": [1]}), path), Some(json!([1])));
    assert_eq!(field_of(json!({"value": null, "type": "constant"}), path), None);
    let date = json!({"pattern": r"^(\d{4}-\d\d-\d\d)", "default": "never"});
    assert_eq!(field_of(date.clone(), path), Some(json!("2026-03-01")));
    assert_eq!(field_of(date, "2026-03-01/take.mov"), Some(json!("never")));
}

#[test]
fn folders_are_counted_from_either_end() {
    let at =
        |segment: i64, path| field_of(json!({"type": "folder_path", "segment": segment}), path);
    assert_eq!(at(0, "a/b/c.txt"), Some(json!("a")));
    assert_eq!(at(-1, "a/b/c.txt"), Some(json!("b")));
    assert_eq!(at(-2, "a/b/c.txt"), Some(json!("a")));
    assert_eq!((at(2, "a/b/c.txt"), at(-3, "a/b/c.txt"), at(0, "c.txt")), (None, None, None));
    assert_eq!(field_of(json!({"type": "folder_path"}), "a/b/c.txt"), Some(json!("b")));
    let all = json!({"full_path": true});
    assert_eq!(field_of(all.clone(), "a//b/c.txt"), Some(json!("a//b")));
    assert_eq!(field_of(all, "c.txt"), None);
}

#[test]
fn transforms_are_applied_to_text() {
    let transformed = |source: Value, transform: &str| {
        let mapping = mapping(json!({"f": {"source": source, "transform": transform}}));
        map(&mapping, b"a", &facts()).map(|mut mapped| mapped.fields.remove("f"))
    };
    let author = json!({"type": "metadata", "key": "author"});
    assert_eq!(transformed(author.clone(), "uppercase").unwrap(), Some(json!(" ÜNAL ")));
    assert_eq!(transformed(author.clone(), "trim").unwrap(), Some(json!("Ünal")));
    let tag = json!({"type": "tag", "key": "Cat"});
    assert_eq!(transformed(tag, "json_parse").unwrap(), Some(json!({"a": [1, null]})));
    assert_eq!(transformed(json!({"value": 7}), "lowercase").unwrap(), Some(json!(7)));
    assert!(transformed(author, "json_parse").unwrap_err().message.contains("JSON"));
}

#[test]
fn a_required_value_that_is_missing_is_a_mismatch_that_names_it() {
    let mapping =
        mapping(json!({"owner": {"source": {"type": "tag", "key": "owner"}, "required": true}}));
    let mismatch = map(&mapping, b"a", &facts()).unwrap_err().to_string();
    assert!(mismatch.contains("\"owner\"") && mismatch.contains("tag"), "{mismatch}");
}

#[test]
fn without_a_blob_of_its_own_the_file_is_the_content() {
    let property = |json: Value| mapping(json).content().to_owned();
    assert_eq!(property(json!({})), "content");
    assert_eq!(
        property(json!({"v": {"source": {"type": "file"}, "blob_property": "video"}})),
        "video"
    );
    let both = json!({
        "a": {"source": {"type": "file"}, "blob_property": "aaa"},
        "c": {"source": {"type": "file"}},
    });
    assert_eq!(property(both), "content");
}

#[test]
fn a_blob_is_the_file_a_url_or_text() {
    let blobs = |kind: &str, value: &str| {
        let mapping = mapping(json!({"b": {
            "source": {"value": value}, "blob_type": kind, "blob_property": "p",
        }}));
        map(&mapping, b"a", &Facts::default()).map(|mut mapped| mapped.blobs.remove(0).bytes)
    };
    assert_eq!(blobs("image", " http://x/y ").unwrap(), BlobBytes::Url("http://x/y".into()));
    assert_eq!(blobs("auto", "ftp://x/y").unwrap(), BlobBytes::Url("ftp://x/y".into()));
    assert_eq!(blobs("text", "see http://x").unwrap(), BlobBytes::Text("see http://x".into()));
    assert!(blobs("video", "no address").is_err());
}

#[test]
fn mistakes_in_a_mapping_are_all_reported_where_they_are() {
    let problems = SchemaMapping::parse(&json!({"mappings": {
        "a": {"source": {"type": "tag", "key": ""}, "transform": "reverse"},
        "b": {"source": {"key": "x"}},
        "c": {"source": {"pattern": "no group"}},
        "d": {"source": {"type": "file"}, "target_type": "field"},
        "e": {"source": {"type": "constant", "value": 1, "extra": 2}, "required": "yes"},
        "f": {},
        "g": {"source": {"value": "http://x"}, "target_type": "blob"},
        "h": {"source": {"pattern": "(a)(b)"}},
        "i": {"source": {"pattern": "(?=a)(b)"}},
        "j": {"source": {"type": "clock"}},
        "k": {"source": {"type": "file"}, "mime_type_override": "mpeg", "blob_property": "k"},
    }}))
    .unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        places,
        [
            "mappings.a.source.key",
            "mappings.a.transform",
            "mappings.b.source.type",
            "mappings.c.source.pattern",
            "mappings.d.source.type",
            "mappings.e.source.extra",
            "mappings.e.required",
            "mappings.f.source",
            "mappings.h.source.pattern",
            "mappings.i.source.pattern",
            "mappings.j.source.type",
            "mappings.k.mime_type_override",
        ]
    );
}

#[test]
fn what_is_left_out_of_a_mapping_is_there_when_it_is_echoed() {
    let mapping = SchemaMapping::parse(&json!({"mappings": {
        "v": {"source": {}, "blob_property": "video"},
        "d": {"source": {"segment": 0, "type": null}},
        "n": null,
    }}))
    .unwrap();
    let echoed = serde_json::to_value(&mapping).unwrap();
    assert_eq!(
        echoed,
        json!({"mappings": {
            "v": {"target_type": "blob", "source": {"type": "file"}, "blob_type": "auto",
                  "blob_property": "video", "mime_type_override": null},
            "d": {"target_type": "field", "transform": null, "required": false,
                  "source": {"type": "folder_path", "segment": 0, "full_path": false}},
        }})
    );
    assert_eq!(serde_json::from_value::<SchemaMapping>(echoed).unwrap(), mapping);
}

#[test]
fn sources_that_a_provider_does_not_have_are_named() {
    use crate::model::ProviderName;
    let mapping = SchemaMapping::parse(&json!({"mappings": {
        "t": {"source": {"type": "tag", "key": "k"}},
        "r": {"source": {"type": "rss_field", "field": "title"}},
        "p": {"source": {"type": "folder_path"}},
    }}))
    .unwrap();
    let places = |offered: &[&str]| -> Vec<String> {
        let problems = mapping.problems_with(&ProviderName::new("x"), offered);
        problems.into_iter().map(|problem| problem.field).collect()
    };
    assert_eq!(places(&["tag", "metadata"]), ["mappings.r.source.type"]);
    assert_eq!(places(&[]), ["mappings.r.source.type", "mappings.t.source.type"]);
}

proptest! {
    #[test]
    fn no_key_and_no_value_makes_a_mapping_panic(
        path in prop::collection::vec(any::<u8>(), 0..40),
        value in any::<String>(),
        segment in any::<i64>(),
    ) {
        let mapping = mapping(json!({
            "s": {"source": {"type": "folder_path", "segment": segment}, "transform": "uppercase"},
            "f": {"source": {"type": "folder_path", "full_path": true}},
            "r": {"source": {"pattern": "(.)$"}, "transform": "trim"},
            "m": {"source": {"type": "metadata", "key": "k"}, "transform": "json_parse"},
            "b": {"source": {"type": "metadata", "key": "k"}, "blob_property": "b"},
        }));
        let facts = Facts { metadata: [("k".to_owned(), value)].into(), ..Facts::default() };
        let once = map(&mapping, &path, &facts);
        prop_assert_eq!(once, map(&mapping, &path, &facts));
    }
}
