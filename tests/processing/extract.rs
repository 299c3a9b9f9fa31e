//! The extractors that come with Catchment, each asked in a child process of its own.

use std::{io::Write as _, time::Duration};

use catchment::processing::extract::Class;
use serde_json::json;

use crate::{asked::Asked, ledger::DEADLINE, programs::LINES, support::catchment::poll_until};

/// A PNG of 3 by 2 pixels, as far as its header goes.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0\x12\x16\xf1\x4d";

#[tokio::test]
async fn file_facts_hold_the_true_type_and_the_dimensions_of_a_picture() {
    let facts = Asked::new().facts(PNG).await;
    assert_eq!(facts["mime_type"], "image/png");
    assert_eq!((facts["width"].as_u64(), facts["height"].as_u64()), (Some(3), Some(2)));
    assert_eq!(facts["size_bytes"], PNG.len());
}

#[tokio::test]
async fn file_facts_list_an_archive_without_unpacking_it() {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    let (mut entry, config) = archive
        .new_file("a/b.txt")
        .compression_method(rawzip::CompressionMethod::STORE)
        .start()
        .unwrap();
    let mut writer = config.wrap(&mut entry);
    writer.write_all(b"hello").unwrap();
    let (_, descriptor) = writer.finish().unwrap();
    entry.finish(descriptor).unwrap();
    archive.finish().unwrap();

    let facts = Asked::new().facts(&bytes).await;
    assert_eq!(facts["entry_count"], 1);
    assert_eq!(facts["entries"], json!([{"path": "a/b.txt", "size_bytes": 5}]));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_and_reported_while_the_others_become_documents() {
    let rows = b"{\"v\":[1,2],\"a\":1}\nnot json\n{\"v\":[1],\"a\":2}\n{\"v\":[3,4],\"a\":3}\n";
    let parameters = json!({"vector_fields": [{"field": "v", "name": "mine", "dimensions": 2}]});
    let found = Asked::new().of("passthrough_extractor", rows, parameters).await.unwrap();
    let told: Vec<_> = found.documents.iter().map(|document| document.body["a"].clone()).collect();
    assert_eq!(told, [1, 3]);
    assert_eq!(found.documents[1].vectors[0].values, [3.0, 4.0]);
    assert_eq!(found.left_out_count, 2);
    assert!(found.left_out[0].starts_with("row 2"), "{:?}", found.left_out);
}

#[tokio::test]
async fn one_child_serves_many_objects_and_survives_those_that_fail() {
    let asked = Asked::new();
    let parameters = json!({"row_format": "jsonl"});
    let long = vec![b'x'; 3 * 1024 * 1024];
    let failed = asked.of("passthrough_extractor", &long, parameters.clone()).await.unwrap_err();
    assert_eq!(failed.class, Class::Permanent, "{failed}");
    for _ in 0..3 {
        let found = asked.of("passthrough_extractor", b"{}", parameters.clone()).await.unwrap();
        assert_eq!(found.documents.len(), 1);
    }
}

#[tokio::test]
async fn a_child_without_work_ends_after_half_a_minute_and_a_program_that_stays_after_five() {
    let text = format!(
        "version = \"1\"\nprogram = [\"/usr/bin/python3\", \"-c\", {}]\noutput = \"lines\"\nstay = true\n",
        json!(LINES)
    );
    let asked = Asked::with("kept", &text);
    asked.of("kept", b"wish", json!({})).await.unwrap();
    asked.facts(PNG).await;
    let running = |kind: &str| {
        let kind = format!("__extract {kind} ");
        asked.processes().iter().any(|line| line.contains(&kind))
    };
    let both = || [running("file_facts"), running("guard")];
    let becomes = |wanted: [bool; 2]| {
        poll_until("the end of a child", DEADLINE, || (both() == wanted).then_some(()));
    };
    let wait = async |seconds: u64| {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        asked.tidy();
    };
    tokio::time::pause();
    // The computer may have been slow meanwhile.
    wait(20).await;
    assert_eq!(both(), [true, true]);
    wait(15).await;
    becomes([false, true]);
    wait(200).await;
    assert_eq!(both(), [false, true]);
    wait(70).await;
    becomes([false, false]);
}
