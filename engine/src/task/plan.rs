//! The plan of a task: which nodes run, in which order, and where the shards must wait for each other.
//!
//! Nodes between two exchanges form a level. A shard runs its nodes of a level one after the other without
//! waiting for anyone; only between levels is there a barrier, at which what was routed changes hands.

use crate::graph::{Graph, Node, Step};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The order in which a task runs the nodes of a graph.
pub(crate) struct Plan {
    /// The nodes of each level, in ascending order.
    pub(crate) levels: Vec<Vec<usize>>,
    /// How many nodes read each node.
    pub(crate) consumers: Vec<usize>,
    /// The source nodes of each topic.
    pub(crate) sources: Vec<(Arc<str>, Vec<usize>)>,
    /// The tables that are written, in ascending order.
    pub(crate) writes: Vec<usize>,
}

impl Plan {
    /// The plan for running `nodes` of `graph`; they must include every input of theirs.
    pub(crate) fn new(graph: &Graph, nodes: &BTreeSet<usize>) -> Result<Self> {
        let mut level_of = vec![0; graph.nodes.len()];
        let mut plan = Self {
            levels: Vec::new(),
            consumers: vec![0; graph.nodes.len()],
            sources: Vec::new(),
            writes: Vec::new(),
        };
        for &id in nodes {
            let node = node(graph, id)?;
            let mut level = 0;
            for &input in &node.inputs {
                let behind = usize::from(self::node(graph, input)?.exchange);
                level = level.max(level_of.get(input).copied().unwrap_or(0) + behind);
                if let Some(count) = plan.consumers.get_mut(input) {
                    *count += 1;
                }
            }
            if let Some(slot) = level_of.get_mut(id) {
                *slot = level;
            }
            plan.place(id, level);
            plan.writes.extend(&node.writes);
            if let Step::Source { topic, .. } = &node.step {
                plan.add_source(topic, id);
            }
        }
        plan.writes.sort_unstable();
        plan.sources.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(plan)
    }

    fn place(&mut self, id: usize, level: usize) {
        while self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        if let Some(nodes) = self.levels.get_mut(level) {
            nodes.push(id);
        }
    }

    fn add_source(&mut self, topic: &Arc<str>, id: usize) {
        match self.sources.iter_mut().find(|(known, _)| known == topic) {
            Some((_, nodes)) => nodes.push(id),
            None => self.sources.push((Arc::clone(topic), vec![id])),
        }
    }
}

/// The node numbered `id`.
pub(crate) fn node(graph: &Graph, id: usize) -> Result<&Node> {
    graph.nodes.get(id).ok_or_else(|| Error::internal(format!("the graph has no node {id}")))
}
