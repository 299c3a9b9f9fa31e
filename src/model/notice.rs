//! What is true of a sync and needs no action.

use serde::{Deserialize, Serialize};

/// A notice, in the wire's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The place is there, or could be, and never had an entry.
    NothingThereYet,
    /// Its folder cannot be watched: changes are looked for in its interval.
    WatchLimited,
    /// Its provider lets nobody make requests before a certain time.
    WaitingForProvider,
    /// Its source can only be listed in full, whatever has changed.
    ListedInFull,
}

impl Notice {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingThereYet => "nothing_there_yet",
            Self::WatchLimited => "watch_limited",
            Self::WaitingForProvider => "waiting_for_provider",
            Self::ListedInFull => "listed_in_full",
        }
    }
}

/// What a person reads where a source has nothing.
pub const NOTHING_THERE_YET: &str =
    "nothing there yet: entries are taken as soon as the source has any";
