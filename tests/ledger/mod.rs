//! The ledger: a small service whose every answer can be worked out from its changelog alone, and the child
//! processes in which it dies.
//!
//! Every payment carries a number that no other payment has, so that one that was lost, repeated or moved shows.
//! The balances depend on the order of the payments of an account, the branches are balances grouped again, and
//! every payment is passed on to the derived topic `receipts`.

use millpond::changelog::{Append, Changelog, EmbeddedChangelog, EmbeddedOptions, Record};
use millpond::codec::KeyCodec;
use millpond::{Engine, EngineBuilder, Graph, GraphBuilder, Position, Result, Snapshot, StoreOptions};
use millpond::{Stepper, StoredTable, Topic, TopicPartition, View};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub(crate) const PARTITIONS: u32 = 2;
const ACCOUNTS: u64 = 23;
const BRANCHES: u32 = 5;

/// How many payments, their sum, and a number that depends on their order.
pub(crate) type Balance = (u64, u64, u64);

/// The graph with its handles.
pub(crate) struct Ledger {
    pub(crate) graph: Graph,
    pub(crate) payments: Topic<u32, u64>,
    pub(crate) receipts: Topic<u32, u64>,
    pub(crate) balances: StoredTable<u32, Balance>,
    pub(crate) branches: StoredTable<u32, u64>,
}

impl Ledger {
    /// The ledger with this version of its tables.
    pub(crate) fn new(version: u32) -> Self {
        let payments = Topic::<u32, u64>::new("payments").partitions(PARTITIONS);
        let receipts = Topic::<u32, u64>::new("receipts").partitions(PARTITIONS);
        let graph = GraphBuilder::new();
        let stream = graph.stream(&payments);
        stream.to(&receipts);
        let balances = stream.group_by_key().fold(
            StoreOptions::named("balances").version(version),
            || (0, 0, 0),
            |balance: &mut Balance, _, payment| *balance = paid(*balance, payment),
        );
        let branches = balances.group_by(|account, balance| (account % BRANCHES, balance.1)).fold(
            StoreOptions::named("branches").version(version),
            || 0,
            |sum: &mut u64, _, paid| *sum += paid,
            |sum, _, paid| *sum -= paid,
        );
        let graph = graph.build().unwrap();
        Self { graph, payments, receipts, balances, branches }
    }

    /// An engine with its state in `dir` and with limits drawn at random.
    pub(crate) fn builder(
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

pub(crate) fn open_changelog(dir: &Path) -> Result<EmbeddedChangelog> {
    let options = EmbeddedOptions { segment_bytes: 16 << 10, ..EmbeddedOptions::default() };
    EmbeddedChangelog::open(dir, options)
}

/// All records of a topic by partition, in offset order.
pub(crate) fn read(changelog: &dyn Changelog, topic: &Topic<u32, u64>) -> Result<Vec<Vec<(u32, u64)>>> {
    let mut partitions = Vec::new();
    for partition in 0..PARTITIONS {
        let partition = TopicPartition::new(Arc::clone(topic.name()), partition);
        let mut reader = changelog.reader(&partition, changelog.offsets(&partition)?.start)?;
        let mut records = Vec::new();
        loop {
            let batches = reader.poll(1 << 20)?;
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                for record in &batch.decode()? {
                    let key = u32::decode_whole_key(record.key).unwrap();
                    records.push((key, topic.codec().decode(record.value.unwrap()).unwrap()));
                }
            }
        }
        partitions.push(records);
    }
    Ok(partitions)
}

/// What the tables must hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    balances: BTreeMap<u32, Balance>,
    branches: BTreeMap<u32, u64>,
}

