//! The contract of [`Changelog`], run over every implementation.

use super::*;
use crate::ManualClock;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// An implementation under test: how to open it, and how to open it again with what it holds.
trait Subject: Sized {
    type Log: Changelog;

    fn open(clock: Arc<ManualClock>) -> Self;
    fn log(&self) -> &Self::Log;
    fn reopen(self) -> Self;
}

struct InMemory(MemoryChangelog);

impl Subject for InMemory {
    type Log = MemoryChangelog;

    fn open(clock: Arc<ManualClock>) -> Self {
        Self(MemoryChangelog::with_clock(clock))
    }

    fn log(&self) -> &MemoryChangelog {
        &self.0
    }

    fn reopen(self) -> Self {
        self.0.close().unwrap();
        Self(self.0.reopen())
    }
}

struct Embedded {
    log: Option<EmbeddedChangelog>,
    clock: Arc<ManualClock>,
    dir: TempDir,
}

impl Embedded {
    fn options(clock: Arc<ManualClock>) -> EmbeddedOptions {
        EmbeddedOptions {
            clock,
            durability: Durability::Os,
            segment_bytes: 2000,
            max_batch_bytes: 300,
            ..EmbeddedOptions::default()
        }
    }
}

impl Subject for Embedded {
    type Log = EmbeddedChangelog;

    fn open(clock: Arc<ManualClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedChangelog::open(dir.path(), Self::options(clock.clone())).unwrap();
        Self { log: Some(log), clock, dir }
    }

    fn log(&self) -> &EmbeddedChangelog {
        self.log.as_ref().unwrap()
    }

    fn reopen(mut self) -> Self {
        self.log.take().unwrap().close().unwrap();
        self.log = Some(EmbeddedChangelog::open(self.dir.path(), Self::options(self.clock.clone())).unwrap());
        self
    }
}

fn subject<S: Subject>() -> S {
    let subject = S::open(Arc::new(ManualClock::new(1_000_000)));
    subject.log().create_topic("a", &topic(2)).unwrap();
    subject.log().create_topic("b", &topic(1)).unwrap();
    subject
}

fn topic(partitions: u32) -> TopicConfig {
    TopicConfig { partitions, ..TopicConfig::default() }
}

fn a(partition: u32) -> TopicPartition {
    TopicPartition::new("a", partition)
}

fn b() -> TopicPartition {
    TopicPartition::new("b", 0)
}

fn position(offsets: &[(TopicPartition, u64)]) -> Position {
    offsets.iter().cloned().collect()
}

fn record(number: u64) -> Record {
    let filler = "x".repeat(usize::try_from(number % 50).unwrap());
    Record::new(format!("key-{number}"), format!("value-{number}-{filler}")).at(number.cast_signed())
}

fn records(numbers: Range<u64>) -> Vec<Record> {
    numbers.map(record).collect()
}

