//! What the example `clicks` answers is what plain loops over the same views count, and a state that is taken up again says the same.
//!
//! Method: the views come from the generator of the example. Loops over all of them, with nothing of the library but the partition of a
//! key, find how far each partition had come at each view, and from that what is late, which minutes and sessions are over, and what is in
//! them. Each answer of the program is compared with that. The same state is filled in two runs, and then asked by a third.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../examples/clicks/events.rs"]
mod events;

use events::{BEGIN_MS, Events};
use millpond::changelog::partition_for_key;
use millpond::codec::KeyCodec;
use millpond_support::process::{example, output_with_input};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const EVENTS: usize = 50_000;
const MINUTE_MS: i64 = 60_000;
const GRACE_MS: i64 = 10_000;
const KEPT_MS: i64 = 3_600_000;
const PAUSE_MS: i64 = 5 * MINUTE_MS;
const PARTITIONS: usize = 4;

#[derive(Default)]
struct Plain {
    /// All views, and the late ones.
    pages: BTreeMap<String, (u64, u64)>,
    minutes: BTreeMap<i64, BTreeMap<String, u64>>,
    /// The views of each user that count to a session.
    users: BTreeMap<u32, BTreeSet<(i64, usize)>>,
    watermark_ms: i64,
}

/// First and last view, and how many.
type Session = (i64, i64, u64);

impl Plain {
    fn count(events: usize) -> Self {
        let mut plain = Self::default();
        let mut stream_times = [i64::MIN; PARTITIONS];
        for (number, view) in Events::new().take(events).enumerate() {
            let mut key = Vec::new();
            view.user.encode_key(&mut key);
            let partition = partition_for_key(&key, u32::try_from(PARTITIONS).unwrap());
            let stream_time = &mut stream_times[partition as usize];
            *stream_time = view.at_ms.max(*stream_time);
            let minute = view.at_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
            let page = plain.pages.entry(view.page.clone()).or_default();
            page.0 += 1;
            if *stream_time < minute + MINUTE_MS + GRACE_MS {
                *plain.minutes.entry(minute).or_default().entry(view.page).or_default() += 1;
            } else {
                page.1 += 1;
            }
            if view.at_ms >= *stream_time - GRACE_MS {
                plain.users.entry(view.user).or_default().insert((view.at_ms, number));
            }
        }
        plain.watermark_ms = stream_times.into_iter().min().unwrap();
        plain
    }

    /// The minutes that are over with their five most viewed pages.
    fn top(&self) -> BTreeMap<i64, Vec<(u64, String)>> {
        let over =
            self.minutes.iter().filter(|(start, _)| *start + MINUTE_MS + GRACE_MS <= self.watermark_ms);
        let top = over.map(|(start, pages)| {
            let mut entries: Vec<_> = pages.iter().map(|(page, views)| (*views, page.clone())).collect();
            entries.sort_by(|one, other| other.cmp(one));
            entries.truncate(5);
            (*start, entries)
        });
        top.collect()
    }

    /// The sessions of each user that are over, the earliest first.
    fn sessions(&self) -> BTreeMap<u32, Vec<Session>> {
        let mut all = BTreeMap::new();
        for (user, views) in &self.users {
            let mut sessions: Vec<Session> = Vec::new();
            for (at_ms, _) in views {
                match sessions.last_mut() {
                    Some((_, last, views)) if at_ms - *last <= PAUSE_MS => {
                        (*last, *views) = (*at_ms, *views + 1);
                    }
                    _ => sessions.push((*at_ms, *at_ms, 1)),
                }
            }
            sessions.retain(|(_, last, _)| last + PAUSE_MS + GRACE_MS < self.watermark_ms);
            if !sessions.is_empty() {
                all.insert(*user, sessions);
            }
        }
        all
    }

