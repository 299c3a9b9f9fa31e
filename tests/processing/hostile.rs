//! Files that mean harm: each ends as one object with its reason, whatever it does to the process
//! that reads it, and nothing of that process is left.

use std::{
    fs,
    io::{Read as _, Write as _},
    time::Duration,
};

use catchment::processing::extract::Class;
use image::ImageFormat;
use proptest::prelude::*;
use serde_json::json;

use crate::{
    asked::Asked,
    files,
    ledger::{DEADLINE, Fixture},
    server::Server,
    support::catchment::poll_until,
};

const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// A PNG that says that it has 60,000 by 60,000 pixels, in a few hundred bytes.
fn bomb_png() -> Vec<u8> {
    let mut file = files::picture(8, 8, ImageFormat::Png);
    file[16..24].copy_from_slice(&[60_000_u32.to_be_bytes(), 60_000_u32.to_be_bytes()].concat());
    let mut crc = flate2::Crc::new();
    crc.update(&file[12..29]);
    file[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    file
}

/// A Word file whose text is 80 MiB of nothing, in less than 1 MiB.
fn bomb_zip() -> Vec<u8> {
    files::zip(&[("word/document.xml", &vec![b' '; 80 * 1024 * 1024])])
}

/// A PDF whose only page unpacks to 1 GiB, twice as packed as it looks.
fn bomb_pdf() -> Vec<u8> {
    let mut inner = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    inner.write_all(&b"\x81 ".repeat(8 * 1024 * 1024)).unwrap();
    let packed = inner.finish().unwrap();
    let hex: String = packed.iter().map(|byte| format!("{byte:02x}")).collect();
    let filters = "/Filter [/ASCIIHexDecode /FlateDecode /RunLengthDecode]";
    page_of(&[files::stream(filters, &hex)])
}

/// A PDF whose pages lead back to themselves, and whose page draws itself, and itself again.
fn looping_pdf() -> Vec<u8> {
    let form =
        "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /A 4 0 R >> >>";
    files::pdf(
        &[
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            "<< /Type /Pages /Kids [2 0 R 3 0 R 2 0 R] /Count 3 /Parent 2 0 R >>".to_owned(),
            "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /XObject << /A 4 0 R >> >> >>"
                .to_owned(),
            files::stream(form, "/A Do /A Do q /A Do Q"),
        ],
        "",
    )
}

/// A PDF of forms each of which draws the next ten times: 10^12 in all.
fn endless_pdf() -> Vec<u8> {
    let draws = "/A Do ".repeat(10);
    let form = |next: usize| {
        let dict = format!(
            "/Type /XObject /Subtype /Form /BBox [0 0 9 9] \
             /Resources << /XObject << /A {next} 0 R >> >>"
        );
        files::stream(&dict, &draws)
    };
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /XObject << /A 5 0 R >> >> >>"
            .to_owned(),
        files::stream("", &draws),
    ];
    objects.extend((0..12).map(|number| form(6 + number)));
    objects.push(files::stream("/Type /XObject /Subtype /Form /BBox [0 0 9 9]", "q Q"));
    files::pdf(&objects, "")
}

/// A PDF that takes minutes to read: the same four million operators on each of 300 pages.
fn slow_pdf() -> Vec<u8> {
    let kids: Vec<String> = (0..300).map(|page| format!("{} 0 R", 4 + page)).collect();
    let page = "<< /Type /Page /Parent 2 0 R /Contents 3 0 R >>".to_owned();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count 300 >>", kids.join(" ")),
        files::stream("", &"q Q ".repeat(2_000_000)),
    ];
    objects.extend(std::iter::repeat_n(page, 300));
    files::pdf(&objects, "")
}

fn page_of(contents: &[String]) -> Vec<u8> {
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>".to_owned(),
    ];
    objects.extend(contents.iter().cloned());
    files::pdf(&objects, "")
}

/// The processes that this one has started and that are still there, by what they run.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let parent_of = |stat: &str| {
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().nth(1).unwrap().to_owned()
    };
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (parent_of(&stat) == own).then_some(command)
    });
    all.collect()
}

#[tokio::test]
async fn bombs_are_refused_or_end_their_process_and_the_next_file_is_read_as_ever() {
    let asked = Asked::new();
    let timeout = Duration::from_secs(120);
    for (extractor, mime, bytes, reason) in [
        ("thumbnail", "image/png", bomb_png(), "60000 by 60000"),
        ("text", WORD, bomb_zip(), "unpacks to more than"),
        ("text", "application/pdf", bomb_pdf(), "too much memory"),
        ("text", "application/pdf", endless_pdf(), "draws more than"),
    ] {
        let failed = asked.of_type(extractor, Some(mime), &bytes, json!({}), timeout).await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.class, Class::Resource, "{extractor}: {failed}");
        assert!(failed.message.contains(reason), "{extractor}: {failed}");
    }
    let facts = asked.facts(&bomb_png()).await;
    assert_eq!(facts["width"], 60_000, "facts are read without drawing");
    let found = asked.text("text/plain", b"as ever", json!({})).await;
    assert_eq!(found[0]["text"], "as ever");
}

