//! Moves money between accounts at full speed while a reader adds up snapshots: every sum must be exactly zero.
//!
//! ```text
//! transfers ─► two postings each ─► fold: balances ─► join with the accounts' branches ─► re-group: branch totals
//! ```
//!
//! A transfer takes from one account what it gives to another, so the balances add up to zero, before, after, and at
//! every moment between if no half transfer is ever shown. That holds for each table by itself and for the tables
//! against each other: a branch total is the sum of the balances of its accounts in the *same* snapshot, although
//! it went through a join and an exchange to get there. Ends with a failure if a single snapshot breaks that.

use clap::Parser;
use millpond::aggregate::sum;
use millpond::{Engine, GraphBuilder, Position, Result, Snapshot, StoredTable, Topic, View};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Moves money at full speed and checks that none is made or lost.
#[derive(Parser)]
struct Arguments {
    /// For how long
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,

    /// At most so many transfers
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    transfers: u64,

    /// Between so many accounts
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    accounts: u32,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..1e6).contains(&seconds) => Ok(seconds),
        _ => Err("seconds are a number from 0 to 1000000".to_owned()),
    }
}

const BRANCHES: u32 = 10;
const BATCH: u64 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Transfer {
    from: u32,
    to: u32,
    cents: i64,
}

/// An account's balance and the branch that keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    cents: i64,
    branch: u32,
}

/// The graph's topics and tables.
struct Bank {
    transfers: Topic<u64, Transfer>,
    branches: Topic<u32, u32>,
    balances: StoredTable<u32, i64>,
    totals: StoredTable<u32, i128>,
}

impl Bank {
    fn new(graph: &GraphBuilder) -> Self {
        let transfers = Topic::new("transfers").partitions(4);
        let branches = Topic::new("branches");
        let balances = graph
            .stream(&transfers)
            .flat_map(|_, transfer: Transfer| {
                [(transfer.from, -transfer.cents), (transfer.to, transfer.cents)]
            })
            .group_by_key()
            .fold("balances", || 0_i64, |balance, _, cents: i64| *balance += cents);
        let branch_of = graph.table(&branches, "branch_of");
        let totals = balances
            .join(&branch_of, |_, &cents, &branch| Account { cents, branch })
            .group_by(|_, account| (account.branch, account.cents))
            .aggregate("totals", sum(|cents: &i64| *cents));
        Self { transfers, branches, balances, totals }
    }
}

/// The views of the reader.
struct Audit {
    balances: View<u32, i64>,
    totals: View<u32, i128>,
}

impl Audit {
    /// What does not add up in `snapshot`, if anything.
    fn check(&self, snapshot: &Snapshot) -> Result<std::result::Result<(), String>> {
        let mut balances: BTreeMap<u32, i128> = BTreeMap::new();
        for row in snapshot.of(&self.balances)?.scan() {
            let (account, cents) = row?;
            *balances.entry(account % BRANCHES).or_default() += i128::from(cents);
        }
        let mut totals: BTreeMap<u32, i128> = BTreeMap::new();
        for row in snapshot.of(&self.totals)?.scan() {
            let (branch, total) = row?;
            totals.insert(branch, total);
        }
        let (sum, branch_sum) = (balances.values().sum::<i128>(), totals.values().sum::<i128>());
        Ok(if sum != 0 {
            Err(format!("the balances add up to {sum} cents"))
        } else if branch_sum != 0 {
            Err(format!("the branches add up to {branch_sum} cents"))
        } else if balances != totals {
            Err(format!("the branches hold {balances:?} cents, and their totals say {totals:?}"))
        } else {
            Ok(())
        })
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("transfers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let builder = GraphBuilder::new();
    let bank = Bank::new(&builder);
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path(), &builder.build()?)?;
    let accounts: Vec<(u32, u32)> =
        (0..arguments.accounts).map(|account| (account, account % BRANCHES)).collect();
    let opened = engine
        .producer(&bank.branches)?
        .send(accounts.iter().map(|(account, branch)| (account, Some(branch), 0)))
        .wait_blocking()?;
    engine.wait_for_blocking(&opened)?;
    let audit = Audit { balances: engine.view(&bank.balances)?, totals: engine.view(&bank.totals)? };

    let done = AtomicBool::new(false);
    let begun = Instant::now();
    let (moved, audited) = std::thread::scope(|threads| {
        let auditor = threads.spawn(|| audit_until(&engine, &audit, &done));
        let moved = move_money(&engine, &bank, arguments, begun);
        done.store(true, Ordering::Release);
        (moved, auditor.join())
    });
    let transfers = moved?;
    engine.catch_up_blocking()?;
    let elapsed = begun.elapsed();
    let snapshots = audited.map_err(|_| "the reader panicked")??;
    audit.check(&engine.snapshot()?)??;
    report(transfers, snapshots, elapsed);
    Ok(engine.close_blocking()?)
}

/// Takes snapshots until `done` and checks each; returns how many, and at how many positions.
fn audit_until(engine: &Engine, audit: &Audit, done: &AtomicBool) -> std::result::Result<(u64, u64), String> {
    let (mut snapshots, mut positions, mut last) = (0, 0, Position::new());
    while !done.load(Ordering::Acquire) {
        let snapshot = engine.snapshot().map_err(|error| error.to_string())?;
        audit.check(&snapshot).map_err(|error| error.to_string())??;
        snapshots += 1;
        positions += u64::from(*snapshot.position() != last);
        last = snapshot.position().clone();
    }
    Ok((snapshots, positions))
}

/// Appends transfers until the time or their number is up; returns how many.
fn move_money(engine: &Engine, bank: &Bank, arguments: &Arguments, begun: Instant) -> Result<u64> {
    let producer = engine.producer(&bank.transfers)?;
    let longest = Duration::from_secs_f64(arguments.seconds);
    // The same transfers in every run.
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut transfers = 0;
    while transfers < arguments.transfers && begun.elapsed() < longest {
        let batch: Vec<(u64, Transfer)> = (transfers..arguments.transfers.min(transfers + BATCH))
            .map(|number| (number, next_transfer(&mut random, arguments.accounts)))
            .collect();
        producer.ready_blocking();
        producer.send(batch.iter().map(|(number, transfer)| (number, Some(transfer), 0))).wait_blocking()?;
        transfers += batch.len() as u64;
    }
    Ok(transfers)
}

/// Some transfer between two accounts.
fn next_transfer(random: &mut impl Rng, accounts: u32) -> Transfer {
    let mut below = |bound: u32| random.random_range(..bound);
    let from = below(accounts);
    let to = (from + 1 + below(accounts - 1)) % accounts;
    Transfer { from, to, cents: 1 + i64::from(below(100_000)) }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn report(transfers: u64, (snapshots, positions): (u64, u64), elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    println!("{transfers} transfers in {seconds:.2} s: {:.0} per second", transfers as f64 / seconds);
    println!("{snapshots} snapshots at {positions} positions checked meanwhile: every one adds up to zero");
}
