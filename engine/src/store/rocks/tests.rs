//! What only the store on disk can get wrong.

use super::ingest::SortedFile;
use super::*;
use crate::ErrorKind;
use crate::medium::log_file;
use crate::store::Direction;
use std::fs;

fn options() -> RocksOptions {
    RocksOptions { block_cache_bytes: 4 << 20, ..RocksOptions::default() }
}

fn open(dir: &Path) -> RocksStore {
    RocksStore::open(dir, &options()).unwrap()
}

fn put(store: &RocksStore, keys: Range<u32>) {
    let keys: Vec<[u8; 4]> = keys.map(u32::to_be_bytes).collect();
    store.ingest(&mut keys.iter().map(|key| (&key[..], Some(&key[..])))).unwrap();
}

fn has(store: &RocksStore, key: u32) -> bool {
    let mut found = None;
    store.read(&key.to_be_bytes(), &mut |value| found = Some(value.is_some())).unwrap();
    found.unwrap()
}

fn count(snapshot: &dyn StoreSnapshot) -> usize {
    let mut rows = 0;
    snapshot
        .scan(b""..&[255; 5], Direction::Forward, &mut |_, _| {
            rows += 1;
            true
        })
        .unwrap();
    rows
}

fn files_in(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

fn compact(store: &RocksStore) {
    store.task.database().compact_range_cf(store.task.family(), None::<&[u8]>, None::<&[u8]>);
}

#[test]
fn a_drain_that_was_not_taken_over_is_not_there_after_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, 0..10);
    let rows: [Row<'_>; 2] = [(&[0, 0, 0, 1], None), (&[0, 0, 0, 99], Some(b"new"))];
    let file = SortedFile::write(&store.task, None, &mut rows.into_iter()).unwrap().unwrap();
    // As if the process had ended here: nobody removes the file.
    std::mem::forget(file);
    drop(store);
    assert_eq!(files_in(&dir.path().join("ingest")), 1);

    let store = open(dir.path());
    assert!(has(&store, 1));
    assert!(!has(&store, 99));
    assert_eq!(files_in(&dir.path().join("ingest")), 0);
    put(&store, 99..100);
    assert!(has(&store, 99));
}

#[test]
fn a_refused_drain_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let rows: [Row<'_>; 2] = [(b"b", None), (b"a", None)];
    store.ingest(&mut rows.into_iter()).unwrap_err();
    assert_eq!(files_in(&dir.path().join("ingest")), 0);
}

#[test]
fn rows_never_pass_through_memtable_or_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let empty = store.stats().memtable_bytes;
    put(&store, 0..20_000);
    assert_eq!(store.stats().memtable_bytes, empty);
    let logs = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
    let logged: u64 = logs
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "log"))
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert_eq!(logged, 0);
}

#[test]
fn forgotten_rows_go_with_their_files_and_with_compactions_once_no_snapshot_shows_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Files that overlap nothing are taken over below level 0.
    put(&store, 0..1000);
    put(&store, 1000..2000);
    let key = |key: u32| key.to_be_bytes().to_vec();
    let shown = store.snapshot().unwrap();
    store.forget(&[key(0)..key(1500)]);
    compact(&store);
    assert_eq!(count(&*shown), 2000, "what a snapshot shows stays");
    drop(shown);
    store.forget(&[]);
    assert!(has(&store, 1500) && has(&store, 1999));
    compact(&store);
    assert!(![0, 999, 1000, 1499].map(|key| has(&store, key)).contains(&true));
    assert_eq!(count(&*store.snapshot().unwrap()), 500, "the first that is kept is there");

    put(&store, 3000..3100);
    put(&store, 3100..3200);
    store.forget(&[key(3000)..key(3100)]);
    assert!(!has(&store, 3000) && !has(&store, 3099), "a file of nothing else is dropped at once");
    assert!(has(&store, 3100), "the next one begins with the end of what is forgotten");

    drop(store);
    let store = open(dir.path());
    store.forget(&[key(0)..key(1900)]);
    compact(&store);
    assert_eq!(count(&*store.snapshot().unwrap()), 200, "also after a reopen");
}

