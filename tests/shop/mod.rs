//! The shop: a graph that uses what millpond 0.1 can store, and the events that fill it.
//!
//! IMPORTANT: the files under `tests/data/0.1` were written with exactly this graph and these events. What is added for
//! a later release gets a graph of its own.

pub(crate) mod answers;
pub(crate) mod events;

use millpond::aggregate::{distinct_count, last_n, max, mean, min, sum, top_k};
use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, TopicConfig};
use millpond::codec::{Json, Raw};
use millpond::stream::Emit;
use millpond::{
    Engine, FailurePolicy, Graph, GraphBuilder, Latest, Process, Result, Stepper, StoredTable, TableOptions,
    Topic,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

pub(crate) const DEAD: &str = "dead";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Progress {
    Open,
    Paid { by: String },
    Cancelled(u8, String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) customer: u32,
    pub(crate) item: String,
    pub(crate) cents: i64,
    pub(crate) progress: Progress,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Customer {
    pub(crate) name: String,
    pub(crate) city: Option<String>,
    pub(crate) tags: Vec<String>,
}

pub(crate) struct Topics {
    pub(crate) orders: Topic<u64, Order>,
    pub(crate) customers: Topic<u32, Customer>,
    pub(crate) clicks: Topic<String, u32>,
    /// Trimmed, and read.
    pub(crate) visits: Topic<(String, u8), Vec<u8>>,
    pub(crate) notes: Topic<i32, Vec<u8>>,
    pub(crate) receipts: Topic<u64, i64>,
    pub(crate) cities: Topic<u32, String>,
}

pub(crate) fn topics() -> Topics {
    let brief = TopicConfig::default().partitions(2).retention_bytes(1);
    Topics {
        orders: Topic::new("orders").partitions(3),
        customers: Topic::with_codec("customers", Json).partitions(2),
        clicks: Topic::new("clicks"),
        visits: Topic::new("visits").config(brief),
        notes: Topic::with_codec("notes", Raw),
        receipts: Topic::new("receipts").partitions(2),
        cities: Topic::new("cities").partitions(2),
    }
}

/// The versions of the tables that were raised along the way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Versions {
    pub(crate) clicks: u32,
    pub(crate) spent: u32,
    /// With a table that is gone later.
    pub(crate) with_gone: bool,
}

/// The number of the last click and how often it changed.
struct Changed;

impl Process<String, u32> for Changed {
    type State = (u32, u64);
    type OutKey = String;
    type OutValue = u32;

    fn process(
        &self,
        key: &String,
        value: u32,
        state: &mut Option<(u32, u64)>,
        emit: &mut Emit<String, u32>,
    ) {
        let (last, times) = state.unwrap_or_default();
        if last != value {
            *state = Some((value, times + 1));
            emit.push(key.clone(), value);
        }
    }
}

/// The graph with its tables.
pub(crate) struct Shop {
    pub(crate) graph: Graph,
    pub(crate) orders: StoredTable<u64, Order>,
    pub(crate) customers: StoredTable<u32, Customer>,
    pub(crate) newest: StoredTable<u32, Customer>,
    pub(crate) notes: StoredTable<i32, Vec<u8>>,
    pub(crate) visits: StoredTable<(String, u8), u64>,
    pub(crate) clicks: StoredTable<String, u64>,
    /// Depends on the order of the clicks.
    pub(crate) chain: StoredTable<String, u64>,
    pub(crate) sum: StoredTable<String, i128>,
    pub(crate) mean: StoredTable<String, millpond::aggregate::Mean<i128>>,
    pub(crate) least: StoredTable<String, Option<u32>>,
    pub(crate) top: StoredTable<String, millpond::aggregate::TopK<u32>>,
    pub(crate) last: StoredTable<String, VecDeque<u32>>,
    pub(crate) kinds: StoredTable<String, millpond::aggregate::Multiset<u32>>,
    pub(crate) floats: StoredTable<String, millpond::aggregate::FloatSum>,
    pub(crate) changed: StoredTable<String, u64>,
    pub(crate) spent: StoredTable<u32, i64>,
    pub(crate) dearest: StoredTable<u32, millpond::aggregate::Multiset<i64>>,
    pub(crate) named: StoredTable<u64, String>,
    pub(crate) profile: StoredTable<u32, (String, u64)>,
    /// What a stream met in a table: it depends on what came first.
    pub(crate) met: StoredTable<u64, Option<String>>,
}

impl Shop {
    pub(crate) fn new(versions: Versions) -> Self {
        let topics = topics();
        let builder = GraphBuilder::new();
        if versions.with_gone {
            builder.stream(&topics.clicks).group_by_key().count("gone");
        }
        let orders = builder.table(&topics.orders, "orders");
        let customers = builder.table(&topics.customers, TableOptions::with_codec("customers", Json));
        let newest =
            builder.table_by(&topics.customers, TableOptions::with_codec("newest", Json), Latest::Timestamp);
        let notes = builder.table(&topics.notes, TableOptions::with_codec("notes", Raw));
        let visits = builder.stream(&topics.visits).group_by_key().count("visits");
        let clicks = builder.stream(&topics.clicks);
        let by_page = clicks.group_by_key();
        let spent = orders.group_by(|_, order| (order.customer, order.cents));
        let placed = builder.stream(&topics.orders);
        placed.map_values(|_, order| order.cents).to(&topics.receipts);
        customers
            .map_values(|_, customer| customer.city.unwrap_or_default())
            .to_stream()
            .to_upserts(&topics.cities);
        let per_customer = spent.fold(
            TableOptions::named("spent").version(versions.spent),
            || 0,
            |sum, _, cents| *sum += cents,
            |sum, _, cents| *sum -= cents,
        );
        let dearest = spent
            .aggregate(TableOptions::with_codec("dearest", Json), max(|cents: &i64| *cents).retractable());
        // How many orders: 0.1 showed the number of members of every group.
        let profile = newest.left_join(&dearest, |_, customer, orders| {
            (customer.name.clone(), orders.map_or(0, millpond::aggregate::Multiset::len))
        });
        let met = placed
            .map(|id, order| (order.customer, id))
            .left_join(&customers, |_, id, customer| (id, customer.map(|customer| customer.name.clone())))
            .map(|_, (id, name)| (id, name));
        Self {
            visits,
            clicks: by_page.count(TableOptions::named("clicks").version(versions.clicks)),
            chain: by_page.fold(
                "chain",
                || 7,
                |chain: &mut u64, _, click| {
                    *chain = chain.wrapping_mul(31).wrapping_add(u64::from(click));
                },
            ),
            sum: by_page.aggregate("sum", sum(|click: &u32| *click)),
            mean: by_page.aggregate("mean", mean(|click: &u32| *click)),
            least: by_page.aggregate("least", min(|click: &u32| *click)),
            top: by_page.aggregate("top", top_k(3, |click: &u32| *click)),
            last: by_page.aggregate("last", last_n(3, |click: &u32| *click)),
            kinds: by_page.aggregate("kinds", distinct_count(|click: &u32| *click % 5)),
            floats: by_page.aggregate("floats", sum(|click: &u32| f64::from(*click) / 10.0)),
            changed: clicks.process("last_click", Changed).0.group_by_key().count("changed"),
            dearest,
            named: orders.foreign_join(
                &customers,
                "named",
                |_, order| order.customer,
                |_, order, customer| format!("{}: {} ({:?})", customer.name, order.item, order.progress),
            ),
            profile: profile.materialize("profile"),
            met: met.to_table("met"),
            spent: per_customer,
            graph: builder.build().unwrap(),
            orders,
            customers,
            newest,
            notes,
        }
    }

    /// Opens the shop in `dir`, to be moved by hand.
    pub(crate) fn open(&self, dir: &Path, changelog: &Arc<EmbeddedChangelog>) -> Result<Stepper> {
        Engine::builder(&self.graph)
            .name("shop")
            .changelog(Arc::clone(changelog) as Arc<dyn Changelog>)
            .state_dir(dir.join("state"))
            .shards(2)
            .memory(8 << 20)
            .on_failure(FailurePolicy::DeadLetter(DEAD.into()))
            .stepper()
    }
}

/// Segments are small, so that a log of some kilobytes has several.
pub(crate) fn open_changelog(dir: &Path) -> Result<Arc<EmbeddedChangelog>> {
    let options = EmbeddedOptions::default().segment_bytes(4 << 10);
    Ok(Arc::new(EmbeddedChangelog::open(dir.join("changelog"), options)?))
}
