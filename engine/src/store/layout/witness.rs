//! What a state remembers of the topics that it was folded from: which they were, and until when it had all of those that are
//! compacted.

use super::frame::{FrameReader, FrameWriter};
use crate::Result;

const TOPIC_FORMAT: u8 = 1;
const FOLDED_UNTIL_FORMAT: u8 = 1;

/// The stored form of the identity of a topic.
pub(crate) fn encode_topic_identity(identity: &str) -> Vec<u8> {
    let mut frame = FrameWriter::new(TOPIC_FORMAT);
    frame.string(identity);
    frame.finish()
}

/// The identity that [`encode_topic_identity`] stored.
pub(crate) fn decode_topic_identity(stored: &[u8]) -> Result<String> {
    let mut fields = FrameReader::open("the identity of a topic", TOPIC_FORMAT, stored)?;
    let identity = fields.string()?.to_owned();
    fields.finish()?;
    Ok(identity)
}

/// The stored form of a time. One before 1970 is kept as 1970.
pub(crate) fn encode_folded_until(time_ms: i64) -> Vec<u8> {
    let mut frame = FrameWriter::new(FOLDED_UNTIL_FORMAT);
    frame.number(u64::try_from(time_ms).unwrap_or(0));
    frame.finish()
}

/// The time that [`encode_folded_until`] stored.
pub(crate) fn decode_folded_until(stored: &[u8]) -> Result<i64> {
    let mut fields =
        FrameReader::open("the time until which topics were folded", FOLDED_UNTIL_FORMAT, stored)?;
    let time_ms = fields.number_as()?;
    fields.finish()?;
    Ok(time_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(fields: &[u8]) -> Vec<u8> {
        [fields, &crc32c::crc32c(fields).to_be_bytes()].concat()
    }

    #[test]
    fn the_identity_of_a_topic_is_golden() {
        let golden = golden(&[1, 2, b'a', b'b']);
        assert_eq!(encode_topic_identity("ab"), golden);
        assert_eq!(decode_topic_identity(&golden).unwrap(), "ab");
        assert!((0..golden.len()).all(|end| decode_topic_identity(&golden[..end]).is_err()));
        assert_eq!(super::super::topic_key("t-1"), b"\0\0\x0bt-1");
    }

    #[test]
    fn a_time_is_golden() {
        let golden = golden(&[1, 0xac, 2]);
        assert_eq!(encode_folded_until(300), golden);
        assert_eq!(decode_folded_until(&golden).unwrap(), 300);
        assert!((0..golden.len()).all(|end| decode_folded_until(&golden[..end]).is_err()));
        assert_eq!(super::super::folded_until_key(258), [0, 0, 12, 1, 2]);
        assert_eq!(super::super::beginnings_key(258), [0, 0, 13, 1, 2]);
        assert_eq!(encode_folded_until(-1), encode_folded_until(0));
    }
}
