//! Property: a table that is new, or whose version was raised, and everything that derives from it, is built from the
//! start of the changelog while the others go on; until it has caught up it answers with its last durable rows, or not
//! at all if it never had any, and from then on exactly like a table that was always there. Tables that are removed and
//! come back under the same name begin anew. No other table is ever touched, and no derived record is lost or repeated.
//!
//! Method: random pure graphs (their tables depend on the input only, not on where epochs were cut), random steps as in
//! `every_published_state_equals_the_model`, and between them random changes of the graph, after a clean end or a crash.
//! After each step every table is compared with what an interpreter makes of all input below the position at once: so
//! this also checks that results depend neither on batching nor on shards, memory, crashes and restarts.
//! `MILLPOND_MODEL_CASES` sets how many graphs are tried.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "small numbers"
)]
#![allow(missing_docs, unreachable_pub, reason = "a test has no users")]

mod model;

use millpond::testing::Driver;
use millpond::{ErrorKind, Position, TopicPartition};
use model::graph::{Built, Handle, build, operands};
use model::interpreter::{Arrival, Event, Interpreter};
use model::steps::{
    Appended, Evolution, Step, append, arrivals, evolution, evolution_in_time, moved_on, noted, settings,
    started, step, step_in_time, taken, time,
};
use model::{K, Rows, V, grammar};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What each `To` wrote, by its node.
type Written = BTreeMap<usize, Vec<Event>>;

#[derive(Debug, Clone)]
enum Act {
    Step(Step),
    Change(Evolution),
}

