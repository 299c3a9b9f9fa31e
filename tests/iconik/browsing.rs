//! Collections as folders, assets as files, for people who look around.

use catchment::sources::browse::ItemKind;
use serde_json::json;

use crate::{fake::FakeIconik, library::open, support::wire::Answer};

#[tokio::test]
async fn collections_are_folders_and_assets_are_files() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    let inner = fake.collection("2026", Some(&news));
    fake.collection("Archive", None);
    let loose = fake.asset("loose.jpg", &[], "12345");
    let clip = fake.asset("clip.mxf", &[&news], "x");
    fake.search_has_files();
    let top = open(&fake, "/").await;
    let names = |level: &catchment::sources::browse::Level| -> Vec<String> {
        level.items.iter().map(|item| item.name.to_json_text()).collect()
    };
    let folders = top.browse(ItemKind::Folders, 10).await.unwrap();
    assert_eq!(names(&folders), ["Archive", "News"]);
    assert_eq!(folders.items[1].id.as_deref(), Some(news.as_str()));
    assert!(top.browse(ItemKind::Folders, 1).await.unwrap().truncated);
    let files = top.browse(ItemKind::Files, 10).await.unwrap();
    assert_eq!(files.items[0].id.as_deref(), Some(loose.as_str()));
    assert_eq!(files.items[0].size, Some(5));
    let below = open(&fake, &news).await;
    let folders = below.browse(ItemKind::Folders, 10).await.unwrap();
    assert_eq!(folders.items[0].id.as_deref(), Some(inner.as_str()));
    let files = below.browse(ItemKind::Files, 10).await.unwrap();
    assert_eq!(files.items[0].id.as_deref(), Some(clip.as_str()));
}

#[tokio::test]
async fn a_collection_of_many_assets_is_read_page_by_page_and_no_further_than_asked() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    for number in 0..250 {
        fake.asset(&format!("{number}.mxf"), &[&news], "x");
    }
    let source = open(&fake, &news).await;
    let all = source.browse(ItemKind::Files, 1000).await.unwrap();
    assert_eq!((all.items.len(), all.truncated), (250, false));
    assert_eq!(fake.counts()["contents"], 3);
    fake.forget();
    let some = source.browse(ItemKind::Files, 50).await.unwrap();
    assert_eq!((some.items.len(), some.truncated), (50, true));
    assert_eq!(fake.counts()["contents"], 1);
}

#[tokio::test]
async fn a_collection_of_empty_pages_without_end_ends_after_a_thousand() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    fake.fail_after("contents", 0, usize::MAX, || {
        Answer::new(200, json!({ "objects": [], "pages": u64::MAX }).to_string()).into()
    });
    let source = open(&fake, &news).await;
    let error = source.browse(ItemKind::Files, 50).await.unwrap_err().to_string();
    assert!(error.contains("1000 pages in a row were empty"), "{error}");
    assert_eq!(fake.counts()["contents"], 1001);
}
