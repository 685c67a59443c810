//! Steps over tables that may fail: `try_filter`, `try_join` and their kin.
//!
//! An error is the failure of the record that changed the row, on whatever way through the graph it came there. The failure
//! policy handles it as it does a panic, but that nothing is printed and nothing is run again to find the record. All that was
//! made of a failed record is undone.
//!
//! Which record fails must not depend on where epochs are cut, whatever the policy is: these steps are asked about every
//! update of a row, also those that another one of the same epoch has overwritten, and follow the updates of the tables above
//! for that. A row that was there before the step was, so that no record of it fails any more, is absent to whatever derives
//! from the step if it fails at it: the row can be mended and deleted.
//!
//! Otherwise these are the steps in [`table`](super), [`foreign`](super::foreign), [`re_key`](super::re_key) and
//! [`group`](super::group).

mod joins;

use super::group::leave;
use super::regroup::Delta;
use super::{ForeignStore, GroupedTable, StoredTable, Table, map, re_key, regroup};
use millpond_engine::Result;
use millpond_engine::codec::{Grouped, Key, Value};
use millpond_engine::graph::{Builder, Interleaving, NodeRef, TableOptions};
use std::fmt::Display;

impl<K: Key, V: Value> Table<K, V> {
    /// As [`filter`](Self::filter), where an error is the failure of the record that made the row so.
    ///
    /// `keep` is asked about every value that a row takes on, also if the next one replaces it at once: which records fail does
    /// not depend on how many are folded together. So do all steps of tables that may fail.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::{Driver, Settings};
    /// use millpond::{FailurePolicy, GraphBuilder, Topic};
    ///
    /// let readings = Topic::<String, String>::new("readings");
    /// let dead = Topic::<String, String>::new("dead");
    /// let graph = GraphBuilder::new();
    /// let warm = graph
    ///     .table(&readings, "readings")
    ///     .try_filter(|_, text| text.parse::<i32>().map(|celsius| celsius > 20))
    ///     .materialize("warm");
    /// let policy = FailurePolicy::DeadLetter("dead".into());
    /// let mut driver = Driver::with_settings(&graph.build()?, Settings { policy, ..Settings::default() })?;
    /// for text in ["31", "hot"] {
    ///     driver.put(&readings, "attic".to_owned(), text.to_owned(), 0)?;
    /// }
    /// driver.run()?;
    /// // The record that does not parse is left out: the row is what it was before.
    /// assert_eq!(driver.table(&warm)?["attic"], "31");
    /// assert_eq!(driver.records(&dead)?[0].value.as_deref(), Some("hot"));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_filter<E: Display + 'static>(
        &self,
        keep: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        map::map("try_filter", self, move |key, value: V| Ok::<_, E>(keep(key, &value)?.then_some(value)))
            .following()
    }

    /// As [`map_values`](Self::map_values), where an error is the failure of the record that made the row so.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let readings = Topic::<String, String>::new("readings");
    /// let graph = GraphBuilder::new();
    /// let celsius = graph.table(&readings, "readings").try_map_values(|_, text| text.parse::<i32>()).materialize("celsius");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&readings, "attic".to_owned(), "31".to_owned(), 0)?;
    /// driver.put(&readings, "cellar".to_owned(), "cold".to_owned(), 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("readings/0 offset 1") && error.contains("invalid digit"), "{error}");
    /// assert_eq!(driver.table(&celsius)?, [("attic".to_owned(), 31)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_map_values<W: Value, E: Display + 'static>(
        &self,
        map: impl Fn(&K, V) -> Result<W, E> + Send + Sync + 'static,
    ) -> Table<K, W> {
        map::map("try_map_values", self, move |key, value| map(key, value).map(Some)).following()
    }

    /// As [`group_by`](Self::group_by), where an error is the failure of the record that made the row so.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Player -> "team:points"
    /// let players = Topic::<String, String>::new("players");
    /// let graph = GraphBuilder::new();
    /// let by_team = graph.table(&players, "players").try_group_by(|_, text| {
    ///     let (team, points) = text.split_once(':').ok_or_else(|| format!("no colon in `{text}`"))?;
    ///     let points: u32 = points.parse().map_err(|_| format!("`{points}` are no points"))?;
    ///     Ok::<_, String>((team.to_owned(), points))
    /// });
    /// let points = by_team.reduce("points", |a, b| a + b, |a, b| a - b);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&players, "ada".to_owned(), "red:10".to_owned(), 0)?;
    /// driver.put(&players, "bo".to_owned(), "red:many".to_owned(), 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("players/0 offset 1") && error.contains("`many` are no points"), "{error}");
    /// assert_eq!(driver.table(&points)?["red"], 10);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_group_by<L: Key, W: Value, E: Display + 'static>(
        &self,
        group: impl Fn(&K, &V) -> Result<(L, W), E> + Send + Sync + 'static,
    ) -> GroupedTable<L, W> {
        let grouped = regroup::group_by("try_group_by", self, group);
        follow(&grouped.builder, grouped.node);
        grouped
    }

    /// As [`re_key`](Self::re_key), where an error is the failure of the record that made the row so.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let users = Topic::<u64, String>::new("users");
    /// let graph = GraphBuilder::new();
    /// let by_mail = graph.table(&users, "users").try_re_key("by_mail", |_, mail| {
    ///     if mail.contains('@') { Ok(mail.clone()) } else { Err(format!("`{mail}` is no address")) }
    /// });
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&users, 7, "ada@example.org".to_owned(), 0)?;
    /// driver.put(&users, 8, "bob".to_owned(), 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("users/0 offset 1") && error.contains("`bob` is no address"), "{error}");
    /// assert_eq!(driver.table(&by_mail)?.len(), 1);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn try_re_key<L: Key, E: Display + 'static>(
        &self,
        store: impl Into<ForeignStore<V, V>>,
        key: impl Fn(&K, &V) -> Result<L, E> + Send + Sync + 'static,
    ) -> StoredTable<L, V> {
        re_key::re_key(self, store.into(), key).following()
    }

    /// The same table, whose node is told every update of the tables above.
    fn following(self) -> Self {
        follow(&self.builder, self.node);
        self
    }
}

