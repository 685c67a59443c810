//! An error that a step returns is the failure of its record: nothing is printed for it, and nothing run again to find it.
//!
//! Property: whatever the shards and cuts, the records that fail are left out, on every way through the graph, and are dead
//! letters whose reason is the text of the error; all others are folded in their order, as if those had never been. Under
//! the policy *stop* the engine stops at the first, with its topic, partition and offset.
//!
//! Method: one record in five fails, in steps of every kind, before and behind an exchange, with a half-changed accumulator,
//! or in one of several values that it became; compared with a plain loop. A hook counts panics, of which there are none.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::backend::ReadLog;
use millpond::stream::Emit;
use millpond::testing::{Driver, Settings};
use millpond::{
    FailurePolicy, ForeignStore, Graph, GraphBuilder, Process, StoredTable, Stream, Table, TableOptions,
    Topic, TopicPartition,
};
use millpond_support::failing::Picky;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const RECORDS: u64 = 60;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A value that no step likes, and why.
fn taste(value: u64) -> Result<u64, String> {
    if is_bad(value) { Err(format!("{value} is bitter")) } else { Ok(value) }
}

fn is_bad(value: u64) -> bool {
    value % 5 == 3
}

fn key_of(value: u64) -> u32 {
    (value % 4) as u32
}

type Kept = BTreeMap<u32, Vec<u64>>;
type Build = fn(&Stream<u32, u64>) -> StoredTable<u32, Vec<u64>>;

fn kept(stream: &Stream<u32, u64>) -> StoredTable<u32, Vec<u64>> {
    stream.group_by_key().fold("kept", Vec::new, |all, _, value| all.push(value))
}

/// Passes on what it has taken into its state, and then finds that it does not like it.
struct Taster;

impl Process<u32, u64> for Taster {
    type State = Vec<u64>;
    type OutKey = u32;
    type OutValue = u64;

    fn process(&self, key: &u32, value: u64, state: &mut Option<Vec<u64>>, emit: &mut Emit<u32, u64>) {
        state.get_or_insert_default().push(value);
        emit.push(*key, value);
        if let Err(reason) = taste(value) {
            emit.fail(reason);
            emit.fail("of several reasons the first counts");
        }
    }
}

/// Each keeps the values of every key as they come, but for those that fail.
const STEPS: [(&str, Build); 15] = [
    ("try_map", |stream| kept(&stream.try_map(|key, value| taste(value).map(|value| (key, value))))),
    ("try_map_values", |stream| kept(&stream.try_map_values(|_, value| taste(value)))),
    ("try_filter", |stream| kept(&stream.try_filter(|_, value| taste(*value).map(|_| true)))),
    ("try_filter_map", |stream| {
        kept(&stream.try_filter_map(|key, value| taste(value).map(|value| Some((key, value)))))
    }),
    ("try_filter_map_values", |stream| {
        kept(&stream.try_filter_map_values(|_, value| taste(value).map(Some)))
    }),
    ("try_group_by", |stream| {
        let grouped = stream.try_group_by(|key, value| taste(*value).map(|_| *key));
        grouped.fold("kept", Vec::new, |all, _, value| all.push(value))
    }),
    ("try_flat_map", |stream| {
        kept(&stream.try_flat_map(|key, value| taste(value).map(|value| [(key, value)])))
    }),
    ("try_flat_map_values", |stream| {
        kept(&stream.try_flat_map_values(|_, value| taste(value).map(|value| [value])))
    }),
    ("try_map behind an exchange", |stream| {
        let there = stream.re_key(|_, value| value % 7).process("state", PassOn).0;
        kept(&there.try_map(|_, value| taste(value).map(|value| (key_of(value), value))))
    }),
    ("try_map behind a join", |stream| {
        let last = stream.to_table("last");
        let joined = stream.left_join(&last, |_, value, last| (value, last.copied()));
        let checked = joined.try_map_values(|_, (value, last)| {
            if last != Some(value) {
                return Err(format!("{value} met {last:?}"));
            }
            taste(value)
        });
        kept(&checked)
    }),
    ("try_fold", |stream| {
        stream.group_by_key().try_fold("kept", Vec::new, |all, _, value| {
            all.push(value);
            taste(value).map(drop)
        })
    }),
    ("try_fold of one of many", |stream| {
        let many = stream.flat_map(|key, value| [(key, value + 5), (key + 100, value), (key, value)]);
        // What fails at one key is undone at all.
        let folded = many.group_by_key().try_fold("folded", Vec::new, |all: &mut Vec<u64>, key, value| {
            all.push(value);
            if *key >= 100 { taste(value).map(drop) } else { Ok(()) }
        });
        let own = folded.filter(|key, _| *key < 100);
        own.map_values(|_, all| all.into_iter().skip(1).step_by(2).collect::<Vec<u64>>()).materialize("kept")
    }),
    ("emit.fail, what is emitted", |stream| kept(&stream.process("state", Taster).0)),
    ("emit.fail, the state", |stream| stream.process("kept", Taster).1),
    ("a way that is not there", |stream| {
        let [all] = stream.split(|_, value| usize::from(is_bad(*value)));
        kept(&all)
    }),
];

