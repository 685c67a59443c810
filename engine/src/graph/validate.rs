//! What a graph must be before it may run.

use super::builder::{Foreign, Parts};
use super::{Dated, Node, Step};
use crate::time::{Period, Tick};
use crate::{Error, Result, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longest name of a table, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The shortest period of ticks, in milliseconds.
const LEAST_PERIOD_MS: i64 = 1_000;

pub(super) fn validate(parts: &Parts) -> Result<()> {
    if let Some(Foreign { label, is_late }) = parts.foreign.first() {
        return Err(Error::invalid(if *is_late {
            format!(
                "a `{label}` was added to a stream or table of a graph that was built before, which does not change any \
                 more; add it before `build`, or describe a whole graph anew (a builder begins another graph once it has \
                 built one)"
            )
        } else {
            format!(
                "a `{label}` was given a stream or table of another graph; build both with one graph builder, or send the \
                 records through a topic"
            )
        }));
    }
    if parts.nodes.iter().all(|node| matches!(node.step, Step::Operator(_))) {
        return Err(Error::invalid(if parts.built.is_empty() {
            "the graph has no source; add a stream or a table that reads a topic"
        } else {
            "the builder has built its graph already, and nothing was added since: `build` takes what was described so far; keep \
             the `Graph` and clone it, which costs nothing"
        }));
    }
    check_ticks(parts)?;
    let mut names = BTreeSet::new();
    for table in &parts.tables {
        if table.name.is_empty() || table.name.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(format!(
                "the table of a `{}` has a name of {} bytes; give it one of 1 to {MAX_NAME_BYTES}",
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
        if topic.name.is_empty() || topic.config.partitions == Some(0) {
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
    let looks_at_time = parts.nodes.iter().any(|node| node.time.looks);
    if let Some(topic) =
        parts.topics.iter().find(|topic| looks_at_time && topic.dated == Some(Dated::Otherwise))
    {
        return Err(Error::invalid(format!(
            "topic `{}` says in one place when its records happened (`Topic::timestamps_from`), and not in another: in a graph that looks \
             at time they come as far wherever they are read, so say the same everywhere",
            topic.name
        )));
    }
    check_tables(parts)?;
    refuse_cycles(&parts.nodes)
}

/// A stream of periods is known by its name, and its periods are so long that one may keep them.
fn check_ticks(parts: &Parts) -> Result<()> {
    let mut periods: BTreeMap<&TopicPartition, Period> = BTreeMap::new();
    for node in &parts.nodes {
        let Step::Ticks { id, period, .. } = &node.step else { continue };
        let name = Tick::name(id);
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(format!(
                "ticks have a name of {} bytes; give them one of 1 to {MAX_NAME_BYTES}",
                name.len()
            )));
        }
        if period.every_ms() < LEAST_PERIOD_MS {
            return Err(Error::invalid(format!(
                "the ticks `{name}` come every {} ms; a second is the least, for each is kept in the log",
                period.every_ms()
            )));
        }
        if periods.insert(id, *period).is_some_and(|other| other != *period) {
            return Err(Error::invalid(format!(
                "there are ticks `{name}` of two periods; give those of each a name of their own"
            )));
        }
        if parts.topics.iter().any(|topic| topic.name == id.topic) {
            return Err(Error::invalid(format!(
                "a topic has the name `{}`, by which the ticks `{name}` are known; give these another name",
                id.topic
            )));
        }
    }
    Ok(())
}

/// A table has one writer, and whoever reads it stands behind that or before it: what it finds would else depend on what runs first.
fn check_tables(parts: &Parts) -> Result<()> {
    let mut writers: Vec<Option<usize>> = vec![None; parts.tables.len()];
    for (id, node) in parts.nodes.iter().enumerate() {
        for &table in &node.writes {
            let (Some(writer), Some(spec)) = (writers.get_mut(table), parts.tables.get(table)) else {
                continue;
            };
            if let Some(other) = writer.replace(id).and_then(|other| parts.nodes.get(other)) {
                return Err(Error::invalid(format!(
                    "table `{}` is written by a `{}` and by a `{}`; a table has one writer: give each a table of its own",
                    spec.name, other.label, node.label
                )));
            }
        }
    }
    if let Some((spec, _)) = parts.tables.iter().zip(&writers).find(|(_, writer)| writer.is_none()) {
        return Err(Error::invalid(format!(
            "table `{}` is declared, but no operator writes it; name it among the tables that one writes",
            spec.name
        )));
    }
    for (id, node) in parts.nodes.iter().enumerate().filter(|(_, node)| !node.reads.is_empty()) {
        // The node that an exchange is known by stands behind it.
        let reads_kept =
            node.time.reads_kept || gathers(&parts.nodes, id).any(|gather| gather.time.reads_kept);
        let above = upstream(&parts.nodes, node);
        for &table in &node.reads {
            if let Some(spec) =
                parts.tables.get(table).filter(|spec| spec.first_kept.is_some() && !reads_kept)
            {
                return Err(Error::invalid(format!(
                    "a `{}` looks rows of table `{}` up, which forgets them (`keep`): what it found would depend on how far another \
                     part of the graph has come. Take the final rows (`on_close`) into a table of their own and read that, or do \
                     without `keep`",
                    node.label, spec.name
                )));
            }
            let writer = writers.get(table).copied().flatten();
            let stands_before = |writer: usize| {
                parts.nodes.get(writer).is_some_and(|writer| upstream(&parts.nodes, writer).contains(&id))
            };
            if writer.is_none_or(|writer| !above.contains(&writer) && !stands_before(writer))
                && let Some(spec) = parts.tables.get(table)
            {
                return Err(Error::invalid(format!(
                    "a `{}` reads table `{}`, which is not written upstream of it; make the table's node one of its inputs",
                    node.label, spec.name
                )));
            }
        }
    }
    Ok(())
}

/// The nodes that take what the exchange numbered `id` sends.
fn gathers(nodes: &[Node], id: usize) -> impl Iterator<Item = &Node> {
    let is_exchange = nodes.get(id).is_some_and(|node| node.exchange);
    nodes.iter().filter(move |node| is_exchange && node.inputs.contains(&id))
}

/// All nodes that `node` derives from.
fn upstream(nodes: &[Node], node: &Node) -> BTreeSet<usize> {
    let mut above = BTreeSet::new();
    let mut next = node.inputs.clone();
    while let Some(id) = next.pop() {
        if above.insert(id) {
            next.extend(nodes.get(id).map_or(&[][..], |node| &node.inputs));
        }
    }
    above
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
