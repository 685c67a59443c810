//! Folding from Kafka, beside Kafka Streams, a loop by hand and the embedded log: how fast, at what cost, how late, how soon
//! again after a crash.
//!
//! Everything runs in one go against one broker on this machine, whose processor time is told apart, and takes turns: a ratio is
//! of one run. What is folded is count, sum and last amount of each key of a topic of 8-byte keys and 16-byte values in lz4,
//! which Kafka's own producer has written. Each section is a module here: [`fold`], [`latency`], [`reads`], [`recovery`],
//! [`output`]. Needs Java: see `scripts/broker --help`.

mod fold;
mod latency;
mod load;
mod output;
mod payments;
mod reads;
mod recovery;
mod streams;

use clap::{Parser, ValueEnum};
use millpond_support::bench::args::{self, Distribution};
use millpond_support::bench::report::Targets;
use millpond_support::bench::{Outcome, phase};
use millpond_support::broker::Broker;
use serde_json::{Map, Value, json};

/// Folding a topic of Kafka: millpond beside Kafka Streams, a loop by hand and the embedded log.
///
/// Progress goes to the standard error; tables, and as the last line one JSON object, to the standard output. A run of all
/// sections takes some half hour, most of it Kafka Streams'; `--quick` half a minute, without Kafka Streams unless that is asked
/// for.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: args::Common,
    /// What to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "fold,fold-zipf,latency,reads,recovery,output"
    )]
    sections: Vec<Section>,
    /// The ways of folding to measure; Kafka Streams in its four settings where nothing is said, in none with --quick.
    #[arg(long, value_enum, value_delimiter = ',')]
    ways: Option<Vec<Way>>,
    /// How many records Kafka Streams folds, a quarter of which is not timed: it needs minutes for what takes others seconds.
    #[arg(long)]
    streams_records: Option<u64>,
    /// How often each setting of Kafka Streams is measured.
    #[arg(long, default_value_t = 1)]
    streams_rounds: usize,
    /// How many keys a second are read beside the folding.
    #[arg(long, default_value_t = 1_000)]
    reads_per_second: u32,
    /// How long each measure of latency lasts, in seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Records a second, and for each second of the processor, of keys as `--distribution` says
    Fold,
    /// The same of keys by Zipf's law
    FoldZipf,
    /// From a record being sent until it can be read
    Latency,
    /// Reads of keys beside the folding
    Reads,
    /// Kill -9 in the middle of it
    Recovery,
    /// Every record written to another topic
    Output,
}

/// A way of folding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// millpond from Kafka, from an empty state until all is folded and durable
    Engine,
    /// rdkafka's consumer, well set, and a `HashMap`: nothing is durable
    Hand,
    /// The direct path by itself, decoding and counting on one thread
    Direct,
    /// millpond from its embedded log, otherwise as from Kafka
    Embedded,
    /// Kafka Streams: as it comes and tuned, each at least once and exactly once
    Streams,
}

impl Args {
    fn records(&self) -> u64 {
        self.common.records(10_000_000, 20_000)
    }

    fn keys(&self) -> u64 {
        self.common.keys(1_000_000, 2_000)
    }

    fn streams_records(&self) -> u64 {
        self.streams_records.unwrap_or(if self.common.quick { 10_000 } else { 2_000_000 }).max(8)
    }

    fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.common.quick { 2 } else { 20 })
    }

    fn measures(&self, way: Way) -> bool {
        match &self.ways {
            Some(ways) => ways.contains(&way),
            None => way != Way::Streams || !self.common.quick,
        }
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let Some(name) = args.common.phase.as_deref() else { return compare(&args) };
    let scratch = phase::given(&args.common)?;
    match name {
        "log" | "engine" | "hand" | "direct" | "embedded" => fold::phase(name, &args, scratch),
        "latency" => latency::phase(&args, scratch),
        "reads" => reads::phase(&args, scratch),
        "victim" | "heir" => recovery::phase(name, &args, scratch),
        "filter" | "producer" => output::phase(name, &args, scratch),
        other => Err(format!("there is no phase `{other}`").into()),
    }
}

/// What a section has found: figures, and what they should be.
type Found = (Value, Targets);

fn compare(args: &Args) -> Outcome<()> {
    let Some(broker) = Broker::options().heap_mb(1024).well_compiled().start() else { return Ok(()) };
    let scratch = phase::scratch(&args.common)?;
    let bench = Bench { args, broker: &broker, scratch: scratch.path() };
    let mut line = Map::new();
    line.insert("bench".to_owned(), json!("kafka"));
    line.insert("records".to_owned(), json!(args.records()));
    line.insert("keys".to_owned(), json!(args.keys()));
    line.insert("streams_records".to_owned(), json!(args.streams_records()));
    let mut targets = Targets::default();
    for section in &args.sections {
        let (name, (figures, found)) = match section {
            Section::Fold => ("fold", fold::section(&bench, args.common.distribution, "")?),
            Section::FoldZipf => ("fold_zipf", fold::section(&bench, Distribution::Zipf, "zipf_")?),
            Section::Latency => ("latency", latency::section(&bench)?),
            Section::Reads => ("reads", reads::section(&bench)?),
            Section::Recovery => ("recovery", recovery::section(&bench)?),
            Section::Output => ("output", output::section(&bench)?),
        };
        line.insert(name.to_owned(), figures);
        targets = targets.and(found);
    }
    targets.finish(Value::Object(line));
    Ok(())
}

/// What all sections need.
struct Bench<'a> {
    args: &'a Args,
    broker: &'a Broker,
    scratch: &'a std::path::Path,
}

impl Bench<'_> {
    /// What `work` has come to, and how many seconds of the processor the broker has used meanwhile.
    fn beside_broker<T>(&self, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, f64)> {
        let used = || self.broker.cpu_seconds().unwrap_or(f64::NAN);
        let before = used();
        let done = work()?;
        Ok((done, used() - before))
    }
}
