//! Small pictures of objects: drawn when somebody asks, kept within a bound, never where there is
//! nothing to draw.

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use image::{DynamicImage, ImageFormat};
use serde_json::{Value, json};

use crate::{
    asked::Asked,
    files,
    ledger::DEADLINE,
    server::{Answer, Server},
    support::{
        catchment::{Catchment, poll_until},
        trees::Tree,
    },
};

/// A server with a bucket `pictures` of a folder, without any collection.
struct Gallery {
    server: Server,
    // What the server reads.
    _tree: Tree,
}

impl Gallery {
    fn of(home: &Catchment, files: &[(&str, Vec<u8>)]) -> Self {
        let server = Server::on(home);
        let bucket = json!({"bucket_name": "pictures", "bucket_schema": {"properties": {}}});
        server.post("/v1/buckets", &bucket).is(200);
        let tree = Tree::new("source");
        for (name, bytes) in files {
            tree.write(name, bytes);
        }
        let path = tree.root().to_str().unwrap();
        let order = json!({"connection_id": "conn_local", "source_path": path});
        server.post("/v1/buckets/pictures/syncs", &order).is(200);
        let here = Self { server, _tree: tree };
        poll_until("the objects", DEADLINE, || (here.objects().len() == files.len()).then_some(()));
        here
    }

    fn objects(&self) -> Vec<Value> {
        let listed = self.server.get("/v1/buckets/pictures/objects?limit=1000").is(200);
        listed["results"].as_array().unwrap().clone()
    }

    fn target(&self, name: &str) -> String {
        let objects = self.objects();
        let object = objects.iter().find(|object| object["key_prefix"] == name).unwrap();
        format!("/v1/buckets/pictures/objects/{}/thumbnail", object["object_id"].as_str().unwrap())
    }

    fn thumbnail(&self, name: &str) -> Answer {
        self.server.get(&self.target(name))
    }
}

fn home() -> Catchment {
    Catchment::new().env("CATCHMENT_QUIET_PERIOD_MS", "0")
}

#[test]
fn a_picture_is_drawn_small_on_demand_and_sent_only_to_who_has_not_got_it() {
    let here = Gallery::of(
        &home(),
        &[
            ("a.png", files::picture(600, 300, ImageFormat::Png)),
            ("b.jpg", files::picture(50, 100, ImageFormat::Jpeg)),
        ],
    );
    let drawn = here.thumbnail("a.png");
    assert_eq!(drawn.status, 200, "{}", here.server.log());
    assert_eq!(drawn.header("content-type"), Some("image/webp"));
    let picture = image::load_from_memory_with_format(&drawn.body, ImageFormat::WebP).unwrap();
    assert_eq!((picture.width(), picture.height()), (256, 128));
    let corners = [(0, 0), (255, 127)].map(|(x, y)| picture.to_luma8().get_pixel(x, y).0[0]);
    assert!(corners[0] > corners[1] + 100, "the bright corner is still there: {corners:?}");

    let etag = drawn.header("etag").unwrap().to_owned();
    let target = here.target("a.png");
    let again = here.server.request("GET", &target).header("If-None-Match", &etag).send();
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = here.server.get(&format!("{target}?size=64"));
    let picture = image::load_from_memory(&other.body).unwrap();
    assert_eq!((picture.width(), picture.height()), (64, 32));
    assert_ne!(other.header("etag"), Some(etag.as_str()));

    let small = image::load_from_memory(&here.thumbnail("b.jpg").body).unwrap();
    assert_eq!((small.width(), small.height()), (50, 100), "never larger than it was");
    let refused = here.server.get(&format!("{target}?size=5000"));
    assert_eq!(refused.status, 422);
}

#[test]
fn what_has_no_picture_says_why() {
    let here = Gallery::of(
        &home(),
        &[
            ("words.txt", b"no picture".to_vec()),
            ("half.png", files::picture(600, 300, ImageFormat::Png)[..200].to_vec()),
            ("layers.psd", b"8BPS\0\x01\0\0\0\0\0\0".to_vec()),
            ("half.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><rect".to_vec()),
            ("half.pdf", b"%PDF-1.7\n1 0 obj".to_vec()),
            ("half.mp4", files::mp4()[..300].to_vec()),
            ("silent.wav", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec()),
        ],
    );
    for (name, reason) in [
        ("words.txt", "text/plain"),
        ("half.png", "cannot be read"),
        ("layers.psd", "image/vnd.adobe.photoshop"),
        ("half.svg", "rsvg-convert could not draw it"),
        ("half.pdf", "pdftoppm could not draw it"),
        ("half.mp4", "ffmpeg could not draw it"),
        ("silent.wav", "carries no picture"),
    ] {
        for round in ["drawn", "kept"] {
            let refused = here.thumbnail(name);
            assert_eq!(refused.status, 415, "{name}, {round}: {}", refused.text());
            let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(reason), "{name}, {round}: {message}");
            let ours = here.server.home.data_dir().to_str().unwrap().to_owned();
            assert!(!message.contains(&ours) && !message.contains("staging"), "{message}");
        }
    }
    let unknown = here.server.get("/v1/buckets/pictures/objects/obj_none/thumbnail");
    assert_eq!(unknown.status, 404);
}

