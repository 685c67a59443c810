//! The final rows of hopping windows: each once, when it is closed, if a record counted to it.
//!
//! As for windows that follow each other, a window is closed when the watermark comes to its end and the grace; records of the same
//! epoch are folded before, and what is closed in an epoch is put out in the order of closes and keys, dated with the last millisecond of
//! the window. Records are late, early, equal or negative where they are folded, and not here. Empty input closes windows all the same, as
//! far as time has come.
//!
//! The table `<store>.open` has a row for each window and key that is not closed and has something new, or something that is carried from
//! the window before. Its keys begin with time, so that what is due is a range of it: one shard reads it, and sends the rows where their
//! keys are. The windows of an epoch are then closed one after the other, for all keys of a window at once, and what stays goes on to the
//! next window. Where that is closed in the same epoch, nothing is written in between.

use super::Hopping;
use super::slices::{Row, Slice, slice_key};
use super::under_way::{Carried, Front, Open};
use crate::stream::due;
use crate::stream::window::folding::Merging;
use crate::stream::window::{WindowStart, Windowed};
use millpond_engine::codec::{Key, KeyCodec, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Exchange, Failure, Operator, Stamp};
use millpond_engine::graph::TableRef;
use millpond_engine::{Error, Result};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// About so many slices are looked up at once.
const SLICES_AT_ONCE: usize = 4096;

/// Tells from which window on a slice has something new to count: keyed by that window, the slice as value.
pub(super) struct Entering<K, A> {
    pub(super) windows: Hopping,
    pub(super) types: PhantomData<fn() -> (K, A)>,
}

impl<K: Key, A: Value> Operator for Entering<K, A> {
    type Input = (Changes<Windowed<K>, Slice<A>>,);
    type Output = Vec<Event<Windowed<K>, i64>>;

    fn run(&self, _: &mut Context<'_>, (folded,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let mut entering = Vec::new();
        for change in folded.changes {
            let Windowed { start_ms: slice, key, .. } = change.key;
            let classes = change.new.iter().flat_map(Slice::parts).map(|(class, _)| *class);
            let was_there =
                |class: &u64| change.old.iter().flat_map(Slice::parts).any(|(before, _)| before == class);
            // Parts are never taken away.
            for class in classes.filter(|class| !was_there(class)) {
                let start = self.windows.first_of(slice, class);
                let key = Windowed::new(start, self.windows.end_of(start), key.clone());
                entering.push(Event { key, value: slice, stamp: change.stamp });
            }
        }
        Ok(Some(entering))
    }
}

/// Finds the rows of windows that are closed and had something before the epoch.
///
/// It reads the table as it was before the epoch, and so may stand before the node that writes it.
pub(super) struct Due<K, A> {
    pub(super) windows: Hopping,
    pub(super) open: TableRef<Windowed<K>, Slice<A>>,
}

impl<K: Key, A: Value> Exchange for Due<K, A> {
    type Input = (Vec<Event<Windowed<K>, i64>>,);
    type Item = Event<Windowed<K>, Open<A>>;

    fn route(&self, context: &mut Context<'_>, _: Self::Input) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let mut found = Vec::new();
        for row in due::rows(context, &self.open, self.starts(context))? {
            let (key, row) = row?;
            let value = row.into_open().ok_or_else(|| Error::internal("a row of another table"))?;
            let stamp = stamp(self.windows, key.start_ms, &key.key);
            found.push(Event { key, value, stamp });
        }
        Ok(context.router().split(found, |event| &event.key))
    }

    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        due::has_rows(context, &self.open, self.starts(context))
    }
}

impl<K, A> Due<K, A> {
    /// Where windows begin that are due with this epoch.
    fn starts(&self, context: &Context<'_>) -> Range<WindowStart> {
        due::between(context, |at| WindowStart(self.windows.first_open(at)))
    }
}

fn stamp<K: KeyCodec>(windows: Hopping, start_ms: i64, key: &K) -> Stamp {
    let mut encoded = Vec::new();
    key.encode_key(&mut encoded);
    Stamp::of_closing(windows.close_of(start_ms), &encoded, windows.end_of(start_ms).saturating_sub(1))
}

/// Puts out the rows of windows that are closed.
pub(super) struct Close<K, A> {
    pub(super) windows: Hopping,
    pub(super) slices: TableRef<Windowed<K>, Slice<A>>,
    pub(super) open: TableRef<Windowed<K>, Slice<A>>,
    pub(super) fronts: TableRef<Windowed<K>, Slice<A>>,
    pub(super) merge: Arc<Merging<A>>,
}

/// What the windows of a key that are closed in an epoch leave in the rows of open ones.
#[derive(Clone)]
enum Note<A> {
    Enters(i64),
    Carries(Carried<A>),
    Gone,
}

/// The fronts of later hops, beyond what was there before the epoch.
struct Fronts<K, A> {
    made: BTreeMap<Windowed<K>, Front<A>>,
    taken: Vec<Windowed<K>>,
}

