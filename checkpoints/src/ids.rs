//! The ids of checkpoints: a number, which tells the newest, and the hash of the manifest, so that it proves itself.
//!
//! Two who save at once may have the same number; the hash tells them apart, and either is as new as the other.

use sha2::{Digest, Sha256};
use std::hash::{BuildHasher, RandomState};

/// How many letters of the hash are in an id.
const HASH_LETTERS: usize = 32;

const NUMBER_LETTERS: usize = 10;

/// The id of the checkpoint of this number whose manifest has these bytes.
pub(crate) fn of_manifest(number: u64, bytes: &[u8]) -> String {
    let hash: String = sha256(bytes).chars().take(HASH_LETTERS).collect();
    format!("{number:0NUMBER_LETTERS$}-{hash}")
}

/// The number in an id; none for what is no id.
pub(crate) fn number(id: &str) -> Option<u64> {
    let (number, hash) = id.split_once('-')?;
    let is_hash = hash.len() == HASH_LETTERS && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash && number.len() == NUMBER_LETTERS).then(|| number.parse().ok()).flatten()
}

/// Whether these are the bytes of the manifest of `id`.
pub(crate) fn fits(id: &str, bytes: &[u8]) -> bool {
    number(id).is_some_and(|number| of_manifest(number, bytes) == id)
}

/// A name that occurs nowhere else.
pub(crate) fn unique() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_number_and_proves_its_manifest() {
        let id = of_manifest(7, b"abc");
        // As `sha256sum` says.
        assert_eq!(id, "0000000007-ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(number(&id), Some(7));
        assert!(fits(&id, b"abc") && !fits(&id, b"abd"));
        assert!(of_manifest(9, b"") < of_manifest(10, b""));
        for other in
            ["", "-", "1-2", "0000000007-", ".DS_Store", "0000000007-ba7816bf8f01cfea414140de5dae222"]
        {
            assert_eq!(number(other), None, "{other}");
        }
        assert_ne!(unique(), unique());
    }
}
