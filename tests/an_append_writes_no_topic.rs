//! Appending to a topic that is there writes its records and nothing about the topic.
//!
//! Property: `Engine::append` and `Engine::delete` make no write of the topic's configuration, and a handle that names
//! the topic with other retention than the graph does not change it.
//!
//! Method: the step that writes a topic fails from now on, which every append must not notice. Each append once made
//! such a write, synced and apart from the group, and overwrote the topic's retention with that of its handle.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::{EmbeddedChangelog, EmbeddedOptions, TopicConfig};
use millpond::fault::{self, Action};
use millpond::{Engine, GraphBuilder, Topic};
use std::sync::Arc;

#[test]
fn an_append_writes_no_topic() {
    let dir = tempfile::tempdir().unwrap();
    let short = TopicConfig::default().retention_bytes(0);
    let events = Topic::<u32, u64>::new("events").config(short);
    let graph = GraphBuilder::new();
    let latest = graph.table(&events, "latest");
    let options = EmbeddedOptions::default().segment_bytes(1);
    let log = Arc::new(EmbeddedChangelog::open(dir.path(), options).unwrap());
    let engine = Engine::builder(&graph.build().unwrap()).changelog(log.clone()).in_memory().start().unwrap();

    fault::arm("changelog.topic.before_write", 1, Action::Error).unwrap();
    let other_handle = Topic::<u32, u64>::new("events");
    for key in 0..20 {
        engine.append(&events, &key, &1).wait_blocking().unwrap();
        engine.append(&other_handle, &key, &2).wait_blocking().unwrap();
        engine.delete(&other_handle, &key).wait_blocking().unwrap();
    }
    let position = engine.append(&events, &7, &3).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    assert_eq!(engine.view(&latest).unwrap().count().unwrap(), 1);

    // The point was armed all the while: a topic that is new comes upon it.
    assert!(engine.append(&Topic::<u32, u64>::new("new"), &1, &1).wait_blocking().is_err());
    assert!(fault::fired("changelog.topic.before_write"));
}
