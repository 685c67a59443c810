//! A record whose schema is not there yet is waited for, and nothing is lost.
//!
//! Property: where a codec says that something has to be fetched before it can decode a record, the tables become what they would
//! be if it had been there from the start, whatever else happens: it is away for a while, the engine is closed or crashes
//! meanwhile, records that fail become dead letters, tables are being built, outputs were appended before. No such record becomes
//! a dead letter, reads go on, and nothing is fetched within a fold.
//!
//! Method: a codec whose values are numbers of words, with a dictionary that tests take away, bring back and make wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::{MemoryChangelog, Record, prelude::*};
use millpond::codec::{Awaited, CodecError, ValueCodec};
use millpond::store::MemoryStore;
use millpond::testing::{Driver, Settings};
use millpond::{
    Engine, Error, ErrorKind, FailurePolicy, Graph, GraphBuilder, Health, Result, StoredTable, TableOptions,
    Topic, TopicPartition,
};
use millpond_support::random::Random;
use millpond_support::waiting::Weir;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// Words by their numbers, kept elsewhere.
#[derive(Debug, Default)]
struct Dictionary {
    /// `None` while it is away.
    words: Mutex<Option<BTreeMap<u8, String>>>,
    /// What keeps it from answering beyond that.
    refusal: Mutex<Option<ErrorKind>>,
    /// Words that were fetched; `None` if there is none with that number.
    known: Mutex<BTreeMap<u8, Option<String>>>,
    wanted: Mutex<BTreeMap<u8, Arc<Word>>>,
    fetched: Mutex<Vec<u8>>,
    asked_in: Mutex<Vec<String>>,
    slow: Option<Weir>,
}

#[derive(Debug)]
struct Word {
    number: u8,
    of: Arc<Dictionary>,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "word {} of the dictionary", self.number)
    }
}

impl Awaited for Word {
    fn fetch(&self) -> Result<()> {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.of.asked_in.lock().unwrap().push(thread);
        if let Some(slow) = &self.of.slow {
            slow.pass();
        }
        if let Some(kind) = *self.of.refusal.lock().unwrap() {
            return Err(Error::new(kind, "the dictionary does not let anyone in; give it a password"));
        }
        let words = self.of.words.lock().unwrap();
        let words = words.as_ref().ok_or_else(|| Error::unavailable("the dictionary is away"))?;
        self.of.known.lock().unwrap().insert(self.number, words.get(&self.number).cloned());
        self.of.fetched.lock().unwrap().push(self.number);
        Ok(())
    }
}

#[derive(Clone)]
struct ByNumber(Arc<Dictionary>);

impl ValueCodec<String> for ByNumber {
    fn id(&self) -> &'static str {
        "words"
    }

    fn encode(&self, _: &String, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Err(CodecError::new("words are only read"))
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, CodecError> {
        let [number] = bytes else { return Err(CodecError::new("not the number of a word")) };
        let unknown = || CodecError::new(format!("there is no word {number}"));
        if let Some(word) = self.0.known.lock().unwrap().get(number) {
            return word.clone().ok_or_else(unknown);
        }
        let mut wanted = self.0.wanted.lock().unwrap();
        let word =
            wanted.entry(*number).or_insert_with(|| Arc::new(Word { number: *number, of: self.0.clone() }));
        Err(CodecError::awaits(word.clone()))
    }

    fn awaits(&self) -> bool {
        true
    }
}

const WORDS: [&str; 4] = ["tea", "jam", "bun", "pie"];

impl Dictionary {
    fn comes_back(&self) {
        let words = (0_u8..).zip(WORDS).map(|(number, word)| (number, word.to_owned()));
        *self.words.lock().unwrap() = Some(words.collect());
    }

    fn forgets(&self) {
        self.known.lock().unwrap().clear();
    }

    fn topic(self: &Arc<Self>) -> Topic<u8, String> {
        Topic::with_codec("words", ByNumber(self.clone()))
    }

    /// What was said of each key, in order, also on the topic `said`.
    fn graph(self: &Arc<Self>) -> (Graph, StoredTable<u8, String>) {
        let graph = GraphBuilder::new();
        let words = graph.stream(&self.topic());
        words.to(&said());
        let sentences = sentences(&words, TableOptions::named("sentences"));
        (graph.build().unwrap(), sentences)
    }
}

fn said() -> Topic<u8, String> {
    Topic::new("said")
}

