//! Transactional producers: what is asked of one, what its errors mean, and the one of librdkafka.

use crate::log::outgoing::outgoing;
use millpond_engine::changelog::Append;
use millpond_engine::{Error, Result, TopicPartition};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long one request of a transaction may take before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an error of a transactional producer means.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another producer of the same id has begun: what this one does counts no more.
    Fenced,
    /// It is not known yet what came of it: ask again.
    Unknown,
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
}

struct OneOfLibrdkafka {
    /// Taken by whoever drops it.
    producer: Option<ThreadedProducer<Watch>>,
    watch: Arc<Seen>,
}

/// What is heard of records and connections meanwhile.
#[derive(Default)]
struct Seen {
    /// Whether a request may be on its way that nobody waits for any more: a transaction that begins after that could be ended
    /// by it (KAFKA-17754).
    is_shaky: AtomicBool,
    /// Why a record was not taken, if it never will be.
    refused: Mutex<Option<Error>>,
}

struct Watch(Arc<Seen>);

impl ClientContext for Watch {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "trouble with Kafka");
        self.0.is_shaky.store(true, Ordering::Release);
    }
}

impl ProducerContext for Watch {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = result else { return };
        let partition =
            TopicPartition::new(message.topic(), u32::try_from(message.partition()).unwrap_or(u32::MAX));
        if let Some(refused) = refusal(error, &partition, message.payload_len()) {
            self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refused);
        }
    }
}

/// Why a record for `partition` will never be taken, if so.
fn refusal(error: &KafkaError, partition: &TopicPartition, bytes: usize) -> Option<Error> {
    let topic = &partition.topic;
    let why = match error.rdkafka_error_code()? {
        RDKafkaErrorCode::MessageSizeTooLarge => format!(
            "a record for {partition} with a value of {bytes} bytes is larger than `message.max.bytes` of the producer (1 MB unless \
             set) or `max.message.bytes` of the topic allow; raise both, or write less"
        ),
        RDKafkaErrorCode::TopicAuthorizationFailed => format!(
            "the user must not write to topic {topic}: it takes an ACL that allows WRITE on the topic"
        ),
        RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition => {
            format!("there is no {partition}: create the topic, or its partition")
        }
        RDKafkaErrorCode::InvalidRecord => format!(
            "the brokers refuse a record for {partition}: a topic that is compacted takes none without a key"
        ),
        RDKafkaErrorCode::PolicyViolation | RDKafkaErrorCode::InvalidTopic => {
            format!("the brokers refuse records for {partition}")
        }
        _ => return None,
    };
    Some(Error::invalid(why).with_source(error.clone()))
}

impl Producers for OfLibrdkafka {
    fn begin_tenure(&self) -> Result<Box<dyn Transactions>, Trouble> {
        let watch = Arc::<Seen>::default();
        let producer: ThreadedProducer<Watch> =
            self.config.create_with_context(Watch(Arc::clone(&watch))).map_err(|error| {
                Trouble::Refused(Error::invalid("no transactional producer").with_source(error))
            })?;
        let one = OneOfLibrdkafka { producer: Some(producer), watch };
        match one.on(|producer| producer.init_transactions(PATIENCE)) {
            Ok(()) => Ok(Box::new(one)),
            Err(KafkaError::Transaction(error))
                if error.code() == RDKafkaErrorCode::TransactionalIdAuthorizationFailed =>
            {
                Err(Trouble::Refused(Error::invalid(format!(
                    "the user must not write as `{}`: it takes an ACL that allows WRITE and DESCRIBE on the transactional id",
                    self.id
                ))))
            }
            Err(error) => Err(one.trouble(&error)),
        }
    }
}

impl Transactions for OneOfLibrdkafka {
    fn is_shaky(&self) -> bool {
        self.watch.is_shaky.load(Ordering::Acquire)
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        self.on(Producer::begin_transaction).map_err(|error| self.trouble(&error))
    }

    fn send(&mut self, appends: &[Append]) -> Result<(), Trouble> {
        for Append { partition, records } in appends {
            for record in records {
                self.send_one(partition, outgoing(partition, record, ()))?;
            }
        }
        Ok(())
    }

    fn send_mark(&mut self, partition: &TopicPartition, mark: &[u8]) -> Result<(), Trouble> {
        self.send_one(partition, BaseRecord::to(&partition.topic).partition(0).payload(mark))
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        let committed = self.on(|producer| producer.commit_transaction(PATIENCE));
        committed.map_err(|error| {
            self.watch.is_shaky.store(true, Ordering::Release);
            self.trouble(&error)
        })
    }
}

impl OneOfLibrdkafka {
    fn on(&self, act: impl FnOnce(&ThreadedProducer<Watch>) -> KafkaResult<()>) -> KafkaResult<()> {
        self.producer.as_ref().map_or(Err(KafkaError::Canceled), act)
    }

    fn send_one(&self, to: &TopicPartition, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Trouble> {
        let Some(producer) = &self.producer else { return Err(self.trouble(&KafkaError::Canceled)) };
        producer.send(record).map_err(|(error, record)| {
            let bytes = record.payload.map_or(0, <[u8]>::len);
            match refusal(&error, to, bytes) {
                Some(refused) => Trouble::Refused(refused),
                None => self.trouble(&error),
            }
        })
    }

    fn trouble(&self, error: &KafkaError) -> Trouble {
        if let Some(refused) = self.watch.refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Trouble::Refused(refused);
        }
        let fatal = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| error.rdkafka_error_code());
        let told = || Error::unavailable("a transaction with Kafka has failed").with_source(error.clone());
        match code {
            Some(
                RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch,
            ) => Trouble::Fenced,
            _ if fatal.is_some() => Trouble::Fatal(told()),
            _ => match error {
                KafkaError::Transaction(error) if error.is_retriable() => Trouble::Unknown,
                _ => Trouble::Lost(told()),
            },
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
