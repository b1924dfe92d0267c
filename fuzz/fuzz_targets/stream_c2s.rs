//! The server's end of a client stream: whatever comes in whatever order, it never panics, writes
//! well-formed streams only, keeps within its bounds, and is silent after the end.
//!
//! An input is a list of operations: a byte that says what, a byte that says how much, and for
//! bytes from the client the bytes themselves. Stream management (XEP-0198) is granted, refused and
//! taken up again as the answers say; the machine's count of stanzas never goes back.

#![cfg_attr(fuzzing, no_main)]

use std::sync::Arc;

use stentor_sasl::{Bindings, Condition, Hash, Mechanism, ScramKeys};
use stentor_stanza::{Condition as StanzaCondition, Stanza, StanzaError};
use stentor_stream::Millis;
use stentor_stream::c2s::{C2s, ConnInfo, HostOffer, Idle, Settings, TlsInfo};
use stentor_stream::event::{Answer, Ask, Event};
use stentor_stream::fault::Fault;
use stentor_stream::limits::OUTPUT_BYTES_MAX;
use stentor_stream::sign_in::{Enabled, ExtendedOffer, IssuedToken, Resumption, SignIn, SignedIn};
use stentor_xml::{Item, Limits, Scanner};

stentor_fuzz::target!(check);

fn check(data: &[u8]) {
    let mut shell = Shell::new();
    let mut data = data;
    while let [what, how_much, rest @ ..] = data {
        data = rest;
        let how_much = usize::from(*how_much);
        match what % 16 {
            0..=5 => {
                let (piece, rest) = data.split_at(data.len().min(how_much));
                data = rest;
                shell.feed(piece, if what % 2 == 0 { piece.len().max(1) } else { 1 });
            }
            6 | 7 => {
                let (piece, rest) = data.split_at(data.len().min(16 * how_much));
                data = rest;
                shell.feed(piece, 7);
            }
            8..=10 => shell.answer(how_much),
            11 => shell.wait(how_much),
            12 => shell.shake_hands(how_much % 2 == 0),
            13 => shell.send(),
            14 => shell.close(how_much),
            _ => shell.machine.handle_eof(shell.now),
        }
        shell.look();
    }
}

/// Plays the part of the socket driver and checks what the machine does.
struct Shell {
    machine: C2s,
    now: Millis,
    /// What the machine wrote, read as a client would.
    reader: Scanner,
    asked: Option<Ask>,
    /// Stanzas that the machine has counted.
    received: u64,
    has_ended: bool,
    has_said_end: bool,
}

impl Shell {
    fn new() -> Self {
        let small = |frame_bytes_max| Limits { frame_bytes_max, ..Limits::default() };
        let settings = Settings {
            limits_before_auth: small(1_024),
            limits: small(4_096),
            idle: Idle { keepalive_ms: 50_000, ..Idle::default() },
            ..Settings::default()
        };
        let mut count = 0_u32;
        let tokens = Box::new(move || {
            count += 1;
            format!("token-{count:016}")
        });
        let now = Millis(1);
        let machine = C2s::new(Arc::new(settings), ConnInfo { tls: None, tokens }, now);
        let reader = Scanner::new(Limits::OWN);
        Self {
            machine,
            now,
            reader,
            asked: None,
            received: 0,
            has_ended: false,
            has_said_end: false,
        }
    }

