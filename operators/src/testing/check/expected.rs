//! What a table of a graph that is checked should hold.

use crate::testing::laws::agree;
use crate::testing::{Driver, Input};
use millpond_engine::codec::{Key, Value};
use millpond_engine::query::Stored;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};

/// A table with its model.
pub(super) trait Expected {
    /// Says how the table differs from its model, if it does.
    fn agrees(&self, driver: &Driver, input: &Input) -> Result<(), String>;
    /// Says how the table differs between two runs, if it does.
    fn same(&self, one: &Driver, other: &Driver) -> Result<(), String>;
}

pub(super) struct Model<T, F> {
    pub(super) table: T,
    pub(super) model: F,
}

impl<T, F> Expected for Model<T, F>
where
    T: Stored<Key: Key + Debug, Value: Value + PartialEq + Debug>,
    F: Fn(&Input) -> BTreeMap<T::Key, T::Value>,
{
    fn agrees(&self, driver: &Driver, input: &Input) -> Result<(), String> {
        let rows = driver.table(&self.table).map_err(failed)?;
        agree(&(self.model)(input), &rows).map_err(|difference| {
            format!("at {}, {}: {difference}", input.position(), name(driver, &self.table))
        })?;
        let view = driver.view(&self.table).map_err(failed)?;
        let counted = view.count().map_err(failed)?;
        agree(&(rows.len() as u64), &counted).map_err(|difference| {
            format!("the number of rows of {}: {difference}", name(driver, &self.table))
        })?;
        for (key, value) in rows {
            let got = view.get(&key).map_err(failed)?;
            agree(&Some(value), &got).map_err(|difference| {
                format!("key {key:?} of {}: {difference}", name(driver, &self.table))
            })?;
        }
        Ok(())
    }

    fn same(&self, one: &Driver, other: &Driver) -> Result<(), String> {
        same(&self.table, one, other)
    }
}

/// A table without a model.
pub(super) struct Repeatable<T>(pub(super) T);

impl<T: Stored<Key: Key + Debug, Value: Value + PartialEq + Debug>> Expected for Repeatable<T> {
    fn agrees(&self, _driver: &Driver, _input: &Input) -> Result<(), String> {
        Ok(())
    }

    fn same(&self, one: &Driver, other: &Driver) -> Result<(), String> {
        same(&self.0, one, other)
    }
}

fn same<T>(table: &T, one: &Driver, other: &Driver) -> Result<(), String>
where
    T: Stored<Key: Key + Debug, Value: Value + PartialEq + Debug>,
{
    let driver = one;
    let [one, other] = [one, other].map(|driver| driver.table(table).map_err(failed));
    agree(&one?, &other?).map_err(|difference| {
        format!("the same steps led to another {}: {difference}; {NOT_DETERMINISTIC}", name(driver, table))
    })
}

pub(super) const NOT_DETERMINISTIC: &str =
    "user code depends on something other than its arguments, or on the order of partitions";

fn name<T: Stored>(driver: &Driver, table: &T) -> String {
    driver.view(table).map_or_else(|_| "a table".to_owned(), |view| format!("table `{}`", view.name()))
}

pub(super) fn failed(error: impl fmt::Display) -> String {
    error.to_string()
}
