//! Where several processes share a name on a log, every record has its outputs once and in order, whoever holds the name and
//! however often that changes; and all processes have the same tables.
//!
//! Method: `support/src/own_log/process.rs`, whose commits come late and whose holders find out late that another one has taken
//! over, as a process does that was stopped and goes on. Random steps of three processes with a state each: records appended,
//! epochs of any size, drains, ends, take-overs, fresh states, partitions that are added. The graph numbers all records as it comes upon them, so that it
//! can tell any order from any other, and says so in its output; a second one appends only some and cannot tell. The output is read
//! as strangers do: what is not committed is not there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::changelog::backend::{Commit, Role};
use millpond::changelog::prelude::*;
use millpond::changelog::{Changelog, TopicConfig};
use millpond::store::MemoryStore;
use millpond::stream::Emit;
use millpond::{
    Engine, ErrorKind, FailurePolicy, Graph, GraphBuilder, Health, Process, Stepper, StoredTable,
    TableOptions, Topic, TopicPartition,
};
use millpond_support::environment::{rounds, seed};
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NAME: &str = "millpond";
const PROCESSES: usize = 3;
const VERSIONS: u32 = 3;

/// The same graph with each version of its table.
type Cases = Vec<Case>;

fn orders() -> Topic<u8, u64> {
    Topic::new("orders")
}

fn seen() -> Topic<u8, (u64, u64)> {
    Topic::new("seen").partitions(1)
}

/// Numbers what it comes upon.
struct Numbered;

impl Process<u8, u64> for Numbered {
    type State = u64;
    type OutKey = u8;
    type OutValue = (u64, u64);

    fn process(&self, key: &u8, value: u64, state: &mut Option<u64>, emit: &mut Emit<u8, (u64, u64)>) {
        if value % 11 == 7 {
            return emit.fail("bad luck");
        }
        let number = state.unwrap_or_default();
        *state = Some(number + 1);
        emit.push(*key, (number, value));
    }
}

/// A graph, and its table of everything.
struct Case {
    graph: Graph,
    all: StoredTable<u8, Vec<u64>>,
}

/// One that can tell how records of several partitions follow each other; with a version of the table of everything, which is
/// built anew where it is raised.
fn telling(version: u32) -> Case {
    let graph = GraphBuilder::new();
    let all = graph.stream(&orders()).re_key(|_, _| 0_u8);
    let (numbered, _) = all.process("numbers", Numbered);
    numbered.to(&seen());
    let all = numbered.group_by_key().fold(
        TableOptions::from("all").version(version),
        Vec::new,
        |list, _, (_, value)| list.push(value),
    );
    Case { graph: graph.build().unwrap(), all }
}

/// One that cannot, and has outputs for some records only.
fn blind(version: u32) -> Case {
    let graph = GraphBuilder::new();
    let (numbered, _) = graph.stream(&orders()).process("numbers", Numbered);
    numbered.filter(|_, (_, value)| value % 3 == 0).to(&seen());
    let all = numbered.group_by_key().fold(
        TableOptions::from("all").version(version),
        Vec::new,
        |list, _, (_, value)| list.push(value),
    );
    Case { graph: graph.build().unwrap(), all }
}

/// A process: its end of the log, its state, and the engine if it runs.
struct Member {
    log: Arc<OwnLog>,
    store: Arc<MemoryStore>,
    stepper: Option<Stepper>,
    version: u32,
}

impl Member {
    fn new(log: Arc<OwnLog>) -> Self {
        Self { log, store: Arc::default(), stepper: None, version: 1 }
    }

    fn stepper(&mut self, cases: &Cases) -> &mut Stepper {
        let (log, store) = (self.log.clone(), self.store.clone());
        let graph = &cases[self.version as usize - 1].graph;
        self.stepper.get_or_insert_with(|| {
            let builder = Engine::builder(graph).store(store).changelog(log).shards(2);
            builder.on_failure(FailurePolicy::DeadLetter("letters".into())).stepper().unwrap()
        })
    }

    /// It is killed, and will be another process.
    fn end(&mut self) {
        self.stepper = None;
        self.log = self.log.process();
    }

    fn all(&mut self, cases: &Cases) -> BTreeMap<u8, Vec<u64>> {
        let all = &cases[self.version as usize - 1].all;
        let view = self.stepper(cases).view(all).unwrap();
        assert!(view.is_live());
        view.scan().unwrap().map(Result::unwrap).collect()
    }

