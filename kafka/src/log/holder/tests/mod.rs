//! Whatever happens between processes of a service and the brokers, each epoch is in the log once, in order, and with its
//! outputs; nobody is told otherwise; and once nothing happens any more it goes on.
//!
//! Method: `Tenure` and `Writer` as they are, over [pretended brokers](brokers), which know of transactions what Kafka's do, and
//! under [pretended engines](process), which do what an engine does with roles. Everything runs on one thread: at each call of a broker, and
//! between the calls of an engine, anything else may happen first ([`World::meanwhile`]). What that is, and what goes wrong, is
//! drawn from a tape, which proptest makes and cuts shorter; at its end nothing goes wrong any more. No time passes: nothing
//! waits for longer than until something else has happened. `MILLPOND_TRACE` has each step printed.
//!
//! What it cannot make: what happens within one lock or one wait of several threads, time-outs, an input of several partitions,
//! marks that cannot be read yet when a process begins, and records of one transaction that overtake each other.
//!
//! It caught: the last mark was deleted, as only the end of its transaction was young enough to be kept; a process that was told that it follows, and was fenced before it could say that it knows, was taken to have taken
//! back what it had not; a build was given no marks while those that the main task had passed were on their way, and cut as it
//! liked; marks that were deleted on the way to them stopped the engine; and one that was fenced while it looked for the last
//! mark took that of the other for it, so that it made durable what it had cut within an epoch of the other.

mod brokers;
mod client;
mod process;
mod world;

use super::state::Stage;
use super::tenure::Tenure;
use crate::Kafka;
use crate::log::KafkaChangelog;
use brokers::MARKS;
use client::Client;
use millpond_engine::changelog::{Ack, Changelog, Commit, EpochLog, EpochMark, Role, RoleLog};
use millpond_engine::{Error, ErrorKind, Position};
use process::at;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use world::World;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn each_epoch_is_in_the_log_once_and_in_order(tape in vec(any::<u16>(), 0..1500)) {
        let world = World::new(tape);
        world.run();
        world.calm_down();
    }
}

/// A world in which nothing goes wrong, and the first process holds.
fn held() -> Arc<World> {
    let world = World::new(Vec::new());
    world.process(0).assign(true);
    world.process(0).write();
    assert_eq!(world.process(0).tenure.role(), Role::Holder);
    world
}

#[test]
fn whoever_follows_is_given_what_another_of_its_tasks_was_given() {
    let world = held();
    let (holder, follower) = (world.process(0), world.process(1));
    for _ in 0..3 {
        holder.step(&world);
        holder.write();
    }
    world.brokers().mark_ends();
    let given = follower.tenure.epochs_after(&Position::new()).unwrap();
    assert_eq!(given.len(), 3);
    // A build begins at the front, and what it has to be given is on its way.
    follower.client.delay.store(2, Ordering::Relaxed);
    assert_eq!(follower.tenure.epochs_after(&Position::new()).unwrap(), given);
}

#[test]
fn whoever_held_is_given_its_own_marks() {
    let world = held();
    let holder = world.process(0);
    for _ in 0..3 {
        holder.step(&world);
        holder.write();
    }
    holder.assign(false);
    holder.write();
    assert_eq!(holder.tenure.state().stage, Stage::Following);
    // The last one cannot be read yet.
    let given = holder.tenure.epochs_after(&at(2)).unwrap();
    assert_eq!(given.len(), 1);
    world.brokers().mark_ends();
    assert_eq!(holder.tenure.epochs_after(&at(2)).unwrap(), given);
    assert_eq!(holder.tenure.epochs_after(&at(3)).unwrap(), []);
}

#[test]
fn marks_that_are_deleted_on_the_way_to_them_are_passed_over() {
    let world = held();
    let (holder, follower) = (world.process(0), world.process(1));
    // It stands before the first one.
    assert_eq!(follower.tenure.epochs_after(&Position::new()).unwrap(), []);
    for _ in 0..3 {
        holder.step(&world);
        holder.write();
    }
    world.brokers().mark_ends();
    let last = world.brokers().marks.last().unwrap().offset;
    world.brokers().delete_marks(last);
    let given = follower.tenure.epochs_after(&Position::new()).unwrap();
    assert_eq!(given.len(), 1);
}

