//! Which rows of windows a table has is a function of the log, also of those that it forgets: the same for every way to cut epochs, every
//! number of shards, every crash, drain, compaction and rebuild, and for every way to ask.
//!
//! Property: at each position a table that keeps its windows for so long has exactly the rows of those that begin no earlier than the
//! window of the watermark, less the grace, less that. What is forgotten does not come back, a snapshot goes on showing what it showed,
//! nobody is told that anything was forgotten, and nothing that derives from the table misses it. Space and memory are given back.
//!
//! Method: random records of several partitions, out of order and some far ahead; random epochs, drains, compactions, crashes, fresh
//! states and raised versions, with snapshots and readers that are held meanwhile, on RocksDB and in memory. The oracle folds what is below
//! the position, one partition after the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::store::{MemoryStore, RocksOptions, RocksStore, StateStore};
use millpond::stream::{Calendar, Tumbling, WindowStart};
use millpond::{
    ChangeStream, Engine, ErrorKind, Graph, GraphBuilder, Position, StateReader, Stepper, StoredTable,
    TableOptions, TableSnapshot, Topic, TopicPartition, View, Windowed,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::expect::refused;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use millpond_support::waiting::resolves_at_once;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 3;
const SIZE_MS: i64 = 100;
const GRACE_MS: i64 = 30;

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

/// Told once each: a window of a key, and what was in it.
fn told() -> Topic<Windowed<u8>, Vec<u64>> {
    Topic::new("told").partitions(1)
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms as u64)
}

type Row = (Windowed<u8>, Vec<u64>);
type Rows = BTreeMap<Windowed<u8>, Vec<u64>>;

#[derive(Clone)]
struct Case {
    graph: Graph,
    all: StoredTable<Windowed<u8>, Vec<u64>>,
    /// How many windows each key had.
    windows: StoredTable<u8, u64>,
    finals: StoredTable<Windowed<u8>, Vec<u64>>,
}

fn case(keep_ms: Option<i64>, version: u32) -> Case {
    let graph = GraphBuilder::new();
    let tumbling = Tumbling::of(ms(SIZE_MS)).grace(ms(GRACE_MS));
    let mut windows = graph.stream(&clicks()).group_by_key().windowed(tumbling);
    if let Some(keep_ms) = keep_ms {
        windows = windows.keep(ms(keep_ms));
    }
    let all =
        windows.fold(TableOptions::named("all").version(version), Vec::new, |list: &mut Vec<u64>, _, n| {
            list.push(n);
            list.sort_unstable();
        });
    let closed = all.on_close();
    closed.to(&told());
    let finals = closed.to_table("finals");
    let windows = all.table().group_by(|windowed, _| (windowed.key, ())).count("windows");
    let all = all.table().clone();
    Case { graph: graph.build().unwrap(), all, windows, finals }
}

/// What is to be found at a position.
struct Expected {
    /// Forgotten or not.
    all: Rows,
    watermark_ms: i64,
}

impl Expected {
    fn at(log: &dyn Changelog, position: &Position) -> Self {
        let mut expected = Self { all: Rows::new(), watermark_ms: i64::MAX };
        for number in 0..PARTITIONS {
            let id = records::partition(&clicks(), number);
            let (start, end) = (log.offsets(&id).unwrap().start, position.offset(&id));
            let mut reached = i64::MIN;
            if start < end {
                let mut reader = log.reader(&id, start).unwrap();
                millpond::changelog::backend::read_below(&mut *reader, end, |batch| {
                    for record in batch.decode()?.iter().filter(|record| record.offset < end) {
                        reached = reached.max(record.timestamp_ms);
                        let start = record.timestamp_ms.div_euclid(SIZE_MS) * SIZE_MS;
                        let windowed = Windowed::new(start, start + SIZE_MS, record.key.unwrap()[0]);
                        if reached < windowed.end_ms + GRACE_MS {
                            let value = clicks().codec().decode(record.value.unwrap()).unwrap();
                            expected.all.entry(windowed).or_default().push(value);
                        }
                    }
                    Ok(())
                })
                .unwrap();
            }
            expected.watermark_ms = expected.watermark_ms.min(reached);
        }
        expected.all.values_mut().for_each(|list| list.sort_unstable());
        expected
    }

