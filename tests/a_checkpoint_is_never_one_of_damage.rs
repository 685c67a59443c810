//! No checkpoint is made of a state that is damaged: the error names the file, and the engine is as it was.
//!
//! Property: after any bit of any file of rows was flipped, or a file was cut, a checkpoint is refused with the name of that
//! file (or of the state, where RocksDB does not tell: a bit of what is told of a file), and there is none; or what was flipped is read by nobody, and the checkpoint answers as the plain fold does. A copy
//! that was whole and is damaged afterwards is found out by `StateInfo::verify`.
//!
//! Method: states of many drains, with rows that were deleted and replaced, one bit at a time; the copy is opened and
//! compared row by row.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{Changelog, MemoryChangelog, Producer};
use millpond::{
    Engine, ErrorKind, Graph, GraphBuilder, Health, ManualClock, StateInfo, StateReader, Stepper,
    StoredTable, Topic,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::random::Random;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Rows = BTreeMap<u32, String>;

fn texts() -> (Graph, Topic<u32, String>, StoredTable<u32, String>) {
    let topic = Topic::<u32, String>::new("texts");
    let graph = GraphBuilder::new();
    let table = graph.table(&topic, "texts").filter(|_, _| true).materialize("kept");
    (graph.build().unwrap(), topic, table)
}

/// A state of several drains, so few that nothing is compacted, and what is in it.
struct Filled {
    stepper: Stepper,
    graph: Graph,
    table: StoredTable<u32, String>,
    rows: Rows,
}

fn filled(dir: &Path, random: &mut Random) -> Filled {
    let (graph, topic, table) = texts();
    let log = Arc::new(MemoryChangelog::new());
    let builder = Engine::builder(&graph).changelog(Arc::clone(&log) as Arc<dyn Changelog>);
    let mut stepper = builder.state_dir(dir.join("state")).stepper().unwrap();
    let producer = Producer::new(log, &topic, Arc::new(ManualClock::new(0))).unwrap();
    let mut rows = Rows::new();
    for _ in 0..3 {
        for _ in 0..200 {
            let key = random.below(300) as u32;
            if random.below(4) == 0 {
                rows.remove(&key);
                producer.delete(&key).wait_blocking().unwrap();
            } else {
                let text = "x".repeat(random.below(200) as usize) + &random.number().to_string();
                producer.put(&key, &text).wait_blocking().unwrap();
                rows.insert(key, text);
            }
        }
        while stepper.epoch(1000).unwrap() {}
        stepper.drain().unwrap();
    }
    Filled { stepper, graph, table, rows }
}

fn files_of_rows(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect();
    files.sort();
    files
}

/// Writes into the file itself, which others may have open.
fn overwrite(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

fn rows_of(dir: &Path, graph: &Graph, table: &StoredTable<u32, String>) -> Rows {
    let reader = StateReader::open(dir, graph).unwrap();
    let view = reader.view(table).unwrap();
    let scanned: Rows = view.scan().unwrap().map(Result::unwrap).collect();
    let asked = (0..300).filter_map(|key| Some((key, view.get(&key).unwrap()?))).collect();
    assert_eq!(scanned, asked);
    scanned
}

#[test]
fn a_flipped_bit_is_found_and_its_file_named() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let Filled { mut stepper, graph, table, rows } = filled(dir.path(), &mut random);
    let (mut found, mut named, tries) = (0, 0, rounds(300));
    for number in 0..tries {
        let files = files_of_rows(&dir.path().join("state"));
        let file = &files[random.below(files.len() as u64) as usize];
        let whole = fs::read(file).unwrap();
        let mut damaged = whole.clone();
        damaged[random.below(whole.len() as u64) as usize] ^= 1 << random.below(8);
        overwrite(file, &damaged);
        let target = dir.path().join(format!("copies/{number}"));
        match stepper.checkpoint(&target) {
            Ok(position) => {
                assert_eq!(position, stepper.position());
                assert_eq!(rows_of(&target, &graph, &table), rows);
            }
            Err(error) => {
                found += 1;
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                let name = file.display().to_string();
                let all = format!("a file of rows of the state in {}", dir.path().join("state").display());
                named += usize::from(error.message().contains(&name));
                assert!(error.message().contains(&name) || error.message().contains(&all), "{error}");
                assert!(!target.exists());
            }
        }
        overwrite(file, &whole);
    }
    println!("{found} of {tries} found, {named} by name");
    assert!(found * 2 > tries && named * 10 > found * 9, "{found} of {tries}, {named} by name");
    assert_eq!(stepper.health(), Health::Running);
    let target = dir.path().join("copy");
    stepper.checkpoint(&target).unwrap();
    assert_eq!(rows_of(&target, &graph, &table), rows);
}

#[test]
fn a_file_that_was_cut_is_found_and_named() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let Filled { mut stepper, .. } = filled(dir.path(), &mut random);
    for file in files_of_rows(&dir.path().join("state")) {
        let whole = fs::read(&file).unwrap();
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(whole.len() as u64 / 2).unwrap();
        let error = stepper.checkpoint(dir.path().join("copy")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains(&file.display().to_string()), "{error}");
        overwrite(&file, &whole);
    }
    stepper.checkpoint(dir.path().join("copy")).unwrap();
}

#[test]
fn a_copy_that_is_damaged_afterwards_is_found_out() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let Filled { mut stepper, .. } = filled(dir.path(), &mut random);
    let copy = dir.path().join("copy");
    let position = stepper.checkpoint(&copy).unwrap();
    drop(stepper);
    let info = StateInfo::verify(&copy).unwrap();
    assert_eq!((&info.position, &info), (&position, &StateInfo::read(&copy).unwrap()));
    for file in files_of_rows(&copy) {
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        // The first block of rows.
        damaged[10] ^= 1;
        overwrite(&file, &damaged);
        let error = StateInfo::verify(&copy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let name = file.file_name().unwrap().to_string_lossy();
        assert!(error.to_string().contains(&*name), "{error}");
        overwrite(&file, &whole);
    }
}
