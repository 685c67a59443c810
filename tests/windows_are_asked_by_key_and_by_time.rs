//! Questions to a table of windows are answered as a sorted map would: one window, a key over time from either end, a time over keys,
//! the last window of a key, those that are not closed.
//!
//! Method: random records of three partitions, with negative and far-ahead timestamps, folded in random epochs with drains and crashes.
//! Every question is put to a view and to a snapshot that is older than the view, and compared with maps of what was there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::stream::{Hopping, Tumbling, WindowView};
use millpond::testing::Driver;
use millpond::{ErrorKind, Graph, GraphBuilder, Topic, Windowed};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::life::Life;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 3;
const SIZE_MS: i64 = 100;
const GRACE_MS: i64 = 50;
const YEAR_MS: i64 = 365 * 86_400_000;

type Counts = millpond::stream::WindowedTable<u8, u64, Tumbling>;
type Rows = BTreeMap<Windowed<u8>, u64>;

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

fn case() -> (Graph, Counts) {
    let graph = GraphBuilder::new();
    let windows =
        Tumbling::of(Duration::from_millis(SIZE_MS as u64)).grace(Duration::from_millis(GRACE_MS as u64));
    let counts = graph.stream(&clicks()).group_by_key().windowed(windows).count("counts");
    (graph.build().unwrap(), counts)
}

/// What is there: counts by window, and how far the least of the partitions has come.
#[derive(Default, Clone)]
struct Model {
    rows: Rows,
    reached: [Option<i64>; PARTITIONS as usize],
}

impl Model {
    fn add(&mut self, partition: usize, key: u8, at: i64) {
        let reached = self.reached[partition].unwrap_or(i64::MIN).max(at);
        self.reached[partition] = Some(reached);
        let start = at.div_euclid(SIZE_MS) * SIZE_MS;
        if reached < start + SIZE_MS + GRACE_MS {
            *self.rows.entry(Windowed::new(start, start + SIZE_MS, key)).or_default() += 1;
        }
    }

    fn watermark(&self) -> Option<i64> {
        self.reached.iter().copied().collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    fn of(&self, key: u8, starts: &RangeInclusive<i64>) -> Vec<(Windowed<u8>, u64)> {
        let rows = self.rows.iter().map(|(windowed, count)| (*windowed, *count));
        rows.filter(|(windowed, _)| windowed.key == key && starts.contains(&windowed.start_ms)).collect()
    }
}

fn compare(windows: &WindowView<u8, u64>, model: &Model, random: &mut Random) {
    assert_eq!(windows.watermark().unwrap(), model.watermark());
    let moments: Vec<i64> = model.rows.keys().map(|windowed| windowed.start_ms).chain([0, 700]).collect();
    for key in 0..4 {
        let [one, other] = [(); 2].map(|()| random.pick(&moments) + random.pick(&[0, -100, 30, 1000]));
        let start = one.div_euclid(SIZE_MS) * SIZE_MS;
        let found = windows.get(&key, start).unwrap();
        assert_eq!(found, model.rows.get(&Windowed::new(start, start + SIZE_MS, key)).copied());

        let range = one.min(other)..=one.max(other);
        let expected = model.of(key, &range);
        let found: Vec<_> = windows.windows(&key, range.clone()).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, expected, "{key} in {range:?}");
        let half_open = windows.windows(&key, *range.start()..*range.end()).unwrap().map(Result::unwrap);
        assert_eq!(half_open.collect::<Vec<_>>(), model.of(key, &(*range.start()..=*range.end() - 1)));

        let all = model.of(key, &(i64::MIN..=i64::MAX));
        let mut both_ends = windows.windows(&key, ..).unwrap();
        let (mut front, mut back) = (Vec::new(), Vec::new());
        loop {
            let from_the_end = random.below(2) == 0;
            let next = if from_the_end { both_ends.next_back() } else { both_ends.next() };
            let Some(row) = next.transpose().unwrap() else { break };
            if from_the_end { back.push(row) } else { front.push(row) }
        }
        front.extend(back.into_iter().rev());
        assert_eq!(front, all, "{key}, from both ends");
        assert_eq!(windows.latest(&key).unwrap(), all.last().copied());

        let first_open = model.watermark().map_or(i64::MIN, |watermark| watermark - GRACE_MS - SIZE_MS + 1);
        let open: Vec<_> = windows.open(&key).unwrap().map(Result::unwrap).collect();
        assert_eq!(open, model.of(key, &(first_open..=i64::MAX)), "{key}, open");

        let at: Vec<_> = windows.at(one).unwrap().map(Result::unwrap).collect();
        let expected = model.rows.iter().filter(|(windowed, _)| windowed.start_ms == start);
        assert_eq!(at, expected.map(|(windowed, count)| (*windowed, *count)).collect::<Vec<_>>());
    }
    refused(windows.get(&1, 30), ErrorKind::Invalid, &["no window begins at 30", "begins at 0"]);
}

