//! One bid after the other, without any state: queries 0, 1, 2, 14, 21 and 22.

use super::{Answers, Source};
use crate::events::Bid;
use serde::{Deserialize, Serialize};

/// Query 0: how much reading costs.
pub(super) fn all(source: &Source) -> Answers {
    Answers::stream(&source.bids())
}

/// A bid in euros.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Priced {
    pub(crate) auction: u64,
    pub(crate) bidder: u64,
    /// Thousandths of a cent.
    pub(crate) price_milli: u64,
    pub(crate) at_ms: i64,
    pub(crate) extra: String,
}

/// 0.908 euros are a dollar; in thousandths, which are exact.
const EUROS_MILLI: u64 = 908;

/// Query 1.
pub(super) fn in_euros(source: &Source) -> Answers {
    Answers::stream(&source.bids().map_values(|_, bid| Priced {
        auction: bid.auction,
        bidder: bid.bidder,
        price_milli: bid.price * EUROS_MILLI,
        at_ms: bid.at_ms,
        extra: bid.extra,
    }))
}

/// Query 2.
pub(super) fn selected(source: &Source) -> Answers {
    let bids = source.bids().filter(|_, bid| bid.auction % 123 == 0);
    Answers::stream(&bids.map_values(|_, bid| (bid.auction, bid.price)))
}

/// When somebody bids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum BidTime {
    Day,
    Night,
    Other,
}

/// A bid by the time of day, and how often there is a `c` in what fills it up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Classified {
    pub(crate) priced: Priced,
    pub(crate) time: BidTime,
    pub(crate) count_of_c: usize,
}

/// Query 14.
pub(super) fn classified(source: &Source) -> Answers {
    Answers::stream(&source.bids().filter_map_values(|_, bid| {
        let price_milli = bid.price * EUROS_MILLI;
        (1_000_000_000 < price_milli && price_milli < 50_000_000_000).then(|| Classified {
            time: match bid.at_ms.div_euclid(3_600_000).rem_euclid(24) {
                8..=18 => BidTime::Day,
                0..=6 | 20..=23 => BidTime::Night,
                _ => BidTime::Other,
            },
            count_of_c: bid.extra.matches('c').count(),
            priced: Priced {
                auction: bid.auction,
                bidder: bid.bidder,
                price_milli,
                at_ms: bid.at_ms,
                extra: bid.extra,
            },
        })
    }))
}

/// The number of a channel: of the large ones by their names, of others what the address says, if it does.
fn channel_id(bid: &Bid) -> Option<String> {
    let large = match bid.channel.to_ascii_lowercase().as_str() {
        "apple" => "0",
        "google" => "1",
        "facebook" => "2",
        "baidu" => "3",
        _ => return bid.url.split('&').find_map(|part| part.strip_prefix("channel_id=")).map(str::to_owned),
    };
    Some(large.to_owned())
}

/// Query 21.
pub(super) fn with_channel(source: &Source) -> Answers {
    Answers::stream(&source.bids().filter_map_values(|_, bid| {
        channel_id(&bid).map(|id| (bid.auction, bid.bidder, bid.price, bid.channel, id))
    }))
}

/// A bid with the first three directories of its address.
pub(crate) type Directories = (u64, u64, u64, String, [Option<String>; 3]);

/// Query 22.
pub(super) fn with_directories(source: &Source) -> Answers {
    Answers::stream(&source.bids().map_values(|_, bid| -> Directories {
        let mut parts = bid.url.split('/').skip(3).map(str::to_owned);
        let directories = [parts.next(), parts.next(), parts.next()];
        (bid.auction, bid.bidder, bid.price, bid.channel, directories)
    }))
}
