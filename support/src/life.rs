//! The lives of one state: a graph that is folded in random epochs, drained, killed and begun again, on any log.
//!
//! What such a test compares is the same for every way through [`Life::step`]: the tables and the records that were appended are a
//! function of the log.

use crate::random::Random;
use millpond::changelog::Changelog;
use millpond::store::MemoryStore;
use millpond::{Engine, EngineBuilder, Graph, Stepper};
use std::sync::Arc;

/// How often in a row there is nothing to read once everything is folded: what an epoch appends may be read by the next.
const IDLE: u32 = 20;

type Open<H> = Box<dyn Fn() -> (Graph, H)>;
type With = Box<dyn Fn(EngineBuilder) -> EngineBuilder>;

/// A state, and what folds it: `H` are the handles of its graph.
#[allow(missing_debug_implementations, reason = "it holds closures")]
pub struct Life<H> {
    /// What it is folded from.
    pub log: Arc<dyn Changelog>,
    store: Arc<MemoryStore>,
    open: Open<H>,
    with: With,
    alive: Option<(Stepper, H)>,
    shards: usize,
}

impl<H> Life<H> {
    /// The state of the graph that `open` describes, which is called for each life.
    pub fn new(log: Arc<dyn Changelog>, open: impl Fn() -> (Graph, H) + 'static) -> Self {
        let with = Box::new(|builder| builder);
        Self { log, store: Arc::default(), open: Box::new(open), with, alive: None, shards: 2 }
    }

    /// Has every life open with what `with` says.
    pub fn with(mut self, with: impl Fn(EngineBuilder) -> EngineBuilder + 'static) -> Self {
        self.with = Box::new(with);
        self
    }

    /// Who lives, and the handles of its graph.
    pub fn alive(&mut self) -> (&mut Stepper, &H) {
        let (stepper, handles) = self.alive.get_or_insert_with(|| {
            let (graph, handles) = (self.open)();
            let builder = Engine::builder(&graph).store(self.store.clone()).changelog(self.log.clone());
            ((self.with)(builder.shards(self.shards)).stepper().unwrap(), handles)
        });
        (stepper, handles)
    }

    /// An epoch of up to nine records, a drain, a crash: by chance, with epochs the most likely.
    pub fn step(&mut self, random: &mut Random) {
        self.step_of(9, random);
    }

    /// As [`step`](Self::step), with epochs of up to so many records.
    pub fn step_of(&mut self, records: usize, random: &mut Random) {
        match random.below(10) {
            0 => drop(self.alive().0.drain().unwrap()),
            1 => {
                self.crash();
                self.shards = random.pick(&[1, 2, 3, 8]);
            }
            _ => drop(self.alive().0.epoch(1 + random.index(records)).unwrap()),
        }
    }

    /// What was not drained is gone.
    pub fn crash(&mut self) {
        self.alive = None;
    }

    /// Everything is gone: it is to be folded again from the log.
    pub fn forget(&mut self) {
        self.crash();
        self.store = Arc::default();
    }

    /// Folds everything that there is.
    pub fn fold_all(&mut self) -> (&mut Stepper, &H) {
        let stepper = self.alive().0;
        let mut idle = 0;
        while idle < IDLE || stepper.is_building() {
            idle = if stepper.epoch(50).unwrap() { 0 } else { idle + 1 };
        }
        stepper.drain().unwrap();
        self.alive()
    }
}
