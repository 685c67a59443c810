//! Counts the records of a topic by the direct path, decoding every batch, and tells how many that were in a second, and in a
//! second of the processor.
//!
//! `fetch_count BOOTSTRAP TOPIC [THREADS]`: with several threads each reads its share of the partitions. `KAFKA_USER` and
//! `KAFKA_PASSWORD` log in, by `KAFKA_MECHANISM` (PLAIN, SCRAM-SHA-256, or SCRAM-SHA-512 if it is not set); `KAFKA_CA` encrypts,
//! and is a file with the certificates to trust.

use millpond_engine::changelog::PartitionReader;
use millpond_engine::{Error, Result, TopicPartition};
use millpond_kafka::fetch::{FetchConfig, FetchReader, Fetcher, Sasl, SaslMechanism, Tls};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What one thread has seen.
#[derive(Default)]
struct Seen {
    records: u64,
    bytes: u64,
    stored: u64,
    sum: u64,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(bootstrap), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err(Error::invalid("usage: fetch_count BOOTSTRAP TOPIC [THREADS]"));
    };
    let threads: usize = arguments.next().and_then(|threads| threads.parse().ok()).unwrap_or(1);
    let mut config = FetchConfig::new(&bootstrap);
    secure(&mut config)?;
    let fetcher = Fetcher::connect(config)?;
    let found = fetcher.topics(&[&topic])?.swap_remove(0)?;
    let mut shares: Vec<Vec<(FetchReader, u64)>> = (0..threads).map(|_| Vec::new()).collect();
    let (began, used) = (Instant::now(), processor_time());
    for (place, partition) in found.partitions.iter().enumerate() {
        let partition = TopicPartition::new(Arc::clone(&found.name), partition.partition);
        let offsets = fetcher.offsets(&partition)?;
        let reader = fetcher.reader(&partition, offsets.start)?;
        if let Some(share) = shares.get_mut(place % threads) {
            share.push((reader, offsets.end));
        }
    }
    let counted: Vec<Seen> = std::thread::scope(|scope| {
        let running: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(|| count(&fetcher, share))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Seen>>| {
            thread.join().unwrap_or_else(|_| Err(Error::internal("a thread has panicked")))
        };
        running.into_iter().map(join).collect::<Result<_>>()
    })?;
    let (took, used) = (began.elapsed().as_secs_f64(), processor_time() - used);
    let sum = |of: fn(&Seen) -> u64| counted.iter().map(of).sum::<u64>();
    let (records, bytes, stored) =
        (sum(|seen| seen.records), sum(|seen| seen.bytes), sum(|seen| seen.stored));
    println!(
        "{records} records, {bytes} bytes of keys and values ({stored} stored, sum {}) in {took:.2} s: {:.2} M/s, \
         {:.2} M per second of the processor ({used:.2} s)",
        sum(|seen| seen.sum),
        millions(records) / took,
        millions(records) / used
    );
    Ok(())
}

/// As the environment says.
fn secure(config: &mut FetchConfig) -> Result<()> {
    let variable = |name| std::env::var(name).ok();
    if let (Some(user), Some(password)) = (variable("KAFKA_USER"), variable("KAFKA_PASSWORD")) {
        let mechanism = match variable("KAFKA_MECHANISM").as_deref() {
            Some("PLAIN") => SaslMechanism::Plain,
            Some("SCRAM-SHA-256") => SaslMechanism::ScramSha256,
            _ => SaslMechanism::ScramSha512,
        };
        config.security.sasl = Some(Sasl::new(mechanism, user, password));
    }
    if let Some(path) = variable("KAFKA_CA") {
        let pem = std::fs::read(&path)
            .map_err(|error| Error::invalid(format!("{path} cannot be read")).with_source(error))?;
        config.security.tls = Some(Tls::trusting(pem));
    }
    Ok(())
}

/// Reads every partition of `share` to its end.
fn count(fetcher: &Fetcher, mut share: Vec<(FetchReader, u64)>) -> Result<Seen> {
    let (waker, woken) = waker();
    fetcher.watch(Arc::downgrade(&waker));
    let mut seen = Seen::default();
    loop {
        let mut idle = true;
        let mut done = true;
        for (reader, end) in &mut share {
            if reader.offset() >= *end {
                continue;
            }
            done = false;
            for batch in reader.poll(1 << 20)? {
                idle = false;
                seen.stored += batch.stored_bytes() as u64;
                for record in &batch.decode()? {
                    seen.records += 1;
                    let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
                    seen.bytes += (key.len() + value.len()) as u64;
                    seen.sum = seen.sum.wrapping_add(u64::from(key.last().copied().unwrap_or_default()));
                }
            }
        }
        if done {
            return Ok(seen);
        }
        if idle {
            // A wake-up between the polls and here is in the channel.
            let _ = woken.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// Something to be woken by, and where that is noticed.
fn waker() -> (Arc<dyn Fn() + Send + Sync>, Receiver<()>) {
    let (sender, receiver) = channel();
    (
        Arc::new(move || {
            let _ = sender.send(());
        }),
        receiver,
    )
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn millions(records: u64) -> f64 {
    records as f64 / 1e6
}

/// What this process has used of the processor so far, in seconds; Linux only.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
