//! Four questions that Kafka Streams 4.4 answers wrongly, found by comparing the two over many random scripts.
//!
//! Property: what a table holds is the plain function of the records below its position that the graph says, however
//! they are cut into epochs, and after a crash or a restart without anything left in memory.
//!
//! Method: every script of a few events, once for each way to cut it, compared with plain maps. The four: a first
//! aggregate passes its *initial* value on as the old one, so that a group loses a member that it never had; a table
//! that is joined with a `map_values` of itself keeps a deleted row; a table by timestamp forgets that a key was deleted
//! when a late record arrives; a foreign-key join keeps the result of a row that changes its partner twice within one
//! record. What is versioned there is here the table by [`Latest::Timestamp`]: this release has no older versions of rows.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::testing::{Driver, Settings};
use millpond::{Graph, GraphBuilder, Latest, Topic};
use std::collections::BTreeMap;

/// All sequences of up to `most` numbers below `choices`.
fn scripts(choices: usize, most: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..most {
        last = last
            .iter()
            .flat_map(|script| (0..choices).map(|next| [script.as_slice(), &[next]].concat()))
            .collect();
        all.extend(last.iter().cloned());
    }
    all
}

/// How a script is run: records in an epoch, 0 for all at once, and what happens after each.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Epochs(usize),
    Crashes,
    Restarts,
}

const CUTS: [Cut; 4] = [Cut::Epochs(1), Cut::Epochs(usize::MAX), Cut::Crashes, Cut::Restarts];

/// Runs `script` on `graph` and leaves its driver caught up; `append` does one event.
fn run(graph: &Graph, script: &[usize], cut: Cut, append: impl Fn(&Driver, usize, i64)) -> Driver {
    let mut driver = Driver::new(graph).unwrap();
    for (number, &event) in script.iter().enumerate() {
        append(&driver, event, number as i64);
        match cut {
            Cut::Epochs(usize::MAX) => {}
            Cut::Epochs(records) => while driver.epoch(records).unwrap() {},
            Cut::Crashes => {
                driver.epoch(1).unwrap();
                if number % 2 == 0 {
                    driver.drain().unwrap();
                }
                driver.crash().unwrap();
            }
            // Nothing stays in memory: what was deleted must be known from the store.
            Cut::Restarts => {
                while driver.epoch(1).unwrap() {}
                driver.restart_with(Settings { memory_bytes: 0, ..Settings::default() }).unwrap();
            }
        }
    }
    driver.run().unwrap();
    driver
}

#[test]
fn a_count_leaves_no_group_that_it_was_never_in() {
    let clicks = Topic::<u8, ()>::new("clicks");
    let graph = GraphBuilder::new();
    let counts = graph.stream(&clicks).group_by_key().count("counts");
    let groups = counts.group_by(|_, count| (count % 3, ())).count("groups");
    let graph = graph.build().unwrap();
    let answer = |script: &[usize], cut| {
        let append =
            |driver: &Driver, key, at| drop(driver.put(&clicks, u8::try_from(key).unwrap(), (), at).unwrap());
        let driver = run(&graph, script, cut, append);
        driver.table(&groups).unwrap()
    };
    for cut in CUTS {
        // Key 0 is counted to 3, key 1 to 1.
        assert_eq!(answer(&[0, 0, 1, 0], cut), [(0, 1), (1, 1)].into(), "{cut:?}");
        for script in scripts(3, 4) {
            let mut expected = BTreeMap::new();
            for key in 0..3 {
                let count = script.iter().filter(|&&event| event == key).count() as u64;
                if count > 0 {
                    *expected.entry(count % 3).or_default() += 1;
                }
            }
            assert_eq!(answer(&script, cut), expected, "{script:?}, {cut:?}");
        }
    }
}

#[test]
fn a_table_joined_with_itself_forgets_what_is_deleted() {
    let values = Topic::<u8, i32>::new("values");
    let graph = GraphBuilder::new();
    let table = graph.table(&values, "values");
    let negative = table.map_values(|_, value| -value);
    let joins = [
        table.join(&negative, |_, a, b| a - b).materialize("right"),
        negative.join(&table, |_, a, b| b - a).materialize("left"),
        table.left_join(&negative, |_, a, b| a - b.unwrap()).materialize("outer_left"),
        table.outer_join(&negative, |_, a, b| a.unwrap() - b.unwrap()).materialize("outer"),
        table.join(&table.filter(|_, value| *value > 1), |_, a, b| a + b).materialize("filtered"),
    ];
    let graph = graph.build().unwrap();
    for cut in CUTS {
        // Two keys; 0 deletes.
        for script in scripts(6, 3) {
            let append = |driver: &Driver, event: usize, at| {
                let (key, value) = (u8::try_from(event % 2).unwrap(), i32::try_from(event / 2).unwrap());
                match value {
                    0 => driver.delete(&values, key, at).map(drop).unwrap(),
                    _ => driver.put(&values, key, value, at).map(drop).unwrap(),
                }
            };
            let driver = run(&graph, &script, cut, append);
            let mut rows = BTreeMap::new();
            for event in &script {
                rows.insert(u8::try_from(event % 2).unwrap(), i32::try_from(event / 2 * 2).unwrap());
            }
            rows.retain(|_, doubled| *doubled > 0);
            for (number, join) in joins.iter().enumerate() {
                let mut expected = rows.clone();
                expected.retain(|_, doubled| number < 4 || *doubled > 2);
                assert_eq!(driver.table(join).unwrap(), expected, "join {number}, {script:?}, {cut:?}");
            }
        }
    }
}

