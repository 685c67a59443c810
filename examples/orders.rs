//! Two services share one changelog, each with its own view; one of them changes its mind and rebuilds its view while it
//! goes on answering.
//!
//! ```text
//!                        ┌─► service `shipping`: what is in each open order
//! changelog: orders ─────┤
//!                        └─► service `sales`:    revenue per customer
//!                              └─ next release:  the same table at version 2, without cancelled orders
//! ```
//!
//! The services share facts, not a database: neither knows the other's tables, and nobody had to ask `shipping` before
//! `sales` was changed. Here both run in one process on one `EmbeddedChangelog`; their names keep them apart as
//! consumers, and each has its own state directory.

use clap::Parser;
use millpond::TableOptions;
use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions};
use millpond::{Engine, GraphBuilder, Result, StoredTable, Topic, View};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Lets two services read one changelog, and rebuilds the view of one of them while it answers.
#[derive(Parser)]
struct Arguments {
    /// How many orders there are; every tenth is cancelled
    #[arg(long, default_value_t = 200_000)]
    orders: u64,
}

/// No multiple of ten, so that every customer has orders of both fates.
const CUSTOMERS: u64 = 99;

/// What is said of an order. A tombstone says that it was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    customer: String,
    items: u32,
    cents: u64,
}

fn orders() -> Topic<u64, Order> {
    Topic::new("orders").partitions(4)
}

/// What is to be packed: every order that was not cancelled.
fn shipping(changelog: &Arc<EmbeddedChangelog>, dir: &Path) -> Result<(Engine, StoredTable<u64, u32>)> {
    let graph = GraphBuilder::new();
    let to_pack = graph.table(&orders(), "orders").map_values(|_, order| order.items).materialize("to_pack");
    Ok((start("shipping", changelog, dir, &graph)?, to_pack))
}

/// Revenue per customer, as it was first thought up: whoever ordered has paid.
fn sales(changelog: &Arc<EmbeddedChangelog>, dir: &Path) -> Result<(Engine, StoredTable<String, u64>)> {
    let graph = GraphBuilder::new();
    let revenue = graph.stream(&orders()).group_by(|_, order| order.customer.clone()).fold(
        "revenue",
        || 0,
        |cents, _, order: Order| *cents += order.cents,
    );
    Ok((start("sales", changelog, dir, &graph)?, revenue))
}

/// The same table with another meaning, and therefore another version: money for cancelled orders is given back.
///
/// A tombstone does not say whose order it cancels, so the orders are kept as a table: when a row of it goes, its
/// customer's group gives back what the row had added.
fn sales_2(changelog: &Arc<EmbeddedChangelog>, dir: &Path) -> Result<(Engine, StoredTable<String, u64>)> {
    let graph = GraphBuilder::new();
    let revenue = graph
        .upserts(&orders())
        .upsert_table("orders")
        .group_by(|_, order| (order.customer.clone(), order.cents))
        .fold(
            "revenue_by_customer",
            || 0,
            |cents, _, paid: u64| *cents += paid,
            |cents, _, paid| *cents -= paid,
        )
        // In the form that the first version has: that goes on answering until this one is built.
        .materialize(TableOptions::named("revenue").version(2));
    Ok((start("sales", changelog, dir, &graph)?, revenue))
}

fn start(name: &str, changelog: &Arc<EmbeddedChangelog>, dir: &Path, graph: &GraphBuilder) -> Result<Engine> {
    let changelog: Arc<dyn Changelog> = Arc::<EmbeddedChangelog>::clone(changelog);
    Engine::builder(&graph.build()?).name(name).changelog(changelog).state_dir(dir.join(name)).start()
}

