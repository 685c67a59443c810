//! A table's changes as a stream of upserts.
//!
//! A deleted row becomes [`Upsert::Delete`]. Where what derives from the stream depends on every update, each comes out,
//! with the place of the record that caused it. Otherwise repeated keys give one record per key and epoch, with the last
//! value: the stream may be cut differently by different epochs, but folding it gives the table. The timestamp is that of
//! the update, late or not. Empty input gives empty output.

use super::Table;
use super::history::{Numbering, of_key};
use crate::stream::Stream;
use crate::upsert::Upsert;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Event, Failure, Operator, Update};
use millpond_engine::graph::Interleaving;
use millpond_engine::state::Detail;
use std::collections::HashMap;
use std::marker::PhantomData;

pub(super) fn to_stream<K: Key, V: Value>(table: &Table<K, V>) -> Stream<K, Upsert<V>> {
    let operator = ToStream::<K, V>(PhantomData);
    let node = table.builder.operator("to_stream", table.node, &[], &[], operator);
    table.builder.interleaving(node, Interleaving::TellsUpdates);
    Stream::new(table.builder.clone(), node, true)
}

struct ToStream<K, V>(PhantomData<fn() -> (K, V)>);

/// Whether each row that was updated was there before the epoch.
fn were_there<K: Key, V>(
    changes: &[Change<K, V>],
    updates: &[Update<K, V>],
) -> HashMap<K, (bool, Numbering)> {
    // A row without a change ends as it began, so that its last update tells.
    let mut rows: HashMap<K, (bool, Numbering)> = HashMap::new();
    for Update { key, value, .. } in updates {
        rows.entry(key.clone()).or_default().0 = value.is_some();
    }
    for Change { key, old, .. } in changes {
        if let Some((is_there, _)) = rows.get_mut(key) {
            *is_there = old.is_some();
        }
    }
    rows
}

impl<K: Key, V: Value> Operator for ToStream<K, V> {
    type Input = (Changes<K, V>,);
    type Output = Vec<Event<K, Upsert<V>>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (Changes { changes, updates },): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let mut encoded = Vec::new();
        let mut events: Vec<Event<K, Upsert<V>>>;
        if context.detail() == Detail::Updates {
            let mut rows = were_there(&changes, &updates);
            events = Vec::with_capacity(updates.len());
            for Update { key, value, stamp } in updates {
                let Some((is_there, numbering)) = rows.get_mut(&key) else { continue };
                // A filter below passes on that a row it never let through was updated: there is nothing to delete.
                if std::mem::replace(is_there, value.is_some()) || value.is_some() {
                    let stamp = numbering.next(stamp, &key, &mut encoded);
                    events.push(Event { key, value: value.into(), stamp });
                }
            }
        } else {
            events = Vec::with_capacity(changes.len());
            for Change { key, new, stamp, .. } in changes {
                let stamp = of_key(stamp, &key, &mut encoded);
                events.push(Event { key, value: new.into(), stamp });
            }
        }
        // The order of changes depends on which keys were in memory; that of a stream must not.
        events.sort_by_key(|event| event.stamp);
        Ok(Some(events))
    }
}