/// Opening a column family with default options would silently lose its filter and its share of the cache.
#[test]
fn options_hold_after_reopen() {
    let dir = tempfile::tempdir().unwrap();
    put(&open(dir.path()), 0..50_000);
    let store = open(dir.path());
    let property =
        |name| store.task.database().property_value_cf(store.task.family(), name).unwrap().unwrap();

    // The file that was ingested has a filter and a two-level index, so the writer had the same options ...
    let table = property(properties::AGGREGATED_TABLE_PROPERTIES);
    let sizes = |name: &str| -> u64 {
        let value = table.split(';').find_map(|part| part.trim().strip_prefix(name)).unwrap();
        value.trim_start_matches('=').parse().unwrap()
    };
    assert!(sizes("filter block size") > 50_000, "{table}");

    assert_eq!(store.stats().rows_estimate, 50_000);

    // ... and after the reopen it is used, out of the cache that was set up: keys that are not there touch no
    // block of rows.
    assert_eq!(property(properties::BLOCK_CACHE_CAPACITY), (4_u64 << 20).to_string());
    let absent = || (0..1000_u32).for_each(|key| assert!(!has_with_suffix(&store, key)));
    absent();
    let useful = || store.task.opened().tuning.database.get_ticker_count(Ticker::BloomFilterUseful);
    let before = useful();
    absent();
    assert!(useful() - before > 950, "{} of 1000", useful() - before);
}

fn has_with_suffix(store: &RocksStore, key: u32) -> bool {
    let mut found = None;
    let key = [&key.to_be_bytes()[..], b"x"].concat();
    store.read(&key, &mut |value| found = Some(value.is_some())).unwrap();
    found.unwrap()
}

#[test]
fn a_second_handle_on_the_directory_is_refused_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fs::write(dir.path().join("ingest/running.sst"), b"a drain that is being written").unwrap();
    let refused = RocksStore::open(dir.path(), &options()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.message().contains("this process has it open"), "{refused}");
    assert_eq!(files_in(&dir.path().join("ingest")), 1);
    put(&store, 0..1);
    drop(store);
    assert!(has(&open(dir.path()), 0));
}

/// The lock of the file is of no use within one process, and RocksDB tells directories apart by their spelling.
#[test]
fn a_directory_in_use_is_refused_however_it_is_spelt() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fs::write(dir.path().join("ingest/running.sst"), b"a drain that is being written").unwrap();
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect::<PathBuf>();
    let relative = up.join(dir.path().strip_prefix("/").unwrap());
    let dotted = dir.path().join(".").join("..").join(dir.path().file_name().unwrap());
    for path in [dir.path(), &link, &relative, &dotted] {
        let refused = RocksStore::open(path, &options()).expect_err(&path.display().to_string());
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(refused.message().contains("this process has it open"), "{refused}");
        assert_eq!(files_in(&dir.path().join("ingest")), 1, "{}", path.display());
    }
    drop(store);
    drop(open(&link));
}

#[test]
fn a_snapshot_outlives_its_store_and_keeps_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, 0..10);
    let snapshot = store.snapshot().unwrap();
    put(&store, 10..20);
    drop(store);
    assert_eq!(count(&*snapshot), 10);
    assert_eq!(RocksStore::open(dir.path(), &options()).unwrap_err().kind(), ErrorKind::Unavailable);
    drop(snapshot);
    assert_eq!(count(&*open(dir.path()).snapshot().unwrap()), 20);
}

