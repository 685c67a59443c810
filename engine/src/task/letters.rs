//! Dead letters: the records that were left out, each as it was, with the reason and its origin in headers.
//!
//! Invariant: a record is written once for each reason. The letters of an epoch are appended together with its outputs
//! and its mark, so a replay does not repeat them. Two kinds of letters no mark speaks of: those of a build, which reads
//! what the main task has read before it, perhaps for the second time or under another version; and those of an epoch
//! that was appended before a crash by code at which fewer records failed. For these, the letters that are there
//! already are read back, once, and what is missing is appended by itself.
//!
//! What the engine has appended itself is committed before that, and whatever else is on its way is waited for, up to where the
//! topic ends now. Between that look and the append another engine of the name, which builds the same, may append the same
//! letter: where several share a log, such a record can have a letter of each that builds at the same moment.
//!
//! What closed, and was not told because code failed at it, has a letter, too, known by its table, its key and when it closed.
//!
//! Letters of other services in the same topic do not count. Letters that retention has dropped are forgotten.

use super::closings::LeftOutOfEpoch;
use super::input::EpochInput;
use super::{FailurePolicy, Setting, Task, appends};
use crate::changelog::{Commit, EpochMark, Header, MAX_HEADERS_BYTES, Record, RecordRef, read_below};
use crate::dataflow::{LeftOut, Sunk};
use crate::flow::{Closing, Stamp};
use crate::{Error, ErrorKind, Position, Result, TopicPartition};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the log may take to commit what was appended before, until others get a turn.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the letters say in headers.
const ENGINE: &str = "millpond.engine";
const REASON: &str = "millpond.reason";
const TOPIC: &str = "millpond.topic";
const PARTITION: &str = "millpond.partition";
const OFFSET: &str = "millpond.offset";
/// Of what closed, and was not told: in which table, and when.
const TABLE: &str = "millpond.table";
const CLOSED: &str = "millpond.closed";

const ALL: [&str; 7] = [ENGINE, REASON, TOPIC, PARTITION, OFFSET, TABLE, CLOSED];

/// The longest reason, in bytes: user code may put anything into its panics.
const MAX_REASON_BYTES: usize = 1 << 10;

/// What the headers of a letter may take beside those of its record: the reason, two names and the lengths.
const OWN_HEADERS_BYTES: usize = 4 << 10;

/// The letters of this engine that are in the dead-letter topic.
#[derive(Default)]
pub(super) struct Letters {
    /// A hash of origin and reason each: a million of them are mistaken for another one once in ten million times.
    known: HashSet<u64>,
    /// Up to where the topic was read.
    next: u64,
    /// Whether the log knows that nothing is to be kept for whoever appends them.
    released: bool,
    /// Whether the last epoch was put back, as it could not be told which are there.
    are_awaited: bool,
}

impl Letters {
    /// Takes in what was appended since the last time. `false` if that cannot be told yet.
    ///
    /// # Errors
    /// As for [`PartitionReader::poll`](crate::changelog::PartitionReader::poll); `Unavailable` if another engine has taken over.
    fn look(&mut self, setting: &Setting, id: &TopicPartition) -> Result<bool> {
        if !setting.shares_epochs() {
            return self.read_back(setting, id).map(|()| true);
        }
        // Those of the main task are in its outbox for a while, and others on their way.
        match setting.changelog.commit(&setting.name, PATIENCE)? {
            Commit::Done => {}
            Commit::Pending => return Ok(false),
            Commit::Fenced => return Err(Error::unavailable("another engine of this name has taken over")),
        }
        match self.read_back(setting, id) {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%error, topic = &*id.topic, "it cannot be told yet which dead letters are there");
                Ok(false)
            }
            outcome => outcome.map(|()| true),
        }
    }

    /// Reads what was appended since the last time, and waits for what is not decided.
    fn read_back(&mut self, setting: &Setting, id: &TopicPartition) -> Result<()> {
        let end = setting.changelog.undecided_end(id)?;
        self.next = self.next.max(setting.changelog.offsets(id)?.start);
        let mut reader = setting.changelog.reader(id, self.next)?;
        read_below(&mut *reader, end, |batch| {
            let letters = batch.decode()?;
            let known = letters.iter().filter_map(|letter| identity(letter.key, letter.headers(), setting));
            self.known.extend(known);
            Ok(())
        })?;
        self.next = reader.offset();
        Ok(())
    }
}

