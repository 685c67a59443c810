//! Where partitions begin and end, as it was heard with the last fetch, or as the leader answers when it is asked.

use super::cluster::Unfit;
use super::connection::{Backoff, Connection};
use super::error::{self, Remedy};
use super::exchange::READ_COMMITTED;
use super::state::{Ends, Shared};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millpond_engine::{Error, Result, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ends that were heard so long ago are asked for again.
const FRESH: Duration = Duration::from_secs(1);
/// Ends that nobody has asked for in this time are not asked for along with others.
const OF_INTEREST: Duration = Duration::from_secs(60);
/// Whoever has an answer, if an old one, waits no longer than this for a new one.
const PATIENCE: Duration = Duration::from_millis(500);
/// In place of a timestamp: the first offset that is kept, and the one after the last.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
const READ_UNCOMMITTED: i8 = 0;

/// Which offset is asked for.
#[derive(Debug, Clone, Copy)]
struct Question {
    /// The first record that is not older than this, or one of the above.
    timestamp_ms: i64,
    isolation: i8,
}

/// For each partition the offset, none if there is none, or the error code.
type Offsets = BTreeMap<TopicPartition, Result<Option<u64>, i16>>;

fn request<'a>(
    question: Question,
    partitions: impl Iterator<Item = &'a TopicPartition>,
) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&'a str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for id in partitions {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(id.partition.cast_signed())
            .with_timestamp(question.timestamp_ms);
        topics.entry(&id.topic).or_default().push(partition);
    }
    let topic = |(name, partitions): (&str, _)| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        ListOffsetsTopic::default().with_name(name).with_partitions(partitions)
    };
    ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_isolation_level(question.isolation)
        .with_topics(topics.into_iter().map(topic).collect())
}

fn read(response: ListOffsetsResponse) -> Offsets {
    let mut offsets = Offsets::new();
    for topic in response.topics {
        let name: Arc<str> = Arc::from(topic.name.0.as_str());
        for partition in topic.partitions {
            let Ok(number) = u32::try_from(partition.partition_index) else { continue };
            let answer = match partition.error_code {
                0 => Ok(u64::try_from(partition.offset).ok()),
                code => Err(code),
            };
            offsets.insert(TopicPartition::new(Arc::clone(&name), number), answer);
        }
    }
    offsets
}

/// The first offset of a partition and the one after its last, decided or not; none if the broker cannot tell now.
pub(super) fn bounds(
    connection: &mut Connection,
    id: &TopicPartition,
    deadline: Instant,
) -> Result<Option<(u64, u64)>> {
    let mut ask = |timestamp_ms| {
        let question = Question { timestamp_ms, isolation: READ_UNCOMMITTED };
        let response = connection.ask(&request(question, std::iter::once(id)), deadline)?;
        Ok::<_, Error>(read(response).remove(id).and_then(Result::ok).flatten())
    };
    Ok(ask(EARLIEST)?.zip(ask(LATEST)?))
}

impl Shared {
    /// Where `id` begins and ends: at most a second old, or older if its broker is away.
    pub(super) fn offsets(&self, id: &TopicPartition) -> Result<Range<u64>> {
        let (known, closed) = {
            let state = self.lock();
            (state.ends.get(id).copied(), state.closed)
        };
        if closed {
            return Err(error::closed());
        }
        let now = Instant::now();
        let known = match known {
            Some(ends) if now.saturating_duration_since(ends.at) < FRESH => return Ok(ends.start..ends.end),
            known => known,
        };
        let limit = if known.is_some() { PATIENCE } else { self.config.request_timeout };
        match (self.ask_offsets(id, now + limit, known.is_some()), known) {
            (Ok(asked), _) => Ok(asked),
            (Err(_), Some(known)) => Ok(known.start..known.end),
            (Err(error), None) => Err(error),
        }
    }

    /// Asks the leader of `id` where it begins and ends, and along with it where the other partitions do that were asked for
    /// lately. If `impatient`, one attempt must do.
    pub(super) fn ask_offsets(
        &self,
        id: &TopicPartition,
        deadline: Instant,
        impatient: bool,
    ) -> Result<Range<u64>> {
        let committed = |timestamp_ms| Question { timestamp_ms, isolation: READ_COMMITTED };
        self.with_leader(id, deadline, impatient, |node| {
            let asked = self.stale(id, node);
            let starts =
                self.ask_node(node, &request(committed(EARLIEST), asked.iter()), deadline, impatient)?;
            let ends = self.ask_node(node, &request(committed(LATEST), asked.iter()), deadline, impatient)?;
            let (starts, ends, at) = (read(starts), read(ends), Instant::now());
            let mut state = self.lock();
            for other in &asked {
                if let (Some(&Ok(Some(start))), Some(&Ok(Some(end)))) = (starts.get(other), ends.get(other)) {
                    state.ends.insert(other.clone(), Ends { start, end, at });
                }
            }
            drop(state);
            match (starts.get(id), ends.get(id)) {
                (Some(&Ok(Some(start))), Some(&Ok(Some(end)))) => Ok(Ok(start..end)),
                (Some(&Err(code)), _) | (_, Some(&Err(code))) => Ok(Err(code)),
                // The broker has left the partition out.
                _ => Ok(Err(-1)),
            }
        })
    }

