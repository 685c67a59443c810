//! Security as the properties of librdkafka say it, for the direct path.

use crate::fetch::{FetchConfig, Sasl, SaslMechanism, Tls};
use millpond_engine::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// Sets in `fetch` what `properties` say of connections.
///
/// # Errors
/// `Invalid` for what the direct path cannot do.
pub(crate) fn apply(properties: &BTreeMap<String, String>, fetch: &mut FetchConfig) -> Result<()> {
    let get = |name: &str| properties.get(name).map(String::as_str);
    if let Some(id) = get("client.id") {
        id.clone_into(&mut fetch.client_id);
    }
    fetch.rack = get("client.rack").map(str::to_owned);
    if let Some(millis) = get("socket.timeout.ms") {
        let millis = millis.parse().map_err(|_| Error::invalid("`socket.timeout.ms` is no number"))?;
        fetch.request_timeout = Duration::from_millis(millis);
    }
    let protocol = get("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
    let (encrypted, logs_in) = match protocol.as_str() {
        "plaintext" => (false, false),
        "ssl" => (true, false),
        "sasl_plaintext" => (false, true),
        "sasl_ssl" => (true, true),
        other => {
            return Err(Error::invalid(format!(
                "`security.protocol` is `{other}`, and none of plaintext, ssl, sasl_plaintext and sasl_ssl"
            )));
        }
    };
    if encrypted {
        fetch.security.tls = Some(tls(properties)?);
    }
    if logs_in {
        fetch.security.sasl = Some(sasl(properties)?);
    }
    Ok(())
}

fn tls(properties: &BTreeMap<String, String>) -> Result<Tls> {
    if !cfg!(feature = "tls") {
        return Err(Error::invalid("connections over TLS need the feature `tls` of millpond-kafka"));
    }
    for name in ["ssl.key.password", "ssl.keystore.location", "ssl.providers", "ssl.engine.location"] {
        if properties.contains_key(name) {
            return Err(Error::invalid(format!(
                "the property `{name}` is not known to the direct path to the brokers: give certificates and keys as PEM, with \
                 `ssl.ca.location`, `ssl.certificate.location` and `ssl.key.location`, or the same with `.pem`"
            )));
        }
    }
    Ok(Tls {
        authorities_pem: pem(properties, "ssl.ca")?,
        certificate_pem: pem(properties, "ssl.certificate")?,
        key_pem: pem(properties, "ssl.key")?,
    })
}

/// What `<what>.pem` says, or the file at `<what>.location`.
fn pem(properties: &BTreeMap<String, String>, what: &str) -> Result<Option<Vec<u8>>> {
    if let Some(pem) = properties.get(&format!("{what}.pem")) {
        return Ok(Some(pem.clone().into_bytes()));
    }
    let Some(path) = properties.get(&format!("{what}.location")) else { return Ok(None) };
    let read = std::fs::read(path);
    read.map(Some).map_err(|error| {
        Error::invalid(format!("`{what}.location` names {path}, which cannot be read")).with_source(error)
    })
}

fn sasl(properties: &BTreeMap<String, String>) -> Result<Sasl> {
    let mechanism = properties.get("sasl.mechanism").map_or("GSSAPI", String::as_str);
    let mechanism = match mechanism.to_ascii_uppercase().as_str() {
        "PLAIN" => SaslMechanism::Plain,
        "SCRAM-SHA-256" => SaslMechanism::ScramSha256,
        "SCRAM-SHA-512" => SaslMechanism::ScramSha512,
        other => {
            return Err(Error::invalid(format!(
                "`sasl.mechanism` is {other}, and the direct path to the brokers knows PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512: \
                 read through librdkafka instead, with `Kafka::fetch(Fetch::Librdkafka)`"
            )));
        }
    };
    let get = |name: &str| {
        properties
            .get(name)
            .cloned()
            .ok_or_else(|| Error::invalid(format!("`{name}` is missing, which logging in needs")))
    };
    Ok(Sasl::new(mechanism, get("sasl.username")?, get("sasl.password")?))
}
