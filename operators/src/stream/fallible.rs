//! Steps that may fail: `try_map`, `try_filter` and their kin.
//!
//! An error is the failure of the record that the value was made from. The failure policy handles it as it does a panic or
//! a record that does not decode, but that nothing is printed and nothing is run again to find the record: the engine stops
//! with the error's text and topic, partition and offset, or the record becomes a dead letter with that text as its
//! reason. All that was made of a failed record is undone, on every way through the graph.
//!
//! Otherwise these are the steps of [`steps`](super::steps). `try_group_by`, `try_fold` and `try_join` stand beside their kin.

use super::Stream;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::Event;
use std::fmt::Display;

impl<K: Key, V: Value> Stream<K, V> {
    /// As [`map`](Self::map), where an error is the failure of the record: the
    /// [failure policy](millpond_engine::FailurePolicy) stops the engine at it, or sets it aside as a dead letter. A record
    /// that fails changes no table at all, also none that other steps make of it.
    ///
    /// ```
    /// use millpond::testing::{Driver, Settings};
    /// use millpond::{FailurePolicy, GraphBuilder, Topic};
    /// use std::num::ParseIntError;
    ///
    /// // "sensor:celsius", by line.
    /// let lines = Topic::<u64, String>::new("lines");
    /// let dead = Topic::<u64, String>::new("dead");
    /// let graph = GraphBuilder::new();
    /// let readings = graph
    ///     .stream(&lines)
    ///     .try_map(|_, line: String| {
    ///         let (sensor, celsius) = line.split_once(':').ok_or_else(|| format!("no colon in `{line}`"))?;
    ///         let celsius: i32 = celsius.parse().map_err(|error: ParseIntError| error.to_string())?;
    ///         Ok::<_, String>((sensor.to_owned(), celsius))
    ///     })
    ///     .to_table("readings");
    /// let policy = FailurePolicy::DeadLetter("dead".into());
    /// let mut driver = Driver::with_settings(&graph.build()?, Settings { policy, ..Settings::default() })?;
    /// driver.put(&lines, 1, "attic:31".to_owned(), 0)?;
    /// driver.put(&lines, 2, "cellar".to_owned(), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&readings)?, [("attic".to_owned(), 31)].into());
    /// assert_eq!(driver.records(&dead)?[0].value.as_deref(), Some("cellar"));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_map<L: Key, W: Value, E: Display + 'static>(
        &self,
        map: impl Fn(K, V) -> Result<(L, W), E> + Send + Sync + 'static,
    ) -> Stream<L, W> {
        self.try_step::<_, _, E>("try_map", false, move |Event { key, value, stamp }, out| {
            let (key, value) = map(key, value)?;
            out.push(Event { key, value, stamp });
            Ok(())
        })
    }

    /// As [`map_values`](Self::map_values), where an error is the failure of the record.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let readings = Topic::<String, String>::new("readings");
    /// let graph = GraphBuilder::new();
    /// let celsius = graph.stream(&readings).try_map_values(|_, text| text.parse::<i32>()).to_table("celsius");
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
    ) -> Stream<K, W> {
        self.try_step::<_, _, E>("try_map_values", self.keyed, move |Event { key, value, stamp }, out| {
            let value = map(&key, value)?;
            out.push(Event { key, value, stamp });
            Ok(())
        })
    }

    /// As [`filter`](Self::filter), where an error is the failure of the record.
    ///
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let readings = Topic::<String, String>::new("readings");
    /// let graph = GraphBuilder::new();
    /// let warm = graph.stream(&readings).try_filter(|_, text| text.parse::<i32>().map(|celsius| celsius > 20));
    /// warm.to_table("warm");
    /// ```
    #[must_use]
    pub fn try_filter<E: Display + 'static>(
        &self,
        keep: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.try_step::<_, _, E>("try_filter", self.keyed, move |event, out| {
            if keep(&event.key, &event.value)? {
                out.push(event);
            }
            Ok(())
        })
    }

    /// As [`filter_map`](Self::filter_map), where an error is the failure of the record.
    ///
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let lines = Topic::<u64, String>::new("lines");
    /// let graph = GraphBuilder::new();
    /// // Comments are left out, what is no number fails.
    /// let numbers = graph.stream(&lines).try_filter_map(|line, text| {
    ///     (!text.starts_with('#')).then(|| text.parse::<u32>().map(|number| (number, line))).transpose()
    /// });
    /// numbers.to_table("lines_of_numbers");
    /// ```
    #[must_use]
    pub fn try_filter_map<L: Key, W: Value, E: Display + 'static>(
        &self,
        map: impl Fn(K, V) -> Result<Option<(L, W)>, E> + Send + Sync + 'static,
    ) -> Stream<L, W> {
        self.try_step::<_, _, E>("try_filter_map", false, move |Event { key, value, stamp }, out| {
            out.extend(map(key, value)?.map(|(key, value)| Event { key, value, stamp }));
            Ok(())
        })
    }

    /// As [`filter_map_values`](Self::filter_map_values), where an error is the failure of the record.
    ///
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let lines = Topic::<u64, String>::new("lines");
    /// let graph = GraphBuilder::new();
    /// // Empty lines are left out, what is no number fails.
    /// let numbers = graph
    ///     .stream(&lines)
    ///     .try_filter_map_values(|_, text| (!text.is_empty()).then(|| text.parse::<u32>()).transpose());
    /// numbers.to_table("numbers");
    /// ```
    #[must_use]
    pub fn try_filter_map_values<W: Value, E: Display + 'static>(
        &self,
        map: impl Fn(&K, V) -> Result<Option<W>, E> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        let keyed = self.keyed;
        self.try_step::<_, _, E>("try_filter_map_values", keyed, move |Event { key, value, stamp }, out| {
            if let Some(value) = map(&key, value)? {
                out.push(Event { key, value, stamp });
            }
            Ok(())
        })
    }

    /// As [`flat_map`](Self::flat_map), where an error is the failure of the record.
    ///
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let lines = Topic::<u64, String>::new("lines");
    /// let graph = GraphBuilder::new();
    /// let numbers = graph.stream(&lines).try_flat_map(|line, text: String| {
    ///     let numbers = text.split(' ').map(|number| Ok((number.parse::<u32>()?, line)));
    ///     numbers.collect::<Result<Vec<_>, std::num::ParseIntError>>()
    /// });
    /// numbers.group_by_key().count("occurrences");
    /// ```
    #[must_use]
    pub fn try_flat_map<L: Key, W: Value, I: IntoIterator<Item = (L, W)>, E: Display + 'static>(
        &self,
        map: impl Fn(K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> Stream<L, W> {
        self.try_step::<_, _, E>("try_flat_map", false, move |Event { key, value, stamp }, out| {
            let made = map(key, value)?.into_iter().enumerate();
            out.extend(made.map(|(index, (key, value))| Event { key, value, stamp: stamp.branch(index) }));
            Ok(())
        })
    }

    /// As [`flat_map_values`](Self::flat_map_values), where an error is the failure of the record.
    ///
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let lines = Topic::<u64, String>::new("lines");
    /// let graph = GraphBuilder::new();
    /// let numbers = graph.stream(&lines).try_flat_map_values(|_, text: String| {
    ///     text.split(' ').map(str::parse::<u32>).collect::<Result<Vec<_>, _>>()
    /// });
    /// numbers.group_by_key().reduce("greatest", u32::max);
    /// ```
    #[must_use]
    pub fn try_flat_map_values<W: Value, I: IntoIterator<Item = W>, E: Display + 'static>(
        &self,
        map: impl Fn(&K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.try_step::<_, _, E>(
            "try_flat_map_values",
            self.keyed,
            move |Event { key, value, stamp }, out| {
                let made = map(&key, value)?.into_iter().enumerate();
                out.extend(made.map(|(index, value)| Event {
                    key: key.clone(),
                    value,
                    stamp: stamp.branch(index),
                }));
                Ok(())
            },
        )
    }

    /// As [`re_key`](Self::re_key), where an error is the failure of the record.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let orders = Topic::<u64, String>::new("orders");
    /// let graph = GraphBuilder::new();
    /// let by_customer = graph.stream(&orders).try_re_key(|_, text| text.parse::<u32>());
    /// let last = by_customer.to_table("last");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, "7".to_owned(), 0)?;
    /// driver.put(&orders, 2, "seven".to_owned(), 0)?;
    /// assert!(driver.run().unwrap_err().message().contains("orders/0 offset 1"));
    /// assert_eq!(driver.table(&last)?, [(7, "7".to_owned())].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_re_key<L: Key, E: Display + 'static>(
        &self,
        key: impl Fn(&K, &V) -> Result<L, E> + Send + Sync + 'static,
    ) -> Stream<L, V> {
        self.try_step::<_, _, E>("try_re_key", false, move |Event { key: old, value, stamp }, out| {
            out.push(Event { key: key(&old, &value)?, value, stamp });
            Ok(())
        })
    }
}
