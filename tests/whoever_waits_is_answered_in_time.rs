//! Everything that can be waited for comes, or its time limit does; an engine can be closed by anybody, as often as they like.
//!
//! Property: after `wait_for` of what was appended, every table shows it, also one that is made of topics which the graph
//! appends to and reads again, over several of them. A wait with a limit ends with `TimedOut`, and what it waited for comes
//! all the same. `close` is answered alike by whoever calls it, before, at the same time and again.
//!
//! Method: a graph in which records go through two derived topics, over different numbers of shards; waits awaited, blocked
//! for and dropped; a paused engine, from which nothing comes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Health, StoredTable, Topic, TopicPartition};
use millpond_support::in_memory::InMemory;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(1);
const EVER: Duration = Duration::from_secs(60);

fn orders() -> Topic<u32, u64> {
    Topic::new("orders").partitions(2)
}

/// Records go on to `packed` and from there to `sent`, whose last values are kept.
fn relayed() -> (Graph, StoredTable<u32, u64>) {
    let (packed, sent) = (Topic::<u32, u64>::new("packed"), Topic::<u32, u64>::new("sent").partitions(3));
    let graph = GraphBuilder::new();
    graph.stream(&orders()).map_values(|_, order| order + 1).to(&packed);
    graph.stream(&packed).map_values(|_, order| order + 1).to(&sent);
    let table = graph.table(&sent, "sent_orders");
    (graph.build().unwrap(), table)
}

#[test]
fn a_write_is_read_back_through_two_derived_topics() {
    for shards in [1, 3] {
        let (graph, sent) = relayed();
        let engine = InMemory::new().engine(&graph).shards(shards).start().unwrap();
        let view = engine.view(&sent).unwrap();
        for order in 0..200_u64 {
            let key = u32::try_from(order % 7).unwrap();
            let position = engine.append_blocking(&orders(), &key, &order).unwrap();
            engine.wait_for(&position).within(EVER).wait_blocking().unwrap();
            assert_eq!(view.get(&key).unwrap(), Some(order + 2), "order {order} over {shards} shards");
        }
        let everything: Vec<u32> = (0..500).collect();
        let producer = engine.producer(&orders()).unwrap();
        producer.send_blocking(everything.iter().map(|key| (key, Some(&7), 0))).unwrap();
        engine.catch_up().within(EVER).wait_blocking().unwrap();
        assert_eq!(view.count().unwrap(), 500);
    }
}

#[tokio::test]
async fn a_limit_ends_a_wait_and_not_what_it_waits_for() {
    let kept = InMemory::new();
    let (graph, sent) = relayed();
    let engine = kept.engine(&graph).start().unwrap();
    engine.ready().within(EVER).await.unwrap();
    engine.pause();
    assert_eq!(engine.health(), Health::Paused);
    let position = engine.append(&orders(), &1, &10).within(EVER).await.unwrap();
    let error = engine.wait_for(&position).within(SOON).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(error.message().contains("waited for up to 1"), "it says how far things are: {error}");
    assert!(error.message().contains("paused: `resume` it"), "and why: {error}");
    let error = engine.catch_up().within(SOON).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    // Whoever has given up has changed nothing, whether it was polled or not.
    drop(engine.wait_for(&position));
    engine.resume();
    engine.wait_for(&position).within(EVER).await.unwrap();
    assert_eq!(engine.view(&sent).unwrap().get(&1).unwrap(), Some(12));
    let drained = engine.drain().within(EVER).await.unwrap();
    assert!(drained.includes(&position));

    let stranger = [(TopicPartition::new("unheard-of", 0), 1)].into_iter().collect();
    assert_eq!(engine.wait_for(&stranger).await.unwrap_err().kind(), ErrorKind::Invalid);
    engine.close().within(EVER).await.unwrap();
    assert_eq!(engine.wait_for(&position).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(engine.drain().await.unwrap_err().kind(), ErrorKind::Closed);
    // What was drained is what the next one begins with.
    let (graph, _) = relayed();
    assert!(kept.stepper(&graph).unwrap().position().includes(&drained));
}

#[test]
fn a_paused_engine_can_be_closed() {
    let (graph, _) = relayed();
    let engine = InMemory::new().engine(&graph).start().unwrap();
    engine.pause();
    engine.append_blocking(&orders(), &1, &1).unwrap();
    engine.close().within(EVER).wait_blocking().unwrap();
    assert_eq!(engine.health(), Health::Closed);
}

#[test]
fn whoever_closes_an_engine_gets_the_same_answer() {
    for fails in [false, true] {
        let graph = GraphBuilder::new();
        graph
            .stream(&orders())
            .try_map_values(move |_, order| if fails { Err("no such order") } else { Ok(order) })
            .to_table("kept");
        let engine = Arc::new(InMemory::new().engine(&graph.build().unwrap()).start().unwrap());
        let position = engine.append_blocking(&orders(), &1, &1).unwrap();
        let folded = engine.wait_for_blocking(&position);
        assert_eq!(folded.is_err(), fails);
        // Nobody stays for the answer, and it is closed all the same.
        drop(engine.close());
        let closers: Vec<_> = (0..8)
            .map(|_| {
                let engine = Arc::clone(&engine);
                std::thread::spawn(move || engine.close_blocking())
            })
            .collect();
        let mut answers: Vec<_> = closers.into_iter().map(|closer| closer.join().unwrap()).collect();
        answers.push(engine.close_blocking());
        for answer in answers {
            match answer {
                Ok(()) => assert!(!fails),
                Err(error) => assert!(fails && error.message().contains("no such order"), "{error}"),
            }
        }
        let told: Option<Engine> = Arc::into_inner(engine);
        drop(told.expect("nobody else holds it"));
    }
}