    /// Folds and commits all that there is.
    fn run(&mut self, cases: &Cases) {
        let log = self.log.clone();
        let stepper = self.stepper(cases);
        let count = log.partitions("orders").unwrap().unwrap();
        let all = (0..count).map(|number| records::partition(&orders(), number));
        let ends: millpond::Position = all.map(|id| (id.clone(), log.offsets(&id).unwrap().end)).collect();
        for _ in 0..2_000 {
            stepper.epoch(100).unwrap();
            let committed = log.commit(NAME, Duration::ZERO).unwrap() == Commit::Done;
            if committed && stepper.position().includes(&ends) && !stepper.is_building() {
                return;
            }
        }
        let marks = log.epochs_after(NAME, &stepper.position()).unwrap();
        panic!(
            "at {} it does not come to {ends}; {:?} {:?}",
            stepper.position(),
            log.role(NAME),
            marks.first()
        );
    }
}

/// A random life of three processes, and what is left of it.
fn live(cases: &Cases, random: &mut Random) -> (Vec<Member>, Vec<u64>) {
    let first = OwnLog::shared(random.number());
    first.create_topic("orders", &TopicConfig::default().partitions(3)).unwrap();
    let (mut partitions, mut homes) = (3, BTreeMap::new());
    let mut members: Vec<_> = (0..PROCESSES).map(|_| Member::new(first.process())).collect();
    let mut appended = Vec::new();
    members[0].stepper(cases);
    for _ in 0..120 {
        let member = &mut members[random.index(PROCESSES)];
        match random.below(21) {
            20 if partitions < 6 => {
                partitions += 1;
                member.log.grow("orders", u32::try_from(partitions).unwrap());
            }
            0 | 1 => member.log.take_over(NAME),
            2 => {
                member.end();
                member.version = VERSIONS.min(member.version + u32::from(random.below(3) == 0));
            }
            3 => {
                member.end();
                member.store = Arc::default();
            }
            4 => member.log.delay_commits(NAME, u32::try_from(random.below(3)).unwrap()),
            5 | 6 => drop(member.log.commit(NAME, Duration::ZERO)),
            7 => drop(member.stepper(cases).drain().unwrap()),
            // Whoever has to step back meanwhile cannot yet, and makes nothing durable.
            8 => {
                member.stepper(cases);
                member.log.be_silent(true);
                member.stepper(cases).epoch(1 + random.index(6)).unwrap();
                member.stepper(cases).drain().unwrap();
                member.log.be_silent(false);
            }
            9..14 => {
                member.stepper(cases).epoch(1 + random.index(6)).unwrap();
            }
            _ => {
                // The records of a key are all in one partition.
                let key = u8::try_from(random.below(30)).unwrap();
                let home =
                    *homes.entry(key).or_insert_with(|| u32::try_from(random.below(partitions)).unwrap());
                let number = appended.len() as u64;
                let record = records::record(&orders(), &key, Some(&number));
                let at = i64::try_from(random.below(20)).unwrap();
                let id = records::partition(&orders(), home);
                records::append(&*member.log, id, vec![record.at(at)]).unwrap();
                appended.push(number);
            }
        }
    }
    let last = &mut members[random.index(PROCESSES)];
    last.log.take_over(NAME);
    last.run(cases);
    for member in &mut members {
        member.run(cases);
    }
    (members, appended)
}

/// What strangers read.
fn outputs(log: &dyn Changelog) -> Vec<(u64, u64)> {
    let records = records::read(log, &records::partition(&seen(), 0)).unwrap();
    let values = records.iter().map(|record| seen().codec().decode(record.value.as_ref().unwrap()).unwrap());
    values.collect()
}

#[test]
fn outputs_are_there_once_and_in_order_and_tables_agree() {
    outputs_are_right(seed());
}

/// Builds stood still for ever in these lives: the main task, which waited for them, had passed offsets without a record within a
/// mark of which not everything was there, and behind them there was a batch by the time that the build came to them.
#[test]
fn builds_come_to_where_the_main_task_has_passed_offsets_without_records() {
    for seed in [8_309_614_777_567_473_313, 17_592_671_326_222_992_428] {
        outputs_are_right(seed);
    }
}

