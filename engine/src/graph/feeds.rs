//! What takes a node on in time: the topics behind it, and what is held back on the way.
//!
//! It is found when a table is described, from the nodes above it, so that whoever is asked for the rows of a moment can tell how far
//! the node had come by then without knowing the graph that runs.

use super::{Graph, Node, Step};
use crate::time::{NEVER, StreamTimes};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The topics that take a node on in time, each with the most that is held back of it on any way to the node, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Feeds(pub(crate) Vec<(Arc<str>, i64)>);

impl Feeds {
    /// How far a node that they take on has come where partitions have come as far as `times`.
    pub(crate) fn watermark(&self, times: &StreamTimes) -> i64 {
        let behind = |(topic, held_back_ms): &(Arc<str>, i64)| {
            times.least_of(topic).map(|at| at.saturating_sub(*held_back_ms))
        };
        self.0.iter().map(|feed| behind(feed).unwrap_or(NEVER)).min().unwrap_or(NEVER)
    }
}

impl Graph {
    /// The number of the node that writes the table numbered `index`.
    pub(crate) fn writer_of(&self, index: usize) -> Option<usize> {
        self.nodes.iter().position(|node| node.writes.contains(&index))
    }

    /// What takes the node on that writes the table numbered `index`.
    pub(crate) fn feeds_of_table(&self, index: usize) -> Feeds {
        self.writer_of(index).map(|writer| of(&self.nodes, writer)).unwrap_or_default()
    }
}

/// What takes the node numbered `id` on.
pub(super) fn of(nodes: &[Node], id: usize) -> Feeds {
    let mut held_back: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    let mut ways = vec![(id, 0_i64)];
    // The most that was held back so far where a way has come by: nodes on several ways are gone through once unless it is more.
    let mut passed: BTreeMap<usize, i64> = BTreeMap::new();
    while let Some((id, delay_ms)) = ways.pop() {
        if passed.get(&id).is_some_and(|most| *most >= delay_ms) {
            continue;
        }
        passed.insert(id, delay_ms);
        let Some(node) = nodes.get(id) else { continue };
        let topic = match &node.step {
            Step::Source { topic, .. } => Some(topic),
            Step::Ticks { id, .. } => Some(&id.topic),
            Step::Operator(_) => None,
        };
        if let Some(topic) = topic {
            let most = held_back.entry(Arc::clone(topic)).or_insert(delay_ms);
            *most = delay_ms.max(*most);
        }
        for (_, &input) in node.inputs.iter().enumerate().filter(|(input, _)| node.is_fed_by(*input)) {
            let before_ms = nodes.get(input).map_or(0, |input| input.time.delay_ms);
            ways.push((input, delay_ms.saturating_add(before_ms)));
        }
    }
    Feeds(held_back.into_iter().collect())
}
