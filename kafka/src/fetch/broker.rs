//! The thread that fetches from one broker: one request at a time, and the next as soon as the response is read.

use super::cluster::NodeId;
use super::connection::{Backoff, Connection, TooLarge};
use super::error::{self, Remedy};
use super::exchange::{self, Answer, Asked, Plan};
use super::partition::{Read, too_large};
use super::rhythm::Rhythm;
use super::state::{Ends, Shared, State, Work};
use super::{epochs, offsets};
use millpond_engine::{Error, Result};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Instant;

/// What the thread keeps from one request to the next.
struct Worker<'a> {
    shared: &'a Arc<Shared>,
    node: NodeId,
    connection: Option<Connection>,
    backoff: Backoff,
    /// Nothing is asked before.
    not_before: Option<Instant>,
    rhythm: Rhythm,
    /// So many requests ask for one partition each, to find out whose batch is too large.
    one_by_one: usize,
}

/// Fetches what is read from the broker `node`, until the fetcher is closed or nothing is read from there any more.
pub(super) fn run(shared: &Arc<Shared>, node: NodeId) {
    let backoff = Backoff::new(shared.config.backoff);
    let (rhythm, connection) = (Rhythm::new(), None);
    let mut worker = Worker { shared, node, connection, backoff, not_before: None, rhythm, one_by_one: 0 };
    while let Some(work) = shared.next_work(node, worker.not_before.take(), &mut worker.rhythm) {
        match work {
            Work::Validate(doubtful) => worker.validate(&doubtful),
            Work::Fetch(plan) => worker.fetch(plan),
        }
    }
}

