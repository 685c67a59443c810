//! Events that nobody made: the same ones in every run and on every machine, as a seed and a number say all of them.
//!
//! The proportions are the published ones: of fifty events one is a person, three are auctions and 46 are bids; half of the bids
//! are on *hot* auctions, three quarters by hot bidders, three quarters of the auctions by hot sellers; an auction is open for as
//! long as about a hundred others begin; a thousand people are active. Time is in whole numbers, and prices come from a table that is
//! made by multiplication alone: no function is in them that machines may compute differently.
//!
//! Events may be out of order within groups of so many, as the published generators have them: the whole event is another one of
//! its group, so that its id is out of order with its time.
//!
//! Source: nexmark/nexmark, `GeneratorConfig.java` and the generators beside it; the proportions and rules, none of the code.

use super::events::{Auction, Bid, Event, Person};
use millpond_support::random::{Random, scatter};

/// A minute before midnight, UTC, when the 15 July 2015 begins: so events are of two days.
const BEGIN_MS: i64 = 1_436_918_340_000;

/// Ids of people and auctions begin with it.
const FIRST_ID: u64 = 1_000;

const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;

/// Of so many events one is a person, and so many are auctions; the others are bids.
const ROUND: u64 = 50;
const AUCTIONS: u64 = 3;

/// Of so many people, or auctions, that follow each other one is hot.
const HOT_OF: u64 = 100;
/// One of so many bids is on any auction, by anybody; one of so many auctions by anybody.
const ANY_AUCTION: u64 = 2;
const ANY_BIDDER: u64 = 4;
const ANY_SELLER: u64 = 4;

const AUCTIONS_IN_FLIGHT: u64 = 100;
const ACTIVE_PEOPLE: u64 = 1_000;
/// Ids may be of so many that are yet to come.
const AHEAD: u64 = 10;

/// One of so many bids comes by a channel that is not among the four large ones.
const ANY_CHANNEL: u64 = 2;
const CHANNELS: u64 = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// Usual sizes of events, in bytes.
const PERSON_BYTES: usize = 200;
const AUCTION_BYTES: usize = 500;
const BID_BYTES: usize = 100;

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// Prices are from one to a million in so many steps, each as likely.
const PRICES: usize = 60_000;
/// The root of ten of the order 10,000: ten thousand steps from each power of ten to the next.
const PRICE_STEP: f64 = 1.000_230_285_020_825;

/// What a log of events is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// So many events happen in each second.
    pub(crate) per_second: u64,
    /// All times are multiples of so many milliseconds. With more than one, what begins, ends and comes at a time meets often.
    pub(crate) step_ms: u64,
    /// Events are out of order within groups of so many. 1: in order.
    pub(crate) group: u64,
}

impl Shape {
    /// When event `number` happens.
    pub(crate) fn at_ms(self, number: u64) -> i64 {
        let elapsed_ms = number * 1_000 / self.per_second;
        BEGIN_MS + (elapsed_ms / self.step_ms * self.step_ms).cast_signed()
    }

    /// Which event comes as the `nth`.
    fn number(self, nth: u64) -> u64 {
        nth / self.group * self.group + nth * 953 % self.group
    }

    /// The time in which about as many auctions begin as are in flight: half of the longest auction.
    fn horizon_ms(self, number: u64) -> i64 {
        self.at_ms(number + AUCTIONS_IN_FLIGHT * ROUND / AUCTIONS) - self.at_ms(number)
    }

    /// A time at which nothing of `events` events is open any more: behind the end of every auction, window and session that a query
    /// has, and its grace.
    pub(crate) fn quiet_ms(self, events: u64) -> i64 {
        self.at_ms(events + self.group) + 2 * self.horizon_ms(events) + 60_000
    }
}

/// The events of a shape in the order in which they come, without end, each with its place among them.
pub(crate) struct Generator {
    shape: Shape,
    random: Random,
    prices: Vec<u64>,
    nth: u64,
}

impl Generator {
    pub(crate) fn new(shape: Shape) -> Self {
        let prices = std::iter::successors(Some(100.0_f64), |price| Some(price * PRICE_STEP)).take(PRICES);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from a hundred to 10^8")]
        let prices = prices.map(|price| price.round() as u64).collect();
        Self { shape, random: Random::new(shape.seed), prices, nth: 0 }
    }

