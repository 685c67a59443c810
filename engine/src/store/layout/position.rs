//! The position of a group of tables, as it is stored.

use super::frame::{FrameReader, FrameWriter};
use crate::time::{Reached, Tick};
use crate::varint::{unzigzag, zigzag};
use crate::{Position, Result, TopicPartition};

/// Only offsets.
const POSITION_FORMAT: u8 = 1;
/// Behind each offset stands how far its partition has come in time.
const REACHED_FORMAT: u8 = 2;

/// Behind the offset stands how many writers of the partition are told apart, which are in order each by itself: none where it has no
/// part in time yet, and one as yet where it has. Their number is there before anyone does, so that no release takes one for all.
const NO_WRITER: u64 = 0;
const ONE_WRITER: u64 = 1;

/// The stored form of a position.
pub(crate) fn encode_position(position: &Position) -> Vec<u8> {
    let mut frame = FrameWriter::new(POSITION_FORMAT);
    frame.number(position.partitions() as u64);
    for (partition, next_offset) in position.iter() {
        frame.string(&partition.topic);
        frame.number(u64::from(partition.partition));
        frame.number(next_offset);
    }
    frame.finish()
}

/// The position that [`encode_position`] stored.
pub(crate) fn decode_position(stored: &[u8]) -> Result<Position> {
    let mut fields = FrameReader::open("a position", POSITION_FORMAT, stored)?;
    let count = fields.number()?;
    let mut position = Position::new();
    let mut last: Option<TopicPartition> = None;
    for _ in 0..count {
        let partition = next_partition(&mut fields, last.as_ref())?;
        position.set(partition.clone(), fields.number()?);
        last = Some(partition);
    }
    fields.finish()?;
    Ok(position)
}

/// The stored form of how far a group has come.
pub(crate) fn encode_reached(reached: &Reached) -> Vec<u8> {
    let mut frame = FrameWriter::new(REACHED_FORMAT);
    // Streams of periods have no offsets: they are partitions of no log.
    let periods = reached.times.iter().map(|(id, _)| (id, 0)).filter(|(id, _)| Tick::is_stream(id));
    let mut entries: Vec<_> = reached.position.iter().chain(periods).collect();
    entries.sort_unstable();
    frame.number(entries.len() as u64);
    for (partition, next_offset) in entries {
        frame.string(&partition.topic);
        frame.number(u64::from(partition.partition));
        frame.number(next_offset);
        match reached.times.of(partition) {
            None => frame.number(NO_WRITER),
            Some(time_ms) => {
                frame.number(ONE_WRITER);
                frame.number(zigzag(time_ms));
            }
        }
    }
    frame.finish()
}

/// What [`encode_reached`] stored, or [`encode_position`] in a release that noted no times.
pub(crate) fn decode_reached(stored: &[u8]) -> Result<Reached> {
    let formats = [POSITION_FORMAT, REACHED_FORMAT];
    let (format, mut fields) = FrameReader::open_one_of("a position", &formats, stored)?;
    let count = fields.number()?;
    let mut reached = Reached { is_timeless: format == POSITION_FORMAT, ..Reached::default() };
    let mut last: Option<TopicPartition> = None;
    for _ in 0..count {
        let partition = next_partition(&mut fields, last.as_ref())?;
        let next_offset = fields.number()?;
        if !Tick::is_stream(&partition) {
            reached.position.set(partition.clone(), next_offset);
        }
        if format == REACHED_FORMAT {
            match fields.number()? {
                NO_WRITER => {}
                ONE_WRITER => reached.times.raise(&partition, unzigzag(fields.number()?)),
                _ => return Err(fields.damaged("it tells the writers of a partition apart")),
            }
        }
        last = Some(partition);
    }
    fields.finish()?;
    Ok(reached)
}

/// The next partition of a list of them in ascending order.
fn next_partition(fields: &mut FrameReader<'_>, last: Option<&TopicPartition>) -> Result<TopicPartition> {
    let partition = TopicPartition::after(last, fields.string()?, fields.number_as()?);
    // A partition that stands there twice would leave it open which input the rows include.
    if last >= Some(&partition) {
        return Err(fields.damaged("its partitions are out of order"));
    }
    Ok(partition)
}

/// Arbitrary fields as a stored position whose checksum is right, to reach the decoder behind it.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed_position(fields: &[u8]) -> Vec<u8> {
    FrameWriter([&[POSITION_FORMAT], fields].concat()).finish()
}

/// Arbitrary fields as what was reached, with the right checksum.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed_reached(fields: &[u8]) -> Vec<u8> {
    FrameWriter([&[REACHED_FORMAT], fields].concat()).finish()
}
