//! What a broker is to be like.

use super::{Broker, ports};
use crate::proxy::Proxy;

/// What a broker is to be like: without any of these it takes all clients that come by [`Broker::bootstrap`].
#[derive(Debug, Default)]
pub struct Options {
    arguments: Vec<String>,
    /// Options that take a port: which of those of the broker.
    listeners: Vec<(&'static str, u16)>,
    for_java: &'static str,
    proxy: Option<Proxy>,
}

impl Options {
    /// A setting of the broker, as Kafka names it.
    pub fn property(self, key: &str, value: &str) -> Self {
        self.argument(&["--property", &format!("{key}={value}")])
    }

    /// The most memory that Java takes for objects; 384 MB unless set.
    pub fn heap_mb(self, megabytes: u32) -> Self {
        self.argument(&["--heap", &megabytes.to_string()])
    }

    /// Compiled as well as Java can, which is worth its while under load; otherwise it is only quick to start.
    pub fn well_compiled(mut self) -> Self {
        self.for_java = "-XX:TieredStopAtLevel=4";
        self
    }

    /// Clients that come through the proxy stay with it: what the broker tells them to connect to is the proxy.
    pub fn proxied_by(mut self, proxy: &Proxy) -> Self {
        self.proxy = Some(proxy.clone());
        self
    }

    /// Listens at [`Broker::sasl_bootstrap`], too, for users who log in by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    pub fn sasl(self) -> Self {
        self.listener("--sasl", ports::SASL)
    }

    /// Listens at [`Broker::ssl_bootstrap`], too, with a certificate for `127.0.0.1` and `localhost` by
    /// [`Broker::authority`].
    pub fn ssl(self) -> Self {
        self.listener("--ssl", ports::SSL)
    }

    /// Listens at [`Broker::sasl_ssl_bootstrap`], too, where users log in over TLS.
    pub fn sasl_ssl(self) -> Self {
        self.listener("--sasl-ssl", ports::SASL_SSL)
    }

    /// One who may log in.
    pub fn user(self, name: &str, password: &str) -> Self {
        self.argument(&["--user", &format!("{name}:{password}")])
    }

    /// Nobody may do what no ACL allows, but for clients without a name (`User:ANONYMOUS`), who may do everything.
    pub fn acls(self) -> Self {
        self.argument(&["--acl"])
    }

    /// Starts it, and waits until it answers. `None` where there is no broker to be had, which has then been said.
    pub fn start(self) -> Option<Broker> {
        if !Broker::available_or_told() {
            return None;
        }
        let mut failed = String::new();
        // Another program may have taken a port in the meantime.
        for _ in 0..3 {
            match self.start_once(ports::free()) {
                Ok(broker) => return Some(broker),
                Err(error) if error.contains("in use") => failed = error,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{failed}");
    }

    fn start_once(&self, first_port: u16) -> Result<Broker, String> {
        let mut arguments = self.arguments.clone();
        for (option, port) in &self.listeners {
            arguments.extend([(*option).to_owned(), (first_port + port).to_string()]);
        }
        if let Some(proxy) = &self.proxy {
            let behind = first_port + ports::PROXIED;
            arguments.extend(["--advertise".to_owned(), format!("{behind}={}", proxy.port())]);
            proxy.forward_to(behind);
        }
        let dir = tempfile::Builder::new().prefix("millpond-broker-").tempdir().unwrap();
        Broker::start_with(dir, (arguments, self.for_java.to_owned()), first_port)
    }

    fn argument(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    fn listener(mut self, option: &'static str, port: u16) -> Self {
        self.listeners.push((option, port));
        self
    }
}
