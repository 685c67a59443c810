//! A table of windows that keeps them for a while, what is to be found in it at a position, and all the ways to look.

mod lives;

pub(crate) use lives::{Lives, Seen};

use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::stream::{Tumbling, WindowStart};
use millpond::{
    ChangeStream, Graph, GraphBuilder, Position, StoredTable, TableOptions, TableSnapshot, Topic, View,
    Windowed,
};
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const PARTITIONS: u32 = 3;
pub(crate) const SIZE_MS: i64 = 100;
pub(crate) const GRACE_MS: i64 = 30;

pub(crate) fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

/// Told once each: a window of a key, and what was in it.
pub(crate) fn told() -> Topic<Windowed<u8>, Vec<u64>> {
    Topic::new("told").partitions(1)
}

pub(crate) fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms as u64)
}

pub(crate) type Row = (Windowed<u8>, Vec<u64>);
pub(crate) type Rows = BTreeMap<Windowed<u8>, Vec<u64>>;

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) graph: Graph,
    pub(crate) all: StoredTable<Windowed<u8>, Vec<u64>>,
    /// How many windows each key had.
    pub(crate) windows: StoredTable<u8, u64>,
    pub(crate) finals: StoredTable<Windowed<u8>, Vec<u64>>,
}

pub(crate) fn case(keep_ms: Option<i64>, version: u32) -> Case {
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
pub(crate) struct Expected {
    /// Forgotten or not.
    pub(crate) all: Rows,
    pub(crate) watermark_ms: i64,
}

impl Expected {
    pub(crate) fn at(log: &dyn Changelog, position: &Position) -> Self {
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
        for list in expected.all.values_mut() {
            list.sort_unstable();
        }
        expected
    }

    /// Where the first window begins that is kept.
    pub(crate) fn first_kept(&self, keep_ms: Option<i64>) -> i64 {
        let Some(keep_ms) = keep_ms.filter(|_| self.watermark_ms > i64::MIN) else { return i64::MIN };
        (self.watermark_ms - GRACE_MS - keep_ms).div_euclid(SIZE_MS) * SIZE_MS
    }

    pub(crate) fn closed(&self) -> Vec<Row> {
        let is_closed = |(windowed, _): &(&Windowed<u8>, _)| windowed.end_ms + GRACE_MS <= self.watermark_ms;
        self.all.iter().filter(is_closed).map(|(windowed, list)| (*windowed, list.clone())).collect()
    }
}

/// A table as it must be found for ever.
pub(crate) struct Held {
    pub(crate) rows: TableSnapshot<Windowed<u8>, Vec<u64>>,
    pub(crate) all: Rows,
    pub(crate) first: i64,
}

impl Held {
    /// In every way there is to ask a snapshot.
    pub(crate) fn check(&self, what: &str) {
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
pub(crate) fn check_view(view: &View<Windowed<u8>, Vec<u64>>, held: &Held, what: &str) {
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

pub(crate) fn any_log(random: &mut Random) -> Arc<dyn Changelog> {
    let log: Arc<dyn Changelog> = if random.below(2) == 0 {
        Arc::new(MemoryChangelog::new())
    } else {
        OwnLog::with_gaps(random.number())
    };
    log.create_topic("clicks", &TopicConfig::default().partitions(PARTITIONS)).unwrap();
    log
}

/// Appends some records of one partition.
pub(crate) fn append(log: &dyn Changelog, random: &mut Random, reached: &mut [i64; 3], number: u64) {
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
pub(crate) struct Replica {
    pub(crate) rows: Rows,
    pub(crate) changes: ChangeStream<Windowed<u8>, Vec<u64>>,
}

impl Replica {
    pub(crate) fn open(view: &View<Windowed<u8>, Vec<u64>>) -> Self {
        let (start, changes) = view.changes().unwrap();
        Self { rows: start.scan().map(Result::unwrap).collect(), changes }
    }

    /// Takes what there is. `false` if it has ended.
    pub(crate) fn follow(&mut self, log: &dyn Changelog, keep_ms: Option<i64>) -> bool {
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
