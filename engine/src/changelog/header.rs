//! Headers: named annotations of a record, as bytes or as what a codec makes of them.

use crate::codec::{CodecError, ValueCodec};
use bytes::Bytes;

/// A named annotation of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// Its value, if it has one: in Kafka it may be `null`.
    pub value: Option<Bytes>,
}

impl Header {
    /// The header `name` with these bytes.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// The header `name` without a value.
    #[must_use]
    pub fn without_value(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }

    /// The header `name` with `value` as `codec` writes it.
    ///
    /// # Errors
    /// If the codec cannot write it; the message names the header.
    pub fn typed<T>(
        name: impl Into<String>,
        codec: &(impl ValueCodec<T> + ?Sized),
        value: &T,
    ) -> Result<Self, CodecError> {
        let (name, mut bytes) = (name.into(), Vec::new());
        match codec.encode(value, &mut bytes) {
            Ok(()) => Ok(Self::new(name, bytes)),
            Err(error) => Err(CodecError::new(format!("header `{name}`: {error}"))),
        }
    }

    /// Its value as `codec` reads it; `None` if it has none.
    ///
    /// # Errors
    /// If it is no `T`; the message names the header.
    pub fn read<T>(&self, codec: &(impl ValueCodec<T> + ?Sized)) -> Result<Option<T>, CodecError> {
        let refuse = |error| CodecError::new(format!("header `{}`: {error}", self.name));
        self.value.as_deref().map(|bytes| codec.decode(bytes)).transpose().map_err(refuse)
    }
}

/// The headers of a record, in the order they were given. One name may occur several times: the last one counts, for who wants
/// but one.
///
/// # Examples
/// ```
/// use millpond::changelog::{Header, Headers};
/// use millpond::codec::{BigEndian, Json, Utf8};
///
/// let mut headers = Headers::new();
/// headers.push(Header::new("trace", "4bf9"));
/// headers.push(Header::typed("attempt", &BigEndian, &1_i32)?);
/// headers.push(Header::typed("attempt", &BigEndian, &2_i32)?);
/// headers.push(Header::typed("route", &Json, &["LHR", "JFK"].map(String::from))?);
///
/// let attempt: Option<i32> = headers.read("attempt", &BigEndian)?;
/// assert_eq!(attempt, Some(2));
/// let attempts: Result<Vec<Option<i32>>, _> = headers.all("attempt").map(|header| header.read(&BigEndian)).collect();
/// assert_eq!(attempts?, [Some(1), Some(2)]);
/// assert_eq!(headers.read("trace", &Utf8)?, Some("4bf9".to_owned()));
/// assert_eq!(headers.read::<Vec<String>>("route", &Json)?.map(|route| route.len()), Some(2));
///
/// assert_eq!(headers.bytes("user"), None);
/// let refused = headers.read::<i64>("attempt", &BigEndian).unwrap_err();
/// assert_eq!(refused.to_string(), "header `attempt`: 4 bytes are no i64, which has 8");
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// No headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The last header of this name.
    #[must_use]
    #[doc(alias = "lastHeader")]
    pub fn get(&self, name: &str) -> Option<&Header> {
        self.0.iter().rev().find(|header| header.name == name)
    }

    /// All headers of this name, in their order.
    #[doc(alias = "headers")]
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Header> {
        self.0.iter().filter(move |header| header.name == name)
    }

    /// The value of the last header of this name, as bytes; `None` if there is no such header, or it has no value.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.get(name)?.value.as_deref()
    }

    /// The value of the last header of this name, as `codec` reads it; `None` if there is no such header, or it has no value.
    ///
    /// # Errors
    /// If it is no `T`; the message names the header.
    pub fn read<T>(
        &self,
        name: &str,
        codec: &(impl ValueCodec<T> + ?Sized),
    ) -> Result<Option<T>, CodecError> {
        self.get(name).map_or(Ok(None), |header| header.read(codec))
    }

    /// Adds a header behind the others.
    pub fn push(&mut self, header: Header) {
        self.0.push(header);
    }

    /// Keeps those headers for which `keep` answers `true`.
    pub fn retain(&mut self, keep: impl FnMut(&Header) -> bool) {
        self.0.retain(keep);
    }

    /// The headers in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Header>> for Headers {
    fn from(headers: Vec<Header>) -> Self {
        Self(headers)
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

impl Extend<Header> for Headers {
    fn extend<I: IntoIterator<Item = Header>>(&mut self, headers: I) {
        self.0.extend(headers);
    }
}

impl IntoIterator for Headers {
    type Item = Header;
    type IntoIter = std::vec::IntoIter<Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'h> IntoIterator for &'h Headers {
    type Item = &'h Header;
    type IntoIter = std::slice::Iter<'h, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
