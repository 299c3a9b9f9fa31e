//! How much memory extractors use, for whoever tries one out. For nobody else is anything measured.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::strays::{self, Family};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(10);

tokio::task_local! {
    /// The most that was seen so far, in bytes.
    static MOST: Arc<AtomicU64>;
}

/// Does some work, and measures the processes that extract for it. Returns the most memory that
/// those of one extraction were seen to use together, in bytes; `None` where none was seen: a
/// service has none here, and what ends within milliseconds may be missed.
pub(in crate::processing) async fn measured<T>(work: impl Future<Output = T>) -> (T, Option<u64>) {
    let most = Arc::new(AtomicU64::new(0));
    let done = MOST.scope(most.clone(), work).await;
    (done, Some(most.load(Ordering::Relaxed)).filter(|most| *most > 0))
}

/// Looks at what a family uses, for as long as this is waited for.
pub(super) async fn watch(family: Family) -> Infallible {
    let Ok(most) = MOST.try_with(Arc::clone) else { return std::future::pending().await };
    // The first look is not left to another thread: what is extracted may be done before that.
    most.fetch_max(strays::memory(family), Ordering::Relaxed);
    loop {
        tokio::time::sleep(LOOK).await;
        let looked = tokio::task::spawn_blocking(move || strays::memory(family)).await;
        most.fetch_max(looked.unwrap_or_default(), Ordering::Relaxed);
    }
}
