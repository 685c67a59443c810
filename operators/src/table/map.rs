//! Stateless steps over a table: `filter` and `map_values`, computed on the fly.
//!
//! A deleted row is a deletion of the result. A row that the filter drops is absent; one that it drops now and kept
//! before is deleted, and the other way round. Repeated keys, late timestamps: as the table below. Empty input gives
//! empty output. The closure may be called more than once for the same row, with the old and with the new value.

use super::Table;
use super::access::Access;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Batch, Change, Changes, Context, Failure, Inputs, Operator, Output, Update};
use millpond_engine::graph::TableIndex;
use std::marker::PhantomData;
use std::sync::Arc;

pub(super) fn map<K: Key, V: Value, W: Value>(
    label: &str,
    table: &Table<K, V>,
    map: impl Fn(&K, V) -> Option<W> + Send + Sync + 'static,
) -> Table<K, W> {
    let map = Arc::new(map);
    let operator = Map { map: Arc::clone(&map), types: PhantomData };
    let node = table.builder.operator(label, &[table.node], &[], &[], operator);
    let access = MapAccess { below: Arc::clone(&table.access), map };
    Table::new(&table.builder, node, access)
}

type Types<K, V, W> = fn() -> (K, V, W);

struct Map<K, V, W, F> {
    map: Arc<F>,
    types: PhantomData<Types<K, V, W>>,
}

impl<K, V, W, F> Operator for Map<K, V, W, F>
where
    K: Key,
    V: Value,
    W: Value,
    F: Fn(&K, V) -> Option<W> + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output, Failure> {
        let input: Changes<K, V> = inputs.take(0)?;
        let mut output = Changes {
            changes: Vec::with_capacity(input.changes.len()),
            updates: Vec::with_capacity(input.updates.len()),
        };
        for Change { key, old, new, stamp } in input.changes {
            context.at(&stamp);
            let old = old.and_then(|old| (self.map)(&key, old));
            let new = new.and_then(|new| (self.map)(&key, new));
            if old.is_some() || new.is_some() {
                output.changes.push(Change { key, old, new, stamp });
            }
        }
        for Update { key, value, stamp } in input.updates {
            context.at(&stamp);
            let value = value.and_then(|value| (self.map)(&key, value));
            output.updates.push(Update { key, value, stamp });
        }
        Ok(Output::Local(Batch::new(output)))
    }
}

struct MapAccess<K, V, F> {
    below: Arc<dyn Access<K, V>>,
    map: Arc<F>,
}

impl<K, V, W, F> Access<K, W> for MapAccess<K, V, F>
where
    K: Key,
    V: Value,
    W: Value,
    F: Fn(&K, V) -> Option<W> + Send + Sync + 'static,
{
    fn look_up(&self, context: &mut Context<'_>, keys: &[&K]) -> Result<Vec<Option<W>>, Failure> {
        let rows = self.below.look_up(context, keys)?;
        Ok(keys.iter().zip(rows).map(|(key, row)| (self.map)(key, row?)).collect())
    }

    fn reads(&self) -> Vec<TableIndex> {
        self.below.reads()
    }
}
