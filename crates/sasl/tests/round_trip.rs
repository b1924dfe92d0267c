//! Our client against our server: every mechanism with every binding, and every way to meddle.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use stentor_sasl::client::{self, ClientError};
use stentor_sasl::limits::ITERATIONS_MIN;
use stentor_sasl::server::{self, Answer, ServerContext, Step, Success};
use stentor_sasl::{Bindings, Condition, Hash, Mechanism, Offered, ScramKeys};

const CLIENT_NONCE: &str = "client-nonce-of-the-tests";
const SERVER_NONCE: &str = "server-nonce-of-the-tests";

/// A server with one account.
#[derive(Clone, Debug)]
struct Server {
    mechanism: Mechanism,
    bindings: Bindings,
    plus_offered: bool,
    username: String,
    password: String,
}

impl Server {
    fn new(mechanism: Mechanism, bindings: Bindings, username: &str, password: &str) -> Self {
        let plus_offered = !bindings.is_empty();
        let (username, password) = (username.to_owned(), password.to_owned());
        Self { mechanism, bindings, plus_offered, username, password }
    }

    fn start(&self) -> server::Exchange {
        let cx = ServerContext {
            bindings: &self.bindings,
            plus_offered: self.plus_offered,
            nonce: SERVER_NONCE,
            offered: None,
        };
        server::Exchange::start(self.mechanism, &cx)
    }

