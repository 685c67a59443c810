//! What tests expect of errors: their kind, and what they say.

use millpond::{Error, ErrorKind, Result};

/// The error of `result`, which must be one of this kind that says all of `parts`.
#[track_caller]
pub fn refused<T>(result: Result<T>, kind: ErrorKind, parts: &[&str]) -> Error {
    let Err(error) = result else { panic!("it went well; expected {kind:?}, {parts:?}") };
    assert_eq!(error.kind(), kind, "{error}");
    says(&error, parts);
    error
}

/// Checks that `error` says all of `parts`.
#[track_caller]
pub fn says(error: &Error, parts: &[&str]) {
    for part in parts {
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
}
