//! Those operators of a random graph that look at time, built with the library as a user would; and what the closures in them do.

use super::grammar::{Node, Op, Unmatched, Windowing};
use super::graph::{
    Building, WindowTable, chained, joined, keeps, mapped_value, named, options, re_keyed, weighed,
};
use super::{K, V};
use millpond::codec::Key;
use millpond::stream::{Alarmed, Emit, Hopping, Session, SessionKey, Sliding, Tumbling, Within};
use millpond::{Process, StoredTable, Stream, Table, TableOptions, VersionedTable, Windowed};
use std::ops::Range;
use std::time::Duration;

/// How long windows are.
pub fn size_ms(n: u8) -> i64 {
    [10, 1, 25][usize::from(n % 3)]
}

/// How long hopping windows are, and how far apart.
pub fn hopping_ms(n: u8) -> (i64, i64) {
    [(10, 5), (3, 1), (25, 10)][usize::from(n % 3)]
}

/// How long late records are waited for.
pub fn grace_ms(n: u8) -> i64 {
    [0, 7, 30, 2][usize::from(n % 4)]
}

/// For how long the rows of windows are kept, if they are not for ever.
pub fn keep_ms(n: u8) -> Option<i64> {
    [None, Some(0), Some(20)][usize::from(n / 2 % 3)]
}

/// How far back and ahead a record of the left stream meets those of the right one.
pub fn reach_ms(n: u8) -> (i64, i64) {
    [(0, 7), (5, 0), (12, 3), (0, 0)][usize::from(n % 4)]
}

/// For how long a versioned table knows what its rows were: no less than any grace.
pub fn history_ms(n: u8) -> i64 {
    [30, 45][usize::from(n % 2)]
}

/// Whether what is folded by tumbling windows minds the order of records.
pub fn is_chained(n: u8) -> bool {
    n.is_multiple_of(2)
}

/// What is folded by windows that merge, and by others.
pub fn windowed(windows: Windowing, n: u8, acc: V, v: V) -> V {
    if windows == Windowing::Tumbling && is_chained(n) {
        chained(acc, v)
    } else {
        acc.wrapping_add(weighed(n, v))
    }
}

/// What is folded of a second stream.
pub fn of_second(n: u8, v: V) -> V {
    mapped_value(n, (0, 0), v)
}

/// What a window says in the end.
pub fn final_value(windowed: &Windowed<K>, value: V) -> V {
    value.wrapping_mul(3).wrapping_add(windowed.start_ms)
}

/// The group of a window.
pub fn window_group(n: u8, windowed: &Windowed<K>, v: V) -> (K, V) {
    (((windowed.key.1 + n) % 3, windowed.start_ms.rem_euclid(3) as u8), v)
}

/// The key under which a window is.
pub fn window_key(n: u8, windowed: &Windowed<K>) -> K {
    (windowed.key.0, windowed.start_ms.rem_euclid(2 + i64::from(n)) as u8)
}

/// What becomes of the row of a window on the way to another table.
pub fn window_value(n: u8, windowed: &Windowed<K>, v: V) -> Option<V> {
    keeps(n, v).then(|| v.wrapping_add(windowed.end_ms))
}

/// When a row goes.
pub fn until_ms(n: u8, v: V) -> i64 {
    v.wrapping_mul(7).wrapping_add(10 * V::from(n))
}

/// From when until when a row is valid.
pub fn valid_ms(n: u8, v: V) -> Range<i64> {
    let from = until_ms(n, v);
    from..from.saturating_add([40, 5, -3][usize::from(n % 3)])
}

/// What is kept of a key, and when it is looked at again.
pub type Kept = (Option<V>, Option<i64>);

/// What a process with alarms keeps after a value, and what it emits.
pub fn alarm_process(n: u8, v: V, times: (i64, i64), (state, alarm): Kept) -> (Kept, V) {
    let (timestamp_ms, stream_time_ms) = times;
    let now = chained(state.unwrap_or(V::from(n)), v);
    let alarm = match v.rem_euclid(5) {
        0 => Some(timestamp_ms + size_ms(n)),
        1 => None,
        2 => Some(stream_time_ms - 10),
        3 => Some(stream_time_ms + 17),
        _ => alarm,
    };
    let kept = if now.rem_euclid(7) == 0 { (None, None) } else { (Some(now), alarm) };
    (kept, now)
}

