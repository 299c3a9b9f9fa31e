//! QuickXorHash, Microsoft's hash of files, which can be computed of parts in any order
//! (<https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash>).

/// Bits of the hash.
const WIDTH: usize = 160;
/// Bits that each byte is further than the one before.
const SHIFT: usize = 11;

/// The QuickXorHash of bytes that are passing: each byte is XORed into 160 bits, 11 bits further
/// than the one before; the length is XORed into the last 64 of them at the end.
///
/// Bytes that are 160 apart go to the same place, so that one row of them is all there is to keep.
#[derive(Clone, Debug)]
pub struct QuickXor {
    row: [u8; WIDTH],
    /// Where the next byte is in the file.
    at: u64,
}

impl QuickXor {
    /// The hash of what begins at that byte of a file; 0 is its beginning.
    #[must_use]
    pub const fn starting_at(offset: u64) -> Self {
        Self { row: [0; WIDTH], at: offset }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let place = usize::try_from(self.at % WIDTH as u64).unwrap_or_default();
        let (first, rest) = bytes.split_at(bytes.len().min(WIDTH - place));
        xor(&mut self.row[place..], first);
        rest.chunks(WIDTH).for_each(|bytes| xor(&mut self.row, bytes));
        self.at += bytes.len() as u64;
    }

    /// Adds another part of the same file.
    pub fn join(&mut self, other: &Self) {
        xor(&mut self.row, &other.row);
        self.at = self.at.max(other.at);
    }

    /// The hash of a file all of whose parts were added.
    #[must_use]
    pub fn finish(&self) -> [u8; 20] {
        let mut hash = [0; 20];
        for (index, byte) in self.row.iter().enumerate() {
            let bit = index * SHIFT % WIDTH;
            let [low, high] = (u16::from(*byte) << (bit % 8)).to_le_bytes();
            hash[bit / 8] ^= low;
            hash[(bit / 8 + 1) % 20] ^= high;
        }
        xor(&mut hash[12..], &self.at.to_le_bytes());
        hash
    }
}

fn xor(into: &mut [u8], bytes: &[u8]) {
    into.iter_mut().zip(bytes).for_each(|(cell, byte)| *cell ^= byte);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> [u8; 20] {
        let mut hash = QuickXor::starting_at(0);
        hash.update(bytes);
        hash.finish()
    }

    #[test]
    fn the_hashes_of_nothing_and_of_one_byte_are_those_that_rclone_computes() {
        assert_eq!(whole(b""), [0; 20]);
        let mut of_a = [0; 20];
        (of_a[0], of_a[12]) = (0x61, 1);
        assert_eq!(whole(b"a"), of_a);
    }

    proptest! {
        #[test]
        fn parts_of_any_cut_in_any_order_have_the_hash_of_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            cuts in proptest::collection::vec(0_usize..2000, 0..6),
            backwards in any::<bool>(),
        ) {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            ends.push(bytes.len());
            ends.sort_unstable();
            let mut parts = Vec::new();
            let mut start = 0;
            for end in ends {
                let mut part = QuickXor::starting_at(start as u64);
                part.update(&bytes[start..end]);
                parts.push(part);
                start = end;
            }
            if backwards {
                parts.reverse();
            }
            let mut joined = QuickXor::starting_at(0);
            parts.iter().for_each(|part| joined.join(part));
            prop_assert_eq!(joined.finish(), whole(&bytes));
        }
    }
}
