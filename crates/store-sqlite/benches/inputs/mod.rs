//! What both benchmarks of the archive write, the same every time.

use std::fs;
use std::sync::Arc;

use stentor_jid::{BareJid, Jid};
use stentor_store::{ArchiveEntry, Stage, Write};

pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Numbers that look random and are the same every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    /// Words as people use them: few often, many seldom.
    pub(crate) fn text(&mut self) -> String {
        let count = 3 + self.below(10);
        let words: Vec<String> = (0..count)
            .map(|_| {
                let common = 1 + self.below(VOCABULARY);
                format!("word{}", self.below(common))
            })
            .collect();
        words.join(" ")
    }
}

pub(crate) fn user(n: u64) -> BareJid {
    BareJid::new(&format!("user{n}@example.org")).unwrap()
}

pub(crate) fn entry(
    id: u64,
    peer: Jid,
    body: &Arc<[u8]>,
    text: &Arc<str>,
    is_sent: bool,
) -> ArchiveEntry {
    ArchiveEntry {
        id,
        at_ms: i64::try_from(id / 1_000).unwrap(),
        peer,
        is_sent,
        flags: 0,
        body: body.clone(),
        text: Some(text.clone()),
        origin_id: Some(format!("5b2e0a3c-8f0e-4d0a-9f63-{id:012x}")),
        stanza_id: None,
    }
}

pub(crate) fn message(id: u64, from: &BareJid, to: &BareJid, text: &str) -> Arc<[u8]> {
    let xml = format!(
        "<message xmlns='jabber:client' type='chat' id='m{id}' from='{from}/phone.4711' \
         to='{to}'><body>{text}</body><request xmlns='urn:xmpp:receipts'/><active \
         xmlns='http://jabber.org/protocol/chatstates'/><markable \
         xmlns='urn:xmpp:chat-markers:0'/><origin-id xmlns='urn:xmpp:sid:0' \
         id='5b2e0a3c-8f0e-4d0a-9f63-{id:012x}'/></message>"
    );
    xml.into_bytes().into()
}

/// Messages between accounts at random, a stage each: an entry for either side over one body.
pub(crate) fn conversation(messages: u64, accounts: u64) -> Vec<Stage> {
    let mut random = Random::new();
    (1..=messages)
        .map(|n| {
            let (from, to) = (user(random.below(accounts)), user(random.below(accounts)));
            let text: Arc<str> = random.text().into();
            let body = message(n, &from, &to, &text);
            let full = |jid: &BareJid| Jid::new(&format!("{jid}/phone.4711")).unwrap();
            let id = 1_700_000_000_000_000 + n * 1_000;
            let sent = entry(id, full(&to), &body, &text, true);
            let received = ArchiveEntry {
                at_ms: sent.at_ms,
                ..entry(id + 1, full(&from), &body, &text, false)
            };
            [
                Write::PutArchive { owner: from, entry: sent },
                Write::PutArchive { owner: to, entry: received },
            ]
            .into_iter()
            .collect()
        })
        .collect()
}

/// Seconds of processor time that this process has used.
pub(crate) fn processor_secs() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

const VOCABULARY: u64 = 20_000;
