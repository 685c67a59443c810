//! Samples: the values that leaves are given.

/// Which samples are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Those that most types accept; others at the places where they are refused.
    Usual,
    /// The least numbers, and nothing where nothing may be.
    Least,
    /// The usual ones, and something where nothing may be, but so many levels deep only.
    Filled(usize),
    /// The greatest numbers, and text that is nothing but text.
    Greatest,
}

/// How many samples a leaf has.
pub(super) const SAMPLES: usize = 12;

/// How many kinds of data there are that say themselves what they are.
pub(super) const KINDS: usize = 7;

/// Texts that types with a form of their own may accept.
const TEXTS: [&str; SAMPLES] = [
    "a",
    "1",
    "1970-01-01",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "00:00:00",
    "127.0.0.1",
    "127.0.0.1:80",
    "67e55044-10b1-426f-9247-bb680e5fe0c8",
    "http://a.example/",
    "a@a.example",
    "",
];

const NUMBERS: [i64; SAMPLES] = [1, 0, 2, 3, 10, 16, 100, 255, 1000, 65_535, 1_000_000, -1];

/// Lengths of byte strings, among them those of addresses, keys and digests.
const LENGTHS: [usize; SAMPLES] = [1, 0, 16, 4, 8, 20, 32, 12, 24, 48, 64, 2];

impl Mode {
    pub(super) fn text(self, choice: usize) -> &'static str {
        match self {
            Self::Usual | Self::Filled(_) => TEXTS.get(choice).copied().unwrap_or_default(),
            Self::Least => "",
            Self::Greatest => "\u{10ffff}\"\\ \u{0}",
        }
    }

    pub(super) fn number<N: TryFrom<i64>>(self, choice: usize, (least, greatest): (N, N)) -> N {
        match self {
            Self::Usual | Self::Filled(_) => {
                NUMBERS.get(choice).and_then(|&number| N::try_from(number).ok()).unwrap_or(greatest)
            }
            Self::Least => least,
            Self::Greatest => greatest,
        }
    }

    pub(super) fn float(self, choice: usize) -> f64 {
        match self {
            Self::Usual | Self::Filled(_) => {
                NUMBERS.get(choice).copied().and_then(|n| i32::try_from(n).ok()).map_or(1.0, f64::from)
            }
            Self::Least => -1.5e30,
            Self::Greatest => 1.5e30,
        }
    }

    pub(super) fn bytes(self, choice: usize) -> Vec<u8> {
        let length = match self {
            Self::Usual | Self::Filled(_) => LENGTHS.get(choice).copied().unwrap_or_default(),
            Self::Least => 0,
            Self::Greatest => 17,
        };
        vec![if self == Self::Greatest { 0xff } else { 1 }; length]
    }

    pub(super) fn char(self) -> char {
        match self {
            Self::Usual | Self::Filled(_) => 'a',
            Self::Least => '\0',
            Self::Greatest => char::MAX,
        }
    }

    /// Whether there is something where there may be nothing, inside of so much else that might be nothing.
    pub(super) fn is_some(self, level: usize) -> bool {
        match self {
            Self::Usual | Self::Greatest => true,
            Self::Least => false,
            Self::Filled(levels) => level < levels,
        }
    }
}
