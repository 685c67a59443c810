//! The identity of a state, as it is stored: it tells this state from every other one, also of the same service.

use super::frame::{FrameReader, FrameWriter};
use crate::Result;

const IDENTITY_FORMAT: u8 = 1;

/// The stored form of an identity.
pub(crate) fn encode_identity(identity: &str) -> Vec<u8> {
    let mut frame = FrameWriter::new(IDENTITY_FORMAT);
    frame.string(identity);
    frame.finish()
}

/// The identity that [`encode_identity`] stored.
pub(crate) fn decode_identity(stored: &[u8]) -> Result<String> {
    let mut fields = FrameReader::open("the identity of the state", IDENTITY_FORMAT, stored)?;
    let identity = fields.string()?.to_owned();
    fields.finish()?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_golden() {
        let golden = [&[1, 2, b'a', b'b'][..], &crc32c::crc32c(&[1, 2, b'a', b'b']).to_be_bytes()].concat();
        assert_eq!(encode_identity("ab"), golden);
        assert_eq!(decode_identity(&golden).unwrap(), "ab");
        assert!((0..golden.len()).all(|end| decode_identity(&golden[..end]).is_err()));
    }
}
