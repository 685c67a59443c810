//! Joining a stream with a table under a key that each record names.
//!
//! Records are sent to the shards of the rows that they name, and meet these there as they would under their own key: each at its own
//! place in the log. They keep their keys. Deleted and absent keys, and records that name none: the inner join drops the record, the
//! left join passes `None`. Repeated keys meet the row each at its own place. Timestamps play no part, late, early, equal or negative.
//! Empty input on either side gives nothing, or changes nothing. An error of a closure is the failure of its record.

use super::Stream;
use super::join::meeting;
use crate::table::Table;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Exchange, Failure};
use std::convert::Infallible;
use std::fmt::Display;
use std::marker::PhantomData;

impl<K: Key, V: Value> Stream<K, V> {
    /// Joins each record with the row of `table` whose key `name` takes from it, as [`join`](Self::join) does under the record's own key:
    /// with the row that the table has at the record's place in the log. Records without one are dropped, and so are those for
    /// which `name` answers with `None`: it answers with a key of the table, or with an `Option` of one. Records keep their keys.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Order -> (item, pieces)
    /// let orders = Topic::<u32, (String, u64)>::new("orders");
    /// let prices = Topic::<String, u64>::new("prices");
    /// let graph = GraphBuilder::new();
    /// let prices_table = graph.table(&prices, "prices");
    /// let due = graph
    ///     .stream(&orders)
    ///     .join_by(&prices_table, |_, (item, _)| item.clone(), |_, (_, pieces), price| pieces * price)
    ///     .to_table("due");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&prices, "tea".to_owned(), 450, 0)?;
    /// driver.put(&orders, 1, ("tea".to_owned(), 2), 0)?;
    /// driver.put(&prices, "tea".to_owned(), 500, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&due)?, [(1, 900)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "GlobalKTable join")]
    pub fn join_by<F: Key, I: Into<Option<F>>, T: Value, W: Value>(
        &self,
        table: &Table<F, T>,
        name: impl Fn(&K, &V) -> I + Send + Sync + 'static,
        join: impl Fn(&K, V, &T) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        let name = move |key: &K, value: &V| Ok::<_, Infallible>(name(key, value));
        self.try_join_by(table, name, move |key, value, row| Ok(join(key, value, row)))
    }

    /// As [`join_by`](Self::join_by), but each record comes through, with the row if it names one that is there.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Page -> who looks at it, if that is known
    /// let visits = Topic::<u32, Option<u64>>::new("visits");
    /// let names = Topic::<u64, String>::new("names");
    /// let graph = GraphBuilder::new();
    /// let names_table = graph.table(&names, "names");
    /// let last = graph
    ///     .stream(&visits)
    ///     .left_join_by(&names_table, |_, visitor| *visitor, |_, _, name| name.map_or("somebody", String::as_str).to_owned())
    ///     .to_table("last_visitor");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&names, 7, "Ada".to_owned(), 0)?;
    /// for (page, visitor) in [(1, Some(7)), (2, Some(8)), (3, None)] {
    ///     driver.put(&visits, page, visitor, 0)?;
    /// }
    /// driver.run()?;
    /// let found = driver.table(&last)?;
    /// assert_eq!([1, 2, 3].map(|page| found[&page].as_str()), ["Ada", "somebody", "somebody"]);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "GlobalKTable leftJoin")]
    pub fn left_join_by<F: Key, I: Into<Option<F>>, T: Value, W: Value>(
        &self,
        table: &Table<F, T>,
        name: impl Fn(&K, &V) -> I + Send + Sync + 'static,
        join: impl Fn(&K, V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        let name = move |key: &K, value: &V| Ok::<_, Infallible>(name(key, value));
        self.try_left_join_by(table, name, move |key, value, row| Ok(join(key, value, row)))
    }

    /// As [`join_by`](Self::join_by), where an error of either closure is the failure of the record of this stream.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Order -> "<item>:<pieces>"
    /// let (orders, prices) = (Topic::<u32, String>::new("orders"), Topic::<u64, u64>::new("prices"));
    /// let graph = GraphBuilder::new();
    /// let prices_table = graph.table(&prices, "prices");
    /// let number = |text: Option<&str>| text.unwrap_or_default().parse::<u64>().map_err(|error| error.to_string());
    /// let due = graph
    ///     .stream(&orders)
    ///     .try_join_by(
    ///         &prices_table,
    ///         move |_, order| number(order.split(':').next()),
    ///         move |_, order, price| number(order.split(':').nth(1))?.checked_mul(*price).ok_or("too dear".to_owned()),
    ///     )
    ///     .to_table("due");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&prices, 7, 450, 0)?;
    /// driver.put(&orders, 1, "7:2".to_owned(), 0)?;
    /// driver.put(&orders, 2, "tea:2".to_owned(), 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("orders/0 offset 1") && error.contains("invalid digit"), "{error}");
    /// assert_eq!(driver.table(&due)?, [(1, 900)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_join_by<F: Key, I: Into<Option<F>>, T: Value, W: Value, E: Display + 'static>(
        &self,
        table: &Table<F, T>,
        name: impl Fn(&K, &V) -> Result<I, E> + Send + Sync + 'static,
        join: impl Fn(&K, V, &T) -> Result<W, E> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.joined_by("join_by", table, name, move |key, value, row| {
            row.map(|row| join(key, value, row)).transpose()
        })
    }