    fn feed(&mut self, bytes: &[u8], step: usize) {
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() {
                let before = rest.len();
                let may_read = self.machine.may_read();
                self.machine.handle_bytes(&mut rest, self.now);
                assert!(!may_read || rest.len() < before, "reads when it says that it may");
                self.look();
                if !self.machine.may_read() {
                    break;
                }
            }
        }
    }

    fn answer(&mut self, how: usize) {
        let Some(ask) = self.asked.take() else { return };
        let answer = match (ask, how % 4) {
            (Ask::Host { .. }, 3) => Answer::Host(Err(Fault::HostUnknown)),
            (Ask::Host { domain, .. }, how) => Answer::Host(Ok(offer(domain, how))),
            (Ask::Keys { hash, .. }, how) => {
                Answer::Keys { keys: keys(hash), exists: how != 0, barred: None }
            }
            (Ask::Bind { .. }, 3) => {
                Answer::BindRefused(StanzaError::new(StanzaCondition::ResourceConstraint))
            }
            (Ask::Bind { account, resource }, _) => {
                let resource = resource.unwrap_or_else(|| "made".to_owned());
                Answer::Bound(account.with_resource(&resource).expect("a prepared resource"))
            }
            (Ask::Resume { account, .. }, 0) => {
                let jid = account.with_resource("made").expect("a resource");
                Answer::Resumed { jid, received: u64::from(u32::MAX) - 1 }
            }
            (Ask::Resume { h, .. }, 1) => Answer::ResumeTooHigh { h, sent: h.wrapping_sub(1) },
            (Ask::Resume { .. }, how) => Answer::ResumeFailed {
                condition: StanzaCondition::ItemNotFound,
                h: (how == 2).then_some(7),
            },
            (Ask::StreamIq(stanza), _) => Answer::Reply(stanza.reply_result(|_| ())),
            (_, 3) => Answer::Refused(Condition::NotAuthorized),
            (Ask::Token { proof, .. }, _) => {
                assert!(!proof.is_made_with("a token that nobody guesses"));
                Answer::Token(proof.answer("a token that nobody guesses"))
            }
            (Ask::Upgrade { .. }, 1) => Answer::Upgrade(None),
            (Ask::Upgrade { .. }, _) => Answer::Upgrade(Some((b"salt".to_vec(), 4_096))),
            (Ask::Keep { keys, .. }, _) => {
                assert_eq!(keys.stored_key.len(), keys.hash.bytes());
                Answer::Upgraded
            }
            (Ask::SignIn(wish), how) => Answer::SignedIn(Box::new(signed_in(&wish, how))),
            (Ask::Password { username, .. }, _) => Answer::Accepted(username),
            (Ask::External { .. } | Ask::Anonymous, _) => Answer::Accepted("guest".to_owned()),
        };
        self.machine.handle_answer(answer, self.now);
    }

    fn wait(&mut self, secs: usize) {
        self.now = self.now.plus(secs as u64 * 1_000);
        self.machine.handle_timeout(self.now);
        if let Some(due) = self.machine.poll_timeout() {
            assert!(due > self.now, "what was due has been done");
        }
    }

    fn shake_hands(&mut self, has_bindings: bool) {
        let bindings = Bindings {
            exporter: has_bindings.then_some([1; 32]),
            server_end_point: has_bindings.then(|| vec![2; 32]),
        };
        let tls = TlsInfo { bindings, client_cert: has_bindings, sni: None };
        let is_due = self.machine.domain().is_some();
        self.machine.handle_tls(tls, self.now);
        // The domain is forgotten exactly when the machine took the handshake.
        if is_due && self.machine.domain().is_none() {
            self.reader.restart();
        }
    }

    fn send(&mut self) {
        self.deliver(&Stanza::parse(b"<message><body>x</body></message>").expect("a stanza"));
    }

    fn deliver(&mut self, stanza: &Stanza) {
        let mut out = Vec::new();
        let is_sent = self.machine.send(stanza, &mut out);
        assert_eq!(is_sent, !out.is_empty());
        assert!(!is_sent || !self.has_said_end);
        self.read(&out);
    }

    fn close(&mut self, how: usize) {
        let fault = [None, Some(Fault::Shutdown), Some(Fault::Replaced)][how % 3].clone();
        self.machine.close(fault, self.now);
    }

    /// Fetches all there is, as a driver does after each call.
    fn look(&mut self) {
        let mut out = Vec::new();
        self.machine.take_output(&mut out);
        assert!(out.len() <= 2 * OUTPUT_BYTES_MAX, "{} bytes at once", out.len());
        self.read(&out);
        let mut begins_anew = false;
        let received = self.machine.received();
        assert!(received >= self.received || !self.machine.is_established());
        self.received = received;
        while let Some(event) = self.machine.poll_event() {
            assert!(!self.has_ended, "nothing follows the end: {event:?}");
            match event {
                Event::Ask(ask) => {
                    assert!(self.asked.is_none() && !self.machine.may_read());
                    // XEP-0388 §2.6.1: no new header there.
                    begins_anew &= !matches!(ask, Ask::SignIn(_));
                    self.asked = Some(ask);
                }
                Event::Stanza(stanza) => {
                    assert!(stanza.head.from.is_some(), "stamped");
                }
                Event::Enable { resume, max_secs } => {
                    let id = resume.then_some("id");
                    self.machine.enable_sm(id, max_secs.unwrap_or(600));
                }
                Event::AckRequested => self.machine.acknowledge(self.machine.received()),
                Event::Acked(h) if h > 1_000 => {
                    self.machine.close(Some(Fault::AckTooHigh { h, sent: 1_000 }), self.now);
                }
                Event::Acked(_) => {}
                Event::Indicated(_) => {
                    assert!(self.machine.is_established(), "a state without a session");
                }
                Event::Reply(stanza) => self.deliver(&stanza),
                Event::AuthOk { .. } => begins_anew = true,
                Event::Ended { .. } => {
                    self.has_ended = true;
                    self.asked = None;
                }
                Event::AuthBrokenOff(_) => assert!(!self.machine.is_established()),
                Event::StartTls | Event::PeerClosed | Event::AuthFailed { .. } => {}
            }
        }
        if begins_anew {
            self.reader.restart();
        }
        if self.machine.is_ended() {
            assert!(self.has_ended && self.machine.poll_timeout().is_none());
            let mut rest = &b"<message/>"[..];
            self.machine.handle_bytes(&mut rest, self.now);
            self.machine.handle_timeout(self.now);
            let mut out = Vec::new();
            self.machine.take_output(&mut out);
            assert!(out.is_empty() && rest.is_empty() && self.machine.poll_event().is_none());
        }
    }

    fn read(&mut self, out: &[u8]) {
        let mut rest = out;
        while !rest.is_empty() {
            assert!(!self.has_said_end, "nothing follows the closing tag");
            match self.reader.feed(&mut rest) {
                Ok(Some(Item::End)) => self.has_said_end = true,
                Ok(_) => {}
                Err(malformed) => panic!("wrote {malformed}: {}", String::from_utf8_lossy(out)),
            }
        }
        assert!(self.reader.is_idle(), "writes whole elements");
    }
}

