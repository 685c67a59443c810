//! The extremes and the different values of the groups of a stream.
//!
//! Nothing leaves a stream, so that an extreme is known from the extreme before: `min` and `max` keep one value for each
//! group, `top_k` keeps k. To count different values takes a row for each of them. There are no tombstones. A group
//! is absent until its first record, however many there are of it in one epoch. Late timestamps are folded when they
//! arrive. Empty input changes nothing.

use super::GroupedStream;
use crate::table::{StoredTable, distinct};
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::TableOptions;
use std::convert::Infallible;

impl<K: Key, V: Value> GroupedStream<K, V> {
    /// The least value that `of` takes from the records of each group. A value once seen counts for ever, as nothing leaves
    /// a stream; where values are corrected or deleted, group the [table](crate::GroupedTable::min).
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // City -> temperature
    /// let measured = Topic::<String, i32>::new("measured");
    /// let graph = GraphBuilder::new();
    /// let by_city = graph.stream(&measured).group_by_key();
    /// let coldest = by_city.min("coldest", |degrees| *degrees);
    /// let warmest = by_city.max("warmest", |degrees| *degrees);
    /// let top = by_city.top_k("top", 2, |degrees| *degrees);
    /// let different = by_city.distinct_count("different", |degrees| *degrees);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for degrees in [7, -2, 11, 7] {
    ///     driver.put(&measured, "Oslo".to_owned(), degrees, 0)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&coldest)?["Oslo"], -2);
    /// assert_eq!(driver.table(&warmest)?["Oslo"], 11);
    /// assert_eq!(driver.table(&top)?["Oslo"], [11, 7]);
    /// assert_eq!(driver.table(&different)?["Oslo"], 3);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn min<T: Value + Ord>(
        &self,
        store: impl Into<TableOptions<T>>,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, T> {
        self.fold_by("min", store.into(), move |_, row: &mut Option<T>, record| {
            let value = of(&record);
            if row.as_ref().is_none_or(|least| value < *least) {
                *row = Some(value);
            }
            Ok::<(), Infallible>(())
        })
        .commuting()
    }

    /// The greatest value that `of` takes from the records of each group; see [`min`](Self::min).
    pub fn max<T: Value + Ord>(
        &self,
        store: impl Into<TableOptions<T>>,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, T> {
        self.fold_by("max", store.into(), move |_, row: &mut Option<T>, record| {
            let value = of(&record);
            if row.as_ref().is_none_or(|greatest| value > *greatest) {
                *row = Some(value);
            }
            Ok::<(), Infallible>(())
        })
        .commuting()
    }

    /// The `k` greatest values that `of` takes from the records of each group, greatest first; fewer if there were fewer. With
    /// another `k` it is another table: raise its version. See [`min`](Self::min).
    pub fn top_k<T: Value + Ord>(
        &self,
        store: impl Into<TableOptions<Vec<T>>>,
        k: usize,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, Vec<T>> {
        self.fold_by(
            "top_k",
            store.into().written_by(format!("top_k({k})")),
            move |_, row: &mut Option<Vec<T>>, record| {
                let value = of(&record);
                let at = row.as_ref().map_or(0, |top| top.partition_point(|kept| *kept >= value));
                if at < k {
                    let top = row.get_or_insert_default();
                    top.truncate(k - 1);
                    top.insert(at, value);
                }
                Ok::<(), Infallible>(())
            },
        )
        .commuting()
    }

    /// Counts the different values that `of` takes from the records of each group, which must be keys: there is a row for each
    /// group and value in the table `<store>.index`. See [`min`](Self::min).
    pub fn distinct_count<T: Key>(
        &self,
        store: impl Into<TableOptions<u64>>,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, u64> {
        let builder = &self.stream.builder;
        let of = move |record: V| (of(&record), true);
        let (node, table) = distinct::distinct_count(builder, self.stream.node, store.into(), of);
        builder.follows_updates(node);
        StoredTable::from_node(builder, node, table)
    }
}
