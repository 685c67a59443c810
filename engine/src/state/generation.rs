//! Generations: what one or more epochs wrote, encoded and immutable.
//!
//! A generation is what snapshots and range reads overlay on the store until a drain has moved it there. The
//! fold only appends rows to arenas; those of a table are sorted once, by whoever asks first (a query or the drain).
//!
//! Rows are sorted table by table, by those bytes in which keys of the table differ at all: keys that begin with a time, as those of windows do,
//! have much in common, in the midst of them, too, and one number tells apart what is left.

use crate::store::layout::{RowCount, TableId};
use crate::store::{Direction, Row};
use crate::time::Reached;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

/// How many rows each table has, and which it has forgotten.
pub(crate) type RowCounts = Arc<BTreeMap<TableId, RowCount>>;

/// The length that marks a deletion.
const DELETED: u32 = u32::MAX;

/// The bit of a key's length that marks a row of which there was none before: lengths are far below it.
const NEW: u32 = 1 << 31;

/// How many rows are fetched from memory at a time.
const FETCHED_TOGETHER: usize = 64;

/// What rows are sorted by first: the table that a key is of, which are its first two bytes. It has them.
type Group = u16;

/// How many bytes of a key a [`RowPlace`] holds.
const PREFIX_BYTES: u32 = 16;

/// Keys of so many bytes leave room for an age behind them.
const AGED_BYTES: u32 = PREFIX_BYTES - 4;

/// Encoded rows of one table and shard, in the order in which their keys were first touched.
#[derive(Default)]
pub(crate) struct RowBatch {
    bytes: Vec<u8>,
    spans: Vec<RowSpan>,
    /// The least and the greatest table of its keys: the same but in tests.
    groups: Option<(Group, Group)>,
    differing: Differing,
}

#[derive(Clone, Copy)]
struct RowSpan {
    start: u64,
    /// With the mark of a new row.
    key_len: u32,
    value_len: u32,
}

impl RowBatch {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let (bytes, spans) = (Vec::with_capacity(rows * 24), Vec::with_capacity(rows));
        Self { bytes, spans, groups: None, differing: Differing::default() }
    }

    /// Appends a row, which `is_new` if there is none of its key in the store nor in earlier generations: `write_key` and `write_value`
    /// append to the arena; `write_value` returns whether there is a value. Returns the bytes of the key and of the value. On an error
    /// the arena is as before.
    pub(crate) fn push<E>(
        &mut self,
        is_new: bool,
        write_key: impl FnOnce(&mut Vec<u8>),
        write_value: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(usize, usize), E> {
        let start = self.bytes.len();
        write_key(&mut self.bytes);
        let middle = self.bytes.len();
        let has_value = write_value(&mut self.bytes).inspect_err(|_| self.bytes.truncate(start))?;
        let value_len = self.bytes.len() - middle;
        let key = self.bytes.get(start..middle).unwrap_or_default();
        self.differing.add(key);
        let group = group(key);
        let (least, greatest) = self.groups.unwrap_or((group, group));
        self.groups = Some((least.min(group), greatest.max(group)));
        self.spans.push(RowSpan {
            start: start as u64,
            key_len: length(middle - start) & !NEW | if is_new { NEW } else { 0 },
            value_len: if has_value { length(value_len) } else { DELETED },
        });
        Ok((middle - start, value_len))
    }

    /// The tables that its rows are of.
    fn groups(&self) -> BTreeSet<Group> {
        match self.groups {
            None => BTreeSet::new(),
            Some((least, greatest)) if least == greatest => BTreeSet::from([least]),
            Some(_) => (0..self.len()).map(|row| group(self.row(length(row)).0)).collect(),
        }
    }

    /// Whether any of its rows may be of the table `wanted`.
    fn may_have(&self, wanted: Group) -> bool {
        self.groups.is_some_and(|(least, greatest)| (least..=greatest).contains(&wanted))
    }

    /// The numbers of its rows that are of the table `wanted`.
    fn rows_of(&self, wanted: Group) -> impl Iterator<Item = u32> {
        let all = self.groups.is_some_and(|(least, greatest)| least == greatest);
        let rows = 0..if self.may_have(wanted) { length(self.len()) } else { 0 };
        rows.filter(move |row| all || group(self.row(*row).0) == wanted)
    }

    fn row(&self, index: u32) -> Row<'_> {
        let Some(span) = self.spans.get(index as usize) else { return (&[], None) };
        let start = usize::try_from(span.start).unwrap_or(usize::MAX);
        let middle = start + (span.key_len & !NEW) as usize;
        let key = self.bytes.get(start..middle).unwrap_or_default();
        let value = (span.value_len != DELETED)
            .then(|| self.bytes.get(middle..middle + span.value_len as usize).unwrap_or_default());
        (key, value)
    }

    /// Whether there was none before of the row with this number.
    fn is_new(&self, index: u32) -> bool {
        self.spans.get(index as usize).is_some_and(|span| span.key_len & NEW != 0)
    }

    /// Gives back what was set aside for more than came, if it is much.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() > self.bytes.len() / 4 * 5 {
            self.bytes.shrink_to_fit();
        }
        self.spans.shrink_to_fit();
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<RowSpan>()
    }
}

