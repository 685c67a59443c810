//! Branches: how a value was made from its record, as a path whose order is that of the values.
//!
//! A path is a string of bits, compared from the left. What is made from a value gets a code behind its path, which
//! sorts like the number it stands for and begins no other code; where two streams become one, the side is put in front of
//! all that was made before. The codes are short for small numbers: a value that is the only one costs four bits. What is
//! made for a key begins a new path, with a hash of the key and of the path so far: tables that derive from tables may be
//! stacked as high as one likes.
//!
//! A path that has no room left ends in a hash of what it would have been: still a function of the input, and distinct
//! but for a chance of 2^-48, though in an arbitrary order.

/// The left end of a path of up to [`MOST_BITS`] bits; the rest is zeros, then whether no record is to blame, and the number of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Branch {
    /// In two halves, so that a stamp needs no alignment of 16 bytes.
    high: u64,
    low: u64,
}

const LENGTH_BITS: u32 = 7;
const LENGTH: u128 = (1 << LENGTH_BITS) - 1;

/// Set in what time has caused and no record, and in all that is made of it.
const OF_TIME: u64 = 1 << LENGTH_BITS;
const TAIL_BITS: u32 = LENGTH_BITS + 1;
const TAIL: u128 = (1 << TAIL_BITS) - 1;
const MOST_BITS: u32 = 128 - TAIL_BITS;

/// How many bits of hash stand for a key, or for a path that has no room.
const HASH_BITS: u32 = 48;

/// So many bytes of a key keep their order.
const KEY_BYTES: usize = 4;
const KEY_BITS: u32 = 32;

/// Payloads of the codes, in bits: so many ones and a zero come before each, but for the last one.
const PAYLOADS: [u32; 5] = [3, 6, 12, 20, 64];

impl Branch {
    /// That of the same cause with this path.
    fn moved(self, path: u128, length: u32) -> Self {
        let whole = (path & !TAIL) | u128::from(self.low & OF_TIME) | u128::from(length);
        #[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
        let (high, low) = ((whole >> 64) as u64, whole as u64);
        Self { high, low }
    }

    fn path(self) -> (u128, u32) {
        let whole = (u128::from(self.high) << 64) | u128::from(self.low);
        (whole & !TAIL, u32::try_from(whole & LENGTH).unwrap_or(MOST_BITS))
    }

    /// The same path, of what time has caused.
    pub(super) fn of_time(self) -> Self {
        Self { low: self.low | OF_TIME, ..self }
    }

    /// Whether time has caused it, and no record.
    pub(super) fn is_of_time(self) -> bool {
        self.low & OF_TIME != 0
    }

    /// The same path, of what has caused `other`.
    pub(super) fn caused_as(self, other: Self) -> Self {
        Self { low: (self.low & !OF_TIME) | (other.low & OF_TIME), ..self }
    }

    /// The `index`th that is made from this one.
    pub(super) fn then(self, index: u64) -> Self {
        let (code, length) = code(index);
        self.append(code, length)
    }

    /// What is made from this one for a key; of several values that come on different paths the order is lost.
    pub(super) fn then_key(self, encoded_key: &[u8]) -> Self {
        let made_from = self.bytes().chain(encoded_key.iter().copied());
        self.moved(0, 0).append(u128::from(hash(made_from)), HASH_BITS)
    }

    /// This one, where it comes on the `index`th of so many ways. It takes as many bits as the number of the last way.
    pub(super) fn on_way(self, index: usize, ways: usize) -> Self {
        let last = ways.saturating_sub(1);
        let bits = usize::BITS - last.leading_zeros();
        if bits == 0 {
            return self;
        }
        let (path, length) = self.path();
        let path = ((index.min(last) as u128) << (128 - bits)) | (path >> bits);
        if length + bits > MOST_BITS {
            return self.full(path, self.bytes());
        }
        self.moved(path, length + bits)
    }

