//! The erased builder on which the typed streams and tables stand.

use super::{
    Dated, Feeds, Graph, Interleaving, Node, NodeId, NodeRef, Step, TableIndex, TableOptions, TableRef,
    TableSpec, TimeUse, TopicSpec,
};
use crate::codec::{Alarmed, AlarmedCodec, Grouped, GroupedCodec, Key, RowCodec, Shape, Value, short_name};
use crate::dataflow::{Exchange, Gather, Inputs, Local, Operator, Scatter, Source};
use crate::flow::GraphId;
use crate::state::TableState;
use crate::store::layout::FoldId;
use crate::time::{Period, Tick};
use crate::{Error, Result, Topic};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Parts {
    id: GraphId,
    pub(super) nodes: Vec<Node>,
    pub(super) tables: Vec<TableSpec>,
    pub(super) topics: Vec<TopicSpec>,
    /// Topics that were named again with another number of partitions.
    pub(super) ambiguous: Vec<Arc<str>>,
    /// Tables and topics whose types cannot be kept, or are not what they are elsewhere.
    pub(super) unfit: Vec<Error>,
    /// Nodes that were given inputs or tables of another graph.
    pub(super) foreign: Vec<Foreign>,
    /// The graphs that the builder has built before this one.
    pub(super) built: Vec<GraphId>,
}

/// A node that was given an input or table of another graph.
pub(super) struct Foreign {
    pub(super) label: String,
    /// Whether the same builder has built that graph.
    pub(super) is_late: bool,
}

/// A node that is about to be added, whose handles were not checked yet.
struct Draft<'a> {
    label: &'a str,
    step: Step,
    inputs: Vec<NodeId>,
    takes: fn(usize) -> bool,
    writes: &'a [TableIndex],
    reads: &'a [TableIndex],
    exchange: bool,
    sink: Option<Arc<str>>,
}

impl<'a> Draft<'a> {
    fn new(label: &'a str, step: Step, inputs: Vec<NodeId>) -> Self {
        Self { label, step, inputs, takes: |_| true, writes: &[], reads: &[], exchange: false, sink: None }
    }

    fn of<I: Inputs>(label: &'a str, step: Step, nodes: I::Nodes) -> Self {
        Self { takes: I::takes, ..Self::new(label, step, I::ids(nodes)) }
    }
}

/// Collects the nodes of a graph. Clones share the graph, so that typed handles can carry one along.
#[derive(Clone, Default)]
pub struct Builder(Arc<Mutex<Parts>>);

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        let nodes: Vec<&str> = parts.nodes.iter().map(|node| node.label.as_str()).collect();
        f.debug_struct("Builder").field("nodes", &nodes).finish_non_exhaustive()
    }
}