#[tokio::test]
async fn a_pdf_that_leads_back_to_itself_is_read_to_its_end() {
    let found = Asked::new().of("text", &looping_pdf(), json!({})).await.unwrap();
    assert_eq!(found.documents.len(), 0);
}

#[tokio::test]
async fn a_file_that_takes_too_long_fails_and_its_process_is_gone() {
    let asked = Asked::new();
    let bytes = slow_pdf();
    let timeout = Duration::from_secs(1);
    let failed = asked.of_type("text", None, &bytes, json!({}), timeout).await.unwrap_err();
    assert_eq!(failed.class, Class::Resource);
    assert!(failed.message.contains("longer than 1 s"), "{failed}");
    let extracts = || children().into_iter().any(|command| command.contains("__extract"));
    poll_until("its end", DEADLINE, || (!extracts()).then_some(()));
}

#[tokio::test]
async fn what_another_program_draws_is_hostile_to_no_avail_and_leaves_no_process() {
    let asked = Asked::new();
    let svg = |inner: &str| {
        format!("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{inner}</svg>")
            .into_bytes()
    };
    let lines: String = (0..9)
        .map(|n| format!("<!ENTITY e{} '{}'>", n + 1, format!("&e{n};").repeat(10)))
        .collect();
    let entities = format!("<!DOCTYPE svg [<!ENTITY e0 'x'>{lines}]>");
    let laughs = [entities.as_bytes(), &svg("<text>&e9;</text>")].concat();
    let playlist =
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n".to_vec();
    for (mime, bytes, program) in [
        ("application/pdf", endless_pdf(), "pdftoppm"),
        ("image/svg+xml", laughs, "rsvg-convert"),
        ("video/mp4", files::mp4()[..300].to_vec(), "ffmpeg"),
        ("video/mp4", playlist, "ffmpeg"),
        ("image/heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(), "heif-convert"),
    ] {
        let timeout = Duration::from_secs(3);
        let failed = asked.of_type("thumbnail", Some(mime), &bytes, json!({}), timeout).await;
        let failed = failed.unwrap_err();
        assert!(failed.message.contains(program), "{mime}: {failed}");
        assert!(matches!(failed.class, Class::Permanent | Class::Resource), "{mime}: {failed:?}");
        let draws = || children().into_iter().any(|command| command.contains(program));
        poll_until("its end", DEADLINE, || (!draws()).then_some(()));
    }
    // Neither reads what it is not given.
    let secret = tempfile::NamedTempFile::with_suffix(".png").unwrap();
    fs::write(secret.path(), files::picture(9, 9, ImageFormat::Png)).unwrap();
    let of = |href: &str| svg(&format!("<image href='{href}' width='9' height='9'/>"));
    let picture = async |bytes: &[u8]| {
        let found = asked
            .of_type("thumbnail", Some("image/svg+xml"), bytes, json!({}), Duration::from_secs(30))
            .await
            .unwrap();
        let mut bytes = Vec::new();
        found.documents[0].blobs[0].file.open().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let with = picture(&of(&format!("file://{}", secret.path().display()))).await;
    assert_eq!(with, picture(&of("file:///nothing.png")).await);
}

#[test]
fn films_with_false_metadata_are_described_as_far_as_they_can_be_believed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = Asked::new();
    let sources = [files::mp4(), files::webm()];
    // Anything may be wrong, and above all lengths and counts.
    let lies =
        (0..2_usize, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6));
    proptest!(ProptestConfig::with_cases(200), |((which, changes) in lies, cut in any::<prop::sample::Index>())| {
        let mut film = sources[which].clone();
        for (place, byte) in &changes {
            let place = place.index(film.len());
            film[place] = *byte;
        }
        film.truncate(cut.index(film.len() * 2).max(1));
        let facts = runtime.block_on(asked.facts(&film));
        prop_assert_eq!(&facts["size_bytes"], film.len());
        if let Some(seconds) = facts.get("duration_seconds") {
            prop_assert!(seconds.as_f64().unwrap() <= 366.0 * 24.0 * 3600.0, "{facts:?}");
        }
    });
}