impl<K: Key, V: Value> StoredTable<K, V> {
    fn following(self) -> Self {
        follow(&self.builder, self.node);
        self
    }
}

/// Has `node` told every update. Which record fails then depends on how they follow each other, whatever comes of them in the
/// end.
fn follow<T>(builder: &Builder, node: NodeRef<T>) {
    builder.follows_updates(node);
    builder.interleaving(node, Interleaving::Unknown);
}

impl<K: Key, V: Value> GroupedTable<K, V> {
    /// As [`fold`](Self::fold), where an error of either closure is the failure of the record that changed the row. What the
    /// closure has made of the accumulator by then is thrown away.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Parcel -> (van, kilograms); a van takes 100.
    /// let parcels = Topic::<u32, (u8, u32)>::new("parcels");
    /// let graph = GraphBuilder::new();
    /// let loads = graph.table(&parcels, "parcels").group_by(|_, (van, kg)| (*van, *kg)).try_fold(
    ///     "loads",
    ///     || 0,
    ///     |load, van, kg| {
    ///         *load += kg;
    ///         if *load > 100 { Err(format!("van {van} is full")) } else { Ok(()) }
    ///     },
    ///     |load, _, kg| {
    ///         *load -= kg;
    ///         Ok(())
    ///     },
    /// );
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&parcels, 1, (1, 80), 0)?;
    /// driver.put(&parcels, 2, (1, 30), 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("parcels/0 offset 1") && error.contains("van 1 is full"), "{error}");
    /// assert_eq!(driver.table(&loads)?, [(1, 80)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn try_fold<A: Value, E: Display + 'static>(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) -> Result<(), E> + Send + Sync + 'static,
        retract: impl Fn(&mut A, &K, V) -> Result<(), E> + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        let step = move |key: &K, group: &mut Option<Grouped<A>>, delta: Delta<V>| match delta {
            Delta::Join(value) => {
                let group = group.get_or_insert_with(|| Grouped { members: 0, value: init() });
                group.members += 1;
                fold(&mut group.value, key, value)
            }
            Delta::Leave(value) => leave(group, |acc| retract(acc, key, value)),
        };
        self.fold_by("group", store.into(), step).following()
    }
}
