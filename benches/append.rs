//! How fast the embedded changelog appends durably, what it writes for it, and how fast it is read again.
//!
//! `cargo bench --bench append -- [--quick] [--dir DIR]`. An appender waits for each acknowledgement before it
//! appends again, so that only group commit makes many of them faster than one. The last line is one JSON object.
//! The target: 256 appenders acknowledge at least 20 times what one does.

#![expect(clippy::cast_precision_loss, reason = "counts of records and bytes fit well enough")]

use clap::Parser;
use millpond_engine::TopicPartition;
use millpond_engine::changelog::{
    Append, Changelog, EmbeddedChangelog, EmbeddedOptions, Record, TopicConfig,
};
use serde_json::json;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;
const PARTITIONS: u32 = 16;

#[derive(Parser)]
struct Args {
    /// Measure each case for a shorter time.
    #[arg(long)]
    quick: bool,
    /// Where to keep the changelog meanwhile; the medium is what is measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Case {
    name: &'static str,
    appenders: u64,
    records_per_append: u64,
}

const CASES: [Case; 5] = [
    Case { name: "1 appender", appenders: 1, records_per_append: 1 },
    Case { name: "16 appenders", appenders: 16, records_per_append: 1 },
    Case { name: "256 appenders", appenders: 256, records_per_append: 1 },
    Case { name: "1 appender of 1,000", appenders: 1, records_per_append: 1000 },
    Case { name: "16 appenders of 1,000", appenders: 16, records_per_append: 1000 },
];

/// What one case measured.
struct Measured {
    appended_per_s: f64,
    /// Bytes that went to the medium for each byte of keys and values; unknown where the system does not tell.
    written_per_byte: Option<f64>,
    read_per_s: f64,
    open_ms: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let duration = Duration::from_millis(if args.quick { 700 } else { 5000 });
    let parent = args.dir.unwrap_or_else(std::env::temp_dir);
    println!("{:<24}{:>16}{:>18}{:>16}{:>10}", "", "appended/s", "written per byte", "read/s", "open ms");
    let mut results = Vec::new();
    for case in &CASES {
        let dir = tempfile::tempdir_in(&parent)?;
        let measured = measure(case, dir.path(), duration)?;
        let written =
            measured.written_per_byte.map_or_else(|| "-".into(), |per_byte| format!("{per_byte:.2}"));
        println!(
            "{:<24}{:>16.0}{:>18}{:>16.0}{:>10.0}",
            case.name, measured.appended_per_s, written, measured.read_per_s, measured.open_ms
        );
        results.push(measured);
    }
    let gain = match (results.first(), results.get(2)) {
        (Some(one), Some(many)) => many.appended_per_s / one.appended_per_s,
        _ => return Err("a case is missing".into()),
    };
    println!("256 appenders acknowledge {gain:.1} times what one does (target: 20)");
    let cases = CASES.iter().zip(&results).map(|(case, measured)| {
        json!({
            "appenders": case.appenders,
            "records_per_append": case.records_per_append,
            "appended_per_s": measured.appended_per_s.round(),
            "written_per_byte": measured.written_per_byte,
            "read_per_s": measured.read_per_s.round(),
            "open_ms": measured.open_ms,
        })
    });
    println!("{}", json!({ "bench": "append", "gain_256": gain, "cases": cases.collect::<Vec<_>>() }));
    Ok(())
}

fn measure(case: &Case, dir: &Path, duration: Duration) -> Result<Measured, Box<dyn Error>> {
    let log = Arc::new(EmbeddedChangelog::open(dir, EmbeddedOptions::default())?);
    log.create_topic("bench", &TopicConfig { partitions: PARTITIONS, ..TopicConfig::default() })?;
    let written_before = written_bytes();
    let records = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    runtime.block_on(async {
        let appender = |number| {
            append_until(log.clone(), number, case.records_per_append, started + duration, records.clone())
        };
        let appenders: Vec<_> = (0..case.appenders).map(|number| tokio::spawn(appender(number))).collect();
        for appender in appenders {
            appender.await??;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let count = records.load(Ordering::Relaxed);
    let read_per_s = read_all(&*log)?;
    log.close()?;
    let opening = Instant::now();
    EmbeddedChangelog::open(dir, EmbeddedOptions::default())?.close()?;
    let open_ms = opening.elapsed().as_secs_f64() * 1000.0;
    let appended_bytes = count * (8 + VALUE_BYTES as u64);
    let written = written_before.zip(written_bytes()).map(|(before, after)| after - before);
    Ok(Measured {
        appended_per_s: count as f64 / seconds,
        written_per_byte: written.map(|written| written as f64 / appended_bytes as f64),
        read_per_s,
        open_ms,
    })
}

async fn append_until(
    log: Arc<EmbeddedChangelog>,
    appender: u64,
    records_per_append: u64,
    end: Instant,
    count: Arc<AtomicU64>,
) -> millpond_engine::Result<()> {
    let mut number = appender << 32;
    while Instant::now() < end {
        let records = (0..records_per_append).map(|step| record(number + step)).collect();
        number += records_per_append;
        let partition = TopicPartition::new("bench", u32::try_from(appender).unwrap_or(0) % PARTITIONS);
        log.append(vec![Append { partition, records }]).await?;
        count.fetch_add(records_per_append, Ordering::Relaxed);
    }
    Ok(())
}

/// A value that compression cannot shrink, so that every byte counts.
fn record(number: u64) -> Record {
    let mut state = number;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb).to_le_bytes()
    });
    let value: Vec<u8> = words.flatten().take(VALUE_BYTES).collect();
    Record::new(number.to_be_bytes().to_vec(), value)
}

/// Reads and decodes every record, partition by partition; answers with records per second.
fn read_all(log: &dyn Changelog) -> millpond_engine::Result<f64> {
    let started = Instant::now();
    let (mut records, mut bytes) = (0_u64, 0_usize);
    for partition in 0..PARTITIONS {
        let mut reader = log.reader(&TopicPartition::new("bench", partition), 0)?;
        loop {
            let batches = reader.poll(1 << 20)?;
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                for record in &batch.decode()? {
                    records += 1;
                    bytes += record.key.len() + record.value.map_or(0, <[u8]>::len);
                }
            }
        }
    }
    assert_eq!(bytes as u64, records * (8 + VALUE_BYTES as u64), "what was appended is read");
    Ok(records as f64 / started.elapsed().as_secs_f64())
}

/// What this process has sent to the medium so far, where the system tells.
fn written_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}
