//! How a registry is reached.

use super::Registry;
use super::client::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millpond_engine::{Error, Result};
use std::fmt;
use std::time::Duration;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// How a [`Registry`] is reached. Credentials are never shown.
///
/// # Examples
/// ```
/// use millpond_formats::registry::Registry;
/// use std::time::Duration;
///
/// let registry = Registry::options("https://registry-a:8081,https://registry-b:8081")
///     .basic_auth("mill", "secret")
///     .timeout(Duration::from_secs(3))
///     .open()?;
/// assert_eq!(registry.to_string(), "https://registry-a:8081,https://registry-b:8081");
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is asked before it is opened"]
pub struct RegistryOptions {
    urls: String,
    authorization: Option<String>,
    roots: Option<Vec<u8>>,
    timeout: Duration,
}

impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl RegistryOptions {
    pub(super) fn new(urls: &str) -> Self {
        Self { urls: urls.to_owned(), authorization: None, roots: None, timeout: Duration::from_secs(10) }
    }

    /// Shows a name and a password, or a key and a secret.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        Self { authorization: Some(format!("Basic {encoded}")), ..self }
    }

    /// Shows a token.
    pub fn bearer(self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self }
    }

    /// Trusts the certificates in `pem`, instead of those that browsers trust.
    pub fn root_certificates(self, pem: &[u8]) -> Self {
        Self { roots: Some(pem.to_vec()), ..self }
    }

    /// How long one request may take; ten seconds unless set.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The client. Nothing is asked yet.
    ///
    /// # Errors
    /// `Invalid` if there is no address, or one that is not of HTTP or has credentials in it, or the certificates are none.
    pub fn open(self) -> Result<Registry> {
        let urls = self.urls.split(',').map(|url| url.trim().trim_end_matches('/'));
        let urls: Vec<String> = urls.filter(|url| !url.is_empty()).map(str::to_owned).collect();
        if urls.is_empty() {
            return Err(Error::invalid("a schema registry needs an address, such as `http://registry:8081`"));
        }
        for url in &urls {
            let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
            match host {
                // The address itself may hold the password.
                Some(host) if host.contains('@') => {
                    return Err(Error::invalid(
                        "the address of a schema registry stands in messages: give its credentials with `basic_auth`",
                    ));
                }
                Some(host) if !host.is_empty() => {}
                _ => {
                    return Err(Error::invalid(format!(
                        "`{url}` is no address of a schema registry: http(s)://host:port"
                    )));
                }
            }
        }
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .http_status_as_error(false)
            .user_agent(concat!("millpond/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &self.roots {
            let roots = RootCerts::new_with_certs(&certificates(pem)?);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Registry::open(Client::new(urls, self.authorization, config.build().new_agent())))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(Error::invalid("the root certificates are no PEM").with_source(error)),
        }
    }
    if certificates.is_empty() {
        return Err(Error::invalid("there is no certificate in what is given as root certificates"));
    }
    Ok(certificates)
}
