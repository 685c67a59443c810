//! Property: whatever graph runs, and however its epochs are cut and its process dies, every published state is exactly
//! what the graph means for the input below its position, and the derived topics hold exactly what it wrote, once. In the
//! end every table is what it would be if records had been taken one after the other in the order of their appends. (Once,
//! one script in ten differed: equal timestamps were no order, and cuts were not kept where nothing was produced.)
//!
//! Method: random graphs from a small grammar; random steps of append, epoch, drain, crash, power cut, restart over 1 to 8
//! shards with any or hardly any memory, and queries of every kind. After each step every table is compared with an
//! interpreter over plain maps, and the derived topics record by record. A failure prints the graph, the steps and the
//! seed; it is kept in `proptest-regressions`. `MILLPOND_MODEL_CASES` sets how many graphs are tried.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "small numbers"
)]
#![allow(missing_docs, unreachable_pub, reason = "a test has no users")]

mod model;

use millpond::changelog::Headers;
use millpond::testing::Driver;
use millpond::testing::changelogs::TypedRecord;
use millpond::{AsOf, ErrorKind, Position, Result, Topic, TopicPartition};
use millpond_support::records::partition_of;
use model::grammar::Silent;
use model::graph::{Built, build};
use model::interpreter::{Event, Interpreter};
use model::order::Order;
use model::steps::{
    Appended, Step, append, arrivals, moved_on, noted, notes, settings, started, step, step_in_time, taken,
};
use model::time::{NEVER, Reached};
use model::{K, Rows, V, grammar, versions};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What an epoch led to.
#[derive(Clone)]
struct Epoch {
    from: Position,
    position: Position,
    state: Interpreter,
    written: BTreeMap<usize, Vec<Event>>,
}

/// Reads the rows of a table in a snapshot.
type Reading = Box<dyn Fn() -> Result<Rows>>;

/// Rows of a table that must not change any more.
struct Held {
    rows: Vec<(Rows, Reading)>,
}

/// The engine beside the model.
struct Run {
    partitions: Vec<u32>,
    silent: Vec<Silent>,
    /// Whether time goes on from record to record.
    goes_on: bool,
    nodes: Vec<grammar::Node>,
    appended: Appended,
    built: Built,
    driver: Driver,
    start: Epoch,
    /// The epochs that are published.
    history: Vec<Epoch>,
    /// The epochs whose output is in the changelog: at least those of the published ones that have any.
    written: Vec<Epoch>,
    /// How many epochs a crash leaves, and how many of the written a power cut leaves.
    drained: usize,
    synced: usize,
    held: Option<Held>,
    /// How far it has ever been folded.
    folded: Position,
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Run {
    fn new(spec: &grammar::Spec, shards: usize, memory_bytes: usize, goes_on: bool) -> Result<Self, String> {
        let nodes = spec.nodes(false);
        let built = build(&nodes, spec);
        let driver = Driver::with_settings(&built.graph, settings(shards, memory_bytes)).map_err(failed)?;
        let position = driver.position().map_err(failed)?;
        let start = Epoch {
            from: position.clone(),
            position,
            state: Interpreter::in_time(&nodes, &spec.partitions),
            written: BTreeMap::new(),
        };
        Ok(Self {
            partitions: spec.partitions.clone(),
            silent: spec.silent.clone(),
            goes_on,
            nodes,
            appended: Appended::default(),
            built,
            driver,
            start,
            history: Vec::new(),
            written: Vec::new(),
            drained: 0,
            synced: 0,
            held: None,
            folded: Position::new(),
        })
    }

    fn now(&self) -> &Epoch {
        self.history.last().unwrap_or(&self.start)
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Append(records) => {
                let moved = self.goes_on.then(|| moved_on(records, self.appended.len(), &self.partitions));
                let records = moved.as_deref().unwrap_or(records);
                append(&self.driver, records, &self.partitions)?;
                self.appended.append(records, &self.partitions);
                self.synced = self.written.len();
            }
            Step::Epoch(records) => {
                self.epoch(*records)?;
            }
            Step::Drain => {
                self.driver.drain().map_err(failed)?;
                self.note_drain();
            }
            Step::Crash => {
                self.driver.crash().map_err(failed)?;
                self.history.truncate(self.drained);
            }
            Step::PowerCut => {
                self.driver.power_cut().map_err(failed)?;
                self.history.truncate(self.drained);
                self.written.truncate(self.synced);
            }
            Step::Restart { shards, memory_bytes } => {
                self.driver.restart_with(settings(*shards, *memory_bytes)).map_err(failed)?;
                self.note_drain();
            }
            Step::Query(probe) => {
                for handle in &self.built.handles {
                    handle.probe(&self.driver, &self.now().state.rows[handle.node], probe)?;
                }
                self.check_versions()?;
            }
            Step::AdvanceTime(ahead) => self.advance_time(*ahead)?,
            Step::AdvanceClock(by_ms) => self.driver.advance(*by_ms),
            Step::Hold => self.hold()?,
        }
        self.check()
    }