/// What tells a letter of this engine from others; `None` if it is none.
fn identity<'h>(
    key: Option<&[u8]>,
    headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    setting: &Setting,
) -> Option<u64> {
    let mut named = ALL.map(|name| (name, None));
    for (name, value) in headers {
        if let Some((_, slot)) = named.iter_mut().find(|(wanted, _)| *wanted == name) {
            *slot = value;
        }
    }
    let [(_, engine), (_, reason), of_record @ .., (_, table), (_, closed)] = named;
    if engine != Some(setting.name.as_bytes()) || reason.is_none() {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    match (table, closed) {
        (Some(table), Some(closed)) => (reason, table, closed, key).hash(&mut hasher),
        _ if of_record.iter().any(|(_, value)| value.is_none()) => return None,
        _ => (reason, of_record).hash(&mut hasher),
    }
    Some(hasher.finish())
}

impl Task {
    /// The letters for what the epoch left out.
    pub(super) fn letters(&self, input: &EpochInput, left_out: &LeftOutOfEpoch) -> Result<Vec<Sunk>> {
        let FailurePolicy::DeadLetter(topic) = &self.setting.policy else { return Ok(Vec::new()) };
        let skipped = &left_out.records;
        let closed = left_out.closings.iter().map(|(closing, reason)| Sunk {
            topic: Arc::clone(topic),
            partition: 0,
            stamp: closing.stamp(),
            record: self.letter_of_closing(closing, reason),
        });
        let mut letters: Vec<Sunk> = closed.collect();
        let mut by_piece: BTreeMap<u32, Vec<(u64, u64, &String)>> = BTreeMap::new();
        for (&place, LeftOut { reason, .. }) in skipped {
            if let Some((source, offset)) = input.find(place) {
                by_piece.entry(source).or_default().push((offset, place, reason));
            }
        }
        for piece in &input.pieces {
            let Some(left_out) = by_piece.get(&piece.source) else { continue };
            let Some(origin) = self.input.partition(piece.source) else { continue };
            let mut left_out =
                left_out.iter().filter(|(offset, ..)| piece.offsets.contains(offset)).peekable();
            if left_out.peek().is_none() {
                continue;
            }
            let batch = piece.decode()?;
            for (offset, place, reason) in left_out {
                let Some(record) = batch.iter_from(*offset).next() else { continue };
                letters.push(Sunk {
                    topic: Arc::clone(topic),
                    partition: 0,
                    stamp: Stamp::new(record.timestamp_ms, *place),
                    record: letter(&record, origin, reason, &self.setting.name),
                });
            }
        }
        Ok(letters)
    }

    /// The letter for what closed and was not told. Its key is that of the row, which is in its table still.
    fn letter_of_closing(&self, closing: &Closing, reason: &str) -> Record {
        let own = [
            (ENGINE, self.setting.name.to_string()),
            (REASON, shortened(reason).to_owned()),
            (TABLE, self.setting.graph.table_of(closing.node).unwrap_or_default().to_owned()),
            (CLOSED, closing.close_ms().to_string()),
        ];
        let mut letter = Record::tombstone(closing.key.clone()).at(closing.timestamp_ms);
        letter.headers.extend(own.map(|(name, value)| Header::new(name, value)));
        letter
    }

    /// Whether the last epoch was put back, as it could not be told which of its letters are there.
    pub(super) fn awaits_letters(&self) -> bool {
        self.letters.are_awaited
    }

    /// Appends those of `letters` that are not there yet. Their epoch is marked nowhere, or was marked before. `false` if it cannot be
    /// told yet which are there: nothing was appended.
    pub(super) fn append_missing(&mut self, mut letters: Vec<Sunk>) -> Result<bool> {
        self.letters.are_awaited = false;
        let Some(first) = letters.first() else { return Ok(true) };
        let id = TopicPartition::new(Arc::clone(&first.topic), first.partition);
        self.letters.are_awaited = !self.letters.look(&self.setting, &id)?;
        if self.letters.are_awaited {
            return Ok(false);
        }
        letters.retain(|letter| {
            let headers = letter.record.headers.iter().map(|header| (&*header.name, header.value.as_deref()));
            let key = letter.record.key.as_deref();
            identity(key, headers, &self.setting).is_none_or(|letter| !self.letters.known.contains(&letter))
        });
        if letters.is_empty() {
            return Ok(true);
        }
        // As an epoch of a producer of its own, which waits for no disk: the next drain syncs it before its rows. What it
        // has appended is the only input that such a producer can be said to have, so that every epoch is a new one.
        let producer = format!("{}.letters", self.setting.name);
        let end = self.setting.changelog.offsets(&id)?.end;
        let at = |offset| -> Position { [(id.clone(), offset)].into_iter().collect() };
        let mark = EpochMark { from: at(end), to: at(end + letters.len() as u64) };
        let total = letters.len() as u64;
        if !self.setting.changelog.append_epoch(&producer, &mark, appends(letters))? {
            return Err(Error::internal(format!(
                "the dead-letter topic {id} ends at {end}, before letters that were appended to it"
            )));
        }
        // It is never replayed. Nothing is held with this: nobody needs what lies below the end of time.
        if !self.letters.released {
            self.setting.changelog.hold(&producer, &at(u64::MAX))?;
            self.letters.released = true;
        }
        self.setting.counters.records_out.fetch_add(total, Ordering::Relaxed);
        self.setting.counters.dead_letters.fetch_add(total, Ordering::Relaxed);
        Ok(true)
    }
}

/// The letter for `record`, which came from `origin`. It keeps as many of its own headers as there is room for; those of
/// a letter that came back as a record make way for the new ones.
fn letter(record: &RecordRef<'_>, origin: &TopicPartition, reason: &str, engine: &str) -> Record {
    let mut letter = record.to_record();
    let mut left = MAX_HEADERS_BYTES - OWN_HEADERS_BYTES;
    letter.headers.retain(|header| {
        if ALL.contains(&&*header.name) {
            return false;
        }
        // Two lengths of at most four bytes each.
        let bytes = header.name.len() + header.value.as_ref().map_or(0, Bytes::len) + 8;
        let fits = bytes <= left;
        left = if fits { left - bytes } else { 0 };
        fits
    });
    let own = [
        (ENGINE, engine.to_owned()),
        (REASON, shortened(reason).to_owned()),
        (TOPIC, origin.topic.to_string()),
        (PARTITION, origin.partition.to_string()),
        (OFFSET, record.offset.to_string()),
    ];
    letter.headers.extend(own.map(|(name, value)| Header::new(name, value)));
    letter
}

/// As much of a reason as a letter has room for.
fn shortened(reason: &str) -> &str {
    let ends = reason.char_indices().map(|(start, character)| start + character.len_utf8());
    let end = ends.take_while(|end| *end <= MAX_REASON_BYTES).last();
    end.and_then(|end| reason.get(..end)).unwrap_or_default()
}
