//! Keys that are UUIDs: their 16 bytes, which is the order that the type has.

use super::integers::take;
use super::{CodecError, KeyCodec};
use uuid::Uuid;

impl KeyCodec for Uuid {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        take(input).map(Self::from_bytes)
    }

    fn key_schema() -> String {
        "uuid".to_owned()
    }
}
