//! The file format that RocksDB's write-ahead logs and manifests have in common, read by ourselves.
//!
//! RocksDB tells a write that was torn at the end from damage by where its reader gives up, and a flipped bit in a length
//! makes it give up early: it then takes what comes behind for the torn end and drops it. Here the question is another
//! one: is there anything valid behind the place that cannot be read? A torn end has nothing behind it.
//!
//! ```text
//! file      blocks of 32 KiB; the last 6 bytes or fewer of a block are not used
//! fragment  masked crc32c u32, length u16 (little-endian), kind u8, [log number u32,] payload; never across blocks
//! record    one fragment of kind 1 (or 5), or kinds 2, 3, .., 4 (6, 7, .., 8)
//! ```

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;

/// How far a file can be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReadableExtent {
    /// The end of the last whole record.
    pub(crate) end: usize,
    /// Where reading stopped before the end of the file, if it did.
    pub(crate) broken: Option<Broken>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) at: usize,
    /// Where something valid follows nevertheless: then it is no torn end.
    pub(crate) valid_behind: Option<usize>,
}

/// What a fragment is of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    First,
    Middle,
    Last,
    /// Something about the file, not a record of it.
    Notice,
}

struct Fragment {
    kind: Kind,
    payload: Range<usize>,
}

/// The manifest that is in use in `dir`, with its bytes; `None` if that cannot be told, which RocksDB then says itself.
pub(crate) fn manifest(dir: &Path) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    let Some(path) = manifest_path(dir)? else { return Ok(None) };
    match fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the manifest is that is in use in `dir`, if that can be told.
pub(crate) fn manifest_path(dir: &Path) -> io::Result<Option<PathBuf>> {
    let current = match fs::read(dir.join("CURRENT")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        current => current?,
    };
    let name = std::str::from_utf8(&current).unwrap_or_default().trim_end();
    Ok((name.starts_with("MANIFEST-") && !name.contains('/')).then(|| dir.join(name)))
}

/// Whether `dir` is that of a database. One that cannot be looked into is not.
pub(crate) fn is_of_a_database(dir: &Path) -> bool {
    manifest_path(dir).is_ok_and(|path| path.is_some())
}

/// Hands the records of `bytes` to `visit`, each with where it begins.
pub(crate) fn read(bytes: &[u8], visit: &mut dyn FnMut(usize, &[u8])) -> ReadableExtent {
    read_from(bytes, 0, visit)
}

/// As [`read`], from the fragment at `start` on; the rest of a record that began before it is passed over.
pub(crate) fn read_from(bytes: &[u8], start: usize, visit: &mut dyn FnMut(usize, &[u8])) -> ReadableExtent {
    let mut resuming = start > 0;
    let (mut at, mut end) = (start, start);
    let mut open: Option<(usize, Vec<u8>)> = None;
    loop {
        at = skip_trailer(at);
        if at >= bytes.len() {
            let broken = open.map(|(began, _)| Broken { at: began, valid_behind: None });
            return ReadableExtent { end, broken };
        }
        let Some(Fragment { kind, payload }) = fragment(bytes, at) else {
            return ReadableExtent { end, broken: Some(Broken { at, valid_behind: valid_from(bytes, at) }) };
        };
        let part = bytes.get(payload.clone()).unwrap_or_default();
        match (kind, &mut open) {
            (Kind::Notice, _) => {}
            (Kind::Full, None) => visit(at, part),
            (Kind::First, None) => open = Some((at, part.to_vec())),
            (Kind::Middle | Kind::Last, Some((_, record))) => record.extend_from_slice(part),
            (Kind::Middle | Kind::Last, None) if resuming => {}
            // The fragment is valid; what should stand before it is not there.
            _ => return ReadableExtent { end, broken: Some(Broken { at, valid_behind: Some(at) }) },
        }
        resuming &= matches!(kind, Kind::Middle | Kind::Notice);
        at = payload.end;
        if kind == Kind::Last
            && let Some((began, record)) = open.take()
        {
            visit(began, &record);
        }
        if open.is_none() {
            end = at;
        }
    }
}

fn skip_trailer(at: usize) -> usize {
    let left = BLOCK_BYTES - at % BLOCK_BYTES;
    if left < HEADER_BYTES { at + left } else { at }
}

