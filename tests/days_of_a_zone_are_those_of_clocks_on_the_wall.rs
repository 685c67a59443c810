//! Calendar windows begin and end where clocks on the wall show another day, week, month or year, whatever a zone does with its clocks,
//! and each instant is in exactly one.
//!
//! Method: zones that turn their clocks by an hour and by half of one, at night and at midnight, and one that left a day out; all of a
//! year, or any from 1970 to 2099. The oracle goes minute by minute, adds the zone's offset, and notes where the greatest date so far
//! becomes another one, or one of another week, month or year: so it knows nothing of midnights that are skipped or come twice. Records
//! at all these moments, a millisecond beside them, and at any other are folded by windows of each kind.
#![cfg(feature = "calendar")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use millpond::stream::{Calendar, CalendarPeriod, Weekday};
use millpond::testing::Driver;
use millpond::{GraphBuilder, StoredTable, Topic, Windowed};
use millpond_support::environment::{rounds, seed};
use millpond_support::random::Random;
use std::time::Duration;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;

/// Zones, and a year in which something happens to each that seldom does.
const ZONES: [(&str, i16); 10] = [
    ("America/New_York", 2013),
    ("Europe/Berlin", 1980),
    // By half an hour.
    ("Australia/Lord_Howe", 2024),
    // From one o'clock to midnight, which comes twice; and from a minute behind midnight to the day before, which comes back.
    ("America/Havana", 2013),
    ("America/St_Johns", 2010),
    // At midnight, forth and back.
    ("America/Sao_Paulo", 2018),
    ("Asia/Beirut", 2022),
    ("Africa/Cairo", 2023),
    // 30 December never was.
    ("Pacific/Apia", 2011),
    ("Asia/Kathmandu", 1985),
];

/// Instants by their numbers.
fn instants() -> Topic<u32, u8> {
    Topic::new("instants")
}

/// The windows of instants, as they are folded by one kind of calendar after the other.
fn found(calendars: &[CalendarPeriod], at_ms: &[i64]) -> Vec<Vec<(i64, i64)>> {
    let graph = GraphBuilder::new();
    let grouped = graph.stream(&instants()).group_by_key();
    let tables: Vec<StoredTable<Windowed<u32>, u64>> = calendars
        .iter()
        .enumerate()
        .map(|(number, calendar)| {
            // Nothing is late.
            let calendar: Calendar = calendar.clone().grace(Duration::from_secs(1 << 40));
            grouped.windowed(calendar).count(&*format!("counts_{number}")).table().clone()
        })
        .collect();
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    for (number, at_ms) in (0..).zip(at_ms) {
        driver.put(&instants(), number, 1, *at_ms).unwrap();
    }
    driver.run().unwrap();
    let of_table = |table: &StoredTable<Windowed<u32>, u64>| {
        let mut windows: Vec<Vec<(i64, i64)>> = vec![Vec::new(); at_ms.len()];
        for (windowed, count) in driver.table(table).unwrap() {
            assert_eq!(count, 1);
            windows[windowed.key as usize].push((windowed.start_ms, windowed.end_ms));
        }
        windows.into_iter().map(|windows| <[_; 1]>::try_from(windows).unwrap()[0]).collect()
    };
    tables.iter().map(of_table).collect()
}

/// Where days, weeks, months and years begin from the December before a year to the January after it.
fn begins(zone: &TimeZone, year: i16, first: Weekday) -> [Vec<i64>; 4] {
    let midnight = |date: Date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).unwrap().as_millisecond();
    let (mut latest, mut last) = (i64::MIN, [i64::MIN; 4]);
    let mut begins = [const { Vec::new() }; 4];
    let mut now_ms = midnight(date(year - 1, 12, 1));
    while now_ms < midnight(date(year + 1, 1, 31)) {
        let offset = zone.to_offset(Timestamp::from_millisecond(now_ms).unwrap()).seconds();
        let day = (now_ms + i64::from(offset) * 1_000).div_euclid(DAY_MS);
        if day > latest {
            latest = day;
            // 1 January 1970 was a Thursday.
            let week = (day + 3 - first as i64).div_euclid(7);
            let date = TimeZone::UTC.to_datetime(Timestamp::from_millisecond(day * DAY_MS).unwrap()).date();
            let month = i64::from(date.year()) * 12 + i64::from(date.month());
            let names = [day, week, month, i64::from(date.year())];
            for ((begins, last), name) in begins.iter_mut().zip(&mut last).zip(names) {
                if name != *last {
                    begins.push(now_ms);
                    *last = name;
                }
            }
        }
        now_ms += MINUTE_MS;
    }
    begins
}

