//! The marks that are in the log, read as they are needed: those behind a position, some at a time, and the last one.
//!
//! Only what is committed is read, so that a mark is there exactly if the outputs of its epoch are.

use super::mark::Mark;
use crate::path::FetchPath;
use millpond_engine::changelog::{EpochMark, PartitionReader};
use millpond_engine::{Error, ErrorKind, Position, Result, TopicPartition};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many bytes of marks are read at a time.
const POLL_BYTES: usize = 256 << 10;

/// Of so many marks one is remembered, so that not all of them are read again for a position further back.
const INDEXED: u64 = 256;

/// So many tasks may follow at once, each at a position of its own.
const MOST_CURSORS: usize = 4;

/// How long nothing may arrive of marks that are there, when they are looked at for the first time and later.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(1);

/// The same of those that stand below an offset.
const PATIENCE_BELOW: Duration = Duration::from_secs(5);

/// So many are remembered.
const MOST_INDEXED: usize = 4096;

/// How long one wait for marks takes.
const WAIT: Duration = Duration::from_millis(200);

/// A mark, and where it stands.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) offset: u64,
    pub(super) mark: Mark,
}

/// Reads marks one after the other.
pub(super) struct MarkReader {
    reader: Box<dyn PartitionReader>,
    next: u64,
}

impl MarkReader {
    pub(super) fn open(fetcher: &dyn FetchPath, partition: &TopicPartition, from: u64) -> Result<Self> {
        let first = fetcher.offsets(partition)?.start;
        let next = from.max(first);
        Ok(Self { reader: fetcher.reader(partition, next)?, next })
    }

    /// Everything below it was read.
    pub(super) fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// The next marks that have arrived.
    ///
    /// # Errors
    /// `Corrupt` for what is no mark, or another error of the log.
    pub(super) fn poll(&mut self) -> Result<Vec<Placed>> {
        let mut marks = Vec::new();
        for batch in self.reader.poll(POLL_BYTES)? {
            for record in batch.decode()?.iter_from(self.next) {
                let mark = Mark::decode(record.value.unwrap_or_default())
                    .map_err(|error| error.context(format!("the mark at offset {}", record.offset)))?;
                marks.push(Placed { offset: record.offset, mark });
                self.next = record.offset + 1;
            }
        }
        Ok(marks)
    }

    /// The next marks of those below the offset `end`, which are waited for, until `is_over`; none once all of them were read.
    ///
    /// # Errors
    /// As [`poll`](Self::poll); `Unavailable` if nothing arrives.
    pub(super) fn poll_below(&mut self, end: u64, is_over: impl Fn() -> bool) -> Result<Option<Vec<Placed>>> {
        let began = Instant::now();
        while self.offset() < end {
            let before = self.offset();
            let mut polled = self.poll()?;
            if self.offset() > before {
                polled.retain(|placed| placed.offset < end);
                return Ok(Some(polled));
            }
            if began.elapsed() > PATIENCE_BELOW || is_over() {
                return Err(Error::unavailable("the marks of epochs cannot be read now"));
            }
            self.wait()?;
        }
        Ok(None)
    }

    /// Waits a moment for more.
    pub(super) fn wait(&mut self) -> Result<()> {
        self.reader.wait(WAIT)
    }
}

/// A place in the marks at which a task has arrived.
struct Cursor {
    reader: MarkReader,
    ahead: VecDeque<Placed>,
    /// What was handed out last, or stands before it.
    floor: Position,
}

/// The marks of one name.
pub(super) struct MarkLog {
    fetcher: Arc<dyn FetchPath>,
    partition: TopicPartition,
    /// The least recently used one comes first.
    cursors: Vec<Cursor>,
    index: Vec<Placed>,
    /// What stands below it was read by some cursor, and can be by all.
    seen: u64,
    /// How many were read since the last one that was remembered.
    unindexed: u64,
}

impl MarkLog {
    pub(super) fn new(fetcher: Arc<dyn FetchPath>, partition: TopicPartition) -> Self {
        Self { fetcher, partition, cursors: Vec::new(), index: Vec::new(), seen: 0, unindexed: 0 }
    }