#[test]
fn windows_are_asked_by_key_and_by_time() {
    let mut random = Random::new(seed());
    let mut open = 0;
    for _ in 0..rounds(30) {
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
        let mut life = Life::new(log, case);
        let mut model = Model::default();
        let mut reached = [0_i64, -3_000, 450];
        for number in 0..60 {
            for _ in 0..random.below(3) {
                life.step(&mut random);
            }
            let partition = random.index(3);
            let id = records::partition(&clicks(), u32::try_from(partition).unwrap());
            // Years in which nothing happens are passed over.
            let leap = if random.below(60) == 0 { random.pick(&[YEAR_MS, 30 * YEAR_MS]) } else { 0 };
            reached[partition] += i64::try_from(random.below(300)).unwrap() + leap;
            let at = reached[partition] - i64::try_from(random.below(200)).unwrap();
            let key = u8::try_from(random.below(4)).unwrap();
            records::append(&*life.log, id, vec![records::record(&clicks(), &key, Some(&number)).at(at)])
                .unwrap();
            model.add(partition, key, at);
            if number == 40 {
                let (stepper, counts) = life.fold_all();
                let (snapshot, then) = (stepper.view(counts).unwrap().snapshot().unwrap(), model.clone());
                compare(&counts.windows_of(&snapshot), &then, &mut random);
                let late = records::record(&clicks(), &key, Some(&number)).at(at);
                let id = records::partition(&clicks(), u32::try_from(partition).unwrap());
                records::append(&*life.log, id, vec![late]).unwrap();
                model.add(partition, key, at);
                let (_, counts) = life.fold_all();
                compare(&counts.windows_of(&snapshot), &then, &mut random);
            }
        }
        let (stepper, counts) = life.fold_all();
        let windows = counts.windows_of(&stepper.view(counts).unwrap());
        compare(&windows, &model, &mut random);
        open += (0..4).map(|key| windows.open(&key).unwrap().count()).sum::<usize>();
    }
    assert!(open > 0, "some are open");
}

/// Behind the last window that fits into time there are moments of which there is none. They were once told to be in that one.
#[test]
fn at_the_end_of_time_a_moment_is_in_no_window_that_ended_before() {
    let graph = GraphBuilder::new();
    let windows =
        Hopping::of(Duration::from_millis(25)).every(Duration::from_millis(10)).grace(Duration::ZERO);
    let counts = graph.stream(&clicks()).group_by_key().windowed(windows).count("counts");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    // Windows begin at multiples of their distance.
    let start_ms = (i64::MAX - 25) / 10 * 10;
    driver.put(&clicks(), 1, 1, start_ms).unwrap();
    driver.run().unwrap();
    let counts = counts.windows_of(&driver.view(&counts).unwrap());
    let at = |ms| counts.at(ms).unwrap().map(|row| row.unwrap().0.start_ms).collect::<Vec<_>>();
    assert_eq!([start_ms, start_ms + 24].map(at), [[start_ms], [start_ms]]);
    assert_eq!([start_ms + 25, i64::MAX].map(at), [[0_i64; 0]; 2]);
}
