//! What it costs to keep sessions across a restart: messages a second with and without it.
//!
//! `cargo run --release -p stentor-bench --example session_cost`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Instant;

use stentor_jid::BareJid;
use stentor_store::{
    ArchiveEntry, Counters, PendingBody, PendingHow, PendingRow, SessionChange, SessionRow,
    SessionState, Stage, Stores, Ticket, Write,
};
use stentor_store_sqlite::{Options, Sqlite};

/// Pairs of accounts that write to each other.
const PAIRS: u64 = 100;
/// Messages of one measurement.
const MESSAGES: u64 = 50_000;
/// Messages of a session for which it is acknowledged once.
const PER_ACK: u64 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (mut plain, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        plain.push(measure(false).await);
        kept.push(measure(true).await);
    }
    let (plain, kept) = (median(plain), median(kept));
    println!("messages/s, archived for both sides: {:>8.0}", plain.0);
    println!(
        "the same, for sessions that resume:   {:>8.0}  ({:.2} of it)",
        kept.0,
        kept.0 / plain.0
    );
    println!("writes for each message: {:.2} and {:.2}", plain.1, kept.1);
    println!("bytes of the database for each message: {:.0} and {:.0}", plain.2, kept.2);
}

/// Messages a second, writes and bytes for each.
async fn measure(has_sessions: bool) -> (f64, f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path(), &Options::default()).unwrap();
    let stores = sqlite.stores();
    let owners: Vec<BareJid> = (0..PAIRS * 2)
        .map(|n| BareJid::new(&format!("user{n}@capulet.example")).unwrap())
        .collect();
    prepare(&stores, &owners).await;
    let writes = Counters::read(&stores.writer.counters().writes_committed);
    let begun = Instant::now();
    let mut tickets: Vec<Ticket> = Vec::new();
    for n in 1..=MESSAGES {
        let from = n % (PAIRS * 2);
        let stage = message(n, from, from ^ 1, &owners, has_sessions);
        tickets.push(stores.writer.submit(stage));
        if tickets.len() >= 400 {
            for ticket in tickets.drain(..) {
                ticket.await.unwrap();
            }
        }
    }
    stores.writer.barrier().await.unwrap();
    let secs = begun.elapsed().as_secs_f64();
    let writes = Counters::read(&stores.writer.counters().writes_committed) - writes;
    drop(tickets);
    sqlite.stop().await.unwrap();
    let file = std::fs::read_dir(folder.path()).unwrap().flatten();
    let bytes: u64 = file.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    let count = f64::from(u32::try_from(MESSAGES).unwrap());
    (count / secs, as_float(writes) / count, as_float(bytes) / count)
}

async fn prepare(stores: &Stores, owners: &[BareJid]) {
    for (session, owner) in (0..).zip(owners) {
        let row = SessionRow {
            session,
            owner: owner.clone(),
            resource: "phone".into(),
            client: None,
            token: vec![7; 32],
            max_secs: 600,
            flags: 0,
            epoch: 0,
            state: SessionState::Attached,
            presence: Some(b"<presence/>".to_vec()),
            directed: Vec::new(),
            h: 0,
            open_iqs: Vec::new(),
        };
        let (owner, keys) = (owner.clone(), Vec::new());
        let stage: Stage = [
            Write::CreateAccount { owner, created_ms: 0, keys },
            Write::Session { session, change: SessionChange::Put(Box::new(row)) },
        ]
        .into_iter()
        .collect();
        stores.writer.submit(stage).await.unwrap();
    }
}

fn message(n: u64, from: u64, to: u64, owners: &[BareJid], has_sessions: bool) -> Stage {
    let who = |n: u64| owners[usize::try_from(n).unwrap()].clone();
    let body: Arc<[u8]> = format!(
        "<message type='chat' from='{}/phone' to='{}' id='m{n}'><body>O Romeo, Romeo, wherefore \
         art thou Romeo? Deny thy father and refuse thy name.</body></message>",
        who(from),
        who(to)
    )
    .into_bytes()
    .into();
    let entry = |peer: u64, is_sent| ArchiveEntry {
        id: n * 2 + u64::from(is_sent),
        at_ms: 0,
        peer: who(peer).into(),
        is_sent,
        flags: 0,
        body: body.clone(),
        text: None,
        origin_id: None,
        stanza_id: None,
    };
    let mut stage: Stage = [
        Write::PutArchive { owner: who(from), entry: entry(to, true) },
        Write::PutArchive { owner: who(to), entry: entry(from, false) },
    ]
    .into_iter()
    .collect();
    if has_sessions {
        let of = |session, change| Write::Session { session, change };
        let h = u32::try_from(n).unwrap();
        stage.push(of(from, SessionChange::In { h, open_iqs: Vec::new() }));
        let body = PendingBody::Archive { id: n * 2, how: PendingHow::Plain };
        stage.push(of(
            to,
            SessionChange::Push(PendingRow { seq: n, copies: 1, shared: None, body }),
        ));
        if (n / (PAIRS * 2)).is_multiple_of(PER_ACK) {
            let seq = n.saturating_sub(PAIRS * 2);
            stage.push(of(to, SessionChange::Ack { seq }));
        }
    }
    stage
}

fn median(mut all: Vec<(f64, f64, f64)>) -> (f64, f64, f64) {
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all[all.len() / 2]
}

fn as_float(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}
