//! Text as UTF-8 and nothing around it, as Java's `StringSerializer` writes it.

use crate::codec::shape::{Trust, is_ours_or_of_std};
use crate::codec::{CodecError, Shape, ValueCodec};
use std::any::type_name;
use std::fmt::Display;

/// Text as its UTF-8, as Java's `StringSerializer` writes it.
///
/// For whatever is a `str` inside and can be made of a `String`: `String`, `Box<str>`, `Arc<str>`, and a newtype of yours
/// that has `AsRef<str>` and `From<String>`, or `TryFrom<String>` if not every text is one of them.
///
/// # Examples
/// ```
/// use millpond::codec::Utf8;
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Key, Topic};
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// struct Airport(String);
///
/// impl AsRef<str> for Airport {
///     fn as_ref(&self) -> &str {
///         &self.0
///     }
/// }
///
/// impl TryFrom<String> for Airport {
///     type Error = String;
///
///     fn try_from(code: String) -> Result<Self, String> {
///         if code.len() == 3 { Ok(Self(code)) } else { Err(format!("`{code}` is no code of an airport")) }
///     }
/// }
///
/// let flights = Topic::<Airport, u64>::new("flights").keys(Utf8);
/// let graph = GraphBuilder::new();
/// let counts = graph.stream(&flights).group_by_key().count("counts");
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&flights, Airport("LHR".into()), 1, 0)?;
/// driver.run()?;
/// assert_eq!(driver.table(&counts)?, [(Airport("LHR".into()), 1)].into());
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "StringSerializer")]
#[doc(alias = "StringSerde")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Utf8;

impl<T> ValueCodec<T> for Utf8
where
    T: AsRef<str> + TryFrom<String, Error: Display>,
{
    fn id(&self) -> &'static str {
        "utf8"
    }

    #[inline]
    fn encode(&self, text: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(text.as_ref().as_bytes());
        Ok(())
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let text =
            std::str::from_utf8(bytes).map_err(|error| CodecError::new(format!("no text: {error}")))?;
        T::try_from(text.to_owned()).map_err(|error| CodecError::new(error.to_string()))
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        // A newtype may make another text of the one that it is given.
        let trust = if is_ours_or_of_std(type_name::<T>()) { Trust::Proven } else { Trust::Likely };
        Ok(Shape::of_layout("string", trust))
    }
}
