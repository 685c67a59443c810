//! The position of a group of tables, as it is stored.

use super::frame::{FrameReader, FrameWriter};
use crate::{Position, Result, TopicPartition};

pub(super) const POSITION_FORMAT: u8 = 1;

/// The stored form of a position.
pub(crate) fn encode_position(position: &Position) -> Vec<u8> {
    let mut frame = FrameWriter::new(POSITION_FORMAT);
    frame.number(position.iter().count() as u64);
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
    for _ in 0..count {
        let topic = fields.string()?;
        let partition = TopicPartition::new(topic, fields.number_as()?);
        position.set(partition, fields.number()?);
    }
    fields.finish()?;
    Ok(position)
}
