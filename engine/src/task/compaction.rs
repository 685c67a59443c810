//! Compacted topics: what may be folded of one, and for how long a state may leave it alone.
//!
//! A compacted topic keeps the last record of each key. What was before it is there or not, so that a fold of all records
//! would differ after a rebuild. And a tombstone goes some time after what it deletes: a state that has the row, and reads on
//! only then, never hears of the deletion. So it is noted until when all was folded that such topics had then; a state for which
//! that is too long ago is refused. A position that is durable is not enough: it may have been behind.

use super::Setting;
use super::catalogue::{TaskGroup, topics_of};
use crate::clock::millis;
use crate::store::StateStore;
use crate::store::layout::{self, TableId};
use crate::time::Reached;
use crate::{Error, ErrorKind, Position, Result, TopicPartition};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// After this part of the time for which tombstones stay, a state that has not read on is refused: it still has to read what there
/// is meanwhile.
const PATIENCE: u32 = 2;

/// It is noted that often in this time.
const NOTES: u32 = 32;

/// Refuses to read a compacted topic as a stream.
///
/// # Errors
/// `Invalid`; `Unavailable` if the log cannot be reached.
pub(super) fn check_sources(setting: &Setting, there: &BTreeMap<Arc<str>, u32>) -> Result<()> {
    let sources = setting.graph.nodes.iter().filter(|node| !node.latest_only);
    for topic in sources.filter_map(|node| node.topic()).filter(|topic| there.contains_key(*topic)) {
        if setting.changelog.compaction(topic)?.is_some() {
            return Err(Error::invalid(format!(
                "topic {topic} is compacted, and the graph reads it as a stream, which would have other records whenever it is read \
                 again; read it as a table (`GraphBuilder::table`), say that nothing counts but the last record of each key \
                 (`Topic::latest_only`), or have the topic keep all records (`cleanup.policy=delete`)"
            )));
        }
    }
    Ok(())
}

/// Until when a task had folded all that its compacted topics had then.
#[derive(Debug)]
pub(super) struct FoldedUntil {
    group: u16,
    /// The compacted topics of the graph, with the time for which tombstones stay.
    topics: BTreeMap<Arc<str>, Duration>,
    /// Whether rows of the group depend on one of them, as it is opened.
    depends: bool,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    /// What the state has, in milliseconds; none if it has none.
    stored_ms: Option<i64>,
    /// When it was last tried to find out more.
    tried_ms: Option<i64>,
    /// Where the topics ended at a later moment.
    next: Option<(i64, Position)>,
}

