//! Sources: from stored batches of a topic to typed values on the shard that owns their key.

use super::{Router, Stamp, Stamped};
use crate::Result;
use crate::changelog::{DecodedBatch, Places, RecordRef, Run};
use crate::codec::{Awaited, CodecError};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Decodes the records of one topic.
///
/// # Contract
/// The result depends on the records only, as for [`Operator`](super::Operator). Batches of records are decoded in parallel; what
/// they become is put in the order of the log.
pub trait Source: Send + Sync + 'static {
    /// What a record becomes.
    type Item: Stamped + Clone + Send + 'static;

    /// Decodes `records` into one vector for each shard. A record that does not decode is [refused](SourceBatch::refuse), for
    /// the failure policy to handle, and the next one is decoded.
    ///
    /// # Errors
    /// Any error undoes the epoch; a `User` error or a panic is attributed to the record last taken from
    /// [`SourceBatch::records`].
    fn decode(&self, records: &SourceBatch<'_>, router: &Router) -> Result<Vec<Vec<Self::Item>>>;
}

/// Records that the failure policy has excluded, by their place in the log.
pub(crate) type Skipped = BTreeMap<u64, LeftOut>;

/// A record that is left out.
#[derive(Debug, Clone)]
pub(crate) struct LeftOut {
    pub(crate) reason: String,
    /// Whether it decodes, and something behind its source failed at it. It counts in how far its partition has come in time then,
    /// whichever nodes run: others may not fail.
    pub(crate) decodes: bool,
}

/// More is not fetched at a time: the epoch asks for the rest when it is cut again.
const MOST_AWAITED: usize = 1_024;

/// What has to be fetched before records of an epoch can be decoded, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllAwaited(Vec<Arc<dyn Awaited>>);

impl AllAwaited {
    fn add(&mut self, awaited: &Arc<dyn Awaited>) {
        if self.0.len() < MOST_AWAITED && !self.0.iter().any(|known| Arc::ptr_eq(known, awaited)) {
            self.0.push(Arc::clone(awaited));
        }
    }

    pub(crate) fn add_all(&mut self, others: &Self) {
        others.iter().for_each(|awaited| self.add(awaited));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Awaited>> {
        self.0.iter()
    }
}

/// The records of one stored batch that belong to the epoch.
pub struct SourceBatch<'a> {
    pub(crate) batch: &'a DecodedBatch,
    pub(crate) partition: u32,
    pub(crate) offsets: Range<u64>,
    /// The places of these offsets in the log.
    pub(crate) runs: &'a [Run],
    pub(crate) skipped: &'a Skipped,
    pub(crate) refused: RefCell<Skipped>,
    pub(crate) awaited: RefCell<AllAwaited>,
    /// The place of the record last handed out.
    pub(crate) current: Cell<Option<u64>>,
    /// Whether the source says when a record happened, and not the record.
    pub(crate) dated_by_source: bool,
    /// How far the partition has come in time.
    pub(crate) stream_time_ms: Cell<i64>,
}

impl fmt::Debug for SourceBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceBatch").field("offsets", &self.offsets).finish_non_exhaustive()
    }
}

impl SourceBatch<'_> {
    /// The records in offset order, each with its stamp.
    pub fn records(&self) -> impl Iterator<Item = (RecordRef<'_>, Stamp)> {
        let mut places = Places::new(self.offsets.start, self.runs);
        self.batch
            .iter_from(self.offsets.start)
            .take_while(|record| record.offset < self.offsets.end)
            .filter_map(move |record| {
                let place = places.of(record.offset)?;
                let stamp = Stamp::new(record.timestamp_ms, place);
                // One that is left out has taken its partition on in time all the same.
                // A tombstone has no value that could say when it happened, so it says it itself, whether its key decodes or not.
                let is_dated = !self.dated_by_source || record.value.is_none();
                let stamp = if is_dated { self.at(stamp) } else { stamp };
                if let Some(left_out) = self.left_out(place)
                    && !(self.dated_by_source && left_out.decodes)
                {
                    return None;
                }
                self.current.set(Some(place));
                Some((record, stamp))
            })
    }

    fn left_out(&self, place: u64) -> Option<&LeftOut> {
        if self.skipped.is_empty() { None } else { self.skipped.get(&place) }
    }

    /// Says that the record with `stamp` happened at `timestamp_ms`. A source calls this once for every record that it decodes,
    /// also for those of which it puts nothing out, and in their order, if it was declared to
    /// [date](crate::graph::Builder::source) records itself; what a record itself says counts then for nothing.
    pub fn date(&self, stamp: Stamp, timestamp_ms: i64) -> Stamp {
        let dated = Stamp { timestamp_ms, ..stamp };
        if self.dated_by_source { self.at(dated) } else { dated }
    }

    fn at(&self, stamp: Stamp) -> Stamp {
        let so_far = self.stream_time_ms.get().max(stamp.timestamp_ms);
        self.stream_time_ms.set(so_far);
        stamp.at_stream_time(so_far)
    }

    /// The partition that they are from.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// How many records at the most.
    #[must_use]
    pub fn len(&self) -> usize {
        let offsets = usize::try_from(self.offsets.end - self.offsets.start).unwrap_or(usize::MAX);
        offsets.min(self.batch.records())
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Says that the record with this stamp does not decode. All such records of an epoch are handled together, which
    /// keeps many of them affordable; whatever else is made of the epoch is then not used.
    pub fn refuse(&self, stamp: Stamp, reason: impl Into<String>) {
        let mut refused = self.refused.borrow_mut();
        refused.entry(stamp.sequence).or_insert_with(|| LeftOut { reason: reason.into(), decodes: false });
    }
    /// Whether `error` of a codec only says that something [has to be fetched](Awaited) before the record can be decoded. It
    /// is noted then, the epoch is cut again once it is there, and the record must not be [refused](Self::refuse).
    pub fn awaits(&self, error: &CodecError) -> bool {
        let awaited = error.awaited();
        if let Some(awaited) = awaited {
            self.awaited.borrow_mut().add(awaited);
        }
        awaited.is_some()
    }
}
