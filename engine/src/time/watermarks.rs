//! Watermarks: how far each node of a graph has come in time.

use super::{NEVER, StreamTimes};
use crate::TopicPartition;
use crate::graph::{Graph, Node, Step};

/// The watermark of each node, by its number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Watermarks(Vec<i64>);

impl Watermarks {
    /// Those of `graph` where partitions have come as far as `times`; none of a graph that does not look at time.
    ///
    /// A source stands where the least of its partitions does, a node where the least of what feeds it does, and what comes out of
    /// it may be dated so much earlier as the node holds it back.
    pub(crate) fn at(graph: &Graph, times: &StreamTimes) -> Self {
        if !graph.looks_at_time() {
            return Self::default();
        }
        let mut watermarks: Vec<i64> = Vec::with_capacity(graph.nodes.len());
        for node in graph.nodes.iter() {
            let watermark = match &node.step {
                Step::Source { topic, .. } => times.least_of(topic),
                Step::Ticks { id, .. } => times.of(id),
                Step::Operator(_) => feeding(node).map(|input| behind(graph, &watermarks, input)).min(),
            };
            watermarks.push(watermark.unwrap_or(NEVER));
        }
        Self(watermarks)
    }

    /// The partition that holds the node numbered `id` back, where partitions have come as far as `times`: it would come further if
    /// that one did.
    pub(crate) fn holder<'t>(
        &self,
        graph: &Graph,
        times: &'t StreamTimes,
        mut id: usize,
    ) -> Option<&'t TopicPartition> {
        loop {
            let node = graph.nodes.get(id)?;
            let topic = match &node.step {
                Step::Source { topic, .. } => Some(topic),
                Step::Ticks { id, .. } => Some(&id.topic),
                Step::Operator(_) => None,
            };
            if let Some(topic) = topic {
                let partitions = times.iter().filter(|(partition, _)| partition.topic == *topic);
                return partitions.min_by_key(|(_, time_ms)| *time_ms).map(|(partition, _)| partition);
            }
            id = feeding(node).min_by_key(|&input| behind(graph, &self.0, input))?;
        }
    }

    /// That of the node numbered `id`.
    pub(crate) fn of(&self, id: usize) -> i64 {
        self.0.get(id).copied().unwrap_or(NEVER)
    }
}

/// The nodes that take `node` on in time.
fn feeding(node: &Node) -> impl Iterator<Item = usize> {
    let fed = node.inputs.iter().enumerate().filter(|(input, _)| node.is_fed_by(*input));
    fed.map(|(_, &input)| input)
}

/// How far whoever reads the node numbered `input` has come by it.
fn behind(graph: &Graph, watermarks: &[i64], input: usize) -> i64 {
    let held_back_ms = graph.nodes.get(input).map_or(0, |node| node.time.delay_ms);
    watermarks.get(input).map_or(NEVER, |watermark| watermark.saturating_sub(held_back_ms))
}
