//! Reading: batches come out, partition by partition, and are decoded by whoever reads them.

use super::{DecodedBatch, Run};
use crate::{Error, ErrorKind, Result, TopicPartition};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What was appended to a log that is one sequence; see [`ReadLog::appended`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The sequence number after the last record that can be read: every record below it can be.
    pub end: u64,
    /// The partitions that have records at or above the number asked for.
    pub partitions: Vec<TopicPartition>,
}

impl Appended {
    /// That every record below the sequence number `end` can be read, and where those are that were asked for.
    #[must_use]
    pub fn new(end: u64, partitions: Vec<TopicPartition>) -> Self {
        Self { end, partitions }
    }
}

/// The offsets of a partition that can be read.
pub(super) struct ReadableOffsets(pub(super) Range<u64>);

impl ReadableOffsets {
    /// Refuses an offset that was trimmed away or is past the end.
    pub(super) fn check(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let Range { start, end } = self.0;
        let (kind, state) = match offset {
            _ if offset < start => (ErrorKind::BehindChangelog, "was trimmed away"),
            _ if offset > end => (ErrorKind::AheadOfChangelog, "is past the end"),
            _ => return Ok(()),
        };
        Err(Error::new(kind, format!("offset {offset} of {partition} {state}: there are {start} to {end}")))
    }
}

/// Reads one partition in offset order.
pub trait PartitionReader: Send {
    /// The next batches, together about `max_bytes` of stored bytes, at least one if there is any; empty at
    /// the end of the partition. The first batch may begin below the offset asked for: skip to it.
    ///
    /// # Errors
    /// `Corrupt` names topic, partition and offset. `BehindChangelog` if the offset was trimmed away.
    fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>>;

    /// The offset up to which `poll` has returned everything there is. Where offsets have gaps it may lie behind the last batch
    /// that was returned: nothing comes in between, and none need be waited for.
    fn offset(&self) -> u64;

    /// Waits until [`poll`](Self::poll) may have something that it had not before, or for `at_most`. A log that has all
    /// records at hand does not wait; one that has to fetch them does, for whoever has nothing else to do.
    ///
    /// # Errors
    /// As for `poll`.
    fn wait(&mut self, at_most: Duration) -> Result<()> {
        let _ = at_most;
        Ok(())
    }
}

/// How long is waited for records that are there and do not arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Hands everything that `reader` has below the offset `end` to `each`, batch by batch; the last one may reach further. Waits
/// for what has to be fetched.
///
/// # Errors
/// Those of the reader and of `each`; `Unavailable` if records do not arrive for half a minute.
pub fn read_below(
    reader: &mut dyn PartitionReader,
    end: u64,
    mut each: impl FnMut(&dyn LogBatch) -> Result<()>,
) -> Result<()> {
    let mut has_waited = false;
    while reader.offset() < end {
        let before = reader.offset();
        let batches = reader.poll(READ_BYTES)?;
        batches.iter().try_for_each(|batch| each(&**batch))?;
        if reader.offset() > before {
            has_waited = false;
        } else if has_waited {
            return Err(Error::unavailable(format!(
                "records from offset {before} up to {end} are there, and did not arrive within {} s; is the log reachable?",
                ARRIVAL.as_secs()
            )));
        } else {
            reader.wait(ARRIVAL)?;
            has_waited = true;
        }
    }
    Ok(())
}

/// The greatest timestamp of the records of `batch` at these offsets. Where these are not all of it, or it does not tell, it is
/// decoded.
///
/// # Errors
/// Those of `decode`.
pub(crate) fn max_timestamp_at<'d>(
    batch: &dyn LogBatch,
    offsets: &Range<u64>,
    decode: impl FnOnce() -> Result<Cow<'d, DecodedBatch>>,
) -> Result<Option<i64>> {
    if batch.records() == 0 {
        return Ok(None);
    }
    let is_whole = offsets.start <= batch.base_offset() && batch.end_offset() <= offsets.end;
    if let Some(known) = batch.max_timestamp_ms().filter(|_| is_whole) {
        return Ok(Some(known));
    }
    let batch = decode()?;
    let within = batch.iter_from(offsets.start).take_while(|record| record.offset < offsets.end);
    Ok(within.map(|record| record.timestamp_ms).max())
}

/// How many stored bytes are read at a time.
const READ_BYTES: usize = 4 << 20;

/// A batch as a changelog hands it over: still as it was stored, and cheap to pass on. The engine decodes batches on the
/// threads of its shards.
///
/// # Contract
/// `decode` answers with the records from `base_offset` up to `end_offset`, in the order of their offsets, and with the same
/// ones whenever it is asked. Unless the log lacks [`dense_offsets`](super::Abilities::dense_offsets), there is one at every
/// offset between.
pub trait LogBatch: fmt::Debug + Send + Sync {
    /// The offset of its first record, or one before it and after all other batches.
    fn base_offset(&self) -> u64;

