//! Answers as they are shown: JSON for programs, tables for people.

use super::graph::Punctuality;
use super::line::{Line, grouped, mean_to_two_decimals, plain, table, title};
use millpond::{Health, Stats};
use serde_json::json;
use std::fmt::Write as _;

/// What was asked for.
pub(crate) enum Answer {
    Rows(Vec<Line>),
    Stats(Box<Stats>),
}

impl Answer {
    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Rows(rows) if rows.is_empty())
    }

    /// A JSON object per line.
    pub(crate) fn json(&self) -> String {
        let mut text = String::new();
        let mut add = |line: &Line| writeln!(text, "{line}").unwrap_or_default();
        match self {
            Self::Rows(rows) => rows.iter().for_each(add),
            Self::Stats(stats) => add(&stats_line(stats)),
        }
        text
    }

    /// Tables.
    pub(crate) fn tables(&self) -> String {
        match self {
            Self::Rows(rows) => format!("{}\n", table(rows)),
            Self::Stats(stats) => {
                format!("{}\n{}\n", table(&[engine_line(stats)]), table(&table_lines(stats)))
            }
        }
    }
}

impl Line {
    pub(crate) fn with_punctuality(self, row: &Punctuality) -> Self {
        self.with("flights", row.flights)
            .with("cancelled", row.cancelled)
            .with("arrived", row.arrived)
            .with("mean_arr_delay", mean_to_two_decimals(row.arr_delay_min, row.arrived))
    }

    /// For people, where there is one line after the other.
    pub(crate) fn words(&self) -> String {
        let words = self.0.iter().map(|(name, value)| format!("{} {}", title(name), plain(value)));
        words.collect::<Vec<_>>().join("  ")
    }
}

fn stats_line(stats: &Stats) -> Line {
    Line::new()
        .with("health", json!(stats.health))
        .with("lag", stats.lag.values().sum::<u64>())
        .with("records_in", stats.records_in)
        .with("epochs", stats.epochs)
        .with("drains", stats.drains)
        .with("undrained_bytes", stats.undrained_bytes)
        .with("state_bytes", stats.store.state_bytes)
        .with("changelog_bytes", stats.changelog_bytes)
        .with("tables", json!(stats.tables))
}

/// The engine as a whole, for people.
fn engine_line(stats: &Stats) -> Line {
    let health = match &stats.health {
        Health::Running => "running".to_owned(),
        Health::CatchingUp { records_left } => {
            format!("catching up, {} records left", grouped(*records_left))
        }
        Health::Waiting { reason } => format!("waiting: {reason}"),
        Health::Stopped { reason, .. } => format!("stopped: {reason}"),
        other => format!("{other:?}").to_lowercase(),
    };
    Line::new()
        .with("health", health)
        .with("records_behind", stats.lag.values().sum::<u64>())
        .with("records_folded", stats.records_in)
        .with("epochs", stats.epochs)
        .with("not_drained", bytes(stats.undrained_bytes as u64))
        .with("state", bytes(stats.store.state_bytes))
        .with("changelog", stats.changelog_bytes.map(bytes))
}

/// The tables, for people.
fn table_lines(stats: &Stats) -> Vec<Line> {
    let line = |(name, table): (&String, &millpond::TableStats)| {
        let rows = if table.building { json!("being built") } else { json!(table.rows) };
        let was_asked = table.hits + table.misses > 0;
        let found = was_asked.then(|| format!("{:.0} %", table.hit_rate() * 100.0));
        Line::new()
            .with("table", name.as_str())
            .with("rows", rows)
            .with("in_memory", bytes(table.hot_bytes as u64))
            .with("found_there", found)
    };
    stats.tables.iter().map(line).collect()
}

fn bytes(count: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => {
            let tenths = count * 10 / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{count} B"),
    }
}
