//! Processes that share a log under one name: one holds the epochs of the name, and commits them when it is told to.
//!
//! What a holder has appended is its own until it is committed, all at once. A process that another one has taken over from
//! may not know it for a while; it learns of it when it commits, as one does that was stopped and goes on.

use super::OwnLog;
use millpond::changelog::Append;
use millpond::changelog::backend::{Commit, EpochMark, Role};
use millpond::changelog::prelude::*;
use millpond::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One process of those that share a log.
pub(super) struct Process {
    number: u64,
    /// Locked before the contents of the log, never behind them.
    tenures: Mutex<BTreeMap<String, Tenure>>,
}

/// What a process is to the epochs of one name.
#[derive(Default)]
struct Tenure {
    holds: bool,
    fenced: bool,
    outbox: Vec<(EpochMark, Vec<Append>)>,
    committed: u64,
    /// So many commits are not known to be done when they are asked for.
    late: u32,
}

impl Process {
    fn tenures(&self) -> MutexGuard<'_, BTreeMap<String, Tenure>> {
        self.tenures.lock().unwrap()
    }

    pub(super) fn uncommitted(&self, producer: &str) -> Vec<EpochMark> {
        let tenures = self.tenures();
        tenures
            .get(producer)
            .into_iter()
            .flat_map(|tenure| &tenure.outbox)
            .map(|(mark, _)| mark.clone())
            .collect()
    }

    pub(super) fn append_epoch(
        &self,
        log: &OwnLog,
        producer: &str,
        mark: &EpochMark,
        appends: Vec<Append>,
    ) -> Result<bool> {
        let mut tenures = self.tenures();
        let tenure = tenures.entry(producer.to_owned()).or_default();
        let contents = log.contents()?;
        let committed = contents.marks.get(producer).into_iter().flatten();
        let last = committed.chain(tenure.outbox.iter().map(|(mark, _)| mark)).next_back();
        if last.is_some_and(|last| last.to.includes(&mark.to)) {
            return Ok(false);
        }
        drop(contents);
        if !tenure.holds || tenure.fenced {
            // Whoever appends without holding finds out that it does not.
            tenure.fenced = true;
            return Err(Error::new(ErrorKind::Unavailable, format!("{producer} is held by another process")));
        }
        tenure.outbox.push((mark.clone(), appends));
        Ok(true)
    }
}

impl OwnLog {
    /// A log with gaps that other [processes](Self::process) share.
    pub fn shared(seed: u64) -> Arc<Self> {
        let log = Self::with_gaps(seed);
        log.process()
    }

    /// Another process of those that share the log.
    pub fn process(&self) -> Arc<Self> {
        let mut contents = self.contents().unwrap();
        contents.processes += 1;
        let process = Process { number: contents.processes, tenures: Mutex::default() };
        let mut abilities = self.abilities;
        abilities.exclusive_names = false;
        Arc::new(Self { contents: self.contents.clone(), abilities, process: Some(process) })
    }

    /// Makes this process the holder of `name`. Whoever was it before finds out when it commits.
    pub fn take_over(&self, name: &str) {
        let Some(process) = &self.process else { return };
        let mut tenures = process.tenures();
        let mut contents = self.contents().unwrap();
        let before = contents.holders.insert(name.to_owned(), process.number);
        let tenure = tenures.entry(name.to_owned()).or_default();
        // What it had begun was aborted when another one took over.
        tenure.fenced |= before != Some(process.number) && !tenure.outbox.is_empty();
        tenure.holds = true;
        drop(tenures);
        contents.wake();
    }

    /// Has so many commits of `name` not be known to be done when they are asked for.
    pub fn delay_commits(&self, name: &str, commits: u32) {
        if let Some(process) = &self.process {
            process.tenures().entry(name.to_owned()).or_default().late = commits;
        }
    }
}

impl RoleLog for OwnLog {
    fn role(&self, producer: &str) -> Role {
        let Some(process) = &self.process else { return Role::Holder };
        match process.tenures().get(producer) {
            Some(tenure) if tenure.fenced => Role::Fenced,
            Some(tenure) if tenure.holds => Role::Holder,
            _ => Role::Follower,
        }
    }

    fn follow(&self, producer: &str, told: Role) -> Result<()> {
        if let Some(process) = &self.process {
            let mut tenures = process.tenures();
            let tenure = tenures.entry(producer.to_owned()).or_default();
            if tenure.fenced && told == Role::Fenced {
                tenure.outbox.clear();
                tenure.fenced = false;
            }
        }
        Ok(())
    }

    fn commit(&self, producer: &str, _: Duration) -> Result<Commit> {
        let Some(process) = &self.process else { return Ok(Commit::Done) };
        let mut tenures = process.tenures();
        let Some(tenure) = tenures.get_mut(producer) else { return Ok(Commit::Done) };
        if tenure.late > 0 && !tenure.outbox.is_empty() {
            tenure.late -= 1;
            return Ok(Commit::Pending);
        }
        let mut contents = self.contents()?;
        if contents.holders.get(producer) != Some(&process.number) || tenure.fenced {
            tenure.holds = false;
            tenure.fenced = !tenure.outbox.is_empty();
            return Ok(if tenure.fenced { Commit::Fenced } else { Commit::Done });
        }
        for (mark, appends) in tenure.outbox.drain(..) {
            contents.marks.entry(producer.to_owned()).or_default().push(mark);
            contents.append(appends)?;
            tenure.committed += 1;
        }
        contents.wake();
        Ok(Commit::Done)
    }

    fn committed(&self, producer: &str) -> Range<u64> {
        let Some(process) = &self.process else { return 0..0 };
        let tenures = process.tenures();
        tenures
            .get(producer)
            .map_or(0..0, |tenure| tenure.committed..tenure.committed + tenure.outbox.len() as u64)
    }
}
