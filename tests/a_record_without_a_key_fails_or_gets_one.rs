//! A record without a key fails, or gets one of its value where the topic says how.
//!
//! Property: without `Topic::keyed_by` a record that has no key stops the engine with an error that names topic, partition and
//! offset and says what to do, or becomes a dead letter that has no key either. With it, its key is made of its value, all
//! records of that key meet wherever they lie, and records that have a key keep it. One that has neither key nor value is passed
//! over where tombstones are, and fails where they count. None of that depends on epochs, shards, crashes and rebuilds.
//!
//! Method: records as another system writes them, driven by hand; random ones are compared with a fold over a map.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond::changelog::Record;
use millpond::codec::{Json, Utf8};
use millpond::stream::ConsumerRecord;
use millpond::testing::{Driver, Settings};
use millpond::{Engine, ErrorKind, FailurePolicy, GraphBuilder, Result, Topic, TopicPartition};
use millpond_support::expect::refused;
use millpond_support::in_memory::catch_up;
use millpond_support::records::read;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

type Login = (String, u64);

fn logins() -> Topic<String, Login> {
    Topic::with_codec("logins", Json).keys(Utf8).partitions(2)
}

fn keyed() -> Topic<String, Login> {
    logins().keyed_by(|(user, _)| user.clone())
}

/// In the order of the log each value stays, so that a change of the order shows.
fn history(value: &mut Vec<u64>, (_, at): Login) {
    value.push(at);
}

fn login(user: &str, at: u64) -> String {
    format!(r#"["{user}",{at}]"#)
}

fn append(driver: &Driver, partition: u32, record: Record) {
    driver.append(TopicPartition::new("logins", partition), vec![record]).unwrap();
}

#[test]
fn it_stops_the_engine_and_says_where_and_what_to_do() {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&logins()).group_by_key().count("counts");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    append(&driver, 1, Record::new("ada", login("ada", 1)));
    append(&driver, 1, Record::without_key(login("bob", 2)));
    append(&driver, 1, Record::new("ada", login("ada", 3)));
    let told = ["logins/1 offset 1", "the record has no key", "Topic::keyed_by", "dead-letter topic"];
    refused(driver.run(), ErrorKind::User, &told);
    assert_eq!(driver.table(&counts).unwrap(), [("ada".to_owned(), 1)].into());
}

#[test]
fn a_dead_letter_of_it_has_no_key() {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&logins()).group_by_key().count("counts");
    let settings = Settings { policy: FailurePolicy::DeadLetter("dead".into()), ..Settings::default() };
    let mut driver = Driver::with_settings(&graph.build().unwrap(), settings).unwrap();
    append(&driver, 0, Record::without_key(login("bob", 2)).at(7).with_header("trace", "4bf9"));
    append(&driver, 1, Record::new("ada", login("ada", 1)));
    driver.run().unwrap();
    driver.drain().unwrap();
    driver.restart().unwrap();
    driver.run().unwrap();
    assert_eq!(driver.table(&counts).unwrap(), [("ada".to_owned(), 1)].into());
    let letters = read(&**driver.changelog(), &TopicPartition::new("dead", 0)).unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((&letter.key, letter.timestamp_ms), (&None, 7));
    assert_eq!(letter.value.as_deref(), Some(login("bob", 2).as_bytes()));
    assert_eq!(letter.headers.bytes("trace"), Some(b"4bf9".as_slice()));
    assert!(
        letter
            .headers
            .read("millpond.reason", &Utf8)
            .unwrap()
            .is_some_and(|reason: String| reason.contains("no key"))
    );
    // A letter is read again as what it was; what made it fail has been mended.
    let again = GraphBuilder::new();
    let dead = Topic::with_codec("dead", Json).keys(Utf8).keyed_by(|(user, _): &Login| user.clone());
    let counts = again.stream(&dead).group_by_key().count("counts");
    let log = Arc::new(driver.changelog().reopen());
    let engine = Engine::builder(&again.build().unwrap()).name("mender").in_memory().changelog(log);
    let mut mender = engine.stepper().unwrap();
    catch_up(&mut mender, 10).unwrap();
    assert_eq!(mender.view(&counts).unwrap().get("bob").unwrap(), Some(1));
}

#[test]
fn what_has_neither_key_nor_value_fails_where_tombstones_count() {
    let nothing = Record::default;
    let streamed = GraphBuilder::new();
    let counts = streamed.stream(&keyed()).group_by_key().count("counts");
    let mut driver = Driver::new(&streamed.build().unwrap()).unwrap();
    append(&driver, 0, nothing());
    append(&driver, 0, Record::without_key(login("ada", 1)));
    driver.run().unwrap();
    assert_eq!(driver.table(&counts).unwrap(), [("ada".to_owned(), 1)].into());

    let upserted = GraphBuilder::new();
    upserted.table(&keyed(), "latest");
    let whole = GraphBuilder::new();
    whole.records(&keyed()).map_values(|_, login| login.offset).to_table("offsets");
    for graph in [upserted, whole] {
        let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
        append(&driver, 0, Record::without_key(login("ada", 1)));
        append(&driver, 0, nothing());
        let told = ["logins/0 offset 1", "neither a key nor a value"];
        refused(driver.run(), ErrorKind::User, &told);
    }
}

