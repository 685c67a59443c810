//! Queries that look at bids alone, whenever they come.

use crate::events::Bid;
use crate::input::{SIDE_ROWS, side_value};
use crate::queries::{AuctionDay, BidTime, Classified, Directories, Priced, Prices, Statistics, TOP};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;

type Bids<'a> = dyn Iterator<Item = (u64, Bid)> + 'a;

fn priced(bid: Bid) -> Priced {
    let price_milli = bid.price * 1_000 * 908 / 1_000;
    Priced { auction: bid.auction, bidder: bid.bidder, price_milli, at_ms: bid.at_ms, extra: bid.extra }
}

pub(super) fn in_euros(bids: impl Iterator<Item = (u64, Bid)>) -> impl Iterator<Item = (u64, Priced)> {
    bids.map(|(number, bid)| (number, priced(bid)))
}

pub(super) fn selected(bids: impl Iterator<Item = (u64, Bid)>) -> impl Iterator<Item = (u64, (u64, u64))> {
    bids.filter(|(_, bid)| bid.auction / 123 * 123 == bid.auction)
        .map(|(number, bid)| (number, (bid.auction, bid.price)))
}

pub(super) fn with_side_input(
    bids: impl Iterator<Item = (u64, Bid)>,
) -> impl Iterator<Item = (u64, (u64, u64, u64, i64, String))> {
    bids.map(|(number, bid)| {
        let row = side_value(bid.auction - bid.auction / SIDE_ROWS * SIDE_ROWS);
        (number, (bid.auction, bid.bidder, bid.price, bid.at_ms, row))
    })
}

pub(super) fn classified(bids: impl Iterator<Item = (u64, Bid)>) -> impl Iterator<Item = (u64, Classified)> {
    bids.filter_map(|(number, bid)| {
        let count_of_c = bid.extra.bytes().filter(|byte| *byte == b'c').count();
        let hour = (bid.at_ms % 86_400_000) / 3_600_000;
        let time = if (8..=18).contains(&hour) {
            BidTime::Day
        } else if hour <= 6 || hour >= 20 {
            BidTime::Night
        } else {
            BidTime::Other
        };
        let priced = priced(bid);
        let is_asked_for = priced.price_milli > 1_000_000_000 && priced.price_milli < 50_000_000_000;
        is_asked_for.then_some((number, Classified { priced, time, count_of_c }))
    })
}

type WithChannel = (u64, u64, u64, String, String);

pub(super) fn with_channel(
    bids: impl Iterator<Item = (u64, Bid)>,
) -> impl Iterator<Item = (u64, WithChannel)> {
    let large = HashMap::from([("apple", "0"), ("google", "1"), ("facebook", "2"), ("baidu", "3")]);
    bids.filter_map(move |(number, bid)| {
        let id = match large.get(bid.channel.to_lowercase().as_str()) {
            Some(id) => (*id).to_owned(),
            None => bid.url.split_once("&channel_id=")?.1.split('&').next()?.to_owned(),
        };
        Some((number, (bid.auction, bid.bidder, bid.price, bid.channel, id)))
    })
}

pub(super) fn with_directories(
    bids: impl Iterator<Item = (u64, Bid)>,
) -> impl Iterator<Item = (u64, Directories)> {
    bids.map(|(number, bid)| {
        let parts: Vec<&str> = bid.url.split('/').collect();
        let directories = [3, 4, 5].map(|nth| parts.get(nth).map(|part| (*part).to_owned()));
        (number, (bid.auction, bid.bidder, bid.price, bid.channel, directories))
    })
}

fn count(prices: &mut Prices, price: u64) {
    prices.total += 1;
    let [low, middle, high] = &mut prices.ranks;
    *if price < 10_000 {
        low
    } else if price < 1_000_000 {
        middle
    } else {
        high
    } += 1;
}

/// The different numbers that have been seen: in all, and of each rank.
#[derive(Default)]
struct Different([HashSet<u64>; 4]);

