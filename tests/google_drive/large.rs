//! Large files, fetched by ranges side by side: their bytes are put together and compared with
//! Google's checksums as a whole.

use catchment::blobs::PART_BYTES;
use md5::{Digest as _, Md5};
use serde_json::json;
use sha2::Sha256;

use crate::{
    fake_drive::{FakeDrive, ROOT, Seen, hex},
    synced::Fixture,
    syncs::{credentials, home},
};

/// A drive with a file of five parts and a bit, and a small one.
struct Large {
    drive: FakeDrive,
    file: String,
    content: Vec<u8>,
}

impl Large {
    fn new() -> Self {
        let drive = FakeDrive::start();
        let mut content = vec![0; 5 * PART_BYTES as usize + 12_345];
        fastrand::Rng::with_seed(20).fill(&mut content);
        let meta = json!({
            "mimeType": "video/mp4", "size": content.len().to_string(),
            "md5Checksum": hex(&Md5::digest(&content)),
            "sha256Checksum": hex(&Sha256::digest(&content)),
        });
        let file = drive.add(ROOT, "large.mp4", meta, content.clone());
        drive.file(ROOT, "small.txt", "small");
        Self { drive, file, content }
    }

    fn made(&self) -> Fixture {
        let fixture = Fixture::made(&home(&self.drive), "google_drive", &credentials(), "root");
        self.drive.requests();
        fixture
    }

    /// The requests for its bytes since the last look.
    fn downloads(&self) -> Vec<Seen> {
        let mut seen = self.drive.requests();
        seen.retain(|seen| seen.kind == "download" && seen.id == self.file);
        seen
    }
}

/// The first and the last byte of a range.
fn ends(seen: &Seen) -> (u64, u64) {
    let range = seen.range.as_ref().expect("large files are fetched by ranges");
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    (start.parse().unwrap(), end.parse().unwrap())
}

#[test]
fn a_large_file_is_fetched_by_ranges_that_cover_it_once() {
    let large = Large::new();
    let fixture = large.made();
    assert_eq!(fixture.run()["status"], "completed");
    assert!(fixture.bytes("large.mp4") == large.content);

    let mut ranges: Vec<(u64, u64)> = large.downloads().iter().map(ends).collect();
    ranges.sort_unstable();
    assert!(ranges.len() >= 3, "several at once: {ranges:?}");
    let mut next = 0;
    for (start, end) in ranges {
        assert_eq!(start, next);
        next = end + 1;
    }
    assert_eq!(next, large.content.len() as u64);
}

#[test]
fn a_part_that_fails_is_fetched_again_and_no_other() {
    let large = Large::new();
    let fixture = large.made();
    fixture.run();
    let usual = large.downloads().len();

    for (cut, failed) in [(1, 0), (0, 1)] {
        let large = Large::new();
        // Nothing else is downloaded.
        large.drive.state().files.retain(|_, file| file.meta["name"] != "small.txt");
        let fixture = large.made();
        large.drive.state().cuts_downloads = cut;
        large.drive.state().faults.push(("download", failed, 503, "backendError"));
        assert_eq!(fixture.run()["status"], "completed");
        assert!(fixture.bytes("large.mp4") == large.content);
        let mut starts: Vec<u64> = large.downloads().iter().map(|seen| ends(seen).0).collect();
        assert_eq!(starts.len(), usual + 1);
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), usual, "one of them twice");
    }
}

#[test]
fn a_large_file_whose_bytes_are_not_those_of_either_checksum_is_fetched_thrice_again_and_fails_alone()
 {
    let large = Large::new();
    let fixture = large.made();
    fixture.run();
    let usual = large.downloads().len();

    for (checksum, length) in [("md5Checksum", 32), ("sha256Checksum", 64)] {
        let large = Large::new();
        large.drive.change(&large.file, json!({ checksum: "0".repeat(length) }));
        let fixture = large.made();
        fixture.run();
        let kind = "checksum_mismatch".to_owned();
        assert_eq!(fixture.letters(), [("large.mp4".to_owned(), kind)], "{checksum}");
        assert_eq!(fixture.paths(), ["small.txt"]);
        assert_eq!(large.downloads().len(), 4 * usual, "tried again thrice");
    }
}