/// The values that the rows of a table take on, whatever else changes them.
fn told(table: &Table<u32, u64>) -> StoredTable<u32, Vec<u64>> {
    let values = table.to_stream().filter_map_values(|_, row| row.into_option());
    values.group_by_key().fold("kept", Vec::new, |all, _, value| {
        if all.last() != Some(&value) {
            all.push(value);
        }
    })
}

fn rows(stream: &Stream<u32, u64>) -> StoredTable<u32, u64> {
    stream.to_table("rows")
}

/// A table that has every key from its first record on, and never changes.
fn zeros(stream: &Stream<u32, u64>) -> StoredTable<u32, u64> {
    stream.map_values(|_, _| 0).to_table("zeros")
}

/// The same of tables, in which most values are replaced by the next record of their epoch.
const TABLE_STEPS: [(&str, Build); 16] = [
    ("try_filter of a table", |stream| {
        told(&rows(stream).try_filter(|_, value| taste(*value).map(|_| true)))
    }),
    ("try_map_values of a table", |stream| told(&rows(stream).try_map_values(|_, value| taste(value)))),
    ("try_map_values behind a computed table", |stream| {
        let computed = rows(stream).left_join(&zeros(stream), |_, value, _| *value);
        told(&computed.filter(|_, _| true).try_map_values(|_, value| taste(value)))
    }),
    ("try_map_values of what only a view reads", |stream| {
        let checked = rows(stream).try_map_values(|_, value| taste(value));
        let _ = checked.materialize("checked");
        told(&rows_again(stream))
    }),
    ("try_join of tables, the left row", |stream| {
        told(&rows(stream).try_join(&zeros(stream), |_, value, _| taste(*value)))
    }),
    ("try_join of tables, the right row", |stream| {
        told(&zeros(stream).try_join(&rows(stream), |_, _, value| taste(*value)))
    }),
    ("try_left_join of tables", |stream| {
        let joined = zeros(stream)
            .try_left_join(&rows(stream), |_, _, value| value.map(|value| taste(*value)).transpose());
        told(&joined.filter(|_, value| value.is_some()).map_values(|_, value| value.unwrap()))
    }),
    ("try_outer_join of tables", |stream| {
        told(&rows(stream).try_outer_join(&zeros(stream), |_, value, _| taste(*value.unwrap())))
    }),
    ("try_foreign_join, the key", |stream| {
        let name = |key: &u32, value: &u64| taste(*value).map(|_| *key);
        told(&rows(stream).try_foreign_join(&zeros(stream), "joined", name, |_, value, _| Ok(*value)))
    }),
    ("try_foreign_join, the row", |stream| {
        let name = |key: &u32, _: &u64| Ok(*key);
        told(&rows(stream).try_foreign_join(&zeros(stream), "joined", name, |_, value, _| taste(*value)))
    }),
    ("try_foreign_left_join, the partner", |stream| {
        let joined = zeros(stream).try_foreign_left_join(
            &rows(stream),
            "joined",
            |key, _| Ok(*key),
            |_, _, partner| partner.map(|value| taste(*value)).transpose(),
        );
        told(&joined.filter(|_, value| value.is_some()).map_values(|_, value| value.unwrap()))
    }),
    ("try_group_by of a table", |stream| {
        let grouped = rows(stream).try_group_by(|key, value| taste(*value).map(|value| (*key, value)));
        told(&grouped.reduce("grouped", |_, value| value, |kept, _| kept))
    }),
    ("try_re_key of a table", |stream| {
        told(&rows(stream).try_re_key("re_keyed", |key, value| taste(*value).map(|_| *key)))
    }),
    ("try_fold of groups", |stream| {
        let grouped = rows(stream).group_by(|key, value| (*key, *value));
        let folded = grouped.try_fold(
            "folded",
            || 0,
            |kept, _, value| {
                *kept = value;
                taste(value).map(drop)
            },
            |_, _, _| Ok(()),
        );
        told(&folded)
    }),
    ("try_join of a stream", |stream| kept(&stream.try_join(&zeros(stream), |_, value, _| taste(value)))),
    ("try_left_join of a stream", |stream| {
        kept(&stream.try_left_join(&zeros(stream), |_, value, _| taste(value)))
    }),
];