/// A key in a window that is being closed.
struct Closing<K, A> {
    key: K,
    open: Open<A>,
    /// How many slices it wants to know.
    wanted: usize,
    turns: bool,
    /// The hop whose front it goes on with.
    next: Option<i64>,
}

impl<K: Key, A: Value> Operator for Close<K, A> {
    type Input = (Vec<Event<Windowed<K>, i64>>, Vec<Event<Windowed<K>, Open<A>>>);
    type Output = Vec<Event<Windowed<K>, A>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (entering, due): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let windows = self.windows;
        let until = windows.first_open(context.watermark());
        let mut rounds: BTreeMap<i64, BTreeMap<K, Open<A>>> = BTreeMap::new();
        let mut notes: Vec<Event<Windowed<K>, Note<A>>> = Vec::with_capacity(due.len());
        for Event { key, value, stamp } in due {
            rounds.entry(key.start_ms).or_default().insert(key.key.clone(), value);
            notes.push(Event { key, value: Note::Gone, stamp });
        }
        for Event { key, value: slice, stamp } in entering {
            if key.start_ms < until {
                let round = rounds.entry(key.start_ms).or_default();
                round.entry(key.key).or_default().enter(slice);
            } else {
                notes.push(Event { key, value: Note::Enters(slice), stamp });
            }
        }
        let (mut closed, mut fronts) = (Vec::new(), Fronts { made: BTreeMap::new(), taken: Vec::new() });
        while let Some((start, round)) = rounds.pop_first() {
            let next = start.saturating_add(windows.hop_ms);
            for (key, carried) in self.close(context, start, round, &mut fronts, &mut closed)? {
                if next > windows.last() {
                    // There is no further window.
                } else if next < until {
                    rounds.entry(next).or_default().entry(key).or_default().carried = Some(carried);
                } else {
                    let stamp = stamp(windows, next, &key);
                    let key = Windowed::new(next, windows.end_of(next), key);
                    notes.push(Event { key, value: Note::Carries(carried), stamp });
                }
            }
        }
        self.write(context, notes, fronts)?;
        closed.sort_by_key(|event: &Event<_, _>| event.stamp);
        context.tell(&mut closed);
        Ok(Some(closed))
    }
}

impl<K: Key, A: Value> Close<K, A> {
    /// Closes the window at `start` for the keys of `round`, in their order. Answers with what is carried to the next one.
    fn close(
        &self,
        context: &mut Context<'_>,
        start: i64,
        round: BTreeMap<K, Open<A>>,
        fronts: &mut Fronts<K, A>,
        closed: &mut Vec<Event<Windowed<K>, A>>,
    ) -> Result<Vec<(K, Carried<A>)>, Failure> {
        let mut carried = Vec::with_capacity(round.len());
        let (mut together, mut wanted) = (Vec::new(), Vec::new());
        for (key, mut open) in round {
            let (before, next) =
                (wanted.len(), open.carried.as_mut().and_then(|carried| carried.leave(start)));
            let turns = open.carried.as_ref().is_some_and(|carried| carried.is_to_be_turned(start));
            let of = |slice| slice_key(self.windows, slice, key.clone());
            if turns {
                let last =
                    open.enters.iter().copied().chain(open.carried.iter().map(|carried| carried.until)).max();
                let step = usize::try_from(self.windows.slice_ms).unwrap_or(usize::MAX);
                wanted.extend((start..=last.unwrap_or(start)).step_by(step).map(of));
            } else {
                wanted.extend(open.enters.iter().copied().map(of));
            }
            together.push(Closing { key, open, wanted: wanted.len() - before, turns, next });
            if wanted.len() >= SLICES_AT_ONCE {
                let together = std::mem::take(&mut together);
                self.close_together(context, start, together, &wanted, fronts, closed, &mut carried)?;
                wanted.clear();
            }
        }
        self.close_together(context, start, together, &wanted, fronts, closed, &mut carried)?;
        Ok(carried)
    }

