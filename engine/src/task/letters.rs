//! Dead letters: records that the failure policy leaves out, with the reason and their origin.

use super::input::EpochInput;
use super::{FailurePolicy, Task};
use crate::Result;
use crate::changelog::{Header, Record};
use crate::dataflow::{Skipped, Stamp, Sunk};
use bytes::Bytes;
use std::sync::Arc;

impl Task {
    /// The letters for the records that the epoch left out.
    pub(super) fn dead_letters(&self, input: &EpochInput, skipped: &Skipped) -> Result<Vec<Sunk>> {
        let FailurePolicy::DeadLetter(topic) = &self.setting.policy else { return Ok(Vec::new()) };
        let mut letters = Vec::new();
        for (&(source, offset), reason) in skipped {
            let piece = input.pieces.iter().find(|p| p.source == source && p.offsets.contains(&offset));
            let (Some(piece), Some(origin)) = (piece, self.input.partition(source)) else { continue };
            let batch = piece.batch.decode()?;
            let Some(record) = batch.iter().find(|record| record.offset == offset) else { continue };
            let header =
                |name: &str, value: String| Header { name: name.to_owned(), value: Bytes::from(value) };
            letters.push(Sunk {
                topic: Arc::clone(topic),
                partition: 0,
                stamp: Stamp::new(record.timestamp_ms, record.timestamp_ms, source, offset),
                record: Record {
                    key: Bytes::copy_from_slice(record.key),
                    value: record.value.map(Bytes::copy_from_slice),
                    timestamp_ms: record.timestamp_ms,
                    headers: vec![
                        header("millpond.reason", reason.clone()),
                        header("millpond.topic", origin.topic.to_string()),
                        header("millpond.partition", origin.partition.to_string()),
                        header("millpond.offset", offset.to_string()),
                    ],
                },
            });
        }
        Ok(letters)
    }
}
