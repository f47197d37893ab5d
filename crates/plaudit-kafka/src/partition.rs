//! Which partition a key belongs to: the Java client's rule.
//!
//! librdkafka does the real work (`partitioner=murmur2_random`). This is the same
//! function as a value, for tools and tests that must predict a partition.
//! Promise **P4** rests on it: a key's records share one partition, in order.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// Hashes a key as Java's `org.apache.kafka.common.utils.Utils.murmur2` does.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    // Java's length is an i32; a longer key cannot be in a record.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "as the Java code, modulo 2^32"
    )]
    let mut hash = SEED ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition of `key` in a topic with `partitions` partitions.
///
/// # Panics
/// When `partitions` is not positive: no topic has fewer than one.
#[must_use]
pub fn partition_for(key: &[u8], partitions: i32) -> i32 {
    // Java clears the sign bit rather than taking the absolute value.
    let positive = i32::try_from(murmur2(key) & 0x7fff_ffff).expect("31 bits fit an i32");
    positive % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `UtilsTest.testMurmur2` in the Java client.
    #[test]
    fn hashes_are_those_of_the_java_client() {
        for (key, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn a_partition_is_never_out_of_range() {
        for length in 0..64_usize {
            let key = vec![0xff_u8; length];
            assert!((0..12).contains(&partition_for(&key, 12)));
            assert_eq!(partition_for(&key, 1), 0);
        }
    }
}
