//! What is known of the cluster: its brokers, and which of them leads which partition.

use super::error;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millpond_engine::{Error, TopicPartition};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// The number of a broker.
pub(super) type NodeId = i32;

/// A topic, as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicMetadata {
    /// Its name.
    pub name: Arc<str>,
    /// What tells it apart from a topic of the same name that is made after it was deleted; nil if the broker is too old to
    /// tell.
    pub id: Uuid,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition, as the brokers describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetadata {
    /// Its number.
    pub partition: u32,
    /// The broker that leads it, if there is one at the moment.
    pub leader: Option<i32>,
    /// Raised whenever the leader changes; -1 if the broker is too old to tell.
    pub leader_epoch: i32,
}

/// What the brokers have told last.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub id: Option<Arc<str>>,
    /// `host:port` of each broker.
    pub brokers: HashMap<NodeId, String>,
    topics: HashMap<Arc<str>, TopicMetadata>,
}

/// Topics as they were asked for, each with what there is, or why it cannot be told.
pub(super) type Answers = Vec<(Arc<str>, Result<TopicMetadata, Unfit>)>;

/// Why a topic cannot be described.
#[derive(Debug)]
pub(super) enum Unfit {
    /// The broker does not know it, or not yet.
    Missing(Error),
    /// It is not allowed, or makes no sense.
    Refused(Error),
    /// It may be known later.
    NotNow(Error),
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Missing(error) | Unfit::Refused(error) | Unfit::NotNow(error) => error,
        }
    }
}

/// Asks for these topics, or for all.
pub(super) fn request(topics: Option<&[Arc<str>]>) -> MetadataRequest {
    let topic = |name: &Arc<str>| {
        let name = TopicName(StrBytes::from_string((**name).to_owned()));
        MetadataRequestTopic::default().with_name(Some(name))
    };
    MetadataRequest::default()
        .with_topics(topics.map(|topics| topics.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(false)
}

impl Cluster {
    /// Takes in what a broker has answered.
    pub(super) fn update(&mut self, response: &MetadataResponse) -> Answers {
        if let Some(id) = &response.cluster_id {
            self.id = Some(Arc::from(id.as_str()));
        }
        let brokers = response.brokers.iter().filter(|broker| !broker.host.is_empty());
        let brokers: HashMap<_, _> =
            brokers.map(|broker| (broker.node_id.0, address(&broker.host, broker.port))).collect();
        if !brokers.is_empty() {
            self.brokers = brokers;
        }
        response.topics.iter().filter_map(|topic| self.update_topic(topic)).collect()
    }

    fn update_topic(
        &mut self,
        topic: &MetadataResponseTopic,
    ) -> Option<(Arc<str>, Result<TopicMetadata, Unfit>)> {
        let name: Arc<str> = Arc::from(topic.name.as_ref()?.0.as_str());
        let found = describe(&name, topic);
        match &found {
            Ok(found) => {
                self.topics.insert(Arc::clone(&name), found.clone());
            }
            Err(_) => {
                self.topics.remove(&name);
            }
        }
        Some((name, found))
    }

    pub(super) fn topic(&self, name: &str) -> Option<&TopicMetadata> {
        self.topics.get(name)
    }

    pub(super) fn partition(&self, partition: &TopicPartition) -> Option<&PartitionMetadata> {
        let partitions = &self.topic(&partition.topic)?.partitions;
        let at = partitions.binary_search_by_key(&partition.partition, |found| found.partition).ok()?;
        partitions.get(at)
    }

    /// The broker that leads `partition`, as far as that is known.
    pub(super) fn leader(&self, partition: &TopicPartition) -> Option<NodeId> {
        self.partition(partition)?.leader
    }
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn describe(name: &Arc<str>, topic: &MetadataResponseTopic) -> Result<TopicMetadata, Unfit> {
    use ResponseError as E;
    match ResponseError::try_from_code(topic.error_code) {
        // Partitions without a leader say so themselves.
        None | Some(E::LeaderNotAvailable | E::ReplicaNotAvailable) => {}
        Some(E::TopicAuthorizationFailed) => return Err(Unfit::Refused(error::not_allowed(name))),
        Some(E::UnknownTopicOrPartition | E::UnknownTopicId) => {
            return Err(Unfit::Missing(error::unknown(format_args!("topic {name}"))));
        }
        Some(E::InvalidTopicException) => {
            let invalid = format!("`{name}` is no name that a topic of Kafka can have");
            return Err(Unfit::Refused(Error::invalid(invalid)));
        }
        Some(error) => {
            let away = format!("the brokers cannot describe topic {name}: {error}");
            return Err(Unfit::NotNow(Error::unavailable(away)));
        }
    }
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .filter_map(|partition| {
            Some(PartitionMetadata {
                partition: u32::try_from(partition.partition_index).ok()?,
                leader: Some(partition.leader_id.0).filter(|leader| *leader >= 0),
                leader_epoch: partition.leader_epoch,
            })
        })
        .collect();
    partitions.sort_unstable_by_key(|partition| partition.partition);
    Ok(TopicMetadata {
        name: Arc::clone(name),
        id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions,
    })
}
