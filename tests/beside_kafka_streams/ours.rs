//! What millpond makes of a log: folded in random epochs, drained and killed in between.

use super::log::{Log, Side};
use super::told::{Final, Pair, Told};
use millpond::changelog::{Changelog, MemoryChangelog, TopicConfig};
use millpond::codec::{Key, Value};
use millpond::stream::{Hopping, Session, Sliding, Tumbling, Within};
use millpond::{Graph, GraphBuilder, Topic, Windowed};
use millpond_support::life::Life;
use millpond_support::random::Random;
use millpond_support::records;
use std::sync::Arc;
use std::time::Duration;

/// The number of a record, and whether it is of the left side; of neither is one that deletes.
type Sided = (u64, Option<bool>);

fn all() -> Topic<u8, Sided> {
    Topic::new("all")
}

fn left() -> Topic<u8, u64> {
    Topic::new("left")
}

fn right() -> Topic<u8, u64> {
    Topic::new("right")
}

fn finals(kind: &str) -> Topic<Windowed<u8>, Vec<u64>> {
    Topic::new(&format!("{kind}.told")).partitions(1)
}

fn pairs(kind: &str) -> Topic<u8, (Option<u64>, Option<u64>)> {
    Topic::new(&format!("{kind}.told")).partitions(1)
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

fn graph(log: &Log) -> Graph {
    let (graph, grace) = (GraphBuilder::new(), ms(log.grace));
    let stream = graph.stream(&all());
    let grouped = stream.map_values(|_, (number, _)| number).group_by_key();
    let push = |list: &mut Vec<u64>, _: &u8, number| list.push(number);
    let join = |list: &mut Vec<u64>, more: Vec<u64>| list.extend(more);
    let tumbling = grouped.windowed(Tumbling::of(ms(log.size)).grace(grace));
    tumbling.fold("tumbling", Vec::new, push).on_close().to(&finals("tumbling"));
    let hopping = grouped.windowed(Hopping::of(ms(log.size)).every(ms(log.hop)).grace(grace));
    hopping.fold("hopping", Vec::new, push, join).on_close().to(&finals("hopping"));
    let sliding = grouped.windowed(Sliding::of(ms(log.difference)).grace(grace));
    sliding.fold("sliding", Vec::new, push, join).on_close().to(&finals("sliding"));
    let session = grouped.windowed(Session::gap(ms(log.gap)).grace(grace));
    session.fold("session", Vec::new, push, join).on_close().to(&finals("session"));

    let side = |is_left| {
        let of_side = stream.filter(move |_, (_, side)| *side == Some(is_left));
        of_side.map_values(|_, (number, _)| number)
    };
    let (of_left, of_right) = (side(true), side(false));
    let within = Within::before(ms(log.before)).after(ms(log.after)).grace(grace);
    let pair = |_: &u8, left: Option<&u64>, right: Option<&u64>| (left.copied(), right.copied());
    of_left
        .join_within(&of_right, within, "inner", move |key, left, right| pair(key, Some(left), Some(right)))
        .to(&pairs("inner"));
    of_left
        .left_join_within(&of_right, within, "left", move |key, left, right| pair(key, Some(left), right))
        .to(&pairs("left"));
    of_left.outer_join_within(&of_right, within, "outer", pair).to(&pairs("outer"));

    let rates = graph.versioned(&right(), "rates", ms(log.history));
    let payments = graph.stream(&left());
    payments
        .join_as_of(&rates, "as_of", grace, |_, left, right| (Some(left), Some(*right)))
        .to(&pairs("as_of"));
    payments
        .left_join_as_of(&rates, "left_as_of", grace, |_, left, right| (Some(left), right.copied()))
        .to(&pairs("left_as_of"));
    graph.build().unwrap()
}

fn append(changelog: &dyn Changelog, log: &Log, life: &mut Life<()>, random: &mut Random) {
    for record in &log.records {
        let side = record.side.filter(|_| !record.deletes).map(|side| side == Side::Left);
        let value = record.side.map(|_| (record.number, side));
        let put = records::record(&all(), &record.key, value.as_ref()).at(record.at);
        records::append(changelog, records::partition(&all(), 0), vec![put]).unwrap();
        if let Some(side) = record.side {
            let topic = if side == Side::Left { left() } else { right() };
            let value = Some(&record.number).filter(|_| !record.deletes);
            let put = records::record(&topic, &record.key, value).at(record.at);
            records::append(changelog, records::partition(&topic, 0), vec![put]).unwrap();
        }
        if random.below(3) == 0 {
            life.step(random);
        }
    }
}

/// What comes out of `log`.
pub(crate) fn told(log: &Log, random: &mut Random) -> Told {
    let changelog: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
    for name in ["all", "left", "right"] {
        changelog.create_topic(name, &TopicConfig::default().partitions(1)).unwrap();
    }
    let asked = log.clone();
    let mut life = Life::new(changelog.clone(), move || (graph(&asked), ()));
    append(&*changelog, log, &mut life, random);
    life.fold_all();
    let changelog = &*changelog;
    let [tumbling, hopping] = ["tumbling", "hopping"].map(|kind| read_finals(changelog, kind, 0));
    // Ends are included as Kafka Streams says those of sliding windows and sessions.
    let [sliding, session] = ["sliding", "session"].map(|kind| read_finals(changelog, kind, 1));
    let [inner, left, outer, as_of, left_as_of] =
        ["inner", "left", "outer", "as_of", "left_as_of"].map(|kind| read_pairs(changelog, kind));
    Told { tumbling, hopping, sliding, session, inner, left, outer, as_of, left_as_of }.sorted()
}

fn read<K: Key, V: Value>(changelog: &dyn Changelog, topic: &Topic<K, V>) -> Vec<(K, V)> {
    let found = records::read(changelog, &records::partition(topic, 0)).unwrap();
    let rows = found.iter().map(|record| {
        let key = K::decode_whole_key(record.key.as_ref().unwrap()).unwrap();
        (key, topic.codec().decode(record.value.as_ref().unwrap()).unwrap())
    });
    rows.collect()
}

fn read_finals(changelog: &dyn Changelog, kind: &str, less: i64) -> Vec<Final> {
    let rows = read(changelog, &finals(kind)).into_iter();
    rows.map(|(windowed, list)| (windowed.start_ms, windowed.end_ms - less, windowed.key, list)).collect()
}

fn read_pairs(changelog: &dyn Changelog, kind: &str) -> Vec<Pair> {
    read(changelog, &pairs(kind)).into_iter().map(|(key, (left, right))| (key, left, right)).collect()
}
