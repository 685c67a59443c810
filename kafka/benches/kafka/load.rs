//! Payments sent by librdkafka's own producer: as fast as it can, or so many a second.

use super::payments::{Input, PARTITIONS};
use millpond_support::bench::Outcome;
use millpond_support::random::Random;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many are sent before the clock is looked at.
const STEP: u64 = 100;

/// Counts what did not get there.
#[derive(Debug, Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        if delivered.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends `records` payments of keys below `keys`, at most `rate` a second if there is one, and waits until all are acknowledged.
pub(super) fn send(input: &Input, records: u64, keys: u64, rate: Option<f64>) -> Outcome<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &input.bootstrap).set("enable.idempotence", "true");
    config.set("compression.type", "lz4").set("linger.ms", "5").set("batch.size", "1000000");
    config.set("queue.buffering.max.messages", "500000");
    let producer: BaseProducer<Failures> = config.create_with_context(Failures::default())?;
    let mut random = Random::new(records);
    let begin = Instant::now();
    for number in 0..records {
        if number % STEP == 0 {
            producer.poll(Duration::ZERO);
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let due = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(number as f64 / rate));
            while let Some(early) = due.checked_sub(begin.elapsed()).filter(|early| !early.is_zero()) {
                producer.poll(early);
            }
        }
        let key = random.below(keys);
        let amount = 1 + number % 1_000;
        let mut value = [0; 16];
        let (first, second) = value.split_at_mut(8);
        first.copy_from_slice(&amount.to_be_bytes());
        second.copy_from_slice(&number.to_be_bytes());
        let partition = i32::try_from(key % u64::from(PARTITIONS))?;
        let key = key.to_be_bytes();
        let mut record = BaseRecord::to(&input.topic).partition(partition).key(&key).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60))?;
    match producer.context().0.load(Ordering::Relaxed) {
        0 => Ok(()),
        failed => Err(format!("{failed} of {records} records were not delivered").into()),
    }
}
