//! Strategies for changelogs that look like real ones.
//!
//! Real changelogs are unkind in known ways: a few keys are hot, values are replaced and deleted, keys are
//! deleted that never were, a producer sends a record twice, and timestamps come late or all at once.
//! [`changelog`] makes them so, by the proportions of a [`ChangelogShape`].
//!
//! As a real producer would, it keeps every key in one partition. A failing changelog shrinks towards few
//! records, few keys, upserts, and timestamps in order.

use millpond_engine::Topic;
use millpond_engine::changelog::{Headers, Record};
use millpond_engine::codec::{CodecError, Key, Value};
use proptest::collection::{SizeRange, vec};
use proptest::strategy::Strategy;
use std::fmt::Debug;

/// A record before it is encoded, and the partition it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedRecord<K, V> {
    /// Which partition of the topic.
    pub partition: u32,
    /// The key.
    pub key: K,
    /// What the key now maps to; `None` is a tombstone.
    pub value: Option<V>,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The annotations, in the order they were given.
    pub headers: Headers,
}

impl<K: Key, V: Value> TypedRecord<K, V> {
    /// The record as a changelog takes it in `topic`.
    ///
    /// # Errors
    /// If the key or the value does not encode.
    pub fn encode(&self, topic: &Topic<K, V>) -> Result<Record, CodecError> {
        let mut key = Vec::new();
        topic.encode_key(&self.key, &mut key)?;
        let value = match &self.value {
            None => None,
            Some(value) => {
                let mut bytes = Vec::new();
                topic.codec().encode(value, &mut bytes)?;
                Some(bytes.into())
            }
        };
        Ok(Record {
            key: Some(key.into()),
            value,
            timestamp_ms: self.timestamp_ms,
            headers: self.headers.clone(),
        })
    }
}

/// The proportions of a generated [`changelog`].
///
/// # Examples
/// ```
/// use millpond::testing::changelogs::ChangelogShape;
///
/// let appends_only = ChangelogShape { tombstone_percent: 0, repeat_percent: 0, ..ChangelogShape::default() };
/// # assert_eq!(appends_only.partitions, 3);
/// ```
#[derive(Debug, Clone)]
pub struct ChangelogShape {
    /// How many records.
    pub records: SizeRange,
    /// How many partitions, at least one.
    pub partitions: u32,
    /// At most how many different keys. The first is the hottest: the n-th occurs about 1/n as often.
    pub distinct_keys: usize,
    /// How many records in a hundred delete their key.
    pub tombstone_percent: u8,
    /// How many records in a hundred are the one before them once more, as a producer's retry sends it.
    pub repeat_percent: u8,
    /// How many records in a hundred carry a timestamp from before the one reached.
    pub late_percent: u8,
    /// By at most how much those are late, in milliseconds.
    pub lateness_ms: i64,
    /// By at most how much time moves from record to record, in milliseconds; it may also stand still.
    pub step_ms: i64,
    /// The timestamp of the first record, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// By how much each partition is dated ahead of the one before, in milliseconds.
    pub skew_ms: i64,
    /// In how many changelogs of a hundred one partition gets no more records from some moment on.
    pub silent_percent: u8,
}

impl Default for ChangelogShape {
    fn default() -> Self {
        Self {
            records: (0..=100).into(),
            partitions: 3,
            distinct_keys: 12,
            tombstone_percent: 15,
            repeat_percent: 5,
            late_percent: 15,
            lateness_ms: 60_000,
            step_ms: 1_000,
            start_ms: 1_700_000_000_000,
            skew_ms: 0,
            silent_percent: 0,
        }
    }
}

/// One record's worth of chance.
#[derive(Debug, Clone)]
struct Draw<V> {
    key_rank: f64,
    value: V,
    kind_percent: u8,
    late_percent: u8,
    lateness_ms: i64,
    step_ms: i64,
}