    fn note_drain(&mut self) {
        if self.drained < self.history.len() {
            self.drained = self.history.len();
            // The drain synced everything that was written.
            self.synced = self.written.len();
        }
    }

    fn epoch(&mut self, records: usize) -> Result<bool, String> {
        let notes_before = notes(&self.driver);
        if !self.driver.epoch(records).map_err(failed)? {
            return Ok(false);
        }
        for (offset, reached) in noted(&self.driver, u64::MAX)
            .into_iter()
            .filter(|note| note.2 >= notes_before)
            .map(|(offset, reached, _)| (offset, reached))
        {
            self.check_note(offset, reached)?;
        }
        self.note_epoch()?;
        Ok(true)
    }

    /// Whether a partition was rightly taken on: all its records are folded, and it is as far as its topic says.
    fn check_note(&self, offset: u64, reached: Reached) -> Result<(), String> {
        let now = self.now();
        let end = self
            .appended
            .ends()
            .find(|(topic, id, _)| (*topic, id.partition) == (reached.topic, reached.partition));
        let end = end.map_or(0, |(.., end)| end);
        let id = TopicPartition::new(format!("in{}", reached.topic), reached.partition);
        let folded = now.position.offset(&id);
        let (least, most) = match self.silent[reached.topic] {
            Silent::Waits => return Err(format!("{id} waits, and was taken on")),
            Silent::Follows { .. } => (NEVER + 1, now.state.reached.values().copied().max().unwrap_or(NEVER)),
            Silent::Clock { behind, .. } => {
                let at = self.driver.now_ms() - behind as i64;
                (at, at)
            }
        };
        let before = now.state.reached[&(reached.topic, reached.partition)];
        let is_right = (end, folded) == (offset, offset)
            && before < reached.time_ms
            && (least..=most).contains(&reached.time_ms);
        if is_right {
            Ok(())
        } else {
            Err(format!(
                "{id} ends at {end}, stands at {folded} and {before} ms, and is taken on from {offset} to {} ms",
                reached.time_ms
            ))
        }
    }

    /// Takes all partitions on, once everything is repeated that was done before.
    fn advance_time(&mut self, ahead_ms: i64) -> Result<(), String> {
        while !self.now().position.includes(&self.folded) || taken(&self.now().position) < notes(&self.driver)
        {
            // A power cut may have taken some of it away.
            if !self.epoch(1)? {
                break;
            }
        }
        let to = self.appended.len() as i64 * 2 + ahead_ms;
        if self.driver.advance_time(to).map_err(failed)? {
            self.note_epoch()?;
        }
        Ok(())
    }

    /// Has the model fold what the engine has.
    fn note_epoch(&mut self) -> Result<(), String> {
        let before = self.now().clone();
        let position = self.driver.position().map_err(failed)?;
        self.folded.advance_to(&position);
        let input = arrivals(&self.driver, &self.partitions, &self.appended, &before.position, &position);
        let mut state = before.state;
        let written = state.epoch_in_time(&input, &self.noted(&position));
        let epoch = Epoch { from: before.position, position, state, written };
        self.write(&epoch)?;
        self.history.push(epoch);
        Ok(())
    }

