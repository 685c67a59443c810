//! The thread that finds out whom to ask for a partition, whenever that is not known (any more), and asks every so often what has
//! become of the topics that are read.

use super::cluster::{TopicMetadata, Unfit};
use super::connection::Backoff;
use super::error;
use super::partition::{Partition, missing};
use super::state::Shared;
use millpond_engine::Error;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What it waits at most before it looks again.
const LONG: Duration = Duration::from_secs(60);

/// Looks for leaders until the fetcher is closed.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut backoff = Backoff::new(shared.config.backoff);
    let age = shared.config.metadata_age;
    let later = |now: Instant| now.checked_add(age).unwrap_or(now + LONG);
    let mut refresh_at = later(Instant::now());
    while let Some(topics) = next_topics(shared, refresh_at) {
        let now = Instant::now();
        if now >= refresh_at {
            refresh_at = later(now);
        }
        let deadline = Instant::now() + shared.config.request_timeout;
        match shared.metadata(Some(&topics), deadline) {
            Ok(answers) => {
                backoff.reset();
                for (topic, answer) in answers {
                    update(shared, &topic, &answer);
                }
                let started = shared.start_threads(&mut shared.lock());
                if let Err(error) = started {
                    tracing::error!(%error, "cannot read from a broker");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot find out who leads partitions");
                if shared.pause(backoff.delay()).is_err() {
                    return;
                }
            }
        }
        shared.notify();
        shared.wake();
    }
}

/// Waits for partitions without a leader, and answers their topics; those of all at `refresh_at`. None if the fetcher was closed.
fn next_topics(shared: &Shared, refresh_at: Instant) -> Option<Vec<Arc<str>>> {
    let mut state = shared.lock();
    loop {
        if state.closed {
            return None;
        }
        let now = Instant::now();
        let lost = || {
            state.readers.values().filter(|partition| partition.source().is_none() && !partition.has_failed())
        };
        let topic = |partition: &Partition| Arc::clone(&partition.id.topic);
        let due: BTreeSet<_> = if now >= refresh_at {
            state.readers.values().map(topic).collect()
        } else {
            lost().filter(|partition| partition.retry_at.is_none_or(|at| at <= now)).map(topic).collect()
        };
        // Without topics it would be asked for all there are.
        if !due.is_empty() {
            return Some(due.into_iter().collect());
        }
        let next = lost().filter_map(|partition| partition.retry_at).min();
        let refresh = (now < refresh_at).then_some(refresh_at);
        let next = next.into_iter().chain(refresh).min();
        let limit = next.map_or(LONG, |at| at.saturating_duration_since(now));
        state = shared.wait(state, limit);
    }
}

/// Tells those who read a topic what the brokers say of it.
fn update(shared: &Shared, topic: &str, answer: &Result<TopicMetadata, Unfit>) {
    let now = Instant::now();
    let patience = shared.config.missing_topic_timeout;
    let mut state = shared.lock();
    for partition in state.readers.values_mut() {
        if *partition.id.topic != *topic || partition.has_failed() {
            continue;
        }
        if partition.source().is_some() {
            // Whoever leads it says the rest.
            if let Ok(found) = answer
                && !partition.topic_id.is_nil()
                && !found.id.is_nil()
                && found.id != partition.topic_id
            {
                partition.fail(error::made_anew(topic));
            }
            continue;
        }
        match answer {
            Ok(found) => found_topic(partition, found, now, patience),
            Err(Unfit::Missing(_)) => not_there(partition, now, patience),
            Err(Unfit::Refused(error)) => partition.fail(error.summary()),
            Err(Unfit::NotNow(error)) => {
                partition.lose_leader(error.message(), now);
                partition.wait(now);
            }
        }
    }
}

fn found_topic(partition: &mut Partition, found: &TopicMetadata, now: Instant, patience: Duration) {
    if partition.topic_id.is_nil() {
        partition.topic_id = found.id;
    }
    if !found.id.is_nil() && found.id != partition.topic_id {
        return partition.fail(error::made_anew(&found.name));
    }
    match found.partitions.iter().find(|other| other.partition == partition.id.partition) {
        None => not_there(partition, now, patience),
        Some(other) => {
            partition.retry_at = None;
            if let Some(leader) = other.leader {
                partition.led_by(leader, other.leader_epoch);
            }
            if partition.source().is_none() {
                partition.lose_leader("it has no leader at the moment", now);
                partition.wait(now);
            }
        }
    }
}

/// The brokers do not know the partition: they may not have heard of it yet.
fn not_there(partition: &mut Partition, now: Instant, patience: Duration) {
    let since = *partition.missing_since.get_or_insert(now);
    if now.saturating_duration_since(since) >= patience {
        let error: Error = missing(&partition.id, since, now);
        partition.fail(error);
        return;
    }
    partition.lose_leader("the brokers do not know it", now);
    partition.wait(now);
}
