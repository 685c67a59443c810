//! The ledger: a small service whose every answer can be worked out from its changelog alone.
//!
//! Every payment carries a number that no other payment has, so that one that was lost, repeated or moved shows.
//! The balances depend on the order of the payments of an account, the branches are balances grouped again, and
//! every payment is passed on to the derived topic `receipts`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    missing_debug_implementations,
    missing_docs,
    reason = "a ledger is small, and its parts are what their names say"
)]

mod lives;

pub use lives::{audit_lives, live_thrice, pay, pay_and_kill, pay_until_killed, take_up};

use crate::random::Random;
use crate::records::{self, partition, record};
use millpond::changelog::{Append, Changelog, EmbeddedChangelog, EmbeddedOptions, Record};
use millpond::codec::KeyCodec;
use millpond::{
    Engine, EngineBuilder, Graph, GraphBuilder, Position, Result, Snapshot, Stepper, StoredTable,
    TableOptions, Topic, TopicPartition, View,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const PARTITIONS: u32 = 2;
const ACCOUNTS: u64 = 23;
const BRANCHES: u32 = 5;

/// How many payments, their sum, and a number that depends on their order.
pub type Balance = (u64, u64, u64);

/// The graph with its handles.
pub struct Ledger {
    pub graph: Graph,
    pub payments: Topic<u32, u64>,
    pub receipts: Topic<u32, u64>,
    pub balances: StoredTable<u32, Balance>,
    pub branches: StoredTable<u32, u64>,
}

impl Ledger {
    /// The ledger with this version of its tables.
    pub fn new(version: u32) -> Self {
        let payments = Topic::<u32, u64>::new("payments").partitions(PARTITIONS);
        let receipts = Topic::<u32, u64>::new("receipts").partitions(PARTITIONS);
        let graph = GraphBuilder::new();
        let stream = graph.stream(&payments);
        stream.to(&receipts);
        let balances = stream.group_by_key().fold(
            TableOptions::named("balances").version(version),
            || (0, 0, 0),
            |balance: &mut Balance, _, payment| *balance = paid(*balance, payment),
        );
        let branches = balances.group_by(|account, balance| (account % BRANCHES, balance.1)).fold(
            TableOptions::named("branches").version(version),
            || 0,
            |sum: &mut u64, _, paid| *sum += paid,
            |sum, _, paid| *sum -= paid,
        );
        let graph = graph.build().unwrap();
        Self { graph, payments, receipts, balances, branches }
    }

    /// An engine with its state in `dir` and with limits drawn at random.
    pub fn builder(
        &self,
        dir: &Path,
        random: &mut Random,
        changelog: Arc<EmbeddedChangelog>,
    ) -> EngineBuilder {
        Engine::builder(&self.graph)
            .changelog(changelog)
            .state_dir(dir.join("state"))
            .shards(random.pick(&[1, 2, 4]))
            .memory(8 << 20)
            .epoch_records(random.pick(&[1, 7, 100, 10_000]))
            .drain_interval(Duration::from_millis(random.pick(&[1, 4, 30, 1000])))
    }
}

fn paid((count, sum, order): Balance, payment: u64) -> Balance {
    (count + 1, sum + payment, order.wrapping_mul(31).wrapping_add(payment))
}

pub fn open_changelog(dir: &Path) -> Result<EmbeddedChangelog> {
    let options = EmbeddedOptions::default().segment_bytes(16 << 10);
    EmbeddedChangelog::open(dir, options)
}

/// All records of a topic by partition, in offset order.
pub fn read(changelog: &dyn Changelog, topic: &Topic<u32, u64>) -> Result<Vec<Vec<(u32, u64)>>> {
    let pair = |record: &Record| -> (u32, u64) {
        let key = u32::decode_whole_key(record.key.as_ref().unwrap()).unwrap();
        (key, topic.codec().decode(record.value.as_ref().unwrap()).unwrap())
    };
    (0..PARTITIONS)
        .map(|number| Ok(records::read(changelog, &partition(topic, number))?.iter().map(pair).collect()))
        .collect()
}

/// What the tables must hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Books {
    balances: BTreeMap<u32, Balance>,
    branches: BTreeMap<u32, u64>,
}

impl Books {
    /// The plain fold of the payments below `position`.
    pub fn folded(payments: &[Vec<(u32, u64)>], position: &Position) -> Self {
        let mut books = Self::default();
        for (partition, payments) in (0..).zip(payments) {
            let end = position.offset(&TopicPartition::new("payments", partition)) as usize;
            assert!(end <= payments.len(), "the state stands at {position}, the changelog ends before it");
            for &(account, payment) in &payments[..end] {
                let balance = books.balances.entry(account).or_default();
                *balance = paid(*balance, payment);
            }
        }
        for (account, balance) in &books.balances {
            *books.branches.entry(account % BRANCHES).or_default() += balance.1;
        }
        books
    }

    pub fn balances(&self) -> &BTreeMap<u32, Balance> {
        &self.balances
    }

    /// What the tables hold in `snapshot`.
    pub fn shown(
        snapshot: &Snapshot,
        balances: &View<u32, Balance>,
        branches: &View<u32, u64>,
    ) -> Result<Self> {
        Ok(Self {
            balances: snapshot.of(balances)?.scan().collect::<Result<_>>()?,
            branches: snapshot.of(branches)?.scan().collect::<Result<_>>()?,
        })
    }
}

