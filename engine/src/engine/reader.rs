//! A reader: a state that is asked while another process has it open, or nobody has.
//!
//! Invariants: nothing is written to the directory of the state and no lock is taken; a reader shows whole drains, with
//! their position, and never goes back. It shows one moment until it is moved on by
//! [`refresh`](StateReader::refresh): all tables at once, as when an epoch is published.

use crate::flow::{Router, TableIndex};
use crate::graph::Graph;
use crate::query::{ServedTable, Serving, Snapshot, Stored, View, view_of};
use crate::state::{Host, Published, TaskState};
use crate::store::layout::TableId;
use crate::store::{RocksOptions, SecondaryStore, StateStore};
use crate::task::Found;
use crate::{Engine, Error, Position, Result};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The tables of a state, read beside the engine that has it open: from another process, or where no engine runs.
///
/// It shows what the engine has made durable, which is about its [drain interval](crate::EngineBuilder::drain_interval) behind
/// what it answers itself, and stays there until it is [refreshed](Self::refresh). It needs no changelog, takes no lock and
/// changes nothing in the directory; what it writes are some lines in a temporary directory. Tables are asked with the
/// [views](View) and [snapshots](Snapshot) of an engine, by the handles of the same graph. Changes are not told: that is
/// for the engine which folds them.
///
/// Any number of readers may look at one state. As long as a reader, or a snapshot of it, shows an older moment, the disk space
/// of files that are deleted meanwhile is not freed.
///
/// # Examples
/// ```
/// use millpond::{Engine, ErrorKind, GraphBuilder, StateReader, Topic};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path();
///
/// let clicks = Topic::<String, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// let counts = graph.stream(&clicks).group_by_key().count("counts");
/// let graph = graph.build()?;
///
/// let missing = StateReader::open(path.join("state"), &graph).unwrap_err();
/// assert_eq!(missing.kind(), ErrorKind::Invalid); // a reader never creates anything
///
/// let engine = Engine::open(path, &graph)?;
/// let position = engine.append_blocking(&clicks, "home", &1)?;
/// engine.wait_for_blocking(&position)?;
/// engine.drain_blocking()?;
///
/// // In any process.
/// let reader = StateReader::open(path.join("state"), &graph)?;
/// let view = reader.view(&counts)?;
/// assert!(reader.position().includes(&position));
/// assert_eq!(view.get("home")?, Some(1));
///
/// engine.append_blocking(&clicks, "home", &1)?;
/// engine.catch_up_blocking()?;
/// engine.drain_blocking()?;
/// assert_eq!(view.get("home")?, Some(1), "as it was");
/// assert!(reader.refresh()?);
/// assert_eq!(view.get("home")?, Some(2));
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "secondary")]
#[doc(alias = "replica")]
#[doc(alias = "standby")]
pub struct StateReader {
    graph: Graph,
    store: Arc<SecondaryStore>,
    shared: Arc<TaskState>,
    /// By the number of the table in the graph.
    served: Box<[Arc<ServedTable>]>,
    /// What the shown moment was found to have. Held while the reader is moved on.
    shown: Mutex<Shown>,
    router: Router,
}

struct Shown {
    ids: Vec<Option<TableId>>,
    identity: Option<String>,
}

impl fmt::Debug for StateReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateReader")
            .field("dir", &self.store.dir())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

impl StateReader {
    /// Reads the tables of `graph` in the state directory `dir`: what an engine was told with
    /// [`state_dir`](crate::EngineBuilder::state_dir), or `state` in the directory that it was told with
    /// [`dir`](crate::EngineBuilder::dir). Other options are set on a builder, whose
    /// [`reader`](crate::EngineBuilder::reader) does the same.
    ///
    /// # Errors
    /// `Invalid` if there is no state in the directory, for a table whose types, codec or version do not fit it;
    /// `Unavailable` if it cannot be read now: it is being created, or there are too many open files; `Corrupt` for
    /// damaged files or an unknown format version. Nothing is changed in any case.
    pub fn open(dir: impl AsRef<Path>, graph: &Graph) -> Result<Self> {
        Engine::builder(graph).state_dir(dir).reader()
    }

