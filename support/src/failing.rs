//! What the tests of failing records share: a changelog with bad records in it, and the dead letters.

#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "offsets are small")]

use crate::records::{self, key_bytes};
use millpond::changelog::{Changelog, Header, MemoryChangelog, Record};
use millpond::codec::{Bincode, CodecError, ValueCodec};
use millpond::store::StateStore;
use millpond::{Engine, EngineBuilder, FailurePolicy, Graph, Stepper, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The key of the record at `offset`.
pub fn key_of(offset: u64) -> u32 {
    (offset % 11) as u32
}

/// A record with this value, at the time that is its offset.
pub fn record(offset: u64, value: Vec<u8>) -> Record {
    Record::new(key_bytes(&key_of(offset)), value).at(offset as i64)
}

/// An engine on a store and on what the changelog has by now.
pub fn engine(
    graph: &Graph,
    log: &MemoryChangelog,
    store: &Arc<dyn StateStore>,
    shards: usize,
) -> EngineBuilder {
    Engine::builder(graph).changelog(Arc::new(log.reopen())).store(Arc::clone(store)).shards(shards)
}

/// How often each key occurs in `offsets`.
pub fn occurrences(offsets: impl Iterator<Item = u64>) -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for offset in offsets {
        *counts.entry(key_of(offset)).or_default() += 1;
    }
    counts
}

/// A stepper that makes dead letters of what fails, in the topic `dead`.
pub fn dead_lettering(
    graph: &Graph,
    log: &MemoryChangelog,
    store: &Arc<dyn StateStore>,
    shards: usize,
) -> Stepper {
    let policy = FailurePolicy::DeadLetter("dead".into());
    engine(graph, log, store, shards).on_failure(policy).stepper().unwrap()
}

/// The dead letters, each with its headers by name.
pub fn dead_letters(log: &dyn Changelog) -> Vec<(Record, BTreeMap<String, String>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let letters = records::read(log, &TopicPartition::new("dead", 0)).unwrap();
    let headed = letters.into_iter().map(|letter| {
        let header =
            |header: &Header| (header.name.clone(), text(header.value.as_deref().unwrap_or_default()));
        let headers = letter.headers.iter().map(header).collect();
        (letter, headers)
    });
    headed.collect()
}

/// A codec that cannot write 666.
#[derive(Debug)]
pub struct Picky;

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
