//! Watermarks: how far each node of a graph has come in time.

use super::{NEVER, StreamTimes};
use crate::graph::{Graph, Step};

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
                Step::Operator(_) => {
                    let fed = node.inputs.iter().enumerate().filter(|(input, _)| node.is_fed_by(*input));
                    let behind = |input: usize| {
                        let held_back_ms = graph.nodes.get(input).map_or(0, |node| node.time.delay_ms);
                        watermarks
                            .get(input)
                            .map_or(NEVER, |watermark| watermark.saturating_sub(held_back_ms))
                    };
                    fed.map(|(_, &input)| behind(input)).min()
                }
            };
            watermarks.push(watermark.unwrap_or(NEVER));
        }
        Self(watermarks)
    }

    /// That of the node numbered `id`.
    pub(crate) fn of(&self, id: usize) -> i64 {
        self.0.get(id).copied().unwrap_or(NEVER)
    }
}
