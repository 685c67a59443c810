//! The input: topics of payments, what is folded of them, and what that must come to.

use super::{Args, Bench};
use millpond::codec::{BigEndian, Raw};
use millpond::{Graph, GraphBuilder, Position, StoredTable, Topic, TopicPartition, View};
use millpond_kafka::Kafka;
use millpond_kafka::fetch::{FetchConfig, Fetcher};
use millpond_support::bench::Outcome;
use millpond_support::bench::args::Distribution;
use millpond_support::bench::measured::Digest;
use millpond_support::java;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub(super) const PARTITIONS: u32 = 2;

/// The file that tells the phases where the broker is, and which topic is theirs.
const INPUT: &str = "input.json";

/// Of so many keys the results of all ways are compared.
const COMPARED_KEYS: i64 = 1_000;

/// What is kept of each key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: i64,
    last: i64,
}

impl Summary {
    #[inline]
    pub(super) fn fold(&mut self, value: &[u8]) {
        let amount = value.first_chunk().map_or(0, |amount| i64::from_be_bytes(*amount));
        self.count += 1;
        self.sum = self.sum.wrapping_add(amount);
        self.last = amount;
    }
}

/// A topic of payments at a broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Input {
    pub(super) bootstrap: String,
    pub(super) topic: String,
    pub(super) records: u64,
}

impl Input {
    /// Writes a topic, unless it is there already, and tells the phases in the directory that is returned of it.
    pub(super) fn write(
        bench: &Bench<'_>,
        records: u64,
        distribution: Distribution,
    ) -> Outcome<(Self, PathBuf)> {
        let distribution = match distribution {
            Distribution::Uniform => "uniform",
            Distribution::Zipf => "zipf",
        };
        let topic = format!("payments-{distribution}-{records}");
        let dir = bench.scratch.join(&topic);
        let input = Self { bootstrap: bench.broker.bootstrap(), topic, records };
        if !dir.exists() {
            eprintln!("writing {}", input.topic);
            let (records, keys) = (records.to_string(), bench.args.keys().to_string());
            let of = ["--topic", &input.topic, "--records", &records, "--keys", &keys];
            java::run(bench.broker, "Produce", &[&of[..], &["--distribution", distribution]].concat(), "");
            input.tell(&dir)?;
        }
        Ok((input, dir))
    }

    /// Tells the phases that are given `dir` of it.
    pub(super) fn tell(&self, dir: &Path) -> Outcome<()> {
        std::fs::create_dir_all(dir)?;
        Ok(std::fs::write(dir.join(INPUT), serde_json::to_vec(self)?)?)
    }

    /// That of the phase that was given `dir`.
    pub(super) fn told(dir: &Path) -> Outcome<Self> {
        Ok(serde_json::from_slice(&std::fs::read(dir.join(INPUT))?)?)
    }

    pub(super) fn fetcher(&self) -> Outcome<Fetcher> {
        Ok(Fetcher::connect(FetchConfig::new(&self.bootstrap))?)
    }

    /// Where its partitions end.
    pub(super) fn ends(&self) -> Outcome<Position> {
        let fetcher = self.fetcher()?;
        let partitions = (0..PARTITIONS).map(|partition| TopicPartition::new(&*self.topic, partition));
        Ok(partitions
            .map(|id| fetcher.latest_offsets(&id).map(|kept| (id, kept.end)))
            .collect::<Result<_, _>>()?)
    }

    pub(super) fn kafka(&self) -> Kafka {
        Kafka::new("bench").bootstrap(&self.bootstrap)
    }

    /// The topic as the graph knows it.
    pub(super) fn typed(&self) -> Topic<i64, [u8; 16]> {
        Topic::with_codec(&self.topic, Raw).keys(BigEndian).partitions(PARTITIONS)
    }

    /// Count, sum and last of each key.
    pub(super) fn graph(&self) -> Outcome<(Graph, StoredTable<i64, Summary>)> {
        let graph = GraphBuilder::new();
        let fold = |summary: &mut Summary, _: &i64, value: [u8; 16]| summary.fold(&value);
        let stream = graph.stream(&self.typed());
        let summaries = stream.group_by_key().fold("summaries", Summary::default, fold);
        Ok((graph.build()?, summaries))
    }

    /// Whether the rows count every record once.
    pub(super) fn is_right(&self, rows: &View<i64, Summary>) -> Outcome<bool> {
        let mut total = Summary::default();
        for row in rows.scan()? {
            let (_, Summary { count, sum, .. }) = row?;
            (total.count, total.sum) = (total.count + count, total.sum + sum);
        }
        // The amounts are 1 to 1,000, in turn.
        let (rounds, rest) = (self.records / 1_000, self.records % 1_000);
        let sum = rounds * 500_500 + rest * (rest + 1) / 2;
        Ok(total.count == self.records && total.sum == i64::try_from(sum)?)
    }
}

/// A number for what the rows of some keys are.
pub(super) fn digest(args: &Args, summary: impl Fn(i64) -> Outcome<Option<Summary>>) -> Outcome<u64> {
    let mut digest = Digest::default();
    for key in 0..COMPARED_KEYS.min(args.keys().try_into()?) {
        let Summary { count, sum, last } = summary(key)?.unwrap_or_default();
        digest.add([key.cast_unsigned(), count, sum.cast_unsigned(), last.cast_unsigned()]);
    }
    Ok(digest.value())
}
