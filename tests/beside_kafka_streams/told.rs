//! What comes out of a log: each final of a window and each pair of a join, without an order.

use serde_json::{Value, json};

/// A window from its start to its end, as either engine says it, its key, and the numbers of its records; 0 is one without a value.
pub(crate) type Final = (i64, i64, u8, Vec<u64>);

/// A key, and the numbers of the records of both sides.
pub(crate) type Pair = (u8, Option<u64>, Option<u64>);

/// All of it, sorted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) tumbling: Vec<Final>,
    pub(crate) hopping: Vec<Final>,
    pub(crate) sliding: Vec<Final>,
    pub(crate) session: Vec<Final>,
    pub(crate) inner: Vec<Pair>,
    pub(crate) left: Vec<Pair>,
    pub(crate) outer: Vec<Pair>,
    pub(crate) as_of: Vec<Pair>,
    pub(crate) left_as_of: Vec<Pair>,
}

impl Told {
    /// The names of its parts, as the Java program has them.
    pub(crate) const PARTS: [&str; 9] =
        ["tumbling", "hopping", "sliding", "session", "inner", "left", "outer", "as_of", "left_as_of"];

    /// As the Java program prints it.
    pub(crate) fn read(printed: &Value) -> Self {
        let finals = |name: &str| printed[name].as_array().unwrap().iter().map(read_final).collect();
        let pairs = |name: &str| printed[name].as_array().unwrap().iter().map(read_pair).collect();
        Self {
            tumbling: finals("tumbling"),
            hopping: finals("hopping"),
            sliding: finals("sliding"),
            session: finals("session"),
            inner: pairs("inner"),
            left: pairs("left"),
            outer: pairs("outer"),
            as_of: pairs("as_of"),
            left_as_of: pairs("left_as_of"),
        }
        .sorted()
    }

    /// Its parts, each to be compared with that of another.
    pub(crate) fn parts(&self) -> [Value; 9] {
        [
            json!(self.tumbling),
            json!(self.hopping),
            json!(self.sliding),
            json!(self.session),
            json!(self.inner),
            json!(self.left),
            json!(self.outer),
            json!(self.as_of),
            json!(self.left_as_of),
        ]
    }

    pub(crate) fn sorted(mut self) -> Self {
        for finals in [&mut self.tumbling, &mut self.hopping, &mut self.sliding, &mut self.session] {
            for (.., numbers) in &mut *finals {
                numbers.sort_unstable();
            }
            finals.sort_unstable();
        }
        for pairs in [&mut self.inner, &mut self.left, &mut self.outer, &mut self.as_of, &mut self.left_as_of]
        {
            pairs.sort_unstable();
        }
        self
    }
}

fn read_final(printed: &Value) -> Final {
    let number = |at: usize| printed[at].as_i64().unwrap();
    let numbers = printed[3].as_array().unwrap().iter().map(|number| number.as_u64().unwrap());
    (number(0), number(1), u8::try_from(number(2)).unwrap(), numbers.collect())
}

fn read_pair(printed: &Value) -> Pair {
    (u8::try_from(printed[0].as_u64().unwrap()).unwrap(), printed[1].as_u64(), printed[2].as_u64())
}
