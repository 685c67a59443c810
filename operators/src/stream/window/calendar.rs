//! Calendar windows: days, weeks, months and years as clocks on the wall show them in a zone of the IANA database.
//!
//! A window ends where the next one begins, and begins with the first moment of its first date: where midnight is skipped, with the
//! first moment after it, and where it comes twice, with the first of them. So a day has 23 to 25 hours, or none where a date was
//! skipped. The database is the one that is compiled in, never that of the machine: a table remembers what it says of the zone from 1970
//! to 2100, so that another one is not taken for it. Before the year -9000 and from 9000 on there is one window each.

use super::{Windows, millis, sealed};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use std::time::Duration;

const FIRST_YEAR: i16 = -9_000;
const LAST_YEAR: i16 = 9_000;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "days")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Day,
    Week(Weekday),
    Month,
    Year,
}

/// Windows that begin and end with days, weeks, months or years of a zone, each closed a grace after its end.
///
/// # Examples
/// ```
/// use millpond::stream::Calendar;
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Topic, Windowed};
/// use std::time::Duration;
///
/// let departures = Topic::<String, u32>::new("departures");
/// let graph = GraphBuilder::new();
/// let days = Calendar::days("America/New_York").grace(Duration::from_secs(3600));
/// let counts = graph.stream(&departures).group_by_key().windowed(days).count("counts");
/// let mut driver = Driver::new(&graph.build()?)?;
/// // 10 March 2013, from 5 o'clock UTC to 4 o'clock the next day.
/// let (midnight, next) = (1_362_891_600_000, 1_362_974_400_000);
/// driver.put(&departures, "JFK".to_owned(), 1, midnight)?;
/// driver.put(&departures, "JFK".to_owned(), 2, next - 1)?;
/// driver.run()?;
/// let day = Windowed::new(midnight, next, "JFK".to_owned());
/// assert_eq!((day.end_ms - day.start_ms) / 3_600_000, 23, "hours");
/// assert_eq!(driver.table(counts.table())?, [(day, 2)].into());
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Calendar {
    period: CalendarPeriod,
    grace_ms: i64,
}

/// [Calendar] windows of which it is not said yet how long they wait for what is late.
#[derive(Debug, Clone)]
#[must_use = "say how long it waits for late records: `.grace(..)`"]
pub struct CalendarPeriod {
    /// Its name, and what the database has of it.
    zone: (String, Result<TimeZone, String>),
    period: Period,
}

impl Calendar {
    /// Days of the zone with this name, such as `Europe/Zurich`. The graph is refused when it is built if there is none.
    pub fn days(zone: &str) -> CalendarPeriod {
        CalendarPeriod::new(zone, Period::Day)
    }

    /// Weeks that begin with the day `first`.
    pub fn weeks(zone: &str, first: Weekday) -> CalendarPeriod {
        CalendarPeriod::new(zone, Period::Week(first))
    }

    /// Months.
    pub fn months(zone: &str) -> CalendarPeriod {
        CalendarPeriod::new(zone, Period::Month)
    }

    /// Years.
    pub fn years(zone: &str) -> CalendarPeriod {
        CalendarPeriod::new(zone, Period::Year)
    }
}

impl CalendarPeriod {
    fn new(zone: &str, period: Period) -> Self {
        let found = TimeZone::get(zone).map_err(|error| error.to_string());
        Self { zone: (zone.to_owned(), found), period }
    }

    /// A window takes records until their partition has come so far beyond its end, and is final then. There is no default.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Calendar {
        Calendar { period: self, grace_ms: millis(grace) }
    }
}

impl Period {
    /// The first date of the window that has `day`.
    fn first_of(self, day: Date) -> Option<Date> {
        match self {
            Self::Day => Some(day),
            Self::Week(first) => {
                let since = (i64::from(day.weekday().to_monday_zero_offset()) - first as i64).rem_euclid(7);
                day.checked_sub(Span::new().days(since)).ok()
            }
            Self::Month => Some(day.first_of_month()),
            Self::Year => Some(day.first_of_year()),
        }
    }

    /// The first date of the window behind the one that begins with `first`.
    fn next(self, first: Date) -> Option<Date> {
        let span = match self {
            Self::Day => Span::new().days(1),
            Self::Week(_) => Span::new().days(7),
            Self::Month => Span::new().months(1),
            Self::Year => Span::new().years(1),
        };
        first.checked_add(span).ok()
    }
}

/// The first moment of `day`.
fn first_moment(zone: &TimeZone, day: Date) -> Option<i64> {
    let midnight = zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
    midnight.compatible().ok().map(Timestamp::as_millisecond)
}

impl Calendar {
    /// The window that has `timestamp_ms`, if it lies in years that calendars are asked about.
    fn window_in(&self, zone: &TimeZone, timestamp_ms: i64) -> Option<(i64, i64)> {
        let moment = Timestamp::from_millisecond(timestamp_ms).ok()?;
        let period = self.period.period;
        let mut first = period.first_of(zone.to_datetime(moment).date())?;
        let mut start = first_moment(zone, first)?;
        loop {
            let next = period.next(first)?;
            let end = first_moment(zone, next)?;
            // Where a date comes back after midnight, what is left of it belongs to what has begun.
            if timestamp_ms < end {
                return Some((start, end));
            }
            (first, start) = (next, end);
        }
    }
}

