//! The member of the group that decides who is to hold: of all processes of a service, the one that is assigned the only
//! partition of the marks.
//!
//! It never reads that partition, and decides nothing but who tries: two that both believe they hold are told apart by their
//! transactional producers.

use super::tenure::Tenure;
use millpond_engine::Error;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked whether the group has changed its mind.
const POLL: Duration = Duration::from_millis(100);

/// How long the group may take to let it go.
const LEAVE: Duration = Duration::from_secs(5);

/// How often offsets are committed, for tools that show how far a service is.
const COURTESY: Duration = Duration::from_secs(5);

/// Takes part until its tenure is over.
pub(super) fn take_part(tenure: &Arc<Tenure>, config: &ClientConfig) {
    let refused = |error: KafkaError| {
        tenure.state().failed = Some(
            Error::invalid(format!("the process cannot join the group `{}`", tenure.name)).with_source(error),
        );
        tenure.tell();
    };
    let consumer: BaseConsumer = match config.create() {
        Ok(consumer) => consumer,
        Err(error) => return refused(error),
    };
    if let Err(error) = consumer.subscribe(&[&tenure.topic.topic]) {
        return refused(error);
    }
    let mut courtesy = Courtesy { told: Instant::now(), position: None };
    loop {
        let polled = consumer.poll(POLL);
        if let Some(Err(error)) = polled
            && let Some(error) = refusal(tenure, &error)
        {
            tenure.state().failed = Some(error);
            tenure.tell();
        }
        let assigned =
            consumer.assignment().is_ok_and(|list| list.count() > 0) && !consumer.assignment_lost();
        let mut state = tenure.state();
        let is_new = state.assigned != assigned;
        state.assigned = assigned;
        // Until what was appended is committed nobody else is to be asked to take over.
        let leaves = state.done;
        drop(state);
        if is_new {
            if assigned && let Ok(list) = consumer.assignment() {
                let _ = consumer.pause(&list);
            }
            tracing::debug!(name = tenure.name, assigned, "the group has decided who is to append");
            tenure.tell();
        }
        if leaves {
            break;
        }
        if assigned {
            courtesy.tell(tenure, &consumer);
        }
    }
    leave(consumer);
}

/// Leaves the group, so that another process takes over at once.
fn leave(consumer: BaseConsumer) {
    consumer.unsubscribe();
    let began = Instant::now();
    while began.elapsed() < LEAVE {
        let _ = consumer.poll(POLL);
        if consumer.assignment().map_or(true, |list| list.count() == 0) {
            break;
        }
    }
    super::drop_aside(consumer);
}

/// Why the process can be no member, if so.
fn refusal(tenure: &Tenure, error: &KafkaError) -> Option<Error> {
    let (name, topic) = (&tenure.name, &tenure.topic.topic);
    let why = match error.rdkafka_error_code()? {
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            format!(
                "the user must not be a member of the group `{name}`: it takes an ACL that allows READ on the group"
            )
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            format!(
                "the user must not read topic {topic}: it takes an ACL that allows READ and DESCRIBE on the topic"
            )
        }
        RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::Authentication => {
            "the user cannot log in at the brokers".to_owned()
        }
        RDKafkaErrorCode::InconsistentGroupProtocol => format!(
            "the group `{name}` has members that are none of this service: give the service another name, or that group"
        ),
        _ => return None,
    };
    Some(Error::invalid(why).with_source(error.clone()))
}

/// Tells the group how far the service is. Nothing is ever read from there.
struct Courtesy {
    told: Instant,
    position: Option<millpond_engine::Position>,
}

impl Courtesy {
    fn tell(&mut self, tenure: &Tenure, consumer: &BaseConsumer) {
        if self.told.elapsed() < COURTESY {
            return;
        }
        let durable = tenure.state().durable.clone();
        if self.position.as_ref() == Some(&durable) {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (id, offset) in durable.iter() {
            if let (Ok(partition), Ok(offset)) = (i32::try_from(id.partition), i64::try_from(offset)) {
                let _ = list.add_partition_offset(&id.topic, partition, Offset::Offset(offset));
            }
        }
        if list.count() > 0 && consumer.commit(&list, CommitMode::Async).is_ok() {
            self.position = Some(durable);
        }
        self.told = Instant::now();
    }
}
