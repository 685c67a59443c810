//! What goes wrong: connections, leaders, offsets, topics. Whatever it is, every record comes once and in order, or an error
//! says what happened.

use super::fake_broker::{Brokers, Fault, Log, TOPIC};
use super::reading::{Client, config, hundred, partition};
use super::written::WrittenBatch;
use crate::fetch::{FetchConfig, Fetcher};
use kafka_protocol::error::ResponseError;
use millpond_engine::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use uuid::Uuid;

fn all() -> Vec<u64> {
    (0..200).collect()
}

/// So that reading all takes many requests.
fn small_steps(brokers: &Brokers) -> FetchConfig {
    let mut config = config(brokers);
    config.max_partition_bytes = 400;
    config
}

#[test]
fn a_connection_that_breaks_is_made_anew() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    brokers.cluster().faults.extend([Fault::HangUp, Fault::Cut(1_000), Fault::HangUp, Fault::HangUp]);
    let client = Client::connect(small_steps(&brokers));
    let mut reader = client.reader(0, 0);
    assert_eq!(client.read_to(&mut reader, 200).unwrap(), all());
    assert_eq!(client.fetcher.trouble(), None);
}

#[test]
fn a_partition_is_read_from_its_new_leader() {
    let brokers = Brokers::start(3, vec![Log::of(hundred()), Log::of(hundred())]);
    let client = Client::connect(small_steps(&brokers));
    let mut readers = [client.reader(0, 0), client.reader(1, 0)];
    for reader in &mut readers {
        assert_eq!(client.read_to(reader, 200).unwrap(), all());
    }
    for step in 1..=6 {
        {
            let mut cluster = brokers.cluster();
            let log = &mut cluster.logs[0];
            (log.leader, log.epoch) = (step % 3, step);
            let next = 199 + i64::from(step);
            log.batches.push(WrittenBatch::values(next, &["v"]).in_epoch(step));
        }
        brokers.written();
        let next = 199 + step as u64;
        assert_eq!(client.read_to(&mut readers[0], next + 1).unwrap(), [next]);
    }
    let nodes: Vec<_> = brokers.cluster().fetches.iter().map(|fetch| fetch.0).collect();
    assert!([0, 1, 2].iter().all(|node| nodes.contains(node)), "{nodes:?}");
}

/// The leader may name a replica that is nearer; when that has gone, the leader is asked again.
#[test]
fn a_partition_is_read_from_a_replica_that_is_nearer() {
    let brokers = Brokers::start(2, vec![Log::of(hundred())]);
    brokers.cluster().logs[0].replica = Some(1);
    brokers.cluster().faults.push_back(Fault::Nearer(1));
    let mut config = small_steps(&brokers);
    config.rack = Some("here".to_owned());
    let client = Client::connect(config);
    let mut reader = client.reader(0, 0);
    assert_eq!(client.read_to(&mut reader, 200).unwrap(), all());
    let nodes: Vec<_> = brokers.cluster().fetches.iter().map(|fetch| fetch.0).collect();
    assert!(nodes[0] == 0 && nodes[1..].iter().all(|node| *node == 1), "{nodes:?}");
    brokers.cluster().logs[0].replica = None;
    brokers.cluster().logs[0].batches.push(WrittenBatch::values(200, &["v"]));
    brokers.written();
    assert_eq!(client.read_to(&mut reader, 201).unwrap(), [200]);
}

#[test]
fn errors_that_pass_are_passed_over() {
    use ResponseError as E;
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let passing = [
        E::NotLeaderOrFollower,
        E::UnknownLeaderEpoch,
        E::FencedLeaderEpoch,
        E::LeaderNotAvailable,
        E::KafkaStorageError,
        E::ReplicaNotAvailable,
        E::UnknownTopicOrPartition,
        E::UnknownTopicId,
        E::UnknownServerError,
        E::OffsetNotAvailable,
        // The broker then says that the offset is there.
        E::OffsetOutOfRange,
    ];
    brokers.cluster().faults.extend(passing.map(Fault::Code));
    let client = Client::connect(small_steps(&brokers));
    let mut reader = client.reader(0, 0);
    assert_eq!(client.read_to(&mut reader, 200).unwrap(), all());
    assert!(brokers.cluster().faults.is_empty());
}

