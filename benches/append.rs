//! How fast the embedded changelog appends durably, what it writes for it, and how fast it is read again.
//!
//! An appender waits for each acknowledgement before it appends again, so that only group commit makes many of them
//! faster than one. Each case runs for some seconds, or until it has appended as many records as are allowed.

#![expect(clippy::cast_precision_loss, reason = "counts of records and bytes fit well enough")]

use clap::Parser;
use millpond::TopicPartition;
use millpond::changelog::backend::{AppendLog, TopicLog};
use millpond::changelog::{Append, Changelog, EmbeddedChangelog, EmbeddedOptions, Record, TopicConfig};
use millpond_support::bench::keys::Keys;
use millpond_support::bench::report::{Targets, count, median, rounded};
use millpond_support::bench::{Outcome, args, phase, report};
use millpond_support::random::{Random, scatter};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;

/// So many keys of each appender are drawn, and used over and over: too far apart for compression to notice.
const DRAWN_KEYS: usize = 1 << 14;

/// Durable appends by several appenders: records acknowledged a second, and bytes written for each byte.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// How long each case appends, at most until `--records` are there.
    #[arg(long)]
    seconds: Option<f64>,
}

impl Args {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(if self.common.quick { 0.5 } else { 5.0 }))
    }

    fn records(&self) -> u64 {
        self.common.records(u64::MAX, u64::MAX)
    }

    /// One for each of a few appenders, unless set.
    fn partitions(&self) -> u32 {
        if self.common.partitions > 1 { self.common.partitions } else { 16 }
    }

    /// What an appender needs: drawn before the clock starts, for drawing by Zipf's law would be a part of what is measured.
    fn draw(&self, appender: u64) -> Drawn {
        let keys = self.common.keys(1_000_000, 1_000);
        let mut keys = Keys::new(self.common.distribution, keys, self.common.seed + appender);
        Drawn { keys: (0..DRAWN_KEYS).map(|_| keys.draw()).collect(), random: keys.random().clone() }
    }
}

struct Drawn {
    keys: Vec<u64>,
    /// Of the values.
    random: Random,
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

fn main() -> Outcome<()> {
    let args = Args::parse();
    let scratch = phase::scratch(&args.common)?;
    let mut results = Vec::new();
    for case in &CASES {
        eprintln!("{}", case.name);
        let rounds: Vec<Measured> = (0..args.common.rounds(1))
            .map(|_| measure(&args, case, tempfile::tempdir_in(scratch.path())?.path()))
            .collect::<Outcome<_>>()?;
        results.push(Measured::median(&rounds));
    }
    print(&args, &results)
}

impl Measured {
    fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        let written: Option<Vec<f64>> = rounds.iter().map(|round| round.written_per_byte).collect();
        Self {
            appended_per_s: of(|round| round.appended_per_s),
            written_per_byte: written.map(median),
            read_per_s: of(|round| round.read_per_s),
            open_ms: of(|round| round.open_ms),
        }
    }
}

fn print(args: &Args, results: &[Measured]) -> Outcome<()> {
    println!("append: values of {VALUE_BYTES} bytes, {} partitions\n", args.partitions());
    let mut table = report::Table::new(["", "appended/s", "written per byte", "read/s", "open ms"]);
    for (case, measured) in CASES.iter().zip(results) {
        let written = measured.written_per_byte.map_or_else(|| "-".into(), |bytes| format!("{bytes:.2}"));
        table.row([
            case.name.to_owned(),
            count(measured.appended_per_s),
            written,
            count(measured.read_per_s),
            format!("{:.0}", measured.open_ms),
        ]);
    }
    table.print();
    let gain = match results {
        [one, _, many, ..] => many.appended_per_s / one.appended_per_s,
        _ => return Err("a case is missing".into()),
    };
    let cases = CASES.iter().zip(results).map(|(case, measured)| {
        json!({
            "appenders": case.appenders,
            "records_per_append": case.records_per_append,
            "appended_per_s": measured.appended_per_s.round(),
            "written_per_byte": measured.written_per_byte,
            "read_per_s": measured.read_per_s.round(),
            "open_ms": measured.open_ms,
        })
    });
    let cases: Vec<_> = cases.collect();
    Targets::default()
        .at_least("gain_256", gain, 20.0)
        .finish(json!({ "bench": "append", "gain_256": rounded(gain), "cases": cases }));
    Ok(())
}

