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

/// A JPEG of a camera that lay on its side, by its metadata (TIFF 6.0 and Exif 2.3), without a
/// picture.
fn snapshot() -> Vec<u8> {
    const BYTES: u16 = 2;
    let field = |tag: u16, kind: u16, count: u32, value: u32| {
        let parts = [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes()];
        [parts.concat(), value.to_be_bytes().to_vec()].concat()
    };
    let directory = |fields: &[Vec<u8>]| {
        [&(fields.len() as u16).to_be_bytes()[..], &fields.concat(), &[0; 4]].concat()
    };
    let thirds = |values: [u32; 3]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| [value.to_be_bytes(), 1_u32.to_be_bytes()].concat())
            .collect()
    };
    let size = |fields: u32| 2 + 12 * fields + 4;
    let (exif, gps) = (8 + size(5), 8 + size(5) + size(1));
    let mut place = gps + size(6);
    let mut values = Vec::new();
    let mut at = |bytes: &[u8]| {
        let here = place;
        values.extend_from_slice(bytes);
        place += bytes.len() as u32;
        here
    };
    let main = [
        field(0x010f, BYTES, 6, at(b"Maker\0")),
        field(0x0110, BYTES, 8, at(b"Model 7\0")),
        field(0x0112, 3, 1, 6 << 16),
        field(0x8769, 4, 1, exif),
        field(0x8825, 4, 1, gps),
    ];
    let taken = [field(0x9003, BYTES, 20, at(b"2024:05:06 07:08:09\0"))];
    let where_ = [
        field(1, BYTES, 2, u32::from(b'S') << 24),
        field(2, 5, 3, at(&thirds([47, 30, 0]))),
        field(3, BYTES, 2, u32::from(b'E') << 24),
        field(4, 5, 3, at(&thirds([8, 15, 0]))),
        field(5, 1, 1, 0),
        field(6, 5, 1, at(&[400_u32.to_be_bytes(), 1_u32.to_be_bytes()].concat())),
    ];
    let tiff = [
        &b"MM\0*\0\0\0\x08"[..],
        &directory(&main),
        &directory(&taken),
        &directory(&where_),
        &values,
    ]
    .concat();
    let segment = |marker: u8, content: &[u8]| {
        [&[0xff, marker][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
    };
    let frame = [&[8][..], &3000_u16.to_be_bytes(), &4000_u16.to_be_bytes(), b"\x01\x01\x11\0"];
    [
        b"\xff\xd8".to_vec(),
        segment(0xe1, &[&b"Exif\0\0"[..], &tiff].concat()),
        segment(0xc0, &frame.concat()),
        segment(0xda, b"\x01\x01\0\0\x3f\0"),
        b"\xff\xd9".to_vec(),
    ]
    .concat()
}

#[tokio::test]
async fn a_photo_says_which_camera_took_it_when_where_and_how_it_is_turned() {
    let facts = Asked::new().facts(&snapshot()).await;
    assert_eq!(facts["mime_type"], "image/jpeg");
    assert_eq!((&facts["width"], &facts["height"]), (&json!(4000), &json!(3000)), "{facts:?}");
    assert_eq!(
        (&facts["camera_make"], &facts["camera_model"]),
        (&json!("Maker"), &json!("Model 7"))
    );
    assert_eq!(
        (&facts["created_at"], &facts["orientation"]),
        (&json!("2024-05-06T07:08:09Z"), &json!(6))
    );
    let place = json!({"latitude": -47.5, "longitude": 8.25, "altitude_m": 400.0});
    assert_eq!(facts["gps"], place);
    assert_eq!(facts["exif"]["Make"], "Maker", "{facts:?}");
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
