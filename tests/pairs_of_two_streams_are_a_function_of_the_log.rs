//! Which records of two streams meet, and which of them are told to have met none, when and in which order, is a function of the log:
//! the same for every way to cut epochs, every number of shards, every crash and rebuild, whichever of two records came first.
//!
//! Method: random records of two topics of three partitions, out of order, with equal and negative timestamps; inner, left, outer joins
//! and one of a stream with itself, within random times. What comes out is appended to topics. Random epochs, drains, crashes and fresh
//! states, on a log that is one sequence and on one with gaps. The oracle looks at every two records: they meet if they are near enough
//! and the partition of neither had come to the close of either. Rows are counted, too: they go once no record of either side waits there.
//! The last tests are what Kafka Streams once got wrong, by the numbers of its issues.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::store::MemoryStore;
use millpond::stream::{Tumbling, Within};
use millpond::testing::Driver;
use millpond::{
    Engine, ErrorKind, Graph, GraphBuilder, StoredTable, TableOptions, Topic, TopicPartition, Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::timed::{self, Appending, TimedRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// So many records of a side are in one row.
const CHUNK: usize = 64;

/// Short, so that windows end where the watermark stands.
const SIZE_MS: i64 = 3;

type Pair = (Option<u64>, Option<u64>);

fn left() -> Topic<u8, u64> {
    Topic::new("left")
}

fn right() -> Topic<u8, u64> {
    Topic::new("right")
}

fn told(kind: &str) -> Topic<u8, Pair> {
    Topic::new(kind).partitions(1)
}

/// In milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    before: i64,
    after: i64,
    grace: i64,
}

impl Times {
    fn within(self) -> Within {
        let millis = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        Within::before(millis(self.before)).after(millis(self.after)).grace(millis(self.grace))
    }
}

struct Case {
    graph: Graph,
    late_left: StoredTable<u8, Vec<u64>>,
    late_right: StoredTable<u8, Vec<u64>>,
    finals: StoredTable<Windowed<u8>, u64>,
}

fn case(times: Times) -> Case {
    let (graph, within) = (GraphBuilder::new(), times.within());
    // By a key that the partitions share, so that they have to be brought together.
    let (left, right) = (graph.stream(&left()), graph.stream(&right()).re_key(|key, _| *key));
    let inner = left.join_within(&right, within, "in", |_, left, right| (Some(*left), Some(*right)));
    inner.to(&told("inner"));
    left.left_join_within(&right, within, "le", |_, left, right| (Some(*left), right.copied()))
        .to(&told("left_out"));
    let outer =
        left.outer_join_within(&right, within, "ou", |_, left, right| (left.copied(), right.copied()));
    outer.to(&told("outer"));
    left.join_within(&left, within, "se", |_, left, right| (Some(*left), Some(*right))).to(&told("itself"));
    let lonely = outer.filter(|_, pair| pair.0.is_none() || pair.1.is_none());
    let windows = lonely
        .group_by_key()
        .windowed(Tumbling::of(Duration::from_millis(SIZE_MS as u64)).grace(Duration::ZERO));
    let finals = windows.count("counts").on_close().to_table("finals");
    let sorted = |list: &mut Vec<u64>, _: &u8, value| {
        list.push(value);
        list.sort_unstable();
    };
    let late_left = inner.late_left().group_by_key().fold("late_left", Vec::new, sorted);
    let late_right = inner.late_right().group_by_key().fold("late_right", Vec::new, sorted);
    Case { graph: graph.build().unwrap(), late_left, late_right, finals }
}

/// What is appended to a topic: pairs in their order, and what met none in its own.
#[derive(Debug, Default, PartialEq, Clone)]
struct Told {
    pairs: Vec<(u8, i64, Pair)>,
    lonely: Vec<(u8, i64, Pair)>,
}

#[derive(Debug, Default, PartialEq)]
struct Expected {
    inner: Told,
    left: Told,
    outer: Told,
    itself: Told,
    late_left: BTreeMap<u8, Vec<u64>>,
    late_right: BTreeMap<u8, Vec<u64>>,
    /// How many have met none, by windows behind the join that are closed.
    finals: BTreeMap<Windowed<u8>, u64>,
    /// Rows of a join, and records of either side that wait and have met none.
    rows: [u64; 3],
}

/// A record of one side, and its close.
#[derive(Debug, Clone, Copy)]
struct Counted {
    record: TimedRecord,
    close_ms: i64,
}

impl Counted {
    fn number(&self) -> u64 {
        self.record.value.unwrap()
    }
}

/// Those that are not late, and those that are.
fn sifted(records: Vec<TimedRecord>, wait_ms: i64) -> (Vec<Counted>, BTreeMap<u8, Vec<u64>>) {
    let (mut counted, mut late) = (Vec::new(), BTreeMap::<u8, Vec<u64>>::new());
    for record in records {
        let close_ms = record.timestamp_ms + wait_ms + 1;
        if record.stream_time_ms < close_ms {
            counted.push(Counted { record, close_ms });
        } else {
            late.entry(record.key).or_default().push(record.value.unwrap());
        }
    }
    for list in late.values_mut() {
        list.sort_unstable();
    }
    (counted, late)
}

/// Every pair of the two: in the order of the second of them, and then of the times of its partners.
fn pairs(left: &[Counted], right: &[Counted], times: Times) -> Vec<(Counted, Counted)> {
    let mut pairs = Vec::new();
    for l in left {
        for r in right {
            let apart = r.record.timestamp_ms - l.record.timestamp_ms;
            let latest = l.record.stream_time_ms.max(r.record.stream_time_ms);
            if l.record.key == r.record.key
                && (-times.before..=times.after).contains(&apart)
                && latest < l.close_ms.min(r.close_ms)
            {
                pairs.push((*l, *r));
            }
        }
    }
    // Values are numbered as they are appended; of one record, what it is on the left side comes first.
    pairs.sort_by_key(|(l, r)| {
        let is_right = r.number() >= l.number();
        let (second, partner) = if is_right { (r, l) } else { (l, r) };
        (second.number(), is_right, partner.record.timestamp_ms, partner.number())
    });
    pairs
}

fn expected(log: &dyn Changelog, times: Times) -> Expected {
    let (lefts, left_time) = timed::read(log, &left()).unwrap();
    let (rights, right_time) = timed::read(log, &right()).unwrap();
    let watermark = left_time.min(right_time);
    let (wait_left, wait_right) = (times.after + times.grace, times.before + times.grace);
    let (lefts_again, _) = sifted(lefts.clone(), wait_right);
    let (lefts, late_left) = sifted(lefts, wait_left);
    let (rights, late_right) = sifted(rights, wait_right);
    let met = pairs(&lefts, &rights, times);
    let tell = |met: &[(Counted, Counted)]| {
        let told = |(l, r): &(Counted, Counted)| {
            let at = l.record.timestamp_ms.max(r.record.timestamp_ms);
            (l.record.key, at, (Some(l.number()), Some(r.number())))
        };
        met.iter().map(told).collect::<Vec<_>>()
    };
    let met_left: BTreeSet<u64> = met.iter().map(|(l, _)| l.number()).collect();
    let met_right: BTreeSet<u64> = met.iter().map(|(_, r)| r.number()).collect();
    let lonely_left = lefts.iter().filter(|l| !met_left.contains(&l.number())).map(|l| (*l, true));
    let lonely_right = rights.iter().filter(|r| !met_right.contains(&r.number())).map(|r| (*r, false));
    let tell_lonely = |lonely: &mut dyn Iterator<Item = (Counted, bool)>| {
        let mut closed: Vec<_> = lonely.filter(|(record, _)| record.close_ms <= watermark).collect();
        closed.sort_by_key(|(record, _)| (record.close_ms, record.record.key, record.number()));
        let told = |(record, is_left): &(Counted, bool)| {
            let number = Some(record.number());
            let pair = if *is_left { (number, None) } else { (None, number) };
            (record.record.key, record.record.timestamp_ms, pair)
        };
        closed.iter().map(told).collect::<Vec<_>>()
    };
    let waiting = |lonely: &mut dyn Iterator<Item = (Counted, bool)>| {
        lonely.filter(|(record, _)| record.close_ms > watermark).count() as u64
    };
    let rows = {
        let width = (times.before + times.after).max(1);
        let first_open = (watermark.saturating_sub(wait_left.max(wait_right))).div_euclid(width);
        let mut stretches: BTreeMap<(i64, u8), [usize; 2]> = BTreeMap::new();
        for (side, Counted { record, .. }) in
            lefts.iter().map(|l| (0, l)).chain(rights.iter().map(|r| (1, r)))
        {
            let stretch = record.timestamp_ms.div_euclid(width);
            if stretch >= first_open {
                stretches.entry((stretch, record.key)).or_default()[side] += 1;
            }
        }
        // The first row has the first ones of both sides.
        let further = |records: &usize| records.saturating_sub(CHUNK).div_ceil(CHUNK) as u64;
        stretches.values().map(|sides| 1 + sides.iter().map(further).sum::<u64>()).sum()
    };
    let rows = [rows, waiting(&mut lonely_left.clone()), waiting(&mut lonely_right.clone())];
    let outer = Told { pairs: tell(&met), lonely: tell_lonely(&mut lonely_left.clone().chain(lonely_right)) };
    let reached = watermark.saturating_sub(wait_left.max(wait_right));
    let mut finals = BTreeMap::new();
    for (key, at_ms, _) in &outer.lonely {
        let start = at_ms.div_euclid(SIZE_MS) * SIZE_MS;
        if start + SIZE_MS <= reached {
            *finals.entry(Windowed::new(start, start + SIZE_MS, *key)).or_default() += 1;
        }
    }
    Expected {
        inner: Told { pairs: tell(&met), lonely: Vec::new() },
        left: Told { pairs: tell(&met), lonely: tell_lonely(&mut lonely_left.clone()) },
        outer,
        itself: Told { pairs: tell(&pairs(&lefts, &lefts_again, times)), lonely: Vec::new() },
        late_left,
        late_right,
        finals,
        rows,
    }
}

fn read(log: &dyn Changelog, kind: &str) -> Told {
    let mut found = Told::default();
    for record in records::read(log, &TopicPartition::new(kind, 0)).unwrap() {
        let pair = told(kind).codec().decode(record.value.as_ref().unwrap()).unwrap();
        let is_pair = pair.0.is_some() && pair.1.is_some();
        let list = if is_pair { &mut found.pairs } else { &mut found.lonely };
        list.push((record.key.as_ref().unwrap()[0], record.timestamp_ms, pair));
    }
    found
}

fn found(life: &mut Life<Case>) -> Expected {
    let (stepper, case) = life.fold_all();
    let late_left = stepper.view(&case.late_left).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let late_right = stepper.view(&case.late_right).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let finals = stepper.view(&case.finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let tables = stepper.stats().tables;
    for join in ["in", "le"] {
        assert_eq!(tables[join].rows, tables["ou"].rows);
    }
    let rows = ["ou", "ou.left.unmatched", "ou.right.unmatched"].map(|name| tables[name].rows);
    let log = &*life.log;
    let [inner, left, outer, itself] = ["inner", "left_out", "outer", "itself"].map(|kind| read(log, kind));
    Expected { inner, left, outer, itself, late_left, late_right, finals, rows }
}

#[test]
fn pairs_of_two_streams_are_a_function_of_the_log() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    let (mut most_pairs, mut most_lonely) = (0, 0);
    for round in 0..rounds(40) {
        let is_sequence = random.below(2) == 0;
        let log: Arc<dyn Changelog> =
            if is_sequence { Arc::new(MemoryChangelog::new()) } else { OwnLog::with_gaps(random.number()) };
        for topic in [left(), right()] {
            Appending::create(&*log, &topic);
        }
        // Now and then more of one key, within one stretch of time, than a few rows have.
        let is_crowded = round % 10 == 9;
        let times = Times {
            before: if is_crowded { 900 } else { random.pick(&[0, 5, 30, 900]) },
            after: random.pick(&[0, 9, 20]),
            grace: random.pick(&[0, 4, 50]),
        };
        let mut life = Life::new(log, move || {
            let case = case(times);
            (case.graph.clone(), case)
        });
        let (pace_ms, keys) = if is_crowded { (2, 1) } else { (random.pick(&[2, 20]), random.pick(&[1, 4])) };
        let mut appending = Appending::new(false, pace_ms).with_keys(keys);
        for _ in 0..if is_crowded { 500 } else { 150 } {
            if random.below(14) < 8 {
                life.step(&mut random);
            } else {
                let topic = random.pick(&["left", "right"]);
                appending.append(&*life.log.clone(), &Topic::new(topic), &mut random);
            }
        }
        let mut expected = expected(&*life.log, times);
        let mut found = found(&mut life);
        most_pairs = most_pairs.max(expected.inner.pairs.len());
        most_lonely = most_lonely.max(expected.outer.lonely.len());
        if !is_sequence {
            for expected in [&mut expected, &mut found] {
                // Which of two records came first, and so where a pair stands, is decided where epochs are cut.
                for told in
                    [&mut expected.inner, &mut expected.left, &mut expected.outer, &mut expected.itself]
                {
                    told.pairs.sort_unstable();
                    told.lonely.sort_unstable();
                }
            }
        }
        let context = format!("round {round}: {times:?}, {is_sequence}");
        assert_eq!(found.rows, expected.rows, "{context}");
        assert_eq!(found.inner, expected.inner, "{context}");
        assert_eq!(found.itself, expected.itself, "{context}");
        assert_eq!(found, expected, "{context}");
    }
    assert!(most_pairs > 200 && most_lonely > 20, "{most_pairs} pairs, {most_lonely} without one");
}

#[test]
fn with_other_times_it_is_another_join() {
    let (log, store): (Arc<MemoryChangelog>, Arc<MemoryStore>) = Default::default();
    let open = |within: Within, is_outer: bool, version| {
        let graph = GraphBuilder::new();
        let (left, right) = (graph.stream(&left()), graph.stream(&right()));
        if is_outer {
            let kept = TableOptions::named("both").version(version);
            left.outer_join_within(&right, within, kept, |_, _, _| ());
        } else {
            let kept = TableOptions::named("both").version(version);
            left.join_within(&right, within, kept, |_, _, _| ());
        }
        Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone()).stepper()
    };
    let within = |grace_ms| Within::of(Duration::from_millis(10)).grace(Duration::from_millis(grace_ms));
    drop(open(within(5), false, 1).unwrap());
    refused(open(within(6), false, 1), ErrorKind::Invalid, &["both", "after 10 ms, grace 5 ms", "version"]);
    refused(open(within(5), true, 1), ErrorKind::Invalid, &["join_within"]);
    open(within(6), true, 2).unwrap();
}

