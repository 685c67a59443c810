//! A fetch: which partitions are asked for from where on, and what the answer says of each.

use super::aborted::Aborted;
use super::config::FetchConfig;
use super::connection::Connection;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millpond_engine::{Result, TopicPartition};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The last version of `Fetch` that calls topics by their names.
const BY_NAME: i16 = 12;
/// Records that were aborted are left out.
pub(super) const READ_COMMITTED: i8 = 1;

/// A partition that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Who reads it.
    pub reader: u64,
    pub id: TopicPartition,
    pub topic_id: Uuid,
    pub leader_epoch: i32,
    pub offset: u64,
    pub max_bytes: usize,
}

/// What a broker is asked for at once.
#[derive(Debug)]
pub(super) struct Plan {
    /// Each partition at most once.
    pub asked: Vec<Asked>,
    pub max_bytes: usize,
    pub max_wait: Duration,
}

/// What an answer says of a partition.
#[derive(Debug)]
pub(super) struct PartitionAnswer {
    /// 0 if all is well.
    pub code: i16,
    /// The first offset that is kept.
    pub start: Option<u64>,
    /// The offset up to which everything is decided: records behind it may still be aborted.
    pub end: Option<u64>,
    /// A replica that is nearer than who was asked.
    pub nearer: Option<i32>,
    pub aborted: Vec<Aborted>,
    pub records: Bytes,
    /// No partition of the response had records.
    pub alone: bool,
}

/// What a broker has answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// By the place in the plan.
    pub partitions: Vec<(usize, PartitionAnswer)>,
    /// How long the broker wants not to be asked.
    pub throttle: Duration,
}

/// Asks for what is planned.
pub(super) fn fetch(connection: &mut Connection, plan: &Plan, config: &FetchConfig) -> Result<Answer> {
    let by_id = plan.asked.iter().all(|asked| !asked.topic_id.is_nil());
    let most = if by_id { i16::MAX } else { BY_NAME };
    let version = connection
        .version::<FetchRequest>(most)
        .ok_or_else(|| connection.too_old(std::any::type_name::<FetchRequest>()))?;
    let request = request(plan, config);
    let deadline = Instant::now() + plan.max_wait + config.request_timeout;
    let response = connection.ask_in(&request, version, deadline)?;
    if let Some(error) = ResponseError::try_from_code(response.error_code) {
        let who = format_args!("the broker at {}", connection.address());
        return Err(super::error::away(who, format_args!("it refuses to be fetched from: {error}")));
    }
    Ok(read(plan, version, response))
}

/// In the order of the plan: who comes first in a request is served first.
fn request(plan: &Plan, config: &FetchConfig) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut last: Option<&TopicPartition> = None;
    for asked in &plan.asked {
        let partition = FetchPartition::default()
            .with_partition(asked.id.partition.cast_signed())
            .with_current_leader_epoch(asked.leader_epoch)
            .with_fetch_offset(asked.offset.cast_signed())
            .with_partition_max_bytes(bytes(asked.max_bytes));
        match topics.last_mut() {
            Some(topic) if last.is_some_and(|last| last.topic == asked.id.topic) => {
                topic.partitions.push(partition);
            }
            _ => topics.push(
                FetchTopic::default()
                    .with_topic(TopicName(StrBytes::from_string((*asked.id.topic).to_owned())))
                    .with_topic_id(asked.topic_id)
                    .with_partitions(vec![partition]),
            ),
        }
        last = Some(&asked.id);
    }
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(plan.max_wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(bytes(config.min_bytes))
        .with_max_bytes(bytes(plan.max_bytes))
        .with_isolation_level(READ_COMMITTED)
        .with_rack_id(StrBytes::from_string(config.rack.clone().unwrap_or_default()))
        .with_topics(topics)
}

fn bytes(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn read(plan: &Plan, version: i16, response: FetchResponse) -> Answer {
    let by_id = version > BY_NAME;
    let mut places: HashMap<(&str, Uuid, u32), usize> = HashMap::with_capacity(plan.asked.len());
    for (place, Asked { id, topic_id, .. }) in plan.asked.iter().enumerate() {
        let key = if by_id { ("", *topic_id, id.partition) } else { (&*id.topic, Uuid::nil(), id.partition) };
        places.insert(key, place);
    }
    let throttle = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap_or(0));
    let total: usize = response.responses.iter().flat_map(|topic| &topic.partitions).map(len).sum();
    let mut partitions = Vec::with_capacity(plan.asked.len());
    for topic in response.responses {
        for data in topic.partitions {
            let Ok(partition) = u32::try_from(data.partition_index) else { continue };
            let key = if by_id {
                ("", topic.topic_id, partition)
            } else {
                (&*topic.topic.0, Uuid::nil(), partition)
            };
            if let Some(&place) = places.get(&key) {
                partitions.push((place, partition_answer(data, total)));
            }
        }
    }
    Answer { partitions, throttle }
}

fn len(data: &PartitionData) -> usize {
    data.records.as_ref().map_or(0, Bytes::len)
}

/// That of a partition in a response with `total` bytes of records.
fn partition_answer(data: PartitionData, total: usize) -> PartitionAnswer {
    let aborted = data.aborted_transactions.unwrap_or_default().into_iter();
    let mut records = data.records.unwrap_or_default();
    // Whoever is read slowly would keep the whole response in memory for the sake of a small part of it.
    if records.len() < total / 2 {
        records = Bytes::copy_from_slice(&records);
    }
    PartitionAnswer {
        code: data.error_code,
        start: u64::try_from(data.log_start_offset).ok(),
        end: u64::try_from(data.last_stable_offset).ok(),
        nearer: Some(data.preferred_read_replica.0).filter(|replica| *replica >= 0),
        aborted: aborted
            .filter_map(|transaction| {
                let first_offset = u64::try_from(transaction.first_offset).ok()?;
                Some(Aborted { producer_id: transaction.producer_id.0, first_offset })
            })
            .collect(),
        records,
        alone: total == 0,
    }
}
