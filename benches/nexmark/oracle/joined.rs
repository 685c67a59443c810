//! Queries that bring kinds of events together, whenever they come.

use super::Kinds;
use crate::events::{Auction, Bid, Event};
use crate::queries::{LocalItem, Sold, Won};
use std::collections::{BTreeSet, HashMap};

type Events<'a> = dyn Iterator<Item = (u64, Event)> + 'a;

pub(super) fn local_items(events: impl Iterator<Item = (u64, Event)>) -> Vec<(u64, LocalItem)> {
    let Kinds { people, auctions, .. } =
        Kinds::of(events.filter(|(_, event)| !matches!(event, Event::Bid(_))));
    let people: HashMap<u64, _> = people.into_iter().map(|person| (person.id, person)).collect();
    let of_category = auctions.into_iter().filter(|auction| auction.category == 10);
    let items = of_category.filter_map(|auction| {
        let seller = people.get(&auction.seller)?.clone();
        let is_local = seller.state == "OR" || seller.state == "ID" || seller.state == "CA";
        let item = LocalItem { name: seller.name, city: seller.city, state: seller.state };
        is_local.then_some((auction.id, item))
    });
    items.collect()
}

/// What is kept of an auction to find who wins it. Bids that come before it wait for it.
#[derive(Default)]
struct Open {
    auction: Option<Auction>,
    waiting: Vec<Bid>,
    best: Option<Bid>,
}

impl Open {
    fn bid(&mut self, bid: Bid) {
        let Some(auction) = &self.auction else {
            self.waiting.push(bid);
            return;
        };
        if bid.at_ms < auction.at_ms || bid.at_ms > auction.expires_ms {
            return;
        }
        let is_better = self.best.as_ref().is_none_or(|best| {
            if bid.price != best.price {
                return bid.price > best.price;
            }
            (bid.at_ms, &bid) < (best.at_ms, best)
        });
        if is_better {
            self.best = Some(bid);
        }
    }
}

fn winners(events: &mut Events<'_>) -> Vec<(Auction, Bid)> {
    let mut open: HashMap<u64, Open> = HashMap::new();
    for (_, event) in events {
        match event {
            Event::Person(_) => {}
            Event::Bid(bid) => open.entry(bid.auction).or_default().bid(bid),
            Event::Auction(auction) => {
                let open = open.entry(auction.id).or_default();
                open.auction = Some(auction);
                for bid in std::mem::take(&mut open.waiting) {
                    open.bid(bid);
                }
            }
        }
    }
    open.into_values().filter_map(|open| open.auction.zip(open.best)).collect()
}

pub(super) fn won(mut events: impl Iterator<Item = (u64, Event)>) -> Vec<(u64, Won)> {
    let won = winners(&mut events).into_iter().map(|(auction, bid)| (auction.id, Won { auction, bid }));
    won.collect()
}

pub(super) fn mean_by_category(
    mut events: impl Iterator<Item = (u64, Event)>,
) -> impl Iterator<Item = (u64, i128)> {
    let mut prices: HashMap<u64, Vec<u64>> = HashMap::new();
    for (auction, bid) in winners(&mut events) {
        prices.entry(auction.category).or_default().push(bid.price);
    }
    prices.into_iter().map(|(category, prices)| {
        let sum: i128 = prices.iter().copied().map(i128::from).sum();
        (category, sum / prices.len() as i128)
    })
}

pub(super) fn mean_by_seller(mut events: impl Iterator<Item = (u64, Event)>) -> Vec<(u64, u64)> {
    let mut sellers: HashMap<u64, Vec<(i64, u64, u64)>> = HashMap::new();
    for (auction, bid) in winners(&mut events) {
        sellers.entry(auction.seller).or_default().push((auction.expires_ms, auction.id, bid.price));
    }
    let means = sellers.into_iter().map(|(seller, mut sold)| {
        sold.sort_unstable();
        let last = sold.iter().rev().take(10).map(|(_, _, price)| *price);
        (seller, last.clone().sum::<u64>() / last.count() as u64)
    });
    means.collect()
}

pub(super) fn expanded(events: impl Iterator<Item = (u64, Event)>) -> Vec<(u64, (Bid, Auction))> {
    let Kinds { auctions, bids, .. } = Kinds::of(events);
    let of_category = auctions.into_iter().filter(|auction| auction.category == 10);
    let auctions: HashMap<u64, Auction> = of_category.map(|auction| (auction.id, auction)).collect();
    let expanded = bids.into_iter().filter_map(|(number, bid)| {
        let auction = auctions.get(&bid.auction)?.clone();
        Some((number, (bid, auction)))
    });
    expanded.collect()
}

pub(super) fn of_sellers(events: impl Iterator<Item = (u64, Event)>) -> Vec<(u64, Sold)> {
    let Kinds { people, auctions, bids } = Kinds::of(events);
    let names: HashMap<u64, String> = people.into_iter().map(|person| (person.id, person.name)).collect();
    let mut sold: HashMap<u64, BTreeSet<u64>> = HashMap::new();
    for auction in auctions {
        sold.entry(auction.seller).or_default().insert(auction.id);
    }
    let of_sellers = bids.into_iter().filter_map(|(number, bid)| {
        let (name, auctions) = (names.get(&bid.bidder)?.clone(), sold.get(&bid.bidder)?.clone());
        Some((number, Sold { bidder: bid.bidder, price: bid.price, name, auctions }))
    });
    of_sellers.collect()
}
