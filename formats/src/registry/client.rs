//! Requests to a registry: several addresses in turn, and what its answers mean.

use millpond_engine::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicUsize, Ordering};
use ureq::Agent;

const CONTENT: &str = "application/vnd.schemaregistry.v1+json";

/// The longest answer that is read, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// How much of an answer is shown.
const SHOWN: usize = 300;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) enum Answer<T> {
    Found(T),
    /// There is no such thing, with what the registry says.
    Absent(String),
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

pub(super) struct Client {
    name: String,
    urls: Vec<String>,
    /// The one that answered last.
    first: AtomicUsize,
    authorization: Option<String>,
    agent: Agent,
}

/// Why one address did not do.
enum Failure {
    /// Another one, or the same one later, may do.
    Away(String),
    /// No other will do better.
    Final(Error),
}

impl Client {
    pub(super) fn new(urls: Vec<String>, authorization: Option<String>, agent: Agent) -> Self {
        Self { name: urls.join(","), urls, first: AtomicUsize::new(0), authorization, agent }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &[&str], what: &str) -> Result<Answer<T>> {
        self.ask(path, None, what)
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &str,
        what: &str,
    ) -> Result<Answer<T>> {
        self.ask(path, Some(body), what)
    }

    fn ask<T: DeserializeOwned>(&self, path: &[&str], body: Option<&str>, what: &str) -> Result<Answer<T>> {
        let path: Vec<String> =
            path.iter().map(|part| utf8_percent_encode(part, SEGMENT).to_string()).collect();
        let path = path.join("/");
        let (mut away, mut absent) = (Vec::new(), None);
        let first = self.first.load(Ordering::Relaxed);
        for turn in 0..self.urls.len() {
            let number = (first + turn) % self.urls.len();
            let Some(url) = self.urls.get(number) else { continue };
            match self.ask_one(&format!("{url}/{path}"), body, what) {
                Ok(Answer::Found(found)) => {
                    self.first.store(number, Ordering::Relaxed);
                    return Ok(Answer::Found(found));
                }
                // One that was just written may not have reached all of them.
                Ok(Answer::Absent(told)) => absent = Some(told),
                Err(Failure::Away(told)) => away.push(format!("{url}: {told}")),
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        match absent {
            // Whoever did not answer might have it.
            Some(told) if away.is_empty() => Ok(Answer::Absent(told)),
            _ => Err(Error::unavailable(format!(
                "the schema registry cannot be asked for {what} ({})",
                away.join("; ")
            ))),
        }
    }

    fn ask_one<T: DeserializeOwned>(
        &self,
        url: &str,
        body: Option<&str>,
        what: &str,
    ) -> Result<Answer<T>, Failure> {
        let answered = match body {
            None => {
                let request = self.agent.get(url).header("Accept", CONTENT);
                match &self.authorization {
                    Some(shown) => request.header("Authorization", shown),
                    None => request,
                }
                .call()
            }
            Some(body) => {
                let request = self.agent.post(url).header("Accept", CONTENT).header("Content-Type", CONTENT);
                match &self.authorization {
                    Some(shown) => request.header("Authorization", shown),
                    None => request,
                }
                .send(body)
            }
        };
        let away = |error: ureq::Error| Failure::Away(error.to_string());
        let mut answer = answered.map_err(away)?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(MOST_BYTES).read_to_string().map_err(away)?;
        self.understand(status, &text, what)
    }

    fn understand<T: DeserializeOwned>(
        &self,
        status: u16,
        text: &str,
        what: &str,
    ) -> Result<Answer<T>, Failure> {
        let told = match serde_json::from_str::<Refusal>(text) {
            Ok(Refusal { message }) => message,
            Err(_) => text.chars().take(SHOWN).collect(),
        };
        let refuse = |message: String| Err(Failure::Final(Error::new(ErrorKind::Invalid, message)));
        let name = &self.name;
        match status {
            200..=299 => match serde_json::from_str(text) {
                Ok(found) => Ok(Answer::Found(found)),
                Err(error) => {
                    Err(Failure::Away(format!("what it answers is not that of a schema registry: {error}")))
                }
            },
            404 => Ok(Answer::Absent(told)),
            401 => refuse(format!(
                "the schema registry {name} does not take the credentials for {what} ({told}); give it the right ones with \
                 `basic_auth` or `bearer`"
            )),
            403 => refuse(format!(
                "the schema registry {name} does not allow {what} with these credentials ({told}); have it granted to them, or \
                 give it others"
            )),
            409 => refuse(format!(
                "the schema registry {name} refuses {what}, which is not compatible with what is registered there: {told}"
            )),
            408 | 429 | 500..=599 | 300..=399 => Err(Failure::Away(format!("status {status}: {told}"))),
            _ => refuse(format!("the schema registry {name} refuses {what} (status {status}): {told}")),
        }
    }
}