#[test]
fn a_replaced_range_is_gone_after_reopen_and_compaction_but_not_for_older_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, 0..1000);
    let before = store.snapshot().unwrap();
    let (start, end) = (100_u32.to_be_bytes(), 900_u32.to_be_bytes());
    let rows: [Row<'_>; 2] = [(&[0, 0, 0, 5], None), (&[0, 0, 9, 0], Some(b"after"))];
    store.replace_range(&start[..]..&end[..], &mut rows.into_iter()).unwrap();
    put(&store, 500..501);
    compact(&store);
    assert_eq!(count(&*before), 1000);
    drop(before);
    drop(store);

    let store = open(dir.path());
    compact(&store);
    // 1000 less 800 less key 5, and with the row after the range and key 500.
    assert_eq!(count(&*store.snapshot().unwrap()), 1000 - 800 - 1 + 2);
    assert!(has(&store, 500) && !has(&store, 501) && has(&store, 900) && !has(&store, 5));
}

#[test]
fn tasks_are_apart_and_there_after_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let state = RocksState::open(dir.path(), &options()).unwrap();
    put(&state.task("task-0").unwrap(), 0..1);
    put(&state.task("task-1").unwrap(), 1..2);
    assert_eq!(state.task("default").unwrap_err().kind(), ErrorKind::Invalid);
    drop(state);
    let state = RocksState::open(dir.path(), &options()).unwrap();
    let (first, second) = (state.task("task-0").unwrap(), state.task("task-1").unwrap());
    assert!(has(&first, 0) && !has(&first, 1));
    assert!(has(&second, 1) && !has(&second, 0));
}

#[test]
fn a_state_without_its_current_file_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    put(&open(dir.path()), 0..10);
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    let refused = RocksStore::open(dir.path(), &options()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(
        fs::read_dir(dir.path()).unwrap().any(|file| file
            .unwrap()
            .path()
            .extension()
            .is_some_and(|e| e == "sst"))
    );
}

#[test]
fn damaged_rows_are_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    put(&open(dir.path()), 0..50_000);
    let table = fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .unwrap();
    let mut bytes = fs::read(&table).unwrap();
    bytes[100..1000].fill(0xaa);
    fs::write(&table, bytes).unwrap();
    let store = open(dir.path());
    let failed = store.read(&0_u32.to_be_bytes(), &mut |_| {}).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Corrupt);
    let name = table.file_name().unwrap().to_str().unwrap();
    assert!(
        failed.to_string().contains(name) && failed.message().contains("delete the directory"),
        "{failed}"
    );
}

#[test]
fn a_missing_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    put(&open(dir.path()), 0..10);
    for file in fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "sst") {
            fs::remove_file(file).unwrap();
        }
    }
    assert_eq!(RocksStore::open(dir.path(), &options()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_file_in_place_of_the_directory_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"").unwrap();
    assert_eq!(RocksStore::open(&path, &options()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn room_comes_back_when_level_zero_was_full() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Overlapping files far past the limit: without compaction `wait_for_room` would never return.
    for _ in 0..80 {
        put(&store, 0..100);
    }
    store.wait_for_room();
    assert!(store.pressure() < 1.0);
    assert!(has(&store, 0));
}

/// RocksDB's compaction does not see a snapshot at sequence number 0: it dropped rows that the snapshot still
/// read.
#[test]
fn a_snapshot_of_the_first_drain_keeps_its_rows_through_a_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, 0..1000);
    let before = store.snapshot().unwrap();
    store.ingest(&mut [(&[0, 0, 0, 5][..], None)].into_iter()).unwrap();
    compact(&store);
    assert_eq!(count(&*before), 1000);
}

/// RocksDB took a flipped length for a torn end, went back to an older state and deleted the files of the newer one.
#[test]
fn a_damaged_manifest_is_refused_and_nothing_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for key in 0..40 {
        put(&store, key..key + 1);
    }
    drop(store);
    let name = fs::read_to_string(dir.path().join("CURRENT")).unwrap();
    let manifest = dir.path().join(name.trim_end());
    let whole = fs::read(&manifest).unwrap();
    let files = files_in(dir.path());
    for at in (0..whole.len() / 2).step_by(37).chain([4, 5, 6]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&manifest, bytes).unwrap();
        let refused = RocksStore::open(dir.path(), &options()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "byte {at}: {refused}");
        assert!(refused.message().contains("is damaged at byte"), "{refused}");
        assert_eq!(files_in(dir.path()), files, "byte {at}");
    }
    fs::write(&manifest, whole).unwrap();
    assert!(has(&open(dir.path()), 39));
}

