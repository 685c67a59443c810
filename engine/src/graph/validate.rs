//! What a graph must be before it may run.

use super::builder::Parts;
use super::{Node, Step};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longest name of a table, in bytes.
const MAX_NAME_BYTES: usize = 255;

pub(super) fn validate(parts: &Parts) -> Result<()> {
    if let Some(label) = parts.foreign.first() {
        return Err(Error::invalid(format!(
            "a `{label}` was given a stream or table of another graph; build both with one graph builder, or send the \
             records through a topic (a builder begins another graph once it has built one)"
        )));
    }
    if !parts.nodes.iter().any(|node| matches!(node.step, Step::Source { .. })) {
        return Err(Error::invalid("the graph has no source; add a stream or a table that reads a topic"));
    }
    let mut names = BTreeSet::new();
    for table in &parts.tables {
        if table.name.is_empty() || table.name.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(format!(
                "a {} table has a name of {} bytes; give it one of 1 to {MAX_NAME_BYTES}",
                table.kind,
                table.name.len()
            )));
        }
        if !names.insert(&table.name) {
            return Err(Error::invalid(format!(
                "two tables are named `{}`; every table needs a name of its own",
                table.name
            )));
        }
    }
    for topic in &parts.topics {
        if topic.name.is_empty() || topic.config.partitions == 0 {
            return Err(Error::invalid(format!(
                "topic `{}` needs a name and at least one partition",
                topic.name
            )));
        }
    }
    if let Some(topic) = parts.ambiguous.first() {
        return Err(Error::invalid(format!(
            "topic `{topic}` is used with different numbers of partitions; give it the same number everywhere"
        )));
    }
    if let Some(error) = parts.unfit.first() {
        return Err(error.summary());
    }
    refuse_cycles(&parts.nodes)
}

/// A node only reads nodes before it, so a cycle can only lead through a topic that is written and read.
fn refuse_cycles(nodes: &[Node]) -> Result<()> {
    // topic -> topics that records of it can reach
    let mut reaches: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
    let mut origins: Vec<BTreeSet<Arc<str>>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut from = BTreeSet::new();
        if let Step::Source { topic, .. } = &node.step {
            from.insert(Arc::clone(topic));
        }
        for &input in &node.inputs {
            from.extend(origins.get(input).into_iter().flatten().cloned());
        }
        if let Some(sink) = &node.sink {
            for topic in &from {
                reaches.entry(Arc::clone(topic)).or_default().insert(Arc::clone(sink));
            }
        }
        origins.push(from);
    }
    for start in reaches.keys() {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Arc<str>> = reaches.get(start).into_iter().flatten().collect();
        while let Some(topic) = next.pop() {
            if topic == start {
                return Err(Error::invalid(format!(
                    "the graph has a cycle: what it reads from topic `{start}` leads back into `{start}`; \
                     write to another topic"
                )));
            }
            if seen.insert(topic) {
                next.extend(reaches.get(topic).into_iter().flatten());
            }
        }
    }
    Ok(())
}
