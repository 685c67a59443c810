//! What happens at the auction house: people register, open auctions and bid on them.
//!
//! Fields and their meaning are those of Nexmark. One topic has all three kinds, as the published generators write them, and a
//! record's key is the number of the event. Times are milliseconds since 1970; prices are cents.

use serde::{Deserialize, Serialize};

/// Somebody who opens auctions and bids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) id: u64,
    pub(crate) at_ms: i64,
    pub(crate) name: String,
    pub(crate) email_address: String,
    pub(crate) credit_card: String,
    pub(crate) city: String,
    pub(crate) state: String,
    /// Fills the event up to its usual size.
    pub(crate) extra: String,
}

/// Something that is for sale until it expires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Auction {
    pub(crate) id: u64,
    pub(crate) at_ms: i64,
    /// The last millisecond at which a bid counts.
    pub(crate) expires_ms: i64,
    pub(crate) seller: u64,
    pub(crate) category: u64,
    pub(crate) item_name: String,
    pub(crate) description: String,
    pub(crate) initial_bid: u64,
    pub(crate) reserve: u64,
    pub(crate) extra: String,
}

/// What somebody would pay. Those on one auction by one bidder are ordered by time first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Bid {
    pub(crate) auction: u64,
    pub(crate) bidder: u64,
    pub(crate) at_ms: i64,
    pub(crate) price: u64,
    /// The name of whoever has sent the bidder here.
    pub(crate) channel: String,
    pub(crate) url: String,
    pub(crate) extra: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

impl Event {
    pub(crate) fn at_ms(&self) -> i64 {
        match self {
            Self::Person(person) => person.at_ms,
            Self::Auction(auction) => auction.at_ms,
            Self::Bid(bid) => bid.at_ms,
        }
    }
}
