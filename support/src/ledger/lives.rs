//! The lives of the ledger in child processes, and their ends.

use super::{Acknowledged, Ledger, audit, batch, open_changelog};
use crate::environment::variable;
use crate::process::{ChildProcess, tell, tell_lines};
use crate::random::Random;
use millpond::changelog::{Changelog, EmbeddedChangelog};
use millpond::{Error, Result, Stepper};
use std::collections::VecDeque;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Pays without end, or `batches` times, a few appends ahead of their acknowledgements, and tells the parent process of
/// each of these.
pub fn pay(changelog: &dyn Changelog, random: &mut Random, mut next: u64, batches: usize) -> Result<()> {
    let mut waiting = VecDeque::new();
    for _ in 0..batches {
        let payments = 1 + random.below(12);
        let (appends, numbers) = batch(random, next, payments);
        next += payments;
        waiting.push_back((changelog.append(appends), numbers));
        if waiting.len() > 3 {
            let (ack, numbers) = waiting.pop_front().unwrap();
            report(&numbers.at(&ack.wait_blocking()?));
        }
    }
    for (ack, numbers) in waiting {
        report(&numbers.at(&ack.wait_blocking()?));
    }
    Ok(())
}

fn report(acknowledged: &Acknowledged) {
    let mut lines = Vec::new();
    for ((partition, offset), payment) in acknowledged {
        writeln!(lines, "ack {partition} {offset} {payment}").unwrap();
    }
    tell_lines(&lines);
}

/// Takes up what a line says that was told of an acknowledgement. `false` if it says something else.
pub fn take_up(acknowledged: &mut Acknowledged, line: &str) -> bool {
    let Some(numbers) = line.strip_prefix("ack ") else { return false };
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    acknowledged.insert((numbers[0] as u32, numbers[1]), numbers[2]);
    true
}

/// The life of a child of [`pay_and_kill`].
pub fn pay_until_killed(dir: &Path) {
    let mut random = Random::new(variable("MILLPOND_SEED").unwrap());
    let ledger = Ledger::new(1);
    tell("opening");
    let changelog = Arc::new(open_changelog(&dir.join("changelog")).unwrap());
    let _engine = ledger.builder(dir, &mut random, Arc::clone(&changelog)).start().unwrap();
    tell("open");
    pay(&*changelog, &mut random, variable("MILLPOND_NEXT").unwrap(), usize::MAX).unwrap();
}

/// Kills a child that pays from number `next` on, after up to `most` acknowledgements and a random moment more; one in
/// eight is killed while it opens.
pub fn pay_and_kill(
    dir: &Path,
    mut task: Vec<(&str, String)>,
    (next, most): (u64, u64),
    random: &mut Random,
    acknowledged: &mut Acknowledged,
) {
    task.extend([("MILLPOND_SEED", random.number().to_string()), ("MILLPOND_NEXT", next.to_string())]);
    let mut child = ChildProcess::spawn(dir, &task);
    let opening = random.below(8) == 0;
    let mut left = if opening { 0 } else { 1 + random.below(most) };
    let spins = random.below(if opening { 20_000_000 } else { 300_000 });
    while let Some(line) = child.line() {
        if take_up(acknowledged, &line) {
            left -= 1;
        }
        if left == 0 && (!opening || line == "opening") {
            break;
        }
    }
    for line in child.kill_after(spins) {
        take_up(acknowledged, &line);
    }
}

/// Opens the ledger three times, pays `batches` a few times, folds, drains and closes; the second time under a raised
/// version of its tables. Whatever stops it is told, and the next life begins. `first` is done after each opening of the
/// changelog.
pub fn live_thrice(dir: &Path, batches: usize, first: impl Fn(&EmbeddedChangelog) -> Result<()>) {
    let mut random = Random::new(variable("MILLPOND_SEED").unwrap());
    for (phase, version) in [(1, 1), (2, 2), (3, 2)] {
        // A panic in the calling thread unwinds to whoever opened the engine.
        match catch_unwind(AssertUnwindSafe(|| live(dir, (phase, version), batches, &mut random, &first))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tell(&format!("stopped: {error}")),
            Err(_) => tell("panicked"),
        }
    }
}

fn live(
    dir: &Path,
    (phase, version): (u64, u32),
    batches: usize,
    random: &mut Random,
    first: &impl Fn(&EmbeddedChangelog) -> Result<()>,
) -> Result<()> {
    let changelog = Arc::new(open_changelog(&dir.join("changelog"))?);
    first(&changelog)?;
    let ledger = Ledger::new(version);
    let engine = ledger.builder(dir, random, Arc::clone(&changelog)).start()?;
    for part in 0..4 {
        pay(&*changelog, random, (phase << 40) + (part << 32), batches)?;
        engine.catch_up_blocking()?;
        engine.drain_blocking()?;
    }
    engine.ready_blocking()?;
    engine.close_blocking()?;
    changelog.close()
}

/// Audits what [`live_thrice`] left, under either version of the tables, so that a rebuild that was cut short is dropped
/// or gone on with. `mend` is asked when a state cannot be opened, and may make that possible.
pub fn audit_lives(
    dir: &Path,
    random: &mut Random,
    lines: &[String],
    mend: impl Fn(&Error) -> bool,
    context: &str,
) {
    let mut acknowledged = Acknowledged::new();
    for line in lines {
        take_up(&mut acknowledged, line);
    }
    for version in random.pick(&[&[1, 2][..], &[2]]).iter().copied() {
        let ledger = Ledger::new(version);
        let changelog = open_changelog(&dir.join("changelog"));
        let changelog = Arc::new(changelog.unwrap_or_else(|error| panic!("{error}: {context}")));
        let mut open =
            || -> Result<Stepper> { ledger.builder(dir, random, Arc::clone(&changelog)).stepper() };
        let mut stepper = match open() {
            Ok(stepper) => stepper,
            Err(error) if version == 1 && error.message().contains("the state holds version 2") => continue,
            Err(error) if mend(&error) => open().unwrap_or_else(|error| panic!("{error}: {context}")),
            Err(error) => panic!("{error}: {context}"),
        };
        audit(&ledger, &mut stepper, &acknowledged).unwrap_or_else(|error| panic!("{error}: {context}"));
    }
}
