//! One epoch: decode, run every level on every shard, seal.
//!
//! Invariant: until the caller commits it, nothing of an epoch is visible, and it can be undone wholly.

use super::input::{BatchSlice, EpochInput};
use super::passage::{Passage, Passed};
use super::plan::{Plan, node};
use crate::changelog::Changelog;
use crate::dataflow::{AllAwaited, Context, Skipped, SourceBatch, Sunk, Taking};
use crate::flow::{Batch, Closings, Detail, Due, Failure, Meter, NodeOutput, Output, Pass, Router, Stamp};
use crate::folding::EngineId;
use crate::graph::{Graph, Step};
use crate::state::{AnyTable, RowBatch};
use crate::time::{NEVER, StreamTimes, Watermarks};
use crate::{Error, ErrorKind, Result, TopicPartition, panic_message};
use rayon::prelude::*;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Below this many records an epoch runs on the calling thread: waking others costs more than it saves.
const PARALLEL_RECORDS: u64 = 256;

/// Why an epoch was undone, and the record to blame if there is one.
pub(crate) struct EpochFailure {
    pub(crate) error: Error,
    /// By its place in the log.
    pub(crate) record: Option<u64>,
    /// Which step of the epoch failed, in the order in which one shard takes them: a node, or behind them a table.
    pub(crate) step: Option<usize>,
    /// Which value it failed at, of those that the record became.
    stamp: Option<Box<Stamp>>,
    /// What was due where it failed, if that was no record.
    pub(crate) due: Option<Box<Due>>,
    /// All the records that do not decode, if that is why.
    pub(crate) undecodable: Skipped,
    /// Whether the epoch became too large, so that a part of it is to be tried.
    pub(crate) too_much: bool,
    /// What has to be fetched before its records can be decoded, if that is why.
    pub(crate) awaited: Option<Box<AllAwaited>>,
}

impl EpochFailure {
    /// That user code failed at the record with this place, as far as that is known.
    fn at(failure: impl Into<Self>, place: Option<u64>) -> Self {
        let mut failure = failure.into();
        if failure.is_of_user() {
            failure.record = failure.record.or(place);
        }
        failure
    }

    /// Whether user code is to blame, so that the failure policy decides.
    pub(crate) fn is_of_user(&self) -> bool {
        self.error.kind() == ErrorKind::User
    }

    /// Whether it happened at what was made where something closed.
    pub(crate) fn is_of_closing(&self) -> bool {
        self.stamp.as_ref().is_some_and(|stamp| stamp.is_of_closing())
    }

    /// The place of what closed, if it happened at what is made of that.
    pub(crate) fn closing_place(&self) -> Option<u64> {
        self.stamp.as_ref().and_then(|stamp| stamp.closing_place())
    }

    /// That there are records which do not decode.
    fn undecodable(undecodable: Skipped) -> Option<Self> {
        let (&place, reason) = undecodable.first_key_value()?;
        Some(Self {
            error: Error::user(&reason.reason),
            record: Some(place),
            step: None,
            stamp: None,
            due: None,
            undecodable,
            too_much: false,
            awaited: None,
        })
    }

    /// That there are records which cannot be decoded yet.
    fn awaiting(awaited: AllAwaited) -> Option<Self> {
        let first = awaited.iter().next()?;
        let error = Error::unavailable(format!("{first} is not there yet"));
        Some(Self { awaited: Some(Box::new(awaited)), ..error.into() })
    }
}

impl From<Failure> for EpochFailure {
    fn from(mut failure: Failure) -> Self {
        let due = failure.take_due();
        let (stamp, too_much) = (failure.stamp(), failure.is_too_much());
        let record = stamp.map(|stamp| stamp.sequence);
        let (undecodable, stamp) = (Skipped::new(), stamp.map(Box::new));
        let error = failure.into_error();
        Self { error, record, step: None, stamp, due, undecodable, too_much, awaited: None }
    }
}

impl From<Error> for EpochFailure {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

/// What an epoch needs to know of its task.
pub(crate) struct EpochRun<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) changelog: &'a dyn Changelog,
    pub(crate) plan: &'a Plan,
    pub(crate) tables: &'a [Option<Arc<dyn AnyTable>>],
    pub(crate) pool: &'a rayon::ThreadPool,
    pub(crate) router: Router,
    pub(crate) epoch: u64,
    pub(crate) skipped: &'a Skipped,
    /// What is told of what closes, unless it is everything.
    pub(crate) closings: Option<&'a Closings<'a>>,
    /// Whether to note which record is being worked on.
    pub(crate) tracing: bool,
    /// Whether it is run again after a panic that was printed.
    pub(crate) again: bool,
    pub(crate) meter: &'a Meter,
    /// The engine whose epoch it is.
    pub(crate) engine: EngineId,
    /// How far the partitions had come in time before it.
    pub(crate) times: &'a StreamTimes,
    /// Where the ticks are, which are no records of the graph.
    pub(crate) ticks: &'a TopicPartition,
}