/// The fragment at `at`, if its checksum holds.
fn fragment(bytes: &[u8], at: usize) -> Option<Fragment> {
    let block_end = (at + BLOCK_BYTES - at % BLOCK_BYTES).min(bytes.len());
    let rest = bytes.get(at..block_end)?;
    let (stored, rest) = rest.split_first_chunk::<4>()?;
    let (length, checked) = rest.split_first_chunk::<2>()?;
    let (kind, extra) = match *checked.first()? {
        1 => (Kind::Full, 0),
        2 => (Kind::First, 0),
        3 => (Kind::Middle, 0),
        4 => (Kind::Last, 0),
        5 => (Kind::Full, 4),
        6 => (Kind::First, 4),
        7 => (Kind::Middle, 4),
        8 => (Kind::Last, 4),
        9 | 10 | 130 => (Kind::Notice, 0),
        11 | 131 => (Kind::Notice, 4),
        _ => return None,
    };
    let length = usize::from(u16::from_le_bytes(*length));
    let checked = checked.get(..1 + extra + length)?;
    let begin = at + HEADER_BYTES + extra;
    (masked(crc32c::crc32c(checked)) == u32::from_le_bytes(*stored))
        .then_some(Fragment { kind, payload: begin..begin + length })
}

/// RocksDB stores checksums so that one of bytes which hold checksums is not weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The first place at or behind `at` where a valid fragment begins.
fn valid_from(bytes: &[u8], at: usize) -> Option<usize> {
    (at..bytes.len()).find(|&at| fragment(bytes, at).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as RocksDB lays them out.
    fn written(records: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for record in records {
            let (mut rest, mut first) = (record.as_slice(), true);
            loop {
                let left = BLOCK_BYTES - out.len() % BLOCK_BYTES;
                if left < HEADER_BYTES {
                    out.resize(out.len() + left, 0);
                    continue;
                }
                let (part, tail) = rest.split_at(rest.len().min(left - HEADER_BYTES));
                let kind = match (first, tail.is_empty()) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                let checked = [&[kind], part].concat();
                out.extend(masked(crc32c::crc32c(&checked)).to_le_bytes());
                out.extend(u16::try_from(part.len()).unwrap().to_le_bytes());
                out.extend(checked);
                (rest, first) = (tail, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        out
    }

    fn records() -> Vec<Vec<u8>> {
        let sizes = [0, 1, 500, 70_000, 3, 32_740, 10, 32_768 - 7, 32_768 - 14, 5, 100];
        let noise = |size: usize| (0..size).map(|at| ((at * 7 + size) & 0xff).try_into().unwrap()).collect();
        sizes.map(noise).to_vec()
    }

    fn reading(bytes: &[u8]) -> (Vec<Vec<u8>>, ReadableExtent) {
        let mut found = Vec::new();
        let readable = read(bytes, &mut |_, record| found.push(record.to_vec()));
        (found, readable)
    }

    #[test]
    fn whole_files_are_read_to_their_end() {
        let bytes = written(&records());
        assert_eq!(reading(&bytes), (records(), ReadableExtent { end: bytes.len(), broken: None }));
        assert_eq!(reading(&[]), (vec![], ReadableExtent { end: 0, broken: None }));
    }

    #[test]
    fn a_cut_leaves_whole_records_and_nothing_valid_behind() {
        let bytes = written(&records());
        for cut in (0..bytes.len()).step_by(97).chain(bytes.len() - 120..bytes.len()) {
            for zeros in [0, 1, 600, 40_000] {
                let torn = [&bytes[..cut], &vec![0; zeros]].concat();
                let (found, readable) = reading(&torn);
                assert_eq!(found, records()[..found.len()], "{cut}");
                assert!(readable.end <= cut);
                assert_eq!(written(&found).len(), readable.end.min(written(&found).len()));
                assert!(readable.broken.is_none_or(|broken| broken.valid_behind.is_none()), "{cut}");
            }
        }
    }

    #[test]
    fn a_flip_anywhere_but_in_the_last_record_has_something_valid_behind() {
        let bytes = written(&records());
        let last = bytes.len() - HEADER_BYTES - 100;
        for at in (0..last).step_by(61).chain(0..40) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let (found, readable) = reading(&flipped);
            if readable.broken.is_none() {
                // The unused end of a block.
                assert_eq!(found, records());
                continue;
            }
            assert_eq!(found, records()[..found.len()]);
            let behind = readable.broken.and_then(|broken| broken.valid_behind);
            let behind = behind.unwrap_or_else(|| panic!("nothing valid behind {at}"));
            let mut rest = Vec::new();
            read_from(&flipped, behind, &mut |_, record| rest.push(record.to_vec()));
            assert!(records().ends_with(&rest) && !rest.is_empty(), "{at}");
        }
    }

    #[test]
    fn a_hole_of_zeros_is_no_torn_end() {
        let mut bytes = written(&records());
        bytes[40_000..66_000].fill(0);
        assert!(reading(&bytes).1.broken.unwrap().valid_behind.is_some());
    }
}
