//! How records of several partitions follow each other where the log does not say it: by stream time, then by topic and
//! partition, then by offset.
//!
//! Stream time is the greatest timestamp that the partition has shown within the epoch, so that no record overtakes one of
//! its own partition. The order is that of the records of the epoch and of nothing else: whoever cuts the same epoch gets
//! the same one.

use super::epoch_input::BatchSlice;
use crate::Result;
use crate::changelog::Run;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// Offsets of one piece that follow each other at one stream time: `width` of them.
struct Stretch {
    stream_time_ms: i64,
    piece: usize,
    width: u64,
}

/// Gives the offsets of `pieces` their places, from `place` on. The pieces of a partition are in the order of their offsets.
///
/// # Errors
/// `Corrupt` if a batch is damaged.
pub(super) fn interleave(pieces: &mut [BatchSlice], mut place: u64, pool: &rayon::ThreadPool) -> Result<()> {
    let decode = || pieces.par_iter().try_for_each(|piece| piece.decode_once().map(drop));
    pool.install(decode)?;
    // Not by the numbers of their readers, which are in the order in which partitions were found.
    let mut partitions: BTreeMap<(usize, u32), VecDeque<Stretch>> = BTreeMap::new();
    for (number, piece) in pieces.iter().enumerate() {
        add_stretches(partitions.entry((piece.topic, piece.partition)).or_default(), number, piece)?;
    }
    let mut fronts: BinaryHeap<_> = partitions
        .iter()
        .filter_map(|(&partition, stretches)| Some(Reverse((stretches.front()?.stream_time_ms, partition))))
        .collect();
    while let Some(Reverse((_, partition))) = fronts.pop() {
        let Some(stretches) = partitions.get_mut(&partition) else { continue };
        let Some(Stretch { piece, width, .. }) = stretches.pop_front() else { continue };
        if let Some(piece) = pieces.get_mut(piece) {
            Run::extend(&mut piece.runs, Run { sequence: place, records: width });
        }
        place += width;
        if let Some(next) = stretches.front() {
            fronts.push(Reverse((next.stream_time_ms, partition)));
        }
    }
    Ok(())
}

/// Adds the offsets of `piece` to those of its partition. Offsets without a record go with the record before them, or with the
/// first.
fn add_stretches(stretches: &mut VecDeque<Stretch>, number: usize, piece: &BatchSlice) -> Result<()> {
    let mut latest = stretches.back().map_or(i64::MIN, |last| last.stream_time_ms);
    let mut next = piece.offsets.start;
    let records = piece.decode_once()?.iter_from(next);
    for record in records.take_while(|record| record.offset < piece.offsets.end) {
        latest = latest.max(record.timestamp_ms);
        let width = record.offset + 1 - next;
        next = record.offset + 1;
        match stretches.back_mut() {
            Some(last) if last.piece == number && last.stream_time_ms == latest => last.width += width,
            _ => stretches.push_back(Stretch { stream_time_ms: latest, piece: number, width }),
        }
    }
    let rest = piece.offsets.end - next;
    match stretches.back_mut() {
        Some(last) if last.piece == number => last.width += rest,
        _ if rest > 0 => stretches.push_back(Stretch { stream_time_ms: latest, piece: number, width: rest }),
        _ => {}
    }
    Ok(())
}