    /// Where the first window begins that is kept.
    fn first_kept(&self, keep_ms: Option<i64>) -> i64 {
        let Some(keep_ms) = keep_ms.filter(|_| self.watermark_ms > i64::MIN) else { return i64::MIN };
        (self.watermark_ms - GRACE_MS - keep_ms).div_euclid(SIZE_MS) * SIZE_MS
    }

    fn kept(&self, first: i64) -> Rows {
        let kept = self.all.iter().filter(|(windowed, _)| windowed.start_ms >= first);
        kept.map(|(windowed, list)| (*windowed, list.clone())).collect()
    }

    fn closed(&self) -> Vec<Row> {
        let is_closed = |(windowed, _): &(&Windowed<u8>, _)| windowed.end_ms + GRACE_MS <= self.watermark_ms;
        self.all.iter().filter(is_closed).map(|(windowed, list)| (*windowed, list.clone())).collect()
    }
}

/// A table as it must be found for ever.
struct Held {
    rows: TableSnapshot<Windowed<u8>, Vec<u64>>,
    all: Rows,
    first: i64,
}

impl Held {
    /// In every way there is to ask a snapshot.
    fn check(&self, what: &str) {
        let Self { rows, all, first } = self;
        let expected: Vec<Row> = all
            .iter()
            .filter(|(windowed, _)| windowed.start_ms >= *first)
            .map(|(k, v)| (*k, v.clone()))
            .collect();
        assert_eq!(rows.scan().collect::<Result<Vec<_>, _>>().unwrap(), expected, "{what}: a scan");
        let mut back = rows.scan().rev().collect::<Result<Vec<_>, _>>().unwrap();
        back.reverse();
        assert_eq!(back, expected, "{what}: a scan from the end");
        assert_eq!(rows.count(), expected.len() as u64, "{what}: a count");
        let keys: Vec<Windowed<u8>> = all.keys().copied().collect();
        let shown = |key: &Windowed<u8>| all.get(key).filter(|_| key.start_ms >= *first).cloned();
        let values: Vec<_> = keys.iter().map(shown).collect();
        assert_eq!(rows.multi_get(&keys).unwrap(), values, "{what}: many keys");
        for key in &keys {
            assert_eq!(rows.contains(key).unwrap(), key.start_ms >= *first, "{what}: {key:?}");
            let start = key.start_ms;
            let of_start: Vec<Row> = expected.iter().filter(|(k, _)| k.start_ms == start).cloned().collect();
            let prefix = rows.prefix(&WindowStart(start)).collect::<Result<Vec<_>, _>>();
            assert_eq!(prefix.unwrap(), of_start, "{what}: a prefix");
        }
        if let (Some(low), Some(high)) = (keys.first(), keys.get(keys.len() / 2)) {
            let between: Vec<Row> = expected.iter().filter(|(k, _)| k <= high).cloned().collect();
            assert_eq!(
                rows.range(*low..=*high).collect::<Result<Vec<_>, _>>().unwrap(),
                between,
                "{what}: a range"
            );
            let starts = WindowStart(low.start_ms)..WindowStart(high.start_ms + SIZE_MS);
            let between: Vec<Row> =
                expected.iter().filter(|(k, _)| k.start_ms <= high.start_ms).cloned().collect();
            assert_eq!(
                rows.prefixes(starts).collect::<Result<Vec<_>, _>>().unwrap(),
                between,
                "{what}: prefixes"
            );
        }
    }
}

/// Everything that a view can be asked, which stands where `held` does.
fn check_view(view: &View<Windowed<u8>, Vec<u64>>, held: &Held, what: &str) {
    let shown = |key: &Windowed<u8>| held.all.get(key).filter(|_| key.start_ms >= held.first).cloned();
    let keys: Vec<Windowed<u8>> = held.all.keys().copied().collect();
    for key in &keys {
        assert_eq!(view.get(key).unwrap(), shown(key), "{what}: {key:?} of a view");
    }
    assert_eq!(
        view.multi_get(&keys).unwrap(),
        keys.iter().map(shown).collect::<Vec<_>>(),
        "{what}: of a view"
    );
    let count = held.all.keys().filter(|key| key.start_ms >= held.first).count();
    assert_eq!(view.count().unwrap(), count as u64, "{what}: the count of a view");
}

