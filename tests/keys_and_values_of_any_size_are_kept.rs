//! The smallest key and the largest value are records like all others.
//!
//! Property: a key of no bytes and a value of 64 MiB are appended, folded, drained, read, scanned and found again after
//! a restart; a value above the limit is refused at the append, and nothing of that append is there.
//!
//! Method: a table of raw bytes on disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{Append, MAX_KEY_BYTES, MAX_VALUE_BYTES, Record};
use millpond::codec::Raw;
use millpond::{Engine, ErrorKind, GraphBuilder, TableOptions, Topic, TopicPartition};
use serde::{Deserialize, Serialize};

#[test]
fn keys_and_values_of_any_size_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = Topic::<(), Vec<u8>>::with_codec("nothing", Raw);
    let graph = GraphBuilder::new();
    let latest = graph.table(&nothing, TableOptions::with_codec("latest", Raw));
    let graph = graph.build().unwrap();
    let large: Vec<u8> =
        (0..64_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();

    let engine = Engine::open(dir.path(), &graph).unwrap();
    let view = engine.view(&latest).unwrap();
    for value in [Vec::new(), large.clone()] {
        let position = engine.append(&nothing, &(), &value).wait_blocking().unwrap();
        engine.wait_for_blocking(&position).unwrap();
        assert!(view.get(&()).unwrap() == Some(value));
    }
    let too_large = engine.append(&nothing, &(), &vec![7; MAX_VALUE_BYTES + 1]).wait_blocking().unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::Invalid, "{too_large}");
    assert!(too_large.message().contains("nothing/0"), "{too_large}");
    let at = TopicPartition::new("nothing", 0);
    let records = vec![Record::new("", "good"), Record::new(vec![0; MAX_KEY_BYTES + 1], "bad")];
    let error = engine.append_records(at.clone(), records.clone()).wait_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let error = engine
        .changelog()
        .append(vec![Append { partition: at.clone(), records }])
        .wait_blocking()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(engine.changelog().offsets(&at).unwrap(), 0..2, "nothing of a refused append is there");
    drop(view);
    engine.close_blocking().unwrap();

    let engine = Engine::open(dir.path(), &graph).unwrap();
    let view = engine.view(&latest).unwrap();
    assert!(view.get(&()).unwrap() == Some(large.clone()), "after a restart");
    let rows: Vec<((), Vec<u8>)> = view.scan().unwrap().map(Result::unwrap).collect();
    assert!(rows == [((), large)]);
    let position = engine.delete(&nothing, &()).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    assert_eq!(view.get(&()).unwrap(), None);
    assert_eq!(view.count().unwrap(), 0);
}

#[test]
fn an_empty_text_is_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let words = Topic::<String, u64>::new("words");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&words).group_by_key().count("counts");
    let graph = graph.build().unwrap();
    let engine = Engine::open(dir.path(), &graph).unwrap();
    for word in ["", "a", "", "\0", ""] {
        engine.append(&words, &word.to_owned(), &1).wait_blocking().unwrap();
    }
    engine.catch_up_blocking().unwrap();
    engine.drain_blocking().unwrap();
    let rows: Vec<(String, u64)> =
        engine.view(&counts).unwrap().scan().unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, [(String::new(), 3), ("\0".to_owned(), 1), ("a".to_owned(), 1)]);
}

/// Four KiB in each of many levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Nested {
    words: [[u64; 32]; 16],
    next: Option<Box<Nested>>,
}

/// It was appended, and then ended the process at each opening: the threads that fold had too little stack.
#[test]
fn a_value_of_many_large_levels_is_folded() {
    let nested = || {
        let bottom = Nested { words: [[0; 32]; 16], next: None };
        (1..120_u64)
            .fold(bottom, |next, level| Nested { words: [[level; 32]; 16], next: Some(Box::new(next)) })
    };
    let check = move || {
        let topic = Topic::<u32, Nested>::new("nested");
        let graph = GraphBuilder::new();
        let depths = graph.stream(&topic).map_values(|_, nested| nested.words[0][0]).to_table("depths");
        let latest = graph.table(&topic, "latest");
        let engine = Engine::builder(&graph.build().unwrap()).in_memory().shards(2).start().unwrap();
        for key in 0..4 {
            engine.append_blocking(&topic, &key, &nested()).unwrap();
        }
        engine.catch_up_blocking().unwrap();
        assert_eq!(engine.view(&depths).unwrap().get(&3).unwrap(), Some(119));
        assert!(engine.view(&latest).unwrap().get(&3).unwrap() == Some(nested()));
    };
    // That of whoever appends and asks is his own.
    std::thread::Builder::new().stack_size(64 << 20).spawn(check).unwrap().join().unwrap();
}
