//! Listings that lead nowhere: pages without anything, one behind the other under ever new tokens,
//! and tokens that come back. Every source with pages follows them along a [`Trail`].

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use tokio::time::Instant;

use super::SourceError;

/// How many pages without anything may come in a row. Providers return such pages where they have
/// looked through as much as one page may cost them and left it all out: deleted versions, files of
/// others. A thousand of them stand for a million of those, and cost a server that never ends no
/// more than a thousand requests.
const EMPTY_PAGES: u32 = 1000;

/// How long they may take together: a server that needs a second for each of them is as stuck.
const WITHOUT_ANYTHING: Duration = Duration::from_secs(120);

/// How far a listing has come, and whether it still gets anywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail {
    /// Hashes of the tokens that were used: eight bytes a page.
    tokens: HashSet<u64>,
    /// Pages without anything since the last one that had something.
    empty: u32,
    /// Since when they have come.
    empty_since: Option<Instant>,
}

impl Trail {
    /// Takes a page with so many things on it, behind which the listing continues at `next`.
    ///
    /// # Errors
    /// See [`Trail::check`].
    pub(super) fn follow(&mut self, things: usize, next: Option<&str>) -> Result<(), SourceError> {
        self.check(things, next)?;
        self.advance(things, next);
        Ok(())
    }

    /// Whether such a page leads on from those before it.
    ///
    /// # Errors
    /// [`SourceError::Garbled`] when its token was used before, or when it is one empty page too
    /// many.
    pub(super) fn check(&self, things: usize, next: Option<&str>) -> Result<(), SourceError> {
        let Some(next) = next else { return Ok(()) };
        let garbled = |message: String| Err(SourceError::Garbled { message });
        if self.tokens.contains(&hash(next)) {
            return garbled("the listing goes in circles: a continuation token came back".into());
        }
        if things > 0 {
            return Ok(());
        }
        if self.empty >= EMPTY_PAGES {
            return garbled(format!(
                "the listing has no end: {EMPTY_PAGES} pages in a row were empty, and each named \
                 another one"
            ));
        }
        match self.empty_since {
            Some(since) if since.elapsed() >= WITHOUT_ANYTHING => garbled(format!(
                "the listing has no end: {} empty pages came in {} s",
                self.empty,
                since.elapsed().as_secs()
            )),
            _ => Ok(()),
        }
    }

    /// Takes a page that was checked. The last one ends the trail: what follows is another listing.
    pub(super) fn advance(&mut self, things: usize, next: Option<&str>) {
        let Some(next) = next else { return *self = Self::default() };
        self.tokens.insert(hash(next));
        match things {
            0 => {
                self.empty += 1;
                self.empty_since.get_or_insert_with(Instant::now);
            }
            _ => (self.empty, self.empty_since) = (0, None),
        }
    }
}

fn hash(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_empty_pages_in_a_row_are_followed_and_no_more() {
        let mut trail = Trail::default();
        let mut tokens = (0..).map(|number: u32| number.to_string());
        for _ in 0..EMPTY_PAGES {
            trail.follow(0, tokens.next().as_deref()).unwrap();
        }
        let mut other = trail.clone();
        other.follow(1, tokens.next().as_deref()).unwrap();
        other.follow(0, tokens.next().as_deref()).unwrap();
        trail.check(0, None).unwrap();
        let error = trail.follow(0, tokens.next().as_deref()).unwrap_err().to_string();
        assert!(error.contains("1000 pages in a row were empty"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn empty_pages_are_followed_for_two_minutes_and_no_longer() {
        let mut trail = Trail::default();
        for number in 0..10 {
            trail.follow(0, Some(&number.to_string())).unwrap();
            tokio::time::advance(Duration::from_secs(12)).await;
        }
        trail.check(1, Some("more")).unwrap();
        let error = trail.follow(0, Some("more")).unwrap_err().to_string();
        assert!(error.contains("10 empty pages came in 120 s"), "{error}");
    }

    #[test]
    fn a_token_that_comes_back_is_a_circle() {
        let mut trail = Trail::default();
        trail.follow(1, Some("a")).unwrap();
        trail.follow(1, Some("b")).unwrap();
        assert!(matches!(trail.follow(1, Some("a")), Err(SourceError::Garbled { .. })));
        trail.follow(1, None).unwrap();
        trail.follow(1, Some("a")).unwrap();
    }
}
