//! Why a value is not read or written, in words of the layout and not of the crate.
//!
//! IMPORTANT: Dead letters have these words in their headers, and are told from others by them. With other words than those of
//! 0.1, a table that is built anew would write the letters of records that do not decode once more.

use super::guard::GuardRefusal;
use ::bincode::error::{DecodeError, EncodeError};
use std::fmt;

/// Why a value is not read or written. It is not [`CodecError`](super::CodecError), which tells nothing but the message.
#[derive(Debug)]
pub(super) struct CodecFailure {
    message: Box<str>,
    /// Whether the type itself says so, and not the layout.
    pub(super) by_type_itself: bool,
}

impl CodecFailure {
    /// What the layout cannot hold, or does not allow.
    #[cold]
    pub(super) fn of_layout(message: impl Into<Box<str>>) -> Self {
        Self { message: message.into(), by_type_itself: false }
    }

    #[cold]
    fn of_type(message: String) -> Self {
        Self { message: message.into(), by_type_itself: true }
    }

    #[cold]
    pub(super) fn of_writing(error: EncodeError, refusal: Option<GuardRefusal>) -> Self {
        if let Some(refusal) = refusal {
            return Self::of_layout(refusal.message());
        }
        match error {
            EncodeError::OtherString(message) => Self::of_type(message),
            EncodeError::Serde(::bincode::serde::EncodeError::SequenceMustHaveLength) => {
                Self::of_layout("the length of a sequence or map is not known beforehand (`flatten`?)")
            }
            other => Self::of_layout(other.to_string()),
        }
    }

    /// What the [input](super::input) adds nothing to.
    #[cold]
    pub(super) fn of_reading(error: DecodeError) -> Self {
        match error {
            DecodeError::OtherString(message) => Self::of_type(message),
            DecodeError::InvalidBooleanValue(byte) => Self::of_layout(not_first_byte(byte.into(), "a bool")),
            DecodeError::UnexpectedVariant { found, .. } => {
                Self::of_layout(not_first_byte(found, "an option"))
            }
            DecodeError::InvalidCharEncoding(_) => Self::of_layout("a string is not UTF-8"),
            DecodeError::Serde(_) => Self::of_layout(
                "the layout does not describe itself, so it cannot hold a type that is untagged, flattened, \
                 internally tagged or skips unknown data; use `Json` for it",
            ),
            other => Self::of_layout(other.to_string()),
        }
    }
}

fn not_first_byte(byte: u32, of: &str) -> String {
    format!("{byte:#04x} is not the first byte of {of}")
}

impl fmt::Display for CodecFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
