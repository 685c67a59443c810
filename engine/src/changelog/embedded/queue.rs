//! What waits for the writer: a queue bounded by the bytes of its records.
//!
//! Whoever calls takes a place in the order and goes on, or is refused. The writer takes everything that waits, up
//! to a cap, which is what makes a group. Work without records is always admitted.

use super::index::IfThere;
use super::layout::PartitionSlot;
use crate::changelog::{AckSender, EpochMark, NameInUse, Record, Room, RoomSender, TopicConfig, TopicType};
use crate::{Error, Position, Result, TopicPartition};
use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Records for a partition that is known to exist, each known to be storable.
pub(super) struct SlotAppend {
    pub(super) slot: PartitionSlot,
    pub(super) partition: TopicPartition,
    pub(super) records: Vec<Record>,
}

/// Where the answer to a blocked caller goes.
pub(super) type Reply<T> = SyncSender<Result<T>>;

/// Something for the writer to do.
pub(super) enum Job {
    Append { appends: Vec<SlotAppend>, ack: AckSender },
    Epoch { producer: String, mark: EpochMark, appends: Vec<SlotAppend>, reply: Reply<bool> },
    Hold { consumer: String, position: Position, reply: Reply<()> },
    Topic { name: String, config: TopicConfig, if_there: IfThere, reply: Reply<()> },
    Owner { name: String, owner: String, reply: Reply<()> },
    Names { reply: Reply<Vec<NameInUse>> },
    Release { name: String, reply: Reply<()> },
    Type { name: String, declared: TopicType, reply: Reply<()> },
    Trim { reply: Reply<u64> },
    Sync { reply: Reply<()> },
    Close { reply: Reply<()> },
}

impl Job {
    /// Answers with `error` instead of doing it.
    pub(super) fn refuse(self, error: &Error) {
        // Whoever asked may be gone, which is fine.
        match self {
            Self::Append { ack, .. } => ack.resolve(Err(error.summary())),
            Self::Epoch { reply, .. } => drop(reply.send(Err(error.summary()))),
            Self::Trim { reply } => drop(reply.send(Err(error.summary()))),
            Self::Names { reply } => drop(reply.send(Err(error.summary()))),
            Self::Hold { reply, .. }
            | Self::Owner { reply, .. }
            | Self::Release { reply, .. }
            | Self::Topic { reply, .. }
            | Self::Type { reply, .. }
            | Self::Sync { reply }
            | Self::Close { reply } => {
                drop(reply.send(Err(error.summary())));
            }
        }
    }

    /// Roughly how many bytes of memory it holds.
    fn bytes(&self) -> usize {
        let (Self::Append { appends, .. } | Self::Epoch { appends, .. }) = self else { return 0 };
        let record = |record: &Record| size_of::<Record>() + record.payload_bytes();
        appends.iter().flat_map(|append| &append.records).map(record).sum()
    }
}

pub(super) struct WriterQueue {
    state: Mutex<QueueState>,
    arrived: Condvar,
    max_bytes: usize,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<(Job, usize)>,
    bytes: usize,
    /// The writer is woken once so many jobs wait, or one that should not wait for others.
    wanted: usize,
    urgent: bool,
    /// Who waits for room.
    waiting: Vec<RoomSender>,
    /// Why nothing is admitted any more.
    stopped: Option<Error>,
}

impl QueueState {
    fn is_worth_waking(&self) -> bool {
        self.jobs.len() >= self.wanted || self.urgent || self.stopped.is_some()
    }
}