struct Run {
    spec: grammar::Spec,
    /// Whether time goes on from record to record.
    goes_on: bool,
    appended: Appended,
    built: Built,
    driver: Driver,
    /// What a crash goes back to.
    durable: Position,
    /// The rows that each table had when it was last drained while it was live.
    drained_rows: BTreeMap<String, Rows>,
    /// The outputs that were there from the beginning, by name.
    outputs: Vec<String>,
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Run {
    fn new(
        spec: &grammar::Spec,
        (shards, memory_bytes): (usize, usize),
        goes_on: bool,
    ) -> Result<Self, String> {
        let built = build(&spec.nodes(true), spec);
        let driver = Driver::with_settings(&built.graph, settings(shards, memory_bytes)).map_err(failed)?;
        let outputs = built.outputs.iter().map(|(_, topic)| topic.name().to_string()).collect();
        let durable = driver.position().map_err(failed)?;
        let mut run = Self {
            spec: spec.clone(),
            goes_on,
            appended: Appended::default(),
            built,
            driver,
            durable,
            drained_rows: BTreeMap::new(),
            outputs,
        };
        run.note_first()?;
        Ok(run)
    }

    /// A table that is live when it is seen for the first time has nothing durable yet.
    fn note_first(&mut self) -> Result<(), String> {
        for handle in &self.built.handles {
            if handle.is_live(&self.driver).map_err(failed)? {
                self.drained_rows.entry(handle.name.clone()).or_default();
            }
        }
        Ok(())
    }

    /// What the graph means for everything below the position of the driver.
    fn expected(&self) -> Result<Interpreter, String> {
        let position = self.driver.position().map_err(failed)?;
        let input =
            arrivals(&self.driver, &self.spec.partitions, &self.appended, &Position::new(), &position);
        Ok(self.at_once(&input, &position).0)
    }

    /// What the graph means if all that is below `position` is one epoch.
    fn at_once(&self, input: &[Arrival], position: &Position) -> (Interpreter, Written) {
        let noted = noted(&self.driver, taken(position)).into_iter().map(|(_, reached, _)| reached);
        let mut at_once = Interpreter::in_time(&self.spec.nodes(true), &self.spec.partitions);
        let written = at_once.epoch_in_time(input, &noted.collect::<Vec<_>>());
        (at_once, written)
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Step(step) => self.take(step)?,
            Act::Change(change) => self.change(change)?,
        }
        self.check()
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Append(records) => {
                let moved =
                    self.goes_on.then(|| moved_on(records, self.appended.len(), &self.spec.partitions));
                let records = moved.as_deref().unwrap_or(records);
                append(&self.driver, records, &self.spec.partitions)?;
                self.appended.append(records, &self.spec.partitions);
            }
            Step::Epoch(records) => {
                self.epoch(*records)?;
            }
            Step::Drain => self.drain()?,
            Step::Crash => {
                self.driver.crash().map_err(failed)?;
                self.check_durable()?;
            }
            Step::PowerCut => {
                self.driver.power_cut().map_err(failed)?;
                self.check_durable()?;
            }
            Step::Restart { shards, memory_bytes } => {
                self.drain()?;
                self.driver.restart_with(settings(*shards, *memory_bytes)).map_err(failed)?;
            }
            Step::Query(probe) => {
                let expected = self.expected()?;
                for handle in &self.built.handles {
                    if handle.is_live(&self.driver).map_err(failed)? {
                        handle.probe(&self.driver, &expected.rows[handle.node], probe)?;
                    }
                }
            }
            Step::AdvanceTime(ahead_ms) => {
                let to = self.appended.len() as i64 * 2 + ahead_ms;
                let was_building = self.driver.is_building().map_err(failed)?;
                self.driver.advance_time(to).map_err(failed)?;
                if was_building && !self.driver.is_building().map_err(failed)? {
                    // What is marked is folded first: several epochs, of which the last need not be the one with which the new tables
                    // took their places.
                    self.drain()?;
                }
            }
            Step::AdvanceClock(by_ms) => self.driver.advance(*by_ms),
            Step::Hold => {}
        }
        Ok(())
    }

    fn epoch(&mut self, records: usize) -> Result<bool, String> {
        self.moving(|driver| driver.epoch(records))
    }

    /// Does what may complete the tables that are built.
    fn moving(&mut self, step: impl FnOnce(&mut Driver) -> millpond::Result<bool>) -> Result<bool, String> {
        let was_building = self.driver.is_building().map_err(failed)?;
        let any = step(&mut self.driver).map_err(failed)?;
        if was_building && !self.driver.is_building().map_err(failed)? {
            // Everything is drained when the new tables take their places.
            self.note_drain()?;
        }
        Ok(any)
    }

    fn drain(&mut self) -> Result<(), String> {
        self.driver.drain().map_err(failed)?;
        self.note_drain()
    }

    fn note_drain(&mut self) -> Result<(), String> {
        self.durable = self.driver.position().map_err(failed)?;
        let expected = self.expected()?;
        for handle in &self.built.handles {
            if handle.is_live(&self.driver).map_err(failed)? {
                self.drained_rows.insert(handle.name.clone(), expected.rows[handle.node].clone());
            }
        }
        Ok(())
    }

    fn check_durable(&self) -> Result<(), String> {
        let position = self.driver.position().map_err(failed)?;
        let topics: Vec<String> =
            self.spec.nodes(true).iter().filter_map(|node| Some(format!("in{}", node.op.topic()?))).collect();
        // What is read goes on exactly where the durable state stands. What no longer is may be taken to have been read
        // up to the epochs that the graph before had marked.
        let fits = |(id, offset): (&TopicPartition, u64)| {
            let durable = self.durable.offset(id);
            // Of what was noted of silent partitions, tables tell.
            if *id == time() {
                true
            } else if topics.iter().any(|topic| **topic == *id.topic) {
                offset == durable
            } else {
                offset >= durable
            }
        };
        // A topic that is read for the first time stands at 0, which a position need not say.
        let has = |(id, durable): (&TopicPartition, u64)| *id == time() || position.offset(id) >= durable;
        if self.durable.iter().all(has) && position.iter().all(fits) {
            return Ok(());
        }
        Err(format!("after a crash the engine stands at {position}, {} was durable", self.durable))
    }

    fn change(&mut self, change: &Evolution) -> Result<(), String> {
        if !change.is_crash() {
            self.drain()?;
        }
        if let Some(raised) = change.raises(&self.spec) {
            self.forget_what_was_said(raised);
        }
        change.apply(&mut self.spec);
        self.built = build(&self.spec.nodes(true), &self.spec);
        if change.is_crash() {
            self.driver.crash_into(&self.built.graph).map_err(failed)?;
        } else {
            self.driver.upgrade(&self.built.graph).map_err(failed)?;
        }
        self.check_durable()?;
        self.drained_rows.retain(|name, _| self.built.handles.iter().any(|handle| handle.name == *name));
        let written: Vec<_> = self.built.outputs.iter().map(|(_, topic)| topic.name().to_string()).collect();
        self.outputs.retain(|output| written.contains(output));
        self.note_first()
    }

    /// What topics were told by the former closure of a table stays as it was said.
    fn forget_what_was_said(&mut self, raised: usize) {
        let nodes = self.spec.nodes(true);
        let mut derived = vec![false; nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            derived[index] = node.id == raised || operands(node.op).into_iter().any(|input| derived[input]);
        }
        let said = self.built.outputs.iter().filter(|(node, _)| derived[*node]);
        let said: Vec<_> = said.map(|(_, topic)| topic.name().to_string()).collect();
        self.outputs.retain(|output| !said.contains(output));
    }

    fn check(&self) -> Result<(), String> {
        let expected = self.expected()?;
        for handle in &self.built.handles {
            let live = handle.is_live(&self.driver).map_err(failed)?;
            let former = handle.is_former(&self.driver).map_err(failed)?;
            let expected = match (live, former) {
                (true, _) => &expected.rows[handle.node],
                (_, true) => self.drained_rows.get(&handle.name).ok_or("a table was never there")?,
                _ => {
                    let refused = handle.rows(&self.driver).map_err(|error| error.kind());
                    assert_eq!(refused, Err(ErrorKind::Unavailable), "a table that is being built");
                    continue;
                }
            };
            self.compare(handle, expected).map_err(|error| format!("{error} (live: {live})"))?;
        }
        Ok(())
    }

    fn compare(&self, handle: &Handle, expected: &Rows) -> Result<(), String> {
        let position = self.driver.position().map_err(failed)?;
        let rows = handle.rows(&self.driver).map_err(failed)?;
        if rows != *expected {
            return Err(format!("{} at {position}: expected {expected:?}, got {rows:?}", handle.name));
        }
        let count = handle.count(&self.driver).map_err(failed)?;
        if count != rows.len() as u64 {
            return Err(format!("{} at {position} has {} rows and counts {count}", handle.name, rows.len()));
        }
        Ok(())
    }

    /// Folds what is left; then everything is live, and what was written is written once.
    fn finish(&mut self) -> Result<(), String> {
        while self.epoch(1 << 20)? {}
        self.check()?;
        if self.driver.is_building().map_err(failed)? {
            return Err("a build is never finished".to_owned());
        }
        for (node, topic) in &self.built.outputs {
            if !self.outputs.contains(&topic.name().to_string()) {
                continue;
            }
            let position = self.driver.position().map_err(failed)?;
            let input =
                arrivals(&self.driver, &self.spec.partitions, &self.appended, &Position::new(), &position);
            let (_, written) = self.at_once(&input, &position);
            let mut expected: Vec<(K, V)> =
                written[node].iter().map(|event| (event.key, event.value)).collect();
            let records = self.driver.records(topic).map_err(failed)?;
            let mut got: Vec<(K, V)> =
                records.iter().map(|record| (record.key, record.value.unwrap())).collect();
            expected.sort_unstable();
            got.sort_unstable();
            if expected != got {
                return Err(format!("topic {}: expected {expected:?}, got {got:?}", topic.name()));
            }
        }
        Ok(())
    }
}

