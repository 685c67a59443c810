//! What comes out of a join of two streams: a stream, and what came too late on either side.

use crate::stream::Stream;
use crate::stream::grace::Grace;
use millpond_engine::codec::{Key, Value};
use std::fmt;
use std::ops::Deref;

/// What became of two streams that were joined: see [`Stream::join_within`]. It has all the methods of a [`Stream`].
pub struct StreamJoin<K, V, T, W> {
    stream: Stream<K, W>,
    left: Stream<K, V>,
    right: Stream<K, T>,
    graces: (Grace, Grace),
}

impl<K, V, T, W> fmt::Debug for StreamJoin<K, V, T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamJoin").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<K, V, T, W> Deref for StreamJoin<K, V, T, W> {
    type Target = Stream<K, W>;

    fn deref(&self) -> &Stream<K, W> {
        &self.stream
    }
}

impl<K: Key, V: Value, T: Value, W> StreamJoin<K, V, T, W> {
    /// `graces` say what is late on either side.
    pub(super) fn new(
        stream: Stream<K, W>,
        left: Stream<K, V>,
        right: Stream<K, T>,
        graces: (Grace, Grace),
    ) -> Self {
        Self { stream, left, right, graces }
    }

    /// The records of the left stream that came too late to meet any of the right one: their own partition had come to their close.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Within;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let (orders, payments) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("payments"));
    /// let graph = GraphBuilder::new();
    /// let within = Within::after(Duration::from_millis(10)).grace(Duration::from_millis(5));
    /// let paid = graph.stream(&orders).join_within(&graph.stream(&payments), within, "paid", |_, _, _| ());
    /// let late = paid.late_left().group_by_key().count("late_orders");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for at in [116, 101, 100] {
    ///     driver.put(&orders, 1, 450, at)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&late)?, [(1, 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn late_left(&self) -> Stream<K, V> {
        self.left.late_by(self.graces.0)
    }

    /// The records of the right stream that came too late to meet any of the left one, as [`late_left`](Self::late_left).
    #[must_use]
    pub fn late_right(&self) -> Stream<K, T> {
        self.right.late_by(self.graces.1)
    }
}
