//! Where the rows of the left table meet those of the right one: on the shard of the key that they name.

use crate::earliest::Earliest;
use crate::table::access::{Access, Wanted};
use crate::table::history::{self, Numbering, Starts};
use crate::table::link::{self, Linked, Links, Parted};
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Event, Failure, Operator, Stamp, Update};
use millpond_engine::graph::TableRef;
use millpond_engine::state::Detail;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

/// Keeps the index, and joins what changed on either side.
pub(super) struct Meet<K, V, F, T, J, E> {
    pub(super) index: TableRef<(F, K), V>,
    pub(super) right: Arc<dyn Access<F, T>>,
    pub(super) join: J,
    pub(super) reason: PhantomData<fn() -> E>,
}

impl<K, V, F, T, W, J, E> Operator for Meet<K, V, F, T, J, E>
where
    K: Key,
    V: Value,
    F: Key,
    T: Value,
    W: Value,
    J: Fn(&K, &V, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
    E: Display + 'static,
{
    type Input = (Links<F, K, V>, Changes<F, T>);
    type Output = Vec<Event<K, Option<W>>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (links, changes): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let Parted { named: links, unnamed } = link::part(links);
        let mut earliest = Earliest::default();
        let mut results = if context.detail() == Detail::Updates {
            self.meet_step_by_step(context, &mut earliest, &links, &changes)?
        } else {
            self.meet(context, &mut earliest, &links, &changes.changes)?
        };
        for Event { key, value: new, stamp } in unnamed {
            let join = |row: V| earliest.run(context, &stamp, || (self.join)(&key, &row, None)).flatten();
            let value = new.and_then(join);
            results.push(Event { key, value, stamp });
        }
        earliest.outcome(context)?;
        let rows = links
            .into_iter()
            .map(|Event { key, value, stamp }| Event { key: (key, value.key), value: value.new, stamp })
            .collect();
        context.table(&self.index)?.fold(context, rows, Detail::Changes, |_, row, new| *row = new)?;
        Ok(Some(results))
    }
}

