//! What a graph and a running engine tell of themselves, and what is refused.

use crate::support::*;
use millpond_engine::{ErrorKind, Topic};
use millpond_operators::GraphBuilder;

#[test]
fn a_graph_describes_itself_as_text_and_as_a_picture() -> millpond_engine::Result<()> {
    let (orders, customers) = (Topic::<u64, u32>::new("orders"), Topic::<u32, u32>::new("customers"));
    let big = Topic::<u64, u32>::new("big");
    let graph = GraphBuilder::new();
    let table = graph.table(&customers, millpond_engine::graph::TableOptions::named("customers").version(3));
    let (large, _small) = graph.stream(&orders).branch(|_, amount| *amount > 100);
    large.to(&big);
    let sums = large.re_key(|_, amount| amount % 10).group_by_key().reduce("sums", |a, b| a + b);
    let _joined = sums.left_join(&table, |_, sum, _| *sum).materialize("joined");
    assert_eq!(format!("{large:?}"), r#"Stream { node: 4, label: "way 0", .. }"#);
    let graph = graph.build()?;
    assert_eq!(format!("{large:?}"), r#"Stream { node: 4, label: "", .. }"#, "the builder is empty by now");

    let text = graph.describe();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "0 upserts topic customers",
            "1 table table customers v3 <- 0",
            "2 stream topic orders",
            "3 branch <- 2",
            "4 way 0 <- 3",
            "5 way 1 <- 3",
            "6 to topic big <- 4",
            "7 re_key <- 4",
            "8 exchange <- 7 (exchange)",
            "9 gather <- 8",
            "10 reduce table sums <- 9",
            "11 left_join reads sums reads customers <- 10, 1",
            "12 materialize table joined <- 11",
        ]
    );
    let dot = graph.dot();
    assert!(dot.starts_with("digraph millpond {") && dot.trim_end().ends_with('}'), "{dot}");
    assert!(dot.contains(r#"n10 [label="reduce table sums", shape=cylinder];"#), "{dot}");
    assert!(dot.contains("n10 -> n11;") && dot.contains("n1 -> n11;"), "{dot}");
    assert!(dot.contains("n8 -> n9 [style=dashed];"), "an exchange is drawn as such: {dot}");
    Ok(())
}

#[test]
fn statistics_count_records_rows_and_lag() -> millpond_engine::Result<()> {
    let (topic, out) = (Topic::<u8, i32>::new("records").partitions(2), Topic::<u8, i32>::new("out"));
    let graph = GraphBuilder::new();
    graph.stream(&topic).filter(|_, value| *value > 1).to(&out);
    let _table = graph.table(&topic, "table");
    let mut pond = Pond::new(&graph.build()?, 2);
    let records =
        [put(&topic, &1, &1, 0), put(&topic, &2, &2, 0), put(&topic, &3, &3, 0), upsert(&topic, &1, None, 0)];
    pond.step(&records);
    pond.append(&records[..3]);
    let stats = pond.stepper.stats();
    assert_eq!((stats.records_in, stats.records_out, stats.epochs, stats.dead_letters), (4, 2, 1, 0));
    assert_eq!(stats.lag.values().sum::<u64>(), 3);
    assert_eq!(stats.position, pond.stepper.position());
    let table = &stats.tables["table"];
    assert_eq!((table.rows, table.building), (2, false));
    assert_eq!(table.misses, 4, "every key was looked for in the store first");
    assert!(stats.undrained_bytes > 0 && stats.drains == 0);
    assert!(pond.stepper.drain()?);
    let stats = pond.stepper.stats();
    assert_eq!((stats.undrained_bytes, stats.undrained_generations, stats.drains), (0, 0, 1));
    Ok(())
}

#[test]
fn what_cannot_run_is_refused_with_a_name() {
    let topic = Topic::<u8, i32>::new("records");
    let none = GraphBuilder::new();
    let twice = GraphBuilder::new();
    let _tables = (twice.table(&topic, "rows"), twice.table(&topic, "rows"));
    let cycle = GraphBuilder::new();
    cycle.stream(&topic).map_values(|_, value| value + 1).to(&topic);
    for (graph, culprit) in [(none, "no source"), (twice, "`rows`"), (cycle, "`records`")] {
        let error = graph.build().expect_err("the graph is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(culprit), "{error}");
    }
}
