//! What `file_facts` tells of PDFs, Office files and films.

use std::io::Write as _;

use serde_json::json;

use crate::{asked::Asked, files};

#[tokio::test]
async fn a_pdf_says_how_many_pages_it_has_and_who_made_it_when() {
    let facts = Asked::new().facts(&files::pages(&["", ""])).await;
    assert_eq!(facts["mime_type"], "application/pdf");
    assert_eq!(facts["page_count"], 2);
    assert_eq!((&facts["title"], &facts["author"]), (&json!("A report"), &json!("Ada")));
    assert_eq!(facts["created_at"], "2024-05-06T05:08:09Z");
}

#[tokio::test]
async fn a_film_says_how_long_it_is_what_it_shows_and_how_it_sounds() {
    let asked = Asked::new();
    let facts = asked.facts(&files::mp4()).await;
    assert_eq!(facts["duration_seconds"], 2.0, "{facts:?}");
    let video = json!({"codec": "h264", "width": 640, "height": 360, "frame_rate": 25.0});
    assert_eq!(facts["video"], video);
    assert_eq!((&facts["width"], &facts["height"]), (&json!(640), &json!(360)));
    assert_eq!(facts["audio"]["codec"], "aac");
    assert_eq!(facts["audio"]["channels"], 2);
    assert_eq!(facts["audio"]["sample_rate_hz"], 48_000);

    let facts = asked.facts(&files::webm()).await;
    assert_eq!(facts["mime_type"], "video/webm");
    assert_eq!(facts["duration_seconds"], 1.5);
    assert_eq!(facts["title"], "A film");
    let video = json!({"codec": "vp9", "width": 1280, "height": 720, "frame_rate": 25.0});
    assert_eq!(facts["video"], video);
    assert_eq!(facts["audio"], json!({"codec": "opus", "channels": 2, "sample_rate_hz": 48_000}));
}

#[tokio::test]
async fn an_office_file_says_what_its_word_processor_wrote_beside_it() {
    let core = "<cp:coreProperties><dc:title>Plan</dc:title><dc:creator>Ada</dc:creator>\
                <dcterms:created>2024-05-06T07:08:09Z</dcterms:created></cp:coreProperties>";
    let file = files::office(&[
        ("[Content_Types].xml", "<Types/>"),
        ("_rels/.rels", "<Relationships/>"),
        ("docProps/core.xml", core),
        ("docProps/app.xml", "<Properties><Pages>3</Pages></Properties>"),
        ("word/document.xml", "<w:document/>"),
    ]);
    let facts = Asked::new().facts(&file).await;
    assert_eq!((&facts["title"], &facts["author"]), (&json!("Plan"), &json!("Ada")), "{facts:?}");
    assert_eq!(
        (&facts["page_count"], &facts["created_at"]),
        (&json!(3), &json!("2024-05-06T07:08:09Z"))
    );
    assert_eq!(facts["entry_count"], 5);
}

#[tokio::test]
async fn a_compressed_tar_is_listed_like_one_that_is_not() {
    let mut header = [0_u8; 512];
    header[..7].copy_from_slice(b"a/b.txt");
    header[124..135].copy_from_slice(b"00000000005");
    header[156] = b'0';
    header[257..262].copy_from_slice(b"ustar");
    let mut content = [0_u8; 512];
    content[..5].copy_from_slice(b"hello");
    let tar = [header, content, [0; 512], [0; 512]].concat();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&tar).unwrap();
    let asked = Asked::new();
    let plain = asked.facts(&tar).await;
    let packed = asked.facts(&packed.finish().unwrap()).await;
    assert_eq!(packed["mime_type"], "application/gzip");
    for facts in [plain, packed] {
        assert_eq!(facts["entry_count"], 1, "{facts:?}");
        assert_eq!(facts["entries"], json!([{"path": "a/b.txt", "size_bytes": 5}]));
    }
}
