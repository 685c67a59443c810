//! Bids and auctions with rows of other kinds: queries 3, 13, 20 and 23.

use super::{Answers, Source};
use crate::events::{Auction, Bid, Event};
use crate::generator::auction_id;
use crate::input::SIDE_ROWS;
use millpond::Process;
use millpond::stream::Emit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The category that queries 3 and 20 ask for.
const CATEGORY: u64 = 10;

/// Who sells something, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct LocalItem {
    pub(crate) name: String,
    pub(crate) city: String,
    pub(crate) state: String,
}

/// Query 3: two tables, of which either may have its row first.
pub(super) fn local_items(source: &Source) -> Answers {
    let sellers = source
        .people()
        .filter(|_, person| ["OR", "ID", "CA"].contains(&person.state.as_str()))
        .map_values(|_, person| LocalItem { name: person.name, city: person.city, state: person.state })
        .to_table("sellers");
    let items = source
        .auctions()
        .filter(|_, auction| auction.category == CATEGORY)
        .map_values(|_, auction| auction.seller)
        .to_table("items")
        .foreign_join(&sellers, "local_items", |_, seller| *seller, |_, _, seller| seller.clone());
    Answers::table(&items, auction_id)
}

/// Query 13: each bid meets the row as it is when the bid comes.
pub(super) fn with_side_input(source: &Source) -> Answers {
    let row_of = |_: &u64, bid: &Bid| bid.auction % SIDE_ROWS;
    let join = |_: &u64, bid: Bid, row: &String| (bid.auction, bid.bidder, bid.price, bid.at_ms, row.clone());
    Answers::stream(&source.bids().join_by(&source.side_input(), row_of, join))
}

/// Tells of each bid with its auction, whichever comes first.
struct Expand;

/// What is known of an auction.
#[derive(Clone, Serialize, Deserialize)]
enum Known {
    /// It is one of another category: its bids are of no matter.
    Other,
    This(Auction),
    /// Bids that are there before it.
    Waiting(Vec<(Bid, u64)>),
}

impl Process<u64, (Event, u64)> for Expand {
    type State = Known;
    type OutKey = u64;
    type OutValue = (Bid, Auction);

    fn process(
        &self,
        _auction: &u64,
        (event, number): (Event, u64),
        known: &mut Option<Known>,
        emit: &mut Emit<u64, (Bid, Auction)>,
    ) {
        match event {
            Event::Auction(auction) if auction.category == CATEGORY => {
                if let Some(Known::Waiting(bids)) = known.take() {
                    for (bid, number) in bids {
                        emit.push(number, (bid, auction.clone()));
                    }
                }
                *known = Some(Known::This(auction));
            }
            Event::Auction(_) => *known = Some(Known::Other),
            Event::Bid(bid) => match known.get_or_insert_with(|| Known::Waiting(Vec::new())) {
                Known::Other => {}
                Known::This(auction) => emit.push(number, (bid, auction.clone())),
                Known::Waiting(bids) => bids.push((bid, number)),
            },
            Event::Person(_) => {}
        }
    }
}

/// Query 20.
pub(super) fn expanded(source: &Source) -> Answers {
    let numbered = source.events.filter_map(|number, event| match &event {
        Event::Auction(auction) => Some((auction.id, (event, number))),
        Event::Bid(bid) => Some((bid.auction, (event, number))),
        Event::Person(_) => None,
    });
    let (expanded, _) = numbered.process("auctions", Expand);
    Answers::stream(&expanded)
}

/// A bid of somebody who sells as well, and all that is sold by whoever bids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Sold {
    pub(crate) bidder: u64,
    pub(crate) price: u64,
    pub(crate) name: String,
    pub(crate) auctions: BTreeSet<u64>,
}

/// Query 23: three tables, joined by the person whom all of them name. The rows that SQL has for one bid are one.
pub(super) fn of_sellers(source: &Source) -> Answers {
    let names = source.people().map_values(|_, person| person.name).to_table("names");
    let sold = source.auctions().map(|auction, sold| (sold.seller, auction)).group_by_key();
    let sold = sold.fold("sold", BTreeSet::new, |auctions: &mut BTreeSet<u64>, _, auction| {
        auctions.insert(auction);
    });
    let sellers = names.join(&sold, |_, name, auctions| (name.clone(), auctions.clone()));
    let bids = source.bids().map_values(|_, bid| (bid.bidder, bid.price)).to_table("bids");
    let of_sellers = bids.foreign_join(
        &sellers,
        "bids_of_sellers",
        |_, (bidder, _)| *bidder,
        |_, (bidder, price), (name, auctions)| Sold {
            bidder: *bidder,
            price: *price,
            name: name.clone(),
            auctions: auctions.clone(),
        },
    );
    Answers::table(&of_sellers, |number| number)
}