    /// How far partitions were taken on at `position`.
    fn noted(&self, position: &Position) -> Vec<Reached> {
        noted(&self.driver, taken(position)).into_iter().map(|(_, reached, _)| reached).collect()
    }

    /// An epoch that writes is written once, and cut again as it was. What lies before one that was written wrote nothing,
    /// and may be cut otherwise.
    fn write(&mut self, epoch: &Epoch) -> Result<(), String> {
        let next = self.written.iter().find(|written| !epoch.from.includes(&written.position));
        match next {
            Some(next) if next.from.includes(&epoch.position) || next.position == epoch.position => Ok(()),
            Some(next) => Err(format!("a replay cut to {}, not to {}", epoch.position, next.position)),
            None => {
                if epoch.written.values().any(|events| !events.is_empty()) {
                    self.written.push(epoch.clone());
                }
                Ok(())
            }
        }
    }

    fn hold(&mut self) -> Result<(), String> {
        let snapshot = self.driver.snapshot().map_err(failed)?;
        let rows = self.built.handles.iter().map(|handle| {
            let read = handle.rows_in(&self.driver, &snapshot).map_err(failed)?;
            Ok((self.now().state.rows[handle.node].clone(), read))
        });
        self.held = Some(Held { rows: rows.collect::<Result<_, String>>()? });
        Ok(())
    }

    /// Compares everything.
    fn check(&self) -> Result<(), String> {
        let now = self.now();
        let position = self.driver.position().map_err(failed)?;
        if position != now.position {
            return Err(format!("the engine stands at {position}, the model at {}", now.position));
        }
        for handle in &self.built.handles {
            let rows = handle.rows(&self.driver).map_err(failed)?;
            let expected = &now.state.rows[handle.node];
            if rows != *expected {
                return Err(format!("{} at {position}: expected {expected:?}, got {rows:?}", handle.name));
            }
        }
        for (node, table) in &self.built.windows {
            let (rows, expected) =
                (table.rows(&self.driver).map_err(failed)?, &now.state.held[*node].windows);
            if rows != *expected {
                return Err(format!(
                    "windows of node {node} at {position}: expected {expected:?}, got {rows:?}"
                ));
            }
        }
        for (expected, read) in self.held.iter().flat_map(|held| &held.rows) {
            let rows = read().map_err(failed)?;
            if rows != *expected {
                return Err(format!("a snapshot changed from {expected:?} to {rows:?}"));
            }
        }
        self.check_outputs()
    }

