//! The thread that holds: it takes over when the group says so, commits what was appended, and stops when it was fenced.
//!
//! Safety does not rest on the group but on the transactional producer: to begin its tenure ends that of every other, and
//! aborts what it had open; after that the marks that are committed are final until the next one is its own. A producer that a
//! request may have outlived is not used again, as a late one could end the next transaction (KAFKA-17754): another one takes
//! its place, and what came of the last transaction is read from the marks.

use super::mark::Mark;
use super::marks::{MarkReader, Placed};
use super::state::{Entry, LOOK, Stage, State, look_at};
use super::tenure::{Setup, Tenure};
use super::transactions::{Transactions, Trouble};
use millpond_engine::changelog::{Ack, Append};
use millpond_engine::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long an end waits for the last commit.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// The last mark is looked for among so many offsets first.
const TAIL: u64 = 256;

/// So many fatal errors within so long are too many.
const MOST_FATAL: usize = 3;
const FATAL_WITHIN: Duration = Duration::from_secs(60);

/// What is to be done next.
pub(super) enum Todo {
    TakeOver,
    Commit,
    Resign,
    End,
}

/// The thread's own.
pub(super) struct Writer {
    tenure: Arc<Tenure>,
    producer: Option<Box<dyn Transactions>>,
    /// Where the marks ended when they were looked at last, and the last one of them.
    end: u64,
    last: Option<Placed>,
    fatal: VecDeque<Instant>,
    /// A transaction is no larger, in bytes, as one of twice that was lost.
    most_bytes: usize,
}

impl Writer {
    pub(super) fn new(tenure: Arc<Tenure>) -> Self {
        Self { tenure, producer: None, end: 0, last: None, fatal: VecDeque::new(), most_bytes: usize::MAX }
    }

    /// Runs until its tenure is over.
    pub(super) fn run(mut self) {
        loop {
            let todo = self.next();
            if !self.act(&todo) {
                break;
            }
        }
    }

    /// Waits until there is something to do.
    fn next(&self) -> Todo {
        let mut state = self.tenure.state();
        loop {
            if let Some(todo) = todo(&state) {
                return todo;
            }
            state = self.tenure.wait(state, Duration::from_secs(1));
        }
    }

    /// Does it. `false` if its tenure is over.
    pub(super) fn act(&mut self, todo: &Todo) -> bool {
        let outcome = match todo {
            Todo::End => return false,
            Todo::Resign => {
                tracing::info!(
                    name = self.tenure.name,
                    "another process of the service is to append its epochs"
                );
                self.lose();
                Ok(())
            }
            Todo::TakeOver => self.take_over(),
            Todo::Commit => self.commit(),
        };
        if let Err(error) = outcome {
            tracing::error!(%error, name = self.tenure.name, "epochs cannot be appended to Kafka any more");
            self.tenure.state().failed = Some(error);
            self.tenure.tell();
        }
        true
    }

    /// Becomes the holder.
    fn take_over(&mut self) -> Result<()> {
        let has_begun = self.renew()?;
        let mut state = self.tenure.state();
        state.writing.is_over();
        if !has_begun {
            return Ok(());
        }
        if state.stage != Stage::Following || !state.acknowledged {
            // An epoch came too late: the engine steps back first.
            drop(state);
            self.producer = None;
            return Ok(());
        }
        state.last = self.last.as_ref().map(|placed| placed.mark.epoch.clone());
        state.end = self.end;
        state.own.clear();
        state.stage = Stage::Holding;
        drop(state);
        tracing::info!(name = self.tenure.name, "this process appends the epochs of the service now");
        self.tenure.tell();
        Ok(())
    }

    /// Gets a new producer, and reads the marks to their end, which is final then. `false` if the group has changed its mind.
    fn renew(&mut self) -> Result<bool> {
        self.producer = None;
        let name = &self.tenure.name;
        self.tenure.state().writing.begin(|| format!("no transaction can be made as `{name}` yet"));
        loop {
            match self.tenure.producers.begin_tenure() {
                Ok(producer) => match self.read_tail() {
                    Ok(()) => {
                        self.producer = Some(producer);
                        return Ok(true);
                    }
                    Err(error) if error.kind() == ErrorKind::Corrupt => return Err(error),
                    Err(error) => self.retry("the marks of epochs cannot be read now", &error),
                },
                Err(Trouble::Refused(error)) => return Err(error),
                Err(Trouble::Fatal(error)) => self.count_fatal(error)?,
                Err(Trouble::Lost(error) | Trouble::Unknown(error)) => {
                    self.retry("no transactions can be made with Kafka now", &error);
                }
                Err(Trouble::Fenced) => {}
            }
            let state = self.tenure.state();
            let state = self.tenure.wait(state, self.tenure.back_off);
            if !state.assigned || state.leaving.is_some() {
                return Ok(false);
            }
        }
    }

    /// Notes what is tried again.
    fn retry(&self, what: &str, error: &Error) {
        tracing::warn!(%error, name = self.tenure.name, "{what}");
        self.tenure.state().writing.note(format_args!("{what}: {error}"));
    }

