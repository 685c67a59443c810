//! The arguments that every benchmark takes.

use super::Outcome;
use bytesize::ByteSize;
use clap::ValueEnum;
use millpond::{Engine, EngineBuilder, Graph};
use serde::Serialize;
use std::path::PathBuf;

/// How often each key comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// All keys alike.
    Uniform,
    /// The key of rank n in proportion to 1/n.
    Zipf,
}

/// Sizes and places.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Tiny sizes, which only prove that the benchmark runs.
    #[arg(long)]
    pub quick: bool,
    /// How many records.
    #[arg(long)]
    records: Option<u64>,
    /// How many different keys.
    #[arg(long)]
    keys: Option<u64>,
    /// How often each key comes up.
    #[arg(long, value_enum, default_value = "uniform")]
    pub distribution: Distribution,
    /// The memory budget of the engine, such as 256MiB or 1GiB. What is compared with it gets as much for its cache.
    #[arg(long, value_parser = bytes, default_value = "1GiB")]
    pub memory: usize,
    /// Over how many shards the engine spreads the keys; the number of cores unless set.
    #[arg(long)]
    shards: Option<usize>,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 1)]
    pub partitions: u32,
    /// How often everything is measured; the medians are reported.
    #[arg(long)]
    rounds: Option<usize>,
    /// What the random numbers begin with.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Where files are put for the time of the run; a disk, not memory. Cargo's target directory unless set.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Passed by `cargo bench`; of no meaning.
    #[arg(long, hide = true)]
    bench: bool,
    /// The part of the benchmark that this process is to run.
    #[arg(long, hide = true)]
    pub phase: Option<String>,
    /// Where this process finds and puts its files.
    #[arg(long, hide = true)]
    pub scratch: Option<PathBuf>,
}

impl Common {
    /// The number of records: as asked for, or one of these.
    pub fn records(&self, usual: u64, quick: u64) -> u64 {
        self.records.unwrap_or(if self.quick { quick } else { usual }).max(1)
    }

    /// The number of keys: as asked for, or one of these.
    pub fn keys(&self, usual: u64, quick: u64) -> u64 {
        self.keys.unwrap_or(if self.quick { quick } else { usual }).max(1)
    }

    /// The number of rounds: as asked for, or `usual`; one in quick mode.
    pub fn rounds(&self, usual: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { usual }).max(1)
    }

    /// Refuses a distribution to a benchmark that has its own way of drawing keys.
    pub fn only_uniform(&self) -> Outcome<()> {
        match self.distribution {
            Distribution::Uniform => Ok(()),
            Distribution::Zipf => Err("this benchmark draws its keys in a way of its own; see --help".into()),
        }
    }

    /// Refuses several rounds to a benchmark that has many turns within one.
    pub fn only_one_round(&self) -> Outcome<()> {
        match self.rounds {
            None | Some(1) => Ok(()),
            Some(_) => Err("this benchmark takes turns within one round; leave --rounds out".into()),
        }
    }

    /// An engine for `graph` with the memory and the shards asked for.
    pub fn engine(&self, graph: &Graph) -> EngineBuilder {
        let builder = Engine::builder(graph).memory(self.memory);
        match self.shards {
            Some(shards) => builder.shards(shards),
            None => builder,
        }
    }
}

/// Reads a size such as `64MiB`.
pub fn bytes(text: &str) -> Result<usize, String> {
    let size: ByteSize =
        text.parse().map_err(|error| format!("`{text}` is no size, such as 256MiB: {error}"))?;
    usize::try_from(size.as_u64()).map_err(|_| format!("`{text}` is too much"))
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        for (text, size) in
            [("100B", 100), ("100", 100), ("3KiB", 3072), ("256MiB", 256 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "MiB", "1 potato", "-1"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