/// Where rows are kept; on disk with its directory.
struct Medium {
    store: Arc<dyn StateStore>,
    dir: Option<tempfile::TempDir>,
}

impl Medium {
    fn new(on_disk: bool) -> Self {
        if !on_disk {
            return Self { store: Arc::new(MemoryStore::new()), dir: None };
        }
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(RocksStore::open(dir.path(), &RocksOptions::default()).unwrap());
        Self { store, dir: Some(dir) }
    }

    /// Has the drains so far compacted.
    fn compact(&self) {
        self.store.settle();
        let settled =
            || self.store.stats().level_zero_files == 0 && self.store.stats().running_compactions == 0;
        for _ in 0..1_000_000 {
            if settled() {
                break;
            }
            std::thread::yield_now();
        }
    }

    fn open(&self, case: &Case, log: &Arc<dyn Changelog>, shards: usize) -> Stepper {
        let builder = Engine::builder(&case.graph).store(self.store.clone()).changelog(log.clone());
        builder.shards(shards).stepper().unwrap()
    }
}

fn any_log(random: &mut Random) -> Arc<dyn Changelog> {
    let log: Arc<dyn Changelog> = if random.below(2) == 0 {
        Arc::new(MemoryChangelog::new())
    } else {
        OwnLog::with_gaps(random.number())
    };
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    log
}

/// Appends some records of one partition.
fn append(log: &dyn Changelog, random: &mut Random, reached: &mut [i64; 3], number: u64) {
    let partition = random.index(3);
    let id = records::partition(&clicks(), u32::try_from(partition).unwrap());
    let batch = (0..=random.below(4)).map(|part| {
        let ahead = if random.below(40) == 0 { 1_500 } else { random.below(60) };
        reached[partition] += ahead as i64;
        let behind = if random.below(3) == 0 { random.below(300) } else { 0 };
        let at = reached[partition] - behind as i64;
        // The keys of a partition are its own.
        let key = u8::try_from(random.below(3) * 3 + partition as u64).unwrap();
        records::record(&clicks(), &key, Some(&(number * 10 + part))).at(at)
    });
    records::append(log, id, batch.collect()).unwrap();
}

/// A replica of the table, made of a snapshot and the changes behind it.
struct Replica {
    rows: Rows,
    changes: ChangeStream<Windowed<u8>, Vec<u64>>,
}

impl Replica {
    fn open(view: &View<Windowed<u8>, Vec<u64>>) -> Self {
        let (start, changes) = view.changes().unwrap();
        Self { rows: start.scan().map(Result::unwrap).collect(), changes }
    }

