//! What one reader reads: what was fetched and waits to be polled, and how far that reaches.
//!
//! Two offsets are kept: up to `fetched` everything has come, up to `offset` everything was handed over.

use super::batch::MessageBatch;
use millpond_engine::changelog::LogBatch;
use millpond_engine::{Error, Result, TopicPartition};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long it is waited for records up to an end that is known, before the partition is assigned once more.
const GRACE: Duration = Duration::from_millis(500);

/// Whether the consumer has the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assigned {
    /// It is to get it.
    Wanted,
    Yes,
    /// It was taken away, because too much of it waits while others lack everything.
    Parked,
}

/// A partition that somebody reads.
#[derive(Debug)]
pub(super) struct Queue {
    pub id: TopicPartition,
    /// The consumer that reads it.
    pub lane: u64,
    pub assigned: Assigned,
    batches: VecDeque<Arc<MessageBatch>>,
    /// The bytes of the batches.
    pub buffered: usize,
    fetched: u64,
    offset: u64,
    /// Nothing has come since the end of the partition was told.
    at_end: bool,
    /// Since when it stands at an end that is not the one that is known.
    short_since: Option<Instant>,
    /// It was assigned once more, and the end that is told next lies at or behind this.
    probed: Option<u64>,
    failure: Option<Error>,
}

impl Queue {
    pub(super) fn new(id: TopicPartition, lane: u64, offset: u64) -> Self {
        Self {
            id,
            lane,
            assigned: Assigned::Wanted,
            batches: VecDeque::new(),
            buffered: 0,
            fetched: offset,
            offset,
            at_end: false,
            short_since: None,
            probed: None,
            failure: None,
        }
    }

