//! An append is acknowledged once, and is there once, whatever a broker answers that passes by itself; one that no broker takes is an
//! error that names topic and partition, and what comes behind it is not held up. What is read meanwhile is read once.
//!
//! Method: the mock cluster of librdkafka, which answers with whatever errors it is told, is away, or is slow; so it needs no Java
//! and runs everywhere. It knows neither admin calls nor aborted transactions: engines are tested with real brokers. It also takes
//! a batch for its own without looking whether it was sent before, so an answer that was lost is not among what is tried here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::backend::{Commit, EpochMark};
use millpond::changelog::prelude::*;
use millpond::changelog::{Ack, Append, Record, Role};
use millpond::{ErrorKind, Position, TopicPartition};
use millpond_kafka::{Fetch, Kafka, KafkaChangelog};
use millpond_support::environment::seed;
use millpond_support::expect::says;
use millpond_support::random::Random;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::time::{Duration, Instant};

use RDKafkaRespErr as E;

const PARTITIONS: u32 = 3;
const BROKERS: i32 = 3;

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What passes by itself when something is appended,
const PASSING: [RDKafkaRespErr; 6] = [
    E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    E::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    E::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
];

/// and when something is read; the last one cuts the connection.
const PASSING_READS: [RDKafkaRespErr; 5] = [
    E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    E::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
    E::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
    E::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    E::RD_KAFKA_RESP_ERR__TRANSPORT,
];

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(topic: &str) -> Cluster {
    let cluster = MockCluster::new(BROKERS).unwrap();
    cluster.create_topic(topic, PARTITIONS.cast_signed(), BROKERS).unwrap();
    cluster
}

fn open(cluster: &Cluster, path: Fetch) -> KafkaChangelog {
    let kafka = Kafka::new("mocked").bootstrap(&cluster.bootstrap_servers()).fetch(path);
    kafka.property("reconnect.backoff.max.ms", "200").open().unwrap()
}

/// Appends the next `count` numbers, of which each partition has its own.
fn append(log: &KafkaChangelog, topic: &str, partition: u32, numbers: &mut Vec<u32>, count: u32) -> Ack {
    log.append(vec![next(topic, partition, numbers, count)])
}

fn next(topic: &str, partition: u32, numbers: &mut Vec<u32>, count: u32) -> Append {
    let first = u32::try_from(numbers.len()).unwrap();
    numbers.extend(first..first + count);
    let records = (first..first + count).map(|number| Record::new("key", number.to_string()).at(1)).collect();
    Append { partition: TopicPartition::new(topic, partition), records }
}

/// The numbers of a partition, once there are as many as `count`, and whatever is there beside.
fn read(reader: &mut dyn PartitionReader, numbers: &mut Vec<u32>, count: usize) {
    let began = Instant::now();
    while numbers.len() < count {
        assert!(began.elapsed() < LIMIT, "{} of {count} numbers were read", numbers.len());
        for batch in reader.poll(1 << 20).unwrap() {
            for record in &batch.decode().unwrap() {
                numbers.push(std::str::from_utf8(record.value.unwrap()).unwrap().parse().unwrap());
            }
        }
        reader.wait(Duration::from_millis(20)).unwrap();
    }
}

/// All that there is of each partition is `appended`, by either path.
fn check(cluster: &Cluster, topic: &str, appended: &[Vec<u32>]) {
    for path in [Fetch::Direct, Fetch::Librdkafka] {
        let log = open(cluster, path);
        for (partition, appended) in (0..).zip(appended) {
            let id = TopicPartition::new(topic, partition);
            assert_eq!(log.latest_offsets(&id).unwrap().end, appended.len() as u64, "{id} by {path:?}");
            let mut numbers = Vec::new();
            read(&mut *log.reader(&id, 0).unwrap(), &mut numbers, appended.len());
            assert_eq!(numbers, *appended, "{id} by {path:?}");
        }
        log.close().unwrap();
    }
}

