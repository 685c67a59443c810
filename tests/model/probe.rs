//! Asks a table in every way there is, and compares each answer with the rows it should have.

use super::graph::{self, Handle, Stored};
use super::{K, Rows, V};
use millpond::testing::Driver;
use millpond::{Result, Snapshot, StoredTable, TableSnapshot, View};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Debug;
use std::ops::Bound;

/// What to ask for.
#[derive(Debug, Clone)]
pub struct Probe {
    keys: Vec<K>,
    from: Bound<K>,
    to: Bound<K>,
    prefix: u8,
    /// From which end of a scan to take the next row, again and again.
    from_back: Vec<bool>,
}

pub fn key() -> impl Strategy<Value = K> {
    (0..4_u8, 0..4_u8)
}

fn bound() -> impl Strategy<Value = Bound<K>> {
    prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)]
}

pub fn probe() -> impl Strategy<Value = Probe> {
    (vec(key(), 0..4), bound(), bound(), 0..4_u8, vec(any::<bool>(), 1..5))
        .prop_map(|(keys, from, to, prefix, from_back)| Probe { keys, from, to, prefix, from_back })
}

/// Does `$body` with the table and what makes its values comparable.
macro_rules! with_table {
    ($stored:expr, $table:ident, $conv:ident => $body:expr) => {
        match $stored {
            Stored::Plain($table) => {
                let $conv = |value: V| value;
                $body
            }
            Stored::Count($table) => {
                let $conv = graph::of_count;
                $body
            }
            Stored::Reduced($table) => {
                let $conv = std::convert::identity::<super::V>;
                $body
            }
            Stored::Max($table) => {
                let $conv = graph::of_max;
                $body
            }
            Stored::Top($table) => {
                let $conv = graph::of_top;
                $body
            }
        }
    };
}

impl Handle {
    /// All rows.
    pub fn rows(&self, driver: &Driver) -> Result<Rows> {
        with_table!(&self.table, table, conv => {
            Ok(driver.table(table)?.into_iter().map(|(key, value)| (key, conv(value))).collect())
        })
    }

    /// How many rows the table says it has.
    pub fn count(&self, driver: &Driver) -> Result<u64> {
        with_table!(&self.table, table, _conv => driver.view(table)?.count())
    }

    /// Whether the table answers with rows of its own, with those of an older version, or not yet.
    pub fn is_live(&self, driver: &Driver) -> Result<bool> {
        with_table!(&self.table, table, _conv => Ok(driver.view(table)?.is_live()))
    }

    pub fn is_former(&self, driver: &Driver) -> Result<bool> {
        with_table!(&self.table, table, _conv => Ok(driver.view(table)?.is_former()))
    }

    /// Asks for `probe` and compares the answers with `expected`.
    pub fn probe(&self, driver: &Driver, expected: &Rows, probe: &Probe) -> Result<(), String> {
        with_table!(&self.table, table, conv => {
            let view = view(driver, table)?;
            ask_view(&view, conv, expected, probe)?;
            let snapshot = driver.snapshot().and_then(|snapshot| snapshot.of(&view)).map_err(failed)?;
            ask_snapshot(&snapshot, conv, expected, probe)
        })
        .map_err(|error| format!("{}: {error}", self.name))
    }

    /// The rows of the table in a snapshot of all.
    pub fn rows_in(&self, driver: &Driver, snapshot: &Snapshot) -> Result<Box<dyn Fn() -> Result<Rows>>> {
        with_table!(&self.table, table, conv => {
            let table = snapshot.of(&driver.view(table)?)?;
            Ok(Box::new(move || table.scan().map(|row| row.map(|(key, value)| (key, conv(value)))).collect()))
        })
    }
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn view<X: Clone + Send + Sync + 'static>(
    driver: &Driver,
    table: &StoredTable<K, X>,
) -> Result<View<K, X>, String> {
    driver.view(table).map_err(failed)
}

fn same<T: PartialEq + Debug>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

fn ask_view<X: Clone + Send + Sync + 'static>(
    view: &View<K, X>,
    conv: impl Fn(X) -> V + Copy,
    expected: &Rows,
    probe: &Probe,
) -> Result<(), String> {
    let pick = |keys: &[K]| keys.iter().map(|key| expected.get(key).copied()).collect::<Vec<_>>();
    for key in &probe.keys {
        let got = view.get(key).map_err(failed)?.map(conv);
        same(&format!("get {key:?}"), &expected.get(key).copied(), &got)?;
        same("contains", &expected.contains_key(key), &view.contains(key).map_err(failed)?)?;
    }
    let got = view.multi_get(&probe.keys).map_err(failed)?;
    same("multi_get", &pick(&probe.keys), &got.into_iter().map(|value| value.map(conv)).collect())?;
    same("count", &(expected.len() as u64), &view.count().map_err(failed)?)
}

fn ask_snapshot<X: Clone + Send + Sync + 'static>(
    snapshot: &TableSnapshot<K, X>,
    conv: impl Fn(X) -> V + Copy,
    expected: &Rows,
    probe: &Probe,
) -> Result<(), String> {
    for key in &probe.keys {
        let got = snapshot.get(key).map_err(failed)?.map(conv);
        same(&format!("snapshot get {key:?}"), &expected.get(key).copied(), &got)?;
    }
    same("snapshot count", &(expected.len() as u64), &snapshot.count())?;
    let own = |row: Result<(K, X)>| row.map(|(key, value)| (key, conv(value))).map_err(failed);
    let rows = |keep: &dyn Fn(&K) -> bool| {
        expected.iter().filter(|(key, _)| keep(key)).map(|(key, value)| (*key, *value)).collect::<Vec<_>>()
    };
    let range = (probe.from, probe.to);
    let is_in = |key: &K| std::ops::RangeBounds::contains(&range, key);
    let in_range = rows(&is_in);
    let got = snapshot.range(range).map(own).collect::<Result<Vec<_>, _>>()?;
    same("range", &in_range, &got)?;
    let prefixed = rows(&|key| key.0 == probe.prefix);
    let got = snapshot.prefix(&(probe.prefix,)).map(own).collect::<Result<Vec<_>, _>>()?;
    same("prefix", &prefixed, &got)?;
    let backward: Vec<_> = rows(&|_| true).into_iter().rev().collect();
    let got = snapshot.scan().rev().map(own).collect::<Result<Vec<_>, _>>()?;
    same("scan backward", &backward, &got)?;
    // Both ends in turn meet in the middle.
    let mut scan = snapshot.range(range);
    let mut left: std::collections::VecDeque<_> = in_range.into();
    for from_back in probe.from_back.iter().cycle() {
        let (expected, got) =
            if *from_back { (left.pop_back(), scan.next_back()) } else { (left.pop_front(), scan.next()) };
        let got = got.map(own).transpose()?;
        same("scan from both ends", &expected, &got)?;
        if got.is_none() {
            break;
        }
    }
    Ok(())
}