/// Rows are far below 4 GiB (a record is at most some tens of MiB); a longer one would be cut and refused by its
/// codec, not overflow.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(DELETED - 1)
}

/// The rows that the epochs up to [`epoch`](Self::epoch) wrote since the generation before.
pub(crate) struct Generation {
    /// The last epoch in it.
    pub(crate) epoch: u64,
    /// How far the state has come with it.
    pub(crate) reached: Reached,
    /// How many rows each table has with it.
    pub(crate) counts: RowCounts,
    /// About how many bytes of hot entries cannot be evicted before its rows are drained.
    pub(crate) pinned_bytes: usize,
    parts: Vec<RowBatch>,
    /// By table.
    orders: BTreeMap<Group, OnceLock<Vec<RowPlace>>>,
}

/// Where a row stands, with the first bytes of its key but those that all have in common, so that most comparisons need not look
/// it up. In 32 bytes: there is one for every row that is being drained.
#[derive(Clone, Copy)]
struct RowPlace {
    prefix: u128,
    /// Which generation, counted from the oldest.
    age: u32,
    part: u32,
    row: u32,
    /// Of its key, without what all have in common.
    rest_len: u32,
}

impl RowPlace {
    /// Compares two keys, of which only long ones with the same beginning are looked up.
    fn compare<'k>(&self, other: &Self, key: impl Fn(&Self) -> &'k [u8]) -> Ordering {
        self.prefix.cmp(&other.prefix).then_with(|| {
            if self.rest_len <= PREFIX_BYTES || other.rest_len <= PREFIX_BYTES {
                // One is the other followed by zeros, or they are the same.
                self.rest_len.cmp(&other.rest_len)
            } else {
                key(self).cmp(key(other))
            }
        })
    }
}

/// In which bytes keys differ: what all have in common tells nothing of their order.
#[derive(Default)]
struct Differing {
    /// One of the keys; none if there are none.
    one: Option<Vec<u8>>,
    /// Of the bytes that all keys have, the bits in which some differ from this one.
    bits: Vec<u8>,
    /// Whether they are of different lengths.
    lengths: bool,
}

impl Differing {
    fn add(&mut self, key: &[u8]) {
        let Some(one) = &self.one else {
            self.one = Some(key.to_vec());
            self.bits.resize(key.len(), 0);
            return;
        };
        self.lengths |= key.len() != one.len();
        self.bits.truncate(key.len());
        for ((bits, a), b) in self.bits.iter_mut().zip(one).zip(key) {
            *bits |= a ^ b;
        }
    }

    fn and(mut self, other: &Self) -> Self {
        if let Some(one) = &other.one {
            self.add(one);
            self.lengths |= other.lengths;
            self.bits.truncate(other.bits.len());
            for (bits, others) in self.bits.iter_mut().zip(&other.bits) {
                *bits |= others;
            }
        }
        self
    }

    /// How many bytes all of them begin with.
    fn common(&self) -> usize {
        self.bits.iter().take_while(|bits| **bits == 0).count()
    }

    /// Which bytes tell the keys apart and how they are ordered; none if they are not equally long.
    fn telling(&self) -> Option<Vec<Range<usize>>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for (index, _) in self.bits.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            match ranges.last_mut().filter(|range| range.end == index) {
                Some(range) => range.end += 1,
                None => ranges.push(index..index + 1),
            }
        }
        (!self.lengths).then_some(ranges)
    }
}

