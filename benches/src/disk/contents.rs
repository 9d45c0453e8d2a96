//! What a block holds: a pattern that says where it belongs and which write it comes from.
//!
//! Each 512 bytes begin with the generation; all further words depend on seed, offset and
//! generation. So a block that was misplaced, torn, lost or left over is told apart from the right one
//! whatever the block size of the run that wrote it.

use crate::cold::mix;

/// Bytes that carry a generation each.
pub(super) const UNIT: usize = 512;
const WORD: usize = size_of::<u64>();

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Of the first wrong byte, in the file.
    pub(super) offset: u64,
    pub(super) found: u8,
    pub(super) wanted: u8,
    /// The generation that these 512 bytes name, and the one they should.
    pub(super) generation: (u64, Option<u64>),
}

fn key(seed: u64, offset: u64, generation: u64) -> u64 {
    mix(mix(mix(seed) ^ offset) ^ generation)
}

/// Word `index` of a unit.
fn word(key: u64, index: usize, generation: u64) -> u64 {
    match index {
        0 => generation,
        _ => mix(key.wrapping_add(index as u64)),
    }
}

/// Fills `block`, whole units that lie at `offset`.
pub(super) fn fill(block: &mut [u8], seed: u64, offset: u64, generation: u64) {
    for (unit, at) in block.chunks_exact_mut(UNIT).zip((offset..).step_by(UNIT)) {
        let key = key(seed, at, generation);
        for (index, bytes) in unit.chunks_exact_mut(WORD).enumerate() {
            bytes.copy_from_slice(&word(key, index, generation).to_le_bytes());
        }
    }
}

/// Compares `block`. Without a generation, what each unit names is believed.
pub(super) fn check(
    block: &[u8],
    seed: u64,
    offset: u64,
    generation: Option<u64>,
) -> Result<(), Mismatch> {
    for (unit, at) in block.chunks_exact(UNIT).zip((offset..).step_by(UNIT)) {
        let named = u64::from_le_bytes(unit[..WORD].try_into().unwrap_or_default());
        let wanted = generation.unwrap_or(named);
        let key = key(seed, at, wanted);
        for (index, bytes) in unit.chunks_exact(WORD).enumerate() {
            let right = word(key, index, wanted).to_le_bytes();
            if bytes == right {
                continue;
            }
            let byte = bytes.iter().zip(right).position(|(a, b)| *a != b);
            let byte = byte.unwrap_or_default();
            return Err(Mismatch {
                offset: at + (index * WORD + byte) as u64,
                found: bytes[byte],
                wanted: right[byte],
                generation: (named, generation),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_wrong_byte_is_found_where_it_is() {
        let mut block = vec![0; 4096];
        fill(&mut block, 1, 8192, 5);
        assert_eq!(check(&block, 1, 8192, Some(5)), Ok(()));
        assert_eq!(check(&block, 1, 8192, None), Ok(()));
        for place in 0..block.len() {
            block[place] ^= 1;
            let told = check(&block, 1, 8192, Some(5)).expect_err("a byte is wrong");
            assert_eq!(told.offset, 8192 + place as u64);
            assert_eq!(told.found, told.wanted ^ 1);
            // A wrong generation makes all that follows wrong.
            assert!(check(&block, 1, 8192, None).is_err(), "{place}");
            block[place] ^= 1;
        }
    }

    #[test]
    fn a_block_of_elsewhere_or_of_before_is_not_the_right_one() {
        let mut block = vec![0; UNIT];
        fill(&mut block, 1, 8192, 5);
        assert!(check(&block, 1, 4096, Some(5)).is_err(), "misplaced");
        assert!(check(&block, 2, 8192, Some(5)).is_err(), "another seed");
        let lost = check(&block, 1, 8192, Some(6)).expect_err("left over");
        assert_eq!(lost.generation, (5, Some(6)));
        assert!(check(&[0; UNIT], 1, 8192, None).is_err(), "a hole");
    }

    #[test]
    fn the_size_of_a_block_does_not_matter() {
        let mut large = vec![0; 4 * UNIT];
        fill(&mut large, 1, 0, 0);
        let mut small = vec![0; UNIT];
        fill(&mut small, 1, 3 * UNIT as u64, 0);
        assert_eq!(large[3 * UNIT..], small);
    }
}
