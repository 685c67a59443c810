//! What Tab makes of a line: the words that can stand there, and the keys that the tables have.

use super::questions::Answers;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use std::cell::Cell;

/// With a space where a key comes next.
const COMMANDS: [&str; 8] = ["aircraft ", "carrier ", "help", "quit", "route ", "routes ", "stats", "watch "];
const ROWS: [&str; 3] = ["aircraft ", "carrier ", "route "];

/// Knows what comes next.
pub(crate) struct Words<'a> {
    answers: &'a Answers<'a>,
    /// Whether nothing is typed yet: the editor does not tell when it is interrupted.
    pub(crate) is_empty: Cell<bool>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(answers: &'a Answers<'a>) -> Self {
        Self { answers, is_empty: Cell::new(true) }
    }

    /// What can stand after `before` and begins like `word`.
    fn candidates(&self, before: &[&str], word: &str) -> millpond::Result<Vec<String>> {
        let of = |words: &[&str]| -> Vec<String> {
            let lower = word.to_lowercase();
            words.iter().filter(|known| known.starts_with(&lower)).map(|&known| known.to_owned()).collect()
        };
        let key = word.to_uppercase();
        match *before {
            [] => Ok(of(&COMMANDS)),
            ["WATCH"] => Ok(of(&ROWS)),
            ["WATCH", "ROUTES", ..] => Ok(Vec::new()),
            ["WATCH", ref row @ ..] if row.first() != Some(&"WATCH") => self.candidates(row, word),
            ["CARRIER"] => self.answers.carriers(&key),
            ["AIRCRAFT"] => self.answers.tail_numbers(&key),
            ["ROUTE" | "ROUTES"] => self.answers.origins(&key),
            ["ROUTE", origin] => self.answers.dests(origin, &key),
            _ => Ok(Vec::new()),
        }
    }
}

impl Completer for Words<'_> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..cursor).unwrap_or(line);
        let start = typed.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let (before, word) = typed.split_at(start);
        let before = before.to_uppercase();
        let before: Vec<&str> = before.split_whitespace().collect();
        // A table that cannot be asked now is told of when it is asked.
        Ok((start, self.candidates(&before, word).unwrap_or_default()))
    }
}

impl Hinter for Words<'_> {
    type Hint = String;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.is_empty.set(line.is_empty());
        None
    }
}

impl Highlighter for Words<'_> {}
impl Validator for Words<'_> {}
impl Helper for Words<'_> {}
