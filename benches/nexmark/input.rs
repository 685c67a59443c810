//! The log that the queries read: the events, the rows of the side table before them, and an end that takes time on.

use super::events::Event;
use super::generator::{Generator, Shape};
use millpond::changelog::{Append, Changelog, Record};
use millpond::{Topic, TopicPartition};
use millpond_support::bench::{Outcome, log};
use millpond_support::records::key_bytes;

pub(crate) const EVENTS: &str = "events";
pub(crate) const SIDE: &str = "side_input";

/// The rows of the side table: as many as there are keys for query 13 to ask for.
pub(crate) const SIDE_ROWS: u64 = 10_000;

/// Number of an event -> event.
pub(crate) fn events(partitions: u32) -> Topic<u64, Event> {
    Topic::new(EVENTS).partitions(partitions)
}

/// Key -> value of the side table.
pub(crate) fn side_input(partitions: u32) -> Topic<u64, String> {
    Topic::new(SIDE).partitions(partitions)
}

pub(crate) fn side_value(key: u64) -> String {
    format!("side-{key}")
}

/// Writes `events` events of this shape. Each is dated with its own time.
///
/// Time comes with records, so what is open at the end of a file would stay so: the last record of each partition is a tombstone that
/// is dated behind everything.
pub(crate) fn write(log: &dyn Changelog, partitions: u32, shape: Shape, events: u64) -> Outcome<()> {
    let side = (0..SIDE_ROWS).map(|key| (0, (0, key, side_value(key))));
    log::write_dated(log, &[SIDE], partitions, side)?;
    let generated = Generator::new(shape).take(usize::try_from(events)?);
    let generated = generated.map(|(nth, event)| (event.at_ms(), (0, nth, event)));
    log::write_dated(log, &[EVENTS], partitions, generated)?;
    let end = Record::tombstone(key_bytes(&u64::MAX)).at(shape.quiet_ms(events));
    let ends = (0..partitions).map(|partition| Append {
        partition: TopicPartition::new(EVENTS, partition),
        records: vec![end.clone()],
    });
    log.append(ends.collect()).wait_blocking()?;
    Ok(log.sync()?)
}
