//! Asking a log where its partitions end, for whoever waits until all of it is folded.
//!
//! A log that has to ask others may take long to answer, or not answer at all. Nobody who awaits anything is to be held up by that,
//! nor a limit of time to pass unseen: so one thread asks, as long as there is a question, and whoever has one waits for the signal
//! of the engine. What was asked up to then is asked at once, so that a thousand that wait cost one answer. The thread holds
//! nothing of the engine but its log.

use crate::changelog::Changelog;
use crate::state::Host;
use crate::task::Service;
use crate::{Error, ErrorKind, Position, Result, TopicPartition, panic_message};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which end is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ends {
    /// Behind what can be read.
    Readable,
    /// Behind what belongs to transactions that have not ended, too.
    Undecided,
}

/// Where some partitions end, once that is known.
#[derive(Debug)]
pub(super) struct Question {
    ends: Ends,
    partitions: Vec<TopicPartition>,
    answer: Mutex<Option<Result<Position>>>,
}

impl Question {
    /// The answer, if it has come.
    pub(super) fn answer(&self) -> Option<Result<Position>> {
        match &*lock(&self.answer) {
            None => None,
            Some(Ok(position)) => Some(Ok(position.clone())),
            Some(Err(error)) => Some(Err(error.summary())),
        }
    }

    fn answer_by(&self, ask: &mut impl FnMut(Ends, &TopicPartition) -> Result<u64>) {
        let ends = self.partitions.iter().map(|id| Ok((id.clone(), ask(self.ends, id)?)));
        let answer = ends.collect();
        *lock(&self.answer) = Some(answer);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is asked of the log of an engine.
#[derive(Clone)]
pub(super) struct Asking(Arc<Asked>);

struct Asked {
    /// Whether the log answers at once.
    knows: bool,
    changelog: Arc<dyn Changelog>,
    host: Arc<Host>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    questions: Vec<Arc<Question>>,
    /// Whether a thread is asking.
    asking: bool,
}

impl Asking {
    pub(super) fn of(service: &Service) -> Self {
        let (changelog, host) = (Arc::clone(&service.changelog), Arc::clone(&service.host));
        let knows = service.abilities.knows_ends;
        Self(Arc::new(Asked { knows, changelog, host, open: Mutex::default() }))
    }

    /// Asks where `partitions` end: here if the log knows, and otherwise beside whoever wants to know. It is asked after the call has
    /// begun.
    pub(super) fn ask(&self, ends: Ends, partitions: Vec<TopicPartition>) -> Arc<Question> {
        let question = Arc::new(Question { ends, partitions, answer: Mutex::default() });
        if self.0.knows {
            question.answer_by(&mut |ends, id| self.0.end(ends, id));
            return question;
        }
        let mut open = lock(&self.0.open);
        open.questions.push(Arc::clone(&question));
        if !std::mem::replace(&mut open.asking, true) {
            drop(open);
            self.begin();
        }
        question
    }

    fn begin(&self) {
        let asked = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("millpond-ask".to_owned());
        if let Err(error) = thread.spawn(move || while asked.ask_all() {}) {
            let error = Error::unavailable("cannot start a thread that asks where the changelog ends")
                .with_source(error);
            let mut open = lock(&self.0.open);
            open.asking = false;
            for question in open.questions.drain(..) {
                question.answer_by(&mut |_, _| Err(error.summary()));
            }
            drop(open);
            self.0.host.signal();
        }
    }
}

impl Asked {
    /// Asks what was not asked yet. `false` if there was nothing.
    fn ask_all(&self) -> bool {
        let mut open = lock(&self.open);
        let questions = std::mem::take(&mut open.questions);
        open.asking = !questions.is_empty();
        drop(open);
        if questions.is_empty() {
            return false;
        }
        let mut heard: BTreeMap<(Ends, TopicPartition), Result<u64>> = BTreeMap::new();
        let mut away: Option<Error> = None;
        let mut ask = |ends, id: &TopicPartition| {
            let answer = heard.entry((ends, id.clone())).or_insert_with(|| match &away {
                // It takes a while to find out, and would of every partition.
                Some(error) => Err(error.summary()),
                None => self.end_or_panic(ends, id),
            });
            match answer {
                Ok(end) => Ok(*end),
                Err(error) => {
                    if error.kind() == ErrorKind::Unavailable {
                        away.get_or_insert_with(|| error.summary());
                    }
                    Err(error.summary())
                }
            }
        };
        // One that nobody waits for any more is not asked.
        let awaited = questions.iter().filter(|question| Arc::strong_count(question) > 1);
        awaited.for_each(|question| question.answer_by(&mut ask));
        self.host.signal();
        true
    }

    fn end(&self, ends: Ends, id: &TopicPartition) -> Result<u64> {
        match ends {
            Ends::Readable => Ok(self.changelog.latest_offsets(id)?.end),
            Ends::Undecided => self.changelog.undecided_end(id),
        }
    }

    /// Whoever waits would do so for ever if the log panicked.
    fn end_or_panic(&self, ends: Ends, id: &TopicPartition) -> Result<u64> {
        catch_unwind(AssertUnwindSafe(|| self.end(ends, id))).unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            Err(Error::internal(format!(
                "the changelog panicked when it was asked for the end of {id}: {message}"
            )))
        })
    }
}
