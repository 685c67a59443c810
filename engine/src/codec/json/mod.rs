//! Values as JSON, for tables that other programs read or whose types change by adding fields.

mod faithful;

use super::examine::{Examined, Refusal, examine};
use super::{CodecError, Growth, Shape, ValueCodec, footprint};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::ser::Formatter;
use std::io;

/// How many arrays and objects may stand inside one another: what the decoder of `serde_json` accepts.
const DEPTH_LIMIT: u32 = 127;

/// Stores a value as JSON without white space.
///
/// JSON describes itself, so a type may gain fields (with `#[serde(default)]`) and every attribute of serde
/// works. It costs several times the time and space of [`Bincode`](super::Bincode).
///
/// Not every value has a JSON form that decodes to it again. A float that is infinite or not a number, a value that is
/// there and written as `null` (`Some(None)`, `Some(())`), a map whose keys are not strings, numbers, `bool`s or unit
/// variants, and a value nested deeper than 127 arrays and objects, are refused by `encode`.
///
/// # Examples
/// ```
/// use millpond::codec::{Json, ValueCodec};
///
/// let mut stored = Vec::new();
/// Json.encode(&(7_u32, "LHR".to_owned()), &mut stored)?;
/// assert_eq!(stored, br#"[7,"LHR"]"#);
/// let value: (u32, String) = Json.decode(&stored)?;
/// assert_eq!(value.1, "LHR");
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl<V: Serialize + DeserializeOwned> ValueCodec<V> for Json {
    fn id(&self) -> &'static str {
        "json"
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode(value, out).map_err(|refusal| CodecError::new(refusal.message))
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        serde_json::from_slice(bytes).map_err(|error| CodecError::new(format!("bad JSON: {error}")))
    }

    fn owned_bytes(&self, value: &V) -> Option<usize> {
        footprint::of(value)
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        let shape = examine(
            self,
            &Examined {
                encode: &encode::<V>,
                human_readable: true,
                growth: Growth::Fields,
                advice: "keep maps whose keys are not texts in `Bincode`, or as lists of pairs",
            },
        )?;
        let refuses = !shape.node().is_all_json();
        Ok(shape.refusing(refuses))
    }
}

fn encode<V: Serialize>(value: &V, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let refused = |error: &dyn std::fmt::Display| format!("the value has no JSON form: {error}");
    faithful::check(value).map_err(|error| Refusal { message: refused(&error), of_type: false })?;
    let start = out.len();
    let mut writer = serde_json::Serializer::with_formatter(&mut *out, Compact::default());
    value.serialize(&mut writer).map_err(|error| {
        out.truncate(start);
        // The syntax of keys depends on their type, but for floats that are no numbers.
        Refusal { message: refused(&error), of_type: error.is_syntax() }
    })
}

/// Writes no white space, and refuses what the decoder would refuse: a value that was stored but cannot be
/// read again would stop its table for good.
#[derive(Default)]
struct Compact {
    depth: u32,
}

impl Compact {
    fn enter(&mut self) -> io::Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(io::Error::other(format!("nested deeper than {DEPTH_LIMIT} arrays and objects")));
        }
        Ok(())
    }
}

impl Formatter for Compact {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter()?;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::HashMap;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Nested {
        Leaf,
        Branch(Vec<Nested>),
    }

    fn nested(levels: usize) -> Nested {
        (0..levels).fold(Nested::Leaf, |inner, _| Nested::Branch(vec![inner]))
    }

    fn encode<V: Serialize + DeserializeOwned>(value: &V) -> Result<Vec<u8>, CodecError> {
        let mut out = b"before".to_vec();
        let result = Json.encode(value, &mut out);
        assert!(out.starts_with(b"before"), "encoding appends");
        if result.is_err() {
            assert_eq!(out, b"before", "a refused value leaves the output as it was");
        }
        result.map(|()| out.split_off(6))
    }

    proptest! {
        #[test]
        fn values_round_trip(
            text in ".*",
            map in proptest::collection::btree_map(any::<i64>(), any::<Option<u8>>(), 0..5),
            list in proptest::collection::vec(any::<(u128, bool, char)>(), 0..5),
        ) {
            let value = (text, map, list);
            let bytes = encode(&value).unwrap();
            prop_assert_eq!(&bytes, &serde_json::to_vec(&value).unwrap());
            prop_assert_eq!(Json.decode(&bytes), Ok(value));
        }
    }

    #[test]
    fn the_layout_is_golden() {
        #[derive(Serialize, Deserialize)]
        struct Stop {
            at: String,
            minutes: Option<u32>,
        }
        let stops =
            vec![Stop { at: "LHR".into(), minutes: Some(5) }, Stop { at: "é\"".into(), minutes: None }];
        let golden = r#"[{"at":"LHR","minutes":5},{"at":"é\"","minutes":null}]"#;
        assert_eq!(encode(&stops).unwrap(), golden.as_bytes());
        assert_eq!(ValueCodec::<u8>::id(&Json), "json");
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let decoded: Result<u32, _> = Json.decode(b"1 2");
        assert!(decoded.unwrap_err().to_string().starts_with("bad JSON: trailing characters"));
    }

    #[test]
    fn what_would_not_decode_is_not_encoded() {
        // Each level is an object (the variant) and an array (its content).
        let deepest = nested(63);
        assert_eq!(Json.decode(&encode(&deepest).unwrap()), Ok(deepest));
        assert!(encode(&nested(64)).unwrap_err().to_string().contains("nested deeper than 127"));
        let open = vec![b'['; 1_000_000];
        let decoded: Result<Nested, _> = Json.decode(&open);
        assert!(decoded.is_err());
        assert!(encode(&HashMap::from([((1, 2), 3)])).is_err());
    }
}
