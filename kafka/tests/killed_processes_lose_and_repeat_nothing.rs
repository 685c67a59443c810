//! Processes of a service that are killed and halted at random, holder and followers alike, lose nothing and append nothing
//! twice; and each that is left has the same tables.
//!
//! Method: three processes with a state each, which follow each other on a real broker; records are appended all the while by a
//! producer of the test's own, and after a random number of them a random process is killed and started again, or halted for
//! longer than the group waits for it and let go on. Then outputs are read as strangers read them and compared with all that was
//! appended, record by record. `MILLPOND_KILLS` says how often; 200 take about a quarter of an hour.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond_support::broker::Broker;
use millpond_support::environment::{seed, variable};
use millpond_support::process;
use millpond_support::random::Random;
use service::processes::{Service, run};
use std::time::{Duration, Instant};

const PROCESSES: usize = 3;

/// One process of the service.
#[test]
fn child() {
    if let Some(dir) = process::given() {
        run(&dir);
    }
}

#[test]
fn what_was_appended_has_its_outputs_once() {
    let Some(broker) = Broker::shared() else { return };
    live("blind", broker);
}

#[test]
fn so_it_has_where_the_order_of_partitions_matters() {
    let Some(broker) = Broker::shared() else { return };
    live("telling", broker);
}

/// Lives through some deaths, and is looked at afterwards.
fn live(kind: &'static str, broker: &Broker) {
    let mut random = Random::new(seed());
    let service = Service::new(broker, "killed", kind);
    let mut appending = service.appending();
    let mut children: Vec<_> = (0..PROCESSES).map(|number| service.spawn(number)).collect();
    for kill in 0..variable("MILLPOND_KILLS").unwrap_or(6) {
        for _ in 0..5 + random.below(60) {
            appending.some(50);
        }
        let number = random.index(PROCESSES);
        if random.below(4) == 0 {
            // Longer than the group waits for it.
            children[number].signal("-STOP");
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(3_500) {
                appending.some(50);
            }
            children[number].signal("-CONT");
        } else {
            let mut killed = children.remove(number);
            killed.kill();
            let (_, stderr, status) = killed.end();
            children.insert(number, service.spawn(number));
            assert!(status.code().is_none(), "kill {kill}: it had ended by itself: {stderr}");
        }
    }
    appending.some(50);
    service.end(children, &appending);
}