    /// The offset after its last record, or one behind it and before all later batches.
    fn end_offset(&self) -> u64;

    /// How many records it holds. By default there is one at every offset.
    fn records(&self) -> u64 {
        self.end_offset() - self.base_offset()
    }

    /// The stretches of its records that follow each other in the sequence of the log, in order; `None` if the log has no
    /// sequence.
    ///
    /// # Errors
    /// `Corrupt` if they cannot be read.
    fn runs(&self) -> Result<Option<Vec<Run>>>;

    /// How many bytes it takes as stored.
    fn stored_bytes(&self) -> usize;

    /// How many bytes its records take once it is decompressed.
    fn body_bytes(&self) -> usize;

    /// The greatest timestamp of its records, if that is known before they are decoded. It must be exact: whether later records are
    /// late is decided by it.
    fn max_timestamp_ms(&self) -> Option<i64> {
        None
    }

    /// Checks, decompresses and parses the batch.
    ///
    /// # Errors
    /// `Corrupt`, naming topic, partition and offset, if any byte of it is damaged.
    fn decode(&self) -> Result<DecodedBatch>;
}

/// Called whenever records became readable or the changelog was closed. Must be quick and must not call back.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Reading records, and knowing where they end.
pub trait ReadLog: Send + Sync {
    /// A reader of `partition` that begins at `offset`.
    ///
    /// # Errors
    /// `Invalid` for an unknown partition, `BehindChangelog` if `offset` was trimmed away,
    /// `AheadOfChangelog` if it is past the end.
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>>;

    /// The offsets that can be read: from the oldest record kept to the next one to be appended.
    ///
    /// # Errors
    /// `Invalid` for an unknown partition.
    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>>;

    /// The greatest timestamp that records had which were dropped from the beginning of `partition`: whoever begins with what is left
    /// takes what is late for late, as whoever has read all of it did. `None` if none was dropped, or the log does not know.
    ///
    /// # Errors
    /// As for [`offsets`](Self::offsets).
    fn dropped_ms(&self, partition: &TopicPartition) -> Result<Option<i64>> {
        let _ = partition;
        Ok(None)
    }

    /// As [`offsets`](Self::offsets), as they were heard last: it asks nobody, and answers at once. For statistics, and for
    /// whoever appends.
    ///
    /// # Errors
    /// As for `offsets`; `Unavailable` if nothing was heard yet.
    fn heard_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.offsets(partition)
    }

    /// As [`offsets`](Self::offsets), which may be some moments old in a log that has to ask others for them: what they are now.
    /// For whoever waits until all of it is folded.
    ///
    /// # Errors
    /// As for `offsets`; `Unavailable` if they cannot be asked for now. It may take long to say so if the log lacks the ability
    /// [`knows_ends`](super::Abilities::knows_ends).
    fn latest_offsets(&self, partition: &TopicPartition) -> Result<Range<u64>> {
        self.offsets(partition)
    }

    /// Where `partition` ends now, with what belongs to transactions that have not ended: for whoever waits for what it has
    /// appended itself, which is there and may be readable a moment later only.
    ///
    /// # Errors
    /// As for [`latest_offsets`](Self::latest_offsets).
    fn undecided_end(&self, partition: &TopicPartition) -> Result<u64> {
        Ok(self.latest_offsets(partition)?.end)
    }

    /// Where the one sequence of all records ends, and which partitions have records numbered `since` or above; `None` if
    /// the log is not one sequence, or its implementation does not tell.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn appended(&self, since: u64) -> Result<Option<Appended>> {
        let _ = since;
        Ok(None)
    }

    /// How many bytes the records that can be read take where they are stored; `None` if the implementation cannot
    /// tell without effort. What retention has dropped no longer counts, even if its space is freed later.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn stored_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// How many bytes of disk the changelog takes, with what was dropped and is not freed yet and with everything it keeps
    /// beside records; `None` if it takes none or cannot tell.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close), or if the medium failed.
    fn disk_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// What has been wrong for a while with reaching the log: since when and why. `None` if nothing is. Shown by the
    /// [health](crate::Health::Waiting) and the [statistics](crate::Stats::trouble) of an engine, which goes on answering.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Wakes `waker` after every append from now on, and once on close. Kept until the changelog is dropped or
    /// the waker's other owners are gone.
    fn watch(&self, waker: std::sync::Weak<dyn Fn() + Send + Sync>);
}
