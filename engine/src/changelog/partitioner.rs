//! Which partition a key belongs to: exactly what Kafka's default partitioner answers, so that a topic can move
//! between the embedded changelog and Kafka with every key in its place.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// The 32-bit murmur2 hash, with the seed that Kafka uses.
///
/// # Examples
/// ```
/// assert_eq!(millpond_engine::changelog::murmur2(b"21"), -973_932_308);
/// ```
#[must_use]
pub fn murmur2(bytes: &[u8]) -> i32 {
    // Kafka hashes the length as a Java int; keys are far shorter than that.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, tail) = bytes.as_chunks::<4>();
    for &word in words {
        let mut word = u32::from_le_bytes(word).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (index, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition, out of `partitions`, that records with `key` belong to. Of no partitions it answers 0.
///
/// # Examples
/// ```
/// assert_eq!(millpond_engine::changelog::partition_for_key(b"foobar", 10), 6);
/// ```
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: u32) -> u32 {
    let positive = murmur2(key).cast_unsigned() & 0x7fff_ffff;
    positive.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest`.
    const VECTORS: [(&[u8], i32); 6] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ];

    #[test]
    fn keys_hash_as_in_kafka() {
        for (key, hash) in VECTORS {
            assert_eq!(murmur2(key), hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn the_sign_is_dropped_and_not_negated() {
        for (key, hash) in VECTORS {
            let java = (i64::from(hash) & 0x7fff_ffff) % 7;
            assert_eq!(i64::from(partition_for_key(key, 7)), java);
        }
        assert_eq!(partition_for_key(b"abc", 0), 0);
    }
}
