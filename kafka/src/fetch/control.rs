//! Questions beside the fetching: connections that are opened when somebody asks, and kept for the next question.
//!
//! It also knows which brokers are away, and for how long: whoever can do without an answer does not wait for those.

use super::cluster::{self, Answers};
use super::config::FetchConfig;
use super::connection::{Backoff, Connection};
use super::error;
use super::state::Shared;
use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::Request;
use millpond_engine::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A broker that is one of several to ask may take so long before the next one is tried.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Connections for questions, by address.
#[derive(Debug)]
pub(super) struct Control {
    idle: Mutex<HashMap<String, Connection>>,
    away: Mutex<BTreeMap<String, Away>>,
    backoff: (Duration, Duration),
}

/// A broker that did not answer when it was asked last.
#[derive(Debug)]
struct Away {
    since: Instant,
    why: String,
    backoff: Backoff,
    /// It is worth a try again.
    until: Instant,
}

impl Control {
    pub(super) fn new(config: &FetchConfig) -> Self {
        Self { idle: Mutex::default(), away: Mutex::default(), backoff: config.backoff }
    }

    pub(super) fn close(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn away_brokers(&self) -> MutexGuard<'_, BTreeMap<String, Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers whether the broker at `address` was there.
    pub(super) fn note<T>(&self, address: &str, answer: Result<T>) -> Result<T> {
        match &answer {
            Ok(_) => {
                self.away_brokers().remove(address);
            }
            Err(error) => self.away(address, error),
        }
        answer
    }

    /// The broker at `address` did not answer.
    pub(super) fn away(&self, address: &str, error: &Error) {
        let now = Instant::now();
        let mut brokers = self.away_brokers();
        let away = brokers.entry(address.to_owned()).or_insert_with(|| Away {
            since: now,
            why: String::new(),
            backoff: Backoff::new(self.backoff),
            until: now,
        });
        away.why = error.to_string();
        away.until = now + away.backoff.delay();
    }

    /// What is known of the brokers that are away for `at_least`: how long, and why.
    pub(super) fn trouble(&self, now: Instant, at_least: Duration) -> Vec<String> {
        let brokers = self.away_brokers();
        let lasting = brokers.values().map(|away| (now.saturating_duration_since(away.since), &away.why));
        lasting
            .filter(|(lasted, _)| *lasted >= at_least)
            .map(|(lasted, why)| format!("{why} (for {} s)", lasted.as_secs()))
            .collect()
    }

    /// Forgets brokers that nobody would ask any more.
    fn keep(&self, known: impl Fn(&str) -> bool) {
        self.away_brokers().retain(|address, _| known(address));
        self.idle().retain(|address, _| known(address));
    }

    /// Whether the broker at `address` was away a moment ago.
    fn is_away(&self, address: &str, now: Instant) -> bool {
        self.away_brokers().get(address).is_some_and(|away| now < away.until)
    }
}

impl Shared {
    /// Asks the broker at `address`, over a connection that is kept for the next question.
    pub(super) fn ask_at<R: Request>(
        &self,
        address: &str,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let kept = self.control.idle().remove(address).filter(|connection| !connection.is_expired());
        if let Some(mut connection) = kept {
            // A broker hangs up if it was not asked for long: then a new connection will do.
            if let Ok(response) = connection.ask(request, deadline) {
                self.keep_connection(connection);
                return self.control.note(address, Ok(response));
            }
        }
        let asked = Connection::open(address, &self.config, deadline)
            .and_then(|mut connection| Ok((connection.ask(request, deadline)?, connection)));
        let (response, connection) = self.control.note(address, asked)?;
        self.keep_connection(connection);
        Ok(response)
    }

    fn keep_connection(&self, connection: Connection) {
        if !self.lock().closed {
            self.control.idle().insert(connection.address().to_owned(), connection);
        }
    }

    /// As `ask_at`, of the broker `node`; if `impatient`, not if that was away a moment ago.
    pub(super) fn ask_node<R: Request>(
        &self,
        node: cluster::NodeId,
        request: &R,
        deadline: Instant,
        impatient: bool,
    ) -> Result<R::Response> {
        let address = self.lock().cluster.brokers.get(&node).cloned();
        let who = format_args!("broker {node}");
        let address = address.ok_or_else(|| error::away(who, "the cluster does not know it any more"))?;
        if impatient && self.control.is_away(&address, Instant::now()) {
            return Err(error::away(format_args!("the broker at {address}"), "it was so a moment ago"));
        }
        self.ask_at(&address, request, deadline)
    }

    /// Asks for topics, or for all, of whichever broker answers, until `deadline`.
    pub(super) fn metadata(&self, topics: Option<&[Arc<str>]>, deadline: Instant) -> Result<Answers> {
        let request = cluster::request(topics);
        let mut backoff = Backoff::new(self.config.backoff);
        let mut last = None;
        loop {
            for address in self.addresses() {
                let now = Instant::now();
                let response =
                    self.ask_at(&address, &request, deadline.min(now + ATTEMPT)).and_then(|response| {
                        match ResponseError::try_from_code(response.error_code) {
                            None => Ok(response),
                            Some(error) => Err(error::away(format_args!("the broker at {address}"), error)),
                        }
                    });
                match response {
                    Ok(response) => {
                        let answers = self.lock().cluster.update(&response);
                        let known = self.addresses();
                        self.control.keep(|address| known.iter().any(|known| known == address));
                        return Ok(answers);
                    }
                    // With another broker it would be no better.
                    Err(error) if error.kind() == ErrorKind::Invalid => return Err(error),
                    // What was heard before says more than that time is up.
                    Err(error) if last.is_none() || Instant::now() < deadline => last = Some(error),
                    Err(_) => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.config.bootstrap.is_empty() {
                let nobody = || Error::invalid("no broker is named to be asked first (bootstrap)");
                return Err(last.unwrap_or_else(nobody).context("no broker of the cluster answers"));
            }
            self.pause(backoff.delay().min(left))?;
        }
    }

    /// Brokers that are known, those that were away last, and then those to begin with.
    pub(super) fn addresses(&self) -> Vec<String> {
        let now = Instant::now();
        let state = self.lock();
        let mut addresses: Vec<_> = state.cluster.brokers.values().cloned().collect();
        drop(state);
        for address in &self.config.bootstrap {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses.sort_by_cached_key(|address| self.control.is_away(address, now));
        addresses
    }

    /// Stands still for `delay`, or until the fetcher is closed.
    pub(super) fn pause(&self, delay: Duration) -> Result<()> {
        let until = Instant::now() + delay;
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(error::closed());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            state = self.wait(state, left);
        }
    }
}
