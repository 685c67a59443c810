//! The synced end: a note beside the log of how far it was durable.
//!
//! A write-ahead log that was cut exactly between two records, or is gone, looks as if less had been written. So after
//! every sync and before anyone is told, a few bytes say how far the log had come by then. The note itself is not
//! synced: it is written after what it speaks of became durable, so whatever is found of it is true, and a loss of power
//! takes back only that it is up to date. Nothing is said of what was not synced, which a loss of power may take.
//!
//! ```text
//! file  two slots of 1 KiB, written in turn; the greater sequence counts
//! slot  magic "MPS", version 1, crc32c u32 of the rest,
//!       sequence u64, records u64, topics u32, count u16, { topic u32, partition u32, end u64 } (little-endian)
//! ```

use super::database::Database;
use super::index::{Index, IndexedPartition};
use super::layout::PartitionSlot;
use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

const NAME: &str = "millpond.synced";
const SLOT_BYTES: usize = 1 << 10;
const MAGIC: [u8; 4] = *b"MPS\x01";

/// So many partitions are told of, those that were appended to last: it is they that a lost end would be missing from.
const MOST_ENDS: usize = 32;

/// How far a log was durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Synced {
    /// RocksDB's number of the last write.
    pub(super) sequence: u64,
    /// The sum of the ends of all partitions.
    pub(super) records: u64,
    pub(super) topics: u32,
    /// Where partitions ended, those that were appended to last.
    pub(super) ends: Vec<(PartitionSlot, u64)>,
}

impl Synced {
    /// The note in `dir`; `None` if there is none, as beside logs of earlier releases.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        match File::open(dir.join(NAME)) {
            Ok(file) => file.take(2 * SLOT_BYTES as u64).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let slots = bytes.chunks(SLOT_BYTES).filter_map(Self::decode);
        Ok(slots.max_by_key(|synced| (synced.sequence, synced.records)))
    }

    /// Takes in that `slot` now ends at `end`.
    pub(super) fn moved(&mut self, slot: PartitionSlot, end: u64) {
        self.ends.retain(|(known, _)| *known != slot);
        self.ends.insert(0, (slot, end));
        self.ends.truncate(MOST_ENDS);
    }

    fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(SLOT_BYTES);
        rest.extend(self.sequence.to_le_bytes());
        rest.extend(self.records.to_le_bytes());
        rest.extend(self.topics.to_le_bytes());
        let ends = self.ends.iter().take(MOST_ENDS);
        rest.extend(u16::try_from(ends.len()).unwrap_or_default().to_le_bytes());
        for (slot, end) in ends {
            rest.extend(slot.topic.to_le_bytes());
            rest.extend(slot.partition.to_le_bytes());
            rest.extend(end.to_le_bytes());
        }
        let mut out = MAGIC.to_vec();
        out.extend(crc32c::crc32c(&rest).to_le_bytes());
        out.extend(rest);
        out
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let rest = &mut slot.strip_prefix(&MAGIC)?;
        let stored = u32::from_le_bytes(take(rest)?);
        let body = *rest;
        let mut synced = Self {
            sequence: u64::from_le_bytes(take(rest)?),
            records: u64::from_le_bytes(take(rest)?),
            topics: u32::from_le_bytes(take(rest)?),
            ends: Vec::new(),
        };
        for _ in 0..u16::from_le_bytes(take(rest)?) {
            let (topic, partition) = (u32::from_le_bytes(take(rest)?), u32::from_le_bytes(take(rest)?));
            synced.ends.push((PartitionSlot { topic, partition }, u64::from_le_bytes(take(rest)?)));
        }
        let checked = body.get(..body.len() - rest.len())?;
        (crc32c::crc32c(checked) == stored).then_some(synced)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*field)
}

/// How far the log is, and the note that follows it.
pub(super) struct SyncProgress {
    now: Synced,
    note: Note,
}

impl SyncProgress {
    /// What was recovered is what counts from now on.
    pub(super) fn begin(database: &Database, index: &Index) -> Result<Self> {
        let now = Synced {
            sequence: database.last_write()?,
            records: index.partitions().map(|(_, partition)| partition.end).sum(),
            topics: u32::try_from(index.topics().count()).unwrap_or(u32::MAX),
            ends: Vec::new(),
        };
        let note = Note::begin(database.dir(), &now).map_err(|error| unwritten(database, error))?;
        Ok(Self { now, note })
    }

    /// Takes in that a batch of `records` was stored, after which `slot` ends at `end`.
    pub(super) fn moved(&mut self, slot: PartitionSlot, end: u64, records: u32) {
        self.now.records += u64::from(records);
        self.now.moved(slot, end);
    }

    /// Takes in that there is one more topic.
    pub(super) fn added_topic(&mut self) {
        self.now.topics += 1;
    }

