//! Rows as they are written, to compare them.

use crate::codec::{CodecError, RowCodec, Value};

/// What readers are shown of a row, as its codec writes it, to compare it with another one: values need not know whether they
/// are equal.
pub(super) struct Encoded {
    /// Whether what is written tells.
    pub(super) compares: bool,
    /// Whether there is a value, and it encodes.
    pub(super) known: Option<bool>,
    pub(super) bytes: Vec<u8>,
    pub(super) other: Vec<u8>,
}

impl Encoded {
    pub(super) fn encode<V: Value>(&mut self, codec: &dyn RowCodec<V>, value: Option<&V>) {
        self.bytes.clear();
        self.known = match value {
            Some(_) if !self.compares => None,
            Some(value) => codec.encode_shown(value, &mut self.bytes).is_ok().then_some(true),
            None => Some(false),
        };
    }

    /// Whether `value` can be written.
    pub(super) fn check<V: Value>(
        &mut self,
        codec: &dyn RowCodec<V>,
        value: Option<&V>,
    ) -> Result<(), CodecError> {
        self.bytes.clear();
        value.map_or(Ok(()), |value| codec.encode(value, &mut self.bytes))
    }

    /// Whether `value` is the same. What does not encode is like nothing else.
    pub(super) fn is<V: Value>(&mut self, codec: &dyn RowCodec<V>, value: Option<&V>) -> bool {
        match (self.known, value) {
            (Some(false), None) => true,
            (Some(true), Some(value)) => {
                self.other.clear();
                codec.encode_shown(value, &mut self.other).is_ok() && self.other == self.bytes
            }
            _ => false,
        }
    }
}
