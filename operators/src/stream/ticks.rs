//! `ticks`: a stream with a record for each period, by the clock of the engine.
//!
//! A record is dated with the multiple of the period since 1970 at which its period begins; it is never late and never out of order, as
//! the stream comes exactly so far with it, and two of one moment do not come. Multiples before 1970 are as good as others. There are no
//! tombstones, one key, and no input: no record until the clock has been looked at. Periods that nobody was there for are passed over but
//! for the last.

use super::Stream;
use crate::GraphBuilder;
use millpond_engine::Result;
use millpond_engine::codec::KeyCodec;
use millpond_engine::dataflow::{Context, Event, Failure, Operator, Stamp};
use millpond_engine::graph::Period;
use std::time::Duration;

impl GraphBuilder {
    /// A record every `every`, as cron has it, for periodic work: its value is the moment, in milliseconds since the Unix epoch, at which
    /// the period begins that has begun, and so is its timestamp. Periods are counted from 1970 on, so a day begins at midnight UTC, and
    /// an hour on the hour, whenever the engine was started. The least is a second.
    ///
    /// The clock enters as input does: whoever appends the epochs of the engine looks at its [clock](millpond_engine::Clock) between two
    /// epochs, and notes a moment that has come in a topic of the engine's own, `<engine>.time`, in one step with all that is made of it.
    /// From then on it stands between the same records for whoever follows the engine, takes it over, or folds the log again, and no
    /// result depends on a clock. The topic keeps the moments for as long as the log is there.
    ///
    /// **What was missed is made up for once**: where several periods have begun since the last record, as the engine was down or paused,
    /// its clock was put forward, or the graph ticks for the first time, there is one record, of the last of them. To have none would let
    /// nightly work go by for which nobody was up in time; to have all would write a record for each second of a year. Whoever
    /// wants to know how many there were compares with the moment before. A clock that is put back makes no record until it is where it was.
    ///
    /// The stream is a source of its own that has come as far in time as its last moment: where windows or joins wait for all that
    /// feeds them, they wait for the next one as well.
    ///
    /// [`Driver::advance`](crate::testing::Driver::advance) moves the clock of a test, and
    /// [`Driver::advance_time`](crate::testing::Driver::advance_time) goes on to the last moment up to there.
    ///
    /// # Errors
    /// [`build`](Self::build) refuses a period below a second, and two periods under one name. Another period from one start to the next goes
    /// on with what is folded: tables that are folded anew then have the new one from the beginning, so give the stream another name, or raise
    /// the versions of what is made of it.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let rates = Topic::<String, u64>::new("rates");
    /// let graph = GraphBuilder::new();
    /// let current = graph.table(&rates, "current");
    /// // What the dollar is worth at the beginning of each hour.
    /// let hourly = graph
    ///     .ticks("hourly", Duration::from_secs(3_600))
    ///     .join_by(&current, |(), _| "USD".to_owned(), |_, moment, rate| (moment, *rate))
    ///     .re_key(|_, (moment, _)| *moment)
    ///     .map_values(|_, (_, rate)| rate)
    ///     .to_table("hourly");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.run()?; // the clock shows 0, and nothing is known of the dollar
    /// driver.put(&rates, "USD".to_owned(), 93, 0)?;
    /// driver.run()?;
    /// driver.advance(2 * 3_600_000 + 7); // the hour between is passed over
    /// driver.run()?;
    /// assert_eq!(driver.table(&hourly)?, [(7_200_000, 93)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "punctuate")]
    #[doc(alias = "PunctuationType")]
    #[doc(alias = "WALL_CLOCK_TIME")]
    #[doc(alias = "cron")]
    pub fn ticks(&self, name: &str, every: Duration) -> Stream<(), i64> {
        let period = Period::of(every);
        let node = self.nodes().ticks("ticks", name, period, Ticks { name: name.to_owned(), period });
        Stream::new(self.nodes().clone(), node, true)
    }
}

/// Puts a record out where a period has begun.
struct Ticks {
    name: String,
    period: Period,
}

impl Operator for Ticks {
    type Input = ();
    type Output = Vec<Event<(), i64>>;

    fn run(&self, context: &mut Context<'_>, (): ()) -> Result<Option<Self::Output>, Failure> {
        let moment = self.period.begins(context.watermark());
        if moment <= context.watermark_before() || context.shard() != context.router().shard(&()) {
            return Ok(Some(Vec::new()));
        }
        // Of several that have a moment together each has a place of its own.
        let mut name = Vec::new();
        self.name.encode_key(&mut name);
        let stamp = Stamp::of_closing(moment, &name, moment);
        let mut told = vec![Event { key: (), value: moment, stamp }];
        context.tell(&mut told);
        Ok(Some(told))
    }
}