    fn person(&mut self, number: u64) -> Person {
        let random = &mut self.random;
        let name = format!("{} {}", random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES));
        let email_address = format!("{}@{}.com", words(random, 7), words(random, 5));
        let digits = [0; 4].map(|_: u8| format!("{:04}", random.below(10_000)));
        let credit_card = digits.join(" ");
        let (city, state) = (random.pick(&CITIES).to_owned(), random.pick(&STATES).to_owned());
        let size = 8 + name.len() + email_address.len() + credit_card.len() + city.len() + state.len();
        let extra = extra(random, size, PERSON_BYTES);
        let (id, at_ms) = (person_id(number), self.shape.at_ms(number));
        Person { id, at_ms, name, email_address, credit_card, city, state, extra }
    }

    fn auction(&mut self, number: u64) -> Auction {
        let at_ms = self.shape.at_ms(number);
        let step_ms = self.shape.step_ms;
        let longest = 2 * self.shape.horizon_ms(number).unsigned_abs() / step_ms;
        let random = &mut self.random;
        let seller = match random.below(ANY_SELLER) {
            0 => any_person(random, number),
            _ => last_person(number) / HOT_OF * HOT_OF,
        };
        let category = FIRST_CATEGORY + random.below(CATEGORIES);
        let initial_bid = random.pick(&self.prices);
        let expires_ms = at_ms + (step_ms * (1 + random.below(longest.max(1)))).cast_signed();
        let (item_name, description) = (words(random, 20), words(random, 100));
        let reserve = initial_bid + random.pick(&self.prices);
        let extra = extra(random, 8 * 6 + item_name.len() + description.len(), AUCTION_BYTES);
        Auction {
            id: auction_id(number),
            at_ms,
            expires_ms,
            seller: FIRST_ID + seller,
            category,
            item_name,
            description,
            initial_bid,
            reserve,
            extra,
        }
    }

    fn bid(&mut self, number: u64) -> Bid {
        let random = &mut self.random;
        let auction = match random.below(ANY_AUCTION) {
            0 => any_auction(random, number),
            _ => hot_auction_id(number) - FIRST_ID,
        };
        // The second of a hundred people, and not the first, who is the hot seller.
        let bidder = match random.below(ANY_BIDDER) {
            0 => any_person(random, number),
            _ => hot_bidder_id(number) - FIRST_ID,
        };
        let price = random.pick(&self.prices);
        let (channel, url) = if random.below(ANY_CHANNEL) == 0 {
            channel(random.below(CHANNELS))
        } else {
            let hot = random.pick(&[0, 1, 2, 3]);
            let channel = HOT_CHANNELS.get(hot).copied().unwrap_or_default();
            (channel.to_owned(), url(CHANNELS + hot as u64))
        };
        let extra = extra(random, 8 * 4, BID_BYTES);
        let at_ms = self.shape.at_ms(number);
        Bid { auction: FIRST_ID + auction, bidder: FIRST_ID + bidder, at_ms, price, channel, url, extra }
    }
}

impl Iterator for Generator {
    type Item = (u64, Event);

    fn next(&mut self) -> Option<Self::Item> {
        let (nth, number) = (self.nth, self.shape.number(self.nth));
        self.nth += 1;
        let event = match number % ROUND {
            0 => Event::Person(self.person(number)),
            1..=AUCTIONS => Event::Auction(self.auction(number)),
            _ => Event::Bid(self.bid(number)),
        };
        Some((nth, event))
    }
}

/// The id of the last person that is there at event `number`.
pub(crate) fn person_id(number: u64) -> u64 {
    FIRST_ID + last_person(number)
}

/// The id of the hot bidder of that time.
pub(crate) fn hot_bidder_id(number: u64) -> u64 {
    FIRST_ID + last_person(number) / HOT_OF * HOT_OF + 1
}

/// The id of the last auction that is there at event `number`.
pub(crate) fn auction_id(number: u64) -> u64 {
    FIRST_ID + last_auction(number)
}

/// The id of the hot auction of that time.
pub(crate) fn hot_auction_id(number: u64) -> u64 {
    FIRST_ID + last_auction(number) / HOT_OF * HOT_OF
}

/// The last person that is there at event `number`, which may be that person; counted from 0.
fn last_person(number: u64) -> u64 {
    number / ROUND
}

/// The last auction that is there, as [`last_person`].
fn last_auction(number: u64) -> u64 {
    let in_round = (number % ROUND).min(AUCTIONS);
    (number / ROUND * AUCTIONS + in_round).saturating_sub(1)
}

/// One of the people who are active, or of the next that come.
fn any_person(random: &mut Random, number: u64) -> u64 {
    let there = last_person(number) + 1;
    let active = there.min(ACTIVE_PEOPLE);
    there - active + random.below(active + AHEAD)
}

/// One of the auctions that may be in flight, or of the next that come.
fn any_auction(random: &mut Random, number: u64) -> u64 {
    let last = last_auction(number);
    let first = last.saturating_sub(AUCTIONS_IN_FLIGHT);
    first + random.below(last - first + 1 + AHEAD)
}

/// Letters and spaces, of fewer than `longest` bytes.
fn words(random: &mut Random, longest: u64) -> String {
    let length = 3 + random.below(longest - 3);
    let letter = |_| if random.below(13) == 0 { ' ' } else { letter(random.below(26)) };
    let text: String = (0..length).map(letter).collect();
    text.trim().to_owned()
}

/// Letters that bring an event of `size` bytes to the usual size, give or take a fifth of what is missing.
fn extra(random: &mut Random, size: usize, usual: usize) -> String {
    let missing = usual.saturating_sub(size) as u64;
    let spread = missing / 5;
    let length = missing - spread + random.below(2 * spread + 1);
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or_default());
    let (mut left, mut bits) = (0, 0);
    for _ in 0..length {
        if left == 0 {
            (left, bits) = (13, random.number());
        }
        text.push(letter(bits % 26));
        bits /= 26;
        left -= 1;
    }
    text
}

fn letter(number: u64) -> char {
    u8::try_from(number).map_or('a', |number| char::from(b'a' + number % 26))
}

/// Name and address of a channel, always the same. Nine of ten addresses name the channel.
fn channel(number: u64) -> (String, String) {
    let mut url = url(number);
    if !scatter(number + 1).is_multiple_of(10) {
        let id = u32::try_from(number).unwrap_or_default().reverse_bits() >> 1;
        url = format!("{url}&channel_id={id}");
    }
    (format!("channel-{number}"), url)
}

/// The address of a channel: three directories and a page.
fn url(channel: u64) -> String {
    let directory = |nth| {
        let bits = scatter(channel * 3 + nth + 1);
        (0..5).map(|place| letter(bits >> (place * 8) & 0xff)).collect::<String>()
    };
    format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", directory(0), directory(1), directory(2))
}
