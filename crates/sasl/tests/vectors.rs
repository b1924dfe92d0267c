//! Exchanges that others computed, replayed byte by byte on both sides.

#![allow(clippy::unwrap_used)]

use stentor_sasl::server::{Answer, ServerContext, Step};
use stentor_sasl::{Bindings, Mechanism, ScramKeys, client, server};

/// One exchange of `user` with password `pencil` and 4,096 iterations.
struct Vector {
    mechanism: Mechanism,
    bindings: Bindings,
    salt: &'static [u8],
    client_nonce: &'static str,
    server_nonce: &'static str,
    client_first: &'static str,
    server_first: &'static str,
    client_final: &'static str,
    server_final: &'static str,
}

impl Vector {
    fn replay_to_server(&self) {
        let cx = ServerContext {
            bindings: &self.bindings,
            plus_offered: self.mechanism.is_plus(),
            nonce: self.server_nonce,
            offered: None,
        };
        let hash = self.mechanism.hash().unwrap();
        let keys = ScramKeys::derive(hash, "pencil", self.salt, 4096).unwrap();
        let mut exchange = server::Exchange::start(self.mechanism, &cx);
        match exchange.begin(Some(self.client_first.as_bytes())).unwrap() {
            Step::NeedKeys { username, hash: wanted } => {
                assert_eq!((username.as_str(), wanted), ("user", hash));
            }
            step => panic!("{step:?}"),
        }
        match exchange.answer(Answer::Keys { keys, exists: true }).unwrap() {
            Step::Challenge(challenge) => assert_eq!(text(&challenge), self.server_first),
            step => panic!("{step:?}"),
        }
        match exchange.step(self.client_final.as_bytes()).unwrap() {
            Step::Done(success) => {
                assert_eq!(success.username.as_deref(), Some("user"));
                assert_eq!(success.authzid, None);
                assert_eq!(text(&success.data.unwrap()), self.server_final);
            }
            step => panic!("{step:?}"),
        }
    }

    fn replay_to_client(&self) {
        let mut exchange = client::Exchange::new(
            self.mechanism,
            "user",
            "pencil",
            None,
            &self.bindings,
            self.client_nonce,
        )
        .unwrap();
        assert_eq!(text(&exchange.first().unwrap()), self.client_first);
        let response = exchange.step(self.server_first.as_bytes()).unwrap();
        assert_eq!(text(&response), self.client_final);
        assert_eq!(exchange.finish(Some(self.server_final.as_bytes())), Ok(()));
    }
}

#[test]
fn replays_the_example_of_rfc_5802() {
    let vector = Vector {
        mechanism: Mechanism::ScramSha1,
        bindings: Bindings::default(),
        salt: &[0x41, 0x25, 0xC2, 0x47, 0xE4, 0x3A, 0xB1, 0xE9, 0x3C, 0x6D, 0xFF, 0x76],
        client_nonce: "fyko+d2lbbFgONRv9qkxdawL",
        server_nonce: "3rfcNHYJY1ZVvWVs7j",
        client_first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                       p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    };
    vector.replay_to_server();
    vector.replay_to_client();
}

#[test]
fn replays_the_example_of_rfc_7677() {
    let vector = Vector {
        mechanism: Mechanism::ScramSha256,
        bindings: Bindings::default(),
        salt: &[
            0x5B, 0x6D, 0x99, 0x68, 0x9D, 0x12, 0x35, 0x8E, 0xEC, 0xA0, 0x4B, 0x14, 0x12, 0x36,
            0xFA, 0x81,
        ],
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    };
    vector.replay_to_server();
    vector.replay_to_client();
}

/// Computed with Python's `hashlib.pbkdf2_hmac`, `hashlib.new` and `hmac.new` for `sha512`, by the
/// formulas of RFC 5802 §3; no RFC has an example with SHA-512.
#[test]
fn replays_an_exchange_with_sha_512_computed_by_hashlib() {
    let vector = Vector {
        mechanism: Mechanism::ScramSha512,
        bindings: Bindings::default(),
        salt: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=AAECAwQFBgcICQoLDA0ODw==,i=4096",
        client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=Qxa4yOu8FcTQXPLMuExqs7mJfguWcDYEUP2UdTGLlxu1bYoLY74wxL/1WEtl9cmk\
                       SWbqd2yKn/jIaETmYiGr3Q==",
        server_final: "v=PY7oLephuZaTwBdG1qioEvXx2lsFO6oBgOn9VLddrIlkUD7lAa0l2Hn0XOkHzI7O\
                       mnNio+SaGwF1gTNH+oagoA==",
    };
    vector.replay_to_server();
    vector.replay_to_client();
}

/// Computed as the one above, for SHA-256 with `c=` over `p=tls-exporter,,` and 32 bytes of 7.
#[test]
fn replays_a_bound_exchange_computed_by_hashlib() {
    let vector = Vector {
        mechanism: Mechanism::ScramSha256Plus,
        bindings: Bindings { exporter: Some([7; 32]), server_end_point: None },
        salt: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        client_first: "p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=AAECAwQFBgcICQoLDA0ODw==,i=4096",
        client_final: "c=cD10bHMtZXhwb3J0ZXIsLAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH,\
                       r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=60895+kynshsRcW3Zh7PX3sWc7O8Y9yu4afndx3NdvI=",
        server_final: "v=zBjd/1jXlLSbc5fkGXf6o/XoNXhzter32AvXZwOjZyY=",
    };
    vector.replay_to_server();
    vector.replay_to_client();
}

fn text(message: &[u8]) -> &str {
    std::str::from_utf8(message).unwrap()
}