impl Generation {
    pub(crate) fn new(
        epoch: u64,
        reached: Reached,
        counts: RowCounts,
        pinned_bytes: usize,
        parts: Vec<RowBatch>,
    ) -> Self {
        let groups: BTreeSet<Group> = parts.iter().flat_map(RowBatch::groups).collect();
        let orders = groups.into_iter().map(|group| (group, OnceLock::new())).collect();
        Self { epoch, reached, counts, pinned_bytes, parts, orders }
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(RowBatch::len).sum()
    }

    /// Bytes of memory held, with the places by which a drain will sort the rows.
    pub(crate) fn bytes(&self) -> usize {
        let sorted = self.orders.values().filter_map(OnceLock::get).map(Vec::capacity).sum::<usize>();
        let order = sorted + self.len();
        self.parts.iter().map(RowBatch::bytes).sum::<usize>() + order * size_of::<RowPlace>()
    }

    /// The row of `key`, if the generation says anything about it.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Row<'_>> {
        let order = self.order(group(key));
        let at = order.partition_point(|place| self.row(place).0 < key);
        let row = self.row(order.get(at)?);
        (row.0 == key).then_some(row)
    }

    /// The rows whose key lies in `keys`, in order of `direction`.
    pub(crate) fn range(&self, keys: Range<&[u8]>, direction: Direction) -> impl Iterator<Item = Row<'_>> {
        let places: Vec<&[RowPlace]> =
            self.orders_within(&keys).map(|(&group, _)| self.places_within(group, &keys)).collect();
        let (forward, backward) = match direction {
            Direction::Forward => (Some(places.into_iter().flatten()), None),
            Direction::Backward => {
                (None, Some(places.into_iter().rev().flat_map(|places| places.iter().rev())))
            }
        };
        let places = forward.into_iter().flatten().chain(backward.into_iter().flatten());
        Fetched { rows: places.map(|place| self.row(place)), ready: VecDeque::new(), together: 1 }
    }

    /// The rows whose key lies in `keys`, in ascending order. Unlike [`range`](Self::range) it does not sort the others: for whoever wants
    /// few rows of a generation that nobody has asked yet.
    pub(crate) fn rows_within(&self, keys: Range<&[u8]>) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for (&group, order) in self.orders_within(&keys) {
            if order.get().is_some() {
                rows.extend(self.places_within(group, &keys).iter().map(|place| self.row(place)));
                continue;
            }
            let all = self.parts.iter().flat_map(|part| part.rows_of(group).map(move |row| part.row(row)));
            let mut within: Vec<Row<'_>> = all.filter(|(key, _)| keys.contains(key)).collect();
            within.sort_unstable_by(|a, b| a.0.cmp(b.0));
            rows.append(&mut within);
        }
        rows
    }

    /// The tables of which a key may lie in `keys`: one of which none does is not sorted for that.
    fn orders_within(&self, keys: &Range<&[u8]>) -> impl Iterator<Item = (&Group, &OnceLock<Vec<RowPlace>>)> {
        let end = keys.end;
        let groups = self.orders.range(group(keys.start)..);
        groups.take_while(move |(group, _)| group.to_be_bytes()[..] < *end)
    }

    /// The rows of a table whose key lies in `keys`, in their order.
    fn places_within(&self, group: Group, keys: &Range<&[u8]>) -> &[RowPlace] {
        let order = self.order(group);
        let start = order.partition_point(|place| self.row(place).0 < keys.start);
        let end = order.partition_point(|place| self.row(place).0 < keys.end).max(start);
        order.get(start..end).unwrap_or_default()
    }

    /// The rows of a table in their order.
    fn order(&self, group: Group) -> &[RowPlace] {
        let Some(order) = self.orders.get(&group) else { return &[] };
        order.get_or_init(|| {
            let places = self.places(group, 0).collect();
            in_order(places, &self.differing(group), |place| self.row(place).0, |_, _| false)
        })
    }

    /// In what the keys of a table differ.
    fn differing(&self, group: Group) -> Differing {
        let parts = self.parts.iter().filter(|part| part.may_have(group));
        parts.fold(Differing::default(), |all, part| all.and(&part.differing))
    }

    /// Where the rows of a table stand; what it takes to sort them comes later.
    fn places(&self, group: Group, age: u32) -> impl Iterator<Item = RowPlace> {
        self.parts.iter().enumerate().flat_map(move |(index, part)| {
            let part_number = length(index);
            part.rows_of(group).map(move |row| RowPlace {
                prefix: 0,
                age,
                part: part_number,
                row,
                rest_len: 0,
            })
        })
    }

    fn row(&self, place: &RowPlace) -> Row<'_> {
        self.parts.get(place.part as usize).map_or((&[], None), |part| part.row(place.row))
    }

    /// One generation in place of several adjacent ones, given oldest first: of each key the newest row. That a row is gone is told, too,
    /// if it has come within them: a drain that runs beside may be about to store what the older ones have.
    pub(crate) fn merge<G: Deref<Target = Self>>(generations: &[G]) -> Option<Self> {
        let newest = generations.last()?;
        let rows = Newest::of(generations, |_, _| false);
        let all: usize = generations.iter().map(|generation| generation.len()).sum();
        // One for each table.
        let mut parts: Vec<RowBatch> = Vec::new();
        for (key, value) in rows.rows() {
            let is_next = parts.last().is_some_and(|part| part.groups == Some((group(key), group(key))));
            if !is_next {
                parts.push(RowBatch::default());
            }
            let Some(part) = parts.last_mut() else { continue };
            // One of which a later one was kept need not be new.
            let pushed = part.push::<std::convert::Infallible>(
                false,
                |out| out.extend_from_slice(key),
                |out| {
                    out.extend_from_slice(value.unwrap_or_default());
                    Ok(value.is_some())
                },
            );
            debug_assert!(pushed.is_ok());
        }
        parts.iter_mut().for_each(RowBatch::shrink);
        // A row that was written twice pins one entry.
        let pinned: usize = generations.iter().map(|generation| generation.pinned_bytes).sum();
        let pinned = pinned / all.max(1) * rows.len();
        Some(Self::new(newest.epoch, newest.reached.clone(), Arc::clone(&newest.counts), pinned, parts))
    }
}

