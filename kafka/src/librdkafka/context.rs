//! What librdkafka says when something is wrong, and what its errors mean for whoever reads.

use crate::fetch::errors;
use millpond_engine::{Error, TopicPartition};
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is wrong with the brokers, shared by all consumers.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Wrong>>>);

#[derive(Debug)]
struct Wrong {
    since: Instant,
    reason: String,
    /// It will not become better by itself: whoever logs in is not let in.
    is_refusal: bool,
}

impl Trouble {
    fn wrong(&self) -> std::sync::MutexGuard<'_, Option<Wrong>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, code: Option<RDKafkaErrorCode>, reason: &str) {
        let is_refusal = matches!(
            code,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
        ) && is_answer(reason);
        let mut wrong = self.wrong();
        if !is_refusal && wrong.as_ref().is_some_and(|wrong| wrong.is_refusal) {
            // That nobody is there follows from nobody letting us in.
            return;
        }
        let since = wrong.as_ref().map_or_else(Instant::now, |wrong| wrong.since);
        *wrong = Some(Wrong { since, reason: reason.to_owned(), is_refusal });
    }

    /// A broker has answered.
    pub(super) fn is_over(&self) {
        *self.wrong() = None;
    }

    /// What is wrong, and for how long, if that is `at_least` so long.
    pub(super) fn told(&self, at_least: Duration) -> Option<String> {
        let wrong = self.wrong();
        let lasts = wrong.as_ref().filter(|wrong| wrong.since.elapsed() >= at_least);
        lasts.map(|wrong| format!("{} (for {} s)", wrong.reason, wrong.since.elapsed().as_secs()))
    }

    /// That no broker has answered.
    pub(super) fn away(&self, what: &str) -> Error {
        match &*self.wrong() {
            Some(wrong) if wrong.is_refusal => Error::invalid(format!(
                "the brokers do not let the user log in: {}; correct what `sasl.*` and `ssl.*` say",
                wrong.reason
            )),
            Some(wrong) => Error::unavailable(format!("{what}: {}", wrong.reason)),
            None => Error::unavailable(format!("{what}: no broker of the cluster answers")),
        }
    }
}

/// Whether a login was refused by a broker, which then says why. librdkafka tells one whose connection was lost by the same code,
/// with a reason of its own.
pub(crate) fn is_answer(reason: &str) -> bool {
    !reason.contains("Local: ") && !reason.contains("Disconnected")
}

impl ClientContext for Trouble {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "trouble with Kafka");
        self.note(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Trouble {}

/// What an error means that came while a topic was read.
#[derive(Debug)]
pub(super) enum Meaning {
    /// librdkafka tries again.
    Passing,
    /// An offset is not there: which, has to be asked.
    OutOfRange,
    /// This, if reading goes no further.
    Damaged(Error),
    /// Nothing helps but somebody who reads this.
    Fails(Error),
}

/// What `error` means for the readers of `topic`.
pub(super) fn meaning(topic: &str, error: &KafkaError) -> Meaning {
    use RDKafkaErrorCode as E;
    let Some(code) = error.rdkafka_error_code() else { return Meaning::Passing };
    match code {
        E::AutoOffsetReset | E::OffsetOutOfRange | E::NoOffset => Meaning::OutOfRange,
        E::TopicAuthorizationFailed => Meaning::Fails(errors::not_allowed(topic)),
        E::UnknownTopic | E::UnknownTopicOrPartition | E::UnknownPartition => {
            Meaning::Fails(errors::unknown(format_args!("topic {topic}, or a partition of it,")))
        }
        E::BadMessage | E::BadCompression | E::InvalidMessage => Meaning::Damaged(Error::corrupt(format!(
            "a record batch of topic {topic} is damaged: {code}; if that stays so, the broker's copy is damaged"
        ))),
        E::NotImplemented | E::UnsupportedCompressionType => Meaning::Fails(Error::invalid(format!(
            "a record batch of topic {topic} is compressed by a codec that librdkafka was built without, as it is without zstd: read \
             by the direct path, or build `rdkafka` with the feature of that codec"
        ))),
        E::LogTruncation => Meaning::Fails(Error::new(
            millpond_engine::ErrorKind::AheadOfChangelog,
            format!(
                "a new leader of topic {topic} has lost records that were read (an unclean leader election): build the state \
                 again, or go back to a checkpoint from before"
            ),
        )),
        E::Fatal => {
            Meaning::Fails(Error::internal(format!("the consumer of topic {topic} has failed: {error}")))
        }
        _ => Meaning::Passing,
    }
}

/// Why a question about `partition` was not answered.
pub(super) fn unanswered(partition: &TopicPartition, error: &KafkaError, trouble: &Trouble) -> Error {
    match meaning(&partition.topic, error) {
        Meaning::Fails(_)
            if matches!(
                error.rdkafka_error_code(),
                Some(
                    RDKafkaErrorCode::UnknownTopic
                        | RDKafkaErrorCode::UnknownTopicOrPartition
                        | RDKafkaErrorCode::UnknownPartition
                )
            ) =>
        {
            errors::unknown(format_args!("partition {partition}"))
        }
        Meaning::Fails(error) => error,
        Meaning::Passing | Meaning::OutOfRange | Meaning::Damaged(_) => {
            trouble.away(&format!("the brokers do not tell the offsets of {partition} ({error})"))
        }
    }
}