/// The orders from number `from` on, and the cancellation of every tenth.
fn place_orders(engine: &Engine, from: u64, count: u64) -> Result<millpond::Position> {
    let producer = engine.producer(&orders())?;
    let placed: Vec<(u64, Option<Order>)> = (from..from + count)
        .flat_map(|number| {
            let order = Order {
                customer: customer(number),
                items: 1 + u32::try_from(number % 5).unwrap_or(0),
                cents: cents(number),
            };
            let cancelled = (number % 10 == 9).then_some((number, None));
            std::iter::once((number, Some(order))).chain(cancelled)
        })
        .collect();
    let mut after = millpond::Position::new();
    for batch in placed.chunks(10_000) {
        producer.ready_blocking();
        let records = batch.iter().map(|(number, order)| (number, order.as_ref(), 0));
        after = producer.send(records).wait_blocking()?;
    }
    Ok(after)
}

fn customer(number: u64) -> String {
    format!("customer {:02}", number % CUSTOMERS)
}

fn cents(number: u64) -> u64 {
    1000 + number % 7 * 250
}

/// What the customer of order 9 pays for the orders up to `count`, by a plain loop.
fn reckoned(count: u64, with_cancelled: bool) -> u64 {
    let ordered = (0..count).filter(|number| number % CUSTOMERS == 9);
    ordered.filter(|number| with_cancelled || number % 10 != 9).map(cents).sum()
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orders: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An error that says what differs, unless nothing does.
fn agree<T: PartialEq + std::fmt::Debug>(
    what: &str,
    got: &T,
    expected: &T,
) -> std::result::Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what} is {got:?} instead of {expected:?}")) }
}

fn run(&Arguments { orders: count }: &Arguments) -> std::result::Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let changelog =
        Arc::new(EmbeddedChangelog::open(dir.path().join("changelog"), EmbeddedOptions::default())?);
    let (shipping, to_pack) = shipping(&changelog, dir.path())?;
    let to_pack = shipping.view(&to_pack)?;

    let (sales, revenue) = sales(&changelog, dir.path())?;
    place_orders(&shipping, 0, count)?;
    shipping.catch_up_blocking()?;
    sales.catch_up_blocking()?;
    let before = sales.view(&revenue)?.get(&customer(9))?;
    let (packs, paid) = (to_pack.count()?, before.unwrap_or(0));
    println!("shipping packs {packs} of {count} orders; {} paid {paid} cents", customer(9));
    agree("what is to be packed", &to_pack.count()?, &(count - count / 10))?;
    agree("the revenue", &before, &(count > 9).then(|| reckoned(count, true)))?;

    // The next release of `sales`. `shipping` runs on and takes orders meanwhile.
    sales.close_blocking()?;
    let (sales, revenue) = sales_2(&changelog, dir.path())?;
    let revenue = sales.view(&revenue)?;
    // The older version answers at once, and until the new one has read all there is.
    let answered = ask_former(&revenue, before)?;
    let position = place_orders(&shipping, count, 10)?;
    let mut answers = u64::from(answered);
    while ask_former(&revenue, before)? {
        answers += 1;
    }
    match answers {
        0 => println!("the new version was built before the first question; try more `--orders`"),
        _ => println!("sales gave {answers} answers of the old version while the new one was built"),
    }
    shipping.wait_for_blocking(&position)?;
    agree("what is to be packed", &to_pack.count()?, &(count + 10 - (count + 10) / 10))?;

    sales.ready_blocking()?;
    sales.catch_up_blocking()?;
    let after = revenue.get(&customer(9))?.unwrap_or(0);
    println!("now {} paid {after} cents: the cancelled orders are given back", customer(9));
    agree("the rebuilt revenue", &after, &reckoned(count + 10, false))?;
    sales.close_blocking()?;
    shipping.close_blocking()?;
    Ok(changelog.close()?)
}

/// Asks for the revenue. `false` if the rebuilt table has answered.
fn ask_former(revenue: &View<String, u64>, before: Option<u64>) -> std::result::Result<bool, Box<dyn Error>> {
    let answer = revenue.get(&customer(9))?;
    // Asked afterwards: only if the old table still stands now has it given this answer.
    let former = revenue.is_former();
    if former {
        agree("the revenue during the rebuild", &answer, &before)?;
    }
    Ok(former)
}
