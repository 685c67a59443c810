//! A holder that is halted (SIGSTOP) loses its place to a follower, which goes on where the last commit was. When it is let go on
//! it finds that out before anything of what it had in hand counts, says that it follows, and its tables become those of the
//! others.
//!
//! Method: two processes of a service on a real broker, under load all the while. The one that says it is the holder is halted,
//! with a transaction open as likely as not, until the other one says it is, has committed outputs of its own, and so much time
//! has passed as `MILLPOND_HALT_SECONDS` says: 5 seconds, unless set, where the group waits for 2 of them. Then outputs are read
//! as strangers read them, record by record, and the tables of both are compared.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::TopicPartition;
use millpond::changelog::prelude::*;
use millpond_support::broker::Broker;
use millpond_support::environment::variable;
use millpond_support::process;
use service::processes::{Appending, Service, run};
use std::time::{Duration, Instant};

/// Beyond the time that it is halted for, nothing takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// One process of the service.
#[test]
fn child() {
    if let Some(dir) = process::given() {
        run(&dir);
    }
}

#[test]
fn it_follows_when_it_goes_on() {
    halted("blind");
}

#[test]
fn it_takes_back_what_it_has_interleaved_otherwise() {
    halted("telling");
}

fn halted(kind: &'static str) {
    let Some(broker) = Broker::shared() else { return };
    let halt = Duration::from_secs(variable("MILLPOND_HALT_SECONDS").unwrap_or(5));
    let service = Service::new(broker, "halted", kind);
    let mut appending = service.appending();
    let children = [0, 1].map(|number| service.spawn(number));
    let is = |number: usize, role: &str| service.roles(number).last().is_some_and(|last| last == role);
    let mut until = |what: &str, limit: Duration, so: &mut dyn FnMut() -> bool| {
        under_load(&mut appending, what, limit, so);
    };
    until("one of them holds, and the other one follows", LIMIT, &mut || {
        (0..2).any(|number| is(number, "Holder") && is(1 - number, "Follower"))
    });
    let holder = usize::from(is(1, "Holder"));
    let follower = 1 - holder;
    let before = committed(&service);
    until("the holder commits", LIMIT, &mut || committed(&service) >= before + 500);

    children[holder].signal("-STOP");
    let (began, said) = (Instant::now(), service.roles(holder).len());
    until("the follower has taken over", LIMIT, &mut || is(follower, "Holder"));
    let before = committed(&service);
    until("it commits, and time passes", LIMIT + halt, &mut || {
        committed(&service) >= before + 500 && began.elapsed() >= halt
    });
    assert_eq!(service.roles(holder).len(), said, "it was not halted");
    children[holder].signal("-CONT");

    until("the one that was halted says that it follows", LIMIT, &mut || is(holder, "Follower"));
    let before = committed(&service);
    until("the other one goes on", LIMIT, &mut || committed(&service) >= before + 500);
    assert!(is(follower, "Holder"), "{:?}", service.roles(follower));
    assert!(
        !service.roles(holder)[said..].iter().any(|role| role == "Holder"),
        "{:?}",
        service.roles(holder)
    );
    service.end(children.into(), &appending);
}

/// Appends until it is so.
fn under_load(appending: &mut Appending, what: &str, limit: Duration, so: &mut dyn FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < limit, "not in {limit:?}: {what}");
        appending.some(20);
    }
}

/// How far the outputs are committed, over all partitions.
fn committed(service: &Service<'_>) -> u64 {
    let ids = (0..3).map(|partition| TopicPartition::new(service.case.output.name().clone(), partition));
    ids.map(|id| service.log.latest_offsets(&id).unwrap().end).sum()
}