    /// Takes what there is. `false` if it has ended.
    fn follow(&mut self, log: &dyn Changelog, keep_ms: Option<i64>) -> bool {
        loop {
            let epoch = match self.changes.try_next() {
                Ok(Some(epoch)) => epoch,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let first = Expected::at(log, epoch.position()).first_kept(keep_ms);
            for change in epoch.changes() {
                assert!(
                    change.key.start_ms >= first,
                    "{:?} is forgotten with the epoch that tells of it",
                    change.key
                );
                assert_eq!(self.rows.get(&change.key), change.old.as_ref());
                self.rows.insert(change.key, change.new.clone().expect("nothing is deleted"));
            }
        }
    }
}

#[test]
fn windows_are_kept_as_long_as_the_log_says() {
    let seed = seed();
    let mut random = Random::new(seed);
    let (mut forgotten, mut kept, mut builds, mut readers) = (0, 0, 0, 0);
    for round in 0..rounds(16) {
        let log = any_log(&mut random);
        let keep_ms = random.pick(&[0, 70, 350, 1_000]);
        let keep = Some(keep_ms);
        let (mut version, mut shards) = (0, 2);
        let mut medium = Medium::new(random.below(2) == 0);
        let (mut reached, mut last) = ([0_i64, -200, 350], (version, case(keep, version)));
        let mut alive: Option<Stepper> = None;
        let mut held: Vec<Held> = Vec::new();
        let mut beside: Option<(StateReader, Held)> = None;
        let mut replica: Option<Replica> = None;
        for step in 0..220 {
            if last.0 != version {
                last = (version, case(keep, version));
            }
            let case = &last.1;
            let stepper = alive.get_or_insert_with(|| medium.open(case, &log, shards));
            let what = format!("round {round}, step {step}");
            match random.below(30) {
                0 => drop(stepper.drain().unwrap()),
                1 => {
                    stepper.drain().unwrap();
                    medium.compact();
                }
                2 => {
                    (alive, replica) = (None, None);
                    shards = 1 + random.index(3);
                    match random.below(6) {
                        0 => version += 1,
                        1 => {
                            medium = Medium::new(random.below(2) == 0);
                            beside = None;
                        }
                        _ => {}
                    }
                    continue;
                }
                3 if medium.dir.is_some() && stepper.drain().unwrap() => {
                    let dir = medium.dir.as_ref().unwrap().path();
                    let copy = tempfile::tempdir().unwrap();
                    let (dir, is_copy) = if random.below(2) == 0 {
                        stepper.checkpoint(copy.path().join("copy")).unwrap();
                        (copy.path().join("copy"), true)
                    } else {
                        (dir.to_owned(), false)
                    };
                    if let Ok(reader) = StateReader::open(&dir, &case.graph)
                        && let Ok(view) = reader.view(&case.all)
                        && let Ok(rows) = view.snapshot()
                    {
                        let expected = Expected::at(&*log, rows.position());
                        let now = Held { rows, first: expected.first_kept(keep), all: expected.all };
                        now.check(&format!("{what}, a reader"));
                        check_view(&view, &now, &format!("{what}, a reader"));
                        readers += 1;
                        if !is_copy {
                            beside = Some((reader, now));
                        }
                    }
                }
                4..18 => drop(stepper.epoch(1 + random.index(9)).unwrap()),
                _ => append(&*log, &mut random, &mut reached, step),
            }
            builds += usize::from(stepper.is_building());
            let view = stepper.view(&case.all).unwrap();
            let Ok(rows) = view.snapshot() else { continue };
            let expected = Expected::at(&*log, rows.position());
            let first = expected.first_kept(keep);
            forgotten += expected.all.len() - expected.kept(first).len();
            kept += expected.kept(first).len();
            let now = Held { rows, all: expected.all, first };
            now.check(&what);
            check_view(&view, &now, &what);
            if let Some(mut following) = replica.take()
                && following.follow(&*log, keep)
            {
                let rows: Rows =
                    following.rows.clone().into_iter().filter(|(key, _)| key.start_ms >= first).collect();
                let expected: Rows =
                    now.all.clone().into_iter().filter(|(key, _)| key.start_ms >= first).collect();
                assert_eq!(rows, expected, "{what}: what is told of changes");
                replica = Some(following);
            }
            if replica.is_none() && !stepper.is_building() && random.below(8) == 0 {
                replica = Some(Replica::open(&view));
            }
            if random.below(12) == 0 {
                held.push(now);
            }
            if held.len() > 4 {
                held.swap_remove(random.index(held.len()));
            }
            if random.below(20) == 0 {
                held.iter().for_each(|held| held.check(&format!("{what}: a snapshot that was held")));
                if let Some((reader, before)) = &beside {
                    before.check(&format!("{what}: a snapshot of a reader that was held"));
                    let view = reader.view(&case.all);
                    if let Ok(view) = view {
                        check_view(&view, before, &format!("{what}: a reader that was held"));
                    }
                }
            }
        }
        let case = case(keep, version);
        let mut stepper = alive.take().unwrap_or_else(|| medium.open(&case, &log, shards));
        drop(replica);
        // Tables of another life have other handles.
        drop(stepper);
        stepper = medium.open(&case, &log, shards);
        let mut idle = 0;
        while idle < 20 || stepper.is_building() {
            idle = if stepper.epoch(50).unwrap() { 0 } else { idle + 1 };
        }
        let view = stepper.view(&case.all).unwrap();
        let rows = view.snapshot().unwrap();
        let expected = Expected::at(&*log, rows.position());
        let mut windows: BTreeMap<u8, u64> = BTreeMap::new();
        expected.all.keys().for_each(|windowed| *windows.entry(windowed.key).or_default() += 1);
        let derived = stepper.view(&case.windows).unwrap().scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(windows, derived, "round {round}: what derives from the table misses nothing");
        let finals: Vec<Row> =
            stepper.view(&case.finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(finals, expected.closed(), "round {round}: finals are kept in a table of their own");
        let appended = records::read(&*log, &TopicPartition::new("told", 0)).unwrap();
        let appended: Vec<Row> = appended
            .iter()
            .map(|record| {
                let key = <Windowed<u8> as millpond::codec::KeyCodec>::decode_whole_key(
                    record.key.as_ref().unwrap(),
                );
                (key.unwrap(), told().codec().decode(record.value.as_ref().unwrap()).unwrap())
            })
            .collect();
        assert_eq!(appended, expected.closed(), "round {round}: every window is told when it closes");
        let first = expected.first_kept(keep);
        Held { rows, all: expected.all, first }.check(&format!("round {round}, the end"));
    }
    assert!(forgotten > 1_000 && kept > 1_000 && builds > 0, "{forgotten} {kept} {builds}");
    assert!(readers > 0, "states are read beside");
}

/// Whoever keeps rows for less long loses them at once, and whoever keeps them for longer gets none back.
#[test]
fn what_was_forgotten_stays_so_whatever_is_said_later() {
    let seed = seed();
    let mut random = Random::new(seed);
    let (mut raised, mut lasted) = (0, 0);
    for round in 0..rounds(20) {
        let log = any_log(&mut random);
        let mut medium = Medium::new(random.below(2) == 0);
        let mut reached = [0_i64, -200, 350];
        let mut durable = i64::MIN;
        for life in 0..10 {
            let keep = random.pick(&[None, Some(0), Some(200), Some(600), Some(2_000)]);
            let case = case(keep, 0);
            let mut stepper = medium.open(&case, &log, 1 + random.index(3));
            let view = stepper.view(&case.all).unwrap();
            let mut first = durable;
            for step in 0..24 {
                let what = format!("round {round}, life {life}, step {step}, keep {keep:?}");
                let rows = view.snapshot().unwrap();
                let expected = Expected::at(&*log, rows.position());
                let computed = expected.first_kept(keep);
                raised += usize::from(step == 0 && computed > first);
                lasted += usize::from(computed < first);
                first = first.max(computed);
                if step == 0 {
                    // What is forgotten by opening is noted at once.
                    durable = first;
                }
                let now = Held { rows, all: expected.all, first };
                now.check(&what);
                check_view(&view, &now, &what);
                match random.below(10) {
                    0 | 1 => {
                        stepper.drain().unwrap();
                        durable = first;
                        if random.below(3) == 0 {
                            medium.compact();
                        }
                    }
                    2..5 => drop(stepper.epoch(1 + random.index(9)).unwrap()),
                    _ => append(&*log, &mut random, &mut reached, life * 100 + step),
                }
                // The next look is one epoch later at the most.
                first = first.max(Expected::at(&*log, &stepper.position()).first_kept(keep));
            }
        }
        if let Some(dir) = medium.dir.take() {
            drop(medium);
            drop(dir);
        }
    }
    assert!(raised > 0 && lasted > 0, "{raised} {lasted}");
}

/// What is left where rows of many windows came and went.
struct Left {
    directory_bytes: u64,
    most_bytes: u64,
    hot_entries: usize,
    rows: u64,
}

fn directory_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|e| e == "sst"))
        .map(|f| f.metadata().unwrap().len())
        .sum()
}