/// What an epoch produced.
#[derive(Default)]
pub(crate) struct Sealed {
    pub(crate) parts: Vec<RowBatch>,
    pub(crate) sunk: Vec<Sunk>,
    /// What it has become beyond its input, in bytes.
    pub(crate) grown_bytes: usize,
    /// How time has passed with it.
    pub(crate) passed: Passed,
}

/// What the source nodes of a topic made of a piece: of each node one batch per shard.
type Outputs = Vec<(usize, Vec<Batch>)>;

/// A piece, decoded: what does not, or not yet, with it; and how far its sources have seen the partition come in time, if it is for
/// them to say.
type Decoded = (Outputs, Skipped, AllAwaited, Option<i64>);

/// One shard's work in progress.
#[derive(Default)]
struct Lane {
    slots: Vec<NodeOutput>,
    sealed: Sealed,
}

impl EpochRun<'_> {
    /// Carries `input` through the graph.
    ///
    /// # Errors
    /// The failure of the earliest record, or any other. The tables hold a part of the epoch then: roll it back.
    pub(crate) fn carry(&self, input: &EpochInput) -> Result<Sealed, EpochFailure> {
        let parallel = self.router.shards() > 1 && input.records >= PARALLEL_RECORDS;
        let mut lanes: Vec<Lane> = (0..self.router.shards())
            .map(|_| Lane {
                slots: self
                    .plan
                    .duties
                    .iter()
                    .map(|duty| NodeOutput { parts: Vec::new(), consumers: duty.consumers })
                    .collect(),
                sealed: Sealed::default(),
            })
            .collect();
        let passed = self.decode(input, parallel, &mut lanes)?;
        let before = Watermarks::at(self.graph, self.times);
        let watermarks = Watermarks::at(self.graph, &passed.times);
        for (level, nodes) in self.plan.levels.iter().enumerate() {
            let last = level + 1 == self.plan.levels.len();
            let work = |(shard, lane): (usize, &mut Lane)| {
                self.level(shard, lane, nodes, last, (&before, &watermarks))
            };
            let results: Vec<Result<(), EpochFailure>> = if parallel {
                self.pool.install(|| lanes.par_iter_mut().enumerate().map(work).collect())
            } else {
                lanes.iter_mut().enumerate().map(work).collect()
            };
            earliest(results)?;
            self.hand_over(nodes, &mut lanes)?;
        }
        let mut sealed = Sealed { passed, ..Sealed::default() };
        for lane in lanes {
            sealed.parts.extend(lane.sealed.parts.into_iter().filter(|part| part.len() > 0));
            sealed.sunk.extend(lane.sealed.sunk);
        }
        Ok(sealed)
    }

    /// Decodes all pieces into the slots of their sources. Answers with how time has passed.
    fn decode(&self, input: &EpochInput, parallel: bool, lanes: &mut [Lane]) -> Result<Passed, EpochFailure> {
        let mut passage = Passage::new(self, input);
        let floors = passage.floors(parallel)?;
        let work = |(piece, floor): (&BatchSlice, &Option<i64>)| self.decode_piece(piece, *floor);
        let decoded: Vec<Result<Decoded, EpochFailure>> = if parallel {
            self.pool.install(|| input.pieces.par_iter().zip(&floors).map(work).collect())
        } else {
            input.pieces.iter().zip(&floors).map(work).collect()
        };
        let mut pieces = Vec::with_capacity(decoded.len());
        let (mut failures, mut undecodable) = (Vec::new(), Skipped::new());
        let mut all_awaited = AllAwaited::default();
        for (piece, decoded) in input.pieces.iter().zip(decoded) {
            match decoded {
                Ok((outputs, refused, awaited, shown)) => {
                    pieces.push((outputs, passage.pass(piece, shown)));
                    undecodable.extend(refused);
                    all_awaited.add_all(&awaited);
                }
                Err(failure) => failures.push(Err(failure)),
            }
        }
        // Nothing is known of the epoch before all of it can be decoded.
        EpochFailure::awaiting(all_awaited).map_or(Ok(()), Err)?;
        // Panics are looked into once the records that do not decode are out of the way.
        failures.retain(|failure| undecodable.is_empty() || !matches!(failure, Err(f) if f.is_of_user()));
        earliest(failures)?;
        EpochFailure::undecodable(undecodable).map_or(Ok(()), Err)?;
        let raise = |(outputs, floor): (Outputs, Option<i64>)| self.raise(outputs, floor);
        let pieces: Vec<Outputs> = if parallel {
            self.pool.install(|| pieces.into_par_iter().map(raise).collect::<Result<_>>())?
        } else {
            pieces.into_iter().map(raise).collect::<Result<_>>()?
        };
        for (source, batches) in pieces.into_iter().flatten() {
            for (lane, batch) in lanes.iter_mut().zip(batches) {
                if let Some(slot) = lane.slots.get_mut(source) {
                    slot.parts.push(batch);
                }
            }
        }
        Ok(passage.passed())
    }

    /// What sources that date their records themselves have made of a piece, once it is known how far its partition had come.
    fn raise(&self, outputs: Outputs, floor: Option<i64>) -> Result<Outputs> {
        let Some(floor) = floor else { return Ok(outputs) };
        let raised = outputs.into_iter().map(|(id, batches)| {
            let Step::Source { source, .. } = &node(self.graph, id)?.step else { return Ok((id, batches)) };
            let batches = batches.into_iter().map(|batch| source.raise(batch, floor));
            Ok((id, batches.collect::<Result<_>>()?))
        });
        raised.collect()
    }

    /// `floor` is how far the partition had come in time before the piece, if that is known.
    fn decode_piece(&self, piece: &BatchSlice, floor: Option<i64>) -> Result<Decoded, EpochFailure> {
        let _folding = self.engine.fold_once_more(self.again);
        let batch = piece.decode()?;
        let records = SourceBatch {
            batch: &batch,
            partition: piece.partition,
            offsets: piece.offsets.clone(),
            runs: &piece.runs,
            skipped: self.skipped,
            refused: RefCell::default(),
            awaited: RefCell::default(),
            current: Cell::new(None),
            dated_by_source: floor.is_none(),
            stream_time_ms: Cell::new(NEVER),
        };
        let mut shown: Option<i64> = None;
        let sources = self.plan.sources.get(piece.topic).map(|(_, sources)| sources.as_slice());
        let mut outputs = Vec::new();
        for &id in sources.unwrap_or_default() {
            if let Step::Source { source, .. } = &node(self.graph, id)?.step {
                records.stream_time_ms.set(floor.unwrap_or(NEVER));
                let decoded = catch_unwind(AssertUnwindSafe(|| source.decode(&records, self.router)));
                let decoded = decoded.unwrap_or_else(|panic| Err(panicked(&*panic)));
                let parts = decoded.map_err(|error| EpochFailure::at(error, records.current.get()))?;
                // Records in a part of no shard would be gone.
                if parts.len() != self.router.shards() {
                    return Err(EpochFailure::from(Error::internal(format!(
                        "a source gave {} parts for {} shards",
                        parts.len(),
                        self.router.shards()
                    ))));
                }
                let leaves_out = floor.is_none() && !self.skipped.is_empty();
                let left = |batch| if leaves_out { source.leave_out(batch, self.skipped) } else { Ok(batch) };
                outputs.push((id, parts.into_iter().map(left).collect::<Result<_>>()?));
                shown = shown.max(Some(records.stream_time_ms.get()));
            }
        }
        let shown = shown.filter(|shown| floor.is_none() && *shown > NEVER);
        Ok((outputs, records.refused.into_inner(), records.awaited.into_inner(), shown))
    }

    /// What the operators of `shard` are shown.
    fn context(&self, shard: usize) -> Context<'_> {
        let Self { epoch, meter, tracing, closings, .. } = *self;
        let pass = Pass { shard, epoch, meter, tracing, current: None, due: None, node: 0, closings };
        Context {
            pass,
            router: self.router,
            tables: self.tables,
            looked_into: &self.graph.looked_into,
            read: true,
            detail: Detail::Changes,
            outlets: Vec::new(),
            sunk: Vec::new(),
            changelog: self.changelog,
            time: NEVER..NEVER,
        }
    }

    /// Whether anything of the node numbered `id` is due in `time`.
    pub(crate) fn is_due(&self, id: usize, time: Range<i64>) -> Result<bool> {
        let _folding = self.engine.fold_once_more(self.again);
        let Step::Operator(operator) = &node(self.graph, id)?.step else { return Ok(false) };
        let mut context = Context { time, ..self.context(0) };
        operator.is_due(&mut context).map_err(Failure::into_error)
    }

    /// Runs the nodes of one level on one shard; after the last one, encodes what they did to the tables.
    fn level(
        &self,
        shard: usize,
        lane: &mut Lane,
        nodes: &[usize],
        last: bool,
        (before, watermarks): (&Watermarks, &Watermarks),
    ) -> Result<(), EpochFailure> {
        let _folding = self.engine.fold_once_more(self.again);
        let mut context = self.context(shard);
        let mut step = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            nodes.iter().try_for_each(|&id| {
                step = id;
                (context.node, context.due) = (id, None);
                context.time = before.of(id)..watermarks.of(id);
                self.node(id, lane, &mut context)
            })
        }));
        if let Err(failure) = outcome.unwrap_or_else(|panic| Err(panicked(&*panic).into())) {
            let failure = EpochFailure::at(failure, context.current.map(|stamp| stamp.sequence));
            return Err(EpochFailure {
                step: Some(step),
                // One that panics names nothing.
                due: if failure.stamp.is_some() { failure.due } else { context.due.take().map(Box::new) },
                stamp: failure.stamp.or(context.current.map(Box::new)),
                ..failure
            });
        }
        lane.sealed.sunk.append(&mut context.sunk);
        if last {
            for &index in &self.plan.writes {
                let Some(table) = self.tables.get(index).and_then(Option::as_ref) else { continue };
                let sealed = catch_unwind(AssertUnwindSafe(|| table.seal(shard)));
                let part = sealed.unwrap_or_else(|panic| Err(panicked(&*panic).into()));
                let step = Some(self.graph.nodes.len() + index);
                let part = part.map_err(|failure| EpochFailure { step, ..failure.into() })?;
                self.meter.add_bytes(part.bytes())?;
                lane.sealed.parts.push(part);
            }
        }
        Ok(())
    }

    fn node(&self, id: usize, lane: &mut Lane, context: &mut Context<'_>) -> Result<(), Failure> {
        let node = node(self.graph, id)?;
        let parts = match &node.step {
            Step::Source { source, .. } => {
                let parts = lane.slots.get_mut(id).map(|slot| std::mem::take(&mut slot.parts));
                vec![source.gather(parts.unwrap_or_default())?]
            }
            Step::Ticks { operator, .. } | Step::Operator(operator) => {
                if let Some(duty) = self.plan.duties.get(id) {
                    context.read = duty.consumers > 0;
                    context.detail = duty.detail;
                }
                context.outlets.clear();
                context.outlets.extend(node.outlets.iter().map(|&outlet| {
                    let duty = self.plan.duties.get(outlet)?;
                    (duty.consumers > 0).then_some(duty.detail)
                }));
                let taking = Taking { slots: &mut lane.slots, nodes: &node.inputs };
                match (operator.run(context, taking)?, node.exchange) {
                    (Output::Local(batch), false) => vec![batch],
                    (Output::Routed(parts), true) if parts.len() == self.router.shards() => parts,
                    (Output::Nothing, false) => Vec::new(),
                    _ => {
                        let what = format!("operator `{}` did not put out what it declared", node.label);
                        return Err(Error::internal(what).into());
                    }
                }
            }
        };
        if let Some(slot) = lane.slots.get_mut(id) {
            // What nobody reads is dropped at once.
            slot.parts = if slot.consumers == 0 { Vec::new() } else { parts };
        }
        Ok(())
    }

    /// Turns "what I send to each shard" into "what each shard sent me" for the exchanges of a level.
    fn hand_over(&self, nodes: &[usize], lanes: &mut [Lane]) -> Result<()> {
        for &id in nodes {
            if !node(self.graph, id)?.exchange {
                continue;
            }
            let mut received: Vec<Vec<Batch>> = lanes.iter().map(|_| Vec::new()).collect();
            for lane in lanes.iter_mut() {
                let sent = lane.slots.get_mut(id).map(|slot| std::mem::take(&mut slot.parts));
                for (to, batch) in received.iter_mut().zip(sent.unwrap_or_default()) {
                    to.push(batch);
                }
            }
            for (lane, parts) in lanes.iter_mut().zip(received) {
                if let Some(slot) = lane.slots.get_mut(id) {
                    slot.parts = parts;
                }
            }
        }
        Ok(())
    }
}

/// The failure of the earliest record, so that which one is reported does not depend on threads; of several of the same record
/// the one that a single shard would come to first.
fn earliest(results: Vec<Result<(), EpochFailure>>) -> Result<(), EpochFailure> {
    let failures = results.into_iter().filter_map(Result::err);
    let first = failures.min_by_key(|failure| {
        // Failures that no record is to blame for come first: they are not for the policy to decide.
        (failure.is_of_user(), failure.record, failure.step, failure.stamp.as_deref().copied())
    });
    first.map_or(Ok(()), Err)
}

/// A caught panic as an error.
pub(super) fn panicked(payload: &(dyn std::any::Any + Send)) -> Error {
    Error::user(format!("user code panicked: {}", panic_message(payload)))
}
