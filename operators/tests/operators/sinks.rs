//! Derived topics: which partition, which timestamp, which order, tombstones; and topics read as streams of upserts.

use crate::support::*;
use millpond_engine::Topic;
use millpond_engine::changelog::{Headers, partition_for_key};
use millpond_operators::stream::ProducerRecord;
use millpond_operators::{GraphBuilder, Upsert};
use proptest::prelude::*;

fn place(key: u8) -> usize {
    partition_for_key(&[key], 4) as usize
}

proptest! {
    #[test]
    fn upserts_pass_through_as_they_were(records in upserts(any::<i32>()), run in runs()) {
        let topic = Topic::<u8, i32>::new("records").partitions(3);
        let (copy, puts) = (Topic::<u8, i32>::new("copy").partitions(4), Topic::<u8, i32>::new("puts").partitions(4));
        let graph = GraphBuilder::new();
        let upserts = graph.upserts(&topic);
        upserts.to_upserts(&copy);
        let table = upserts.upsert_table("table");
        graph.stream(&topic).to(&puts);
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);

        let (mut all, mut only_puts) = (vec![Vec::new(); 4], vec![Vec::new(); 4]);
        for (&(key, value), now_ms) in records.iter().zip(0_i64..) {
            all[place(key)].push((key, value, now_ms));
            if value.is_some() {
                only_puts[place(key)].push((key, value, now_ms));
            }
        }
        prop_assert_eq!(pond.written(&copy), all);
        prop_assert_eq!(pond.written(&puts), only_puts, "a stream passes tombstones over");
        prop_assert_eq!(pond.rows(&table), table_of(&records));
    }

    /// What is read beside the value is what was appended, and what is written beside it is what was said.
    #[test]
    fn headers_timestamps_and_places_travel(
        records in prop::collection::vec((0..5_u8, prop::option::of(0..9_i32), 0..3_usize), 0..40),
        run in runs(),
    ) {
        let topic = Topic::<u8, i32>::new("records").partitions(2);
        let [out, plain] = ["out", "plain"].map(Topic::<u8, i64>::new);
        let graph = GraphBuilder::new();
        let all = graph.records(&topic);
        let last = all.map_values(|_, record| (record.partition, record.offset, record.timestamp_ms, record.headers.len())).to_table("last");
        all.to_records(&out, |_, record| {
            let written = match record.value {
                Some(value) => ProducerRecord::new(i64::from(value)),
                None => ProducerRecord::tombstone(),
            };
            let first = record.header("h").map(<[u8]>::to_vec);
            let written = written.with_headers(record.headers).at(record.timestamp_ms + 1_000);
            first.into_iter().fold(written, |written, last| written.with_header("last", last))
        });
        all.to_records(&plain, |_, record| ProducerRecord::from(Upsert::from(record.value.map(i64::from))));
        let mut inputs: Vec<Input> = Vec::new();
        for (&(key, value, headers), ms) in records.iter().zip(0_u8..) {
            let (partition, mut record) = upsert(&topic, &key, value.as_ref(), i64::from(ms));
            for index in 0..headers {
                record = record.with_header("h", vec![ms, u8::try_from(index).unwrap()]);
            }
            inputs.push((partition, record));
        }
        let pond = Pond::fed(&graph.build()?, &inputs, &run);

        let (mut expected_out, mut expected_plain) = (Vec::new(), Vec::new());
        let (mut ends, mut expected_last) = ([0_u64; 2], std::collections::BTreeMap::new());
        for (partition, record) in &inputs {
            let end = &mut ends[partition.partition as usize];
            let key = record.key.as_ref().unwrap()[0];
            expected_last.insert(key, (partition.partition, *end, record.timestamp_ms, record.headers.len()));
            *end += 1;
            let mut value = None;
            if let Some(bytes) = &record.value {
                let mut encoded = Vec::new();
                out.codec().encode(&i64::from(topic.codec().decode(bytes).unwrap()), &mut encoded).unwrap();
                value = Some(encoded.into());
            }
            let mut written = millpond_engine::changelog::Record { value, ..record.clone() };
            expected_plain.push(millpond_engine::changelog::Record { headers: Headers::new(), ..written.clone() });
            written.timestamp_ms += 1_000;
            if let Some(last) = record.headers.iter().last() {
                written = written.with_header("last", last.value.clone().unwrap());
            }
            expected_out.push(written);
        }
        prop_assert_eq!(pond.stored(&out), expected_out);
        prop_assert_eq!(pond.stored(&plain), expected_plain);
        prop_assert_eq!(pond.rows(&last), expected_last);
    }

    /// What a table writes to a topic differs from cut to cut, but folds to the table.
    #[test]
    fn the_changes_of_a_table_fold_to_the_table(records in upserts(0..3_i32), run in runs()) {
        let (topic, changes) = (Topic::<u8, i32>::new("records").partitions(2), Topic::<u8, i32>::new("changes"));
        let graph = GraphBuilder::new();
        let table = graph.table(&topic, "table");
        table.to_stream().to_upserts(&changes);
        let again = table.to_stream().upsert_table("again");
        let puts = table.to_stream().filter(|_, upsert| matches!(upsert, Upsert::Put(_))).group_by_key().count("puts");
        let pond = Pond::fed(&graph.build()?, &inputs(&topic, &records), &run);
        let written: Vec<_> = pond.written(&changes).concat();
        let plain: Vec<(u8, Option<i32>)> = written.iter().map(|(key, value, _)| (*key, *value)).collect();
        prop_assert_eq!(&table_of(&plain), &table_of(&records));
        prop_assert_eq!(&pond.rows(&again), &table_of(&records));
        // A fold is told of every update, wherever epochs were cut, but for those that change nothing.
        let mut rows = std::collections::BTreeMap::new();
        let mut updated = std::collections::BTreeMap::<u8, u64>::new();
        for (key, value) in &records {
            if rows.insert(*key, *value).flatten() != *value && value.is_some() {
                *updated.entry(*key).or_default() += 1;
            }
        }
        prop_assert_eq!(pond.rows(&puts), updated);
        prop_assert!(written.is_sorted_by_key(|(_, _, ms)| *ms), "a change has the timestamp of its last update");
    }
}
