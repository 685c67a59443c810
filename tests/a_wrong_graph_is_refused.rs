//! A graph that cannot run is refused when it is built, and the error names what is wrong.
//!
//! Property: no engine is ever opened on such a graph, so no state is touched.
//!
//! Method: one wrong graph of each sort.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::MemoryChangelog;
use millpond::dataflow::{All, Context, Event, Failure, Operator};
use millpond::{Engine, ErrorKind, GraphBuilder, Result, Topic};
use millpond_support::expect;
use std::sync::Arc;

/// Builds, and expects a refusal that says `parts`.
#[track_caller]
fn refused(graph: &GraphBuilder, parts: &[&str]) {
    expect::refused(graph.build(), ErrorKind::Invalid, parts);
}

#[test]
fn two_tables_of_one_name() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    graph.stream(&events).group_by_key().count("twice");
    graph.table(&events, "twice");
    refused(&graph, &["`twice`", "name of its own"]);
}

#[test]
fn a_table_without_a_name() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    graph.stream(&events).group_by_key().count("");
    refused(&graph, &["name"]);
}

#[test]
fn a_stream_of_another_graph() {
    let events = Topic::<u32, u64>::new("events");
    let (graph, other) = (GraphBuilder::new(), GraphBuilder::new());
    let stranger = other.stream(&events).map_values(|_, value| value + 1);
    graph.stream(&events).merge(&stranger).group_by_key().count("counts");
    refused(&graph, &["`merge`", "another graph"]);

    // A builder that has built its graph begins another one.
    let graph = GraphBuilder::new();
    let stream = graph.stream(&events);
    graph.build().unwrap();
    graph.stream(&events).group_by_key().count("counts");
    stream.group_by_key().count("others");
    refused(&graph, &["`fold`", "built before", "before `build`"]);
}

#[test]
fn a_table_of_another_graph() {
    let events = Topic::<u32, u64>::new("events");
    let (graph, other) = (GraphBuilder::new(), GraphBuilder::new());
    let stranger = other.table(&events, "strange");
    let _joined = graph.table(&events, "own").join(&stranger, |_, a, b| a + b);
    refused(&graph, &["`join`", "another graph"]);
}

#[test]
fn what_was_built_already() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    graph.stream(&events).group_by_key().count("counts");
    graph.build().unwrap();
    refused(&graph, &["built its graph already", "clone"]);
}

#[test]
fn a_step_that_comes_after_build() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let table = graph.table(&events, "latest");
    let built = graph.build().unwrap();
    let late = table.map_values(|_, value| value + 1).materialize("late");
    let changelog = Arc::new(MemoryChangelog::new());
    let stepper = Engine::builder(&built).in_memory().changelog(changelog).stepper().unwrap();
    assert!(stepper.view(&table).is_ok());
    let error = stepper.view(&late).expect_err("it is not in the graph");
    assert!(error.message().contains("after `build`"), "{error}");
    refused(&graph, &["`map_values`", "built before", "before `build`"]);
}

#[test]
fn a_view_of_another_graphs_table() {
    let events = Topic::<u32, u64>::new("events");
    let graph = || {
        let graph = GraphBuilder::new();
        let counts = graph.stream(&events).group_by_key().count("counts");
        (graph.build().unwrap(), counts)
    };
    let ((one, counts), (_, others)) = (graph(), graph());
    let changelog = Arc::new(MemoryChangelog::new());
    let stepper = Engine::builder(&one).in_memory().changelog(changelog).stepper().unwrap();
    assert!(stepper.view(&counts).is_ok());
    let Err(error) = stepper.view(&others) else { panic!("a table of another graph has a view") };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("another graph"), "{error}");
}

#[test]
fn no_source() {
    refused(&GraphBuilder::new(), &["no source", "add a stream or a table"]);
}

#[test]
fn a_cycle_through_topics() {
    let (first, second) = (Topic::<u32, u64>::new("first"), Topic::<u32, u64>::new("second"));
    let graph = GraphBuilder::new();
    graph.stream(&first).map_values(|_, value| value + 1).to(&second);
    graph.stream(&second).filter(|_, value| *value < 9).to(&first);
    refused(&graph, &["cycle", "`first`", "another topic"]);

    let graph = GraphBuilder::new();
    graph.stream(&first).to(&first);
    refused(&graph, &["cycle", "`first`"]);
}

#[test]
fn a_topic_with_two_numbers_of_partitions() {
    let graph = GraphBuilder::new();
    graph.stream(&Topic::<u32, u64>::new("events").partitions(2)).group_by_key().count("one");
    graph.stream(&Topic::<u32, u64>::new("events").partitions(3)).group_by_key().count("other");
    refused(&graph, &["`events`", "partitions"]);
}

#[test]
fn a_topic_without_partitions_or_name() {
    let graph = GraphBuilder::new();
    graph.stream(&Topic::<u32, u64>::new("events").partitions(0)).group_by_key().count("one");
    refused(&graph, &["`events`", "at least one partition"]);
    let graph = GraphBuilder::new();
    graph.stream(&Topic::<u32, u64>::new("")).group_by_key().count("one");
    refused(&graph, &["needs a name"]);
}

/// Keeps nothing and puts nothing out.
struct Idle;

impl Operator for Idle {
    type Input = All<Vec<Event<u32, u64>>>;
    type Output = Vec<Event<u32, u64>>;

    fn run(&self, _: &mut Context<'_>, _: Self::Input) -> Result<Option<Self::Output>, Failure> {
        Ok(None)
    }
}

#[test]
fn a_table_with_two_writers_with_none_or_read_from_beside() {
    let events = Topic::<u32, u64>::new("events");
    let start = || {
        let graph = GraphBuilder::new();
        let node = graph.stream(&events).node();
        let table = graph.nodes().table::<u32, u64>("fold", "kept".into());
        (graph, node, [table.index()])
    };
    let (graph, node, table) = start();
    graph.nodes().operator("one", vec![node], &table, &[], Idle);
    graph.nodes().operator("another", vec![node], &table, &[], Idle);
    refused(&graph, &["`kept`", "`one`", "`another`", "one writer"]);

    let (graph, ..) = start();
    refused(&graph, &["`kept`", "no operator writes it"]);

    // Whether the reader finds what the writer has left would depend on which of them runs first.
    let (graph, node, table) = start();
    graph.nodes().operator("writer", vec![node], &table, &[], Idle);
    graph.nodes().operator("reader", vec![node], &[], &table, Idle);
    refused(&graph, &["`kept`", "`reader`", "upstream"]);

    let (graph, node, table) = start();
    let writer = graph.nodes().operator("writer", vec![node], &table, &[], Idle);
    graph.nodes().operator("reader", vec![node, writer], &[], &table, Idle);
    graph.build().unwrap();
}
