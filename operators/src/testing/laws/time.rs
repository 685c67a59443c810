//! The laws of what looks at time: what comes of a stream is a function of the log, and what is final stays.
//!
//! The input of each is a changelog of three partitions, which are apart in time, out of order and fall silent, and a way to
//! fold it. What is checked is described anew for each of them, so that nothing is carried from one to the next.

use super::outcome::{Outcome, failed, folded, moved_on, opened, shape, step};
use super::{Laws, Violation, agree, hold};
use crate::stream::Stream;
use crate::table::StoredTable;
use crate::testing::changelogs::changelog;
use millpond_engine::Topic;
use millpond_engine::codec::{Key, Value};
use proptest::collection::vec;
use proptest::strategy::Strategy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;

#[cfg(test)]
mod tests;

impl Laws {
    /// See [`laws::independent_of_cuts`](super::independent_of_cuts).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn independent_of_cuts<K, V, O>(
        &self,
        build: impl Fn(&Stream<K, V>) -> O,
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Key + Debug,
        V: Value + Serialize + DeserializeOwned + Debug,
        O: Outcome,
    {
        let input = (changelog(shape(), keys, values), vec(step(), 0..20));
        self.check("where epochs are cut decides nothing", &input, |(records, steps)| {
            let one_by_one = folded(&build, &records, 1, &[], 1)?;
            agree(&one_by_one, &folded(&build, &records, 1, &steps, usize::MAX)?)
        })
    }

    /// See [`laws::independent_of_shards`](super::independent_of_shards).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn independent_of_shards<K, V, O>(
        &self,
        build: impl Fn(&Stream<K, V>) -> O,
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Key + Debug,
        V: Value + Serialize + DeserializeOwned + Debug,
        O: Outcome,
    {
        let input = (changelog(shape(), keys, values), 1..=20_usize, 2..=8_usize);
        self.check("the number of shards decides nothing", &input, |(records, size, shards)| {
            let of_one = folded(&build, &records, 1, &[], size)?;
            agree(&of_one, &folded(&build, &records, shards, &[], size)?)
        })
    }

    /// See [`laws::independent_of_ticks`](super::independent_of_ticks).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn independent_of_ticks<K, V, O>(
        &self,
        build: impl Fn(&Stream<K, V>) -> O,
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Key + Debug,
        V: Value + Serialize + DeserializeOwned + Debug,
        O: Outcome,
    {
        let moved = vec((0..30_usize, -20_000..60_000_i64), 0..6);
        let input = (changelog(shape(), keys, values), moved);
        self.check("time is the same by a tick and by a record", &input, |(records, moved)| {
            let [by_record, by_tick] = [false, true].map(|ticks| moved_on(&build, &records, &moved, ticks));
            agree(&by_record?, &by_tick?)
        })
    }

    /// See [`laws::finals_never_change`](super::finals_never_change).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn finals_never_change<K, V, L, F, W>(
        &self,
        build: impl Fn(&Stream<K, V>) -> (StoredTable<L, W>, Stream<F, W>),
        keys: impl Strategy<Value = K>,
        values: impl Strategy<Value = V>,
    ) -> Result<(), Violation>
    where
        K: Key + Debug,
        V: Value + Serialize + DeserializeOwned + Debug,
        L: Key + Debug + From<F>,
        F: Key + Debug,
        W: Value + Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let input = (changelog(shape(), keys, values), 1..=20_usize);
        self.check("what is final does not change", &input, |(records, size)| {
            let told = Topic::<F, W>::new("told").partitions(1);
            let describe = |stream: &Stream<K, V>| {
                let (table, finals) = build(stream);
                finals.to(&told);
                table
            };
            let (mut driver, table) = opened(describe, &records, 1)?;
            loop {
                let more = driver.epoch(size).map_err(failed)?;
                let rows = driver.table(&table).map_err(failed)?;
                let mut finals = BTreeMap::new();
                for final_row in driver.records(&told).map_err(failed)? {
                    let Some(value) = final_row.value else { continue };
                    let key = L::from(final_row.key);
                    if let Some(row) = rows.get(&key).filter(|row| **row != value) {
                        return Err(format!("{key:?} was final as {value:?} and is {row:?}"));
                    }
                    if let Some(before) = finals.insert(key.clone(), value) {
                        return Err(format!("{key:?} was told twice, first as {before:?}"));
                    }
                }
                if !more {
                    return Ok(());
                }
            }
        })
    }
}

