//! At a terminal the prompt of the flights example completes, forgets a half line at Ctrl-C and goes on, and follows a row.
//!
//! Method: the program runs on a pseudo-terminal and is typed to as a person would. What it must show is waited for; what
//! it must not show would stand before that.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond_support::process::example;
use rexpect::session::{PtySession, spawn_command};
use std::path::Path;
use std::process::Command;

/// Generous: it is reached only if something does not come at all.
const PATIENCE_MS: u64 = 120_000;

const PROMPT: &str = "flights> ";

/// The program, as far as its first prompt.
fn started(state: &Path, arguments: &[&str]) -> PtySession {
    let mut command = Command::new(example("flights"));
    command.args(arguments).arg("--state").arg(state).env("TERM", "xterm");
    let mut terminal = spawn_command(command, Some(PATIENCE_MS)).unwrap();
    terminal.exp_string("Tab completes").unwrap();
    terminal.exp_string(PROMPT).unwrap();
    terminal
}

fn quit(mut terminal: PtySession) {
    terminal.send_line("quit").unwrap();
    terminal.exp_eof().unwrap();
    // The type of a status is not exported.
    let status = format!("{:?}", terminal.process().wait().unwrap());
    assert!(status.starts_with("Exited(") && status.ends_with(", 0)"), "{status}");
}

#[test]
fn tab_completes_commands_and_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = started(dir.path(), &[]);
    terminal.send("car\t").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("carrier ").unwrap();
    // Two carriers begin so: they are listed, and the line goes on.
    terminal.send("u\t\t").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("UA").unwrap();
    terminal.exp_string("US").unwrap();
    terminal.send_line("A").unwrap();
    terminal.exp_string("United Air Lines").unwrap();
    terminal.exp_string(PROMPT).unwrap();
    quit(terminal);
}

#[test]
fn an_interrupt_forgets_the_line_and_keeps_the_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = started(dir.path(), &[]);
    terminal.send("carrier U").unwrap();
    terminal.send_control('c').unwrap();
    let shown = terminal.exp_string(PROMPT).unwrap();
    assert!(!shown.contains("ends."), "{shown}");
    // Were the half line still there, this would be another question.
    terminal.send_line("carrier UA").unwrap();
    terminal.exp_string("United Air Lines").unwrap();
    terminal.exp_string(PROMPT).unwrap();
    terminal.send_control('c').unwrap();
    terminal.exp_string("Ctrl-D or `quit` ends.").unwrap();
    terminal.exp_string(PROMPT).unwrap();
    quit(terminal);
}

#[test]
fn a_row_is_followed_until_enter() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = started(dir.path(), &["--rate", "2000"]);
    terminal.send_line("watch carrier UA").unwrap();
    terminal.exp_string("Enter or Ctrl-C ends> ").unwrap();
    for _ in 0..3 {
        terminal.exp_string("United Air Lines").unwrap();
    }
    terminal.send_line("").unwrap();
    terminal.exp_string(PROMPT).unwrap();
    terminal.send_line("stats").unwrap();
    terminal.exp_string("carriers").unwrap();
    terminal.exp_string(PROMPT).unwrap();
    quit(terminal);
}