/// It was once deleted, where only the end of its own transaction was younger than what is kept; and whoever began with an
/// empty state took over from nothing.
#[test]
fn the_last_mark_is_kept_and_what_is_not_durable() {
    let world = held();
    let holder = world.process(0);
    for _ in 0..3 {
        holder.step(&world);
        holder.write();
    }
    world.brokers().mark_ends();
    let marks: Vec<u64> = world.brokers().marks.iter().map(|committed| committed.offset).collect();
    let end = world.brokers().end(MARKS);
    assert!(end > marks[2] + 1, "the end of a transaction stands behind its marks");
    // Nothing is durable here yet, so all of them would be read again.
    assert_eq!(holder.tenure.forgettable(end).unwrap(), marks[0]);
    holder.tenure.hold(false, &at(2));
    assert_eq!(holder.tenure.forgettable(marks[1]).unwrap(), marks[1]);
    assert_eq!(holder.tenure.forgettable(end).unwrap(), marks[2]);
    holder.tenure.hold(false, &at(3));
    assert_eq!(holder.tenure.forgettable(end).unwrap(), marks[2]);
}

/// It was once taken to have taken back what it had published, and made that durable.
#[test]
fn whoever_is_fenced_before_it_says_that_it_follows_has_to_step_back() {
    let world = held();
    let (holder, other) = (world.process(0), world.process(1));
    holder.step(&world);
    holder.assign(false);
    let told = holder.tenure.role();
    assert_eq!(told, Role::Follower);
    other.assign(true);
    other.write();
    holder.write();
    assert_eq!(holder.tenure.role(), Role::Fenced);
    holder.tenure.follow(told);
    assert_eq!(holder.tenure.role(), Role::Fenced, "it does not know that yet");
    holder.tenure.follow(Role::Fenced);
    assert_eq!(holder.tenure.role(), Role::Follower);
}

/// It took the mark of the one that had fenced it for the last one, and its own epochs for some that were appended before.
#[test]
fn whoever_is_fenced_while_it_looks_for_the_last_mark_takes_none_behind_the_end_for_it() {
    let world = held();
    let (holder, next) = (world.process(0), world.process(1));
    holder.step(&world);
    holder.write();
    world.brokers().mark_ends();
    let there = Arc::clone(&world);
    *next.client.before.lock().unwrap() = Some(Box::new(move || {
        let other = there.process(2);
        other.assign(true);
        other.write();
        other.step(&there);
        other.step(&there);
        other.write();
        there.brokers().mark_ends();
    }));
    next.assign(true);
    next.write();
    let state = next.tenure.state();
    assert_eq!((state.stage, state.end), (Stage::Holding, 2));
    assert_eq!(state.last.as_ref().map(|last| last.to.clone()), Some(at(1)));
}

#[test]
fn a_commit_waits_for_the_letters_of_its_own_name() {
    let world = held();
    let [one, other] = [0, 1].map(|number| Arc::clone(&world.process(number).tenure));
    let commit = |tenure: &Tenure| tenure.commit(Duration::ZERO).unwrap();
    let (sender, ack) = Ack::pending();
    one.keep_letters(ack, 64 << 20);
    assert_eq!((commit(&one), commit(&other)), (Commit::Pending, Commit::Done));
    // Until they are there, nothing is to be added to them.
    assert_eq!((one.has_room(), other.has_room()), (false, true));
    sender.resolve(Ok(Position::new()));
    assert!(one.has_room());
    assert_eq!(commit(&one), Commit::Done);
}

/// It was once waited for by whoever synced the log next, and forgotten with all the others.
#[test]
fn no_commit_passes_over_a_letter_that_did_not_arrive() {
    let world = held();
    let [one, other] = [0, 1].map(|number| Arc::clone(&world.process(number).tenure));
    let (lost, ack) = Ack::pending();
    one.keep_letters(ack, 1);
    one.keep_letters(Ack::ready(Ok(Position::new())), 1);
    lost.resolve(Err(Error::unavailable("not acknowledged")));
    for _ in 0..2 {
        let error = one.commit(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("letter"), "{error}");
    }
    assert_eq!(other.commit(Duration::ZERO).unwrap(), Commit::Done);
}

#[test]
fn roles_of_a_closed_changelog_are_closed() {
    let brokers = Kafka::new("service").bootstrap("127.0.0.1:1");
    let log = KafkaChangelog::open(&brokers, || Ok(Arc::new(Client::new(Weak::new())))).unwrap();
    let mark = EpochMark::new(at(0), at(1));
    let asked = || {
        let append = |producer| log.append_epoch(producer, &mark, Vec::new()).map(drop);
        let commit = log.commit("service", Duration::ZERO).map(drop);
        let all =
            [commit, log.follow("service", Role::Follower), append("service"), append("service.letters")];
        all.map(|asked| asked.unwrap_err().kind())
    };
    assert_eq!(asked(), [ErrorKind::Invalid; 4]);
    log.close().unwrap();
    assert_eq!(asked(), [ErrorKind::Closed; 4]);
}
