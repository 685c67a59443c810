//! What RocksDB's manifest says of a database before RocksDB opens it: its column families, and which write-ahead logs
//! would still be read.
//!
//! A log below the least number is obsolete: it may be there, whole, torn or not at all. The manifest is read only, and
//! only as far as it must be understood to pass over the rest; `None` if it cannot be, which RocksDB then reports itself.
//!
//! RocksDB is not asked to list the families: with some torn ends its listing never comes to an end.

use super::log_file::{self, Readable};
use crate::varint::{read_slice, read_varint};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The column family that every database has, and its number.
const DEFAULT: (u64, &str) = (0, "default");

/// What is known of the manifest in use.
pub(crate) struct Manifest {
    pub(crate) path: PathBuf,
    /// How far it can be read.
    pub(crate) readable: Readable,
    /// What it says up to there, if it can be understood.
    edits: Option<Edits>,
}

impl Manifest {
    /// Reads the manifest that `CURRENT` names; `None` if that cannot be told.
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let Some((path, bytes)) = log_file::manifest(dir)? else { return Ok(None) };
        let mut edits = Some(Edits::default());
        let readable = log_file::read(&bytes, &mut |_, record| {
            edits = edits.take().and_then(|edits| edits.with(record));
        });
        Ok(Some(Self { path, readable, edits }))
    }

    /// The least number of a write-ahead log that is needed.
    pub(crate) fn least_wal(&self) -> Option<u64> {
        let edits = self.edits.as_ref()?;
        Some(edits.least_kept.max(*edits.first_wals.values().min()?))
    }

    /// The names of the column families.
    pub(crate) fn families(&self) -> Option<Vec<String>> {
        Some(self.edits.as_ref()?.families.values().cloned().collect())
    }
}

struct Edits {
    families: BTreeMap<u64, String>,
    /// The first log with something of each column family that is in no table yet.
    first_wals: BTreeMap<u64, u64>,
    least_kept: u64,
}

impl Default for Edits {
    fn default() -> Self {
        let (number, name) = DEFAULT;
        let families = BTreeMap::from([(number, name.to_owned())]);
        Self { families, first_wals: BTreeMap::new(), least_kept: 0 }
    }
}

impl Edits {
    fn with(mut self, mut edit: &[u8]) -> Option<Self> {
        let rest = &mut edit;
        let (mut family, mut first_wal, mut added, mut dropped) = (0, None, None, false);
        while !rest.is_empty() {
            match read_varint(rest)? {
                2 => first_wal = Some(read_varint(rest)?),
                10 => self.least_kept = self.least_kept.max(read_varint(rest)?),
                200 => family = read_varint(rest)?,
                201 => added = Some(String::from_utf8(read_slice(rest)?.to_vec()).ok()?),
                202 => dropped = true,
                other => pass_over(other, rest)?,
            }
        }
        if let Some(name) = added {
            self.families.insert(family, name);
        }
        if dropped {
            self.families.remove(&family);
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
        // The comparator.
        1 => texts(rest, 1),
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
