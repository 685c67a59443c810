//! A borrowed key is the key: whatever stands for a key finds, appends and deletes what the key itself does.
//!
//! Property: each borrowed form of a key makes that key, and encodes as it; a table that was written through borrowed keys
//! is the table written through keys, and every question gets the same answer either way.
//!
//! Method: random keys, each in all of its forms. That `get(&key)` needs no other bound than `K: Key`, and a literal no
//! type, is what this file compiles for.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::MemoryChangelog;
use millpond::codec::{AsKey, KeyRange};
use millpond::testing::Driver;
use millpond::{Engine, GraphBuilder, Key, Result, Topic, View};
use proptest::prelude::*;
use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

fn text() -> impl Strategy<Value = String> {
    "[ab\0]{0,3}"
}

/// `form` makes `key`, and encodes as it.
fn is<K: Key + Debug>(form: &(impl AsKey<K> + ?Sized), key: &K) {
    assert_eq!(&*form.as_key(), key);
    let (mut as_key, mut bytes) = (vec![1], vec![1]);
    form.encode_as_key(&mut as_key);
    key.encode_key(&mut bytes);
    assert_eq!(as_key, bytes, "{key:?}");
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
struct Route<T> {
    origin: String,
    day: u16,
    dest: T,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
struct Tail(String);

proptest! {
    #[test]
    fn a_tuple_of_its_fields_stands_for_a_derived_key(origin in text(), day in any::<u16>(), dest in text()) {
        let route = Route { origin: origin.clone(), day, dest: Tail(dest.clone()) };
        is(&route, &route);
        is(&(&*origin, day, Tail(dest.clone())), &route);
        is(&(&origin, &day, &route.dest), &route);
        is(&(&*origin, day, (&*dest,)), &route);
        is(&(&*dest,), &route.dest);
    }

    #[test]
    fn text_and_bytes_stand_for_what_is_made_of_them(key in text(), bytes in any::<[u8; 3]>()) {
        is::<String>(&key, &key);
        is::<String>(&&key, &key);
        is::<String>(&*key, &key);
        is::<String>(&&*key, &key);
        is::<String>(&Cow::Borrowed(&*key), &key);
        is::<String>(&Arc::new(key.clone()), &key);
        is::<Box<str>>(&*key, &key.clone().into());
        is::<Arc<str>>(&*key, &key.clone().into());
        is::<Arc<str>>(&Cow::Borrowed(&*key), &key.clone().into());
        is::<Vec<u8>>(&bytes, &bytes.to_vec());
        is::<Vec<u8>>(&bytes[..], &bytes.to_vec());
        is::<Option<String>>(&Some(&*key), &Some(key.clone()));
        is::<Option<String>>(&None::<&str>, &None);
        is::<[String; 2]>(&[&*key, "b"], &[key.clone(), "b".to_owned()]);
        is::<[String; 2]>(&[&key, &key], &[key.clone(), key.clone()]);
    }

    #[test]
    fn tuples_stand_for_tuples_field_by_field(a in text(), b in any::<u16>(), c in text()) {
        is::<(String,)>(&(&*a,), &(a.clone(),));
        let pair = (a.clone(), b);
        is(&(&*a, b), &pair);
        is(&(&a, &b), &pair);
        is(&(a.clone(), &b), &pair);
        is(&&pair, &pair);
        let triple = (a.clone(), b, c.clone());
        is(&(&*a, b, &*c), &triple);
        is(&(&*a, b, c.clone()), &triple);
        is(&(a.clone(), b, &*c), &triple);
        let six = (a.clone(), b, c.clone(), vec![1_u8], pair.clone(), true);
        is(&(&*a, b, &*c, &[1_u8][..], &pair, true), &six);
        is(&(a.clone(), b, c.clone(), vec![1_u8], pair.clone(), &true), &six);
    }

    #[test]
    fn a_table_answers_alike(rows in proptest::collection::vec((text(), 0_u8..3, any::<bool>()), 0..12)) {
        let topic = Topic::<(String, u8), u64>::new("rows");
        let graph = GraphBuilder::new();
        let table = graph.table(&topic, "table");
        let graph = graph.build().unwrap();
        let (mut owned, mut borrowed) = (Driver::new(&graph).unwrap(), Driver::new(&graph).unwrap());
        for (value, (text, number, delete)) in (0..).zip(&rows) {
            let (key, lent) = ((text.clone(), *number), (&**text, *number));
            if *delete {
                owned.delete(&topic, key, 0).unwrap();
                borrowed.delete(&topic, lent, 0).unwrap();
            } else {
                owned.put(&topic, key, value, 0).unwrap();
                borrowed.put(&topic, lent, value, 0).unwrap();
            }
        }
        owned.run().unwrap();
        borrowed.run().unwrap();
        prop_assert_eq!(owned.table(&table).unwrap(), borrowed.table(&table).unwrap());
        let keys: Vec<(String, u8)> = rows.iter().map(|(text, number, _)| (text.clone(), *number)).collect();
        let lent: Vec<(&str, u8)> = keys.iter().map(|(text, number)| (&**text, *number)).collect();
        let view = owned.view(&table).unwrap();
        let snapshot = view.snapshot().unwrap();
        let found = view.multi_get(&keys).unwrap();
        prop_assert_eq!(&view.multi_get(&lent).unwrap(), &found);
        prop_assert_eq!(&snapshot.multi_get(&lent).unwrap(), &found);
        for (key, lent) in keys.iter().zip(&lent) {
            prop_assert_eq!(view.get(lent).unwrap(), view.get(key).unwrap());
            prop_assert_eq!(snapshot.get(lent).unwrap(), snapshot.get(key).unwrap());
            prop_assert_eq!(view.contains(lent).unwrap(), snapshot.contains(key).unwrap());
        }
        if let [from, .., to] = &lent[..] {
            let rows = |range: &dyn Fn() -> millpond::Scan<(String, u8), u64>| range().map(Result::unwrap).collect::<Vec<_>>();
            let (from_key, to_key) = (keys.first().unwrap(), keys.last().unwrap());
            prop_assert_eq!(rows(&|| snapshot.range(*from..*to)), rows(&|| snapshot.range(from_key..to_key)));
            prop_assert_eq!(rows(&|| snapshot.range(*from..=*to)), rows(&|| snapshot.range(from_key.clone()..=to_key.clone())));
            prop_assert_eq!(rows(&|| snapshot.range(..*to)), rows(&|| snapshot.range(..to_key)));
            let after = (Bound::Excluded(*from), Bound::Unbounded);
            prop_assert_eq!(rows(&|| snapshot.range(after)), rows(&|| snapshot.range((Bound::Excluded(from_key), Bound::Unbounded))));
        }
    }
}

/// What code that is generic over keys can do: it needs no other bound.
fn through_any_key<K: Key>(view: &View<K, u64>, key: &K, keys: &[K]) -> Result<Vec<Option<u64>>> {
    let borrowed: Vec<&K> = keys.iter().collect();
    assert_eq!(view.multi_get(keys)?, view.multi_get(&borrowed)?);
    assert_eq!(view.range(key..=key)?.count(), usize::from(view.contains(key)?));
    assert_eq!(view.range((Bound::Excluded(key), Bound::Included(key)))?.count(), 0);
    all(view, ..)?;
    Ok(vec![
        view.get(key)?,
        view.get(&key)?,
        view.snapshot()?.get(key)?,
        view.subscribe(key)?.current().copied(),
    ])
}

fn all<K: Key>(view: &View<K, u64>, range: impl KeyRange<K>) -> Result<usize> {
    Ok(view.range(range)?.count())
}

#[test]
fn an_engine_takes_literals() -> Result<()> {
    let names = Topic::<String, u64>::new("names");
    let numbers = Topic::<u32, u64>::new("numbers");
    let routes = Topic::<(String, String), u64>::new("routes");
    let graph = GraphBuilder::new();
    let (by_name, by_number) = (graph.table(&names, "by_name"), graph.table(&numbers, "by_number"));
    let by_route = graph.table(&routes, "by_route");
    let log = Arc::new(MemoryChangelog::new());
    let engine = Engine::builder(&graph.build()?).in_memory().changelog(log).start()?;
    engine.append(&names, "ada", &1).wait_blocking()?;
    engine.append(&names, "bob", &2).wait_blocking()?;
    engine.delete(&names, "bob").wait_blocking()?;
    engine.append(&numbers, &7, &3).wait_blocking()?;
    let producer = engine.producer(&routes)?;
    producer.put(&("JFK", "LAX"), &4).wait_blocking()?;
    producer.send([(&("JFK", "SFO"), Some(&5), 0), (&("EWR", "SFO"), Some(&6), 0)]).wait_blocking()?;
    producer.delete(&("EWR", &"SFO".to_owned())).wait_blocking()?;
    engine.catch_up_blocking()?;

    let view = engine.view(&by_name)?;
    assert_eq!((view.get("ada")?, view.get("bob")?, view.contains("ada")?), (Some(1), None, true));
    assert_eq!(view.multi_get(&["bob", "ada"])?, [None, Some(1)]);
    assert_eq!(view.subscribe("ada")?.current(), Some(&1));
    assert_eq!(
        (all(&view, "a".."b")?, all(&view, "b"..)?, all(&view, ..="ada")?, all(&view, ..)?),
        (1, 0, 1, 1)
    );
    assert_eq!(through_any_key(&view, &"ada".to_owned(), &[])?, [Some(1); 4]);

    let view = engine.view(&by_number)?;
    assert_eq!((view.get(&7)?, view.contains(&8)?), (Some(3), false));
    assert_eq!(view.multi_get(&[7, 8])?, [Some(3), None]);
    assert_eq!((all(&view, 3..7)?, all(&view, 3..=7)?), (0, 1));
    assert_eq!(through_any_key(&view, &7, &[7])?, [Some(3); 4]);

    let view = engine.view(&by_route)?;
    assert_eq!(view.get(&("JFK", "LAX"))?, Some(4));
    assert_eq!(view.multi_get(&[("JFK", "SFO"), ("EWR", "SFO")])?, [Some(5), None]);
    assert_eq!(view.prefix(&("JFK",))?.count(), 2);
    assert_eq!(all(&view, ("JFK", "M")..)?, 1);
    engine.close_blocking()
}
