//! A listing under way.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{bucket::Bucket, listing::Progress};
use crate::sources::{Page, SourceError, retry::inherited};

/// Pages that are listed ahead of the consumer, besides the one under way.
const PAGES_AHEAD: usize = 1;

/// A listing under way: pages are fetched while the consumer works on those before.
pub(super) enum Walk {
    /// Nothing asked for yet.
    Ahead(Arc<Bucket>, Box<Progress>),
    /// A task fetches pages. It sends `None` behind the last one, so that its death is never taken
    /// for the end.
    Under(mpsc::Receiver<Option<Result<Page, SourceError>>>, AbortOnDropHandle<()>),
    /// Nothing more to come.
    Over,
}

impl Walk {
    /// The next page, and the rest.
    pub(super) async fn next(self) -> Option<(Result<Page, SourceError>, Self)> {
        let (mut pages, task) = match self {
            Self::Ahead(bucket, progress) => {
                let (sender, pages) = mpsc::channel(PAGES_AHEAD);
                let task = tokio::spawn(inherited(list_all(bucket, *progress, sender)));
                (pages, AbortOnDropHandle::new(task))
            }
            Self::Under(pages, task) => (pages, task),
            Self::Over => return None,
        };
        match pages.recv().await {
            Some(Some(Ok(page))) => Some((Ok(page), Self::Under(pages, task))),
            Some(Some(Err(error))) => Some((Err(error), Self::Over)),
            Some(None) => None,
            None => {
                let message = "the listing stopped without reaching its end".into();
                Some((Err(SourceError::Transient { message }), Self::Over))
            }
        }
    }
}

/// Sends page after page, then `None`; or an error, and nothing more.
async fn list_all(
    bucket: Arc<Bucket>,
    mut progress: Progress,
    sender: mpsc::Sender<Option<Result<Page, SourceError>>>,
) {
    let mut more = true;
    while more {
        let page = match bucket.page(&progress).await {
            Ok(answer) => progress.advance(answer),
            Err(error) => Err(error),
        };
        more = matches!(page, Ok((_, true)));
        let failed = page.is_err();
        if sender.send(Some(page.map(|(page, _)| page))).await.is_err() || failed {
            return;
        }
    }
    // A consumer that has gone needs no end.
    drop(sender.send(None).await);
}
