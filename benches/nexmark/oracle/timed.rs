//! Queries by stretches of time.

use crate::events::{Bid, Event};
use crate::queries::Hottest;
use millpond::Windowed;
use std::collections::{BTreeSet, HashMap, HashSet};

const SIZE_MS: i64 = 10_000;
const HOP_MS: i64 = 2_000;

fn window_of(at_ms: i64) -> (i64, i64) {
    let start_ms = at_ms - at_ms % SIZE_MS;
    (start_ms, start_ms + SIZE_MS)
}

pub(super) fn hottest(bids: impl Iterator<Item = (u64, Bid)>) -> HashMap<i64, Hottest> {
    let mut counts: HashMap<(i64, u64), u64> = HashMap::new();
    for (_, bid) in bids {
        let last_start_ms = bid.at_ms - bid.at_ms % HOP_MS;
        for hops in 0..SIZE_MS / HOP_MS {
            *counts.entry((last_start_ms - hops * HOP_MS, bid.auction)).or_default() += 1;
        }
    }
    let mut most: HashMap<i64, u64> = HashMap::new();
    for ((start_ms, _), count) in &counts {
        let most = most.entry(*start_ms).or_default();
        *most = (*most).max(*count);
    }
    let mut hottest: HashMap<i64, Hottest> = HashMap::new();
    for ((start_ms, auction), bids) in counts {
        if most.get(&start_ms) == Some(&bids) {
            let first = Hottest { bids, auctions: BTreeSet::new() };
            hottest.entry(start_ms).or_insert(first).auctions.insert(auction);
        }
    }
    hottest
}

pub(super) fn highest(bids: impl Iterator<Item = (u64, Bid)>) -> Vec<(Windowed<()>, BTreeSet<Bid>)> {
    let mut windows: HashMap<(i64, i64), Vec<Bid>> = HashMap::new();
    for (_, bid) in bids {
        let kept = windows.entry(window_of(bid.at_ms)).or_default();
        kept.retain(|other| other.price >= bid.price);
        if kept.iter().all(|other| other.price <= bid.price) {
            kept.push(bid);
        }
    }
    let windows = windows.into_iter();
    windows.map(|((start, end), bids)| (Windowed::new(start, end, ()), bids.into_iter().collect())).collect()
}

pub(super) fn new_sellers(events: impl Iterator<Item = (u64, Event)>) -> Vec<(Windowed<u64>, String)> {
    let (mut people, mut sellers) = (Vec::new(), HashSet::new());
    for (_, event) in events {
        match event {
            Event::Person(person) => people.push((window_of(person.at_ms), person.id, person.name)),
            Event::Auction(auction) => drop(sellers.insert((window_of(auction.at_ms), auction.seller))),
            Event::Bid(_) => {}
        }
    }
    let new = people.into_iter().filter(|(window, id, _)| sellers.contains(&(*window, *id)));
    new.map(|((start, end), id, name)| (Windowed::new(start, end, id), name)).collect()
}

pub(super) fn sessions(bids: impl Iterator<Item = (u64, Bid)>) -> Vec<(Windowed<u64>, u64)> {
    let mut times: HashMap<u64, Vec<i64>> = HashMap::new();
    for (_, bid) in bids {
        times.entry(bid.bidder).or_default().push(bid.at_ms);
    }
    let mut sessions = Vec::new();
    for (bidder, mut times) in times {
        times.sort_unstable();
        for run in times.chunk_by(|one, next| next - one <= SIZE_MS) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                sessions.push((Windowed::new(*first, last + 1, bidder), run.len() as u64));
            }
        }
    }
    sessions
}