/// What opening a state comes to, by a reader and by its owner: how many rows are in it, or which error. It comes to an end.
fn outcomes(dir: &Path) -> [Result<usize>; 2] {
    let (tell, told) = std::sync::mpsc::channel();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        let reader = SecondaryStore::open(&dir, &options(), &|_| Ok(()));
        let reader = reader.map(|(store, ())| count(&*store.shown()));
        let owner = RocksStore::open(&dir, &options()).map(|store| count(&*store.snapshot().unwrap()));
        tell.send([reader, owner]).unwrap();
    });
    told.recv_timeout(std::time::Duration::from_secs(60)).expect("opening comes to an end")
}

/// With some of these ends RocksDB's listing of the column families never came back.
#[test]
fn whatever_the_end_of_the_manifest_is_opening_comes_to_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for key in 0..10 {
        put(&store, key..key + 1);
    }
    drop(store);
    let whole = fs::read(log_file::manifest_path(dir.path()).unwrap().unwrap()).unwrap();
    let mut records = Vec::new();
    log_file::read(&whole, &mut |at, _| records.push(at));
    let last = *records.last().unwrap();
    let flips = (last - 20..whole.len()).map(|byte| {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << (byte % 8);
        (format!("a bit of byte {byte}"), bytes)
    });
    let lengths = (0..16).map(|bit| {
        let mut bytes = whole.clone();
        bytes[last + 4 + bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit} of the length"), bytes)
    });
    let cuts = (last..whole.len()).step_by(3).flat_map(|at| {
        let torn =
            |zeros: usize| (format!("{at} and {zeros} zeros"), [&whole[..at], &vec![0; zeros]].concat());
        [0, 3, 40_000].map(torn)
    });
    for (what, bytes) in flips.chain(lengths).chain(cuts) {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
            if file.is_file() {
                fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
            }
        }
        fs::write(log_file::manifest_path(copy.path()).unwrap().unwrap(), bytes).unwrap();
        let [reader, owner] = outcomes(copy.path());
        match (&reader, &owner) {
            // What is cut was the end of a drain.
            (Err(reader), Ok(9)) => assert_eq!(reader.kind(), ErrorKind::Unavailable, "{what}: {reader}"),
            // Nothing is wrong behind a cut between two records.
            (Ok(9), Ok(9)) => assert!(what.starts_with(&format!("{last} and")), "{what}"),
            (Err(reader), Err(owner)) => {
                assert_eq!(
                    [reader.kind(), owner.kind()],
                    [ErrorKind::Corrupt; 2],
                    "{what}: {reader}; {owner}"
                );
                assert!(owner.message().contains("is damaged at byte"), "{what}: {owner}");
            }
            _ => panic!("{what}: {reader:?}, {owner:?}"),
        }
    }
}

/// A reader once showed what the state was before the file, be it nothing at all.
#[test]
fn a_reader_is_refused_a_state_without_one_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for key in 0..5 {
        put(&store, key..key + 1);
    }
    drop(store);
    let is_table = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sst");
    let tables = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()).filter(is_table);
    let reader = || {
        SecondaryStore::open(dir.path(), &options(), &|_| Ok(())).map(|(store, ())| count(&*store.shown()))
    };
    assert_eq!(reader().unwrap(), 5);
    let tables: Vec<_> = tables.collect();
    assert!(tables.len() > 4);
    for table in tables {
        let whole = fs::read(&table).unwrap();
        for damaged in [None, Some(&whole[..whole.len() / 2]), Some(&[])] {
            fs::remove_file(&table).unwrap();
            if let Some(damaged) = damaged {
                fs::write(&table, damaged).unwrap();
            } else {
                assert!(!table.exists());
            }
            let refused = reader().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{}: {refused}", table.display());
            let name = table.file_name().unwrap().to_str().unwrap();
            assert!(refused.message().contains(name), "{refused}");
            fs::write(&table, &whole).unwrap();
        }
    }
    assert_eq!(reader().unwrap(), 5);
}