    /// The two halves, as which it is stored.
    pub(super) fn halves(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// What is made for the value that has this path of the record at `place`: in the order of places, then of paths, as far as there
    /// is room.
    pub(super) fn of_value((high, low): (u64, u64), place: u64) -> Self {
        let of_record = Self { high, low };
        let (path, length) = of_record.path();
        let path = (u128::from(place) << 64) | (path >> 64);
        if length + 64 > MOST_BITS {
            return Self::default().full(path, of_record.bytes().chain(place.to_le_bytes()));
        }
        Self::default().moved(path, length + 64)
    }

    /// What is made for a key, in the order of keys whose first bytes differ.
    pub(super) fn then_in_order(self, encoded_key: &[u8]) -> Self {
        let first = encoded_key.iter().chain(std::iter::repeat(&0)).take(KEY_BYTES);
        let first = first.fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        let bits = (first << HASH_BITS) | u128::from(hash(encoded_key.iter().copied()));
        self.append(bits, HASH_BITS + KEY_BITS)
    }

    /// The left end of the path: of what was made [in the order of keys](Self::then_in_order), the first bytes of the key, and the
    /// greatest part of its hash.
    pub(super) fn left(self) -> (u64, u64) {
        let hash_bits = u64::BITS - KEY_BITS;
        (self.high >> hash_bits, self.high & ((1 << hash_bits) - 1))
    }

    fn append(self, bits: u128, count: u32) -> Self {
        let (path, length) = self.path();
        if length + count > MOST_BITS {
            return self.full(path, self.bytes().chain(bits.to_le_bytes()));
        }
        self.moved(path | (bits << (128 - length - count)), length + count)
    }

    /// The beginning of `path`, and a hash of `made_from` for what has no room.
    fn full(self, path: u128, made_from: impl Iterator<Item = u8>) -> Self {
        let hash = u128::from(hash(made_from)) << TAIL_BITS;
        let kept = !((1_u128 << (HASH_BITS + TAIL_BITS)) - 1);
        self.moved((path & kept) | hash, MOST_BITS)
    }

    fn bytes(self) -> impl Iterator<Item = u8> {
        self.high.to_le_bytes().into_iter().chain(self.low.to_le_bytes())
    }
}

/// The code of a number, and how many bits it has. No code begins another one, and they sort like their numbers.
fn code(mut number: u64) -> (u128, u32) {
    for (ones, payload) in (0_u32..).zip(PAYLOADS) {
        let numbers = 1_u64.checked_shl(payload).unwrap_or(0);
        if numbers == 0 {
            // All ones: the last kind of code needs no zero behind them.
            return (((1 << ones) - 1) << payload | u128::from(number), ones + payload);
        }
        if number < numbers {
            let prefix = ((1_u128 << ones) - 1) << 1;
            return ((prefix << payload) | u128::from(number), ones + 1 + payload);
        }
        number -= numbers;
    }
    (0, 0)
}

/// FNV-1a, folded: fixed for ever and independent of the process, unlike the hash maps' own hashers.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> HASH_BITS)) & ((1 << HASH_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EDGES: [u64; 12] = [0, 1, 7, 8, 71, 72, 4167, 4168, 1_052_743, 1_052_744, u64::MAX - 1, u64::MAX];

    #[test]
    fn codes_sort_like_their_numbers_and_begin_no_other() {
        let aligned = |number| {
            let (bits, length) = code(number);
            (bits << (128 - length), length)
        };
        for pair in EDGES.windows(2) {
            let ((low, length), (high, _)) = (aligned(pair[0]), aligned(pair[1]));
            assert!(low < high, "{pair:?}");
            assert_ne!(low >> (128 - length), high >> (128 - length), "{pair:?}");
        }
    }

    /// What is done to a value on its way; five streams become one.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Made(u64),
        Way(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<(bool, u64, u64)>> {
        let number = prop_oneof![4 => 0..10_u64, 1 => 0..100_000_u64];
        prop::collection::vec((any::<bool>(), number.clone(), number), 0..6)
    }

    proptest! {
        /// Two values of one record that went the same way through a graph: paths compare like lists of numbers, the last
        /// side first.
        #[test]
        fn paths_sort_like_lists(shape in steps()) {
            let walk = |second: bool| {
                let mut branch = Branch::default();
                let mut list: std::collections::VecDeque<u64> = [].into();
                for &(merges, one, other) in &shape {
                    let number = if second { other } else { one };
                    let step = if merges { Step::Way(number % 5) } else { Step::Made(number) };
                    match step {
                        Step::Made(number) => {
                            branch = branch.then(number);
                            list.push_back(number);
                        }
                        Step::Way(way) => {
                            branch = branch.on_way(usize::try_from(way).unwrap(), 5);
                            list.push_front(way);
                        }
                    }
                }
                (branch, list)
            };
            let ((one, first), (other, second)) = (walk(false), walk(true));
            prop_assert_eq!(one.cmp(&other), first.cmp(&second));
        }

        #[test]
        fn a_path_without_room_stays_distinct(numbers in prop::collection::btree_set(any::<u64>(), 2..20)) {
            let deep = (0..12_u64).fold(Branch::default(), |branch, level| branch.then(level * 5000));
            let made: std::collections::BTreeSet<Branch> =
                numbers.iter().flat_map(|number| [deep.then(*number), deep.then(*number).on_way(1, 2)]).collect();
            prop_assert_eq!(made.len(), numbers.len() * 2);
        }

        #[test]
        fn what_time_has_caused_stays_known_and_keeps_its_order(numbers in prop::collection::vec(any::<u64>(), 1..12), way in 0..3_usize) {
            let walk = |mut branch: Branch| {
                for number in &numbers {
                    branch = branch.then(*number).on_way(way, 3);
                }
                (branch, branch.then_key(b"key").then_in_order(b"key").then(3))
            };
            let ((plain, of_key), (of_time, of_time_and_key)) = (walk(Branch::default()), walk(Branch::default().of_time()));
            prop_assert!(!plain.is_of_time() && !of_key.is_of_time());
            prop_assert!(of_time.is_of_time() && of_time_and_key.is_of_time());
            if numbers.len() < 2 {
                prop_assert_eq!(plain.path(), of_time.path());
            }
        }

        #[test]
        fn keys_are_told_apart_and_what_is_made_for_one_keeps_its_order(keys in prop::collection::btree_set(any::<u32>(), 2..40)) {
            let record = Branch::default().then(3);
            let made: std::collections::BTreeSet<Branch> =
                keys.iter().map(|key| record.then_key(&key.to_be_bytes())).collect();
            prop_assert_eq!(made.len(), keys.len());
            // However high tables are stacked, what is made of one value keeps its order.
            for mut branch in made {
                for level in 0..20_u64 {
                    prop_assert!((0..100).map(|index| branch.then(index)).is_sorted_by(|a, b| a < b));
                    branch = branch.then(level).then(1).then_key(&level.to_be_bytes());
                }
            }
        }
    }
}
