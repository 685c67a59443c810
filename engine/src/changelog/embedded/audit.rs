//! The look at the write-ahead logs before RocksDB opens them.
//!
//! RocksDB cuts what it takes for a torn end, and deletes what it has read. So what may not be lost is checked before: the
//! writes must follow each other without a gap, from the first log that is needed to the last one; where reading stops,
//! nothing valid may follow; and the last write must not lie before the one that was noted as synced. What is torn and
//! was not synced is left to RocksDB.

use super::layout::{RecordKey, Slot};
use super::manifest::Manifest;
use super::synced::Synced;
use super::wal;
use crate::changelog::frame::{FrameHeader, read_slice, read_varint};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the look has found.
#[derive(Debug)]
pub(super) enum Finding {
    Whole,
    /// The last log has a torn end behind this many bytes.
    Torn(PathBuf, u64),
    Damaged(Damage),
}

/// Something that was written is not there any more.
#[derive(Debug)]
pub(super) struct Damage {
    /// What, and where.
    pub(super) what: String,
    /// What would have to be given up to go on: everything in this file from here on, and these files.
    pub(super) given_up: Option<(PathBuf, u64, Vec<PathBuf>)>,
    /// Where partitions end before the damage, as far as the logs tell.
    pub(super) ends: BTreeMap<Slot, u64>,
    /// Where they go on behind it, or how far they were durable.
    pub(super) beyond: BTreeMap<Slot, Beyond>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    GoesOnAt(u64),
    WasDurableTo(u64),
}

/// What was found so far.
#[derive(Default)]
struct Audit {
    /// The number of the write that must come next.
    next: Option<u64>,
    ends: BTreeMap<Slot, u64>,
    torn: Option<(PathBuf, u64)>,
}

/// Looks at the logs in `dir`.
pub(super) fn look(dir: &Path, synced: Option<&Synced>) -> io::Result<Finding> {
    let manifest = Manifest::read(dir)?;
    if let Some(Manifest { path, readable: wal::Readable { broken: Some(broken), .. }, .. }) = &manifest
        && broken.valid_behind.is_some()
    {
        let what = format!("{} is damaged at byte {}", file_name(path), broken.at);
        let (ends, beyond) = (BTreeMap::new(), BTreeMap::new());
        return Ok(Finding::Damaged(Damage { what, given_up: None, ends, beyond }));
    }
    let least = manifest.and_then(|manifest| manifest.least_wal);
    let logs = logs(dir, least.unwrap_or(0))?;
    let mut audit = Audit::default();
    for (at, path) in logs.iter().enumerate() {
        let later = logs.get(at + 1..).unwrap_or_default();
        if let Some(damage) = audit.read(path, later)? {
            return Ok(Finding::Damaged(damage));
        }
        if least.is_none() {
            // Which logs are obsolete is not known, nor then which writes must follow which.
            audit.next = None;
        }
    }
    if let (Some(synced), Some(next)) = (synced, audit.next)
        && next <= synced.sequence
    {
        return Ok(Finding::Damaged(audit.short(synced, next)));
    }
    Ok(audit.torn.map_or(Finding::Whole, |(path, end)| Finding::Torn(path, end)))
}

impl Audit {
    /// Reads one log; `later` are those after it.
    fn read(&mut self, path: &Path, later: &[PathBuf]) -> io::Result<Option<Damage>> {
        let bytes = fs::read(path)?;
        let mut gap = None;
        let readable = wal::read(&bytes, &mut |at, record| {
            let Some(write) = Write::read(record).filter(|_| gap.is_none()) else { return };
            match self.next.filter(|&next| write.first > next) {
                Some(next) => gap = Some((at, next, write.first)),
                None => {
                    self.next = Some(self.next.unwrap_or(0).max(write.first + write.count));
                    write.batches(|slot, (_, end)| {
                        self.ends.insert(slot, end);
                    });
                }
            }
        });
        let (what, cut, behind) = match (gap, readable.broken) {
            (Some((at, next, first)), _) => {
                let what = format!("before byte {at} of {} the writes {next} to {} are missing", file_name(path), first - 1);
                // What was torn in the file before is part of the gap.
                match self.torn.take() {
                    Some((torn, end)) if at == 0 => {
                        let later = [&[path.to_owned()], later].concat();
                        return Ok(Some(self.damage(what, Some((torn, end, later)), &bytes, at)));
                    }
                    _ => (what, at, at),
                }
            }
            (None, Some(wal::Broken { at, valid_behind: Some(behind) })) => {
                (format!("{} is damaged at byte {at}", file_name(path)), readable.end, behind)
            }
            (None, Some(_)) => {
                self.torn = Some((path.to_owned(), readable.end as u64));
                return Ok(None);
            }
            (None, None) => return Ok(None),
        };
        let given_up = (path.to_owned(), cut as u64, later.to_owned());
        Ok(Some(self.damage(what, Some(given_up), &bytes, behind)))
    }