impl<K, V, F, T, J, E> Meet<K, V, F, T, J, E>
where
    K: Key,
    V: Value,
    F: Key,
    T: Value,
    E: Display,
{
    /// The results at the end of the epoch.
    fn meet<W>(
        &self,
        context: &mut Context<'_>,
        earliest: &mut Earliest,
        links: &[Event<F, Linked<K, V>>],
        changes: &[Change<F, T>],
    ) -> Result<Vec<Event<K, Option<W>>>, Failure>
    where
        J: Fn(&K, &V, Option<&T>) -> Result<Option<W>, E>,
    {
        let partners: HashMap<&F, Option<&T>> =
            changes.iter().map(|change| (&change.key, change.new.as_ref())).collect();
        let wanted = links.iter().map(|link| (&link.key, &link.stamp));
        let unchanged: Vec<Wanted<'_, F>> = wanted.filter(|(key, _)| !partners.contains_key(key)).collect();
        let mut rows = self.right.look_up(context, &unchanged)?.into_iter();
        let mut results: Vec<Event<K, Option<W>>> = Vec::with_capacity(links.len());
        let mut touched: BTreeSet<(&F, &K)> = BTreeSet::new();
        for Event { key: named, value: linked, stamp } in links {
            touched.insert((named, &linked.key));
            let looked_up;
            let partner = if let Some(partner) = partners.get(named) {
                *partner
            } else {
                looked_up = rows.next().flatten();
                looked_up.as_ref()
            };
            let mut join = |row| earliest.run(context, stamp, || (self.join)(&linked.key, row, partner));
            let result = linked.new.as_ref().and_then(|row| join(row).flatten());
            results.push(Event { key: linked.key.clone(), value: result, stamp: *stamp });
        }
        let mut encoded = Vec::new();
        if changes.is_empty() {
            return Ok(results);
        }
        let before = context.table_before(&self.index)?;
        for Change { key: named, new, stamp, .. } in changes {
            let rows = before.prefix(&(named.clone(),)).collect::<Result<Vec<_>>>()?;
            context.charge::<((F, K), V)>(rows.len())?;
            for ((_, key), row) in rows {
                if touched.contains(&(named, &key)) {
                    continue;
                }
                let stamp = history::of_key(*stamp, &key, &mut encoded);
                let value = earliest.run(context, &stamp, || (self.join)(&key, &row, new.as_ref())).flatten();
                results.push(Event { key, value, stamp });
            }
        }
        Ok(results)
    }

    /// The results after every link and every update of the right table.
    fn meet_step_by_step<W>(
        &self,
        context: &mut Context<'_>,
        earliest: &mut Earliest,
        links: &[Event<F, Linked<K, V>>],
        changes: &Changes<F, T>,
    ) -> Result<Vec<Event<K, Option<W>>>, Failure>
    where
        J: Fn(&K, &V, Option<&T>) -> Result<Option<W>, E>,
    {
        let partners = changes.updates.iter().map(|update| (&update.key, &update.stamp));
        let named = links.iter().map(|link| (&link.key, &link.stamp)).chain(partners);
        let starts = Starts::with(context, &*self.right, changes, named.clone())?;
        let mut pairs: BTreeMap<(F, K), Pair<'_, V>> = BTreeMap::new();
        if links.is_empty() && changes.updates.is_empty() {
            return Ok(Vec::new());
        }
        let before = context.table_before(&self.index)?;
        for named in named.map(|(named, _)| named).collect::<BTreeSet<&F>>() {
            let rows = before.prefix(&(named.clone(),)).collect::<Result<Vec<_>>>()?;
            context.charge::<((F, K), V)>(rows.len())?;
            for (pair, row) in rows {
                pairs.insert(pair, Pair { row: Some(row), links: Vec::new() });
            }
        }
        for Event { key: named, value: linked, stamp } in links {
            let pair = pairs.entry((named.clone(), linked.key.clone())).or_default();
            pair.links.push((*stamp, linked.new.as_ref()));
        }
        let mut by_partner: HashMap<&F, Vec<&Update<F, T>>> = HashMap::new();
        for update in &changes.updates {
            by_partner.entry(&update.key).or_default().push(update);
        }
        let mut results = Vec::new();
        for ((named, key), pair) in &pairs {
            let updates = by_partner.get(named).map_or(&[][..], Vec::as_slice);
            let partner = Partner { start: starts.row(named), updates };
            self.replay(context, earliest, (key, pair), &partner, &mut results)?;
        }
        Ok(results)
    }

    /// The results of one left row and one partner, in the order of their stamps.
    fn replay<W>(
        &self,
        context: &mut Context<'_>,
        earliest: &mut Earliest,
        (key, pair): (&K, &Pair<'_, V>),
        &Partner { start, updates }: &Partner<'_, F, T>,
        results: &mut Vec<Event<K, Option<W>>>,
    ) -> Result<(), Failure>
    where
        J: Fn(&K, &V, Option<&T>) -> Result<Option<W>, E>,
    {
        let mut encoded = Vec::new();
        let mut moves: Vec<(Stamp, Move<'_, V, T>)> = Vec::with_capacity(pair.links.len() + updates.len());
        moves.extend(pair.links.iter().map(|(stamp, row)| (*stamp, Move::Row(*row))));
        let mut numbering = Numbering::default();
        moves.extend(updates.iter().map(|update| {
            let stamp = numbering.next(update.stamp, key, &mut encoded);
            (stamp, Move::Partner(update.value.as_ref()))
        }));
        moves.sort_by_key(|(stamp, _)| *stamp);
        let (mut row, mut partner) = (pair.row.as_ref(), start);
        // A partner that many rows name and that moves many times has the product of them.
        context.charge::<Event<K, Option<W>>>(moves.len())?;
        for (stamp, moved) in moves {
            match moved {
                Move::Row(now) => row = now,
                Move::Partner(now) => partner = now,
            }
            // Whoever does not name the partner any more has a result elsewhere.
            if row.is_some() || matches!(moved, Move::Row(_)) {
                let mut join = |row| earliest.run(context, &stamp, || (self.join)(key, row, partner));
                let value = row.and_then(|row| join(row).flatten());
                results.push(Event { key: key.clone(), value, stamp });
            }
        }
        Ok(())
    }
}

/// A left row at one foreign key: what it was when the epoch began, and what became of it.
struct Pair<'l, V> {
    row: Option<V>,
    links: Vec<(Stamp, Option<&'l V>)>,
}

impl<V> Default for Pair<'_, V> {
    fn default() -> Self {
        Self { row: None, links: Vec::new() }
    }
}

/// One side of a pair moves.
enum Move<'m, V, T> {
    Row(Option<&'m V>),
    Partner(Option<&'m T>),
}

/// What the partner of a pair was when the epoch began, and what became of it.
struct Partner<'u, F, T> {
    start: Option<&'u T>,
    updates: &'u [&'u Update<F, T>],
}
