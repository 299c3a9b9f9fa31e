//! Who is signed in.

use serde::Deserialize;

/// A person or a service account, as the API describes them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct User {
    pub(super) email_address: String,
    permission_id: String,
}

impl User {
    /// Their permission id, which is one word.
    pub(super) fn id(&self) -> &str {
        let is_word = |id: &&String| !id.is_empty() && !id.contains(' ');
        [&self.permission_id, &self.email_address].into_iter().find(is_word).map_or("?", |id| id)
    }
}
