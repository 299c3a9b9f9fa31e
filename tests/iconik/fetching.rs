//! Downloads: their addresses, their hosts, their parts.

use catchment::{
    model::EntryKind,
    sources::{ByteRange, SourceError},
};

use crate::{
    fake::FakeIconik,
    library::{expand, open, read},
    support::wire::{Answer, Reply},
};

#[tokio::test]
async fn a_download_is_one_call_and_the_bytes_and_our_credentials_stay_with_the_api() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "content");
    let source = open(&fake, "/").await;
    let entry = expand(&*source, &asset).await.remove(0);
    fake.forget();
    assert_eq!(read(&*source, &entry, None).await.unwrap(), b"content");
    let kinds: Vec<_> = fake.seen().iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, ["download_url", "download"]);
    assert_eq!(fake.leaks(), 0);
}

#[tokio::test]
async fn parts_share_one_address_and_are_cut_out_of_a_whole_response() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "0123456789");
    let source = open(&fake, "/").await;
    let entry = expand(&*source, &asset).await.remove(0);
    fake.forget();
    for start in [0, 4, 7] {
        let range = Some(ByteRange { start, len: 3 });
        let expected = &b"0123456789"[start as usize..start as usize + 3];
        assert_eq!(read(&*source, &entry, range).await.unwrap(), expected);
    }
    assert_eq!(fake.counts()["download_url"], 1);
    fake.ignore_range();
    let range = Some(ByteRange { start: 3, len: 4 });
    assert_eq!(read(&*source, &entry, range).await.unwrap(), b"3456");
}

#[tokio::test]
async fn parts_of_two_versions_are_never_mixed() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "0123456789");
    let source = open(&fake, "/").await;
    let entry = expand(&*source, &asset).await.remove(0);
    read(&*source, &entry, Some(ByteRange { start: 0, len: 5 })).await.unwrap();
    fake.change(&asset, |asset| asset.file().bytes = b"abcdefghij".to_vec());
    let error = read(&*source, &entry, Some(ByteRange { start: 5, len: 5 })).await.unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error:?}");
}

#[tokio::test]
async fn an_expired_address_is_asked_for_once_more() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "content");
    let source = open(&fake, "/").await;
    let entry = expand(&*source, &asset).await.remove(0);
    read(&*source, &entry, None).await.unwrap();
    fake.expire_downloads();
    fake.forget();
    assert_eq!(read(&*source, &entry, None).await.unwrap(), b"content");
    let kinds: Vec<_> = fake.seen().iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, ["download", "download_url", "download"]);
    fake.fail("download", 403, 2);
    let error = read(&*source, &entry, None).await.unwrap_err();
    assert!(matches!(error, SourceError::PermissionDenied { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirected_download_is_followed_without_our_headers_and_not_forever() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "content");
    let source = open(&fake, "/").await;
    let entry = expand(&*source, &asset).await.remove(0);
    fake.fail_after("download", 0, 20, || {
        Reply::from(Answer::new(302, "").header("Location", "/bucket/elsewhere"))
    });
    let error = read(&*source, &entry, None).await.unwrap_err();
    assert!(matches!(error, SourceError::Permanent { .. }), "{error:?}");
    assert_eq!(fake.leaks(), 0);
}

#[tokio::test]
async fn a_file_that_the_storage_or_the_api_does_not_have_is_gone() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "content");
    let source = open(&fake, "/").await;
    let entry = expand(&*source, &asset).await.remove(0);
    assert!(matches!(entry.kind, EntryKind::File(_)));
    fake.fail("download_url", 404, 1);
    let error = read(&*source, &entry, None).await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
    fake.fail("download", 404, 1);
    let error = read(&*source, &entry, None).await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
    fake.fail("download", 503, 1);
    let error = read(&*source, &entry, None).await.unwrap_err();
    assert!(matches!(error, SourceError::Transient { .. }), "{error:?}");
}
