//! Random steps, compared with vectors.

use super::*;

/// A step of the model test.
#[derive(Debug, Clone)]
pub enum Step {
    Append(Vec<(u32, Vec<Record>)>),
    Epoch(u32, Vec<Record>),
    Replay,
    /// Of a partition, from so many records on, modulo how many there are, in steps of so many bytes.
    Read(u32, usize, usize),
    Reopen,
}

/// Numbers that look random, the same for the same seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn records(&mut self, most: u64) -> Vec<Record> {
        (0..self.below(most)).map(|_| record(self.below(1000))).collect()
    }

    fn partition(&mut self) -> u32 {
        u32::from(self.below(2) == 1)
    }

    fn step(&mut self) -> Step {
        match self.below(11) {
            0..4 => Step::Append((0..=self.below(2)).map(|_| (self.partition(), self.records(12))).collect()),
            4 | 5 => Step::Epoch(self.partition(), self.records(5)),
            6 => Step::Replay,
            7..10 => {
                let (at, bytes) = (self.below(1000), 1 + self.below(2000));
                Step::Read(self.partition(), usize::try_from(at).unwrap(), usize::try_from(bytes).unwrap())
            }
            _ => Step::Reopen,
        }
    }
}

pub fn some_random_steps<S: Subject>() {
    for seed in 1..4_u64 {
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let steps: Vec<Step> = (0..30).map(|_| numbers.step()).collect();
        println!("seed {seed}");
        behaves_as_a_vector::<S>(steps);
    }
}

/// Random steps against plain vectors.
pub fn behaves_as_a_vector<S: Subject>(steps: Vec<Step>) {
    let mark = |number| EpochMark { from: position(&[(b(), number)]), to: position(&[(b(), number + 1)]) };
    let mut subject = subject::<S>();
    let abilities = subject.log().abilities();
    let mut model = [Vec::new(), Vec::new()];
    let mut epochs = 0;
    for step in steps {
        match step {
            Step::Append(appends) => append(subject.log(), &mut model, appends),
            Step::Epoch(partition, records) if appends_epochs(subject.log()) => {
                model[partition as usize].extend(records.clone());
                assert!(subject.log().append_epoch("p", &mark(epochs), to(a(partition), records)).unwrap());
                if !abilities.dense_offsets {
                    // Others can read it once it is durable.
                    subject.log().sync().unwrap();
                }
                epochs += 1;
            }
            Step::Replay if epochs > 0 => {
                assert!(
                    !subject.log().append_epoch("p", &mark(epochs - 1), to(a(0), records(0..1))).unwrap()
                );
            }
            Step::Epoch(..) | Step::Replay => {}
            Step::Read(partition, at, max_bytes) => {
                let expected = &model[partition as usize];
                let from = at % (expected.len() + 1);
                let placed = read_placed(subject.log(), &a(partition), 0, 1 << 20);
                let offset =
                    placed.get(from).map_or(ends(subject.log(), &a(partition)).end, |(offset, _)| *offset);
                assert_eq!(read_from(subject.log(), &a(partition), offset, max_bytes), expected[from..]);
            }
            Step::Reopen => subject = subject.reopen(),
        }
    }
    for (partition, expected) in (0..).zip(&model) {
        assert_eq!(read_from(subject.log(), &a(partition), 0, 500), *expected);
    }
}

/// Appends, and checks what is acknowledged.
fn append(log: &impl Changelog, model: &mut [Vec<Record>; 2], appends: Vec<(u32, Vec<Record>)>) {
    let mut named = [false; 2];
    for (partition, records) in &appends {
        model[*partition as usize].extend(records.clone());
        named[*partition as usize] |= !records.is_empty() || log.abilities().dense_offsets;
    }
    let appends = appends.into_iter().map(|(p, records)| Append { partition: a(p), records }).collect();
    let after = log.append(appends).wait_blocking().unwrap();
    for partition in (0..2).filter(|partition| named[*partition as usize]) {
        let (end, expected) = (after.known(&a(partition)).unwrap(), model[partition as usize].len());
        let placed = read_placed(log, &a(partition), 0, 1 << 20);
        assert_eq!(placed.len(), expected);
        assert_eq!(end, placed.last().map_or(0, |(last, _)| last + 1), "{after}");
    }
}
