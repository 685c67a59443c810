//! The changelogs of this crate, as the suite has them.

use super::*;
use crate::changelog_contract;
use proptest::prelude::*;
use tempfile::TempDir;

struct InMemory(MemoryChangelog);

impl Subject for InMemory {
    type Log = MemoryChangelog;
    const LEASES_OUTLIVE_IT: bool = true;
    const REMEMBERS: bool = true;
    const BEGINS_TERMS: bool = true;

    fn open(clock: Arc<ManualClock>) -> Self {
        Self(MemoryChangelog::with_clock(clock))
    }

    fn log(&self) -> &MemoryChangelog {
        &self.0
    }

    fn reopen(self) -> Self {
        self.0.close().unwrap();
        Self(self.0.reopen())
    }
}

struct Embedded {
    log: Option<EmbeddedChangelog>,
    clock: Arc<ManualClock>,
    dir: TempDir,
}

impl Embedded {
    fn options(clock: Arc<ManualClock>) -> EmbeddedOptions {
        EmbeddedOptions {
            clock,
            durability: Durability::Os,
            segment_bytes: 2000,
            max_batch_bytes: 300,
            ..EmbeddedOptions::default()
        }
    }
}

impl Subject for Embedded {
    type Log = EmbeddedChangelog;
    const LEASES_OUTLIVE_IT: bool = false;
    const REMEMBERS: bool = true;
    const BEGINS_TERMS: bool = true;

    fn open(clock: Arc<ManualClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedChangelog::open(dir.path(), Self::options(clock.clone())).unwrap();
        Self { log: Some(log), clock, dir }
    }

    fn log(&self) -> &EmbeddedChangelog {
        self.log.as_ref().unwrap()
    }

    fn reopen(mut self) -> Self {
        self.log.take().unwrap().close().unwrap();
        self.log = Some(EmbeddedChangelog::open(self.dir.path(), Self::options(self.clock.clone())).unwrap());
        self
    }
}

changelog_contract! { in_memory: InMemory }
changelog_contract! { embedded: Embedded }

fn any_steps() -> impl Strategy<Value = Vec<model::Step>> {
    use model::Step;
    let record = (0_u64..1000).prop_map(record);
    let some = move |most| proptest::collection::vec(record.clone(), 0..most);
    let step = prop_oneof![
        4 => proptest::collection::vec((0..2_u32, some(12)), 1..3).prop_map(Step::Append),
        2 => (0..2_u32, some(5)).prop_map(|(partition, records)| Step::Epoch(partition, records)),
        1 => Just(Step::Replay),
        3 => (0..2_u32, any::<usize>(), 1..2000_usize).prop_map(|(p, at, bytes)| Step::Read(p, at, bytes)),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn in_memory_behaves_as_a_vector(steps in any_steps()) {
        model::behaves_as_a_vector::<InMemory>(steps);
    }

    #[test]
    fn embedded_behaves_as_a_vector(steps in any_steps()) {
        model::behaves_as_a_vector::<Embedded>(steps);
    }
}

#[test]
fn a_crash_in_memory_takes_back_what_was_not_synced() {
    let mark = |from, to| EpochMark { from: position(&[(b(), from)]), to: position(&[(b(), to)]) };
    let log = subject::<InMemory>().0;
    log.append_epoch("p", &mark(0, 1), to(a(0), records(0..1))).unwrap();
    log.sync().unwrap();
    log.append_epoch("p", &mark(1, 2), to(a(0), records(1..2))).unwrap();
    let after = log.crash();
    assert_eq!(kind(log.topics()), ErrorKind::Closed);
    assert_eq!(read_from(&after, &a(0), 0, 100), records(0..1));
    assert!(!after.append_epoch("p", &mark(0, 1), vec![]).unwrap());
    assert!(after.append_epoch("p", &mark(1, 2), to(a(0), records(1..2))).unwrap());
}