#[test]
fn whatever_passes_by_itself() {
    let mut random = Random::new(seed());
    let cluster = cluster("appended");
    let log = open(&cluster, Fetch::Direct);
    let mut appended = vec![Vec::new(); PARTITIONS as usize];
    for _ in 0..20 {
        let errors: Vec<_> = (0..random.below(4)).map(|_| random.pick(&PASSING)).collect();
        cluster.request_errors(RDKafkaApiKey::Produce, &errors);
        let slow = Duration::from_millis(random.below(3) * 30);
        cluster.broker_round_trip_time(-1, slow).unwrap();
        let acks: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                (partition, append(&log, "appended", partition, &mut appended[partition as usize], 10))
            })
            .collect();
        for (partition, ack) in acks {
            let id = TopicPartition::new("appended", partition);
            let end = appended[partition as usize].len() as u64;
            assert_eq!(ack.wait_blocking().unwrap(), Position::from_iter([(id, end)]), "{errors:?}");
        }
    }
    cluster.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    log.close().unwrap();
    check(&cluster, "appended", &appended);
}

#[test]
fn brokers_that_are_away_for_a_while() {
    let cluster = cluster("away");
    let log = open(&cluster, Fetch::Direct);
    let mut appended = vec![Vec::new(); PARTITIONS as usize];
    for round in 0..3 {
        // One after the other, and then all of them.
        let broker = if round == 2 { -1 } else { round + 1 };
        cluster.broker_down(broker).unwrap();
        let acks: Vec<_> = (0..PARTITIONS)
            .map(|partition| append(&log, "away", partition, &mut appended[partition as usize], 10))
            .collect();
        cluster.broker_up(broker).unwrap();
        for ack in acks {
            ack.wait_blocking().unwrap();
        }
    }
    log.close().unwrap();
    check(&cluster, "away", &appended);
}

#[test]
fn an_append_that_no_broker_takes_says_which() {
    let cluster = cluster("refused");
    let log = open(&cluster, Fetch::Direct);
    let mut appended = vec![Vec::new(); PARTITIONS as usize];
    let refusals = [
        (E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ErrorKind::Invalid, "WRITE"),
        (E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ErrorKind::Invalid, "max.message.bytes"),
        (E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, ErrorKind::Invalid, "timestamp"),
        (E::RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, ErrorKind::Invalid, "InvalidRequiredAcks"),
        // Of which nobody knows whether it will last.
        (E::RD_KAFKA_RESP_ERR_REASSIGNMENT_IN_PROGRESS, ErrorKind::Unavailable, "ReassignmentInProgress"),
    ];
    for (refusal, kind, told) in refusals {
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        let error = append(&log, "refused", 1, &mut Vec::new(), 1).wait_blocking().unwrap_err();
        assert_eq!(error.kind(), kind, "{refusal:?}: {error}");
        says(&error, &["refused/1", told]);
        append(&log, "refused", 1, &mut appended[1], 1).wait_blocking().unwrap();
    }
    log.close().unwrap();
    check(&cluster, "refused", &appended);
}

/// Members of a group and transactions have coordinators, which are not where they were, or do not know of them yet.
#[test]
fn epochs_whose_coordinators_are_elsewhere() {
    let cluster = cluster("outputs");
    cluster.create_topic("mocked.epochs", 1, BROKERS).unwrap();
    let elsewhere = [
        E::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
    ];
    for asked in [RDKafkaApiKey::FindCoordinator, RDKafkaApiKey::InitProducerId] {
        cluster.request_errors(asked, &elsewhere);
    }
    let log = held(&cluster);
    let mut appended = vec![Vec::new(); PARTITIONS as usize];
    for epoch in 0..5 {
        for asked in [RDKafkaApiKey::AddPartitionsToTxn, RDKafkaApiKey::EndTxn] {
            cluster.request_errors(asked, &elsewhere[..epoch % 3]);
        }
        let appends = (0..PARTITIONS)
            .map(|partition| next("outputs", partition, &mut appended[partition as usize], 10));
        let mark = EpochMark::new(input(epoch as u64), input(epoch as u64 + 1));
        assert!(log.append_epoch("mocked", &mark, appends.collect()).unwrap());
        until(|| log.commit("mocked", Duration::from_millis(100)).unwrap() == Commit::Done);
    }
    assert_eq!(log.epochs_after("mocked", &input(0)).unwrap().len(), 5);
    log.close().unwrap();
    check(&cluster, "outputs", &appended);
}