fn to(partition: TopicPartition, records: Vec<Record>) -> Vec<Append> {
    vec![Append { partition, records }]
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Everything from `offset` on, polled in small steps; asserts that offsets are dense.
fn read_from(log: &impl Changelog, partition: &TopicPartition, offset: u64, max_bytes: usize) -> Vec<Record> {
    let mut reader = log.reader(partition, offset).unwrap();
    let mut read = Vec::new();
    loop {
        let batches = reader.poll(max_bytes).unwrap();
        if batches.is_empty() {
            assert_eq!(reader.offset(), log.offsets(partition).unwrap().end);
            return read;
        }
        for batch in &batches {
            for record in batch.decode().unwrap().iter().filter(|record| record.offset >= offset) {
                assert_eq!(record.offset, offset + read.len() as u64, "{partition}");
                read.push(record.to_record());
            }
        }
        assert_eq!(reader.offset(), offset + read.len() as u64);
    }
}

fn offsets_are_dense_and_records_keep_them<S: Subject>() {
    let mut subject = subject::<S>();
    let after = subject.log().append(to(a(0), records(0..50))).wait_blocking().unwrap();
    assert_eq!(after, position(&[(a(0), 50)]));
    let after = subject.log().append(to(a(0), records(50..51))).wait_blocking().unwrap();
    assert_eq!(after, position(&[(a(0), 51)]));
    for _ in 0..2 {
        for offset in [0, 1, 17, 49, 50, 51] {
            let expected = records(offset..51);
            assert_eq!(read_from(subject.log(), &a(0), offset, 1), expected, "from {offset}");
            assert_eq!(read_from(subject.log(), &a(0), offset, 1 << 20), expected, "from {offset}");
        }
        assert_eq!(subject.log().offsets(&a(0)).unwrap(), 0..51);
        assert_eq!(subject.log().offsets(&a(1)).unwrap(), 0..0);
        subject = subject.reopen();
    }
}

fn an_append_is_all_or_nothing<S: Subject>() {
    let subject = subject::<S>();
    let unknown = [to(a(0), records(0..3)), to(a(2), records(0..1))].concat();
    assert_eq!(kind(subject.log().append(unknown).wait_blocking()), ErrorKind::Invalid);
    let too_large =
        [to(b(), records(0..3)), to(a(0), vec![Record::new(vec![0; MAX_KEY_BYTES + 1], "")])].concat();
    assert_eq!(kind(subject.log().append(too_large).wait_blocking()), ErrorKind::Invalid);
    assert_eq!(subject.log().offsets(&a(0)).unwrap(), 0..0);
    assert_eq!(subject.log().offsets(&b()).unwrap(), 0..0);

    let both =
        [to(a(0), records(0..3)), to(b(), records(3..5)), to(a(0), records(5..6)), to(a(1), vec![])].concat();
    let after = subject.log().append(both).wait_blocking().unwrap();
    assert_eq!(after, position(&[(a(0), 4), (a(1), 0), (b(), 2)]));
    assert_eq!(read_from(subject.log(), &a(0), 0, 1), [records(0..3), records(5..6)].concat());
    assert_eq!(read_from(subject.log(), &b(), 0, 1), records(3..5));
    assert_eq!(subject.log().append(vec![]).wait_blocking().unwrap(), Position::new());
}

fn topics_are_created_once<S: Subject>() {
    let subject = subject::<S>();
    let again = TopicConfig { partitions: 2, retention_bytes: Some(9), retention_age: None };
    subject.log().create_topic("a", &again).unwrap();
    assert_eq!(kind(subject.log().create_topic("a", &topic(3))), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().create_topic("", &topic(1))), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().create_topic(&"x".repeat(250), &topic(1))), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().create_topic("c", &topic(0))), ErrorKind::Invalid);
    let subject = subject.reopen();
    assert_eq!(subject.log().topics().unwrap(), [("a".into(), 2), ("b".into(), 1)]);
}

fn only_who_decides_changes_the_retention<S: Subject>() {
    let mut subject = S::open(Arc::new(ManualClock::new(1_000_000)));
    let tiny = TopicConfig { retention_bytes: Some(0), ..topic(1) };
    let trims = |subject: &S| {
        subject.log().enforce_retention().unwrap();
        let Range { start, end } = subject.log().offsets(&b()).unwrap();
        start == end
    };
    // Created by whoever appends to it first.
    subject.log().ensure_topic("b", &topic(1)).unwrap();
    subject.log().append(to(b(), records(0..20))).wait_blocking().unwrap();
    // The embedded log never drops the segment that it writes.
    subject = subject.reopen();
    subject.log().ensure_topic("b", &tiny).unwrap();
    assert!(!trims(&subject), "an append decided what is kept");
    subject.log().create_topic("b", &tiny).unwrap();
    subject.log().ensure_topic("b", &topic(1)).unwrap();
    subject = subject.reopen();
    subject.log().ensure_topic("b", &topic(1)).unwrap();
    assert!(trims(&subject), "an append decided what is kept");

    assert_eq!(kind(subject.log().ensure_topic("b", &topic(2))), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().ensure_topic("", &topic(1))), ErrorKind::Invalid);
    subject.log().close().unwrap();
    assert_eq!(kind(subject.log().ensure_topic("b", &topic(1))), ErrorKind::Closed);
    assert_eq!(kind(subject.log().create_topic("b", &tiny)), ErrorKind::Closed);
}

fn readers_know_where_a_partition_begins_and_ends<S: Subject>() {
    let subject = subject::<S>();
    subject.log().append(to(a(0), records(0..3))).wait_blocking().unwrap();
    assert_eq!(kind(subject.log().reader(&a(0), 4).map(drop)), ErrorKind::AheadOfChangelog);
    assert_eq!(kind(subject.log().reader(&a(7), 0).map(drop)), ErrorKind::Invalid);
    assert_eq!(kind(subject.log().offsets(&TopicPartition::new("c", 0))), ErrorKind::Invalid);
    let mut reader = subject.log().reader(&a(0), 3).unwrap();
    assert!(reader.poll(100).unwrap().is_empty());
    subject.log().append(to(a(0), records(3..4))).wait_blocking().unwrap();
    assert_eq!(reader.poll(100).unwrap().len(), 1);
    assert_eq!(reader.offset(), 4);
}

