//! Whether it matters to a graph how records of several partitions follow each other.
//!
//! A log that is one sequence says it; in any other log it is decided when an epoch is cut, and whoever cuts otherwise gets
//! other results, unless the graph cannot tell the difference. A fold of records by the keys of their topic cannot: those of
//! one key come from one partition, unless a key may be written in several ways, or is made of a record that has none. Nor can a sum of whatever came from several partitions, but the last of them can.
//!
//! What an operator makes of its input is one of three things, from what depends least on it to what depends most.

use super::{Node, Step};

/// What an operator makes of records that are interleaved otherwise. Unless said, it is taken to depend on it as soon as it
/// keeps anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Interleaving {
    /// The same for each of them, if it has one input and keeps no rows; anything else.
    #[default]
    Unknown,
    /// Its inputs, put together as they come.
    Merges,
    /// Rows that depend on which values it was given, and not on how they followed each other: a sum, a join of two tables.
    Commutes,
    /// An event for each update of a row, of which there may be others.
    TellsUpdates,
}

/// What of the output of a node does not depend on how records are interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fixed {
    /// What there is of each key, and how it follows each other.
    Sequence,
    /// What there is of each key.
    Values,
    /// Which row each key has in the end.
    Rows,
}

/// Whether what `nodes` make depends on how records of several partitions follow each other. Where that is not certain it
/// does. Inputs come before their consumers.
pub(super) fn is_seen_by(nodes: &[Node]) -> bool {
    let mut fixed: Vec<Option<Fixed>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut inputs = node.inputs.iter().map(|&input| fixed.get(input).copied().flatten());
        let worst = inputs.try_fold(Fixed::Sequence, |worst, input| Some(worst.max(input?)));
        fixed.push(worst.and_then(|worst| node.fixed(worst)));
    }
    fixed.iter().any(Option::is_none)
}

impl Node {
    /// What of its output is fixed, if `input` is of its inputs; `None` if nothing is.
    fn fixed(&self, input: Fixed) -> Option<Fixed> {
        if matches!(self.step, Step::Source { .. }) {
            // Where the records of one key may come from several partitions they are put together, too.
            let merges = self.interleaving == Interleaving::Merges;
            return Some(if merges { Fixed::Values } else { Fixed::Sequence });
        }
        let keeps = !self.writes.is_empty();
        match self.interleaving {
            Interleaving::Merges => (input <= Fixed::Values).then_some(Fixed::Values),
            Interleaving::Commutes if input == Fixed::Sequence && self.inputs.len() == 1 => Some(input),
            Interleaving::Commutes => Some(Fixed::Rows),
            Interleaving::TellsUpdates => (input == Fixed::Sequence).then_some(input),
            Interleaving::Unknown if self.inputs.len() > 1 => None,
            Interleaving::Unknown if self.exchange => Some(input.max(Fixed::Values)),
            Interleaving::Unknown if keeps => (input == Fixed::Sequence).then_some(input),
            // An appended record stays where it is, and a look at a table sees what it has become by then.
            Interleaving::Unknown if self.sink.is_some() || (self.follows && !self.reads.is_empty()) => {
                (input == Fixed::Sequence).then_some(input)
            }
            Interleaving::Unknown => Some(input),
        }
    }
}
