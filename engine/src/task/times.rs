//! How far partitions have come in time where the state does not say it: one of a release that did not note it.

use super::Setting;
use crate::changelog::{max_timestamp_at, read_below};
use crate::time::{NEVER, Reached, StreamTimes};
use crate::{Position, Result, TopicPartition};
use std::borrow::Cow;

/// How far the partitions of a group have come in time. If that was never noted, it is looked up in what the log still has of what
/// the group has read: once, as the next drain notes it.
///
/// # Errors
/// An error of the changelog.
pub(super) fn known(setting: &Setting, reached: Reached) -> Result<Reached> {
    if !reached.is_timeless {
        return Ok(reached);
    }
    let (position, mut times) = (reached.position, StreamTimes::default());
    for (id, next) in position.iter() {
        // What those say who read it is not known before it is decoded.
        let is_read = next > 0 && setting.graph.reads(&id.topic) && !setting.graph.dates(&id.topic);
        let shown = if is_read { shown_below(setting, id, next)? } else { None };
        // All that it names have a part in time.
        times.raise(id, shown.unwrap_or(NEVER));
    }
    Ok(Reached::new(position, times))
}

/// Raises `times` to what the log knows of records that it has dropped before where it is read, which a state that begins with what is
/// left has never seen.
///
/// # Errors
/// An error of the changelog.
pub(super) fn take_in_what_was_dropped(
    setting: &Setting,
    position: &Position,
    times: &mut StreamTimes,
) -> Result<()> {
    // Of topics whose records are dated by those who read them the log does not know it.
    let known = |name: &str| setting.graph.reads(name) && !setting.graph.dates(name);
    for topic in setting.graph.topics.iter().filter(|topic| known(&topic.name)) {
        let ids: Vec<_> = position.iter().map(|(id, _)| id).filter(|id| id.topic == topic.name).collect();
        let dropped = ids.iter().map(|id| setting.changelog.dropped_ms(id)).collect::<Result<Vec<_>>>()?;
        // One that has lost nothing begins with nothing, and not where the others of its topic stand.
        let begins = dropped.iter().any(Option::is_some) && ids.iter().all(|id| times.of(id).is_none());
        for (id, dropped_ms) in ids.into_iter().zip(dropped) {
            dropped_ms.or(begins.then_some(NEVER)).into_iter().for_each(|time_ms| times.raise(id, time_ms));
        }
    }
    Ok(())
}

/// The greatest timestamp that `id` still has below the offset `end`.
fn shown_below(setting: &Setting, id: &TopicPartition, end: u64) -> Result<Option<i64>> {
    let kept = setting.changelog.offsets(id)?;
    if kept.start >= end.min(kept.end) {
        return Ok(None);
    }
    let mut reader = setting.changelog.reader(id, kept.start)?;
    let mut shown: Option<i64> = None;
    read_below(&mut *reader, end.min(kept.end), |batch| {
        let greatest = max_timestamp_at(batch, &(0..end), || batch.decode().map(Cow::Owned))?;
        shown = shown.max(greatest);
        Ok(())
    })?;
    Ok(shown)
}