/// The rows once more, in another table.
fn rows_again(stream: &Stream<u32, u64>) -> StoredTable<u32, u64> {
    stream.to_table("rows_again")
}

/// Passes every record on from the shard of its key.
struct PassOn;

impl Process<u64, u64> for PassOn {
    type State = u64;
    type OutKey = u64;
    type OutValue = u64;

    fn process(&self, key: &u64, value: u64, _: &mut Option<u64>, emit: &mut Emit<u64, u64>) {
        emit.push(*key, value);
    }
}

fn driver(graph: &Graph, events: &Topic<u32, u64>, shards: usize, policy: FailurePolicy) -> Driver {
    let settings = Settings { shards, policy, ..Settings::default() };
    let driver = Driver::with_settings(graph, settings).unwrap();
    for value in 0..RECORDS {
        driver.put(events, key_of(value), value, value as i64).unwrap();
    }
    driver
}

fn expected(values: impl Iterator<Item = u64>) -> Kept {
    let mut kept = Kept::new();
    for value in values {
        kept.entry(key_of(value)).or_default().push(value);
    }
    kept
}

/// The offsets and reasons of the dead letters.
fn letters(driver: &Driver) -> Vec<(u64, String)> {
    let mut reader = driver.changelog().reader(&TopicPartition::new("dead", 0), 0).unwrap();
    let mut letters = Vec::new();
    loop {
        let batches = reader.poll(1 << 20).unwrap();
        if batches.is_empty() {
            return letters;
        }
        for batch in batches {
            for record in &batch.decode().unwrap() {
                let headers = record.to_headers();
                let text = |name: &str| String::from_utf8(headers.bytes(name).unwrap().to_vec()).unwrap();
                letters.push((text("millpond.offset").parse().unwrap(), text("millpond.reason")));
            }
        }
    }
}

