//! Everything that there is, and what happens to it.

use super::brokers::{Brokers, Committed, LOOSE, MARKS, OUTPUTS};
use super::process::{Process, offset, output};
use millpond_engine::changelog::EpochMark;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

const PROCESSES: usize = 3;

/// So many things may happen within each other.
const DEEPEST: usize = 3;

/// So much happens while one of them is halted.
const HALT: usize = 24;

/// So often everyone gets a turn until what is to be done must be done.
const ROUNDS: usize = 60;

/// What is drawn, one after the other; nothing but zeros at its end.
struct Tape {
    drawn: Vec<u16>,
    next: usize,
}

impl Tape {
    fn draw(&mut self) -> u16 {
        let drawn = self.drawn.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        drawn
    }

    fn is_over(&self) -> bool {
        self.next >= self.drawn.len()
    }
}

pub(super) struct World {
    tape: Mutex<Tape>,
    brokers: Mutex<Brokers>,
    /// Those that run.
    processes: OnceLock<Vec<Mutex<Arc<Process>>>>,
    /// Those that leave, or were stopped by an error, while others have taken their places.
    leaving: Mutex<Vec<Arc<Process>>>,
    depth: AtomicUsize,
    /// Of so many calls one goes another way than usual.
    calm: u16,
    /// Before so many calls something else happens once.
    order: u16,
    pub(super) sends_loose: bool,
    /// How many transactions were committed when the log was looked at last.
    checked: AtomicUsize,
}

impl World {
    pub(super) fn new(drawn: Vec<u16>) -> Arc<Self> {
        let mut tape = Tape { drawn, next: 0 };
        let calm = [8, 20, 60, 4][usize::from(tape.draw() % 4)];
        let order = [4, 10, 3, 40][usize::from(tape.draw() % 4)];
        let sends_loose = tape.draw() % 4 == 3;
        let world = Arc::new(Self {
            tape: Mutex::new(tape),
            brokers: Mutex::default(),
            processes: OnceLock::new(),
            leaving: Mutex::default(),
            depth: AtomicUsize::new(0),
            calm,
            order,
            sends_loose,
            checked: AtomicUsize::new(0),
        });
        let processes = (0..PROCESSES).map(|_| Mutex::new(Process::start(&world, 0, 0))).collect();
        assert!(world.processes.set(processes).is_ok());
        world
    }

    pub(super) fn draw(&self) -> u16 {
        self.tape.lock().unwrap().draw()
    }

    fn is_over(&self) -> bool {
        self.tape.lock().unwrap().is_over()
    }

