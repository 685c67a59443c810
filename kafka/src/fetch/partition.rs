//! What is known of one partition while it is read: how far it was fetched, what waits to be polled, and what is wrong.
//!
//! Two offsets are kept: up to `fetched` everything was asked for and has come, up to `offset` everything was handed over. What
//! lies between them is in the queue, with the stretches of which nothing is to be read.

use super::aborted::CommittedFilter;
use super::batch::{Batches, KafkaBatch};
use super::cluster::NodeId;
use super::connection::Backoff;
use super::error;
use super::exchange::PartitionAnswer;
use millpond_engine::changelog::LogBatch;
use millpond_engine::{Error, ErrorKind, Result, TopicPartition};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// So many answers in a row must have been empty before it is believed that there is nothing up to the end.
const EMPTY_ANSWERS: u8 = 3;

/// A partition that somebody reads.
#[derive(Debug)]
pub(super) struct Partition {
    pub id: TopicPartition,
    pub topic_id: Uuid,
    /// Who is asked: the leader, or a replica that the leader has named as nearer. None while that is not known.
    leader: Option<NodeId>,
    nearer: Option<NodeId>,
    leader_epoch: i32,
    /// The leader's epoch in which it was last made sure that no record that was fetched has been taken back.
    validated_epoch: i32,
    /// That of the last batch that was fetched; -1 before.
    fetched_epoch: i32,
    /// The next offset to ask for.
    fetched: u64,
    /// The next offset to hand over.
    offset: u64,
    queue: VecDeque<Piece>,
    /// The bytes of the queue.
    pub buffered: usize,
    /// What ends the reading, after the queue was handed over.
    failure: Option<Error>,
    /// It is part of a request that was not answered yet.
    pub asked: bool,
    /// Not asked before.
    pub retry_at: Option<Instant>,
    backoff: Backoff,
    /// Since when the brokers do not know it.
    pub missing_since: Option<Instant>,
    /// Since when, and why, it is not known whom to ask.
    pub lost: Option<(Instant, String)>,
    empty_answers: u8,
    /// The least that must be asked for, so that the next batch is whole.
    pub least_bytes: usize,
    /// Who was served the longest time ago comes first.
    pub turn: u64,
    /// When it was polled in vain last, by how many times something had been handed over.
    in_vain: Option<u64>,
}

/// A stretch of the queue: a batch, or offsets of which nothing is to be read.
#[derive(Debug)]
pub(super) struct Piece {
    pub batch: Option<Arc<KafkaBatch>>,
    pub end: u64,
}

/// What of an answer was of use.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub pieces: Vec<Piece>,
    pub bytes: usize,
    /// The epoch of the last batch.
    epoch: Option<i32>,
    /// How large the batch is of which only the beginning has come.
    cut_bytes: Option<usize>,
    failure: Option<Error>,
}

impl Read {
    /// Looks through the batches of an answer, without a lock: which are to be handed over, and which only passed by.
    pub(super) fn of(partition: &TopicPartition, asked: u64, answer: &mut PartitionAnswer) -> Self {
        let mut read = Self::default();
        let mut filter = CommittedFilter::new(std::mem::take(&mut answer.aborted));
        let mut batches = Batches::new(partition, asked, std::mem::take(&mut answer.records));
        for batch in &mut batches {
            let admitted = batch.and_then(|batch| Ok((filter.admits(&batch)?, batch)));
            match admitted {
                Ok((admitted, batch)) => read.push(admitted, batch),
                Err(error) => {
                    read.failure = Some(error);
                    break;
                }
            }
        }
        read.cut_bytes = batches.cut_bytes();
        read
    }

    fn push(&mut self, admitted: bool, batch: KafkaBatch) {
        let end = batch.end_offset();
        self.epoch = Some(batch.leader_epoch());
        if admitted {
            self.bytes += batch.stored_bytes();
        }
        self.pieces.push(Piece { batch: admitted.then(|| Arc::new(batch)), end });
    }
}

