//! Random steps, compared with vectors.

use super::*;

/// A step of the model test.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Append(Vec<(u32, Vec<Record>)>),
    Epoch(u32, Vec<Record>),
    Replay,
    Read(u32, prop::sample::Index, usize),
    Reopen,
}

pub(super) fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0_u64..1000).prop_map(record);
    let some = move |most| proptest::collection::vec(record.clone(), 0..most);
    let step = prop_oneof![
        4 => proptest::collection::vec((0..2_u32, some(12)), 1..3).prop_map(Step::Append),
        2 => (0..2_u32, some(5)).prop_map(|(partition, records)| Step::Epoch(partition, records)),
        1 => Just(Step::Replay),
        3 => (0..2_u32, any::<prop::sample::Index>(), 1..2000_usize).prop_map(|(p, at, bytes)| Step::Read(p, at, bytes)),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Random steps against plain vectors.
pub(super) fn behaves_as_a_vector<S: Subject>(steps: Vec<Step>) {
    let mark = |number| EpochMark { from: position(&[(b(), number)]), to: position(&[(b(), number + 1)]) };
    let mut subject = subject::<S>();
    let mut model = [Vec::new(), Vec::new()];
    let mut epochs = 0;
    for step in steps {
        match step {
            Step::Append(appends) => {
                let mut after = Position::new();
                for (partition, records) in &appends {
                    model[*partition as usize].extend(records.clone());
                    after.set(a(*partition), model[*partition as usize].len() as u64);
                }
                let appends =
                    appends.into_iter().map(|(p, records)| Append { partition: a(p), records }).collect();
                assert_eq!(subject.log().append(appends).wait_blocking().unwrap(), after);
            }
            Step::Epoch(partition, records) => {
                model[partition as usize].extend(records.clone());
                assert!(subject.log().append_epoch("p", &mark(epochs), to(a(partition), records)).unwrap());
                epochs += 1;
            }
            Step::Replay if epochs > 0 => {
                assert!(
                    !subject.log().append_epoch("p", &mark(epochs - 1), to(a(0), records(0..1))).unwrap()
                );
            }
            Step::Replay => {}
            Step::Read(partition, at, max_bytes) => {
                let expected = &model[partition as usize];
                let from = at.index(expected.len() + 1);
                assert_eq!(read_from(subject.log(), &a(partition), from as u64, max_bytes), expected[from..]);
            }
            Step::Reopen => subject = subject.reopen(),
        }
    }
    for (partition, expected) in (0..).zip(&model) {
        assert_eq!(read_from(subject.log(), &a(partition), 0, 500), *expected);
    }
}