#[test]
fn errors_that_do_not_pass_say_what_to_do() {
    use ResponseError as E;
    let cases = [
        (E::TopicAuthorizationFailed, ErrorKind::Invalid, "READ"),
        (E::CorruptMessage, ErrorKind::Corrupt, "orders/0 at offset 0"),
        (E::UnsupportedCompressionType, ErrorKind::Invalid, "codec"),
        (E::PolicyViolation, ErrorKind::Internal, "PolicyViolation"),
    ];
    for (code, kind, part) in cases {
        let brokers = Brokers::start(1, vec![Log::of(hundred())]);
        brokers.cluster().faults.push_back(Fault::Code(code));
        let client = Client::connect(config(&brokers));
        let mut reader = client.reader(0, 0);
        let error = client.failure(&mut reader);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(part), "{error}");
        // It stays so, and nothing more is asked.
        assert_eq!(client.failure(&mut reader).kind(), kind);
    }
}

#[test]
fn a_broker_that_wants_to_be_left_alone_is() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let pause = Duration::from_millis(150);
    brokers.cluster().faults.push_back(Fault::Throttle(pause));
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    assert_eq!(client.read_to(&mut reader, 200).unwrap(), all());
    let fetches: Vec<Instant> = brokers.cluster().fetches.iter().map(|fetch| fetch.1).collect();
    assert!(fetches[1] - fetches[0] >= pause, "{:?}", fetches[1] - fetches[0]);
}

#[test]
fn what_retention_has_deleted_is_said_to_be_behind() {
    let mut log = Log::of(hundred());
    log.start = 100;
    let brokers = Brokers::start(1, vec![log]);
    let client = Client::connect(config(&brokers));
    let error = client.fetcher.reader(&partition(0), 99).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BehindChangelog);
    assert!(error.message().contains("100 to 200"), "{error}");
    let error = client.fetcher.reader(&partition(0), 201).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AheadOfChangelog);
}

/// While it is read: nothing is begun anew from the earliest or latest offset.
#[test]
fn what_is_deleted_ahead_of_a_reader_is_not_jumped_over() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    client.read_to(&mut reader, 200).unwrap();
    {
        let mut cluster = brokers.cluster();
        cluster.logs[0].start = 500;
        cluster.logs[0].batches = vec![WrittenBatch::values(500, &["late"])];
    }
    brokers.written();
    let error = client.failure(&mut reader);
    assert_eq!(error.kind(), ErrorKind::BehindChangelog);
    assert!(
        error.message().contains("offset 200 of orders/0") && error.message().contains("500 to 501"),
        "{error}"
    );
}

#[test]
fn records_that_a_new_leader_does_not_have_are_noticed() {
    // (where the epoch has ended, whether the reader had polled)
    for (epoch_end, polled) in [(150, true), (150, false)] {
        let brokers = Brokers::start(2, vec![Log::of(hundred())]);
        let client = Client::connect(config(&brokers));
        let mut reader = client.reader(0, 0);
        if polled {
            client.read_to(&mut reader, 200).unwrap();
        } else {
            brokers.wait_for_fetch(|_, asked| asked.iter().any(|asked| asked.1 == 200));
        }
        {
            let mut cluster = brokers.cluster();
            let log = &mut cluster.logs[0];
            (log.leader, log.epoch, log.epoch_end) = (1, 1, Some(epoch_end));
            log.batches.truncate(75);
            log.batches
                .extend((75..100).map(|number| WrittenBatch::values(2 * number, &["new", "b"]).in_epoch(1)));
        }
        brokers.written();
        if polled {
            let error = client.failure(&mut reader);
            assert_eq!(error.kind(), ErrorKind::AheadOfChangelog);
            assert!(error.message().contains("lost what came after offset 150"), "{error}");
        } else {
            brokers.wait_for_fetch(|node, _| node == 1);
            assert_eq!(client.read_to(&mut reader, 200).unwrap(), all());
        }
    }
}

#[test]
fn a_topic_made_anew_is_not_taken_for_the_old_one() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    client.read_to(&mut reader, 200).unwrap();
    brokers.cluster().topic_id = Uuid::from_u128(8);
    let error = client.failure(&mut reader);
    assert_eq!(error.kind(), ErrorKind::AheadOfChangelog);
    assert!(error.message().contains("made anew"), "{error}");
}