    pub(super) fn with_options(dir: &Path, graph: Graph, options: &RocksOptions) -> Result<Self> {
        let span = tracing::info_span!("open_reader", dir = %dir.display(), tables = graph.tables.len());
        let _entered = span.enter();
        let (store, found) = SecondaryStore::open(dir, options, &|instance| Found::read(instance, &graph))?;
        let store = Arc::new(store);
        let Found { ids, absent: reasons, reached, counts, identity } = found;
        let router = Router::new(1);
        let held: Arc<dyn StateStore> = Arc::clone(&store) as _;
        let shared = Arc::new(TaskState::new(Host::of_reader(), held, reached, Arc::new(counts)));
        let served = ServedTable::of(&graph);
        let absent = Shown { ids: vec![None; ids.len()], identity: identity.clone() };
        let mut reader = Self { graph, store, shared, served, shown: Mutex::new(absent), router };
        reader.serve(&vec![None; ids.len()], &ids, reasons);
        reader.shown = Mutex::new(Shown { ids, identity });
        Ok(reader)
    }

    /// Lets the tables answer that are there now and were not before; the others say why they are not.
    fn serve(&self, before: &[Option<TableId>], now: &[Option<TableId>], absent: Vec<Option<String>>) {
        let ids = before.iter().zip(now).zip(absent);
        let tables = self.graph.tables.iter().zip(&self.served);
        for (index, ((spec, served), ((before, now), absent))) in tables.zip(ids).enumerate() {
            if let Some(absent) = absent {
                served.serve(Serving::Absent(absent));
            }
            if let (None, Some(id)) = (before, now) {
                let table = (spec.make)(*id, self.router.shards(), Arc::clone(&self.shared));
                self.shared.know(TableIndex { graph: self.graph.id, index }, &table);
                served.serve(Serving::Live(table));
            }
        }
    }

    /// Moves on to what is durable now: all tables at once. `false` if the state is as it was. Views and their answers go on
    /// from there; snapshots stay as they are.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and `Unavailable` if the state was rebuilt or replaced by another one: open another
    /// reader. What was shown is shown as before.
    pub fn refresh(&self) -> Result<bool> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.shared.published();
        let next = self.store.next(&|instance| {
            let found = Found::read(instance, &self.graph)?;
            self.check_goes_on(&shown, &last, &found)?;
            Ok(found)
        })?;
        let Some((instance, Found { ids, absent, reached, counts, identity })) = next else {
            return Ok(false);
        };
        let epoch = last.epoch + 1;
        let next =
            Published { epoch, reached, generations: Vec::new(), drained: epoch, counts: Arc::new(counts) };
        let held = self.shared.hold_publishing();
        let mut before = None;
        self.shared.publish(&held, next, || {
            // Whoever looks for what is published meanwhile waits, so that rows and position change together.
            before = Some(self.store.show(instance));
            self.serve(&shown.ids, &ids, absent);
        });
        drop(held);
        drop(before);
        *shown = Shown { ids, identity };
        Ok(true)
    }

    /// Refuses what is not a later moment of the same state.
    fn check_goes_on(&self, shown: &Shown, last: &Published, found: &Found) -> Result<()> {
        let same = |(before, now): (&Option<TableId>, &Option<TableId>)| before.is_none() || before == now;
        if shown.identity.is_some() && shown.identity != found.identity
            || !shown.ids.iter().zip(&found.ids).all(same)
            || !found.reached.position.includes(&last.reached.position)
        {
            return Err(Error::unavailable(format!(
                "the state in {} was rebuilt or replaced since it was opened for reading: open another reader",
                self.store.dir().display()
            )));
        }
        Ok(())
    }

    /// The handle with which to ask `table`. It goes on with what is shown, also when the reader is gone.
    ///
    /// # Errors
    /// `Invalid` if the table belongs to another graph. That the state does
    /// not have the table yet, or is building it, is said by the view (`Unavailable`).
    pub fn view<T: Stored>(&self, table: &T) -> Result<View<T::Key, T::Value>> {
        view_of(table, self.graph.id, &self.served, self.router)
    }

    /// All tables at one position: read them through [`Snapshot::of`].
    ///
    /// # Errors
    /// None that is known of; as for [`Engine::snapshot`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::capture(&self.shared)
    }

    /// Which input the tables include.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.published().reached.position.clone()
    }
}