fn live(
    spec: &grammar::Spec,
    started: (usize, usize),
    acts: &[Act],
    goes_on: bool,
) -> Result<(), TestCaseError> {
    let mut run = Run::new(spec, started, goes_on).map_err(TestCaseError::fail)?;
    for (number, act) in acts.iter().enumerate() {
        run.act(act).map_err(|error| {
            TestCaseError::fail(format!("step {number}, {act:?}: {error}\n{:?}", run.spec.nodes(true)))
        })?;
    }
    run.finish().map_err(|error| TestCaseError::fail(format!("{error}\n{:?}", run.spec.nodes(true))))
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![7 => step().prop_map(Act::Step), 1 => evolution().prop_map(Act::Change)]
}

fn act_in_time() -> impl Strategy<Value = Act> {
    prop_oneof![7 => step_in_time().prop_map(Act::Step), 1 => evolution_in_time().prop_map(Act::Change)]
}

proptest! {
    #![proptest_config(model::config(
        3_000, "proptest-regressions/new_and_changed_tables_are_built_beside_the_others.txt"
    ))]

    #[test]
    fn whatever_happens(
        spec in grammar::spec(8),
        started in started(),
        acts in prop::collection::vec(act(), 1..40),
    ) {
        live(&spec, started, &acts, false)?;
    }

    #[test]
    fn whatever_happens_in_time(
        spec in grammar::spec_in_time(8),
        started in started(),
        acts in prop::collection::vec(act_in_time(), 1..40),
    ) {
        live(&spec, started, &acts, true)?;
    }
}

/// A version is raised while there is more to read: what the table does meanwhile must reach the topic derived from it.
#[test]
fn a_topic_derived_from_a_rebuilt_table_misses_nothing() {
    use millpond::{GraphBuilder, TableOptions, Topic};
    let (clicks, counts) = (Topic::<u8, u64>::new("clicks"), Topic::<u8, u64>::new("counts"));
    let graph = |version| {
        let graph = GraphBuilder::new();
        let count = graph.stream(&clicks).group_by_key().count(TableOptions::named("count").version(version));
        count.to_stream().to_upserts(&counts);
        graph.build().unwrap()
    };
    let mut driver = Driver::new(&graph(1)).unwrap();
    driver.put(&clicks, 1, 0, 0).unwrap();
    driver.run().unwrap();
    driver.upgrade(&graph(2)).unwrap();
    driver.put(&clicks, 1, 0, 0).unwrap();
    driver.run().unwrap();
    let last = driver.records(&counts).unwrap().last().and_then(|record| record.value);
    assert_eq!(last, Some(2));
}
