//! A table under other keys.
//!
//! Where several rows claim one new key, the one with the least old key has it; when that goes, or claims another key, the
//! next one is seen. So the result is a function of the rows that there are, not of the order in which they came: an index
//! keeps all claims, by (new key, old key). A deleted row gives its claim up. A row whose new key changes gives up the
//! old one and claims the new one, in one change. Repeated keys arrive as one change per epoch, unless every
//! update of the result counts: then every step is told. Late timestamps play no part. Empty input changes nothing.

use super::first::{Before, End, First};
use super::foreign::ForeignStore;
use super::link::{self, Linked, Links};
use super::{StoredTable, Table};
use millpond_engine::Result;
use millpond_engine::codec::{Bincode, Key, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Failure, Operator, Stamp};
use millpond_engine::graph::{Interleaving, TableOptions, TableRef};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Display;

impl<K: Key, V: Value> Table<K, V> {
    /// The same rows under the keys that `key` takes from them.
    ///
    /// Of several rows with one new key, the one with the least old key is seen; the next one is when that goes. So the result
    /// depends on which rows there are, and not on the order in which they came. A deleted row gives its new key up, and a
    /// row whose new key changes gives up the old one and claims the new one, in one change. To fold
    /// all of them, or to choose by something else, [`group_by`](Self::group_by) the table.
    ///
    /// The result is stored in the table `store`, all rows once more in the table `<store>.index`, and the keys that more
    /// than one row claims, with how many do and which is seen, in `<store>.claims`.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let users = Topic::<u64, String>::new("users");
    /// let graph = GraphBuilder::new();
    /// let by_mail = graph.table(&users, "users").map_values(|id, mail| (*id, mail)).re_key("by_mail", |_, row| row.1.clone());
    /// let ids = by_mail.map_values(|_, (id, _)| id).materialize("ids");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&users, 7, "ada@example.org".to_owned(), 0)?;
    /// driver.put(&users, 3, "ada@example.org".to_owned(), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&ids)?, [("ada@example.org".to_owned(), 3)].into());
    /// driver.put(&users, 3, "bob@example.org".to_owned(), 0)?;
    /// driver.run()?;
    /// let expected = [("ada@example.org".to_owned(), 7), ("bob@example.org".to_owned(), 3)];
    /// assert_eq!(driver.table(&ids)?, expected.into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "selectKey")]
    pub fn re_key<L: Key>(
        &self,
        store: impl Into<ForeignStore<V, V>>,
        key: impl Fn(&K, &V) -> L + Send + Sync + 'static,
    ) -> StoredTable<L, V> {
        re_key(self, store.into(), move |old, row| Ok::<_, Infallible>(key(old, row)))
    }
}

/// The rows of `table` under other keys.
pub(super) fn re_key<K: Key, V: Value, L: Key, E: Display + 'static>(
    table: &Table<K, V>,
    store: ForeignStore<V, V>,
    key: impl Fn(&K, &V) -> Result<L, E> + Send + Sync + 'static,
) -> StoredTable<L, V> {
    let (builder, (result, index)) = (&table.builder, store.into_parts());
    let name = format!("{}.claims", result.name());
    let claims = TableOptions::with_codec(&name, Bincode).version(result.table_version());
    let operator: ReKey<K, V, L> = ReKey {
        index: builder.table("index", index),
        claims: builder.table("claims", claims),
        table: builder.table("re_key", result),
    };
    let links = link::link("re_key", table, move |old, row| key(old, row).map(Some), false);
    let table = operator.table;
    let writes = [operator.index.index(), operator.claims.index(), table.index()];
    let node = builder.operator("re_key", links, &writes, &[], operator);
    builder.interleaving(node, Interleaving::Commutes);
    StoredTable::from_node(builder, node, table)
}

struct ReKey<K, V, L> {
    index: TableRef<(L, K), V>,
    /// The claims of a key, if more than one row claims it.
    claims: TableRef<L, Claims>,
    table: TableRef<L, V>,
}

/// How many rows claim a key, and which of them is seen: its old key as the key codec writes it. None that claims the key
/// stands before that one in the index, and none is looked for there: what was deleted may not be cleared away yet.
type Claims = (u64, Vec<u8>);

/// A row that claims a key, or gives it up: its claim before and after.
struct Claim<K, V, L> {
    wanted: L,
    key: K,
    stamp: Stamp,
    old: Option<V>,
    new: Option<V>,
}

impl<K: Key, V: Value, L: Key> Operator for ReKey<K, V, L> {
    type Input = (Links<L, K, V>,);
    type Output = Changes<L, V>;

