//! Nobody is left to believe that a log does what it does not: holds and retention are refused where it takes none. And where it
//! cannot be reached for a while an engine says so, and goes on answering.
//!
//! Method: a log of one's own with and without these abilities, which can be given a trouble.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::prelude::*;
use millpond::changelog::{Admin, TopicConfig};
use millpond::{Engine, ErrorKind, GraphBuilder, Health, Position, Topic};
use millpond_support::expect::refused;
use millpond_support::own_log::OwnLog;
use millpond_support::records;
use std::sync::Arc;
use std::time::Duration;

fn numbers() -> Topic<u8, u64> {
    Topic::new("numbers").config(TopicConfig::default().retention_age(Duration::from_secs(60)))
}

fn start(log: &Arc<OwnLog>) -> (Engine, millpond::StoredTable<u8, u64>) {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&numbers()).group_by_key().count("counts");
    let engine = Engine::builder(&graph.build().unwrap()).in_memory().changelog(log.clone()).start().unwrap();
    engine.ready_blocking().unwrap();
    (engine, counts)
}

#[test]
fn holds_and_retention_are_refused_where_a_log_takes_none() {
    let age = Some(Duration::from_secs(1));
    for takes_them in [false, true] {
        let mut abilities = OwnLog::usual();
        (abilities.keeps_holds, abilities.sets_retention) = (takes_them, takes_them);
        let log = OwnLog::with(abilities);
        // Also over a topic that is there, whose retention the graph sets: that is no reason not to run.
        log.create_topic("numbers", &TopicConfig::default()).unwrap();
        let (engine, _) = start(&log);
        let admin = Admin::new(log.clone());
        let position: Position = [(records::partition(&numbers(), 0), 0)].into_iter().collect();
        if takes_them {
            engine.hold("backup").unwrap();
            admin.hold("export", &position).unwrap();
            admin.set_retention("numbers", age, None).unwrap();
        } else {
            let says = ["nothing is held for `backup`", "OwnLog", "Engine::checkpoint"];
            refused(engine.hold("backup"), ErrorKind::Invalid, &says);
            refused(admin.hold("export", &position), ErrorKind::Invalid, &["nothing is held for `export`"]);
            refused(
                admin.set_retention("numbers", age, None),
                ErrorKind::Invalid,
                &["numbers", "retention.ms"],
            );
        }
        engine.close_blocking().unwrap();
    }
}

#[test]
fn a_log_that_is_away_is_told_and_answers_go_on() {
    let log = OwnLog::new();
    let (engine, counts) = start(&log);
    let position = engine.append(&numbers(), &1, &1).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    assert_eq!((engine.health(), engine.stats().trouble), (Health::Running, None));
    log.in_trouble(Some("the broker is away"));
    assert_eq!(engine.health(), Health::Waiting { reason: "the broker is away".to_owned() });
    assert_eq!(engine.stats().trouble.as_deref(), Some("the broker is away"));
    assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(1));
    log.in_trouble(None);
    assert_eq!(engine.health(), Health::Running);
    log.in_trouble(Some("the broker is away"));
    engine.close_blocking().unwrap();
    assert_eq!(engine.health(), Health::Closed);
}
