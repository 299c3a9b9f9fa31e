//! Over TLS nothing is different, and a server that nobody vouches for is not believed.

use std::{process::Command, time::Duration};

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::FakeS3,
    peers::{BUCKET, Peer},
};

#[test]
fn objects_of_every_size_come_whole_over_tls() {
    let (small, medium) = (content::pattern(1, 4 << 10), content::pattern(2, 300 << 10));
    let large = content::pattern(3, (40 << 20) + 7);
    let files: [(&str, &[u8]); 3] =
        [("small", &small), ("folder/medium", &medium), ("large", &large)];
    let peer = Peer::rclone_over_tls(&files);
    let catchment = Catchment::reaching(peer.endpoint()).env("SSL_CERT_FILE", peer.certificate());

    let run = catchment.sync(format!("s3://{BUCKET}")).exits(0);

    assert_eq!(run.summary().synced, 3);
    let held = files.map(|(path, bytes)| (path.as_bytes().to_vec(), content::hash(bytes)));
    catchment.holds_exactly(BUCKET, &held.into());
}

#[test]
fn a_server_with_an_untrusted_certificate_is_not_read_from() {
    let peer = Peer::rclone_over_tls(&[("small", b"x")]);
    let catchment = Catchment::reaching(peer.endpoint());

    let run = catchment.sync(format!("s3://{BUCKET}")).exits(1).says(&["127.0.0.1", "certificate"]);

    assert!(run.took < Duration::from_secs(20), "another try will not make it better: {run}");
}

#[test]
fn no_certificate_is_read_for_keys_from_the_environment_and_a_server_without_tls() {
    let s3 = FakeS3::start();
    let catchment = Catchment::reaching(&s3.endpoint());
    // Whoever reads it waits for ever.
    let certificates = catchment.home().join("certificates");
    assert!(Command::new("mkfifo").arg(&certificates).status().unwrap().success());

    catchment.env("SSL_CERT_FILE", certificates).sync("s3://catchment-test").exits(0);
}
