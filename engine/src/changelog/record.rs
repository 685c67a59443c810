//! Records: the facts that a changelog is made of.
//!
//! A [`Record`] owns its bytes and is what one appends; a [`RecordRef`] borrows from a decoded batch and is
//! what one reads. How records lie in stored bytes is the business of [`frame`](super::frame) alone.

use super::{Header, Headers, frame};
use crate::{Error, Result};
use bytes::Bytes;
use std::fmt;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64 << 10;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 256 << 20;

/// The most that the headers of one record may take together, in bytes as stored.
pub const MAX_HEADERS_BYTES: usize = 1 << 20;

/// One fact: a key, what it now maps to (`None` is a tombstone), when, and annotations. Records are ordered by these, in
/// this order.
///
/// Records that millpond writes have a key. Those of other systems may have none, in Kafka for instance: nobody can tell then
/// what they are about but by their values.
///
/// # Examples
/// ```
/// use millpond::changelog::Record;
///
/// let record = Record::new("alice", "12").at(1_700_000_000_000);
/// assert_eq!(record.value.as_deref(), Some(b"12".as_slice()));
/// assert_eq!(Record::tombstone("alice").value, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Record {
    /// The encoded key, at most [`MAX_KEY_BYTES`] long, if it has one.
    pub key: Option<Bytes>,
    /// The encoded value, at most [`MAX_VALUE_BYTES`] long; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Milliseconds since the Unix epoch, as the producer stamped it.
    pub timestamp_ms: i64,
    /// Annotations, together at most [`MAX_HEADERS_BYTES`] long.
    pub headers: Headers,
}

impl Record {
    /// The fact that `key` maps to `value`, stamped 0.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()), ..Self::default() }
    }

    /// The fact that `key` maps to nothing any more, stamped 0.
    #[must_use]
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// A fact without a key, stamped 0.
    #[must_use]
    pub fn without_key(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// The same fact stamped `timestamp_ms`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }

    /// The same fact with one more annotation.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// How many bytes of key, value and headers the record carries.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|header| header.name.len() + bytes(&header.value)).sum();
        bytes(&self.key) + bytes(&self.value) + headers
    }

    /// How many bytes the headers take as stored, of [`MAX_HEADERS_BYTES`].
    #[must_use]
    pub fn headers_bytes(&self) -> usize {
        frame::headers_len(&self.headers)
    }

    /// Refuses a record that is too large to be stored.
    pub(super) fn check(&self) -> Result<()> {
        let within = |what: &str, bytes: usize, most: usize| {
            if bytes <= most {
                return Ok(());
            }
            Err(Error::invalid(format!(
                "the {what} of a record takes {bytes} bytes, more than the {most} allowed"
            )))
        };
        within("key", self.key.as_ref().map_or(0, Bytes::len), MAX_KEY_BYTES)?;
        within("value", self.value.as_ref().map_or(0, Bytes::len), MAX_VALUE_BYTES)?;
        within("headers", self.headers_bytes(), MAX_HEADERS_BYTES)
    }
}

/// A record as it lies in a decoded batch.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordRef<'a> {
    /// Its offset in the partition.
    pub offset: u64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The encoded key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The encoded value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The stored headers, read only when asked for.
    headers: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// A record without headers.
    #[must_use]
    pub fn new(offset: u64, timestamp_ms: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self { offset, timestamp_ms, key, value, headers: &[] }
    }

    pub(super) fn with_stored_headers(mut self, headers: &'a [u8]) -> Self {
        self.headers = headers;
        self
    }

    /// The record's annotations, each a name and perhaps a value, in the order they were given.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.headers;
        // Checked when the batch was decoded, so that nothing but the end stops it.
        std::iter::from_fn(move || frame::read_header(&mut rest))
    }

    /// Copies of the record's annotations.
    #[must_use]
    pub fn to_headers(&self) -> Headers {
        let header = |(name, value): (&str, Option<&[u8]>)| Header {
            name: name.to_owned(),
            value: value.map(Bytes::copy_from_slice),
        };
        self.headers().map(header).collect()
    }

    /// A record that owns a copy of these bytes.
    #[must_use]
    pub fn to_record(&self) -> Record {
        Record {
            key: self.key.map(Bytes::copy_from_slice),
            value: self.value.map(Bytes::copy_from_slice),
            timestamp_ms: self.timestamp_ms,
            headers: self.to_headers(),
        }
    }
}

impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordRef").field("offset", &self.offset).field("record", &self.to_record()).finish()
    }
}