impl Builder {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, draft: Draft<'_>) -> NodeId {
        let mut parts = self.parts();
        let graph = parts.id;
        let tables = draft.writes.iter().chain(draft.reads).map(|table| table.graph);
        let mut graphs = draft.inputs.iter().map(|node| node.graph).chain(tables);
        if let Some(other) = graphs.find(|other| *other != graph) {
            // Their numbers mean nothing here; the graph is refused when it is built.
            let is_late = parts.built.contains(&other);
            parts.foreign.push(Foreign { label: draft.label.to_owned(), is_late });
            return NodeId { graph, index: 0 };
        }
        parts.nodes.push(Node {
            label: draft.label.to_owned(),
            step: draft.step,
            inputs: draft.inputs.iter().map(|node| node.index).collect(),
            takes: draft.takes,
            writes: draft.writes.iter().map(|table| table.index).collect(),
            reads: draft.reads.iter().map(|table| table.index).collect(),
            exchange: draft.exchange,
            sink: draft.sink,
            follows: false,
            interleaving: Interleaving::default(),
            outlets: Vec::new(),
            latest_only: false,
            time: TimeUse::default(),
        });
        NodeId { graph, index: parts.nodes.len() - 1 }
    }

    /// What `node` does, such as `map_values`; `None` once the graph was built.
    #[must_use]
    pub fn label<T>(&self, node: NodeRef<T>) -> Option<String> {
        let (parts, node) = (self.parts(), node.id());
        let node = parts.nodes.get(node.index).filter(|_| parts.id == node.graph)?;
        Some(node.label.clone())
    }

    /// Adds a node that reads `topic`. Its output is on the shard of each key. If the topic [says](Topic::timestamps_from) when its
    /// records happened, the source [dates](crate::dataflow::SourceBatch::date) each of them.
    pub fn source<K: Key, V: Value, S: Source>(
        &self,
        label: &str,
        topic: &Topic<K, V>,
        source: S,
    ) -> NodeRef<Vec<S::Item>> {
        self.topic(topic, true, false);
        let step = Step::Source { topic: Arc::clone(topic.name()), source: Arc::new(source) };
        let node = NodeRef::new(self.push(Draft::new(label, step, Vec::new())));
        if topic.may_spread_keys() {
            self.interleaving(node, Interleaving::Merges);
        }
        if topic.is_latest_only() {
            self.latest_only(node);
        }
        node
    }

    /// Adds a node without inputs for which the clock has a record at the beginning of each `period`, under `name`: its
    /// [watermark](crate::dataflow::Context::watermark) goes on to there, in an epoch that has no records and stands in the log.
    pub fn ticks<O: Operator<Input = ()>>(
        &self,
        label: &str,
        name: &str,
        period: Period,
        operator: O,
    ) -> NodeRef<O::Output> {
        let id = Tick::stream(name);
        let step = Step::Ticks { id, period, operator: Arc::new(Local(operator)) };
        let node = NodeRef::new(self.push(Draft::new(label, step, Vec::new())));
        self.looks_at_time(node, 0);
        node
    }

    /// Declares of a [source](Self::source) that nothing counts of its topic but the last record of each key, so that the topic
    /// may be compacted: see [`Topic::latest_only`].
    pub fn latest_only<T>(&self, node: NodeRef<T>) {
        self.change(node, |node| node.latest_only = true);
    }

    /// Changes what was said of `node`, if it is one of this graph.
    pub(super) fn change<T>(&self, node: NodeRef<T>, change: impl FnOnce(&mut Node)) {
        let (mut parts, node) = (self.parts(), node.id());
        if parts.id == node.graph
            && let Some(node) = parts.nodes.get_mut(node.index)
        {
            change(node);
        }
    }

    /// Changes what was said of `table`, if it is one of this graph.
    pub(super) fn change_table(&self, table: TableIndex, change: impl FnOnce(&mut TableSpec)) {
        let mut parts = self.parts();
        if parts.id == table.graph
            && let Some(spec) = parts.tables.get_mut(table.index)
        {
            change(spec);
        }
    }

    /// Adds an operator whose output stays on its shard. It may use the tables `writes` and `reads`. `inputs` is a node if the
    /// operator has one input, a pair of them for two, a vector for [`All`](crate::dataflow::All).
    pub fn operator<O: Operator>(
        &self,
        label: &str,
        inputs: <O::Input as Inputs>::Nodes,
        writes: &[TableIndex],
        reads: &[TableIndex],
        operator: O,
    ) -> NodeRef<O::Output> {
        let step = Step::Operator(Arc::new(Local(operator)));
        NodeRef::new(self.push(Draft { writes, reads, ..Draft::of::<O::Input>(label, step, inputs) }))
    }

    /// Adds a node that takes one of several outputs of `of`, which sees by
    /// [`Context::outlet`](crate::dataflow::Context::outlet) what is wanted of each. `of` puts out one batch with all of them.
    pub fn outlet<T: 'static, O: Operator<Input = (T,)>>(
        &self,
        label: &str,
        of: NodeRef<T>,
        reads: &[TableIndex],
        operator: O,
    ) -> NodeRef<O::Output> {
        let outlet = self.operator(label, of, &[], reads, operator);
        let (mut parts, of) = (self.parts(), of.id());
        if parts.id == of.graph
            && let Some(node) = parts.nodes.get_mut(of.index)
        {
            node.outlets.push(outlet.number());
        }
        drop(parts);
        outlet
    }

    /// Adds an exchange: it splits its input by shard, and the node returned holds what reached each shard, ordered by stamp. Tables
    /// that it reads are written before it or, where it reads them [as they were](crate::dataflow::Context::table_before), behind it.
    pub fn exchange<X: Exchange>(
        &self,
        label: &str,
        inputs: <X::Input as Inputs>::Nodes,
        reads: &[TableIndex],
        exchange: X,
    ) -> NodeRef<Vec<X::Item>> {
        let step = Step::Operator(Arc::new(Scatter(exchange)));
        let send = self.push(Draft { reads, exchange: true, ..Draft::of::<X::Input>(label, step, inputs) });
        let step = Step::Operator(Arc::new(Gather::<X::Item>::default()));
        NodeRef::new(self.push(Draft::new("gather", step, vec![send])))
    }

    /// Adds an operator that appends to `topic` by [`Context::emit`](crate::dataflow::Context::emit).
    pub fn sink<K: Key, V: Value, O: Operator>(
        &self,
        label: &str,
        inputs: <O::Input as Inputs>::Nodes,
        topic: &Topic<K, V>,
        operator: O,
    ) -> NodeRef<O::Output> {
        self.topic(topic, false, true);
        let step = Step::Operator(Arc::new(Local(operator)));
        let sink = Some(Arc::clone(topic.name()));
        NodeRef::new(self.push(Draft { sink, ..Draft::of::<O::Input>(label, step, inputs) }))
    }

    /// Declares that what `node` puts out depends on every single update of the tables that it derives from, and not only
    /// on what an epoch made of each key: because it looks at them in between, or keeps a state of what it is told. These
    /// tables, and all between them and the node, then hand on every update: see
    /// [`Context::detail`](crate::dataflow::Context::detail). In an engine with dead letters all tables do.
    pub fn follows_updates<T>(&self, node: NodeRef<T>) {
        self.change(node, |node| node.follows = true);
    }

    /// Declares what `node` makes of records of several partitions that follow each other otherwise: for logs that do not say
    /// how they do.
    pub fn interleaving<T>(&self, node: NodeRef<T>, interleaving: Interleaving) {
        self.change(node, |node| node.interleaving = interleaving);
    }

    /// Has [`build`](Self::build) fail with this error: for a method that returns a handle and was asked for something that cannot
    /// be.
    pub fn refuse(&self, error: Error) {
        self.parts().unfit.push(error);
    }

    /// Declares that `node` looks at how far time has come ([`Context::watermark`](crate::dataflow::Context::watermark)), and that
    /// what it puts out may be dated up to `delay_ms` earlier than that: what comes behind it has come so much less far.
    pub fn looks_at_time<T>(&self, node: NodeRef<T>, delay_ms: i64) {
        self.change(node, |node| (node.time.looks, node.time.delay_ms) = (true, delay_ms));
    }

    /// Declares that only the inputs with these numbers take `node` on in time. All of them do otherwise.
    pub fn taken_on_in_time_by<T>(&self, node: NodeRef<T>, inputs: &[usize]) {
        self.change(node, |node| node.time.fed_by = inputs.to_vec());
    }

    /// What takes `node` on in time, for [`TableSnapshot::watermark`](crate::query::TableSnapshot::watermark).
    #[must_use]
    pub fn feeds<T>(&self, node: NodeRef<T>) -> Feeds {
        let (parts, node) = (self.parts(), node.id());
        if parts.id == node.graph { super::feeds::of(&parts.nodes, node.index) } else { Feeds::default() }
    }

    /// Adds a table. `kind` says what it is for, such as `fold` or `index`.
    #[must_use]
    pub fn table<K: Key, V: Value>(&self, kind: &'static str, options: TableOptions<V>) -> TableRef<K, V> {
        let TableOptions { name, version, fold_id, codec } = options;
        self.table_of_rows(kind, name, version, fold_id, codec, short_name::<V>())
    }

    /// Adds a table of groups, which has the number of its members beside each value: readers are shown the value.
    #[must_use]
    pub fn grouped_table<K: Key, V: Value>(
        &self,
        kind: &'static str,
        options: TableOptions<V>,
    ) -> TableRef<K, Grouped<V>> {
        let TableOptions { name, version, fold_id, codec } = options;
        let codec = Arc::new(GroupedCodec::new(codec));
        self.table_of_rows(kind, name, version, fold_id, codec, format!("Grouped<{}>", short_name::<V>()))
    }

    /// Adds a table whose rows carry an alarm each beside the value: readers are shown the value.
    #[must_use]
    pub fn alarmed_table<K: Key, V: Value>(
        &self,
        kind: &'static str,
        options: TableOptions<V>,
    ) -> TableRef<K, Alarmed<V>> {
        let TableOptions { name, version, fold_id, codec } = options;
        let codec = Arc::new(AlarmedCodec::new(codec));
        self.table_of_rows(kind, name, version, fold_id, codec, format!("Alarmed<{}>", short_name::<V>()))
    }

    fn table_of_rows<K: Key, R: Value>(
        &self,
        kind: &'static str,
        name: Arc<str>,
        version: u32,
        fold_id: FoldId,
        codec: Arc<dyn RowCodec<R>>,
        value_name: String,
    ) -> TableRef<K, R> {
        let (table_name, value_codec) = (Arc::clone(&name), codec.id());
        let shape =
            codec.shape().map_err(|error| Error::invalid(format!("table `{name}` cannot be kept: {error}")));
        let waits = codec.awaits().then(|| {
            Error::invalid(format!(
                "table `{name}` cannot be kept in `{value_codec}`, which may have to fetch something before it decodes a row, while \
                 queries must not wait; keep its rows in a codec that knows all it needs, such as `Bincode`"
            ))
        });
        let spec = TableSpec {
            name,
            kind,
            version,
            key_schema: K::key_schema(),
            key_shape: K::key_shape(),
            value_codec,
            fold_id,
            value_name,
            first_kept: None,
            value_shape: shape.as_ref().map_or_else(|_| Shape::named("?"), Shape::clone),
            make: Box::new(move |id, shards, shared| {
                Arc::new(TableState::<K, R>::new(
                    id,
                    Arc::clone(&table_name),
                    Arc::clone(&codec),
                    shards,
                    shared,
                ))
            }),
        };
        let mut parts = self.parts();
        parts.unfit.extend(shape.err().or(waits));
        parts.tables.push(spec);
        TableRef::new(TableIndex { graph: parts.id, index: parts.tables.len() - 1 })
    }

    fn topic<K: Key, V: Value>(&self, topic: &Topic<K, V>, read: bool, written: bool) {
        let holds = topic.declared().cloned();
        let dated = if topic.has_timestamps() { Dated::ByReader } else { Dated::ByRecord };
        let dated = read.then_some(dated);
        let mut parts = self.parts();
        let Parts { topics, ambiguous, unfit, .. } = &mut *parts;
        let holds = match holds {
            Ok(holds) => holds,
            Err(error) => return unfit.push(error),
        };
        if let Some(known) = topics.iter_mut().find(|known| known.name == *topic.name()) {
            known.dated =
                dated.map_or(known.dated, |dated| Some(known.dated.map_or(dated, |known| known.and(dated))));
            match (known.idle, topic.said_of_idle()) {
                (Some(one), Some(other)) if one != other => unfit.push(Error::invalid(format!(
                    "a silent partition of topic `{}` {one}, and {other}: say the same everywhere",
                    topic.name()
                ))),
                (one, other) => known.idle = one.or(other),
            }
            known.read |= read;
            known.written |= written;
            // A handle that gives no number takes what there is.
            match (known.config.partitions, topic.topic_config().partitions) {
                (Some(one), Some(other)) if one != other => ambiguous.push(Arc::clone(topic.name())),
                (one, other) => known.config.partitions = one.or(other),
            }
            match (known.config.timestamps, topic.topic_config().timestamps) {
                (Some(one), Some(other)) if one != other => unfit.push(Error::invalid(format!(
                    "the records of topic `{}` are dated {one}, and {other}: say the same everywhere",
                    topic.name()
                ))),
                (one, other) => known.config.timestamps = one.or(other),
            }
            match known.holds.joined(&holds) {
                Ok(both) => known.holds = both,
                Err(error) => unfit.push(
                    error.context(format!("topic `{}` is used with two types in one graph", topic.name())),
                ),
            }
            return;
        }
        topics.push(TopicSpec {
            name: Arc::clone(topic.name()),
            config: topic.topic_config().clone(),
            holds,
            read,
            written,
            dated,
            idle: topic.said_of_idle(),
        });
    }

    /// Checks the graph and makes it ready to run. The builder is empty afterwards.
    ///
    /// # Errors
    /// `Invalid`, naming the culprit, for a graph without a source, two tables of one name, an empty name, a table or topic
    /// whose codec cannot hold its type, a topic used with different types, codecs or numbers of partitions, a node that was given a stream or table of another graph, or a cycle
    /// through topics. The builder is empty then too.
    pub fn build(&self) -> Result<Graph> {
        let parts = self.take_parts();
        super::validate::validate(&parts)?;
        let interleaves = super::interleaving::is_seen_by(&parts.nodes);
        let looked_into = super::looked_into(&parts.nodes, parts.tables.len());
        Ok(Graph {
            id: parts.id,
            looked_into: looked_into.into(),
            nodes: parts.nodes.into(),
            tables: parts.tables.into(),
            topics: parts.topics.into(),
            interleaves,
        })
    }
}

impl Builder {
    /// What was described so far; another graph begins.
    fn take_parts(&self) -> Parts {
        let mut current = self.parts();
        let parts = std::mem::take(&mut *current);
        current.built = [parts.built.as_slice(), &[parts.id]].concat();
        parts
    }
}