    fn damage(
        &mut self,
        what: String,
        given_up: Option<(PathBuf, u64, Vec<PathBuf>)>,
        bytes: &[u8],
        behind: usize,
    ) -> Damage {
        let mut beyond = BTreeMap::new();
        wal::read_from(bytes, behind, &mut |_, record| {
            if let Some(write) = Write::read(record) {
                write.batches(|slot, (first, _)| {
                    beyond.entry(slot).or_insert(Beyond::GoesOnAt(first));
                });
            }
        });
        Damage { what, given_up, ends: std::mem::take(&mut self.ends), beyond }
    }

    /// The log ends before what was noted as synced.
    fn short(self, synced: &Synced, next: u64) -> Damage {
        let missing = synced.ends.iter().filter(|(slot, end)| self.ends.get(slot).is_none_or(|found| found < end));
        let beyond = missing.map(|&(slot, end)| (slot, Beyond::WasDurableTo(end))).collect();
        let what = format!("its newest writes, {next} to {}, were durable and are missing", synced.sequence);
        Damage { what, given_up: None, ends: self.ends, beyond }
    }
}

/// One write, as it lies in a log.
struct Write<'a> {
    first: u64,
    count: u64,
    rest: &'a [u8],
}

impl<'a> Write<'a> {
    fn read(record: &'a [u8]) -> Option<Self> {
        let (first, rest) = record.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        Some(Self { first: u64::from_le_bytes(*first), count: u32::from_le_bytes(*count).into(), rest })
    }

    /// Visits the batches of records, with their offsets from the first to the one after the last.
    fn batches(self, mut visit: impl FnMut(Slot, (u64, u64))) {
        let mut rest = self.rest;
        while let Some((key, value)) = next_row(&mut rest) {
            let header = value.and_then(|frame| FrameHeader::read(frame).ok());
            if let (Some(key), Some(header)) = (key.and_then(RecordKey::read), header) {
                visit(key.slot, (key.base_offset, key.base_offset + u64::from(header.records)));
            }
        }
    }
}

/// The key, if it is one of a column family but the first, and what is put there.
type LoggedRow<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// The next row of a write; `None` at the end, or where there is something that this log never writes.
fn next_row<'a>(rest: &mut &'a [u8]) -> Option<LoggedRow<'a>> {
    let (&kind, tail) = rest.split_first()?;
    *rest = tail;
    // 0 and 4 delete, 1 and 5 put; 4 and 5 name a column family.
    if kind > 5 {
        return None;
    }
    if kind >= 4 {
        read_varint(rest)?;
    }
    let key = read_slice(rest)?;
    let value = if kind % 4 == 1 { Some(read_slice(rest)?) } else { None };
    Some(((kind >= 4).then_some(key), value))
}

/// The write-ahead logs from the number `least` on, in their order.
fn logs(dir: &Path, least: u64) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if path.extension().is_some_and(|extension| extension == "log") {
            logs.extend(number.filter(|&number| number >= least).map(|number| (number, path)));
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether `dir` holds parts of a log, but nothing that tells RocksDB so: it would begin a new one and delete them.
pub(super) fn is_headless(dir: &Path) -> io::Result<bool> {
    if dir.join("CURRENT").try_exists()? {
        return Ok(false);
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sst" || extension == "log") {
            return Ok(true);
        }
    }
    Ok(false)
}