    /// Asks what rows were, at all times at which they may have become another.
    fn check_versions(&self) -> Result<(), String> {
        let (state, watermarks) = (&self.now().state, self.now().state.watermarks());
        for (node, table) in &self.built.versions {
            let view = self.driver.view(table.versions()).map_err(failed)?;
            let known_from = versions::known_from_ms(self.nodes[*node].n, watermarks[*node]);
            let versions = &state.held[*node].versions;
            let times = versions.iter().map(versions::Update::timestamp_ms).chain([known_from]);
            for at_ms in times.flat_map(|at_ms| [at_ms.saturating_sub(1), at_ms]) {
                for key in versions.iter().map(|version| version.key).collect::<BTreeSet<_>>() {
                    let expected = if at_ms < known_from {
                        Err(ErrorKind::Expired)
                    } else {
                        Ok(versions::as_of(versions, key, at_ms, |_| true))
                    };
                    let got = view.as_of(&key, at_ms).map_err(|error| error.kind());
                    if got != expected {
                        return Err(format!(
                            "node {node}, {key:?} as of {at_ms}: expected {expected:?}, got {got:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn check_outputs(&self) -> Result<(), String> {
        for (node, topic) in &self.built.outputs {
            let mut expected = Vec::new();
            for partition in 0..topic.topic_config().partitions_or_default() {
                let events = self.written.iter().filter_map(|epoch| epoch.written.get(node)).flatten();
                expected.extend(
                    events.map(|event| record(topic, event)).filter(|record| record.partition == partition),
                );
            }
            let records = self.driver.records(topic).map_err(failed)?;
            if records != expected {
                return Err(format!("topic {}: expected {expected:?}, got {records:?}", topic.name()));
            }
        }
        Ok(())
    }

    /// Folds what is left. However its epochs were cut, every table is then what it would be if each record had had an
    /// epoch of its own.
    fn finish(&mut self) -> Result<(), String> {
        while self.epoch(1 << 20)? {}
        self.check()?;
        let position = &self.now().position;
        let is_read = |topic| self.nodes.iter().any(|node| node.op.topic() == Some(topic));
        let left =
            self.appended.ends().find(|(topic, id, end)| is_read(*topic) && position.offset(id) < *end);
        if let Some((_, id, end)) = left {
            return Err(format!("{id} ends at {end}, and is read to {position}"));
        }
        let input = arrivals(&self.driver, &self.partitions, &self.appended, &Position::new(), position);
        let mut sorted = input;
        sorted.sort_by_key(|arrival| arrival.place);
        let mut one_by_one = Interpreter::in_time(&self.nodes, &self.partitions);
        for arrival in sorted {
            one_by_one.epoch(&[arrival]);
        }
        one_by_one.epoch_in_time(&[], &self.noted(position));
        for (node, _) in &self.built.windows {
            let [cut, single] = [&self.now().state, &one_by_one].map(|state| &state.held[*node].windows);
            if cut != single && self.nodes[*node].order != Order::Cuts {
                return Err(format!(
                    "windows of node {node} are {cut:?}, and one record at a time {single:?}"
                ));
            }
        }
        for handle in self.built.handles.iter().filter(|handle| self.nodes[handle.node].order != Order::Cuts)
        {
            let (cut, single) = (&self.now().state.rows[handle.node], &one_by_one.rows[handle.node]);
            if cut != single {
                return Err(format!("{} is {cut:?}, and one record at a time {single:?}", handle.name));
            }
        }
        Ok(())
    }
}

/// An event as a record of a derived topic.
fn record(topic: &Topic<K, V>, event: &Event) -> TypedRecord<K, V> {
    TypedRecord {
        partition: partition_of(topic, &event.key).partition,
        key: event.key,
        value: Some(event.value),
        timestamp_ms: event.timestamp_ms(),
        headers: Headers::new(),
    }
}

/// One life of the graph.
fn live(
    spec: &grammar::Spec,
    (shards, memory_bytes): (usize, usize),
    steps: &[Step],
    goes_on: bool,
) -> Result<(), TestCaseError> {
    let mut run = Run::new(spec, shards, memory_bytes, goes_on).map_err(TestCaseError::fail)?;
    for (number, step) in steps.iter().enumerate() {
        run.take(step).map_err(|error| {
            TestCaseError::fail(format!("step {number}, {step:?}: {error}\n{:#?}", spec.nodes(false)))
        })?;
    }
    run.finish().map_err(|error| TestCaseError::fail(format!("{error}\n{:#?}", spec.nodes(false))))
}

proptest! {
    #![proptest_config(model::config(
        4_000, "proptest-regressions/every_published_state_equals_the_model.txt"
    ))]

    #[test]
    fn whatever_happens_in_time(
        spec in grammar::spec_in_time(12),
        (shards, memory_bytes) in started(),
        steps in prop::collection::vec(step_in_time(), 1..40),
    ) {
        live(&spec, (shards, memory_bytes), &steps, true)?;
    }

    #[test]
    fn whatever_happens(
        spec in grammar::spec(12),
        (shards, memory_bytes) in started(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        live(&spec, (shards, memory_bytes), &steps, false)?;
    }
}
