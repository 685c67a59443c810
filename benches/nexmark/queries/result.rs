//! What a query comes to: a table, or all that a stream tells.

use crate::digest::{Digest, hash};
use millpond::aggregate::Fold;
use millpond::codec::{Key, Value};
use millpond::{Engine, Result, Stepper, Stored, StoredTable, Stream, View};
use std::hash::Hash;

/// Over how many rows the sum of a stream is spread, so that shards share the work.
const SUMS: u64 = 64;

/// Whoever runs a graph.
#[allow(dead_code, reason = "the benchmark starts engines, and tests go step by step as well")]
#[derive(Clone, Copy)]
pub(crate) enum Running<'a> {
    Engine(&'a Engine),
    Stepper(&'a Stepper),
}

impl Running<'_> {
    fn view<T: Stored>(self, table: &T) -> Result<View<T::Key, T::Value>> {
        match self {
            Self::Engine(engine) => engine.view(table),
            Self::Stepper(stepper) => stepper.view(table),
        }
    }
}

type Summed = Box<dyn Fn(Running<'_>) -> Result<Digest> + Send>;
type Looked = Box<dyn Fn(&Engine) -> Result<Lookup> + Send>;

/// Looks a row up that a random number stands for; whether it is there.
pub(crate) type Lookup = Box<dyn FnMut(u64) -> Result<bool> + Send>;

/// How the answers of a query are read.
pub(crate) struct Answers {
    digest: Summed,
    lookup: Looked,
}

impl Answers {
    /// The rows of `table`; `key` makes a key of any number, which should be there more often than not.
    pub(crate) fn table<K: Key, V: Value + Hash>(
        table: &StoredTable<K, V>,
        key: impl Fn(u64) -> K + Clone + Send + 'static,
    ) -> Self {
        let (scanned, asked) = (table.clone(), table.clone());
        Self {
            digest: Box::new(move |running| {
                running.view(&scanned)?.scan()?.try_fold(Digest::default(), |mut digest, row| {
                    let (key, value) = row?;
                    digest.add(hash(&key, &value));
                    Ok(digest)
                })
            }),
            lookup: Box::new(move |engine| {
                let (view, key) = (engine.view(&asked)?, key.clone());
                Ok(Box::new(move |number| view.contains(&key(number))))
            }),
        }
    }

    /// Everything that `stream` tells, by what it comes to in any order.
    pub(crate) fn stream<K: Key, V: Value + Hash>(stream: &Stream<K, V>) -> Self {
        let sums = stream
            .map(|key, value| {
                let hash = hash(&key, &value);
                (hash % SUMS, hash)
            })
            .group_by_key()
            .aggregate(
                "sums",
                Fold::new(Digest::default, |sum: &mut Digest, _: &u64, hash| sum.add(hash)).commutative(),
            );
        Self {
            digest: {
                let sums = sums.clone();
                Box::new(move |running| {
                    running.view(&sums)?.scan()?.try_fold(Digest::default(), |mut digest, row| {
                        digest.add_all(row?.1);
                        Ok(digest)
                    })
                })
            },
            ..Self::table(&sums, |number| number % SUMS)
        }
    }

    /// The counts of `table`, by what each of `whose` was counted in all rows together.
    pub(crate) fn counts<K: Key, W: Hash>(
        table: &StoredTable<K, u64>,
        whose: impl Fn(&K) -> W + Send + 'static,
        key: impl Fn(u64) -> K + Clone + Send + 'static,
    ) -> Self {
        let counts = table.clone();
        Self {
            digest: Box::new(move |running| {
                running.view(&counts)?.scan()?.try_fold(Digest::default(), |mut digest, row| {
                    let (key, count) = row?;
                    digest.add_times(hash(&whose(&key), &()), count);
                    Ok(digest)
                })
            }),
            ..Self::table(table, key)
        }
    }

    /// What all answers come to.
    pub(crate) fn digest(&self, running: Running<'_>) -> Result<Digest> {
        (self.digest)(running)
    }

    /// Reads rows of the query while it runs.
    pub(crate) fn lookup(&self, engine: &Engine) -> Result<Lookup> {
        (self.lookup)(engine)
    }
}
