//! What a benchmark prints: tables for people, and as its last line one JSON object for programs.

use bytesize::ByteSize;
use serde_json::{Map, Value, json};

/// A table whose columns are as wide as they need to be; the first is aligned left, the others right.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    pub fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        println!();
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Figures beside what they should be.
#[derive(Debug, Default)]
pub struct Targets(Vec<(String, f64, Bound)>);

impl Targets {
    /// `measured` is to be at least `bound`; 0.0 was not measured and is passed over.
    pub fn at_least(mut self, name: impl Into<String>, measured: f64, bound: f64) -> Self {
        if measured > 0.0 {
            self.0.push((name.into(), measured, Bound::AtLeast(bound)));
        }
        self
    }

    pub fn at_most(mut self, name: impl Into<String>, measured: f64, bound: f64) -> Self {
        self.0.push((name.into(), measured, Bound::AtMost(bound)));
        self
    }

    /// With those of `others` behind.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Prints the figures with what they should be, then the JSON line: `figures`, and which targets were reached.
    pub fn finish(self, figures: Value) {
        let mut table = Table::new(["figure", "measured", "target", ""]);
        let mut reached = Map::new();
        for (name, measured, bound) in self.0 {
            let (text, met) = match bound {
                Bound::AtLeast(bound) => (format!(">= {bound}"), measured >= bound),
                Bound::AtMost(bound) => (format!("<= {bound}"), measured <= bound),
            };
            let word = if met { "reached" } else { "not reached" };
            table.row([name.clone(), format!("{measured:.2}"), text, word.to_owned()]);
            reached.insert(name, json!(met));
        }
        if !reached.is_empty() {
            table.print();
        }
        let mut line = match figures {
            Value::Object(figures) => figures,
            other => Map::from_iter([("figures".to_owned(), other)]),
        };
        line.insert("reached".to_owned(), Value::Object(reached));
        println!("{}", Value::Object(line));
    }
}

/// `12345678.9` as `12.3 M`.
pub fn count(number: f64) -> String {
    match number {
        _ if number >= 1e7 => format!("{:.1} M", number / 1e6),
        _ if number >= 1e6 => format!("{:.2} M", number / 1e6),
        _ if number >= 1e4 => format!("{:.0} k", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

/// Bytes as `12 MiB`.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", ByteSize::b(bytes).as_mib())
}

/// Nanoseconds as `1.23 us`.
#[expect(clippy::cast_precision_loss, reason = "for the eye")]
pub fn duration(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        _ => format!("{:.1} ms", ns as f64 / 1e6),
    }
}

/// A ratio to two decimals, for the JSON line.
pub fn rounded(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}

/// The median of figures; 0.0 of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
