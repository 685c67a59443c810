//! The logs that benchmarks read: written with large appends, read back by hand as the engine reads them.

use super::Outcome;
use millpond::changelog::backend::RecordRef;
use millpond::changelog::{
    Append, Changelog, Durability, EmbeddedChangelog, EmbeddedOptions, Record, TopicConfig,
};
use millpond::codec::{Bincode, KeyCodec, ValueCodec};
use millpond::{Position, TopicPartition};
use std::path::Path;
use std::sync::Arc;

/// Records in one append.
const APPEND_RECORDS: usize = 50_000;

/// Stored bytes that are read at once.
const POLL_BYTES: usize = 1 << 20;

/// Opens the changelog in `dir`.
pub fn open(dir: &Path, durability: Durability) -> Outcome<Arc<EmbeddedChangelog>> {
    let options = EmbeddedOptions::default().durability(durability);
    Ok(Arc::new(EmbeddedChangelog::open(dir, options)?))
}

/// Appends `records`, each a number of a topic with a key and a value, and makes them durable. The log keeps the
/// order within each topic. Values are stored as millpond stores them unless told otherwise.
pub fn write<V>(
    log: &dyn Changelog,
    topics: &[&str],
    partitions: u32,
    records: impl Iterator<Item = (usize, u64, V)>,
) -> Outcome<()>
where
    Bincode: ValueCodec<V>,
{
    write_dated(log, topics, partitions, (0..).zip(records))
}

/// As [`write()`], where each record says when it happened.
pub fn write_dated<V>(
    log: &dyn Changelog,
    topics: &[&str],
    partitions: u32,
    records: impl Iterator<Item = (i64, (usize, u64, V))>,
) -> Outcome<()>
where
    Bincode: ValueCodec<V>,
{
    for topic in topics {
        log.create_topic(topic, &TopicConfig::default().partitions(partitions))?;
    }
    let mut pending = Pending { log, appends: Vec::new(), records: 0, ack: None };
    for topic in topics {
        let partition = |number| TopicPartition::new(*topic, number);
        pending.appends.push((0..partitions).map(|number| (partition(number), Vec::new())).collect());
    }
    for (at_ms, (topic, key, value)) in records {
        let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        key.encode_key(&mut key_bytes);
        Bincode.encode(&value, &mut value_bytes)?;
        let record = Record::new(key_bytes, value_bytes).at(at_ms);
        pending.push(topic, partitions, record)?;
    }
    pending.flush()?;
    if let Some(ack) = pending.ack {
        ack.wait_blocking()?;
    }
    log.sync()?;
    Ok(())
}

/// Records that wait to be appended: one append is written while the next is gathered.
struct Pending<'a> {
    log: &'a dyn Changelog,
    appends: Vec<Vec<(TopicPartition, Vec<Record>)>>,
    records: usize,
    ack: Option<millpond::changelog::Ack>,
}

impl Pending<'_> {
    fn push(&mut self, topic: usize, partitions: u32, record: Record) -> Outcome<()> {
        let partition =
            millpond::changelog::partition_for_key(record.key.as_deref().unwrap_or_default(), partitions);
        let place = self.appends.get_mut(topic).and_then(|topic| topic.get_mut(partition as usize));
        place.ok_or("a record for a topic that was not named")?.1.push(record);
        self.records += 1;
        if self.records >= APPEND_RECORDS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Outcome<()> {
        self.records = 0;
        let waiting = self.appends.iter_mut().flatten().filter(|(_, records)| !records.is_empty());
        let appends: Vec<Append> = waiting
            .map(|(partition, records)| Append {
                partition: partition.clone(),
                records: std::mem::take(records),
            })
            .collect();
        if let Some(ack) = self.ack.replace(self.log.append(appends)) {
            ack.wait_blocking()?;
        }
        Ok(())
    }
}

/// The end of every partition of `topics`.
pub fn end(log: &dyn Changelog, topics: &[&str], partitions: u32) -> Outcome<Position> {
    let mut end = Position::new();
    for topic in topics {
        for partition in 0..partitions {
            let partition = TopicPartition::new(*topic, partition);
            let offset = log.offsets(&partition)?.end;
            end.set(partition, offset);
        }
    }
    Ok(end)
}

/// Hands every record of `topics` to `visit` with the number of its topic: in turn some from each partition, each
/// partition in offset order. `visit` returns `false` to stop.
pub fn read(
    log: &dyn Changelog,
    topics: &[&str],
    partitions: u32,
    mut visit: impl FnMut(usize, RecordRef<'_>) -> Outcome<bool>,
) -> Outcome<()> {
    let mut readers = Vec::new();
    for (number, topic) in topics.iter().enumerate() {
        for partition in 0..partitions {
            readers.push((number, log.reader(&TopicPartition::new(*topic, partition), 0)?));
        }
    }
    loop {
        let mut found = false;
        for (topic, reader) in &mut readers {
            for batch in reader.poll(POLL_BYTES)? {
                found = true;
                for record in &batch.decode()? {
                    if !visit(*topic, record)? {
                        return Ok(());
                    }
                }
            }
        }
        if !found {
            return Ok(());
        }
    }
}

/// Key and value of a record.
#[inline]
pub fn decode<V: 'static>(record: &RecordRef<'_>) -> Outcome<(u64, V)>
where
    Bincode: ValueCodec<V>,
{
    let key = u64::decode_whole_key(record.key.unwrap_or_default())?;
    Ok((key, Bincode.decode(record.value.unwrap_or_default())?))
}
