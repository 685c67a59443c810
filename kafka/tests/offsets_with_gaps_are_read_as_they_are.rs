//! Offsets of Kafka begin anywhere and have gaps: where a topic was compacted or trimmed, where transactions were aborted, and
//! where a transaction ends. Whatever is there is read, once and with its offset, and the end is reached although no record is
//! the last thing before it.
//!
//! Method: a real broker; a producer of the test's own, with transactions and without; what is read beside what was written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond_engine::changelog::{Changelog, PartitionReader, ReadLog};
use millpond_engine::{ErrorKind, TopicPartition};
use millpond_kafka::Kafka;
use millpond_support::broker::Broker;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::ops::Range;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Each way to read.
fn paths(broker: &Broker) -> Vec<Kafka> {
    vec![Kafka::new("gaps").bootstrap(&broker.bootstrap())]
}

fn producer(broker: &Broker, transactional: Option<&str>) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("linger.ms", "0");
    if let Some(id) = transactional {
        config.set("transactional.id", id);
    }
    let producer: BaseProducer = config.create().unwrap();
    if transactional.is_some() {
        producer.init_transactions(LIMIT).unwrap();
    }
    producer
}

/// Writes these numbers, each with itself modulo `keys` as the key.
fn write(producer: &BaseProducer, topic: &str, numbers: Range<u32>, keys: u32) {
    for number in numbers {
        let (key, value) = ((number % keys).to_string(), number.to_string());
        producer
            .send(BaseRecord::to(topic).partition(0).key(&key).payload(&value))
            .map_err(|(error, _)| error)
            .unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// What `reader` has up to `end`: offsets, and numbers.
fn read_to(reader: &mut dyn PartitionReader, end: u64) -> Vec<(u64, u32)> {
    let mut read = Vec::new();
    for _ in 0..600 {
        let batches = reader.poll(1 << 20).unwrap();
        for batch in &batches {
            for record in &batch.decode().unwrap() {
                let value = std::str::from_utf8(record.value.unwrap()).unwrap();
                read.push((record.offset, value.parse().unwrap()));
            }
        }
        if reader.offset() >= end {
            return read;
        }
        if batches.is_empty() {
            reader.wait(Duration::from_millis(100)).unwrap();
        }
    }
    panic!("the reader stands at {}, and the end is {end}", reader.offset());
}

/// A transaction has ended for its producer before its end is written.
fn await_end(log: &impl ReadLog, partition: &TopicPartition, end: u64) {
    let asked = (0..100_000).find(|_| log.latest_offsets(partition).unwrap().end >= end);
    assert!(asked.is_some(), "the partition does not reach {end}");
}

/// All of partition 0 of `topic` from `offset` on, by each path.
fn check(broker: &Broker, topic: &str, offset: Option<u64>, kept: Range<u64>, expected: &[(u64, u32)]) {
    for kafka in paths(broker) {
        let log = kafka.open().unwrap();
        let partition = TopicPartition::new(topic, 0);
        await_end(&log, &partition, kept.end);
        assert_eq!(log.latest_offsets(&partition).unwrap(), kept, "{kafka:?}");
        let from = offset.unwrap_or(kept.start);
        let mut reader = log.reader(&partition, from).unwrap();
        let mut read = read_to(&mut *reader, kept.end);
        // A batch may begin below the offset that was asked for.
        read.retain(|(offset, _)| *offset >= from);
        assert_eq!(read, expected, "{kafka:?}");
        assert_eq!(reader.offset(), kept.end, "{kafka:?}");
        log.close().unwrap();
    }
}

#[test]
fn aborted_and_at_the_end_of_a_transaction() {
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.create_topic("aborted", 1, &[]);
    let transactional = producer(broker, Some("gaps-aborted"));
    let mut expected = Vec::new();
    let mut next = 0_u64;
    // The last one is committed once and aborted once: what lies before the end is never a record.
    for (round, commits) in [true, false, false, true, true, false].into_iter().enumerate() {
        let numbers = u32::try_from(round).unwrap() * 10..u32::try_from(round).unwrap() * 10 + 10;
        transactional.begin_transaction().unwrap();
        write(&transactional, &topic, numbers.clone(), 3);
        if commits {
            transactional.commit_transaction(LIMIT).unwrap();
            expected.extend((next..).zip(numbers));
        } else {
            transactional.abort_transaction(LIMIT).unwrap();
        }
        next += 11;
        check(broker, &topic, None, 0..next, &expected);
    }
    // From within an aborted transaction on, from an end of one, and from behind all.
    for from in [15, 21, 10, next] {
        let rest: Vec<_> = expected.iter().copied().filter(|(offset, _)| *offset >= from).collect();
        check(broker, &topic, Some(from), 0..next, &rest);
    }
}

#[test]
fn behind_a_transaction_that_is_not_decided() {
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.create_topic("undecided", 1, &[]);
    let (plain, transactional) = (producer(broker, None), producer(broker, Some("gaps-undecided")));
    write(&plain, &topic, 0..5, 3);
    transactional.begin_transaction().unwrap();
    write(&transactional, &topic, 5..10, 3);
    write(&plain, &topic, 10..15, 3);
    let before: Vec<_> = (0..5).zip(0..5).collect();
    check(broker, &topic, None, 0..5, &before);
    let mut readers: Vec<_> = paths(broker)
        .into_iter()
        .map(|kafka| {
            let log = kafka.open().unwrap();
            let mut reader = log.reader(&TopicPartition::new(&*topic, 0), 0).unwrap();
            assert_eq!(read_to(&mut *reader, 5), before);
            (log, reader)
        })
        .collect();
    transactional.abort_transaction(LIMIT).unwrap();
    // Who stood before it goes on behind it.
    let after: Vec<_> = (10..15).zip(10..15).collect();
    for (log, reader) in &mut readers {
        let partition = TopicPartition::new(&*topic, 0);
        await_end(log, &partition, 16);
        assert_eq!(read_to(&mut **reader, 16), after);
    }
    check(broker, &topic, None, 0..16, &[before, after].concat());
}

#[test]
fn compacted() {
    let Some(broker) = Broker::shared() else { return };
    let settings = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("segment.ms", "100"),
        ("delete.retention.ms", "0"),
    ];
    let topic = broker.create_topic("compacted", 1, &settings);
    let plain = producer(broker, None);
    write(&plain, &topic, 0..100, 5);
    // Of five keys the last ones are left, once their segment is not the newest any more.
    let log = paths(broker).remove(0).open().unwrap();
    let partition = TopicPartition::new(&*topic, 0);
    let mut next = 100;
    let left = loop {
        write(&plain, &topic, next..next + 1, 5);
        next += 1;
        let end = log.latest_offsets(&partition).unwrap().end;
        let left = read_to(&mut *log.reader(&partition, 0).unwrap(), end);
        if left.len() < 20 {
            break left;
        }
        assert!(next < 10_000, "nothing was compacted");
    };
    assert!(left.iter().all(|(offset, number)| *offset == u64::from(*number)));
    let last = u64::from(next) - 1;
    assert!(left.first().unwrap().0 > 0 && left.last().unwrap().0 == last);
    // It goes on, so that only what cannot be overwritten is there for certain.
    for kafka in paths(broker) {
        let log = kafka.open().unwrap();
        for from in [0, 50, last] {
            let read = read_to(&mut *log.reader(&partition, from).unwrap(), last + 1);
            assert!(read.is_sorted() && read.iter().all(|(offset, number)| *offset == u64::from(*number)));
            assert_eq!(read.last().unwrap().0, last);
            let of_last = |key| (0..next).rev().find(|number| number % 5 == key).map(u64::from).unwrap();
            for key in 0..5 {
                let kept = of_last(key);
                assert!(kept < from || read.iter().any(|(offset, _)| *offset == kept), "{kept} is missing");
            }
        }
    }
}

#[test]
fn trimmed() {
    let Some(broker) = Broker::shared() else { return };
    let topic = broker.create_topic("trimmed", 1, &[]);
    write(&producer(broker, None), &topic, 0..100, 5);
    let trim = |offset: u64| {
        let json = format!(
            r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":{offset}}}],"version":1}}"#
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json).unwrap();
        broker.tool("delete-records", &["--offset-json-file", file.path().to_str().unwrap()], "");
    };
    trim(37);
    check(broker, &topic, None, 37..100, &(37..100).zip(37..100).collect::<Vec<_>>());
    for kafka in paths(broker) {
        let log = kafka.open().unwrap();
        let partition = TopicPartition::new(&*topic, 0);
        let behind = log.reader(&partition, 36).err().unwrap();
        assert_eq!(behind.kind(), ErrorKind::BehindChangelog, "{behind}");
        let ahead = log.reader(&partition, 101).err().unwrap();
        assert_eq!(ahead.kind(), ErrorKind::AheadOfChangelog, "{ahead}");
        for error in [behind, ahead] {
            assert!(error.message().contains("there are 37 to 100"), "{error}");
        }
    }
    // Emptied, it keeps its offsets.
    trim(100);
    check(broker, &topic, None, 100..100, &[]);
    write(&producer(broker, None), &topic, 100..101, 5);
    check(broker, &topic, None, 100..101, &[(100, 100)]);
}