fn measure(args: &Args, case: &Case, dir: &Path) -> Outcome<Measured> {
    let log = Arc::new(EmbeddedChangelog::open(dir, EmbeddedOptions::default())?);
    log.create_topic("bench", &TopicConfig::default().partitions(args.partitions()))?;
    let written_before = written_bytes();
    let total = Arc::new(AtomicU64::new(0));
    let drawn: Vec<Drawn> = (0..case.appenders).map(|number| args.draw(number)).collect();
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    runtime.block_on(async {
        let appenders = (0..).zip(drawn).map(|(number, drawn): (u32, _)| {
            let appender = Appender {
                log: log.clone(),
                partition: TopicPartition::new("bench", number % args.partitions()),
                drawn,
                records: case.records_per_append,
                end: started + args.duration(),
                most: args.records(),
            };
            Ok(tokio::spawn(appender.run(total.clone())))
        });
        for appender in appenders.collect::<Outcome<Vec<_>>>()? {
            appender.await??;
        }
        Outcome::Ok(())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let appended = total.load(Ordering::Relaxed);
    let read_per_s = read_all(&*log, args.partitions(), appended)?;
    log.close()?;
    let opening = Instant::now();
    EmbeddedChangelog::open(dir, EmbeddedOptions::default())?.close()?;
    let open_ms = opening.elapsed().as_secs_f64() * 1000.0;
    let appended_bytes = appended * (8 + VALUE_BYTES as u64);
    let written = written_before.zip(written_bytes()).map(|(before, after)| after - before);
    Ok(Measured {
        appended_per_s: appended as f64 / seconds,
        written_per_byte: written.map(|written| written as f64 / appended_bytes as f64),
        read_per_s,
        open_ms,
    })
}

struct Appender {
    log: Arc<EmbeddedChangelog>,
    partition: TopicPartition,
    drawn: Drawn,
    /// In one append.
    records: u64,
    end: Instant,
    /// Of all appenders.
    most: u64,
}

impl Appender {
    async fn run(self, total: Arc<AtomicU64>) -> millpond::Result<()> {
        let Drawn { keys, mut random } = self.drawn;
        let mut keys = keys.iter().cycle();
        while Instant::now() < self.end && total.load(Ordering::Relaxed) < self.most {
            let records =
                (0..self.records).zip(keys.by_ref()).map(|(_, &key)| record(key, &mut random)).collect();
            self.log.append(vec![Append { partition: self.partition.clone(), records }]).await?;
            total.fetch_add(self.records, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A record whose value compression cannot shrink, so that every byte counts.
fn record(key: u64, random: &mut Random) -> Record {
    let first = random.number();
    let words = (0..).map(|word| scatter(first.wrapping_add(word)).to_le_bytes());
    Record::new(key.to_be_bytes().to_vec(), words.flatten().take(VALUE_BYTES).collect::<Vec<_>>())
}

/// Reads and decodes every record, partition by partition; answers with records per second.
fn read_all(log: &dyn Changelog, partitions: u32, appended: u64) -> Outcome<f64> {
    let started = Instant::now();
    let (mut records, mut bytes) = (0_u64, 0_usize);
    for partition in 0..partitions {
        let mut reader = log.reader(&TopicPartition::new("bench", partition), 0)?;
        loop {
            let batches = reader.poll(1 << 20)?;
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                for record in &batch.decode()? {
                    records += 1;
                    bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                }
            }
        }
    }
    if records != appended || bytes as u64 != records * (8 + VALUE_BYTES as u64) {
        return Err(format!("{appended} records were appended, {records} of {bytes} bytes are read").into());
    }
    Ok(records as f64 / started.elapsed().as_secs_f64())
}

/// What this process has sent to the medium so far, where the system tells.
fn written_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}
