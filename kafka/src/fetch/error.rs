//! What the brokers' error codes mean for whoever reads a partition.

use kafka_protocol::error::ResponseError;
use millpond_engine::{Error, ErrorKind, TopicPartition};
use std::fmt;

/// What to do about an error code of a partition.
#[derive(Debug)]
pub(super) enum Remedy {
    /// Another broker leads the partition by now, or it is not known which: ask for the metadata and go on.
    FindLeader,
    /// The offset asked for is below or above what there is.
    OutOfRange,
    /// Ask again after a while.
    Retry,
    /// Nothing helps but somebody who reads this.
    Fail(Error),
}

/// What to do about the error `code` that came for `partition`, which was asked for from `offset` on. Only called for codes
/// other than 0.
pub(super) fn remedy(code: i16, partition: &TopicPartition, offset: u64) -> Remedy {
    use ResponseError as E;
    let error = ResponseError::try_from_code(code).unwrap_or(E::UnknownServerError);
    match error {
        E::OffsetOutOfRange => Remedy::OutOfRange,
        E::TopicAuthorizationFailed => Remedy::Fail(not_allowed(&partition.topic)),
        E::CorruptMessage => {
            Remedy::Fail(damaged(partition, offset, "the broker says that its copy is damaged"))
        }
        E::UnsupportedCompressionType => Remedy::Fail(Error::invalid(format!(
            "{partition} at offset {offset} is compressed by a codec that this version of Fetch does not carry: the \
             broker is too old for it"
        ))),
        E::NotLeaderOrFollower
        | E::UnknownLeaderEpoch
        | E::FencedLeaderEpoch
        | E::LeaderNotAvailable
        | E::KafkaStorageError
        | E::ReplicaNotAvailable
        | E::BrokerNotAvailable
        | E::PreferredLeaderNotAvailable
        | E::UnknownTopicOrPartition
        | E::UnknownTopicId
        | E::InconsistentTopicId
        | E::FetchSessionTopicIdError => Remedy::FindLeader,
        E::UnknownServerError => Remedy::Retry,
        error if error.is_retriable() => Remedy::Retry,
        error => Remedy::Fail(Error::internal(format!(
            "the broker refuses to read {partition} from offset {offset} on: {error} (code {code})"
        ))),
    }
}

/// What an error code is called.
pub(super) fn name(code: i16) -> String {
    ResponseError::try_from_code(code).map_or_else(|| "no error".to_owned(), |error| error.to_string())
}

/// That a batch or what stands for it is damaged.
pub(super) fn damaged(partition: &TopicPartition, offset: u64, damage: impl fmt::Display) -> Error {
    Error::corrupt(format!("the record batch of {partition} at offset {offset} is damaged: {damage}"))
}

/// That a topic must not be read, or even be seen: whether it is to be read or written to is not known here.
pub(crate) fn not_allowed(topic: &str) -> Error {
    Error::invalid(format!(
        "the brokers do not let the user of this connection have topic {topic}: give it on resource TOPIC {topic} (an ACL) the \
         operations DESCRIBE and READ if it is read, DESCRIBE and WRITE if it is written to, and open it again"
    ))
}

/// That a topic or a partition is not there.
pub(crate) fn unknown(what: impl fmt::Display) -> Error {
    Error::invalid(format!("{what} does not exist: create it, or correct its name"))
}

/// That the topic is not the one that was read so far.
pub(super) fn made_anew(topic: &str) -> Error {
    Error::new(
        ErrorKind::AheadOfChangelog,
        format!(
            "topic {topic} was deleted and made anew while it was read: what was folded of the old one cannot be \
             continued; build the state again, or restore the topic"
        ),
    )
}

/// That a broker does not answer.
pub(super) fn away(who: impl fmt::Display, why: impl fmt::Display) -> Error {
    Error::unavailable(format!("{who} is away: {why}"))
}

/// That the fetcher was closed.
pub(crate) fn closed() -> Error {
    Error::closed("the connection to Kafka was closed")
}
