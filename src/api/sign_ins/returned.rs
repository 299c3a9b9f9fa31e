//! What a browser brings back from a provider: the query of `GET /oauth/callback`. Which sign-in it
//! belongs to is [`super::pending`]'s business.

use subtle::ConstantTimeEq as _;

use crate::api::query::query_value;

/// The longest code and state that are taken, in bytes.
const MOST_BYTES: usize = 16 * 1024;

/// What a browser came back with.
pub struct Returned {
    state: String,
    pub(super) outcome: Outcome,
}

/// How it ended at the provider.
pub(super) enum Outcome {
    Code(String),
    Declined { error: String, description: String },
}

impl Returned {
    /// Reads the query of the address; `None` where that is not how a sign-in ends.
    #[must_use]
    pub fn of(query: &str) -> Option<Self> {
        if query.len() > MOST_BYTES {
            return None;
        }
        let field = |name: &str| query_value(query, name).filter(|value| !value.is_empty());
        let state = field("state")?;
        let outcome = match (field("code"), field("error")) {
            (Some(code), None) => Outcome::Code(code),
            (_, Some(error)) => Outcome::Declined {
                error,
                description: field("error_description").unwrap_or_default(),
            },
            (None, None) => return None,
        };
        Some(Self { state, outcome })
    }

    /// Whether it has that state; takes as long for any other.
    pub(super) fn has_state(&self, state: &str) -> bool {
        self.state.as_bytes().ct_eq(state.as_bytes()).into()
    }
}

/// Says nothing: all of it is secret.
impl std::fmt::Debug for Returned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Returned([redacted])")
    }
}
