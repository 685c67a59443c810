//! The graph: what flows where, validated once and shared by every task that runs it.
//!
//! A graph is a description. It holds no state and can be run many times: by an engine, by a rebuild beside it,
//! by a test driver. Nodes are numbered so that inputs come before their consumers.

mod builder;
mod describe;
mod feeds;
mod forgetting;
mod interleaving;
mod table_options;
mod time;
mod validate;

pub use crate::flow::{NodeRef, TableIndex, TableRef};
pub use builder::Builder;
pub use feeds::Feeds;
pub use interleaving::Interleaving;
pub use table_options::TableOptions;
pub(crate) use time::TimeUse;

use crate::TopicPartition;
use crate::changelog::{Timestamps, TopicConfig, TopicType};
use crate::codec::Shape;
use crate::dataflow::{AnyOperator, AnySource};
use crate::flow::{GraphId, NodeId};
use crate::state::{AnyTable, TaskState};
use crate::store::layout::{FoldId, TableId};
use crate::time::Idle;
pub use crate::time::Period;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A validated graph, ready to run.
///
/// # Examples
/// ```
/// use millpond::{GraphBuilder, Topic};
///
/// let orders = Topic::<u32, u64>::new("orders");
/// let graph = GraphBuilder::new();
/// graph.stream(&orders).filter(|_, cents| *cents > 0).group_by_key().reduce("spent", |a, b| a + b);
/// let graph = graph.build()?;
/// assert_eq!(graph.describe(), "  0 stream topic orders\n  1 filter <- 0\n  2 reduce table spent <- 1\n");
/// assert!(graph.dot().starts_with("digraph millpond {"), "a picture: `dot -Tsvg`");
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Topology")]
pub struct Graph {
    pub(crate) id: GraphId,
    pub(crate) nodes: Arc<[Node]>,
    pub(crate) tables: Arc<[TableSpec]>,
    pub(crate) topics: Arc<[TopicSpec]>,
    /// Whether what it makes depends on how records of several partitions follow each other, as far as that is certain.
    pub(crate) interleaves: bool,
    /// Of each table, whether a node but the one that writes it looks into it.
    pub(crate) looked_into: Arc<[bool]>,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.describe().lines().map(|line| line.trim().to_owned()).collect();
        f.debug_struct("Graph").field("nodes", &nodes).finish_non_exhaustive()
    }
}

/// One node.
pub(crate) struct Node {
    /// What it does, such as `map_values`.
    pub(crate) label: String,
    pub(crate) step: Step,
    pub(crate) inputs: Vec<usize>,
    /// Whether it takes what the input with this number puts out, or only stands behind it.
    pub(crate) takes: fn(usize) -> bool,
    /// Tables it writes.
    pub(crate) writes: Vec<usize>,
    /// Tables it reads but does not write.
    pub(crate) reads: Vec<usize>,
    /// Whether its output goes to all shards.
    pub(crate) exchange: bool,
    /// The topic it appends to.
    pub(crate) sink: Option<Arc<str>>,
    /// Whether its output depends on every update of the tables that it derives from.
    pub(crate) follows: bool,
    /// What it makes of records that are interleaved otherwise.
    pub(crate) interleaving: Interleaving,
    /// The nodes that each take an output of this one.
    pub(crate) outlets: Vec<usize>,
    /// Of a source: whether all that counts of its topic is the last record of each key.
    pub(crate) latest_only: bool,
    /// What it has to do with time.
    pub(crate) time: TimeUse,
}

impl Node {
    /// The topic it reads.
    pub(crate) fn topic(&self) -> Option<&str> {
        match &self.step {
            Step::Source { topic, .. } => Some(topic),
            Step::Ticks { .. } | Step::Operator(_) => None,
        }
    }

    /// The inputs that it takes something of.
    pub(crate) fn taken(&self) -> impl Iterator<Item = usize> {
        self.inputs.iter().enumerate().filter(|(input, _)| (self.takes)(*input)).map(|(_, &node)| node)
    }

    /// Whether its `input`th input takes it on in time.
    pub(crate) fn is_fed_by(&self, input: usize) -> bool {
        self.time.fed_by.is_empty() || self.time.fed_by.contains(&input)
    }
}

