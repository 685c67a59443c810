//! Examining: whether a codec reads back what it writes of a type, found out with the samples of tracing.
//!
//! Two values are compared by their encodings, since nothing else of them can be: they are alike if the same bytes
//! occur in both, in whatever order, as sets and maps that are hashed have none.

use super::shape::{Growth, Shape, trace};
use super::{CodecError, ValueCodec};
use serde::de::DeserializeOwned;

/// Why a value does not encode.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) message: String,
    /// Whether no other value of its type would do better.
    pub(super) of_type: bool,
}

/// How a codec writes a value, telling whether its type is to blame if it does not.
type Encode<'a, V> = &'a dyn Fn(&V, &mut Vec<u8>) -> Result<(), Refusal>;

/// What a codec has to tell of itself to be examined.
pub(super) struct Examined<'a, V> {
    pub(super) encode: Encode<'a, V>,
    pub(super) human_readable: bool,
    pub(super) growth: Growth,
    /// What to do with a type that the codec cannot hold.
    pub(super) advice: &'static str,
}

/// The shape of `V` in `codec`.
///
/// # Errors
/// If the codec cannot hold the type.
pub(super) fn examine<V: DeserializeOwned>(
    codec: &impl ValueCodec<V>,
    examined: &Examined<'_, V>,
) -> Result<Shape, CodecError> {
    let traced = trace::<V>(examined.human_readable, &mut |value| {
        let mut bytes = Vec::new();
        match (examined.encode)(value, &mut bytes) {
            Ok(()) => read_back(codec, &mut bytes, 0).map_err(|error| error.to_string()),
            Err(refusal) if refusal.of_type => Err(refusal.message),
            Err(_) => Ok(()),
        }
    });
    match traced.refusal {
        None => Ok(traced.shape.growing(examined.growth)),
        Some(refusal) => {
            let (id, advice) = (codec.id(), examined.advice);
            Err(CodecError::new(format!("`{id}` cannot hold values of this type: {refusal}; {advice}")))
        }
    }
}

/// Refuses the bytes from `start` on, which `codec` has written, if they do not come back as what they were written for.
pub(super) fn read_back<V>(
    codec: &impl ValueCodec<V>,
    bytes: &mut Vec<u8>,
    start: usize,
) -> Result<(), CodecError> {
    let end = bytes.len();
    let value = decoded(codec, bytes.get(start..).unwrap_or_default())?;
    // Behind the first encoding: there is room as a rule, and a buffer of its own would have to be allocated.
    let encoded = codec.encode(&value, bytes).is_ok();
    let same = encoded && bytes.get(start..end).zip(bytes.get(end..)).is_some_and(|(a, b)| are_alike(a, b));
    bytes.truncate(end);
    if same {
        return Ok(());
    }
    Err(CodecError::new(
        "what is written of it is read back as another value (is a variant or a field skipped on one way only, or do two \
         variants look the same?)",
    ))
}

pub(super) fn decoded<V>(codec: &impl ValueCodec<V>, bytes: &[u8]) -> Result<V, CodecError> {
    codec
        .decode(bytes)
        .map_err(|error| CodecError::new(format!("what is written of it is not read back: {error}")))
}

/// Whether the same bytes occur equally often.
fn are_alike(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() || a == b {
        return a.len() == b.len();
    }
    let mut counts = [0_i64; 256];
    let mut count = |bytes: &[u8], by: i64| {
        for byte in bytes {
            if let Some(slot) = counts.get_mut(usize::from(*byte)) {
                *slot += by;
            }
        }
    };
    count(a, 1);
    count(b, -1);
    counts.iter().all(|count| *count == 0)
}
