//! Streams: records on their way.
//!
//! A stream is keyed if equal keys are sure to be on one shard. Operators that need that add an exchange where it is
//! not so; operators that may change the key say so.
//!
//! One file for each family of operators, with their methods on [`Stream`]:
//!
//! | file | what comes out of it |
//! |---|---|
//! | `source` | a stream of a topic: values, upserts, or whole records (`record`) |
//! | `steps`, `fallible` | one record after the other, without a state; `step` runs them |
//! | `split`, `merge` | several streams of one, one of several |
//! | `join`, `join_by` | a stream that met a table, under its own key or under one that its records name |
//! | `within` | pairs of records of two streams |
//! | `in_time_order` | the same stream in the order of time; `grace` says what is late, `moment` is how what waits is kept, `arrive` how it is found |
//! | `join_as_of` | a stream that met what a table was at the time of its records |
//! | `group`, `extreme`, `cogroup` | a table of folded groups |
//! | `window` | a table of groups by windows, and what of it is final |
//! | `process`, `alarmed` | streams and a state by code of one's own, without alarms and with them; `emit` is what it is handed |
//! | `distinct` | a stream without repetitions |
//! | `table` | a table of the last values |
//! | `ticks` | a stream of the clock |
//! | `sink` | records of a topic |
//!
//! Nodes with several outputs are built from `outlet`.

pub(crate) mod alarmed;
pub(crate) mod arrive;
mod cogroup;
mod distinct;
pub(crate) mod due;
mod emit;
mod extreme;
mod fallible;
pub(crate) mod grace;
mod group;
mod in_time_order;
mod join;
mod join_as_of;
mod join_by;
mod merge;
pub(crate) mod moment;
pub(crate) mod outlet;
mod process;
mod record;
mod sink;
mod source;
mod split;
pub(crate) mod step;
mod steps;
mod table;
mod ticks;
mod window;
mod within;

pub use alarmed::Alarmed;
pub use cogroup::{CogroupedStream, CogroupedWindows, Either};
pub use emit::Emit;
pub use group::GroupedStream;
pub use in_time_order::InTimeOrder;
pub use millpond_engine::changelog::ProducerRecord;
pub use process::Process;
pub use record::ConsumerRecord;
#[cfg(feature = "calendar")]
pub use window::{Calendar, CalendarPeriod, Weekday};
pub use window::{
    GroupsBy, Hopping, HoppingEvery, HoppingSize, HoppingStream, HoppingTable, Moments, Overlapping,
    OverlappingStream, OverlappingTable, Session, SessionEnd, SessionGap, SessionKey, SessionStream,
    SessionTable, Slice, Sliding, SlidingDifference, SlidingStream, SlidingTable, Tumbling, TumblingSize,
    WindowRows, WindowStart, WindowView, Windowed, WindowedStream, WindowedTable, Windows, WindowsAt,
    WindowsOfKey,
};
pub use within::{HeldRecords, StreamJoin, Within, WithinBounds};

pub(crate) use window::millis;

pub(crate) use source::{AsRecords, AsUpserts, AsValues, TopicSource};

use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Exchange, Failure};
use millpond_engine::graph::{Builder, NodeRef};
use std::fmt;
use std::marker::PhantomData;

/// A stream of records with keys of type `K` and values of type `V`.
///
/// Nothing happens when a method is called: it adds a node to the graph. Streams are handles, cheap to clone; one stream can
/// feed many.
///
/// The records come in the order of the log, that of their appends over all topics and partitions, however late their
/// timestamps are. There are no tombstones in a stream: where deletions matter, a value is an [`Upsert`](crate::Upsert). A
/// panic of a closure, or an error of one that may fail, is the failure of its record, which the
/// [failure policy](millpond_engine::FailurePolicy) handles.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let (web, shop) = (Topic::<u64, u32>::new("web"), Topic::<u64, u32>::new("shop"));
/// let (names, large) = (Topic::<u64, String>::new("names"), Topic::<u64, u32>::new("large"));
/// let graph = GraphBuilder::new();
/// let orders = graph.stream(&web).merge(&graph.stream(&shop)).filter(|_, amount| *amount > 0);
/// let (big, small) = orders.branch(|_, amount| *amount >= 100);
/// big.inspect(|customer, amount| println!("{customer} spent {amount}")).to(&large);
/// let small = small.re_key(|customer, _| customer % 10).group_by_key().count("small_by_last_digit");
///
/// // Each record meets the row of its customer at that moment.
/// let customers = graph.table(&names, "customers");
/// let greetings = orders
///     .left_join(&customers, |_, amount, name| format!("{}: {amount}", name.map_or("?", String::as_str)))
///     .to_table("greetings");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
///
/// engine.producer(&names)?.send([(&7, Some(&"Ada".to_owned()), 0)]).wait_blocking()?;
/// engine.producer(&web)?.send([(&7, Some(&120), 1), (&8, Some(&30), 2)]).wait_blocking()?;
/// engine.producer(&shop)?.send([(&28, Some(&5), 3), (&9, Some(&0), 4)]).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&small)?.get(&8)?, Some(2));
/// let found = engine.view(&greetings)?.multi_get(&[7, 8, 9])?;
/// assert_eq!(found, [Some("Ada: 120".to_owned()), Some("?: 30".to_owned()), None]);
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "KStream")]
pub struct Stream<K, V> {
    pub(crate) builder: Builder,
    pub(crate) node: NodeRef<Vec<Event<K, V>>>,
    pub(crate) keyed: bool,
}

impl<K, V> Clone for Stream<K, V> {
    fn clone(&self) -> Self {
        Self { builder: self.builder.clone(), node: self.node, keyed: self.keyed }
    }
}

impl<K, V> fmt::Debug for Stream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("node", &self.node.number())
            .field("label", &self.builder.label(self.node).unwrap_or_default())
            .finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> Stream<K, V> {
    pub(crate) fn new(builder: Builder, node: NodeRef<Vec<Event<K, V>>>, keyed: bool) -> Self {
        Self { builder, node, keyed }
    }

    /// A stream from a node of one's own; `keyed` if every event is on the shard of its key. The events must be in the order of
    /// their stamps.
    #[must_use]
    pub fn from_node(builder: &Builder, node: NodeRef<Vec<Event<K, V>>>, keyed: bool) -> Self {
        Self::new(builder.clone(), node, keyed)
    }

    /// The node that puts the stream out.
    #[must_use]
    pub fn node(&self) -> NodeRef<Vec<Event<K, V>>> {
        self.node
    }

    /// The same stream with equal keys on one shard.
    pub(crate) fn exchanged(&self) -> Self {
        if self.keyed {
            return self.clone();
        }
        let node = self.builder.exchange("exchange", self.node, &[], ByKey::<K, V>(PhantomData));
        Self::new(self.builder.clone(), node, true)
    }
}

/// Sends every event to the shard of its key.
struct ByKey<K, V>(PhantomData<fn() -> (K, V)>);

impl<K: Key, V: Value> Exchange for ByKey<K, V> {
    type Input = (Vec<Event<K, V>>,);
    type Item = Event<K, V>;

    fn route(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let parts = context.router().split(events, |event| &event.key);
        Ok(parts)
    }
}
