//! Counts the words of a topic's lines, and writes the counts to another topic, each exactly once, where any tool of Kafka reads
//! them.
//!
//! ```text
//! lines (text; keys: text, or none) ─► words ─► count ─► counts (key: a word; value: its count, as text)
//! ```
//!
//! In a checkout, with Java (`scripts/setup --kafka`); `scripts/broker` starts a broker and passes on Kafka's own tools:
//!
//! ```text
//! scripts/broker start
//! scripts/broker topics --create --topic lines --partitions 2
//! scripts/broker topics --create --topic counts --partitions 2 --config cleanup.policy=compact
//! cargo run --release -p millpond-kafka --example kafka_word_count -- --dir /tmp/word-count
//! ```
//!
//! It prints all counts, and then each one as it changes. In a second terminal, lines to count (end them with Ctrl-D):
//!
//! ```text
//! scripts/broker console-producer --topic lines
//! to be or not to be
//! ```
//!
//! And in a third one what it writes. Whoever wants each record once reads what is committed:
//!
//! ```text
//! scripts/broker console-consumer --topic counts --from-beginning --isolation-level read_committed \
//!     --formatter-property print.key=true
//! ```
//!
//! Kill it at any moment, as often as you like, and start it again with the same `--dir`: the counts go on, and none is written
//! twice. (After `kill -9` that takes ten seconds, the `session.timeout.ms`: another process of the name could still be there.) A
//! count that changes several times at once is written once, as it is then.

use clap::Parser;
use millpond::codec::Utf8;
use millpond::{Engine, ErrorKind, Graph, GraphBuilder, Result, StoredTable, Topic};
use millpond_kafka::Kafka;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Counts the words of a topic of Kafka into another topic.
///
/// Prints a line for each count, and for each that changes: the word, a tab, the count. What else it has to say goes to the standard error.
#[derive(Parser)]
#[command(name = "kafka_word_count")]
struct Arguments {
    /// The brokers to ask for all others, apart by commas
    #[arg(long, value_name = "HOST:PORT,..", default_value = "127.0.0.1:9092")]
    bootstrap: String,

    /// Reads lines from this topic
    #[arg(long, value_name = "TOPIC", default_value = "lines")]
    lines: String,

    /// Writes counts to this topic
    #[arg(long, value_name = "TOPIC", default_value = "counts")]
    counts: String,

    /// Keeps the counts and how far it has read in this directory
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kafka_word_count: {error}");
            ExitCode::FAILURE
        }
    }
}

fn word_count(lines: &str, counts: &str) -> Result<(Graph, StoredTable<String, u64>)> {
    // Most lines have no key, and what the key is does not matter here.
    let lines = Topic::<String, String>::with_codec(lines, Utf8).keys(Utf8).keyed_by(|_| String::new());
    let counts = Topic::<String, String>::with_codec(counts, Utf8).keys(Utf8);
    let graph = GraphBuilder::new();
    let words = graph
        .stream(&lines)
        .flat_map_values(|_, line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count("words");
    words.map_values(|_, count| count.to_string()).to_stream().to_upserts(&counts);
    Ok((graph.build()?, words))
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: &Arguments) -> std::result::Result<(), Box<dyn Error>> {
    // Before anything is opened, so that it is closed in order whenever that is asked for.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let told = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let (graph, words) = word_count(&arguments.lines, &arguments.counts)?;
    let kafka = Kafka::new("word-count").bootstrap(&arguments.bootstrap);
    let engine = Engine::builder(&graph).dir(&arguments.dir).changelog(kafka).start()?;
    tokio::select! {
        shown = show(&engine, &words, arguments) => shown?,
        () = told => eprintln!("closing: what was counted is committed"),
    }
    Ok(engine.close().await?)
}

/// Prints what there is and what changes, for as long as the engine runs.
async fn show(
    engine: &Engine,
    words: &StoredTable<String, u64>,
    arguments: &Arguments,
) -> std::result::Result<(), Box<dyn Error>> {
    let Arguments { lines, counts, .. } = arguments;
    loop {
        engine.ready().await?;
        let (known, mut changes) = engine.view(words)?.changes()?;
        eprintln!("counting the words of `{lines}` into `{counts}`; Ctrl-C ends it");
        for row in known.scan() {
            let (word, count) = row?;
            writeln!(io::stdout(), "{word}\t{count}")?;
        }
        drop(known);
        loop {
            let epoch = match changes.next().await {
                None => return Ok(()),
                Some(Ok(epoch)) => epoch,
                // Another process of this name has taken over, or whoever reads our output is too slow: begin again.
                Some(Err(error)) if error.kind() == ErrorKind::Unavailable => break eprintln!("{error}"),
                Some(Err(error)) => return Err(error.into()),
            };
            let mut out = io::stdout().lock();
            for change in epoch.changes() {
                if let Some(count) = change.new {
                    writeln!(out, "{}\t{count}", change.key)?;
                }
            }
        }
    }
}
