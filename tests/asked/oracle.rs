//! Which windows there are of the records of a log, what is in them, and which of them are kept: by what is written of them, and no more.

use super::{List, Rows, clicks};
use millpond::changelog::Changelog;
use millpond::stream::{Hopping, Session, Sliding};
use millpond::{Position, Windowed};
use millpond_support::random::Random;
use millpond_support::timed::{self, TimedRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tumbling,
    Hopping,
    Sliding,
    Session,
}

/// Windows, all times in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Windows {
    Tumbling { size: i64, grace: i64 },
    Hopping { size: i64, hop: i64, grace: i64 },
    Sliding { difference: i64, grace: i64 },
    Session { gap: i64, grace: i64 },
}

pub(crate) fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Tumbling, Self::Hopping, Self::Sliding, Self::Session];

    pub(crate) fn any(self, random: &mut Random) -> Windows {
        let grace = random.pick(&[0, 30, 250]);
        match self {
            Self::Tumbling => Windows::Tumbling { size: random.pick(&[1, 70, 100]), grace },
            Self::Hopping => {
                let (size, hop) =
                    random.pick(&[(100, 100), (100, 50), (100, 30), (240, 20), (60, 7), (300, 70)]);
                Windows::Hopping { size, hop, grace }
            }
            Self::Sliding => Windows::Sliding { difference: random.pick(&[0, 1, 10, 100]), grace },
            Self::Session => Windows::Session { gap: random.pick(&[1, 20, 60]), grace },
        }
    }

    pub(crate) fn usual(self) -> Windows {
        let grace = 100;
        match self {
            Self::Tumbling => Windows::Tumbling { size: 100, grace },
            Self::Hopping => Windows::Hopping { size: 100, hop: 20, grace },
            Self::Sliding => Windows::Sliding { difference: 100, grace },
            Self::Session => Windows::Session { gap: 100, grace },
        }
    }
}

impl Windows {
    pub(crate) fn hopping(self) -> Hopping {
        let Self::Hopping { size, hop, grace } = self else { panic!("{self:?}") };
        Hopping::of(ms(size)).every(ms(hop)).grace(ms(grace))
    }

    pub(crate) fn sliding(self) -> Sliding {
        let Self::Sliding { difference, grace } = self else { panic!("{self:?}") };
        Sliding::of(ms(difference)).grace(ms(grace))
    }

    pub(crate) fn sessions(self) -> Session {
        let Self::Session { gap, grace } = self else { panic!("{self:?}") };
        Session::gap(ms(gap)).grace(ms(grace))
    }

    pub(crate) fn close_of(self, windowed: &Windowed<u8>) -> i64 {
        windowed.end_ms
            + match self {
                Self::Tumbling { grace, .. } | Self::Hopping { grace, .. } | Self::Sliding { grace, .. } => {
                    grace
                }
                Self::Session { gap, grace } => gap + grace,
            }
    }

    /// Where windows begin that have the moment `at`, if that does not depend on records.
    fn starts_over(self, at: i64) -> Vec<i64> {
        let (size, hop) = match self {
            Self::Tumbling { size, .. } => (size, size),
            Self::Hopping { size, hop, .. } => (size, hop),
            _ => return Vec::new(),
        };
        let last = at.div_euclid(hop) * hop;
        (0..=size / hop).map(|back| last - back * hop).filter(|start| start + size > at).collect()
    }

    /// How long windows are, if that does not depend on records.
    fn size(self) -> i64 {
        match self {
            Self::Tumbling { size, .. } | Self::Hopping { size, .. } => size,
            Self::Sliding { difference, .. } => difference + 1,
            Self::Session { .. } => 0,
        }
    }

    fn all(self, records: &[TimedRecord]) -> Rows {
        let mut all = Rows::new();
        let counts =
            |record: &TimedRecord, windowed: &Windowed<u8>| record.stream_time_ms < self.close_of(windowed);
        let window = |start: i64, key: u8| Windowed::new(start, start + self.size(), key);
        match self {
            Self::Tumbling { .. } | Self::Hopping { .. } => {
                for record in records {
                    let over = self.starts_over(record.timestamp_ms).into_iter();
                    for windowed in over
                        .map(|start| window(start, record.key))
                        .filter(|windowed| counts(record, windowed))
                    {
                        all.entry(windowed).or_default().push(record.number);
                    }
                }
            }
            Self::Sliding { difference, .. } => {
                let defined: BTreeSet<Windowed<u8>> = records
                    .iter()
                    .filter(|record| counts(record, &window(record.timestamp_ms, record.key)))
                    .flat_map(|record| {
                        let starts = [record.timestamp_ms - difference, record.timestamp_ms + 1];
                        starts
                            .map(|start| window(start, record.key))
                            .into_iter()
                            .filter(|windowed| counts(record, windowed))
                    })
                    .collect();
                for windowed in defined {
                    let span = windowed.start_ms..windowed.end_ms;
                    let within = records
                        .iter()
                        .filter(|record| record.key == windowed.key && span.contains(&record.timestamp_ms));
                    let list: List = within
                        .filter(|record| counts(record, &windowed))
                        .map(|record| record.number)
                        .collect();
                    if !list.is_empty() {
                        all.insert(windowed, list);
                    }
                }
            }
            Self::Session { gap, grace } => {
                let mut counted: BTreeMap<u8, Vec<(i64, u64)>> = BTreeMap::new();
                for record in
                    records.iter().filter(|record| record.stream_time_ms < record.timestamp_ms + 1 + grace)
                {
                    counted.entry(record.key).or_default().push((record.timestamp_ms, record.number));
                }
                for (key, mut records) in counted {
                    records.sort_unstable();
                    for session in records.chunk_by(|a, b| b.0 - a.0 <= gap) {
                        let windowed = Windowed::new(session[0].0, session.last().unwrap().0 + 1, key);
                        all.insert(windowed, session.iter().map(|(_, number)| *number).collect());
                    }
                }
            }
        }
        for list in all.values_mut() {
            list.sort_unstable();
        }
        all
    }

