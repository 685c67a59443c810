//! A record that names a row of a table meets what the row is at the record's place in the log, wherever epochs are cut and whichever
//! shards the two are on, and keeps its key; one that names none meets none.
//!
//! Method: random upserts of a table and random records that name rows of it, in one log of several partitions; what is joined is
//! appended to a topic. Random epochs, drains, crashes and shard counts. The oracle goes through the log in its order. It failed where
//! records were sent to the shards of their own keys.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::{GraphBuilder, Topic, TopicPartition};
use millpond_support::environment::{rounds, seed};
use millpond_support::life::Life;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;

type Joined = (u8, u64, Option<u64>);

fn records_topic() -> Topic<u8, (Option<u16>, u64)> {
    Topic::new("records").partitions(3)
}

fn rows_topic() -> Topic<u16, u64> {
    Topic::new("rows").partitions(2)
}

fn told(kind: &str) -> Topic<u8, (u64, Option<u64>)> {
    Topic::new(kind).partitions(1)
}

fn read(log: &dyn Changelog, kind: &str) -> Vec<Joined> {
    let found = records::read(log, &TopicPartition::new(kind, 0)).unwrap();
    let joined = found.iter().map(|record| {
        let (number, row) = told(kind).codec().decode(record.value.as_ref().unwrap()).unwrap();
        (record.key.as_ref().unwrap()[0], number, row)
    });
    joined.collect()
}

#[test]
fn a_record_meets_the_row_that_it_names() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..rounds(60) {
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        log.create_topic("records", &TopicConfig::default().partitions(3)).unwrap();
        log.create_topic("rows", &TopicConfig::default().partitions(2)).unwrap();
        let mut life = Life::new(log, || {
            let graph = GraphBuilder::new();
            let table = graph.table(&rows_topic(), "rows");
            let stream = graph.stream(&records_topic());
            let inner =
                stream.join_by(&table, |_, (named, _)| *named, |_, (_, number), row| (number, Some(*row)));
            inner.to(&told("inner"));
            let left = stream.left_join_by(
                &table,
                |_, (named, _)| *named,
                |_, (_, number), row| (number, row.copied()),
            );
            left.to(&told("outer"));
            // Behind it, records are brought to their own keys again.
            let counts = left.group_by_key().count("counts");
            (graph.build().unwrap(), counts)
        });
        let (mut rows, mut expected) = (BTreeMap::new(), Vec::new());
        for number in 0..200 {
            match random.below(10) {
                0..4 => life.step(&mut random),
                4..7 => {
                    let key = u16::try_from(random.below(5)).unwrap();
                    let value = (random.below(4) > 0).then_some(number);
                    let record = records::record(&rows_topic(), &key, value.as_ref());
                    records::append(&*life.log, records::partition_of(&rows_topic(), &key), vec![record])
                        .unwrap();
                    match value {
                        Some(value) => drop(rows.insert(key, value)),
                        None => drop(rows.remove(&key)),
                    }
                }
                _ => {
                    let key = u8::try_from(random.below(6)).unwrap();
                    let named = (random.below(5) > 0).then(|| u16::try_from(random.below(6)).unwrap());
                    let at = -i64::try_from(random.below(50)).unwrap();
                    let record = records::record(&records_topic(), &key, Some(&(named, number))).at(at);
                    records::append(&*life.log, records::partition_of(&records_topic(), &key), vec![record])
                        .unwrap();
                    expected.push((key, number, named.and_then(|named| rows.get(&named).copied())));
                }
            }
        }
        let (stepper, counts) = life.fold_all();
        let counts: BTreeMap<u8, u64> =
            stepper.view(counts).unwrap().scan().unwrap().map(Result::unwrap).collect();
        let mut expected_counts = BTreeMap::new();
        for (key, ..) in &expected {
            *expected_counts.entry(*key).or_default() += 1;
        }
        assert_eq!(read(&*life.log, "outer"), expected, "round {round}");
        assert_eq!(counts, expected_counts, "round {round}");
        expected.retain(|(_, _, row)| row.is_some());
        assert_eq!(read(&*life.log, "inner"), expected, "round {round}");
    }
}
