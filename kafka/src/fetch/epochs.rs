//! Where the epochs of former leaders have ended: whoever has fetched beyond that has records that were taken back (KIP-320).

use super::connection::Connection;
use super::exchange::Asked;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use millpond_engine::Result;
use std::collections::BTreeMap;
use std::time::Instant;

/// The epoch that the leader has, not above the one asked for, and the offset after its last record, if it knows; or an error
/// code.
type EpochEnd = Result<(i32, Option<u64>), i16>;

/// Asks where the epochs end in which the partitions were fetched last. A broker that is too old to tell is believed to have
/// kept everything.
pub(super) fn ends<'a>(
    connection: &mut Connection,
    doubtful: &'a [(Asked, i32)],
    deadline: Instant,
) -> Result<Vec<(&'a Asked, EpochEnd)>> {
    let Some(version) = connection.version::<OffsetForLeaderEpochRequest>(i16::MAX) else {
        return Ok(doubtful.iter().map(|(asked, epoch)| (asked, Ok((*epoch, None)))).collect());
    };
    let mut topics: BTreeMap<&str, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
    for (asked, epoch) in doubtful {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(asked.id.partition.cast_signed())
            .with_current_leader_epoch(asked.leader_epoch)
            .with_leader_epoch(*epoch);
        topics.entry(&asked.id.topic).or_default().push(partition);
    }
    let topic = |(name, partitions): (&str, _)| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        OffsetForLeaderTopic::default().with_topic(name).with_partitions(partitions)
    };
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id((-1).into())
        .with_topics(topics.into_iter().map(topic).collect());
    let response = connection.ask_in(&request, version, deadline)?;

    let mut answers = Vec::with_capacity(doubtful.len());
    for topic in response.topics {
        for end in topic.partitions {
            let same = |(asked, _): &&(Asked, i32)| {
                asked.id.partition.cast_signed() == end.partition && *asked.id.topic == *topic.topic.0
            };
            if let Some((asked, _)) = doubtful.iter().find(same) {
                let answer = match end.error_code {
                    0 => Ok((end.leader_epoch, u64::try_from(end.end_offset).ok())),
                    code => Err(code),
                };
                answers.push((asked, answer));
            }
        }
    }
    Ok(answers)
}
