//! The row of a group: how many members it has, and what they were folded into.
//!
//! Invariant: it is written as serde writes a struct of the two fields, in the layout of the value's own codec. So did 0.1,
//! whose states must still open. Readers are shown the value alone; a row that differs in its members only has not changed
//! for them.

use super::{Bincode, CodecError, Json, Shape, ValueCodec};
use std::sync::Arc;

/// What is stored of a group. Whoever asks for it is shown the value; the number of members tells when the group is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouped<A> {
    /// How many members: at least one.
    pub members: u64,
    /// What they were folded into.
    pub value: A,
}

/// A codec of the rows of a table, of which readers may be shown a part only.
pub(crate) trait RowCodec<R>: ValueCodec<R> {
    /// Appends what readers are shown of `row`, in a form that tells it from any other.
    ///
    /// # Errors
    /// If the row cannot be represented.
    fn encode_shown(&self, row: &R, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.encode(row, out)
    }
}

/// Writes the number of members before the value.
pub(crate) struct GroupedCodec<A: 'static> {
    value: Arc<dyn RowCodec<A>>,
    /// Whether the value has a place in a JSON object, or stands behind a number in the layout of [`Bincode`].
    is_json: bool,
}

const MEMBERS: &[u8] = br#"{"members":"#;
const VALUE: &[u8] = br#","value":"#;
const END: &[u8] = b"}";

impl<A> GroupedCodec<A> {
    pub(crate) fn new(value: Arc<dyn RowCodec<A>>) -> Self {
        let is_json = value.id() == ValueCodec::<()>::id(&Json);
        Self { value, is_json }
    }

    /// The number of members at the beginning of `bytes`, and the value's bytes.
    fn split<'b>(&self, bytes: &'b [u8]) -> Option<(u64, &'b [u8])> {
        if self.is_json {
            let rest = bytes.strip_prefix(MEMBERS)?;
            let (digits, value) = rest.split_at_checked(rest.iter().position(|byte| *byte == b',')?)?;
            let members = std::str::from_utf8(digits).ok()?.parse().ok()?;
            return Some((members, value.strip_prefix(VALUE)?.strip_suffix(END)?));
        }
        // The first byte of an integer tells how many follow.
        let length = match bytes.first()? {
            251 => 3,
            252 => 5,
            253 => 9,
            _ => 1,
        };
        let (members, value) = bytes.split_at_checked(length)?;
        Some((Bincode.decode(members).ok()?, value))
    }
}

impl<A> ValueCodec<Grouped<A>> for GroupedCodec<A> {
    fn id(&self) -> &'static str {
        self.value.id()
    }

    fn encode(&self, row: &Grouped<A>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        let written = if self.is_json {
            out.extend_from_slice(MEMBERS);
            out.extend_from_slice(row.members.to_string().as_bytes());
            out.extend_from_slice(VALUE);
            self.value.encode(&row.value, out).map(|()| out.extend_from_slice(END))
        } else {
            Bincode.encode(&row.members, out).and_then(|()| self.value.encode(&row.value, out))
        };
        written.inspect_err(|_| out.truncate(start))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Grouped<A>, CodecError> {
        let (members, value) = self.split(bytes).ok_or_else(|| {
            CodecError::new("the row of a group does not begin with the number of its members")
        })?;
        Ok(Grouped { members, value: self.value.decode(value)? })
    }

    fn awaits(&self) -> bool {
        self.value.awaits()
    }

    fn owned_bytes(&self, row: &Grouped<A>) -> Option<usize> {
        self.value.owned_bytes(&row.value)
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(self.value.shape()?.in_group())
    }
}

impl<A> RowCodec<Grouped<A>> for GroupedCodec<A> {
    fn encode_shown(&self, row: &Grouped<A>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.value.encode_shown(&row.value, out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CheckedCodec, Raw};
    use super::*;
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};
    use std::collections::{BTreeMap, HashMap};

    /// The rows as 0.1 had them.
    mod former {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(super) struct Grouped<A> {
            pub(super) members: u64,
            pub(super) value: A,
        }
    }

