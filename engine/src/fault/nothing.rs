//! What a fault point is in a release: nothing.

use crate::Result;

/// Passes the point `_name`, at which nothing ever happens.
#[expect(clippy::unnecessary_wraps, reason = "with the feature `fault-injection` it may fail")]
#[inline]
pub(crate) fn point(_name: &'static str) -> Result<()> {
    Ok(())
}
