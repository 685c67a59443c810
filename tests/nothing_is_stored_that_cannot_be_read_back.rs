//! Whatever is appended or folded is read back as it was, by every codec; what a codec cannot read back is refused, its
//! type when it is declared, a single value as the failure of its record.
//!
//! Method: schemas of every kind that serde knows are made up, with values of theirs, and go through an engine whose state
//! is closed after each step, so that every row is read from the store by the next fold: appended, kept as the last
//! value, collected, written to a derived topic and read from there. What was taken must equal a plain model. And the
//! cases that once were stored for ever: enums with tags and `serde_json::Value` in the default codec, which was found out
//! when the next record of their key stopped the engine; a variant behind a skipped one, which came back as another; NaN in
//! JSON; values that their own type refuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod shapes;

use millpond::changelog::backend::{ReadLog, TopicLog};
use millpond::codec::{Bincode, CodecError, Json, Raw, Shape, Value, ValueCodec};
use millpond::{
    ErrorKind, FailurePolicy, Graph, GraphBuilder, Result, Stepper, StoredTable, TableOptions, Topic,
    TopicPartition,
};
use millpond_support::in_memory::{InMemory, catch_up};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shapes::{Dyn, schemas, values};
use std::collections::BTreeMap;

/// A codec that is asked anew each time what its type looks like, since the one type here looks different in every case.
#[derive(Clone)]
struct Fresh<C> {
    codec: C,
    /// A codec with state is asked for each of its uses.
    _state: u8,
}

fn fresh<C>(codec: C) -> Fresh<C> {
    Fresh { codec, _state: 0 }
}

impl<V, C: ValueCodec<V>> ValueCodec<V> for Fresh<C> {
    fn id(&self) -> &'static str {
        self.codec.id()
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.codec.encode(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        self.codec.decode(bytes)
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        self.codec.shape()
    }
}

/// A graph that keeps, collects and passes on.
struct Service<V> {
    graph: Graph,
    topic: Topic<u8, V>,
    latest: StoredTable<u8, V>,
    all: StoredTable<u8, Vec<V>>,
    copied: StoredTable<u8, V>,
}

impl<V: Value> Service<V> {
    fn new<C: Clone + ValueCodec<V> + ValueCodec<Vec<V>>>(codec: &C) -> Result<Self> {
        let topic = Topic::with_codec("in", codec.clone());
        let out = Topic::<u8, V>::with_codec("out", codec.clone());
        let graph = GraphBuilder::new();
        let stream = graph.stream(&topic);
        let latest = stream.to_table(TableOptions::with_codec("latest", codec.clone()));
        let all = stream.group_by_key().fold(
            TableOptions::with_codec("all", codec.clone()),
            Vec::new,
            |all, _, value| all.push(value),
        );
        stream.to(&out);
        let copied = graph.table(&out, TableOptions::with_codec("copied", codec.clone()));
        Ok(Self { graph: graph.build()?, topic, latest, all, copied })
    }
}

fn rows<V: Value>(stepper: &Stepper, table: &StoredTable<u8, V>) -> BTreeMap<u8, V> {
    stepper.view(table).unwrap().scan().unwrap().collect::<Result<_>>().unwrap()
}

/// Sends `values` through; says which were taken. `None` if the type was refused.
fn taken<V, C>(codec: &C, values: &[V]) -> Option<Vec<bool>>
where
    V: Value + PartialEq + std::fmt::Debug,
    C: Clone + ValueCodec<V> + ValueCodec<Vec<V>>,
{
    let place = InMemory::new();
    let service = match Service::new(codec) {
        Ok(service) => service,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            let refused = place.producer(&Topic::<u8, V>::with_codec("in", codec.clone())).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
            assert!(place.log.topics().unwrap().is_empty(), "nothing was created");
            return None;
        }
    };
    let producer = place.producer(&service.topic).unwrap();
    let (mut latest, mut all) = (BTreeMap::new(), BTreeMap::<u8, Vec<V>>::new());
    let mut taken = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let key = u8::try_from(number % 2).unwrap();
        match producer.put(&key, value).wait_blocking() {
            Ok(_) => {
                latest.insert(key, value.clone());
                all.entry(key).or_default().push(value.clone());
                taken.push(true);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::User, "{error}");
                taken.push(false);
            }
        }
        // Each by another stepper, so that nothing is in memory.
        place.fold(&service.graph, 3).unwrap();
    }
    let end = place.log.offsets(&TopicPartition::new("in", 0)).unwrap().end;
    assert_eq!(end, taken.iter().filter(|taken| **taken).count() as u64, "what was refused is not there");
    let stepper = place.stepper(&service.graph).unwrap();
    assert_eq!(rows(&stepper, &service.latest), latest);
    assert_eq!(rows(&stepper, &service.copied), latest);
    assert_eq!(rows(&stepper, &service.all), all);
    Some(taken)
}

