//! Which write-ahead logs RocksDB would still read: what its manifest says of them.
//!
//! A log below the least number is obsolete: it may be there, whole, torn or not at all. The manifest is read only, and
//! only as far as it must be understood to pass over the rest; `None` if it cannot be, which RocksDB then reports itself.

use crate::medium::log_file;
use crate::varint::{read_slice, read_varint};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What is known of the manifest in use.
pub(super) struct Manifest {
    pub(super) path: PathBuf,
    /// How far it can be read.
    pub(super) readable: log_file::Readable,
    /// The least number of a write-ahead log that is needed.
    pub(super) least_wal: Option<u64>,
}

impl Manifest {
    /// Reads the manifest that `CURRENT` names; `None` if that cannot be told.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let Some((path, bytes)) = log_file::manifest(dir)? else { return Ok(None) };
        let mut edits = Some(Edits::default());
        let readable = log_file::read(&bytes, &mut |_, record| {
            edits = edits.take().and_then(|edits| edits.with(record));
        });
        Ok(Some(Self { path, readable, least_wal: edits.and_then(|edits| edits.least_wal()) }))
    }
}

#[derive(Default)]
struct Edits {
    /// The first log with something of each column family that is in no table yet.
    first_wals: BTreeMap<u64, u64>,
    least_kept: u64,
}

impl Edits {
    fn least_wal(&self) -> Option<u64> {
        Some(self.least_kept.max(*self.first_wals.values().min()?))
    }

    fn with(mut self, mut edit: &[u8]) -> Option<Self> {
        let rest = &mut edit;
        let (mut family, mut first_wal, mut dropped) = (0, None, false);
        while !rest.is_empty() {
            match read_varint(rest)? {
                2 => first_wal = Some(read_varint(rest)?),
                10 => self.least_kept = self.least_kept.max(read_varint(rest)?),
                200 => family = read_varint(rest)?,
                202 => dropped = true,
                other => pass_over(other, rest)?,
            }
        }
        if dropped {
            self.first_wals.remove(&family);
        } else if let Some(first_wal) = first_wal {
            self.first_wals.insert(family, first_wal);
        }
        Some(self)
    }
}

/// Passes over the fields of an entry that is of no interest.
fn pass_over(tag: u64, rest: &mut &[u8]) -> Option<()> {
    let numbers = |rest: &mut &[u8], count: usize| (0..count).try_for_each(|_| read_varint(rest).map(drop));
    let texts = |rest: &mut &[u8], count: usize| (0..count).try_for_each(|_| read_slice(rest).map(drop));
    match tag {
        // Next file, last sequence, previous log, greatest column family, atomic group.
        3 | 4 | 9 | 203 | 300 => numbers(rest, 1),
        // The comparator, the name of a new column family.
        1 | 201 => texts(rest, 1),
        // A compaction cursor.
        5 => numbers(rest, 1).and_then(|()| texts(rest, 1)),
        // A file that is gone.
        6 => numbers(rest, 2),
        // New files, as four releases wrote them: level, number, size; first and last key; sequences.
        7 => numbers(rest, 3).and_then(|()| texts(rest, 2)),
        100 | 103 => {
            numbers(rest, 3)?;
            texts(rest, 2)?;
            numbers(rest, 2)?;
            // Whatever else is said of it, until an end.
            while tag == 103 && read_varint(rest)? != 1 {
                texts(rest, 1)?;
            }
            Some(())
        }
        102 => {
            numbers(rest, 4)?;
            texts(rest, 2)?;
            numbers(rest, 2)
        }
        // What RocksDB says may be passed over.
        other if other & (1 << 13) != 0 => texts(rest, 1),
        _ => None,
    }
}
