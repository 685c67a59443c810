//! Tables of windows of every kind, what is to be found in them, and all the ways to ask.

mod lives;
mod oracle;

pub(crate) use lives::{Lives, Seen};
pub(crate) use oracle::{Kind, Windows};

use oracle::Expected;

use millpond::changelog::Changelog;
use millpond::stream::{HoppingTable, SessionTable, SlidingTable, Tumbling, WindowView, WindowedTable};
use millpond::{
    Graph, GraphBuilder, Position, Result, StateReader, Stepper, Stored, StoredTable, TableOptions, Topic,
    View, Windowed,
};
use millpond_support::random::Random;
use millpond_support::timed;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks")
}

/// What was in a window, in ascending order.
pub(crate) type List = Vec<u64>;
pub(crate) type Rows = BTreeMap<Windowed<u8>, List>;

enum Table {
    Tumbling(WindowedTable<u8, List, Tumbling>),
    Hopping(HoppingTable<u8, u64, List>),
    Sliding(SlidingTable<u8, u64, List>),
    Session(SessionTable<u8, List>),
}

pub(crate) struct Case {
    pub(crate) graph: Graph,
    table: Table,
    /// A row for each window, where there is such a table beside the other.
    each: Option<StoredTable<Windowed<u8>, List>>,
    finals: Option<StoredTable<Windowed<u8>, List>>,
    windows: Windows,
}

fn sorted(list: &mut List, more: List) {
    list.extend(more);
    list.sort_unstable();
}

impl Case {
    /// With the finals in a table of their own, and in one of all windows, if there can be one.
    pub(crate) fn new(windows: Windows, keep_ms: Option<i64>, version: u32) -> Self {
        Self::build(windows, keep_ms, version, true)
    }

    /// The table alone.
    pub(crate) fn alone(windows: Windows, keep_ms: Option<i64>) -> Self {
        Self::build(windows, keep_ms, 0, false)
    }

    fn build(windows: Windows, keep_ms: Option<i64>, version: u32, with_others: bool) -> Self {
        let graph = GraphBuilder::new();
        let grouped = graph.stream(&clicks()).group_by_key();
        let mut each = None;
        macro_rules! folded {
            ($divided:expr $(, $merge:expr)?) => {{
                let mut divided = $divided;
                if let Some(keep_ms) = keep_ms {
                    divided = divided.keep(oracle::ms(keep_ms));
                }
                let take = |list: &mut List, _: &u8, number| sorted(list, vec![number]);
                let table = divided.fold(TableOptions::named("windows").version(version), List::new, take $(, $merge)?);
                let finals = with_others.then(|| table.on_close().to_table("finals"));
                (table, finals)
            }};
        }
        let (table, finals) = match windows {
            Windows::Tumbling { size, grace } => {
                let windows = Tumbling::of(oracle::ms(size)).grace(oracle::ms(grace));
                let (table, finals) = folded!(grouped.windowed(windows));
                (Table::Tumbling(table), finals)
            }
            Windows::Hopping { .. } => {
                let (table, finals) = folded!(grouped.windowed(windows.hopping()), sorted);
                let options = TableOptions::named("each").version(version);
                each = with_others.then(|| table.table(options));
                (Table::Hopping(table), finals)
            }
            Windows::Sliding { .. } => {
                let (table, finals) = folded!(grouped.windowed(windows.sliding()), sorted);
                (Table::Sliding(table), finals)
            }
            Windows::Session { .. } => {
                let (table, finals) = folded!(grouped.windowed(windows.sessions()), sorted);
                (Table::Session(table), finals)
            }
        };
        Self { graph: graph.build().unwrap(), table, each, finals, windows }
    }

    /// What is to be seen now, with `viewing` as views are made; `None` if the table is being built.
    pub(crate) fn look(&self, viewing: &impl Looking) -> Option<Sight> {
        macro_rules! sight {
            ($table:expr) => {{
                let view = viewing.view($table).ok()?;
                let then = view.snapshot().ok()?;
                assert_eq!(view.count().unwrap(), then.count());
                Sight {
                    now: $table.windows_of(&view),
                    then: $table.windows_of(&then),
                    position: then.position().clone(),
                    count: then.count(),
                    each: None,
                }
            }};
        }
        let mut sight = match &self.table {
            Table::Tumbling(table) => sight!(table),
            Table::Hopping(table) => sight!(table),
            Table::Sliding(table) => sight!(table),
            Table::Session(table) => sight!(table),
        };
        if let Some(each) = &self.each {
            let rows = viewing.view(each).ok()?.scan().unwrap().map(Result::unwrap).collect();
            sight.each = Some(rows);
        }
        Some(sight)
    }

    /// Finals are a table of their own, which misses nothing.
    pub(crate) fn check_finals(&self, stepper: &Stepper, log: &dyn Changelog, what: &str) {
        let expected = Expected::at(log, self.windows, &stepper.position());
        let finals = self.finals.as_ref().unwrap();
        let finals: Rows = stepper.view(finals).unwrap().scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(finals, expected.closed(), "{what}: finals");
    }
}

/// Where views are made.
pub(crate) trait Looking {
    fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>>;
}

impl Looking for Stepper {
    fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>> {
        Self::view(self, table)
    }
}

