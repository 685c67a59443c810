//! Joins of tables that may fail, by primary and by foreign key.

use crate::table::foreign::{self, Kind};
use crate::table::join::{self, Asked};
use crate::table::{ForeignStore, StoredTable, Table};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use std::fmt::Display;

impl<K: Key, V: Value> Table<K, V> {
    /// As [`join`](Self::join), where an error is the failure of the record that made either row so.
    ///
    /// Where one record changes both tables, `join` is asked after each of the two changes.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (stock, taken) = (Topic::<u32, u32>::new("stock"), Topic::<u32, u32>::new("taken"));
    /// let graph = GraphBuilder::new();
    /// let taken_table = graph.table(&taken, "taken");
    /// let left = graph
    ///     .table(&stock, "stock")
    ///     .try_join(&taken_table, |item, stock, taken| {
    ///         stock.checked_sub(*taken).ok_or_else(|| format!("more of item {item} is taken than there was"))
    ///     })
    ///     .materialize("left");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&stock, 7, 10, 0)?;
    /// driver.put(&taken, 7, 4, 0)?;
    /// driver.put(&taken, 7, 11, 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("taken/0 offset 1") && error.contains("more of item 7"), "{error}");
    /// assert_eq!(driver.table(&left)?, [(7, 6)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_join<T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Table<K, T>,
        join: impl Fn(&K, &V, &T) -> Result<W, E> + Send + Sync + 'static,
    ) -> Table<K, W> {
        join::join("try_join", Asked::EveryUpdate, self, other, move |key, left, right| {
            left.zip(right).map(|(left, right)| join(key, left, right)).transpose()
        })
    }

    /// As [`left_join`](Self::left_join), where an error is the failure of the record that made either row so; see
    /// [`try_join`](Self::try_join).
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (orders, prices) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("prices"));
    /// let graph = GraphBuilder::new();
    /// let prices_table = graph.table(&prices, "prices");
    /// let due = graph
    ///     .table(&orders, "orders")
    ///     .try_left_join(&prices_table, |item, pieces, price| match price {
    ///         Some(price) => Ok(pieces * price),
    ///         None => Err(format!("item {item} has no price")),
    ///     })
    ///     .materialize("due");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&prices, 7, 450, 0)?;
    /// driver.put(&orders, 7, 2, 0)?;
    /// driver.delete(&prices, 7, 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("prices/0 offset 1") && error.contains("item 7 has no price"), "{error}");
    /// assert_eq!(driver.table(&due)?, [(7, 900)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_left_join<T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Table<K, T>,
        join: impl Fn(&K, &V, Option<&T>) -> Result<W, E> + Send + Sync + 'static,
    ) -> Table<K, W> {
        join::join("try_left_join", Asked::EveryUpdate, self, other, move |key, left, right| {
            left.map(|left| join(key, left, right)).transpose()
        })
    }

    /// As [`outer_join`](Self::outer_join), where an error is the failure of the record that made either row so; see
    /// [`try_join`](Self::try_join).
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (debit, credit) = (Topic::<u32, u64>::new("debit"), Topic::<u32, u64>::new("credit"));
    /// let graph = GraphBuilder::new();
    /// let credit_table = graph.table(&credit, "credit");
    /// let sums = graph
    ///     .table(&debit, "debit")
    ///     .try_outer_join(&credit_table, |_, debit, credit| {
    ///         let (debit, credit) = (debit.copied().unwrap_or(0), credit.copied().unwrap_or(0));
    ///         debit.checked_add(credit).ok_or("too much money")
    ///     })
    ///     .materialize("sums");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&debit, 7, 1, 0)?;
    /// driver.put(&credit, 7, u64::MAX, 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("credit/0 offset 0") && error.contains("too much money"), "{error}");
    /// assert_eq!(driver.table(&sums)?, [(7, 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_outer_join<T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Table<K, T>,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> Result<W, E> + Send + Sync + 'static,
    ) -> Table<K, W> {
        join::join("try_outer_join", Asked::EveryUpdate, self, other, move |key, left, right| {
            (left.is_some() || right.is_some()).then(|| join(key, left, right)).transpose()
        })
    }

    /// As [`foreign_join`](Self::foreign_join), where an error of either closure is the failure of the record that made the row,
    /// or the one that it names, what it is.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Order -> "customer:cents"
    /// let orders = Topic::<u32, String>::new("orders");
    /// let customers = Topic::<u32, String>::new("customers");
    /// let graph = GraphBuilder::new();
    /// let customers_table = graph.table(&customers, "customers");
    /// let named = graph.table(&orders, "orders").try_foreign_join(
    ///     &customers_table,
    ///     "named",
    ///     |_, order| order.split(':').next().unwrap_or_default().parse::<u32>().map_err(|error| error.to_string()),
    ///     |_, order, name| {
    ///         if name.is_empty() { Err("a customer without a name".to_owned()) } else { Ok(format!("{name} {order}")) }
    ///     },
    /// );
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&customers, 7, "Ada".to_owned(), 0)?;
    /// driver.put(&orders, 1, "7:450".to_owned(), 0)?;
    /// driver.put(&customers, 7, String::new(), 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("customers/0 offset 1") && error.contains("without a name"), "{error}");
    /// assert_eq!(driver.table(&named)?, [(1, "Ada 7:450".to_owned())].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn try_foreign_join<F: Key, I: Into<Option<F>>, T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Table<F, T>,
        store: impl Into<ForeignStore<V, W>>,
        foreign: impl Fn(&K, &V) -> Result<I, E> + Send + Sync + 'static,
        join: impl Fn(&K, &V, &T) -> Result<W, E> + Send + Sync + 'static,
    ) -> StoredTable<K, W> {
        let join =
            move |key: &K, row: &V, other: Option<&T>| other.map(|other| join(key, row, other)).transpose();
        let named = move |key: &K, row: &V| foreign(key, row).map(Into::into);
        foreign::join(self, other, store.into(), Kind::Inner, named, join).following()
    }

    /// As [`foreign_left_join`](Self::foreign_left_join), where an error of either closure is the failure of the record that made
    /// the row, or the one that it names, what it is.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Task -> who is on it, if anybody
    /// let tasks = Topic::<u32, Option<u64>>::new("tasks");
    /// let people = Topic::<u64, String>::new("people");
    /// let graph = GraphBuilder::new();
    /// let people_table = graph.table(&people, "people");
    /// let on_it = graph.table(&tasks, "tasks").try_foreign_left_join(
    ///     &people_table,
    ///     "on_it",
    ///     |_, person| Ok(*person),
    ///     |task, person, name| match (person, name) {
    ///         (Some(person), None) => Err(format!("nobody knows {person}, who is on task {task}")),
    ///         (_, name) => Ok(name.cloned()),
    ///     },
    /// );
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&tasks, 1, None, 0)?;
    /// driver.put(&tasks, 2, Some(7), 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("tasks/0 offset 1") && error.contains("nobody knows 7"), "{error}");
    /// assert_eq!(driver.table(&on_it)?, [(1, None)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn try_foreign_left_join<F: Key, I: Into<Option<F>>, T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Table<F, T>,
        store: impl Into<ForeignStore<V, W>>,
        foreign: impl Fn(&K, &V) -> Result<I, E> + Send + Sync + 'static,
        join: impl Fn(&K, &V, Option<&T>) -> Result<W, E> + Send + Sync + 'static,
    ) -> StoredTable<K, W> {
        let join = move |key: &K, row: &V, other: Option<&T>| join(key, row, other).map(Some);
        let named = move |key: &K, row: &V| foreign(key, row).map(Into::into);
        foreign::join(self, other, store.into(), Kind::Left, named, join).following()
    }
}
