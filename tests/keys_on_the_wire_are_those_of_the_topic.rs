//! Keys on the wire are those of the topic: in the codec that it names, whoever writes or reads them, while tables go on in the
//! order of the keys.
//!
//! Property: for each codec, what an engine, a producer, a graph and the test kit write of a key is what its Java serializer
//! writes, in the partition where the Java client puts it; what another system has written is read; bytes that are no key
//! become a dead letter that has them as they were; tables answer as if there were no codec, before and after a restart; and a
//! topic is refused to whoever would read its keys otherwise.
//!
//! Method: one graph (a count, a table of upserts, a sink) on a directory for each codec, and its log read as bytes.
#![cfg(feature = "rocks")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use millpond::changelog::{Changelog, Record, partition_for_key};
use millpond::codec::{BigEndian, CodecError, Json, Key, Ordered, Raw, Shape, Utf8, ValueCodec};
use millpond::testing::Driver;
use millpond::{
    Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, Result, StoredTable, Topic, TopicPartition,
};
use millpond_support::expect::refused;
use millpond_support::records::{read, value_bytes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

const PARTITIONS: u32 = 5;

struct Shop<K> {
    orders: Topic<K, u64>,
    copies: Topic<K, u64>,
    graph: Graph,
    counts: StoredTable<K, u64>,
    latest: StoredTable<K, u64>,
}

impl<K: Key> Shop<K> {
    fn new(codec: impl ValueCodec<K> + Copy) -> Self {
        let topic = |name| Topic::new(name).keys(codec).partitions(PARTITIONS);
        let (orders, copies) = (topic("orders"), topic("copies"));
        let graph = GraphBuilder::new();
        let counts = graph.stream(&orders).group_by_key().count("counts");
        let latest = graph.table(&orders, "latest");
        graph.stream(&orders).map_values(|_, value| value + 1).to(&copies);
        Self { graph: graph.build().unwrap(), orders, copies, counts, latest }
    }

    fn open(&self, dir: &Path) -> Engine {
        let policy = FailurePolicy::DeadLetter("dead".into());
        let engine = Engine::builder(&self.graph).dir(dir).shards(3).on_failure(policy).start().unwrap();
        engine.ready_blocking().unwrap();
        engine
    }

    /// The rows, in the order of the table.
    fn rows(&self, engine: &Engine) -> [Vec<(K, u64)>; 2] {
        engine.catch_up_blocking().unwrap();
        [&self.counts, &self.latest]
            .map(|table| engine.view(table).unwrap().scan().unwrap().collect::<Result<_>>().unwrap())
    }
}

/// The keys of a topic as bytes, by partition.
fn stored(log: &dyn Changelog, topic: &str) -> Vec<Vec<Option<Vec<u8>>>> {
    let key = |record: Record| record.key.map(|key| key.to_vec());
    let of = |partition| read(log, &TopicPartition::new(topic, partition)).unwrap();
    (0..PARTITIONS).map(|partition| of(partition).into_iter().map(key).collect()).collect()
}

/// Takes keys with what they are on the wire, and bytes that are no keys, all the way.
fn check<K: Key + Debug>(codec: impl ValueCodec<K> + Copy, keys: &[(K, &[u8])], broken: &[&[u8]]) {
    let shop = Shop::new(codec);
    let dir = tempfile::tempdir().unwrap();
    let engine = shop.open(dir.path());
    let mut expected: [BTreeMap<K, u64>; 2] = Default::default();
    let mut wire = vec![Vec::new(); PARTITIONS as usize];
    let mut note = |key: &K, bytes: &[u8], value| {
        *expected[0].entry(key.clone()).or_default() += 1;
        expected[1].insert(key.clone(), value);
        wire[partition_for_key(bytes, PARTITIONS) as usize].push(Some(bytes.to_vec()));
    };
    for (value, (key, bytes)) in (0..).zip(keys) {
        engine.append_blocking(&shop.orders, key, &value).unwrap();
        note(key, bytes, value);
        // As another system writes it.
        let record = Record::new(bytes.to_vec(), value_bytes(&shop.orders, &(value + 100)));
        let partition = partition_for_key(bytes, PARTITIONS);
        engine
            .append_records(TopicPartition::new("orders", partition), vec![record])
            .wait_blocking()
            .unwrap();
        note(key, bytes, value + 100);
    }
    let derived = wire.clone();
    for bytes in broken {
        let record = Record::new(bytes.to_vec(), value_bytes(&shop.orders, &7));
        engine.append_records(TopicPartition::new("orders", 0), vec![record]).wait_blocking().unwrap();
        wire[0].push(Some(bytes.to_vec()));
    }
    let rows = |expected: &[BTreeMap<K, u64>; 2]| {
        expected.each_ref().map(|rows| rows.clone().into_iter().collect::<Vec<_>>())
    };
    assert_eq!(shop.rows(&engine), rows(&expected));
    assert_eq!(stored(&**engine.changelog(), "orders"), wire);
    assert_eq!(stored(&**engine.changelog(), "copies"), derived);
    let letters = |engine: &Engine| -> Vec<_> {
        let letters = read(&**engine.changelog(), &TopicPartition::new("dead", 0)).unwrap();
        letters.into_iter().map(|letter| letter.key.unwrap().to_vec()).collect()
    };
    assert_eq!(letters(&engine), broken);
    engine.close_blocking().unwrap();

    let engine = shop.open(dir.path());
    assert_eq!(shop.rows(&engine), rows(&expected));
    let (gone, _) = &keys[0];
    engine.producer(&shop.orders).unwrap().delete_blocking(gone).unwrap();
    expected[1].remove(gone);
    assert_eq!(shop.rows(&engine), rows(&expected));
    assert_eq!(letters(&engine), broken, "each once");
    engine.close_blocking().unwrap();
    with_the_kit(&shop, keys);
}

/// What the test kit writes and reads of these keys.
fn with_the_kit<K: Key + Debug>(shop: &Shop<K>, keys: &[(K, &[u8])]) {
    let mut driver = Driver::new(&shop.graph).unwrap();
    for (key, _) in keys {
        driver.put(&shop.orders, key.clone(), 1, 0).unwrap();
    }
    driver.run().unwrap();
    let mut written = driver.records(&shop.copies).unwrap();
    written.sort_by(|a, b| a.key.cmp(&b.key));
    let mut sorted: Vec<_> = keys.iter().map(|(key, _)| key.clone()).collect();
    sorted.sort();
    assert_eq!(written.iter().map(|record| record.key.clone()).collect::<Vec<_>>(), sorted);
    assert_eq!(driver.input().unwrap().latest(&shop.orders), driver.table(&shop.latest).unwrap());
    // Whoever takes keys as they are reads any of them.
    let raw = driver.records(&Topic::<Vec<u8>, u64>::new("copies").keys(Raw).partitions(PARTITIONS)).unwrap();
    let mut found: Vec<_> = raw.into_iter().map(|record| record.key).collect();
    let mut wire: Vec<_> = keys.iter().map(|(_, bytes)| bytes.to_vec()).collect();
    found.sort();
    wire.sort();
    assert_eq!(found, wire);
}

#[test]
fn ours() {
    check(Ordered, &[(-1_i32, &[0x7f, 0xff, 0xff, 0xff]), (1, &[0x80, 0, 0, 1])], &[b"", &[0; 5]]);
}

#[test]
fn text() {
    // In the order of bytes `b` stands before `ba`; with our terminator it does, too, but not as these bytes.
    let keys = [("ba", "ba"), ("b", "b"), ("", ""), ("a\0", "a\0"), ("\u{e4}", "\u{e4}")];
    let keys = keys.map(|(key, wire)| (key.to_owned(), wire.as_bytes()));
    check(Utf8, &keys, &[b"\xff", b"a\xc3"]);
}

#[test]
fn numbers() {
    let keys: [(i64, &[u8]); 4] = [
        (-2, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
        (42, &[0, 0, 0, 0, 0, 0, 0, 42]),
        (i64::MIN, &[0x80, 0, 0, 0, 0, 0, 0, 0]),
        (0, &[0; 8]),
    ];
    check(BigEndian, &keys, &[b"", &[1, 2, 3, 4], &[0; 9]]);
    check(BigEndian, &[(1_i32, &[0, 0, 0, 1]), (-1, &[0xff; 4])], &[&[0; 8]]);
    check(BigEndian, &[(1_i16, &[0, 1]), (-1, &[0xff; 2])], &[&[0; 4]]);
    check(BigEndian, &[(7_u32, &[0, 0, 0, 7])], &[&[0x80, 0, 0, 0], b"7"]);
}

#[cfg(feature = "uuid")]
#[test]
fn uuids() {
    use millpond::codec::UuidText;
    use uuid::Uuid;
    let keys: [(Uuid, &[u8]); 2] = [
        (Uuid::from_u128(0x123e_4567_e89b_12d3_a456_4266_1417_4000), b"123e4567-e89b-12d3-a456-426614174000"),
        (Uuid::from_u128(7), b"00000000-0000-0000-0000-000000000007"),
    ];
    check(UuidText, &keys, &[b"123e4567e89b12d3a456426614174000", b"", &[7; 16]]);
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key, Serialize, Deserialize)]
struct Route {
    from: String,
    stops: u32,
}

#[test]
fn json() {
    let route = |from: &str, stops| Route { from: from.to_owned(), stops };
    let keys: [(Route, &[u8]); 2] =
        [(route("LHR", 2), br#"{"from":"LHR","stops":2}"#), (route("", 10), br#"{"from":"","stops":10}"#)];
    check(Json, &keys, &[b"{}", br#"{"from":"LHR","stops":-1}"#, b"", b"null"]);
}

#[test]
fn one_key_may_be_written_in_several_ways() {
    let shop = Shop::<Route>::new(Json);
    let mut driver = Driver::new(&shop.graph).unwrap();
    let ways = [
        r#"{"from":"LHR","stops":2}"#,
        r#"{ "stops": 2, "from": "LHR" }"#,
        r#"{"from":"\u004cHR","stops":2}"#,
    ];
    for (partition, way) in (0..).zip(ways) {
        let record = Record::new(way, value_bytes(&shop.orders, &1));
        driver.append(TopicPartition::new("orders", partition), vec![record]).unwrap();
    }
    driver.run().unwrap();
    let one = Route { from: "LHR".to_owned(), stops: 2 };
    assert_eq!(driver.table(&shop.counts).unwrap(), [(one, 3)].into());
    let keys: Vec<_> = stored(&**driver.changelog(), "copies").into_iter().flatten().flatten().collect();
    assert_eq!(keys, vec![ways[0].as_bytes().to_vec(); 3], "in one way by us");
}

#[test]
fn bytes() {
    check(Raw, &[(vec![0, 255, 0], &[0, 255, 0]), (vec![], &[])], &[]);
    check(Raw, &[([1_u8, 2], &[1, 2]), ([0, 0], &[0, 0])], &[b"", &[1, 2, 3]]);
}

/// As another system writes them, `k-7`.
#[derive(Debug, Clone, Copy)]
struct Prefixed;

impl ValueCodec<u16> for Prefixed {
    fn id(&self) -> &'static str {
        "prefixed"
    }

    fn encode(&self, key: &u16, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if *key == 666 {
            return Err(CodecError::new("666 is not written"));
        }
        out.extend(format!("k-{key}").bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u16, CodecError> {
        let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_prefix("k-"));
        let number = text.and_then(|text| text.parse().ok());
        number.filter(|_| bytes.len() < 6).ok_or_else(|| CodecError::new("no key of theirs"))
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::named("k-number"))
    }
}

#[test]
fn a_codec_of_ones_own() {
    check(Prefixed, &[(7, b"k-7"), (10, b"k-10"), (2, b"k-2")], &[b"7", b"k-", b"k-1000"]);
}

/// A key that its codec does not write, or not so that it can be read again, is refused where it is written.
#[test]
fn a_key_that_cannot_be_read_back_is_not_written() {
    let shop = Shop::new(Prefixed);
    let engine = Engine::builder(&shop.graph).in_memory().start().unwrap();
    let append = |key: u16| engine.append_blocking(&shop.orders, &key, &1);
    refused(append(666), ErrorKind::User, &["topic `orders`: a key does not encode", "666 is not written"]);
    refused(append(1000), ErrorKind::User, &["topic `orders`", "what is written of it is not read back"]);
    append(7).unwrap();
    assert_eq!(shop.rows(&engine)[0], [(7, 1)]);

    // In a sink it is the failure of the record that it was made from.
    let ids = Topic::<u16, u64>::new("ids");
    let graph = GraphBuilder::new();
    graph.stream(&ids).to(&shop.orders);
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    driver.put(&ids, 7, 1, 0).unwrap();
    driver.put(&ids, 666, 1, 0).unwrap();
    let told = ["ids/0 offset 1", "a key for topic `orders` does not encode: 666 is not written"];
    refused(driver.run(), ErrorKind::User, &told);
}

#[test]
fn a_topic_is_refused_to_whoever_reads_its_keys_otherwise() {
    let shop = Shop::<String>::new(Utf8);
    let dir = tempfile::tempdir().unwrap();
    let engine = shop.open(dir.path());
    let told = ["topic `orders`", "its keys are written in `utf8`, not in `millpond`", "Topic::revision(1)"];
    let ours = Topic::<String, u64>::new("orders").partitions(PARTITIONS);
    refused(engine.producer(&ours), ErrorKind::Invalid, &told);
    let numbers = Topic::<i64, u64>::new("orders").keys(BigEndian).partitions(PARTITIONS);
    refused(engine.producer(&numbers), ErrorKind::Invalid, &["in `utf8`, not in `big-endian`"]);
    engine.close_blocking().unwrap();
    // It is remembered, by whoever opens the log next.
    refused(
        Engine::builder(&Shop::<String>::new(Ordered).graph).dir(dir.path()).start(),
        ErrorKind::Invalid,
        &told,
    );
    let graph = GraphBuilder::new();
    graph.stream(&shop.orders).group_by_key().count("counts");
    graph.stream(&ours).group_by_key().count("others");
    refused(graph.build(), ErrorKind::Invalid, &["topic `orders` is used with two types in one graph"]);
    shop.open(dir.path()).producer(&shop.orders).unwrap();
}
