//! The laws must catch what they claim to, and let pass what keeps them.

use super::*;
use crate::stream::{Session, Tumbling, Windowed};
use crate::upsert::Upsert;
use millpond_engine::dataflow::{Context, Event, Failure, Operator, Stamp};
use proptest::prelude::any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn seeded() -> Laws {
    Laws::new().seed(11).cases(40)
}

#[track_caller]
fn broken(outcome: Result<(), Violation>) -> Violation {
    outcome.expect_err("the kit found nothing wrong")
}

fn tens() -> Tumbling {
    Tumbling::of(Duration::from_secs(10)).grace(Duration::from_secs(5))
}

fn finals(stream: &Stream<u8, u32>) -> Stream<Windowed<u8>, u64> {
    stream.group_by_key().windowed(tens()).count("counts").on_close()
}

#[test]
fn windows_keep_all_of_them() {
    seeded().independent_of_cuts(finals, 0..4_u8, any::<u32>()).unwrap();
    seeded().independent_of_shards(finals, 0..4_u8, any::<u32>()).unwrap();
    seeded().independent_of_ticks(finals, 0..4_u8, any::<u32>()).unwrap();
    let sessions = |stream: &Stream<u8, u32>| {
        let sessions = Session::gap(Duration::from_secs(6)).grace(Duration::from_secs(3));
        let counts = stream.group_by_key().windowed(sessions).count("counts");
        (counts.table().clone(), counts.on_close())
    };
    seeded().finals_never_change(sessions, 0..4_u8, any::<u32>()).unwrap();
}

#[test]
fn closings_among_records_in_a_fold_that_minds_the_order_depend_on_cuts() {
    let mixed = |stream: &Stream<u8, u32>| {
        let closed = finals(stream).map(|windowed, count| (windowed.key, count));
        let records = stream.map_values(|_, value| u64::from(value));
        let chained = |acc: &mut u64, _: &u8, value| *acc = acc.wrapping_mul(31).wrapping_add(value);
        closed.merge(&records).group_by_key().fold("mixed", || 0, chained)
    };
    let violation = broken(seeded().independent_of_cuts(mixed, 0..4_u8, any::<u32>()));
    assert_eq!(violation.law(), "where epochs are cut decides nothing");
}

#[test]
fn numbers_that_are_given_as_records_come_by_depend_on_shards() {
    let numbered = |stream: &Stream<u8, u32>| {
        let given = AtomicU64::new(0);
        stream.map_values(move |_, _| given.fetch_add(1, Ordering::Relaxed)).to_table("numbers")
    };
    let violation = broken(seeded().independent_of_shards(numbered, any::<u8>(), any::<u32>()));
    assert_eq!(violation.law(), "the number of shards decides nothing");
}

/// Takes records for late by how far all partitions have come, and not by their own.
struct LateByWatermark;

impl Operator for LateByWatermark {
    type Input = (Vec<Event<u8, u32>>,);
    type Output = Vec<Event<u8, u32>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (mut events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let watermark = context.watermark();
        events.retain(|Event { stamp: Stamp { timestamp_ms, .. }, .. }| *timestamp_ms >= watermark);
        Ok(Some(events))
    }
}

#[test]
fn what_is_late_by_the_watermark_depends_on_whether_it_is_a_tick() {
    let late = |stream: &Stream<u8, u32>| {
        let builder = &stream.builder;
        let node = builder.operator("late", stream.node, &[], &[], LateByWatermark);
        builder.looks_at_time(node, 0);
        Stream::new(builder.clone(), node, true).group_by_key().count("in_time")
    };
    let violation = broken(seeded().independent_of_ticks(late, 0..4_u8, any::<u32>()));
    assert_eq!(violation.law(), "time is the same by a tick and by a record");
    assert!(seeded().independent_of_cuts(late, 0..4_u8, any::<u32>()).is_err());
}

#[test]
fn updates_are_not_final() {
    let updates = |stream: &Stream<u8, u32>| {
        let counts = stream.group_by_key().count("counts");
        let told = counts.to_stream().map_values(|_, count: Upsert<u64>| count.into_option().unwrap_or(0));
        (counts, told)
    };
    let violation = broken(seeded().finals_never_change(updates, 0..4_u8, any::<u32>()));
    assert_eq!(violation.law(), "what is final does not change");
}
