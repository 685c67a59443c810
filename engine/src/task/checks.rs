//! The checks of an opening: whatever can be refused is refused before anything is written, to the state or to the
//! changelog.

use super::catalogue::TaskGroup;
use super::input::first_to_read;
use super::origins::Origins;
use super::{FailurePolicy, Plan, Setting};
use crate::changelog::{Misfit, TopicConfig, TopicType};
use crate::graph::Graph;
use crate::store::StateStore;
use crate::store::layout;
use crate::time::Tick;
use crate::{Error, ErrorKind, Position, Result, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Refuses options that no state and no changelog could make right, before either is opened.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check_policy(name: &str, graph: &Graph, policy: &FailurePolicy) -> Result<()> {
    let letters = if let FailurePolicy::DeadLetter(topic) = policy { Some(topic) } else { None };
    let ticks = Tick::partition_of(name).topic;
    if graph.topics.iter().map(|used| &used.name).chain(letters).any(|used| *used == ticks) {
        return Err(Error::invalid(format!(
            "topic `{ticks}` is the engine's own, in which it notes how time has passed: give yours, or the engine, another name"
        )));
    }
    if let FailurePolicy::DeadLetter(topic) = policy
        && graph.topics.iter().any(|used| used.name == *topic)
    {
        return Err(Error::invalid(format!(
            "dead letters would go to topic `{topic}`, which the graph reads or writes: a record that fails would fail for \
             ever, or stand among others of another type; give them a topic of their own"
        )));
    }
    Ok(())
}

/// Goes on behind what retention has dropped of topics on which no row depends: a graph before this one had given them up,
/// or only streams read them.
///
/// # Errors
/// `BehindChangelog` unless that is allowed.
pub(super) fn pass_what_is_gone(
    setting: &Setting,
    there: &BTreeMap<Arc<str>, u32>,
    main: &mut TaskGroup,
) -> Result<()> {
    let depends_on = main.depends_on(&setting.graph);
    let read = |topic: &str| setting.graph.reads(topic) && there.contains_key(topic);
    for (id, next) in main.reached.position.clone().iter().filter(|(id, next)| *next > 0 && read(&id.topic)) {
        let begin = setting.changelog.offsets(id)?.start;
        if next >= begin || depends_on.contains(&*id.topic) {
            continue;
        }
        if !setting.from_oldest_kept {
            return Err(Error::new(
                ErrorKind::BehindChangelog,
                format!(
                    "the graph reads {id} again, of which it has seen what lies below offset {next}, and the changelog \
                     begins at {begin}; no table that is there depends on the records that are gone: open with \
                     `from_oldest_kept` to begin with what is left, or restore a copy of the changelog that reaches back"
                ),
            ));
        }
        tracing::warn!(partition = %id, next, begin, "going on behind records that retention has dropped");
        main.reached.position.set(id.clone(), begin);
    }
    Ok(())
}

/// Refuses a state that was not folded from this changelog, or has read what the changelog has given up since: other records
/// have the offsets of those now. `read` is what its groups have read, as it is stored.
pub(super) fn check_term(setting: &Setting, store: &dyn StateStore, read: &[Position]) -> Result<()> {
    let mut term = Ok(None);
    store.read(layout::TERM_KEY, &mut |stored| term = stored.map(layout::decode_term).transpose())?;
    let Some(term) = term? else { return Ok(()) };
    // Also of topics that the graph does not read now: a later one may, and takes up where they were left.
    let message = match term.check(&setting.changelog.terms()?, read.iter().flat_map(Position::iter)) {
        Ok(()) => return Ok(()),
        Err(Misfit::Foreign) => {
            "the state was folded from another changelog, or from a later copy of this one: put that back, or delete the \
             state directory, and it is folded again from this one"
                .to_owned()
        }
        Err(Misfit::GivenUp { partition, read, kept }) => format!(
            "the state includes {partition} up to offset {read}, but this changelog ended at {kept} before other records were \
             appended: it was opened with `salvage`, or put back as an older copy; delete the state directory, and it is \
             folded again from what the changelog has"
        ),
    };
    Err(Error::new(ErrorKind::AheadOfChangelog, message))
}

/// Refuses a state that was folded from other topics of the same names.
///
/// # Errors
/// As for [`Origins::open`].
pub(super) fn check_origins(
    setting: &Setting,
    store: &dyn StateStore,
    there: &BTreeMap<Arc<str>, u32>,
    read: &[Position],
) -> Result<()> {
    let topics = setting.graph.topics.iter().filter(|topic| topic.read && there.contains_key(&topic.name));
    Origins::open(setting, store, topics.map(|topic| &topic.name), read).map(drop)
}

/// Checks that the changelog fits both groups, as far as that can be told without writing to it.
pub(super) fn check_changelog(
    setting: &Setting,
    there: &BTreeMap<Arc<str>, u32>,
    (main, build): (&TaskGroup, Option<&TaskGroup>),
) -> Result<()> {
    check_topics(setting, there, &main.reached.position)?;
    check_input(setting, there, main)?;
    setting.changelog.epochs_after(&setting.name, &main.reached.position)?;
    let what = "tables that are new, or of another version, are built from where the others began (or of what is left, with \
                `from_oldest_kept`)";
    build.map_or(Ok(()), |build| check_input(setting, there, build)).map_err(|error| error.context(what))
}

/// Checks that the changelog holds what `group` has to read, from where it stands. A topic that is not there yet holds
/// nothing.
fn check_input(setting: &Setting, there: &BTreeMap<Arc<str>, u32>, group: &TaskGroup) -> Result<()> {
    for (topic, _) in Plan::new(&setting.graph, &group.nodes, setting.sets_aside())?.sources {
        for partition in 0..there.get(&topic).copied().unwrap_or(0) {
            let id = TopicPartition::new(Arc::clone(&topic), partition);
            let kept = setting.changelog.offsets(&id)?;
            first_to_read(setting, &id, &kept, group.reached.position.known(&id))?;
        }
    }
    Ok(())
}

/// Checks that the topics that are `there` fit the graph and hold what it has not folded yet.
fn check_topics(setting: &Setting, there: &BTreeMap<Arc<str>, u32>, position: &Position) -> Result<()> {
    for topic in setting.graph.topics.iter() {
        topic.config.check(&topic.name)?;
        if let Some(&partitions) = there.get(&topic.name) {
            topic.config.check_found(&topic.name, partitions)?;
            if let Some(found) =
                setting.changelog.topic_config(&topic.name)?.and_then(|found| found.timestamps)
            {
                topic.config.check_timestamps(&topic.name, found)?;
            }
            let holds = setting.changelog.topic_type(&topic.name)?;
            TopicType::declare(holds.as_ref(), &topic.holds)
                .map_err(|error| error.context(format!("topic `{}`", topic.name)))?;
        }
    }
    if let FailurePolicy::DeadLetter(topic) = &setting.policy {
        TopicConfig::default().check(topic)?;
        check_letters(setting, topic, there.get(topic).copied().unwrap_or(0))?;
    }
    for (id, next) in position.iter().filter(|(id, _)| setting.graph.reads(&id.topic)) {
        let kept =
            if there.contains_key(&id.topic) { setting.changelog.offsets(id)? } else { Range::default() };
        first_to_read(setting, id, &kept, Some(next))?;
    }
    Ok(())
}

/// Refuses to put dead letters among the records of others: into a topic of so many partitions that holds one type, and has
/// some. Whoever declared it and wrote nothing is a reader of dead letters.
fn check_letters(setting: &Setting, topic: &Arc<str>, partitions: u32) -> Result<()> {
    let holds_one = partitions > 0
        && setting.changelog.topic_type(topic)?.is_some_and(|holds| holds != TopicType::mixed());
    for partition in 0..if holds_one { partitions } else { 0 } {
        if setting.changelog.offsets(&TopicPartition::new(Arc::clone(topic), partition))?.end > 0 {
            return Err(Error::invalid(format!(
                "dead letters would go to topic `{topic}`, which holds records of one type: records of every kind would be put \
                 among them; give dead letters a topic of their own"
            )));
        }
    }
    Ok(())
}