/// What it keeps after an alarm, and what it emits.
pub fn alarm_sound(n: u8, at_ms: i64, state: Option<V>) -> (Kept, V) {
    let now = state.unwrap_or(0).wrapping_add(at_ms);
    let kept = match now.rem_euclid(3) {
        0 => (None, None),
        1 => (Some(now / 2), Some(at_ms + size_ms(n))),
        _ => (Some(now), None),
    };
    (kept, now)
}

/// The key under which it emits.
pub fn alarm_key(n: u8, k: K, v: V) -> K {
    if n.is_multiple_of(2) { k } else { re_keyed(n, k, v) }
}

struct WithAlarms(u8);

impl Process<K, V> for WithAlarms {
    type State = V;
    type OutKey = K;
    type OutValue = V;

    fn process(&self, key: &K, value: V, state: &mut Option<V>, emit: &mut Emit<K, V>) {
        let times = (emit.timestamp_ms(), emit.stream_time_ms());
        let ((now, alarm), emitted) = alarm_process(self.0, value, times, (*state, emit.alarm()));
        *state = now;
        emit.set_alarm(alarm);
        emit.push(alarm_key(self.0, *key, emitted), emitted);
    }
}

impl Alarmed<K, V> for WithAlarms {
    fn alarm(&self, key: &K, at_ms: i64, state: &mut Option<V>, emit: &mut Emit<K, V>) {
        let ((now, alarm), emitted) = alarm_sound(self.0, at_ms, *state);
        *state = now;
        emit.set_alarm(alarm);
        emit.push(alarm_key(self.0, *key, emitted), emitted);
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

fn tumbling(n: u8) -> Tumbling {
    Tumbling::of(millis(size_ms(n))).grace(millis(grace_ms(n)))
}

fn hopping(n: u8) -> Hopping {
    let (size, hop) = hopping_ms(n);
    Hopping::of(millis(size)).every(millis(hop)).grace(millis(grace_ms(n)))
}

fn sliding(n: u8) -> Sliding {
    Sliding::of(millis(size_ms(n))).grace(millis(grace_ms(n)))
}

fn session(n: u8) -> Session {
    Session::gap(millis(size_ms(n))).grace(millis(grace_ms(n)))
}

fn within(n: u8) -> Within {
    let (before, after) = reach_ms(n);
    Within::before(millis(before)).after(millis(after)).grace(millis(grace_ms(n)))
}

fn told(finals: &Stream<Windowed<K>, V>) -> Stream<K, V> {
    finals.map(|windowed, v| (windowed.key, final_value(&windowed, v)))
}

fn add(acc: &mut V, other: V) {
    *acc = acc.wrapping_add(other);
}

impl Building<'_> {
    #[expect(clippy::too_many_lines, reason = "one arm for each operator")]
    pub(super) fn stream_in_time(&mut self, number: usize, node: &Node) -> Stream<K, V> {
        let n = node.n;
        match node.op {
            Op::Finals { windows, stream } => self.finals(number, node, windows, stream),
            Op::Late { windows, stream } => {
                let grouped = self.stream_of(stream).group_by_key();
                match windows {
                    Windowing::Tumbling => grouped.windowed(tumbling(n)).late(),
                    Windowing::Hopping => grouped.windowed(hopping(n)).late(),
                    Windowing::Sliding => grouped.windowed(sliding(n)).late(),
                    Windowing::Session => grouped.windowed(session(n)).late(),
                }
            }
            Op::CogroupFinals { left, right } => {
                let (left, right) =
                    (self.stream_of(left).group_by_key(), self.stream_of(right).group_by_key());
                let both = left
                    .cogroup(|acc: &mut V, _, v| *acc = chained(*acc, v))
                    .and(&right, move |acc, _, v| *acc = chained(*acc, of_second(n, v)));
                let table = both.windowed(tumbling(n)).fold(options(node), || 0);
                self.windows.push((number, WindowTable::Windows(table.table().clone())));
                told(&table.on_close())
            }
            Op::InTimeOrder { stream } => {
                let ordered = self.stream_of(stream).in_time_order(options::<V>(node), millis(grace_ms(n)));
                ordered.filter(|_, _| true)
            }
            Op::OrderLate { stream } => {
                self.stream_of(stream).in_time_order(options::<V>(node), millis(grace_ms(n))).late()
            }
            Op::DistinctWithin { stream } => {
                self.stream_of(stream).distinct_within(options::<()>(node), millis(size_ms(n)))
            }
            Op::JoinWithin { unmatched, left, right } => {
                let (left, right) = (self.stream_of(left), self.stream_of(right));
                let store = TableOptions::named(&format!("t{}", node.id)).version(node.version);
                let join = match unmatched {
                    Unmatched::Neither => {
                        left.join_within(right, within(n), store, |_, l, r| joined(Some(*l), Some(*r)))
                    }
                    Unmatched::Left => {
                        left.left_join_within(right, within(n), store, |_, l, r| joined(Some(*l), r.copied()))
                    }
                    Unmatched::Both => left
                        .outer_join_within(right, within(n), store, |_, l, r| joined(l.copied(), r.copied())),
                };
                join.filter(|_, _| true)
            }
            Op::JoinLate { left, right } => {
                let (left, right) = (self.stream_of(left), self.stream_of(right));
                let store = TableOptions::named(&format!("t{}", node.id)).version(node.version);
                let join = left.join_within(right, within(n), store, |_, l: &V, _: &V| *l);
                if n.is_multiple_of(2) { join.late_left() } else { join.late_right() }
            }
            Op::JoinBy { stream, table } => self.stream_of(stream).join_by(
                self.table_of(table),
                move |k, v| named(n, *k, *v),
                |_, v, row| joined(Some(v), Some(*row)),
            ),
            Op::LeftJoinBy { stream, table } => self.stream_of(stream).left_join_by(
                self.table_of(table),
                move |k, v| named(n, *k, *v),
                |_, v, row| joined(Some(v), row.copied()),
            ),
            Op::JoinAsOf { stream, versioned } => {
                let join = |_: &K, v, row: &V| joined(Some(v), Some(*row));
                let (stream, grace) = (self.stream_of(stream), millis(grace_ms(n)));
                let released = stream.join_as_of(self.versioned(versioned), options::<V>(node), grace, join);
                released.filter(|_, _| true)
            }
            Op::LeftJoinAsOf { stream, versioned } => {
                let join = |_: &K, v, row: Option<&V>| joined(Some(v), row.copied());
                let (stream, grace) = (self.stream_of(stream), millis(grace_ms(n)));
                let released =
                    stream.left_join_as_of(self.versioned(versioned), options::<V>(node), grace, join);
                released.filter(|_, _| true)
            }
            Op::Alarms { stream } => {
                self.stream_of(stream).process_with_alarms(options::<V>(node), WithAlarms(n)).0
            }
            op => panic!("{op:?} makes no stream"),
        }
    }

    fn versioned(&self, number: usize) -> &VersionedTable<K, V> {
        &self.versions.iter().find(|(node, _)| *node == number).unwrap().1
    }

    fn finals(&mut self, number: usize, node: &Node, windows: Windowing, stream: usize) -> Stream<K, V> {
        let n = node.n;
        let grouped = self.stream_of(stream).group_by_key();
        let fold = move |acc: &mut V, _: &K, v| *acc = windowed(windows, n, *acc, v);
        match windows {
            Windowing::Tumbling => {
                let divided = grouped.windowed(tumbling(n));
                let divided = match keep_ms(n) {
                    Some(ms) => divided.keep(millis(ms)),
                    None => divided,
                };
                let table = divided.fold(options(node), || 0, fold);
                self.windows.push((number, WindowTable::Windows(table.table().clone())));
                told(&table.on_close())
            }
            Windowing::Hopping => {
                let table = grouped.windowed(hopping(n)).fold(options(node), || 0, fold, add);
                told(&table.on_close())
            }
            Windowing::Sliding => {
                let table = grouped.windowed(sliding(n)).fold(options(node), || 0, fold, add);
                told(&table.on_close())
            }
            Windowing::Session => {
                let table = grouped.windowed(session(n)).fold(options(node), || 0, fold, add);
                self.windows.push((number, WindowTable::Sessions(table.table().clone())));
                told(&table.on_close())
            }
        }
    }

    pub(super) fn table_in_time(&mut self, number: usize, node: &Node) -> Table<K, V> {
        let n = node.n;
        let table = match node.op {
            Op::Windows { windows, stream } => return self.by_other_groups(number, node, windows, stream),
            Op::Cogroup { left, right } => {
                let (left, right) =
                    (self.stream_of(left).group_by_key(), self.stream_of(right).group_by_key());
                left.cogroup(|acc: &mut V, _, v| *acc = chained(*acc, v))
                    .and(&right, move |acc, _, v| *acc = chained(*acc, of_second(n, v)))
                    .fold(options(node), || 0)
            }
            Op::Versioned { topic } => {
                let table = self.builder.versioned(&self.topic(topic), options(node), millis(history_ms(n)));
                let latest = (*table).clone();
                self.versions.push((number, table));
                latest
            }
            Op::ExpireAfter { table } => self.table_of(table).expire_after(options(node), millis(size_ms(n))),
            Op::ExpireUpserts { topic } => {
                self.builder.upserts(&self.topic(topic)).expire_after(options(node), millis(size_ms(n)))
            }
            Op::ExpireAt { table } => {
                self.table_of(table).expire_at(options(node), move |_, v| until_ms(n, *v))
            }
            Op::WhileValid { table } => {
                self.table_of(table).while_valid(options(node), move |_, v| valid_ms(n, *v))
            }
            Op::Settled { table } => self.table_of(table).settled(options(node), millis(size_ms(n))),
            Op::AlarmsState { stream } => {
                self.stream_of(stream).process_with_alarms(options::<V>(node), WithAlarms(n)).1
            }
            op => panic!("{op:?} makes no table"),
        };
        self.plain(number, node, table)
    }

    fn by_other_groups(
        &mut self,
        number: usize,
        node: &Node,
        windows: Windowing,
        stream: usize,
    ) -> Table<K, V> {
        let n = node.n;
        let grouped = self.stream_of(stream).group_by_key();
        let fold = move |acc: &mut V, _: &K, v| *acc = windowed(windows, n, *acc, v);
        let store = TableOptions::named(&format!("t{}.windows", node.id)).version(node.version);
        let table = match windows {
            Windowing::Tumbling => {
                let all = grouped.windowed(tumbling(n)).fold(store, || 0, fold).table().clone();
                self.windows.push((number, WindowTable::Windows(all.clone())));
                by_other_groups(node, &all, |windowed| *windowed)
            }
            Windowing::Hopping => {
                let slices = TableOptions::named(&format!("t{}.slices", node.id)).version(node.version);
                let all = grouped.windowed(hopping(n)).fold(slices, || 0, fold, add).table(store);
                self.windows.push((number, WindowTable::Windows(all.clone())));
                by_other_groups(node, &all, |windowed| *windowed)
            }
            Windowing::Session => {
                let all = grouped.windowed(session(n)).fold(store, || 0, fold, add).table().clone();
                self.windows.push((number, WindowTable::Sessions(all.clone())));
                by_other_groups(node, &all, |session: &SessionKey<K>| Windowed::from(*session))
            }
            Windowing::Sliding => panic!("sliding windows have no table"),
        };
        self.plain(number, node, table)
    }
}

/// What is made of a table of windows or of sessions by other groups than its own.
fn by_other_groups<W: Key>(
    node: &Node,
    all: &StoredTable<W, V>,
    window: impl Fn(&W) -> Windowed<K> + Copy + Send + Sync + 'static,
) -> StoredTable<K, V> {
    let n = node.n;
    let group = move |key: &W, v: &V| window_group(n, &window(key), *v);
    match n % 3 {
        0 => all.group_by(group).fold(
            options(node),
            || 0,
            |sum: &mut V, _, v| *sum = sum.wrapping_add(v),
            |sum, _, v| *sum = sum.wrapping_sub(v),
        ),
        1 => all
            .filter(move |key, v| window_value(n, &window(key), *v).is_some())
            .map_values(move |key, v| window_value(n, &window(key), v).unwrap_or(v))
            .group_by(group)
            .min(options(node), |v| *v),
        _ => all.re_key(options::<V>(node), move |key, _| window_key(n, &window(key))),
    }
}
