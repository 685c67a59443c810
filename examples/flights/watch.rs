//! A row that is watched: it is shown whenever it changes.

use super::Failure;
use super::line::Line;
use super::questions::{Changes, Row};
use futures_util::StreamExt;
use std::pin::pin;

/// Tells every change until there are no more or `ended` is; what has changed before that is told first.
pub(crate) fn follow(
    mut changes: Changes,
    ended: impl Future<Output = ()>,
    mut tell: impl FnMut(Option<Line>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let mut ended = pin!(ended);
        loop {
            tokio::select! {
                biased;
                change = changes.next() => match change {
                    Some(row) => tell(row?)?,
                    None => return Ok(()),
                },
                () = &mut ended => return Ok(()),
            }
        }
    })
}

/// For people.
pub(crate) fn words(row: &Row, line: Option<Line>) -> String {
    line.map_or_else(|| format!("nothing is known of {row}"), |line| line.words())
}
