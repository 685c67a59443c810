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
    let needed = [
        (
            can.dense_offsets,
            "dense_offsets",
            "an engine counts records by their offsets, and would take a gap for records; read it through a log that numbers \
             its records without gaps",
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