/// Runs through `windows` windows of `keys` keys each, and keeps four.
fn run_through(medium: &Medium, keep: bool, windows: i64, keys: u32) -> Left {
    let visits = Topic::<u32, Vec<u64>>::new("visits").partitions(1);
    let graph = GraphBuilder::new();
    let tumbling = Tumbling::of(ms(SIZE_MS)).grace(Duration::ZERO);
    let mut grouped = graph.stream(&visits).group_by_key().windowed(tumbling);
    if keep {
        grouped = grouped.keep(ms(4 * SIZE_MS));
    }
    let all = grouped.reduce("all", |_, list| list);
    let log = Arc::new(MemoryChangelog::new());
    log.create_topic("visits", &TopicConfig::default()).unwrap();
    let builder = Engine::builder(&graph.build().unwrap()).store(medium.store.clone()).changelog(log.clone());
    let mut stepper = builder.stepper().unwrap();
    let view = stepper.view(all.table()).unwrap();
    let mut random = Random::new(1);
    let mut most_bytes = 0;
    for window in 0..windows {
        let value = |random: &mut Random| (0..8).map(|_| random.number()).collect::<Vec<u64>>();
        let batch = (0..keys).map(|key| {
            records::record(&visits, &key, Some(&value(&mut random)))
                .at(window * SIZE_MS + i64::from(key % 100))
        });
        records::append(&*log, records::partition(&visits, 0), batch.collect()).unwrap();
        while stepper.epoch(1_000).unwrap() {}
        stepper.drain().unwrap();
        if window % 8 == 0 {
            medium.compact();
        }
        if window > windows / 10 {
            most_bytes = most_bytes.max(medium.store.stats().state_bytes);
        }
    }
    medium.compact();
    // Nothing is to be drained: what is left to be given back is.
    stepper.drain().unwrap();
    let directory_bytes = medium.dir.as_ref().map_or(0, |dir| directory_bytes(dir.path()));
    let hot_entries = stepper.stats().tables["all"].hot_entries;
    Left { directory_bytes, most_bytes, hot_entries, rows: view.count().unwrap() }
}