    fn codec<A: 'static>(of_value: impl ValueCodec<A>) -> GroupedCodec<A> {
        GroupedCodec::new(Arc::new(CheckedCodec::new::<A>(of_value)))
    }

    fn as_before<A>(
        of_value: impl ValueCodec<A>,
        former: &impl ValueCodec<former::Grouped<A>>,
        members: u64,
        value: &A,
    ) where
        A: Clone + PartialEq + std::fmt::Debug + 'static,
    {
        let (mut bytes, mut then) = (vec![7], vec![7]);
        let codec = codec(of_value);
        let row = Grouped { members, value: value.clone() };
        codec.encode(&row, &mut bytes).unwrap();
        former.encode(&former::Grouped { members, value: value.clone() }, &mut then).unwrap();
        assert_eq!(bytes, then);
        assert_eq!(codec.decode(&bytes[1..]).unwrap(), row);
        for end in 1..bytes.len() {
            assert!(codec.decode(&bytes[1..end]).is_err(), "cut at {end}");
        }
    }

    fn looks_as_before<A: Clone + Serialize + DeserializeOwned + 'static>() {
        let now = [codec::<A>(Bincode).shape().unwrap(), codec::<A>(Json).shape().unwrap()];
        let then = [
            ValueCodec::<former::Grouped<A>>::shape(&Bincode).unwrap(),
            ValueCodec::<former::Grouped<A>>::shape(&Json).unwrap(),
        ];
        for (now, then) in now.iter().zip(&then) {
            assert_eq!(now.difference_from(&then.to_text()), None);
            assert_eq!(now.node().has_gaps(), then.node().has_gaps());
            assert_eq!(now.is_unordered(), then.is_unordered());
            assert_eq!(now.may_refuse(), then.may_refuse());
        }
        assert_eq!(now[0].to_text(), then[0].to_text());
    }

    proptest! {
        #[test]
        fn rows_are_written_as_by_serde(members in 1_u64.., value in any::<(i64, String, Option<Vec<u8>>)>()) {
            as_before(Bincode, &Bincode, members, &value);
            as_before(Json, &Json, members, &value);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in any::<Vec<u8>>()) {
            for codec in [codec::<String>(Bincode), codec::<String>(Json)] {
                if let Ok(row) = codec.decode(&bytes) {
                    let mut again = Vec::new();
                    codec.encode(&row, &mut again).unwrap();
                    prop_assert_eq!(codec.decode(&again), Ok(row));
                }
            }
        }
    }

    #[test]
    fn the_number_of_members_takes_one_to_nine_bytes() {
        for members in [1, 250, 251, 65_535, 65_536, u64::from(u32::MAX), u64::MAX] {
            as_before(Bincode, &Bincode, members, &1_u8);
            as_before(Json, &Json, members, &1_u8);
        }
    }

    #[test]
    fn shapes_are_those_that_states_remember() {
        #[derive(Clone, Serialize, Deserialize)]
        enum Kind {
            Plain,
            With {
                name: String,
                #[serde(default)]
                tags: Vec<(u8, Option<i32>)>,
            },
        }
        looks_as_before::<u64>();
        looks_as_before::<i128>();
        looks_as_before::<Option<String>>();
        looks_as_before::<BTreeMap<String, u64>>();
        looks_as_before::<HashMap<String, f64>>();
        looks_as_before::<Kind>();
    }

    #[test]
    fn readers_are_not_shown_the_members() {
        let shown = |members| {
            let mut bytes = Vec::new();
            codec::<Vec<u8>>(Raw).encode_shown(&Grouped { members, value: vec![1, 2] }, &mut bytes).unwrap();
            bytes
        };
        assert_eq!((shown(1), shown(2)), (vec![1, 2], vec![1, 2]));
    }

    #[test]
    fn a_codec_of_ones_own_stands_behind_the_number() {
        let codec = codec::<Vec<u8>>(Raw);
        let mut bytes = Vec::new();
        codec.encode(&Grouped { members: 300, value: vec![9, 8] }, &mut bytes).unwrap();
        assert_eq!(bytes, [251, 44, 1, 9, 8]);
        assert_eq!(codec.decode(&bytes).unwrap().value, [9, 8]);
    }
}
