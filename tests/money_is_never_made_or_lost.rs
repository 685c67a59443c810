//! Money that moves between accounts is never made or lost, as far as any reader can see.
//!
//! Property: in every snapshot, while transfers are folded at full speed over several shards, drained, cut off by
//! crashes and folded again, the balances of all accounts sum to zero; so do the sums of the branches that accounts
//! are grouped into, and each joined row shows the balances of both sides as they are in the same snapshot.
//!
//! Method: every transfer is one record that becomes two entries on two shards. Readers take snapshots without pause
//! on threads of their own. The engine is closed and reopened several times with other shards and limits; and, in
//! another process, killed in the midst of it, where each successor looks at what it finds before it goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::store::{MemoryStore, RocksStore, StateStore};
use millpond::{Engine, EngineBuilder, Graph, GraphBuilder, Result, Snapshot, StoredTable, Topic, View};
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ACCOUNTS: u32 = 50;

type Transfer = (u32, u32, i64);

struct Bank {
    graph: Graph,
    transfers: Topic<u64, Transfer>,
    balances: StoredTable<u32, i64>,
    branches: StoredTable<u32, i64>,
    /// Each account's balance beside that of the one opposite of it.
    pairs: StoredTable<u32, (i64, i64)>,
}

impl Bank {
    fn new() -> Self {
        let transfers = Topic::<u64, Transfer>::new("transfers").partitions(3);
        let graph = GraphBuilder::new();
        let balances = graph
            .stream(&transfers)
            .flat_map(|_, (from, to, amount)| [(from, -amount), (to, amount)])
            .group_by_key()
            .fold("balances", || 0_i64, |balance, _, amount| *balance += amount);
        let branches = balances.group_by(|account, balance| (account % 7, *balance)).fold(
            "branches",
            || 0_i64,
            |sum, _, balance| *sum += balance,
            |sum, _, balance| *sum -= balance,
        );
        let opposite = balances.group_by(|account, balance| (ACCOUNTS - 1 - account, *balance)).fold(
            "opposite",
            || 0_i64,
            |sum, _, balance| *sum += balance,
            |sum, _, balance| *sum -= balance,
        );
        let pairs = balances
            .outer_join(&opposite, |_, own, other| (own.copied().unwrap_or(0), other.copied().unwrap_or(0)));
        let pairs = pairs.materialize("pairs");
        let graph = graph.build().unwrap();
        Self { graph, transfers, balances, branches, pairs }
    }
}

struct Views {
    balances: View<u32, i64>,
    branches: View<u32, i64>,
    pairs: View<u32, (i64, i64)>,
}

/// Checks one snapshot.
fn check(snapshot: &Snapshot, views: &Views) -> Result<()> {
    let balances: BTreeMap<u32, i64> = snapshot.of(&views.balances)?.scan().collect::<Result<_>>()?;
    let at = snapshot.position();
    assert_eq!(balances.values().sum::<i64>(), 0, "the balances at {at}");
    let mut sums = BTreeMap::<u32, i64>::new();
    for (account, balance) in &balances {
        *sums.entry(account % 7).or_default() += balance;
    }
    let branches: BTreeMap<u32, i64> = snapshot.of(&views.branches)?.scan().collect::<Result<_>>()?;
    assert_eq!(branches, sums, "the branches at {at}");
    let pairs: BTreeMap<u32, (i64, i64)> = snapshot.of(&views.pairs)?.scan().collect::<Result<_>>()?;
    let balance = |account: u32| balances.get(&account).copied().unwrap_or(0);
    for (&account, &pair) in &pairs {
        assert_eq!(
            pair,
            (balance(account), balance(ACCOUNTS - 1 - account)),
            "the pair of {account} at {at}"
        );
    }
    assert!(balances.keys().all(|account| pairs.contains_key(account)), "a pair is missing at {at}");
    Ok(())
}

fn builder(bank: &Bank, random: &mut Random) -> EngineBuilder {
    Engine::builder(&bank.graph)
        .shards(random.pick(&[1, 2, 3, 5]))
        .memory(4 << 20)
        .epoch_records(random.pick(&[3, 300, 30_000]))
        .drain_interval(Duration::from_millis(random.pick(&[1, 10])))
        // Nothing is missing from what was folded so far, either.
        .stale_reads(true)
}

