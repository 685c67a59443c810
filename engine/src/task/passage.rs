//! The passage of time within an epoch: how far each partition has come before each piece of it, and after all of them.
//!
//! Where records say themselves when they happened, it is known before any piece is decoded. Where their sources say it, it is known
//! once all are, and what they have put out is raised to it.

use super::epoch::EpochRun;
use super::input::{BatchSlice, EpochInput};
use crate::time::{NEVER, StreamTimes};
use crate::{Result, TopicPartition};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How time has passed with an epoch.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// How far the partitions have come with it.
    pub(crate) times: StreamTimes,
    /// Those whose records have taken them further.
    pub(crate) moved: Vec<TopicPartition>,
    /// Whether partitions were taken in that had no part in time before, although others of their topics had.
    pub(crate) takes_in: bool,
}

/// The passage of time within one epoch.
pub(super) struct Passage<'a> {
    run: &'a EpochRun<'a>,
    input: &'a EpochInput,
    /// How far the partitions had come before.
    before: StreamTimes,
    /// Whether partitions were taken in.
    takes_in: bool,
    /// Of each topic of the plan whether its sources date its records.
    dated: Vec<bool>,
    /// How far each partition has come, by its number.
    reached: BTreeMap<u32, (TopicPartition, Option<i64>)>,
}

impl<'a> Passage<'a> {
    pub(super) fn new(run: &'a EpochRun<'a>, input: &'a EpochInput) -> Self {
        let mut before = run.times.clone();
        let ticks = input.reads.known(run.ticks).map_or(0, |_| run.ticks.tell_apart());
        // One without input changes nothing, and has no mark that would say whom it has taken in.
        let takes_in = !(input.pieces.is_empty() && input.ticks.is_empty())
            && input.reads.named() ^ ticks != before.named()
            && before.take_in(input.reads.iter().map(|(id, _)| id).filter(|id| *id != run.ticks));
        for reach in input.ticks.iter().flat_map(|tick| &tick.partitions) {
            before.raise(&reach.id(), reach.time_ms);
        }
        let dated = run.plan.sources.iter().map(|(topic, _)| run.graph.dates(topic)).collect();
        Self { run, input, before, takes_in, dated, reached: BTreeMap::new() }
    }

    fn is_dated(&self, piece: &BatchSlice) -> bool {
        self.dated.get(piece.topic).copied().unwrap_or(false)
    }

    /// How far its partition had come before each piece; none where the sources of its topic date their records.
    ///
    /// # Errors
    /// `Corrupt` if a batch is damaged.
    pub(super) fn floors(&mut self, parallel: bool) -> Result<Vec<Option<i64>>> {
        let (run, pieces) = (self.run, &self.input.pieces);
        let shown = |piece: &BatchSlice| {
            if self.is_dated(piece) { Ok(None) } else { piece.max_timestamp_ms() }
        };
        let shown: Vec<Option<i64>> = if parallel {
            run.pool.install(|| pieces.par_iter().map(shown).collect::<Result<_>>())?
        } else {
            pieces.iter().map(shown).collect::<Result<_>>()?
        };
        let floors = pieces.iter().zip(shown).map(|(piece, shown)| {
            let is_dated = self.is_dated(piece);
            let reached = self.of(piece);
            let floor = (!is_dated).then(|| reached.unwrap_or(NEVER));
            *reached = shown.max(*reached);
            floor
        });
        Ok(floors.collect())
    }

    /// Passes a piece of which sources have `shown` so much, and answers with how far its partition had come before it. None where
    /// that was known before.
    pub(super) fn pass(&mut self, piece: &BatchSlice, shown: Option<i64>) -> Option<i64> {
        if !self.is_dated(piece) {
            return None;
        }
        let reached = self.of(piece);
        let floor = *reached;
        *reached = shown.max(floor);
        floor
    }

    /// How far the partitions have come with the epoch, which of them have come further, and whether any were taken in.
    pub(super) fn passed(self) -> Passed {
        let mut times = self.before;
        let mut moved = Vec::new();
        for (partition, reached) in self.reached.into_values() {
            if let Some(reached) = reached.filter(|reached| times.of(&partition) < Some(*reached)) {
                times.raise(&partition, reached);
                moved.push(partition);
            }
        }
        Passed { times, moved, takes_in: self.takes_in }
    }

    fn of(&mut self, piece: &BatchSlice) -> &mut Option<i64> {
        let (_, reached) = self.reached.entry(piece.source).or_insert_with(|| {
            let topic = self
                .run
                .plan
                .sources
                .get(piece.topic)
                .map_or_else(|| Arc::from(""), |(topic, _)| Arc::clone(topic));
            let partition = TopicPartition::new(topic, piece.partition);
            let shown = self.before.of(&partition);
            (partition, shown)
        });
        reached
    }
}
