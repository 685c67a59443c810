//! What waits for its time can be added to a state that has folded records before, or be given another meaning: it is built from the
//! start of the log while the others go on, and becomes what it would have been from the beginning.
//!
//! Method: a state that only counts is taken up by a graph that has a stream in the order of time, a join of two streams, a table with
//! versions, a join as of a time, windows of each kind, rows that expire and a stream without repetitions; then by one that raises their versions. The same graph on a fresh state says what must be there.
//! It once failed, as the node that looks for what is due ran where the table was not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::stream::{Hopping, Session, Sliding, Tumbling, Within};
use millpond::{AsOf, Graph, GraphBuilder, StoredTable, TableOptions, Topic, VersionedTable};
use millpond_support::environment::{rounds, seed};
use millpond_support::life::Life;
use millpond_support::random::Random;
use millpond_support::timed::Appending;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

fn left() -> Topic<u8, u64> {
    Topic::new("left")
}

fn right() -> Topic<u8, u64> {
    Topic::new("right")
}

type List = Vec<(Option<u64>, Option<u64>)>;

struct Case {
    graph: Graph,
    lists: Vec<StoredTable<u8, List>>,
    rates: Option<VersionedTable<u8, u64>>,
}

/// At version 0 nothing but counts.
fn case(version: u32) -> Case {
    let graph = GraphBuilder::new();
    let (left, right) = (graph.stream(&left()), graph.stream(&right()));
    left.group_by_key().count("counts");
    right.group_by_key().count("other_counts");
    if version == 0 {
        return Case { graph: graph.build().unwrap(), lists: Vec::new(), rates: None };
    }
    let (ms, waiting) = (Duration::from_millis, |name| TableOptions::named(name).version(version));
    let list = |name| TableOptions::<List>::named(name).version(version);
    let ordered = left.in_time_order(waiting("waiting"), ms(20)).map_values(|_, number| (Some(number), None));
    let within = Within::of(ms(15)).grace(ms(10));
    let both = TableOptions::named("both").version(version);
    let both = left.outer_join_within(&right, within, both, |_, left, right| (left.copied(), right.copied()));
    let rates = graph.versioned(&self::right(), TableOptions::named("rates").version(version), ms(40));
    let as_of = left
        .left_join_as_of(&rates, waiting("as_of"), ms(20), |_, number, rate| (Some(number), rate.copied()));
    let count = |name| TableOptions::<u64>::named(name).version(version);
    let grouped = left.group_by_key();
    let session = grouped.windowed(Session::gap(ms(6)).grace(ms(10))).count(count("sessions"));
    let hopping = Hopping::of(ms(20)).every(ms(10)).grace(ms(10));
    let hopping = grouped.windowed(hopping).count(TableOptions::named("hopping").version(version)).on_close();
    let sliding = grouped
        .windowed(Sliding::of(ms(12)).grace(ms(10)))
        .count(TableOptions::named("sliding").version(version))
        .on_close();
    let tumbling = grouped.windowed(Tumbling::of(ms(15)).grace(ms(10))).count(count("tumbling")).on_close();
    let finals = [session.on_close(), hopping, sliding, tumbling];
    let [sessions, hopping, sliding, tumbling] = finals.map(|stream| {
        stream.map(|windowed, count| (windowed.key, (Some(windowed.start_ms.cast_unsigned()), Some(count))))
    });
    let distinct = left
        .distinct_within(TableOptions::named("seen").version(version), ms(30))
        .map_values(|_, number| (Some(number), None));
    let young = right.to_table(TableOptions::named("latest").version(version));
    let young = young.expire_after(TableOptions::named("young").version(version), ms(25)).to_stream();
    let young = young.map_values(|_, change| (change.into_option(), None));
    let all = [
        ("ordered", &ordered),
        ("joined", &*both),
        ("met", &*as_of),
        ("in_sessions", &sessions),
        ("in_hopping", &hopping),
        ("in_sliding", &sliding),
        ("in_tumbling", &tumbling),
        ("distinct", &distinct),
        ("came_and_went", &young),
    ];
    let lists = all.map(|(name, stream)| {
        stream.group_by_key().fold(list(name), Vec::new, |list, _, pair| {
            list.push(pair);
            list.sort_unstable();
        })
    });
    Case { graph: graph.build().unwrap(), lists: lists.into(), rates: Some(rates) }
}

type Found = (Vec<BTreeMap<u8, List>>, Vec<Option<u64>>, BTreeMap<String, u64>);

fn found(life: &mut Life<Case>) -> Found {
    let (stepper, case) = life.fold_all();
    let read = |list| stepper.view(list).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let lists = case.lists.iter().map(read).collect();
    let rates = stepper.view(case.rates.as_ref().unwrap().versions()).unwrap();
    let now = (0..4).map(|key| rates.as_of(&key, i64::MAX).unwrap()).collect();
    let rows = stepper.stats().tables.into_iter().map(|(name, table)| (name, table.rows)).collect();
    (lists, now, rows)
}

#[test]
fn what_looks_at_time_is_built_beside_the_others() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..rounds(25) {
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        for topic in [left(), right()] {
            Appending::create(&*log, &topic);
        }
        let version = Rc::new(Cell::new(0));
        let now = Rc::clone(&version);
        let mut life = Life::new(log.clone(), move || {
            let case = case(now.get());
            (case.graph.clone(), case)
        });
        let mut appending = Appending::new(false, 8);
        for step in 0..120 {
            if step == 40 || step == 80 {
                life.alive().0.drain().unwrap();
                life.crash();
                version.set(version.get() + 1);
            }
            if random.below(14) < 8 {
                life.step(&mut random);
            } else {
                let topic = random.pick(&["left", "right"]);
                appending.append(&*log, &Topic::new(topic), &mut random);
            }
        }
        let built = found(&mut life);
        life.forget();
        assert_eq!(built, found(&mut life), "round {round}");
    }
}