/// Pays, reads and stops in the midst of it.
fn run(bank: &Bank, log: &MemoryChangelog, store: Arc<dyn StateStore>, random: &mut Random) -> u64 {
    let log: Arc<dyn Changelog> = Arc::new(log.reopen());
    let engine = builder(bank, random).changelog(log).store(store).start().unwrap();
    pay_and_read(&engine, bank, random, 40, &|| ())
}

/// Pays so many times, and after each calls `paid`, while others read.
fn pay_and_read(engine: &Engine, bank: &Bank, random: &mut Random, times: usize, paid: &dyn Fn()) -> u64 {
    let views = Views {
        balances: engine.view(&bank.balances).unwrap(),
        branches: engine.view(&bank.branches).unwrap(),
        pairs: engine.view(&bank.pairs).unwrap(),
    };
    // What was there at the start, before anything is folded again.
    check(&engine.snapshot().unwrap(), &views).unwrap();
    let snapshots = AtomicU64::new(0);
    // Whoever pays holds it: the readers end with them, also if they panic.
    let paying = Arc::new(());
    let payments = Arc::downgrade(&paying);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while payments.strong_count() > 0 {
                    check(&engine.snapshot().unwrap(), &views).unwrap();
                    snapshots.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let producer = engine.producer(&bank.transfers).unwrap();
        let mut last = millpond::Position::new();
        for _ in 0..times {
            let transfers: Vec<(u64, Transfer)> = (0..250)
                .map(|_| {
                    let (from, to) =
                        (random.below(ACCOUNTS.into()) as u32, random.below(ACCOUNTS.into()) as u32);
                    (random.number(), (from, to, random.below(1000) as i64))
                })
                .collect();
            let records =
                transfers.iter().map(|(key, transfer)| (key, Some(transfer), random.below(1000) as i64));
            last = producer.send(records.collect::<Vec<_>>()).wait_blocking().unwrap();
            paid();
        }
        // Sometimes everything is folded, sometimes the end comes in between.
        if random.below(2) == 0 {
            engine.wait_for_blocking(&last).unwrap();
        }
        drop(paying);
    });
    check(&engine.snapshot().unwrap(), &views).unwrap();
    snapshots.into_inner()
}

#[test]
fn money_is_never_made_or_lost() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::new();
    let memory: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let log = MemoryChangelog::new();
    let mut snapshots = 0;
    for round in 0..rounds(12) {
        // Two states follow the same log, one of them on disk.
        let store = if round % 2 == 0 {
            let options = millpond::store::RocksOptions::default();
            Arc::new(RocksStore::open(dir.path(), &options).unwrap()) as Arc<dyn StateStore>
        } else {
            Arc::clone(&memory)
        };
        snapshots += run(&bank, &log, store, &mut random);
    }
    println!("{snapshots} snapshots");
    assert!(snapshots > 50, "the readers saw only {snapshots} snapshots");
}

/// The body of the process that is killed; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    // A reader that sees something wrong ends the process, which is how the parent learns of it.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(101);
    }));
    let mut random = Random::new(variable("MILLPOND_SEED").unwrap());
    let bank = Bank::new();
    let engine = builder(&bank, &mut random).dir(&dir).start().unwrap();
    tell("open");
    pay_and_read(&engine, &bank, &mut random, usize::MAX, &|| tell("paid"));
}

#[test]
fn money_survives_kills() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    for kill in 0..rounds(25) {
        let task = [("MILLPOND_SEED", random.number().to_string())];
        let mut child = ChildProcess::spawn(dir.path(), &task);
        let mut payments = random.below(12);
        while let Some(line) = child.line() {
            if line == "open" && payments == 0 {
                break;
            }
            if line == "paid" {
                payments = payments.saturating_sub(1);
                if payments == 0 {
                    break;
                }
            }
        }
        println!("kill {kill}");
        child.kill_after(random.below(1_000_000));
    }
    let bank = Bank::new();
    let engine = builder(&bank, &mut random).dir(dir.path()).start().unwrap();
    pay_and_read(&engine, &bank, &mut random, 1, &|| ());
    engine.catch_up_blocking().unwrap();
    assert_eq!(engine.view(&bank.balances).unwrap().count().unwrap(), u64::from(ACCOUNTS));
    engine.close_blocking().unwrap();
}
