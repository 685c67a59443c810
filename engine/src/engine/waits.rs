//! What an engine can be waited for.
//!
//! Each wait asks its question again after every epoch and every drain, and when the engine ends.

use super::asking::{Asking, Ends, Question};
use crate::changelog::Role;
use crate::task::Service;
use crate::{Error, Position, Result, TopicPartition, Wait};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Resolves to the first answer of `ask`.
///
/// # Errors
/// As for [`TaskState::check`](crate::state::TaskState::check); `Invalid` for code of the graph itself, which would wait for ever.
pub(super) async fn until<T>(
    service: &Service,
    mut ask: impl FnMut(&Service) -> Result<Option<T>>,
) -> Result<T> {
    let mut signals = service.host.signals();
    loop {
        signals.borrow_and_update();
        service.host.id.check_outside()?;
        if let Some(answer) = ask(service)? {
            return Ok(answer);
        }
        if signals.changed().await.is_err() {
            return Err(Error::closed("the engine is closed"));
        }
    }
}

/// As [`until`], as long as the engine runs.
pub(super) async fn while_it_runs<T>(
    service: &Service,
    mut ask: impl FnMut(&Service) -> Result<Option<T>>,
) -> Result<T> {
    until(service, |service| {
        service.tasks.check()?;
        ask(service)
    })
    .await
}

pub(super) fn wait_for(service: &Arc<Service>, asking: &Asking, position: Position) -> Wait<()> {
    let (service, told) = (Arc::clone(service), Arc::clone(service));
    let (wanted, asking) = (position.clone(), asking.clone());
    let answer = async move {
        check_is_read(&service, &position)?;
        has_folded(&service, &asking, || position.clone()).await
    };
    Wait::new(answer, move || missing(&told, &wanted))
}

pub(super) fn catch_up(service: &Arc<Service>, asking: &Asking) -> Wait<Position> {
    let (service, told) = (Arc::clone(service), Arc::clone(service));
    // At the call, whenever it is awaited.
    let asked = ends(&service, asking);
    let asking = asking.clone();
    let wanted = Arc::clone(&asked);
    let answer = async move {
        let target = answered(&service, &asked).await?;
        has_folded(&service, &asking, || led(&service, &target)).await?;
        Ok(led(&service, &target))
    };
    Wait::new(answer, move || match wanted.answer() {
        Some(Ok(wanted)) => missing(&told, &wanted),
        Some(Err(error)) => error.to_string(),
        None => "the changelog was asked where it ends, and has not answered".to_owned(),
    })
}

pub(super) fn ready(service: &Arc<Service>) -> Wait<()> {
    let (service, told) = (Arc::clone(service), Arc::clone(service));
    let answer = async move { while_it_runs(&service, |service| Ok(service.is_ready().then_some(()))).await };
    Wait::new(answer, move || {
        let left = told.tasks.records_left();
        let building =
            told.served.iter().filter(|table| table.is_building()).map(|table| format!("`{}`", table.name));
        let building = building.collect::<Vec<_>>().join(", ");
        match (left, building.as_str()) {
            (0, tables) => format!("the tables {tables} are still being built"),
            (left, "") => format!("{left} records that were in the changelog at the start are left to fold"),
            (left, tables) => format!("{left} records are left to fold, and the tables {tables} to be built"),
        }
    })
}

/// Resolves once everything that is published now is durable; `begin` has the drain begin. If something else answers for a task that
/// begins again, the task has to come as far first.
pub(super) fn drain(service: &Arc<Service>, begin: impl Fn() + Send + Sync + 'static) -> Wait<Position> {
    let (service, told) = (Arc::clone(service), Arc::clone(service));
    let published = service.tasks.position();
    let now = move |service: &Service| {
        let folded = service.tasks.folded();
        let epochs = || service.tasks.all().into_iter().map(|task| (task.shared.epoch(), task)).collect();
        folded.includes(&published).then(|| {
            let epochs: Vec<_> = epochs();
            begin();
            (folded, epochs)
        })
    };
    let mut wanted = now(&service);
    let answer = async move {
        while_it_runs(&service, |service| {
            let Some((position, epochs)) = &wanted else {
                wanted = now(service);
                return Ok(None);
            };
            if epochs.iter().any(|(_, task)| task.shared.was_taken_back()) {
                return Err(Error::unavailable(
                    "another engine of the service has taken over, and what this one had not committed was taken back; nothing \
                     is lost, as it is folded again",
                ));
            }
            let drained = epochs.iter().all(|(epoch, task)| task.is_drained(*epoch));
            Ok(drained.then(|| position.clone()))
        })
        .await
    };
    Wait::new(answer, move || {
        format!("{} bytes of rows are not durable yet", told.tasks.backlog().generation_bytes)
    })
}