fn outputs_are_right(seed: u64) {
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..rounds(100) {
        let cases: Cases = (1..=VERSIONS).map(telling).collect();
        let (mut members, appended) = live(&cases, &mut random);
        let good: Vec<u64> = appended.iter().copied().filter(|number| number % 11 != 7).collect();
        let outputs = outputs(&*members[0].log);
        let numbers: Vec<u64> = outputs.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..good.len() as u64).collect::<Vec<_>>(), "round {round}");
        let values: Vec<u64> = outputs.iter().map(|(_, value)| *value).collect();
        let expected: BTreeMap<u8, Vec<u64>> =
            if values.is_empty() { BTreeMap::new() } else { [(0, values.clone())].into() };
        for member in &mut members {
            assert_eq!(member.all(&cases), expected, "round {round}");
        }
        let mut sorted = values;
        sorted.sort_unstable();
        assert_eq!(sorted, good, "round {round}");
        let letters = records::read(&*members[0].log, &TopicPartition::new("letters", 0)).unwrap();
        assert_eq!(letters.len(), appended.len() - good.len(), "round {round}");
    }
}

#[test]
fn so_they_are_where_the_order_of_partitions_does_not_matter() {
    let seed = seed();
    println!("MILLPOND_SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..rounds(100) {
        let cases: Cases = (1..=VERSIONS).map(blind).collect();
        let (mut members, appended) = live(&cases, &mut random);
        let mut values: Vec<u64> = outputs(&*members[0].log).iter().map(|(_, value)| *value).collect();
        values.sort_unstable();
        let expected = appended.iter().copied().filter(|number| number % 11 != 7 && number % 3 == 0);
        assert_eq!(values, expected.collect::<Vec<_>>(), "round {round}");
        let tables: Vec<_> = members.iter_mut().map(|member| member.all(&cases)).collect();
        assert!(tables.iter().all(|table| *table == tables[0]), "round {round}: {tables:?}");
    }
}

/// A build at the heels of the main task once wrote letters again that stood in transactions which were not committed yet.
#[test]
fn a_letter_that_is_not_committed_yet_is_not_written_again_by_a_build() {
    let start = |log: &Arc<OwnLog>, store: &Arc<MemoryStore>, version| {
        let graph = GraphBuilder::new();
        let good = graph.stream(&orders()).try_map_values(|_, number| match number {
            7 => Err("bad luck"),
            good => Ok(good),
        });
        good.to(&Topic::<u8, u64>::new("good").partitions(1));
        let count = TableOptions::from("count").version(version);
        good.group_by_key().fold(count, || 0_u64, |count, _, _| *count += 1);
        let builder = Engine::builder(&graph.build().unwrap()).store(store.clone()).changelog(log.clone());
        builder.on_failure(FailurePolicy::DeadLetter("letters".into())).stepper().unwrap()
    };
    let (first, store) = (OwnLog::shared(5), Arc::default());
    first.create_topic("orders", &TopicConfig::default()).unwrap();
    let append = |number: u64| {
        let record = records::record(&orders(), &1, Some(&number)).at(0);
        records::append(&*first, records::partition(&orders(), 0), vec![record]).unwrap();
    };
    append(1);
    first.take_over(NAME);
    let mut stepper = start(&first, &store, 1);
    for _ in 0..10 {
        stepper.epoch(10).unwrap();
    }
    assert!(stepper.drain().unwrap());
    drop(stepper);
    let second = first.process();
    second.take_over(NAME);
    let mut stepper = start(&second, &store, 2);
    assert!(stepper.is_building());
    append(7);
    // The log takes its time.
    second.delay_commits(NAME, u32::MAX);
    for _ in 0..20 {
        stepper.epoch(10).unwrap();
    }
    assert!(stepper.is_building());
    second.delay_commits(NAME, 0);
    for _ in 0..20 {
        stepper.epoch(10).unwrap();
    }
    assert!(!stepper.is_building());
    second.commit(NAME, Duration::ZERO).unwrap();
    let letters = records::read(&*first, &TopicPartition::new("letters", 0)).unwrap();
    assert_eq!(letters.len(), 1);
}

