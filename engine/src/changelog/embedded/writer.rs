//! The writer: the one thread that changes an embedded changelog.
//!
//! It takes whatever waits in the queue, writes it in one step, syncs once, makes it readable, and only then
//! acknowledges: group commit comes from the load itself. Being alone it needs no lock on what it decides by.
//!
//! IMPORTANT: after a failed write nobody knows what the medium holds, so the first failure (or panic) poisons the
//! changelog: everything queued and everything later is refused with it, until the directory is opened again.

use super::EmbeddedLog;
use super::group::CommitGroup;
use super::index::{Extent, IndexedPartition};
use super::layout::{self, PartitionSlot, RecordKey};
use super::options::Durability;
use super::queue::{Job, Reply};
use super::synced::SyncProgress;
use super::trim::Age;
use crate::changelog::names::family;
use crate::changelog::term::{self, Term};
use crate::changelog::{NameInUse, TopicConfig, TopicType};
use crate::identity::new_identity;
use crate::{Error, Position, Result, fault};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A group takes about so many bytes of records, which bounds how long its first append waits for its last one.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// A sync that took longer than this says nothing about the next one.
const MAX_LAST_SYNC: Duration = Duration::from_millis(4);

pub(super) struct Writer {
    pub(super) shared: Arc<EmbeddedLog>,
    /// The segment that is being written, and how much of it was.
    pub(super) segment: u64,
    pub(super) segment_bytes: usize,
    /// How old its records become before it is ended.
    pub(super) age: Age,
    /// The segments whose records cannot be moved, because they are damaged.
    pub(super) unmovable: BTreeSet<u64>,
    /// The segments before it that are still stored, with their bytes.
    pub(super) closed_segments: BTreeMap<u64, u64>,
    pub(super) holds: BTreeMap<String, Position>,
    /// The number of the next record in the sequence of the log.
    pub(super) next_sequence: u64,
    /// Whether something was appended since the log was opened.
    pub(super) term_begun: bool,
    pub(super) progress: SyncProgress,
    /// How many jobs were done at once the last time, and how long their sync took: how many more it is worth
    /// waiting for the next time, and how long.
    pub(super) last_jobs: usize,
    pub(super) last_sync: Duration,
}

/// Refuses what waits and what comes when the writer ends, in whatever way it does.
struct StopGuard(Arc<EmbeddedLog>);

impl Drop for StopGuard {
    fn drop(&mut self) {
        let error = if std::thread::panicking() {
            Error::internal("the writer of the changelog panicked; open the changelog again and report this")
        } else {
            super::closed()
        };
        self.0.queue.stop(&error);
        self.0.watchers.wake();
    }
}

impl Writer {
    /// Serves the queue until it is stopped.
    pub(super) fn run(mut self) {
        let guard = StopGuard(self.shared.clone());
        if let Err(error) = self.tidy() {
            tracing::error!(%error, "the changelog is poisoned");
            guard.0.queue.stop(&error);
            return;
        }
        loop {
            let mut jobs =
                guard.0.queue.take(MAX_GROUP_BYTES, self.last_jobs, self.last_sync / 4).into_iter();
            if jobs.len() == 0 {
                return;
            }
            self.last_jobs = jobs.len();
            if let Err(error) = self.serve(&mut jobs) {
                tracing::error!(%error, "the changelog is poisoned");
                guard.0.queue.stop(&error);
                jobs.for_each(|job| job.refuse(&error));
                return;
            }
        }
    }

    /// Does the jobs in order. An error poisons; whoever it concerns was told.
    fn serve(&mut self, jobs: &mut dyn Iterator<Item = Job>) -> Result<()> {
        let mut group = CommitGroup::default();
        for job in jobs {
            let Some(job) = self.gather(&mut group, job)? else { continue };
            self.commit(std::mem::take(&mut group))?;
            self.serve_alone(job)?;
        }
        self.commit(group)
    }

