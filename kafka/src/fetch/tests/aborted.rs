//! Which batches are read: compared with a model that knows how each transaction ended.

use super::written::WrittenBatch;
use crate::fetch::aborted::{Aborted, CommittedFilter};
use crate::fetch::batch::Batches;
use millpond_engine::changelog::LogBatch;
use millpond_engine::{ErrorKind, TopicPartition};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What happens in a partition.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A batch of so many records, in the producer's transaction.
    Write(i64, i32),
    /// One outside of any transaction.
    Plain(i32),
    End(i64, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4_i64, 1..4).prop_map(|(producer, records)| Event::Write(producer, records)),
        1 => (1..4).prop_map(Event::Plain),
        2 => (0..4_i64, any::<bool>()).prop_map(|(producer, commit)| Event::End(producer, commit)),
    ]
}

/// A log of these events: its batches, those that a reader is to see, and the transactions that were aborted, each with where
/// it ends.
fn log(events: &[Event]) -> (Vec<WrittenBatch>, Vec<u64>, Vec<(Aborted, i64)>) {
    let (mut batches, mut seen, mut aborted) = (Vec::new(), Vec::new(), Vec::new());
    // By producer the offsets of the batches of its transaction.
    let mut open: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    let mut offset = 0;
    let write = |offset, records| WrittenBatch::values(offset, &vec!["v"; records as usize]);
    // Every transaction ends in the end: the broker gives nothing behind an undecided one.
    let rest = (0..4).map(|producer| Event::End(producer, producer % 2 == 0));
    for event in events.iter().copied().chain(rest) {
        match event {
            Event::Write(producer, records) => {
                batches.push(write(offset, records).in_transaction(producer));
                open.entry(producer).or_default().push(offset as u64);
                offset += i64::from(records);
            }
            Event::Plain(records) => {
                batches.push(write(offset, records));
                seen.push(offset as u64);
                offset += i64::from(records);
            }
            Event::End(producer, commit) => {
                let Some(written) = open.remove(&producer) else { continue };
                if commit {
                    seen.extend(written);
                } else {
                    aborted.push((Aborted { producer_id: producer, first_offset: written[0] }, offset));
                }
                batches.push(WrittenBatch::control(offset, producer, commit));
                offset += 1;
            }
        }
    }
    seen.sort_unstable();
    (batches, seen, aborted)
}

proptest! {
    /// From wherever one begins to read: the broker then names the transactions that end behind that.
    #[test]
    fn what_was_committed_is_read_and_nothing_else(
        events in vec(event(), 0..40),
        from in any::<proptest::sample::Index>(),
    ) {
        let (batches, seen, aborted) = log(&events);
        prop_assume!(!batches.is_empty());
        let from = from.index(batches.len());
        let start = batches[from].base_offset as u64;
        let aborted = aborted.into_iter().filter(|(_, end)| *end as u64 >= start).map(|(aborted, _)| aborted);
        let mut filter = CommittedFilter::new(aborted.collect());
        let bytes: Vec<u8> = batches[from..].iter().flat_map(WrittenBatch::bytes).collect();
        let partition = TopicPartition::new("t", 0);
        let mut found = Vec::new();
        for batch in Batches::new(&partition, start, bytes.into()) {
            let batch = batch.unwrap();
            if filter.admits(&batch).unwrap() {
                found.push(batch.base_offset());
            }
        }
        let expected: Vec<_> = seen.into_iter().filter(|offset| *offset >= start).collect();
        prop_assert_eq!(found, expected);
    }
}

/// A damaged bit must not turn a batch into one of an aborted transaction.
#[test]
fn what_is_left_out_is_checked_first() {
    let partition = TopicPartition::new("t", 0);
    for attributes in [0x10, 0x30] {
        let mut bytes = WrittenBatch::values(0, &["a"]).bytes();
        bytes[22] |= attributes;
        bytes[43..51].copy_from_slice(&7_i64.to_be_bytes());
        let mut filter = CommittedFilter::new(vec![Aborted { producer_id: 7, first_offset: 0 }]);
        let batch = Batches::new(&partition, 0, bytes.into()).next().unwrap().unwrap();
        assert_eq!(filter.admits(&batch).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

/// Compaction may leave nothing of a control batch or of any batch but its offsets.
#[test]
fn batches_without_records_are_passed_by() {
    let partition = TopicPartition::new("t", 0);
    for mut batch in [WrittenBatch::values(0, &["a"]), WrittenBatch::control(0, 7, false)] {
        batch.records.clear();
        let batch = Batches::new(&partition, 0, batch.bytes().into()).next().unwrap().unwrap();
        assert!(!CommittedFilter::new(Vec::new()).admits(&batch).unwrap());
        assert_eq!(batch.end_offset(), 1);
    }
}