/// Sorted rows, which lie all over the arenas. To look at many of them at once lets the processor wait for all of them together instead of
/// for one after the other: at more each time, as many who ask want few.
struct Fetched<'g, I> {
    rows: I,
    ready: VecDeque<Row<'g>>,
    together: usize,
}

impl<'g, I: Iterator<Item = Row<'g>>> Iterator for Fetched<'g, I> {
    type Item = Row<'g>;

    fn next(&mut self) -> Option<Row<'g>> {
        if self.ready.is_empty() {
            self.ready.extend(self.rows.by_ref().take(self.together));
            for (key, _) in &self.ready {
                std::hint::black_box(key.first().copied());
            }
            self.together = (self.together * 2).min(FETCHED_TOGETHER);
        }
        self.ready.pop_front()
    }
}

/// The first 16 bytes of a key as a number that sorts like them.
pub(crate) fn number_of(key: &[u8]) -> u128 {
    let mut padded = [0; 16];
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    u128::from_be_bytes(*key.first_chunk().unwrap_or(&padded))
}

/// The first 16 of the bytes of a key in these ranges as a number that sorts like them.
fn packed(key: &[u8], ranges: &[Range<usize>]) -> u128 {
    let mut padded = [0; 16];
    let mut left = &mut padded[..];
    for range in ranges {
        let bytes = key.get(range.clone()).unwrap_or_default();
        let (to, rest) = left.split_at_mut(bytes.len().min(left.len()));
        for (to, from) in to.iter_mut().zip(bytes) {
            *to = *from;
        }
        left = rest;
    }
    u128::from_be_bytes(padded)
}

/// The table that a key is of.
fn group(key: &[u8]) -> Group {
    let [high, low] = [0, 1].map(|index| key.get(index).copied().unwrap_or(0));
    Group::from_be_bytes([high, low])
}

/// The rows at `places`, which are of one table, in order of their keys, which are `differing`; of each key the newest, and none if it
/// `is_gone` again, as the newest and the oldest row of a key tell.
fn in_order<'k>(
    mut places: Vec<RowPlace>,
    differing: &Differing,
    key: impl Fn(&RowPlace) -> &'k [u8],
    is_gone: impl Fn(&RowPlace, &RowPlace) -> bool,
) -> Vec<RowPlace> {
    let telling = differing.telling();
    let telling_len = telling.as_ref().map(|telling| length(telling.iter().map(Range::len).sum()));
    if let (Some(telling), Some(len)) = (&telling, telling_len) {
        for place in &mut places {
            (place.prefix, place.rest_len) = (packed(key(place), telling), len);
        }
    } else {
        let common = differing.common();
        for place in &mut places {
            let rest = key(place).get(common..).unwrap_or_default();
            (place.prefix, place.rest_len) = (number_of(rest), length(rest.len()));
        }
    }
    // The newest first.
    match telling_len {
        Some(..=AGED_BYTES) => {
            // One comparison of numbers tells all.
            for place in &mut places {
                place.prefix |= u128::from(!place.age);
            }
            places.sort_unstable_by_key(|place| place.prefix);
            keep_newest(&mut places, |a, b| a.prefix >> u32::BITS == b.prefix >> u32::BITS, is_gone);
        }
        Some(..=PREFIX_BYTES) => {
            places.sort_unstable_by_key(|place| (place.prefix, !place.age));
            keep_newest(&mut places, |a, b| a.prefix == b.prefix, is_gone);
        }
        _ => {
            places.sort_unstable_by(|a, b| a.compare(b, &key).then(b.age.cmp(&a.age)));
            keep_newest(&mut places, |a, b| a.compare(b, &key).is_eq(), is_gone);
        }
    }
    places
}

