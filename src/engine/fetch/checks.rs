//! Checking bytes against the hashes that a provider says they have, as they pass.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::{
    model::{ExpectedHash, HashAlgorithm, QuickXor},
    sources::SourceError,
};

/// The hashes of bytes that are passing, and what they should be.
pub(super) struct Checks(Vec<(State, ExpectedHash)>);

enum State {
    Md5(Md5),
    Sha1(Context),
    Sha256(Sha256),
    QuickXor(Box<QuickXor>),
}

impl Checks {
    /// Starts to check for all these hashes.
    pub(super) fn new(hashes: &[ExpectedHash]) -> Self {
        let state = |hash: &ExpectedHash| match hash.algorithm {
            HashAlgorithm::Md5 => State::Md5(Md5::new()),
            HashAlgorithm::Sha1 => State::Sha1(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            HashAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            HashAlgorithm::QuickXor => State::QuickXor(Box::new(QuickXor::starting_at(0))),
        };
        Self(hashes.iter().map(|hash| (state(hash), hash.clone())).collect())
    }

    /// Whether there is nothing to check.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for (state, _) in &mut self.0 {
            match state {
                State::Md5(hash) => hash.update(bytes),
                State::Sha1(hash) => hash.update(bytes),
                State::Sha256(hash) => hash.update(bytes),
                State::QuickXor(hash) => hash.update(bytes),
            }
        }
    }

    /// Compares the hashes of all bytes.
    ///
    /// # Errors
    /// [`SourceError::Corrupt`] for the first that differs.
    pub(super) fn finish(self) -> Result<(), SourceError> {
        for (state, expected) in self.0 {
            let found = match state {
                State::Md5(hash) => hash.finalize().to_vec(),
                State::Sha1(hash) => hash.finish().as_ref().to_vec(),
                State::Sha256(hash) => hash.finalize().to_vec(),
                State::QuickXor(hash) => hash.finish().to_vec(),
            };
            compare(&expected, &found)?;
        }
        Ok(())
    }
}

/// Compares the hash of all bytes with what it should be.
///
/// # Errors
/// [`SourceError::Corrupt`] if it is another one.
pub(super) fn compare(expected: &ExpectedHash, found: &[u8]) -> Result<(), SourceError> {
    if found == expected.digest {
        return Ok(());
    }
    let ExpectedHash { algorithm, digest } = expected;
    let message = format!("{algorithm:?} {} expected, {} found", hex(digest), hex(found));
    Err(SourceError::Corrupt { message })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_with_another_hash_are_refused_and_both_are_named() {
        let digest = Md5::digest(b"right").to_vec();
        let expected = [ExpectedHash { algorithm: HashAlgorithm::Md5, digest }];
        let check = |bytes: &[u8]| {
            let mut checks = Checks::new(&expected);
            checks.update(bytes);
            checks.finish()
        };
        assert!(check(b"right").is_ok());
        let message = check(b"wrong").unwrap_err().to_string();
        assert!(message.contains("Md5") && message.contains("expected"), "{message}");
    }
}
