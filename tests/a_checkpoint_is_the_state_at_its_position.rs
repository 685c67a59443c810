//! A checkpoint is the state at the position that it says, whenever it is made and whatever ends it.
//!
//! Property: opened, a checkpoint stands at its position and equals the plain fold of exactly the records below it; caught
//! up, it equals the original; nothing that was appended is appended again. The engine that it is made of goes on, whatever
//! becomes of it. A process that is killed leaves a whole checkpoint or none. A copy that is opened under another name is
//! another service.
//!
//! Method: the ledger, moved by hand with checkpoints between random epochs, drains, rebuilds and crashes, each of which is
//! opened at a later moment; several threads that copy one running engine; a child process that does nothing but pay
//! and copy, and is killed; targets of every wrong kind, and a small tmpfs that is full.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, MemoryChangelog};
use millpond::{Engine, ErrorKind, GraphBuilder, Health, Position, StateReader, Topic};
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::ledger::{Acknowledged, Ledger, audit, batch, open_changelog, pay, take_up};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

fn append(log: &dyn Changelog, random: &mut Random, next: &mut u64, acknowledged: &mut Acknowledged) {
    let payments = 1 + random.below(40);
    let (appends, numbers) = batch(random, *next, payments);
    *next += payments;
    acknowledged.extend(numbers.at(&log.append(appends).wait_blocking().unwrap()));
}

/// Opens a checkpoint in the place of the original, and audits it where it stands and when it has caught up.
fn open_and_audit(
    version: u32,
    log: &MemoryChangelog,
    (dir, position): &(PathBuf, Position),
    acknowledged: &Acknowledged,
) {
    let ledger = Ledger::new(version);
    let builder = Engine::builder(&ledger.graph).changelog(Arc::new(log.reopen())).state_dir(dir);
    let mut stepper = builder.open_existing(true).stepper().unwrap();
    assert_eq!(stepper.position(), *position);
    audit(&ledger, &mut stepper, acknowledged).unwrap();
}

fn run(seed: u64) {
    println!("run with seed {seed}");
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let log = MemoryChangelog::new();
    let (mut next, mut acknowledged) = (0, Acknowledged::new());
    let mut copies = Vec::new();
    for life in 0..4 {
        let version = if life < 2 { 1 } else { 2 };
        let ledger = Ledger::new(version);
        let builder = Engine::builder(&ledger.graph)
            .changelog(Arc::new(log.reopen()))
            .state_dir(dir.path().join("state"));
        let mut stepper = builder.shards(random.pick(&[1, 2, 3])).stepper().unwrap();
        for step in 0..2 + random.below(12) {
            match random.below(6) {
                0 | 1 => append(&log, &mut random, &mut next, &mut acknowledged),
                2 => drop(stepper.drain().unwrap()),
                3 => {
                    let target = dir.path().join(format!("copies/{life}/{step}"));
                    let before = stepper.position();
                    let position = stepper.checkpoint(&target).unwrap();
                    assert_eq!(position, before);
                    copies.push((target, position));
                }
                _ => {
                    stepper.epoch(random.pick(&[1, 5, 30, 1000])).unwrap();
                }
            }
        }
        drop(stepper);
        // Some at once, the others from a later moment.
        if random.below(2) == 0
            && let Some(copy) = copies.pop()
        {
            open_and_audit(version, &log, &copy, &acknowledged);
        }
    }
    for copy in &copies {
        open_and_audit(2, &log, copy, &acknowledged);
    }
    // The original has not been touched by any of it.
    let ledger = Ledger::new(2);
    let builder = Engine::builder(&ledger.graph).changelog(Arc::new(log.reopen()));
    let mut stepper = builder.state_dir(dir.path().join("state")).stepper().unwrap();
    audit(&ledger, &mut stepper, &acknowledged).unwrap();
}

#[test]
fn a_checkpoint_at_any_moment_goes_on_as_the_original_does() {
    let mut random = Random::new(seed());
    for _ in 0..rounds(12) {
        run(random.number());
    }
}

