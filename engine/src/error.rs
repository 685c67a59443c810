//! The one error type of millpond.
//!
//! Errors are coarse on purpose: a kind that tells the caller what can be done, a message that says
//! what happened, where (table, topic, partition, offset) and what to do next, and the source, if any.
//! No type of a storage or codec library appears in a public signature.

use serde::Serialize;
use std::error::Error as StdError;
use std::fmt;

/// What went wrong, in terms of what the caller can do about it.
///
/// # Examples
/// ```
/// use millpond::{Error, ErrorKind};
/// # use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
///
/// /// With which status a handler of HTTP requests answers.
/// fn status(error: &Error) -> u16 {
///     match error.kind() {
///         ErrorKind::Invalid => 400,
///         // Not now: the same request may pass later.
///         ErrorKind::Unavailable | ErrorKind::TimedOut => 503,
///         // The service is on its way down.
///         ErrorKind::Closed => 503,
///         // Code of the graph, or a value that its codec refuses: a person has to look at it.
///         ErrorKind::User => 500,
///         // Also what later versions may add.
///         _ => 500,
///     }
/// }
///
/// # let readings = Topic::<u8, u8>::new("readings");
/// # let graph = GraphBuilder::new();
/// # let shares = graph.stream(&readings).map_values(|_, people| 100 / people).to_table("shares");
/// # let engine = Engine::builder(&graph.build()?).in_memory().changelog(Arc::new(MemoryChangelog::new())).start()?;
/// # engine.append_blocking(&readings, &1, &0)?;
/// # let stopped = engine.catch_up_blocking().unwrap_err();
/// assert_eq!(stopped.kind(), ErrorKind::User); // the closure has panicked at a record
/// assert_eq!(status(&stopped), 500);
/// # engine.close_blocking().unwrap_err();
/// assert_eq!(status(&engine.view(&shares)?.get(&1).unwrap_err()), 500);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call or the graph is wrong: a name used twice, an unknown topic, an option out of range.
    /// Nothing was changed. Correct the call.
    Invalid,
    /// Not now: the directory is in use, the disk is full, a table is still being built. Try again later.
    Unavailable,
    /// What was waited for has not come within its time limit. It may still come: wait again, or look what holds it up.
    TimedOut,
    /// The engine, changelog or subscription was closed. Open it again.
    Closed,
    /// Stored bytes are damaged or of an unknown format. Nothing was changed.
    Corrupt,
    /// The state includes records that its changelog does not have.
    AheadOfChangelog,
    /// The changelog no longer reaches back to the position of the state.
    BehindChangelog,
    /// What was asked for lies further back in time than what is kept. Ask for a later time, or have more kept.
    Expired,
    /// Code or data that is not millpond's. There are two cases:
    /// - *A record of the changelog*: it does not decode, or a closure of the graph has panicked or answered with an error at
    ///   it, or what was made of it does not encode. It is handled by the [failure policy](crate::FailurePolicy); the message
    ///   names topic, partition and offset. Under `Stop` the engine has stopped in front of it and says so wherever it is
    ///   asked: correct the code, or set such records aside, and start it again.
    /// - *An argument of the call*: a key or value to be appended that its codec refuses. Nothing was appended, and the
    ///   engine goes on. Correct the call.
    User,
    /// A defect of millpond, or an error of the operating system that has no other kind.
    Internal,
}

/// An error of millpond: a [kind](ErrorKind), a message and, where there is one, a source.
///
/// # Examples
/// ```
/// use millpond::{Engine, ErrorKind, GraphBuilder, Topic};
///
/// let visits = Topic::<String, u32>::new("visits");
/// let graph = GraphBuilder::new();
/// let visits = graph.stream(&visits).group_by_key();
/// visits.count("visits");
/// visits.reduce("visits", |a, b| a + b);
/// let error = graph.build().err().expect("two tables of one name");
/// match error.kind() {
///     ErrorKind::Invalid => assert!(error.message().contains("two tables are named `visits`")),
///     // Worth another try later.
///     ErrorKind::Unavailable => {}
///     _ => panic!("{error}"),
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// The same error with its cause attached.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with `context` put before its message, for instance the table or topic it arose in.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, where, and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// A copy without the source, for handing one failure to many waiters.
    #[must_use]
    pub fn summary(&self) -> Self {
        Self::new(self.0.kind, self.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// As a person reads it, since that is what a program prints whose `main` returns an error: the message, then each cause on a
/// line of its own, and the kind.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            // A cause of ours says its own causes below; others are asked for theirs.
            match error.downcast_ref::<Self>() {
                Some(error) => write!(f, "\n  caused by: {}", error.0.message)?,
                None => write!(f, "\n  caused by: {error}")?,
            }
            cause = error.source();
        }
        write!(f, " [{:?}]", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])* #[must_use] pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            })*
        }
    };
}

constructors! {
    /// An [`ErrorKind::Invalid`] error.
    invalid => Invalid;
    /// An [`ErrorKind::Unavailable`] error.
    unavailable => Unavailable;
    /// An [`ErrorKind::Closed`] error.
    closed => Closed;
    /// An [`ErrorKind::Corrupt`] error.
    corrupt => Corrupt;
    /// An [`ErrorKind::Expired`] error.
    expired => Expired;
    /// An [`ErrorKind::User`] error.
    user => User;
    /// An [`ErrorKind::Internal`] error.
    internal => Internal;
}

/// What a caught panic says.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_carries_context_and_source() {
        let error = Error::corrupt("bad frame").with_source(std::io::Error::other("eof")).context("topic a");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.to_string(), "topic a: bad frame: eof");
        let outer = Error::internal("cannot open").with_source(error);
        assert_eq!(
            format!("{outer:?}"),
            "cannot open\n  caused by: topic a: bad frame\n  caused by: eof [Internal]"
        );
    }
}
