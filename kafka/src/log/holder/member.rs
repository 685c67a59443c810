//! The member of the group that decides who is to hold: of all processes of a service, the one that is assigned the only
//! partition of the marks.
//!
//! It never reads that partition, and decides nothing but who tries: two that both believe they hold are told apart by their
//! transactional producers.

use super::tenure::Tenure;
use crate::librdkafka::is_answer;
use millpond_engine::{Error, TopicPartition};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
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
    let group = Group { tenure: Arc::clone(tenure) };
    let consumer: BaseConsumer<Group> = match config.create_with_context(group) {
        Ok(consumer) => consumer,
        Err(error) => return refused(error),
    };
    if let Err(error) = consumer.subscribe(&[&tenure.topic.topic]) {
        return refused(error);
    }
    let mut courtesy = Courtesy { told: Instant::now(), position: None };
    loop {
        // What goes wrong is told to the context, too, and nothing else comes.
        let _ = consumer.poll(POLL);
        let assigned =
            consumer.assignment().is_ok_and(|list| is_to_hold(tenure, &list)) && !consumer.assignment_lost();
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

/// Whether this is the member that has the partition of the marks. Somebody may have given that topic others.
fn is_to_hold(tenure: &Tenure, assigned: &TopicPartitionList) -> bool {
    let TopicPartition { topic, partition } = &tenure.topic;
    i32::try_from(*partition).is_ok_and(|partition| assigned.find_partition(topic, partition).is_some())
}

/// Leaves the group, so that another process takes over at once.
fn leave(consumer: BaseConsumer<Group>) {
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

/// Hears how the process is doing as a member.
struct Group {
    tenure: Arc<Tenure>,
}

impl ClientContext for Group {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, name = self.tenure.name, "trouble with a group of Kafka");
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut state = self.tenure.state();
        match refusal(&self.tenure, code, reason) {
            Some(why) => {
                let error = Error::invalid(why).with_source(error);
                state.failed.get_or_insert(error);
                drop(state);
                self.tenure.tell();
            }
            None => state.group.note(format_args!("group `{}`: {reason}", self.tenure.name)),
        }
    }

    /// Whether it is a member is told by these alone, as not all that is tried again is told as an error.
    fn stats(&self, statistics: Statistics) {
        let Some(group) = statistics.cgrp else { return };
        let mut state = self.tenure.state();
        if group.state == "up" && (group.join_state == "steady" || state.assigned) {
            state.group.is_over();
        } else {
            state.group.begin(|| {
                format!(
                    "the process is no member of the group `{}`: does it have a coordinator? ({}, {})",
                    self.tenure.name, group.state, group.join_state
                )
            });
        }
    }
}

impl ConsumerContext for Group {}

/// Why the process can be no member, if so.
fn refusal(tenure: &Tenure, code: RDKafkaErrorCode, reason: &str) -> Option<String> {
    let (name, topic) = (&tenure.name, &tenure.topic.topic);
    let why = match code {
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
        RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::Authentication
            if is_answer(reason) =>
        {
            "the user cannot log in at the brokers".to_owned()
        }
        RDKafkaErrorCode::InconsistentGroupProtocol => format!(
            "the group `{name}` has members that are none of this service: give the service another name, or that group"
        ),
        RDKafkaErrorCode::InvalidSessionTimeout => format!(
            "the brokers do not take the `session.timeout.ms` of the group `{name}`: it is below their `group.min.session.timeout.ms`, or \
             above their `group.max.session.timeout.ms`"
        ),
        RDKafkaErrorCode::FencedInstanceId => format!(
            "the group `{name}` has another member with the `group.instance.id` of this one: give each process its own"
        ),
        RDKafkaErrorCode::GroupMaxSizeReached => {
            format!("the group `{name}` has as many members as the brokers allow (`group.max.size`)")
        }
        RDKafkaErrorCode::InvalidGroupId
        | RDKafkaErrorCode::UnsupportedAssignor
        | RDKafkaErrorCode::UnsupportedVersion
        | RDKafkaErrorCode::UnsupportedFeature
        | RDKafkaErrorCode::InvalidRequest => {
            format!("the brokers do not take the process as a member of the group `{name}`: {code}")
        }
        RDKafkaErrorCode::Fatal => {
            format!("the process can be no member of the group `{name}` any more: {reason}")
        }
        _ => return None,
    };
    Some(why)
}

/// Tells the group how far the service is. Nothing is ever read from there.
struct Courtesy {
    told: Instant,
    position: Option<millpond_engine::Position>,
}

impl Courtesy {
    fn tell(&mut self, tenure: &Tenure, consumer: &BaseConsumer<Group>) {
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