#[test]
fn what_fails_is_left_out_whatever_the_shards_and_cuts() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        eprintln!("{panic}");
    }));
    for (name, build) in STEPS.into_iter().chain(TABLE_STEPS) {
        let events = Topic::<u32, u64>::new("events");
        let graph = GraphBuilder::new();
        let kept = build(&graph.stream(&events));
        let graph = graph.build().unwrap();
        for (shards, epoch) in [(1, 1), (1, 1000), (1, 7), (3, 1), (3, 7), (3, 1000)] {
            let what = format!("{name}, {shards} shards, epochs of {epoch}");
            let policy = FailurePolicy::DeadLetter("dead".into());
            let mut driver = driver(&graph, &events, shards, policy);
            while driver.epoch(epoch).unwrap() {}
            assert_eq!(
                driver.table(&kept).unwrap(),
                expected((0..RECORDS).filter(|value| !is_bad(*value))),
                "{what}"
            );
            let reason = |value: u64| match name {
                "a way that is not there" => {
                    "`split` has 1 ways, counted from 0, and was told to take number 1".to_owned()
                }
                _ => format!("{value} is bitter"),
            };
            let failed: Vec<_> =
                (0..RECORDS).filter(|value| is_bad(*value)).map(|value| (value, reason(value))).collect();
            assert_eq!(letters(&driver), failed, "{what}");
        }
        for (shards, epoch) in [(1, 1), (3, 1000)] {
            let mut driver = driver(&graph, &events, shards, FailurePolicy::Stop);
            let error = loop {
                match driver.epoch(epoch) {
                    Ok(more) => assert!(more, "{name}: the bad record was passed over"),
                    Err(error) => break error.to_string(),
                }
            };
            assert!(error.contains("events/0 offset 3"), "{name}: {error}");
            assert_eq!(driver.table(&kept).unwrap(), expected(0..3), "{name}");
        }
    }
    // Neither a panic of a step nor one of the kind that a test fails by.
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

/// A panic is looked for by running the epoch a second time; an error says where it is.
#[test]
fn the_record_is_known_without_a_second_run() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let stream = graph.stream(&events).try_map_values(move |_, value| {
        counted.fetch_add(1, Ordering::Relaxed);
        taste(value)
    });
    kept(&stream);
    let graph = graph.build().unwrap();
    let mut driver = driver(&graph, &events, 1, FailurePolicy::Stop);
    for _ in 0..3 {
        driver.epoch(1).unwrap();
    }
    driver.epoch(1).unwrap_err();
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

/// What was made of a group does not matter where a member cannot be taken out of it.
#[test]
fn a_member_that_does_not_leave_its_group_is_the_failure_of_the_record_that_sends_it_away() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let sums = graph.table(&events, "rows").group_by(|_, value| ((), *value)).try_fold(
        "sums",
        || 0,
        |sum, (), value| {
            *sum += value;
            Ok(())
        },
        |sum, (), value| {
            *sum -= value;
            taste(value).map(drop)
        },
    );
    let graph = graph.build().unwrap();
    for (shards, epoch) in [(1, 1), (1, 1000), (3, 1), (3, 1000)] {
        let policy = FailurePolicy::DeadLetter("dead".into());
        let settings = Settings { shards, policy, ..Settings::default() };
        let mut driver = Driver::with_settings(&graph, settings).unwrap();
        for (key, value) in [(1, 10), (2, 13), (1, 20), (2, 30), (1, 40)] {
            driver.put(&events, key, value, 0).unwrap();
        }
        while driver.epoch(epoch).unwrap() {}
        assert_eq!(driver.table(&sums).unwrap()[&()], 53);
        assert_eq!(letters(&driver), [(3, "13 is bitter".to_owned())], "{shards} shards, epochs of {epoch}");
    }
}