    /// Looks for the last mark, which is final as long as no other process begins.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be read now; `Corrupt` for what is no mark.
    fn read_tail(&mut self) -> Result<()> {
        let Setup { fetcher, topic, .. } = &**self.tenure;
        let kept = fetcher.latest_offsets(topic)?;
        let mut back = TAIL;
        loop {
            let from = kept.end.saturating_sub(back).max(kept.start);
            // Of what was read before nothing is of use: it may have failed, or be long gone.
            let mut tail = MarkReader::open(&**fetcher, topic, from)?;
            let mut last = None;
            // What stands behind the end is of one that has begun since, and has fenced this one.
            while let Some(read) = tail.poll_below(kept.end, || self.tenure.state().leaving.is_some())? {
                last = read.into_iter().next_back().or(last);
            }
            if last.is_some() || from == kept.start {
                (self.last, self.end) = (last, kept.end);
                return Ok(());
            }
            back = back.saturating_mul(16);
        }
    }

    /// Commits what is in the outbox, and what comes while it is at it.
    fn commit(&mut self) -> Result<()> {
        if self.producer.as_ref().is_none_or(|producer| producer.is_shaky()) && !self.regain()? {
            return Ok(());
        }
        let mut bytes = 0;
        let sent = match self.transact(&mut bytes) {
            Ok(sent) => sent,
            Err(trouble) => {
                // What is too much for the time that a transaction may take comes through in parts.
                self.most_bytes = bytes / 2;
                return self.recover(trouble);
            }
        };
        self.most_bytes = self.most_bytes.saturating_mul(2).max(bytes);
        let mut state = self.tenure.state();
        state.confirm(sent);
        drop(state);
        self.tenure.tell();
        Ok(())
    }

