//! What the queries must come to: computed from the events by one thread with maps, after what SQL says, and without anything of
//! millpond. Nothing is ever closed here, so it agrees with the queries as long as no event is later than their grace.

mod bids;
mod joined;
mod timed;

use crate::digest::Digest;
use crate::events::{Auction, Bid, Event, Person};

/// What query `name` comes to over `events`, each with its number; `None` if there is no such query.
pub(crate) fn digest(name: &str, events: impl Iterator<Item = (u64, Event)>) -> Option<Digest> {
    Some(match name {
        "q0" => Digest::of(bids(events)),
        "q1" => Digest::of(bids::in_euros(bids(events))),
        "q2" => Digest::of(bids::selected(bids(events))),
        "q3" => Digest::of(joined::local_items(events)),
        "q4" => Digest::of(joined::mean_by_category(events)),
        "q5" => Digest::of(timed::hottest(bids(events))),
        "q6" => Digest::of(joined::mean_by_seller(events)),
        "q7" => Digest::of(timed::highest(bids(events))),
        "q8" => Digest::of(timed::new_sellers(events)),
        "q9" => Digest::of(joined::won(events)),
        "q11" => Digest::of(timed::sessions(bids(events))),
        "q12" => Digest::of(bids(events).map(|(_, bid)| (bid.bidder, ()))),
        "q13" => Digest::of(bids::with_side_input(bids(events))),
        "q14" => Digest::of(bids::classified(bids(events))),
        "q15" => Digest::of(bids::by_day(bids(events))),
        "q16" => Digest::of(bids::by_channel(bids(events))),
        "q17" => Digest::of(bids::by_auction(bids(events))),
        "q18" => Digest::of(bids::last(bids(events))),
        "q19" => Digest::of(bids::top(bids(events))),
        "q20" => Digest::of(joined::expanded(events)),
        "q21" => Digest::of(bids::with_channel(bids(events))),
        "q22" => Digest::of(bids::with_directories(bids(events))),
        "q23" => Digest::of(joined::of_sellers(events)),
        _ => return None,
    })
}

fn bids(events: impl Iterator<Item = (u64, Event)>) -> impl Iterator<Item = (u64, Bid)> {
    events.filter_map(|(number, event)| match event {
        Event::Bid(bid) => Some((number, bid)),
        _ => None,
    })
}

/// All events by kind, for what has to look at them more than once.
#[derive(Default)]
struct Kinds {
    people: Vec<Person>,
    auctions: Vec<Auction>,
    bids: Vec<(u64, Bid)>,
}

impl Kinds {
    fn of(events: impl Iterator<Item = (u64, Event)>) -> Self {
        let mut kinds = Self::default();
        for (number, event) in events {
            match event {
                Event::Person(person) => kinds.people.push(person),
                Event::Auction(auction) => kinds.auctions.push(auction),
                Event::Bid(bid) => kinds.bids.push((number, bid)),
            }
        }
        kinds
    }
}