/// A holder that finds out that another has taken over goes on as a follower; its tables answer once they stand where they
/// stood, and what waits for what was taken back is told then.
#[test]
fn an_engine_that_was_fenced_follows() {
    let case = telling(1);
    let first = OwnLog::shared(3);
    let second = first.process();
    first.take_over(NAME);
    let start = |log: &Arc<OwnLog>| {
        let builder = Engine::builder(&case.graph).in_memory().changelog(log.clone());
        builder.drain_interval(Duration::from_secs(3600)).start().unwrap()
    };
    let one = start(&first);
    one.ready_blocking().unwrap();
    let append = |engine: &Engine, number: u64| engine.append_blocking(&orders(), &1, &number).unwrap();
    let position = append(&one, 1);
    one.wait_for_blocking(&position).unwrap();
    let view = one.view(&case.all).unwrap();
    assert_eq!(view.get(&0).unwrap(), Some(vec![1]), "published before it is committed");
    let mut changes = view.changes().unwrap().1;
    let other = start(&second);
    // What was not committed nobody else sees, and the follower waits.
    assert_eq!(
        other.view(&case.all).unwrap().get(&0).err().map(|error| error.kind()),
        Some(ErrorKind::Unavailable)
    );
    second.take_over(NAME);
    other.wait_for_blocking(&position).unwrap();
    assert_eq!(one.drain_blocking().unwrap_err().kind(), ErrorKind::Unavailable);
    second.commit(NAME, Duration::ZERO).unwrap();
    let told = changes.next_blocking().unwrap().unwrap_err().to_string();
    assert!(told.contains("taken over"), "{told}");
    one.wait_for_blocking(&position).unwrap();
    assert_eq!(one.health(), Health::Running);
    let next = append(&one, 2);
    other.wait_for_blocking(&next).unwrap();
    assert_eq!(view.get(&0).unwrap(), Some(vec![1]), "it does not run ahead");
    other.drain_blocking().unwrap();
    one.wait_for_blocking(&next).unwrap();
    assert_eq!(view.get(&0).unwrap(), Some(vec![1, 2]));
    one.close_blocking().unwrap();
    other.close_blocking().unwrap();
    assert_eq!(outputs(&*first).len(), 2);
}

/// A holder that was fenced has its tables answer with what they had, as long as the log does not lead it there again: they
/// once answered nothing for as long as brokers were away.
#[test]
fn tables_of_an_engine_that_was_fenced_go_on_answering() {
    let case = telling(1);
    let first = OwnLog::shared(9);
    let second = first.process();
    first.take_over(NAME);
    let store: Arc<MemoryStore> = Arc::default();
    let builder = Engine::builder(&case.graph).store(store).changelog(first.clone());
    let one = builder.drain_interval(Duration::from_secs(3600)).start().unwrap();
    one.ready_blocking().unwrap();
    let append = |engine: &Engine, number: u64| engine.append_blocking(&orders(), &1, &number).unwrap();
    let durable = append(&one, 1);
    within(one.wait_for(&durable));
    one.drain_blocking().unwrap();
    let before = append(&one, 2);
    within(one.wait_for(&before));
    let view = one.view(&case.all).unwrap();
    let answers = |expected: &[u64], is_live: bool| {
        assert_eq!(view.get(&0).unwrap(), Some(expected.to_vec()));
        assert_eq!(view.scan().unwrap().count(), 1);
        let snapshot = one.snapshot().unwrap();
        assert_eq!(snapshot.of(&view).unwrap().get(&0).unwrap(), Some(expected.to_vec()));
        assert_eq!((one.stats().tables["all"].rows, view.is_live()), (1, is_live));
    };
    let (seen, mut changes) = view.changes().unwrap();
    drop(seen);
    let taken = one.snapshot().unwrap();
    let round = |appended: &[u64]| {
        // It begins again, and nobody marks what it had.
        second.take_over(NAME);
        let told = fenced(&one);
        assert_eq!(told.kind(), ErrorKind::Unavailable, "{told}");
        assert!(matches!(one.health(), Health::CatchingUp { .. }));
        answers(appended, false);
        assert!(one.position().includes(&before), "what it answers with");
        within(one.wait_for(&before));
        answers(appended, false);
    };
    round(&[1, 2]);
    // Nor does it if it holds once more in between.
    first.take_over(NAME);
    within(one.ready());
    answers(&[1, 2], true);
    round(&[1, 2]);
    let other = Engine::builder(&case.graph).in_memory().changelog(second.clone()).start().unwrap();
    within(one.ready());
    assert!(changes.next_blocking().unwrap().unwrap_err().to_string().contains("taken over"));
    answers(&[1, 2], true);
    let next = append(&other, 3);
    within(one.wait_for(&next));
    answers(&[1, 2, 3], true);
    one.drain_blocking().unwrap();
    let rows = taken.of(&view).unwrap();
    assert_eq!((rows.get(&0).unwrap(), rows.count()), (Some(vec![1, 2]), 1), "for good");
    one.close_blocking().unwrap();
    other.close_blocking().unwrap();
    assert_eq!(outputs(&*first).len(), 3);
}

