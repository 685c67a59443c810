//! Transactional producers: what is asked of one, what its errors mean, and the one of librdkafka.

use super::state::LOOK;
use crate::log::outgoing::outgoing;
use crate::log::refusals::{Meaning, Size, meaning, of_transaction};
use millpond_engine::changelog::Append;
use millpond_engine::{Error, Result, TopicPartition};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one request of a transaction may take before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an error of a transactional producer means.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another producer of the same id has begun: what this one does counts no more.
    Fenced,
    /// It is not known yet what came of it, for this reason: ask again.
    Unknown(Error),
    /// The transaction is lost, and what was in it may be sent again, by another producer.
    Lost(Error),
    /// So is the producer, by an error that it does not recover from.
    Fatal(Error),
    /// It will never go well.
    Refused(Error),
}

/// Where producers come from that append as one transactional id.
pub(super) trait Producers: Send + Sync {
    /// Begins as the only producer of the id: whoever was it before is fenced, and what it had open is aborted.
    fn begin_tenure(&self) -> Result<Box<dyn Transactions>, Trouble>;
}

/// A producer with transactions, of which one is open at a time.
pub(super) trait Transactions: Send {
    /// Whether another producer has to take its place before the next transaction.
    fn is_shaky(&self) -> bool;

    fn begin(&mut self) -> Result<(), Trouble>;

    /// Sends what an epoch has appended.
    fn send(&mut self, appends: &[Append]) -> Result<(), Trouble>;

    /// Sends the mark of an epoch.
    fn send_mark(&mut self, partition: &TopicPartition, mark: &[u8]) -> Result<(), Trouble>;

    /// Ends the transaction. Where that is [not known](Trouble::Unknown) to have happened it can be asked for again.
    fn commit(&mut self) -> Result<(), Trouble>;
}

/// Those of librdkafka.
pub(super) struct OfLibrdkafka {
    pub(super) config: ClientConfig,
    /// The transactional id.
    pub(super) id: String,
    /// The largest record that is sent.
    pub(super) most_bytes: usize,
}

struct OneOfLibrdkafka {
    /// Taken by whoever drops it.
    producer: Option<ThreadedProducer<Watch>>,
    id: String,
    /// What the transaction writes to.
    topics: BTreeSet<Arc<str>>,
    most_bytes: usize,
    seen: Arc<Seen>,
}

/// What is heard of records and connections meanwhile.
#[derive(Default)]
struct Seen {
    /// Whether a request may be on its way that nobody waits for any more: a transaction that begins after that could be ended
    /// by it (KAFKA-17754).
    is_shaky: AtomicBool,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    /// Why a record was not taken, if it never will be,
    refused: Option<Error>,
    /// or if it may be another time.
    failed: Option<Error>,
    /// A topic that could not become part of the transaction.
    left_out: Option<String>,
}

impl Seen {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, meaning: Meaning) {
        let mut records = self.records();
        match meaning {
            Meaning::Never(error) => _ = records.refused.get_or_insert(error),
            Meaning::Once(error) => _ = records.failed.get_or_insert(error),
            Meaning::GivenUp => {}
        }
    }
}

struct Watch {
    seen: Arc<Seen>,
    most_bytes: usize,
}

impl ClientContext for Watch {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "trouble with Kafka");
        self.seen.is_shaky.store(true, Ordering::Release);
    }

    /// Which topic it is that cannot become part of a transaction is told here alone.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let is_error = (level as i32) <= RDKafkaLogLevel::Error as i32;
        // The others are not added, either.
        let is_left_out = facility == "ADDPARTS" && is_error && !message.contains("not attempted");
        if is_left_out && let Some(topic) = message.split('"').nth(1) {
            self.seen.records().left_out.get_or_insert_with(|| topic.to_owned());
        }
        if is_error {
            tracing::warn!(facility, message, "trouble with Kafka");
        } else {
            tracing::debug!(facility, message, "librdkafka");
        }
    }
}

impl ProducerContext for Watch {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        let partition =
            TopicPartition::new(message.topic(), u32::try_from(message.partition()).unwrap_or(u32::MAX));
        let bytes = message.key_len() + message.payload_len();
        let size = Size { bytes, most: self.most_bytes, is_unsent: false };
        self.seen.note(meaning(error, &partition, size));
    }
}