    /// The offset of the first record of `id` that is not older than `timestamp_ms`, if there is one.
    pub(super) fn offset_for_time(&self, id: &TopicPartition, timestamp_ms: i64) -> Result<Option<u64>> {
        let deadline = Instant::now() + self.config.request_timeout;
        let question = Question { timestamp_ms: timestamp_ms.max(0), isolation: READ_COMMITTED };
        self.with_leader(id, deadline, false, |node| {
            let response = self.ask_node(node, &request(question, std::iter::once(id)), deadline, false)?;
            Ok(read(response).remove(id).unwrap_or(Err(-1)))
        })
    }

    /// The first offset of `id` and the one after its last, decided or not.
    pub(super) fn all_offsets(&self, id: &TopicPartition) -> Result<Range<u64>> {
        let deadline = Instant::now() + self.config.request_timeout;
        let ask = |timestamp_ms| {
            let question = Question { timestamp_ms, isolation: READ_UNCOMMITTED };
            self.with_leader(id, deadline, false, |node| {
                let response =
                    self.ask_node(node, &request(question, std::iter::once(id)), deadline, false)?;
                Ok(read(response).remove(id).unwrap_or(Err(-1)))
            })
        };
        let unknown = || Error::unavailable(format!("the broker does not tell the offsets of {id}"));
        Ok(ask(EARLIEST)?.ok_or_else(unknown)?..ask(LATEST)?.ok_or_else(unknown)?)
    }

    /// Asks the leader of `id`, and if it is no longer, or does not answer, asks again who it is, until `deadline`.
    fn with_leader<T>(
        &self,
        id: &TopicPartition,
        deadline: Instant,
        impatient: bool,
        mut ask: impl FnMut(i32) -> Result<Result<T, i16>>,
    ) -> Result<T> {
        let mut backoff = Backoff::new(self.config.backoff);
        let mut look = false;
        let mut last = None;
        loop {
            let error = match self.leader(id, look, deadline) {
                // What was heard before says more than that time is up.
                Err(error) => return Err(last.unwrap_or(error)),
                Ok(Err(Unfit::Refused(error))) => return Err(error),
                Ok(Err(unfit)) => unfit.into(),
                Ok(Ok(node)) => match ask(node) {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(code)) => match error::remedy(code, id, 0) {
                        Remedy::Fail(error) => return Err(error),
                        _ => Error::unavailable(format!("the leader of {id} says: {}", error::name(code))),
                    },
                    Err(error) => error,
                },
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if impatient || left.is_zero() {
                return Err(error);
            }
            self.pause(backoff.delay().min(left))?;
            look = true;
            last = Some(error);
        }
    }

    /// Who leads `id`, asked for if it is not known or known to be wrong.
    fn leader(&self, id: &TopicPartition, look: bool, deadline: Instant) -> Result<Result<i32, Unfit>> {
        if let Some(leader) = self.lock().cluster.leader(id).filter(|_| !look) {
            return Ok(Ok(leader));
        }
        let answers = self.metadata(Some(&[Arc::clone(&id.topic)]), deadline)?;
        if let Some(unfit) = answers.into_iter().find_map(|(_, answer)| answer.err()) {
            return Ok(Err(unfit));
        }
        let state = self.lock();
        Ok(match state.cluster.partition(id) {
            None => Err(Unfit::Missing(error::unknown(format_args!("partition {id}")))),
            Some(found) => found.leader.ok_or_else(|| {
                Unfit::NotNow(Error::unavailable(format!("partition {id} has no leader at the moment")))
            }),
        })
    }

    /// The partitions led by `node` whose ends are worth asking for, `id` among them.
    fn stale(&self, id: &TopicPartition, node: i32) -> Vec<TopicPartition> {
        let now = Instant::now();
        let state = self.lock();
        let old = state.ends.iter().filter(|(other, ends)| {
            let age = now.saturating_duration_since(ends.at);
            *other != id && age > FRESH / 2 && age < OF_INTEREST && state.cluster.leader(other) == Some(node)
        });
        old.map(|(other, _)| other).chain([id]).cloned().collect()
    }
}