/// Checks that what `build` makes of a stream is the same wherever epochs are cut and processes die: record by record where it makes
/// a stream, and row by row, once all is folded, where it makes a table.
///
/// What is built of the operators of this library alone keeps this law but for what its documentation says; it is for operators and
/// processes of your own, and for graphs that bring closings and records together.
///
/// # Panics
/// If the law is broken.
///
/// # Examples
/// ```
/// use millpond::stream::Tumbling;
/// use millpond::testing::laws;
/// use proptest::prelude::any;
/// use std::time::Duration;
///
/// let tens = Tumbling::of(Duration::from_secs(10)).grace(Duration::from_secs(5));
/// laws::independent_of_cuts(
///     |clicks| clicks.group_by_key().windowed(tens).count("counts").on_close(),
///     0..4_u8,
///     any::<u32>(),
/// );
/// ```
#[track_caller]
pub fn independent_of_cuts<K, V, O>(
    build: impl Fn(&Stream<K, V>) -> O,
    keys: impl Strategy<Value = K>,
    values: impl Strategy<Value = V>,
) where
    K: Key + Debug,
    V: Value + Serialize + DeserializeOwned + Debug,
    O: Outcome,
{
    hold(Laws::of_graphs().independent_of_cuts(build, keys, values));
}

/// Checks that what `build` makes of a stream is the same over any number of shards.
///
/// # Panics
/// If the law is broken.
///
/// # Examples
/// ```
/// use millpond::testing::laws;
/// use proptest::prelude::any;
///
/// laws::independent_of_shards(
///     |clicks| clicks.re_key(|page, seconds| (page % 2, seconds % 3)).group_by_key().count("counts"),
///     0..9_u8,
///     any::<u32>(),
/// );
/// ```
#[track_caller]
pub fn independent_of_shards<K, V, O>(
    build: impl Fn(&Stream<K, V>) -> O,
    keys: impl Strategy<Value = K>,
    values: impl Strategy<Value = V>,
) where
    K: Key + Debug,
    V: Value + Serialize + DeserializeOwned + Debug,
    O: Outcome,
{
    hold(Laws::of_graphs().independent_of_shards(build, keys, values));
}

/// Checks that what `build` makes of a stream is the same whether time comes by a tick, as for a partition that is silent, or by a
/// record of the partition that the stream passes over.
///
/// # Panics
/// If the law is broken.
///
/// # Examples
/// ```
/// use millpond::stream::Session;
/// use millpond::testing::laws;
/// use proptest::prelude::any;
/// use std::time::Duration;
///
/// let sessions = Session::gap(Duration::from_secs(5)).grace(Duration::from_secs(2));
/// laws::independent_of_ticks(
///     |clicks| clicks.group_by_key().windowed(sessions).count("counts").on_close(),
///     0..4_u8,
///     any::<u32>(),
/// );
/// ```
#[track_caller]
pub fn independent_of_ticks<K, V, O>(
    build: impl Fn(&Stream<K, V>) -> O,
    keys: impl Strategy<Value = K>,
    values: impl Strategy<Value = V>,
) where
    K: Key + Debug,
    V: Value + Serialize + DeserializeOwned + Debug,
    O: Outcome,
{
    hold(Laws::of_graphs().independent_of_ticks(build, keys, values));
}

/// Checks that what `build` says is final does not change: of the table and the stream that it makes of a stream, the stream tells each
/// key once, and from then on the row of the key, if it is there, is what was told. The table may have another form of the key.
///
/// # Panics
/// If the law is broken.
///
/// # Examples
/// ```
/// use millpond::stream::Tumbling;
/// use millpond::testing::laws;
/// use proptest::prelude::any;
/// use std::time::Duration;
///
/// let tens = Tumbling::of(Duration::from_secs(10)).grace(Duration::from_secs(5));
/// laws::finals_never_change(
///     |clicks| {
///         let counts = clicks.group_by_key().windowed(tens).count("counts");
///         (counts.table().clone(), counts.on_close())
///     },
///     0..4_u8,
///     any::<u32>(),
/// );
/// ```
#[track_caller]
pub fn finals_never_change<K, V, L, F, W>(
    build: impl Fn(&Stream<K, V>) -> (StoredTable<L, W>, Stream<F, W>),
    keys: impl Strategy<Value = K>,
    values: impl Strategy<Value = V>,
) where
    K: Key + Debug,
    V: Value + Serialize + DeserializeOwned + Debug,
    L: Key + Debug + From<F>,
    F: Key + Debug,
    W: Value + Serialize + DeserializeOwned + PartialEq + Debug,
{
    hold(Laws::of_graphs().finals_never_change(build, keys, values));
}
