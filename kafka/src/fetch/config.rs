//! How to reach the brokers, and how much to ask of them.

use std::fmt;
use std::time::Duration;

/// How to reach the brokers, and how much may be fetched ahead.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchConfig {
    /// Brokers to ask for the others first, as `host:port`.
    pub bootstrap: Vec<String>,
    /// What the brokers call this client in their logs and quotas.
    pub client_id: String,
    /// How connections are secured.
    pub security: Security,
    /// Where this client runs: brokers may then name a replica that is nearer than the leader.
    pub rack: Option<String>,
    /// The most that is fetched ahead, of all partitions together, in bytes as stored. A batch that is larger than what is
    /// left comes through all the same; where nothing is left, one of a partition that was polled in vain does.
    pub buffer_bytes: usize,
    /// The most that is asked of a broker at once, in bytes.
    pub max_bytes: usize,
    /// The most that is asked of a partition at once, in bytes.
    pub max_partition_bytes: usize,
    /// A broker answers as soon as it has so many bytes,
    pub min_bytes: usize,
    /// and after this time at the latest.
    pub max_wait: Duration,
    /// After this time without an answer, beyond what a broker may wait, a connection is given up.
    pub request_timeout: Duration,
    /// How long to wait before another attempt: the first time, and at most. It doubles from one to the other.
    pub backoff: (Duration, Duration),
    /// How long a topic may be missing before that is an error.
    pub missing_topic_timeout: Duration,
    /// How often topics that are read are asked for anew: whether they have got more partitions, or were made anew.
    pub metadata_age: Duration,
}

impl FetchConfig {
    /// The brokers at `bootstrap` (`host:port`, several apart by commas), and defaults otherwise.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        let bootstrap = bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty());
        Self {
            bootstrap: bootstrap.map(str::to_owned).collect(),
            client_id: "millpond".to_owned(),
            security: Security::default(),
            rack: None,
            buffer_bytes: 64 << 20,
            max_bytes: 16 << 20,
            max_partition_bytes: 4 << 20,
            min_bytes: 1,
            max_wait: Duration::from_millis(500),
            request_timeout: Duration::from_secs(10),
            backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            missing_topic_timeout: Duration::from_secs(30),
            metadata_age: Duration::from_secs(30),
        }
    }

    /// The largest response that is taken in. A broker sends more than it was asked for if a single batch is larger.
    pub(super) fn max_response_bytes(&self) -> usize {
        self.buffer_bytes.max(self.max_bytes).max(256 << 20)
    }
}

/// How connections are secured: not at all, if nothing is set.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Security {
    /// Whether and how connections are encrypted.
    pub tls: Option<Tls>,
    /// As whom to log in.
    pub sasl: Option<Sasl>,
}

/// How connections are encrypted. Needs the feature `tls`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Tls {
    /// The certificates to trust, as PEM; those of the system if there are none.
    pub authorities_pem: Option<Vec<u8>>,
    /// A certificate of one's own, with its chain, as PEM,
    pub certificate_pem: Option<Vec<u8>>,
    /// and its key, as PEM.
    pub key_pem: Option<Vec<u8>>,
    /// Whether a broker's certificate may be for any host. It must have been signed by whom one trusts all the same.
    pub any_host: bool,
}

impl Tls {
    /// Trusting those certificates alone that are in `authorities_pem`.
    #[must_use]
    pub fn trusting(authorities_pem: impl Into<Vec<u8>>) -> Self {
        Self { authorities_pem: Some(authorities_pem.into()), ..Self::default() }
    }
}

/// Without the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("own_authorities", &self.authorities_pem.is_some())
            .field("client_certificate", &self.certificate_pem.is_some())
            .field("any_host", &self.any_host)
            .finish_non_exhaustive()
    }
}

/// As whom to log in.
#[derive(Clone)]
#[non_exhaustive]
pub struct Sasl {
    /// How the password is shown.
    pub mechanism: SaslMechanism,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: String,
}

impl Sasl {
    /// As `user` with `password`.
    #[must_use]
    pub fn new(mechanism: SaslMechanism, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { mechanism, user: user.into(), password: password.into() }
    }
}

/// Without the password.
impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How a password is shown to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// As it is: over encrypted connections only.
    Plain,
    /// By a proof that it is known, with SHA-256.
    ScramSha256,
    /// By a proof that it is known, with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// Its name in the protocol.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut config = FetchConfig::new("a:9092, b:9092");
        assert_eq!(config.bootstrap, ["a:9092", "b:9092"]);
        config.security.sasl = Some(Sasl::new(SaslMechanism::Plain, "reader", "hunter2"));
        config.security.tls = Some(Tls { key_pem: Some(b"hunter2".to_vec()), ..Tls::default() });
        let shown = format!("{config:?}");
        assert!(shown.contains("reader") && !shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains(&format!("{:?}", b"hunter2")), "{shown}");
    }
}