/// Changelogs of this shape, in the order in which they are appended.
///
/// # Examples
/// ```
/// use millpond::testing::changelogs::{ChangelogShape, changelog};
/// use proptest::prelude::*;
///
/// proptest!(|(records in changelog(ChangelogShape::default(), any::<u64>(), 0..10_u8))| {
///     prop_assert!(records.iter().all(|record| record.partition < 3));
/// });
/// ```
pub fn changelog<K, V>(
    shape: ChangelogShape,
    keys: impl Strategy<Value = K>,
    values: impl Strategy<Value = V>,
) -> impl Strategy<Value = Vec<TypedRecord<K, V>>>
where
    K: Clone + PartialEq + Debug,
    V: Clone + Debug,
{
    let keys = vec(keys, 1..=shape.distinct_keys.max(1));
    let draws = vec(draw(shape.lateness_ms, shape.step_ms, values), shape.records.clone());
    // The high numbers are silent, so that shrinking ends with all partitions awake.
    let silence = (0..100_u8, 0..shape.partitions.max(1), 0.0..1.0_f64);
    (keys, draws, silence).prop_map(move |(keys, draws, (percent, partition, share))| {
        let mut records = assemble(&shape, &distinct(keys), draws);
        if percent >= 100_u8.saturating_sub(shape.silent_percent) {
            fall_silent(&mut records, partition, share);
        }
        records
    })
}

fn draw<V: Debug>(
    lateness_ms: i64,
    step_ms: i64,
    values: impl Strategy<Value = V>,
) -> impl Strategy<Value = Draw<V>> {
    let lateness = 0..=lateness_ms.max(0);
    let step = 0..=step_ms.max(0);
    (0.0..1.0_f64, values, 0..100_u8, 0..100_u8, lateness, step).prop_map(
        |(key_rank, value, kind_percent, late_percent, lateness_ms, step_ms)| Draw {
            key_rank,
            value,
            kind_percent,
            late_percent,
            lateness_ms,
            step_ms,
        },
    )
}

fn distinct<K: PartialEq>(keys: Vec<K>) -> Vec<K> {
    let mut kept: Vec<K> = Vec::with_capacity(keys.len());
    for key in keys {
        if !kept.contains(&key) {
            kept.push(key);
        }
    }
    kept
}

fn assemble<K: Clone, V: Clone>(
    shape: &ChangelogShape,
    keys: &[K],
    draws: Vec<Draw<V>>,
) -> Vec<TypedRecord<K, V>> {
    let mut records: Vec<TypedRecord<K, V>> = Vec::with_capacity(draws.len());
    let mut now_ms = shape.start_ms;
    // The special kinds take the high numbers, so that shrinking ends at plain upserts in time order.
    let repeat_from = 100_u8.saturating_sub(shape.repeat_percent);
    let tombstone_from = repeat_from.saturating_sub(shape.tombstone_percent);
    let late_from = 100_u8.saturating_sub(shape.late_percent);
    for draw in draws {
        if draw.kind_percent >= repeat_from
            && let Some(last) = records.last().cloned()
        {
            records.push(last);
            continue;
        }
        now_ms = now_ms.saturating_add(draw.step_ms);
        let late_ms = if draw.late_percent >= late_from { draw.lateness_ms } else { 0 };
        let rank = skewed(draw.key_rank, keys.len());
        let Some(key) = keys.get(rank) else { continue };
        let upsert = draw.kind_percent < tombstone_from || draw.kind_percent >= repeat_from;
        let partition = partition_of(rank, shape.partitions);
        let ahead_ms = shape.skew_ms.saturating_mul(i64::from(partition));
        records.push(TypedRecord {
            partition,
            key: key.clone(),
            value: upsert.then_some(draw.value),
            timestamp_ms: now_ms.saturating_add(ahead_ms).saturating_sub(late_ms),
            headers: Headers::new(),
        });
    }
    records
}

/// Leaves out what `partition` gets behind this share of the records.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length"
)]
fn fall_silent<K, V>(records: &mut Vec<TypedRecord<K, V>>, partition: u32, share: f64) {
    let from = (records.len() as f64 * share) as usize;
    let mut index = 0;
    records.retain(|record| {
        index += 1;
        index <= from || record.partition != partition
    });
}

/// A rank below `count`, low ones more often: the n-th with a probability of about 1/n.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a draw from 1..count+1, floored"
)]
fn skewed(chance: f64, count: usize) -> usize {
    let rank = ((count + 1) as f64).powf(chance).floor() as usize;
    rank.saturating_sub(1).min(count.saturating_sub(1))
}

