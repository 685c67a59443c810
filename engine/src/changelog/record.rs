//! Records and the frame of a stored batch.

use bytes::Bytes;

/// A named annotation of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// Its value.
    pub value: Bytes,
}

/// One fact: a key, what it now maps to (`None` is a tombstone), when, and annotations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The encoded key.
    pub key: Bytes,
    /// The encoded value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Milliseconds since the Unix epoch, as the producer stamped it.
    pub timestamp_ms: i64,
    /// Annotations.
    pub headers: Vec<Header>,
}

/// A record as it lies in a decoded batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Its offset in the partition.
    pub offset: u64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The encoded key.
    pub key: &'a [u8],
    /// The encoded value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}