/// Of what fails at one record, one shard and many tell the same, whatever is in memory: a letter is known by its reason.
#[test]
fn of_several_errors_of_a_record_the_first_is_told() {
    let events = Topic::<u32, u64>::new("events");
    let graph = GraphBuilder::new();
    let many = graph.stream(&events).flat_map(|key, value| (0..8).map(move |n| (n * 100 + key, value)));
    let checked = many.to_table("rows").try_map_values(|key, value| {
        if is_bad(value) && *key >= 200 { Err(format!("{value} at {key}")) } else { Ok(value) }
    });
    let _ = checked.materialize("checked");
    let graph = graph.build().unwrap();
    for (shards, epoch, memory_bytes) in [(1, 1, 0), (1, 1000, 1 << 20), (4, 7, 0), (5, 1000, 1 << 20)] {
        let policy = FailurePolicy::DeadLetter("dead".into());
        let settings = Settings { shards, policy, memory_bytes, ..Settings::default() };
        let mut driver = Driver::with_settings(&graph, settings).unwrap();
        for value in 0..RECORDS {
            driver.put(&events, key_of(value), value, value as i64).unwrap();
        }
        while driver.epoch(epoch).unwrap() {
            driver.drain().unwrap();
        }
        let reason = |value| (value, format!("{value} at {}", 200 + key_of(value)));
        let failed: Vec<_> = (0..RECORDS).filter(|value| is_bad(*value)).map(reason).collect();
        assert_eq!(letters(&driver), failed, "{shards} shards, epochs of {epoch}");
    }
}

type Unread = fn(&StoredTable<u32, u64>, &StoredTable<u32, u64>);

/// Steps that nothing follows which would want to know every update.
const UNFOLLOWED: [(&str, Unread); 10] = [
    ("try_filter", |rows, _| {
        _ = rows.try_filter(|_, value| taste(*value).map(|_| true)).materialize("plain");
    }),
    ("try_map_values", |rows, _| _ = rows.try_map_values(|_, value| taste(value)).materialize("plain")),
    ("try_join", |rows, zeros| {
        _ = rows.try_join(zeros, |_, value, _| taste(*value)).materialize("plain");
    }),
    ("try_left_join", |rows, zeros| {
        let taste = |value: &u64| taste(*value);
        _ = zeros.try_left_join(rows, move |_, _, value| value.map(taste).transpose()).materialize("plain");
    }),
    ("try_outer_join", |rows, zeros| {
        let taste = |value: &u64| taste(*value);
        _ = rows.try_outer_join(zeros, move |_, value, _| value.map(taste).transpose()).materialize("plain");
    }),
    ("try_foreign_join", |rows, zeros| {
        let name = |key: &u32, value: &u64| taste(*value).map(|_| *key);
        rows.try_foreign_join(zeros, "plain", name, |_, value, _| Ok(*value));
    }),
    ("try_foreign_left_join", |rows, zeros| {
        let join = |_: &u32, _: &u64, value: Option<&u64>| value.map(|value| taste(*value)).transpose();
        zeros.try_foreign_left_join(rows, "plain", |key, _| Ok(*key), join);
    }),
    ("try_group_by", |rows, _| {
        rows.try_group_by(|key, value| taste(*value).map(|value| (*key, value))).count("plain");
    }),
    ("try_re_key", |rows, _| {
        rows.try_re_key("plain", |key, value| taste(*value).map(|_| *key));
    }),
    ("try_fold", |rows, _| {
        let grouped = rows.group_by(|key, value| (*key, *value));
        grouped.try_fold("plain", || (), |(), _, value| taste(value).map(drop), |(), _, _| Ok(()));
    }),
];

/// Under either policy: a value that the next record of its epoch replaces is asked about as if it stood there for ever.
#[test]
fn which_record_fails_does_not_depend_on_where_epochs_are_cut() {
    for (name, step) in UNFOLLOWED {
        let (events, zero) = (Topic::<u32, u64>::new("events"), Topic::<u32, u64>::new("zero"));
        let graph = GraphBuilder::new();
        let rows = graph.table(&events, "rows");
        step(&rows, &graph.table(&zero, "zeros"));
        let graph = graph.build().unwrap();
        for (shards, epoch) in [(1, 1), (1, 1000), (3, 7), (3, 1000)] {
            let settings = Settings { shards, ..Settings::default() };
            let mut driver = Driver::with_settings(&graph, settings).unwrap();
            for key in 0..4 {
                driver.put(&zero, key, 0, 0).unwrap();
            }
            for value in 0..RECORDS {
                driver.put(&events, key_of(value), value, 0).unwrap();
            }
            let error = loop {
                match driver.epoch(epoch) {
                    Ok(more) => assert!(more, "{name}: the bad record was passed over, epochs of {epoch}"),
                    Err(error) => break error.to_string(),
                }
            };
            assert!(error.contains("events/0 offset 3: "), "{name}: {error}");
            assert!(error.contains("3 is bitter"), "{name}: {error}");
            assert_eq!(driver.table(&rows).unwrap(), (0..3).map(|n| (n as u32, n)).collect(), "{name}");
        }
    }
}

