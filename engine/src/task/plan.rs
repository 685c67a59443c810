//! The plan of a task: which nodes run, in which order, where the shards must wait for each other, and what each node has to
//! hand on.
//!
//! Nodes between two exchanges form a level. A shard runs its nodes of a level one after the other without
//! waiting for anyone; only between levels is there a barrier, at which what was routed changes hands.

use crate::flow::Detail;
use crate::graph::{Graph, Node, Step};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The order in which a task runs the nodes of a graph.
pub(crate) struct Plan {
    /// The nodes of each level, in ascending order.
    pub(crate) levels: Vec<Vec<usize>>,
    /// What each node of the graph has to hand on.
    pub(crate) duties: Vec<Duty>,
    /// The source nodes of each topic.
    pub(crate) sources: Vec<(Arc<str>, Vec<usize>)>,
    /// The tables that are written, in ascending order.
    pub(crate) writes: Vec<usize>,
}

/// What a node has to hand on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duty {
    /// How many nodes read it.
    pub(crate) consumers: usize,
    /// Whether every update of a table, or only what became of each key: every one where a node that derives from it follows
    /// them, and where records may be left out, as code of the user is then asked about all of them: which fail must not
    /// depend on how many updates of a key there are in one epoch.
    pub(crate) detail: Detail,
}

impl Plan {
    /// The plan for running `nodes` of `graph`; they must include every input of theirs. `sets_aside` says whether records
    /// are left out at which user code fails.
    pub(crate) fn new(graph: &Graph, nodes: &BTreeSet<usize>, sets_aside: bool) -> Result<Self> {
        let mut level_of = vec![0; graph.nodes.len()];
        let mut plan = Self {
            levels: Vec::new(),
            duties: vec![Duty { consumers: 0, detail: Detail::Changes }; graph.nodes.len()],
            sources: Vec::new(),
            writes: Vec::new(),
        };
        for &id in nodes {
            let node = node(graph, id)?;
            let mut level = 0;
            for &input in &node.inputs {
                let behind = usize::from(self::node(graph, input)?.exchange);
                level = level.max(level_of.get(input).copied().unwrap_or(0) + behind);
            }
            for input in node.taken() {
                if let Some(duty) = plan.duties.get_mut(input) {
                    duty.consumers += 1;
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
        plan.decide_what_is_recorded(graph, sets_aside);
        plan.writes.sort_unstable();
        plan.sources.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(plan)
    }

    /// What the graph says holds whichever part of it is run, so that a build records what the main task does. Inputs come
    /// before their consumers, so that one pass backwards reaches all that a node derives from.
    fn decide_what_is_recorded(&mut self, graph: &Graph, sets_aside: bool) {
        let mut followed = vec![false; graph.nodes.len()];
        for (consumer, node) in graph.nodes.iter().enumerate().rev() {
            if node.follows || followed.get(consumer).copied().unwrap_or(false) {
                for input in node.taken() {
                    if let Some(followed) = followed.get_mut(input) {
                        *followed = true;
                    }
                }
            }
        }
        for ((duty, node), followed) in self.duties.iter_mut().zip(graph.nodes.iter()).zip(followed) {
            // Where nobody reads a node that keeps rows, no code of the user is asked what it hands on. One that keeps none asks
            // its own code for what it hands on, whether that is read or not.
            let asks = duty.consumers > 0 || node.writes.is_empty();
            if followed || (sets_aside && asks) {
                duty.detail = Detail::Updates;
            }
        }
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
