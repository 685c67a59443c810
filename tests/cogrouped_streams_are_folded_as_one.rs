//! Several grouped streams that are folded into one accumulator come to what one stream of all their records would: in the order of the
//! log, plainly and by windows of every kind, for every way to cut epochs, every number of shards, every crash and rebuild.
//!
//! Method: records of two topics, the second of which is also read a second time with other keys, in random epochs with drains and
//! crashes on a log that is one sequence. The oracle folds them by hand in the order in which they were appended; by windows, what
//! counts is decided by each record's own partition, and what is closed by all partitions of both topics.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::stream::{Hopping, Session, Sliding, Tumbling};
use millpond::{Graph, GraphBuilder, StoredTable, Topic, Windowed};
use millpond_support::environment::{rounds, seed};
use millpond_support::life::Life;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SIZE_MS: i64 = 120;
const HOP_MS: i64 = 30;
const GRACE_MS: i64 = 40;
const GAP_MS: i64 = 25;

fn orders() -> Topic<u8, u64> {
    Topic::new("orders")
}

fn payments() -> Topic<u8, String> {
    Topic::new("payments")
}

/// What came of each stream, in the order in which it was folded.
type Seen = Vec<String>;
type Finals = StoredTable<Windowed<u8>, Seen>;

struct Case {
    graph: Graph,
    plain: StoredTable<u8, Seen>,
    tumbling: Finals,
    hopping: Finals,
    sliding: Finals,
    sessions: Finals,
    late: StoredTable<u8, u64>,
}

fn case() -> Case {
    let graph = GraphBuilder::new();
    let orders = graph.stream(&orders());
    let payments = graph.stream(&payments());
    let by_half = payments.group_by(|key, _| key / 2);
    let all = orders
        .group_by_key()
        .cogroup(|seen: &mut Seen, _, number| seen.push(format!("order {number}")))
        .and(&payments.group_by_key(), |seen, key, text| seen.push(format!("payment of {key}: {text}")))
        .and(&by_half, |seen, _, text| seen.push(format!("half {text}")));
    let plain = all.fold("plain", Vec::new);
    let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    let tumbling = all.windowed(Tumbling::of(ms(SIZE_MS)).grace(ms(GRACE_MS))).fold("tumbling", Vec::new);
    let hopping = all.windowed(Hopping::of(ms(SIZE_MS)).every(ms(HOP_MS)).grace(ms(GRACE_MS)));
    let hopping = hopping.fold("hopping", Vec::new, Seen::extend);
    let sorted = |_: &Windowed<u8>, mut seen: Seen| {
        seen.sort();
        seen
    };
    let hopping = hopping.on_close().map_values(sorted).to_table("hopping_finals");
    let sliding = all.windowed(Sliding::of(ms(SIZE_MS - 1)).grace(ms(GRACE_MS)));
    let sliding = sliding.fold("sliding", Vec::new, Seen::extend);
    let sliding = sliding.on_close().map_values(sorted).to_table("sliding_finals");
    let tumbling = tumbling.on_close().to_table("tumbling_finals");
    let sessions = all.windowed(Session::gap(ms(GAP_MS)).grace(ms(GRACE_MS)));
    let late = sessions.late().group_by_key().count("late");
    // What was closed for longer is gone from the table, and not from what was told.
    let sessions = sessions.keep(ms(50)).fold("sessions", Vec::new, Seen::extend);
    let sessions = sessions.on_close().map_values(sorted).to_table("session_finals");
    Case { graph: graph.build().unwrap(), plain, tumbling, hopping, sliding, sessions, late }
}