fn partition_of(rank: usize, partitions: u32) -> u32 {
    u32::try_from(rank).unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use std::collections::BTreeMap;

    fn sample(shape: ChangelogShape) -> Vec<TypedRecord<u64, u32>> {
        let strategy = changelog(shape, any::<u64>(), any::<u32>());
        strategy.new_tree(&mut TestRunner::deterministic()).unwrap().current()
    }

    proptest! {
        #[test]
        fn a_key_stays_in_its_partition(records in changelog(ChangelogShape::default(), 0..20_u8, any::<u8>())) {
            let mut partitions = BTreeMap::new();
            for record in &records {
                prop_assert!(record.partition < 3);
                prop_assert_eq!(*partitions.entry(record.key).or_insert(record.partition), record.partition);
            }
        }

        #[test]
        fn a_plain_shape_gives_upserts_in_time_order(
            records in changelog(
                ChangelogShape { tombstone_percent: 0, repeat_percent: 0, late_percent: 0, ..ChangelogShape::default() },
                any::<u8>(),
                any::<u8>(),
            )
        ) {
            prop_assert!(records.iter().all(|record| record.value.is_some()));
            prop_assert!(records.is_sorted_by_key(|record| record.timestamp_ms));
        }

        #[test]
        fn a_shape_of_nothing_is_survived(
            records in changelog(
                ChangelogShape { partitions: 0, distinct_keys: 0, step_ms: -1, lateness_ms: -1, ..ChangelogShape::default() },
                any::<u8>(),
                any::<u8>(),
            )
        ) {
            prop_assert!(records.iter().all(|record| record.partition == 0));
        }
    }

    #[test]
    fn the_proportions_are_those_of_the_shape() {
        let records = sample(ChangelogShape { records: 10_000.into(), ..ChangelogShape::default() });
        assert_eq!(records.len(), 10_000);
        let percent = |count: usize| count * 100 / records.len();
        let tombstones = records.iter().filter(|record| record.value.is_none()).count();
        assert!((12..=18).contains(&percent(tombstones)), "{tombstones} tombstones");
        let repeats = records.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((3..=7).contains(&percent(repeats)), "{repeats} repeats");
        let backwards = records.windows(2).filter(|pair| pair[1].timestamp_ms < pair[0].timestamp_ms).count();
        assert!((9..=17).contains(&percent(backwards)), "{backwards} out of order");
    }

    #[test]
    fn partitions_are_apart_and_fall_silent() {
        let skewed = ChangelogShape {
            records: 1_000.into(),
            late_percent: 0,
            skew_ms: 1 << 30,
            ..ChangelogShape::default()
        };
        let records = sample(skewed.clone());
        let ahead = |record: &&TypedRecord<u64, u32>| {
            let ahead_ms = record.timestamp_ms - skewed.start_ms;
            (i64::from(record.partition) << 30..i64::from(record.partition + 1) << 30).contains(&ahead_ms)
        };
        assert_eq!(records.iter().filter(ahead).count(), 1_000);
        let silent = sample(ChangelogShape { silent_percent: 100, ..skewed });
        let last = (0..3)
            .map(|partition| silent.iter().rposition(|record| record.partition == partition).unwrap_or(0));
        assert!(last.min().unwrap() < silent.len() * 9 / 10);
    }

    #[test]
    fn some_keys_are_hot() {
        let records = sample(ChangelogShape {
            records: 10_000.into(),
            distinct_keys: 100,
            ..ChangelogShape::default()
        });
        let mut counts = BTreeMap::new();
        for record in &records {
            *counts.entry(record.key).or_insert(0) += 1;
        }
        let hottest = counts.values().max().unwrap();
        let mean = records.len() / counts.len();
        assert!(*hottest > 3 * mean, "the hottest key has {hottest} records, the mean is {mean}");
    }

    #[test]
    fn failures_shrink_to_few_plain_records() {
        let strategy = changelog(ChangelogShape::default(), any::<u64>(), any::<u32>());
        let found = TestRunner::deterministic().run(&strategy, |records| {
            prop_assert!(records.iter().filter(|record| record.value.is_some()).count() < 2);
            Ok(())
        });
        let Err(proptest::test_runner::TestError::Fail(_, smallest)) = found else {
            panic!("no changelog with two upserts");
        };
        let plain = TypedRecord {
            partition: 0,
            key: 0,
            value: Some(0),
            timestamp_ms: ChangelogShape::default().start_ms,
            headers: Headers::new(),
        };
        assert_eq!(smallest, [plain.clone(), plain]);
    }
}