/// What was acknowledged: the payment at (partition, offset).
pub type Acknowledged = BTreeMap<(u32, u64), u64>;

/// Compares what a reopened ledger shows with its changelog, as it was recovered and again when it has caught up.
/// Returns how many payments there are.
pub fn audit(ledger: &Ledger, stepper: &mut Stepper, acknowledged: &Acknowledged) -> Result<usize> {
    let changelog = Arc::clone(stepper.changelog());
    let payments = read(&*changelog, &ledger.payments)?;
    for (&(partition, offset), payment) in acknowledged {
        let kept = payments[partition as usize].get(offset as usize).map(|(_, payment)| payment);
        assert_eq!(kept, Some(payment), "acknowledged, in partition {partition} at offset {offset}");
    }
    let all: BTreeSet<u64> = payments.iter().flatten().map(|&(_, payment)| payment).collect();
    assert_eq!(all.len(), payments.iter().flatten().count(), "a payment is in the changelog more than once");
    check_books(ledger, stepper, &payments)?;
    check_receipts(&payments, &read(&*changelog, &ledger.receipts)?, &stepper.position());
    while stepper.epoch(10_000)? {}
    while stepper.is_building() {
        stepper.epoch(10_000)?;
    }
    check_books(ledger, stepper, &payments)?;
    let position = stepper.position();
    for (partition, payments) in (0..).zip(&payments) {
        let end = position.offset(&TopicPartition::new("payments", partition));
        assert_eq!(end, payments.len() as u64, "caught up in partition {partition}");
    }
    check_receipts(&payments, &read(&*changelog, &ledger.receipts)?, &position);
    Ok(all.len())
}

fn check_books(ledger: &Ledger, stepper: &Stepper, payments: &[Vec<(u32, u64)>]) -> Result<()> {
    if stepper.is_building() {
        return Ok(());
    }
    let (balances, branches) = (stepper.view(&ledger.balances)?, stepper.view(&ledger.branches)?);
    let snapshot = stepper.snapshot()?;
    let expected = Books::folded(payments, snapshot.position());
    assert_eq!(Books::shown(&snapshot, &balances, &branches)?, expected, "at {}", snapshot.position());
    assert_eq!(balances.count()?, expected.balances.len() as u64, "at {}", snapshot.position());
    for (account, balance) in &expected.balances {
        assert_eq!(balances.get(account)?.as_ref(), Some(balance), "account {account}");
    }
    Ok(())
}

/// Every payment below `position` has one receipt, in the order of its account; none has two.
fn check_receipts(payments: &[Vec<(u32, u64)>], receipts: &[Vec<(u32, u64)>], position: &Position) {
    let by_account = |records: &[Vec<(u32, u64)>]| {
        let mut numbers = BTreeMap::<u32, Vec<u64>>::new();
        for &(account, payment) in records.iter().flatten() {
            numbers.entry(account).or_default().push(payment);
        }
        numbers
    };
    let (paid, issued) = (by_account(payments), by_account(receipts));
    for (account, numbers) in &issued {
        let paid = paid.get(account).map_or(&[][..], Vec::as_slice);
        assert!(paid.starts_with(numbers), "account {account}: receipts {numbers:?}, payments {paid:?}");
    }
    let issued: BTreeSet<u64> = issued.into_values().flatten().collect();
    for (partition, payments) in (0..).zip(payments) {
        let end = position.offset(&TopicPartition::new("payments", partition)) as usize;
        for (offset, (_, payment)) in payments[..end].iter().enumerate() {
            assert!(issued.contains(payment), "no receipt for payment {payment} at {partition}/{offset}");
        }
    }
}

/// Appends one batch of payments numbered from `first` on, and returns what its acknowledgement will confirm.
pub fn batch(random: &mut Random, first: u64, payments: u64) -> (Vec<Append>, Acknowledgeable) {
    let topic = Topic::<u32, u64>::new("payments");
    let mut records: Vec<Vec<Record>> = vec![Vec::new(); PARTITIONS as usize];
    let mut numbers = vec![Vec::new(); PARTITIONS as usize];
    for payment in first..first + payments {
        let account = random.below(ACCOUNTS) as u32;
        let partition = (account % PARTITIONS) as usize;
        records[partition].push(record(&topic, &account, Some(&payment)).at(payment as i64));
        numbers[partition].push(payment);
    }
    let appends = (0..).zip(records).filter(|(_, records)| !records.is_empty());
    let appends = appends
        .map(|(partition, records)| Append { partition: TopicPartition::new("payments", partition), records })
        .collect();
    (appends, Acknowledgeable(numbers))
}

/// The payments of one append, by partition.
#[derive(Debug)]
pub struct Acknowledgeable(Vec<Vec<u64>>);

impl Acknowledgeable {
    /// Where they are, given the position that the append was acknowledged with.
    pub fn at(&self, position: &Position) -> Acknowledged {
        let mut all = Acknowledged::new();
        for (partition, numbers) in (0..).zip(&self.0) {
            let end = position.offset(&TopicPartition::new("payments", partition));
            for (offset, number) in (end.saturating_sub(numbers.len() as u64)..).zip(numbers) {
                all.insert((partition, offset), *number);
            }
        }
        all
    }
}
