//! Topics that have got more partitions while they are read.
//!
//! The engine that cuts epochs reads a new partition from its first record on as soon as the log tells of it. One that follows
//! another reads it once a mark names it, or it would fold records in another epoch than the one that leads. A build reads it
//! once the main task does: of a partition that only the build had read, tables that go on would miss what was read.

use super::{Core, Task};
use crate::changelog::Role;
use crate::{ErrorKind, Result, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many partitions there were of each topic when it was looked at last.
pub(super) type Counts = BTreeMap<Arc<str>, u32>;

impl Core {
    /// Reads the partitions that were added to topics since.
    ///
    /// # Errors
    /// `BehindChangelog` and others, as for whoever opens it.
    pub(super) fn read_what_was_added(&mut self) -> Result<()> {
        let setting = Arc::clone(self.service.setting());
        // In a log that is one sequence their number is fixed.
        if setting.abilities.one_sequence {
            return Ok(());
        }
        let leads = setting.role() == Role::Holder;
        for topic in setting.graph.topics.iter().filter(|topic| topic.read) {
            let count = match setting.changelog.partitions(&topic.name) {
                Ok(Some(count)) => count,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::Unavailable => continue,
                Err(error) => return Err(error),
            };
            if self.partitions.get(&topic.name).is_some_and(|known| *known >= count) {
                continue;
            }
            let ids = (0..count).map(|number| TopicPartition::new(Arc::clone(&topic.name), number));
            let mut all = true;
            for id in ids {
                all &= leads && !is_unavailable(self.main.read_added(&id))?;
                let of_main = self.main.reads_topic(&id.topic);
                if let Some(build) = &mut self.build
                    && (!of_main || self.main.reads(&id))
                {
                    all &= !is_unavailable(build.task.read_added(&id))?;
                }
            }
            if all {
                self.partitions.insert(Arc::clone(&topic.name), count);
            }
        }
        Ok(())
    }
}

/// Whether it has to be tried again.
fn is_unavailable(added: Result<()>) -> Result<bool> {
    match added {
        Err(error) if error.kind() == ErrorKind::Unavailable => Ok(true),
        added => added.map(|()| false),
    }
}

impl Task {
    fn read_added(&mut self, id: &TopicPartition) -> Result<()> {
        if self.reads_topic(&id.topic) { self.input.add(id) } else { Ok(()) }
    }

    pub(super) fn reads(&self, id: &TopicPartition) -> bool {
        self.input.reads(id)
    }

    fn reads_topic(&self, topic: &str) -> bool {
        self.plan.sources.iter().any(|(known, _)| **known == *topic)
    }
}