    /// Adds a job to the group, or hands back one that must be done on its own.
    fn gather(&mut self, group: &mut CommitGroup, job: Job) -> Result<Option<Job>> {
        let max_batch_bytes = self.shared.options.max_batch_bytes;
        let shared = &self.shared;
        let end = |slot: PartitionSlot| Ok(shared.index().partition(slot)?.end);
        match job {
            Job::Append { appends, ack } => {
                let position = group.add(appends, max_batch_bytes, &mut self.next_sequence, end)?;
                group.sync |= self.shared.options.durability == Durability::Fsync;
                group.answer_append(ack, position);
            }
            Job::Epoch { producer, mark, appends, reply } => {
                let mut epochs = shared.epochs();
                match epochs.is_new(&producer, &mark) {
                    Ok(true) => {
                        group.add(appends, max_batch_bytes, &mut self.next_sequence, end)?;
                        group.mark(&producer, epochs.next_number(&producer), &mark);
                        epochs.push(&producer, mark);
                        group.answer_epoch(reply, true);
                    }
                    Ok(false) => group.answer_epoch(reply, false),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Job::Hold { consumer, position, reply } => {
                self.hold(group, consumer, position);
                group.answer(reply);
            }
            Job::Owner { name, owner, reply } => {
                group.metadata.push((layout::owner_key(&name), Some(owner.clone().into_bytes())));
                shared.owners().insert(name, owner);
                group.sync = true;
                group.answer(reply);
            }
            Job::Names { reply } => drop(reply.send(Ok(self.names()))),
            Job::Release { name, reply } => {
                self.release(group, &name);
                group.sync = true;
                group.answer(reply);
            }
            Job::Sync { reply } => {
                group.sync = true;
                group.answer(reply);
            }
            alone @ (Job::Topic { .. } | Job::Type { .. } | Job::Trim { .. } | Job::Close { .. }) => {
                return Ok(Some(alone));
            }
        }
        Ok(None)
    }

    /// A hold is not synced: one that is lost keeps more records than needed, and a trim that relies on it is
    /// synced after it.
    fn hold(&mut self, group: &mut CommitGroup, consumer: String, position: Position) {
        let mut epochs = self.shared.epochs();
        let forgettable = epochs.forgettable(&consumer, &position);
        epochs.forget(&consumer, forgettable.end);
        group.metadata.extend(forgettable.map(|number| (layout::mark_key(&consumer, number), None)));
        let held = position.iter().next().is_some();
        group.metadata.push((layout::hold_key(&consumer), held.then(|| layout::position_value(&position))));
        if held {
            self.holds.insert(consumer, position);
        } else {
            self.holds.remove(&consumer);
        }
    }

    /// Every name that something is kept under.
    fn names(&self) -> Vec<NameInUse> {
        let (epochs, owners) = (self.shared.epochs(), self.shared.owners());
        let known = self.holds.keys().map(String::as_str).chain(epochs.producers());
        let known: BTreeSet<_> = known.chain(owners.keys().map(String::as_str)).collect();
        let name = |name: &str| {
            let marks = epochs.kept(name);
            NameInUse {
                name: name.to_owned(),
                hold: self.holds.get(name).cloned(),
                marks: marks.end - marks.start,
                owner: owners.get(name).cloned(),
                leased: self.shared.leases.has(name),
            }
        };
        known.into_iter().map(name).collect()
    }

    /// Forgets all that is kept under a name and those that go with it.
    fn release(&mut self, group: &mut CommitGroup, name: &str) {
        let (mut epochs, mut owners) = (self.shared.epochs(), self.shared.owners());
        for name in family(name) {
            group.metadata.extend(epochs.kept(&name).map(|number| (layout::mark_key(&name, number), None)));
            group.metadata.push((layout::hold_key(&name), None));
            group.metadata.push((layout::owner_key(&name), None));
            epochs.release(&name);
            owners.remove(&name);
            self.holds.remove(&name);
        }
    }

    fn commit(&mut self, mut group: CommitGroup) -> Result<()> {
        match self.store(&mut group) {
            Ok(()) => {
                if !group.batches.is_empty() {
                    self.shared.watchers.wake();
                }
                group.answer_all(Ok(()));
            }
            Err(error) => {
                // Stop first, so that whoever is told finds the changelog poisoned already.
                self.shared.queue.stop(&error);
                group.answer_all(Err(&error));
                return Err(error);
            }
        }
        if self.segment_bytes >= self.shared.options.segment_bytes { self.roll() } else { Ok(()) }
    }

    /// Writes the group and makes it readable.
    fn store(&mut self, group: &mut CommitGroup) -> Result<()> {
        group.seal()?;
        if group.batches.is_empty() && group.metadata.is_empty() {
            return if group.sync { self.sync() } else { Ok(()) };
        }
        let now_ms = self.shared.options.clock.now_ms();
        if self.segment_bytes > 0 && self.age.is_over(now_ms) {
            self.roll()?;
        }
        let begins = !self.term_begun && !group.batches.is_empty();
        let term = begins.then(|| self.next_term());
        let forgotten: Vec<u64> = if begins { self.forgettable_terms() } else { Vec::new() };
        fault::point("changelog.append.before_write")?;
        let begun = Instant::now();
        self.shared.database.write(group.sync, |rows| {
            for (slot, batch) in &group.batches {
                let key = RecordKey { segment: self.segment, slot: *slot, base_offset: batch.base_offset() };
                rows.put_frame(key, batch.frame());
            }
            // Together with the first records: a term without any would only make the log forget another one.
            if let Some(term) = &term {
                rows.put_meta(&layout::term_key(term.number), &layout::term_value(term));
                for &number in &forgotten {
                    rows.delete_meta(&layout::term_key(number));
                }
            }
            for (key, value) in &group.metadata {
                match value {
                    Some(value) => rows.put_meta(key, value),
                    None => rows.delete_meta(key),
                }
            }
        })?;
        self.last_sync = if group.sync { begun.elapsed().min(MAX_LAST_SYNC) } else { Duration::ZERO };
        fault::point("changelog.append.after_write")?;
        if let Some(term) = term {
            let mut terms = self.shared.terms();
            terms.drain(..forgotten.len());
            terms.push(term);
            self.term_begun = true;
        }
        let mut index = self.shared.index_mut();
        for (slot, batch) in &group.batches {
            self.segment_bytes += batch.stored_bytes();
            let piece = Extent::of(self.segment, batch.header(), batch.frame());
            index.add(*slot, Extent { appended_ms: Some(now_ms), ..piece })?;
            let config = index.topic(&batch.partition().topic).map(|topic| &topic.config);
            self.age.add(config.and_then(|config| config.retention_age), now_ms);
            self.progress.moved(*slot, batch.end_offset(), batch.records());
        }
        drop(index);
        if group.sync {
            self.progress.synced(&self.shared.database)?;
        }
        fault::point("changelog.append.before_ack")
    }

    /// The numbers of the terms that make way for a new one.
    fn forgettable_terms(&self) -> Vec<u64> {
        let terms = self.shared.terms();
        terms.iter().take(term::forgettable(&terms)).map(|term| term.number).collect()
    }

    /// The term that this opening begins.
    fn next_term(&self) -> Term {
        let ends = |(_, partition): (_, &IndexedPartition)| (partition.name.clone(), partition.end);
        let start = self.shared.index().partitions().map(ends).collect();
        let number = self.shared.terms().last().map_or(0, |last| last.number + 1);
        Term::new(number, new_identity(), start)
    }

    fn sync(&mut self) -> Result<()> {
        fault::point("changelog.sync.before")?;
        self.shared.database.sync()?;
        self.progress.synced(&self.shared.database)?;
        fault::point("changelog.sync.after")
    }

    /// Ends the segment: its index is stored, its memtable becomes a file, and the next segment begins.
    ///
    /// The index needs no sync of its own. If it is lost, so is nothing else: the segment is scanned instead.
    pub(super) fn roll(&mut self) -> Result<()> {
        fault::point("changelog.roll.before_index")?;
        let pieces = self.shared.index().pieces_of(self.segment);
        let bytes = pieces.iter().map(|(_, piece)| piece.stored_bytes).sum();
        let row = (layout::segment_key(self.segment), layout::pieces_value(&pieces));
        let next = layout::next_sequence_value(self.next_sequence);
        self.shared.database.write(false, |rows| {
            rows.put_meta(&row.0, &row.1);
            rows.put_meta(layout::NEXT_SEQUENCE, &next);
        })?;
        fault::point("changelog.roll.before_flush")?;
        self.shared.database.flush()?;
        fault::point("changelog.roll.after_flush")?;
        self.closed_segments.insert(self.segment, bytes);
        self.segment += 1;
        self.segment_bytes = 0;
        self.age = Age::default();
        Ok(())
    }

    fn serve_alone(&mut self, job: Job) -> Result<()> {
        match job {
            Job::Topic { name, config, if_there, reply } => {
                // Looked at again, since another caller may have been faster.
                let there = self.shared.index().has_topic(&name, &config, if_there);
                if let Ok(false) = there {
                    let created = self.create_topic(&name, &config);
                    return self.tell(&reply, created);
                }
                // Nothing was touched, so nothing is poisoned.
                reply.send(there.map(drop)).ok();
                Ok(())
            }
            Job::Type { name, declared, reply } => {
                // Looked at again here, where nobody else declares meanwhile.
                let changed = self.shared.index().declare(&name, &declared);
                if let Ok(Some((id, holds))) = changed {
                    let stored = self.store_type(id, holds);
                    return self.tell(&reply, stored);
                }
                reply.send(changed.map(drop)).ok();
                Ok(())
            }
            Job::Trim { reply } => {
                let trimmed = self.trim();
                self.tell(&reply, trimmed)
            }
            Job::Close { reply } => {
                let closed = fault::point("changelog.close.before_sync").and_then(|()| self.end());
                if closed.is_ok() {
                    self.shared.queue.stop(&super::closed());
                }
                self.tell(&reply, closed)
            }
            other => {
                other.refuse(&Error::internal("a job that belongs to a group was taken for one on its own"));
                Ok(())
            }
        }
    }

    /// Makes everything durable, and the note of it as well.
    fn end(&mut self) -> Result<()> {
        self.shared.database.sync()?;
        self.progress.synced(&self.shared.database)?;
        self.progress.sync(&self.shared.database)
    }

    fn create_topic(&mut self, name: &str, config: &TopicConfig) -> Result<()> {
        let (id, config) = {
            let index = self.shared.index();
            let there = index.topic(name);
            let config = config.settled(there.map(|topic| &topic.config));
            (there.map_or_else(|| index.next_topic_id(), |topic| topic.id), config)
        };
        fault::point("changelog.topic.before_write")?;
        let row = (layout::topic_key(id), layout::topic_value(name, &config));
        self.shared.database.write(true, |rows| rows.put_meta(&row.0, &row.1))?;
        fault::point("changelog.topic.after_write")?;
        let mut index = self.shared.index_mut();
        if index.topic(name).is_none() {
            self.progress.added_topic();
        }
        index.put_topic(name, id, config);
        drop(index);
        self.progress.synced(&self.shared.database)
    }

    fn store_type(&mut self, topic: u32, holds: TopicType) -> Result<()> {
        fault::point("changelog.type.before_write")?;
        let row = (layout::type_key(topic), holds.to_bytes());
        self.shared.database.write(true, |rows| rows.put_meta(&row.0, &row.1))?;
        fault::point("changelog.type.after_write")?;
        self.shared.index_mut().put_type(topic, holds);
        Ok(())
    }

    /// Answers a blocked caller, and hands on the error that poisons.
    fn tell<T>(&self, reply: &Reply<T>, result: Result<T>) -> Result<()> {
        let outcome = result.as_ref().map(|_| ()).map_err(Error::summary);
        if let Err(error) = &outcome {
            // Stop first, so that whoever is told finds the changelog poisoned already.
            self.shared.queue.stop(error);
        }
        reply.send(result).ok();
        outcome
    }
}