/// What may pass is tried again, and what does not is told, with the topic.
#[test]
fn an_epoch_of_which_a_record_is_not_taken() {
    let cluster = cluster("outputs");
    cluster.create_topic("mocked.epochs", 1, BROKERS).unwrap();
    let log = held(&cluster);
    let append_epoch = |epoch: u64| {
        let mark = EpochMark::new(input(epoch), input(epoch + 1));
        let appends = vec![next("outputs", 1, &mut Vec::new(), 1)];
        assert!(log.append_epoch("mocked", &mark, appends).unwrap());
    };
    for (epoch, passes) in
        (0..).zip([E::RD_KAFKA_RESP_ERR_REASSIGNMENT_IN_PROGRESS, E::RD_KAFKA_RESP_ERR_UNKNOWN])
    {
        cluster.request_errors(RDKafkaApiKey::Produce, &[passes]);
        append_epoch(epoch);
        until(|| log.commit("mocked", Duration::from_millis(100)).unwrap() == Commit::Done);
    }
    cluster.request_errors(RDKafkaApiKey::Produce, &[E::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP; 2]);
    append_epoch(2);
    until(|| log.commit("mocked", Duration::from_millis(100)).is_err());
    let error = log.commit("mocked", Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    says(&error, &["timestamp", "input/0@2"]);
    log.close().unwrap();
}

/// One that holds.
fn held(cluster: &Cluster) -> KafkaChangelog {
    let log = open(cluster, Fetch::Direct);
    log.join("mocked").unwrap();
    until(|| {
        let role = log.role("mocked");
        log.follow("mocked", role).unwrap();
        role == Role::Holder
    });
    log
}

fn input(offset: u64) -> Position {
    Position::from_iter([(TopicPartition::new("input", 0), offset)])
}

/// Waits until it is so.
fn until(mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < LIMIT, "it has not come about");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// librdkafka's producer takes nothing more after that: everything was refused until the changelog was opened again.
#[test]
fn a_producer_that_has_failed_for_good_is_not_the_last() {
    let cluster = cluster("failed");
    let log = open(&cluster, Fetch::Direct);
    let mut appended = vec![Vec::new(); PARTITIONS as usize];
    append(&log, "failed", 1, &mut appended[1], 1).wait_blocking().unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, &[E::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    let error = append(&log, "failed", 1, &mut Vec::new(), 1).wait_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    says(&error, &["failed/1"]);
    for _ in 0..3 {
        append(&log, "failed", 1, &mut appended[1], 1).wait_blocking().unwrap();
    }
    log.close().unwrap();
    check(&cluster, "failed", &appended);
}

#[test]
fn what_is_read_meanwhile_is_read_once() {
    let mut random = Random::new(seed());
    for path in [Fetch::Direct, Fetch::Librdkafka] {
        let cluster = cluster("read");
        let log = open(&cluster, path);
        let mut appended = vec![Vec::new(); PARTITIONS as usize];
        let mut found = appended.clone();
        let ids = (0..PARTITIONS).map(|partition| TopicPartition::new("read", partition));
        let mut readers: Vec<_> = ids.map(|id| log.reader(&id, 0).unwrap()).collect();
        for round in 0..4 {
            for partition in 0..PARTITIONS {
                append(&log, "read", partition, &mut appended[partition as usize], 10)
                    .wait_blocking()
                    .unwrap();
            }
            let errors: Vec<_> = (0..random.below(4)).map(|_| random.pick(&PASSING_READS)).collect();
            cluster.request_errors(RDKafkaApiKey::Fetch, &errors);
            // A leader that moves, and one that is away for a while.
            let leader = i32::try_from(1 + random.below(3)).unwrap();
            cluster.partition_leader("read", round % 3, Some(leader)).unwrap();
            cluster.broker_down(leader).unwrap();
            cluster.broker_up(leader).unwrap();
            for ((reader, found), appended) in readers.iter_mut().zip(&mut found).zip(&appended) {
                read(&mut **reader, found, appended.len());
                assert_eq!(found, appended, "{path:?}, round {round}: {errors:?}");
            }
        }
        log.close().unwrap();
    }
}
