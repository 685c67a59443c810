//! The ways of the engine: without windows, and with each kind of them.

use crate::{Args, TOPIC, agree, digest, grace};
use millpond::stream::{Hopping, Session, Stream, Tumbling};
use millpond::{GraphBuilder, StoredTable, Windowed};
use millpond_support::bench::Outcome;
use millpond_support::bench::measured::{self, Measured};
use rustc_hash::FxHashMap;
use std::path::Path;

pub(crate) fn fold(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let counts = graph.stream(&args.topic()).group_by_key().count("counts");
    let state = scratch.join("fold");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    let view = engine.view(&counts)?;
    let digest = digest(args, |key| Ok(view.get(&key)?))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

pub(crate) fn tumbling(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let windows = Tumbling::of(args.size()).grace(grace());
    let counts = graph.stream(&args.topic()).group_by_key().windowed(windows).count("counts");
    let finals = by_window(&counts.on_close(), |windowed| windowed.start_ms);
    let state = scratch.join("tumbling");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    eprintln!("  {} windows are closed", engine.view(&finals)?.count()?);
    let mut totals: FxHashMap<u64, u64> = FxHashMap::default();
    for row in engine.view(&counts)?.scan()? {
        let (windowed, count) = row?;
        *totals.entry(windowed.key).or_default() += count;
    }
    let digest = digest(args, |key| Ok(totals.get(&key).copied()))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

pub(crate) fn hopping(args: &Args, scratch: &Path, overlap: u32) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let windows = Hopping::of(args.size() * overlap).every(args.size()).grace(grace());
    let counts = graph.stream(&args.topic()).group_by_key().windowed(windows).count("counts");
    let finals = by_window(&counts.on_close(), |windowed| windowed.start_ms);
    let state = scratch.join("hopping");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    let rows = engine.view(&finals)?.scan()?.map(|row| row.map(|(_, (rows, _))| rows));
    eprintln!("  {} rows of closed windows", rows.sum::<millpond::Result<u64>>()?);
    let view = counts.windows_of(&engine.view(&counts)?);
    // No record is so late that a window was closed for it: each is in as many of them.
    let digest = digest(args, |key| {
        let counts = view.windows(&key, ..)?.map(|row| row.map(|(_, count)| count));
        Ok(Some(counts.sum::<millpond::Result<u64>>()? / u64::from(overlap)))
    })?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

pub(crate) fn session(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let graph = GraphBuilder::new();
    let windows = Session::gap(args.gap()).grace(grace());
    let counts = graph.stream(&args.topic()).group_by_key().windowed(windows).count("counts");
    // Each ends at a time of its own: those of ten seconds are counted together.
    let finals = by_window(&counts.on_close(), |windowed| windowed.end_ms.div_euclid(10_000));
    let state = scratch.join("session");
    let (engine, measured) = measured::engine(&args.common, &graph.build()?, &[TOPIC], (scratch, &state))?;
    let rows = engine.view(&finals)?.scan()?.map(|row| row.map(|(_, (rows, _))| rows));
    eprintln!("  {} sessions are closed", rows.sum::<millpond::Result<u64>>()?);
    let view = engine.view(&counts)?;
    let mut totals: FxHashMap<u64, u64> = FxHashMap::default();
    for row in view.scan()? {
        let (windowed, count) = row?;
        *totals.entry(windowed.key).or_default() += count;
    }
    agree(
        scratch,
        view.scan()?.map(|row| {
            let (windowed, count) = row?;
            Ok([windowed.start_ms.cast_unsigned(), windowed.end_ms.cast_unsigned(), windowed.key, count])
        }),
    )?;
    let digest = digest(args, |key| Ok(totals.get(&key).copied()))?;
    engine.close_blocking()?;
    std::fs::remove_dir_all(state)?;
    Ok(measured.with_digest(digest))
}

/// How many rows were told of each window, and what they counted together.
fn by_window(
    closed: &Stream<Windowed<u64>, u64>,
    window: impl Fn(&Windowed<u64>) -> i64 + Send + Sync + 'static,
) -> StoredTable<i64, (u64, u64)> {
    let by_window = closed.re_key(move |windowed, _| window(windowed)).group_by_key();
    by_window.fold("finals", || (0, 0), |sum: &mut (u64, u64), _, count| *sum = (sum.0 + 1, sum.1 + count))
}
