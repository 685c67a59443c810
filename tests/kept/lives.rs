//! The lives of a state whose tables forget: epochs, drains, compactions, crashes and rebuilds, and whoever looks on.

use super::{Case, Expected, Held, Replica, Row, Rows, any_log, case, check_view, told};
use millpond::changelog::Changelog;
use millpond::{StateReader, Stepper, TopicPartition, View, Windowed};
use millpond_support::any_store::AnyStore;
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The lives of a state, with all who look at it.
pub(crate) struct Lives {
    pub(crate) log: Arc<dyn Changelog>,
    pub(crate) keep_ms: i64,
    pub(crate) version: u32,
    pub(crate) shards: usize,
    pub(crate) medium: AnyStore,
    pub(crate) case: Case,
    pub(crate) alive: Option<Stepper>,
    pub(crate) held: Vec<Held>,
    /// A reader of the state that does not move on, and what it shows.
    pub(crate) beside: Option<(StateReader, Held)>,
    pub(crate) replica: Option<Replica>,
    pub(crate) seen: Seen,
}

/// What was there to be looked at, over all rounds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) forgotten: usize,
    pub(crate) kept: usize,
    pub(crate) builds: usize,
    pub(crate) readers: usize,
}

impl Lives {
    pub(crate) fn new(random: &mut Random, seen: Seen) -> Self {
        let keep_ms = random.pick(&[0, 70, 350, 1_000]);
        Self {
            log: any_log(random),
            keep_ms,
            version: 0,
            shards: 2,
            medium: AnyStore::any(random),
            case: case(Some(keep_ms), 0),
            alive: None,
            held: Vec::new(),
            beside: None,
            replica: None,
            seen,
        }
    }

    pub(crate) fn stepper(&mut self) -> &mut Stepper {
        self.alive.get_or_insert_with(|| self.medium.stepper(&self.case.graph, &self.log, self.shards))
    }

    pub(crate) fn view(&mut self) -> View<Windowed<u8>, Vec<u64>> {
        let all = self.case.all.clone();
        self.stepper().view(&all).unwrap()
    }

    /// The rows of `view`, and what must be in them.
    pub(crate) fn now(&self, view: &View<Windowed<u8>, Vec<u64>>) -> Option<Held> {
        let rows = view.snapshot().ok()?;
        let expected = Expected::at(&*self.log, rows.position());
        Some(Held { first: expected.first_kept(Some(self.keep_ms)), all: expected.all, rows })
    }

    /// What was not drained is gone; by chance everything, and by chance the table is to be built anew.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        (self.alive, self.replica) = (None, None);
        self.shards = random.pick(&[1, 2, 3, 8]);
        match random.below(6) {
            0 => {
                self.version += 1;
                self.case = case(Some(self.keep_ms), self.version);
            }
            1 => {
                self.medium = AnyStore::any(random);
                self.beside = None;
            }
            _ => {}
        }
    }

    /// Reads the state beside its engine, or a checkpoint of it.
    pub(crate) fn read_beside(&mut self, random: &mut Random, what: &str) {
        let Some(dir) = self.medium.dir.as_ref().map(|dir| dir.path().to_owned()) else { return };
        self.stepper().drain().unwrap();
        let (scratch, is_copy) = (tempfile::tempdir().unwrap(), random.below(2) == 0);
        let copy = scratch.path().join("copy");
        if is_copy {
            self.stepper().checkpoint(&copy).unwrap();
        }
        let dir = if is_copy { &copy } else { &dir };
        // Nothing is shown of what is being built, or was never drained.
        let Ok(reader) = StateReader::open(dir, &self.case.graph) else { return };
        let view = reader.view(&self.case.all).unwrap();
        let Some(now) = self.now(&view) else { return };
        now.check(&format!("{what}, a reader"));
        check_view(&view, &now, &format!("{what}, a reader"));
        self.seen.readers += 1;
        if !is_copy {
            self.beside = Some((reader, now));
        }
    }

    /// Looks at the table in every way there is.
    pub(crate) fn look(&mut self, random: &mut Random, what: &str) {
        let is_building = self.stepper().is_building();
        self.seen.builds += usize::from(is_building);
        let view = self.view();
        let Some(now) = self.now(&view) else { return };
        let kept = now.all.keys().filter(|key| key.start_ms >= now.first).count();
        self.seen.kept += kept;
        self.seen.forgotten += now.all.len() - kept;
        now.check(what);
        check_view(&view, &now, what);
        if let Some(mut following) = self.replica.take()
            && following.follow(&*self.log, Some(self.keep_ms))
        {
            let kept = |rows: &Rows| -> Vec<Row> {
                let kept = rows.iter().filter(|(key, _)| key.start_ms >= now.first);
                kept.map(|(key, list)| (*key, list.clone())).collect()
            };
            assert_eq!(kept(&following.rows), kept(&now.all), "{what}: what is told of changes");
            self.replica = Some(following);
        }
        if self.replica.is_none() && !is_building && random.below(8) == 0 {
            self.replica = Some(Replica::open(&view));
        }
        if random.below(12) == 0 {
            self.held.push(now);
        }
        if self.held.len() > 4 {
            self.held.swap_remove(random.index(self.held.len()));
        }
        if random.below(20) == 0 {
            for held in &self.held {
                held.check(&format!("{what}: a snapshot that was held"));
            }
            if let Some((reader, before)) = &self.beside {
                before.check(&format!("{what}: a snapshot of a reader that was held"));
                if let Ok(view) = reader.view(&self.case.all) {
                    check_view(&view, before, &format!("{what}: a reader that was held"));
                }
            }
        }
    }

    /// Folds everything there is, and looks at what was made of the table.
    pub(crate) fn check_the_end(&mut self, what: &str) {
        let mut idle = 0;
        while idle < 20 || self.stepper().is_building() {
            idle = if self.stepper().epoch(50).unwrap() { 0 } else { idle + 1 };
        }
        let view = self.view();
        self.now(&view).unwrap().check(what);
        let position = self.stepper().position();
        let expected = Expected::at(&*self.log, &position);
        let mut windows: BTreeMap<u8, u64> = BTreeMap::new();
        for windowed in expected.all.keys() {
            *windows.entry(windowed.key).or_default() += 1;
        }
        let case = self.case.clone();
        let derived = self.stepper().view(&case.windows).unwrap().scan().unwrap().map(Result::unwrap);
        assert_eq!(windows, derived.collect(), "{what}: what derives from the table misses nothing");
        let finals = self.stepper().view(&case.finals).unwrap().scan().unwrap().map(Result::unwrap);
        assert_eq!(
            finals.collect::<Vec<Row>>(),
            expected.closed(),
            "{what}: finals are a table of their own"
        );
        let appended = records::read(&*self.log, &TopicPartition::new("told", 0)).unwrap();
        let row = |record: &millpond::changelog::Record| -> Row {
            let key =
                <Windowed<u8> as millpond::codec::KeyCodec>::decode_whole_key(record.key.as_ref().unwrap());
            (key.unwrap(), told().codec().decode(record.value.as_ref().unwrap()).unwrap())
        };
        let appended: Vec<Row> = appended.iter().map(row).collect();
        assert_eq!(appended, expected.closed(), "{what}: every window is told when it closes");
    }
}
