//! The position of a group of tables, as it is stored.

use super::frame::{FrameReader, FrameWriter};
use crate::{Position, Result, TopicPartition};

const POSITION_FORMAT: u8 = 1;

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
        let partition = TopicPartition::after(last.as_ref(), fields.string()?, fields.number_as()?);
        // A partition that stands there twice would leave it open which input the rows include.
        if last.as_ref() >= Some(&partition) {
            return Err(fields.damaged("its partitions are out of order"));
        }
        position.set(partition.clone(), fields.number()?);
        last = Some(partition);
    }
    fields.finish()?;
    Ok(position)
}

/// Arbitrary fields as a stored position whose checksum is right, to reach the decoder behind it.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed_position(fields: &[u8]) -> Vec<u8> {
    FrameWriter([&[POSITION_FORMAT], fields].concat()).finish()
}
