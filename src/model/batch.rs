//! The states of batches and tasks, and what is done about objects that were processed before.

use serde::{Deserialize, Serialize};

macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Wire and database spelling.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The one of that spelling.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

spelled! {
    /// How a batch, one of its tiers or a task stands.
    BatchStatus {
        /// Not submitted yet.
        Draft = "DRAFT",
        /// Submitted, and waiting.
        Pending = "PENDING",
        /// Under way.
        InProgress = "IN_PROGRESS",
        /// Done.
        Completed = "COMPLETED",
        /// Done, but some of it failed.
        CompletedWithErrors = "COMPLETED_WITH_ERRORS",
        /// Nothing of it worked.
        Failed = "FAILED",
        /// Somebody stopped it.
        Canceled = "CANCELED",
        /// A tier that was not needed.
        Skipped = "SKIPPED",
    }
}

impl BatchStatus {
    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Draft | Self::Pending | Self::InProgress)
    }

    /// How something ended of which so much worked and so much failed.
    #[must_use]
    pub const fn ended(worked: u64, failed: u64) -> Self {
        match (worked, failed) {
            (_, 0) => Self::Completed,
            (0, _) => Self::Failed,
            _ => Self::CompletedWithErrors,
        }
    }
}

spelled! {
    /// What a task does.
    TaskKind {
        /// A tier of a batch.
        Batch = "api_buckets_batches_process",
        /// Batches for all that a collection has not extracted.
        Trigger = "api_collections_trigger",
        /// A change of many documents.
        UpdateDocuments = "api_collections_documents_bulk_update",
        /// The end of many documents.
        DeleteDocuments = "api_collections_documents_bulk_delete",
        /// The end of a bucket.
        DeleteBucket = "api_buckets_delete",
        /// A run of a sync.
        SyncJob = "api_buckets_objects_create",
    }
}

/// What is done about objects that a collection has extracted before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dedup {
    /// They are left out, unless what goes in has changed.
    #[default]
    Skip,
    /// They are extracted again, and their documents replaced.
    Replace,
    /// The same as `replace`: two sets of documents of one object cannot be distinguished.
    Force,
}

impl Dedup {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Replace => "replace",
            Self::Force => "force",
        }
    }

    /// The one of that spelling; what nobody knows leaves out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "replace" => Self::Replace,
            "force" => Self::Force,
            _ => Self::Skip,
        }
    }

    /// What it comes to here.
    #[must_use]
    pub const fn effective(self) -> Self {
        match self {
            Self::Force => Self::Replace,
            other => other,
        }
    }
}