impl Books {
    /// The plain fold of the payments below `position`.
    pub(crate) fn folded(payments: &[Vec<(u32, u64)>], position: &Position) -> Self {
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

    pub(crate) fn balances(&self) -> &BTreeMap<u32, Balance> {
        &self.balances
    }

    /// What the tables hold in `snapshot`.
    pub(crate) fn shown(
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
pub(crate) type Acknowledged = BTreeMap<(u32, u64), u64>;

/// Compares what a reopened ledger shows with its changelog, as it was recovered and again when it has caught up.
/// Returns how many payments there are.
pub(crate) fn audit(ledger: &Ledger, stepper: &mut Stepper, acknowledged: &Acknowledged) -> Result<usize> {
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
pub(crate) fn batch(random: &mut Random, first: u64, payments: u64) -> (Vec<Append>, Acknowledgeable) {
    let codec = Topic::<u32, u64>::new("payments");
    let mut records: Vec<Vec<Record>> = vec![Vec::new(); PARTITIONS as usize];
    let mut numbers = vec![Vec::new(); PARTITIONS as usize];
    for payment in first..first + payments {
        let account = random.below(ACCOUNTS) as u32;
        let partition = (account % PARTITIONS) as usize;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        account.encode_key(&mut key);
        codec.codec().encode(&payment, &mut value).unwrap();
        records[partition].push(Record::new(key, value).at(payment as i64));
        numbers[partition].push(payment);
    }
    let appends = (0..).zip(records).filter(|(_, records)| !records.is_empty());
    let appends = appends
        .map(|(partition, records)| Append { partition: TopicPartition::new("payments", partition), records })
        .collect();
    (appends, Acknowledgeable(numbers))
}

/// The payments of one append, by partition.
pub(crate) struct Acknowledgeable(Vec<Vec<u64>>);

impl Acknowledgeable {
    /// Where they are, given the position that the append was acknowledged with.
    pub(crate) fn at(&self, position: &Position) -> Acknowledged {
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

/// Pays without end, or `batches` times, a few appends ahead of their acknowledgements, and reports each of these
/// on the standard output.
pub(crate) fn pay(
    changelog: &dyn Changelog,
    random: &mut Random,
    mut next: u64,
    batches: usize,
) -> Result<()> {
    let mut waiting = VecDeque::new();
    for _ in 0..batches {
        let payments = 1 + random.below(12);
        let (appends, numbers) = batch(random, next, payments);
        next += payments;
        waiting.push_back((changelog.append(appends), numbers));
        if waiting.len() > 3 {
            let (ack, numbers) = waiting.pop_front().unwrap();
            report(&numbers.at(&ack.wait_blocking()?));
        }
    }
    for (ack, numbers) in waiting {
        report(&numbers.at(&ack.wait_blocking()?));
    }
    Ok(())
}

/// Tells the parent process that this was acknowledged.
pub(crate) fn report(acknowledged: &Acknowledged) {
    let mut lines = Vec::new();
    for ((partition, offset), payment) in acknowledged {
        writeln!(lines, "ack {partition} {offset} {payment}").unwrap();
    }
    // Not `println!`, which the test harness may capture.
    std::io::stdout().write_all(&lines).unwrap();
}

/// Tells the parent process anything else.
pub(crate) fn tell(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// This test program once more, to run its test `child` alone with what `task` says in the environment.
pub(crate) struct ChildProcess {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Ends the watch over the child when it is dropped.
    _watched: mpsc::Sender<()>,
}

/// A child that lives longer hangs.
const LONGEST_LIFE: Duration = Duration::from_secs(300);

/// Kills a process that hangs, so that the test fails instead of hanging with it.
fn watch(pid: u32) -> mpsc::Sender<()> {
    let (watched, end) = mpsc::channel();
    std::thread::spawn(move || {
        if end.recv_timeout(LONGEST_LIFE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("process {pid} hangs and is killed");
            Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        }
    });
    watched
}

impl ChildProcess {
    pub(crate) fn spawn(environment: &[(&str, String)]) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .envs(environment.iter().cloned());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let watched = watch(child.id());
        Self { child, lines, _watched: watched }
    }

    /// The next line that the child told; `None` when it has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // The last line of a killed process may be torn.
        let read = self.lines.read_line(&mut line).unwrap();
        (read > 0 && line.ends_with('\n')).then(|| line.trim_end().to_owned())
    }

    /// Kills the child as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for the end: what the child told, what it said on the standard error, and how it ended.
    pub(crate) fn end(mut self) -> (Vec<String>, String, std::process::ExitStatus) {
        let stderr = self.child.stderr.take().unwrap();
        // Read beside the other, so that the child never waits for its reader.
        let stderr = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default());
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            lines.push(line);
        }
        let status = self.child.wait().unwrap();
        (lines, stderr.join().unwrap(), status)
    }
}

/// Takes up what a line of [`report`] says.
pub(crate) fn take_up(acknowledged: &mut Acknowledged, line: &str) -> bool {
    let Some(numbers) = line.strip_prefix("ack ") else { return false };
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    acknowledged.insert((numbers[0] as u32, numbers[1]), numbers[2]);
    true
}

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// The seed of this run: from `MILLPOND_SEED`, else a new one. Printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let fresh = || RandomState::new().build_hasher().finish();
    let seed = std::env::var("MILLPOND_SEED").map_or_else(|_| fresh(), |seed| seed.parse().unwrap());
    println!("repeat with MILLPOND_SEED={seed}");
    seed
}

/// How many rounds: from `MILLPOND_ROUNDS`, else `usual`.
pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("MILLPOND_ROUNDS").map_or(usual, |rounds| rounds.parse().unwrap())
}