#[test]
fn a_panic_where_a_key_is_made_is_the_failure_of_the_record() {
    let topic = logins().keyed_by(|(user, at)| {
        assert!(*at < 100, "the clock of {user} is wrong");
        user.clone()
    });
    let graph = GraphBuilder::new();
    let counts = graph.stream(&topic).group_by_key().count("counts");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    append(&driver, 0, Record::without_key(login("ada", 1)));
    append(&driver, 1, Record::new("bob", login("bob", 100)));
    append(&driver, 1, Record::without_key(login("bob", 100)));
    refused(driver.run(), ErrorKind::User, &["logins/1 offset 1", "the clock of bob is wrong"]);
    let both = [("ada".to_owned(), 1), ("bob".to_owned(), 1)];
    assert_eq!(driver.table(&counts).unwrap(), both.into(), "one that has a key is not asked about");
}

#[test]
fn a_topic_says_whether_it_makes_keys() {
    assert!(keyed().has_made_keys() && !logins().has_made_keys());
    assert_eq!(keyed().made_key(&("ada".to_owned(), 1)), Some("ada".to_owned()));
    assert_eq!(logins().made_key(&("ada".to_owned(), 1)), None);
}

/// A record: its partition, its key if it has one, and its value.
type Draw = (u32, Option<u8>, u8, u64);

fn name(number: u8) -> String {
    format!("user {number}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_records_of_a_key_meet_in_the_order_of_the_log(
        draws in prop::collection::vec((0..2_u32, prop::option::of(0..3_u8), 0..3_u8, any::<u64>()), 1..40),
        shards in 1..4_usize,
        cuts in prop::collection::vec(1..9_usize, 1..9),
        crash_at in 0..9_usize,
    ) {
        let graph = GraphBuilder::new();
        let histories = graph.stream(&keyed()).group_by_key()
            .fold("histories", Vec::new, |value, _, login| history(value, login));
        let latest = graph.table(&keyed(), "latest");
        let offsets = graph.records(&keyed())
            .map_values(|_, login: ConsumerRecord<Login>| (login.partition, login.offset)).to_table("offsets");
        let graph = graph.build().unwrap();
        let mut driver =
            Driver::with_settings(&graph, Settings { shards, memory_bytes: 0, ..Settings::default() }).unwrap();
        let (mut histories_of, mut latest_of, mut offsets_of) =
            (BTreeMap::<String, Vec<u64>>::new(), BTreeMap::new(), BTreeMap::new());
        let mut ends = [0_u64; 2];
        for &(partition, key, user, at) in &draws as &Vec<Draw> {
            let value = login(&name(user), at);
            let record = match key {
                Some(key) => Record::new(name(key), value),
                None => Record::without_key(value),
            };
            append(&driver, partition, record);
            let key = name(key.unwrap_or(user));
            histories_of.entry(key.clone()).or_default().push(at);
            latest_of.insert(key.clone(), (name(user), at));
            offsets_of.insert(key, (partition, ends[partition as usize]));
            ends[partition as usize] += 1;
        }
        for (number, records) in cuts.iter().enumerate() {
            driver.epoch(*records).unwrap();
            if number == crash_at {
                driver.drain().unwrap();
                driver.epoch(3).unwrap();
                driver.crash().unwrap();
            }
        }
        driver.run().unwrap();
        prop_assert_eq!(driver.table(&histories).unwrap(), histories_of);
        prop_assert_eq!(&driver.table(&latest).unwrap(), &latest_of);
        prop_assert_eq!(driver.table(&offsets).unwrap(), offsets_of);
        prop_assert_eq!(driver.input().unwrap().records(&keyed()).len(), draws.len(), "the kit reads them, too");
    }
}

/// A driver of a graph that was changed builds its table anew, and finds the same keys.
#[test]
fn a_rebuild_makes_the_same_keys() -> Result<()> {
    let counting = |version| {
        let graph = GraphBuilder::new();
        let options = millpond::TableOptions::named("counts").version(version);
        let counts = graph.stream(&keyed()).group_by_key().count(options);
        (graph.build().unwrap(), counts)
    };
    let (graph, counts) = counting(1);
    let mut driver = Driver::new(&graph)?;
    for at in 0..20 {
        append(&driver, at % 2, Record::without_key(login(&name((at % 3) as u8), u64::from(at))));
    }
    driver.run()?;
    let before = driver.table(&counts)?;
    assert_eq!(before.values().sum::<u64>(), 20);
    driver.drain()?;
    let (graph, counts) = counting(2);
    driver.upgrade(&graph)?;
    driver.run()?;
    assert_eq!(driver.table(&counts)?, before);
    Ok(())
}