impl Producers for OfLibrdkafka {
    fn begin_tenure(&self) -> Result<Box<dyn Transactions>, Trouble> {
        let (seen, most_bytes) = (Arc::<Seen>::default(), self.most_bytes);
        let watch = Watch { seen: Arc::clone(&seen), most_bytes };
        let producer: ThreadedProducer<Watch> = self.config.create_with_context(watch).map_err(|error| {
            Trouble::Refused(Error::invalid("no transactional producer").with_source(error))
        })?;
        let (id, topics) = (self.id.clone(), BTreeSet::new());
        let one = OneOfLibrdkafka { producer: Some(producer), id, topics, most_bytes, seen };
        match one.on(|producer| producer.init_transactions(PATIENCE)) {
            Ok(()) => Ok(Box::new(one)),
            Err(error) => Err(one.trouble(error)),
        }
    }
}

impl Transactions for OneOfLibrdkafka {
    fn is_shaky(&self) -> bool {
        self.seen.is_shaky.load(Ordering::Acquire)
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        self.topics.clear();
        self.on(Producer::begin_transaction).map_err(|error| self.trouble(error))
    }

    fn send(&mut self, appends: &[Append]) -> Result<(), Trouble> {
        for Append { partition, records } in appends {
            if !self.topics.contains(&partition.topic) {
                self.topics.insert(Arc::clone(&partition.topic));
            }
            for record in records {
                self.send_one(partition, outgoing(partition, record, ()))?;
            }
        }
        Ok(())
    }

    fn send_mark(&mut self, partition: &TopicPartition, mark: &[u8]) -> Result<(), Trouble> {
        self.topics.insert(Arc::clone(&partition.topic));
        self.send_one(partition, BaseRecord::to(&partition.topic).partition(0).payload(mark))
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        self.flush()?;
        let committed = self.on(|producer| producer.commit_transaction(PATIENCE));
        committed.map_err(|error| {
            self.seen.is_shaky.store(true, Ordering::Release);
            self.trouble(error)
        })
    }
}

impl OneOfLibrdkafka {
    fn on(&self, act: impl FnOnce(&ThreadedProducer<Watch>) -> KafkaResult<()>) -> KafkaResult<()> {
        self.producer.as_ref().map_or(Err(KafkaError::Canceled), act)
    }

    /// Waits until everything was delivered, or is not to be. To commit does that, too; but then `rdkafka` looks every 100 ms
    /// only, and what takes longer than a commit may, as lines are slow or brokers throttle, is no reason to begin again.
    fn flush(&self) -> Result<(), Trouble> {
        let began = Instant::now();
        while let Err(error) = self.on(|producer| producer.flush(Duration::ZERO)) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::OperationTimedOut) {
                return Err(self.trouble(error));
            }
            if began.elapsed() > PATIENCE {
                let why = "records are on their way to the brokers";
                return Err(Trouble::Unknown(Error::unavailable(why)));
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }

    fn send_one(&self, to: &TopicPartition, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Trouble> {
        let Some(producer) = &self.producer else { return Err(self.trouble(KafkaError::Canceled)) };
        producer.send(record).map_err(|(error, record)| {
            let bytes = record.key.map_or(0, <[u8]>::len) + record.payload.map_or(0, <[u8]>::len);
            let size = Size { bytes, most: self.most_bytes, is_unsent: true };
            self.seen.note(meaning(&error, to, size));
            // The transaction may have failed before, for a reason that is told to whoever begins another one.
            let failed = self.on(Producer::begin_transaction).err();
            let is_reason = |error: &KafkaError| error.rdkafka_error_code() != Some(RDKafkaErrorCode::State);
            self.trouble(failed.filter(is_reason).unwrap_or(error))
        })
    }

    fn trouble(&self, error: KafkaError) -> Trouble {
        let Records { refused, failed, left_out } = std::mem::take(&mut *self.seen.records());
        if let Some(refused) = refused {
            return Trouble::Refused(refused);
        }
        let fatal = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| error.rdkafka_error_code());
        if let Some(
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch,
        ) = code
        {
            return Trouble::Fenced;
        }
        let topics: Vec<&str> = match &left_out {
            Some(topic) => vec![topic],
            None => self.topics.iter().map(|topic| &**topic).collect(),
        };
        if let Some(refused) = code.and_then(|code| of_transaction(code, &self.id, &topics)) {
            return Trouble::Refused(refused.with_source(error));
        }
        let is_retriable = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
        let told = failed.unwrap_or_else(|| {
            Error::unavailable(format!("a transaction as `{}` has failed", self.id)).with_source(error)
        });
        match (fatal, is_retriable) {
            (Some(_), _) => Trouble::Fatal(told),
            (None, true) => Trouble::Unknown(told),
            (None, false) => Trouble::Lost(told),
        }
    }
}

impl Drop for OneOfLibrdkafka {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            super::drop_aside(producer);
        }
    }
}
