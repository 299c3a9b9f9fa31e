//! Small pictures of objects: drawn when somebody asks, kept within a bound, never where there is
//! nothing to draw.

use image::ImageFormat;
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
            ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
            ("silent.wav", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec()),
        ],
    );
    for (name, reason) in [
        ("words.txt", "text/plain"),
        ("half.png", "cannot be read"),
        ("drawing.svg", "image/svg+xml"),
        ("silent.wav", "carries no picture"),
    ] {
        for round in ["drawn", "kept"] {
            let refused = here.thumbnail(name);
            assert_eq!(refused.status, 415, "{name}, {round}: {}", refused.text());
            let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(reason), "{name}, {round}: {message}");
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