#[test]
fn what_readers_that_were_killed_have_left_is_removed() {
    let temporary = tempfile::tempdir().unwrap();
    let names =
        ["millpond-reader-17-0", "millpond-reader-17-1", "millpond-reader-mine", "millpond-reader-1-x"];
    let [left, used, mine, other] = names.map(|name| temporary.path().join(name));
    for dir in [&left, &used, &mine, &other] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("LOG"), "once upon a time").unwrap();
    }
    let lock = DirectoryLock::take(&used).unwrap();
    secondary::remove_left_over_log_directories(temporary.path());
    assert_eq!([left, used, mine, other].map(|dir| dir.exists()), [false, true, true, true]);
    drop(lock);
}

/// The advice was to delete the directory, whatever else was in it.
#[test]
fn nobody_is_told_to_delete_files_that_are_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("000012.sst"), "of somebody else").unwrap();
    fs::write(dir.path().join("thesis.tex"), "three years").unwrap();
    let refused = RocksStore::open(dir.path(), &options()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    let (condition, advice) = ("if nothing but the state is kept there", "delete the directory");
    let [condition, advice] = [condition, advice].map(|part| refused.message().find(part));
    assert!(condition.is_some_and(|condition| advice.is_some_and(|advice| condition < advice)), "{refused}");
    assert!(dir.path().join("thesis.tex").exists());
}

/// Flips one bit in the middle of a file, for whoever has it open, too.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
}

fn sorted_files(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect();
    files.sort();
    files
}

/// Nobody reads it any more, but a compaction will.
#[test]
fn damage_in_what_is_deleted_and_hidden_is_found_before_a_checkpoint_is_taken() {
    let hidden = |store: &RocksStore, value: u8| {
        let value = vec![value; 100_000];
        store.ingest(&mut std::iter::once((&b"key"[..], Some(&value[..])))).unwrap();
    };
    let deleted = |store: &RocksStore| {
        put(store, 0..20_000);
        store.replace_range(&b""[..]..&[255; 4][..], &mut std::iter::empty()).unwrap();
    };
    let older = |store: &RocksStore| (0..7).for_each(|value| hidden(store, value));
    let make: [&dyn Fn(&RocksStore); 2] = [&deleted, &older];
    for make in make {
        let dir = tempfile::tempdir().unwrap();
        let (state, target) = (dir.path().join("state"), dir.path().join("copy"));
        let store = open(&state);
        // One that RocksDB ran of its own accord came first at times: it found the damage, or took the file away.
        let (database, family) = (store.task.database(), store.task.family());
        database.set_options_cf(family, &[("disable_auto_compactions", "true")]).unwrap();
        make(&store);
        // The first one says that the state was created.
        let damaged = sorted_files(&state)[1].clone();
        flip(&damaged);
        let mut asked = false;
        let refused = store.checkpoint(&target, &mut |_| {
            asked = true;
            Ok(())
        });
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains(&damaged.display().to_string()), "{error}");
        assert!(!target.exists() && !asked);
    }
}

#[test]
fn what_is_refused_is_not_put_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("state"));
    put(&store, 0..10);
    let target = dir.path().join("copy");
    let refuse = |copy: &dyn StoreSnapshot| {
        assert_eq!(count(copy), 10);
        Err(crate::Error::corrupt("as it is"))
    };
    assert_eq!(store.checkpoint(&target, &mut { refuse }).unwrap_err().message(), "as it is");
    assert!(!target.exists());
    store.checkpoint(&target, &mut |_| Ok(())).unwrap();
    assert_eq!(count(&*open(&target).snapshot().unwrap()), 10);
}
