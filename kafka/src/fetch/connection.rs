//! A connection to a broker: one request, one response, each within a time limit.
//!
//! After any error the connection is good for nothing: what comes next might be the answer to what was asked before.

use super::config::FetchConfig;
use super::sasl;
use super::transport::Transport;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use millpond_engine::{Error, Result};
use std::collections::HashMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The first version of `ApiVersions` whose messages have tagged fields; a broker that does not know it answers in version 0.
const FLEXIBLE: i16 = 3;
/// What a broker may answer while it is not known who it is.
const MAX_GREETING_BYTES: usize = 1 << 20;

/// A connection to a broker, logged in, and with the versions of requests that both sides know.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    transport: Transport,
    client_id: StrBytes,
    correlation_id: i32,
    max_response_bytes: usize,
    /// By the key of the request: the least and the greatest that the broker knows.
    versions: HashMap<i16, (i16, i16)>,
    /// When the broker wants to be shown a password once more.
    expires: Option<Instant>,
}

/// That a response is larger than what may be taken in.
#[derive(Debug)]
pub(super) struct TooLarge {
    pub bytes: usize,
    pub most: usize,
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a response of {} bytes is larger than the {} bytes that are taken in",
            self.bytes, self.most
        )
    }
}

impl std::error::Error for TooLarge {}