    /// Each question with its answer.
    fn answers(&self) -> Vec<(String, Value)> {
        let (top, sessions) = (self.top(), self.sessions());
        let mut all = vec![(
            "overview".to_owned(),
            json!({
                "views": self.pages.values().map(|(views, _)| views).sum::<u64>(),
                "late": self.pages.values().map(|(_, late)| late).sum::<u64>(),
                "minutes_over": top.len(),
                "sessions_over": sessions.values().map(Vec::len).sum::<usize>(),
            }),
        )];
        for (start, entries) in top.range(BEGIN_MS..) {
            let pages: Vec<_> =
                entries.iter().map(|(views, page)| json!({ "page": page, "views": views })).collect();
            all.push((format!("top {}", time(*start)), json!({ "minute": time(*start), "pages": pages })));
        }
        for (page, (views, late)) in &self.pages {
            let minutes =
                self.minutes.iter().rev().filter_map(|(start, pages)| Some((start, pages.get(page)?)));
            let kept = (self.watermark_ms - GRACE_MS - KEPT_MS).div_euclid(MINUTE_MS) * MINUTE_MS;
            let minutes = minutes.filter(|(start, _)| **start >= kept);
            let last: Vec<_> = minutes.take(10).map(|(start, views)| json!([time(*start), views])).collect();
            let answer = json!({ "page": page, "views": views, "late": late, "last_minutes": last });
            all.push((format!("page {page}"), answer));
        }
        for (user, sessions) in sessions.iter().step_by(5) {
            let answer = json!({
                "user": user,
                "sessions": sessions.len(),
                "views": sessions.iter().map(|(_, _, views)| views).sum::<u64>(),
                "longest_seconds": sessions.iter().map(|(first, last, _)| last - first).max().unwrap() / 1_000,
                "last_began": time(sessions.last().unwrap().0),
            });
            all.push((format!("user {user}"), answer));
        }
        all
    }
}

fn time(ms: i64) -> String {
    let minutes = (ms - BEGIN_MS).div_euclid(MINUTE_MS);
    let sign = if minutes < 0 { "-" } else { "" };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

fn clicks(state: &Path, events: usize) -> Command {
    let mut command = Command::new(example("clicks"));
    command.arg("--state").arg(state).args(["--events", &events.to_string()]);
    command
}

fn asked(mut command: Command, questions: &[(String, Value)]) -> Vec<Value> {
    for (question, _) in questions {
        command.arg("--lookup").args(question.split(' '));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(&output.stdout)
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn compare(answers: &[Value], expected: &[(String, Value)]) {
    assert_eq!(answers.len(), expected.len());
    for (answer, (question, expected)) in answers.iter().zip(expected) {
        assert_eq!(answer, expected, "{question}");
    }
}

#[test]
fn clicks_match_a_plain_count() {
    let dir = tempfile::tempdir().unwrap();
    let half = Plain::count(EVENTS / 2).answers();
    compare(&asked(clicks(dir.path(), EVENTS / 2), &half), &half);

    let whole = Plain::count(EVENTS).answers();
    let overview = &whole[0].1;
    assert!(overview["late"].as_u64().unwrap() > 50, "some come too late: {overview}");
    assert!(overview["sessions_over"].as_u64().unwrap() > 500, "many sessions are over: {overview}");
    let taken_up = asked(clicks(dir.path(), EVENTS), &whole);
    compare(&taken_up, &whole);
    assert_eq!(asked(clicks(dir.path(), EVENTS), &whole), taken_up, "nothing was left to do");
}

#[test]
fn questions_come_through_a_pipe_and_what_is_not_known_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let expected = Plain::count(5_000).answers();
    let asked =
        expected.iter().skip(1).take(3).map(|(question, _)| question.as_str()).collect::<Vec<_>>().join("\n");
    let output =
        output_with_input(&mut clicks(dir.path(), 5_000), &format!("{asked}\ntop 99:00\nquit\nuser 1\n"));
    assert!(output.status.success());
    compare(&lines(&output.stdout), expected.get(..4).unwrap());

    let output = clicks(dir.path(), 0).args(["--lookup", "top", "99:00"]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is known"));
    let output = clicks(dir.path(), 0).args(["--lookup", "weather"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("top 03:25"), "it says what can be asked");
}
