//! One contract, held by every store: random steps are compared with a plain ordered map.

use super::{Direction, MemoryStore, RocksOptions, RocksStore, Row, StateStore, StoreSnapshot};
use crate::ErrorKind;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

type Bytes = Vec<u8>;
type Model = BTreeMap<Bytes, Bytes>;
type Changes = BTreeMap<Bytes, Option<Bytes>>;

#[derive(Debug, Clone)]
enum Step {
    Ingest(Changes),
    Replace(Range<Bytes>, Changes),
    Snapshot,
    Settle,
    Forget(Bytes),
    Compare(Range<Bytes>, Vec<Bytes>),
    Restart,
}

/// Few bytes and short keys, so that keys meet; with the empty key and the extremes among them.
fn key() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop::sample::select(vec![0_u8, 1, 128, 255]), 0..4)
}

fn range() -> impl Strategy<Value = Range<Bytes>> {
    (key(), key()).prop_map(|(start, end)| start..end)
}

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::btree_map(
        key(),
        prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..6)),
        0..12,
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => changes().prop_map(Step::Ingest),
        2 => (range(), changes()).prop_map(|(range, changes)| Step::Replace(range, changes)),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Settle),
        1 => key().prop_map(Step::Forget),
        4 => (range(), prop::collection::vec(key(), 0..8)).prop_map(|(range, keys)| Step::Compare(range, keys)),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..24)
}

/// A store that can be closed and opened again.
trait Medium {
    fn open(&self) -> Arc<dyn StateStore>;
}

impl Medium for Arc<MemoryStore> {
    fn open(&self) -> Arc<dyn StateStore> {
        self.clone()
    }
}

impl Medium for PathBuf {
    fn open(&self) -> Arc<dyn StateStore> {
        let options = RocksOptions { block_cache_bytes: 1 << 20, ..RocksOptions::default() };
        Arc::new(RocksStore::open(self, &options).unwrap())
    }
}

fn rows(changes: &Changes) -> impl Iterator<Item = Row<'_>> {
    changes.iter().map(|(key, value)| (&key[..], value.as_deref()))
}

fn apply(model: &mut Model, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn read(reader: impl FnOnce(&mut dyn FnMut(Option<&[u8]>)) -> crate::Result<()>) -> Option<Bytes> {
    let mut calls = Vec::new();
    reader(&mut |value| calls.push(value.map(<[u8]>::to_vec))).unwrap();
    assert_eq!(calls.len(), 1, "a read calls back once");
    calls.remove(0)
}

fn scan(
    snapshot: &dyn StoreSnapshot,
    keys: &Range<Bytes>,
    direction: Direction,
    limit: usize,
) -> Vec<(Bytes, Bytes)> {
    let mut found = Vec::new();
    snapshot
        .scan(&keys.start..&keys.end, direction, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            found.len() < limit
        })
        .unwrap();
    found
}

fn compare(snapshot: &dyn StoreSnapshot, model: &Model, keys: &Range<Bytes>, points: &[Bytes]) {
    for point in points {
        assert_eq!(read(|call| snapshot.read(point, call)).as_ref(), model.get(point), "{point:02x?}");
    }
    let mut expected: Vec<_> = model.iter().filter(|(key, _)| keys.contains(*key)).collect();
    for direction in [Direction::Forward, Direction::Backward] {
        for limit in [usize::MAX, 3] {
            let found = scan(snapshot, keys, direction, limit);
            let expected = expected.iter().take(limit).map(|&(key, value)| (key.clone(), value.clone()));
            assert_eq!(found, expected.collect::<Vec<_>>(), "{keys:02x?} {direction:?} limit {limit}");
        }
        expected.reverse();
    }
}

fn compare_live(store: &dyn StateStore, model: &Model, points: &[Bytes]) {
    let mut sorted: Vec<&[u8]> = points.iter().map(|point| &point[..]).collect();
    sorted.sort_unstable();
    let mut found = Vec::new();
    store.read_sorted(&sorted, &mut |index, value| found.push((index, value.map(<[u8]>::to_vec)))).unwrap();
    let expected = sorted.iter().map(|&point| model.get(point).cloned()).enumerate();
    assert_eq!(found, expected.collect::<Vec<_>>());
    for point in points {
        assert_eq!(read(|call| store.read(point, call)).as_ref(), model.get(point), "{point:02x?}");
    }
}

/// What is left of `keys` beside those in `gone`.
fn beside(keys: &Range<Bytes>, gone: &Range<Bytes>) -> [Range<Bytes>; 2] {
    let before = keys.start.clone()..keys.end.clone().min(gone.start.clone());
    let behind = keys.start.clone().max(gone.end.clone())..keys.end.clone();
    [before, behind]
}

