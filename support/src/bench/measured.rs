//! Ways of folding the same log, measured one after the other, and what each of them took.

use super::args::Common;
use super::report::{Table, count, mebibytes, median};
use super::{Outcome, log, phase};
use crate::random::scatter;
use millpond::changelog::{Changelog, Durability};
use millpond::{Engine, Graph};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What one way took in one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Records that were timed.
    pub records: u64,
    pub seconds: f64,
    /// Seconds of all cores together: on a busy machine a better measure than the time that passed.
    pub cpu_seconds: f64,
    pub peak_bytes: u64,
    /// What the way came to, if it read all records and can be compared with the others.
    pub digest: Option<u64>,
}

/// A running measurement.
#[derive(Debug)]
pub struct Clock {
    begin: Instant,
    cpu_seconds: f64,
}

impl Clock {
    pub fn start() -> Self {
        Self { cpu_seconds: phase::cpu_seconds(), begin: Instant::now() }
    }

    /// What was needed for `records` since the start.
    pub fn stop(&self, records: u64) -> Measured {
        Measured {
            records,
            seconds: self.begin.elapsed().as_secs_f64(),
            cpu_seconds: phase::cpu_seconds() - self.cpu_seconds,
            peak_bytes: phase::resident_bytes().1,
            digest: None,
        }
    }
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn rps(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    pub fn with_digest(mut self, digest: u64) -> Self {
        self.digest = Some(digest);
        self
    }
}

/// Runs `graph` on the log in `scratch` from an empty state in `state_dir` until everything is folded and drained.
pub fn engine(
    common: &Common,
    graph: &Graph,
    topics: &[&str],
    (scratch, state_dir): (&Path, &Path),
) -> Outcome<(Engine, Measured)> {
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let end = log::end(&*log, topics, common.partitions)?;
    let records = end.iter().map(|(_, offset)| offset).sum();
    let log: Arc<dyn Changelog> = log;

    let clock = Clock::start();
    let engine = common.engine(graph).state_dir(state_dir).changelog(log).start()?;
    engine.wait_for_blocking(&end)?;
    engine.drain_blocking()?;
    let measured = clock.stop(records);

    let stats = engine.stats();
    for (name, table) in &stats.tables {
        let (rows, hits) = (table.rows, table.hit_rate() * 100.0);
        eprintln!("  {} epochs, {} drains, {rows} {name}, {hits:.0}% hits", stats.epochs, stats.drains);
    }
    Ok((engine, measured))
}

/// The rounds of one way.
#[derive(Debug)]
pub struct Rounds {
    pub way: &'static str,
    rounds: Vec<Measured>,
}

impl Rounds {
    /// Measures each of `ways`, which are phases of this program, and all of them in each round, so that what else
    /// the machine does meets all alike. Fails if they do not come to the same result.
    pub fn measure(common: &Common, ways: &[&'static str], scratch: &Path) -> Outcome<Vec<Self>> {
        Self::measure_by(common.rounds(3), ways, |way| phase::run(way, scratch))
    }

    /// As [`measure`](Self::measure), of ways of any kind.
    pub fn measure_by(
        rounds: usize,
        ways: &[&'static str],
        mut run: impl FnMut(&'static str) -> Outcome<Measured>,
    ) -> Outcome<Vec<Self>> {
        let mut all: Vec<Self> = ways.iter().map(|way| Self { way, rounds: Vec::new() }).collect();
        for round in 1..=rounds {
            for Self { way, rounds } in &mut all {
                let measured = run(way)?;
                eprintln!("round {round}: {way}: {} records/s", count(measured.rps()));
                rounds.push(measured);
            }
        }
        let results = all.iter().flat_map(|way| &way.rounds).filter_map(|round| round.digest);
        let mut results: Vec<u64> = results.collect();
        results.dedup();
        if results.len() > 1 {
            return Err("the ways came to different results".into());
        }
        Ok(all)
    }

    pub fn print(all: &[Self]) {
        let mut table = Table::new(["way", "records", "seconds", "CPU s", "records/s", "peak resident"]);
        for way in all {
            let records = way.rounds.first().map_or(0, |round| round.records);
            table.row([
                way.way.to_owned(),
                records.to_string(),
                format!("{:.2}", way.median(|round| round.seconds)),
                format!("{:.2}", way.median(|round| round.cpu_seconds)),
                count(way.rps()),
                mebibytes(way.peak_bytes()),
            ]);
        }
        table.print();
    }

    /// The rounds of `way`, if it was measured.
    pub fn of<'a>(all: &'a [Self], way: &str) -> Option<&'a Self> {
        all.iter().find(|rounds| rounds.way == way)
    }

    pub fn rps(&self) -> f64 {
        self.median(Measured::rps)
    }

    /// Records for each second of the processor.
    pub fn per_cpu_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        self.median(|round| round.records as f64 / round.cpu_seconds.max(1e-9))
    }

    pub fn peak_bytes(&self) -> u64 {
        self.rounds.iter().map(|round| round.peak_bytes).max().unwrap_or(0)
    }

    fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }
}

/// How many times as fast `one` is as `other`; 0.0 if either was not measured.
pub fn ratio(one: Option<&Rounds>, other: Option<&Rounds>) -> f64 {
    match (one, other) {
        (Some(one), Some(other)) if other.rps() > 0.0 => one.rps() / other.rps(),
        _ => 0.0,
    }
}

/// Many numbers as one that tells whether any of them differs.
#[derive(Debug, Default)]
pub struct Digest(u64);

impl Digest {
    pub fn add<const N: usize>(&mut self, numbers: [u64; N]) {
        for number in numbers {
            self.0 = scatter(self.0.wrapping_mul(31).wrapping_add(number));
        }
    }

    pub fn value(&self) -> u64 {
        self.0
    }
}
