//! Integers that take as many bytes as they need, and byte strings behind their length: what every layout of the changelog and
//! the state is built of.
//!
//! A varint is LEB128: seven bits in each byte, the lowest first, and the eighth bit says that more follow. RocksDB writes its
//! own in the same way. Reading takes nothing but the shortest form, so that what is read is written as the same bytes
//! again; it never panics and trusts no length beyond the bytes that are there.

/// Appends `value`.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

/// Reads a varint from the front of `rest`; `None` if there is none, or not in its shortest form.
#[inline]
pub(crate) fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let (&first, tail) = rest.split_first()?;
    if first < 0x80 {
        *rest = tail;
        return Some(u64::from(first));
    }
    read_long_varint(rest)
}

fn read_long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        let is_too_long = (byte == 0 && shift > 0) || (bits << shift) >> shift != bits;
        if is_too_long {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// How many bytes `value` takes.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// `value` with the sign in the lowest bit: small magnitudes of either sign become small.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The value that [`zigzag`] made `value` of.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Appends `bytes` behind their length.
pub(crate) fn write_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from the front of `rest` what [`write_slice`] wrote.
#[inline]
pub(crate) fn read_slice<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_varint(rest)?;
    split(rest, length)
}

/// Takes `length` bytes from the front of `rest`.
#[inline]
pub(crate) fn split<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (bytes, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn written(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write_varint(&mut out, value);
        out
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), (0_u32..64, any::<u64>()).prop_map(|(bits, number)| number >> bits)]
    }

    proptest! {
        #[test]
        fn numbers_round_trip(value in number(), behind in any::<u8>()) {
            let mut stored = written(value);
            prop_assert_eq!(stored.len(), varint_len(value));
            stored.push(behind);
            let mut rest = stored.as_slice();
            prop_assert_eq!(read_varint(&mut rest), Some(value));
            prop_assert_eq!(rest, [behind]);
            prop_assert_eq!(read_varint(&mut &stored[..varint_len(value) - 1]), None);
            prop_assert_eq!(zigzag(unzigzag(value)), value);
        }

        #[test]
        fn what_is_read_is_written_as_the_same_bytes(
            stored in vec(prop_oneof![any::<u8>(), Just(0), Just(0x80), Just(0xff)], 0..12),
        ) {
            let mut rest = stored.as_slice();
            if let Some(value) = read_varint(&mut rest) {
                prop_assert_eq!(written(value), &stored[..stored.len() - rest.len()]);
            }
            let mut rest = stored.as_slice();
            if let Some(slice) = read_slice(&mut rest) {
                let mut again = Vec::new();
                write_slice(&mut again, slice);
                prop_assert_eq!(again, &stored[..stored.len() - rest.len()]);
            }
        }
    }

    #[test]
    fn the_bytes_are_golden() {
        assert_eq!(written(0), [0]);
        assert_eq!(written(127), [127]);
        assert_eq!(written(128), [0x80, 1]);
        assert_eq!(written(300), [0xac, 2]);
        assert_eq!(written(u64::MAX), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!([0, -1, 1, -2, i64::MIN].map(zigzag), [0, 1, 2, 3, u64::MAX]);
        for longer in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff; 10], &[0x80; 11]] {
            assert_eq!(read_varint(&mut &longer[..]), None);
        }
    }
}