fn an_epoch_is_appended_once<S: Subject>() {
    let mark = |from, to| EpochMark { from: position(&[(b(), from)]), to: position(&[(b(), to)]) };
    let mut subject = subject::<S>();
    assert!(subject.log().append_epoch("p", &mark(0, 5), to(a(0), records(0..2))).unwrap());
    assert!(subject.log().append_epoch("p", &mark(6, 9), to(a(0), records(2..3))).unwrap());
    assert!(subject.log().append_epoch("q", &mark(0, 5), to(a(1), records(0..1))).unwrap());
    subject.log().sync().unwrap();
    for _ in 0..2 {
        subject = subject.reopen();
        assert!(!subject.log().append_epoch("p", &mark(0, 5), to(a(0), records(0..2))).unwrap());
        assert!(!subject.log().append_epoch("p", &mark(6, 9), to(a(0), records(2..3))).unwrap());
        assert_eq!(kind(subject.log().append_epoch("p", &mark(8, 12), vec![])), ErrorKind::Invalid);
        assert_eq!(read_from(subject.log(), &a(0), 0, 1000), records(0..3));
        let after = |offset| subject.log().epochs_after("p", &position(&[(b(), offset)])).unwrap();
        assert_eq!(after(0), [mark(0, 5), mark(6, 9)]);
        assert_eq!(after(5), [mark(6, 9)]);
        assert_eq!(after(9), []);
    }
    // A hold of the producer forgets the marks behind it, and the last mark still tells old from new.
    subject.log().hold("p", &position(&[(b(), 9)])).unwrap();
    let subject = subject.reopen();
    assert_eq!(subject.log().epochs_after("p", &Position::new()).unwrap(), [mark(6, 9)]);
    assert!(!subject.log().append_epoch("p", &mark(6, 9), to(a(0), records(2..3))).unwrap());
    assert!(subject.log().append_epoch("p", &mark(9, 10), to(a(0), records(3..4))).unwrap());
    assert_eq!(read_from(subject.log(), &a(0), 0, 1000), records(0..4));
}

fn nothing_held_is_trimmed<S: Subject>() {
    let clock = Arc::new(ManualClock::new(0));
    let mut subject = S::open(clock.clone());
    let brief = TopicConfig { retention_age: Some(Duration::from_millis(10)), ..topic(2) };
    subject.log().create_topic("a", &brief).unwrap();
    subject.log().create_topic("b", &topic(1)).unwrap();
    for number in 0..200 {
        subject.log().append(to(a(0), records(number..number + 1))).wait_blocking().unwrap();
        subject.log().append(to(b(), records(number..number + 1))).wait_blocking().unwrap();
    }
    let start = |subject: &S| subject.log().offsets(&a(0)).unwrap().start;
    subject.log().enforce_retention().unwrap();
    assert_eq!(start(&subject), 0, "nothing is old yet");

    clock.advance(1_000_000);
    subject.log().hold("one", &position(&[(a(0), 120), (a(1), 0)])).unwrap();
    subject.log().hold("two", &position(&[(a(0), 80)])).unwrap();
    subject.log().hold("other", &position(&[(b(), 0)])).unwrap();
    subject = subject.reopen();
    subject.log().enforce_retention().unwrap();
    let first = start(&subject);
    assert!(first > 0 && first <= 80, "{first}");
    assert_eq!(read_from(subject.log(), &a(0), 80, 1), records(80..200));
    assert_eq!(kind(subject.log().reader(&a(0), first - 1).map(drop)), ErrorKind::BehindChangelog);
    assert_eq!(
        read_from(subject.log(), &b(), 0, 1),
        records(0..200),
        "a topic without retention keeps everything"
    );

    subject.log().hold("two", &Position::new()).unwrap();
    subject = subject.reopen();
    subject.log().enforce_retention().unwrap();
    let second = start(&subject);
    assert!(second > first && second <= 120, "{second}");
    subject = subject.reopen();
    assert_eq!(start(&subject), second);
    assert_eq!(read_from(subject.log(), &a(0), second, 1), records(second..200));
    subject.log().append(to(a(0), records(200..201))).wait_blocking().unwrap();
    assert_eq!(read_from(subject.log(), &a(0), second, 1), records(second..201));
}

