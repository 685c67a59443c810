//! Readers know where a partition begins and ends, and the log tells the order of all records.

use super::*;

pub fn a_log_says_what_it_can_do<S: Subject>() {
    let subject = subject::<S>();
    let abilities = subject.log().abilities();
    assert_eq!(abilities.one_sequence, subject.log().appended(0).unwrap().is_some());
    // The sequence is told by offsets.
    assert!(abilities.dense_offsets || !abilities.one_sequence);
    assert_eq!(abilities.missing().is_empty(), abilities == Abilities::all());
    assert!(!subject.log().description().is_empty());
}

pub fn readers_know_where_a_partition_begins_and_ends<S: Subject>() {
    let subject = subject::<S>();
    subject.log().append(to(a(0), records(0..3))).wait_blocking().unwrap();
    assert_eq!(kind(subject.log().reader(&a(0), 4).map(drop)), ErrorKind::AheadOfChangelog);
    assert_eq!(kind(subject.log().reader(&a(7), 0).map(drop)), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().offsets(&TopicPartition::new("c", 0))), ErrorKind::Invalid);
    let mut reader = subject.log().reader(&a(0), 3).unwrap();
    assert!(reader.poll(100).unwrap().is_empty());
    subject.log().append(to(a(0), records(3..4))).wait_blocking().unwrap();
    assert_eq!(arrived(&mut *reader), records(3..4));
    assert_eq!(reader.offset(), 4);
    // What was heard last may be old, and is never ahead.
    let heard = subject.log().heard_offsets(&a(0)).unwrap();
    let now = ends(subject.log(), &a(0));
    assert!(heard.start <= now.start && heard.end <= now.end, "{heard:?} {now:?}");
}

/// What the next poll has, once it has something.
fn arrived(reader: &mut dyn PartitionReader) -> Vec<Record> {
    for _ in 0..100 {
        let batches = reader.poll(1000).unwrap();
        if !batches.is_empty() {
            let decoded = batches.iter().map(|batch| batch.decode().unwrap());
            return decoded
                .flat_map(|batch| batch.iter().map(|record| record.to_record()).collect::<Vec<_>>())
                .collect();
        }
        reader.wait(Duration::from_millis(300)).unwrap();
    }
    panic!("nothing has arrived");
}

/// Two readers of one partition, one of which stands at the end, and a third that is not polled at all.
pub fn who_reads_one_partition_does_not_hinder_others<S: Subject>() {
    let subject = subject::<S>();
    let log = subject.log();
    log.append(to(a(0), records(0..40))).wait_blocking().unwrap();
    log.append(to(a(1), records(0..40))).wait_blocking().unwrap();
    let _idle = log.reader(&a(1), 0).unwrap();
    let mut at_the_end = log.reader(&a(0), ends(log, &a(0)).end).unwrap();
    assert!(at_the_end.poll(1000).unwrap().is_empty());
    assert_eq!(read_from(log, &a(0), 0, 1), records(0..40));
    assert_eq!(read_from(log, &a(1), 0, 1000), records(0..40));
    log.append(to(a(0), records(40..41))).wait_blocking().unwrap();
    assert_eq!(arrived(&mut *at_the_end), records(40..41));
    assert_eq!(read_from(log, &a(0), 0, 1), records(0..41));
}

/// The sequence numbers of a partition's records.
fn places_of(log: &impl Changelog, partition: &TopicPartition) -> Vec<u64> {
    let mut reader = log.reader(partition, log.offsets(partition).unwrap().start).unwrap();
    let mut places = Vec::new();
    loop {
        let batches = reader.poll(1000).unwrap();
        if batches.is_empty() {
            return places;
        }
        for batch in batches {
            places.extend(batch.runs().unwrap().unwrap().iter().flat_map(|run| run.sequence..run.end()));
        }
    }
}

/// All records in the order of their appends, by partition and offset.
fn order_of(log: &impl Changelog) -> Vec<(TopicPartition, u64)> {
    let mut order = BTreeMap::new();
    for partition in [a(0), a(1), b()] {
        let places = places_of(log, &partition);
        for (place, offset) in places.iter().zip(log.offsets(&partition).unwrap()) {
            assert_eq!(order.insert(*place, (partition.clone(), offset)), None, "{place} was given twice");
        }
    }
    let end = log.appended(0).unwrap().unwrap().end;
    assert!(order.last_key_value().is_none_or(|(last, _)| *last < end), "a record lies past the end");
    order.into_values().collect()
}

pub fn all_records_are_one_sequence<S: Subject>() {
    let mut subject = subject::<S>();
    if !subject.log().abilities().one_sequence {
        return;
    }
    let mut expected = Vec::new();
    let mut next = BTreeMap::new();
    for round in 0..3_u64 {
        // Queued without a wait in between, so that the embedded log puts them together into batches.
        let mut acks = Vec::new();
        for number in 0..60 {
            let to_one = |partition| Append { partition, records: records(number..number + 1 + number % 3) };
            let appends = match number % 5 {
                0 => vec![to_one(b())],
                1 => vec![to_one(a(1)), to_one(a(0)), to_one(a(1))],
                _ => vec![to_one(a(0))],
            };
            for Append { partition, records } in &appends {
                for _ in records {
                    let offset: &mut u64 = next.entry(partition.clone()).or_default();
                    expected.push((partition.clone(), *offset));
                    *offset += 1;
                }
            }
            acks.push(subject.log().append(appends));
        }
        for ack in acks {
            ack.wait_blocking().unwrap();
        }
        let mark = EpochMark { from: position(&[(b(), round)]), to: position(&[(b(), round + 1)]) };
        assert!(subject.log().append_epoch("p", &mark, to(a(1), records(0..2))).unwrap());
        let offset = next.entry(a(1)).or_default();
        expected.extend([(a(1), *offset), (a(1), *offset + 1)]);
        *offset += 2;
        assert_eq!(order_of(subject.log()), expected);
        subject = subject.reopen();
        assert_eq!(order_of(subject.log()), expected);
    }
}

pub fn whoever_follows_the_sequence_learns_where_to_look<S: Subject>() {
    let mut subject = subject::<S>();
    if !subject.log().abilities().one_sequence {
        return;
    }
    let appended = |subject: &S, since| {
        let Appended { end, mut partitions } = subject.log().appended(since).unwrap().unwrap();
        partitions.sort();
        (end, partitions)
    };
    let (empty, none) = appended(&subject, 0);
    assert!(none.is_empty());
    subject.log().append([to(a(1), records(0..3)), to(b(), records(0..1))].concat()).wait_blocking().unwrap();
    let (first, both) = appended(&subject, empty);
    assert_eq!(both, [a(1), b()]);
    assert_eq!(appended(&subject, first), (first, vec![]));
    subject.log().append(to(b(), records(1..2))).wait_blocking().unwrap();
    let (second, one) = appended(&subject, first);
    assert_eq!(one, [b()]);
    assert_eq!(appended(&subject, empty), (second, both.clone()));
    subject = subject.reopen();
    let (reopened, all) = appended(&subject, empty);
    assert!(reopened >= second, "numbers are never used twice");
    assert_eq!(all, both);
    subject.log().close().unwrap();
    assert_eq!(kind(subject.log().appended(0)), ErrorKind::Closed);
}