impl WriterQueue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), max_bytes }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `job` in, or refuses it on the spot.
    pub(super) fn push(&self, job: Job) {
        let bytes = job.bytes();
        let mut state = self.state();
        let refusal = match (&state.stopped, &job) {
            (Some(error), _) => error.summary(),
            (None, Job::Append { .. }) if state.bytes >= self.max_bytes => Error::unavailable(format!(
                "{} bytes of records wait to be written already; await `Producer::ready` (or call `ready_blocking`), then append again",
                state.bytes
            )),
            _ => {
                state.bytes += bytes;
                state.urgent |= !matches!(job, Job::Append { .. });
                state.jobs.push_back((job, bytes));
                if state.is_worth_waking() {
                    self.arrived.notify_one();
                }
                return;
            }
        };
        drop(state);
        job.refuse(&refusal);
    }

    pub(super) fn room(&self) -> Room {
        let mut state = self.state();
        if state.bytes < self.max_bytes || state.stopped.is_some() {
            return Room::now();
        }
        let (sender, room) = Room::pending();
        state.waiting.push(sender);
        room
    }

    /// Waits for jobs and takes those that make about `max_bytes`, at least one; none once the queue was stopped.
    ///
    /// Whoever was acknowledged just now is about to append again: with the first of them there it waits, no longer
    /// than `patience`, for as many as `expected`.
    pub(super) fn take(&self, max_bytes: usize, expected: usize, patience: Duration) -> Vec<Job> {
        let mut state = self.state();
        state.wanted = 1;
        while state.jobs.is_empty() && state.stopped.is_none() {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.wanted = expected;
        let waits = |state: &mut QueueState| !state.is_worth_waking() && state.bytes < max_bytes;
        let waited = self.arrived.wait_timeout_while(state, patience, waits);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.urgent = false;
        let (mut taken, mut taken_bytes) = (Vec::new(), 0);
        while taken_bytes < max_bytes {
            let Some((job, bytes)) = state.jobs.pop_front() else { break };
            taken.push(job);
            taken_bytes += bytes;
        }
        state.bytes -= taken_bytes;
        // Half of it, so that those who wait come back to more than a single free place.
        if state.bytes <= self.max_bytes / 2 {
            state.waiting.clear();
        }
        taken
    }

    /// Refuses with `error` whatever waits and whatever comes. The first error stays.
    pub(super) fn stop(&self, error: &Error) {
        let mut state = self.state();
        state.stopped.get_or_insert_with(|| error.summary());
        let left = std::mem::take(&mut state.jobs);
        state.bytes = 0;
        state.waiting.clear();
        self.arrived.notify_all();
        drop(state);
        for (job, _) in left {
            job.refuse(error);
        }
    }

    /// The error that `stop` was called with, if it was.
    pub(super) fn check(&self) -> Result<()> {
        self.state().stopped.as_ref().map_or(Ok(()), |error| Err(error.summary()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::changelog::Ack;

    fn append(queue: &WriterQueue, value_bytes: usize) -> Ack {
        let (sender, ack) = Ack::pending();
        let records = vec![Record::new("", vec![0; value_bytes])];
        let slot = PartitionSlot { topic: 0, partition: 0 };
        let appends = vec![SlotAppend { slot, partition: TopicPartition::new("a", 0), records }];
        queue.push(Job::Append { appends, ack: sender });
        ack
    }

    #[tokio::test]
    async fn a_full_queue_refuses_until_half_of_it_was_taken() {
        let queue = WriterQueue::new(10_000);
        let admitted: Vec<_> = (0..3).map(|_| append(&queue, 4000)).collect();
        let refused = append(&queue, 1).wait_blocking().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(refused.message().contains("await `Producer::ready`"), "{refused}");
        let mut room = Box::pin(queue.room());
        let mut is_ready = async |queue: &WriterQueue| {
            assert_eq!(queue.take(1, 1, Duration::ZERO).len(), 1);
            tokio::select! { biased; () = &mut room => true, () = std::future::ready(()) => false }
        };
        assert!(!is_ready(&queue).await);
        assert!(is_ready(&queue).await);
        queue.room().await;
        drop(append(&queue, 1));
        assert_eq!(queue.take(usize::MAX, 1, Duration::ZERO).len(), 2);
        drop(admitted);
    }

    #[test]
    fn a_stopped_queue_refuses_with_its_first_error_what_waits_and_what_comes() {
        let queue = WriterQueue::new(1);
        let waiting = append(&queue, 1);
        queue.stop(&Error::unavailable("disk full"));
        queue.stop(&Error::closed("closed"));
        for ack in [waiting, append(&queue, 1)] {
            assert_eq!(ack.wait_blocking().unwrap_err().kind(), ErrorKind::Unavailable);
        }
        queue.room().wait_blocking();
        assert!(queue.take(1, 1, Duration::ZERO).is_empty());
    }
}
