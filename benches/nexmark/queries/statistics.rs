//! Reports by day, in UTC: queries 15, 16 and 17.
//!
//! How many different bidders and auctions there were is counted without a set that grows: what is known of each bidder in each group
//! is a row, and a group counts its rows. So a report of millions of bidders costs a bid no more than one of a few.

use super::{Answers, Source};
use crate::events::Bid;
use crate::generator::auction_id;
use millpond::codec::Key;
use millpond::{StoredTable, Stream, Table};
use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// A number for all prices, and for each of the three ranks of prices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Prices {
    pub(crate) total: u64,
    pub(crate) ranks: [u64; 3],
}

/// Which of the ranks a price has: below 10,000, below a million, above.
fn ranks_of(price: u64) -> [bool; 3] {
    [price < 10_000, (10_000..1_000_000).contains(&price), price >= 1_000_000]
}

impl Prices {
    fn add(&mut self, ranks: [bool; 3]) {
        self.total += 1;
        for (count, is_of_rank) in self.ranks.iter_mut().zip(ranks) {
            *count += u64::from(is_of_rank);
        }
    }

    fn take_back(&mut self, ranks: [bool; 3]) {
        self.total -= 1;
        for (count, is_of_rank) in self.ranks.iter_mut().zip(ranks) {
            *count -= u64::from(is_of_rank);
        }
    }
}

/// The report of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Statistics {
    /// The last minute of the day in which somebody bid.
    pub(crate) minute: i64,
    pub(crate) bids: Prices,
    pub(crate) bidders: Prices,
    pub(crate) auctions: Prices,
}

/// What of a bid the report is made from.
#[derive(Clone, Copy)]
struct Seen {
    bidder: u64,
    auction: u64,
    ranks: [bool; 3],
    minute: i64,
}

/// How many different things `of` finds in each group, in all and with bids of each rank.
fn different<K: Key>(seen: &Stream<K, Seen>, name: &str, of: fn(&Seen) -> u64) -> StoredTable<K, Prices> {
    let each = seen.group_by(move |group, seen| (group.clone(), of(seen)));
    let ranks = each.fold(
        &*format!("{name}.ranks"),
        || [false; 3],
        |ranks, _, seen| {
            for (rank, is_of_rank) in ranks.iter_mut().zip(seen.ranks) {
                *rank |= is_of_rank;
            }
        },
    );
    ranks.group_by(|(group, _), ranks| (group.clone(), *ranks)).fold(
        name,
        Prices::default,
        |prices, _, ranks| prices.add(ranks),
        |prices, _, ranks| prices.take_back(ranks),
    )
}

fn report<K: Key>(
    source: &Source,
    group: impl Fn(&Bid) -> K + Send + Sync + 'static,
) -> Table<K, Statistics> {
    let seen = source.bids().map(move |_, bid| {
        let minute = bid.at_ms.rem_euclid(DAY_MS) / MINUTE_MS;
        (group(&bid), Seen { bidder: bid.bidder, auction: bid.auction, ranks: ranks_of(bid.price), minute })
    });
    let bids = seen.group_by_key().fold("bids", Statistics::default, |report, _, seen| {
        report.minute = report.minute.max(seen.minute);
        report.bids.add(seen.ranks);
    });
    let bidders = different(&seen, "bidders", |seen| seen.bidder);
    let auctions = different(&seen, "auctions", |seen| seen.auction);
    bids.join(&bidders, |_, report, bidders| Statistics { bidders: *bidders, ..*report })
        .join(&auctions, |_, report, auctions| Statistics { auctions: *auctions, ..*report })
}

fn day(bid: &Bid) -> i64 {
    bid.at_ms.div_euclid(DAY_MS)
}

/// Query 15. The published one does not ask for the minute.
pub(super) fn by_day(source: &Source) -> Answers {
    let days = report(source, day).map_values(|_, report| Statistics { minute: 0, ..report });
    let shape = source.shape;
    Answers::table(&days.materialize("days"), move |number| shape.at_ms(number) / DAY_MS)
}

/// Query 16.
pub(super) fn by_channel(source: &Source) -> Answers {
    let channels = report(source, |bid| (bid.channel.clone(), day(bid)));
    let shape = source.shape;
    Answers::table(&channels.materialize("channels"), move |number| {
        (format!("channel-{}", number % 10_000), shape.at_ms(number) / DAY_MS)
    })
}

/// Bids and prices of an auction on a day; the mean is what the sum of the prices is to the bids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct AuctionDay {
    pub(crate) bids: Prices,
    pub(crate) least: u64,
    pub(crate) greatest: u64,
    pub(crate) sum: u64,
}

impl Default for AuctionDay {
    fn default() -> Self {
        Self { bids: Prices::default(), least: u64::MAX, greatest: 0, sum: 0 }
    }
}

/// Query 17.
pub(super) fn by_auction(source: &Source) -> Answers {
    let prices = source.bids().map(|_, bid| ((bid.auction, day(&bid)), bid.price)).group_by_key();
    let days = prices.fold("auction_days", AuctionDay::default, |day, _, price| {
        day.bids.add(ranks_of(price));
        day.least = day.least.min(price);
        day.greatest = day.greatest.max(price);
        day.sum += price;
    });
    let shape = source.shape;
    Answers::table(&days, move |number| (auction_id(number), shape.at_ms(number) / DAY_MS))
}