/// The same, folded by hand.
#[derive(Default)]
struct Model {
    plain: BTreeMap<u8, Seen>,
    windows: BTreeMap<i64, BTreeMap<Windowed<u8>, Seen>>,
    /// What counts to sessions, by key and time.
    counted: BTreeMap<u8, Vec<(i64, String)>>,
    late: BTreeMap<u8, u64>,
    reached: BTreeMap<(&'static str, u32), i64>,
}

impl Model {
    fn add(&mut self, from: (&'static str, u32), key: u8, at: i64, seen: &str) {
        let reached = self.reached.entry(from).or_insert(i64::MIN);
        *reached = at.max(*reached);
        self.plain.entry(key).or_default().push(seen.to_owned());
        if *reached < at + 1 + GRACE_MS {
            self.counted.entry(key).or_default().push((at, seen.to_owned()));
        } else {
            *self.late.entry(key).or_default() += 1;
        }
        for hop in [SIZE_MS, HOP_MS] {
            let mut start = at.div_euclid(hop) * hop;
            while start + SIZE_MS > at {
                if *reached < start + SIZE_MS + GRACE_MS {
                    let windows = self.windows.entry(hop).or_default();
                    let windowed = Windowed::new(start, start + SIZE_MS, key);
                    windows.entry(windowed).or_default().push(seen.to_owned());
                }
                start -= hop;
            }
        }
    }

    /// How far all partitions have come.
    fn watermark(&self) -> i64 {
        let least = if self.reached.len() == 4 { self.reached.values().min() } else { None };
        least.copied().unwrap_or(i64::MIN)
    }

    /// The sessions that are closed.
    fn sessions(&self) -> BTreeMap<Windowed<u8>, Seen> {
        let mut sessions = BTreeMap::new();
        for (key, counted) in &self.counted {
            let mut counted = counted.clone();
            counted.sort();
            for session in counted.chunk_by(|a, b| b.0 - a.0 <= GAP_MS) {
                let windowed = Windowed::new(session[0].0, session.last().unwrap().0 + 1, *key);
                let mut seen: Seen = session.iter().map(|(_, seen)| seen.clone()).collect();
                seen.sort();
                if windowed.end_ms + GAP_MS + GRACE_MS <= self.watermark() {
                    sessions.insert(windowed, seen);
                }
            }
        }
        sessions
    }

    /// The windows that begin with each `hop` and are closed.
    fn finals(&self, hop: i64) -> BTreeMap<Windowed<u8>, Seen> {
        let mut finals = self.windows.get(&hop).cloned().unwrap_or_default();
        finals.retain(|windowed, _| windowed.end_ms + GRACE_MS <= self.watermark());
        if hop < SIZE_MS {
            for seen in finals.values_mut() {
                seen.sort();
            }
        }
        finals
    }
}

#[test]
fn cogrouped_streams_are_folded_as_one() {
    let mut random = Random::new(seed());
    let (mut closed, mut sessions, mut alike) = (0, 0, 0);
    for _ in 0..rounds(30) {
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        for topic in ["orders", "payments"] {
            log.create_topic(topic, &TopicConfig::default().partitions(2)).unwrap();
        }
        let mut life = Life::new(log, || {
            let case = case();
            (case.graph.clone(), case)
        });
        let mut model = Model::default();
        let mut reached = 0_i64;
        for number in 0..120 {
            if random.below(2) == 0 {
                life.step(&mut random);
            }
            if random.below(80) == 0 {
                life.forget();
            }
            reached += i64::try_from(random.below(20)).unwrap();
            let at = reached - i64::try_from(random.below(80)).unwrap();
            let (key, partition) =
                (u8::try_from(random.below(6)).unwrap(), u32::try_from(random.below(2)).unwrap());
            if random.below(2) == 0 {
                let record = records::record(&orders(), &key, Some(&number)).at(at);
                records::append(&*life.log, records::partition(&orders(), partition), vec![record]).unwrap();
                model.add(("orders", partition), key, at, &format!("order {number}"));
            } else {
                let record = records::record(&payments(), &key, Some(&number.to_string())).at(at);
                records::append(&*life.log, records::partition(&payments(), partition), vec![record])
                    .unwrap();
                model.add(("payments", partition), key, at, &format!("payment of {key}: {number}"));
                model.add(("payments", partition), key / 2, at, &format!("half {number}"));
            }
        }
        let (stepper, case) = life.fold_all();
        let plain: BTreeMap<_, _> =
            stepper.view(&case.plain).unwrap().scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(plain, model.plain);
        for (finals, hop) in [(&case.tumbling, SIZE_MS), (&case.hopping, HOP_MS)] {
            let found: BTreeMap<_, _> =
                stepper.view(finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
            assert_eq!(found, model.finals(hop));
            closed += found.len();
        }
        let found: BTreeMap<_, _> =
            stepper.view(&case.sessions).unwrap().scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(found, model.sessions());
        sessions += found.len();
        let late: BTreeMap<_, _> =
            stepper.view(&case.late).unwrap().scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(late, model.late);
        // A sliding window of the same size as a hopping one, which begins with it, has the same in it.
        let hopping = model.finals(HOP_MS);
        for row in stepper.view(&case.sliding).unwrap().scan().unwrap() {
            let (windowed, seen) = row.unwrap();
            if windowed.start_ms % HOP_MS == 0 {
                assert_eq!(hopping.get(&windowed), Some(&seen));
                alike += 1;
            }
        }
    }
    assert!(closed > 500 && sessions > 300 && alike > 20, "windows close: {closed}, {sessions}, {alike}");
}