impl FoldedUntil {
    /// Looks which topics of the graph are compacted, and what is known of them in `group`, which has the tables with these ids and
    /// of which is stored that it stands at `position`.
    ///
    /// # Errors
    /// `Unavailable` if the log cannot be reached; `Corrupt`.
    pub(super) fn open(
        setting: &Setting,
        store: &dyn StateStore,
        ids: &[Option<TableId>],
        position: &Position,
        group: u16,
    ) -> Result<Self> {
        let mut topics = BTreeMap::new();
        for topic in setting.graph.topics.iter().filter(|topic| topic.read) {
            if let Some(compaction) = setting.changelog.compaction(&topic.name)? {
                topics.insert(Arc::clone(&topic.name), compaction.delete_retention);
            }
        }
        let mut stored = Ok(None);
        // What is there of a build that was given up says nothing of this one.
        if topics.keys().any(|topic| has_read(position, topic)) {
            store.read(&layout::folded_until_key(group), &mut |row| {
                stored = row.map(layout::decode_folded_until).transpose();
            })?;
        }
        let stored_ms = stored?;
        let depends = topics_of(&setting.graph, ids).iter().any(|topic| topics.contains_key(*topic));
        // Rows that are not there yet lack no deletion.
        let begins = stored_ms.is_none() && !topics.keys().any(|topic| has_read(position, topic));
        let next = begins.then(|| (setting.clock.now_ms(), Position::new()));
        Ok(Self { group, topics, depends, noted: Mutex::new(Noted { stored_ms, tried_ms: None, next }) })
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be stored with rows at `position`, or by itself if all up to there is stored; none as long as it was stored
    /// lately.
    pub(super) fn row(&self, setting: &Setting, position: &Position) -> Option<FoldedUntilRow> {
        let often_ms = millis(*self.topics.values().min()? / NOTES);
        let mut noted = self.noted();
        let now_ms = setting.clock.now_ms();
        if noted.next.is_none() {
            let last_ms = noted.stored_ms.max(noted.tried_ms);
            if last_ms.is_some_and(|last_ms| now_ms.saturating_sub(last_ms) < often_ms) {
                return None;
            }
            // A log that is away is not asked at every drain.
            noted.tried_ms = Some(now_ms);
            noted.next = Some((now_ms, self.ends(setting, position).ok()?));
        }
        let at_ms =
            noted.next.as_ref().filter(|(_, ends)| position.includes(ends)).map(|(at_ms, _)| *at_ms)?;
        (noted.stored_ms, noted.next) = (Some(at_ms), None);
        Some(row(self.group, at_ms))
    }

    /// What is to be stored before the tables of `build` become this group's, of which no row
    /// depends on a compacted topic.
    pub(super) fn row_of_build(&self, build: &Self) -> Option<FoldedUntilRow> {
        let at_ms = build.noted().stored_ms.filter(|_| !self.depends)?;
        self.noted().stored_ms = Some(at_ms);
        Some(row(self.group, at_ms))
    }

    /// Where the partitions end now.
    fn ends(&self, setting: &Setting, position: &Position) -> Result<Position> {
        let read = position.iter().filter(|(id, _)| self.topics.contains_key(&id.topic));
        let end = |id: &TopicPartition| Ok((id.clone(), setting.changelog.latest_offsets(id)?.end));
        read.map(|(id, _)| end(id)).collect()
    }
}

/// A row of the state: key and value.
pub(super) type FoldedUntilRow = (Vec<u8>, Vec<u8>);

fn row(group: u16, at_ms: i64) -> FoldedUntilRow {
    (layout::folded_until_key(group).to_vec(), layout::encode_folded_until(at_ms))
}

/// Refuses a group whose rows depend on a compacted topic that was left alone for too long.
///
/// # Errors
/// `BehindChangelog` if deletions may have been missed; as for [`FoldedUntil::open`].
pub(super) fn check_group(
    setting: &Setting,
    store: &dyn StateStore,
    group: &TaskGroup,
    number: u16,
) -> Result<()> {
    let TaskGroup { ids, reached: Reached { position, .. }, .. } = group;
    let until = FoldedUntil::open(setting, store, ids, position, number)?;
    let Some(stored_ms) = until.noted().stored_ms else { return Ok(()) };
    let for_ms = setting.clock.now_ms().saturating_sub(stored_ms);
    for topic in group.depends_on(&setting.graph) {
        if let Some(stays) = until.topics.get(topic)
            && has_read(position, topic)
            && for_ms > millis(*stays / PATIENCE)
        {
            return Err(missed(topic, *stays));
        }
    }
    Ok(())
}

fn has_read(position: &Position, topic: &str) -> bool {
    position.iter().any(|(id, next)| *id.topic == *topic && next > 0)
}

fn missed(topic: &str, stays: Duration) -> Error {
    let (stays, most) = (stays.as_secs(), (stays / PATIENCE).as_secs());
    Error::new(
        ErrorKind::BehindChangelog,
        format!(
            "topic {topic} is compacted, and its tombstones stay for {stays} s (`delete.retention.ms`); the state has not folded all \
             of it for more than {most} s, so that deletions may be gone that it has not heard of, and rows would stay that were \
             deleted. Delete the state directory, or raise the versions of the tables that are made of the topic, to have them \
             built anew; and give the topic a longer `delete.retention.ms` if a process is to be stopped for that long"
        ),
    )
}
