//! A line of an answer: JSON for programs, a row of a table for people.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::fmt;

/// A JSON object whose fields stay in the order in which they were added.
#[derive(Default)]
pub(crate) struct Line(pub(crate) Vec<(&'static str, Value)>);

impl Line {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(f, "{before}{}:{value}", json!(name))?;
        }
        f.write_str("}")
    }
}

/// A table of lines with the same fields.
pub(crate) fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    if let Some(first) = lines.first() {
        table.set_header(first.0.iter().map(|(name, _)| title(name)));
    }
    for line in lines {
        table.add_row(line.0.iter().map(|(_, value)| {
            let cell = Cell::new(plain(value));
            if value.is_number() { cell.set_alignment(CellAlignment::Right) } else { cell }
        }));
    }
    table
}

pub(crate) fn title(name: &str) -> String {
    name.replace('_', " ")
}

pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "?".to_owned(),
        Value::String(text) => text.clone(),
        other => other.as_u64().map_or_else(|| other.to_string(), grouped),
    }
}

/// With a comma before each three digits, from five digits on: 1999 may be a year.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (digit, left) in digits.chars().zip((0..digits.len()).rev()) {
        text.push(digit);
        if left > 0 && left % 3 == 0 {
            text.push(',');
        }
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "minutes of a year's flights are far below 2^52")]
/// `None` of nothing.
pub(crate) fn mean_to_two_decimals(total: i64, count: u64) -> Option<f64> {
    // Adding zero turns a negative zero into a positive one.
    (count > 0).then(|| (total as f64 * 100.0 / count as f64).round() / 100.0 + 0.0)
}