fn sentences(words: &millpond::Stream<u8, String>, table: TableOptions<String>) -> StoredTable<u8, String> {
    words.group_by_key().fold(table, String::new, |sentence, _, word| {
        *sentence += &word;
        *sentence += " ";
    })
}

fn append(log: &MemoryChangelog, key: u8, number: u8) -> millpond::Position {
    log.create_topic("words", &millpond::changelog::TopicConfig::default()).unwrap();
    let append = millpond::changelog::Append {
        partition: TopicPartition::new("words", 0),
        records: vec![Record::new(vec![key], vec![number])],
    };
    log.append(vec![append]).wait_blocking().unwrap()
}

fn until(what: impl Fn() -> bool) {
    while !what() {
        std::thread::yield_now();
    }
}

#[test]
fn reads_go_on_and_no_record_becomes_a_dead_letter() {
    let (dictionary, log) = (Arc::new(Dictionary::default()), Arc::new(MemoryChangelog::new()));
    dictionary.comes_back();
    let (graph, sentences) = dictionary.graph();
    let letters = FailurePolicy::DeadLetter("letters".into());
    let builder = Engine::builder(&graph).in_memory().changelog(log.clone()).on_failure(letters);
    let engine = builder.start().unwrap();
    append(&log, 1, 0);
    engine.catch_up_blocking().unwrap();
    *dictionary.words.lock().unwrap() = None;
    append(&log, 1, 1);
    append(&log, 2, 2);
    let last = append(&log, 1, 0);
    until(
        || matches!(engine.health(), Health::Waiting { reason } if reason.contains("is away; it is tried again")),
    );
    let stats = engine.stats();
    assert!(
        stats.awaited[0].contains("word 1 of the dictionary could not be fetched"),
        "{:?}",
        stats.awaited
    );
    assert_eq!((stats.records_in, stats.dead_letters), (1, 0));
    assert_eq!(engine.view(&sentences).unwrap().get(&1).unwrap().unwrap(), "tea ");
    dictionary.comes_back();
    engine.wait_for_blocking(&last).unwrap();
    assert_eq!(engine.view(&sentences).unwrap().get(&1).unwrap().unwrap(), "tea jam tea ");
    assert_eq!(engine.view(&sentences).unwrap().get(&2).unwrap().unwrap(), "bun ");
    // There is no such word: this is the fault of the record.
    append(&log, 1, 9);
    let last = append(&log, 1, 3);
    engine.wait_for_blocking(&last).unwrap();
    assert_eq!(engine.view(&sentences).unwrap().get(&1).unwrap().unwrap(), "tea jam tea pie ");
    let stats = engine.stats();
    assert_eq!((stats.dead_letters, stats.awaited.len()), (1, 0));
    assert_eq!(engine.health(), Health::Running);
    let asked_in = dictionary.asked_in.lock().unwrap().clone();
    assert!(asked_in.iter().all(|thread| thread == "millpond-fetch"), "{asked_in:?}");
    engine.close_blocking().unwrap();
}

#[test]
fn closing_does_not_wait_for_what_is_fetched() {
    let weir = Weir::default();
    let _open = weir.opens_at_the_end();
    let dictionary = Arc::new(Dictionary { slow: Some(weir.clone()), ..Dictionary::default() });
    let (log, store) = (Arc::new(MemoryChangelog::new()), Arc::new(MemoryStore::new()));
    let (graph, _) = dictionary.graph();
    append(&log, 1, 1);
    let engine = Engine::builder(&graph).changelog(log.clone()).store(store.clone()).start().unwrap();
    weir.wait_for_someone();
    assert!(matches!(engine.health(), Health::Waiting { reason } if reason.contains("is being fetched")));
    engine.close_blocking().unwrap();
    // Nothing was passed over.
    let dictionary = Arc::new(Dictionary::default());
    dictionary.comes_back();
    let (graph, sentences) = dictionary.graph();
    let engine = Engine::builder(&graph).changelog(log).store(store).start().unwrap();
    engine.ready_blocking().unwrap();
    assert_eq!(engine.view(&sentences).unwrap().get(&1).unwrap().unwrap(), "jam ");
}

#[test]
fn closing_does_not_wait_for_the_next_try() {
    let (dictionary, log) = (Arc::new(Dictionary::default()), Arc::new(MemoryChangelog::new()));
    append(&log, 1, 1);
    let engine = Engine::builder(&dictionary.graph().0).in_memory().changelog(log).start().unwrap();
    until(|| matches!(engine.health(), Health::Waiting { reason } if reason.contains("away")));
    engine.close_blocking().unwrap();
}

