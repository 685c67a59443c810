//! Streams of periods: when the next record of each is due by the clock, and where it stands among the records of the log.
//!
//! A record is a [tick](crate::time::Tick) that takes what stands for the stream on to the beginning of a period, and so it is input from
//! then on. It names all partitions that are read with where they stand: whoever folds the log again has it before and behind the same
//! records. Of the periods that have begun since the last one it is the last that counts, however many they are: a clock that jumps by a
//! year makes one record, and one that is put back none until it has come where it was.

use super::Core;
use crate::time::NEVER;
use crate::{Result, TopicPartition};
use std::collections::BTreeMap;

impl Core {
    /// Makes the records of the periods that have begun. `false` if none has. A state that has not caught up with the log that it was
    /// opened on does so first, or they would come before what is older.
    ///
    /// # Errors
    /// The engine must stop: see [`Task::step`](super::Task::step).
    pub(super) fn let_periods_begin(&mut self) -> Result<bool> {
        let setting = self.service.setting();
        if setting.graph.periods().next().is_none() || !self.may_tick() {
            return Ok(false);
        }
        let now_ms = setting.clock.now_ms();
        let published = self.main.shared().published();
        let begun = setting.graph.periods().map(|(id, period)| (id, period.begins(now_ms)));
        let told = |id: &TopicPartition| published.reached.times.of(id).unwrap_or(NEVER);
        let due = begun.filter(|(id, begins_ms)| told(id) < *begins_ms);
        let due: BTreeMap<_, _> = due.map(|(id, begins_ms)| (id.clone(), begins_ms)).collect();
        let is_behind = || self.main.shared().is_behind() || !published.reached.position.includes(&self.ends);
        if due.is_empty() || is_behind() { Ok(false) } else { self.tick(&self.among_all(due)) }
    }

    /// These with all other partitions that are read, if the graph has streams of periods: what they are taken on by has a place among all
    /// records then.
    pub(super) fn among_all(
        &self,
        mut times: BTreeMap<TopicPartition, i64>,
    ) -> BTreeMap<TopicPartition, i64> {
        if self.service.graph.periods().next().is_some() {
            self.read().for_each(|id| _ = times.entry(id.clone()).or_insert(NEVER));
        }
        times
    }
}
