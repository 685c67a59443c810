//! Which records fail, and with what reason, is a function of the log: so is what all others become.
//!
//! Property: whatever graph runs, with steps that return errors at some values on all ways through it, and however its epochs
//! are cut, drained, sharded and cut short by crashes: the same records are dead letters, each once and with the same reason,
//! as if each record had had an epoch of its own; and every table and derived topic is what it is on a log that those records
//! were never appended to. The same holds where the graph looks at time; a record that is left out takes its partition on all the same, so
//! there nothing is compared with a log without them. (Steps fail at what records make, and not where something closes: for that no
//! record is to blame.)
//!
//! Method: random graphs of the model's grammar and random steps; a run over one shard with an epoch for each record says what
//! is to be expected. `MILLPOND_MODEL_CASES` sets how many graphs are tried.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "small numbers"
)]
#![allow(missing_docs, unreachable_pub, reason = "a test has no users")]

mod model;

use millpond::FailurePolicy;
use millpond::testing::changelogs::TypedRecord;
use millpond::testing::{Driver, Settings};
use millpond_support::failing::dead_letters;
use model::grammar::Silent;
use model::graph::build_with;
use model::order::Order;
use model::steps::{Record, Step, append, moved_on, settings, started, step, step_in_time};
use model::{K, Rows, V, grammar};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The topic, the partition and the offset of a record.
type Place = (String, u32, u64);

/// What became of a log.
#[derive(Debug, PartialEq)]
struct Outcome {
    rows: Vec<(String, Rows)>,
    outputs: Vec<Vec<TypedRecord<K, V>>>,
    letters: BTreeMap<Place, String>,
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn with_letters(shards: usize, memory_bytes: usize) -> Settings {
    Settings { policy: FailurePolicy::DeadLetter("dead".into()), ..settings(shards, memory_bytes) }
}

/// Takes `steps`, and folds what is left in epochs of `records`.
fn run(spec: &grammar::Spec, first: Settings, steps: &[Step], records: usize) -> Result<Outcome, String> {
    let nodes = spec.nodes(true);
    let built = build_with(&nodes, spec, true);
    let mut driver = Driver::with_settings(&built.graph, first).map_err(failed)?;
    for step in steps {
        match step {
            Step::Append(records) => append(&driver, records, &spec.partitions)?,
            Step::Epoch(records) => drop(driver.epoch(*records).map_err(failed)?),
            Step::Drain => drop(driver.drain().map_err(failed)?),
            Step::Crash => driver.crash().map_err(failed)?,
            Step::Restart { shards, memory_bytes } => {
                driver.restart_with(with_letters(*shards, *memory_bytes)).map_err(failed)?;
            }
            Step::PowerCut | Step::Query(_) | Step::AdvanceTime(_) | Step::AdvanceClock(_) | Step::Hold => {}
        }
    }
    while driver.epoch(records).map_err(failed)? {}
    let rows = built.handles.iter().map(|handle| {
        let rows = handle.rows(&driver).map_err(failed)?;
        Ok::<_, String>((handle.name.clone(), rows))
    });
    let outputs = built.outputs.iter().map(|(node, topic)| {
        let mut records = driver.records(topic).map_err(failed)?;
        if !matches!(nodes[*node].order, Order::Log | Order::Closings(_)) {
            // Only what there is in all is promised.
            records.sort_by_key(|record| (record.partition, record.key, record.value, record.timestamp_ms));
        }
        Ok::<_, String>(records)
    });
    let mut letters = BTreeMap::new();
    for (_, headers) in dead_letters(&**driver.changelog()) {
        let number = |name: &str| headers[name].parse::<u64>().unwrap();
        let place = (
            headers["millpond.topic"].clone(),
            number("millpond.partition") as u32,
            number("millpond.offset"),
        );
        if let Some(other) = letters.insert(place.clone(), headers["millpond.reason"].clone()) {
            return Err(format!("two letters for {place:?}: {other:?} and {:?}", headers["millpond.reason"]));
        }
    }
    Ok(Outcome {
        rows: rows.collect::<Result<_, _>>()?,
        outputs: outputs.collect::<Result<_, _>>()?,
        letters,
    })
}

/// The steps without the records that have letters.
fn without(steps: &[Step], letters: &BTreeMap<Place, String>, partitions: &[u32]) -> Vec<Step> {
    let mut ends: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    let mut is_good = |record: &Record| {
        let partition = record.partition(partitions);
        let end = ends.entry((record.topic, partition)).or_default();
        *end += 1;
        !letters.contains_key(&(format!("in{}", record.topic), partition, *end - 1))
    };
    let mut keep = |step: &Step| match step {
        Step::Append(records) => {
            Step::Append(records.iter().filter(|record| is_good(record)).copied().collect())
        }
        other => other.clone(),
    };
    steps.iter().map(&mut keep).collect()
}

/// The steps, where time goes on from record to record.
fn moving_on(steps: &[Step], partitions: &[u32]) -> Vec<Step> {
    let mut so_far = 0;
    let mut moved = |step: &Step| match step {
        Step::Append(records) => {
            let moved = moved_on(records, so_far, partitions);
            so_far += records.len();
            Step::Append(moved)
        }
        other => other.clone(),
    };
    steps.iter().map(&mut moved).collect()
}

proptest! {
    #![proptest_config(model::config(
        400, "proptest-regressions/which_records_fail_depends_on_their_order_alone.txt"
    ))]

    #[test]
    fn however_epochs_are_cut_in_time(
        spec in grammar::spec_in_time(12),
        (shards, memory_bytes) in started(),
        steps in prop::collection::vec(step_in_time(), 1..30),
    ) {
        // What is noted of silent partitions is input, and would not be the same in both.
        let spec = grammar::Spec { silent: vec![Silent::Waits; grammar::TOPICS], ..spec };
        let fail = |error| TestCaseError::fail(format!("{error}\n{:#?}", spec.nodes(true)));
        let steps = moving_on(&steps, &spec.partitions);
        let appends: Vec<Step> =
            steps.iter().filter(|step| matches!(step, Step::Append(_))).cloned().collect();
        let expected = run(&spec, with_letters(1, 64 << 20), &appends, 1).map_err(fail)?;
        let got = run(&spec, with_letters(shards, memory_bytes), &steps, 1 << 20).map_err(fail)?;
        prop_assert_eq!(&got, &expected, "{:#?}", spec.nodes(true));
    }

    #[test]
    fn however_epochs_are_cut(
        spec in grammar::spec(12),
        (shards, memory_bytes) in started(),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let fail = |error| TestCaseError::fail(format!("{error}\n{:#?}", spec.nodes(true)));
        let appends: Vec<Step> =
            steps.iter().filter(|step| matches!(step, Step::Append(_))).cloned().collect();
        let expected = run(&spec, with_letters(1, 64 << 20), &appends, 1).map_err(fail)?;
        let got = run(&spec, with_letters(shards, memory_bytes), &steps, 1 << 20).map_err(fail)?;
        prop_assert_eq!(&got, &expected, "{:#?}", spec.nodes(true));
        let good = without(&appends, &expected.letters, &spec.partitions);
        let good = run(&spec, with_letters(shards, memory_bytes), &good, 7).map_err(fail)?;
        prop_assert_eq!(&good.letters, &BTreeMap::new(), "{:#?}", spec.nodes(true));
        prop_assert_eq!((&good.rows, &good.outputs), (&expected.rows, &expected.outputs), "{:#?}", spec.nodes(true));
    }
}