#[test]
fn what_no_waiting_helps_against_stops_the_engine_in_front_of_the_record() {
    let dictionary = Arc::new(Dictionary::default());
    let (log, store) = (Arc::new(MemoryChangelog::new()), Arc::new(MemoryStore::new()));
    dictionary.comes_back();
    *dictionary.refusal.lock().unwrap() = Some(ErrorKind::Invalid);
    let (graph, sentences) = dictionary.graph();
    let position = append(&log, 1, 1);
    let letters = FailurePolicy::DeadLetter("letters".into());
    let open =
        || Engine::builder(&graph).changelog(log.clone()).store(store.clone()).on_failure(letters.clone());
    let engine = open().start().unwrap();
    let error = engine.wait_for_blocking(&position).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("give it a password"), "{error}");
    assert!(engine.close_blocking().is_err());
    *dictionary.refusal.lock().unwrap() = None;
    let engine = open().start().unwrap();
    engine.ready_blocking().unwrap();
    assert_eq!(engine.view(&sentences).unwrap().get(&1).unwrap().unwrap(), "jam ");
    assert_eq!(engine.stats().dead_letters, 0);
}

#[test]
fn a_build_waits_while_the_rest_goes_on() {
    let (dictionary, log) = (Arc::new(Dictionary::default()), Arc::new(MemoryChangelog::new()));
    let store = Arc::new(MemoryStore::new());
    dictionary.comes_back();
    append(&log, 1, 1);
    let numbers = Topic::<u8, u64>::new("numbers");
    let graph = GraphBuilder::new();
    let _sums = graph.stream(&numbers).group_by_key().reduce("sums", |a, b| a + b);
    let _counts = graph.stream(&dictionary.topic()).group_by_key().count("counts");
    let engine =
        Engine::builder(&graph.build().unwrap()).changelog(log.clone()).store(store.clone()).start().unwrap();
    engine.append_blocking(&numbers, &1, &1).unwrap();
    engine.catch_up_blocking().unwrap();
    engine.close_blocking().unwrap();

    *dictionary.words.lock().unwrap() = None;
    dictionary.forgets();
    let graph = GraphBuilder::new();
    let sums = graph.stream(&numbers).group_by_key().reduce("sums", |a, b| a + b);
    let words = graph.stream(&dictionary.topic());
    let counts = words.group_by_key().count("counts");
    let built = sentences(&words, TableOptions::named("built"));
    let engine =
        Engine::builder(&graph.build().unwrap()).changelog(log.clone()).store(store).start().unwrap();
    until(|| engine.stats().awaited.iter().any(|awaited| awaited.contains("is away")));
    let position = engine.append(&numbers, &1, &2).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    assert_eq!(engine.view(&sums).unwrap().get(&1).unwrap(), Some(3));
    assert_eq!(engine.view(&built).unwrap().get(&1).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(engine.health(), Health::Running);
    dictionary.comes_back();
    engine.ready_blocking().unwrap();
    assert_eq!(engine.view(&built).unwrap().get(&1).unwrap().unwrap(), "jam ");
    assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(1));
}

#[test]
fn a_build_that_waits_has_not_caught_up() {
    let dictionary = Arc::new(Dictionary::default());
    dictionary.comes_back();
    let version = |version| {
        let graph = GraphBuilder::new();
        let words = graph.stream(&dictionary.topic());
        let counts = words.group_by_key().count(TableOptions::named("counts").version(version));
        (graph.build().unwrap(), counts)
    };
    let mut driver = Driver::new(&version(0).0).unwrap();
    put(&driver, 1, 1);
    put(&driver, 1, 2);
    driver.run().unwrap();
    *dictionary.words.lock().unwrap() = None;
    dictionary.forgets();
    // Nothing else reads the topic, so nothing else says how far the build has to come.
    let (graph, counts) = version(1);
    driver.upgrade(&graph).unwrap();
    for _ in 0..3 {
        assert_eq!(driver.run().unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(driver.is_building().unwrap());
        assert_eq!(driver.table(&counts).unwrap(), [(1, 2)].into(), "the older version answers");
    }
    dictionary.comes_back();
    put(&driver, 1, 3);
    driver.run().unwrap();
    assert!(!driver.is_building().unwrap());
    assert_eq!(driver.table(&counts).unwrap(), [(1, 3)].into());
}

fn put(driver: &Driver, key: u8, number: u8) {
    driver.append(TopicPartition::new("words", 0), vec![Record::new(vec![key], vec![number])]).unwrap();
}

#[test]
fn a_driver_fetches_by_itself_and_tells_if_it_cannot() {
    let dictionary = Arc::new(Dictionary::default());
    let (graph, sentences) = dictionary.graph();
    let mut driver = Driver::new(&graph).unwrap();
    put(&driver, 1, 1);
    put(&driver, 1, 2);
    for _ in 0..3 {
        let error = driver.run().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("word 1 of the dictionary"), "{error}");
    }
    dictionary.comes_back();
    driver.run().unwrap();
    assert_eq!(driver.table(&sentences).unwrap()[&1], "jam bun ");
    // Outputs that are there are not written again by a replay that has to wait.
    dictionary.forgets();
    *dictionary.words.lock().unwrap() = None;
    driver.crash().unwrap();
    assert_eq!(driver.run().unwrap_err().kind(), ErrorKind::Unavailable);
    dictionary.comes_back();
    driver.run().unwrap();
    assert_eq!(driver.table(&sentences).unwrap()[&1], "jam bun ");
    let said: Vec<_> =
        driver.records(&said()).unwrap().into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(said, ["jam", "bun"]);
}