/// The engine folds, drains and compacts all the time.
#[test]
fn a_running_engine_is_copied_by_several_at_once() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(1);
    let log = Arc::new(open_changelog(&dir.path().join("changelog")).unwrap());
    let engine = ledger.builder(dir.path(), &mut random, Arc::clone(&log)).start().unwrap();
    let copies = std::thread::scope(|scope| {
        let payer = scope.spawn(|| pay(&*log, &mut Random::new(1), 0, 400).unwrap());
        let copiers: Vec<_> = (0..3)
            .map(|copier| {
                let (engine, dir) = (&engine, dir.path());
                scope.spawn(move || {
                    let copy = |number: usize| {
                        let target = dir.join(format!("copies/{copier}-{number}"));
                        let seen = engine.position();
                        let position = engine.checkpoint_blocking(&target).unwrap();
                        assert!(position.includes(&seen), "{position} after {seen}");
                        (target, position)
                    };
                    (0..6).map(copy).collect::<Vec<_>>()
                })
            })
            .collect();
        payer.join().unwrap();
        copiers.into_iter().flat_map(|copier| copier.join().unwrap()).collect::<Vec<_>>()
    });
    engine.close_blocking().unwrap();
    drop(engine);
    let hidden = fs::read_dir(dir.path().join("copies")).unwrap().count();
    assert_eq!(hidden, copies.len(), "something is left beside the copies");
    for (target, position) in copies {
        let builder = Engine::builder(&ledger.graph).changelog(Arc::clone(&log) as Arc<dyn Changelog>);
        let mut stepper = builder.state_dir(&target).stepper().unwrap();
        assert_eq!(stepper.position(), position);
        audit(&ledger, &mut stepper, &Acknowledged::new()).unwrap();
    }
}

/// The body of the child process; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    let mut random = Random::new(variable("MILLPOND_SEED").unwrap());
    let life: u64 = variable("MILLPOND_LIFE").unwrap();
    let ledger = Ledger::new(1);
    let log = Arc::new(open_changelog(&dir.join("changelog")).unwrap());
    let engine = ledger.builder(&dir, &mut random, Arc::clone(&log)).start().unwrap();
    tell("open");
    for number in 0.. {
        pay(&*log, &mut random, (life << 40) + (number << 20), 2).unwrap();
        engine.checkpoint_blocking(dir.join(format!("copies/{life}-{number}"))).unwrap();
        tell("copied");
    }
}

#[test]
fn a_killed_process_leaves_a_whole_checkpoint_or_none() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::new();
    let (mut opened, mut left) = (0, 0);
    for life in 0..rounds(10) {
        let mut child = ChildProcess::spawn(
            dir.path(),
            &[("MILLPOND_SEED", random.number().to_string()), ("MILLPOND_LIFE", life.to_string())],
        );
        let mut copies = random.below(5);
        while let Some(line) = child.line() {
            take_up(&mut acknowledged, &line);
            if (line == "copied" || line == "open") && copies == 0 {
                break;
            }
            copies -= u64::from(line == "copied");
        }
        for line in child.kill_after(random.below(2_000_000)) {
            take_up(&mut acknowledged, &line);
        }

        let ledger = Ledger::new(1);
        let log = Arc::new(open_changelog(&dir.path().join("changelog")).unwrap());
        let Ok(entries) = fs::read_dir(dir.path().join("copies")) else { continue };
        for copy in entries.map(|entry| entry.unwrap()) {
            if copy.file_name().to_string_lossy().starts_with('.') {
                // Another attempt at the same copy, which does not mind.
                left += 1;
                fs::remove_dir_all(copy.path()).unwrap();
                continue;
            }
            let builder = Engine::builder(&ledger.graph).changelog(Arc::clone(&log) as Arc<dyn Changelog>);
            let mut stepper = builder.state_dir(copy.path()).open_existing(true).stepper().unwrap();
            audit(&ledger, &mut stepper, &acknowledged).unwrap();
            drop(stepper);
            opened += 1;
            fs::remove_dir_all(copy.path()).unwrap();
        }
        let mut stepper = ledger.builder(dir.path(), &mut random, log).stepper().unwrap();
        audit(&ledger, &mut stepper, &acknowledged).unwrap();
    }
    println!("{opened} checkpoints, {left} that were not complete");
    assert!(opened > 0, "the children did nothing");
}

