//! Tables of upserts: a topic, a stream or a computed table, stored row by row.
//!
//! A tombstone deletes; deleting an absent key changes nothing. Of repeated keys the last one stays and one change is
//! emitted. Late records: by offset order they win like any other; by timestamp they are passed over, and a record as
//! old as the row replaces it. Empty input changes nothing.

use super::{StoredTable, Table};
use crate::Latest;
use crate::stream::Stream;
use crate::upsert::Upsert;
use millpond_engine::Result;
use millpond_engine::codec::{Bincode, Key, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Event, Failure, Operator, Update};
use millpond_engine::graph::{Interleaving, TableOptions, TableRef};
use millpond_engine::state::Detail;

/// A table of the last upsert of each key.
pub(crate) fn table<K: Key, V: Value>(
    upserts: &Stream<K, Upsert<V>>,
    store: TableOptions<V>,
    latest: Latest,
) -> StoredTable<K, V> {
    let stream = upserts.exchanged();
    let builder = &stream.builder;
    let timestamps = (latest == Latest::Timestamp).then(|| {
        let name = format!("{}.timestamps", store.name());
        builder.table("timestamps", TableOptions::with_codec(&name, Bincode).version(store.table_version()))
    });
    let table: TableRef<K, V> = builder.table("table", store);
    let mut writes = vec![table.index()];
    writes.extend(timestamps.iter().map(TableRef::index));
    let operator = UpsertTable { table, timestamps };
    let node = builder.operator("table", stream.node, &writes, &[], operator);
    builder.follows_updates(node);
    StoredTable::from_node(builder, node, table)
}

struct UpsertTable<K, V> {
    table: TableRef<K, V>,
    timestamps: Option<TableRef<K, i64>>,
}

impl<K: Key, V: Value> UpsertTable<K, V> {
    /// The events that no newer one stands against.
    fn newest(
        &self,
        context: &mut Context<'_>,
        events: Vec<Event<K, Upsert<V>>>,
    ) -> Result<Vec<Event<K, Upsert<V>>>, Failure> {
        let Some(timestamps) = &self.timestamps else { return Ok(events) };
        let seen = events
            .iter()
            .enumerate()
            .map(|(index, event)| Event { key: event.key.clone(), value: index, stamp: event.stamp })
            .collect();
        let stamps: Vec<i64> = events.iter().map(|event| event.stamp.timestamp_ms).collect();
        let mut newest = vec![false; events.len()];
        context.table(timestamps)?.fold(context, seen, Detail::Changes, |_, last, index| {
            let (Some(&timestamp_ms), Some(newest)) = (stamps.get(index), newest.get_mut(index)) else {
                return;
            };
            if last.is_none_or(|last| last <= timestamp_ms) {
                *last = Some(timestamp_ms);
                *newest = true;
            }
        })?;
        Ok(events.into_iter().zip(newest).filter_map(|(event, newest)| newest.then_some(event)).collect())
    }
}

impl<K: Key, V: Value> Operator for UpsertTable<K, V> {
    type Input = (Vec<Event<K, Upsert<V>>>,);
    type Output = Changes<K, V>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let events = self.newest(context, events)?;
        let table = context.table(&self.table)?;
        let record = context.detail();
        let updates = table.fold(context, events, record, |_, row, upsert| {
            *row = upsert.into_option();
        })?;
        if !context.is_read() {
            return Ok(None);
        }
        Ok(Some(table.changes(context, updates)?))
    }
}

/// A computed table, stored.
pub(super) fn materialize<K: Key, V: Value>(
    computed: &Table<K, V>,
    store: TableOptions<V>,
) -> StoredTable<K, V> {
    let builder = &computed.builder;
    let table: TableRef<K, V> = builder.table("table", store);
    let node = builder.operator("materialize", computed.node, &[table.index()], &[], Materialize { table });
    builder.interleaving(node, Interleaving::Commutes);
    StoredTable::from_node(builder, node, table)
}

struct Materialize<K, V> {
    table: TableRef<K, V>,
}

impl<K: Key, V: Value> Operator for Materialize<K, V> {
    type Input = (Changes<K, V>,);
    type Output = Changes<K, V>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (Changes { changes, updates },): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        // Every update where they are handed on, so that a value which cannot be written fails at its own record, wherever
        // the epoch is cut.
        let events = if updates.is_empty() {
            changes
                .into_iter()
                .map(|Change { key, new, stamp, .. }| Event { key, value: new, stamp })
                .collect()
        } else {
            let update = |update: &Update<K, V>| {
                let Update { key, value, stamp } = update.clone();
                Event { key, value, stamp }
            };
            updates.iter().map(update).collect()
        };
        let table = context.table(&self.table)?;
        table.fold(context, events, Detail::Changes, |_, row, new| *row = new)?;
        if !context.is_read() {
            return Ok(None);
        }
        // They pass through as they come from the computed table.
        Ok(Some(table.changes(context, updates)?))
    }
}