/// Keeps the first of the places that are alike, which is the newest, or none of them if it `is_gone` beside the last.
fn keep_newest(
    places: &mut Vec<RowPlace>,
    alike: impl Fn(&RowPlace, &RowPlace) -> bool,
    is_gone: impl Fn(&RowPlace, &RowPlace) -> bool,
) {
    let mut kept = 0;
    let mut next = 0;
    while let Some(&newest) = places.get(next) {
        let mut oldest = newest;
        next += 1;
        while let Some(&older) = places.get(next).filter(|older| alike(older, &newest)) {
            oldest = older;
            next += 1;
        }
        let is_single = oldest.age == newest.age;
        if (is_single || !is_gone(&newest, &oldest))
            && let Some(slot) = places.get_mut(kept)
        {
            *slot = newest;
            kept += 1;
        }
    }
    places.truncate(kept);
}

/// The row at `place`.
fn row<'g, G: Deref<Target = Generation>>(generations: &'g [G], place: &RowPlace) -> Row<'g> {
    generations.get(place.age as usize).map_or((&[], None), |generation| generation.row(place))
}

/// Whether the row at `newest` was deleted that was new at `oldest`: to whatever stands below these generations it never was there.
fn came_and_went<G: Deref<Target = Generation>>(
    generations: &[G],
    newest: &RowPlace,
    oldest: &RowPlace,
) -> bool {
    let part = generations.get(oldest.age as usize).and_then(|one| one.parts.get(oldest.part as usize));
    row(generations, newest).1.is_none() && part.is_some_and(|part| part.is_new(oldest.row))
}

/// The rows of several generations in order of key, of each key the newest.
pub(crate) struct Newest<'a, G> {
    generations: &'a [G],
    order: Vec<RowPlace>,
}

impl<'a, G: Deref<Target = Generation>> Newest<'a, G> {
    /// What is to be stored of `generations`, which are given oldest first, where nothing else is about to store any of them. A row that
    /// came and went within them is not among it.
    pub(crate) fn new(generations: &'a [G]) -> Self {
        Self::of(generations, |newest, oldest| came_and_went(generations, newest, oldest))
    }

    /// Sorts the rows of `generations`. None of a key is among them that `is_gone`, as its newest and its oldest row tell.
    fn of(generations: &'a [G], is_gone: impl Fn(&RowPlace, &RowPlace) -> bool) -> Self {
        let groups: BTreeSet<Group> = generations.iter().flat_map(|one| one.orders.keys().copied()).collect();
        let mut order = Vec::with_capacity(generations.iter().map(|one| one.len()).sum());
        for group in groups {
            let ages = generations.iter().enumerate();
            let places = ages.flat_map(|(age, one)| one.places(group, length(age))).collect();
            let differing = generations.iter();
            let differing = differing.fold(Differing::default(), |all, one| all.and(&one.differing(group)));
            order.extend(in_order(places, &differing, |place| row(generations, place).0, &is_gone));
        }
        Self { generations, order }
    }

    /// The rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let rows = self.order.iter().map(|place| row(self.generations, place));
        Fetched { rows, ready: VecDeque::new(), together: FETCHED_TOGETHER }
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    /// With the rows of the keys in `new` as such of which there was none.
    fn generation(epoch: u64, rows: &Contents, new: &BTreeSet<Vec<u8>>) -> Generation {
        let mut parts = vec![RowBatch::default(), RowBatch::default()];
        for (index, (key, value)) in rows.iter().rev().enumerate() {
            let write_value = |out: &mut Vec<u8>| {
                out.extend_from_slice(value.as_deref().unwrap_or_default());
                Ok::<_, ()>(value.is_some())
            };
            parts[index % 2].push(new.contains(key), |out| out.extend_from_slice(key), write_value).unwrap();
        }
        Generation::new(epoch, Reached::default(), RowCounts::default(), 0, parts)
    }

