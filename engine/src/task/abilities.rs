//! What an engine needs of its changelog, and what it does otherwise where the log cannot do it.

use super::FailurePolicy;
use crate::changelog::Changelog;
use crate::graph::Graph;
use crate::{Error, Result};

/// Asks `changelog` what it can do, before anything of it is used.
///
/// # Errors
/// `Invalid` if the graph cannot run on it, or it does not do what it says.
pub(crate) fn check_abilities(
    graph: &Graph,
    policy: &FailurePolicy,
    changelog: &dyn Changelog,
) -> Result<()> {
    let can = changelog.abilities();
    let appends = graph.has_sinks() || matches!(policy, FailurePolicy::DeadLetter(_));
    let marks = !can.one_sequence && graph.interleaves;
    let needed = [
        (
            can.dense_offsets || !can.one_sequence,
            "dense_offsets",
            "it says that it is one sequence, which numbers records and not gaps; leave out `one_sequence`",
        ),
        (
            can.atomic_epochs || !marks,
            "atomic_epochs",
            "what the graph makes depends on how records of several partitions follow each other (a stream is joined with a table, \
             or records of several topics or partitions are folded in an order that matters), which such a log does not say; it \
             could not be kept how they did. Fold by the keys of the topics, with aggregates that commute, or keep the records \
             in a log that can do it",
        ),
        (
            can.atomic_epochs || !appends,
            "atomic_epochs",
            "after a crash it could not be told which of its outputs and dead letters an epoch had appended; leave them out \
             of the graph, or keep them in a log that can do it",
        ),
    ];
    if let Some((_, ability, why)) = needed.into_iter().find(|(has, ..)| !has) {
        let log = changelog.description();
        return Err(Error::invalid(format!("the changelog {log} lacks the ability `{ability}`: {why}")));
    }
    // Its partitions would be merged as if they had no order, and be told from those that had.
    if can.one_sequence && changelog.appended(u64::MAX)?.is_none() {
        let log = changelog.description();
        return Err(Error::invalid(format!(
            "the changelog {log} says that it has the ability `one_sequence`, but does not tell where the sequence ends: \
             answer `appended`, or leave the ability out"
        )));
    }
    if !can.keeps_holds {
        let log = changelog.description();
        tracing::warn!(
            log,
            "the changelog may drop what is not folded yet: see that its retention reaches back far enough"
        );
    }
    Ok(())
}
