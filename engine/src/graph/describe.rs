//! The graph as text and as a picture.

use super::{Graph, Node, Step, TableSpec};
use crate::time::Tick;
use std::collections::BTreeSet;
use std::fmt::Write as _;

impl Graph {
    /// One line per node: its number, what it does, its inputs, its tables and topics.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let _ = write!(text, "{id:>3} {}", self.caption(node));
            if !node.inputs.is_empty() {
                let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
                let _ = write!(text, " <- {}", inputs.join(", "));
            }
            if node.exchange {
                text.push_str(" (exchange)");
            }
            text.push('\n');
        }
        text
    }

    /// The graph in the language of Graphviz: `dot -Tsvg`.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph millpond {\n  rankdir=LR;\n  node [shape=box];\n");
        for (id, node) in self.nodes.iter().enumerate() {
            let shape = if node.writes.is_empty() { "box" } else { "cylinder" };
            let _ = writeln!(text, "  n{id} [label={:?}, shape={shape}];", self.caption(node));
            for input in &node.inputs {
                let exchange = self.nodes.get(*input).is_some_and(|input| input.exchange);
                let style = if exchange { " [style=dashed]" } else { "" };
                let _ = writeln!(text, "  n{input} -> n{id}{style};");
            }
        }
        text.push_str("}\n");
        text
    }

    /// A step of an epoch, for an error: the node numbered `id` with the table that it writes, or, behind the nodes, a table
    /// whose rows are encoded.
    pub(crate) fn step(&self, id: usize) -> String {
        let Some(node) = self.nodes.get(id) else {
            let table = id.checked_sub(self.nodes.len()).and_then(|table| self.tables.get(table));
            return table
                .map_or_else(|| format!("step {id}"), |table| format!("the rows of table `{}`", table.name));
        };
        if let Some(table) = self.result(node) {
            return format!("`{}` of table `{}`", node.label, table.name);
        }
        let towards = self.towards(id).map(|towards| format!(", on the way to {towards}"));
        format!("`{}` (node {id}{})", node.label, towards.unwrap_or_default())
    }

    /// The table that a node is there for: others that it keeps beside it are named after that one.
    fn result(&self, node: &Node) -> Option<&TableSpec> {
        let written = node.writes.iter().filter_map(|&table| self.tables.get(table));
        written.min_by_key(|table| table.name.len())
    }

    /// The name of the table that the node numbered `id` is there for, or the next one before it; of one that is kept beside another, of
    /// that one.
    pub(crate) fn table_of(&self, id: usize) -> Option<&str> {
        let mut reached = BTreeSet::from([id]);
        for (before, node) in self.nodes.iter().enumerate().take(id + 1).rev() {
            if !reached.contains(&before) {
                continue;
            }
            if let Some(table) = self.result(node) {
                let is_beside = |other: &&TableSpec| {
                    table.name.strip_prefix(&*other.name).is_some_and(|rest| rest.starts_with('.'))
                };
                let whole = self.tables.iter().filter(is_beside).min_by_key(|other| other.name.len());
                return Some(&whole.unwrap_or(table).name);
            }
            if let Step::Ticks { id, .. } = &node.step {
                return Some(Tick::name(id));
            }
            reached.extend(&node.inputs);
        }
        None
    }

    /// The first table or topic that what `id` puts out comes to.
    fn towards(&self, id: usize) -> Option<String> {
        let mut reached = BTreeSet::from([id]);
        for (next, node) in self.nodes.iter().enumerate().skip(id) {
            if next != id && !node.inputs.iter().any(|input| reached.contains(input)) {
                continue;
            }
            reached.insert(next);
            if let Some(table) = self.result(node) {
                return Some(format!("table `{}`", table.name));
            }
            if let Some(topic) = &node.sink {
                return Some(format!("topic `{topic}`"));
            }
        }
        None
    }

    fn caption(&self, node: &Node) -> String {
        let mut caption = node.label.clone();
        if let Step::Source { topic, .. } = &node.step {
            let _ = write!(caption, " topic {topic}");
        }
        if let Step::Ticks { id, period, .. } = &node.step {
            let _ = write!(caption, " {} every {} ms", Tick::name(id), period.every_ms());
        }
        if let Some(topic) = &node.sink {
            let _ = write!(caption, " topic {topic}");
        }
        for table in node.writes.iter().filter_map(|&table| self.tables.get(table)) {
            let _ = write!(caption, " table {}", table.name);
            if table.version > 0 {
                let _ = write!(caption, " v{}", table.version);
            }
        }
        for table in node.reads.iter().filter_map(|&table| self.tables.get(table)) {
            let _ = write!(caption, " reads {}", table.name);
        }
        caption
    }
}
