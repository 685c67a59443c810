//! What comes of a stream, and ways to fold it that must come to the same.

use crate::builder::GraphBuilder;
use crate::stream::Stream;
use crate::table::StoredTable;
use crate::testing::changelogs::{ChangelogShape, TypedRecord};
use crate::testing::{Driver, Settings};
use millpond_engine::changelog::Headers;
use millpond_engine::codec::{Key, Value};
use millpond_engine::{Result, Topic};
use proptest::prop_oneof;
use proptest::strategy::{Just, Strategy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{self, Debug};

const PARTITIONS: u32 = 3;

/// What happens between two looks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// An epoch of about so many records.
    Epoch(usize),
    /// What is published becomes durable.
    Drain,
    /// The process dies and comes back.
    Crash,
}

/// What comes of a stream, as [`independent_of_cuts`](super::independent_of_cuts) and its like look at it: a [`Stream`], record by record in its order, or a
/// [`StoredTable`], whose rows are looked at once everything is folded. There are no others: the trait is sealed.
pub trait Outcome: sealed::Sealed {
    /// What can be looked at once the graph runs.
    #[doc(hidden)]
    fn watched(self) -> Watched;
}

mod sealed {
    /// Implemented for streams and tables.
    pub trait Sealed {}
}

/// Shows what there is.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "nobody is given it")]
pub struct Watched(Box<Look>);

type Look = dyn Fn(&Driver) -> Result<String>;

impl<L: Key, W: Value> sealed::Sealed for Stream<L, W> {}

impl<L, W> Outcome for Stream<L, W>
where
    L: Key + Debug,
    W: Value + Serialize + DeserializeOwned + Debug,
{
    fn watched(self) -> Watched {
        let told = Topic::<L, W>::new("told").partitions(1);
        self.to(&told);
        Watched(Box::new(move |driver| {
            let records = driver.records(&told)?.into_iter();
            let shown: Vec<_> = records.map(|told| (told.key, told.value, told.timestamp_ms)).collect();
            Ok(format!("{shown:?}"))
        }))
    }
}

impl<L: Key, W: Value> sealed::Sealed for StoredTable<L, W> {}

impl<L: Key + Debug, W: Value + Debug> Outcome for StoredTable<L, W> {
    fn watched(self) -> Watched {
        Watched(Box::new(move |driver| Ok(format!("{:?}", driver.table(&self)?))))
    }
}

/// Partitions are apart, and one of them may fall silent.
pub(super) fn shape() -> ChangelogShape {
    ChangelogShape {
        records: (0..=40).into(),
        partitions: PARTITIONS,
        late_percent: 30,
        lateness_ms: 20_000,
        step_ms: 5_000,
        start_ms: -30_000,
        skew_ms: 7_000,
        silent_percent: 20,
        ..ChangelogShape::default()
    }
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![6 => (1..=12_usize).prop_map(Step::Epoch), 1 => Just(Step::Drain), 1 => Just(Step::Crash)]
}

fn input<K: Key, V: Value + Serialize + DeserializeOwned>() -> Topic<K, V> {
    Topic::new("input").partitions(PARTITIONS)
}

/// Opens the graph that `build` describes on a log of these records.
pub(super) fn opened<K, V, T>(
    build: impl Fn(&Stream<K, V>) -> T,
    records: &[TypedRecord<K, V>],
    shards: usize,
) -> Result<(Driver, T), String>
where
    K: Key,
    V: Value + Serialize + DeserializeOwned,
{
    let builder = GraphBuilder::new();
    let made = build(&builder.stream(&input()));
    let graph = builder.build().map_err(failed)?;
    let driver = Driver::with_settings(&graph, Settings { shards, ..Settings::default() }).map_err(failed)?;
    driver.put_all(&input(), records.iter().cloned()).map_err(failed)?;
    Ok((driver, made))
}

/// What comes of the records once `steps` are taken, and what is left is folded in epochs of `size`.
pub(super) fn folded<K, V, O>(
    build: &impl Fn(&Stream<K, V>) -> O,
    records: &[TypedRecord<K, V>],
    shards: usize,
    steps: &[Step],
    size: usize,
) -> Result<String, String>
where
    K: Key,
    V: Value + Serialize + DeserializeOwned,
    O: Outcome,
{
    let (mut driver, watched) = opened(|stream| build(stream).watched(), records, shards)?;
    for step in steps {
        match step {
            Step::Epoch(records) => driver.epoch(*records).map(drop),
            Step::Drain => driver.drain().map(drop),
            Step::Crash => driver.crash(),
        }
        .map_err(failed)?;
    }
    while driver.epoch(size).map_err(failed)? {}
    watched.0(&driver).map_err(failed)
}

/// What comes of the records where time is moved on between them: behind so many each, by so much against where the farthest
/// partition is; by ticks, or by records that streams pass over.
pub(super) fn moved_on<K, V, O>(
    build: &impl Fn(&Stream<K, V>) -> O,
    records: &[TypedRecord<K, V>],
    moved: &[(usize, i64)],
    ticks: bool,
) -> Result<String, String>
where
    K: Key,
    V: Value + Serialize + DeserializeOwned,
    O: Outcome,
{
    let (mut driver, watched) = opened(|stream| build(stream).watched(), &[], 2)?;
    let mut left = records;
    let mut farthest_ms = i64::MIN;
    for (count, by_ms) in moved {
        let (now, later) = left.split_at((*count).min(left.len()));
        left = later;
        driver.put_all(&input(), now.iter().cloned()).map_err(failed)?;
        let reached = now.iter().map(|record| record.timestamp_ms).max();
        farthest_ms = farthest_ms.max(reached.unwrap_or(i64::MIN));
        let Some(key) = records.first().map(|record| &record.key).filter(|_| farthest_ms > i64::MIN) else {
            continue;
        };
        let to_ms = farthest_ms.saturating_add(*by_ms);
        farthest_ms = farthest_ms.max(to_ms);
        if ticks {
            driver.run().map_err(failed)?;
            driver.advance_time(to_ms).map_err(failed)?;
        } else {
            let shows = |partition| TypedRecord::<K, V> {
                partition,
                key: key.clone(),
                value: None,
                timestamp_ms: to_ms,
                headers: Headers::new(),
            };
            driver.put_all(&input(), (0..PARTITIONS).map(shows)).map_err(failed)?;
        }
    }
    driver.put_all(&input(), left.iter().cloned()).map_err(failed)?;
    driver.run().map_err(failed)?;
    watched.0(&driver).map_err(failed)
}

pub(super) fn failed(error: impl fmt::Display) -> String {
    error.to_string()
}
