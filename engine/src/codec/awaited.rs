//! What a codec has to fetch before it can decode: it says so with its error, and whoever decodes sees to it.
//!
//! Records are decoded within a fold, on all shards at once, and what comes of them depends on nothing else. So a codec
//! whose layout is described elsewhere, by the id of a schema for instance, never asks for it there: it answers with
//! [`CodecError::awaits`]. The epoch is then taken back, what is awaited is fetched outside of the fold, and the same
//! epoch is cut again. What is awaited is no failure of its record.

use crate::Result;
use std::fmt;

/// Something that a codec needs before it can decode what it was given, and how to fetch it.
///
/// Its [`Display`](fmt::Display) says what it is and where it comes from, such as `schema 17 of http://registry:8081`: it stands
/// in logs, in [`Stats`](crate::Stats) and in [`Health`](crate::Health) while it is waited for.
///
/// # Contract
/// 1. After [`fetch`](Self::fetch) has answered `Ok`, `decode` of the same bytes does not ask for it again: it decodes them, or
///    says why they never will. What it answers is from then on the same, always.
/// 2. `fetch` has a time limit of its own. An engine does not wait for it to be closed, but its thread stays until then.
///
/// # Examples
/// A codec whose values are numbers into a list of names that comes from elsewhere:
/// ```
/// use millpond::codec::{Awaited, CodecError, ValueCodec};
/// use millpond::testing::Driver;
/// use millpond::{Error, GraphBuilder, Topic};
/// use std::fmt;
/// use std::sync::{Arc, OnceLock};
///
/// #[derive(Debug, Default)]
/// struct Names(OnceLock<Vec<String>>);
///
/// impl fmt::Display for Names {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         f.write_str("the list of names")
///     }
/// }
///
/// impl Awaited for Names {
///     fn fetch(&self) -> Result<(), Error> {
///         // Here a service would be asked, and `Error::unavailable` be answered while it is away.
///         self.0.get_or_init(|| vec!["Lisbon".to_owned(), "Porto".to_owned()]);
///         Ok(())
///     }
/// }
///
/// struct ByNumber(Arc<Names>);
///
/// impl ValueCodec<String> for ByNumber {
///     fn id(&self) -> &'static str {
///         "name by number"
///     }
///
///     fn encode(&self, name: &String, out: &mut Vec<u8>) -> Result<(), CodecError> {
///         let unknown = || CodecError::new(format!("{name} is not in the list"));
///         let number = self.0.0.get().and_then(|names| names.iter().position(|known| known == name));
///         out.push(number.and_then(|number| u8::try_from(number).ok()).ok_or_else(unknown)?);
///         Ok(())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<String, CodecError> {
///         let Some(names) = self.0.0.get() else { return Err(CodecError::awaits(self.0.clone())) };
///         let refuse = || CodecError::new(format!("{bytes:?} is no number of a name"));
///         match bytes {
///             [number] => names.get(usize::from(*number)).cloned().ok_or_else(refuse),
///             _ => Err(refuse()),
///         }
///     }
///
///     fn awaits(&self) -> bool {
///         true
///     }
/// }
///
/// let names = Arc::new(Names::default());
/// let visits = Topic::<u8, String>::with_codec("visits", ByNumber(names.clone()));
/// let graph = GraphBuilder::new();
/// let latest = graph.table(&visits, "latest");
/// let mut driver = Driver::new(&graph.build()?)?;
/// # use millpond::{TopicPartition, changelog::Record};
/// driver.append(TopicPartition::new("visits", 0), vec![Record::new(vec![7], vec![1])])?;
/// assert!(names.0.get().is_none());
/// driver.run()?; // the record waits until the list is there
/// assert_eq!(driver.table(&latest)?[&7], "Porto");
/// # Ok::<(), millpond::Error>(())
/// ```
pub trait Awaited: fmt::Debug + fmt::Display + Send + Sync {
    /// Fetches it, on a thread that may wait.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be had now: it is tried again after a while, for as long as it takes, and the fold waits.
    /// Any other error stops the engine, in front of the record, and says what to do.
    fn fetch(&self) -> Result<()>;
}
