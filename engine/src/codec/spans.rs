//! Stretches of time with a value each, as one row.
//!
//! Invariant: how many they are, and of each where it begins, with the sign in the lowest bit, how long it is, and the value in its own
//! codec behind its length; all numbers are varints.

use super::grouped::RowCodec;
use super::{CodecError, Shape, ValueCodec};
use crate::varint::{read_slice, read_varint, unzigzag, write_varint, zigzag};
use std::sync::Arc;

/// A stretch of time with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<V> {
    /// Its first millisecond, since the Unix epoch.
    pub start_ms: i64,
    /// Its last millisecond.
    pub last_ms: i64,
    /// The value.
    pub value: V,
}

/// Writes the values by their own codec.
pub(crate) struct SpansCodec<V: 'static> {
    value: Arc<dyn RowCodec<V>>,
}

impl<V> SpansCodec<V> {
    pub(crate) fn new(value: Arc<dyn RowCodec<V>>) -> Self {
        Self { value }
    }

    fn read(&self, bytes: &mut &[u8]) -> Option<Result<Span<V>, CodecError>> {
        let start_ms = unzigzag(read_varint(bytes)?);
        let length = read_varint(bytes)?;
        let last_ms = start_ms.wrapping_add(length.cast_signed());
        if last_ms < start_ms {
            return None;
        }
        let value = self.value.decode(read_slice(bytes)?);
        Some(value.map(|value| Span { start_ms, last_ms, value }))
    }
}

impl<V> ValueCodec<Vec<Span<V>>> for SpansCodec<V> {
    fn id(&self) -> &'static str {
        self.value.id()
    }

    fn encode(&self, spans: &Vec<Span<V>>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let begin = out.len();
        write_varint(out, spans.len() as u64);
        for span in spans {
            write_varint(out, zigzag(span.start_ms));
            write_varint(out, span.last_ms.wrapping_sub(span.start_ms).cast_unsigned());
            let start = out.len();
            self.value.encode(&span.value, out).inspect_err(|_| out.truncate(begin))?;
            let end = out.len();
            write_varint(out, (end - start) as u64);
            // The length comes first.
            let length_bytes = out.len() - end;
            out.get_mut(start..).unwrap_or_default().rotate_right(length_bytes);
        }
        Ok(())
    }

    fn decode(&self, mut bytes: &[u8]) -> Result<Vec<Span<V>>, CodecError> {
        let refuse = || CodecError::new("a row of stretches of time is cut off, or not in its shortest form");
        let count = read_varint(&mut bytes).ok_or_else(refuse)?;
        // Each takes three bytes at least: what is claimed is not trusted.
        let mut spans = Vec::with_capacity(bytes.len().min(usize::try_from(count).unwrap_or(usize::MAX)) / 3);
        for _ in 0..count {
            spans.push(self.read(&mut bytes).ok_or_else(refuse)??);
        }
        if bytes.is_empty() { Ok(spans) } else { Err(refuse()) }
    }

    fn awaits(&self) -> bool {
        self.value.awaits()
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        self.value.shape()
    }
}

impl<V> RowCodec<Vec<Span<V>>> for SpansCodec<V> {}

#[cfg(test)]
mod tests {
    use super::super::{Bincode, CheckedCodec};
    use super::*;
    use proptest::prelude::*;

    fn codec() -> SpansCodec<String> {
        SpansCodec::new(Arc::new(CheckedCodec::new::<String>(Bincode)))
    }

    fn encoded(spans: &[(i64, i64, &str)]) -> Vec<u8> {
        let span = |&(start_ms, last_ms, value): &(i64, i64, &str)| Span {
            start_ms,
            last_ms,
            value: value.to_owned(),
        };
        let mut bytes = Vec::new();
        codec().encode(&spans.iter().map(span).collect(), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn stretches_of_time_have_their_golden_bytes() {
        assert_eq!(encoded(&[]), [0]);
        assert_eq!(encoded(&[(-1, 127, "a"), (300, 300, "")]), [2, 1, 0x80, 1, 2, 1, b'a', 0xd8, 4, 0, 1, 0]);
        let all = [(i64::MIN, i64::MAX, "")];
        assert_eq!(codec().decode(&encoded(&all)).unwrap()[0].last_ms, i64::MAX);
        assert!(codec().decode(&[1, 0, 0, 1, 0, 0]).is_err());
        assert!(codec().decode(&[255, 255, 255, 255, 15]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_stretches_of_time(bytes in any::<Vec<u8>>()) {
            if let Ok(spans) = codec().decode(&bytes) {
                let mut again = Vec::new();
                codec().encode(&spans, &mut again).unwrap();
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn stretches_of_time_round_trip(spans in prop::collection::vec((any::<i64>(), any::<u64>(), any::<String>()), 0..5)) {
            let span = |(start_ms, length, value): (i64, u64, String)| {
                let last_ms = start_ms.saturating_add(i64::try_from(length).unwrap_or(i64::MAX));
                Span { start_ms, last_ms, value }
            };
            let spans: Vec<_> = spans.into_iter().map(span).collect();
            let mut bytes = Vec::new();
            codec().encode(&spans, &mut bytes).unwrap();
            prop_assert_eq!(codec().decode(&bytes), Ok(spans));
        }
    }
}
