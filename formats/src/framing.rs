//! The framing of values whose schema is in a registry: a byte 0, the id of the schema as four bytes, big-endian, the value.
//!
//! It is what Confluent's serializers write in front of Avro, Protobuf and JSON. Protobuf has the place of its message in the
//! file of its schema in between; see [`Protobuf`](crate::protobuf::Protobuf).

use millpond_engine::codec::CodecError;

/// The first byte of a framed value.
pub const MAGIC: u8 = 0;

/// How many bytes of a value that is not framed are shown.
const SHOWN: usize = 8;

/// The id of the schema and the value behind it.
///
/// # Errors
/// If the bytes are not framed; the message says what they look like.
///
/// # Examples
/// ```
/// use millpond_formats::framing;
///
/// let mut framed = Vec::new();
/// framing::begin(17, &mut framed);
/// framed.extend(b"value");
/// assert_eq!(framing::split(&framed)?, (17, &b"value"[..]));
/// let refused = framing::split(br#"{"id": 7}"#).unwrap_err();
/// assert!(refused.to_string().contains("looks like JSON"));
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
pub fn split(bytes: &[u8]) -> Result<(u32, &[u8]), CodecError> {
    match bytes.split_first_chunk::<5>() {
        Some(([MAGIC, id @ ..], value)) => Ok((u32::from_be_bytes(*id), value)),
        _ => Err(unframed(bytes)),
    }
}

/// Begins a value whose schema has this id.
pub fn begin(id: u32, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.extend(id.to_be_bytes());
}

fn unframed(bytes: &[u8]) -> CodecError {
    let shown = bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default();
    let looks = match bytes {
        [] => "it is empty",
        [MAGIC, ..] => "it ends within the id",
        [b'{' | b'[' | b'"', ..] => "it looks like JSON",
        [b'O', b'b', b'j', 1, ..] => "it looks like an Avro file",
        [0xC3, 0x01, ..] => "it looks like an Avro single object, which has a fingerprint instead of an id",
        [3, 0 | 5, ..] => "it looks like the framing of AWS Glue, which has a UUID instead of an id",
        _ if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(char::is_control)) => {
            "it looks like text"
        }
        _ => "it may be a value without framing, or of another serializer",
    };
    CodecError::new(format!(
        "the value does not begin with a byte 0 and the id of a schema, but with {shown:02x?}: {looks}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_framed_is_told_by_its_looks() {
        let looks = [
            (&b""[..], "empty"),
            (&[0, 0, 1], "within the id"),
            (b"[1]", "JSON"),
            (b"Obj\x01...", "Avro file"),
            (b"plain words", "text"),
            (&[3, 0, 9, 9, 9, 9], "Glue"),
            (&[0xC3, 1, 9, 9, 9, 9], "single object"),
            (&[7, 1, 2, 3, 4, 5], "without framing"),
        ];
        for (bytes, told) in looks {
            let error = split(bytes).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(split(&[0, 0, 0, 1, 2]), Ok((258, &[][..])));
    }
}