#[test]
fn a_late_record_does_not_bring_a_deleted_row_back() {
    let values = Topic::<u8, u64>::new("values");
    let graph = GraphBuilder::new();
    let table = graph.table_by(&values, "values", Latest::Timestamp);
    let doubled = table.map_values(|_, value| value * 2).materialize("doubled");
    let graph = graph.build().unwrap();
    // One key; each event has a timestamp, and every second one deletes.
    for cut in CUTS {
        for script in scripts(6, 4) {
            let append = |driver: &Driver, event: usize, _| {
                let at = (event / 2) as i64;
                match event % 2 {
                    0 => driver.put(&values, 1, event as u64, at).map(drop).unwrap(),
                    _ => driver.delete(&values, 1, at).map(drop).unwrap(),
                }
            };
            let driver = run(&graph, &script, cut, append);
            let mut newest = None;
            for &event in &script {
                if newest.is_none_or(|newest: usize| newest / 2 <= event / 2) {
                    newest = Some(event);
                }
            }
            let expected: BTreeMap<u8, u64> =
                newest.filter(|event| event % 2 == 0).map(|event| (1, event as u64)).into_iter().collect();
            assert_eq!(driver.table(&table).unwrap(), expected, "{script:?}, {cut:?}");
            let expected = expected.into_iter().map(|(key, value)| (key, value * 2)).collect();
            assert_eq!(driver.table(&doubled).unwrap(), expected, "{script:?}, {cut:?}");
        }
    }
}

/// The partners that one record names, one after the other.
const NAMES: [&[u8]; 6] = [&[1], &[2], &[1, 2], &[1, 2, 1], &[2, 1, 3], &[3, 3, 1, 2]];

#[test]
fn a_row_that_changes_its_partner_twice_in_a_record_leaves_no_result_behind() {
    let (orders, partners) = (Topic::<u8, Vec<u8>>::new("orders"), Topic::<u8, u64>::new("partners"));
    let asks = Topic::<u8, u64>::new("asks");
    let graph = GraphBuilder::new();
    let rows = graph.stream(&orders).flat_map(|id, names| names.into_iter().map(move |name| (id, name)));
    let (rows, partners_table) = (rows.to_table("orders"), graph.table(&partners, "partners"));
    let inner =
        rows.foreign_join(&partners_table, "inner", |_, name| *name, |_, name, partner| (*name, *partner));
    let left = rows.foreign_left_join(
        &partners_table,
        "left",
        |_, name| *name,
        |_, name, partner| (*name, partner.copied()),
    );
    // Where a stream joins the result, every step of it is carried through, by another path.
    let stepped =
        rows.foreign_join(&partners_table, "stepped", |_, name| *name, |_, name, partner| (*name, *partner));
    graph.stream(&asks).join(&stepped, |_, ask, row| ask + row.1).to_table("asked");
    let graph = graph.build().unwrap();
    for cut in CUTS {
        // Six ways to place an order, and partners 1 and 2 come and go.
        for script in scripts(NAMES.len() + 4, 3) {
            let append = |driver: &Driver, event: usize, at: i64| match event.checked_sub(NAMES.len()) {
                None => driver.put(&orders, 9, NAMES[event].to_vec(), at).map(drop).unwrap(),
                Some(0) => driver.put(&partners, 1, 100 + at.cast_unsigned(), at).map(drop).unwrap(),
                Some(1) => driver.put(&partners, 2, 100 + at.cast_unsigned(), at).map(drop).unwrap(),
                Some(2) => driver.delete(&partners, 1, at).map(drop).unwrap(),
                _ => driver.delete(&partners, 2, at).map(drop).unwrap(),
            };
            let driver = run(&graph, &script, cut, append);
            let (mut name, mut known) = (None, BTreeMap::<u8, u64>::new());
            for (at, &event) in (0_u64..).zip(&script) {
                match event.checked_sub(NAMES.len()) {
                    None => name = NAMES[event].last().copied(),
                    Some(0) => drop(known.insert(1, 100 + at)),
                    Some(1) => drop(known.insert(2, 100 + at)),
                    Some(2) => drop(known.remove(&1)),
                    _ => drop(known.remove(&2)),
                }
            }
            let partner = name.and_then(|name| known.get(&name).copied());
            let expected: BTreeMap<u8, (u8, u64)> =
                name.zip(partner).map(|pair| (9, pair)).into_iter().collect();
            assert_eq!(driver.table(&inner).unwrap(), expected, "{script:?}, {cut:?}");
            assert_eq!(driver.table(&stepped).unwrap(), expected, "{script:?}, {cut:?}");
            let expected = name.map(|name| (9, (name, partner))).into_iter().collect();
            assert_eq!(driver.table(&left).unwrap(), expected, "{script:?}, {cut:?}");
        }
    }
}