/// What a crash leaves of an attempt is in nobody's way.
#[test]
fn a_checkpoint_that_was_cut_short_is_made_anew() {
    let (dir, engine, _) = small_engine();
    let target = dir.path().join("copy");
    fs::create_dir_all(dir.path().join(".copy.checkpoint/state.tmp")).unwrap();
    fs::create_dir_all(dir.path().join(".copy.checkpoint/state")).unwrap();
    fs::write(dir.path().join(".copy.checkpoint/state/CURRENT"), "half of it").unwrap();
    engine.checkpoint_blocking(&target).unwrap();
    assert!(!dir.path().join(".copy.checkpoint").exists());
    assert_eq!(StateReader::open(&target, &Ledger::new(1).graph).unwrap().position(), engine.position());
}

fn small_engine() -> (tempfile::TempDir, Engine, Arc<MemoryChangelog>) {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(MemoryChangelog::new());
    let builder = Engine::builder(&Ledger::new(1).graph).changelog(Arc::clone(&log) as Arc<dyn Changelog>);
    let engine = builder.state_dir(dir.path().join("state")).start().unwrap();
    append(&*log, &mut Random::new(7), &mut 0, &mut Acknowledged::new());
    engine.catch_up_blocking().unwrap();
    (dir, engine, log)
}

#[test]
fn a_target_that_cannot_be_is_refused_and_the_engine_goes_on() {
    let (dir, engine, log) = small_engine();
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "something").unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "something").unwrap();
    let log_dir = dir.path().join("changelog");
    drop(EmbeddedChangelog::open(&log_dir, EmbeddedOptions::default()).unwrap());
    // As one of a name like this was once taken for what a crash had left, and deleted.
    let album = dir.path().join(".mine.checkpoint");
    fs::create_dir(&album).unwrap();
    fs::write(album.join("cat"), "a picture").unwrap();
    let refused = [
        (full.clone(), "where there is something already"),
        (file.clone(), "name a directory"),
        (file.join("below"), "name a directory"),
        (dir.path().join("state/copy"), "inside of the state"),
        (log_dir.join("copy"), "inside of the state or changelog"),
        (dir.path().join("x".repeat(250)), "a shorter name"),
        (dir.path().join("state"), "where there is something already"),
        (PathBuf::from("/"), "where there is something already"),
        (dir.path().join("nothing/.."), "name a directory"),
        (dir.path().join("mine"), "no checkpoint has left there"),
    ];
    for (target, why) in refused {
        let error = engine.checkpoint_blocking(&target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    assert_eq!(fs::read_to_string(full.join("mine")).unwrap(), "something");
    assert_eq!(fs::read_to_string(&file).unwrap(), "something");
    assert_eq!(fs::read_to_string(album.join("cat")).unwrap(), "a picture");
    assert_eq!(engine.health(), Health::Running);
    append(&*log, &mut Random::new(8), &mut 1000, &mut Acknowledged::new());
    engine.catch_up_blocking().unwrap();
    // An empty directory will do, and so will one whose parents are missing.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for target in [empty, dir.path().join("not/there/yet")] {
        assert_eq!(engine.checkpoint_blocking(&target).unwrap(), engine.position());
        let reader = StateReader::open(&target, &Ledger::new(1).graph).unwrap();
        assert_eq!(reader.position(), engine.position());
    }
    engine.close_blocking().unwrap();
    assert_eq!(engine.checkpoint_blocking(dir.path().join("late")).unwrap_err().kind(), ErrorKind::Closed);
    assert!(!dir.path().join("late").exists());
}

#[test]
fn a_state_in_memory_has_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Engine::builder(&Ledger::new(1).graph).changelog(Arc::new(MemoryChangelog::new()));
    let engine = builder.in_memory().start().unwrap();
    let error = engine.checkpoint_blocking(dir.path().join("copy")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("in memory only; give the engine a directory"), "{error}");
    assert_eq!(engine.health(), Health::Running);
}

/// A small medium, gone when it is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&at);
        command.output().is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "cannot unmount {}", self.0.display());
    }
}

