//! How far apart two records may be to be joined, and how long each is waited for.
//!
//! A record of the left stream at `t` meets those of the right one from `t - before` to `t + after`, both ends included, so that one of
//! the right stream meets those of the left one from `t - after` to `t + before`. A record closes a grace after the last that it may
//! meet. At both ends of time the bounds are cut.

use crate::stream::grace::Grace;
use crate::stream::window::millis;
use std::time::Duration;

/// Which records of two streams are joined: those of the other stream that happened at most so much before or after. And for how
/// long each waits for what is late.
///
/// # Examples
/// ```
/// use millpond::stream::Within;
/// use std::time::Duration;
///
/// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
/// // A payment up to an hour after its order, and none before it.
/// let _payments = Within::after(minutes(60)).grace(minutes(5));
/// // Five minutes on either side, or not the same on both.
/// let _about = Within::of(minutes(5)).grace(Duration::ZERO);
/// let _mostly_before = Within::before(minutes(5)).after(minutes(1)).grace(Duration::ZERO);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "JoinWindows")]
pub struct Within {
    before_ms: i64,
    after_ms: i64,
    grace: Grace,
}

/// A [`Within`] of which it is not said yet how long records wait for what is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "say how long records wait for late ones: `.grace(..)`"]
pub struct WithinBounds {
    before_ms: i64,
    after_ms: i64,
}

impl Within {
    /// Records of the other stream that happened at most so much before or after, in whole milliseconds.
    #[doc(alias = "ofTimeDifferenceAndGrace")]
    pub fn of(difference: Duration) -> WithinBounds {
        Self::before(difference).after(difference)
    }

    /// Records of the other stream that happened at the same time or at most so much before.
    pub fn before(before: Duration) -> WithinBounds {
        WithinBounds { before_ms: millis(before), after_ms: 0 }
    }

    /// Records of the other stream that happened at the same time or at most so much after.
    pub fn after(after: Duration) -> WithinBounds {
        WithinBounds { before_ms: 0, after_ms: millis(after) }
    }

    /// What a record of the left stream meets.
    pub(super) fn of_left(self) -> Reach {
        Reach { back_ms: self.before_ms, ahead_ms: self.after_ms }
    }

    /// What a record of the right stream meets.
    pub(super) fn of_right(self) -> Reach {
        Reach { back_ms: self.after_ms, ahead_ms: self.before_ms }
    }

    /// For how long a record waits that meets others as `reach` says.
    pub(super) fn grace_of(self, reach: Reach) -> Grace {
        self.grace.after(reach.ahead_ms)
    }

    /// How much time one row has: then a record looks into three at the most.
    pub(super) fn width_ms(self) -> i64 {
        self.before_ms.saturating_add(self.after_ms).max(1)
    }

    /// What tells it from others: the tables of a join remember it.
    pub(super) fn id(self) -> String {
        let Self { before_ms, after_ms, grace } = self;
        format!("within(before {before_ms} ms, after {after_ms} ms, grace {} ms)", grace.ms)
    }
}

impl WithinBounds {
    /// Records, too, that happened at most so much before.
    pub fn before(self, before: Duration) -> Self {
        Self { before_ms: millis(before), ..self }
    }

    /// Records, too, that happened at most so much after.
    pub fn after(self, after: Duration) -> Self {
        Self { after_ms: millis(after), ..self }
    }

    /// A record waits until its partition and those of the other stream have come so far beyond the last moment at which it may meet
    /// another. There is no default: without a grace everything that is out of order at all is lost, and with a long one much is
    /// kept, and what met nothing is told late.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Within {
        let Self { before_ms, after_ms } = self;
        Within { before_ms, after_ms, grace: Grace::of(grace) }
    }
}

/// How much earlier and later than a record of one stream those of the other may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    back_ms: i64,
    ahead_ms: i64,
}

impl Reach {
    /// The first and the last moment that a record at `at_ms` reaches.
    pub(super) fn from(self, at_ms: i64) -> (i64, i64) {
        (at_ms.saturating_sub(self.back_ms), at_ms.saturating_add(self.ahead_ms))
    }
}