impl Different {
    fn see(&mut self, number: u64, price: u64) {
        let [all, low, middle, high] = &mut self.0;
        all.insert(number);
        if price < 10_000 {
            low.insert(number);
        } else if price < 1_000_000 {
            middle.insert(number);
        } else {
            high.insert(number);
        }
    }

    fn counts(&self) -> Prices {
        let [total, low, middle, high] = self.0.each_ref().map(|seen| seen.len() as u64);
        Prices { total, ranks: [low, middle, high] }
    }
}

fn report<G: Hash + Eq>(bids: &mut Bids<'_>, group: impl Fn(&Bid) -> G) -> HashMap<G, Statistics> {
    let mut groups: HashMap<G, (Statistics, Different, Different)> = HashMap::new();
    for (_, bid) in bids {
        let (report, bidders, auctions) = groups.entry(group(&bid)).or_default();
        report.minute = report.minute.max(bid.at_ms % 86_400_000 / 60_000);
        count(&mut report.bids, bid.price);
        bidders.see(bid.bidder, bid.price);
        auctions.see(bid.auction, bid.price);
    }
    let reports = groups.into_iter().map(|(group, (report, bidders, auctions))| {
        (group, Statistics { bidders: bidders.counts(), auctions: auctions.counts(), ..report })
    });
    reports.collect()
}

pub(super) fn by_day(mut bids: impl Iterator<Item = (u64, Bid)>) -> HashMap<i64, Statistics> {
    let mut days = report(&mut bids, |bid| bid.at_ms / 86_400_000);
    for report in days.values_mut() {
        report.minute = 0;
    }
    days
}

pub(super) fn by_channel(mut bids: impl Iterator<Item = (u64, Bid)>) -> HashMap<(String, i64), Statistics> {
    report(&mut bids, |bid| (bid.channel.clone(), bid.at_ms / 86_400_000))
}

pub(super) fn by_auction(bids: impl Iterator<Item = (u64, Bid)>) -> HashMap<(u64, i64), AuctionDay> {
    let mut days: HashMap<(u64, i64), AuctionDay> = HashMap::new();
    for (_, bid) in bids {
        let first = AuctionDay { bids: Prices::default(), least: bid.price, greatest: bid.price, sum: 0 };
        let day = days.entry((bid.auction, bid.at_ms / 86_400_000)).or_insert(first);
        count(&mut day.bids, bid.price);
        day.least = day.least.min(bid.price);
        day.greatest = day.greatest.max(bid.price);
        day.sum += bid.price;
    }
    days
}

pub(super) fn last(bids: impl Iterator<Item = (u64, Bid)>) -> HashMap<(u64, u64), Bid> {
    let mut last: HashMap<(u64, u64), Bid> = HashMap::new();
    for (_, bid) in bids {
        let key = (bid.bidder, bid.auction);
        let is_later = |other: &Bid| (other.at_ms, other) < (bid.at_ms, &bid);
        if last.get(&key).is_none_or(is_later) {
            last.insert(key, bid);
        }
    }
    last
}

pub(super) fn top(bids: impl Iterator<Item = (u64, Bid)>) -> HashMap<u64, Vec<(u64, Bid)>> {
    let mut all: HashMap<u64, BTreeMap<u64, BTreeSet<(Bid, u64)>>> = HashMap::new();
    for (number, bid) in bids {
        let prices = all.entry(bid.auction).or_default();
        prices.entry(bid.price).or_default().insert((bid, number));
        // The least price is of no matter once there are as many others.
        while prices.len() > TOP {
            prices.pop_first();
        }
    }
    let best = all.into_iter().map(|(auction, prices)| {
        let best = prices
            .into_iter()
            .rev()
            .flat_map(|(price, bids)| bids.into_iter().rev().map(move |(bid, _)| (price, bid)));
        (auction, best.take(TOP).collect())
    });
    best.collect()
}