/// As [`compare`], without what is `gone`.
fn check(
    snapshot: &dyn StoreSnapshot,
    model: &Model,
    gone: &Range<Bytes>,
    keys: &Range<Bytes>,
    points: &[Bytes],
) {
    let points: Vec<Bytes> = points.iter().filter(|point| !gone.contains(*point)).cloned().collect();
    for keys in &beside(keys, gone) {
        compare(snapshot, model, keys, &points);
    }
}

fn everything() -> Range<Bytes> {
    Vec::new()..vec![255; 8]
}

fn holds_for(medium: &impl Medium, steps: &[Step]) {
    let mut store = medium.open();
    let mut model = Model::new();
    let mut snapshots: Vec<(Arc<dyn StoreSnapshot>, Model, Range<Bytes>)> = Vec::new();
    // What nobody asks for any more. A snapshot goes on showing what was not forgotten before it was taken.
    let mut gone = vec![128]..vec![128];
    for step in steps {
        match step {
            Step::Ingest(changes) => {
                store.ingest(&mut rows(changes)).unwrap();
                apply(&mut model, changes);
            }
            Step::Replace(range, changes) => {
                let outside: Changes = changes
                    .iter()
                    .filter(|(key, _)| !range.contains(*key))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                store.replace_range(&range.start..&range.end, &mut rows(&outside)).unwrap();
                model.retain(|key, _| !range.contains(key));
                apply(&mut model, &outside);
            }
            Step::Settle => store.settle(),
            Step::Forget(end) => {
                gone.end = gone.end.max([&[128], &end[..]].concat());
                store.forget(std::slice::from_ref(&gone));
            }
            Step::Snapshot => snapshots.push((store.snapshot().unwrap(), model.clone(), gone.clone())),
            Step::Compare(range, points) => {
                let left: Vec<Bytes> =
                    points.iter().filter(|point| !gone.contains(*point)).cloned().collect();
                compare_live(&*store, &model, &left);
                check(&*store.snapshot().unwrap(), &model, &gone, range, points);
                for (snapshot, model, gone) in &snapshots {
                    check(&**snapshot, model, gone, range, points);
                }
            }
            Step::Restart => {
                snapshots.clear();
                drop(store);
                store = medium.open();
            }
        }
    }
    for (snapshot, model, gone) in &snapshots {
        check(&**snapshot, model, gone, &everything(), &[]);
    }
    check(&*store.snapshot().unwrap(), &model, &gone, &everything(), &[]);
}

/// Runs `check` with one store of every kind.
fn with_every_store(check: impl Fn(&dyn StateStore)) {
    check(&MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    check(&*dir.path().to_owned().open());
}

proptest! {
    #[test]
    fn the_store_in_memory_holds_the_contract(steps in steps()) {
        holds_for(&Arc::new(MemoryStore::new()), &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_store_on_disk_holds_the_contract(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        holds_for(&dir.path().to_owned(), &steps);
    }
}

#[test]
fn rows_out_of_order_are_refused_and_leave_nothing() {
    with_every_store(|store| {
        for keys in [["b", "a"], ["a", "a"]] {
            let mut rows = keys.iter().map(|key| (key.as_bytes(), Some(&b"1"[..])));
            assert_eq!(store.ingest(&mut rows).unwrap_err().kind(), ErrorKind::Internal);
        }
        assert_eq!(read(|call| store.read(b"a", call)), None);
        assert_eq!(read(|call| store.read(b"b", call)), None);
    });
}

#[test]
fn rows_inside_of_a_replaced_range_are_refused_and_leave_everything() {
    with_every_store(|store| {
        store.ingest(&mut [(&b"b"[..], Some(&b"1"[..]))].into_iter()).unwrap();
        let mut rows = [(&b"b"[..], Some(&b"2"[..]))].into_iter();
        let refused = store.replace_range(b"a"..b"c", &mut rows).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Internal);
        assert_eq!(read(|call| store.read(b"b", call)).unwrap(), b"1");
    });
}

#[test]
fn many_sorted_reads_find_each_its_own() {
    with_every_store(|store| {
        let keys: Vec<[u8; 4]> = (0..3000_u32).map(u32::to_be_bytes).collect();
        store.ingest(&mut keys.iter().step_by(2).map(|key| (&key[..], Some(&key[..])))).unwrap();
        let mut next = 0;
        let slices: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        store
            .read_sorted(&slices, &mut |index, value| {
                assert_eq!(index, next);
                assert_eq!(value, (index % 2 == 0).then_some(&keys[index][..]));
                next += 1;
            })
            .unwrap();
        assert_eq!(next, 3000);
    });
}
