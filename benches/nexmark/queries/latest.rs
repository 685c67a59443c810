//! The last bids and the best ones: queries 18 and 19.

use super::{Answers, Source};
use crate::events::Bid;
use crate::generator::{auction_id, hot_auction_id, hot_bidder_id};

/// How many of the best bids on an auction are kept.
pub(crate) const TOP: usize = 10;

/// Query 18: bids of one bidder on one auction are ordered by time first.
pub(super) fn last(source: &Source) -> Answers {
    let bids = source.bids().group_by(|_, bid| (bid.bidder, bid.auction));
    Answers::table(&bids.reduce("last_bids", Bid::max), |number| {
        (hot_bidder_id(number), hot_auction_id(number))
    })
}

/// Query 19: by price, and of equal ones the greatest in the order of bids, so that it is the same in whatever order they come.
pub(super) fn top(source: &Source) -> Answers {
    let bids = source.bids().group_by(|_, bid| bid.auction);
    let top = bids.top_k("top_bids", TOP, |bid| (bid.price, bid.clone()));
    Answers::table(&top, auction_id)
}
