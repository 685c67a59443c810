//! Security as the properties of librdkafka say it, for the direct path.

use crate::fetch::{FetchConfig, Sasl, SaslMechanism, Tls};
use crate::properties;
use millpond_engine::{Error, Result};
use std::collections::BTreeMap;

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
    fetch.request_timeout = properties::request_timeout(properties);
    fetch.metadata_age = properties::metadata_age(properties)?;
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
    if !cfg!(feature = "tls") && properties.keys().any(|name| name.starts_with("ssl.")) {
        return Err(lacks_the_feature("properties that begin with `ssl.`"));
    }
    if encrypted {
        fetch.security.tls = Some(tls(properties)?);
    }
    if logs_in {
        fetch.security.sasl = Some(sasl(properties)?);
    }
    Ok(())
}

/// What is a matter of OpenSSL: ignored by the direct path, connections would be less than what was asked for.
const UNKNOWN: &[&str] = &[
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.providers",
    "ssl.engine.location",
    "ssl.crl.location",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.sigalgs.list",
];

fn tls(properties: &BTreeMap<String, String>) -> Result<Tls> {
    if !cfg!(feature = "tls") {
        return Err(lacks_the_feature("connections over TLS"));
    }
    if let Some(name) = UNKNOWN.iter().find(|name| properties.contains_key(**name)) {
        return Err(Error::invalid(format!(
            "the property `{name}` is not known to the direct path to the brokers, which is encrypted by rustls: give \
             certificates and keys as PEM, with `ssl.ca.location`, `ssl.certificate.location` and `ssl.key.location`, or the \
             same with `.pem`, and leave it out"
        )));
    }
    // As librdkafka reads truth values.
    let says_no = |value: &String| ["false", "f", "0"].contains(&value.to_ascii_lowercase().as_str());
    if properties.get("enable.ssl.certificate.verification").is_some_and(says_no) {
        return Err(Error::invalid(
            "the property `enable.ssl.certificate.verification` of Kafka cannot be false: whoever stands between could have \
             records folded that nobody has written; name the authority that has signed the broker's certificate with \
             `ssl.ca.location`, and if the certificate is for another host, set `ssl.endpoint.identification.algorithm` to \
             `none`",
        ));
    }
    let algorithm = properties.get("ssl.endpoint.identification.algorithm").map_or("https", String::as_str);
    let any_host = match algorithm.to_ascii_lowercase().as_str() {
        "https" => false,
        "none" => true,
        other => {
            return Err(Error::invalid(format!(
                "`ssl.endpoint.identification.algorithm` is `{other}`, and neither `https` nor `none`"
            )));
        }
    };
    // As librdkafka understands it: those of the system.
    let probes = properties.get("ssl.ca.location").is_some_and(|location| location == "probe");
    Ok(Tls {
        authorities_pem: if probes { None } else { pem(properties, "ssl.ca")? },
        certificate_pem: pem(properties, "ssl.certificate")?,
        key_pem: pem(properties, "ssl.key")?,
        any_host,
    })
}

fn lacks_the_feature(what: &str) -> Error {
    Error::invalid(format!(
        "{what} need the feature `tls` of millpond-kafka, with which librdkafka is compiled with OpenSSL: \
         `cargo add millpond-kafka --features tls`"
    ))
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
    if !cfg!(feature = "tls") && mechanism != SaslMechanism::Plain {
        return Err(lacks_the_feature("logins by SCRAM"));
    }
    let is_javas = properties.contains_key("sasl.jaas.config");
    let jaas = if is_javas { "; `sasl.jaas.config` is Java's, and is not read" } else { "" };
    let get = |name: &str| {
        properties
            .get(name)
            .cloned()
            .ok_or_else(|| Error::invalid(format!("`{name}` is missing, which logging in needs{jaas}")))
    };
    Ok(Sasl::new(mechanism, get("sasl.username")?, get("sasl.password")?))
}

#[cfg(test)]
mod tests {
    use crate::Kafka;
    use millpond_engine::ErrorKind;

    fn refused(properties: &[(&str, &str)]) -> String {
        let kafka = properties
            .iter()
            .fold(Kafka::new("s").bootstrap("b:9092"), |kafka, (name, value)| kafka.property(name, *value));
        let error = kafka.open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        error.to_string()
    }

    #[cfg(feature = "tls")]
    #[test]
    fn what_would_make_a_connection_less_than_what_was_asked_for_is_refused() {
        for (name, value) in [
            ("enable.ssl.certificate.verification", "false"),
            ("ssl.endpoint.identification.algorithm", "http"),
            ("ssl.crl.location", "/crl"),
            ("ssl.cipher.suites", "all"),
            ("ssl.ca.location", "/nowhere"),
        ] {
            let error = refused(&[("security.protocol", "ssl"), (name, value)]);
            assert!(error.contains(name), "{error}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn what_needs_the_feature_names_it() {
        let scram = [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "SCRAM-SHA-512")];
        for properties in [
            &[("security.protocol", "ssl")][..],
            &[("security.protocol", "SASL_SSL")],
            &[("ssl.ca.location", "/ca.pem")],
            &scram,
        ] {
            let error = refused(properties);
            assert!(error.contains("the feature `tls` of millpond-kafka"), "{error}");
        }
    }

    #[test]
    fn a_mechanism_that_is_not_known_is_named() {
        let error = refused(&[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "OAUTHBEARER")]);
        assert!(error.contains("OAUTHBEARER"), "{error}");
    }
}
