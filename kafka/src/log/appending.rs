//! Appending, by librdkafka's idempotent producer: each append is acknowledged by the reports of its deliveries.
//!
//! What is on its way is counted here, so that an append is refused as a whole, before any of it is sent.

use super::outgoing::outgoing;
use super::producing::{Appends, Producing};
use super::refusals::{Meaning, Size, meaning, not_allowed_anywhere};
use super::{KafkaChangelog, clients};
use crate::Kafka;
use millpond_engine::changelog::{Ack, AckSender, Append, AppendLog, Record, Room, RoomSender};
use millpond_engine::{Error, Position, Result, TopicPartition};
use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext, PurgeConfig};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The most that may be on its way: records, and bytes of them.
const MOST_RECORDS: usize = 100_000;
const MOST_BYTES: usize = 64 << 20;

/// How long a broker may take to tell of a topic that must not be written to, or may be by now.
const ALLOWED_BY_NOW: Duration = Duration::from_secs(1);

/// What sends records without a transaction, each append acknowledged by itself.
pub(super) trait LooseAppends: Send + Sync {
    /// # Errors
    /// As the acknowledgement of [`AppendLog::append`]; nothing was sent then.
    fn append(&self, appends: Vec<Append>) -> Result<Ack>;

    /// When more can be sent.
    fn room(&self) -> Room;
}

pub(super) struct Appender {
    producing: Producing,
    admin: OnceLock<AdminClient<DefaultClientContext>>,
    config: ClientConfig,
    on_its_way: Arc<OnItsWay>,
    /// The largest record that the producer sends.
    most_bytes: usize,
    closed: AtomicBool,
}

impl Appender {
    pub(super) fn open(kafka: &Kafka) -> Result<Self> {
        let (admin, config) = (clients::base(kafka), clients::idempotent(kafka));
        let on_its_way = Arc::<OnItsWay>::default();
        let most_bytes = clients::most_bytes(kafka);
        let heard = Arc::clone(&on_its_way);
        let reports = move || Reports { on_its_way: Arc::clone(&heard), most_bytes, fatal: Mutex::default() };
        Ok(Self {
            producing: Producing::open(config, reports)?,
            admin: OnceLock::new(),
            config: admin,
            on_its_way,
            most_bytes,
            closed: AtomicBool::new(false),
        })
    }

    /// What asks brokers to change something.
    pub(super) fn admin(&self) -> Result<&AdminClient<DefaultClientContext>> {
        if let Some(admin) = self.admin.get() {
            return Ok(admin);
        }
        let admin =
            self.config.create().map_err(|error| Error::unavailable("no admin client").with_source(error))?;
        Ok(self.admin.get_or_init(|| admin))
    }

    /// As [`append`](LooseAppends::append), whether there is room or not: for whoever sees to it that it is not too much.
    pub(super) fn append_anyhow(&self, appends: Vec<Append>) -> Result<Ack> {
        self.send_all(appends, |on_its_way, records, bytes| {
            on_its_way.load().take_up(records, bytes);
            Ok(())
        })
    }

