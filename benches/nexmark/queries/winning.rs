//! The bids that win: queries 4, 6 and 9.
//!
//! A bid counts from the time at which its auction begins up to the one at which it expires. The highest wins; of equal ones the first,
//! and of those of one moment the least, so that it is the same in whatever order they come.
//!
//! Auctions and bids are put in the order of time first, as partitions may be far apart: an auction expires with the first record of its
//! own behind its end, and without that it would do so before a bid that has waited in another partition.

use super::{Answers, GRACE, Source};
use crate::events::{Auction, Bid, Event};
use crate::generator::{auction_id, person_id};
use millpond::aggregate::mean;
use millpond::stream::{Alarmed, Emit};
use millpond::{Process, Stream};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// An auction that is over, and the bid that has won it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Won {
    pub(crate) auction: Auction,
    pub(crate) bid: Bid,
}

/// Tells of each auction once it has expired.
struct Winning;

/// What is known of an auction.
#[derive(Clone, Serialize, Deserialize)]
enum Known {
    /// Bids of the millisecond in which it may begin, and which may come before it.
    Waiting(Vec<Bid>),
    Open(Box<Open>),
}

/// An auction, and the best bid on it so far.
#[derive(Clone, Serialize, Deserialize)]
struct Open {
    auction: Auction,
    best: Option<Bid>,
}

impl Open {
    /// Takes the bid in if it counts and is better.
    fn bid(&mut self, bid: Bid) {
        let rank = |bid: &Bid| (bid.price, Reverse(bid.at_ms));
        let counts = (self.auction.at_ms..=self.auction.expires_ms).contains(&bid.at_ms);
        let is_better = |best: &Bid| (rank(best), &bid) < (rank(&bid), best);
        if counts && self.best.as_ref().is_none_or(is_better) {
            self.best = Some(bid);
        }
    }
}

impl Process<u64, Event> for Winning {
    type State = Known;
    type OutKey = u64;
    type OutValue = Won;

    fn process(&self, _: &u64, event: Event, known: &mut Option<Known>, emit: &mut Emit<u64, Won>) {
        match event {
            Event::Auction(auction) => {
                emit.set_alarm(Some(auction.expires_ms + 1));
                let mut open = Open { auction, best: None };
                if let Some(Known::Waiting(bids)) = known.take() {
                    for bid in bids {
                        open.bid(bid);
                    }
                }
                *known = Some(Known::Open(Box::new(open)));
            }
            Event::Bid(bid) => match known.get_or_insert_with(|| Known::Waiting(Vec::new())) {
                Known::Open(open) => open.bid(bid),
                Known::Waiting(bids) => {
                    emit.set_alarm(Some(bid.at_ms + 1));
                    bids.push(bid);
                }
            },
            Event::Person(_) => {}
        }
    }
}

impl Alarmed<u64, Event> for Winning {
    fn alarm(&self, id: &u64, _: i64, known: &mut Option<Known>, emit: &mut Emit<u64, Won>) {
        if let Some(Known::Open(open)) = known.take()
            && let Some(bid) = open.best
        {
            emit.push(*id, Won { auction: open.auction, bid });
        }
    }
}

fn winning(source: &Source) -> Stream<u64, Won> {
    let events = source.auctions_and_bids().in_time_order("waiting", GRACE);
    events.process_with_alarms("auctions", Winning).0
}

/// Query 4.
pub(super) fn by_category(source: &Source) -> Answers {
    let prices = winning(source).map(|_, won| (won.auction.category, won.bid.price)).group_by_key();
    let means = prices
        .aggregate("prices", mean(|price: &u64| *price))
        .map_values(|_, mean| mean.total() / i128::from(mean.count()).max(1));
    Answers::table(&means.materialize("means"), |number| 10 + number % 5)
}

/// Query 6: the last ten by when they expired.
pub(super) fn by_seller(source: &Source) -> Answers {
    let last = winning(source)
        .map(|auction, won| (won.auction.seller, (won.auction.expires_ms, auction, won.bid.price)))
        .group_by_key()
        .top_k("last", 10, |sold| *sold);
    let means = last.map_values(|_, sold| {
        let prices = sold.iter().map(|(_, _, price)| *price);
        prices.sum::<u64>() / (sold.len() as u64).max(1)
    });
    Answers::table(&means.materialize("means"), person_id)
}

/// Query 9.
pub(super) fn of_each(source: &Source) -> Answers {
    Answers::table(&winning(source).to_table("won"), auction_id)
}
