//! One service as several processes that take over from each other: start it three times, kill any of them, and see that what the
//! service writes is there once.
//!
//! ```text
//! card-payments (customer, cents) ─► number them by customer ─┬─► accounts: a table, in every process
//!                                                             └─► receipts: a topic, written by one of them, the holder
//! ```
//!
//! In a checkout, with Java (`scripts/setup --kafka`); each process in a terminal of its own. Topics are created.
//!
//! ```text
//! scripts/broker start
//! cargo build --release -p millpond-kafka --example replicas
//! target/release/examples/replicas run --dir /tmp/replica-1
//! target/release/examples/replicas run --dir /tmp/replica-2
//! target/release/examples/replicas run --dir /tmp/replica-3
//! target/release/examples/replicas feed            # appends 200 payments a second, until Ctrl-C
//! ```
//!
//! Each process tells once a second whether it is the holder or a follower, how many records it has yet to fold, how far it is in each
//! partition, and some accounts: they are the same everywhere. Now kill any of them (`kill -9`), halt one (`kill -STOP`, later
//! `kill -CONT`), or end it with Ctrl-C, and start it again with its directory. If it was the holder, a follower takes over: with
//! its next heartbeat, a second at most, if it was closed, and after `--session-ms` if it was killed. Until then the others stand
//! still. Then look whether every payment has its receipt, once:
//!
//! ```text
//! target/release/examples/replicas check
//! scripts/broker console-consumer --topic receipts --from-beginning --isolation-level read_committed
//! scripts/broker groups --describe --group replicas --members      # who is in, and who has the one partition
//! ```

use clap::{Parser, Subcommand};
use millpond::changelog::{Changelog, Producer, Role};
use millpond::codec::{Json, Utf8};
use millpond::stream::Emit;
use millpond::{
    Engine, Graph, GraphBuilder, Health, Process, Result, Stats, StoredTable, SystemClock, Topic,
};
use millpond_kafka::Kafka;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// One service as several processes, which take over from each other.
#[derive(Parser)]
#[command(name = "replicas")]
struct Arguments {
    /// The brokers to ask for all others, apart by commas
    #[arg(long, value_name = "HOST:PORT,..", default_value = "127.0.0.1:9092", global = true)]
    bootstrap: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one process of the service: start several, each with a directory of its own
    Run {
        /// Keeps the tables of this process, and how far they are, in this directory
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,

        /// A process that was killed is missed after so long; brokers refuse less than 6000 unless they are told otherwise
        #[arg(long, value_name = "MS", default_value_t = 6000)]
        session_ms: u32,
    },
    /// Appends payments, for which the service writes receipts
    Feed {
        /// So many a second
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,

        /// Ends after so many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Reads all payments and receipts, and says whether each payment has its receipt, once
    Check,
}

type Outcome<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const CUSTOMERS: [&str; 5] = ["ada", "bob", "cy", "dora", "eve"];

/// How long `check` waits for receipts that are missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a customer has paid so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    payments: u64,
    cents: u64,
}

impl Account {
    fn pay(&mut self, cents: u64) {
        self.payments += 1;
        self.cents += cents;
    }
}

/// What the service writes for a payment: the account is that after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    cents: u64,
    account: Account,
}

fn payments() -> Topic<String, u64> {
    // Not `payments`, which the README creates with other partitions.
    Topic::with_codec("card-payments", Json).keys(Utf8).partitions(3)
}

fn receipts() -> Topic<String, Receipt> {
    Topic::with_codec("receipts", Json).keys(Utf8).partitions(3)
}

/// Receipts are numbered, so one that is missing or there twice shows, whatever process has written it.
struct Receive;

impl Process<String, u64> for Receive {
    type State = Account;
    type OutKey = String;
    type OutValue = Receipt;

    fn process(
        &self,
        customer: &String,
        cents: u64,
        state: &mut Option<Account>,
        emit: &mut Emit<String, Receipt>,
    ) {
        let account = state.get_or_insert_default();
        account.pay(cents);
        emit.push(customer.clone(), Receipt { cents, account: *account });
    }
}

fn service() -> Result<(Graph, StoredTable<String, Account>)> {
    let graph = GraphBuilder::new();
    let (written, accounts) = graph.stream(&payments()).process("accounts", Receive);
    written.to(&receipts());
    Ok((graph.build()?, accounts))
}