#[test]
fn the_space_of_what_is_forgotten_is_given_back() {
    for on_disk in [true, false] {
        let (some, all) = (Medium::new(on_disk), Medium::new(on_disk));
        let (left, without) = (run_through(&some, true, 200, 60), run_through(&all, false, 200, 60));
        assert_eq!((left.rows, without.rows), (5 * 60 + if left.rows > 300 { 60 } else { 0 }, 200 * 60));
        assert!(left.hot_entries as u64 <= left.rows, "{} of {} in memory", left.hot_entries, left.rows);
        assert_eq!(without.hot_entries, 200 * 60);
        println!(
            "on disk {on_disk}: at most {} bytes, without `keep` {}; the files {} and {}",
            left.most_bytes, without.most_bytes, left.directory_bytes, without.directory_bytes
        );
        assert!(left.most_bytes * 5 < without.most_bytes, "{} of {}", left.most_bytes, without.most_bytes);
        assert!(left.directory_bytes * 5 <= without.directory_bytes);
    }
}

/// Snapshots that are held keep what they show, and what they held up goes once they are gone.
#[test]
fn a_snapshot_that_is_held_keeps_its_rows_through_drains_and_compactions() {
    let medium = Medium::new(true);
    let case = case(Some(0), 0);
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    let mut stepper = medium.open(&case, &log, 1);
    let put = |at: i64| {
        for number in 0..PARTITIONS {
            let records = (0..2).map(|key| {
                records::record(&clicks(), &((key * 3 + number) as u8), Some(&(at as u64))).at(at)
            });
            records::append(&*log, records::partition(&clicks(), number), records.collect()).unwrap();
        }
    };
    put(0);
    put(50);
    while stepper.epoch(9).unwrap() {}
    stepper.drain().unwrap();
    let view = stepper.view(&case.all).unwrap();
    let rows = view.snapshot().unwrap();
    let expected = Expected::at(&*log, rows.position());
    let held = Held { first: expected.first_kept(Some(0)), all: expected.all, rows };
    assert_eq!(held.rows.count(), 6);
    for window in 1..40 {
        put(window * SIZE_MS + 30);
        while stepper.epoch(9).unwrap() {}
        stepper.drain().unwrap();
        medium.compact();
        held.check("while rows that it shows are forgotten");
        assert_eq!(view.get(&Windowed::new(0, 100, 0)).unwrap(), None, "it is closed");
    }
    let with = medium.store.stats().rows_estimate;
    drop(held);
    put(4_100);
    while stepper.epoch(9).unwrap() {}
    stepper.drain().unwrap();
    put(4_200);
    while stepper.epoch(9).unwrap() {}
    stepper.drain().unwrap();
    medium.compact();
    assert!(medium.store.stats().rows_estimate + 100 < with, "{with} rows, of which few are left");
}

