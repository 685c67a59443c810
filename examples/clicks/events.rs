//! Page views that nobody made: the same ones for every run, as a number and a seed say all of them.
//!
//! Visitors come, look at some pages with a few seconds between them, and leave; some users and some pages are far more popular than
//! others. Views arrive out of order by a few seconds. A few arrive after a minute or two, as from a phone in a tunnel.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// The first of January 2026, in milliseconds since 1970.
pub(crate) const BEGIN_MS: i64 = 1_767_225_600_000;

const USERS: usize = 5_000;
const PAGES: usize = 200;
const SECTIONS: [&str; 5] = ["news", "shop", "help", "blog", "jobs"];
/// So many visit at a time.
const VISITORS: usize = 300;
const VIEWS_PER_SECOND: i64 = 25;

/// A user looks at a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageView {
    pub(crate) user: u32,
    pub(crate) page: String,
    pub(crate) at_ms: i64,
}

/// A user who is there, and how many pages are left to look at.
struct Visitor {
    user: u32,
    left: u32,
}

/// Views in the order in which they arrive, without end.
pub(crate) struct Events {
    random: Xoshiro256PlusPlus,
    users: Zipf,
    pages: Zipf,
    visitors: Vec<Visitor>,
    number: i64,
}

impl Events {
    pub(crate) fn new() -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(9);
        let (users, pages) = (Zipf::new(USERS), Zipf::new(PAGES));
        let visitors = (0..VISITORS).map(|_| visitor(&users, &mut random)).collect();
        Self { random, users, pages, visitors, number: 0 }
    }
}

impl Iterator for Events {
    type Item = PageView;

    fn next(&mut self) -> Option<PageView> {
        let random = &mut self.random;
        let place = random.random_range(0..VISITORS);
        let visitor_there = self.visitors.get_mut(place)?;
        let user = visitor_there.user;
        visitor_there.left -= 1;
        if visitor_there.left == 0 {
            *visitor_there = visitor(&self.users, random);
        }
        let rank = self.pages.draw(random);
        let section = SECTIONS.get(rank % SECTIONS.len())?;
        let delay_ms = match random.random_range(0..200) {
            0 => random.random_range(20_000..120_000),
            _ => random.random_range(0..4_000),
        };
        let at_ms = BEGIN_MS + self.number * 1_000 / VIEWS_PER_SECOND - delay_ms;
        self.number += 1;
        Some(PageView { user, page: format!("/{section}/{rank}"), at_ms })
    }
}

fn visitor(users: &Zipf, random: &mut Xoshiro256PlusPlus) -> Visitor {
    let user = u32::try_from(users.draw(random)).unwrap_or_default();
    Visitor { user, left: random.random_range(1..=30) }
}

/// Draws ranks from 0 on: that of `n` in proportion to `1 / (n + 1)`. In whole numbers, so that every machine draws the same.
struct Zipf {
    /// The weight of each rank with all before it.
    up_to: Vec<u64>,
}

impl Zipf {
    fn new(count: usize) -> Self {
        let weights = (1..).take(count).scan(0, |sum, rank| {
            *sum += 1_000_000 / rank;
            Some(*sum)
        });
        Self { up_to: weights.collect() }
    }

    fn draw(&self, random: &mut impl RngExt) -> usize {
        let drawn = random.random_range(0..self.up_to.last().copied().unwrap_or(1));
        self.up_to.partition_point(|up_to| *up_to <= drawn)
    }
}
