//! What the shop answers, as JSON: every row of every table, and every record of its log.

use super::Shop;
use millpond::changelog::{Changelog, Record};
use millpond::codec::{Key, Value};
use millpond::{Result, Stepper, StoredTable, TopicPartition};
use millpond_support::records::read;
use serde_json::{Value as Row, json};
use std::collections::BTreeMap;

/// The rows of each table, by name.
pub(crate) type Rows = BTreeMap<String, Vec<(Row, Row)>>;

/// Of each partition the first offset and the records.
pub(crate) type Log = BTreeMap<String, (u64, Vec<String>)>;

fn rows<K: Key + serde::Serialize, V: Value>(
    stepper: &Stepper,
    table: &StoredTable<K, V>,
    show: impl Fn(V) -> Row,
) -> Result<Vec<(Row, Row)>> {
    let view = stepper.view(table)?;
    let rows: Vec<(K, V)> = view.scan()?.collect::<Result<_>>()?;
    assert_eq!(view.count()?, rows.len() as u64, "the number of rows");
    for (key, value) in &rows {
        let got = view.get(key)?.map(&show);
        assert_eq!(got, Some(show(value.clone())), "a scan and a read of one key differ");
    }
    Ok(rows.into_iter().map(|(key, value)| (json!(key), show(value))).collect())
}

fn plain<V: serde::Serialize>(value: V) -> Row {
    serde_json::to_value(value).unwrap()
}

/// All rows of all tables.
pub(crate) fn all(shop: &Shop, stepper: &Stepper) -> Result<Rows> {
    let mut all = Rows::new();
    let mut put = |name: &str, rows| all.insert(name.to_owned(), rows);
    put("orders", rows(stepper, &shop.orders, plain)?);
    put("customers", rows(stepper, &shop.customers, plain)?);
    put("newest", rows(stepper, &shop.newest, plain)?);
    put("notes", rows(stepper, &shop.notes, plain)?);
    put("visits", rows(stepper, &shop.visits, plain)?);
    put("clicks", rows(stepper, &shop.clicks, plain)?);
    put("chain", rows(stepper, &shop.chain, plain)?);
    put("sum", rows(stepper, &shop.sum, |sum| json!(sum.to_string()))?);
    put("mean", rows(stepper, &shop.mean, |mean| json!([mean.total().to_string(), mean.count()]))?);
    put("least", rows(stepper, &shop.least, plain)?);
    put("top", rows(stepper, &shop.top, |top| json!(top.as_slice()))?);
    put("last", rows(stepper, &shop.last, plain)?);
    put("kinds", rows(stepper, &shop.kinds, |kinds| json!(kinds.iter().collect::<Vec<_>>()))?);
    put("floats", rows(stepper, &shop.floats, |sum| json!(sum.value()))?);
    put("changed", rows(stepper, &shop.changed, plain)?);
    put("spent", rows(stepper, &shop.spent, plain)?);
    put("dearest", rows(stepper, &shop.dearest, |prices| json!(prices.iter().collect::<Vec<_>>()))?);
    put("named", rows(stepper, &shop.named, plain)?);
    put("profile", rows(stepper, &shop.profile, plain)?);
    put("met", rows(stepper, &shop.met, plain)?);
    Ok(all)
}

/// A short text for bytes: as they are, or their length and a hash.
fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "empty".to_owned();
    }
    if bytes.len() <= 24 {
        let digit = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap();
        return bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    }
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{}-bytes-{hash:016x}", bytes.len())
}

/// Of each partition the first offset, and every record from there on.
pub(crate) fn log(changelog: &dyn Changelog) -> Result<Log> {
    let mut partitions = BTreeMap::new();
    for (topic, count) in changelog.topics()? {
        for partition in 0..count {
            let id = TopicPartition::new(topic.clone(), partition);
            let start = changelog.offsets(&id)?.start;
            let records = read(changelog, &id)?.iter().map(shown).collect();
            partitions.insert(id.to_string(), (start, records));
        }
    }
    Ok(partitions)
}

fn shown(record: &Record) -> String {
    let headers = record
        .headers
        .iter()
        .map(|header| format!(" {}={}", header.name, header.value.as_deref().map_or("-".to_owned(), text)));
    let value = record.value.as_deref().map_or("-".to_owned(), text);
    format!(
        "{} {} {value}{}",
        record.timestamp_ms,
        record.key.as_deref().map_or("-".to_owned(), text),
        headers.collect::<String>()
    )
}