/// A row that was there before a step which does not like it fails nobody: it is not seen, and can be mended.
#[test]
fn a_row_from_before_the_step_is_not_seen_until_it_is_mended() {
    let (events, visits) = (Topic::<u32, u64>::new("events"), Topic::<u32, u64>::new("visits"));
    let before = GraphBuilder::new();
    before.table(&events, "rows");
    kept(&before.stream(&visits));
    let after = GraphBuilder::new();
    let checked = after.table(&events, "rows").try_map_values(|_, value| taste(value));
    let computed = checked.try_left_join(&checked, |_, value, _| taste(*value));
    let met = after.stream(&visits).left_join(&computed, |_, _, row| row.copied().unwrap_or(99));
    let kept = met.group_by_key().fold("kept", Vec::new, |all, _, value| all.push(value));
    let (before, after) = (before.build().unwrap(), after.build().unwrap());
    for epoch in [1, 1000] {
        let policy = FailurePolicy::DeadLetter("dead".into());
        let settings = Settings { shards: 2, policy, ..Settings::default() };
        let mut driver = Driver::with_settings(&before, settings).unwrap();
        for (key, value) in [(1, 13), (2, 20), (3, 23)] {
            driver.put(&events, key, value, 0).unwrap();
        }
        driver.run().unwrap();
        driver.drain().unwrap();
        driver.upgrade(&after).unwrap();
        for (key, value) in [(1, 0), (2, 0), (1, 1)] {
            driver.put(&visits, key, value, 0).unwrap();
        }
        driver.put(&events, 1, 10, 0).unwrap();
        driver.delete(&events, 3, 0).unwrap();
        for key in [1, 3] {
            driver.put(&visits, key, 0, 0).unwrap();
        }
        while driver.epoch(epoch).unwrap() {}
        let met = [(1, vec![99, 99, 10]), (2, vec![20]), (3, vec![99])];
        assert_eq!(driver.table(&kept).unwrap(), met.into(), "epochs of {epoch}");
        assert_eq!(letters(&driver), [], "epochs of {epoch}");
    }
}

/// What only its last value of an epoch was stored of hid those before, which the codec of the table refuses.
#[test]
fn a_value_that_is_replaced_within_an_epoch_and_cannot_be_stored() {
    for extreme in [false, true] {
        for epoch in [1, 100] {
            let events = Topic::<u32, u64>::new("events");
            let graph = GraphBuilder::new();
            let rows = graph.table(&events, "rows");
            if extreme {
                let grouped = rows.group_by(|_, value| ((), *value));
                grouped.min(TableOptions::with_codec("least", Picky), |value| *value);
            } else {
                rows.re_key(
                    ForeignStore::from((
                        TableOptions::with_codec("by", Picky),
                        TableOptions::named("by.index"),
                    )),
                    |_, _| 0_u32,
                );
            }
            let policy = FailurePolicy::DeadLetter("dead".into());
            let settings = Settings { policy, ..Settings::default() };
            let mut driver = Driver::with_settings(&graph.build().unwrap(), settings).unwrap();
            driver.put(&events, 7, 666, 0).unwrap();
            driver.put(&events, 7, 1, 0).unwrap();
            while driver.epoch(epoch).unwrap() {}
            let letters = driver.records(&Topic::<u32, u64>::new("dead")).unwrap();
            assert_eq!(letters.len(), 1, "extreme: {extreme}, epochs of {epoch}");
        }
    }
}
