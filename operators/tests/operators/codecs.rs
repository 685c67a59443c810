//! Topics and tables with codecs of their own, end to end: the bytes in the changelog are those of the codec, and every
//! kind of table reads its rows back, also after they were drained and are no longer in memory.

use crate::support::*;
use millpond_engine::codec::{Json, Raw};
use millpond_engine::graph::TableOptions;
use millpond_engine::{ErrorKind, Result, Topic, TopicPartition};
use millpond_operators::GraphBuilder;
use millpond_support::in_memory::InMemory;
use millpond_support::records::{append, read};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    customer: u8,
    amount: i32,
}

#[test]
fn json_and_raw_bytes_go_all_the_way() -> Result<()> {
    let orders = Topic::<u64, Order>::with_codec("orders", Json);
    let customers = Topic::<u8, String>::with_codec("customers", Raw);
    let labels = Topic::<u64, String>::with_codec("labels", Raw);
    let graph = GraphBuilder::new();
    let left = graph.table(&orders, TableOptions::with_codec("orders", Json));
    let right = graph.table(&customers, TableOptions::with_codec("customers", Raw));
    let store = (TableOptions::with_codec("labels", Raw), TableOptions::with_codec("by_customer", Json));
    let joined = left.foreign_join(
        &right,
        store,
        |_, order| order.customer,
        |_, order, name| format!("{name}: {}", order.amount),
    );
    joined.to_stream().to_upserts(&labels);
    let sums = left.group_by(|_, order| (order.customer, order.amount));
    let sums = sums.reduce(TableOptions::with_codec("sums", Json), |a, b| a + b, |a, b| a - b);
    let graph = graph.build()?;

    let kept = InMemory::new();
    let order = |customer, amount| Order { customer, amount };
    // Every step by another stepper over the same state, so that nothing is in memory.
    let steps = [
        vec![put(&orders, &1, &order(7, 5), 0), put(&orders, &2, &order(7, 6), 1)],
        vec![put(&customers, &7, &"Ada".to_owned(), 2)],
        vec![put(&orders, &1, &order(8, 5), 3), put(&customers, &8, &"Bo".to_owned(), 4)],
        vec![upsert(&orders, &2, None, 5)],
    ];
    let mut found = Vec::new();
    for inputs in steps {
        let mut stepper = kept.engine(&graph).shards(3).stepper()?;
        for (partition, record) in inputs {
            append(&*kept.log, partition, vec![record])?;
        }
        assert!(stepper.epoch(100)?);
        assert!(stepper.drain()?);
        let all: BTreeMap<u64, String> = stepper.view(&joined)?.scan()?.collect::<Result<_>>()?;
        let sums: BTreeMap<u8, i32> = stepper.view(&sums)?.scan()?.collect::<Result<_>>()?;
        found.push((all.into_values().collect::<Vec<_>>().join(", "), sums.into_iter().collect::<Vec<_>>()));
    }
    let expected = [
        ("", vec![(7, 11)]),
        ("Ada: 5, Ada: 6", vec![(7, 11)]),
        ("Bo: 5, Ada: 6", vec![(7, 6), (8, 5)]),
        ("Bo: 5", vec![(8, 5)]),
    ];
    assert_eq!(found, expected.map(|(labels, sums)| (labels.to_owned(), sums)));

    let bytes = |topic: &str| -> Result<Vec<Option<Vec<u8>>>> {
        let records = read(&*kept.log, &TopicPartition::new(topic, 0))?;
        Ok(records.into_iter().map(|record| record.value.map(|value| value.to_vec())).collect())
    };
    assert_eq!(bytes("orders")?[0].as_deref(), Some(&br#"{"customer":7,"amount":5}"#[..]));
    assert_eq!(bytes("labels")?.last(), Some(&None));
    assert!(bytes("labels")?.contains(&Some(b"Bo: 5".to_vec())));
    Ok(())
}

#[test]
fn a_value_that_does_not_decode_names_its_record() -> Result<()> {
    let written = Topic::<u8, String>::with_codec("orders", Raw);
    let read = Topic::<u8, Order>::with_codec("orders", Json);
    let graph = GraphBuilder::new();
    let table = graph.table(&read, TableOptions::with_codec("orders", Json));
    let mut pond = Pond::new(&graph.build()?, 2);
    pond.append(&[
        put(&written, &1, &r#"{"customer":1,"amount":2}"#.to_owned(), 0),
        put(&written, &2, &"{".to_owned(), 1),
        put(&written, &3, &r#"{"customer":3,"amount":4}"#.to_owned(), 2),
    ]);
    let error = pond.stepper.epoch(100).expect_err("the record does not decode");
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(error.to_string().contains("orders/0 offset 1") && error.to_string().contains("json"), "{error}");
    assert_eq!(pond.rows(&table), BTreeMap::from([(1, Order { customer: 1, amount: 2 })]));
    Ok(())
}