fn an_emptied_partition_keeps_its_offsets<S: Subject>() {
    let mut subject = S::open(Arc::new(ManualClock::new(1_000_000)));
    let tiny = TopicConfig { retention_bytes: Some(0), ..topic(1) };
    subject.log().create_topic("b", &tiny).unwrap();
    assert_eq!(subject.log().stored_bytes().unwrap(), Some(0));
    subject.log().append(to(b(), records(0..20))).wait_blocking().unwrap();
    let stored = subject.log().stored_bytes().unwrap();
    assert!(stored.is_some_and(|bytes| bytes > 200), "{stored:?}");
    // The embedded log never drops the segment that it writes.
    subject = subject.reopen();
    assert_eq!(subject.log().stored_bytes().unwrap(), stored);
    assert_eq!(Some(subject.log().enforce_retention().unwrap()), stored);
    assert_eq!(subject.log().stored_bytes().unwrap(), Some(0));
    assert_eq!(subject.log().offsets(&b()).unwrap(), 20..20);
    subject = subject.reopen();
    assert_eq!(subject.log().offsets(&b()).unwrap(), 20..20);
    assert_eq!(
        subject.log().append(to(b(), records(20..22))).wait_blocking().unwrap(),
        position(&[(b(), 22)])
    );
    subject = subject.reopen();
    assert_eq!(read_from(subject.log(), &b(), 20, 1), records(20..22));
}

fn a_closed_changelog_says_so<S: Subject>() {
    let subject = subject::<S>();
    let log = subject.log();
    let mut reader = log.reader(&a(0), 0).unwrap();
    let wakes = Arc::new(AtomicUsize::new(0));
    let on_wake: Waker = {
        let wakes = wakes.clone();
        Arc::new(move || {
            wakes.fetch_add(1, Ordering::SeqCst);
        })
    };
    log.watch(Arc::downgrade(&on_wake));
    log.append(to(a(0), records(0..1))).wait_blocking().unwrap();
    assert_eq!(wakes.load(Ordering::SeqCst), 1, "woken before it is acknowledged");
    log.room().wait_blocking();
    log.close().unwrap();
    log.close().unwrap();
    assert!(wakes.load(Ordering::SeqCst) > 1);
    assert_eq!(kind(log.append(to(a(0), records(0..1))).wait_blocking()), ErrorKind::Closed);
    assert_eq!(kind(reader.poll(1)), ErrorKind::Closed);
    assert_eq!(kind(log.topics()), ErrorKind::Closed);
    assert_eq!(kind(log.offsets(&a(0))), ErrorKind::Closed);
    assert_eq!(kind(log.epochs_after("p", &Position::new())), ErrorKind::Closed);
    assert_eq!(kind(log.sync()), ErrorKind::Closed);
    assert_eq!(kind(log.stored_bytes()), ErrorKind::Closed);
    assert_eq!(kind(log.hold("c", &Position::new())), ErrorKind::Closed);
    log.room().wait_blocking();
}

/// A step of the model test.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u32, Vec<Record>)>),
    Epoch(u32, Vec<Record>),
    Replay,
    Read(u32, prop::sample::Index, usize),
    Reopen,
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0_u64..1000).prop_map(record);
    let some = move |most| proptest::collection::vec(record.clone(), 0..most);
    let step = prop_oneof![
        4 => proptest::collection::vec((0..2_u32, some(12)), 1..3).prop_map(Step::Append),
        2 => (0..2_u32, some(5)).prop_map(|(partition, records)| Step::Epoch(partition, records)),
        1 => Just(Step::Replay),
        3 => (0..2_u32, any::<prop::sample::Index>(), 1..2000_usize).prop_map(|(p, at, bytes)| Step::Read(p, at, bytes)),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..25)
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