    /// Goes on until the client is to speak or the exchange has ended.
    fn look_up(&self, exchange: &mut server::Exchange, mut step: Step) -> Result<Step, Condition> {
        loop {
            let answer = match step {
                Step::Challenge(_) | Step::Done(_) => return Ok(step),
                Step::NeedKeys { username, hash } if username == self.username => {
                    let salt = b"salt of the tests";
                    let keys = ScramKeys::derive(hash, &self.password, salt, ITERATIONS_MIN);
                    Answer::Keys { keys: keys.unwrap(), exists: true }
                }
                Step::NeedKeys { username, hash } => {
                    let keys = ScramKeys::fake(hash, b"secret", &username, ITERATIONS_MIN);
                    Answer::Keys { keys, exists: false }
                }
                Step::NeedPassword { username, password } => {
                    let is_right = username == self.username && *password == self.password;
                    if is_right {
                        Answer::Accepted { username }
                    } else {
                        Answer::Refused(Condition::NotAuthorized)
                    }
                }
                // The password of the tests stands for the token.
                Step::NeedToken { username, proof } => {
                    if username == self.username && proof.is_made_with(&self.password) {
                        Answer::Token { data: proof.answer(&self.password) }
                    } else {
                        Answer::Refused(Condition::NotAuthorized)
                    }
                }
                Step::NeedExternal { .. } | Step::NeedAnonymous { .. } => {
                    Answer::Accepted { username: self.username.clone() }
                }
            };
            step = exchange.answer(answer)?;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Server(Condition),
    Client(ClientError),
}

/// What somebody on the way does with the messages, by their number from 0.
type Meddler<'a> = &'a dyn Fn(usize, Vec<u8>) -> Vec<u8>;

fn sign_in(
    server: &Server,
    client: &mut client::Exchange,
    meddle: Meddler<'_>,
) -> Result<Success, Failure> {
    let mut exchange = server.start();
    let initial = client.first().map(|message| meddle(0, message));
    let mut number = 1;
    let mut step = exchange.begin(initial.as_deref());
    loop {
        let next = step.and_then(|step| server.look_up(&mut exchange, step));
        match next.map_err(Failure::Server)? {
            Step::Done(success) => {
                let data = success.data.clone().map(|data| meddle(number, data));
                client.finish(data.as_deref()).map_err(Failure::Client)?;
                return Ok(success);
            }
            Step::Challenge(challenge) => {
                let challenge = meddle(number, challenge);
                let response = client.step(&challenge).map_err(Failure::Client)?;
                step = exchange.step(&meddle(number + 1, response));
                number += 2;
            }
            step => panic!("{step:?}"),
        }
    }
}

fn client(server: &Server, authzid: Option<&str>) -> client::Exchange {
    client::Exchange::new(
        server.mechanism,
        &server.username,
        &server.password,
        authzid,
        &server.bindings,
        CLIENT_NONCE,
    )
    .unwrap()
}

fn untouched(_: usize, message: Vec<u8>) -> Vec<u8> {
    message
}

fn bindings() -> impl Strategy<Value = Bindings> {
    let end_point = prop::option::of(prop::collection::vec(any::<u8>(), 20..=64));
    (any::<Option<[u8; 32]>>(), end_point)
        .prop_map(|(exporter, server_end_point)| Bindings { exporter, server_end_point })
}

/// Every mechanism with the bindings that go with it.
fn servers() -> impl Strategy<Value = Server> {
    let username = "[a-z=,]{1,12}|\\PC{1,8}";
    (prop::sample::select(&Mechanism::ALL[..]), bindings(), username, "[ -~]{1,24}")
        .prop_filter("-PLUS needs bindings", |(mechanism, bindings, ..)| {
            !mechanism.is_plus() || !bindings.is_empty()
        })
        .prop_map(|(mechanism, bindings, username, password)| {
            let mut server = Server::new(mechanism, bindings, &username, &password);
            // Other mechanisms say that they could bind, and may not be lied to.
            server.plus_offered &= mechanism.is_plus();
            server
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn prop_right_credentials_sign_in(
        server in servers(),
        authzid in prop::option::of("[a-z=,]{1,9}@capulet\\.example"),
    ) {
        let mut client = client(&server, authzid.as_deref());
        let success = sign_in(&server, &mut client, &untouched).unwrap();
        prop_assert_eq!(success.username.as_deref(), Some(server.username.as_str()));
        let keeps_authzid = server.mechanism != Mechanism::Anonymous;
        prop_assert_eq!(success.authzid, authzid.filter(|_| keeps_authzid));
        prop_assert_eq!(success.data.is_some(), server.mechanism.hash().is_some());
    }

    #[test]
    fn prop_wrong_password_and_unknown_user_fail_alike(
        server in servers().prop_filter("with a password", |server| {
            !matches!(server.mechanism, Mechanism::External | Mechanism::Anonymous)
        }),
    ) {
        let wrong = Server { password: format!("{}x", server.password), ..server.clone() };
        let unknown = Server { username: format!("{}x", server.username), ..server.clone() };
        for other in [wrong, unknown] {
            let outcome = sign_in(&server, &mut client(&other, None), &untouched);
            prop_assert_eq!(outcome, Err(Failure::Server(Condition::NotAuthorized)));
        }
    }

    #[test]
    fn prop_another_connection_cannot_be_bound_to(
        server in servers().prop_filter("bound", |server| server.mechanism.is_plus()),
        bit in 0_usize..8,
        byte in 0_usize..20,
    ) {
        let mut elsewhere = server.clone();
        match &mut elsewhere.bindings {
            Bindings { exporter: Some(data), .. } => data[byte] ^= 1 << bit,
            Bindings { server_end_point: Some(data), .. } => data[byte] ^= 1 << bit,
            _ => unreachable!("bound"),
        }
        let outcome = sign_in(&server, &mut client(&elsewhere, None), &untouched);
        prop_assert_eq!(outcome, Err(Failure::Server(Condition::NotAuthorized)));
    }

    #[test]
    fn prop_a_changed_byte_anywhere_makes_scram_fail(
        server in servers().prop_filter("SCRAM", |server| server.mechanism.hash().is_some()),
        number in 0_usize..4,
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let changed = |at: usize, mut message: Vec<u8>| {
            if at == number {
                let place = place.index(message.len());
                // Never the same byte.
                message[place] = message[place].wrapping_add(byte.max(1));
            }
            message
        };
        prop_assert!(sign_in(&server, &mut client(&server, None), &changed).is_err());
    }

    #[test]
    fn prop_no_message_of_a_stranger_makes_a_server_panic_or_accept(
        server in servers().prop_filter("SCRAM", |server| server.mechanism.hash().is_some()),
        messages in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[nyp],(a=[a-z]{1,3})?,(n=[a-z]{1,3}|m=x),r=[a-z]{1,9}(,[a-z]=[a-z]{1,3})?".prop_map(String::into_bytes),
            "c=[a-zA-Z]{4},r=[a-z-]{1,60},p=[a-zA-Z]{26}==".prop_map(String::into_bytes),
        ], 1..4),
    ) {
        let mut exchange = server.start();
        for message in messages {
            let step = exchange.step(&message);
            let step = step.and_then(|step| server.look_up(&mut exchange, step));
            prop_assert!(!matches!(step, Ok(Step::Done(_))));
        }
    }
}

/// Every byte of client-final, one after the other, rather than samples.
#[test]
fn refuses_a_client_final_with_any_byte_changed() {
    let bound = Bindings { exporter: Some([7; 32]), server_end_point: None };
    for mechanism in [Mechanism::ScramSha1Plus, Mechanism::ScramSha256Plus] {
        let server = Server::new(mechanism, bound.clone(), "juliet", "r0m30myr0m30");
        let mut honest = client(&server, Some("juliet@capulet.example"));
        let mut challenged = server.start();
        let step = challenged.begin(honest.first().as_deref());
        let step = step.and_then(|step| server.look_up(&mut challenged, step));
        let Ok(Step::Challenge(challenge)) = step else { panic!("{step:?}") };
        let last = honest.step(&challenge).unwrap();
        for place in 0..last.len() {
            for mask in [0x01, 0x20, 0x80] {
                let mut exchange = server.start();
                let step = exchange
                    .begin(client(&server, Some("juliet@capulet.example")).first().as_deref());
                step.and_then(|step| server.look_up(&mut exchange, step)).unwrap();
                let mut changed = last.clone();
                changed[place] ^= mask;
                let condition = exchange.step(&changed).unwrap_err();
                assert!(
                    matches!(condition, Condition::NotAuthorized | Condition::MalformedRequest),
                    "{condition}"
                );
            }
        }
    }
}

#[test]
fn refuses_a_replayed_exchange() {
    let server = Server::new(Mechanism::ScramSha256, Bindings::default(), "juliet", "secret");
    let recorded = std::cell::RefCell::new(Vec::new());
    let record = |number, message: Vec<u8>| {
        if number % 2 == 0 {
            recorded.borrow_mut().push(message.clone());
        }
        message
    };
    sign_in(&server, &mut client(&server, None), &record).unwrap();
    let cx = ServerContext {
        bindings: &server.bindings,
        plus_offered: false,
        nonce: "another-nonce-of-the-server",
        offered: None,
    };
    let mut exchange = server::Exchange::start(server.mechanism, &cx);
    let recorded = recorded.into_inner();
    let step = exchange.begin(Some(&recorded[0]));
    step.and_then(|step| server.look_up(&mut exchange, step)).unwrap();
    assert_eq!(exchange.step(&recorded[1]).unwrap_err(), Condition::NotAuthorized);
}

#[test]
fn refuses_a_client_that_was_shown_a_list_without_plus() {
    let bound = Bindings { exporter: Some([7; 32]), server_end_point: None };
    let server = Server::new(Mechanism::ScramSha256, bound, "juliet", "secret");
    let outcome = sign_in(&server, &mut client(&server, None), &untouched);
    assert_eq!(outcome, Err(Failure::Server(Condition::NotAuthorized)));
    // A client that cannot bind says so, and is let in.
    let unbound = Server { bindings: Bindings::default(), ..server.clone() };
    sign_in(&server, &mut client(&unbound, None), &untouched).unwrap();
}

#[test]
fn a_token_signs_in_on_its_channel_and_no_changed_message_does() {
    let bound = Bindings { exporter: Some([7; 32]), server_end_point: Some(vec![9; 32]) };
    for mechanism in Mechanism::TOKENS {
        let server = Server::new(mechanism, bound.clone(), "juliet", "secret-token");
        let client =
            || client::Exchange::with_token(mechanism, "juliet", "secret-token", &bound).unwrap();
        let success = sign_in(&server, &mut client(), &untouched).unwrap();
        assert_eq!(success.username.as_deref(), Some("juliet"));
        let length = client().first().unwrap().len();
        for (number, place) in (0..length).map(|place| (0, place)).chain((0..32).map(|p| (1, p))) {
            let changed = |at: usize, mut message: Vec<u8>| {
                message[place] ^= u8::from(at == number);
                message
            };
            assert!(sign_in(&server, &mut client(), &changed).is_err(), "{number} {place}");
        }
        let mut elsewhere = server.clone();
        elsewhere.bindings = Bindings { exporter: Some([8; 32]), server_end_point: Some(vec![8]) };
        let outcome = sign_in(&elsewhere, &mut client(), &untouched);
        assert_eq!(outcome.is_ok(), mechanism == Mechanism::HtSha256None, "{mechanism}");
    }
}

#[test]
fn a_list_that_was_changed_on_the_way_is_noticed_at_either_end() {
    let server = Server::new(Mechanism::ScramSha1, Bindings::default(), "juliet", "secret");
    let sent = Offered { mechanisms: &["SCRAM-SHA-1", "SCRAM-SHA-512"], bindings: &[] };
    let stripped = Offered { mechanisms: &["SCRAM-SHA-1"], bindings: &[] };
    let [honest, forged] = [sent, stripped].map(|offered| offered.digest(Hash::Sha1));
    let outcome = |arrived: Offered<'_>, is_forged: bool| {
        let cx = ServerContext {
            bindings: &server.bindings,
            plus_offered: false,
            nonce: SERVER_NONCE,
            offered: Some(sent),
        };
        let mut exchange = server::Exchange::start(server.mechanism, &cx);
        let mut client = client(&server, None);
        client.expect(&arrived);
        let step = exchange.begin(client.first().as_deref());
        let step = step.and_then(|step| server.look_up(&mut exchange, step));
        let Ok(Step::Challenge(challenge)) = step else { panic!("{step:?}") };
        let mut challenge = String::from_utf8(challenge).unwrap();
        if is_forged {
            challenge = challenge.replace(&honest, &forged);
        }
        let response = client.step(challenge.as_bytes()).map_err(Failure::Client)?;
        exchange.step(&response).map(|_| ()).map_err(Failure::Server)
    };
    assert_eq!(outcome(sent, false), Ok(()));
    assert_eq!(outcome(stripped, false), Err(Failure::Client(ClientError::Downgraded)));
    assert_eq!(outcome(stripped, true), Err(Failure::Server(Condition::NotAuthorized)));
}
