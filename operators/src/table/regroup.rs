//! Sending the rows of a table to the groups that they join and leave.
//!
//! What becomes of deletions, repeated keys and failures stands in [`group`](super::group), which folds them.

use super::access::Access;
use super::history::{self, Step};
use super::{GroupedTable, Table};
use crate::earliest::Earliest;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Changes, Context, Event, Exchange, Failure};
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

/// A row that joins or leaves a group.
#[derive(Clone)]
pub(super) enum Delta<V> {
    Leave(V),
    Join(V),
}

pub(super) fn group_by<K: Key, V: Value, L: Key, W: Value, E: Display + 'static>(
    label: &str,
    table: &Table<K, V>,
    group: impl Fn(&K, &V) -> Result<(L, W), E> + Send + Sync + 'static,
) -> GroupedTable<L, W> {
    let access = Arc::clone(&table.access);
    let reads = access.reads();
    let send = Regroup { access, group, reason: PhantomData };
    let node = table.builder.exchange(label, table.node, &reads, send);
    // It looks for rows that the epoch has touched.
    table.builder.reads_kept_rows(node);
    GroupedTable { builder: table.builder.clone(), node }
}

/// Sends the old row of each change to the group it leaves and the new one to the group it joins.
struct Regroup<K, V, E, F> {
    access: Arc<dyn Access<K, V>>,
    group: F,
    reason: PhantomData<fn() -> E>,
}

impl<K, V, L, W, E, F> Exchange for Regroup<K, V, E, F>
where
    K: Key,
    V: Value,
    L: Key,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, &V) -> Result<(L, W), E> + Send + Sync + 'static,
{
    type Input = (Changes<K, V>,);
    type Item = Event<L, Delta<W>>;

    fn route(
        &self,
        context: &mut Context<'_>,
        (changes,): Self::Input,
    ) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let mut starts = None;
        let steps = history::steps(context, &*self.access, &changes, &mut starts)?;
        let mut deltas: Vec<Event<L, Delta<W>>> = Vec::with_capacity(steps.len() * 2);
        let mut earliest = Earliest::default();
        for Step { key, old, new, stamp } in steps {
            context.at(&stamp);
            if let Some((group, value)) = old.and_then(|old| (self.group)(key, old).ok()) {
                deltas.push(Event { key: group, value: Delta::Leave(value), stamp: stamp.branch(0) });
            }
            let new = new.and_then(|new| earliest.run(context, &stamp, || (self.group)(key, new)));
            if let Some((group, value)) = new {
                deltas.push(Event { key: group, value: Delta::Join(value), stamp: stamp.branch(1) });
            }
        }
        earliest.outcome(context)?;
        let parts = context.router().split(deltas, |delta| &delta.key);
        Ok(parts)
    }
}
