//! The outputs of an epoch: what is appended to each partition, in an order that does not depend on shards.
//!
//! Records follow the order of their stamps. Two sinks may write to one topic on behalf of one record: what the records are decides then.
//! What closes at one time is in the order of keys. A stamp knows the first bytes of the key for which something closes, and where these
//! are alike the keys of the records decide, by the first record of each closing: what is made of one closing stays together, in the order
//! in which it was made.

use crate::TopicPartition;
use crate::changelog::Append;
use crate::dataflow::Sunk;
use crate::flow::ClosingPlace;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What is appended for one epoch.
pub(super) fn appends(mut sunk: Vec<Sunk>) -> Vec<Append> {
    sunk.sort_by(|a, b| {
        let [one, other] = [a, b].map(|sunk| (&sunk.topic, sunk.partition, &sunk.stamp, &sunk.record));
        one.cmp(&other)
    });
    for beside in
        sunk.chunk_by_mut(|a, b| are_beside(a, b) && (&a.topic, a.partition) == (&b.topic, b.partition))
    {
        in_order_of_keys(beside);
    }
    let mut appends: Vec<Append> = Vec::new();
    for Sunk { topic, partition, record, .. } in sunk {
        let to = TopicPartition::new(topic, partition);
        match appends.last_mut() {
            Some(append) if append.partition == to => append.records.push(record),
            _ => appends.push(Append { partition: to, records: vec![record] }),
        }
    }
    appends
}

/// Whether both were made where something closed, and stamps do not tell the order of their keys.
fn are_beside(a: &Sunk, b: &Sunk) -> bool {
    let closings = a.stamp.closing().zip(b.stamp.closing());
    closings.is_some_and(|(one, other)| one.is_beside(&other))
}

/// Puts closings in the order of the keys of their first records.
fn in_order_of_keys(beside: &mut [Sunk]) {
    let mut firsts: BTreeMap<Option<ClosingPlace>, Option<Bytes>> = BTreeMap::new();
    for sunk in &*beside {
        firsts.entry(sunk.stamp.closing()).or_insert_with(|| sunk.record.key.clone());
    }
    if firsts.len() > 1 {
        beside.sort_by_cached_key(|sunk| {
            let closing = sunk.stamp.closing();
            (firsts.get(&closing).cloned().flatten(), closing)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::Record;
    use crate::flow::Stamp;

    fn sunk(stamp: Stamp, key: &str) -> Sunk {
        let record = Record { key: Some(Bytes::copy_from_slice(key.as_bytes())), ..Record::default() };
        Sunk { topic: "out".into(), partition: 0, stamp, record }
    }

    #[test]
    fn what_closes_together_is_in_order_of_keys_and_what_is_made_of_it_stays_together() {
        let of = |at_ms: i64, key: &str| Stamp::of_closing(at_ms, key.as_bytes(), at_ms);
        // Of each closing what a step makes of it: records of other keys, the greater one first.
        let made = |at_ms: i64, key: &str| {
            [0, 1].map(|step| sunk(of(at_ms, key).branch(step), &format!("{key}{}", ["z", "a"][step])))
        };
        let keys = ["alike-1", "alike-2", "alike-3", "alike-4", "early"];
        let mut all = keys.into_iter().flat_map(|key| made(7, key)).collect::<Vec<_>>();
        all.extend(made(6, "late"));
        let expected = ["latez", "latea"].into_iter().map(str::to_owned);
        let expected =
            expected.chain(keys.iter().flat_map(|key| ["z", "a"].map(|end| format!("{key}{end}"))));
        let expected: Vec<String> = expected.collect();
        for rotated in 0..all.len() {
            all.rotate_left(rotated);
            let appended = appends(all.clone());
            let keys = appended[0].records.iter().map(|record| record.key.clone().unwrap());
            assert_eq!(
                keys.map(|key| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>(),
                expected
            );
        }
    }
}
