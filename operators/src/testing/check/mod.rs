//! Checking a graph against a reference model, through random steps.
//!
//! A model is a plain function from the records that a state includes to the rows that a table should then hold: no
//! epochs, no restarts, nothing incremental. The check appends generated records, cuts epochs of any size, drains,
//! crashes, restarts over other numbers of shards and with hardly any memory, and after every epoch compares each
//! table with its model at the position that the state claims. Then it takes the same steps again, over another number
//! of shards: tables and derived records that differ come from user code that is not deterministic. At last everything is folded from
//! nothing. Where the graph looks at time, partitions are apart, fall silent, and are taken on by hand and by the clock.
//!
//! Tables that are no function of their input alone (below a stream-table join, or a fold that minds the order in which
//! several partitions were read) have no such model; [`GraphCheck::repeatable`] checks what can be checked of them.

mod expected;
mod steps;

use super::changelogs::{ChangelogShape, changelog};
use super::driver::{Driver, Settings};
use super::input::read_partition;
use super::laws::{Laws, Violation, agree};
use crate::testing::Input;
use expected::{Expected, Model, NOT_DETERMINISTIC, Repeatable, failed};
use millpond_engine::changelog::{TopicConfig, TopicLog};
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::Graph;
use millpond_engine::query::Stored;
use millpond_engine::{Topic, TopicPartition};
use proptest::strategy::{BoxedStrategy, Strategy};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use steps::{Made, Step, append, steps};

/// A graph, what to feed it, and what its tables should hold.
///
/// # Examples
/// ```
/// use millpond::{Result, Topic};
/// use millpond::{GraphBuilder, testing::GraphCheck};
/// use proptest::prelude::any;
/// use std::collections::BTreeMap;
///
/// # fn main() -> Result<()> {
/// let orders = Topic::<u8, u32>::new("orders").partitions(3);
/// let graph = GraphBuilder::new();
/// let spent = graph.stream(&orders).group_by_key().fold("spent", || 0, |sum, _, price| *sum += u64::from(price));
///
/// GraphCheck::new(&graph.build()?)
///     .input(&orders, any::<u8>(), any::<u32>())
///     .table(&spent, move |input| {
///         let mut spent = BTreeMap::new();
///         for order in input.records(&orders) {
///             let Some(price) = order.value else { continue };
///             *spent.entry(order.key).or_default() += u64::from(price);
///         }
///         spent
///     })
///     .run();
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is checked before `run`"]
pub struct GraphCheck {
    graph: Graph,
    laws: Laws,
    inputs: Vec<Arc<str>>,
    configs: Vec<(Arc<str>, TopicConfig)>,
    records: Vec<BoxedStrategy<Vec<Made>>>,
    tables: Vec<Box<dyn Expected>>,
}

