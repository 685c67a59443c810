//! A topic holds one type in one codec, whoever comes: another one is refused when it is declared, not when a record of it
//! is met.
//!
//! Property: a graph that uses a topic in two ways is not built; an engine or a producer that comes with another type than
//! the changelog remembers is refused and changes nothing, also in a later process; what the rules of `Topic` allow is
//! taken, and what was taken can be read. Tools that read bytes as they are, and dead letters, go on as ever.
//!
//! This once passed, and the engine stopped at the first record, or a whole topic became dead letters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, MemoryChangelog};
use millpond::codec::{Json, Key, Raw, Value};
use millpond::store::MemoryStore;
use millpond::{
    Engine, Error, ErrorKind, FailurePolicy, Graph, GraphBuilder, Result, Stepper, TableOptions, Topic,
    TopicPartition, key_codec,
};
use millpond_support::expect::refused;
use millpond_support::records::producer;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    amount: u32,
}

/// The same under another name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Purchase {
    amount: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Customer {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OrderWithNote {
    amount: u32,
    #[serde(default)]
    note: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OrderWithCustomer {
    amount: u32,
    customer: u32,
}

fn reading<K: Key, V: Value>(topic: &Topic<K, V>) -> Graph {
    let graph = GraphBuilder::new();
    graph.stream(topic).group_by_key().count("counts");
    graph.build().unwrap()
}

fn open(log: &Arc<dyn Changelog>, graph: &Graph) -> Result<Stepper> {
    Engine::builder(graph).in_memory().changelog(Arc::clone(log)).stepper()
}

#[track_caller]
fn is_invalid<T>(result: Result<T>, parts: &[&str]) -> Error {
    refused(result, ErrorKind::Invalid, parts)
}

/// Reads one topic in two ways.
fn twice<K: Key, V: Value, L: Key, W: Value>(first: &Topic<K, V>, second: &Topic<L, W>) -> Result<Graph> {
    let graph = GraphBuilder::new();
    graph.stream(first).group_by_key().count("first");
    graph.stream(second).group_by_key().count("second");
    graph.build()
}

#[test]
fn a_graph_uses_a_topic_in_one_way() {
    let orders = Topic::<u32, Order>::new("orders");
    let told = ["topic `orders`", "two types in one graph"];
    is_invalid(twice(&orders, &Topic::<u32, Customer>::new("orders")), &told);
    is_invalid(twice(&orders, &Topic::<u64, Order>::new("orders")), &told);
    is_invalid(twice(&orders, &Topic::<u32, Order>::with_codec("orders", Json)), &told);
    let json = Topic::<u32, Order>::with_codec("orders", Json);
    is_invalid(twice(&json, &Topic::<u32, Customer>::with_codec("orders", Json)), &told);
    is_invalid(twice(&json, &Topic::<u32, String>::with_codec("orders", Raw)), &told);
    // Written as one thing and read as another.
    let graph = GraphBuilder::new();
    graph.stream(&Topic::<u32, String>::new("in")).to(&Topic::new("out"));
    graph.stream(&Topic::<u32, u64>::new("out")).group_by_key().count("counts");
    is_invalid(graph.build(), &["topic `out`"]);

    twice(&orders, &orders).unwrap();
    twice(&orders, &Topic::<u32, Purchase>::new("orders")).unwrap();
    twice(&orders, &Topic::<u32, Vec<u8>>::with_codec("orders", Raw)).unwrap();
}

/// Calls `check` with a changelog in memory and with one on disk, and with how each is opened again.
fn on_every_changelog(check: impl Fn(&mut dyn FnMut() -> Arc<dyn Changelog>)) {
    let memory = MemoryChangelog::new();
    check(&mut || Arc::new(memory.reopen()));
    let dir = tempfile::tempdir().unwrap();
    let mut last: Option<Arc<dyn Changelog>> = None;
    check(&mut || {
        if let Some(last) = last.take() {
            last.close().unwrap();
        }
        let log = Arc::new(EmbeddedChangelog::open(dir.path(), EmbeddedOptions::default()).unwrap());
        last = Some(log.clone());
        log
    });
}

#[test]
fn a_changelog_remembers_what_a_topic_holds() {
    on_every_changelog(|reopen| {
        let log = reopen();
        let orders = Topic::<u32, Order>::new("orders");
        producer(log.clone(), &orders).unwrap().put(&1, &Order { amount: 5 }).wait_blocking().unwrap();
        for again in [false, true] {
            let log = if again { reopen() } else { Arc::clone(&log) };
            let customers = Topic::<u32, Customer>::new("orders");
            is_invalid(
                producer(log.clone(), &customers),
                &["topic `orders`", "another type", "Topic::revision(1)"],
            );
            let json = Topic::<u32, Order>::with_codec("orders", Json);
            is_invalid(producer(log.clone(), &json), &["topic `orders`", "`bincode-2`", "`json`"]);
            is_invalid(
                producer(log.clone(), &Topic::<u64, Order>::new("orders")),
                &["its keys are `u32`, not `u64`"],
            );
            // An engine that is refused creates no topic either.
            let graph = GraphBuilder::new();
            graph.stream(&customers).group_by_key().count("counts");
            graph.stream(&Topic::<u8, u8>::new("another")).group_by_key().count("others");
            is_invalid(open(&log, &graph.build().unwrap()), &["topic `orders`"]);
            assert_eq!(log.topics().unwrap().len(), 1);

            let mut stepper = open(&log, &reading(&Topic::<u32, Purchase>::new("orders"))).unwrap();
            assert!(stepper.epoch(10).unwrap());
        }
    });
}

#[test]
fn an_engine_declares_what_its_graph_reads_and_writes() {
    on_every_changelog(|reopen| {
        let log = reopen();
        let graph = GraphBuilder::new();
        let input = Topic::<u32, Order>::new("in");
        graph.stream(&input).map_values(|_, order| order.amount).to(&Topic::new("out"));
        drop(open(&log, &graph.build().unwrap()).unwrap());
        let log = reopen();
        is_invalid(producer(log.clone(), &Topic::<u32, Customer>::new("in")), &["topic `in`"]);
        is_invalid(producer(log.clone(), &Topic::<u32, String>::new("out")), &["topic `out`"]);
        producer(log.clone(), &input).unwrap();
        producer(log.clone(), &Topic::<u32, u32>::new("out")).unwrap();
    });
}

#[test]
fn json_types_may_grow() {
    on_every_changelog(|reopen| {
        let log = reopen();
        let old = Topic::<u32, Order>::with_codec("orders", Json);
        let new = Topic::<u32, OrderWithNote>::with_codec("orders", Json);
        producer(log.clone(), &old).unwrap().put(&1, &Order { amount: 5 }).wait_blocking().unwrap();
        let with_note = OrderWithNote { amount: 6, note: "soon".to_owned() };
        producer(log.clone(), &new).unwrap().put(&2, &with_note).wait_blocking().unwrap();
        let log = reopen();
        // Either reads what the other has written.
        let graph = GraphBuilder::new();
        let table = graph.table(&new, TableOptions::with_codec("orders", Json));
        let mut stepper = open(&log, &graph.build().unwrap()).unwrap();
        assert!(stepper.epoch(10).unwrap());
        let first = stepper.view(&table).unwrap().get(&1).unwrap();
        assert_eq!(first, Some(OrderWithNote { amount: 5, note: String::new() }));
        drop(stepper);
        assert!(open(&log, &reading(&old)).unwrap().epoch(10).unwrap());
        // What would not read the records that are there is refused.
        let required = Topic::<u32, OrderWithCustomer>::with_codec("orders", Json);
        is_invalid(producer(log.clone(), &required), &["field `customer` is new"]);
        is_invalid(open(&log, &reading(&required)), &["field `customer` is new"]);
        is_invalid(producer(log.clone(), &Topic::<u32, Customer>::with_codec("orders", Json)), &["field"]);
        // In the default codec, which has no names, nothing but enums grows.
        producer(log.clone(), &Topic::<u32, Order>::new("compact")).unwrap();
        is_invalid(producer(log.clone(), &Topic::<u32, OrderWithNote>::new("compact")), &["`.note` is new"]);
    });
}

#[test]
fn a_raised_revision_changes_the_type_on_purpose() {
    on_every_changelog(|reopen| {
        let log = reopen();
        producer(log.clone(), &Topic::<u32, Order>::new("orders")).unwrap();
        let second = Topic::<u64, Customer>::with_codec("orders", Json).revision(2);
        producer(log.clone(), &second).unwrap();
        let log = reopen();
        is_invalid(producer(log.clone(), &Topic::<u32, Order>::new("orders")), &["Topic::revision(3)"]);
        is_invalid(producer(log.clone(), &Topic::<u32, Order>::new("orders").revision(2)), &["keys"]);
        assert!(open(&log, &reading(&second)).is_ok());
        assert!(open(&log, &reading(&Topic::<u64, Customer>::with_codec("orders", Json))).is_ok());
        assert!(open(&log, &reading(&Topic::<u32, Order>::new("orders").revision(3))).is_ok());
        is_invalid(open(&log, &reading(&second)), &["topic `orders`"]);
    });
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Route {
    origin: String,
    dest: String,
}
key_codec!(
    struct Route {
        origin: String,
        dest: String,
    }
);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Back {
    dest: String,
    origin: String,
}
key_codec!(
    struct Back {
        dest: String,
        origin: String,
    }
);

#[test]
fn the_fields_of_keys_have_names() {
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    producer(log.clone(), &Topic::<Route, u8>::new("routes")).unwrap();
    is_invalid(producer(log.clone(), &Topic::<Back, u8>::new("routes")), &["(origin:string,dest:string)"]);
}

#[test]
fn dead_letters_are_read_as_any_of_their_topics() {
    on_every_changelog(|reopen| {
        let log = reopen();
        let (orders, customers) = (Topic::<u32, Order>::new("orders"), Topic::<u8, String>::new("customers"));
        let graph = GraphBuilder::new();
        graph.stream(&orders).filter(|_, _| panic!("not this one")).group_by_key().count("orders");
        graph.stream(&customers).filter(|_, _| panic!("nor this one")).group_by_key().count("customers");
        let graph = graph.build().unwrap();
        // Somebody has read it before there was anything.
        drop(open(&log, &reading(&Topic::<u32, Order>::new("dead"))).unwrap());
        let policy = FailurePolicy::DeadLetter("dead".into());
        let engine = Engine::builder(&graph).store(Arc::new(MemoryStore::new())).changelog(Arc::clone(&log));
        let mut stepper = engine.on_failure(policy).stepper().unwrap();
        producer(log.clone(), &orders).unwrap().put(&1, &Order { amount: 5 }).wait_blocking().unwrap();
        producer(log.clone(), &customers).unwrap().put(&1, &"ada".to_owned()).wait_blocking().unwrap();
        while stepper.epoch(10).unwrap() {}
        drop(stepper);
        for again in [false, true] {
            let log = if again { reopen() } else { Arc::clone(&log) };
            assert_eq!(log.offsets(&TopicPartition::new("dead", 0)).unwrap(), 0..2);
            assert!(open(&log, &reading(&Topic::<u32, Order>::new("dead"))).is_ok());
            assert!(open(&log, &reading(&Topic::<u8, String>::new("dead"))).is_ok());
            assert!(open(&log, &reading(&Topic::<u32, Vec<u8>>::with_codec("dead", Raw))).is_ok());
        }
    });
}

#[test]
fn dead_letters_are_not_put_among_records_of_one_type() {
    on_every_changelog(|reopen| {
        let log = reopen();
        let (orders, payments) = (Topic::<u32, Order>::new("orders"), Topic::<u64, String>::new("payments"));
        producer(log.clone(), &payments).unwrap().put(&1, &"ada".to_owned()).wait_blocking().unwrap();
        let graph = GraphBuilder::new();
        graph.stream(&orders).group_by_key().count("orders");
        let graph = graph.build().unwrap();
        let builder = Engine::builder(&graph).store(Arc::new(MemoryStore::new())).changelog(log);
        let error = builder.on_failure(FailurePolicy::DeadLetter("payments".into())).stepper().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("`payments`"), "{error}");
    });
}

#[test]
fn bytes_as_they_are_go_with_any_topic() {
    on_every_changelog(|reopen| {
        let log = reopen();
        // A bridge that copies what another system has encoded comes first, and decides nothing.
        let bridge = Topic::<u32, Vec<u8>>::with_codec("orders", Raw);
        producer(log.clone(), &bridge)
            .unwrap()
            .put(&1, &br#"{"amount":5}"#.to_vec())
            .wait_blocking()
            .unwrap();
        let orders = Topic::<u32, Order>::with_codec("orders", Json);
        assert!(open(&log, &reading(&orders)).unwrap().epoch(10).unwrap());
        let log = reopen();
        producer(log.clone(), &bridge).unwrap();
        assert!(open(&log, &reading(&bridge)).unwrap().epoch(10).unwrap());
        is_invalid(open(&log, &reading(&Topic::<u32, Order>::new("orders"))), &["`json`"]);
    });
}
