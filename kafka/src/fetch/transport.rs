//! Bytes to and from a broker: plain or encrypted, and never waited for without a time limit.

use super::config::FetchConfig;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A connection as a stream of bytes.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

impl Transport {
    /// Connects to `address` (`host:port`), and secures the connection if that is wanted.
    pub(super) fn connect(address: &str, config: &FetchConfig, deadline: Instant) -> io::Result<Self> {
        let socket = connect(address, deadline)?;
        socket.set_nodelay(true)?;
        match &config.security.tls {
            None => Ok(Self::Plain(socket)),
            Some(tls) => Self::encrypt(socket, address, tls, deadline),
        }
    }

    #[cfg(feature = "tls")]
    fn encrypt(
        socket: TcpStream,
        address: &str,
        tls: &super::config::Tls,
        deadline: Instant,
    ) -> io::Result<Self> {
        limit(&socket, deadline)?;
        Ok(Self::Tls(Box::new(super::tls::encrypt(socket, address, tls)?)))
    }

    #[cfg(not(feature = "tls"))]
    fn encrypt(_: TcpStream, _: &str, _: &super::config::Tls, _: Instant) -> io::Result<Self> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "connections over TLS need the feature `tls` of this crate",
        ))
    }

    /// The socket below, by which another thread can end the connection.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// Fills `buffer`, or fails at `deadline`.
    pub(super) fn read_exact(&mut self, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !buffer.is_empty() {
            limit(self.socket(), deadline)?;
            let read = match self {
                Self::Plain(socket) => socket.read(buffer),
                #[cfg(feature = "tls")]
                Self::Tls(stream) => stream.read(buffer),
            };
            match read {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the broker has hung up")),
                Ok(bytes) => buffer = buffer.get_mut(bytes..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error)),
            }
        }
        Ok(())
    }

    /// Sends all of `bytes`, or fails at `deadline`.
    pub(super) fn write_all(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        limit(self.socket(), deadline)?;
        let sent = match self {
            Self::Plain(socket) => socket.write_all(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        sent.map_err(timed_out)
    }
}

/// A socket's time-outs say `WouldBlock` on some systems.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, "it has not answered in time")
        }
        _ => error,
    }
}

/// Tries every address that the name has.
fn connect(address: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(timed_out(last))
}

/// Lets no call wait beyond `deadline`.
fn limit(socket: &TcpStream, deadline: Instant) -> io::Result<()> {
    let left = Some(left(deadline)?);
    socket.set_read_timeout(left)?;
    socket.set_write_timeout(left)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(timed_out(ErrorKind::TimedOut.into())),
        left => Ok(left),
    }
}