    pub(super) fn fetched(&self) -> u64 {
        self.fetched
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether `poll` has anything to hand over, or to say.
    pub(super) fn has_news(&self) -> bool {
        !self.batches.is_empty() || self.failure.is_some() || self.offset < self.fetched
    }

    /// Whether it lacks records that may be there.
    pub(super) fn starves(&self) -> bool {
        self.batches.is_empty() && !self.at_end && self.assigned == Assigned::Yes && self.failure.is_none()
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    pub(super) fn receive(&mut self, batch: MessageBatch) {
        if batch.end_offset() <= self.fetched {
            return;
        }
        self.fetched = batch.end_offset();
        self.buffered += batch.stored_bytes();
        self.batches.push_back(Arc::new(batch));
        (self.at_end, self.short_since) = (false, None);
    }

    /// The end of the partition was told, up to which everything has come; the consumer stands at `position`.
    pub(super) fn reached_end(&mut self, position: Option<u64>) {
        self.at_end = true;
        self.short_since = None;
        let reached = position.into_iter().chain(self.probed.take()).max();
        self.fetched = self.fetched.max(reached.unwrap_or(0));
    }

    /// Whether it stands at an end that was told, and the partition is known to end at `end` behind that: so it has to be
    /// assigned once more.
    pub(super) fn is_short_of(&mut self, end: u64, now: Instant) -> bool {
        if !self.at_end || end <= self.fetched || self.probed.is_some() || self.assigned != Assigned::Yes {
            return false;
        }
        let since = *self.short_since.get_or_insert(now);
        let is_over = now.saturating_duration_since(since) >= GRACE;
        if is_over {
            (self.probed, self.at_end, self.short_since) = (Some(end), false, None);
        }
        is_over
    }

    /// It is assigned from `fetched` on.
    pub(super) fn is_assigned(&mut self) {
        (self.assigned, self.at_end, self.short_since) = (Assigned::Yes, false, None);
    }

    /// Gives back what waits beyond `most` bytes, to be fetched once more.
    pub(super) fn park(&mut self, most: usize) {
        while self.buffered > most && self.batches.len() > 1 {
            let Some(batch) = self.batches.pop_back() else { break };
            self.buffered -= batch.stored_bytes().min(self.buffered);
            self.fetched = self.batches.back().map_or(self.offset, |last| last.end_offset());
        }
        self.assigned = Assigned::Parked;
    }

    /// Hands over batches of about `max_bytes`, at least one if there is one.
    pub(super) fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        let mut batches: Vec<Arc<dyn LogBatch>> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.batches.front() {
            let size = next.stored_bytes();
            if bytes > 0 && bytes + size > max_bytes {
                break;
            }
            let Some(batch) = self.batches.pop_front() else { break };
            bytes += size;
            self.offset = batch.end_offset();
            batches.push(batch);
        }
        self.buffered -= bytes.min(self.buffered);
        if self.batches.is_empty() {
            self.offset = self.fetched;
        }
        match &self.failure {
            Some(failure) if batches.is_empty() => Err(failure.summary()),
            _ => Ok(batches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        let mut queue = Queue::new(TopicPartition::new("t", 0), 1, 10);
        queue.is_assigned();
        queue
    }

    fn offsets(queue: &mut Queue) -> Vec<u64> {
        let batches = queue.poll(1 << 20).unwrap();
        let decoded = batches.iter().map(|batch| batch.decode().unwrap());
        decoded.flat_map(|batch| batch.iter().map(|record| record.offset).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn what_comes_once_more_is_dropped() {
        let mut queue = queue();
        assert!(queue.starves() && !queue.has_news());
        queue.receive(MessageBatch::of(10, &[10, 12]));
        queue.receive(MessageBatch::of(10, &[10, 12]));
        assert_eq!((offsets(&mut queue), queue.offset()), (vec![10, 12], 13));
        assert!(offsets(&mut queue).is_empty());
    }

    #[test]
    fn an_end_of_a_transaction_is_passed_by_the_position_of_the_consumer() {
        let mut queue = queue();
        queue.receive(MessageBatch::of(10, &[10]));
        queue.reached_end(Some(12));
        assert!(!queue.starves());
        assert_eq!((offsets(&mut queue), queue.offset()), (vec![10], 12));
        // A position that is not known, or behind, changes nothing.
        queue.reached_end(None);
        queue.reached_end(Some(3));
        assert_eq!(queue.offset(), 12);
    }

    #[test]
    fn where_the_position_does_not_tell_the_partition_is_assigned_once_more() {
        let mut queue = queue();
        let now = Instant::now();
        assert!(!queue.is_short_of(15, now + GRACE), "it does not stand at an end");
        queue.reached_end(None);
        assert!(!queue.is_short_of(15, now), "what is there may be on its way");
        assert!(!queue.is_short_of(10, now + GRACE), "it stands at the end");
        assert!(queue.is_short_of(15, now + GRACE));
        assert!(!queue.is_short_of(15, now + 3 * GRACE), "it is at it");
        queue.is_assigned();
        // Something comes on the way.
        queue.receive(MessageBatch::of(10, &[11]));
        assert_eq!((offsets(&mut queue), queue.offset()), (vec![11], 12));
        queue.reached_end(None);
        assert!(queue.has_news());
        assert!(offsets(&mut queue).is_empty());
        assert_eq!(queue.offset(), 15);
    }

    #[test]
    fn what_waits_beyond_its_share_is_fetched_once_more() {
        let mut queue = queue();
        for offset in 10..20 {
            queue.receive(MessageBatch::of(offset, &[offset]));
        }
        queue.park(queue.buffered / 2);
        assert_eq!((queue.assigned, queue.fetched()), (Assigned::Parked, 15));
        assert!(!queue.starves());
        queue.is_assigned();
        queue.receive(MessageBatch::of(15, &[15]));
        assert_eq!(offsets(&mut queue), (10..16).collect::<Vec<_>>());
        assert_eq!(queue.buffered, 0);
    }

    #[test]
    fn a_failure_comes_behind_what_was_fetched() {
        let mut queue = queue();
        queue.receive(MessageBatch::of(10, &[10]));
        queue.fail(Error::invalid("broken"));
        queue.fail(Error::invalid("another one"));
        assert_eq!(offsets(&mut queue), [10]);
        assert!(queue.has_news() && queue.has_failed());
        assert!(queue.poll(1).unwrap_err().message().contains("broken"));
    }
}
