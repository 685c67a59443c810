//! Logging in by user and password: PLAIN, and SCRAM (RFC 5802), by which both sides prove that they know the password.

use super::config::{Sasl, SaslMechanism};
use super::connection::Connection;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use millpond_engine::{Error, Result};
use sha2::{Digest, Sha256, Sha512};
use std::time::{Duration, Instant};

/// What a server may ask for at most: each round takes some 200 ns here.
const MAX_ROUNDS: u32 = 10_000_000;

/// Logs in, and answers for how long that is good, if there is an end.
pub(super) fn log_in(
    connection: &mut Connection,
    sasl: &Sasl,
    deadline: Instant,
) -> Result<Option<Duration>> {
    let mechanism = StrBytes::from_static_str(sasl.mechanism.name());
    let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
    let version = connection.version::<SaslHandshakeRequest>(1).filter(|version| *version == 1);
    let version = version.ok_or_else(|| connection.too_old("SaslHandshakeRequest"))?;
    let response = connection.ask_in(&request, version, deadline)?;
    if let Some(error) = ResponseError::try_from_code(response.error_code) {
        let known: Vec<_> = response.mechanisms.iter().map(|mechanism| &**mechanism).collect();
        return Err(Error::invalid(format!(
            "the broker at {} does not let users log in by {}: {error}; it knows {known:?}",
            connection.address(),
            sasl.mechanism.name()
        )));
    }
    let mut exchange = |message: String| authenticate(connection, sasl, message, deadline);
    match sasl.mechanism {
        SaslMechanism::Plain => Ok(exchange(format!("\0{}\0{}", sasl.user, sasl.password))?.1),
        SaslMechanism::ScramSha256 => scram::<Sha256>(sasl, &nonce()?, exchange),
        SaslMechanism::ScramSha512 => scram::<Sha512>(sasl, &nonce()?, exchange),
    }
}

/// One message and the answer to it.
fn authenticate(
    connection: &mut Connection,
    sasl: &Sasl,
    message: String,
    deadline: Instant,
) -> Result<(String, Option<Duration>)> {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
    let response = connection.ask(&request, deadline)?;
    if let Some(error) = ResponseError::try_from_code(response.error_code) {
        let said = response.error_message.as_deref().unwrap_or_default();
        return Err(refused(sasl, format_args!("the broker at {}: {error} {said}", connection.address())));
    }
    let lifetime = u64::try_from(response.session_lifetime_ms).ok().filter(|ms| *ms > 0);
    let answer = String::from_utf8_lossy(&response.auth_bytes).into_owned();
    Ok((answer, lifetime.map(Duration::from_millis)))
}

fn refused(sasl: &Sasl, why: impl std::fmt::Display) -> Error {
    let (user, mechanism) = (&sasl.user, sasl.mechanism.name());
    Error::invalid(format!("user {user} cannot log in by {mechanism}: {why}"))
}

fn nonce() -> Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("no random numbers: {error}")))?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// Both rounds of SCRAM, whose messages `exchange` sends.
fn scram<D: EagerHash + Digest>(
    sasl: &Sasl,
    nonce: &str,
    mut exchange: impl FnMut(String) -> Result<(String, Option<Duration>)>,
) -> Result<Option<Duration>>
where
    Hmac<D>: Mac + KeyInit,
{
    let user = sasl.user.replace('=', "=3D").replace(',', "=2C");
    let hello = format!("n={user},r={nonce}");
    let (challenge, _) = exchange(format!("n,,{hello}"))?;
    let asked = Challenge::parse(&challenge, nonce).map_err(|why| refused(sasl, why))?;

    let mut salted = vec![0; <D as Digest>::output_size()];
    pbkdf2::pbkdf2_hmac::<D>(sasl.password.as_bytes(), &asked.salt, asked.rounds, &mut salted);
    let proven = format!("c=biws,r={}", asked.nonce);
    let signed = format!("{hello},{challenge},{proven}");
    let client_key = mac::<D>(&salted, b"Client Key");
    let signature = mac::<D>(&D::digest(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();

    let (answer, lifetime) = exchange(format!("{proven},p={}", BASE64_STANDARD.encode(proof)))?;
    let server_key = mac::<D>(&salted, b"Server Key");
    let expected = BASE64_STANDARD.encode(mac::<D>(&server_key, signed.as_bytes()));
    match answer.split(',').find_map(|part| part.strip_prefix("v=")) {
        Some(shown) if shown == expected => Ok(lifetime),
        _ => Err(refused(sasl, "the broker does not prove that it knows the password; is it the right one?")),
    }
}

/// What the server wants to have proven.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    rounds: u32,
}

impl<'a> Challenge<'a> {
    fn parse(message: &'a str, own_nonce: &str) -> Result<Self, &'static str> {
        let part = |name| message.split(',').find_map(|part| part.strip_prefix(name));
        let nonce = part("r=").ok_or("the broker's challenge has no nonce")?;
        if !nonce.starts_with(own_nonce) || nonce.len() == own_nonce.len() {
            return Err("the broker's nonce does not continue ours");
        }
        let salt = part("s=").and_then(|salt| BASE64_STANDARD.decode(salt).ok());
        let rounds = part("i=").and_then(|rounds| rounds.parse().ok()).filter(|rounds| *rounds <= MAX_ROUNDS);
        Ok(Self {
            nonce,
            salt: salt.ok_or("the broker's challenge has no salt")?,
            rounds: rounds
                .filter(|rounds| *rounds > 0)
                .ok_or("the broker asks for too many rounds, or none")?,
        })
    }
}

fn mac<D: EagerHash>(key: &[u8], message: &[u8]) -> Vec<u8>
where
    Hmac<D>: Mac + KeyInit,
{
    // A key of any length will do.
    let Ok(mut mac) = <Hmac<D> as KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    #[test]
    fn scram_goes_as_its_standard_says() {
        let sasl = Sasl::new(SaslMechanism::ScramSha256, "user", "pencil");
        let challenge =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let mut sent = Vec::new();
        let answers = [challenge, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="];
        let lifetime = scram::<Sha256>(&sasl, "rOprNGfwEbeRWgbNEkqO", |message| {
            sent.push(message);
            Ok((answers[sent.len() - 1].to_owned(), Some(Duration::from_secs(7))))
        });
        assert_eq!(lifetime.unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(sent[0], "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            sent[1],
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_not_believed() {
        let sasl = Sasl::new(SaslMechanism::ScramSha512, "user", "pencil");
        let answers = ["r=abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=AAAA"];
        let mut answers = answers.iter();
        let refused = scram::<Sha512>(&sasl, "abc", |_| Ok(((*answers.next().unwrap()).to_owned(), None)));
        assert!(refused.unwrap_err().message().contains("does not prove"));
        for challenge in ["r=xyz,s=W22Z,i=1", "r=abc,s=W22Z,i=1", "r=abcd,i=1", "r=abcd,s=W22Z,i=0", ""] {
            assert!(Challenge::parse(challenge, "abc").is_err(), "{challenge}");
        }
    }
}
