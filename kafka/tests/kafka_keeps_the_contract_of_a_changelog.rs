//! Kafka passes the suite of contracts that every changelog passes, as far as its abilities go, by whichever path it is read.
//!
//! Method: a real broker that all tests of the program share; each has topics of its own, by a prefix that the suite does not
//! see.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod prefixed;

use millpond_engine::ManualClock;
use millpond_engine::changelog::contract_tests::Subject;
use millpond_engine::changelog_contract;
use millpond_kafka::{Fetch, Kafka, KafkaChangelog};
use millpond_support::broker::Broker;
use prefixed::Prefixed;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Its records are dated as the suite likes, and kept all the same.
fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    BROKER.get_or_init(|| Broker::options().property("log.retention.ms", "-1").start()).as_ref()
}

/// A cluster, of which a log is the topics with one prefix.
struct OfTopics<const BY_LIBRDKAFKA: bool> {
    prefix: String,
    log: Prefixed<KafkaChangelog>,
}

impl<const BY_LIBRDKAFKA: bool> OfTopics<BY_LIBRDKAFKA> {
    fn connect(prefix: String) -> Self {
        let path = if BY_LIBRDKAFKA { Fetch::Librdkafka } else { Fetch::Direct };
        let kafka = Kafka::new("contract").fetch(path).bootstrap(&broker().unwrap().bootstrap());
        // A partition that is not there is looked for as long as an answer may take.
        let log = kafka.property("socket.timeout.ms", "2000").create_topics(1).open().unwrap();
        Self { log: Prefixed::new(prefix.clone(), log), prefix }
    }
}

impl<const BY_LIBRDKAFKA: bool> Subject for OfTopics<BY_LIBRDKAFKA> {
    type Log = Prefixed<KafkaChangelog>;
    const LEASES_OUTLIVE_IT: bool = false;
    const REMEMBERS: bool = false;
    const BEGINS_TERMS: bool = false;

    fn is_available() -> bool {
        broker().is_some()
    }

    fn open(_: Arc<ManualClock>) -> Self {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        Self::connect(format!("contract-{}-", OPENED.fetch_add(1, Ordering::Relaxed)))
    }

    fn log(&self) -> &Self::Log {
        &self.log
    }

    fn reopen(self) -> Self {
        millpond_engine::changelog::Changelog::close(&self.log).unwrap();
        Self::connect(self.prefix)
    }
}

changelog_contract! { by_the_direct_path: OfTopics<false> }
changelog_contract! { by_librdkafka: OfTopics<true> }
