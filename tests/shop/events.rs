//! What happens in the shop: records as bytes, the same at every run.
//!
//! Four appends in a row have the same timestamp, whatever their topic.

use super::{Customer, Order, Progress, topics};
use millpond::changelog::{Append, Changelog, Record};
use millpond::codec::{Key, Value};
use millpond::{Position, Result, Topic, TopicPartition};
use millpond_support::records::{self, partition_of};
use std::ops::Range;

/// Bytes that do not compress. They are in what 0.1 stored, so how they are made stays.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| byte()).collect()
}

pub(crate) fn record<K: Key, V: Value>(
    topic: &Topic<K, V>,
    key: &K,
    value: Option<&V>,
    number: u64,
) -> (TopicPartition, Record) {
    let partition = partition_of(topic, key);
    let record = records::record(topic, key, value);
    let record = record.at(1_700_000_000_000 + (number / 4) as i64);
    let record = if number.is_multiple_of(5) {
        record.with_header("trace", number.to_be_bytes().to_vec()).with_header("", "")
    } else {
        record
    };
    (partition, record)
}

/// Appends the records, those of a partition together.
pub(crate) fn append(log: &dyn Changelog, records: Vec<(TopicPartition, Record)>) -> Result<Position> {
    let mut appends: Vec<Append> = Vec::new();
    for (partition, record) in records {
        match appends.iter_mut().find(|append| append.partition == partition) {
            Some(append) => append.records.push(record),
            None => appends.push(Append { partition, records: vec![record] }),
        }
    }
    log.append(appends).wait_blocking()
}

/// Customers 1 to 9, of whom 9 is there, gone and there again, and whose timestamps do not ascend.
pub(crate) fn customers(log: &dyn Changelog, round: u64, ids: Range<u32>) -> Result<Position> {
    let topic = topics().customers;
    let mut records = Vec::new();
    for (number, id) in (round * 100..).zip(ids) {
        let customer = Customer {
            name: format!("Customer {id} of round {round}"),
            city: (id % 3 != 0).then(|| ["Zürich", "Ulm", "Bern"][id as usize % 3].to_owned()),
            tags: (0..id % 4).map(|tag| format!("tag{tag}")).collect(),
        };
        records.push(record(&topic, &id, Some(&customer), number));
        if id == 9 {
            records.push(record(&topic, &id, None, number));
            records.push(record(&topic, &id, Some(&customer), number));
        }
        // Older than what came before: passed over where timestamps decide.
        let older = Customer { name: format!("older {id}"), ..customer };
        records.push(record(&topic, &id, Some(&older), number.saturating_sub(50)));
    }
    append(log, records)
}

/// Orders of the customers 1 to 5, one append each for some and one for all the others.
pub(crate) fn orders(log: &dyn Changelog, numbers: Range<u64>) -> Result<()> {
    let topic = topics().orders;
    let mut together = Vec::new();
    for number in numbers {
        let id = number % 37;
        let progress = match number % 4 {
            0 => Progress::Paid { by: "card".to_owned() },
            1 => Progress::Cancelled((number % 200) as u8, "changed their mind".to_owned()),
            _ => Progress::Open,
        };
        let order = Order {
            customer: 1 + (number * 7 % 5) as u32,
            item: format!("item {} in a box, in a box, in a box, in a box", number % 6),
            cents: number as i64 * 100 - 300,
            progress,
        };
        let order = (number % 11 != 3).then_some(order);
        let placed = record(&topic, &id, order.as_ref(), number);
        if number % 7 == 0 {
            append(log, vec![placed])?;
        } else {
            together.push(placed);
        }
    }
    append(log, together).map(drop)
}

/// Clicks, two in forty of which do not decode: their value is cut short.
pub(crate) fn clicks(log: &dyn Changelog, numbers: Range<u64>) -> Result<()> {
    let topic = topics().clicks;
    for number in numbers {
        let page = ["home", "basket", "ä/ö\0", ""][(number * 3 % 4) as usize].to_owned();
        let (partition, mut click) = record(&topic, &page, Some(&((number * 13 % 41) as u32 + 300)), number);
        if number % 20 == 11 {
            click.value = click.value.map(|value| value.slice(..1));
        }
        append(log, vec![(partition, click)])?;
    }
    Ok(())
}

pub(crate) fn visits(log: &dyn Changelog, numbers: Range<u64>) -> Result<()> {
    let topic = topics().visits;
    for number in numbers {
        let key = (format!("gate {}", number % 3), (number % 2) as u8);
        append(log, vec![record(&topic, &key, Some(&noise(number, 1500)), number)])?;
    }
    Ok(())
}

pub(crate) fn notes(log: &dyn Changelog, numbers: Range<u64>) -> Result<()> {
    let topic = topics().notes;
    for number in numbers {
        let note = (number % 5 != 4).then(|| noise(number, (number % 7) as usize * 3));
        append(log, vec![record(&topic, &((number % 9) as i32 - 4), note.as_ref(), number)])?;
    }
    Ok(())
}

/// What goes on when a state and a log are opened again; other records for every round.
pub(crate) fn later(log: &dyn Changelog, round: u64) -> Result<()> {
    let first = round * 1000;
    customers(log, round, 6..10)?;
    orders(log, first..first + 25)?;
    clicks(log, first..first + 30)?;
    visits(log, first..first + 5)?;
    notes(log, first..first + 12)
}
