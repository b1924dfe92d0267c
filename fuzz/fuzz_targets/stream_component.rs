//! The server's end of a component's stream: whatever the peer sends, it does not panic, no stanza
//! comes out before the handshake or from another domain, and it is silent after the end.

#![cfg_attr(fuzzing, no_main)]

use std::sync::Arc;

use stentor_fuzz::drive;
use stentor_stream::component::{Answer, Ask, Component, Event, Offer, handshake};
use stentor_stream::fault::Fault;
use stentor_stream::{Machine as _, Millis};
use zeroize::Zeroizing;

stentor_fuzz::target!(check);

const DOMAIN: &str = "plays.example";

fn check(data: &[u8]) {
    let machine = Component::new(Arc::default(), Box::new(|| "id".into()), Millis(0));
    let shake = |machine: &mut Component, now| {
        let shake = format!("<handshake>{}</handshake>", handshake("id", "secret"));
        machine.handle_bytes(&mut shake.as_bytes(), now);
    };
    let mut is_admitted = false;
    drive(machine, data, shake, |machine, event, how_much, now| match event {
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
            let from = stanza.head.from.map(|jid| jid.domain().to_owned());
            assert_eq!(from.as_deref(), Some(DOMAIN));
        }
        Event::Refused(_) => assert!(is_admitted),
        Event::Ending(_) => {}
    });
}
