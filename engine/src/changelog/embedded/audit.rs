//! The look at the write-ahead logs before RocksDB opens them.
//!
//! RocksDB cuts what it takes for a torn end, and deletes what it has read. So what may not be lost is checked before: the
//! writes must follow each other without a gap, from the first log that is needed to the last one; where reading stops,
//! nothing valid may follow; and the last write must not lie before the one that was noted as synced. What is torn and
//! was not synced is cut off before RocksDB sees it, since some remains make its reader go round in circles.

use super::layout::{MetaRow, PartitionSlot, RecordKey};
use super::synced::Synced;
use crate::changelog::frame::FrameHeader;
use crate::medium::{Manifest, log_file};
use crate::varint::{read_slice, read_varint};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the look has found.
#[derive(Debug)]
pub(super) enum Finding {
    Whole,
    /// These files have a torn end behind so many bytes.
    Torn(Vec<(PathBuf, u64)>),
    Damaged(Damage),
}

/// Something that was written is not there any more.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// What, and where.
    pub(super) what: String,
    /// Whether it is known how to go on with what lies before it.
    pub(super) can_be_salvaged: bool,
    /// What would have to be given up to go on: everything in this file from here on, and these files.
    pub(super) given_up: Option<(PathBuf, u64, Vec<PathBuf>)>,
    /// Where partitions end before the damage, as far as the logs tell.
    pub(super) ends: BTreeMap<PartitionSlot, u64>,
    /// Where they go on behind it, or how far they were durable.
    pub(super) beyond: BTreeMap<PartitionSlot, Beyond>,
    /// The names of topics that the logs tell.
    pub(super) names: BTreeMap<u32, String>,
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
    ends: BTreeMap<PartitionSlot, u64>,
    names: BTreeMap<u32, String>,
    torn: Vec<(PathBuf, u64)>,
}

/// Looks at the logs in `dir`.
pub(super) fn look(dir: &Path, manifest: Option<&Manifest>, synced: Option<&Synced>) -> io::Result<Finding> {
    let least = manifest.and_then(Manifest::least_wal);
    let logs = logs(dir, least.unwrap_or(0))?;
    let torn_manifest = match manifest {
        Some(Manifest { path, readable: log_file::ReadableExtent { end, broken: Some(broken) }, .. }) => {
            // What was torn while a table was taken over has left its logs behind. Without them it was taken over.
            let first = logs.first().and_then(|path| number(path));
            if broken.valid_behind.is_some() || first.is_none() || first != least {
                let what = format!("{} is damaged at byte {}", file_name(path), broken.at);
                return Ok(Finding::Damaged(Damage { what, ..Damage::default() }));
            }
            Some((path.clone(), *end as u64))
        }
        _ => None,
    };
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
    let torn: Vec<_> = audit.torn.into_iter().chain(torn_manifest).collect();
    Ok(if torn.is_empty() { Finding::Whole } else { Finding::Torn(torn) })
}

impl Audit {
    /// Reads one log; `later` are those after it.
    fn read(&mut self, path: &Path, later: &[PathBuf]) -> io::Result<Option<Damage>> {
        let bytes = fs::read(path)?;
        let mut gap = None;
        let readable = log_file::read(&bytes, &mut |at, record| {
            let Some(write) = Write::read(record).filter(|_| gap.is_none()) else { return };
            if let Some(next) = self.next.filter(|&next| write.first > next) {
                gap = Some((at, next, write.first));
                return;
            }
            self.next = Some(self.next.unwrap_or(0).max(write.first + write.count));
            write.rows(|row| match row {
                Row::Batch { slot, end, .. } => {
                    self.ends.insert(slot, end);
                }
                Row::Topic { id, name } => {
                    self.names.insert(id, name);
                }
            });
        });
        let (what, cut, behind) = match (gap, readable.broken) {
            (Some((at, next, first)), _) => {
                let what = format!(
                    "before byte {at} of {} the writes {next} to {} are missing",
                    file_name(path),
                    first - 1
                );
                // What was torn in the file before is part of the gap.
                match self.torn.pop() {
                    Some((torn, end)) if at == 0 => {
                        let later = [&[path.to_owned()], later].concat();
                        return Ok(Some(self.damage(what, Some((torn, end, later)), &bytes, at)));
                    }
                    _ => (what, at, at),
                }
            }
            (None, Some(log_file::Broken { at, valid_behind: Some(behind) })) => {
                (format!("{} is damaged at byte {at}", file_name(path)), readable.end, behind)
            }
            (None, Some(_)) => {
                self.torn.push((path.to_owned(), readable.end as u64));
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
        let (mut beyond, mut names) = (BTreeMap::new(), std::mem::take(&mut self.names));
        log_file::read_from(bytes, behind, &mut |_, record| {
            let Some(write) = Write::read(record) else { return };
            write.rows(|row| match row {
                Row::Batch { slot, first, .. } => {
                    beyond.entry(slot).or_insert(Beyond::GoesOnAt(first));
                }
                Row::Topic { id, name } => drop(names.insert(id, name)),
            });
        });
        Damage { what, can_be_salvaged: true, given_up, ends: std::mem::take(&mut self.ends), beyond, names }
    }

    /// The log ends before what was noted as synced.
    fn short(self, synced: &Synced, next: u64) -> Damage {
        let missing =
            synced.ends.iter().filter(|(slot, end)| self.ends.get(slot).is_none_or(|found| found < end));
        let beyond = missing.map(|&(slot, end)| (slot, Beyond::WasDurableTo(end))).collect();
        let what = format!("its newest writes, {next} to {}, were durable and are missing", synced.sequence);
        Damage { what, can_be_salvaged: true, given_up: None, ends: self.ends, beyond, names: self.names }
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

    /// Visits what is put there, as far as it is of interest.
    fn rows(self, mut visit: impl FnMut(Row)) {
        let mut rest = self.rest;
        while let Some(LoggedRow { of_records, key, value }) = next_row(&mut rest) {
            let Some(value) = value else { continue };
            if !of_records {
                if let Some(MetaRow::Topic { id, name, .. }) = MetaRow::read(key, value) {
                    visit(Row::Topic { id, name });
                }
            } else if let (Some(key), Ok(header)) = (RecordKey::read(key), FrameHeader::read(value)) {
                let (first, records) = (key.base_offset, u64::from(header.records));
                visit(Row::Batch { slot: key.slot, first, end: first.saturating_add(records) });
            }
        }
    }
}

/// What is put by a write.
enum Row {
    Batch { slot: PartitionSlot, first: u64, end: u64 },
    Topic { id: u32, name: String },
}

struct LoggedRow<'a> {
    /// Or of the metadata.
    of_records: bool,
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

/// The next row of a write; `None` at the end, or where there is something that this log never writes.
fn next_row<'a>(rest: &mut &'a [u8]) -> Option<LoggedRow<'a>> {
    let (&kind, tail) = rest.split_first()?;
    *rest = tail;
    // 0 and 4 delete, 1 and 5 put; 4 and 5 name a column family.
    if kind > 5 {
        return None;
    }
    let of_records = kind >= 4 && read_varint(rest)? > 0;
    let key = read_slice(rest)?;
    let value = if kind % 4 == 1 { Some(read_slice(rest)?) } else { None };
    Some(LoggedRow { of_records, key, value })
}

/// The write-ahead logs from the number `least` on, in their order.
fn logs(dir: &Path, least: u64) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            logs.extend(number(&path).filter(|&number| number >= least).map(|number| (number, path)));
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
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
