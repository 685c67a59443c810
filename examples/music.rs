//! The charts: which songs are played most, of each genre and all in all, at every moment.
//!
//! ```text
//! plays ─► by song ─► count: plays_of_song ─┐
//! songs (a table) ──────────────────────────┴► join ─┬► by genre ─► top five: top_of_genre
//!                                                    └► all       ─► top five: top_of_all
//! ```
//!
//! Known from the music demo of Kafka Streams. What makes it more than counting is that charts must be able to forget:
//! a song that is played once more is still one entry of the list, and not two; one whose genre is corrected leaves one list
//! and enters another; one that is deleted leaves, and whichever song was sixth is fifth. `top_k` keeps a row for each song,
//! so that it knows who comes next, however many songs a genre has.
//!
//! Every list is compared with that of a plain loop over the same songs and plays.

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use millpond::{Engine, GraphBuilder, Key, Result, StoredTable, Topic};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

/// Keeps the charts of songs: the most played of each genre and all in all.
#[derive(Parser)]
struct Arguments {
    /// How often songs are played
    #[arg(long, default_value_t = 100_000)]
    plays: u64,
}

const SONGS: u32 = 200;
const LISTENERS: u32 = 5000;
const TOP: usize = 5;
const BATCH: u64 = 10_000;

/// A row of the table of songs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Song {
    artist: String,
    title: String,
    genre: String,
}

/// An entry of a list. It is a key, as lists are in the order of their entries: by plays, and of those with equally many
/// the song with the greater number first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Key, Serialize, Deserialize)]
struct Entry {
    plays: u64,
    song: u32,
}

/// The topics and tables.
struct Charts {
    /// Who plays what.
    plays: Topic<u32, u32>,
    songs: Topic<u32, Song>,
    known: StoredTable<u32, Song>,
    of_genre: StoredTable<String, Vec<Entry>>,
    of_all: StoredTable<(), Vec<Entry>>,
}

impl Charts {
    fn new(graph: &GraphBuilder) -> Self {
        let plays = Topic::new("plays").partitions(4);
        let songs = Topic::new("songs");
        let known = graph.table(&songs, "songs");
        let played = graph
            .stream(&plays)
            .group_by(|_listener, song| *song)
            .count("plays_of_song")
            // Only songs that are known and were played: what is deleted leaves the lists.
            .join(&known, |&song, &plays, known: &Song| (known.genre.clone(), Entry { plays, song }));
        let of_genre = played.group_by(|_, row| row.clone()).top_k("top_of_genre", TOP, |entry| *entry);
        let of_all = played.group_by(|_, (_, entry)| ((), *entry)).top_k("top_of_all", TOP, |entry| *entry);
        Self { plays, songs, known, of_genre, of_all }
    }
}

/// The same by plain loops.
#[derive(Default)]
struct Plain {
    plays: BTreeMap<u32, u64>,
    songs: BTreeMap<u32, Song>,
}

impl Plain {
    fn top(&self, belongs: impl Fn(&Song) -> bool) -> Vec<Entry> {
        let played = self.plays.iter().map(|(&song, &plays)| Entry { plays, song });
        let mut entries: Vec<Entry> =
            played.filter(|entry| self.songs.get(&entry.song).is_some_and(&belongs)).collect();
        entries.sort_by(|one, other| other.cmp(one));
        entries.truncate(TOP);
        entries
    }

    fn top_of_genres(&self) -> BTreeMap<String, Vec<Entry>> {
        let genres = GENRES.iter().map(|&genre| (genre.to_owned(), self.top(|song| song.genre == genre)));
        genres.filter(|(_, top)| !top.is_empty()).collect()
    }
}

const GENRES: [&str; 4] = ["Folk", "Hip Hop", "Jazz", "Techno"];
const ARTISTS: [&str; 10] = [
    "The Weirs",
    "Ada Tailrace",
    "Sluice",
    "Headwater",
    "Penstock",
    "Oxbow",
    "Lea Culvert",
    "The Spillways",
    "Millrace",
    "Ebb & Flo",
];
const BEGINNINGS: [&str; 20] = [
    "Slow", "Late", "Blue", "Golden", "Last", "Empty", "Silver", "Broken", "Quiet", "Distant", "Early",
    "Hollow", "Paper", "Restless", "Second", "Tall", "Warm", "Winter", "Wild", "Young",
];
const ENDS: [&str; 10] =
    ["River", "Train", "Morning", "Letter", "City", "Garden", "Signal", "Harbour", "Mirror", "Dance"];

