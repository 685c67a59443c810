//! The thread of a consumer: it is assigned what is read of its topic, polls, and hands over what has come.
//!
//! It stops polling while too much waits. A partition is never paused: what librdkafka has of it would be discarded. Only where
//! one reader's records fill everything while another one lacks its own, the first one's partition is taken away for a while.

use super::batch::Collected;
use super::client;
use super::context::{Meaning, Trouble, meaning};
use super::queue::{Assigned, Queue};
use super::state::Shared;
use crate::fetch::errors::out_of_range;
use millpond_engine::{Error, Result, TopicPartition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long nothing has to come until it is looked whether there is something else to do.
const ROUND: Duration = Duration::from_millis(20);
/// What is collected before it is handed over, at the most.
const ROUND_BYTES: usize = 1 << 20;
const ROUND_MESSAGES: usize = 20_000;

/// A consumer and what it reads.
pub(super) struct Lane {
    shared: Arc<Shared>,
    number: u64,
    topic: Arc<str>,
    consumer: BaseConsumer<Trouble>,
    /// What the consumer is assigned, and up to where everything was taken from it.
    next: BTreeMap<u32, u64>,
    doubt: Option<Doubt>,
    /// When it was asked last what has become of the topic, and how often that is done; none if never.
    looked: Instant,
    look_after: Option<Duration>,
}

/// Bytes that librdkafka could not read: a record batch, then reading goes no further; or what somebody has answered who is no
/// broker, at an address that was named beside others.
struct Doubt {
    since: Instant,
    /// Up to where everything was taken then.
    next: BTreeMap<u32, u64>,
    failure: Error,
}

/// If reading has gone no further after this time, although there is more, it was a record batch.
const DOUBT: Duration = Duration::from_secs(5);

/// How often it is asked whether a topic has got more partitions, unless `topic.metadata.refresh.interval.ms` says otherwise.
const METADATA_AGE: Duration = Duration::from_secs(30);
/// So long a broker may take to tell that: records wait meanwhile.
const METADATA_PATIENCE: Duration = Duration::from_millis(500);

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, number: u64, topic: Arc<str>) -> Result<Self> {
        let consumer = client::consumer(&shared)?;
        let said =
            shared.config.get("topic.metadata.refresh.interval.ms").and_then(|millis| millis.parse().ok());
        // Nothing, and below nothing, is never, as librdkafka reads it.
        let after = |millis: i64| u64::try_from(millis).ok().filter(|millis| *millis > 0);
        let look_after = said.map_or(Some(METADATA_AGE), |millis| after(millis).map(Duration::from_millis));
        let (next, looked) = (BTreeMap::new(), Instant::now());
        Ok(Self { shared, number, topic, consumer, next, doubt: None, looked, look_after })
    }

    /// Runs until nobody reads the topic by this consumer any more.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            self.look();
            match self.arrange() {
                Next::Ends => return,
                Next::Polls => self.round(),
                Next::Waits => {
                    let state = shared.lock();
                    drop(shared.wait(state, ROUND));
                    // What librdkafka itself has to say is heard by whoever polls; there is nothing else to hear it.
                }
            }
        }
    }

    /// Asks every so often how many partitions the topic has, and wakes whoever reads it if there are more. A broker that does not
    /// answer is asked again later.
    fn look(&mut self) {
        if self.look_after.is_none_or(|after| self.looked.elapsed() < after) {
            return;
        }
        self.looked = Instant::now();
        let Ok(described) = self.consumer.fetch_metadata(Some(&self.topic), METADATA_PATIENCE) else {
            return;
        };
        let found = described.topics().first().filter(|topic| topic.error().is_none());
        let Some(count) = found.map(|topic| topic.partitions().len()) else { return };
        let before = self.shared.lock().partitions.insert(Arc::clone(&self.topic), count);
        if before != Some(count) {
            self.shared.watchers.wake();
        }
    }

    /// Assigns and takes away what is to be, and says what comes next.
    fn arrange(&mut self) -> Next {
        let (mut wanted, mut again, mut read) = (Vec::new(), Vec::new(), BTreeSet::new());
        let next = {
            let mut state = self.shared.lock();
            let (now, ends) = (Instant::now(), std::mem::take(&mut state.ends));
            let share = self.shared.buffer_bytes / state.lanes.len().max(1);
            let mut queues: Vec<&mut Queue> = state.of_lane(self.number).collect();
            park(&mut queues, share);
            for queue in queues.iter_mut().filter(|queue| !queue.has_failed()) {
                let number = queue.id.partition;
                let end = ends.get(&queue.id).map_or(0, |ends| ends.end);
                match queue.assigned {
                    Assigned::Parked if queue.buffered > share / 4 => continue,
                    Assigned::Parked | Assigned::Wanted => {
                        queue.is_assigned();
                        wanted.push((number, queue.fetched()));
                    }
                    Assigned::Yes => {
                        if queue.is_short_of(end, now) {
                            again.push((number, queue.fetched()));
                        }
                    }
                }
                read.insert(number);
            }
            let full = queues.iter().map(|queue| queue.buffered).sum::<usize>() >= share;
            let none = queues.is_empty();
            state.ends = ends;
            if state.closed || none {
                state.lanes.remove(&self.number);
                return Next::Ends;
            }
            if full || read.is_empty() { Next::Waits } else { Next::Polls }
        };
        wanted.extend(again);
        let is_anew = |number: &u32| wanted.iter().any(|(wanted, _)| wanted == number);
        let gone = self.next.keys().filter(|number| !read.contains(number) || is_anew(number));
        let gone: Vec<u32> = gone.copied().collect();
        if !gone.is_empty() {
            self.taken_away(&gone);
        }
        if !wanted.is_empty() {
            self.assign(&wanted);
        }
        next
    }

    fn taken_away(&mut self, partitions: &[u32]) {
        let mut list = TopicPartitionList::new();
        for number in partitions {
            self.next.remove(number);
            list.add_partition(&self.topic, number.cast_signed());
        }
        self.tell(self.consumer.incremental_unassign(&list));
    }

    fn assign(&mut self, partitions: &[(u32, u64)]) {
        let mut list = TopicPartitionList::new();
        for &(number, from) in partitions {
            self.next.insert(number, from);
            let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
            self.tell(list.add_partition_offset(&self.topic, number.cast_signed(), offset));
        }
        self.tell(self.consumer.incremental_assign(&list));
    }

    /// What goes wrong with an assignment is a defect: there is nothing to be waited for.
    fn tell(&self, done: KafkaResult<()>) {
        if let Err(error) = done {
            self.fail(&error, None);
        }
    }

    /// Takes what there is, once something has come.
    fn round(&mut self) {
        let mut collected = BTreeMap::new();
        let (mut ended, mut error) = (BTreeSet::new(), None);
        let (mut messages, mut bytes, mut patience) = (0, 0, ROUND);
        while messages < ROUND_MESSAGES && bytes < ROUND_BYTES {
            match self.consumer.poll(patience) {
                None => break,
                Some(Ok(message)) => {
                    bytes += message.payload_len() + message.key_len();
                    collect(&self.next, &mut collected, &message);
                    messages += 1;
                }
                Some(Err(KafkaError::PartitionEOF(number))) => {
                    ended.insert(number.cast_unsigned());
                    // What comes next lies behind this end.
                    break;
                }
                Some(Err(failed)) => {
                    error = Some(failed);
                    break;
                }
            }
            patience = Duration::ZERO;
        }
        if messages > 0 || !ended.is_empty() {
            self.shared.trouble.is_over();
            self.hand_over(collected, &ended);
        }
        match error.as_ref().map(|error| meaning(&self.topic, error)) {
            None => {}
            Some(Meaning::Passing) => self.note(error.as_ref()),
            Some(Meaning::OutOfRange) => self.explain(),
            Some(Meaning::Damaged(failure)) => {
                self.note(error.as_ref());
                let next = self.next.clone();
                self.doubt.get_or_insert_with(|| Doubt { since: Instant::now(), next, failure });
            }
            Some(Meaning::Fails(failure)) => {
                if let Some(error) = &error {
                    self.fail(error, Some(failure));
                }
            }
        }
        self.resolve_doubt();
    }

    fn resolve_doubt(&mut self) {
        let Some(Doubt { next, failure, .. }) = self.doubt.take_if(|doubt| doubt.since.elapsed() >= DOUBT)
        else {
            return;
        };
        if next == self.next && self.is_short() {
            self.fail_with(&failure);
        }
    }

    /// Whether there is more of a partition than was read.
    fn is_short(&self) -> bool {
        let positions = self.positions();
        self.next.iter().any(|(number, next)| {
            let asked =
                self.consumer.fetch_watermarks(&self.topic, number.cast_signed(), self.shared.timeout);
            let reached = positions.get(number).copied().unwrap_or_default().max(*next);
            asked.ok().and_then(client::range).is_some_and(|(_, end)| end > reached)
        })
    }

    fn note(&self, error: Option<&KafkaError>) {
        if let Some(error) = error {
            self.shared.trouble.note(error.rdkafka_error_code(), &error.to_string());
        }
    }

    fn hand_over(&mut self, collected: BTreeMap<u32, Collected>, ended: &BTreeSet<u32>) {
        for (number, collected) in &collected {
            self.next.insert(*number, collected.next());
        }
        let positions = if ended.is_empty() { BTreeMap::new() } else { self.positions() };
        let mut state = self.shared.lock();
        for (number, collected) in collected {
            let id = TopicPartition::new(Arc::clone(&self.topic), number);
            // One whose reader has gone, and for which another one has come, is assigned anew.
            let Some(queue) = state.of_lane(self.number).find(|queue| is_read(queue, &id)) else { continue };
            if let Some(batch) = collected.finish(id) {
                queue.receive(batch);
            }
        }
        for queue in state.of_lane(self.number).filter(|queue| ended.contains(&queue.id.partition)) {
            if queue.assigned == Assigned::Yes {
                queue.reached_end(positions.get(&queue.id.partition).copied());
            }
        }
        drop(state);
        self.shared.notify();
        self.shared.watchers.wake();
    }

    /// Where the consumer stands: behind all that it has handed over, ends of transactions included.
    fn positions(&self) -> BTreeMap<u32, u64> {
        let Ok(list) = self.consumer.position() else { return BTreeMap::new() };
        let known = list.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => {
                Some((element.partition().cast_unsigned(), u64::try_from(offset).ok()?))
            }
            _ => None,
        });
        known.collect()
    }

    /// An offset that was asked for is not there, and it is not told which.
    fn explain(&self) {
        for (number, next) in &self.next {
            let id = TopicPartition::new(Arc::clone(&self.topic), *number);
            let asked =
                self.consumer.fetch_watermarks(&self.topic, number.cast_signed(), self.shared.timeout);
            let Some((start, end)) = asked.ok().and_then(client::range) else { continue };
            if let Some(error) = out_of_range(&id, *next, start, end) {
                let mut state = self.shared.lock();
                state
                    .of_lane(self.number)
                    .filter(|queue| queue.id == id)
                    .for_each(|queue| queue.fail(error.summary()));
            }
        }
        self.shared.notify();
        self.shared.watchers.wake();
    }

    fn fail(&self, error: &KafkaError, failure: Option<Error>) {
        let failure = failure.unwrap_or_else(|| {
            let what = format!("the consumer of topic {} cannot be told what to read: {error}", self.topic);
            Error::internal(what)
        });
        self.fail_with(&failure);
    }

    fn fail_with(&self, failure: &Error) {
        self.shared.lock().of_lane(self.number).for_each(|queue| queue.fail(failure.summary()));
        self.shared.notify();
        self.shared.watchers.wake();
    }
}

/// What a consumer does next.
enum Next {
    Polls,
    Waits,
    Ends,
}

fn is_read(queue: &Queue, id: &TopicPartition) -> bool {
    queue.id == *id && queue.assigned == Assigned::Yes
}

fn collect(
    next: &BTreeMap<u32, u64>,
    collected: &mut BTreeMap<u32, Collected>,
    message: &BorrowedMessage<'_>,
) {
    let number = message.partition().cast_unsigned();
    let Some(&base) = next.get(&number) else { return };
    collected.entry(number).or_insert_with(|| Collected::new(base)).push(message);
}

/// Takes away the partition of which most waits, if too much does and somebody lacks everything.
fn park(queues: &mut [&mut Queue], share: usize) {
    let buffered: usize = queues.iter().map(|queue| queue.buffered).sum();
    if buffered < share || !queues.iter().any(|queue| queue.starves()) {
        return;
    }
    let most = share / (2 * queues.len().max(1));
    if let Some(queue) = queues.iter_mut().max_by_key(|queue| queue.buffered) {
        queue.park(most);
    }
}
