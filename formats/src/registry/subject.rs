//! Subjects: under which name a schema is registered.

use millpond_engine::{Error, Result};

/// Under which name a schema is registered: the naming strategies of Confluent's serializers, and any other name.
///
/// # Examples
/// ```
/// use millpond_formats::registry::Subject;
///
/// let record = Some("com.acme.Order");
/// assert_eq!(Subject::value_of("orders").name(record)?, "orders-value");
/// assert_eq!(Subject::key_of("orders").name(record)?, "orders-key");
/// assert_eq!(Subject::Record.name(record)?, "com.acme.Order");
/// assert_eq!(Subject::record_of("orders").name(record)?, "orders-com.acme.Order");
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// This name.
    Named(String),
    /// The full name of the record, so that a topic may hold several.
    #[doc(alias = "RecordNameStrategy")]
    Record,
    /// The name of this topic and the full name of the record.
    #[doc(alias = "TopicRecordNameStrategy")]
    TopicRecord(String),
}

impl Subject {
    /// The values of `topic`: what serializers do unless they are told otherwise.
    #[must_use]
    #[doc(alias = "TopicNameStrategy")]
    pub fn value_of(topic: &str) -> Self {
        Self::Named(format!("{topic}-value"))
    }

    /// The keys of `topic`.
    #[must_use]
    pub fn key_of(topic: &str) -> Self {
        Self::Named(format!("{topic}-key"))
    }

    /// This record in `topic`.
    #[must_use]
    pub fn record_of(topic: &str) -> Self {
        Self::TopicRecord(topic.to_owned())
    }

    /// The subject of a schema whose record has this full name.
    ///
    /// # Errors
    /// `Invalid` if a name of a record is needed and there is none.
    pub fn name(&self, record: Option<&str>) -> Result<String> {
        let record = || {
            record.ok_or_else(|| {
                Error::invalid("a schema without a name cannot be registered under the name of its record: name the subject")
            })
        };
        match self {
            Self::Named(name) => Ok(name.clone()),
            Self::Record => record().map(str::to_owned),
            Self::TopicRecord(topic) => Ok(format!("{topic}-{}", record()?)),
        }
    }
}