    /// Some of the marks behind `position`, in order. All that stand below the offset `end` are waited for, and all that any task was
    /// given; none that stand at or above the offset `below` is given.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(super) fn after(&mut self, position: &Position, end: u64, below: u64) -> Result<Vec<EpochMark>> {
        // Whoever opens has more time than whoever is asked for queries meanwhile.
        let end = end.max(self.seen);
        let patience = if self.cursors.is_empty() { FIRST_PATIENCE } else { PATIENCE };
        let mut cursor = self.cursor(position)?;
        let mut moved = (Instant::now(), cursor.reader.offset());
        let found = loop {
            while let Some(first) = cursor.ahead.front()
                && first.offset < below
                && position.includes(&first.mark.epoch.to)
            {
                cursor.floor = first.mark.epoch.to.clone();
                cursor.ahead.pop_front();
            }
            if cursor.ahead.front().is_some_and(|first| first.offset < below) {
                let taken = cursor.ahead.iter().take_while(|placed| placed.offset < below).count();
                break cursor.ahead.drain(..taken).map(|placed| placed.mark.epoch).collect::<Vec<_>>();
            }
            if !cursor.ahead.is_empty() {
                break Vec::new();
            }
            let polled = match cursor.reader.poll() {
                Err(error) if error.kind() == ErrorKind::BehindChangelog => {
                    // Some were deleted while it was on its way to them: nobody keeps to those any more.
                    let kept = self.fetcher.latest_offsets(&self.partition)?;
                    cursor.reader = MarkReader::open(&*self.fetcher, &self.partition, kept.start)?;
                    continue;
                }
                polled => polled?,
            };
            if polled.is_empty() {
                if cursor.reader.offset() >= end {
                    break Vec::new();
                }
                if cursor.reader.offset() > moved.1 {
                    moved = (Instant::now(), cursor.reader.offset());
                }
                if moved.0.elapsed() > patience {
                    self.cursors.push(cursor);
                    return Err(Error::unavailable("the marks of epochs do not arrive now"));
                }
                cursor.reader.wait()?;
            }
            for placed in &polled {
                self.note(placed);
            }
            self.seen = self.seen.max(cursor.reader.next);
            cursor.ahead.extend(polled);
        };
        if let Some(last) = found.last() {
            cursor.floor = last.to.clone();
        }
        self.cursors.push(cursor);
        if self.cursors.len() > MOST_CURSORS {
            self.cursors.remove(0);
        }
        Ok(found)
    }

    /// The cursor nearest to `position` that does not stand behind it.
    fn cursor(&mut self, position: &Position) -> Result<Cursor> {
        let usable = |cursor: &&(usize, &Cursor)| position.includes(&cursor.1.floor);
        let nearest = |a: &(usize, &Cursor), b: &(usize, &Cursor)| a.1.reader.next.cmp(&b.1.reader.next);
        let cursors: Vec<_> = self.cursors.iter().enumerate().collect();
        if let Some((at, _)) = cursors.iter().filter(usable).max_by(|a, b| nearest(a, b)) {
            return Ok(self.cursors.remove(*at));
        }
        let before = self.index.iter().rev().find(|placed| position.includes(&placed.mark.epoch.to));
        let from = before.map_or(0, |placed| placed.offset + 1);
        let floor = before.map(|placed| placed.mark.epoch.to.clone()).unwrap_or_default();
        let reader = MarkReader::open(&*self.fetcher, &self.partition, from)?;
        Ok(Cursor { reader, ahead: VecDeque::new(), floor })
    }

    fn note(&mut self, placed: &Placed) {
        if self.index.last().is_some_and(|last| last.offset >= placed.offset) {
            return;
        }
        self.unindexed += 1;
        if self.unindexed >= INDEXED {
            self.unindexed = 0;
            self.index.push(placed.clone());
            if self.index.len() > MOST_INDEXED {
                // Whoever goes back further reads from the first one.
                self.index.drain(..MOST_INDEXED / 2);
            }
        }
    }
}