/// Resolves once the tables answer with everything below `position`, and with what the graph makes of it through topics
/// that it appends to and reads again: each round waits for where these end once the one before is folded.
async fn has_folded(service: &Service, asking: &Asking, position: impl Fn() -> Position) -> Result<()> {
    folded(service, position).await?;
    let again: BTreeSet<&str> = service.graph.topics_read_again().collect();
    for _ in &again {
        committed(service).await?;
        let derived = answered(service, &ends_of_derived(service, asking, &again)).await?;
        folded(service, || led(service, &derived)).await?;
    }
    Ok(())
}

/// Resolves once what the epochs up to now have appended can be read.
async fn committed(service: &Service) -> Result<()> {
    if !service.shares_epochs() {
        return Ok(());
    }
    let appended = service.changelog.committed(&service.name).end;
    while_it_runs(service, |service| {
        let committed = service.changelog.committed(&service.name).start;
        Ok((committed >= appended || service.role() != Role::Holder).then_some(()))
    })
    .await
}

async fn folded(service: &Service, position: impl Fn() -> Position) -> Result<()> {
    while_it_runs(service, |service| {
        // Whoever has waited for a record finds it told, too.
        Ok(service.tasks.have_told(&position()).then_some(()))
    })
    .await
}

/// Resolves once it is known where the partitions end of which it was asked.
async fn answered(service: &Service, question: &Question) -> Result<Position> {
    while_it_runs(service, |_| question.answer().transpose()).await
}

/// What of `position` is of partitions through which somebody leads the engine.
fn led(service: &Service, position: &Position) -> Position {
    let unled = service.unled();
    if unled.is_empty() {
        return position.clone();
    }
    position.iter().filter(|(id, _)| !unled.contains(id)).map(|(id, offset)| (id.clone(), offset)).collect()
}

/// Asks where the topics end that the graph reads.
fn ends(service: &Service, asking: &Asking) -> Arc<Question> {
    let read = service.tasks.position();
    let read = read.iter().filter(|(id, _)| service.graph.reads(&id.topic));
    asking.ask(Ends::Readable, read.map(|(id, _)| id.clone()).collect())
}

/// Asks where these topics end, to which the graph appends itself.
fn ends_of_derived(service: &Service, asking: &Asking, topics: &BTreeSet<&str>) -> Arc<Question> {
    let read = service.tasks.position();
    let read = read.iter().filter(|(id, _)| topics.contains(&*id.topic));
    asking.ask(Ends::Undecided, read.map(|(id, _)| id.clone()).collect())
}

/// Refuses to wait for what will never be read.
fn check_is_read(service: &Service, position: &Position) -> Result<()> {
    let read = service.tasks.position();
    let unread = |id: &TopicPartition| read.known(id).is_none() || !service.graph.reads(&id.topic);
    match position.iter().find(|(id, _)| unread(id)) {
        Some((id, _)) => Err(Error::invalid(format!(
            "this engine does not read {id}, so it would wait for ever; name partitions that its graph reads"
        ))),
        None => Ok(()),
    }
}

/// What is missing of `wanted`, and why it does not come by itself if so.
fn missing(service: &Service, wanted: &Position) -> String {
    let paused = service.paused.load(Ordering::Acquire);
    let why = match service.awaiting.of_main() {
        _ if paused => "; the engine is paused: `resume` it".to_owned(),
        Some(awaited) => format!("; {awaited}"),
        None => String::new(),
    };
    format!("{}{why}", left_of(service, wanted))
}

/// What is missing of `wanted`.
fn left_of(service: &Service, wanted: &Position) -> String {
    let read = service.tasks.position();
    let behind = wanted.iter().find(|(id, offset)| read.offset(id) < *offset);
    match behind {
        Some((id, offset)) if service.unled().contains(id) => format!(
            "{id} is waited for up to {offset}, and the engine that appends for this service does not read it, as its graph is \
             another one: it is folded once an engine of this graph appends"
        ),
        Some((id, offset)) => {
            format!("{id} is folded up to offset {}, and waited for up to {offset}", read.offset(id))
        }
        None => "what was waited for is folded, but tables do not answer yet; or a derived topic is not read to its end"
            .to_owned(),
    }
}