    /// Notes that everything so far is durable.
    pub(super) fn synced(&mut self, database: &Database) -> Result<()> {
        self.now.sequence = database.last_write()?;
        self.note.write(&self.now).map_err(|error| unwritten(database, error))
    }

    /// Makes the last note durable.
    pub(super) fn sync(&self, database: &Database) -> Result<()> {
        self.note.sync().map_err(|error| unwritten(database, error))
    }
}

fn unwritten(database: &Database, error: io::Error) -> Error {
    let message =
        "how far it is durable could not be noted; look for space and permissions, then open it again";
    database.name(Error::unavailable(message).with_source(error))
}

impl Index {
    /// Refuses a log that has less than was noted as durable; its last write has the number `last_write`. Not every write
    /// is one of records: what is to be kept, and for whom, is one too.
    pub(super) fn check_synced(&self, synced: &Synced, last_write: u64) -> Result<()> {
        let records: u64 = self.partitions().map(|(_, partition)| partition.end).sum();
        let missing = synced.ends.iter().filter_map(|&(slot, end)| match self.partition(slot) {
            Ok(partition) if partition.end >= end => None,
            Ok(IndexedPartition { name, end: found, .. }) => {
                Some(format!("{name} was durable up to offset {end} and ends at {found}"))
            }
            Err(_) => Some(format!("topic {} is missing", slot.topic)),
        });
        let missing: Vec<_> = missing.take(4).collect();
        let places =
            [String::new()].into_iter().chain(missing.iter().cloned()).collect::<Vec<_>>().join(": ");
        let topics = u32::try_from(self.topics().count()).unwrap_or(u32::MAX);
        let written = last_write >= synced.sequence;
        if missing.is_empty() && records >= synced.records && topics >= synced.topics && written {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "of {} records in {} topics and {} writes that were durable, {records} in {topics} and {last_write} are left or were \
             trimmed{places}; restore it from a copy, or open it with `salvage` to go on with what is left",
            synced.records, synced.topics, synced.sequence
        )))
    }
}

/// The file with the note, open for writing.
#[derive(Debug)]
struct Note {
    file: File,
    second: bool,
}

impl Note {
    /// Begins anew: from here on `synced` holds.
    fn begin(dir: &Path, synced: &Synced) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(NAME))?;
        let mut note = Self { file, second: false };
        note.write(synced)?;
        note.write(synced)?;
        note.file.sync_data()?;
        Ok(note)
    }

    /// Writes the note, over the older of the two that are there.
    fn write(&mut self, synced: &Synced) -> io::Result<()> {
        let at = if self.second { SLOT_BYTES as u64 } else { 0 };
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(&synced.encode())?;
        self.second = !self.second;
        Ok(())
    }

    /// Makes the last note durable.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Synced {
        let ends = vec![(PartitionSlot { topic: 1, partition: 2 }, sequence * 3)];
        Synced { sequence, records: sequence * 10, topics: 4, ends }
    }

    #[test]
    fn the_note_is_golden() {
        let rest = [
            &[7, 0, 0, 0, 0, 0, 0, 0][..],
            &[70, 0, 0, 0, 0, 0, 0, 0],
            &[4, 0, 0, 0],
            &[1, 0],
            &[1, 0, 0, 0, 2, 0, 0, 0, 21, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let encoded = at(7).encode();
        assert_eq!(encoded, [b"MPS\x01", &crc32c::crc32c(&rest).to_le_bytes()[..], &rest].concat());
        assert_eq!(Synced::decode(&encoded), Some(at(7)));
    }

    #[test]
    fn a_torn_note_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Synced::read(dir.path()).unwrap(), None);
        let mut note = Note::begin(dir.path(), &at(1)).unwrap();
        note.write(&at(2)).unwrap();
        note.write(&at(3)).unwrap();
        assert_eq!(Synced::read(dir.path()).unwrap(), Some(at(3)));
        let path = dir.path().join(NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SLOT_BYTES + 9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Synced::read(dir.path()).unwrap(), Some(at(2)));
        // Beginning anew forgets what is greater.
        Note::begin(dir.path(), &at(1)).unwrap();
        assert_eq!(Synced::read(dir.path()).unwrap(), Some(at(1)));
    }

    #[test]
    fn the_ends_told_of_are_those_that_moved_last() {
        let mut synced = Synced::default();
        for end in 0..100 {
            synced.moved(PartitionSlot { topic: 0, partition: 5 }, end);
            synced.moved(PartitionSlot { topic: 1, partition: u32::try_from(end).unwrap() }, end);
        }
        assert_eq!(synced.ends.len(), MOST_ENDS);
        assert_eq!(synced.ends[1], (PartitionSlot { topic: 0, partition: 5 }, 99));
        assert_eq!(Synced::decode(&synced.encode()), Some(synced));
    }
}