impl Partition {
    /// A partition that is read from `offset` on, and of which it must be found out who leads it.
    pub(super) fn new(
        id: TopicPartition,
        topic_id: Uuid,
        offset: u64,
        backoff: (Duration, Duration),
        turn: u64,
    ) -> Self {
        Self {
            id,
            topic_id,
            leader: None,
            nearer: None,
            leader_epoch: -1,
            validated_epoch: -1,
            fetched_epoch: -1,
            fetched: offset,
            offset,
            queue: VecDeque::new(),
            buffered: 0,
            failure: None,
            asked: false,
            retry_at: None,
            backoff: Backoff::new(backoff),
            missing_since: None,
            lost: None,
            empty_answers: 0,
            least_bytes: 0,
            turn,
            in_vain: None,
        }
    }

    /// The broker to ask.
    pub(super) fn source(&self) -> Option<NodeId> {
        self.nearer.or(self.leader)
    }

    pub(super) fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    pub(super) fn fetched(&self) -> u64 {
        self.fetched
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether `poll` has anything to hand over, or to say.
    pub(super) fn has_news(&self) -> bool {
        !self.queue.is_empty() || self.failure.is_some()
    }

    /// Whether it was polled in vain, and nothing was handed over since, of any partition: `handed` is how many times that was done.
    pub(super) fn starves(&self, handed: u64) -> bool {
        self.buffered == 0 && self.in_vain == Some(handed)
    }

    /// It was polled in vain.
    pub(super) fn lacks(&mut self, handed: u64) {
        self.in_vain = Some(handed);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether it may be asked for now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.asked && self.failure.is_none() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// The epoch of what was fetched last, if the leader has changed since: it must be made sure that it still holds.
    pub(super) fn epoch_to_validate(&self) -> Option<i32> {
        let changed = self.leader_epoch >= 0 && self.leader_epoch != self.validated_epoch;
        (changed && self.fetched_epoch >= 0).then_some(self.fetched_epoch)
    }

    /// The leader is known. Older news than what is known are passed over.
    pub(super) fn led_by(&mut self, leader: NodeId, epoch: i32) {
        if epoch >= 0 && epoch < self.leader_epoch {
            return;
        }
        if self.fetched_epoch < 0 {
            self.validated_epoch = epoch;
        }
        (self.leader, self.nearer, self.leader_epoch) = (Some(leader), None, epoch);
        (self.lost, self.missing_since) = (None, None);
    }

    /// It must be found out again who leads it.
    pub(super) fn lose_leader(&mut self, why: &str, now: Instant) {
        (self.leader, self.nearer) = (None, None);
        self.lost.get_or_insert_with(|| (now, why.to_owned()));
    }

    /// What keeps it from being fetched for `at_least`, if anything does.
    pub(super) fn trouble(&self, now: Instant, at_least: Duration) -> Option<String> {
        let (since, why) = self.lost.as_ref()?;
        let lasted = now.saturating_duration_since(*since);
        (lasted >= at_least)
            .then(|| format!("{} cannot be read: {why} (for {} s)", self.id, lasted.as_secs()))
    }

    /// Not before a while, which becomes longer each time.
    pub(super) fn wait(&mut self, now: Instant) {
        self.retry_at = Some(now + self.backoff.delay());
    }

    /// Nothing more is read.
    pub(super) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Takes in what has come for the request from offset `asked` on. A batch may have `most_bytes`. Answers whether there is
    /// something new to be polled.
    pub(super) fn receive(
        &mut self,
        asked: u64,
        answer: &PartitionAnswer,
        read: Read,
        most_bytes: usize,
    ) -> bool {
        if asked != self.fetched || self.failure.is_some() {
            return false;
        }
        (self.retry_at, self.missing_since, self.lost) = (None, None, None);
        self.backoff.reset();
        self.nearer = answer.nearer.or(self.nearer);
        if let Some(last) = read.pieces.last() {
            self.fetched = last.end;
            self.fetched_epoch = read.epoch.unwrap_or(self.fetched_epoch);
            self.least_bytes = 0;
            self.empty_answers = 0;
        } else if let Some(bytes) = read.cut_bytes {
            if bytes > most_bytes {
                self.fail(too_large(&self.id, asked, bytes, most_bytes));
            }
            self.least_bytes = bytes;
        } else if read.failure.is_none() && answer.nearer.is_none() {
            self.pass_by(answer);
        }
        self.buffered += read.bytes;
        self.queue.extend(read.pieces);
        if let Some(error) = read.failure {
            self.fail(error);
        }
        self.fetched > asked || self.failure.is_some()
    }

    /// An answer was empty although the end lies ahead: compaction or an aborted transaction has left nothing up to there. It
    /// is believed if nothing came for any partition, which cannot be for lack of room, several times.
    fn pass_by(&mut self, answer: &PartitionAnswer) {
        let ahead = answer.end.filter(|end| *end > self.fetched && answer.alone);
        let Some(end) = ahead else {
            self.empty_answers = 0;
            return;
        };
        self.empty_answers += 1;
        if self.empty_answers >= EMPTY_ANSWERS {
            self.empty_answers = 0;
            self.fetched = end;
            self.queue.push_back(Piece { batch: None, end });
        }
    }

    /// The leader says where the epoch ends in which the last batch was written: if that is below what was fetched, records
    /// were taken back.
    pub(super) fn validated(&mut self, epoch: i32, end: Option<u64>) {
        self.validated_epoch = self.leader_epoch;
        let Some(end) = end.filter(|end| *end < self.fetched) else { return };
        self.queue.clear();
        self.buffered = 0;
        (self.fetched, self.fetched_epoch) = (self.offset, epoch);
        if self.offset <= end {
            // None of them was handed over.
            return;
        }
        let (id, read) = (&self.id, self.offset);
        self.failure = Some(Error::new(
            ErrorKind::AheadOfChangelog,
            format!(
                "{id} was read up to offset {read}, but its new leader has lost what came after offset {end} (an unclean \
                 leader election): build the state again, or go back to a checkpoint from before"
            ),
        ));
    }

    /// The replica that was named as nearer does not have what is asked for.
    pub(super) fn ask_the_leader(&mut self) -> bool {
        self.nearer.take().is_some()
    }

    /// Gives back what is buffered beyond `share`, to be fetched once more; a single batch may be larger.
    pub(super) fn give_back(&mut self, share: usize) {
        while self.buffered > share && self.queue.len() > 1 {
            let Some(Piece { batch, .. }) = self.queue.pop_back() else { return };
            self.buffered -= batch.map_or(0, |batch| batch.stored_bytes()).min(self.buffered);
            self.fetched = self.queue.back().map_or(self.offset, |last| last.end);
        }
    }

    /// Hands over batches of about `max_bytes`, at least one if there is one.
    pub(super) fn poll(&mut self, max_bytes: usize) -> Result<Vec<Arc<dyn LogBatch>>> {
        let mut batches: Vec<Arc<dyn LogBatch>> = Vec::new();
        let mut bytes = 0;
        while let Some(piece) = self.queue.front() {
            let size = piece.batch.as_ref().map_or(0, |batch| batch.stored_bytes());
            if size > 0 && bytes > 0 && bytes + size > max_bytes {
                break;
            }
            let Some(Piece { batch, end }) = self.queue.pop_front() else { break };
            bytes += size;
            self.offset = end;
            if let Some(batch) = batch {
                batches.push(batch);
            }
        }
        self.buffered -= bytes.min(self.buffered);
        match &self.failure {
            Some(failure) if batches.is_empty() && self.queue.is_empty() => Err(failure.summary()),
            _ => Ok(batches),
        }
    }
}

/// That a batch does not fit into what may be taken in.
pub(super) fn too_large(id: &TopicPartition, offset: u64, bytes: usize, most: usize) -> Error {
    Error::invalid(format!(
        "the record batch of {id} at offset {offset} takes {bytes} bytes, and at most {most} are taken in at once: raise the \
         bytes that may be buffered"
    ))
}

/// That the offset asked for is not there: the offsets of the partition are `start` to `end`.
pub(crate) fn out_of_range(id: &TopicPartition, offset: u64, start: u64, end: u64) -> Option<Error> {
    let (kind, state) = match offset {
        _ if offset < start => (ErrorKind::BehindChangelog, "was deleted by the topic's retention"),
        _ if offset > end => (ErrorKind::AheadOfChangelog, "is past the end"),
        _ => return None,
    };
    Some(Error::new(kind, format!("offset {offset} of {id} {state}: there are {start} to {end}")))
}

/// That a partition is not there, after it was waited for.
pub(super) fn missing(id: &TopicPartition, since: Instant, now: Instant) -> Error {
    let seconds = now.saturating_duration_since(since).as_secs();
    error::unknown(format_args!("partition {id}, which was looked for during {seconds} s,"))
}
