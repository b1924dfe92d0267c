//! What the archive costs: writes beside those of the offline store, and queries over a million
//! messages of one account beside the same over ten thousand.
//!
//! `cargo bench -p stentor-store-sqlite --bench archive [-- writes | queries]`. The data folder is
//! made under the system's folder for temporary files, on whose disk everything depends.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod inputs;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inputs::{Random, conversation, entry, message, processor_secs, user, wait};
use stentor_jid::Jid;
use stentor_store::{ArchiveFilter, ArchiveRange, Edge, Stage, Stores, Ticket, Write};
use stentor_store_sqlite::{Options, Sqlite};

fn main() {
    let wanted = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    if wanted.as_deref().is_none_or(|wanted| wanted == "writes") {
        writes();
    }
    if wanted.as_deref().is_none_or(|wanted| wanted == "queries") {
        queries();
    }
}

fn create(stores: &Stores, count: u64) {
    let owners = (0..count).map(user);
    let stage: Stage = owners
        .map(|owner| Write::CreateAccount { owner, created_ms: 0, keys: Vec::new() })
        .collect();
    wait(stores.writer.submit(stage)).unwrap();
}

fn writes() {
    println!("writes: {MESSAGES} messages, {WINDOW} waiting at a time, two accounts each");
    for accounts in [100, 2_000] {
        for (name, searches_text, is_archived) in [
            ("offline", false, false),
            ("archive, no words", false, true),
            ("archive, words", true, true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let options = Options { searches_text, ..Options::default() };
            let (wall, cpu) = write(folder.path(), &options, accounts, is_archived);
            let per_second = f64::from(MESSAGES) / wall.as_secs_f64();
            let each = cpu * 1e6 / f64::from(MESSAGES);
            println!(
                "  {accounts:5} accounts, {name:18} {per_second:8.0} messages/s, {each:5.1} µs of \
                 processor each, {} MiB",
                folder_bytes(folder.path()) >> 20
            );
        }
    }
}

fn write(folder: &Path, options: &Options, accounts: u64, archived: bool) -> (Duration, f64) {
    let sqlite = Sqlite::open(folder, options).unwrap();
    let stores = sqlite.stores();
    create(&stores, accounts);
    let mut stages = conversation(u64::from(MESSAGES), accounts);
    if !archived {
        stages = stages.into_iter().map(|stage| offline(&stage)).collect();
    }
    let (before, begin) = (processor_secs(), Instant::now());
    wait(async {
        let mut waiting: VecDeque<Ticket> = VecDeque::new();
        for stage in stages {
            waiting.push_back(stores.writer.submit(stage));
            if waiting.len() >= WINDOW {
                waiting.pop_front().unwrap().await.unwrap();
            }
        }
        for ticket in waiting {
            ticket.await.unwrap();
        }
    });
    let wall = begin.elapsed();
    wait(sqlite.stop()).unwrap();
    (wall, processor_secs() - before)
}

/// The recipient's message, kept for later instead.
fn offline(stage: &Stage) -> Stage {
    let Some(Write::PutArchive { owner, entry }) = stage.writes().last() else { unreachable!() };
    let body = entry.body.to_vec().into();
    Write::StoreOffline { owner: owner.clone(), received_ms: 0, body }.into()
}

fn folder_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn queries() {
    let sizes = [10_000, 1_000_000];
    println!("queries: pages of {PAGE} over {sizes:?} messages of one account");
    let found = sizes.map(|size| {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(folder.path(), &Options::default()).unwrap();
        fill(&sqlite.stores(), size);
        drop(sqlite);
        // Opening folds what is left: both sizes are asked in the same state.
        let sqlite = Sqlite::open(folder.path(), &Options::default()).unwrap();
        ask(&sqlite.stores(), size)
    });
    let [small, large] = found;
    for ((name, small, rows), (_, large, more)) in small.into_iter().zip(large) {
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        println!("  {name:34} {small:9.1?} {large:9.1?}  {ratio:4.1} times ({rows}, {more} rows)");
    }
}

/// One message each minute, so that a time span holds as many of them whatever the size.
fn fill(stores: &Stores, size: u64) {
    create(stores, 1);
    let owner = user(0);
    let mut random = Random::new();
    for from in (0..size).step_by(1_000) {
        let stage: Stage = (from..from + 1_000)
            .map(|n| {
                // The last three contacts write seldom; all pages are full at both sizes.
                let contact = if n % 50 < 3 { 200 + n % 50 } else { random.below(100) };
                let peer = Jid::from(user(1 + contact));
                let mut text = random.text();
                for (word, every) in [(" the", 3), (" often", 7), (" seldom", 199)] {
                    text.push_str(if n % every == 1 { word } else { "" });
                }
                let text: Arc<str> = text.into();
                let body = message(n, &peer.to_bare(), &owner, &text);
                let id = (n + 1) * 60_000_000;
                Write::PutArchive {
                    owner: owner.clone(),
                    entry: entry(id, peer, &body, &text, false),
                }
            })
            .collect();
        wait(stores.writer.submit(stage)).unwrap();
    }
}

fn ask(stores: &Stores, size: u64) -> Vec<(&'static str, Duration, usize)> {
    let all = ArchiveFilter::default;
    let middle = i64::try_from(size / 2 * 60_000).unwrap();
    let with = |n: u64| ArchiveFilter { with: Some(user(1 + n).into()), ..all() };
    let text = |text: &str| ArchiveFilter { text: Some(text.into()), ..all() };
    let day = ArchiveFilter { start_ms: Some(middle), end_ms: Some(middle + 86_400_000), ..all() };
    let since = ArchiveFilter { start_ms: Some(middle), ..all() };
    let last = ArchiveRange::last(PAGE);
    let first = ArchiveRange::first(PAGE);
    let after = ArchiveRange { limit: PAGE, from: Edge::After(size / 2 * 60_000_000) };
    let asked = [
        ("last page", all(), last),
        ("page behind an id", all(), after),
        ("first page since a time", since.clone(), first),
        ("last page of a day", day, last),
        ("last page with a contact", with(7), last),
        ("last page with a rare contact", with(201), last),
        ("since a time with a contact", ArchiveFilter { start_ms: Some(middle), ..with(7) }, first),
        ("word in every third message", text("the"), last),
        ("two words", text("the often"), last),
        ("word in every 199th message", text("seldom"), last),
        ("word and rare contact", ArchiveFilter { text: Some("the".into()), ..with(201) }, last),
        ("word since a time", ArchiveFilter { text: Some("the".into()), ..since }, first),
    ];
    asked
        .into_iter()
        .map(|(name, filter, range)| {
            let mut rows = 0;
            let mut times: Vec<Duration> = (0..RUNS)
                .map(|_| {
                    let begin = Instant::now();
                    let page = stores.archive.page(&user(0), filter.clone(), range);
                    rows = wait(page).unwrap().unwrap().rows.len();
                    begin.elapsed()
                })
                .collect();
            times.sort_unstable();
            (name, times[times.len() / 2], rows)
        })
        .collect()
}

const MESSAGES: u32 = 200_000;
/// Messages on their way at a time, as many sessions have.
const WINDOW: usize = 512;
const PAGE: u32 = 50;
const RUNS: usize = 101;