#[test]
fn each_hostile_object_fails_alone_with_its_reason_and_no_process_is_left() {
    let here = Fixture::new();
    for (name, extractor) in [("words", "text"), ("faces", "thumbnail")] {
        let collection = json!({
            "collection_name": name,
            "source": {"type": "bucket", "bucket_ids": ["films"]},
            "feature_extractor": {"feature_extractor_name": extractor, "version": "v1"},
        });
        here.server.post("/v1/collections", &collection).is(200);
    }
    here.tree.write("bomb.png", bomb_png());
    here.tree.write("bomb.docx", bomb_zip());
    here.tree.write("loop.pdf", looping_pdf());
    here.tree.write("endless.pdf", endless_pdf());
    here.tree.write("liar.mp4", &files::mp4()[..300]);
    let names = [
        "-rf.txt",
        "--help.txt",
        "$(touch pwned).txt",
        "`touch pwned`.txt",
        "a\nb;touch pwned.txt",
    ];
    for (number, name) in names.into_iter().enumerate() {
        here.tree.write(name, format!("harmless {number}"));
    }
    here.tree.write("good.png", files::picture(30, 30, ImageFormat::Png));
    here.sync(json!({}));
    // What draws the endless page uses up its time twice.
    let batches = poll_until("the end of all", 3 * DEADLINE, || {
        let batches = here.settled();
        let has_ended = |name: &str| {
            let shown = here.server.get(&format!("/v1/collections/{name}")).is(200);
            shown["waiting"] == 0
        };
        (!batches.is_empty() && ["facts", "words", "faces"].iter().all(|name| has_ended(name)))
            .then_some(batches)
    });
    assert_eq!(here.documents("facts").len(), 11, "facts are told of every file");
    let words = here.documents("words");
    let is_harmless =
        |document: &&serde_json::Value| document["text"].as_str().unwrap().starts_with("harmless");
    let harmless = words.iter().filter(is_harmless).count();
    assert_eq!(harmless, names.len());
    assert!(
        !here.tree.root().join("pwned").exists() && !here.home.data_dir().join("pwned").exists()
    );
    let failed: Vec<String> = batches
        .iter()
        .flat_map(|batch| {
            let id = batch["batch_id"].as_str().unwrap();
            let target = format!("/v1/buckets/films/batches/{id}/failed-documents?limit=100");
            let listed = here.server.get(&target).is(200);
            let rows = listed["failed_documents"].as_array().cloned().unwrap_or_default();
            rows.into_iter().map(|row| row.to_string()).collect::<Vec<_>>()
        })
        .collect();
    for reason in [
        "60000 by 60000",
        "unpacks to more than",
        "draws more than",
        "pdftoppm could not draw it",
        "ffmpeg could not draw it",
    ] {
        let count = failed.iter().filter(|row| row.contains(reason)).count();
        assert_eq!(count, 1, "{reason}: {failed:#?}");
    }
    assert_eq!(failed.len(), 5, "{failed:#?}");
    let Fixture { server, home, .. } = here;
    server.stop();
    let left = || {
        let mark = home.data_dir().display().to_string();
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            fs::read(entry.path().join("cmdline"))
                .is_ok_and(|command| String::from_utf8_lossy(&command).contains(&mark))
        })
    };
    poll_until("the end of all processes", DEADLINE, || (!left()).then_some(()));
}

#[test]
fn a_file_at_hand_when_processing_died_three_times_is_set_aside_and_the_others_are_not() {
    let Fixture { home, mut server, tree } = Fixture::new();
    let collection = json!({
        "collection_name": "words",
        "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": {"feature_extractor_name": "text", "version": "v1"},
    });
    server.post("/v1/collections", &collection).is(200);
    tree.write("poison.pdf", slow_pdf());
    tree.write("good.txt", "words");
    let here = Fixture { home: home.clone(), server, tree };
    here.sync(json!({}));
    let Fixture { server: first, tree, .. } = here;
    server = first;
    let state = || -> Option<(String, u32, Option<String>)> {
        let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
        let of_poison = "SELECT r.state, r.deaths, r.error FROM outcomes r
             JOIN objects o USING (object_key) JOIN collections c USING (collection_key)
             WHERE c.name = 'words' AND o.mime = 'application/pdf'";
        db.query_row(of_poison, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).ok()
    };
    for death in 1..=3 {
        poll_until("a try", DEADLINE, || {
            let (state, deaths, _) = state()?;
            (state == "trying" && deaths + 1 >= death).then_some(())
        });
        server.kill();
        server = Server::on(&home);
    }
    let error = poll_until("its end", DEADLINE, || {
        let (state, _, error) = state()?;
        (state == "failed").then_some(error).flatten()
    });
    assert!(error.contains("3"), "{error}");
    let here = Fixture { home: home.clone(), server, tree };
    poll_until("the other", DEADLINE, || (here.documents("words").len() == 1).then_some(()));
}
