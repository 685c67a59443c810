//! By stretches of time: queries 5, 7, 8, 11 and 12. Each window is told once, when nothing can change it any more.

use super::{Answers, GRACE, Source};
use crate::events::Bid;
use crate::generator::{Shape, hot_bidder_id, person_id};
use millpond::changelog::Timestamps;
use millpond::stream::{Hopping, Session, Tumbling};
use millpond::{Topic, Windowed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// The ten seconds in which event `number` happens.
fn window_at<K>(shape: Shape, number: u64, key: K) -> Windowed<K> {
    let start_ms = shape.at_ms(number) / 10_000 * 10_000;
    Windowed::new(start_ms, start_ms + 10_000, key)
}

const TEN_SECONDS: Duration = Duration::from_secs(10);
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// The greatest number of bids that an auction has in a window, and all that have so many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Hottest {
    pub(crate) bids: u64,
    pub(crate) auctions: BTreeSet<u64>,
}

impl Hottest {
    fn take(&mut self, bids: u64, auction: u64) {
        if bids > self.bids {
            *self = Self { bids, auctions: BTreeSet::new() };
        }
        if bids == self.bids {
            self.auctions.insert(auction);
        }
    }
}

/// Query 5.
pub(super) fn hottest(source: &Source) -> Answers {
    let bids = source.bids().group_by(|_, bid| bid.auction);
    let counts = bids.windowed(Hopping::of(TEN_SECONDS).every(TWO_SECONDS).grace(GRACE)).count("bids");
    let hottest = counts
        .on_close()
        .map(|window, bids| (window.start_ms, (bids, window.key)))
        .group_by_key()
        .fold("hottest", Hottest::default, |hottest, _, (bids, auction)| hottest.take(bids, auction));
    let shape = source.shape;
    Answers::table(&hottest, move |number| shape.at_ms(number) / 2_000 * 2_000)
}

/// Query 7.
pub(super) fn highest(source: &Source) -> Answers {
    let bids = source.bids().group_by(|_, _| ());
    let highest = bids.windowed(Tumbling::of(TEN_SECONDS).grace(GRACE)).fold(
        "highest",
        BTreeSet::new,
        |highest: &mut BTreeSet<Bid>, (), bid| {
            if highest.first().is_some_and(|other| other.price < bid.price) {
                highest.clear();
            }
            if highest.first().is_none_or(|other| other.price == bid.price) {
                highest.insert(bid);
            }
        },
    );
    let shape = source.shape;
    Answers::table(&highest.on_close().to_table("finals"), move |number| window_at(shape, number, ()))
}

/// Somebody within a window: the name if it is the one of the registration, and whether anything was put up for sale.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Newcomer {
    name: Option<String>,
    sells: bool,
}

/// Query 8.
pub(super) fn new_sellers(source: &Source) -> Answers {
    let people = source.people().group_by_key();
    let sellers = source.auctions().group_by(|_, auction| auction.seller);
    let newcomers = people
        .cogroup(|newcomer: &mut Newcomer, _, person| newcomer.name = Some(person.name))
        .and(&sellers, |newcomer, _, _auction| newcomer.sells = true)
        .windowed(Tumbling::of(TEN_SECONDS).grace(GRACE))
        .fold("newcomers", Newcomer::default);
    let new_sellers =
        newcomers.on_close().filter_map_values(|_, newcomer| newcomer.name.filter(|_| newcomer.sells));
    let shape = source.shape;
    Answers::table(&new_sellers.to_table("new_sellers"), move |number| {
        window_at(shape, number, person_id(number))
    })
}

/// Query 11.
pub(super) fn sessions(source: &Source) -> Answers {
    let bids = source.bids().group_by(|_, bid| bid.bidder);
    let sessions = bids.windowed(Session::gap(TEN_SECONDS).grace(GRACE)).count("open");
    // Nobody can tell when a session began: those that are looked up are not there.
    let shape = source.shape;
    let key = move |number| window_at(shape, number, hot_bidder_id(number));
    Answers::table(&sessions.on_close().to_table("sessions"), key)
}

/// Query 12: bids are appended to a topic that dates what it is given. So the time at which they are worked on is in the log, and
/// whoever folds it again finds them in the same windows.
pub(super) fn by_the_clock(source: &Source) -> Answers {
    let arrived = Topic::new("arrived").partitions(source.partitions).timestamps(Timestamps::Appended);
    source.bids().map(|_, bid| (bid.bidder, ())).to(&arrived);
    let bids = source.graph.stream(&arrived).group_by_key();
    let counts = bids.windowed(Tumbling::of(TEN_SECONDS).grace(GRACE)).count("bids");
    // And here, when a bid was appended.
    let shape = source.shape;
    let key = move |number| window_at(shape, number, hot_bidder_id(number));
    Answers::counts(counts.table(), |window| window.key, key)
}
