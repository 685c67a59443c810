//! Links: the rows of a table at the shards of other keys, which they name.
//!
//! A row that names another key than before leaves the old one and joins the new one, in this order. A deleted row leaves.
//! A row may name nobody; such rows, if they are wanted at all, stay on the shard of their own key. If every update of
//! what derives from the links counts, every step of a row is carried through, otherwise only what became of it. Where it
//! cannot be said whom a row names, the record fails that made the row so; what such a row was before, it named nobody.

use super::Table;
use super::access::Access;
use super::history::{self, Step};
use crate::earliest::Earliest;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Changes, Context, Event, Exchange, Failure};
use millpond_engine::graph::NodeRef;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

/// A row at the shard of a key that it names: what it is now, while it names this key.
#[derive(Clone)]
pub(super) struct Linked<K, V> {
    pub(super) key: K,
    pub(super) new: Option<V>,
}

/// What a link node puts out.
pub(super) type Links<F, K, V> = Vec<Event<Option<F>, Linked<K, V>>>;

/// Sends the rows of `table` to the shards of the keys that `name` takes from them, for the step `label`.
pub(super) fn link<K: Key, V: Value, F: Key, E: Display + 'static>(
    label: &'static str,
    table: &Table<K, V>,
    name: impl Fn(&K, &V) -> Result<Option<F>, E> + Send + Sync + 'static,
    keeps_unnamed: bool,
) -> NodeRef<Links<F, K, V>> {
    let link = Link { access: Arc::clone(&table.access), name, keeps_unnamed, reason: PhantomData };
    let reads = table.access.reads();
    let node = table.builder.exchange(label, table.node, &reads, link);
    // It looks for rows that the epoch has touched.
    table.builder.reads_kept_rows(node);
    node
}

/// The links of rows that name a key, and of those that name nobody.
pub(super) struct Parted<F, K, V> {
    pub(super) named: Vec<Event<F, Linked<K, V>>>,
    /// By the keys of the rows.
    pub(super) unnamed: Vec<Event<K, Option<V>>>,
}

/// Parts links, in their order.
pub(super) fn part<F, K, V>(links: Links<F, K, V>) -> Parted<F, K, V> {
    let mut parted = Parted { named: Vec::with_capacity(links.len()), unnamed: Vec::new() };
    for Event { key, value, stamp } in links {
        match key {
            Some(key) => parted.named.push(Event { key, value, stamp }),
            None => parted.unnamed.push(Event { key: value.key, value: value.new, stamp }),
        }
    }
    parted
}

struct Link<K, V, N, E> {
    access: Arc<dyn Access<K, V>>,
    name: N,
    /// Whether rows that name nobody go on.
    keeps_unnamed: bool,
    reason: PhantomData<fn() -> E>,
}

impl<K, V, F, N, E> Exchange for Link<K, V, N, E>
where
    K: Key,
    V: Value,
    F: Key,
    N: Fn(&K, &V) -> Result<Option<F>, E> + Send + Sync + 'static,
    E: Display + 'static,
{
    type Input = (Changes<K, V>,);
    type Item = Event<Option<F>, Linked<K, V>>;

    fn route(
        &self,
        context: &mut Context<'_>,
        (changes,): Self::Input,
    ) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let mut starts = None;
        let steps = history::steps(context, &*self.access, &changes, &mut starts)?;
        let (router, here) = (context.router(), context.shard());
        let mut parts: Vec<Links<F, K, V>> = (0..router.shards()).map(|_| Vec::new()).collect();
        let mut send = |named: Option<F>, key: &K, new: Option<&V>, stamp| {
            if named.is_none() && !self.keeps_unnamed {
                return;
            }
            let shard = named.as_ref().map_or(here, |named| router.shard(named));
            if let Some(part) = parts.get_mut(shard) {
                part.push(Event { key: named, value: Linked { key: key.clone(), new: new.cloned() }, stamp });
            }
        };
        let mut earliest = Earliest::default();
        for Step { key, old, new, stamp } in steps {
            context.at(&stamp);
            let before = old.and_then(|row| (self.name)(key, row).ok());
            let now = new.and_then(|row| earliest.run(context, &stamp, || (self.name)(key, row)));
            if let Some(before) = before.filter(|before| now.as_ref() != Some(before)) {
                send(before, key, None, stamp.branch(0));
            }
            if let Some(now) = now {
                send(now, key, new, stamp.branch(1));
            }
        }
        earliest.outcome(context)?;
        Ok(parts)
    }
}
