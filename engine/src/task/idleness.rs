//! Silent partitions: how long each was silent, and how far it is to be taken on in time for it.
//!
//! What is decided here is input from then on, as a [tick](crate::time::Tick): no result depends on the clock but through it. Only the
//! engine that appends its epochs decides, when there is nothing to read, and only where something closes by it.

use super::Core;
use crate::changelog::{Changelog, Role};
use crate::clock::millis;
use crate::time::{Idle, NEVER, Policy};
use crate::{Error, Result, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Ticks are at least so far apart.
const APART: Duration = Duration::from_secs(1);

/// How long partitions were silent, by the clock.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Where each stood when it was looked at last, and since when.
    since: BTreeMap<TopicPartition, (u64, i64)>,
    last_tick_ms: Option<i64>,
}

impl Silence {
    /// Since when `id`, which stands at `offset` now, was silent.
    fn of(&mut self, id: &TopicPartition, offset: u64, now_ms: i64) -> i64 {
        let (stood, since) = self.since.entry(id.clone()).or_insert((offset, now_ms));
        // A clock that was put back measures anew.
        if *stood != offset || *since > now_ms {
            (*stood, *since) = (offset, now_ms);
        }
        *since
    }
}

/// A partition, as it is now.
struct Reader {
    id: TopicPartition,
    idle: Idle,
    /// Whether it was silent for long enough.
    is_idle: bool,
    time_ms: i64,
}

impl Core {
    /// Takes silent partitions on in time, if anything closes by it. `false` if not. Nothing is to be read now.
    ///
    /// # Errors
    /// The engine must stop: see [`Task::step`](super::Task::step).
    pub(super) fn let_time_pass(&mut self) -> Result<bool> {
        let setting = Arc::clone(self.service.setting());
        if !self.may_tick() || self.main.next_mark().is_some() {
            return Ok(false);
        }
        let now_ms = setting.clock.now_ms();
        let mut times = BTreeMap::new();
        for group in setting.graph.time_groups() {
            let readers = self.readers(&group, now_ms);
            times.extend(taken_on(&readers, now_ms));
        }
        let is_early = |last_ms: i64| (last_ms..last_ms.saturating_add(millis(APART))).contains(&now_ms);
        if times.is_empty() || self.silence.last_tick_ms.is_some_and(is_early) {
            return Ok(false);
        }
        let mut with = self.main.shared().published().reached.times.clone();
        for (id, time_ms) in &times {
            with.raise(id, *time_ms);
        }
        if !self.main.would_close(&with)? {
            return Ok(false);
        }
        self.silence.last_tick_ms = Some(now_ms);
        self.tick(&times)
    }

    /// Takes all partitions that are read on to `time_ms`, but for those that have come as far.
    ///
    /// # Errors
    /// As for [`let_time_pass`](Self::let_time_pass).
    pub(crate) fn advance_time(&mut self, time_ms: i64) -> Result<bool> {
        if self.service.role() != Role::Holder {
            return Err(Error::unavailable(
                "time is moved on by the engine that appends the epochs of its name, which is another one now",
            ));
        }
        // What is marked already goes on as it was.
        while self.main.has_marks_ahead()? {
            if !self.step()? {
                return Err(Error::unavailable(
                    "time cannot be moved on before all is folded of which epochs are marked, and some of it is not there yet: step on first",
                ));
            }
        }
        let published = self.main.shared().published();
        let behind = |id: &TopicPartition| published.reached.times.of(id).is_none_or(|at| at < time_ms);
        let read = self.read().filter(|id| behind(id)).cloned().collect::<Vec<_>>();
        let periods = self.service.graph.periods().map(|(id, _)| id).filter(|id| behind(id));
        let times: BTreeMap<_, _> = read.iter().chain(periods).map(|id| (id.clone(), time_ms)).collect();
        if times.is_empty() { Ok(false) } else { self.tick(&self.among_all(times)) }
    }

    /// The partitions of topics that the main task reads: those that only a build reads have no place in it yet.
    pub(super) fn read(&self) -> impl Iterator<Item = &TopicPartition> {
        let read = self.main.position().iter().map(|(id, _)| id);
        read.filter(|id| self.service.graph.reads(&id.topic) && self.main.reads(id))
    }

    /// Whether a tick may be made now, unless there are marks ahead.
    pub(super) fn may_tick(&self) -> bool {
        let held = self.build.as_ref().is_some_and(|build| build.holds_main);
        let waits = held || self.main.awaiting().is_some();
        self.ticks && !waits && self.service.setting().role() == Role::Holder
    }

    pub(super) fn tick(&mut self, times: &BTreeMap<TopicPartition, i64>) -> Result<bool> {
        let setting = self.service.setting();
        setting.ensure_ticks()?;
        self.main.tick(times)
    }

    /// The partitions of these topics. One that lags is not idle, and neither is one of which the log does not know the end.
    fn readers(&mut self, topics: &BTreeSet<Arc<str>>, now_ms: i64) -> Vec<Reader> {
        let Self { service, silence, main, .. } = self;
        let (graph, changelog) = (&service.graph, &service.changelog);
        let times = &main.shared().published().reached.times;
        let read = main.position().iter().filter(|(id, _)| topics.contains(&id.topic) && main.reads(id));
        let reader = |(id, offset): (&TopicPartition, u64)| {
            let idle = graph.idle(&id.topic);
            let silent_ms = now_ms.saturating_sub(silence.of(id, offset, now_ms));
            let is_long = idle.after().is_some_and(|after| silent_ms >= millis(after));
            let is_idle = is_long && ends_at(&**changelog, id, offset);
            Reader { id: id.clone(), idle, is_idle, time_ms: times.of(id).unwrap_or(NEVER) }
        };
        read.map(reader).collect()
    }
}

/// Whether the log ends at `offset`, as far as it is known without asking others, and nothing keeps it from being known.
fn ends_at(changelog: &dyn Changelog, id: &TopicPartition, offset: u64) -> bool {
    changelog.trouble().is_none() && changelog.heard_offsets(id).is_ok_and(|kept| kept.end <= offset)
}

/// To where the idle ones of these partitions are taken on, which wait for each other.
fn taken_on(readers: &[Reader], now_ms: i64) -> impl Iterator<Item = (TopicPartition, i64)> {
    let awake = readers.iter().filter(|reader| !reader.is_idle).map(|reader| reader.time_ms).min();
    let leader = awake.or_else(|| readers.iter().map(|reader| reader.time_ms).max()).unwrap_or(NEVER);
    let idle = readers.iter().filter(|reader| reader.is_idle);
    idle.filter_map(move |reader| {
        let time_ms = match reader.idle.0 {
            Policy::Never => return None,
            Policy::Follow { .. } => leader,
            Policy::Clock { behind, .. } => now_ms.saturating_sub(millis(behind)),
        };
        (reader.time_ms < time_ms).then(|| (reader.id.clone(), time_ms))
    })
}