fn all_records_are_one_sequence<S: Subject>() {
    let mut subject = subject::<S>();
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

fn whoever_follows_the_sequence_learns_where_to_look<S: Subject>() {
    let mut subject = subject::<S>();
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

/// Random steps against plain vectors.
fn behaves_as_a_vector<S: Subject>(steps: Vec<Step>) {
    let mark = |number| EpochMark { from: position(&[(b(), number)]), to: position(&[(b(), number + 1)]) };
    let mut subject = subject::<S>();
    let mut model = [Vec::new(), Vec::new()];
    let mut epochs = 0;
    for step in steps {
        match step {
            Step::Append(appends) => {
                let mut after = Position::new();
                for (partition, records) in &appends {
                    model[*partition as usize].extend(records.clone());
                    after.set(a(*partition), model[*partition as usize].len() as u64);
                }
                let appends =
                    appends.into_iter().map(|(p, records)| Append { partition: a(p), records }).collect();
                assert_eq!(subject.log().append(appends).wait_blocking().unwrap(), after);
            }
            Step::Epoch(partition, records) => {
                model[partition as usize].extend(records.clone());
                assert!(subject.log().append_epoch("p", &mark(epochs), to(a(partition), records)).unwrap());
                epochs += 1;
            }
            Step::Replay if epochs > 0 => {
                assert!(
                    !subject.log().append_epoch("p", &mark(epochs - 1), to(a(0), records(0..1))).unwrap()
                );
            }
            Step::Replay => {}
            Step::Read(partition, at, max_bytes) => {
                let expected = &model[partition as usize];
                let from = at.index(expected.len() + 1);
                assert_eq!(read_from(subject.log(), &a(partition), from as u64, max_bytes), expected[from..]);
            }
            Step::Reopen => subject = subject.reopen(),
        }
    }
    for (partition, expected) in (0..).zip(&model) {
        assert_eq!(read_from(subject.log(), &a(partition), 0, 500), *expected);
    }
}

fn a_topic_remembers_what_it_holds<S: Subject>() {
    let subject = subject::<S>();
    let holds = |topic: crate::Topic<u8, u64>| topic.declared().unwrap().clone();
    let (numbers, raised) = (holds(crate::Topic::new("a")), holds(crate::Topic::new("a").revision(1)));
    let texts = crate::Topic::<u8, String>::new("a").declared().unwrap().clone();
    let log = subject.log();
    assert_eq!(kind(log.declare_type("nowhere", &numbers)), ErrorKind::Invalid);
    assert_eq!(log.topic_type("a").unwrap(), None);
    log.declare_type("a", &numbers).unwrap();
    log.declare_type("b", &TopicType::mixed()).unwrap();
    let error = log.declare_type("a", &texts).unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.message().contains("topic `a`"), "{error}");
    let subject = subject.reopen();
    let log = subject.log();
    let with_retention = TopicConfig { retention_bytes: Some(1), ..topic(2) };
    log.create_topic("a", &with_retention).unwrap();
    assert_eq!(log.topic_type("a").unwrap(), Some(numbers.clone()));
    assert_eq!(log.topic_type("b").unwrap(), Some(TopicType::mixed()));
    assert_eq!(kind(log.declare_type("a", &texts)), ErrorKind::Invalid);
    log.declare_type("b", &texts).unwrap();
    log.declare_type("a", &raised).unwrap();
    let subject = subject.reopen();
    assert_eq!(subject.log().topic_type("a").unwrap(), Some(raised));
    assert_eq!(subject.log().topic_type("nowhere").unwrap(), None);
    subject.log().close().unwrap();
    assert_eq!(kind(subject.log().topic_type("a")), ErrorKind::Closed);
    assert_eq!(kind(subject.log().declare_type("a", &numbers)), ErrorKind::Closed);
}

macro_rules! contract {
    ($implementation:ident: $subject:ty, $($guarantee:ident)*) => {
        mod $implementation {
            use super::*;

            $(#[test] fn $guarantee() { super::$guarantee::<$subject>(); })*

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(24))]
                #[test]
                fn behaves_as_a_vector(steps in any_steps()) {
                    super::behaves_as_a_vector::<$subject>(steps);
                }
            }
        }
    };
    ($($implementation:ident: $subject:ty;)*) => {
        $(contract! { $implementation: $subject,
            offsets_are_dense_and_records_keep_them
            an_append_is_all_or_nothing
            topics_are_created_once
            a_topic_remembers_what_it_holds
            only_who_decides_changes_the_retention
            readers_know_where_a_partition_begins_and_ends
            an_epoch_is_appended_once
            all_records_are_one_sequence
            whoever_follows_the_sequence_learns_where_to_look
            nothing_held_is_trimmed
            an_emptied_partition_keeps_its_offsets
            a_closed_changelog_says_so
        })*
    };
}

contract! {
    in_memory: InMemory;
    embedded: Embedded;
}

#[test]
fn a_crash_in_memory_takes_back_what_was_not_synced() {
    let mark = |from, to| EpochMark { from: position(&[(b(), from)]), to: position(&[(b(), to)]) };
    let log = subject::<InMemory>().0;
    log.append_epoch("p", &mark(0, 1), to(a(0), records(0..1))).unwrap();
    log.sync().unwrap();
    log.append_epoch("p", &mark(1, 2), to(a(0), records(1..2))).unwrap();
    let after = log.crash();
    assert_eq!(kind(log.topics()), ErrorKind::Closed);
    assert_eq!(read_from(&after, &a(0), 0, 100), records(0..1));
    assert!(!after.append_epoch("p", &mark(0, 1), vec![]).unwrap());
    assert!(after.append_epoch("p", &mark(1, 2), to(a(0), records(1..2))).unwrap());
}