#[test]
fn a_topic_that_is_gone_is_waited_for_and_then_named() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let mut config = config(&brokers);
    config.missing_topic_timeout = Duration::from_millis(100);
    config.request_timeout = Duration::from_millis(300);
    let client = Client::connect(config.clone());
    let mut reader = client.reader(0, 0);
    client.read_to(&mut reader, 200).unwrap();
    brokers.cluster().topic_error = Some(ResponseError::UnknownTopicOrPartition);
    let error = client.failure(&mut reader);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("orders/0") && error.message().contains("does not exist"), "{error}");
    let other = Client::connect(config);
    let error = other.fetcher.reader(&partition(0), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains(TOPIC), "{error}");
}

/// A broker may send the beginning of a batch that is larger than what was asked for.
#[test]
fn a_batch_larger_than_what_is_asked_for_comes_through() {
    let large = "x".repeat(10_000);
    let brokers = Brokers::start(1, vec![Log::of(vec![WrittenBatch::values(0, &[&large])])]);
    brokers.cluster().faults.extend([Fault::Cut(100), Fault::Cut(5_000)]);
    let client = Client::connect(small_steps(&brokers));
    let mut reader = client.reader(0, 0);
    assert_eq!(client.read_to(&mut reader, 1).unwrap(), [0]);
    let asked: Vec<_> = brokers.cluster().fetches.iter().map(|fetch| fetch.2[0].2).collect();
    assert!(asked[0] == 400 && asked[1] > 10_000, "{asked:?}");
}

#[test]
fn a_batch_that_cannot_be_taken_in_is_refused_with_its_size() {
    let brokers = Brokers::start(1, vec![Log::of(hundred()), Log::of(hundred())]);
    let client = Client::connect(config(&brokers));
    let mut readers = [client.reader(0, 0), client.reader(1, 0)];
    for reader in &mut readers {
        client.read_to(reader, 200).unwrap();
    }
    // Who is to blame shows only when each partition is asked for by itself.
    brokers.cluster().faults.extend([Fault::Huge(1 << 30), Fault::Huge(1 << 30)]);
    brokers.cluster().logs[0].batches.push(WrittenBatch::values(200, &["v"]));
    brokers.written();
    let failed = client.wait_for(|| {
        let mut failed =
            readers.iter_mut().map(|reader| millpond_engine::changelog::PartitionReader::poll(reader, 1));
        failed.find_map(Result::err)
    });
    assert_eq!(failed.kind(), ErrorKind::Invalid);
    assert!(failed.message().contains("1073741824 bytes"), "{failed}");
}

#[test]
fn damage_names_its_place_and_stays() {
    let mut log = Log::of(hundred());
    log.batches[50].base_offset = 30; // overlaps with batches before it
    let brokers = Brokers::start(1, vec![log]);
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    let error = client.failure(&mut reader);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("orders/0 at offset 100"), "{error}");
}

#[test]
fn whoever_is_away_is_named_and_does_not_hold_up_what_is_known() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let mut config = config(&brokers);
    config.request_timeout = Duration::from_millis(400);
    let client = Client::connect(config.clone());
    let mut reader = client.reader(0, 0);
    client.read_to(&mut reader, 200).unwrap();
    let address = brokers.bootstrap().to_owned();
    drop(brokers);
    let trouble = client.wait_for(|| client.fetcher.trouble());
    assert!(trouble.contains(&address), "{trouble}");
    assert_eq!(client.fetcher.trouble_since(Duration::from_secs(3600)), None);
    assert_eq!(client.fetcher.offsets(&partition(0)).unwrap(), 0..200);
    assert!(millpond_engine::changelog::PartitionReader::poll(&mut reader, 1).unwrap().is_empty());
    assert_eq!(Fetcher::connect(config).unwrap_err().kind(), ErrorKind::Unavailable);
}

/// Something else listens there: its answer is no answer of a broker.
#[test]
fn what_does_not_speak_the_protocol_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let _ = std::io::Write::write_all(&mut socket.unwrap(), b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let mut config = FetchConfig::new(&address);
    config.request_timeout = Duration::from_millis(200);
    let error = Fetcher::connect(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("no broker of the cluster answers"), "{error}");
    assert_eq!(Fetcher::connect(FetchConfig::new("")).unwrap_err().kind(), ErrorKind::Invalid);
}
