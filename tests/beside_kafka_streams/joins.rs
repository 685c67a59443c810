//! Joins of two streams. Records are taken one after the other, as it may matter which come first.

use super::log::{Log, Side};
use super::rules::Rules;
use super::told::Pair;

/// A record that others may meet.
#[derive(Debug, Clone, Copy)]
struct Held {
    at: i64,
    reached: i64,
    key: u8,
    number: u64,
    side: Side,
    close: i64,
    /// Whether it waits to be told to have met none.
    waits: bool,
}

impl Held {
    fn lonely(&self) -> Pair {
        self.pair(None)
    }

    fn pair(&self, other: Option<u64>) -> Pair {
        match self.side {
            Side::Left => (self.key, Some(self.number), other),
            Side::Right => (self.key, other, Some(self.number)),
        }
    }
}

/// All pairs, and of the sides that `lonely` names what has met none.
pub(crate) fn joined(log: &Log, rules: &Rules, lonely: [bool; 2]) -> Vec<Pair> {
    let (mut held, mut told) = (Vec::<Held>::new(), Vec::new());
    let takes_time = |record: &super::log::Record| {
        !rules.empty_records_take_no_time || record.side.is_some() && !record.deletes
    };
    let mut looked = Looked { least: i64::MAX };
    // The greatest of each side that was kept.
    let mut kept = [i64::MIN; 2];
    for (record, reached) in log.by_time(takes_time) {
        let side = record.side.filter(|_| !record.deletes);
        if let Some(side) = side {
            let wait = if side == Side::Left { log.after } else { log.before };
            if rules.lonely_with_the_next && record.at == reached {
                looked.look(&mut held, reached, (wait, log.grace), &mut told);
            }
            let close = record.at + wait + log.grace + 1;
            let mut me = Held {
                at: record.at,
                reached,
                key: record.key,
                number: record.number,
                side,
                close,
                waits: false,
            };
            kept[side as usize] = kept[side as usize].max(record.at);
            if reached < close || rules.late_records_meet {
                let retention = log.before + log.after + log.grace;
                let meets = |other: &Held| {
                    let apart = if side == Side::Left { other.at - me.at } else { me.at - other.at };
                    let is_met = if rules.late_records_meet {
                        other.at > kept[other.side as usize].saturating_sub(retention)
                    } else {
                        reached.max(other.reached) < close.min(other.close)
                    };
                    other.side != side
                        && other.key == me.key
                        && (-log.before..=log.after).contains(&apart)
                        && is_met
                };
                let mut has_met = false;
                for other in held.iter_mut().filter(|other| meets(other)) {
                    other.waits = false;
                    told.push(me.pair(Some(other.number)));
                    has_met = true;
                }
                if !has_met && lonely[side as usize] {
                    if rules.lonely_at_once && record.at + wait < reached {
                        told.push(me.lonely());
                    } else {
                        me.waits = true;
                        looked.least = looked.least.min(me.at);
                    }
                }
                held.push(me);
            }
        }
        if !rules.lonely_with_the_next {
            tell_lonely(&mut held, reached, &mut told);
        }
    }
    told
}

/// What is closed and has met none.
fn tell_lonely(held: &mut [Held], reached: i64, told: &mut Vec<Pair>) {
    for each in held.iter_mut().filter(|each| each.waits && each.close <= reached) {
        each.waits = false;
        told.push(each.lonely());
    }
}

/// From when Kafka Streams takes the first that has met none to be. It looks with a record that takes time on, before that meets others.
struct Looked {
    least: i64,
}

impl Looked {
    fn look(&mut self, held: &mut [Held], reached: i64, (wait, grace): (i64, i64), told: &mut Vec<Pair>) {
        if self.least.saturating_add(wait + grace) >= reached {
            return;
        }
        self.least = i64::MAX;
        let mut waiting: Vec<_> = held.iter_mut().filter(|each| each.waits).collect();
        waiting.sort_by_key(|each| each.at);
        let mut is_open = [false; 2];
        for each in waiting {
            // It goes on over what is open of one side until it has come to what is of the other.
            self.least = each.at;
            if is_open == [true; 2] {
                break;
            }
            if each.close > reached {
                is_open[each.side as usize] = true;
            } else {
                each.waits = false;
                told.push(each.lonely());
            }
        }
    }
}