impl Debug for GraphCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphCheck").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl GraphCheck {
    /// A check of `graph`; name its inputs with [`input`](Self::input) and what to compare with
    /// [`table`](Self::table).
    pub fn new(graph: &Graph) -> Self {
        Self {
            graph: graph.clone(),
            laws: Laws::of_graphs(),
            inputs: Vec::new(),
            configs: Vec::new(),
            records: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// With this seed, to repeat a failure.
    pub fn seed(mut self, seed: u64) -> Self {
        self.laws = self.laws.seed(seed);
        self
    }

    /// With this many random inputs; 64 unless set here or by `PROPTEST_CASES`.
    pub fn cases(mut self, cases: u32) -> Self {
        self.laws = self.laws.cases(cases);
        self
    }

    /// Feeds records with these keys and values to `topic`, in a changelog of the default [`ChangelogShape`].
    pub fn input<K, V>(
        self,
        topic: &Topic<K, V>,
        keys: impl Strategy<Value = K> + 'static,
        values: impl Strategy<Value = V> + 'static,
    ) -> Self
    where
        K: Key + Debug,
        V: Value + Debug,
    {
        let usual = ChangelogShape::default();
        let apart = ChangelogShape { skew_ms: 7_000, silent_percent: 20, ..usual.clone() };
        let shape = if self.graph.looks_at_time() { apart } else { usual };
        self.shaped_input(topic, shape, keys, values)
    }

    /// As [`input`](Self::input), in a changelog of another shape; the number of partitions is the topic's.
    ///
    /// # Panics
    /// [`run`](Self::run) does, if a value does not encode.
    pub fn shaped_input<K, V>(
        mut self,
        topic: &Topic<K, V>,
        shape: ChangelogShape,
        keys: impl Strategy<Value = K> + 'static,
        values: impl Strategy<Value = V> + 'static,
    ) -> Self
    where
        K: Key + Debug,
        V: Value + Debug,
    {
        let shape = ChangelogShape { partitions: topic.topic_config().partitions_or_default(), ..shape };
        let encoded = topic.clone();
        let make = move |records: Vec<super::changelogs::TypedRecord<K, V>>| {
            let made = records.into_iter().map(|record| Made {
                partition: TopicPartition::new(Arc::clone(encoded.name()), record.partition),
                record: match record.encode(&encoded) {
                    Ok(bytes) => bytes,
                    Err(error) => panic!("the strategy made a key or a value that does not encode: {error}"),
                },
                shown: format!("{}: {record:?}", encoded.name()),
            });
            made.collect()
        };
        self.records.push(changelog(shape, keys, values).prop_map(make).boxed());
        self.configs.push((Arc::clone(topic.name()), topic.topic_config().clone()));
        self.inputs.push(Arc::clone(topic.name()));
        self
    }

    /// Compares `table` with what `model` makes of exactly the records that the state includes.
    pub fn table<T, F>(mut self, table: &T, model: F) -> Self
    where
        T: Stored<Key: Key + Debug, Value: Value + PartialEq + Debug> + Clone + 'static,
        F: Fn(&Input) -> BTreeMap<T::Key, T::Value> + 'static,
    {
        self.tables.push(Box::new(Model { table: table.clone(), model }));
        self
    }

    /// Does not compare `table` with a model, only with itself when the same steps are taken again: for tables that
    /// depend on where epochs are cut, such as those below a stream-table join.
    pub fn repeatable<T>(mut self, table: &T) -> Self
    where
        T: Stored<Key: Key + Debug, Value: Value + PartialEq + Debug> + Clone + 'static,
    {
        self.tables.push(Box::new(Repeatable(table.clone())));
        self
    }

    /// Checks the graph.
    ///
    /// # Panics
    /// If a published state differs from its model, or the same steps lead to different tables or derived records;
    /// with the fewest records and steps that show it, and the seed.
    #[track_caller]
    pub fn run(&self) {
        if let Err(violation) = self.try_run() {
            panic!("{violation}");
        }
    }

    /// As [`run`](Self::run), for those who want the violation as a value.
    ///
    /// # Errors
    /// What was violated.
    pub fn try_run(&self) -> Result<(), Violation> {
        let input = (self.records.clone(), steps(self.inputs.len()));
        self.laws.check(
            "every published state equals the model at its position",
            &input,
            |(records, steps)| {
                let one = self.play(&records, &steps, 3)?;
                let mut other = self.play(&records, &steps, 1)?;
                self.tables.iter().try_for_each(|table| table.same(&one, &other))?;
                self.same_outputs(&one, &other)?;
                // From nothing, in other epochs: the same rows, and nothing is told again.
                other.forget().map_err(failed)?;
                other.run().map_err(failed)?;
                self.agrees(&other)?;
                self.same_outputs(&one, &other)
            },
        )
    }

    /// Takes the steps, then folds what is left.
    fn play(&self, records: &[Vec<Made>], steps: &[Step], shards: usize) -> Result<Driver, String> {
        let settings = Settings { shards, ..Settings::default() };
        let mut driver = Driver::with_settings(&self.graph, settings).map_err(failed)?;
        for (topic, config) in &self.configs {
            driver.changelog().create_topic(topic, config).map_err(failed)?;
        }
        let mut left: Vec<&[Made]> = records.iter().map(Vec::as_slice).collect();
        for step in steps {
            self.take(step, &mut driver, &mut left)?;
        }
        for rest in &mut left {
            append(&driver, rest, usize::MAX)?;
        }
        driver.run().map_err(failed)?;
        self.agrees(&driver)?;
        Ok(driver)
    }

    fn take(&self, step: &Step, driver: &mut Driver, left: &mut [&[Made]]) -> Result<(), String> {
        match step {
            Step::Append { input, records } => {
                if let Some(left) = left.get_mut(*input) {
                    append(driver, left, *records)?;
                }
            }
            Step::Epoch(records) => {
                driver.epoch(*records).map_err(failed)?;
            }
            Step::Drain => {
                driver.drain().map_err(failed)?;
            }
            Step::AdvanceTime { by_ms } => {
                let farthest = driver.stats().map_err(failed)?.stream_times.into_values().max();
                if let Some(farthest) = farthest {
                    driver.advance_time(farthest.saturating_add(*by_ms)).map_err(failed)?;
                }
            }
            Step::AdvanceClock { by_ms } => driver.advance(*by_ms),
            Step::Crash => driver.crash().map_err(failed)?,
            Step::PowerCut => driver.power_cut().map_err(failed)?,
            Step::Restart { shards, memory_bytes } => {
                let settings =
                    Settings { shards: *shards, memory_bytes: *memory_bytes, ..Settings::default() };
                driver.restart_with(settings).map_err(failed)?;
            }
        }
        self.agrees(driver)
    }

    fn agrees(&self, driver: &Driver) -> Result<(), String> {
        let input = driver.input().map_err(failed)?;
        self.tables.iter().try_for_each(|table| table.agrees(driver, &input))
    }

    /// Compares what two runs have appended to topics other than the inputs.
    fn same_outputs(&self, one: &Driver, other: &Driver) -> Result<(), String> {
        for (topic, partitions) in one.changelog().topics().map_err(failed)? {
            if self.inputs.contains(&topic) {
                continue;
            }
            for partition in 0..partitions {
                let id = TopicPartition::new(Arc::clone(&topic), partition);
                let read = |driver: &Driver| read_partition(&**driver.changelog(), &id, None).map_err(failed);
                agree(&read(one)?, &read(other)?).map_err(|difference| {
                    format!("the same steps wrote something else to {id}: {difference}; {NOT_DETERMINISTIC}")
                })?;
            }
        }
        Ok(())
    }
}
