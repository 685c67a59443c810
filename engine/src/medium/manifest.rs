//! What RocksDB's manifest says of a database before RocksDB opens it: its column families and their files, and which
//! write-ahead logs would still be read.
//!
//! A log below the least number is obsolete: it may be there, whole, torn or not at all. The manifest is read only, and
//! only as far as it must be understood to pass over the rest; `None` if it cannot be, which RocksDB then reports itself.
//!
//! RocksDB is not asked to list the families: with some torn ends its listing never comes to an end.

use super::log_file::{self, ReadableExtent};
use crate::varint::{read_slice, read_varint};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The column family that every database has, and its number.
const DEFAULT: (u64, &str) = (0, "default");

/// What is known of the manifest in use.
pub(crate) struct Manifest {
    pub(crate) path: PathBuf,
    /// How far it can be read.
    pub(crate) readable: ReadableExtent,
    /// How many records can be read.
    records: usize,
    /// What it says up to there, if it can be understood.
    edits: Option<Edits>,
}

impl Manifest {
    /// Reads the manifest that `CURRENT` names; `None` if that cannot be told.
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let Some((path, bytes)) = log_file::manifest(dir)? else { return Ok(None) };
        Ok(Some(Self::of(path, &bytes, &mut |_, _| {})))
    }

    /// What `bytes`, those of the manifest in `path`, say; `each` is told what is known after so many records.
    fn of(path: PathBuf, bytes: &[u8], each: &mut dyn FnMut(usize, &Edits)) -> Self {
        let (mut edits, mut records) = (Some(Edits::default()), 0);
        let readable = log_file::read(bytes, &mut |_, record| {
            edits = edits.take().and_then(|edits| edits.with(record));
            records += 1;
            if let Some(edits) = &edits {
                each(records, edits);
            }
        });
        Self { path, readable, records, edits }
    }

    /// Whether there is a moment, not before that of `self`, at which the families of these names had just `files`. The
    /// database may have gone on, and go on.
    pub(crate) fn comes_to(&self, dir: &Path, families: &[&str], files: &BTreeSet<u64>) -> io::Result<bool> {
        let Some((path, bytes)) = log_file::manifest(dir)? else { return Ok(false) };
        // Another manifest begins with what there was, part by part.
        let goes_on = path == self.path;
        let mut found = false;
        let now = Self::of(path, &bytes, &mut |records, edits| {
            found |= goes_on && records >= self.records && edits.files_of(families).keys().eq(files);
        });
        Ok(found || now.files(families).is_some_and(|now| now.keys().eq(files)))
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

    /// The sorted files of the column families of these names, by their numbers, each with its size in bytes.
    pub(crate) fn files(&self, families: &[&str]) -> Option<BTreeMap<u64, u64>> {
        Some(self.edits.as_ref()?.files_of(families))
    }
}

struct Edits {
    families: BTreeMap<u64, String>,
    /// The size of each file, by column family and number.
    files: BTreeMap<(u64, u64), u64>,
    /// The first log with something of each column family that is in no table yet.
    first_wals: BTreeMap<u64, u64>,
    least_kept: u64,
}

impl Default for Edits {
    fn default() -> Self {
        let (number, name) = DEFAULT;
        let families = BTreeMap::from([(number, name.to_owned())]);
        Self { families, files: BTreeMap::new(), first_wals: BTreeMap::new(), least_kept: 0 }
    }
}

impl Edits {
    fn files_of(&self, families: &[&str]) -> BTreeMap<u64, u64> {
        let named = |family| self.families.get(family).is_some_and(|name| families.contains(&name.as_str()));
        let files = self.files.iter().filter(|((family, _), _)| named(family));
        files.map(|(&(_, number), &bytes)| (number, bytes)).collect()
    }

    fn with(mut self, mut edit: &[u8]) -> Option<Self> {
        let rest = &mut edit;
        let (mut family, mut first_wal, mut added, mut dropped) = (0, None, None, false);
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        while !rest.is_empty() {
            match read_varint(rest)? {
                2 => first_wal = Some(read_varint(rest)?),
                10 => self.least_kept = self.least_kept.max(read_varint(rest)?),
                200 => family = read_varint(rest)?,
                201 => added = Some(String::from_utf8(read_slice(rest)?.to_vec()).ok()?),
                202 => dropped = true,
                6 => {
                    let _level = read_varint(rest)?;
                    gone.push(read_varint(rest)?);
                }
                tag @ (7 | 100 | 102 | 103) => new.push(new_file(tag, rest)?),
                other => pass_over(other, rest)?,
            }
        }
        if let Some(name) = added {
            self.families.insert(family, name);
        }
        for number in gone {
            self.files.remove(&(family, number));
        }
        self.files.extend(new.into_iter().map(|(number, bytes)| ((family, number), bytes)));
        if dropped {
            self.families.remove(&family);
            self.files.retain(|&(of, _), _| of != family);
            self.first_wals.remove(&family);
        } else if let Some(first_wal) = first_wal {
            self.first_wals.insert(family, first_wal);
        }
        Some(self)
    }
}

/// The number and the size of a new file, as four releases of RocksDB wrote them.
fn new_file(tag: u64, rest: &mut &[u8]) -> Option<(u64, u64)> {
    let _level = read_varint(rest)?;
    let number = read_varint(rest)?;
    if tag == 102 {
        let _path = read_varint(rest)?;
    }
    let bytes = read_varint(rest)?;
    let _keys = (read_slice(rest)?, read_slice(rest)?);
    if tag != 7 {
        let _sequences = (read_varint(rest)?, read_varint(rest)?);
    }
    // Whatever else is said of it, until an end.
    while tag == 103 && read_varint(rest)? != 1 {
        read_slice(rest)?;
    }
    Some((number, bytes))
}

/// Passes over the fields of an entry that is of no interest.
fn pass_over(tag: u64, rest: &mut &[u8]) -> Option<()> {
    match tag {
        // Next file, last sequence, previous log, greatest column family, atomic group.
        3 | 4 | 9 | 203 | 300 => read_varint(rest).map(drop),
        // The comparator.
        1 => read_slice(rest).map(drop),
        // A compaction cursor.
        5 => read_varint(rest).and_then(|_| read_slice(rest)).map(drop),
        // What RocksDB says may be passed over.
        other if other & (1 << 13) != 0 => read_slice(rest).map(drop),
        _ => None,
    }
}
