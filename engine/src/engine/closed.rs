//! Waiting until what was due is closed: for all of a graph, or for one table.
//!
//! It is asked of the watermarks after every epoch, and time comes with records, or with what is noted of silent partitions: a wait may
//! be for ever, so it says who holds it up.

use super::{Engine, stats, waits};
use crate::graph::{Graph, Step};
use crate::query::Stored;
use crate::state::Published;
use crate::task::Service;
use crate::time::{NEVER, Watermarks};
use crate::{Error, Result, Wait};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is to have come so far.
#[derive(Debug, Clone, Copy)]
enum Closes {
    /// All that waits for time.
    Everything,
    /// The table with this number.
    Table(usize),
}

impl Closes {
    /// The nodes that are to have come so far. The clock closes nothing itself: what it feeds does.
    fn nodes(self, graph: &Graph) -> Vec<usize> {
        match self {
            Self::Table(index) => graph.writer_of(index).into_iter().collect(),
            Self::Everything => {
                let waits = graph.nodes.iter().enumerate();
                let waits =
                    waits.filter(|(_, node)| node.time.looks && !matches!(node.step, Step::Ticks { .. }));
                waits.map(|(id, _)| id).collect()
            }
        }
    }
}

impl Engine {
    /// Resolves once everything is closed that is due at or before `due_ms`, in milliseconds since the Unix epoch, in every part of the graph
    /// that waits for time, and the tables answer with it: a window that ends at `end_ms` is final at its end and its grace. Time comes with
    /// records, and with what [`Topic::idle`](crate::Topic::idle) makes of silent partitions: what is waited for may never come, so give a limit
    /// ([`Wait::within`]), and the error says which partition holds it up, and since when.
    ///
    /// For one table, where other parts of the graph wait for more: [`wait_until_closed_in`](Self::wait_until_closed_in).
    ///
    /// # Errors
    /// `Invalid` if nothing in the graph waits for time, or for code of the graph itself; `Closed`, or the reason of the stop.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Tumbling;
    /// use millpond::{Engine, ErrorKind, GraphBuilder, Topic};
    /// # use millpond::changelog::MemoryChangelog;
    /// # use std::sync::Arc;
    /// use std::time::Duration;
    /// # let changelog = Arc::new(MemoryChangelog::new());
    ///
    /// let clicks = Topic::<String, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
    /// let counts = graph.stream(&clicks).group_by_key().windowed(minutes).count("counts");
    /// let finals = counts.on_close().to_table("finals");
    /// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
    /// let producer = engine.producer(&clicks)?;
    /// producer.send([("home", Some(&1), 30_000), ("home", Some(&1), 71_000)]).wait_blocking()?;
    /// engine.wait_until_closed_blocking(70_000)?;
    /// assert_eq!(engine.view(&finals)?.count()?, 1);
    ///
    /// // The second minute waits for a record beyond its grace.
    /// let wait = engine.wait_until_closed_in(counts.table(), 130_000).within(Duration::from_millis(1));
    /// let error = wait.wait_blocking().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// assert!(error.message().contains("held up by clicks/0"), "{error}");
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn wait_until_closed(&self, due_ms: i64) -> Wait<()> {
        wait(self.service(), Ok(Closes::Everything), due_ms)
    }

    /// As [`wait_until_closed`](Self::wait_until_closed), for threads that may block.
    ///
    /// # Errors
    /// As there.
    pub fn wait_until_closed_blocking(&self, due_ms: i64) -> Result<()> {
        self.wait_until_closed(due_ms).wait_blocking()
    }

    /// Resolves once everything is closed in `table` that is due at or before `due_ms`, whatever the rest of the graph waits for: once its
    /// [watermark](crate::query::Snapshot::watermark) has come there.
    ///
    /// # Errors
    /// As for [`wait_until_closed`](Self::wait_until_closed), and `Invalid` if the table belongs to another graph.
    pub fn wait_until_closed_in<T: Stored>(&self, table: &T, due_ms: i64) -> Wait<()> {
        let table = self.view(table).map(|_| Closes::Table(table.stored().index().index));
        wait(self.service(), table, due_ms)
    }

    /// As [`wait_until_closed_in`](Self::wait_until_closed_in), for threads that may block.
    ///
    /// # Errors
    /// As there.
    pub fn wait_until_closed_in_blocking<T: Stored>(&self, table: &T, due_ms: i64) -> Result<()> {
        self.wait_until_closed_in(table, due_ms).wait_blocking()
    }
}

fn wait(service: &Arc<Service>, closes: Result<Closes>, due_ms: i64) -> Wait<()> {
    let (service, told) = (Arc::clone(service), Arc::clone(service));
    let nodes = closes.and_then(|closes| {
        let nodes = closes.nodes(&service.graph);
        if service.graph.looks_at_time() && !nodes.is_empty() {
            return Ok(nodes);
        }
        Err(Error::invalid("nothing in the graph waits for time, so that nothing would ever close: it has no windows, joins of streams, \
             alarms or the like"))
    });
    let behind = nodes.as_ref().cloned().unwrap_or_default();
    let answer = async move {
        let nodes = nodes?;
        waits::while_it_runs(&service, |service| {
            let has_come = |published: &Published| least(service, published, &nodes) >= due_ms;
            Ok(service.tasks.have_told_of(has_come).then_some(()))
        })
        .await
    };
    Wait::new(answer, move || missing(&told, &behind, due_ms))
}

/// How far the one of these nodes has come that is behind all others.
fn least(service: &Service, published: &Published, nodes: &[usize]) -> i64 {
    let watermarks = Watermarks::at(&service.graph, &published.reached.times);
    nodes.iter().map(|&node| watermarks.of(node)).min().unwrap_or(NEVER)
}

/// What is not closed yet, and who holds it up.
fn missing(service: &Service, nodes: &[usize], due_ms: i64) -> String {
    let published = service.tasks.published();
    let held = published.iter().flat_map(|now| stats::watermarks_of(service, now, nodes.iter().copied()));
    let Some(held) = held.min_by_key(|held| held.watermark_ms) else {
        return "the engine has published nothing yet".to_owned();
    };
    if held.watermark_ms >= Some(due_ms) {
        return "what was waited for is closed, but tables do not answer yet".to_owned();
    }
    let come = match held.watermark_ms {
        Some(watermark_ms) => format!("has come to {watermark_ms} in time"),
        None => "has not come to any time".to_owned(),
    };
    let step = service.graph.step(held.node);
    let partition = match (&held.held_by, held.held_since_ms) {
        (Some(id), Some(since_ms)) => {
            format!("held up by {id}, which has come further last at {since_ms} by the clock")
        }
        (Some(id), None) => format!("held up by {id}, which has come no further since the engine was opened"),
        (None, _) => "held up by a topic that is not there yet".to_owned(),
    };
    let paused =
        if service.paused.load(Ordering::Acquire) { "; the engine is paused: `resume` it" } else { "" };
    format!(
        "{step} {come}, and is waited for up to {due_ms}; it is {partition}{paused}. Time comes with records, and where a partition is \
         silent as `Topic::idle` says"
    )
}