impl Connection {
    /// Connects to the broker at `address` (`host:port`), asks for its versions and logs in.
    ///
    /// # Errors
    /// `Invalid` if it refuses the user or the way of logging in; `Unavailable` for all that may pass.
    pub(super) fn open(address: &str, config: &FetchConfig, deadline: Instant) -> Result<Self> {
        let transport =
            Transport::connect(address, config, deadline).map_err(|error| broken(address, error))?;
        let mut connection = Self {
            address: address.to_owned(),
            transport,
            client_id: StrBytes::from_string(config.client_id.clone()),
            correlation_id: 0,
            max_response_bytes: MAX_GREETING_BYTES,
            versions: HashMap::new(),
            expires: None,
        };
        connection.greet(deadline)?;
        if let Some(sasl) = &config.security.sasl {
            let lifetime = sasl::log_in(&mut connection, sasl, deadline)?;
            // Somewhat before, so that no request is under way when it passes.
            connection.expires = lifetime.map(|lifetime| Instant::now() + lifetime.mul_f32(0.8));
        }
        connection.max_response_bytes = config.max_response_bytes();
        Ok(connection)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A handle by which another thread can end the connection.
    pub(super) fn handle(&self) -> Option<TcpStream> {
        self.transport.socket().try_clone().ok()
    }

    /// Whether the login has run out, so that another connection is needed.
    pub(super) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|expires| Instant::now() >= expires)
    }

    /// The greatest version of `R` up to `most` that both sides know, if there is one.
    pub(super) fn version<R: Request>(&self, most: i16) -> Option<i16> {
        let &(least, greatest) = self.versions.get(&R::KEY)?;
        let version = greatest.min(R::VERSIONS.max).min(most);
        (version >= least.max(R::VERSIONS.min)).then_some(version)
    }

    /// Sends `request` in the greatest version that both sides know, and waits for the response.
    ///
    /// # Errors
    /// `Invalid` if there is no such version; `Unavailable` if the connection breaks or `deadline` passes.
    pub(super) fn ask<R: Request>(&mut self, request: &R, deadline: Instant) -> Result<R::Response> {
        let version = self.version::<R>(i16::MAX).ok_or_else(|| self.too_old(std::any::type_name::<R>()))?;
        self.ask_in(request, version, deadline)
    }

    /// As `ask`, in this version.
    pub(super) fn ask_in<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<R::Response> {
        self.send(request, version, deadline)?;
        let mut response = self.receive(R::Response::header_version(version), deadline)?;
        R::Response::decode(&mut response, version).map_err(|error| self.unreadable(error))
    }

    /// That the broker does not know `what`, or only in versions that are no longer, or not yet, known here.
    pub(super) fn too_old(&self, what: &str) -> Error {
        let what = what.rsplit("::").next().unwrap_or(what);
        Error::invalid(format!(
            "the broker at {} speaks no version of {what} that is known here: Kafka 1.0 to 4.x are supported",
            self.address
        ))
    }

    /// Asks which requests the broker knows in which versions.
    fn greet(&mut self, deadline: Instant) -> Result<()> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(env!("CARGO_PKG_NAME")))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        self.send(&request, FLEXIBLE, deadline)?;
        let mut response = self.receive(ApiVersionsResponse::header_version(FLEXIBLE), deadline)?;
        let code = response.first_chunk().map(|code| i16::from_be_bytes(*code));
        let response = if code == Some(ResponseError::UnsupportedVersion.code()) {
            self.send(&ApiVersionsRequest::default(), 0, deadline)?;
            response = self.receive(ApiVersionsResponse::header_version(0), deadline)?;
            ApiVersionsResponse::decode(&mut response, 0)
        } else {
            ApiVersionsResponse::decode(&mut response, FLEXIBLE)
        };
        let response = response.map_err(|error| self.unreadable(error))?;
        if let Some(error) = ResponseError::try_from_code(response.error_code) {
            return Err(broken(&self.address, format_args!("it does not tell its versions: {error}")));
        }
        let versions = response.api_keys.iter();
        self.versions = versions.map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(())
    }

    fn send<R: Request>(&mut self, request: &R, version: i16, deadline: Instant) -> Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(self.client_id.clone()));
        let mut body = BytesMut::new();
        header
            .encode(&mut body, R::header_version(version))
            .and_then(|()| request.encode(&mut body, version))
            .map_err(|error| Error::internal(format!("a request does not encode: {error}")))?;
        let mut frame = BytesMut::with_capacity(4 + body.len());
        let length = i32::try_from(body.len()).map_err(|_| Error::internal("a request of 2 GiB"))?;
        frame.put_i32(length);
        frame.extend_from_slice(&body);
        self.transport.write_all(&frame, deadline).map_err(|error| broken(&self.address, error))
    }

    /// The body of the next response, which must be the one to the last request.
    fn receive(&mut self, header_version: i16, deadline: Instant) -> Result<Bytes> {
        let mut length = [0; 4];
        self.read(&mut length, deadline)?;
        let most = self.max_response_bytes;
        let length = match usize::try_from(i32::from_be_bytes(length)) {
            Ok(bytes) if bytes <= most => bytes,
            Ok(bytes) => {
                return Err(
                    broken(&self.address, "it answers with too much").with_source(TooLarge { bytes, most })
                );
            }
            Err(_) => return Err(broken(&self.address, "it does not speak Kafka's protocol")),
        };
        let mut response = vec![0; length];
        self.read(&mut response, deadline)?;
        let mut response = Bytes::from(response);
        let header =
            ResponseHeader::decode(&mut response, header_version).map_err(|error| self.unreadable(error))?;
        if header.correlation_id != self.correlation_id {
            return Err(broken(&self.address, "it answers what was not asked"));
        }
        Ok(response)
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<()> {
        self.transport.read_exact(buffer, deadline).map_err(|error| broken(&self.address, error))
    }

    fn unreadable(&self, error: impl std::fmt::Display) -> Error {
        broken(&self.address, format_args!("its answer does not parse: {error}"))
    }
}

/// That the connection to `address` is good for nothing any more.
fn broken(address: &str, why: impl std::fmt::Display) -> Error {
    super::error::away(format_args!("the broker at {address}"), why)
}

/// Waits between attempts, longer each time.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    range: (Duration, Duration),
    next: Duration,
}

impl Backoff {
    pub(super) fn new(range: (Duration, Duration)) -> Self {
        Self { range, next: range.0 }
    }

    /// How long to wait now.
    pub(super) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.range.1);
        delay
    }

    /// The last attempt went well.
    pub(super) fn reset(&mut self) {
        self.next = self.range.0;
    }
}
