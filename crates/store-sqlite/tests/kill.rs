//! What was acknowledged is there after the process was killed in the middle of its work.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stentor_jid::BareJid;
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{Stores, Ticket, Write};
use stentor_store_sqlite::{Options, Sqlite};

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn owner() -> BareJid {
    BareJid::new("romeo@montague.example").unwrap()
}

/// Not a test by itself: what the killed process does. Each message carries its number; the number
/// is printed once its ticket is done.
#[test]
#[ignore = "run by `nothing_acknowledged_is_lost_by_killing`"]
fn child() {
    let folder = std::env::var("STENTOR_KILL_FOLDER").unwrap();
    let sqlite = Sqlite::open(Path::new(&folder), &Options::default()).unwrap();
    let stores = sqlite.stores();
    let create = Write::CreateAccount { owner: owner(), created_ms: 0, keys: Vec::new() };
    drop(wait(stores.writer.submit(create)));
    let first = next_number(&stores);
    wait(async {
        let mut waiting = std::collections::VecDeque::<(i64, Ticket)>::new();
        for number in first.. {
            let stanza = vec![b'x'; 300];
            let write =
                Write::StoreOffline { owner: owner(), received_ms: number, body: stanza.into() };
            waiting.push_back((number, stores.writer.submit(write)));
            if waiting.len() < 40 {
                continue;
            }
            for (number, ticket) in waiting.drain(..) {
                ticket.await.unwrap();
                // Beside the harness, which captures what `println!` writes.
                use std::io::Write as _;
                writeln!(std::io::stdout(), "acknowledged {number}").unwrap();
            }
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_by_killing() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let acknowledged = run_and_kill(folder.path(), 300 + round * 77);
        let sqlite = Sqlite::open(folder.path(), &Options::default()).unwrap();
        let stored = numbers(&sqlite.stores());
        let expected: Vec<i64> = (0..=acknowledged).collect();
        assert!(stored.len() >= expected.len(), "{} of {}", stored.len(), expected.len());
        assert_eq!(stored[..expected.len()], expected, "round {round}");
        // Beyond it lies what was committed and not told: in order, without holes.
        assert!(stored.windows(2).all(|pair| pair[1] == pair[0] + 1), "round {round}");
    }
}

/// Lets a child acknowledge `count` messages and kills it. Says which was the last.
fn run_and_kill(folder: &Path, count: usize) -> i64 {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("STENTOR_KILL_FOLDER", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acknowledged = lines
        .by_ref()
        .filter_map(|line| number(&line))
        .nth(count)
        .expect("the child acknowledges until it is killed");
    // SIGKILL on Unix: no destructor runs.
    child.kill().unwrap();
    child.wait().unwrap();
    // The last line may be cut short and then is a smaller number.
    lines.filter_map(|line| number(&line)).fold(acknowledged, i64::max)
}

fn number(line: &str) -> Option<i64> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}

fn next_number(stores: &Stores) -> i64 {
    numbers(stores).last().map_or(0, |last| last + 1)
}

fn numbers(stores: &Stores) -> Vec<i64> {
    let mut numbers = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = wait(stores.offline.page(&owner(), from, PAGE_ROWS_MAX)).unwrap();
        numbers.extend(page.messages.iter().map(|row| row.received_ms));
        after = page.next;
    }
    numbers
}