    pub(super) fn brokers(&self) -> MutexGuard<'_, Brokers> {
        self.brokers.lock().unwrap()
    }

    /// One of so many ways: the first one is the usual one.
    pub(super) fn way(&self, ways: u16) -> u16 {
        let drawn = self.draw();
        if drawn % self.calm == self.calm - 1 { 1 + drawn / self.calm % (ways - 1) } else { 0 }
    }

    pub(super) fn process(&self, number: usize) -> Arc<Process> {
        let processes = self.processes.get().unwrap();
        Arc::clone(&processes[number].lock().unwrap())
    }

    fn processes(&self) -> impl Iterator<Item = Arc<Process>> {
        (0..PROCESSES).map(|number| self.process(number))
    }

    /// Another process in the place of the one with this number, on what that had made durable.
    fn restart(self: &Arc<Self>, number: usize) {
        let (drained, built) = self.process(number).drained();
        let next = Process::start(self, drained, built);
        *self.processes.get().unwrap()[number].lock().unwrap() = next;
    }

    /// Whatever may happen in between.
    pub(super) fn meanwhile(&self) {
        // What comes late comes while something else is under way.
        if !self.brokers().late.is_empty() && self.draw() % 4 == 3 {
            self.arrive();
        }
        while self.depth.load(Ordering::Relaxed) < DEEPEST && self.draw() % self.order == self.order - 1 {
            // Whoever is in the middle of something may be halted for long.
            let is_halted = self.draw() % 8 == 7;
            self.depth.fetch_add(1, Ordering::Relaxed);
            for _ in 0..if is_halted { HALT } else { 1 } {
                self.happen();
            }
            self.depth.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn happen(&self) {
        let drawn = self.draw();
        let (what, number) = (drawn % 32, usize::from(drawn / 32) % PROCESSES);
        let process = self.process(number);
        self.trace(what, number, &process);
        match what {
            0..=7 => process.step(self),
            8..=14 => process.write(),
            15..=18 => process.drain(self),
            19 | 20 => process.assign(true),
            21 => process.assign(false),
            // As a group does: one of them, and no other; and everyone hears of it.
            22 | 23 => {
                for (other, process) in self.processes().enumerate() {
                    process.assign(other == number);
                }
                for process in self.processes() {
                    process.write();
                    process.step(self);
                    process.write();
                }
            }
            24 | 25 => _ = self.brokers().mark_an_end(usize::from(self.draw())),
            26 => self.arrive(),
            27 => self.write_of_those_who_leave(),
            28 => {
                let before = u64::from(self.draw() % 64);
                let end = self.brokers().end(MARKS);
                process.forget(self, end.saturating_sub(before));
            }
            29 => {
                let mut brokers = self.brokers();
                if self.draw() % 4 == 3 {
                    brokers.time_out();
                }
            }
            30 => process.kill(),
            _ => process.tenure.leave(),
        }
        self.check();
    }

    /// Prints what is about to happen, where `MILLPOND_TRACE` is set.
    fn trace(&self, what: u16, number: usize, process: &Process) {
        if std::env::var_os("MILLPOND_TRACE").is_none() {
            return;
        }
        let depth = self.depth.load(Ordering::Relaxed);
        let state = process.tenure.state();
        let (outbox, standing) = (state.outbox.len(), state.standing());
        let brokers = self.brokers();
        let (marks, stable) = (brokers.marks.len(), brokers.stable(MARKS));
        println!(
            "{:depth$}{what} of process {number}: {standing:?}, assigned {}, {outbox} in the outbox, published \
             {}, durable {:?}; {marks} marks, stable {stable}",
            "",
            state.assigned,
            process.published(),
            process.drained()
        );
    }

    fn arrive(&self) {
        let mut brokers = self.brokers();
        if let Some(late) = brokers.late.pop_front() {
            brokers.arrive(late);
        }
    }

    fn write_of_those_who_leave(&self) {
        let leaving = self.leaving.lock().unwrap().clone();
        for process in &leaving {
            process.write();
        }
    }

    /// Others take the places of those that were killed, have stopped or leave.
    fn replace(self: &Arc<Self>) {
        for number in 0..PROCESSES {
            let process = self.process(number);
            let leaves = process.tenure.state().leaving.is_some();
            if leaves {
                self.restart(number);
                if !process.is_dead() {
                    self.leaving.lock().unwrap().push(process);
                }
            }
        }
        self.leaving.lock().unwrap().retain(|process| !process.has_ended.load(Ordering::Relaxed));
    }

    /// Things happen, until the tape is at its end.
    pub(super) fn run(self: &Arc<Self>) {
        while !self.is_over() {
            self.happen();
            self.replace();
        }
    }

    /// Nothing goes wrong any more, and one process is to hold: it does, and the others follow.
    pub(super) fn calm_down(self: &Arc<Self>) {
        while !self.brokers().late.is_empty() {
            self.arrive();
        }
        let before = self.end();
        for _ in 0..ROUNDS {
            self.replace();
            self.write_of_those_who_leave();
            for number in 0..PROCESSES {
                let process = self.process(number);
                process.assign(number == 0);
                // Whoever follows has to catch up.
                for _ in 0..=2 * number.min(1) {
                    process.step(self);
                }
                process.write();
                process.drain(self);
            }
            self.brokers().mark_ends();
            self.check();
        }
        let end = self.end();
        assert!(end >= before + ROUNDS as u64 / 2, "in {ROUNDS} rounds it went from {before} to {end} only");
        for number in 0..PROCESSES {
            let process = self.process(number);
            let (drained, _) = process.drained();
            assert!(drained + 5 >= end, "process {number} is at {drained} of {end}");
        }
    }

    /// Where the last epoch ended that is committed.
    fn end(&self) -> u64 {
        self.brokers().marks.last().map_or(0, |last| offset(&last.mark.epoch.to))
    }

    /// What is durable somewhere must be committed, and end where an epoch does.
    pub(super) fn check_durable(&self, position: u64) {
        let ends: BTreeSet<u64> =
            self.brokers().marks.iter().map(|committed| offset(&committed.mark.epoch.to)).collect();
        assert!(
            position == 0 || ends.contains(&position),
            "{position} is durable, and the epochs end at {ends:?}"
        );
    }

    /// What must hold of the log, and of what is known of it, at any moment.
    fn check(&self) {
        let brokers = self.brokers();
        if self.checked.swap(brokers.commits, Ordering::Relaxed) != brokers.commits {
            self.check_log(&brokers);
        }
        let end = brokers.marks.last().map_or(0, |last| offset(&last.mark.epoch.to));
        let is_committed =
            |mark: &EpochMark| brokers.marks.iter().rev().any(|committed| committed.mark.epoch == *mark);
        for process in self.processes() {
            let state = process.tenure.state();
            assert!(state.last.as_ref().is_none_or(is_committed), "{:?} is not committed", state.last);
            assert!(state.own.iter().all(is_committed), "what it says of its own is not committed");
            drop(state);
            let (drained, built) = process.drained();
            assert!(
                drained <= end && built <= end,
                "{drained} and {built} are durable, and {end} is committed"
            );
        }
    }

    fn check_log(&self, brokers: &Brokers) {
        let mut end = 0;
        let mut outputs = Vec::new();
        for Committed { mark, .. } in &brokers.marks {
            let (from, to) = (offset(&mark.epoch.from), offset(&mark.epoch.to));
            assert!(from == end && to > from, "{from}..{to} was marked behind {end}");
            end = to;
            outputs.extend((from..to).map(|record| output(&mark.holder, (from, to), record)));
        }
        let text = |(_, value): (u64, Vec<u8>)| String::from_utf8(value).unwrap();
        let there: Vec<_> = brokers.committed(OUTPUTS, 0..u64::MAX).into_iter().map(text).collect();
        assert_eq!(there, outputs, "outputs are there once, and are those of their marks");
        if self.sends_loose {
            let there: BTreeSet<_> = brokers.committed(LOOSE, 0..u64::MAX).into_iter().map(text).collect();
            assert!(
                outputs.iter().all(|output| there.contains(output)),
                "what needs no transaction is missing"
            );
        }
    }
}
