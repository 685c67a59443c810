//! Partitions are read to their ends, with a broker that behaves.

use super::fake_broker::{Brokers, Log, TOPIC};
use super::written::WrittenBatch;
use crate::fetch::{FetchConfig, FetchReader, Fetcher};
use millpond_engine::changelog::PartitionReader;
use millpond_engine::{Error, ErrorKind, Result, TopicPartition};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Nothing takes that long.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn config(brokers: &Brokers) -> FetchConfig {
    let mut config = FetchConfig::new(brokers.bootstrap());
    config.backoff = (Duration::from_millis(2), Duration::from_millis(20));
    config.max_wait = Duration::from_millis(100);
    config
}

pub(super) fn partition(number: u32) -> TopicPartition {
    TopicPartition::new(TOPIC, number)
}

/// Hundred batches of two records.
pub(super) fn hundred() -> Vec<WrittenBatch> {
    (0..100).map(|number| WrittenBatch::values(2 * number, &["a", "b"])).collect()
}

/// A fetcher, and a way to wait for what it fetches.
pub(super) struct Client {
    pub fetcher: Fetcher,
    woken: Receiver<()>,
    _waker: Arc<dyn Fn() + Send + Sync>,
}

impl Client {
    pub(super) fn connect(config: FetchConfig) -> Self {
        let fetcher = Fetcher::connect(config).unwrap();
        let (sender, woken) = channel();
        let waker: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            let _ = sender.send(());
        });
        fetcher.watch(Arc::downgrade(&waker));
        Self { fetcher, woken, _waker: waker }
    }

    pub(super) fn reader(&self, number: u32, offset: u64) -> FetchReader {
        self.fetcher.reader(&partition(number), offset).unwrap()
    }

    /// Waits until `found` has something, after every wake-up.
    pub(super) fn wait_for<T>(&self, mut found: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = found() {
                return found;
            }
            self.woken.recv_timeout(LIMIT).expect("nothing has happened for long");
        }
    }

    /// The offsets of all records up to the offset `end`.
    pub(super) fn read_to(&self, reader: &mut FetchReader, end: u64) -> Result<Vec<u64>> {
        let mut offsets = Vec::new();
        self.wait_for(|| match read(reader, &mut offsets) {
            Ok(()) => (reader.offset() >= end).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        })?;
        Ok(offsets)
    }

    /// What ends the reading.
    pub(super) fn failure(&self, reader: &mut FetchReader) -> Error {
        self.wait_for(|| read(reader, &mut Vec::new()).err())
    }
}

/// Adds the offsets of all records that are there.
fn read(reader: &mut FetchReader, offsets: &mut Vec<u64>) -> Result<()> {
    loop {
        let batches = reader.poll(1_000)?;
        if batches.is_empty() {
            return Ok(());
        }
        for batch in batches {
            offsets.extend(batch.decode()?.iter().map(|record| record.offset));
        }
    }
}

#[test]
fn everything_is_read_in_order_and_once() {
    let brokers = Brokers::start(1, vec![Log::of(hundred()), Log::of(hundred())]);
    // By the ids of topics, and by their names.
    for version in [17, 12, 11, 4] {
        brokers.cluster().fetch_version = version;
        let client = Client::connect(config(&brokers));
        assert_eq!(client.fetcher.cluster_id().as_deref(), Some("of the tests"));
        let mut readers = [client.reader(0, 0), client.reader(1, 7)];
        assert_eq!(client.read_to(&mut readers[0], 200).unwrap(), (0..200).collect::<Vec<_>>());
        // The first batch begins below the offset asked for.
        assert_eq!(client.read_to(&mut readers[1], 200).unwrap(), (6..200).collect::<Vec<_>>());
    }
}

/// One that stands at the end was asked for again and again, and nobody else got to read the partition.
#[test]
fn a_reader_at_the_end_lets_others_of_its_partition_read() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let client = Client::connect(config(&brokers));
    let mut at_the_end = client.reader(0, 0);
    assert_eq!(client.read_to(&mut at_the_end, 200).unwrap().len(), 200);
    let mut behind = client.reader(0, 0);
    assert_eq!(client.read_to(&mut behind, 200).unwrap(), (0..200).collect::<Vec<_>>());
    brokers.cluster().logs[0].batches.push(WrittenBatch::values(200, &["v"]));
    brokers.written();
    for reader in [&mut at_the_end, &mut behind] {
        assert_eq!(client.read_to(reader, 201).unwrap(), [200]);
    }
}

#[test]
fn what_is_written_later_comes_by_itself() {
    let brokers = Brokers::start(1, vec![Log::of(Vec::new())]);
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    for number in 0..20 {
        brokers.cluster().logs[0].batches.push(WrittenBatch::values(number, &["v"]));
        brokers.written();
        assert_eq!(client.read_to(&mut reader, number as u64 + 1).unwrap(), [number as u64]);
        assert_eq!(client.fetcher.offsets(&partition(0)).unwrap(), 0..number as u64 + 1);
    }
}

/// A control record is the last of the partition, which everybody who waits for its offset would wait for for ever.
#[test]
fn a_reader_passes_control_records_and_aborted_ones() {
    let mut log = Log::of(vec![
        WrittenBatch::values(0, &["a", "b"]).in_transaction(5),
        WrittenBatch::values(2, &["x"]).in_transaction(6),
        WrittenBatch::control(3, 5, true),
        WrittenBatch::values(4, &["c"]),
        WrittenBatch::values(5, &["y", "z"]).in_transaction(6),
        WrittenBatch::control(7, 6, false),
    ]);
    log.aborted = vec![(6, 2)];
    let brokers = Brokers::start(1, vec![log]);
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    assert_eq!(client.read_to(&mut reader, 8).unwrap(), [0, 1, 4]);
    assert_eq!(reader.offset(), 8);
    assert!(reader.poll(1_000).unwrap().is_empty());
}

