//! The lives of a state with a table of windows: epochs, drains, compactions, crashes and rebuilds, and whoever looks on.

use super::{Case, Sight, Windows, clicks};
use millpond::changelog::Changelog;
use millpond::{StateReader, Stepper};
use millpond_support::any_store::AnyStore;
use millpond_support::random::Random;
use millpond_support::timed::{Appending, any_log};
use std::sync::Arc;

/// What was there to be looked at, over all rounds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) forgotten: usize,
    pub(crate) kept: usize,
    readers: usize,
    builds: usize,
}

pub(crate) struct Lives {
    log: Arc<dyn Changelog>,
    windows: Windows,
    keep_ms: Option<i64>,
    appending: Appending,
    version: u32,
    shards: usize,
    store: AnyStore,
    case: Case,
    alive: Option<Stepper>,
    held: Vec<Sight>,
    /// A reader of the state that does not move on, and what it shows.
    beside: Option<(StateReader, Sight)>,
    pub(crate) seen: Seen,
}

impl Lives {
    pub(crate) fn new(random: &mut Random, windows: Windows, keep_ms: Option<i64>, seen: Seen) -> Self {
        Self {
            log: any_log(random, &clicks()),
            windows,
            keep_ms,
            appending: Appending::new(true, 60),
            version: 0,
            shards: 2,
            store: AnyStore::any(random),
            case: Case::new(windows, keep_ms, 0),
            alive: None,
            held: Vec::new(),
            beside: None,
            seen,
        }
    }

    fn stepper(&mut self) -> &mut Stepper {
        self.alive.get_or_insert_with(|| self.store.stepper(&self.case.graph, &self.log, self.shards))
    }

    /// One of the things that may happen, and a look at what came of it.
    pub(crate) fn step(&mut self, random: &mut Random, what: &str) {
        match random.below(30) {
            0 => drop(self.stepper().drain().unwrap()),
            1 => {
                self.stepper().drain().unwrap();
                self.store.compact();
            }
            2 => self.crash(random),
            3 => self.read_beside(random, what),
            4..18 => drop(self.stepper().epoch(1 + random.index(9)).unwrap()),
            _ => self.appending.append(&*self.log, &clicks(), random),
        }
        self.look(random, what);
    }

    /// What was not drained is gone; by chance everything, and by chance the table is to be built anew.
    fn crash(&mut self, random: &mut Random) {
        (self.alive, self.shards) = (None, 1 + random.index(3));
        match random.below(6) {
            0 => {
                self.version += 1;
                self.case = Case::new(self.windows, self.keep_ms, self.version);
            }
            1 => {
                self.beside = None;
                self.store = AnyStore::any(random);
            }
            _ => {}
        }
    }

    /// Reads the state beside its engine.
    fn read_beside(&mut self, random: &mut Random, what: &str) {
        self.stepper().drain().unwrap();
        let Some(dir) = self.store.dir.as_ref() else { return };
        // Nothing is shown of what is being built, or was never drained.
        let Ok(reader) = StateReader::open(dir.path(), &self.case.graph) else { return };
        let Some(sight) = self.case.look(&reader) else { return };
        self.check(&sight, random, &format!("{what}, a reader"));
        self.seen.readers += 1;
        self.beside = Some((reader, sight));
    }

    /// Everything that is to be seen at once, and nothing else.
    fn check(&self, sight: &Sight, random: &mut Random, what: &str) -> (usize, usize) {
        let until = sight.forgets_until(&*self.log, self.keep_ms);
        sight.check_until(&*self.log, self.windows, until, random, what)
    }

    fn look(&mut self, random: &mut Random, what: &str) {
        self.seen.builds += usize::from(self.stepper().is_building());
        let Some(sight) = self.alive.as_ref().and_then(|stepper| self.case.look(stepper)) else { return };
        if random.below(8) == 0 {
            let (kept, all) = self.check(&sight, random, what);
            self.seen.kept += kept;
            self.seen.forgotten += all - kept;
        }
        if random.below(12) == 0 {
            self.held.push(sight);
        }
        if self.held.len() > 3 {
            self.held.swap_remove(random.index(self.held.len()));
        }
        if random.below(20) == 0 {
            for sight in self.held.iter().chain(self.beside.iter().map(|(_, sight)| sight)) {
                let until = sight.forgets_until(&*self.log, self.keep_ms);
                sight.check_then(&*self.log, self.windows, until, random, &format!("{what}: held"));
            }
        }
    }

    /// Folds everything there is, and looks at what was made of it.
    pub(crate) fn check_the_end(&mut self, random: &mut Random, what: &str) {
        let mut idle = 0;
        while idle < 20 || self.stepper().is_building() {
            idle = if self.stepper().epoch(50).unwrap() { 0 } else { idle + 1 };
        }
        let stepper = self.alive.as_ref().unwrap();
        let sight = self.case.look(stepper).unwrap();
        self.check(&sight, random, what);
        self.case.check_finals(stepper, &*self.log, what);
    }
}