    #[expect(clippy::too_many_arguments, reason = "what is closed, and three places for what becomes of it")]
    fn close_together(
        &self,
        context: &mut Context<'_>,
        start: i64,
        together: Vec<Closing<K, A>>,
        wanted: &[Windowed<K>],
        fronts: &mut Fronts<K, A>,
        closed: &mut Vec<Event<Windowed<K>, A>>,
        carried: &mut Vec<(K, Carried<A>)>,
    ) -> Result<(), Failure> {
        let found = context.table(&self.slices)?.look_up(context, &wanted.iter().collect::<Vec<_>>())?;
        let mut answers = wanted.iter().zip(found);
        let mut next = self.fronts_of(context, &together, fronts)?.into_iter();
        for Closing { key, open, wanted, turns, next: wants } in together {
            let stamp = stamp(self.windows, start, &key);
            context.at_closing(&stamp, &key);
            let slices = answers.by_ref().take(wanted);
            let slices = slices.filter_map(|(key, found)| Some((key.start_ms, found?)));
            let entries = slices.flat_map(|(slice, parts)| parts.into_parts().map(move |part| (slice, part)));
            let first_of = |slice, class| self.windows.first_of(slice, class);
            let stays = if turns {
                let counted = entries.filter(|(slice, (class, _))| first_of(*slice, *class) <= start);
                self.turn(start, &key, counted.map(|(slice, (_, value))| (slice, value)), fronts)
            } else {
                let mut stays = open.carried;
                if let Some(stays) = stays.as_mut().filter(|_| wants.is_some()) {
                    stays.front = next.next();
                }
                for (slice, (_, value)) in
                    entries.filter(|(slice, (class, _))| first_of(*slice, *class) == start)
                {
                    let stays = stays.get_or_insert_with(|| Carried::beginning(self.windows, slice));
                    stays.enter(self.windows, &*self.merge, slice, value);
                }
                stays
            };
            let Some(stays) = stays else { continue };
            if let Some(value) = stays.value(&*self.merge) {
                let windowed = Windowed::new(start, self.windows.end_of(start), key.clone());
                closed.push(Event { key: windowed, value, stamp });
            }
            // What lies in the first hop of the window is not in the next one.
            if stays.until >= start.saturating_add(self.windows.hop_ms) {
                carried.push((key, stays));
            }
        }
        Ok(())
    }

    /// Turns what is carried to the window at `start` round.
    fn turn(
        &self,
        start: i64,
        key: &K,
        entries: impl Iterator<Item = (i64, A)>,
        fronts: &mut Fronts<K, A>,
    ) -> Option<Carried<A>> {
        let mut of_slices: Vec<(i64, A)> = Vec::new();
        for (slice, value) in entries {
            match of_slices.last_mut() {
                Some((there, acc)) if *there == slice => (self.merge)(acc, value),
                _ => of_slices.push((slice, value)),
            }
        }
        let (turned, later) = Carried::turned(self.windows, &*self.merge, start, of_slices)?;
        let keyed = later.into_iter().map(|front| (self.front_key(front.hop(), key.clone()), front));
        fronts.made.extend(keyed);
        Some(turned)
    }

    fn front_key(&self, hop: i64, key: K) -> Windowed<K> {
        Windowed::new(hop, hop.saturating_add(self.windows.hop_ms), key)
    }

    /// The fronts that those want which are closed, in their order. They are not needed again.
    fn fronts_of(
        &self,
        context: &mut Context<'_>,
        closing: &[Closing<K, A>],
        fronts: &mut Fronts<K, A>,
    ) -> Result<Vec<Front<A>>, Failure> {
        let wants = closing.iter().filter_map(|closing| Some((closing.next?, closing.key.clone())));
        let wants: Vec<_> = wants.map(|(hop, key)| self.front_key(hop, key)).collect();
        let mut made: Vec<Option<Front<A>>> = wants.iter().map(|key| fronts.made.remove(key)).collect();
        let stored: Vec<&Windowed<K>> =
            wants.iter().zip(&made).filter(|(_, made)| made.is_none()).map(|(key, _)| key).collect();
        let found = context.table(&self.fronts)?.look_up(context, &stored)?;
        fronts.taken.extend(stored.into_iter().cloned());
        let missing = made.iter_mut().filter(|made| made.is_none());
        for (missing, found) in missing.zip(found) {
            *missing = found.and_then(Slice::into_front);
        }
        let all: Option<Vec<_>> = made.into_iter().collect();
        all.ok_or_else(|| Error::internal("what is carried between hopping windows is gone").into())
    }

    /// Writes down what is under way after the epoch.
    fn write(
        &self,
        context: &mut Context<'_>,
        notes: Vec<Event<Windowed<K>, Note<A>>>,
        fronts: Fronts<K, A>,
    ) -> Result<(), Failure> {
        let open = context.table(&self.open)?;
        open.fold(context, notes, Detail::Changes, |_, row, note| {
            let mut open = row.take().and_then(Slice::into_open).unwrap_or_default();
            match note {
                Note::Gone => return,
                Note::Enters(slice) => open.enter(slice),
                Note::Carries(carried) => open.carried = Some(carried),
            }
            *row = Some(Slice(Row::Open(Box::new(open))));
        })?;
        let table = context.table(&self.fronts)?;
        let stamp_of = |key: &Windowed<K>| stamp(self.windows, key.start_ms, &key.key);
        let taken = fronts.taken.into_iter().map(|key| (key, None));
        let made =
            fronts.made.into_iter().map(|(key, front)| (key, Some(Slice(Row::Front(Box::new(front))))));
        let events = taken.chain(made).map(|(key, value)| Event { stamp: stamp_of(&key), key, value });
        table.fold(context, events.collect(), Detail::Changes, |_, row, front| *row = front)?;
        Ok(())
    }
}