/// Topics that are missing are created, with as many replicas as the brokers give them.
fn kafka(service: &str, bootstrap: &str) -> Kafka {
    Kafka::new(service).bootstrap(bootstrap).create_topics(-1)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("replicas: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(Arguments { bootstrap, command }: &Arguments) -> Outcome<ExitCode> {
    let told = until_told()?;
    match command {
        Command::Run { dir, session_ms } => take_part(bootstrap, dir, *session_ms, told).await?,
        Command::Feed { rate, count } => feed(bootstrap, *rate, *count, told).await?,
        Command::Check => return check(bootstrap).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Resolves at Ctrl-C, or when the process is asked to end.
fn until_told() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Is one process of the service until it is told to end.
async fn take_part(bootstrap: &str, dir: &Path, session_ms: u32, told: impl Future<Output = ()>) -> Outcome {
    let (graph, accounts) = service()?;
    let kafka = kafka("replicas", bootstrap)
        .property("session.timeout.ms", session_ms.to_string())
        .property("heartbeat.interval.ms", (session_ms / 6).max(1).to_string());
    let engine = Engine::builder(&graph).dir(dir).changelog(kafka).start()?;
    let (mut told, mut second) = (pin!(told), tokio::time::interval(Duration::from_secs(1)));
    loop {
        tokio::select! {
            () = &mut told => break,
            _ = second.tick() => writeln!(io::stdout(), "{}", state(&engine, &accounts)?)?,
        }
    }
    eprintln!("closing: another process may take over");
    Ok(engine.close().await?)
}

/// A line on where the process stands.
fn state(engine: &Engine, accounts: &StoredTable<String, Account>) -> Outcome<String> {
    let Stats { health, role, position, lag, .. } = engine.stats();
    if let Health::Stopped { reason, .. } = health {
        return Err(reason.into());
    }
    let role = match role {
        Some(Role::Holder) => "holder",
        Some(Role::Follower) => "follower",
        Some(Role::Fenced) => "fenced",
        _ => "alone",
    };
    let lag: u64 = lag.values().sum();
    // Until it has caught up, the table does not answer.
    let rows = match engine.view(accounts)?.scan() {
        Ok(rows) => rows.take(3).collect::<Result<Vec<_>>>()?,
        Err(error) => return Ok(format!("{role:8}  lag {lag:<6}  at {position}  {error}")),
    };
    let row = |(customer, Account { payments, cents }): &(String, Account)| {
        format!("{customer}: {payments} payments, {cents} cents")
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    Ok(format!("{role:8}  lag {lag:<6}  at {position}  {}", rows.join("; ")))
}

/// Appends payments, a tenth of a second's worth at a time.
async fn feed(bootstrap: &str, rate: u32, count: Option<u64>, told: impl Future<Output = ()>) -> Outcome {
    let log = Arc::new(kafka("replicas-feed", bootstrap).open()?);
    let producer = Producer::new(log.clone(), &payments(), Arc::new(SystemClock))?;
    let (mut told, mut tenth) = (pin!(told), tokio::time::interval(Duration::from_millis(100)));
    let mut numbers = 0..count.unwrap_or(u64::MAX);
    eprintln!("appending payments; Ctrl-C ends it");
    while !numbers.is_empty() {
        tokio::select! {
            () = &mut told => break,
            _ = tenth.tick() => {}
        }
        let some = numbers.by_ref().take(rate.div_ceil(10) as usize);
        let appended: Vec<_> = some
            .filter_map(|number| {
                let customer = CUSTOMERS.get(usize::try_from(number % 5).ok()?)?;
                Some(producer.put(*customer, &(number * 7919 % 10_000 + 1)))
            })
            .collect();
        for append in appended {
            append.await?;
        }
    }
    writeln!(io::stdout(), "{} payments were appended", numbers.start)?;
    Ok(log.close()?)
}

/// What is known of a customer's receipts, read one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Audit {
    account: Account,
    /// Receipts that do not follow the one before.
    wrong: u64,
}

impl Audit {
    fn read(&mut self, receipt: Receipt) {
        self.account.pay(receipt.cents);
        self.wrong += u64::from(self.account != receipt.account);
        // So that one mistake counts once.
        self.account = receipt.account;
    }
}

/// Folds payments and receipts, as another service would, and compares them.
async fn check(bootstrap: &str) -> Outcome<ExitCode> {
    let graph = GraphBuilder::new();
    let paid =
        graph.stream(&payments()).group_by_key().fold("paid", Account::default, |account, _, cents| {
            account.pay(cents);
        });
    let audits =
        graph.stream(&receipts()).group_by_key().fold("audits", Audit::default, |audit, _, receipt| {
            audit.read(receipt);
        });
    let engine =
        Engine::builder(&graph.build()?).in_memory().changelog(kafka("replicas-check", bootstrap)).start()?;
    engine.ready().await?;
    let (paid, audits) = (engine.view(&paid)?, engine.view(&audits)?);
    let begun = Instant::now();
    loop {
        let (mut payments, mut receipts, mut wrong, mut are_same) = (0, 0, 0, true);
        for row in paid.scan()? {
            let (customer, account) = row?;
            let audit = audits.get(&customer)?.unwrap_or_default();
            payments += account.payments;
            receipts += audit.account.payments;
            wrong += audit.wrong;
            are_same &= audit.account == account;
        }
        let is_over = are_same || wrong > 0 || begun.elapsed() > PATIENCE;
        if !is_over {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        let found = format!("{payments} payments, {receipts} receipts");
        let verdict = match (are_same, wrong) {
            (true, 0) => "each payment has its receipt, once".to_owned(),
            (_, 0) => "some have none yet: does a process of the service run, and no `feed`?".to_owned(),
            _ => format!("{wrong} receipts do not follow the one before"),
        };
        writeln!(io::stdout(), "{found}: {verdict}")?;
        engine.close().await?;
        return Ok(if are_same && wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
}