/// What comes of records of one key that are given with their side, time and number: pairs and what met none, in order, where each record
/// has an epoch of its own. With other cuts it is the same.
fn joined(within: Within, records: &[(char, i64, u64)]) -> Vec<(i64, Pair)> {
    let run = |ends_epoch: &dyn Fn(usize) -> bool| {
        let graph = GraphBuilder::new();
        let (left, right) = (graph.stream(&left()), graph.stream(&right()));
        left.outer_join_within(&right, within, "both", |_, left, right| (left.copied(), right.copied()))
            .to(&told("outer"));
        let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
        for (index, &(side, at, number)) in records.iter().enumerate() {
            let topic = if side == 'L' { self::left() } else { self::right() };
            driver.put(&topic, 1, number, at).unwrap();
            if ends_epoch(index) {
                driver.run().unwrap();
            }
        }
        driver.run().unwrap();
        let told = driver.records(&told("outer")).unwrap();
        told.into_iter().map(|record| (record.timestamp_ms, record.value.unwrap())).collect::<Vec<_>>()
    };
    let each = run(&|_| true);
    let part = |told: &[(i64, Pair)], are_pairs: bool| -> Vec<(i64, Pair)> {
        let is_pair = |pair: &Pair| pair.0.is_some() && pair.1.is_some();
        told.iter().filter(|(_, pair)| is_pair(pair) == are_pairs).copied().collect()
    };
    for cut in 0..records.len() {
        let otherwise = run(&|index| index == cut);
        for are_pairs in [true, false] {
            assert_eq!(part(&otherwise, are_pairs), part(&each, are_pairs), "cut behind {cut}");
        }
    }
    each
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// KAFKA-10847: a record was told to have met none, and met another after that.
#[test]
fn a_record_that_still_meets_another_is_not_told_to_have_met_none() {
    let within = Within::of(ms(10)).grace(ms(5));
    // Its own stream has gone far ahead before the partner comes, and the other one has not.
    let found = joined(
        within,
        &[('L', 100, 1), ('L', 114, 2), ('R', 90, 3), ('R', 105, 4), ('L', 200, 5), ('R', 200, 6)],
    );
    // 1 meets 3 and 4, 2 meets 4, and 5 meets 6.
    let pairs = [(100, 1, 3), (105, 1, 4), (114, 2, 4), (200, 5, 6)];
    assert_eq!(found, pairs.map(|(at, left, right)| (at, (Some(left), Some(right)))));
}

/// KAFKA-13721: with other bounds on either side, records on the one were told by those of the other.
#[test]
fn bounds_need_not_be_the_same_on_both_sides() {
    let within = Within::before(ms(2)).after(ms(7)).grace(ms(0));
    let records = [
        ('R', 97, 1),
        ('R', 98, 2),
        ('L', 100, 3),
        ('R', 107, 4),
        ('R', 108, 5),
        ('L', 200, 6),
        ('R', 200, 7),
    ];
    let found = joined(within, &records);
    let pairs: Vec<_> = found.iter().filter(|(_, pair)| pair.0 == Some(3)).collect();
    assert_eq!(pairs, [&(100, (Some(3), Some(2))), &(107, (Some(3), Some(4)))]);
    let lonely: Vec<_> = found.iter().filter(|(_, pair)| pair.0.is_none()).collect();
    assert_eq!(lonely, [&(97, (None, Some(1))), &(108, (None, Some(5)))]);
}

/// KAFKA-15417: how far to look back was taken for how far to look ahead.
#[test]
fn a_join_that_looks_one_way_only_tells_all_that_met_none() {
    let records = [('L', 100, 1), ('R', 110, 2), ('L', 121, 3), ('R', 300, 4), ('L', 300, 5)];
    let found = joined(Within::before(ms(10)).grace(ms(0)), &records);
    let (both, lonely_left) = (|l, r| (Some(l), Some(r)), |l| (Some(l), None));
    let expected = [(100, lonely_left(1)), (110, (None, Some(2))), (121, lonely_left(3)), (300, both(5, 4))];
    let mut sorted = found;
    sorted.sort_unstable_by_key(|(at, _)| *at);
    assert_eq!(sorted, expected);
    let mut found = joined(Within::after(ms(10)).grace(ms(0)), &records);
    found.sort_unstable_by_key(|(at, _)| *at);
    assert_eq!(found, [(110, both(1, 2)), (121, lonely_left(3)), (300, both(5, 4))]);
}

/// KAFKA-16123: records that came too late met others all the same.
#[test]
fn a_late_record_meets_nothing_and_is_not_told_to_have_met_none() {
    let within = Within::of(ms(10)).grace(ms(5));
    let found = joined(within, &[('R', 100, 1), ('L', 116, 2), ('L', 100, 3), ('R', 300, 4), ('L', 300, 5)]);
    // The left stream has come to 116, where a record of 100 closes.
    let expected = [(100, (None, Some(1))), (116, (Some(2), None)), (300, (Some(5), Some(4)))];
    let mut sorted = found;
    sorted.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
}

/// KAFKA-19536: a record out of order was told to have met none while the grace still ran, and met another after that.
#[test]
fn a_record_out_of_order_waits_for_its_grace() {
    let within = Within::of(ms(10)).grace(ms(50));
    // When the record of 100 comes, time is at 140: beyond what it reaches, and within the grace.
    let records = [('L', 140, 1), ('R', 140, 2), ('L', 100, 3), ('R', 105, 4), ('L', 500, 5), ('R', 500, 6)];
    let found = joined(within, &records);
    let pairs = [(140, 1, 2), (105, 3, 4), (500, 5, 6)];
    assert_eq!(found, pairs.map(|(at, left, right)| (at, (Some(left), Some(right)))));
}

/// Records of one time that have met none are told in the order of the log, whether they came in one epoch or not.
#[test]
fn what_met_none_is_told_in_the_order_of_the_log() {
    let within = Within::of(ms(10)).grace(ms(20));
    let records = [('L', 100, 1), ('R', 89, 2), ('L', 100, 3), ('L', 100, 4), ('R', 300, 5), ('L', 300, 6)];
    let found = joined(within, &records);
    let lonely_left = |number| (100, (Some(number), None));
    let expected = [(89, (None, Some(2))), lonely_left(1), lonely_left(3), lonely_left(4)];
    assert_eq!(found[1..], expected, "the pair of the last two comes when the second does");
}
