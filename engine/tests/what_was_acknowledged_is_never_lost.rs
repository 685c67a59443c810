//! What was acknowledged is never lost, wherever the changelog fails.
//!
//! Property: after an error, a panic or the death of the process at any step, the changelog opens again; each
//! partition holds exactly a prefix of what was appended, in order, that covers everything acknowledged; an epoch is
//! there once, whole, or not at all; and it goes on from there.
//!
//! The machine itself goes on, so that what the operating system was handed is there (`Durability::Os`).
//!
//! Method: a fixed workload that passes every fault point, run once for each point, several of its hits and each
//! action. The death is real: the test runs itself as a child whose environment arms the point, and reads what the
//! child had been told from its output.
#![cfg(feature = "rocks")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use millpond_engine::changelog::{
    Append, AppendLog, Changelog, Durability, EmbeddedChangelog, EmbeddedOptions, EpochLog, EpochMark,
    PartitionReader, ReadLog, Record, RetentionLog, TopicConfig, TopicLog, TopicType,
};
use millpond_engine::fault::{self, Action};
use millpond_engine::{Error, ErrorKind, ManualClock, Position, TopicPartition};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::records::append;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Fault points belong to the process, so only one test may pass them at a time.
static ALONE: Mutex<()> = Mutex::new(());

const ROUNDS: u64 = 40;
const TRIM_AT: u64 = 30;

fn input() -> TopicPartition {
    TopicPartition::new("input", 0)
}

fn output() -> TopicPartition {
    TopicPartition::new("output", 0)
}

/// Kept for ever: a record now and then, so that what is left of old segments is moved.
fn kept() -> TopicPartition {
    TopicPartition::new("kept", 0)
}

/// After so many rounds a record is kept.
const KEPT_EVERY: u64 = 5;

fn record(partition: &TopicPartition, number: u64) -> Record {
    let noise = (0..8_u64).flat_map(|word| (number * 31 + word + 1).wrapping_pow(13).to_le_bytes());
    Record::new(format!("{partition}-{number}"), noise.collect::<Vec<u8>>())
}

fn mark(number: u64) -> EpochMark {
    let at = |offset| [(input(), offset)].into_iter().collect::<Position>();
    EpochMark::new(at(number), at(number + 1))
}

fn open(dir: &Path) -> Result<EmbeddedChangelog, Error> {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = EmbeddedOptions::default()
        .clock(clock)
        .segment_bytes(1000)
        .max_batch_bytes(300)
        .durability(Durability::Os);
    EmbeddedChangelog::open(dir, options)
}

/// Appends, produces epochs, holds and trims. Tells `acknowledged` the number of each round whose records were
/// acknowledged.
fn work(log: &EmbeddedChangelog, first: u64, mut acknowledged: impl FnMut(u64)) -> Result<(), Error> {
    let brief = TopicConfig::default().retention_age(Duration::from_millis(1));
    log.create_topic("input", &brief)?;
    log.create_topic("output", &brief)?;
    log.create_topic("kept", &TopicConfig::default())?;
    log.declare_type("kept", &TopicType::mixed())?;
    for round in first..ROUNDS {
        let records = vec![record(&input(), round)];
        append(log, input(), records)?;
        let records = vec![record(&output(), round)];
        log.append_epoch("task", &mark(round), vec![Append { partition: output(), records }])?;
        if round % 8 == 7 {
            log.sync()?;
        }
        // After a failure those that are missing are appended, and no other twice.
        for number in log.offsets(&kept())?.end..=round / KEPT_EVERY {
            let records = vec![record(&kept(), number)];
            append(log, kept(), records)?;
        }
        acknowledged(round);
        if round == TRIM_AT {
            let held = [(input(), TRIM_AT / 2), (output(), TRIM_AT / 3)];
            log.hold("task", &held.into_iter().collect())?;
            log.enforce_retention()?;
        }
    }
    log.close()
}

/// How many records a partition ends with; asserts that those it still has are the right ones.
fn check(log: &EmbeddedChangelog, partition: &TopicPartition) -> u64 {
    let offsets = log.offsets(partition).unwrap();
    let mut reader: Box<dyn PartitionReader> = log.reader(partition, offsets.start).unwrap();
    let mut next = offsets.start;
    loop {
        let batches = reader.poll(500).unwrap();
        if batches.is_empty() {
            assert_eq!(next, offsets.end);
            return next;
        }
        for batch in batches {
            for found in &batch.decode().unwrap() {
                assert_eq!((found.offset, found.to_record()), (next, record(partition, next)));
                next += 1;
            }
        }
    }
}