/// What is folded anew is read from the same store: nothing of it is there before all of it is, whatever is asked for, so that nobody
/// sees a mixture, goes back in time or is told of rows that are not durable.
#[test]
fn tables_of_an_engine_that_was_fenced_do_not_mix_with_what_is_folded_anew() {
    for stale in [false, true] {
        let case = telling(1);
        let first = OwnLog::shared(11);
        let second = first.process();
        first.take_over(NAME);
        let builder = Engine::builder(&case.graph).in_memory().changelog(first.clone()).stale_reads(stale);
        let one = builder.drain_interval(Duration::from_millis(1)).start().unwrap();
        one.ready_blocking().unwrap();
        let fresh = one.snapshot().unwrap();
        first.delay_commits(NAME, u32::MAX);
        let mut all = millpond::Position::new();
        for number in [1, 2, 3] {
            all.advance_to(&one.append_blocking(&orders(), &1, &number).unwrap());
        }
        within(one.wait_for(&all));
        let view = one.view(&case.all).unwrap();
        second.take_over(NAME);
        first.delay_commits(NAME, 0);
        fenced(&one);
        let builder = Engine::builder(&case.graph).in_memory().changelog(second.clone());
        let mut other = builder.stepper().unwrap();
        // One that has marked a part of it.
        while other.view(&case.all).unwrap().get(&0).unwrap().is_none() {
            other.epoch(1).unwrap();
        }
        assert_eq!(second.commit(NAME, Duration::ZERO).unwrap(), Commit::Done);
        let part = other.position();
        let drained = one.drain();
        wait_until("what is marked is folded", || {
            one.stats().undrained_generations > 0 || one.stats().epochs > 3
        });
        for _ in 0..200 {
            assert_eq!(view.get(&0).unwrap(), Some(vec![1, 2, 3]));
            std::thread::yield_now();
        }
        assert!(!part.includes(&all));
        let error = one.drain().within(Duration::from_millis(50)).wait_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "what answers is not durable: {error}");
        for _ in 0..20 {
            other.epoch(1).unwrap();
        }
        second.commit(NAME, Duration::ZERO).unwrap();
        within(one.ready());
        assert_eq!(view.get(&0).unwrap(), Some(vec![1, 2, 3]));
        let durable = drained.within(Duration::from_secs(30)).wait_blocking().unwrap();
        assert!(durable.includes(&all), "{durable}");
        assert_eq!(fresh.of(&view).unwrap().count(), 0, "nothing was there then");
        one.close_blocking().unwrap();
    }
}

/// Numbers what it comes upon, with time for whoever takes over meanwhile.
struct Slow(Arc<AtomicU64>);

impl Process<u8, u64> for Slow {
    type State = u64;
    type OutKey = u8;
    type OutValue = u64;

    fn process(&self, key: &u8, value: u64, state: &mut Option<u64>, emit: &mut Emit<u8, u64>) {
        std::thread::park_timeout(Duration::from_millis(self.0.load(Ordering::Relaxed)));
        *state = Some(value);
        emit.push(*key, value);
    }
}

