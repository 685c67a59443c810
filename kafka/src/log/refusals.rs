//! What it means that a record, or a request of a transaction, was not taken.
//!
//! No code is passed over: what never goes well is `Invalid`, and says what to do; what has come of something else says nothing by
//! itself; whatever may pass is told with its code.

use millpond_engine::{Error, TopicPartition};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What has come of a record.
pub(super) enum Meaning {
    /// It will never be taken.
    Never(Error),
    /// It was given up, as something else has failed.
    GivenUp,
    /// It was not taken, and may be another time.
    Once(Error),
}

/// How large a record is, and what the producer takes, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) bytes: usize,
    pub(super) most: usize,
    /// Whether it is the producer that has not taken it, and no broker.
    pub(super) is_unsent: bool,
}

/// What `error` means, with which a record for `partition` was not taken.
pub(super) fn meaning(error: &KafkaError, partition: &TopicPartition, size: Size) -> Meaning {
    use RDKafkaErrorCode as E;
    let never = |why: String| Meaning::Never(Error::invalid(why).with_source(error.clone()));
    let (place, topic) = (partition, &partition.topic);
    let Some(code) = error.rdkafka_error_code() else {
        return never(format!("there can be no {place}: {error}"));
    };
    match code {
        E::MessageSizeTooLarge | E::MessageBatchTooLarge | E::InvalidMessageSize => {
            never(too_large(place, size))
        }
        E::TopicAuthorizationFailed => never(not_allowed(&place.to_string(), topic)),
        E::ClusterAuthorizationFailed => never(not_allowed_anywhere(partition)),
        E::UnknownPartition | E::UnknownTopicOrPartition | E::UnknownTopic | E::UnknownTopicId => {
            never(format!("there is no {place}: create it, or correct its name"))
        }
        E::InvalidTimestamp => never(format!(
            "the brokers refuse the timestamp of a record for {place}: it is older than `message.timestamp.before.max.ms` of topic \
             {topic} allows, or further in the future than `message.timestamp.after.max.ms`; raise those, or date it otherwise"
        )),
        E::InvalidRecord => never(format!(
            "the brokers refuse a record for {place}: a topic that is compacted takes none without a key"
        )),
        E::PolicyViolation
        | E::InvalidTopic
        | E::InvalidRequiredAcks
        | E::InvalidConfig
        | E::InvalidRequest
        | E::InvalidArgument
        | E::UnsupportedForMessageFormat
        | E::UnsupportedCompressionType
        | E::UnsupportedVersion
        | E::UnsupportedFeature
        | E::NotImplemented => never(format!("records for {place} are refused: {code}")),
        E::PurgeQueue | E::PurgeInflight | E::Fatal | E::State => Meaning::GivenUp,
        code => {
            let why =
                format!("a record for {place} was not acknowledged, and may be there all the same: {code}");
            Meaning::Once(Error::unavailable(why).with_source(error.clone()))
        }
    }
}

/// Why a request of a transaction as `id`, which writes to `topics`, will never go well, if so.
pub(super) fn of_transaction(code: RDKafkaErrorCode, id: &str, topics: &[&str]) -> Option<Error> {
    use RDKafkaErrorCode as E;
    let list = topics.join(", ");
    let why = match code {
        E::TopicAuthorizationFailed => not_allowed(&format!("topic {list}"), &list),
        E::ClusterAuthorizationFailed => format!(
            "the user must not write to any topic: give it the operations WRITE and DESCRIBE on resource TOPIC {list} (an ACL)"
        ),
        E::TransactionalIdAuthorizationFailed => format!(
            "the user must not write as `{id}`: it takes an ACL that allows WRITE and DESCRIBE on the transactional id"
        ),
        E::InvalidTransactionTimeout => format!(
            "the brokers do not take the `transaction.timeout.ms` of `{id}`: it is above their `transaction.max.timeout.ms`; set it lower"
        ),
        E::UnsupportedVersion | E::UnsupportedFeature | E::InvalidRequest | E::InvalidArgument => {
            format!("the brokers do not take transactions as `{id}`: {code}")
        }
        _ => return None,
    };
    Some(Error::invalid(why))
}

/// That the user must not write anything, which takes no ACL of its own where it may write to some topic.
pub(super) fn not_allowed_anywhere(partition: &TopicPartition) -> String {
    not_allowed(&format!("{partition}, nor to any other topic"), &partition.topic)
}

fn not_allowed(place: &str, topic: &str) -> String {
    format!(
        "the user must not write to {place}: give it the operations WRITE and DESCRIBE on resource TOPIC {topic} (an ACL)"
    )
}

fn too_large(place: &TopicPartition, Size { bytes, most, is_unsent }: Size) -> String {
    if is_unsent {
        return format!(
            "a record for {place} is larger than what is sent: it has {bytes} bytes, and `message.max.bytes` of the producer is \
             {most}; raise that and `max.message.bytes` of the topic, or write less"
        );
    }
    format!(
        "a record for {place} is larger than what the topic takes: it has {bytes} bytes, `message.max.bytes` of the producer is \
         {most}, and `max.message.bytes` of the topic is less (1048588 unless it was set); raise that, or write less"
    )
}
