//! What an archive would cost in a log-structured merge tree: the same stages through the same
//! writer, into SQLite and into fjall, and the last pages of accounts out of both.
//!
//! `cargo bench -p stentor-store-sqlite --bench lsm [-- ROUNDS]`. The data folders are made under the
//! system's folder for temporary files, on whose disk everything depends. Both flush every
//! transaction; neither has an index of words.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod fjall_archive;
#[path = "../inputs/mod.rs"]
mod inputs;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use inputs::{Random, conversation, processor_secs, user, wait};
use stentor_store::{ArchiveFilter, ArchiveRange, Stage, Ticket, Write, Writer, WriterLimits};
use stentor_store_sqlite::{Options, Sqlite};

use self::fjall_archive::{FjallArchive, Reader};

fn main() {
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(3);
    println!(
        "{MESSAGES} messages between {ACCOUNTS} accounts, two entries each; last pages of {PAGE}"
    );
    for window in [1, 32, 512] {
        let messages = if window == 1 { MESSAGES / 20 } else { MESSAGES };
        for _ in 0..rounds {
            for engine in [Engine::Sqlite, Engine::Fjall] {
                let folder = tempfile::tempdir().unwrap();
                let found = run(engine, folder.path(), messages, window);
                println!("  {window:4} waiting, {engine:6?} {found}");
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Engine {
    Sqlite,
    Fjall,
}

/// What one engine did with one load.
struct Found {
    per_sec: f64,
    /// Microseconds of processor time for each message, all threads.
    processor_us: f64,
    /// Until a page was there: median, and what 99 of 100 took at most.
    page: [Duration; 2],
    folder_mib: u64,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [half, most] = self.page;
        write!(
            f,
            "{:8.0} messages/s, {:5.1} µs of processor each, page p50 {half:.0?} p99 {most:.0?}, \
             {} MiB on disk",
            self.per_sec, self.processor_us, self.folder_mib
        )
    }
}

fn run(engine: Engine, folder: &Path, messages: u64, window: usize) -> Found {
    let (writer, mut page): (Writer, Box<dyn FnMut(u64) -> usize>) = match engine {
        Engine::Sqlite => {
            let options = Options { searches_text: false, ..Options::default() };
            let sqlite = Sqlite::open(folder, &options).unwrap();
            let stores = sqlite.stores();
            let writer = stores.writer.clone();
            let ask = move |n: u64| {
                let _open = &sqlite;
                let range = ArchiveRange::last(PAGE);
                let page = stores.archive.page(&user(n), ArchiveFilter::default(), range);
                wait(page).unwrap().unwrap().rows.len()
            };
            (writer, Box::new(ask))
        }
        Engine::Fjall => {
            let backend = FjallArchive::open(folder);
            let reader: Reader = backend.reader();
            let writer = Writer::spawn(backend, WriterLimits::default()).unwrap();
            (writer, Box::new(move |n| reader.last(&user(n), PAGE).len()))
        }
    };
    let owners = (0..ACCOUNTS).map(user);
    let accounts: Stage = owners
        .map(|owner| Write::CreateAccount { owner, created_ms: 0, keys: Vec::new() })
        .collect();
    wait(writer.submit(accounts)).unwrap();
    let stages = conversation(messages, ACCOUNTS);
    let (before, begin) = (processor_secs(), Instant::now());
    submit(&writer, stages, window);
    let wall = begin.elapsed();
    let processor_us = (processor_secs() - before) * 1e6 / messages as f64;
    let page = pages(&mut page);
    wait(writer.stop()).unwrap();
    let folder_mib = folder_bytes(folder) >> 20;
    let per_sec = messages as f64 / wall.as_secs_f64();
    Found { per_sec, processor_us, page, folder_mib }
}

fn submit(writer: &Writer, stages: Vec<Stage>, window: usize) {
    wait(async {
        let mut waiting: VecDeque<Ticket> = VecDeque::new();
        for stage in stages {
            waiting.push_back(writer.submit(stage));
            if waiting.len() >= window {
                waiting.pop_front().unwrap().await.unwrap();
            }
        }
        for ticket in waiting {
            ticket.await.unwrap();
        }
    });
}

/// The last pages of accounts at random, median and 99th of 100.
fn pages(page: &mut dyn FnMut(u64) -> usize) -> [Duration; 2] {
    let mut random = Random::new();
    let mut times: Vec<Duration> = (0..PAGES)
        .map(|_| {
            let account = random.below(ACCOUNTS);
            let begin = Instant::now();
            assert!(page(account) > 0);
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    [times[PAGES / 2], times[PAGES * 99 / 100]]
}

fn folder_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() { folder_bytes(&entry.path()) } else { metadata.len() }
        })
        .sum()
}

const MESSAGES: u64 = 400_000;
const ACCOUNTS: u64 = 2_000;
const PAGE: u32 = 50;
const PAGES: usize = 2_000;