#[test]
fn pictures_are_kept_within_a_bound_and_go_with_their_object() {
    let home = home().env("CATCHMENT_THUMBNAIL_CACHE", "3KiB");
    let pictures: Vec<(String, Vec<u8>)> = (0..12)
        .map(|number| {
            (format!("{number}.png"), files::picture(300 + number, 200, ImageFormat::Png))
        })
        .collect();
    let named: Vec<(&str, Vec<u8>)> =
        pictures.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let here = Gallery::of(&home, &named);
    let mut drawn = 0;
    for (name, _) in &pictures {
        drawn += here.thumbnail(name).body.len();
    }
    let kept = || -> (u64, u64) {
        let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
        let sums = "SELECT count(*), coalesce(sum(length(webp)), 0) FROM thumbnails";
        db.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let (count, bytes) = kept();
    assert!(drawn > 3 * 1024, "there is more than the bound: {drawn}");
    assert!(count > 0 && bytes <= 3 * 1024, "{count} pictures of {bytes} bytes are kept");

    for object in here.objects() {
        let id = object["object_id"].as_str().unwrap();
        let gone = here.server.delete(&format!("/v1/buckets/pictures/objects/{id}"));
        assert!(gone.status < 300, "{gone}");
    }
    here.server.post("/v1/buckets/pictures/objects/trash/purge", &json!({"all": true})).is(200);
    poll_until("the end of their pictures", DEADLINE, || (kept().0 == 0).then_some(()));
}

#[tokio::test]
async fn pictures_that_look_alike_have_hashes_that_are_close_whatever_their_size_and_format() {
    let asked = Asked::new();
    let hash = async |bytes: &[u8]| {
        let found = asked.of("thumbnail", bytes, json!({"size": 128})).await.unwrap();
        let body = &found.documents[0].body;
        u64::from_str_radix(body["perceptual_hash"].as_str().unwrap(), 16).unwrap()
    };
    let large = hash(&files::picture(800, 600, ImageFormat::Png)).await;
    let small = hash(&files::picture(200, 150, ImageFormat::Jpeg)).await;
    assert!((large ^ small).count_ones() <= 6, "{large:016x} {small:016x}");
}

#[test]
fn a_collection_of_thumbnails_keeps_them_as_blobs_of_its_documents() {
    let here = Gallery::of(&home(), &[("a.png", files::picture(600, 300, ImageFormat::Png))]);
    let collection = json!({
        "collection_name": "faces",
        "source": {"type": "bucket", "bucket_ids": ["pictures"]},
        "feature_extractor": {
            "feature_extractor_name": "thumbnail", "version": "v1", "parameters": {"size": 100},
        },
    });
    here.server.post("/v1/collections", &collection).is(200);
    here.server.post("/v1/collections/faces/trigger", &json!({})).is(202);
    let document = poll_until("the document", DEADLINE, || {
        let target = "/v1/collections/faces/documents/list";
        let listed = here.server.post(target, &json!({"return_presigned_urls": true})).is(200);
        listed["results"].as_array()?.first().cloned()
    });
    assert_eq!((&document["width"], &document["height"]), (&json!(100), &json!(50)));
    assert_eq!(document["document_blobs"][0]["field"], "thumbnail", "{document}");
}

#[tokio::test]
async fn a_raw_photo_is_drawn_by_the_picture_that_the_camera_put_into_it_the_right_way_up() {
    let found = Asked::new().of("thumbnail", &files::raw_photo(), json!({"size": 200})).await;
    let body = found.unwrap().documents.remove(0).body;
    assert_eq!((&body["width"], &body["height"]), (&json!(150), &json!(200)));
}

/// What a program writes to the file that its last word names.
fn made_by(program: &str, words: &[&str], name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    let output = Command::new(program).args(words).arg(&file).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(file).unwrap()
}

/// A film of that colour.
fn film(colour: &str, name: &str) -> Vec<u8> {
    let picture = format!("color=c={colour}:size=320x160:rate=10:duration=2");
    made_by("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", &picture, "-pix_fmt", "yuv420p"], name)
}

/// A PDF whose first page is twice as wide as high, and red, and whose second is not.
fn red_page() -> Vec<u8> {
    let page = |content: usize| {
        format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Contents {content} 0 R >>")
    };
    files::pdf(
        &[
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            "<< /Type /Pages /Kids [3 0 R 5 0 R] /Count 2 >>".to_owned(),
            page(4),
            files::stream("", "1 0 0 rg 0 0 400 200 re f"),
            page(6),
            files::stream("", "0 0 1 rg 0 0 400 200 re f"),
        ],
        "",
    )
}

const RED: &str = "<svg xmlns='http://www.w3.org/2000/svg' width='400' height='200'>\
                   <rect width='400' height='200' fill='red'/></svg>";

/// A picture of a red field by another program, from a PNG.
fn photo(words: &[&str], name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("red.png");
    image::RgbImage::from_pixel(400, 200, image::Rgb([255, 0, 0])).save(&png).unwrap();
    let mut all = words.to_vec();
    all.extend([png.to_str().unwrap(), "-o"]);
    made_by("heif-enc", &all, name)
}

