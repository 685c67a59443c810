//! Origins: which topics the rows of a state came from, so that it is found out if one was deleted and made anew meanwhile.
//!
//! Offsets do not tell: a new topic has them too, and once it is longer than the old one was, a state would go on with its
//! records behind rows of the other. So the state notes the identity of each topic it reads, as the log gives it, with every
//! drain; it is compared when the state is opened, and with every drain while it runs. What was noted is that of the topic as it
//! was when its readers were opened, and never that of one that has taken its place since.

use super::Setting;
use crate::store::StateStore;
use crate::store::layout;
use crate::{Error, ErrorKind, Position, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The identities of the topics that a task reads; of those of which the log tells one.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<Arc<str>, String>);

impl Origins {
    /// Asks for those of `topics`, and compares them with what is stored. A topic of which nothing was read yet, which is what
    /// `read` says of all groups, may be another one.
    ///
    /// # Errors
    /// `AheadOfChangelog` if one was made anew; `Unavailable` if the log cannot be reached; `Corrupt`.
    pub(super) fn open<'t>(
        setting: &Setting,
        store: &dyn StateStore,
        topics: impl Iterator<Item = &'t Arc<str>>,
        read: &[Position],
    ) -> Result<Self> {
        let mut identities = BTreeMap::new();
        for topic in topics {
            let Some(identity) = setting.changelog.topic_identity(topic)? else { continue };
            let mut stored = Ok(None);
            store.read(&layout::topic_key(topic), &mut |row| {
                stored = row.map(layout::decode_topic_identity).transpose();
            })?;
            let has_read =
                read.iter().flat_map(Position::iter).any(|(id, next)| id.topic == *topic && next > 0);
            if has_read && stored?.is_some_and(|stored| stored != identity) {
                return Err(made_anew(topic));
            }
            identities.insert(Arc::clone(topic), identity);
        }
        Ok(Self(identities))
    }

    /// The rows that are stored with a drain, in the order of their keys.
    ///
    /// # Errors
    /// `AheadOfChangelog` if a topic was made anew since its readers were opened: what was folded may be of either.
    pub(super) fn rows(&self, setting: &Setting) -> Result<impl Iterator<Item = (Vec<u8>, Vec<u8>)>> {
        for (topic, identity) in &self.0 {
            // Whether the log can be reached says nothing of the topic.
            let now = setting.changelog.topic_identity(topic).ok().flatten();
            if now.is_some_and(|now| now != *identity) {
                return Err(made_anew(topic));
            }
        }
        let row = |(topic, identity): (&Arc<str>, &String)| {
            (layout::topic_key(topic), layout::encode_topic_identity(identity))
        };
        Ok(self.0.iter().map(row))
    }
}

fn made_anew(topic: &str) -> Error {
    Error::new(
        ErrorKind::AheadOfChangelog,
        format!(
            "topic {topic} was deleted and made anew since the state was folded from it, so that its offsets are those of other \
             records now; delete the state directory to fold the new topic from its beginning, or restore the old one"
        ),
    )
}