#[test]
fn the_same_comes_of_it_wherever_it_waits() {
    let mut random = Random::new(millpond_support::environment::seed());
    for _ in 0..30 {
        let dictionary = Arc::new(Dictionary::default());
        dictionary.comes_back();
        let (graph, sentences) = dictionary.graph();
        let policy = FailurePolicy::DeadLetter("letters".into());
        let shards = 1 + random.index(3);
        let mut driver =
            Driver::with_settings(&graph, Settings { shards, policy, ..Settings::default() }).unwrap();
        let mut expected = BTreeMap::<u8, String>::new();
        let mut wrong = 0;
        for _ in 0..random.below(40) {
            // Some are no words.
            let (key, number) = (random.pick(&[0, 1, 2]), random.pick(&[0, 1, 2, 3, 4, 5]));
            put(&driver, key, number);
            match WORDS.get(usize::from(number)) {
                Some(word) => expected.entry(key).or_default().extend([*word, " "]),
                None => wrong += 1,
            }
            match random.below(8) {
                0 => dictionary.forgets(),
                1 => _ = driver.epoch(1 + random.index(5)).unwrap(),
                2 => driver.crash().unwrap(),
                3 => _ = driver.drain().unwrap(),
                _ => {}
            }
        }
        driver.run().unwrap();
        assert_eq!(driver.table(&sentences).unwrap(), expected);
        let letters = driver.changelog().offsets(&TopicPartition::new("letters", 0)).unwrap();
        assert_eq!(letters.end, wrong);
    }
}

#[test]
fn what_an_epoch_lacks_is_fetched_together_and_once() {
    let dictionary = Arc::new(Dictionary::default());
    dictionary.comes_back();
    let (graph, _) = dictionary.graph();
    let mut driver = Driver::new(&graph).unwrap();
    for number in [3, 1, 3, 2, 1, 1] {
        put(&driver, number, number);
    }
    driver.run().unwrap();
    assert_eq!(*dictionary.fetched.lock().unwrap(), [3, 1, 2]);
    assert_eq!(driver.stats().unwrap().epochs, 1);
}

/// A codec that does not find what it was given.
#[derive(Debug)]
struct Never;

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing in particular")
    }
}

impl Awaited for Never {
    fn fetch(&self) -> Result<()> {
        Ok(())
    }
}

impl ValueCodec<u8> for Never {
    fn id(&self) -> &'static str {
        "never"
    }

    fn encode(&self, _: &u8, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(&self, _: &[u8]) -> Result<u8, CodecError> {
        Err(CodecError::awaits(Arc::new(Never)))
    }

    fn awaits(&self) -> bool {
        true
    }
}

#[test]
fn a_codec_that_asks_for_ever_is_told_so() {
    let words = Topic::<u8, u8>::with_codec("words", Never);
    let graph = GraphBuilder::new();
    let _kept = graph.table(&words, "kept");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    put(&driver, 1, 1);
    let error = driver.run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(error.to_string().contains("nothing in particular"), "{error}");
}

#[test]
fn no_table_is_kept_in_what_may_have_to_be_fetched() {
    let dictionary = Arc::new(Dictionary::default());
    let graph = GraphBuilder::new();
    let _kept =
        graph.table(&dictionary.topic(), TableOptions::with_codec("kept", ByNumber(dictionary.clone())));
    let error = graph.build().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("table `kept` cannot be kept in `words`"), "{error}");
}