impl Worker<'_> {
    /// The connection, or a new one.
    fn connect(&mut self) -> Result<&mut Connection> {
        if self.connection.as_ref().is_some_and(Connection::is_expired) {
            self.connection = None;
        }
        if self.connection.is_none() {
            let address = self.shared.lock().cluster.brokers.get(&self.node).cloned();
            let address = address.ok_or_else(|| {
                error::away(format_args!("broker {}", self.node), "the cluster does not know it any more")
            })?;
            let deadline = Instant::now() + self.shared.config.request_timeout;
            let opened = Connection::open(&address, &self.shared.config, deadline);
            let opened = self.shared.control.note(&address, opened)?;
            let mut state = self.shared.lock();
            if state.closed {
                return Err(error::closed());
            }
            state.workers.insert(self.node, opened.handle());
            drop(state);
            self.connection = Some(opened);
        }
        self.connection.as_mut().ok_or_else(|| Error::internal("no connection"))
    }

    /// The connection is gone: whoever is read from here looks for its leader again, which may still be this broker.
    fn lose(&mut self, error: &Error) {
        let now = Instant::now();
        if let Some(connection) = self.connection.take() {
            self.shared.control.away(connection.address(), error);
        }
        self.not_before = Some(now + self.backoff.delay());
        let mut state = self.shared.lock();
        if !state.closed {
            tracing::warn!(broker = self.node, %error, "lost a broker");
        }
        if let Some(handle) = state.workers.get_mut(&self.node) {
            *handle = None;
        }
        for partition in state.readers.values_mut() {
            if partition.source() == Some(self.node) {
                partition.lose_leader(error.message(), now);
            }
        }
        drop(state);
        self.shared.notify();
    }

    fn fetch(&mut self, mut plan: Plan) {
        if self.one_by_one > 0 {
            self.one_by_one -= 1;
            self.shared.lock().unask(plan.asked.get(1..).unwrap_or_default());
            plan.asked.truncate(1);
        }
        let shared = self.shared;
        let answer = self.connect().and_then(|connection| exchange::fetch(connection, &plan, &shared.config));
        match answer {
            Ok(answer) => {
                self.backoff.reset();
                let mut pause = answer.throttle;
                if answer.partitions.is_empty() {
                    // An answer without any partition comes at once: nobody has waited for records.
                    pause = pause.max(shared.config.backoff.0);
                }
                self.not_before = (!pause.is_zero()).then(|| Instant::now() + pause);
                self.take_in(&plan, answer);
            }
            Err(error) => {
                self.shared.lock().release(&plan);
                if let Some(large) = error.source().and_then(|source| source.downcast_ref::<TooLarge>()) {
                    self.single_out(&plan, large);
                }
                self.lose(&error);
            }
        }
    }

    /// A response was larger than what may be taken in, which a single batch has caused: whose it is shows when each partition
    /// is asked for by itself.
    fn single_out(&mut self, plan: &Plan, large: &TooLarge) {
        match plan.asked.as_slice() {
            [Asked { reader, id, offset, .. }] => {
                if let Some(partition) = self.shared.lock().readers.get_mut(reader) {
                    partition.fail(too_large(id, *offset, large.bytes, large.most));
                }
                self.shared.wake();
            }
            several => self.one_by_one = several.len(),
        }
    }

    /// Looks through the response, and hands its batches to the partitions.
    fn take_in(&mut self, plan: &Plan, answer: Answer) {
        let mut reads = Vec::with_capacity(answer.partitions.len());
        for (place, mut answer) in answer.partitions {
            let Some(asked) = plan.asked.get(place) else { continue };
            let read = match answer.code {
                0 => Read::of(&asked.id, asked.offset, &mut answer),
                _ => Read::default(),
            };
            reads.push((asked, answer, read));
        }
        let (now, most) = (Instant::now(), self.shared.config.max_response_bytes());
        let (mut news, mut records, mut elsewhere, mut out_of_range) = (false, false, false, Vec::new());
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        state.release(plan);
        for (asked, answer, read) in reads {
            let moved = answer.code == 0 && state.note_ends(asked, answer.start, answer.end, now);
            records |= !read.pieces.is_empty();
            news |= moved;
            let turn = state.next_turn();
            let Some(partition) = state.readers.get_mut(&asked.reader) else { continue };
            // One that stands at the end was served as well: another reader of the same partition is behind it.
            let is_served = !read.pieces.is_empty()
                || answer.end.is_some_and(|end| answer.code == 0 && asked.offset >= end);
            if is_served {
                partition.turn = turn;
            }
            if answer.code == 0 {
                elsewhere |= answer.nearer.is_some();
                news |= partition.receive(asked.offset, &answer, read, most);
                continue;
            }
            match error::remedy(answer.code, &asked.id, asked.offset) {
                Remedy::FindLeader => {
                    partition.lose_leader(&error::name(answer.code), now);
                    partition.wait(now);
                }
                Remedy::OutOfRange if partition.ask_the_leader() => {}
                Remedy::OutOfRange => {
                    partition.wait(now);
                    out_of_range.push(asked);
                }
                Remedy::Retry => partition.wait(now),
                Remedy::Fail(error) => {
                    partition.fail(error);
                    news = true;
                }
            }
        }
        if elsewhere && let Err(error) = self.shared.start_threads(state) {
            tracing::error!(%error, "cannot read from the replica that is nearer");
        }
        drop(guard);
        if !records {
            self.rhythm.nothing();
        }
        self.shared.notify();
        for asked in out_of_range {
            news |= self.explain(asked);
        }
        if news {
            self.shared.wake();
        }
    }

    /// The broker says that an offset is out of range: below what is kept, or behind the end?
    fn explain(&mut self, asked: &Asked) -> bool {
        let deadline = Instant::now() + self.shared.config.request_timeout;
        let bounds = self.connect().and_then(|connection| offsets::bounds(connection, &asked.id, deadline));
        match bounds {
            Ok(Some((start, end))) => {
                let error = super::partition::out_of_range(&asked.id, asked.offset, start, end);
                let mut state = self.shared.lock();
                match (state.readers.get_mut(&asked.reader), error) {
                    (Some(partition), Some(error)) => {
                        partition.fail(error);
                        true
                    }
                    // It was only so for a moment: the partition is asked for again.
                    _ => false,
                }
            }
            Ok(None) => false,
            Err(error) => {
                self.lose(&error);
                false
            }
        }
    }

    /// Makes sure that what was fetched in former epochs of the leaders still holds.
    fn validate(&mut self, doubtful: &[(Asked, i32)]) {
        let deadline = Instant::now() + self.shared.config.request_timeout;
        let answers = self.connect().and_then(|connection| epochs::ends(connection, doubtful, deadline));
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.unask(doubtful.iter().map(|(asked, _)| asked));
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                drop(state);
                return self.lose(&error);
            }
        };
        for (asked, answer) in answers {
            let Some(partition) = state.readers.get_mut(&asked.reader) else { continue };
            match answer {
                Ok((epoch, end)) => partition.validated(epoch, end),
                Err(code) => match error::remedy(code, &asked.id, asked.offset) {
                    Remedy::Fail(error) => partition.fail(error),
                    Remedy::FindLeader => {
                        partition.lose_leader(&error::name(code), now);
                        partition.wait(now);
                    }
                    Remedy::Retry | Remedy::OutOfRange => partition.wait(now),
                },
            }
        }
        drop(state);
        self.shared.notify();
        self.shared.wake();
    }
}

impl State {
    /// What an answer says of where the partition begins and ends. Answers whether that is new.
    fn note_ends(&mut self, asked: &Asked, start: Option<u64>, end: Option<u64>, at: Instant) -> bool {
        let Some(end) = end else { return false };
        let before = self.ends.get(&asked.id);
        let start = start.or(before.map(|before| before.start)).unwrap_or(0);
        let moved = before.is_none_or(|before| (before.start, before.end) != (start, end));
        self.ends.insert(asked.id.clone(), Ends { start, end, at });
        moved
    }
}
