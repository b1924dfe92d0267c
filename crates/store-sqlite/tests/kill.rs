//! What was acknowledged is there after the process was killed in the middle of its work.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use stentor_jid::BareJid;
use stentor_store::limits::PAGE_ROWS_MAX;
use stentor_store::{
    ArchiveEntry, ArchiveFilter, ArchiveRange, Edge, OfflineBody, Stage, Stores, Ticket, Write,
};
use stentor_store_sqlite::{Options, Sqlite};

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn owner() -> BareJid {
    BareJid::new("romeo@montague.example").unwrap()
}

fn other() -> BareJid {
    BareJid::new("juliet@capulet.example").unwrap()
}

/// Sorts archived messages in often, so that processes are killed in the middle of that, too.
fn options() -> Options {
    Options { fold_entries: 50, ..Options::default() }
}

/// A message for the offline store, and one for both archives that also waits offline for one.
fn stage(number: i64) -> Stage {
    let body: Arc<[u8]> = vec![b'x'; 300].into();
    let entry = |peer: BareJid| ArchiveEntry {
        id: number.unsigned_abs() + 1,
        at_ms: number,
        peer: peer.into(),
        is_sent: false,
        flags: 0,
        body: body.clone(),
        text: Some(format!("kept {number}").into()),
        origin_id: None,
        stanza_id: None,
    };
    let waits = OfflineBody::Archived(number.unsigned_abs() + 1);
    [
        Write::StoreOffline { owner: owner(), received_ms: number, body: body.to_vec().into() },
        Write::PutArchive { owner: owner(), entry: entry(other()) },
        Write::PutArchive { owner: other(), entry: entry(owner()) },
        Write::StoreOffline { owner: other(), received_ms: number, body: waits },
    ]
    .into_iter()
    .collect()
}

/// Not a test by itself: what the killed process does. Each message carries its number; the number
/// is printed once its ticket is done.
#[test]
#[ignore = "run by `nothing_acknowledged_is_lost_by_killing`"]
fn child() {
    let folder = std::env::var("STENTOR_KILL_FOLDER").unwrap();
    let sqlite = Sqlite::open(Path::new(&folder), &options()).unwrap();
    let stores = sqlite.stores();
    for owner in [owner(), other()] {
        let create = Write::CreateAccount { owner, created_ms: 0, keys: Vec::new() };
        drop(wait(stores.writer.submit(create)));
    }
    let first = next_number(&stores);
    wait(async {
        let mut waiting = std::collections::VecDeque::<(i64, Ticket)>::new();
        for number in first.. {
            waiting.push_back((number, stores.writer.submit(stage(number))));
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
        let sqlite = Sqlite::open(folder.path(), &options()).unwrap();
        let stored = numbers(&sqlite.stores(), &owner());
        let expected: Vec<i64> = (0..=acknowledged).collect();
        assert!(stored.len() >= expected.len(), "{} of {}", stored.len(), expected.len());
        assert_eq!(stored[..expected.len()], expected, "round {round}");
        // Beyond it lies what was committed and not told: in order, without holes.
        assert!(stored.windows(2).all(|pair| pair[1] == pair[0] + 1), "round {round}");
        assert_eq!(numbers(&sqlite.stores(), &other()), stored, "what waits in the archive");
        for owner in [owner(), other()] {
            assert_eq!(archived(&sqlite.stores(), &owner, None), stored, "round {round}");
            assert_eq!(archived(&sqlite.stores(), &owner, Some("kept")), stored, "by a word");
        }
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
    numbers(stores, &owner()).last().map_or(0, |last| last + 1)
}

fn numbers(stores: &Stores, owner: &BareJid) -> Vec<i64> {
    let mut numbers = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page = wait(stores.offline.page(owner, from, PAGE_ROWS_MAX)).unwrap();
        assert_eq!(page.damaged, [0; 0]);
        numbers.extend(page.messages.iter().map(|row| row.received_ms));
        after = page.next;
    }
    numbers
}

fn archived(stores: &Stores, owner: &BareJid, text: Option<&str>) -> Vec<i64> {
    let mut numbers = Vec::new();
    let mut from = Edge::First;
    loop {
        let filter = ArchiveFilter { text: text.map(Into::into), ..ArchiveFilter::default() };
        let range = ArchiveRange { limit: PAGE_ROWS_MAX, from };
        let slice = wait(stores.archive.page(owner, filter, range)).unwrap().unwrap();
        assert_eq!(slice.damaged, [0; 0]);
        numbers.extend(slice.rows.iter().map(|row| row.at_ms));
        let Some(last) = slice.rows.last() else { return numbers };
        from = Edge::After(last.id);
    }
}
