//! Kill -9 in the middle of a topic: how soon there is an answer again, how soon all of it is folded, and whether every record
//! was counted once. Times are from the start of the process that takes over; the first answer may be a stale one.
//!
//! Kafka Streams is measured with a static member, which is known again at once: without, it waits for the end of a session.

use super::payments::Input;
use super::streams::{Setting, TUNED_AT_LEAST_ONCE, TUNED_EXACTLY_ONCE, number};
use super::{Args, Bench, Found, Way};
use millpond::{Position, StoredTable};
use millpond_support::bench::report::{self, Targets, rounded};
use millpond_support::bench::{Outcome, phase};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Instant;

/// A recovery.
#[derive(Debug, Serialize, Deserialize)]
struct Recovery {
    first_answer_seconds: f64,
    caught_up_seconds: f64,
    /// Whether the rows count every record once.
    right: bool,
    /// Records that were folded after the crash, beyond the half that had not been folded before. A state that went on behind
    /// the middle until it was killed, or was drained late, differs by that.
    folded_again: i64,
    counted_too_often: i64,
}

pub(super) fn section(bench: &Bench<'_>) -> Outcome<Found> {
    let args = bench.args;
    let mut all: Vec<(String, Recovery)> = Vec::new();
    let (few, few_dir) = Input::write(bench, args.streams_records(), args.common.distribution)?;
    let (many, many_dir) = Input::write(bench, args.records(), args.common.distribution)?;
    for (input, dir) in [(&few, &few_dir), (&many, &many_dir)] {
        eprintln!("killing the engine in the middle of {} records", input.records);
        all.push((format!("engine_{}_records", input.records), recover(dir)?));
    }
    if args.measures(Way::Streams) {
        let transactional = ["--transactional", "true"].as_slice();
        for (name, setting, further) in [
            ("streams_at_least_once", TUNED_AT_LEAST_ONCE, [].as_slice()),
            ("streams_exactly_once", TUNED_EXACTLY_ONCE, &[]),
            ("streams_exactly_once_transactional_stores", TUNED_EXACTLY_ONCE, transactional),
        ] {
            eprintln!("halting {name} in the middle of {} records", few.records);
            all.push((name.to_owned(), streams(bench, &few, (name, setting), further)?));
        }
    }
    println!("recovery: killed in the middle\n");
    let mut table = report::Table::new(["", "first answer", "caught up", "folded again", "right"]);
    let mut figures = Map::new();
    for (name, recovery) in &all {
        table.row([
            name.clone(),
            format!("{:.2} s", recovery.first_answer_seconds),
            format!("{:.2} s", recovery.caught_up_seconds),
            recovery.folded_again.to_string(),
            if recovery.right { "yes".into() } else { format!("no: {}", recovery.counted_too_often) },
        ]);
        figures.insert(name.clone(), json!(recovery));
    }
    table.print();
    match all.iter().find(|(name, recovery)| name.starts_with("engine") && !recovery.right) {
        Some((name, _)) => Err(format!("{name}: the rows do not count every record once").into()),
        None => Ok((Value::Object(figures), Targets::default())),
    }
}

/// Kills a process of ours, and lets another take over.
fn recover(dir: &Path) -> Outcome<Recovery> {
    let mut child = phase::spawn("victim", dir)?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("the child has no output")?).read_line(&mut line)?;
    if line.trim() != "now" {
        return Err(format!("the phase `victim` ended with {}", child.wait()?).into());
    }
    child.kill()?;
    child.wait()?;
    phase::run("heir", dir)
}

pub(super) fn phase(name: &str, args: &Args, dir: &Path) -> Outcome<()> {
    let begin = Instant::now();
    let input = Input::told(dir)?;
    let (graph, summaries) = input.graph()?;
    let state = dir.join("recovery");
    let builder = args.common.engine(&graph).state_dir(&state).changelog(input.kafka());
    let engine = builder.stale_reads(true).start()?;
    if name == "victim" {
        let half: Position = input.ends()?.iter().map(|(id, end)| (id.clone(), end / 2)).collect();
        engine.wait_for_blocking(&half)?;
        println!("now");
        std::io::stdout().flush()?;
        // Until it is killed.
        engine.wait_for_blocking(&input.ends()?)?;
        engine.close_blocking()?;
        return Ok(());
    }
    heir(&engine, &input, &summaries, begin)?;
    engine.close_blocking()?;
    Ok(std::fs::remove_dir_all(&state)?)
}

fn heir(
    engine: &millpond::Engine,
    input: &Input,
    summaries: &StoredTable<i64, super::payments::Summary>,
    begin: Instant,
) -> Outcome<()> {
    let view = engine.view(summaries)?;
    view.get(&0)?;
    let first_answer_seconds = begin.elapsed().as_secs_f64();
    engine.wait_for_blocking(&input.ends()?)?;
    let caught_up_seconds = begin.elapsed().as_secs_f64();
    let (folded, half) = (engine.stats().records_in, input.records / 2);
    let counted: u64 = view.scan()?.map(|row| row.map(|(_, row)| row.count)).sum::<Result<_, _>>()?;
    phase::report(&Recovery {
        first_answer_seconds: rounded(first_answer_seconds),
        caught_up_seconds: rounded(caught_up_seconds),
        right: input.is_right(&view)?,
        folded_again: folded.cast_signed() - (input.records - half).cast_signed(),
        counted_too_often: counted.cast_signed() - input.records.cast_signed(),
    })
}

/// The same with Kafka Streams.
fn streams(
    bench: &Bench<'_>,
    input: &Input,
    (name, setting): (&str, Setting),
    further: &[&str],
) -> Outcome<Recovery> {
    let state = bench.scratch.join(name);
    let dir = state.to_str().ok_or("a directory whose name is no text")?;
    let mut arguments = vec!["--topic", &input.topic, "--app", name, "--member", name, "--state", dir];
    arguments.extend(further);
    let half = (input.records / 2).to_string();
    setting.run_until(bench, "Aggregate", &[&arguments[..], &["--die-at", &half]].concat(), 137)?;
    let said = setting.run(bench, "Aggregate", &arguments)?;
    std::fs::remove_dir_all(&state)?;
    let whole = |name: &str| said.get(name).and_then(Value::as_i64).unwrap_or(i64::MIN);
    Ok(Recovery {
        first_answer_seconds: rounded(number(&said, "first_answer_s")),
        caught_up_seconds: rounded(number(&said, "caught_up_s")),
        right: said.get("right") == Some(&Value::Bool(true)),
        folded_again: whole("records") - (input.records - input.records / 2).cast_signed(),
        counted_too_often: whole("counted_too_often"),
    })
}