impl Looking for StateReader {
    fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>> {
        Self::view(self, table)
    }
}

/// A table as it is, and as it must be found for ever.
pub(crate) struct Sight {
    now: WindowView<u8, List>,
    then: WindowView<u8, List>,
    position: Position,
    pub(crate) count: u64,
    each: Option<Rows>,
}

impl Sight {
    /// What was closed up to then is forgotten, if windows were never kept for less long.
    pub(crate) fn forgets_until(&self, log: &dyn Changelog, keep_ms: Option<i64>) -> i64 {
        let watermark = timed::read_at(log, &clicks(), &self.position).unwrap().1;
        keep_ms.filter(|_| watermark > i64::MIN).map_or(i64::MIN, |keep_ms| watermark - keep_ms)
    }

    /// Of windows that were closed up to `until` nothing is to be seen, and of all others everything. Answers with how many of these there
    /// are, and how many windows in all.
    pub(crate) fn check_until(
        &self,
        log: &dyn Changelog,
        windows: Windows,
        until: i64,
        random: &mut Random,
        what: &str,
    ) -> (usize, usize) {
        let expected = self.check_then(log, windows, until, random, what);
        check(&self.now, &expected, random, &format!("{what}, a view"));
        (expected.kept.len(), expected.all.len())
    }

    /// As [`check_until`](Self::check_until), of the snapshot alone.
    pub(crate) fn check_then(
        &self,
        log: &dyn Changelog,
        windows: Windows,
        until: i64,
        random: &mut Random,
        what: &str,
    ) -> Expected {
        let expected = Expected::at(log, windows, &self.position).forgetting(until);
        assert_eq!(self.count, expected.count, "{what}: how many rows");
        if let Some(each) = &self.each {
            assert_eq!(*each, expected.kept, "{what}: a row for each window");
        }
        check(&self.then, &expected, random, &format!("{what}, a snapshot"));
        expected
    }
}

/// Asks in every way there is.
fn check(asked: &WindowView<u8, List>, expected: &Expected, random: &mut Random, what: &str) {
    assert_eq!(asked.watermark().unwrap().unwrap_or(i64::MIN), expected.watermark, "{what}");
    let (kept, windows) = (&expected.kept, expected.windows);
    let keys: Vec<u8> =
        expected.all.keys().map(|windowed| windowed.key).collect::<BTreeSet<_>>().into_iter().collect();
    let row = |(windowed, list): (&Windowed<u8>, &List)| (*windowed, list.clone());
    let rows = |is_wanted: &dyn Fn(&Windowed<u8>) -> bool| -> Vec<(Windowed<u8>, List)> {
        kept.iter().filter(|(windowed, _)| is_wanted(windowed)).map(row).collect()
    };
    let moments: Vec<i64> =
        expected.all.keys().flat_map(|windowed| [windowed.start_ms, windowed.end_ms]).collect();
    for key in keys {
        let of_key = rows(&|windowed| windowed.key == key);
        let found: Vec<_> = asked.windows(&key, ..).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, of_key, "{what}: all of {key}");
        let mut back: Vec<_> = asked.windows(&key, ..).unwrap().rev().map(Result::unwrap).collect();
        back.reverse();
        assert_eq!(back, of_key, "{what}: all of {key} from the end");
        assert_eq!(asked.latest(&key).unwrap(), of_key.last().cloned(), "{what}: the latest of {key}");
        let open: Vec<_> = asked.open(&key).unwrap().map(Result::unwrap).collect();
        let is_open = |windowed: &Windowed<u8>| windows.close_of(windowed) > expected.watermark;
        assert_eq!(
            open,
            rows(&|windowed| windowed.key == key && is_open(windowed)),
            "{what}: open ones of {key}"
        );
        for (windowed, list) in expected.all.iter().filter(|(windowed, _)| windowed.key == key) {
            let shown = kept.contains_key(windowed).then(|| list.clone());
            if random.below(3) > 0 {
                continue;
            }
            assert_eq!(asked.get(&key, windowed.start_ms).unwrap(), shown, "{what}: {windowed:?}");
        }
        let [one, other] = [(); 2].map(|()| random.pick(&moments) + random.pick(&[-30, -1, 0, 1, 30]));
        let range = one.min(other)..=one.max(other);
        let within = rows(&|windowed| windowed.key == key && range.contains(&windowed.start_ms));
        let mut between = asked.windows(&key, range.clone()).unwrap();
        let (mut front, mut behind) = (Vec::new(), Vec::new());
        loop {
            let from_the_end = random.below(2) == 0;
            let next = if from_the_end { between.next_back() } else { between.next() };
            let Some(row) = next.transpose().unwrap() else { break };
            if from_the_end { behind.push(row) } else { front.push(row) }
        }
        front.extend(behind.into_iter().rev());
        assert_eq!(front, within, "{what}: {key} in {range:?}");
    }
    for _ in 0..3 {
        let Some(ms) = (!moments.is_empty()).then(|| random.pick(&moments) + random.pick(&[-1, 0, 10]))
        else {
            break;
        };
        let mut at: Vec<_> = asked.at(ms).unwrap().map(Result::unwrap).collect();
        at.sort();
        assert_eq!(at, expected.at_moment(ms), "{what}: at {ms}");
    }
}