#[test]
fn nobody_who_waits_for_a_key_is_told_that_it_is_forgotten() {
    let medium = Medium::new(false);
    let case = case(Some(100), 0);
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    let mut stepper = medium.open(&case, &log, 1);
    let mut put = |times: &[i64]| {
        for (at, number) in times.iter().flat_map(|at| (0..PARTITIONS).map(move |number| (*at, number))) {
            let record = records::record(&clicks(), &(number as u8), Some(&7)).at(at);
            records::append(&*log, records::partition(&clicks(), number), vec![record]).unwrap();
        }
        while stepper.epoch(9).unwrap() {}
        stepper.view(&case.all).unwrap()
    };
    let view = put(&[10]);
    let mut stream = view.subscribe(&Windowed::new(0, 100, 1)).unwrap();
    assert_eq!(stream.current(), Some(&vec![7]));
    let (_, mut changes) = view.changes().unwrap();
    // In one epoch the row is changed, and forgotten.
    let view = put(&[60, 1_000]);
    assert_eq!(view.get(&Windowed::new(0, 100, 1)).unwrap(), None, "it is forgotten");
    let epoch = changes.try_next().unwrap().expect("windows at 1,000 are new");
    assert!(epoch.changes().iter().all(|change| change.key.start_ms == 1_000 && change.old.is_none()));
    assert!(changes.try_next().unwrap().is_none());
    assert!(!resolves_at_once(stream.next()), "there is nothing to tell");
}

#[test]
fn days_of_a_calendar_are_kept_as_windows_of_one_size_are() {
    let hour = 3_600_000;
    let graph = GraphBuilder::new();
    let days = Calendar::days("Europe/Zurich").grace(Duration::ZERO);
    let all = graph.stream(&clicks()).group_by_key().windowed(days).keep(ms(24 * hour)).count("all");
    let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    log.create_topic("clicks", &TopicConfig::default().partitions(1)).unwrap();
    let builder =
        Engine::builder(&graph.build().unwrap()).store(Arc::new(MemoryStore::new())).changelog(log.clone());
    let mut stepper = builder.stepper().unwrap();
    // From the 30th of March 2025, a day of 23 hours that began at 23 o'clock of the day before in UTC.
    let start = 1_743_289_200_000;
    let view = stepper.view(all.table()).unwrap();
    for (hours, first) in [(0, 0), (22, 0), (23, 0), (46, 0), (47, 23), (70, 23), (71, 47)] {
        let record = records::record(&clicks(), &1, Some(&1)).at(start + hours * hour);
        records::append(&*log, records::partition(&clicks(), 0), vec![record]).unwrap();
        while stepper.epoch(9).unwrap() {}
        let (key, _) = view.scan().unwrap().next().unwrap().unwrap();
        assert_eq!((key.start_ms - start) / hour, first, "{hours} hours later");
    }
}

/// What a look-up would find depends on how far the table has come, which is for another part of the log to decide.
#[test]
fn a_table_that_forgets_is_not_looked_into() {
    let joined = |keep: bool| {
        let graph = GraphBuilder::new();
        let tumbling = || Tumbling::of(ms(SIZE_MS)).grace(Duration::ZERO);
        let windows = graph.stream(&clicks()).group_by_key().windowed(tumbling());
        let windows = if keep { windows.keep(ms(500)) } else { windows };
        let (one, other) = (windows.count("one"), windows.reduce("other", |a, b| a + b));
        let _both = one.table().join(other.table(), |_, one, other| one + other).materialize("both");
        graph.build()
    };
    refused(joined(true), ErrorKind::Invalid, &["looks rows of table `one`", "`keep`", "on_close"]);
    joined(false).unwrap();
}