    fn send_all(
        &self,
        appends: Vec<Append>,
        admit: impl FnOnce(&OnItsWay, usize, usize) -> Result<()>,
    ) -> Result<Ack> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed("the connection to Kafka was closed; open it again"));
        }
        let records = appends.iter().map(|append| append.records.len()).sum();
        if records == 0 {
            return Ok(Ack::ready(Ok(Position::new())));
        }
        admit(&self.on_its_way, records, bytes_of(&appends))?;
        let (sender, ack) = Ack::pending();
        let pending = Arc::new(Pending::new(sender, records));
        for Append { partition, records } in appends {
            for record in records {
                self.send(&partition, &record, &pending);
            }
        }
        Ok(ack)
    }

    fn send(&self, partition: &TopicPartition, record: &Record, pending: &Arc<Pending>) {
        let opaque = Box::new(Sent {
            partition: partition.clone(),
            bytes: record.payload_bytes(),
            pending: Arc::clone(pending),
        });
        let producer = self.producing.producer();
        let Err((mut error, mut refused)) = producer.send(outgoing(partition, record, opaque)) else {
            return;
        };
        if let Some(again) = self.again(&producer, partition, &error) {
            (error, refused) = match again.send(refused) {
                Ok(()) => return,
                Err(refused) => refused,
            };
        }
        self.on_its_way.arrived(refused.delivery_opaque.bytes);
        let thrown_away = producer.context().thrown_away(partition).filter(|_| is_fatal(&error));
        let size = Size { bytes: record.payload_bytes(), most: self.most_bytes, is_unsent: true };
        pending.resolve(partition, Err(thrown_away.unwrap_or_else(|| failure(partition, size, &error))));
    }

    /// What to send a record by once more that `producer` has refused at once, if that is of use.
    fn again(
        &self,
        producer: &Arc<Appends>,
        partition: &TopicPartition,
        error: &KafkaError,
    ) -> Option<Arc<Appends>> {
        match error.rdkafka_error_code()? {
            // So it was the last time. librdkafka refuses by itself until it hears of the topic again, which takes minutes.
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                let _ = producer.client().fetch_metadata(Some(&partition.topic), ALLOWED_BY_NOW);
                Some(Arc::clone(producer))
            }
            RDKafkaErrorCode::Fatal => self.producing.instead_of(producer),
            _ => None,
        }
    }

    /// Takes nothing more, and waits until `deadline` for what is on its way. What is not acknowledged by then is given up: its
    /// acknowledgements say so at once.
    pub(super) fn close(&self, deadline: Instant) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let producer = self.producing.producer();
        if let Err(error) = producer.flush(deadline.saturating_duration_since(Instant::now())) {
            let (records, bytes) = self.on_its_way.load().amount();
            tracing::warn!(%error, records, bytes, "appends that were not acknowledged are given up");
            producer.purge(PurgeConfig::default().queue().inflight());
        }
    }
}

impl LooseAppends for Appender {
    fn room(&self) -> Room {
        self.on_its_way.room()
    }

    fn append(&self, appends: Vec<Append>) -> Result<Ack> {
        self.send_all(appends, OnItsWay::admit)
    }
}

/// How large records are together.
pub(super) fn bytes_of(appends: &[Append]) -> usize {
    appends.iter().flat_map(|append| &append.records).map(Record::payload_bytes).sum()
}

/// Whether the producer that says so takes nothing more.
fn is_fatal(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// What an append has come to, or a part of it.
fn failure(partition: &TopicPartition, size: Size, error: &KafkaError) -> Error {
    match meaning(error, partition, size) {
        Meaning::Never(error) | Meaning::Once(error) => error,
        Meaning::GivenUp => Error::unavailable(format!(
            "a record for {partition} was not acknowledged, and may be there all the same"
        ))
        .with_source(error.clone()),
    }
}

/// A record that is on its way.
pub(super) struct Sent {
    partition: TopicPartition,
    bytes: usize,
    pending: Arc<Pending>,
}

/// An append that is not acknowledged yet.
struct Pending(Mutex<Open>);

struct Open {
    sender: Option<AckSender>,
    left: usize,
    position: Position,
    failed: Option<Error>,
}

impl Pending {
    fn new(sender: AckSender, records: usize) -> Self {
        Self(Mutex::new(Open {
            sender: Some(sender),
            left: records,
            position: Position::new(),
            failed: None,
        }))
    }

    /// Notes what became of a record; the last one acknowledges the append.
    fn resolve(&self, partition: &TopicPartition, offset: Result<u64>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match offset {
            Ok(offset) if open.position.offset(partition) <= offset => {
                open.position.set(partition.clone(), offset + 1);
            }
            Ok(_) => {}
            Err(error) => _ = open.failed.get_or_insert(error),
        }
        open.left -= 1;
        if open.left == 0
            && let Some(sender) = open.sender.take()
        {
            let position = std::mem::take(&mut open.position);
            sender.resolve(open.failed.take().map_or(Ok(position), Err));
        }
    }
}

/// Hears what became of each record of one producer.
pub(super) struct Reports {
    on_its_way: Arc<OnItsWay>,
    most_bytes: usize,
    /// Why the producer cannot go on, as far as it is known since the last record that went through.
    fatal: Mutex<Option<String>>,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "trouble with Kafka");
        if let Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::ClusterAuthorizationFailed) =
            error.rdkafka_error_code()
        {
            let mut fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
            fatal.get_or_insert_with(|| reason.to_owned());
        }
    }
}