fn check(name: &str, year: i16, random: &mut Random) {
    let zone = TimeZone::get(name).unwrap();
    let first = random.pick(&[Weekday::Monday, Weekday::Saturday, Weekday::Sunday, Weekday::Thursday]);
    let begins = begins(&zone, year, first);
    let calendars =
        [Calendar::days(name), Calendar::weeks(name, first), Calendar::months(name), Calendar::years(name)];
    // Of this year, all of which is known of.
    let (start, end) = (begins[3][1], begins[3][2]);
    let around = begins[0].iter().flat_map(|at| [at - 1, *at, at + 1]);
    let mut at_ms: Vec<i64> = around.filter(|at| (start..end).contains(at)).collect();
    at_ms.extend((0..200).map(|_| start + random.below((end - start).unsigned_abs()).cast_signed()));
    for ((found, begins), kind) in
        found(&calendars, &at_ms).iter().zip(&begins).zip(["day", "week", "month", "year"])
    {
        for (at, window) in at_ms.iter().zip(found) {
            let past = begins.partition_point(|begin| begin <= at);
            let expected = (begins[past - 1], begins[past]);
            assert_eq!(*window, expected, "the {kind} of {at} ms in {name}, {year}, weeks from {first:?}");
        }
    }
}

#[test]
fn days_of_a_zone_are_those_of_clocks_on_the_wall() {
    let mut random = Random::new(seed());
    for (zone, year) in ZONES {
        check(zone, year, &mut random);
    }
    for _ in 0..rounds(12) {
        let (zone, _) = random.pick(&ZONES);
        check(zone, 1_970 + i16::try_from(random.below(130)).unwrap(), &mut random);
    }
}

#[test]
fn a_day_is_as_long_as_it_was() {
    let minutes = |zone: &str, (year, month, day)| {
        let noon = TimeZone::get(zone).unwrap().to_timestamp(date(year, month, day).at(12, 0, 0, 0)).unwrap();
        let (start, end) = found(&[Calendar::days(zone)], &[noon.as_millisecond()])[0][0];
        (end - start) / MINUTE_MS
    };
    for (zone, shorter, longer, by) in [
        ("America/New_York", (2013, 3, 10), (2013, 11, 3), 60),
        ("Europe/Berlin", (2024, 3, 31), (2024, 10, 27), 60),
        ("Australia/Lord_Howe", (2024, 10, 6), (2024, 4, 7), 30),
        ("America/Havana", (2013, 3, 10), (2013, 11, 3), 60),
        ("America/St_Johns", (2010, 3, 14), (2010, 11, 7), 60),
        ("America/Sao_Paulo", (2018, 11, 4), (2018, 2, 17), 60),
        ("Asia/Beirut", (2022, 3, 27), (2022, 10, 29), 60),
        ("Africa/Cairo", (2023, 4, 28), (2023, 10, 26), 60),
    ] {
        assert_eq!(minutes(zone, shorter), 1_440 - by, "{zone}, {shorter:?}");
        assert_eq!(minutes(zone, longer), 1_440 + by, "{zone}, {longer:?}");
    }
    // Of 30 December nothing is left.
    let [before, after] = [(2011, 12, 29), (2011, 12, 31)].map(|day| minutes("Pacific/Apia", day));
    assert_eq!([before, after], [1_440; 2]);
}