    fn run(&self, context: &mut Context<'_>, (links,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let links = link::part(links);
        let claims = self.claim(context, links.named)?;
        let mut wanted: BTreeMap<&L, Vec<&Claim<K, V, L>>> = BTreeMap::new();
        for claim in &claims {
            wanted.entry(&claim.wanted).or_default().push(claim);
        }
        let (table, counts) = (context.table(&self.table)?, context.table(&self.claims)?);
        let keys: Vec<&L> = wanted.keys().copied().collect();
        let rows = table.look_up(context, &keys)?;
        let counted = counts.look_up(context, &keys)?;
        let mut before = Before::new(&self.index);
        let every = context.detail() == Detail::Updates || table.may_refuse();
        let mut told = Told { rows: Vec::with_capacity(keys.len()), claims: Vec::new() };
        for (((wanted, steps), row), count) in wanted.into_iter().zip(rows).zip(counted) {
            let claims = count.unwrap_or_else(|| (u64::from(row.is_some()), Vec::new()));
            tell(context, &mut before, (wanted, &steps), &claims, every, &mut told)?;
        }
        counts.fold(context, told.claims, Detail::Changes, |_, row, claims| *row = claims)?;
        let record = context.detail();
        let updates = table.fold(context, told.rows, record, |_, row, new| *row = new)?;
        if !context.is_read() {
            return Ok(None);
        }
        Ok(Some(table.changes(context, updates)?))
    }
}

impl<K: Key, V: Value, L: Key> ReKey<K, V, L> {
    /// Keeps the claims, and tells what each was.
    fn claim(
        &self,
        context: &mut Context<'_>,
        links: Vec<Event<L, Linked<K, V>>>,
    ) -> Result<Vec<Claim<K, V, L>>, Failure> {
        let mut claims = Vec::with_capacity(links.len());
        let mut events = Vec::with_capacity(links.len());
        for Event { key: wanted, value: Linked { key, new }, stamp } in links {
            events.push(Event {
                key: (wanted.clone(), key.clone()),
                value: (claims.len(), new.clone()),
                stamp,
            });
            claims.push(Claim { wanted, key, stamp, old: None, new });
        }
        context.table(&self.index)?.fold(context, events, Detail::Changes, |_, row, (at, new)| {
            let old = std::mem::replace(row, new);
            if let Some(claim) = claims.get_mut(at) {
                claim.old = old;
            }
        })?;
        Ok(claims)
    }
}

/// What becomes of the new keys.
struct Told<V, L> {
    rows: Vec<Event<L, Option<V>>>,
    claims: Vec<Event<L, Option<Claims>>>,
}

/// The row of `wanted` after the steps of the epoch, or after `every` one of them; before, it had the claims that are given.
fn tell<K: Key, V: Value, L: Key>(
    context: &mut Context<'_>,
    before: &mut Before<'_, L, K, V>,
    (wanted, steps): (&L, &[&Claim<K, V, L>]),
    (count, seen): &Claims,
    every: bool,
    told: &mut Told<V, L>,
) -> Result<(), Failure> {
    let mut first: First<K, V> = First::new(End::Least);
    let mut touched: BTreeSet<&K> = BTreeSet::new();
    let count = *count;
    let seen = K::decode_whole_key(seen).ok();
    let (mut known, mut now, mut least) = (0, count, None);
    for claim in steps {
        if touched.insert(&claim.key) {
            known += u64::from(claim.old.is_some());
            first.set(&claim.key, claim.old.clone());
        }
    }
    // Mostly nobody else claims the key, and nothing is to be read.
    first.know(Vec::new(), known >= count);
    for (number, claim) in steps.iter().enumerate() {
        now = (now + u64::from(claim.new.is_some())).saturating_sub(u64::from(claim.old.is_some()));
        first.set(&claim.key, claim.new.clone());
        if !every && number + 1 < steps.len() {
            continue;
        }
        context.at(&claim.stamp);
        let value = loop {
            if let Some(rows) = first.rows(1, |_| 1) {
                let (key, row) = rows.first().map(|&(key, row, _)| (key.clone(), row.clone())).unzip();
                least = key;
                break row;
            }
            let others = before.read(context, wanted, (End::Least, seen.as_ref()), &touched, 1, |_| 1)?;
            first.know(others, true);
        };
        told.rows.push(Event { key: wanted.clone(), value, stamp: claim.stamp });
    }
    if let Some(last) = steps.last().filter(|_| count > 1 || now > 1) {
        let claims = least.filter(|_| now > 1).map(|key| {
            let mut seen = Vec::new();
            key.encode_key(&mut seen);
            (now, seen)
        });
        told.claims.push(Event { key: wanted.clone(), value: claims, stamp: last.stamp });
    }
    Ok(())
}
