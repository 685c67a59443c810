//! The queries of Nexmark as graphs, each as short as it is said in SQL.
//!
//! | file | queries |
//! |---|---|
//! | `passing` | one bid after the other: 0, 1, 2, 14, 21, 22 |
//! | `joining` | with rows of other kinds: 3, 13, 20, 23 |
//! | `winning` | the bids that win: 4, 6, 9 |
//! | `windows` | by stretches of time: 5, 7, 8, 11, 12 |
//! | `statistics` | reports by day: 15, 16, 17 |
//! | `latest` | the last bids and the best ones: 18, 19 |
//!
//! Query 10 writes files and is left out. Query 12 counts by the time at which bids are appended, since that is what processing time
//! is here: an input, so that it can be replayed.
//!
//! A query ends in a table that can be asked, or in a stream: that is folded into what all of it comes to, as the published
//! benchmarks have sinks that only count.
//!
//! Source: nexmark/nexmark, `queries/q0.sql` to `q23.sql`.

mod joining;
mod latest;
mod passing;
mod result;
mod statistics;
mod windows;
mod winning;

pub(crate) use joining::{LocalItem, Sold};
pub(crate) use latest::TOP;
pub(crate) use passing::{BidTime, Classified, Directories, Priced};
pub(crate) use result::{Answers, Running};
pub(crate) use statistics::{AuctionDay, Prices, Statistics};
pub(crate) use windows::Hottest;
pub(crate) use winning::Won;

use super::events::{Auction, Bid, Event, Person};
use super::generator::Shape;
use super::input;
use millpond::{Graph, GraphBuilder, Result, Stream, Table};
use std::time::Duration;

/// How long a window waits: with it the watermark is four seconds behind, as in the published definitions.
pub(crate) const GRACE: Duration = Duration::from_millis(3_999);

/// A query by its name in the benchmark.
pub(crate) struct Query {
    pub(crate) name: &'static str,
    /// What it asks.
    pub(crate) asks: &'static str,
    answers: fn(&Source) -> Answers,
}

/// All of them.
#[rustfmt::skip]
pub(crate) const QUERIES: [Query; 23] = [
    Query { name: "q0", asks: "every bid, as it is", answers: passing::all },
    Query { name: "q1", asks: "every bid, in euros", answers: passing::in_euros },
    Query { name: "q2", asks: "the prices bid on some auctions", answers: passing::selected },
    Query { name: "q3", asks: "who sells in three states, and what", answers: joining::local_items },
    Query { name: "q4", asks: "what auctions of a category end at, on average", answers: winning::by_category },
    Query { name: "q5", asks: "the auctions with most bids in the last ten seconds, every two", answers: windows::hottest },
    Query { name: "q6", asks: "what the last ten auctions of a seller ended at", answers: winning::by_seller },
    Query { name: "q7", asks: "the highest bids in ten seconds", answers: windows::highest },
    Query { name: "q8", asks: "who registered and sold within the same ten seconds", answers: windows::new_sellers },
    Query { name: "q9", asks: "the bid that wins each auction", answers: winning::of_each },
    Query { name: "q11", asks: "bids in each session of a bidder", answers: windows::sessions },
    Query { name: "q12", asks: "bids of a bidder in ten seconds of the clock", answers: windows::by_the_clock },
    Query { name: "q13", asks: "every bid with a row of a side table", answers: joining::with_side_input },
    Query { name: "q14", asks: "bids of some prices, by the time of day", answers: passing::classified },
    Query { name: "q15", asks: "bids, bidders and auctions of a day", answers: statistics::by_day },
    Query { name: "q16", asks: "the same of each channel", answers: statistics::by_channel },
    Query { name: "q17", asks: "bids and prices of an auction by day", answers: statistics::by_auction },
    Query { name: "q18", asks: "the last bid of each bidder on each auction", answers: latest::last },
    Query { name: "q19", asks: "the ten highest bids on each auction", answers: latest::top },
    Query { name: "q20", asks: "bids with their auction, of one category", answers: joining::expanded },
    Query { name: "q21", asks: "every bid with the number of its channel", answers: passing::with_channel },
    Query { name: "q22", asks: "every bid with the directories of its address", answers: passing::with_directories },
    Query { name: "q23", asks: "every bid of somebody who sells as well", answers: joining::of_sellers },
];

impl Query {
    /// The graph of the query over topics of so many partitions, and how its answers are read. Of the shape of the events it knows
    /// which rows there may be to look up.
    pub(crate) fn graph(&self, partitions: u32, shape: Shape) -> Result<(Graph, Answers)> {
        let source = Source::new(partitions, shape);
        let answers = (self.answers)(&source);
        Ok((source.graph.build()?, answers))
    }
}

/// What the queries are made of.
pub(crate) struct Source {
    graph: GraphBuilder,
    partitions: u32,
    shape: Shape,
    events: Stream<u64, Event>,
}

impl Source {
    fn new(partitions: u32, shape: Shape) -> Self {
        let graph = GraphBuilder::new();
        let events = graph.stream(&input::events(partitions));
        Self { graph, partitions, shape, events }
    }

    /// People by their id.
    fn people(&self) -> Stream<u64, Person> {
        self.events.filter_map(|_, event| match event {
            Event::Person(person) => Some((person.id, person)),
            _ => None,
        })
    }

    /// Auctions by their id.
    fn auctions(&self) -> Stream<u64, Auction> {
        self.events.filter_map(|_, event| match event {
            Event::Auction(auction) => Some((auction.id, auction)),
            _ => None,
        })
    }

    /// Bids by the number of their event.
    fn bids(&self) -> Stream<u64, Bid> {
        self.events.filter_map_values(|_, event| match event {
            Event::Bid(bid) => Some(bid),
            _ => None,
        })
    }

    /// Auctions and the bids on them, by the id of the auction.
    fn auctions_and_bids(&self) -> Stream<u64, Event> {
        self.events.filter_map(|_, event| match &event {
            Event::Auction(auction) => Some((auction.id, event)),
            Event::Bid(bid) => Some((bid.auction, event)),
            Event::Person(_) => None,
        })
    }

    /// The side table.
    fn side_input(&self) -> Table<u64, String> {
        self.graph.table(&input::side_input(self.partitions), input::SIDE).into()
    }
}
