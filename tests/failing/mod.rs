//! What the tests of failing records share: a changelog with bad records in it, and the dead letters.

use millpond::changelog::{Changelog, MemoryChangelog, Record};
use millpond::codec::{Bincode, CodecError, KeyCodec, ValueCodec};
use millpond::store::StateStore;
use millpond::{Engine, EngineBuilder, Graph, Topic, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn key_of(offset: u64) -> u32 {
    (offset % 11) as u32
}

pub(crate) fn record(offset: u64, value: Vec<u8>) -> Record {
    let mut key = Vec::new();
    key_of(offset).encode_key(&mut key);
    Record::new(key, value).at(offset as i64)
}

pub(crate) fn encoded<V: millpond::codec::Value>(topic: &Topic<u32, V>, value: &V) -> Vec<u8> {
    let mut bytes = Vec::new();
    topic.codec().encode(value, &mut bytes).unwrap();
    bytes
}

pub(crate) fn engine(
    graph: &Graph,
    log: &MemoryChangelog,
    store: &Arc<dyn StateStore>,
    shards: usize,
) -> EngineBuilder {
    Engine::builder(graph).changelog(Arc::new(log.reopen())).store(Arc::clone(store)).shards(shards)
}

/// How often each key occurs in `offsets`.
pub(crate) fn occurrences(offsets: impl Iterator<Item = u64>) -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for offset in offsets {
        *counts.entry(key_of(offset)).or_default() += 1;
    }
    counts
}

pub(crate) fn dead_letters(log: &dyn Changelog) -> Vec<(Record, BTreeMap<String, String>)> {
    let mut reader = log.reader(&TopicPartition::new("dead", 0), 0).unwrap();
    let mut letters = Vec::new();
    loop {
        let batches = reader.poll(1 << 20).unwrap();
        if batches.is_empty() {
            return letters;
        }
        for batch in batches {
            for record in &batch.decode().unwrap() {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let headers = record.headers().map(|(name, value)| (name.to_owned(), text(value))).collect();
                letters.push((record.to_record(), headers));
            }
        }
    }
}

/// A codec that cannot write 666.
pub(crate) struct Picky;

impl ValueCodec<u64> for Picky {
    fn id(&self) -> &'static str {
        "picky"
    }

    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if *value == 666 {
            return Err(CodecError::new("the number of the beast"));
        }
        Bincode.encode(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        Bincode.decode(bytes)
    }
}
