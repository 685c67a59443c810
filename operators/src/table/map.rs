//! Stateless steps over a table: `filter` and `map_values`, computed on the fly.
//!
//! A deleted row is a deletion of the result. A row that the filter drops is absent; one that it drops now and kept
//! before is deleted, and the other way round. Repeated keys, late timestamps: as the table below. Empty input gives
//! empty output. The closure may be called more than once for the same row, with the old and with the new value. Where it
//! fails at a new value, the record fails that made the row so. A row that was there before the step, at which it fails, is
//! absent, whether it is looked up or replaced.

use super::Table;
use super::access::{Access, Wanted};
use crate::earliest::Earliest;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Failure, Operator, Update};
use millpond_engine::graph::TableIndex;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

pub(super) fn map<K: Key, V: Value, W: Value, E: Display + 'static>(
    label: &str,
    table: &Table<K, V>,
    map: impl Fn(&K, V) -> Result<Option<W>, E> + Send + Sync + 'static,
) -> Table<K, W> {
    let map = Arc::new(map);
    let operator = Map { map: Arc::clone(&map), types: PhantomData };
    let node = table.builder.operator(label, table.node, &[], &[], operator);
    let access = MapAccess { below: Arc::clone(&table.access), map, reason: PhantomData };
    Table::new(&table.builder, node, access)
}

type Types<K, V, W, E> = fn() -> (K, V, W, E);

struct Map<K, V, W, E, F> {
    map: Arc<F>,
    types: PhantomData<Types<K, V, W, E>>,
}

impl<K, V, W, E, F> Operator for Map<K, V, W, E, F>
where
    K: Key,
    V: Value,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, V) -> Result<Option<W>, E> + Send + Sync + 'static,
{
    type Input = (Changes<K, V>,);
    type Output = Changes<K, W>;

    fn run(&self, context: &mut Context<'_>, (input,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let mut output = Changes {
            changes: Vec::with_capacity(input.changes.len()),
            updates: Vec::with_capacity(input.updates.len()),
        };
        let mut earliest = Earliest::default();
        for Change { key, old, new, stamp } in input.changes {
            context.at(&stamp);
            let old = old.and_then(|old| (self.map)(&key, old).ok().flatten());
            let new = new.and_then(|new| earliest.run(context, &stamp, || (self.map)(&key, new)).flatten());
            if old.is_some() || new.is_some() {
                output.changes.push(Change { key, old, new, stamp });
            }
        }
        for Update { key, value, stamp } in input.updates {
            let map = |value| earliest.run(context, &stamp, || (self.map)(&key, value));
            let value = value.and_then(map).flatten();
            output.updates.push(Update { key, value, stamp });
        }
        earliest.outcome(context)?;
        Ok(Some(output))
    }
}

struct MapAccess<K, V, E, F> {
    below: Arc<dyn Access<K, V>>,
    map: Arc<F>,
    reason: PhantomData<fn() -> E>,
}

impl<K, V, W, E, F> Access<K, W> for MapAccess<K, V, E, F>
where
    K: Key,
    V: Value,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, V) -> Result<Option<W>, E> + Send + Sync + 'static,
{
    fn look_up(&self, context: &mut Context<'_>, keys: &[Wanted<'_, K>]) -> Result<Vec<Option<W>>, Failure> {
        let rows = self.below.look_up(context, keys)?;
        let mut look = |((key, stamp), row): (&Wanted<'_, K>, Option<V>)| {
            context.at(stamp);
            (self.map)(key, row?).ok().flatten()
        };
        Ok(keys.iter().zip(rows).map(&mut look).collect())
    }

    fn reads(&self) -> Vec<TableIndex> {
        self.below.reads()
    }
}