/// One of `names`, and what is left of the number for the next choice.
fn pick(names: &[&'static str], number: usize) -> (&'static str, usize) {
    (names.get(number % names.len()).copied().unwrap_or_default(), number / names.len())
}

/// No two songs have one title, as 7 has no factor in common with the number of titles.
fn song(number: u32, random: &mut impl RngExt) -> Song {
    let (beginning, rest) = pick(&BEGINNINGS, number as usize * 7 % (BEGINNINGS.len() * ENDS.len()));
    let (end, _) = pick(&ENDS, rest);
    let (artist, _) = pick(&ARTISTS, random.random_range(0..ARTISTS.len()));
    let (genre, _) = pick(&GENRES, random.random_range(0..GENRES.len()));
    Song { artist: artist.to_owned(), title: format!("{beginning} {end}"), genre: genre.to_owned() }
}

/// Songs with a small number are played more often.
fn play(random: &mut impl RngExt) -> (u32, u32) {
    let song = random.random_range(0..SONGS).min(random.random_range(0..SONGS));
    (random.random_range(0..LISTENERS), song)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("music: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> std::result::Result<(), Box<dyn Error>> {
    let graph = GraphBuilder::new();
    let charts = Charts::new(&graph);
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(&dir, &graph.build()?)?;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut plain = Plain::default();

    let songs: Vec<(u32, Song)> = (0..SONGS).map(|number| (number, song(number, &mut random))).collect();
    let producer = engine.producer(&charts.songs)?;
    producer.send(songs.iter().map(|(number, song)| (number, Some(song), 0))).wait_blocking()?;
    plain.songs = songs.into_iter().collect();
    play_songs(&engine, &charts, &mut plain, arguments.plays, &mut random)?;
    println!("After {} plays:", arguments.plays);
    show(&engine, &charts, &plain)?;

    if let Some(first) = plain.top(|song| song.genre == "Jazz").first()
        && let Some(song) = plain.songs.get_mut(&first.song)
    {
        println!("\n{} by {} is no Jazz but Folk:", song.title, song.artist);
        "Folk".clone_into(&mut song.genre);
        engine.append(&charts.songs, &first.song, song).wait_blocking()?;
        show(&engine, &charts, &plain)?;
    }
    if let Some(first) = plain.top(|_| true).first()
        && let Some(song) = plain.songs.remove(&first.song)
    {
        println!("\n{} by {} is taken out, and everything else goes on:", song.title, song.artist);
        engine.delete(&charts.songs, &first.song).wait_blocking()?;
        play_songs(&engine, &charts, &mut plain, arguments.plays / 10, &mut random)?;
        show(&engine, &charts, &plain)?;
    }
    Ok(engine.close_blocking()?)
}

fn play_songs(
    engine: &Engine,
    charts: &Charts,
    plain: &mut Plain,
    count: u64,
    random: &mut Xoshiro256PlusPlus,
) -> Result<()> {
    let producer = engine.producer(&charts.plays)?;
    let mut left = count;
    while left > 0 {
        let batch: Vec<(u32, u32)> = (0..left.min(BATCH)).map(|_| play(random)).collect();
        left -= left.min(BATCH);
        for (_, song) in &batch {
            *plain.plays.entry(*song).or_default() += 1;
        }
        producer.ready_blocking();
        producer.send(batch.iter().map(|(listener, song)| (listener, Some(song), 0))).wait_blocking()?;
    }
    Ok(())
}

/// Prints the lists, once they are what a plain loop finds.
fn show(engine: &Engine, charts: &Charts, plain: &Plain) -> std::result::Result<(), Box<dyn Error>> {
    engine.catch_up_blocking()?;
    // All tables at one position.
    let snapshot = engine.snapshot()?;
    let of_genre: BTreeMap<String, Vec<Entry>> =
        snapshot.of(&engine.view(&charts.of_genre)?)?.scan().collect::<Result<_>>()?;
    let of_all = snapshot.of(&engine.view(&charts.of_all)?)?.get(&())?.unwrap_or_default();
    let known = snapshot.of(&engine.view(&charts.known)?)?;
    if of_genre != plain.top_of_genres() || of_all != plain.top(|_| true) {
        return Err(format!("the charts are {of_genre:?} and {of_all:?}, which no plain loop finds").into());
    }

    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["", "", "plays", "title", "artist"]);
    let lists = of_genre.iter().map(|(genre, entries)| (genre.as_str(), entries));
    for (name, entries) in lists.chain([("all in all", &of_all)]) {
        let songs = known.multi_get(&entries.iter().map(|entry| entry.song).collect::<Vec<_>>())?;
        for ((place, entry), song) in (1..).zip(entries).zip(songs.into_iter().flatten()) {
            let name = if place == 1 { name } else { "" };
            table.add_row([name, &place.to_string(), &entry.plays.to_string(), &song.title, &song.artist]);
        }
    }
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    Ok(())
}