impl Reports {
    /// What a record has come to that was thrown away with everything else when the producer could not go on.
    fn thrown_away(&self, partition: &TopicPartition) -> Option<Error> {
        let fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = fatal.as_ref()?;
        // The code of a fatal error is told to whoever has the client, and here nobody has.
        Some(if reason.contains("authorization failed") {
            Error::invalid(not_allowed_anywhere(partition))
        } else {
            Error::unavailable(format!(
                "a record for {partition} was not sent, as the producer has failed: {reason}"
            ))
        })
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        self.on_its_way.arrived(sent.bytes);
        let offset = match result {
            Ok(message) => {
                *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = None;
                u64::try_from(message.offset()).map_err(|_| {
                    Error::internal(format!("{} acknowledged a record without its offset", sent.partition))
                })
            }
            Err((error, _)) => {
                let is_purged = matches!(
                    error.rdkafka_error_code(),
                    Some(
                        RDKafkaErrorCode::PurgeQueue
                            | RDKafkaErrorCode::PurgeInflight
                            | RDKafkaErrorCode::MessageTimedOut
                            | RDKafkaErrorCode::Fatal
                    )
                );
                let fatal = if is_purged { self.thrown_away(&sent.partition) } else { None };
                let size = Size { bytes: sent.bytes, most: self.most_bytes, is_unsent: false };
                Err(fatal.unwrap_or_else(|| failure(&sent.partition, size, error)))
            }
        };
        sent.pending.resolve(&sent.partition, offset);
    }
}

/// How much is on its way.
#[derive(Default)]
struct OnItsWay(Mutex<Load>);

#[derive(Default)]
struct Load {
    records: usize,
    bytes: usize,
    waiting: Vec<RoomSender>,
}

impl Load {
    fn has_room(&self) -> bool {
        self.records < MOST_RECORDS && self.bytes < MOST_BYTES
    }

    fn amount(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }

    fn take_up(&mut self, records: usize, bytes: usize) {
        self.records += records;
        self.bytes += bytes;
    }
}

impl OnItsWay {
    fn load(&self) -> std::sync::MutexGuard<'_, Load> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up so many records, however many they are, as long as there is any room.
    fn admit(&self, records: usize, bytes: usize) -> Result<()> {
        let mut load = self.load();
        if !load.has_room() {
            return Err(Error::unavailable(format!(
                "{} records of {} bytes wait to be acknowledged by Kafka: await `room` and try again",
                load.records, load.bytes
            )));
        }
        load.take_up(records, bytes);
        Ok(())
    }

    fn arrived(&self, bytes: usize) {
        let mut load = self.load();
        load.records -= 1;
        load.bytes -= bytes;
        if load.has_room() {
            load.waiting.drain(..).for_each(RoomSender::resolve);
        }
    }

    fn room(&self) -> Room {
        let mut load = self.load();
        if load.has_room() {
            return Room::now();
        }
        let (sender, room) = Room::pending();
        load.waiting.push(sender);
        room
    }
}

impl AppendLog for KafkaChangelog {
    /// Acknowledged once all replicas in sync have the records. Each partition's are appended for themselves. librdkafka takes
    /// a timestamp of 0 for none, and stamps such a record when it is sent.
    fn append(&self, appends: Vec<Append>) -> Ack {
        self.appender.append(appends).unwrap_or_else(|error| Ack::ready(Err(error)))
    }

    fn room(&self) -> Room {
        self.appender.room()
    }

    /// Whatever can be read, and whatever was acknowledged, is durable already; what epochs append is so once it is committed.
    fn sync(&self) -> Result<()> {
        self.check_open()
    }
}