/// Once the second task had taken the place of the first one, what answered for both was closed.
#[test]
fn tables_of_an_engine_that_is_fenced_on_its_way_back_go_on_answering() {
    let graph = GraphBuilder::new();
    let slow = Arc::new(AtomicU64::new(0));
    let (numbers, _) = graph.stream(&orders()).re_key(|_, _| 0_u8).process("last", Slow(slow.clone()));
    numbers.to(&Topic::<u8, u64>::new("seen-slowly").partitions(1));
    let all = numbers.group_by_key().fold("all", Vec::new, |list, _, number| list.push(number));
    let graph = graph.build().unwrap();
    let first = OwnLog::shared(9);
    let second = first.process();
    first.take_over(NAME);
    let builder = Engine::builder(&graph).in_memory().changelog(first.clone()).epoch_records(1);
    let one = builder.drain_interval(Duration::from_secs(3600)).start().unwrap();
    one.ready_blocking().unwrap();
    let mut position = millpond::Position::new();
    for number in 1..20 {
        position.advance_to(&one.append_blocking(&orders(), &1, &number).unwrap());
    }
    within(one.wait_for(&position));
    let view = one.view(&all).unwrap();
    second.take_over(NAME);
    fenced(&one);
    wait_until("it follows", || first.role(NAME) == Role::Follower);
    slow.store(100, Ordering::Relaxed);
    first.take_over(NAME);
    wait_until("it appends", || first.committed(NAME).end > first.committed(NAME).start);
    second.take_over(NAME);
    assert_eq!(first.commit(NAME, Duration::ZERO).unwrap(), Commit::Fenced);
    wait_until("it follows again", || first.role(NAME) == Role::Follower);
    slow.store(0, Ordering::Relaxed);
    let expected: Vec<u64> = (1..20).collect();
    assert_eq!(view.get(&0).unwrap().as_ref(), Some(&expected));
    assert_eq!((view.get(&7).unwrap(), view.scan().unwrap().count()), (None, 1));
    assert_eq!(one.snapshot().unwrap().of(&view).unwrap().get(&0).unwrap().as_ref(), Some(&expected));
    let (_, mut changes) = view.changes().unwrap();
    let other = Engine::builder(&graph).in_memory().changelog(second.clone()).start().unwrap();
    within(other.ready());
    second.commit(NAME, Duration::ZERO).unwrap();
    within(one.ready());
    assert!(changes.next_blocking().unwrap().unwrap_err().to_string().contains("taken over"));
    assert_eq!(view.get(&0).unwrap(), Some(expected));
    one.close_blocking().unwrap();
    other.close_blocking().unwrap();
}

/// Rows that wait for a commit once filled the memory; then another one took over, and the thread that was to take them back waited
/// for ever that they be drained.
#[test]
fn an_engine_that_is_fenced_with_its_memory_full_steps_back() {
    let graph = GraphBuilder::new();
    graph.stream(&orders()).to(&Topic::<u8, u64>::new("copies").partitions(1));
    let large = graph.stream(&orders()).re_key(|_, number| *number).group_by_key().fold(
        "large",
        Vec::new,
        |list: &mut Vec<u8>, _, _| *list = vec![7; 4096],
    );
    let graph = graph.build().unwrap();
    let first = OwnLog::shared(9);
    let second = first.process();
    first.take_over(NAME);
    let builder = Engine::builder(&graph).in_memory().changelog(first.clone()).memory(8 << 20);
    let one = builder.drain_interval(Duration::from_millis(20)).start().unwrap();
    one.ready_blocking().unwrap();
    first.delay_commits(NAME, u32::MAX);
    let id = records::partition(&orders(), 0);
    for number in 0..3_000_u64 {
        let record = records::record(&orders(), &1, Some(&number)).at(0);
        records::append(&*first, id.clone(), vec![record]).unwrap();
    }
    let (mut last, mut since) = (0, Instant::now());
    wait_until("there is no more room", || {
        if one.stats().epochs != last {
            (last, since) = (one.stats().epochs, Instant::now());
        }
        last > 1 && since.elapsed() > Duration::from_millis(500)
    });
    assert!(!one.position().includes(&ends_of(&*first, &id)));
    second.take_over(NAME);
    first.delay_commits(NAME, 0);
    let other = Engine::builder(&graph).in_memory().changelog(second.clone()).start().unwrap();
    let all = ends_of(&*first, &id);
    for engine in [&other, &one] {
        within(engine.wait_for(&all));
        assert_eq!(engine.view(&large).unwrap().count().unwrap(), 3_000);
    }
    one.close_blocking().unwrap();
    other.close_blocking().unwrap();
}

fn ends_of(log: &dyn Changelog, id: &TopicPartition) -> millpond::Position {
    [(id.clone(), log.offsets(id).unwrap().end)].into_iter().collect()
}

