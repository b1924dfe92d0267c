//! The connecting end of a client stream: whatever a server sends, it never panics, writes
//! well-formed streams only, never sends the password without TLS, and is silent after the end.
//!
//! An input is a list of operations: a byte that says what, a byte that says how much, and for
//! bytes from the server the bytes themselves.

#![cfg_attr(fuzzing, no_main)]

use std::sync::Arc;

use stentor_sasl::{Bindings, Mechanism};
use stentor_stanza::Stanza;
use stentor_stream::Millis;
use stentor_stream::fault::Fault;
use stentor_stream::initiator::{Credentials, Event, Extended, HeldToken, Initiator, Settings};
use stentor_stream::sign_in::{BindRequest, UserAgent};
use stentor_xml::{Item, Limits, Scanner};

stentor_fuzz::target!(check);

fn check(data: &[u8]) {
    for extended in [None, Some(extended())] {
        run(Shell::new(extended), data);
    }
}

fn run(mut shell: Shell, mut data: &[u8]) {
    while let [what, how_much, rest @ ..] = data {
        data = rest;
        let how_much = usize::from(*how_much);
        match what % 8 {
            0..=3 => {
                let (piece, rest) = data.split_at(data.len().min(how_much));
                data = rest;
                shell.feed(piece, if what % 2 == 0 { piece.len().max(1) } else { 1 });
            }
            4 => {
                let tls = Bindings { exporter: Some([1; 32]), server_end_point: None };
                shell.is_encrypted |= shell.is_shaking_hands;
                shell.is_shaking_hands = false;
                shell.client.handle_tls(tls, shell.now);
            }
            5 => {
                shell.now = shell.now.plus(how_much as u64 * 1_000);
                shell.client.handle_timeout(shell.now);
            }
            6 => shell.send(),
            _ => match how_much % 3 {
                0 => shell.client.close(None, shell.now),
                1 => shell.client.close(Some(Fault::Reset), shell.now),
                _ => shell.client.handle_eof(shell.now),
            },
        }
        shell.look();
    }
}

/// Plays the part of the socket driver and checks what the machine does.
struct Shell {
    client: Initiator,
    now: Millis,
    /// What the machine wrote since its last stream header.
    written: Vec<u8>,
    is_shaking_hands: bool,
    is_encrypted: bool,
    has_ended: bool,
}

impl Shell {
    fn new(extended: Option<Extended>) -> Self {
        let credentials =
            Credentials::Password { username: "juliet".into(), password: SECRET.to_owned().into() };
        let mut settings = Settings::new("capulet.example", credentials);
        settings.extended = extended;
        settings.limits = Limits { frame_bytes_max: 4_096, ..Limits::default() };
        let now = Millis(1);
        let client =
            Initiator::new(Arc::new(settings), None, "nonce-of-24-characters-".into(), now);
        Self {
            client,
            now,
            written: Vec::new(),
            is_shaking_hands: false,
            is_encrypted: false,
            has_ended: false,
        }
    }

    fn feed(&mut self, bytes: &[u8], step: usize) {
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() && self.client.may_read() {
                let before = rest.len();
                self.client.handle_bytes(&mut rest, self.now);
                assert!(rest.len() < before, "reads when it says that it may");
                self.look();
            }
        }
    }

    fn send(&mut self) {
        let stanza = Stanza::parse(b"<message><body>x</body></message>").expect("a stanza");
        let mut out = Vec::new();
        let is_sent = self.client.send(&stanza, &mut out);
        assert_eq!(is_sent, !out.is_empty());
        assert!(!is_sent || self.is_encrypted, "a session without TLS");
        self.note(&out);
    }

    /// Fetches all there is, as a driver does after each call.
    fn look(&mut self) {
        let mut out = Vec::new();
        self.client.take_output(&mut out);
        assert!(!self.has_ended || out.is_empty(), "silent after the end");
        self.note(&out);
        while let Some(event) = self.client.poll_event() {
            assert!(!self.has_ended, "nothing follows the end: {event:?}");
            match event {
                Event::StartTls => self.is_shaking_hands = true,
                Event::Ended { .. } => self.has_ended = true,
                Event::Ready { .. } => assert!(self.is_encrypted, "a session without TLS"),
                _ => {}
            }
        }
        assert_eq!(self.has_ended, self.client.is_ended());
    }

    fn note(&mut self, out: &[u8]) {
        const START: &[u8] = b"<?xml ";
        for piece in split_before(out, START) {
            if piece.starts_with(START) {
                self.written.clear();
            }
            self.written.extend_from_slice(piece);
            self.read_again();
        }
        assert!(self.is_encrypted || !contains(out, b"<auth"), "no sign-in without TLS");
    }

    /// Reads what was written as a server would.
    fn read_again(&self) {
        let mut reader = Scanner::new(Limits::OWN);
        let mut rest = &self.written[..];
        let mut has_said_end = false;
        while !rest.is_empty() {
            assert!(!has_said_end, "nothing follows the closing tag");
            match reader.feed(&mut rest) {
                Ok(Some(Item::End)) => has_said_end = true,
                Ok(_) => {}
                Err(malformed) => panic!("wrote {malformed}"),
            }
        }
        assert!(reader.is_idle(), "writes whole elements");
    }
}

/// Everything that XEP-0388 and its kin let a client say.
fn extended() -> Extended {
    let token = HeldToken {
        mechanism: Mechanism::HtSha256None,
        secret: "a token that nobody guesses".into(),
        count: Some(1),
        invalidates: false,
    };
    Extended {
        user_agent: UserAgent { id: Some("id".into()), software: None, device: None },
        bind: Some(BindRequest { tag: Some("Tests".into()), wishes: Vec::new() }),
        token: Some(token),
        wants_token: true,
        pipelines: false,
        config_version: None,
        upgrades: true,
    }
}

/// Splits before each `mark`; the mark cannot stand inside what a machine writes otherwise.
fn split_before<'a>(bytes: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let next =
            rest[1..].windows(mark.len()).position(|w| w == mark).map_or(rest.len(), |at| at + 1);
        let (piece, after) = rest.split_at(next);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

const SECRET: &str = "r0m30myr0m30";