    /// The close of the last window that a record of `at` has to do with: that it is in, or that it tells to be there.
    fn last_close(self, at: i64) -> i64 {
        match self {
            Self::Tumbling { .. } | Self::Hopping { .. } => {
                self.close_of(&Windowed::new(0, self.starts_over(at)[0] + self.size(), 0))
            }
            Self::Sliding { .. } => {
                // As all moments of the same row.
                let last = at.div_euclid(self.size()) * self.size() + self.size() - 1;
                self.close_of(&Windowed::new(0, last + 1 + self.size(), 0))
            }
            Self::Session { .. } => panic!("it depends on other records"),
        }
    }

    /// How many rows it takes, where what was closed up to `until` is forgotten.
    fn rows(self, records: &[TimedRecord], kept: &Rows, until: i64) -> u64 {
        let step = match self {
            Self::Tumbling { .. } | Self::Session { .. } => return kept.len() as u64,
            Self::Hopping { size, hop, .. } => {
                (1..=hop).rev().find(|step| size % step == 0 && hop % step == 0).unwrap()
            }
            Self::Sliding { .. } => self.size(),
        };
        let counted = records.iter().filter(|record| match self {
            Self::Hopping { size, .. } => {
                record.stream_time_ms
                    < self.close_of(&Windowed::new(0, self.starts_over(record.timestamp_ms)[0] + size, 0))
            }
            _ => {
                record.stream_time_ms < self.close_of(&Windowed::new(0, record.timestamp_ms + self.size(), 0))
            }
        });
        let needed = counted.filter(|record| self.last_close(record.timestamp_ms) > until);
        needed.map(|record| (record.timestamp_ms.div_euclid(step), record.key)).collect::<BTreeSet<_>>().len()
            as u64
    }
}

/// What is to be found at a position.
pub(crate) struct Expected {
    pub(crate) windows: Windows,
    /// Forgotten or not.
    pub(crate) all: Rows,
    pub(crate) kept: Rows,
    pub(crate) count: u64,
    pub(crate) watermark: i64,
    records: Vec<TimedRecord>,
}

impl Expected {
    /// As if nothing were forgotten.
    pub(crate) fn at(log: &dyn Changelog, windows: Windows, position: &Position) -> Self {
        let (records, watermark) = timed::read_at(log, &clicks(), position).unwrap();
        let all = windows.all(&records);
        let count = windows.rows(&records, &all, i64::MIN);
        Self { windows, kept: all.clone(), all, count, watermark, records }
    }

    /// What is left, if what was closed up to `until` is forgotten.
    pub(crate) fn forgetting(mut self, until: i64) -> Self {
        self.kept.retain(|windowed, _| self.windows.close_of(windowed) > until);
        self.count = self.windows.rows(&self.records, &self.kept, until);
        self
    }

    pub(crate) fn closed(&self) -> Rows {
        let closed =
            self.all.iter().filter(|(windowed, _)| self.windows.close_of(windowed) <= self.watermark);
        closed.map(|(windowed, list)| (*windowed, list.clone())).collect()
    }

    /// All keys in the last window that has the moment `ms`.
    pub(crate) fn at_moment(&self, ms: i64) -> Vec<(Windowed<u8>, List)> {
        let mut last: BTreeMap<u8, (Windowed<u8>, List)> = BTreeMap::new();
        let starts = self.windows.starts_over(ms);
        let is_wanted = |windowed: &Windowed<u8>| {
            (windowed.start_ms..windowed.end_ms).contains(&ms)
                && starts.first().is_none_or(|start| *start == windowed.start_ms)
        };
        for (windowed, list) in self.kept.iter().filter(|(windowed, _)| is_wanted(windowed)) {
            last.insert(windowed.key, (*windowed, list.clone()));
        }
        let mut found: Vec<_> = last.into_values().collect();
        found.sort();
        found
    }
}
