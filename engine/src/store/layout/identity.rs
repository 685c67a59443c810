//! The identity of a state, as it is stored: it tells this state from every other one, also of the same service. And that of
//! the term in which it was drained, which tells the log it was folded from; and the name of the service whose it is.

use super::frame::{FrameReader, FrameWriter};
use crate::Result;
use crate::changelog::TermId;

const IDENTITY_FORMAT: u8 = 1;
const TERM_FORMAT: u8 = 1;
const SERVICE_FORMAT: u8 = 1;

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

/// The stored form of the name of a service.
pub(crate) fn encode_service(name: &str) -> Vec<u8> {
    let mut frame = FrameWriter::new(SERVICE_FORMAT);
    frame.string(name);
    frame.finish()
}

/// The name that [`encode_service`] stored.
pub(crate) fn decode_service(stored: &[u8]) -> Result<String> {
    let mut fields = FrameReader::open("the name of the service", SERVICE_FORMAT, stored)?;
    let name = fields.string()?.to_owned();
    fields.finish()?;
    Ok(name)
}

/// The stored form of a term.
pub(crate) fn encode_term(term: &TermId) -> Vec<u8> {
    let mut frame = FrameWriter::new(TERM_FORMAT);
    frame.number(term.number);
    frame.string(&term.identity);
    frame.finish()
}

/// The term that [`encode_term`] stored.
pub(crate) fn decode_term(stored: &[u8]) -> Result<TermId> {
    let mut fields = FrameReader::open("the term of the changelog", TERM_FORMAT, stored)?;
    let number = fields.number()?;
    let identity = fields.string()?.to_owned();
    fields.finish()?;
    Ok(TermId { number, identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_golden() {
        let fields = [1, 7, 2, b'a', b'b'];
        let golden = [&fields[..], &crc32c::crc32c(&fields).to_be_bytes()].concat();
        let term = TermId { number: 7, identity: "ab".into() };
        assert_eq!(encode_term(&term), golden);
        assert_eq!(decode_term(&golden).unwrap(), term);
        assert!((0..golden.len()).all(|end| decode_term(&golden[..end]).is_err()));
    }

    #[test]
    fn an_identity_and_a_name_are_golden() {
        let golden = [&[1, 2, b'a', b'b'][..], &crc32c::crc32c(&[1, 2, b'a', b'b']).to_be_bytes()].concat();
        assert_eq!((encode_identity("ab"), encode_service("ab")), (golden.clone(), golden.clone()));
        assert_eq!(
            (decode_identity(&golden).unwrap(), decode_service(&golden).unwrap()),
            ("ab".into(), "ab".into())
        );
        let cut = |end| decode_identity(&golden[..end]).is_err() && decode_service(&golden[..end]).is_err();
        assert!((0..golden.len()).all(cut));
    }
}