fn is_red(picture: &DynamicImage) -> bool {
    let [red, green, blue] = picture.to_rgb8().get_pixel(100, 50).0;
    red > 200 && green < 60 && blue < 60
}

#[test]
fn a_page_of_a_pdf_a_frame_of_a_film_and_svg_heic_and_avif_are_drawn_by_programs_of_the_system() {
    let here = Gallery::of(
        &home(),
        &[
            ("paper.pdf", red_page()),
            ("film.mp4", film("red", "film.mp4")),
            ("film.mkv", film("red", "film.mkv")),
            ("drawing.svg", RED.into()),
            ("declared.svg", format!("<?xml version='1.0'?>\n<!-- a -->\n{RED}").into()),
            ("photo.heic", photo(&[], "photo.heic")),
            ("photo.avif", photo(&["-A"], "photo.avif")),
        ],
    );
    for object in here.objects() {
        let name = object["key_prefix"].as_str().unwrap();
        let drawn = here.thumbnail(name);
        assert_eq!(drawn.status, 200, "{name}: {}", drawn.text());
        let picture = image::load_from_memory_with_format(&drawn.body, ImageFormat::WebP).unwrap();
        assert_eq!((picture.width(), picture.height()), (256, 128), "{name}");
        assert!(is_red(&picture), "{name}");
        let large = here.server.get(&format!("{}?size=1024", here.target(name)));
        let large = image::load_from_memory(&large.body).unwrap();
        assert!(large.width() >= 320, "{name}: {}", large.width());
    }
}

#[test]
fn where_a_program_is_missing_its_name_is_said_and_once_it_is_there_it_draws() {
    let programs = tempfile::tempdir().unwrap();
    let home = home().env("PATH", programs.path());
    let here = Gallery::of(
        &home,
        &[
            ("paper.pdf", red_page()),
            ("film.mp4", film("red", "film.mp4")),
            ("drawing.svg", RED.into()),
            ("photo.heic", photo(&[], "photo.heic")),
            ("a.png", files::picture(600, 300, ImageFormat::Png)),
        ],
    );
    for (name, program, package) in [
        ("paper.pdf", "pdftoppm", "poppler-utils"),
        ("film.mp4", "ffmpeg", "ffmpeg"),
        ("drawing.svg", "rsvg-convert", "librsvg2-bin"),
        ("photo.heic", "heif-convert", "libheif-examples"),
    ] {
        for round in ["first", "kept"] {
            let refused = here.thumbnail(name);
            assert_eq!(refused.status, 415, "{name}, {round}");
            let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(program) && message.contains(package), "{name}: {message}");
        }
    }
    assert_eq!(here.thumbnail("a.png").status, 200, "ours need none");
    symlink(Path::new("/usr/bin/pdftoppm"), programs.path().join("pdftoppm")).unwrap();
    let drawn = here.thumbnail("paper.pdf");
    assert_eq!(drawn.status, 200, "{}", drawn.text());
}

#[test]
fn a_drawing_that_was_ended_for_what_it_took_is_tried_again_after_a_while_and_not_before() {
    let programs = tempfile::tempdir().unwrap();
    let drawer = programs.path().join("pdftoppm");
    // It ends as one does that takes too much of the processor.
    std::fs::write(&drawer, "#!/bin/sh\nkill -9 $$\n").unwrap();
    std::fs::set_permissions(&drawer, std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = home().env("PATH", programs.path());
    let here = Gallery::of(&home, &[("paper.pdf", red_page())]);
    let is_refused = |round: &str| {
        let refused = here.thumbnail("paper.pdf");
        assert_eq!(refused.status, 415, "{round}: {}", refused.text());
        assert!(refused.text().contains("signal 9"), "{round}: {}", refused.text());
    };
    is_refused("drawn");
    std::fs::remove_file(&drawer).unwrap();
    symlink(Path::new("/usr/bin/pdftoppm"), &drawer).unwrap();
    is_refused("kept");
    let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let passed = db.execute("UPDATE thumbnails SET retry_at_ms = retry_at_ms - 700000", []);
    assert_eq!(passed.unwrap(), 1, "more than ten minutes later");
    let drawn = here.thumbnail("paper.pdf");
    assert_eq!(drawn.status, 200, "{}", drawn.text());
}

#[test]
fn an_object_in_the_trash_still_has_its_picture() {
    let here = Gallery::of(&home(), &[("a.png", files::picture(600, 300, ImageFormat::Png))]);
    let target = here.target("a.png");
    let id = here.objects()[0]["object_id"].as_str().unwrap().to_owned();
    let gone = here.server.delete(&format!("/v1/buckets/pictures/objects/{id}"));
    assert!(gone.status < 300, "{gone}");
    assert_eq!(here.server.get(&target).status, 200);
    here.server.post("/v1/buckets/pictures/objects/trash/purge", &json!({"all": true})).is(200);
    assert_eq!(here.server.get(&target).status, 404);
}