/// Of each of `tables` tables, whether a node but the one that writes it looks into it. An outlet of the one that writes it that nobody takes
/// does not. It holds whichever part of the graph is run.
fn looked_into(nodes: &[Node], tables: usize) -> Vec<bool> {
    let taken: BTreeSet<usize> = nodes.iter().flat_map(Node::taken).collect();
    let outlets: BTreeSet<usize> = nodes.iter().flat_map(|node| &node.outlets).copied().collect();
    let mut looked_into = vec![false; tables];
    for (id, node) in nodes.iter().enumerate() {
        if taken.contains(&id) || !outlets.contains(&id) {
            for &table in &node.reads {
                if let Some(looked_into) = looked_into.get_mut(table) {
                    *looked_into = true;
                }
            }
        }
    }
    looked_into
}

/// What a node runs.
pub(crate) enum Step {
    Source {
        topic: Arc<str>,
        source: Arc<dyn AnySource>,
    },
    /// What has a record for each period, by the clock.
    Ticks {
        id: TopicPartition,
        period: Period,
        operator: Arc<dyn AnyOperator>,
    },
    Operator(Arc<dyn AnyOperator>),
}

/// Makes the typed state of a table.
pub(crate) type MakeTable = dyn Fn(TableId, usize, Arc<TaskState>) -> Arc<dyn AnyTable> + Send + Sync;

/// One table.
pub(crate) struct TableSpec {
    pub(crate) name: Arc<str>,
    pub(crate) kind: &'static str,
    pub(crate) version: u32,
    /// The layout of its keys, as 0.1 has remembered it.
    pub(crate) key_schema: String,
    pub(crate) key_shape: String,
    pub(crate) value_codec: &'static str,
    /// The name of the type of its values, which 0.1 has remembered.
    pub(crate) value_name: String,
    pub(crate) value_shape: Shape,
    /// The fold that writes it.
    pub(crate) fold_id: FoldId,
    /// What it forgets; none if it keeps all rows.
    pub(crate) first_kept: Option<Box<forgetting::FirstKept>>,
    pub(crate) make: Box<MakeTable>,
}

/// One topic that the graph reads or writes.
#[derive(Debug, Clone)]
pub(crate) struct TopicSpec {
    pub(crate) name: Arc<str>,
    pub(crate) config: TopicConfig,
    pub(crate) holds: TopicType,
    pub(crate) read: bool,
    pub(crate) written: bool,
    /// Who says when its records happened, for those who read it.
    pub(crate) dated: Option<Dated>,
    /// What was said of its silent partitions.
    pub(crate) idle: Option<Idle>,
}

impl TopicSpec {
    /// What becomes of its silent partitions. What comes is dated by a clock, too.
    pub(crate) fn idle(&self) -> Idle {
        let dated_by_log =
            self.config.timestamps == Some(Timestamps::Appended) && self.dated == Some(Dated::ByRecord);
        let usual = if dated_by_log { Idle::clock(SOON, SOON) } else { Idle::never() };
        self.idle.unwrap_or(usual)
    }
}

/// A partition of a topic that is dated when it is appended is idle once it was silent for so long. What is on its way is dated already,
/// by a clock that may be another one: so much is allowed for.
const SOON: Duration = Duration::from_secs(1);

/// Who says when a record happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dated {
    ByRecord,
    ByReader,
    /// The one in one place of the graph, and the other in another.
    Otherwise,
}

impl Dated {
    /// By two places where it is read.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Otherwise }
    }
}

impl Graph {
    /// Whether the graph appends to any topic.
    pub(crate) fn has_sinks(&self) -> bool {
        self.topics.iter().any(|topic| topic.written)
    }

    /// In how many places a record can be at once while its epoch runs: with each source that decodes it, and in each table
    /// that it touches.
    pub(crate) fn width(&self) -> usize {
        let sources = self.nodes.iter().filter(|node| matches!(node.step, Step::Source { .. })).count();
        sources + self.tables.len()
    }

    /// The topics that the graph appends to and reads again.
    pub(crate) fn topics_read_again(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().filter(|topic| topic.read && topic.written).map(|topic| &*topic.name)
    }

    /// Whether the records of `topic` are dated by those that read it.
    pub(crate) fn dates(&self, topic: &str) -> bool {
        let by_record = |known: &TopicSpec| known.dated.is_none_or(|dated| dated == Dated::ByRecord);
        self.topics.iter().any(|known| *known.name == *topic && !by_record(known))
    }

    /// Whether the graph reads `topic`.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.topics.iter().any(|known| known.read && *known.name == *topic)
    }
}
