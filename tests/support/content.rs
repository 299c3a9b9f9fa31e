//! Bytes to sync, and their hashes: repeatable, different for every seed, never compressible into
//! one another.

/// `size` bytes that only this `seed` gives.
pub fn pattern(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The hash as `ls --json` writes it.
pub fn hash(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

/// A seed for a test that draws: from CATCHMENT_TEST_SEED, to repeat a failure, else from the
/// clock. Printed, so that a failure shows it.
pub fn seed() -> u64 {
    let seed = match std::env::var("CATCHMENT_TEST_SEED") {
        Ok(text) => text.parse().expect("CATCHMENT_TEST_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("seed {seed}: set CATCHMENT_TEST_SEED={seed} to repeat this run");
    seed
}
