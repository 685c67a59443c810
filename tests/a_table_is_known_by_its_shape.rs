//! A table is known by the shape of its keys and values: rows are never read as something that they are not.
//!
//! Property: under the same version another shape is refused, the message names the field, and the state stays as it was;
//! another name of the same shape goes on. Under a raised version the rows of the older one answer if they have the shape
//! of the new, and otherwise nothing does until the new version is built: `Unavailable`, never another value, never
//! `Corrupt`.
//!
//! Method: a state is folded by one graph and opened with another; each pair of types differs in one way. Once a type was
//! known by its name: `Account { paid: 100, owed: 0 }` was answered as `owed: 100` while its fields were exchanged, and a
//! field more was called damage.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use millpond::aggregate::{max, min};
use millpond::codec::{Bincode, Json, Value, ValueCodec};
use millpond::{
    ErrorKind, Graph, GraphBuilder, Key, Result, StoredTable, TableOptions, Topic, View, key_codec,
};
use millpond_support::in_memory::InMemory;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod now {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Account {
        pub(crate) paid: u64,
        pub(crate) owed: u64,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Status {
        Open,
        Closed(u64),
    }
}

/// The same names.
mod later {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Account {
        pub(crate) owed: u64,
        pub(crate) paid: u64,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Status {
        Closed(u64),
        Open,
    }
}

mod more {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Account {
        pub(crate) paid: u64,
        pub(crate) owed: u64,
        #[serde(default)]
        pub(crate) tax: u64,
    }
}

/// The same shape under another name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Balance {
    paid: Cents,
    owed: Cents,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Cents(u64);

/// A changelog with one payment.
fn paid() -> InMemory {
    let place = InMemory::new();
    place.producer(&payments()).unwrap().put(&1, &100).wait_blocking().unwrap();
    place
}

fn payments() -> Topic<u32, u64> {
    Topic::new("payments")
}

/// A table of what `make` makes of each payment.
fn table<V: Value>(store: TableOptions<V>, make: fn(u64) -> V) -> (Graph, StoredTable<u32, V>) {
    let graph = GraphBuilder::new();
    let table = graph.stream(&payments()).map_values(move |_, paid| make(paid)).to_table(store);
    (graph.build().unwrap(), table)
}

fn store<V: Value>(codec: impl ValueCodec<V>, version: u32) -> TableOptions<V> {
    TableOptions::with_codec("accounts", codec).version(version)
}

/// All ways of asking answer that the table is not there yet.
fn is_unavailable<K: Key + std::fmt::Debug, V: Value + std::fmt::Debug>(view: &View<K, V>, key: &K) {
    let scan = || view.scan()?.collect::<Result<Vec<_>>>();
    let answers =
        [view.get(key).map(drop), view.multi_get(std::slice::from_ref(key)).map(drop), scan().map(drop)];
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

/// Rows of `A` are no rows of `B`: refused under the same version with `told`, not read under a raised one.
fn differ<A, B, C>(codec: C, a: fn(u64) -> A, b: fn(u64) -> B, told: &str)
where
    A: Value + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
    B: Value + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
    C: Copy + ValueCodec<A> + ValueCodec<B>,
{
    let place = paid();
    let (before, accounts) = table(store::<A>(codec, 0), a);
    place.fold(&before, 10).unwrap();

    let (same_version, _) = table(store::<B>(codec, 0), b);
    let error = place.stepper(&same_version).expect_err("another shape under the same version");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for part in [told, "`accounts`", "raise the table's version"] {
        assert!(error.message().contains(part), "`{part}` is not in: {error}");
    }
    assert_eq!(place.stepper(&before).unwrap().view(&accounts).unwrap().get(&1).unwrap(), Some(a(100)));

    let (raised, accounts) = table(store::<B>(codec, 1), b);
    let mut stepper = place.stepper(&raised).unwrap();
    let view = stepper.view(&accounts).unwrap();
    is_unavailable(&view, &1);
    while stepper.epoch(10).unwrap() {}
    assert_eq!(view.get(&1).unwrap(), Some(b(100)));
}

/// Rows of `A` are rows of `B`: they go on, and answer under a raised version.
fn agree<A, B, C>(codec: C, a: fn(u64) -> A, b: fn(u64) -> B)
where
    A: Value + PartialEq + std::fmt::Debug,
    B: Value + PartialEq + std::fmt::Debug,
    C: Copy + ValueCodec<A> + ValueCodec<B>,
{
    let place = paid();
    place.fold(&table(store::<A>(codec, 0), a).0, 10).unwrap();
    for version in [0, 1] {
        let (graph, accounts) = table(store::<B>(codec, version), b);
        let stepper = place.stepper(&graph).unwrap();
        let view = stepper.view(&accounts).unwrap();
        assert_eq!((view.is_former(), view.get(&1).unwrap()), (version == 1, Some(b(100))));
    }
}

#[test]
fn fields_that_were_exchanged_are_not_read_as_each_other() {
    let now = |paid| now::Account { paid, owed: 0 };
    differ(Bincode, now, |paid| later::Account { owed: 0, paid }, "field `.owed` stands where `paid` was");
    agree(Json, now, |paid| later::Account { owed: 0, paid });
}

#[test]
fn a_field_more_is_no_damage() {
    let now = |paid| now::Account { paid, owed: 0 };
    let more = |paid| more::Account { paid, owed: 0, tax: 0 };
    differ(Bincode, now, more, "field `.tax` is new");
    differ(Bincode, more, now, "field `.tax` is gone");
    differ(Json, now, more, "field `.tax` is new");
    differ(
        Bincode,
        |paid| Some(vec![paid]),
        |paid| Some(vec![Some(paid)]),
        "`?[]` was `u64` and is `option<u64>`",
    );
}

#[test]
fn variants_that_were_exchanged_are_not_read_as_each_other() {
    differ(Bincode, now::Status::Closed, later::Status::Closed, "variant `::Closed` stands where `Open` was");
    differ(Bincode, |_| now::Status::Open, |_| later::Status::Open, "variant");
}

#[test]
fn the_name_of_a_type_is_no_part_of_it() {
    agree(
        Bincode,
        |paid| now::Account { paid, owed: 0 },
        |paid| Balance { paid: Cents(paid), owed: Cents(0) },
    );
    agree(Json, |paid| now::Account { paid, owed: 0 }, |paid| Balance { paid: Cents(paid), owed: Cents(0) });
    agree(Bincode, |paid| paid, Cents);
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Route {
    origin: u32,
    dest: u32,
}
key_codec!(
    struct Route {
        origin: u32,
        dest: u32,
    }
);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Back {
    dest: u32,
    origin: u32,
}
key_codec!(
    struct Back {
        dest: u32,
        origin: u32,
    }
);

mod first {
    use super::Key;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    pub(crate) enum Stage {
        Placed,
        Paid(u32),
        Shipped(u32),
    }
}

mod then {
    use super::Key;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    pub(crate) enum Stage {
        Placed,
        Cancelled(u32),
        Paid(u32),
    }
}

mod declared {
    use super::key_codec;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) enum Stage {
        Placed,
        Cancelled(u32),
        Paid(u32),
    }
    key_codec!(enum Stage { 0 => Placed, 1 => Cancelled(u32), 2 => Paid(u32) });
}

fn routes<K: Key>(version: u32, key: fn(u32) -> K) -> (Graph, StoredTable<K, u64>) {
    let graph = GraphBuilder::new();
    let keyed = graph.stream(&payments()).group_by(move |origin, _| key(*origin));
    let counts = keyed.count(TableOptions::named("routes").version(version));
    (graph.build().unwrap(), counts)
}

#[test]
fn the_fields_of_keys_are_not_read_as_each_other() {
    let place = paid();
    place.fold(&routes(0, |origin| Route { origin, dest: 2 }).0, 10).unwrap();
    let back = |origin| Back { dest: 2, origin };
    let error = place.stepper(&routes(0, back).0).expect_err("another key under the same version");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.message().contains("key type `(origin:u32,dest:u32)`"), "{error}");
    let (graph, counts) = routes(1, back);
    let mut stepper = place.stepper(&graph).unwrap();
    let view = stepper.view(&counts).unwrap();
    is_unavailable(&view, &back(1));
    while stepper.epoch(10).unwrap() {}
    assert_eq!(view.get(&back(1)).unwrap(), Some(1));
}

/// A row of `Paid` was once answered as `Cancelled`.
#[test]
fn the_variants_of_keys_are_not_read_as_each_other() {
    let place = paid();
    place.fold(&routes(0, first::Stage::Paid).0, 10).unwrap();
    let error =
        place.stepper(&routes(0, then::Stage::Paid).0).expect_err("another key under the same version");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.message().contains("2=Shipped"), "{error}");
    place.stepper(&routes(0, declared::Stage::Paid).0).expect_err("nor as declared");
    let (graph, counts) = routes(1, then::Stage::Paid);
    place.fold(&graph, 10).unwrap();
    let stepper = place.stepper(&routes(1, declared::Stage::Paid).0).unwrap();
    drop(stepper);
    let stepper = place.stepper(&graph).unwrap();
    assert_eq!(stepper.view(&counts).unwrap().get(&then::Stage::Paid(1)).unwrap(), Some(1));
}

/// `top_k` of five once went on with lists of two.
#[test]
fn what_an_operator_knows_of_itself_does_not_change_under_a_version() {
    type Build = fn(&GraphBuilder, TableOptions<Vec<u64>>);
    let described = |build: Build, version: u32| {
        let graph = GraphBuilder::new();
        build(&graph, TableOptions::named("rows").version(version));
        graph.build().unwrap()
    };
    let pairs: [(Build, Build, [&str; 2]); 3] = [
        (
            |graph, rows| drop(graph.stream(&payments()).group_by_key().top_k(rows, 2, |cents| *cents)),
            |graph, rows| drop(graph.stream(&payments()).group_by_key().top_k(rows, 5, |cents| *cents)),
            ["`top_k(2)`", "`top_k(5)`"],
        ),
        (
            |graph, rows| {
                let grouped = graph.table(&payments(), "payments").group_by(|key, cents| (*key, *cents));
                drop(grouped.top_k(rows, 2, |cents| *cents));
            },
            |graph, rows| {
                let grouped = graph.table(&payments(), "payments").group_by(|key, cents| (*key, *cents));
                drop(grouped.top_k(rows, 3, |cents| *cents));
            },
            ["`top_k(2)`", "`top_k(3)`"],
        ),
        (
            |graph, rows| {
                let table = graph.table(&payments(), "payments");
                drop(table.foreign_join(&table, rows, |key, _| *key, |_, a, b| vec![*a, *b]));
            },
            |graph, rows| {
                let table = graph.table(&payments(), "payments");
                drop(table.foreign_left_join(&table, rows, |key, _| *key, |_, a, _| vec![*a]));
            },
            ["`foreign_join`", "`foreign_left_join`"],
        ),
    ];
    for (first, then, named) in pairs {
        let place = paid();
        place.fold(&described(first, 0), 10).unwrap();
        place.stepper(&described(first, 0)).unwrap();
        let error = place.stepper(&described(then, 0)).expect_err("another fold under the same version");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        for part in named {
            assert!(error.message().contains(part), "{error}");
        }
        place.stepper(&described(then, 1)).unwrap();
    }
}

/// Aggregates, too, and beside what the user says of the fold.
#[test]
fn an_aggregate_is_known_by_what_it_is() {
    let sums = |said: &str, least: bool| {
        let graph = GraphBuilder::new();
        let options = TableOptions::<Option<u64>>::named("extremes");
        let options = if said.is_empty() { options } else { options.fold_id(said) };
        let grouped = graph.stream(&payments()).group_by_key();
        if least {
            grouped.aggregate(options, min(|cents: &u64| *cents));
        } else {
            grouped.aggregate(options, max(|cents: &u64| *cents));
        }
        graph.build().unwrap()
    };
    let place = paid();
    place.fold(&sums("", true), 10).unwrap();
    for (said, least, fits) in
        [("", false, false), ("a", false, false), ("a", true, true), ("b", true, false), ("", true, true)]
    {
        let opened = place.stepper(&sums(said, least));
        assert_eq!(opened.is_ok(), fits, "`{said}`, {least}");
    }
}