#[test]
fn a_full_disk_leaves_no_checkpoint_and_the_engine_goes_on() {
    let (dir, engine, log) = small_engine();
    let Some(disk) = Tmpfs::mount(dir.path().join("small")) else {
        println!("skipped: mounting is not possible here");
        return;
    };
    fs::write(disk.0.join("ballast"), vec![0; 240 << 10]).unwrap();
    let target = disk.0.join("copy");
    let error = engine.checkpoint_blocking(&target).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("the disk is full: free some space"), "{error}");
    let left: Vec<_> = fs::read_dir(&disk.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["ballast"]);
    append(&*log, &mut Random::new(8), &mut 1000, &mut Acknowledged::new());
    engine.catch_up_blocking().unwrap();
    engine.drain_blocking().unwrap();
    assert_eq!(engine.health(), Health::Running);
    // With room it is copied to the other file system as a whole.
    fs::remove_file(disk.0.join("ballast")).unwrap();
    engine.checkpoint_blocking(&target).unwrap();
    let reader = StateReader::open(&target, &Ledger::new(1).graph).unwrap();
    assert_eq!(reader.position(), engine.position());
    drop(reader);
    engine.close_blocking().unwrap();
}

/// Under one identity, either of the two would have been taken for the owner of what the other one has appended.
#[test]
fn a_copy_under_another_name_is_another_service() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(MemoryChangelog::new());
    let numbers = Topic::<u32, u64>::new("numbers");
    let serve = |name: &str, state: &str, output: &str| {
        let graph = GraphBuilder::new();
        let stream = graph.stream(&numbers);
        stream.to(&Topic::new(output));
        stream.group_by_key().reduce("sums", |a, b| a + b);
        let builder =
            Engine::builder(&graph.build().unwrap()).changelog(Arc::clone(&log) as Arc<dyn Changelog>);
        builder.name(name).state_dir(dir.path().join(state)).start()
    };
    let original = serve("first", "state", "out").unwrap();
    original.append_blocking(&numbers, &1, &1).unwrap();
    original.catch_up_blocking().unwrap();
    let copied = original.checkpoint_blocking(dir.path().join("copy")).unwrap();
    assert_eq!(copied, original.position());

    // Beside the original its name is taken.
    let refused = serve("first", "copy", "out").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    original.close_blocking().unwrap();
    let second = serve("second", "copy", "out of the copy").unwrap();
    second.append_blocking(&numbers, &1, &2).unwrap();
    second.catch_up_blocking().unwrap();
    let owners: Vec<_> = second.admin().consumers().unwrap().into_iter().map(|used| used.owner).collect();
    assert_eq!(owners.len(), 2, "{owners:?}");
    assert_ne!(state_of(owners[0].as_ref()), state_of(owners[1].as_ref()));
    second.close_blocking().unwrap();

    // Were the original taken for the second service, what it puts out would be taken for appended already.
    let third = serve("second", "state", "elsewhere").unwrap_err();
    assert_eq!(third.kind(), ErrorKind::Invalid, "{third}");
    // The copy of the first service is the second one, and goes on as that.
    serve("second", "copy", "out of the copy").unwrap().close_blocking().unwrap();
    serve("first", "state", "out").unwrap().close_blocking().unwrap();
}

fn state_of(owner: Option<&String>) -> String {
    let owner: serde_json::Value = serde_json::from_str(owner.unwrap()).unwrap();
    owner["state"].as_str().unwrap().to_owned()
}

/// It would wait for the drain of what its own epoch holds up.
#[test]
fn code_of_the_graph_makes_no_checkpoint_of_its_own_engine() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("copy");
    let numbers = Topic::<u32, u64>::new("numbers");
    let (engine, refused) = (Arc::new(OnceLock::<Engine>::new()), Arc::new(OnceLock::new()));
    let graph = GraphBuilder::new();
    graph.stream(&numbers).group_by_key().fold("sums", || 0_u64, {
        let (engine, refused, target) = (Arc::clone(&engine), Arc::clone(&refused), target.clone());
        move |sum: &mut u64, _: &u32, number: u64| {
            *sum += number;
            let asked = engine.get().unwrap().checkpoint_blocking(&target);
            refused.get_or_init(|| asked.unwrap_err().kind());
        }
    });
    let builder = Engine::builder(&graph.build().unwrap()).changelog(Arc::new(MemoryChangelog::new()));
    let opened = builder.state_dir(dir.path().join("state")).start().unwrap();
    assert!(engine.set(opened).is_ok());
    let engine = engine.get().unwrap();
    engine.append_blocking(&numbers, &1, &1).unwrap();
    engine.catch_up_blocking().unwrap();
    assert_eq!(refused.get(), Some(&ErrorKind::Invalid));
    assert!(!target.exists());
    engine.close_blocking().unwrap();
}