    fn owned<'a>(rows: impl Iterator<Item = Row<'a>>) -> Rows {
        rows.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect()
    }

    type Contents = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn contents(key_bytes: Range<usize>) -> impl Strategy<Value = Contents> {
        let key = prop::collection::vec(0..3_u8, key_bytes);
        prop::collection::btree_map(key, prop::option::of(prop::collection::vec(any::<u8>(), 0..5)), 0..20)
    }

    /// Of several generations, whose keys are of any length, or all of one.
    fn layers() -> impl Strategy<Value = Vec<Contents>> {
        let lengths = prop_oneof![Just(2..20), (2..18_usize).prop_map(|length| length..length + 1)];
        lengths.prop_flat_map(|length| prop::collection::vec(contents(length), 1..5))
    }

    proptest! {
        #[test]
        fn generations_overlay_like_maps(layers in layers(),
                                         low in prop::collection::vec(0..3_u8, 0..4),
                                         high in prop::collection::vec(0..3_u8, 0..4)) {
            let generations: Vec<Box<Generation>> =
                layers.iter().enumerate().map(|(epoch, rows)| Box::new(generation(epoch as u64, rows, &BTreeSet::new()))).collect();
            let mut expected = BTreeMap::new();
            for layer in &layers {
                expected.extend(layer.clone());
            }
            let merged = Generation::merge(&generations).unwrap();
            prop_assert_eq!(merged.epoch, layers.len() as u64 - 1);
            prop_assert_eq!(owned(Newest::new(&generations).rows()), expected.clone().into_iter().collect::<Rows>());
            let in_range: Rows = expected.iter().filter(|(key, _)| **key >= low && **key < high)
                .map(|(key, value)| (key.clone(), value.clone())).collect();
            prop_assert_eq!(owned(merged.range(&low[..]..&high[..], Direction::Forward)), in_range.clone());
            let backward: Rows = in_range.into_iter().rev().collect();
            prop_assert_eq!(owned(merged.range(&low[..]..&high[..], Direction::Backward)), backward);
            let unsorted = Generation::merge(&generations).unwrap();
            let range = owned(merged.range(&low[..]..&high[..], Direction::Forward));
            prop_assert_eq!(owned(unsorted.rows_within(&low[..]..&high[..]).into_iter()), range.clone());
            prop_assert_eq!(owned(merged.rows_within(&low[..]..&high[..]).into_iter()), range);
            for (key, value) in &expected {
                prop_assert_eq!(merged.find(key), Some((key.as_slice(), value.as_deref())));
            }
            prop_assert_eq!(merged.find(&[7]), None);
        }

        /// A drain of all generations, or of the older ones merged and the others, has the store hold what it would hold if every row
        /// was written, and writes no deletion of what was not there.
        #[test]
        fn rows_that_come_and_go_are_not_written(layers in layers(), stored in contents(2..20), merged in 0..5_usize) {
            let mut now: Contents = stored.into_iter().filter(|(_, value)| value.is_some()).collect();
            let stored = now.clone();
            let mut generations = Vec::new();
            for (epoch, layer) in layers.iter().enumerate() {
                // A table deletes what is there only.
                let rows: Contents =
                    layer.clone().into_iter().filter(|(key, value)| value.is_some() || now.contains_key(key)).collect();
                let new = rows.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
                generations.push(Box::new(generation(epoch as u64, &rows, &new)));
                for (key, value) in rows {
                    match value {
                        Some(_) => now.insert(key, value),
                        None => now.remove(&key),
                    };
                }
            }
            let older = merged.min(generations.len());
            if let Some(one) = Generation::merge(&generations[..older]) {
                generations.splice(..older, [Box::new(one)]);
            }
            let drained = owned(Newest::new(&generations).rows());
            if older == 0 {
                for (key, _) in drained.iter().filter(|(_, value)| value.is_none()) {
                    prop_assert!(stored.contains_key(key), "a deletion of nothing");
                }
            }
            let mut store = stored;
            store.extend(drained);
            store.retain(|_, value| value.is_some());
            prop_assert_eq!(store, now);
        }
    }
}
