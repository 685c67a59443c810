//! Opening a task: from its group of nodes and tables to where it goes on in the changelog.

use super::catalogue::Group;
use super::{Consumer, Input, Plan, Setting, Task};
use crate::drain::Drain;
use crate::state::{AnyTable, Shared};
use crate::store::StateStore;
use crate::store::layout::{MAIN_GROUP, TableId};
use crate::{Position, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A task whose input is open. Nothing was written for it yet, neither to the state nor to the changelog.
pub(super) struct Opening {
    number: u16,
    nodes: BTreeSet<usize>,
    plan: Plan,
    input: Input,
    /// By the table's number in the graph.
    pub(super) ids: Vec<Option<TableId>>,
    counts: BTreeMap<TableId, u64>,
}

impl Opening {
    /// Opens the input of the group `number`.
    ///
    /// # Errors
    /// `AheadOfChangelog` or `BehindChangelog` if the changelog does not fit the state.
    pub(super) fn new(setting: &Setting, group: Group, number: u16, from_oldest: bool) -> Result<Self> {
        let Group { nodes, ids, position, counts } = group;
        let plan = Plan::new(&setting.graph, &nodes)?;
        let input = open_input(setting, &plan, &position, number, from_oldest)?;
        Ok(Self { number, nodes, plan, input, ids, counts })
    }

    /// Whether `node` is run by the task.
    pub(super) fn runs(&self, node: usize) -> bool {
        self.nodes.contains(&node)
    }

    /// Makes the task and its drain.
    pub(super) fn start(self, setting: &Setting, store: &Arc<dyn StateStore>) -> Result<(Task, Arc<Drain>)> {
        let Self { number, plan, input, ids, counts, .. } = self;
        let produces = setting.produces() && number == MAIN_GROUP;
        let consumer = consumer(setting, number);
        consumer.hold(input.position())?;
        let host = Arc::clone(&setting.host);
        let shared =
            Arc::new(Shared::new(host, Arc::clone(store), input.position().clone(), Arc::new(counts)));
        let tables: Vec<Option<Arc<dyn AnyTable>>> = setting
            .graph
            .tables
            .iter()
            .zip(&ids)
            .map(|(spec, id)| id.map(|id| (spec.make)(id, setting.router.shards(), Arc::clone(&shared))))
            .collect();
        let drain = Drain {
            shared: Arc::clone(&shared),
            group: number,
            consumer,
            counters: Arc::clone(&setting.counters),
            turn: Arc::clone(&setting.drain_turn),
        };
        Ok((Task::new(setting.clone(), plan, ids, tables, shared, input, produces), Arc::new(drain)))
    }
}

/// Opens the input of `plan` at `position`.
///
/// The main group keeps to the epochs that were marked before a crash, also where the graph no longer writes anything: it
/// must not end up in the middle of one, where a later graph that writes again could not go on.
pub(super) fn open_input(
    setting: &Setting,
    plan: &Plan,
    position: &Position,
    number: u16,
    from_oldest: bool,
) -> Result<Input> {
    let cuts = if number == MAIN_GROUP {
        setting.changelog.epochs_after(&setting.producer, position)?
    } else {
        Vec::new()
    };
    let topics: Vec<Arc<str>> = plan.sources.iter().map(|(topic, _)| Arc::clone(topic)).collect();
    Input::open(&setting.changelog, &topics, position, cuts, from_oldest)
}

fn consumer(setting: &Setting, number: u16) -> Consumer {
    if number == MAIN_GROUP { setting.consumer() } else { setting.build_consumer() }
}
