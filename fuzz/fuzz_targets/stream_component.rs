//! The server's end of a component's stream: whatever the peer sends, it does not panic, no stanza
//! comes out before the handshake or from another domain, and it is silent after the end.
//!
//! Operations follow each other: a byte that says what, a byte that says how much, and for bytes
//! from the peer the bytes themselves.

#![cfg_attr(fuzzing, no_main)]

use std::sync::Arc;

use stentor_stream::Millis;
use stentor_stream::component::{Answer, Ask, Component, Event, Offer, handshake};
use stentor_stream::fault::Fault;
use zeroize::Zeroizing;

stentor_fuzz::target!(check);

const DOMAIN: &str = "plays.example";

fn check(mut data: &[u8]) {
    let mut now = Millis(0);
    let mut machine = Component::new(Arc::default(), Box::new(|| "id".into()), now);
    let mut is_admitted = false;
    while let [what, how_much, rest @ ..] = data {
        data = rest;
        let was_ended = machine.is_ended();
        match what % 6 {
            0..=2 => {
                let (mut piece, rest) = data.split_at(data.len().min(usize::from(*how_much)));
                data = rest;
                machine.handle_bytes(&mut piece, now);
            }
            3 => {
                let shake = format!("<handshake>{}</handshake>", handshake("id", "secret"));
                machine.handle_bytes(&mut shake.as_bytes(), now);
            }
            4 => {
                now = now.plus(u64::from(*how_much) * 1_000);
                machine.handle_timeout(now);
            }
            _ if how_much % 2 == 0 => machine.close(None, now),
            _ => machine.handle_eof(now),
        }
        while let Some(event) = machine.poll_event() {
            match event {
                Event::Ask(Ask::Domain(domain)) => {
                    let secret = Zeroizing::new("secret".to_owned());
                    let offer = Offer { secret, frame_bytes_max: 1_024 };
                    let offer = if domain == DOMAIN { Ok(offer) } else { Err(Fault::HostUnknown) };
                    machine.handle_answer(Answer::Offer(offer), now);
                }
                Event::Ask(Ask::Admit(_)) => {
                    is_admitted = how_much % 8 != 0;
                    let admitted = if is_admitted { Ok(()) } else { Err(Fault::Occupied) };
                    machine.handle_answer(Answer::Admitted(admitted), now);
                }
                Event::Stanza(stanza) => {
                    assert!(is_admitted, "a stanza before the handshake");
                    assert!(stanza.head.to.is_some());
                    assert_eq!(
                        stanza.head.from.map(|jid| jid.domain().to_owned()).as_deref(),
                        Some(DOMAIN)
                    );
                }
                Event::Refused(_) => assert!(is_admitted),
                Event::PeerClosed | Event::Ended { .. } => {}
            }
        }
        let mut out = Vec::new();
        machine.take_output(&mut out);
        assert!(!was_ended || out.is_empty(), "it spoke after the end");
    }
}
