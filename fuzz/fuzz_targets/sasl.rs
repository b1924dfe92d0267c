//! SASL: neither side panics, a stranger is never let in, and no server is believed that does not
//! know the password.
//!
//! An input is one byte for the mechanism, one of switches, then messages of the peer, each after
//! two bytes of length.

#![cfg_attr(fuzzing, no_main)]

use stentor_sasl::client;
use stentor_sasl::limits::{AUTHZID_BYTES_MAX, PART_BYTES_MAX, TRACE_CHARS_MAX};
use stentor_sasl::server::{Answer, Exchange, ServerContext, Step};
use stentor_sasl::{Bindings, Condition, Hash, Mechanism, Offered, ScramKeys, check_authzid, prep};

stentor_fuzz::target!(check);

const CLIENT_NONCE: &str = "nonce-of-our-client";
const SERVER_NONCE: &str = "nonce-of-our-server";
const TOKEN: &str = "a token that nobody guesses";

fn check(data: &[u8]) {
    let [mechanism, switches, messages @ ..] = data else { return };
    let known = Mechanism::ALL.len() + Mechanism::TOKENS.len();
    let mut all = Mechanism::ALL.into_iter().chain(Mechanism::TOKENS);
    let Some(mechanism) = all.nth(usize::from(*mechanism) % known) else { return };
    let switches = Switches(*switches);
    check_server(mechanism, switches, Messages(messages));
    check_client(mechanism, switches, Messages(messages));
    check_passwords(messages);
}

/// What a stranger sends to our server.
fn check_server(mechanism: Mechanism, switches: Switches, mut messages: Messages<'_>) {
    let bindings = switches.bindings();
    let plus_offered = !bindings.is_empty();
    let offered = Offered { mechanisms: &["SCRAM-SHA-1"], bindings: &["tls-exporter"] };
    let offered = Some(offered).filter(|_| switches.has_digest());
    let cx = ServerContext { bindings: &bindings, plus_offered, nonce: SERVER_NONCE, offered };
    let mut exchange = Exchange::start(mechanism, &cx);
    let initial = if switches.has_initial_response() { messages.next() } else { None };
    let mut step = exchange.begin(initial);
    loop {
        step = match step {
            Ok(Step::Challenge(_)) => match messages.next() {
                Some(message) => exchange.step(message),
                None => return,
            },
            Ok(Step::Done(success)) => {
                assert!(mechanism.hash().is_none(), "a stranger proved to know the password");
                assert!(!mechanism.is_token(), "a stranger proved to have the token");
                assert!(success.authzid.is_none_or(|authzid| authzid.len() <= AUTHZID_BYTES_MAX));
                return;
            }
            Ok(step) => exchange.answer(answer(step, switches)),
            Err(_) => {
                assert!(exchange.step(b"\0juliet\0secret").is_err(), "an exchange went on");
                return;
            }
        };
    }
}

fn answer(step: Step, switches: Switches) -> Answer {
    let keys = |hash, username: &str| ScramKeys::fake(hash, b"secret", username, 1);
    match step {
        Step::NeedKeys { username, hash } => {
            check_part(&username);
            let hash = if switches.answers_wrongly() { Hash::Sha1 } else { hash };
            Answer::Keys { keys: keys(hash, &username), exists: switches.has_account() }
        }
        Step::NeedPassword { username, password } => {
            check_part(&username);
            check_part(&password);
            assert!(!keys(Hash::Sha1, &username).verify(&password), "made-up keys fit a password");
            accept(username, switches)
        }
        Step::NeedToken { username, proof } => {
            check_part(&username);
            if !proof.is_made_with(TOKEN) {
                return Answer::Refused(Condition::NotAuthorized);
            }
            Answer::Token { data: proof.answer(TOKEN) }
        }
        Step::NeedExternal { authzid } => {
            let own = "juliet@capulet.example";
            let is_own = check_authzid(authzid.as_deref(), own, |text| Some(text.to_owned()));
            assert_eq!(is_own.is_ok(), authzid.is_none_or(|authzid| authzid == own));
            accept("juliet".to_owned(), switches)
        }
        Step::NeedAnonymous { trace } => {
            assert!(trace.is_none_or(|trace| trace.chars().count() <= TRACE_CHARS_MAX));
            accept("guest".to_owned(), switches)
        }
        Step::Challenge(_) | Step::Done(_) => unreachable!("asks for nothing"),
    }
}

fn accept(username: String, switches: Switches) -> Answer {
    if switches.has_account() {
        Answer::Accepted { username }
    } else {
        Answer::Refused(Condition::NotAuthorized)
    }
}

fn check_part(part: &str) {
    assert!((1..=PART_BYTES_MAX).contains(&part.len()) && !part.contains('\0'));
}

/// What an impostor sends to our client.
fn check_client(mechanism: Mechanism, switches: Switches, mut messages: Messages<'_>) {
    let (name, password, bindings) = ("juliet", "r0m30myr0m30", switches.bindings());
    let exchange = if mechanism.is_token() {
        client::Exchange::with_token(mechanism, name, TOKEN, &bindings)
    } else {
        client::Exchange::new(mechanism, name, password, None, &bindings, CLIENT_NONCE)
    };
    let Ok(mut exchange) = exchange else {
        let lacks = |binding| bindings.data(binding).is_none();
        let is_unbound = mechanism.token_binding().map_or(bindings.is_empty(), lacks);
        assert!((mechanism.is_plus() || mechanism.is_token()) && is_unbound);
        return;
    };
    if switches.has_digest() {
        exchange.expect(&Offered { mechanisms: &["SCRAM-SHA-1"], bindings: &[] });
    }
    if switches.has_initial_response() {
        exchange.first();
    }
    // Success comes with the last message, or with none after the challenges.
    let mut last = messages.next();
    while let Some(challenge) = last.filter(|_| !messages.0.is_empty()) {
        if exchange.step(challenge).is_err() {
            return;
        }
        last = messages.next();
    }
    let believed = exchange.finish(last).is_ok();
    assert!(!believed || mechanism.hash().is_none(), "an impostor knew the password");
    assert!(!believed || !mechanism.is_token(), "an impostor had the token");
}

fn check_passwords(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(prepared) = prep::opaque_string(text) {
        assert_eq!(prep::opaque_string(&prepared), Ok(prepared));
        let keys = ScramKeys::derive(Hash::Sha256, text, b"salt", 1).expect("it can be prepared");
        assert!(keys.verify(text));
    }
    if let Ok(prepared) = prep::saslprep(text) {
        assert!((1..=PART_BYTES_MAX).contains(&prepared.len()));
    }
}

/// The second byte of an input.
#[derive(Clone, Copy)]
struct Switches(u8);

impl Switches {
    fn bindings(self) -> Bindings {
        Bindings {
            exporter: (self.0 & 1 != 0).then_some([7; 32]),
            server_end_point: (self.0 & 2 != 0).then(|| vec![9; 32]),
        }
    }

    fn has_initial_response(self) -> bool {
        self.0 & 4 != 0
    }

    fn has_account(self) -> bool {
        self.0 & 8 != 0
    }

    fn has_digest(self) -> bool {
        self.0 & 32 != 0
    }

    fn answers_wrongly(self) -> bool {
        self.0 & 16 != 0
    }
}

/// The rest of an input.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let [high, low, rest @ ..] = self.0 else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (message, rest) = rest.split_at(length);
        self.0 = rest;
        Some(message)
    }
}
