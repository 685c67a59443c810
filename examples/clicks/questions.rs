//! What can be asked, and the answers: one JSON object per line.

use super::events::BEGIN_MS;
use super::graph::{Clicks, Entry, Visits};
use millpond::stream::WindowView;
use millpond::{Engine, Result, View};
use serde_json::{Value, json};
use std::fmt;

pub(crate) const HELP: &str = "\
Questions, for --lookup and for the prompt:
  overview            all views, how many of them were late, and how many minutes and sessions are over
  top 03:25           the most viewed pages of a minute, once it is closed
  page /shop/1        all views of a page, how many were late, and the last ten minutes that have any
  user 42             the sessions of a user that are over
For the prompt only: help, quit.
Times are hours and minutes since the first view was due.";

const MINUTE_MS: i64 = 60_000;

/// How many minutes of a page are shown.
const SHOWN: usize = 10;

/// A question, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Overview,
    Top { start_ms: i64 },
    Page(String),
    User(u32),
}

impl Question {
    /// # Errors
    /// What can be asked, if this cannot.
    pub(crate) fn parse(line: &str) -> std::result::Result<Self, String> {
        let question = match *line.split_whitespace().collect::<Vec<_>>() {
            ["overview"] => Some(Self::Overview),
            ["top", time] => minute(time).map(|start_ms| Self::Top { start_ms }),
            ["page", page] => Some(Self::Page(page.to_owned())),
            ["user", user] => user.parse().ok().map(Self::User),
            _ => None,
        };
        question.ok_or_else(|| format!("cannot answer `{line}`\n{HELP}"))
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overview => write!(f, "overview"),
            Self::Top { start_ms } => write!(f, "top {}", time(*start_ms)),
            Self::Page(page) => write!(f, "page {page}"),
            Self::User(user) => write!(f, "user {user}"),
        }
    }
}

/// When the minute begins that is written as `time`.
fn minute(time: &str) -> Option<i64> {
    let (hours, minutes) = time.split_once(':')?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(BEGIN_MS + (i64::from(hours) * 60 + i64::from(minutes)) * MINUTE_MS)
}

/// As [`minute`] reads it; what happened before the beginning has a sign.
fn time(ms: i64) -> String {
    let minutes = (ms - BEGIN_MS).div_euclid(MINUTE_MS);
    let sign = if minutes < 0 { "-" } else { "" };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// The views that answer.
pub(crate) struct Answers {
    pages: View<String, u64>,
    minutes: WindowView<String, u64>,
    top: View<i64, Vec<Entry>>,
    late: View<String, u64>,
    visits: View<u32, Visits>,
}

impl Answers {
    pub(crate) fn new(engine: &Engine, clicks: &Clicks) -> Result<Self> {
        Ok(Self {
            pages: engine.view(&clicks.pages)?,
            minutes: clicks.minutes.windows_of(&engine.view(&clicks.minutes)?),
            top: engine.view(&clicks.top)?,
            late: engine.view(&clicks.late)?,
            visits: engine.view(&clicks.visits)?,
        })
    }

    /// The answer as things stand; `None` if nothing is known.
    pub(crate) fn answer(&self, question: &Question) -> Result<Option<Value>> {
        Ok(match question {
            Question::Overview => Some(self.overview()?),
            Question::Top { start_ms } => self.top.get(start_ms)?.map(|entries| {
                let pages = entries.iter().map(|(views, page)| json!({ "page": page, "views": views }));
                json!({ "minute": time(*start_ms), "pages": pages.collect::<Vec<_>>() })
            }),
            Question::Page(page) => self.page(page)?,
            Question::User(user) => self.visits.get(user)?.map(|visits| {
                json!({
                    "user": user,
                    "sessions": visits.sessions,
                    "views": visits.views,
                    "longest_seconds": visits.longest_ms / 1_000,
                    "last_began": time(visits.last_start_ms),
                })
            }),
        })
    }

    fn overview(&self) -> Result<Value> {
        let views = self.pages.scan()?.map(|row| row.map(|(_, views)| views)).sum::<Result<u64>>()?;
        let late = self.late.scan()?.map(|row| row.map(|(_, views)| views)).sum::<Result<u64>>()?;
        let over =
            self.visits.scan()?.map(|row| row.map(|(_, visits)| visits.sessions)).sum::<Result<u64>>()?;
        Ok(json!({
            "views": views,
            "late": late,
            "minutes_over": self.top.count()?,
            "sessions_over": over,
        }))
    }

    fn page(&self, page: &str) -> Result<Option<Value>> {
        let Some(views) = self.pages.get(page)? else {
            return Ok(None);
        };
        // From the last minute backwards: the history of the page is not read.
        let minutes = self.minutes.windows(page, ..)?.rev().take(SHOWN).collect::<Result<Vec<_>>>()?;
        let minutes = minutes.iter().map(|(minute, views)| json!([time(minute.start_ms), views]));
        let late = self.late.get(page)?.unwrap_or_default();
        let last_minutes = minutes.collect::<Vec<_>>();
        Ok(Some(json!({ "page": page, "views": views, "late": late, "last_minutes": last_minutes })))
    }
}