/// Opens what a failure left, checks it against what had been acknowledged, and finishes the work.
fn check_and_go_on(dir: &Path, rounds_acknowledged: u64, context: &str) {
    let log = open(dir).unwrap();
    if log.topics().unwrap().len() == 3 {
        let kept = check(&log, &kept());
        assert!(kept >= rounds_acknowledged.div_ceil(KEPT_EVERY), "{context}: {kept} kept");
        let (inputs, outputs) = (check(&log, &input()), check(&log, &output()));
        assert!(inputs >= rounds_acknowledged, "{context}: {inputs} of {rounds_acknowledged} inputs");
        assert!(outputs >= rounds_acknowledged, "{context}: {outputs} of {rounds_acknowledged} outputs");
        assert!(inputs - outputs <= 1, "{context}: {inputs} inputs, {outputs} outputs");
        if outputs > 0 {
            let again = log.append_epoch("task", &mark(outputs - 1), vec![]);
            assert!(!again.unwrap(), "{context}: an epoch that is there counts as new");
        }
        if inputs > outputs {
            // The replay of the epoch that was interrupted.
            let records = vec![record(&output(), outputs)];
            let append = Append { partition: output(), records };
            assert!(log.append_epoch("task", &mark(outputs), vec![append]).unwrap(), "{context}");
        }
        work(&log, inputs, |_| ()).unwrap();
    } else {
        assert_eq!(rounds_acknowledged, 0, "{context}");
        work(&log, 0, |_| ()).unwrap();
    }
    drop(log);
    let log = open(dir).unwrap();
    assert_eq!((check(&log, &input()), check(&log, &output())), (ROUNDS, ROUNDS), "{context}");
    // Trimming never touches it.
    let end = check(&log, &kept());
    assert_eq!((log.offsets(&kept()).unwrap(), end), (0..end, ROUNDS / KEPT_EVERY), "{context}");
}

fn changelog_points() -> impl Iterator<Item = &'static str> {
    fault::points().iter().copied().filter(|point| point.starts_with("changelog."))
}

#[test]
fn after_an_error_or_a_panic() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for point in changelog_points() {
        for (hit, action) in [(1, Action::Error), (2, Action::Error), (20, Action::Error), (1, Action::Panic)]
        {
            let context = format!("{point} hit {hit} {action:?}");
            let dir = tempfile::tempdir().unwrap();
            let log = open(dir.path()).unwrap();
            fault::arm(point, hit, action).unwrap();
            let mut rounds = 0;
            let result = work(&log, 0, |round| rounds = round + 1);
            let fired = fault::fired(point);
            fault::disarm();
            assert!(fired || hit > 1, "{context}: the work does not pass the point");
            if fired {
                let error = result.unwrap_err();
                let refused = append(&log, input(), vec![]);
                // Topics may not be there yet, which is refused first.
                let refusal = refused.unwrap_err().kind();
                let expected = if action == Action::Panic { ErrorKind::Internal } else { error.kind() };
                assert!(
                    refusal == expected || refusal == ErrorKind::Invalid,
                    "{context}: {refusal:?}, {error}"
                );
            } else {
                result.unwrap();
            }
            drop(log);
            check_and_go_on(dir.path(), rounds, &context);
        }
    }
}

#[test]
fn after_the_death_of_the_process() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for point in changelog_points() {
        for hit in [1, 9] {
            let context = format!("{point} hit {hit} abort");
            let dir = tempfile::tempdir().unwrap();
            let task = [("MILLPOND_FAULTS", format!("{point}:{hit}:abort"))];
            let (lines, _, status) = ChildProcess::spawn(dir.path(), &task).end();
            assert!(!status.success() || hit > 1, "{context}: the work does not pass the point");
            let rounds = lines.iter().filter(|line| line.starts_with("acknowledged")).count() as u64;
            check_and_go_on(dir.path(), rounds, &context);
        }
    }
}

/// The body of the process that dies; nothing when it is run as a test.
#[test]
fn child() {
    if let Some(dir) = given() {
        work(&open(&dir).unwrap(), 0, |round| tell(&format!("acknowledged {round}"))).unwrap();
    }
}
