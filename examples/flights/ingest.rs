//! From files into the changelog, each row exactly once.
//!
//! Every topic here has one partition, to which rows are appended in the order of the file. So the number of records
//! in the partition is the number of rows that were taken in before, however the program ended, and the next row to
//! append is known without any note of our own. That the file is still the same one is what the table `intake` is for.

use crate::data::{AIRLINES, Airline, Flight, FlightRow, Input, PLANES, Plane, PlaneRow, rows};
use crate::graph::{FlightGraph, Intake};
use indicatif::{ProgressBar, ProgressStyle};
use millpond::codec::{Key, Value};
use millpond::{Engine, Topic, TopicPartition};
use std::error::Error;
use std::sync::Arc;

/// So many rows are appended, and made durable, at a time.
const BATCH_ROWS: usize = 1000;

/// Under which key the table of intakes has this one.
const INTAKE: &str = "flights";

/// Takes in what is not there yet, and returns once the tables include all of it.
pub(crate) fn ingest(engine: &Engine, flights: &FlightGraph, input: &Input) -> Result<(), Box<dyn Error>> {
    engine.catch_up_blocking()?;
    let fingerprint = input.fingerprint()?;
    match engine.view(&flights.intake)?.get(INTAKE)? {
        Some(intake) if intake.fingerprint != fingerprint => {
            return Err("the state was filled from another file; name another directory with --state".into());
        }
        Some(intake) if intake.is_complete => return Ok(()),
        Some(_) => {}
        None => note(engine, flights, &Intake { fingerprint, is_complete: false })?,
    }

    let airlines = rows(AIRLINES)?.into_deserialize().map(|row| {
        let row: Airline = row?;
        Ok((row.carrier.clone(), row, 0))
    });
    append_rest(engine, &flights.airlines, airlines)?;
    let planes = rows(PLANES)?.into_deserialize().map(|row| {
        let plane = Plane::from(row.map(|row: PlaneRow| row)?);
        Ok((plane.tail_number.clone(), plane, 0))
    });
    append_rest(engine, &flights.planes, planes)?;

    let progress = progress_bar(fingerprint.0);
    let reader = progress.wrap_read(input.open()?);
    let numbered = rows(reader)?.into_deserialize().zip(0..).map(|(row, number)| {
        let flight = Flight::from(row.map(|row: FlightRow| row)?);
        let timestamp_ms = flight.scheduled_min * 60_000;
        Ok((number, flight, timestamp_ms))
    });
    append_rest(engine, &flights.flights, numbered)?;
    note(engine, flights, &Intake { fingerprint, is_complete: true })?;
    engine.catch_up_blocking()?;
    progress.finish_and_clear();
    Ok(())
}

fn note(engine: &Engine, flights: &FlightGraph, intake: &Intake) -> millpond::Result<()> {
    engine.append(&flights.intakes, INTAKE, intake).wait_blocking()?;
    Ok(())
}

/// Appends the rows that are not in the topic yet.
fn append_rest<K: Key, V: Value>(
    engine: &Engine,
    topic: &Topic<K, V>,
    rows: impl Iterator<Item = Result<(K, V, i64), csv::Error>>,
) -> Result<(), Box<dyn Error>> {
    let producer = engine.producer(topic)?;
    let partition = TopicPartition::new(Arc::clone(topic.name()), 0);
    let taken = usize::try_from(engine.changelog().offsets(&partition)?.end)?;
    let mut rows = rows.skip(taken).peekable();
    while rows.peek().is_some() {
        let batch = rows.by_ref().take(BATCH_ROWS).collect::<Result<Vec<_>, _>>()?;
        producer.ready_blocking();
        // Waiting for each batch keeps the topic free of gaps: after a failed append there is no later one.
        producer.send(batch.iter().map(|(key, value, at_ms)| (key, Some(value), *at_ms))).wait_blocking()?;
    }
    Ok(())
}

/// On standard error, and only if that is a terminal.
fn progress_bar(total_bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(total_bytes);
    let style = ProgressStyle::with_template("{spinner} folding flights {wide_bar} {percent:>3}% {eta}");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
