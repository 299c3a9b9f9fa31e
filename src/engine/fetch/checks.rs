//! Checking bytes against the hashes that a provider says they have, as they pass.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::{
    model::{ExpectedHash, HashAlgorithm},
    sources::SourceError,
};

/// The hashes of bytes that are passing, and what they should be.
pub(super) struct Checks(Vec<(State, ExpectedHash)>);

enum State {
    Md5(Md5),
    Sha1(Context),
    Sha256(Sha256),
    QuickXor(QuickXor),
}

impl Checks {
    /// Starts to check for all these hashes.
    pub(super) fn new(hashes: &[ExpectedHash]) -> Self {
        let state = |hash: &ExpectedHash| match hash.algorithm {
            HashAlgorithm::Md5 => State::Md5(Md5::new()),
            HashAlgorithm::Sha1 => State::Sha1(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            HashAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            HashAlgorithm::QuickXor => State::QuickXor(QuickXor::default()),
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
                State::QuickXor(hash) => hash.finalize().to_vec(),
            };
            if found != expected.digest {
                let message = format!(
                    "{:?} {} expected, {} found",
                    expected.algorithm,
                    hex(&expected.digest),
                    hex(&found)
                );
                return Err(SourceError::Corrupt { message });
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Microsoft's QuickXorHash: each byte is XORed into 160 bits, 11 bits further than the one before;
/// the length is XORed into the last 64 of them at the end
/// (<https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash>).
#[derive(Clone, Debug, Default)]
struct QuickXor {
    bits: [u8; 20],
    length: u64,
}

impl QuickXor {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = usize::try_from(self.length % 160).unwrap_or_default() * 11 % 160;
            let (cell, shift) = (at / 8, at % 8);
            let spread = u16::from(*byte) << shift;
            let [low, high] = spread.to_le_bytes();
            self.bits[cell] ^= low;
            self.bits[(cell + 1) % 20] ^= high;
            self.length += 1;
        }
    }

    fn finalize(mut self) -> [u8; 20] {
        for (cell, byte) in self.bits[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *cell ^= byte;
        }
        self.bits
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    fn quick_xor(bytes: &[u8]) -> String {
        let mut hash = QuickXor::default();
        // In pieces that end anywhere.
        bytes.chunks(7).for_each(|piece| hash.update(piece));
        BASE64_STANDARD.encode(hash.finalize())
    }

    #[test]
    fn quick_xor_hashes_are_those_that_rclone_computes() {
        // rclone hashsum quickxor --base64
        assert_eq!(quick_xor(b""), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert_eq!(quick_xor(&[0x61]), "YQAAAAAAAAAAAAAAAQAAAAAAAAA=");
    }

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