#[test]
fn a_reader_stands_at_the_last_stable_offset() {
    let mut log = Log::of(hundred());
    log.stable = Some(100);
    let brokers = Brokers::start(1, vec![log]);
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    assert_eq!(client.read_to(&mut reader, 100).unwrap().len(), 100);
    assert_eq!(client.fetcher.latest_offsets(&partition(0)).unwrap(), 0..100);
    // A position of one's own acknowledgements may be ahead of what is decided.
    let ahead = client.reader(0, 150);
    assert_eq!(ahead.offset(), 150);
}

/// All that was behind is gone, and the end stays where it was.
#[test]
fn a_reader_passes_what_compaction_has_left_nothing_of() {
    let mut log = Log::of(vec![WrittenBatch::values(0, &["a"])]);
    log.stable = Some(50);
    let brokers = Brokers::start(1, vec![log]);
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    assert_eq!(client.read_to(&mut reader, 50).unwrap(), [0]);
    assert_eq!(reader.offset(), 50);
}

#[test]
fn a_partition_that_nobody_polls_leaves_the_others_their_share() {
    let brokers = Brokers::start(1, vec![Log::of(hundred()), Log::of(hundred())]);
    let mut config = config(&brokers);
    let batch_bytes = WrittenBatch::values(0, &["a", "b"]).bytes().len();
    config.buffer_bytes = 8 * batch_bytes;
    let client = Client::connect(config);
    let unpolled = client.reader(0, 0);
    // By itself it may fill all of the buffer.
    brokers.wait_for_fetch(|_, asked| asked.iter().any(|asked| asked.0 == 0));
    let mut polled = client.reader(1, 0);
    assert_eq!(client.read_to(&mut polled, 200).unwrap().len(), 200);
    let asked = brokers.cluster().fetches.iter().flat_map(|fetch| fetch.2.clone()).collect::<Vec<_>>();
    let furthest = asked.iter().filter(|asked| asked.0 == 0).map(|asked| asked.1).max();
    assert!(furthest.is_none_or(|offset| offset <= 16), "{asked:?}");
    // The share of each is now four batches, and it is asked for again when two of them are gone.
    let asks = asked.iter().filter(|asked| asked.0 == 1).count();
    assert!(asks < 70, "{asked:?}");
    drop(unpolled);
}

/// Each of them once had a batch beyond the buffer, so that a topic of many partitions took many times as much as there was.
#[test]
fn where_the_buffer_is_full_nothing_comes_but_what_is_polled_for() {
    let brokers = Brokers::start(1, (0..8).map(|_| Log::of(hundred())).collect());
    let mut config = config(&brokers);
    // The share of each is an eighth of a batch.
    config.buffer_bytes = WrittenBatch::values(0, &["a", "b"]).bytes().len();
    let client = Client::connect(config);
    let mut readers: Vec<_> = (0..8).map(|number| client.reader(number, 0)).collect();
    assert_eq!(client.read_to(&mut readers[0], 200).unwrap().len(), 200);
    // What is asked for where there is no room is asked for alone.
    let fetches = brokers.cluster().fetches.clone();
    let alone = fetches.iter().filter(|(_, _, asked)| asked.len() == 1).map(|(_, _, asked)| asked[0].0);
    assert!(alone.clone().all(|number| number == 0), "{:?}", alone.collect::<Vec<_>>());
    // And each is read to its end, whoever else is not polled.
    for reader in &mut readers[1..] {
        assert_eq!(client.read_to(reader, 200).unwrap().len(), 200);
    }
}

#[test]
fn a_partition_is_read_by_several_readers_at_different_places() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let client = Client::connect(config(&brokers));
    let mut readers = [client.reader(0, 0), client.reader(0, 100), client.reader(0, 200)];
    assert_eq!(client.read_to(&mut readers[0], 200).unwrap().len(), 200);
    assert_eq!(client.read_to(&mut readers[1], 200).unwrap().len(), 100);
    brokers.cluster().logs[0].batches.push(WrittenBatch::values(200, &["v"]));
    brokers.written();
    for reader in &mut readers {
        assert_eq!(client.read_to(reader, 201).unwrap(), [200]);
    }
}

#[test]
fn topics_are_described_one_by_one() {
    let brokers = Brokers::start(1, vec![Log::of(hundred()), Log::of(Vec::new())]);
    let client = Client::connect(config(&brokers));
    let topics = client.fetcher.topics(&[TOPIC]).unwrap();
    let topic = topics[0].as_ref().unwrap();
    assert_eq!((&*topic.name, topic.partitions.len(), topic.id.as_u128()), (TOPIC, 2, 7));
    assert_eq!(client.fetcher.all_topics().unwrap(), std::slice::from_ref(topic));
    brokers.cluster().topic_error = Some(kafka_protocol::error::ResponseError::UnknownTopicOrPartition);
    let unknown = client.fetcher.topics(&[TOPIC]).unwrap().remove(0).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Invalid);
}

#[test]
fn closing_ends_readers_and_calls() {
    let brokers = Brokers::start(1, vec![Log::of(hundred())]);
    let client = Client::connect(config(&brokers));
    let mut reader = client.reader(0, 0);
    client.fetcher.close();
    client.fetcher.close();
    assert_eq!(client.failure(&mut reader).kind(), ErrorKind::Closed);
    assert_eq!(client.fetcher.offsets(&partition(0)).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(client.fetcher.reader(&partition(0), 0).unwrap_err().kind(), ErrorKind::Closed);
}
