//! From the files into the changelog, each row exactly once.
//!
//! Every topic has one partition, to which rows are appended in an order that the file alone decides (`read.rs`). So the number of
//! records in it is the number of rows that were taken in before, however the program ended.
//!
//! Time only comes with records, so the last days would wait for ever for flights that may still come. That there are no more is
//! known once the file has ended, and is said in the log: each topic ends with a tombstone that is dated behind all that waits.
//! No clock could say it: a program that was killed for an hour has more flights all the same.

use super::Failure;
use super::file::Input;
use super::graph::{Flight, GRACE, Intake, Observation, WeatherGraph};
use super::line::grouped;
use super::read::{self, Dated};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use millpond::changelog::Producer;
use millpond::codec::Value;
use millpond::{Engine, Topic, TopicPartition};
use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Instant;

/// Under which key the table of intakes has this one.
const INTAKE: &str = "weather";

/// Under which key a topic ends: no airport has it.
const END: &str = "";

/// What an intake came to.
pub(crate) struct Outcome {
    /// Rows that were there before.
    before: usize,
    taken: usize,
    seconds: f64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, taken) = (grouped(self.before as u64), grouped(self.taken as u64));
        match (self.before, self.taken) {
            (0, _) => write!(f, "{taken} flights and observations in {:.1} s", self.seconds),
            (_, 0) => write!(f, "resumed: {before} flights and observations were there already"),
            _ => write!(f, "resumed: {before} were there already, {taken} more in {:.1} s", self.seconds),
        }
    }
}

/// Takes in what is not there yet, and returns once the tables include all of it.
pub(crate) fn take_in(
    engine: &Engine,
    graph: &WeatherGraph,
    flights: &Input,
    observations: &Input,
) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    engine.catch_up_blocking()?;
    let fingerprints = [flights.fingerprint()?, observations.fingerprint()?];
    let intake = engine.view(&graph.intake)?.get(INTAKE)?;
    if intake.as_ref().is_some_and(|intake| intake.fingerprints != fingerprints) {
        return Err("the state was filled from other files; name another directory with --state".into());
    }
    // Read as a whole before the state is of these files for good: what is wrong with them is said first.
    let (flights, observations) = (read::flights(flights)?, read::observations(observations)?);
    let rows = flights.len() + observations.len();
    if intake.is_some_and(|intake| intake.is_complete) {
        return Ok(Outcome { before: rows, taken: 0, seconds: 0.0 });
    }
    let note = |is_complete| {
        let intake = Intake { fingerprints, is_complete };
        engine.append(&graph.intakes, INTAKE, &intake).wait_blocking()
    };
    note(false)?;
    let before = append_by_days(engine, graph, flights, observations)?;
    note(true)?;
    engine.catch_up_blocking()?;
    Ok(Outcome { before, taken: rows - before, seconds: begun.elapsed().as_secs_f64() })
}

/// Appends both, day by day, so that neither has to wait long for the other; returns how many rows were there.
fn append_by_days(
    engine: &Engine,
    graph: &WeatherGraph,
    flights: Vec<Dated<Flight>>,
    observations: Vec<Dated<Observation>>,
) -> Result<usize, Failure> {
    let rows = flights.len() + observations.len();
    let times = flights.iter().map(|row| row.at_ms).chain(observations.iter().map(|row| row.at_ms));
    // The day of the last row ends within a grace, and closes within another.
    let two_graces = i64::try_from(2 * GRACE.as_millis())?;
    let end_ms = times.max().unwrap_or(0).saturating_add(two_graces);
    let mut flights = Rest::new(engine, &graph.flights, flights)?;
    let mut observations = Rest::new(engine, &graph.observations, observations)?;
    let before = flights.before + observations.before;
    let progress = progress_bar((rows - before) as u64);
    while let Some(day) = flights.day().into_iter().chain(observations.day()).min() {
        progress.inc(observations.append(day)? + flights.append(day)?);
    }
    flights.end(end_ms)?;
    observations.end(end_ms)?;
    progress.finish_and_clear();
    Ok(before)
}

/// The rows that are not in their topic yet.
struct Rest<V> {
    producer: Producer<String, V>,
    rows: Peekable<std::iter::Skip<std::vec::IntoIter<Dated<V>>>>,
    /// Rows that are in the topic.
    before: usize,
    has_end: bool,
}

impl<V: Value> Rest<V> {
    fn new(engine: &Engine, topic: &Topic<String, V>, rows: Vec<Dated<V>>) -> Result<Self, Failure> {
        let partition = TopicPartition::new(Arc::clone(topic.name()), 0);
        let records = usize::try_from(engine.changelog().offsets(&partition)?.end)?;
        let (before, has_end) = (records.min(rows.len()), records > rows.len());
        let producer = engine.producer(topic)?;
        Ok(Self { producer, rows: rows.into_iter().skip(before).peekable(), before, has_end })
    }

    /// The day of the next row.
    fn day(&mut self) -> Option<Date> {
        self.rows.peek().map(|row| row.day)
    }

    /// Appends the rows of `day`, and returns how many these were.
    fn append(&mut self, day: Date) -> Result<u64, Failure> {
        let rows: Vec<_> = std::iter::from_fn(|| self.rows.next_if(|row| row.day == day)).collect();
        if rows.is_empty() {
            return Ok(0);
        }
        self.producer.ready_blocking();
        let records = rows.iter().map(|row| (row.airport.as_str(), Some(&row.value), row.at_ms));
        // Waiting for each day keeps the topic free of gaps: after a failed append there is no later one.
        self.producer.send_blocking(records)?;
        Ok(rows.len() as u64)
    }

    /// Says that nothing comes any more, unless that is said.
    fn end(&self, at_ms: i64) -> Result<(), Failure> {
        if !self.has_end {
            self.producer.send_blocking([(END, None, at_ms)])?;
        }
        Ok(())
    }
}

/// On standard error, and only if that is a terminal.
fn progress_bar(rows: u64) -> ProgressBar {
    let bar = ProgressBar::new(rows);
    match ProgressStyle::with_template("{spinner} folding flights and weather {wide_bar} {percent:>3}% {eta}")
    {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