fn cases() -> impl Strategy<Value = (shapes::Schema, Vec<Dyn>)> {
    schemas().prop_flat_map(|schema| {
        let values = proptest::collection::vec(values(&schema), 1..6);
        (Just(schema), values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_shape_goes_through_every_codec((schema, values) in cases()) {
        shapes::reads(&schema);
        let bincode = taken(&fresh(Bincode), &values);
        if schema.needs_names() {
            prop_assert_eq!(&bincode, &None, "it cannot be read back");
        } else if !schema.is_special() {
            prop_assert_eq!(&bincode, &Some(vec![true; values.len()]));
        }
        let json = taken(&fresh(Json), &values);
        if schema.suits_json() && !schema.is_special() {
            prop_assert_eq!(&json, &Some(vec![true; values.len()]));
        }
    }

    #[test]
    fn bytes_and_texts_go_through_raw(bytes: Vec<Vec<u8>>, texts in proptest::collection::vec(".{0,8}", 1..4)) {
        let place = InMemory::new();
        let (b, t) = (Topic::<u8, Vec<u8>>::with_codec("b", Raw), Topic::<u8, String>::with_codec("t", Raw));
        let graph = GraphBuilder::new();
        let bs = graph.table(&b, TableOptions::with_codec("bs", Raw));
        let ts = graph.table(&t, TableOptions::with_codec("ts", Raw));
        let graph = graph.build().unwrap();
        let (put_b, put_t) = (place.producer(&b).unwrap(), place.producer(&t).unwrap());
        for value in &bytes {
            put_b.put(&0, value).wait_blocking().unwrap();
        }
        for value in &texts {
            put_t.put(&0, value).wait_blocking().unwrap();
        }
        place.fold(&graph, 3).unwrap();
        let stepper = place.stepper(&graph).unwrap();
        prop_assert_eq!(rows(&stepper, &bs).remove(&0), bytes.last().cloned());
        prop_assert_eq!(rows(&stepper, &ts).remove(&0), texts.last().cloned());
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Opened { by: String },
    Closed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Opened(String),
    Closed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Shifted {
    Opened,
    #[serde(skip)]
    #[allow(dead_code, reason = "it only shifts the others")]
    Internal,
    Paid,
    Closed,
}

fn refused_by_default<V>(values: &[V])
where
    V: Value + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
{
    assert_eq!(taken(&Bincode, values), None, "{values:?}");
    let graph = GraphBuilder::new();
    let topic = Topic::<u8, u8>::new("in");
    let value = values[0].clone();
    graph.stream(&topic).map_values(move |_, _| value.clone()).to_table("rows");
    let error = graph.build().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("`rows`") && error.message().contains("`Json`"), "{error}");
    assert_eq!(taken(&Json, values), Some(vec![true; values.len()]), "{values:?}");
}

#[test]
fn a_type_that_the_default_codec_cannot_read_is_refused_where_it_is_declared() {
    refused_by_default(&[Tagged::Opened { by: "ada".to_owned() }, Tagged::Closed]);
    refused_by_default(&[Untagged::Text("ada".to_owned()), Untagged::Number(7)]);
    refused_by_default(&[serde_json::json!({"a": [1, null, "b"]}), serde_json::json!(null)]);
    refused_by_default(&[Shifted::Paid, Shifted::Closed, Shifted::Opened]);
    // Tags beside their content may do, by the release of serde: then they come back.
    let adjacent = [Adjacent::Opened("ada".to_owned()), Adjacent::Closed, Adjacent::Opened("bo".to_owned())];
    assert!([None, Some(vec![true; 3])].contains(&taken(&Bincode, &adjacent)));
    assert_eq!(taken(&Json, &adjacent), Some(vec![true; 3]));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Percent(u8);

impl TryFrom<u8> for Percent {
    type Error = String;

    fn try_from(value: u8) -> std::result::Result<Self, String> {
        if value <= 100 { Ok(Self(value)) } else { Err(format!("{value} %")) }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

/// A pair of which the first is not above the second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)")]
struct Ordered(u32, u32);

impl TryFrom<(u32, u32)> for Ordered {
    type Error = String;

    fn try_from((a, b): (u32, u32)) -> std::result::Result<Self, String> {
        if a <= b { Ok(Self(a, b)) } else { Err(format!("{a} is above {b}")) }
    }
}

/// What is written of it is not all read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OneWay {
    a: u8,
    #[serde(skip_deserializing)]
    b: u8,
}

#[test]
fn a_value_that_its_own_type_refuses_is_not_appended() {
    // Many good ones first: it is not only the first values that are looked at.
    let mut values = vec![Percent(1); 70];
    values.extend([Percent(200), Percent(2)]);
    let expected: Vec<bool> = values.iter().map(|value| value.0 <= 100).collect();
    assert_eq!(taken(&Bincode, &values), Some(expected.clone()));
    assert_eq!(taken(&Json, &values), Some(expected));
    // What no sample shows, as samples are few and chosen to fit.
    let ordered = |a, b| Ordered(a, b);
    let mut values = vec![ordered(1, 2); 70];
    values.extend([ordered(3, 2), ordered(2, 2)]);
    let expected: Vec<bool> = values.iter().map(|value| value.0 <= value.1).collect();
    assert_eq!(taken(&Bincode, &values), Some(expected.clone()));
    assert_eq!(taken(&Json, &values), Some(expected));
    let mut values = vec![OneWay { a: 1, b: 0 }; 70];
    values.extend([OneWay { a: 1, b: 5 }, OneWay { a: 2, b: 0 }]);
    let expected: Vec<bool> = values.iter().map(|value| value.b == 0).collect();
    assert_eq!(taken(&Json, &values), Some(expected));
    let floats = [1.5, f64::NAN, f64::INFINITY, -0.0];
    assert_eq!(taken(&Json, &floats), Some(vec![true, false, false, true]));
    let nested = [Some(None), None, Some(Some(1_u8))];
    assert_eq!(taken(&Json, &nested), Some(vec![false, true, true]));
    assert_eq!(taken(&Bincode, &nested), Some(vec![true; 3]), "as the message advises");
}

/// A value that cannot be kept is the failure of the record that led to it, in a table and in a derived topic; it is not
/// found out at the next record of its key, wherever epochs are cut.
#[test]
fn a_value_that_cannot_be_kept_fails_at_its_record() {
    let orders = Topic::<u8, f64>::new("orders");
    let ratios = Topic::<u8, f64>::with_codec("ratios", Json);
    for (derived, epoch) in [(false, 1), (false, 10), (true, 1), (true, 10)] {
        let graph = GraphBuilder::new();
        let stream = graph.stream(&orders);
        let count = stream.group_by_key().count("count");
        let last = if derived {
            stream.to(&ratios);
            graph.table(&ratios, TableOptions::with_codec("last", Json))
        } else {
            stream.to_table(TableOptions::with_codec("last", Json))
        };
        let graph = graph.build().unwrap();
        let place = InMemory::new();
        let producer = place.producer(&orders).unwrap();
        for value in [1.0, f64::NAN, 2.0] {
            producer.put(&7, &value).wait_blocking().unwrap();
        }
        // Without dead letters the engine stops at the record, and names it, as often as it is asked.
        for _ in 0..2 {
            let mut stepper = place.stepper(&graph).unwrap();
            let error = loop {
                match stepper.epoch(epoch) {
                    Ok(ran) => assert!(ran, "it did not fail"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::User, "{error}");
            assert!(
                error.to_string().contains("orders/0 offset 1") && error.to_string().contains("NaN"),
                "{error}"
            );
            stepper.drain().unwrap();
        }
        let policy = || FailurePolicy::DeadLetter("dead".into());
        let open = || place.engine(&graph).shards(2).on_failure(policy()).stepper().unwrap();
        catch_up(&mut open(), epoch).unwrap();
        let stepper = open();
        assert_eq!(rows(&stepper, &count), [(7, 2)].into());
        assert_eq!(rows(&stepper, &last), [(7, 2.0)].into());
        assert_eq!(place.log.offsets(&TopicPartition::new("dead", 0)).unwrap(), 0..1);
    }
}
