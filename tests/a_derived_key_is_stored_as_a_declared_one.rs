//! A derived key is stored as a declared one: a table goes from `key_codec!` to `#[derive(Key)]`, and back, with its rows.
//!
//! Property: for the same declaration both have the same bytes, the same names of the layout, and the same prefixes; and a
//! state that was folded under one is opened under the other, asks nothing of its changelog, and answers.
//!
//! Method: each type is declared twice. That the bytes keep the order of `Ord` is a law of every key, which the kit of
//! `millpond::testing` checks.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::codec::{Key, KeyCodec, KeyPrefix};
use millpond::testing::{Driver, laws};
use millpond::{Graph, GraphBuilder, StoredTable, Topic, key_codec};
use proptest::prelude::*;
use std::fmt::Debug;

mod declared {
    use super::key_codec;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) struct Route {
        pub(crate) origin: String,
        pub(crate) dest: String,
        pub(crate) day: i32,
    }
    key_codec!(
        struct Route {
            origin: String,
            dest: String,
            day: i32,
        }
    );

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) struct Tail(pub(crate) String);
    key_codec!(
        struct Tail(String);
    );

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) struct Pair(pub(crate) Tail, pub(crate) Option<u8>);
    key_codec!(struct Pair(Tail, Option<u8>));

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub(crate) enum Event {
        Opened,
        Moved(Route),
        Paid(u32, Pair),
        Closed,
    }
    key_codec!(enum Event { 0 => Opened, 1 => Moved(Route), 7 => Paid(u32, Pair), 8 => Closed });
}

mod derived {
    use millpond::Key;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    pub(crate) struct Route {
        pub(crate) origin: String,
        pub(crate) dest: String,
        pub(crate) day: i32,
    }

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    pub(crate) struct Tail(pub(crate) String);

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    pub(crate) struct Pair(pub(crate) Tail, pub(crate) Option<u8>);

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
    pub(crate) enum Event {
        Opened,
        Moved(Route),
        #[key(tag = 7)]
        Paid(u32, Pair),
        Closed,
    }
}

/// Both of everything, made of the same parts.
macro_rules! both {
    ($module:ident) => {
        impl From<(String, String, i32)> for $module::Route {
            fn from((origin, dest, day): (String, String, i32)) -> Self {
                Self { origin, dest, day }
            }
        }

        impl From<Parts> for $module::Event {
            fn from((kind, text, number, option): Parts) -> Self {
                match kind {
                    0 => Self::Opened,
                    1 => Self::Moved((text.clone(), text, number).into()),
                    2 => Self::Paid(number.unsigned_abs(), $module::Pair($module::Tail(text), option)),
                    _ => Self::Closed,
                }
            }
        }
    };
}

both!(declared);
both!(derived);

type Parts = (u8, String, i32, Option<u8>);

fn parts() -> impl Strategy<Value = Parts> {
    (0_u8..4, "[a\0]{0,3}", -2..2_i32, proptest::option::of(0_u8..2))
}

fn encoded<K: KeyCodec>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode_key(&mut bytes);
    bytes
}

fn prefix<K>(prefix: &impl KeyPrefix<K>) -> Vec<u8> {
    let mut bytes = Vec::new();
    prefix.encode_prefix(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn bytes_are_the_same(parts in parts()) {
        let bytes = encoded(&declared::Event::from(parts.clone()));
        prop_assert_eq!(&encoded(&derived::Event::from(parts.clone())), &bytes);
        prop_assert_eq!(derived::Event::decode_whole_key(&bytes), Ok(derived::Event::from(parts)));
    }

    #[test]
    fn bytes_that_are_no_key_are_no_key_of_either(bytes in proptest::collection::vec(0_u8..9, 0..9)) {
        let (declared, derived) =
            (declared::Event::decode_whole_key(&bytes), derived::Event::decode_whole_key(&bytes));
        prop_assert_eq!(declared.map(|key| encoded(&key)), derived.map(|key| encoded(&key)));
    }

    #[test]
    fn prefixes_are_the_same(origin in "[a\0]{0,3}", dest in "[a\0]{0,3}", day in any::<i32>()) {
        let (origin, dest) = (&*origin, &*dest);
        prop_assert_eq!(prefix::<declared::Route>(&(origin,)), prefix::<derived::Route>(&(origin,)));
        prop_assert_eq!(prefix::<declared::Route>(&(origin, dest)), prefix::<derived::Route>(&(origin, dest)));
        let whole = encoded(&derived::Route::from((origin.to_owned(), dest.to_owned(), day)));
        prop_assert_eq!(prefix::<derived::Route>(&(origin, dest, day)), whole);
    }
}

#[test]
fn the_names_of_the_layout_are_the_same() {
    fn same<A: KeyCodec, B: KeyCodec>() {
        assert_eq!(A::key_schema(), B::key_schema());
        assert_eq!(A::key_shape(), B::key_shape());
    }
    same::<declared::Route, derived::Route>();
    same::<declared::Tail, derived::Tail>();
    same::<declared::Pair, derived::Pair>();
    same::<declared::Event, derived::Event>();
    assert_eq!(derived::Route::key_shape(), "(origin:string,dest:string,day:i32)");
}

#[test]
fn a_derived_key_obeys_the_laws_of_keys() {
    laws::key_codec(parts().prop_map(derived::Event::from));
    laws::key_codec(("[a\0]{0,3}", "[a\0]{0,3}", any::<i32>()).prop_map(derived::Route::from));
}

/// A table whose keys are derived in one version of a service and declared in the other.
fn counts<K: Key + From<Parts>>() -> (Graph, Topic<K, u64>, StoredTable<K, u64>) {
    let events = Topic::<K, u64>::new("events");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&events).group_by_key().count("counts");
    (graph.build().unwrap(), events, counts)
}

fn upgraded<A: Key + From<Parts>, B: Key + From<Parts> + Debug>() -> millpond::Result<()> {
    let keys = (0_u8..4).map(|kind| -> Parts { (kind, "a\0".to_owned(), -1, Some(1)) });
    let (graph, events, _) = counts::<A>();
    let mut driver = Driver::new(&graph)?;
    for parts in keys.clone() {
        driver.put(&events, A::from(parts), 0, 0)?;
    }
    driver.run()?;
    let (graph, events, counts) = counts::<B>();
    driver.upgrade(&graph)?;
    assert!(!driver.is_building()?, "the table is the same");
    for parts in keys.clone() {
        assert_eq!(driver.view(&counts)?.get(&B::from(parts.clone()))?, Some(1));
        driver.put(&events, B::from(parts), 0, 0)?;
    }
    driver.run()?;
    assert_eq!(driver.table(&counts)?, keys.map(|parts| (B::from(parts), 2)).collect());
    Ok(())
}

#[test]
fn a_table_goes_from_one_to_the_other() -> millpond::Result<()> {
    upgraded::<declared::Event, derived::Event>()?;
    upgraded::<derived::Event, declared::Event>()
}