fn within(wait: millpond::Wait<()>) {
    wait.within(Duration::from_secs(30)).wait_blocking().unwrap();
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// What a drain says that waits until the engine finds that it was fenced.
fn fenced(engine: &Engine) -> millpond::Error {
    loop {
        if let Err(error) = engine.drain_blocking() {
            return error;
        }
    }
}

fn quotes() -> Topic<u8, u64> {
    Topic::new("quotes")
}

fn quoted() -> Topic<u8, u64> {
    Topic::new("quoted").partitions(1)
}

/// Processes are replaced one after the other by those of a graph that reads one more topic: each is ready beside those of the old
/// one, although none of its marks names that topic, whose records wait for a holder of the new graph.
#[test]
fn a_process_of_a_newer_graph_is_ready_beside_an_older_one() {
    let old = GraphBuilder::new();
    old.stream(&orders()).to(&seen_as_they_are());
    old.stream(&orders()).group_by_key().count("counts");
    let old = old.build().unwrap();
    let new = GraphBuilder::new();
    new.stream(&orders()).to(&seen_as_they_are());
    let counts = new.stream(&orders()).group_by_key().count("counts");
    new.stream(&quotes()).to(&quoted());
    let more = new.stream(&quotes()).group_by_key().count("more");
    let new = new.build().unwrap();
    let first = OwnLog::shared(7);
    for topic in ["orders", "quotes"] {
        first.create_topic(topic, &TopicConfig::default().partitions(2)).unwrap();
    }
    let logs = [first.clone(), first.process(), first.process()];
    let stores: [Arc<MemoryStore>; 3] = Default::default();
    let start = |graph: &Graph, number: usize| {
        let builder = Engine::builder(graph).store(stores[number].clone()).changelog(logs[number].clone());
        builder.drain_interval(Duration::from_millis(20)).start().unwrap()
    };
    let append = |topic: &Topic<u8, u64>, number: u64| {
        let record = records::record(topic, &1, Some(&number)).at(0);
        records::append(&*first, records::partition(topic, 1), vec![record]).unwrap()
    };
    first.take_over(NAME);
    let holder = start(&old, 0);
    let before = append(&orders(), 1);
    append(&quotes(), 1);
    within(holder.wait_for(&before));
    // Both have a state from before.
    for number in [1, 2] {
        let follower = start(&old, number);
        within(follower.ready());
        within(follower.wait_for(&before));
        follower.close_blocking().unwrap();
    }
    let second = start(&new, 1);
    let third = start(&new, 2);
    // Whoever holds is known by what it marks.
    let after = append(&orders(), 2);
    for follower in [&second, &third] {
        within(follower.ready());
        within(follower.wait_for(&after));
        follower.catch_up().within(Duration::from_secs(30)).wait_blocking().unwrap();
        assert_eq!(follower.view(&counts).unwrap().get(&1).unwrap(), Some(2));
        assert_eq!(follower.view(&more).unwrap().get(&1).unwrap(), None, "nobody leads it there");
        let unled: Vec<String> = follower.stats().unled.iter().map(ToString::to_string).collect();
        assert_eq!(unled, ["quotes/0", "quotes/1"]);
        let error = follower.wait_for(&ends(&*first, &quotes())).within(Duration::from_millis(1));
        let error = error.wait_blocking().unwrap_err().to_string();
        assert!(error.contains("its graph is another one"), "{error}");
    }
    holder.close_blocking().unwrap();
    logs[1].take_over(NAME);
    append(&quotes(), 2);
    let all = ends(&*first, &quotes());
    for engine in [&second, &third] {
        within(engine.wait_for(&all));
        assert_eq!(engine.view(&more).unwrap().get(&1).unwrap(), Some(2));
        wait_until_led(engine);
    }
    // The last one goes on with it, and repeats nothing.
    second.close_blocking().unwrap();
    logs[2].take_over(NAME);
    append(&quotes(), 3);
    within(third.wait_for(&ends(&*first, &quotes())));
    third.close_blocking().unwrap();
    let records = records::read(&*first, &records::partition(&quoted(), 0)).unwrap();
    let values =
        records.iter().map(|record| quoted().codec().decode(record.value.as_ref().unwrap()).unwrap());
    assert_eq!(values.collect::<Vec<_>>(), [1, 2, 3]);
}

/// It is known a moment after what was not led is folded.
fn wait_until_led(engine: &Engine) {
    wait_until("it is led now", || engine.stats().unled.is_empty());
}

/// As an older graph has it.
fn seen_as_they_are() -> Topic<u8, u64> {
    Topic::new("orders-seen").partitions(1)
}

fn ends(log: &dyn Changelog, topic: &Topic<u8, u64>) -> millpond::Position {
    let ids = (0..2).map(|number| records::partition(topic, number));
    ids.map(|id| (id.clone(), log.offsets(&id).unwrap().end)).collect()
}