    /// As [`left_join_by`](Self::left_join_by), where an error of either closure is the failure of the record of this stream.
    ///
    /// # Examples
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (orders, prices) = (Topic::<u32, u64>::new("orders"), Topic::<u64, u64>::new("prices"));
    /// let graph = GraphBuilder::new();
    /// let prices_table = graph.table(&prices, "prices");
    /// let due = graph.stream(&orders).try_left_join_by(
    ///     &prices_table,
    ///     |_, item| Ok(*item),
    ///     |_, item, price| price.copied().ok_or_else(|| format!("item {item} has no price")),
    /// );
    /// due.to_table("due");
    /// # graph.build()?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_left_join_by<F: Key, I: Into<Option<F>>, T: Value, W: Value, E: Display + 'static>(
        &self,
        table: &Table<F, T>,
        name: impl Fn(&K, &V) -> Result<I, E> + Send + Sync + 'static,
        join: impl Fn(&K, V, Option<&T>) -> Result<W, E> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.joined_by("left_join_by", table, name, move |key, value, row| join(key, value, row).map(Some))
    }

    fn joined_by<F: Key, I: Into<Option<F>>, T: Value, W: Value, E: Display + 'static>(
        &self,
        label: &str,
        table: &Table<F, T>,
        name: impl Fn(&K, &V) -> Result<I, E> + Send + Sync + 'static,
        join: impl Fn(&K, V, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        let named = self.try_step("name", false, move |Event { key, value, stamp }, out| {
            let named: Option<F> = name(&key, &value)?.into();
            out.push(Event { key: named, value: (key, value), stamp });
            Ok::<(), E>(())
        });
        let builder = &named.builder;
        let events = builder.exchange("to_named", named.node, &[], ToNamed(PhantomData::<fn() -> (F, K, V)>));
        let join = move |_, (key, value): (K, V), row: Option<&T>| {
            Ok::<_, E>(join(&key, value, row)?.map(|joined| (key, joined)))
        };
        let node = meeting(label, builder, events, table, Option::as_ref, join);
        Stream::new(named.builder, node, false)
    }
}

/// Sends every event to the shard of the row that it names. One that names none stays where it is.
struct ToNamed<Types>(PhantomData<Types>);

impl<F: Key, K: Key, V: Value> Exchange for ToNamed<fn() -> (F, K, V)> {
    type Input = (Vec<Event<Option<F>, (K, V)>>,);
    type Item = Event<Option<F>, (K, V)>;

    fn route(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let (router, here) = (context.router(), context.shard());
        let mut parts: Vec<Vec<Self::Item>> = (0..router.shards()).map(|_| Vec::new()).collect();
        for event in events {
            let shard = event.key.as_ref().map_or(here, |named| router.shard(named));
            if let Some(part) = parts.get_mut(shard) {
                part.push(event);
            }
        }
        Ok(parts)
    }
}
