//! What must hold of the decoder of record batches, whatever bytes it is given. Compiled for tests and for fuzzing only.

use super::aborted::{Aborted, CommittedFilter};
use super::batch::{Batches, HEADER_BYTES, KafkaBatch};
use bytes::Bytes;
use millpond_engine::TopicPartition;
use millpond_engine::changelog::LogBatch;

/// The records of a response: as they are, and once more as a batch whose length and checksum are right.
///
/// What decodes has ascending offsets within its batch, as many as the batch says, and batches do not overlap.
///
/// # Panics
/// If that does not hold.
pub fn record_batches(data: &[u8]) {
    look_through(Bytes::copy_from_slice(data));
    if let Some(sealed) = sealed(data) {
        look_through(sealed);
    }
}

/// `data` with the length, the format and the checksum that it would have as a single batch.
fn sealed(data: &[u8]) -> Option<Bytes> {
    let mut bytes = data.to_vec();
    let length = u32::try_from(bytes.len()).ok()?.checked_sub(12)?;
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    bytes.get_mut(8..12)?.copy_from_slice(&length.to_be_bytes());
    *bytes.get_mut(16)? = 2;
    let crc = crc32c::crc32c(bytes.get(21..)?);
    bytes.get_mut(17..21)?.copy_from_slice(&crc.to_be_bytes());
    Some(bytes.into())
}

fn look_through(bytes: Bytes) {
    let partition = TopicPartition::new("fuzzed", 0);
    let mut filter = CommittedFilter::new(vec![Aborted { producer_id: 1, first_offset: 3 }]);
    let mut next = 0;
    for batch in Batches::new(&partition, 0, bytes).flatten() {
        assert!(batch.base_offset() >= next, "batches overlap");
        next = batch.end_offset();
        // An error is as good as an answer.
        let _ = filter.admits(&batch);
        decode(&batch);
    }
}

fn decode(batch: &KafkaBatch) {
    let _ = batch.body_bytes();
    let Ok(decoded) = batch.decode() else { return };
    assert_eq!(decoded.records() as u64, batch.records());
    let mut next = batch.base_offset();
    for record in &decoded {
        assert!(record.offset >= next && record.offset < batch.end_offset(), "offsets do not ascend");
        next = record.offset + 1;
        let _ = record.headers().count();
    }
}