impl sealed::Sealed for Calendar {}

impl Windows for Calendar {
    fn window_of(&self, timestamp_ms: i64) -> (i64, i64) {
        let (_, zone) = &self.period.zone;
        // Without a zone the graph is refused.
        let Ok(zone) = zone else { return (i64::MIN, i64::MAX) };
        let end_of_time = |year| first_moment(zone, date(year, 1, 1));
        let first = end_of_time(FIRST_YEAR).unwrap_or(i64::MIN);
        let last = end_of_time(LAST_YEAR).unwrap_or(i64::MAX);
        if timestamp_ms < first {
            return (i64::MIN, first);
        }
        if timestamp_ms >= last {
            return (last, i64::MAX);
        }
        let (start, end) = self.window_in(zone, timestamp_ms).unwrap_or((first, last));
        (start.max(first), end.min(last))
    }

    fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    fn unfit(&self) -> Option<String> {
        let (name, zone) = &self.period.zone;
        let error = zone.as_ref().err()?;
        Some(format!("there are no calendar windows in the zone `{name}`: {error}"))
    }

    fn id(&self) -> String {
        let (name, zone) = &self.period.zone;
        let rules = zone.as_ref().map_or(0, rules_of);
        let (period, grace_ms) = (self.period.period, self.grace_ms);
        format!("calendar({period:?} in {name}, rules {rules:016x}, grace {grace_ms} ms)")
    }
}

/// What the database says of a zone from 1970 to 2100, in a number: FNV-1a over its changes.
fn rules_of(zone: &TimeZone) -> u64 {
    let end = date(2_100, 1, 1).at(0, 0, 0, 0);
    let changes = zone.following(Timestamp::UNIX_EPOCH);
    let told = changes
        .take_while(|change| TimeZone::UTC.to_datetime(change.timestamp()) < end)
        .map(|change| (change.timestamp().as_second(), change.offset().seconds()));
    let first = zone.to_offset(Timestamp::UNIX_EPOCH).seconds();
    let bytes = told.flat_map(|(at, offset)| at.to_be_bytes().into_iter().chain(offset.to_be_bytes()));
    first.to_be_bytes().into_iter().chain(bytes).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::has_its_window;
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn hours(zone: &str, year: i16, month: i8, day: i8) -> i64 {
        let days = Calendar::days(zone).grace(Duration::ZERO);
        let noon = TimeZone::get(zone).unwrap().to_timestamp(date(year, month, day).at(12, 0, 0, 0)).unwrap();
        let (start, end) = days.window_of(noon.as_millisecond());
        assert_eq!((end - start) % HOUR, 0);
        (end - start) / HOUR
    }

    #[test]
    fn days_are_as_long_as_the_clocks_on_the_wall_say() {
        assert_eq!([9, 10, 11].map(|day| hours("America/New_York", 2013, 3, day)), [24, 23, 24]);
        assert_eq!([2, 3, 4].map(|day| hours("America/New_York", 2013, 11, day)), [24, 25, 24]);
        assert_eq!([30, 31].map(|day| hours("Europe/Zurich", 2024, 3, day)), [24, 23]);
        // Midnight is skipped.
        assert_eq!([3, 4, 5].map(|day| hours("America/Sao_Paulo", 2018, 11, day)), [24, 23, 24]);
        // 30 December 2011 never was.
        assert_eq!([29, 31].map(|day| hours("Pacific/Apia", 2011, 12, day)), [24, 24]);
    }

    #[test]
    fn a_calendar_knows_its_zone_by_what_is_said_of_it() {
        let id = |zone: &str| Calendar::days(zone).grace(Duration::from_secs(1)).id();
        assert_ne!(id("Europe/Zurich"), id("Europe/London"));
        assert!(id("Europe/Zurich").starts_with("calendar(Day in Europe/Zurich, rules "));
        assert!(Calendar::days("Europe/Zuerich").grace(Duration::ZERO).unfit().unwrap().contains("Zuerich"));
        let rules = |zone: &str| rules_of(&TimeZone::get(zone).unwrap());
        assert_ne!(rules("Europe/Zurich"), rules("Europe/London"));
        assert_eq!(rules("Etc/UTC"), rules("UTC"));
    }

    fn calendars() -> impl Strategy<Value = Calendar> {
        let zones = [
            "UTC",
            "America/New_York",
            "Pacific/Apia",
            "America/Sao_Paulo",
            "Asia/Kathmandu",
            "America/Toronto",
        ];
        let periods = [Calendar::days, Calendar::months, Calendar::years, |zone: &str| {
            Calendar::weeks(zone, Weekday::Sunday)
        }];
        (prop::sample::select(zones.to_vec()), 0..4_usize)
            .prop_map(move |(zone, period)| periods[period](zone).grace(Duration::ZERO))
    }

    fn moments() -> impl Strategy<Value = i64> {
        prop_oneof![
            8 => -3_000_000_000_000..4_000_000_000_000_i64,
            1 => any::<i64>(),
            1 => Just(i64::MIN),
            1 => Just(i64::MAX)
        ]
    }

    proptest! {
        #[test]
        fn a_moment_is_in_its_window_and_all_of_it_have_the_same(calendar in calendars(), moment in moments()) {
            has_its_window(&calendar, moment)?;
        }
    }
}