/// What a client gets with success.
fn signed_in(wish: &SignIn, how: usize) -> SignedIn {
    let token = || IssuedToken { token: "token".into(), expiry: "2026-01-01T00:00:00Z".into() };
    let is_resumed = wish.resume.is_some() && how == 2;
    let has_resource = wish.bind.is_some() && how != 0 || is_resumed;
    let failed = Resumption::Failed { condition: StanzaCondition::ItemNotFound, h: None };
    let resumed = Resumption::Resumed { received: 7 };
    SignedIn {
        jid: has_resource.then(|| wish.account.with_resource("made").expect("a resource")),
        resumption: wish.resume.as_ref().map(|_| if is_resumed { resumed } else { failed }),
        bound: wish.bind.iter().flat_map(|bind| bind.wishes.clone()).collect(),
        enabled: wish
            .enable
            .map(|enable| Enabled { id: enable.resume.then(|| "id".to_owned()), max_secs: 60 }),
        token: wish.wants_token.map(|_| token()),
    }
}

fn offer(domain: String, how: usize) -> Arc<HostOffer> {
    let extended = ExtendedOffer {
        bind: Some(vec!["urn:example:wish".into()]),
        tokens: Mechanism::TOKENS.to_vec(),
        upgrades: Hash::ALL.to_vec(),
    };
    Arc::new(HostOffer {
        domain,
        extended: (how != 2).then_some(extended),
        mechanisms: Mechanism::ALL.to_vec(),
        starttls: true,
        tls_required: how == 1,
        registration: true,
        roster_versions: true,
        pre_approval: true,
        management: how != 2,
        features: Vec::new(),
    })
}

fn keys(hash: Hash) -> ScramKeys {
    let bytes = match hash {
        Hash::Sha1 => 20,
        Hash::Sha256 => 32,
        Hash::Sha512 => 64,
    };
    ScramKeys {
        hash,
        salt: b"salt".to_vec(),
        iterations: 4_096,
        stored_key: vec![3; bytes],
        server_key: vec![4; bytes],
    }
}
