//! Apache Kafka as millpond's changelog. Begin with [`Kafka`]: it says how brokers are reached, and takes the place of a directory in
//! `Engine::builder(&graph).dir("state").changelog(kafka)`. Beside it there are pages on operating it, on coming from Kafka
//! Streams, and examples, in the repository.
//!
//! Two paths lead to the brokers. What is rare and must be right, such as producing and creating topics, goes through
//! librdkafka. Reading, which is nearly all the work, goes by the direct path of [`fetch`]: record batches reach the threads
//! that fold as the broker has stored them, and are checked, decompressed and decoded there. Where that cannot go, records are
//! read through librdkafka, too: [`Fetch`].

mod config;
pub mod fetch;
mod librdkafka;
mod log;
mod path;
mod properties;
mod security;

pub use config::Kafka;
pub use log::KafkaChangelog;
pub use path::Fetch;

/// The programs of the papers on Kafka, as tests: they are compiled.
#[cfg(doctest)]
mod papers {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/operating-on-kafka.md")]
    struct Operating;
    #[doc = include_str!("../../docs/from-kafka-streams.md")]
    struct ComingFromKafkaStreams;
}