    /// Sends and commits. Returns how many epochs that were; `bytes` is how large they are, also of those that are lost.
    fn transact(&mut self, bytes: &mut usize) -> Result<usize, Trouble> {
        let Some(producer) = &mut self.producer else { return Ok(0) };
        let tenure = &*self.tenure;
        let began = Instant::now();
        let streams = tenure.loose.is_empty();
        if streams {
            producer.begin()?;
        }
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let mut loose = Vec::new();
        loop {
            let there: Vec<Arc<Entry>> = tenure.state().outbox.iter().skip(entries.len()).cloned().collect();
            let mut unsent = there.clone();
            unsent.truncate(fitting(&there, bytes, self.most_bytes));
            let is_full = unsent.len() < there.len();
            for entry in &unsent {
                if streams {
                    send(tenure, &mut **producer, entry)?;
                } else if !entry.loose.is_empty() {
                    loose.push(send_loose(tenure, &entry.loose)?);
                }
            }
            entries.extend(unsent);
            let state = tenure.state();
            let left = tenure.commit_every.saturating_sub(began.elapsed());
            let is_wanted = state.wanted > state.committed || state.leaving.is_some() || !state.assigned;
            let has_all = state.outbox.len() == entries.len();
            if left.is_zero() || is_full || (is_wanted && has_all) || !state.has_room() {
                break;
            }
            // Of what came meanwhile nobody tells any more.
            if has_all {
                drop(tenure.wait(state, left));
            }
        }
        if !streams {
            // Before the mark is there, or it could be that they never are; and no transaction is open as long as it takes.
            let late = || "records that need no transaction are not acknowledged".to_owned();
            tenure.state().writing.begin(late);
            for ack in loose {
                wait_loose(tenure, ack)?;
            }
            producer.begin()?;
            for entry in &entries {
                send(tenure, &mut **producer, entry)?;
            }
        }
        tenure.state().writing.begin(|| format!("what `{}` appends is not committed yet", tenure.name));
        loop {
            match producer.commit() {
                Ok(()) => return Ok(entries.len()),
                Err(Trouble::Unknown(error)) if !is_over(tenure) => {
                    tenure.state().writing.note(format_args!("a transaction is not committed yet: {error}"));
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Holds no more.
    fn lose(&mut self) {
        self.producer = None;
        self.tenure.state().lose();
        self.tenure.tell();
    }

    /// Goes on after an error, or does not.
    fn recover(&mut self, trouble: Trouble) -> Result<()> {
        match trouble {
            Trouble::Refused(error) => return Err(self.of_epochs(error)),
            Trouble::Fatal(error) => self.count_fatal(error)?,
            Trouble::Fenced => {
                tracing::warn!(
                    name = self.tenure.name,
                    "another process of the service has taken over before all was committed"
                );
                self.lose();
                return Ok(());
            }
            Trouble::Lost(error) | Trouble::Unknown(error) => {
                self.retry("a transaction is begun again", &error);
            }
        }
        self.producer = None;
        // The group may have given the epochs to another one meanwhile.
        let state = self.tenure.state();
        drop(self.tenure.wait(state, self.tenure.back_off));
        self.regain().map(drop)
    }

    /// Says of which records it is what was refused.
    fn of_epochs(&self, error: Error) -> Error {
        let state = self.tenure.state();
        match (state.outbox.front(), state.outbox.back()) {
            (Some(first), Some(last)) => error
                .context(format_args!("what comes of records from {} to {}", first.mark.from, last.mark.to)),
            _ => error,
        }
    }

    /// Begins its tenure anew, with another producer: what of the outbox was committed all the same is known then, and whether
    /// another one has taken over in between. `false` if it holds no more.
    fn regain(&mut self) -> Result<bool> {
        let before = self.tenure.state().last.clone();
        if !self.tenure.state().assigned || !self.renew()? {
            self.tenure.state().lose();
            self.tenure.tell();
            return Ok(false);
        }
        let Some(Placed { mark: Mark { epoch, holder }, .. }) = &self.last else { return Ok(true) };
        let mut state = self.tenure.state();
        if before.as_ref() == Some(epoch) {
            return Ok(true);
        }
        if *holder != self.tenure.identity {
            drop(state);
            self.lose();
            return Ok(false);
        }
        let committed = state.outbox.iter().take_while(|entry| epoch.to.includes(&entry.mark.to)).count();
        state.confirm(committed);
        drop(state);
        self.tenure.tell();
        Ok(true)
    }

    /// Counts an error after which a producer is of no use.
    fn count_fatal(&mut self, error: Error) -> Result<()> {
        let now = Instant::now();
        self.fatal.push_back(now);
        self.fatal.retain(|at| now - *at < FATAL_WITHIN);
        if self.fatal.len() >= MOST_FATAL {
            return Err(Error::internal(format!(
                "the producer of `{}` has failed {MOST_FATAL} times within a minute, each time for good; nothing is lost: mend \
                 what is wrong and open the engine again",
                self.tenure.name
            ))
            .with_source(error));
        }
        tracing::warn!(%error, "a producer has failed for good, and another one takes its place");
        Ok(())
    }
}

/// What there is to do now, if there is anything.
pub(super) fn todo(state: &State) -> Option<Todo> {
    let is_ready = state.failed.is_none();
    if let Some(since) = state.leaving {
        let can = state.stage == Stage::Holding && is_ready && since.elapsed() < LAST_COMMIT;
        return Some(if can && !state.outbox.is_empty() { Todo::Commit } else { Todo::End });
    }
    match state.stage {
        Stage::Following if state.assigned && state.acknowledged && is_ready => Some(Todo::TakeOver),
        Stage::Holding if is_ready && !state.outbox.is_empty() => Some(Todo::Commit),
        Stage::Holding if !state.assigned => Some(Todo::Resign),
        _ => None,
    }
}

/// How many of these epochs fit into a transaction beside the `bytes` that are in it, to which they are added; one always does.
fn fitting(epochs: &[Arc<Entry>], bytes: &mut usize, most_bytes: usize) -> usize {
    let fits = |entry: &&Arc<Entry>| {
        let fits = *bytes == 0 || bytes.saturating_add(entry.bytes) <= most_bytes;
        *bytes += if fits { entry.bytes } else { 0 };
        fits
    };
    epochs.iter().take_while(fits).count()
}

/// Whether there is no time left to commit anything.
fn is_over(tenure: &Tenure) -> bool {
    tenure.state().leaving.is_some_and(|since| since.elapsed() > LAST_COMMIT)
}

/// Sends what belongs to a transaction.
fn send(tenure: &Tenure, producer: &mut dyn Transactions, entry: &Entry) -> Result<(), Trouble> {
    producer.send(&entry.appends)?;
    let mark = Mark::encode(&entry.mark, &tenure.identity).map_err(Trouble::Refused)?;
    producer.send_mark(&tenure.topic, &mark)
}

/// Waits until what needs no transaction is there, as long as this process is to hold.
fn wait_loose(tenure: &Tenure, mut ack: Ack) -> Result<(), Trouble> {
    loop {
        if let Poll::Ready(outcome) = look_at(&mut ack) {
            return outcome.map(drop).map_err(refused_or_lost);
        }
        let state = tenure.state();
        if !state.assigned || state.leaving.is_some_and(|since| since.elapsed() > LAST_COMMIT) {
            return Err(Trouble::Lost(Error::unavailable(
                "records without a transaction were not acknowledged",
            )));
        }
        drop(tenure.wait(state, LOOK));
    }
}

/// Sends what needs no transaction, once there is room for it.
fn send_loose(tenure: &Tenure, appends: &[Append]) -> Result<Ack, Trouble> {
    loop {
        match tenure.appender.append(appends.to_vec()) {
            Err(error) if error.kind() == ErrorKind::Unavailable && tenure.state().leaving.is_none() => {
                tenure.appender.room().wait_blocking();
            }
            sent => return sent.map_err(refused_or_lost),
        }
    }
}

/// Whether what was not taken is to be sent again.
fn refused_or_lost(error: Error) -> Trouble {
    if error.kind() == ErrorKind::Invalid { Trouble::Refused(error) } else { Trouble::Lost(error) }
}
