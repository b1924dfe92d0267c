//! Both ends of a stream between servers: whatever the peer sends, neither panics, no stanza of a
//! domain that was not authorized comes out, and both are silent after the end.
//!
//! The first byte says which end; then operations follow, as [`stentor_fuzz::drive`] reads them.

#![cfg_attr(fuzzing, no_main)]

use std::sync::Arc;

use stentor_fuzz::drive;
use stentor_stanza::{Condition, Stanza};
use stentor_stream::Millis;
use stentor_stream::s2s::{
    Answer, Ask, Former, Incoming, IncomingEvent, Offer, Outgoing, OutgoingEvent, Pair, Tally,
    Verdict,
};

stentor_fuzz::target!(check);

fn check(data: &[u8]) {
    match data {
        [which, rest @ ..] if which % 2 == 0 => incoming(rest, *which),
        [which, rest @ ..] => outgoing(rest, *which),
        [] => {}
    }
}

fn incoming(data: &[u8], flags: u8) {
    let is_tls = flags & 2 != 0;
    let machine = Incoming::new(Arc::default(), is_tls, Box::new(|| "id".into()), Millis(0));
    let offer = Arc::new(Offer {
        domain: "a.example".into(),
        starttls: flags & 4 != 0,
        tls_required: flags & 8 != 0,
        external: flags & 16 != 0,
        dialback: flags & 32 != 0,
        bidi: flags & 64 != 0,
        management: Some(60),
        frame_bytes_max: None,
    });
    let mut authorized: Vec<Pair> = Vec::new();
    drive(machine, data, Incoming::handle_tls, |machine, event, how_much, now| match event {
        IncomingEvent::Ask(Ask::Host { .. }) => {
            machine.handle_answer(Answer::Host(Ok(offer.clone())), now);
        }
        IncomingEvent::Ask(Ask::Dialback { pair, .. }) => {
            let verdict = match how_much % 3 {
                0 => Verdict::Valid,
                1 => Verdict::Invalid,
                _ => Verdict::Error(Condition::RemoteServerTimeout),
            };
            machine.handle_answer(Answer::Dialback(pair, verdict), now);
        }
        IncomingEvent::Ask(Ask::Verify { pair, key }) => {
            machine.handle_answer(Answer::Verify(pair, key, Verdict::Invalid), now);
        }
        IncomingEvent::Ask(Ask::Resume { .. }) => {
            let tally = Tally { sent: 7, acked: 3, received: u64::from(u32::MAX) };
            let former = if how_much % 2 == 0 { Ok(tally) } else { Err(None) };
            machine.handle_answer(Answer::Resume(former), now);
        }
        IncomingEvent::AckRequested => {
            let received = machine.tally().expect("it counts").received;
            machine.acknowledge(received);
        }
        IncomingEvent::Acked(acked) => {
            let sent = machine.tally().expect("it counts").sent;
            assert!(acked <= sent, "more acknowledged than sent");
        }
        IncomingEvent::Managed(_) => {}
        IncomingEvent::Authorized(pair, _) => authorized.push(pair),
        IncomingEvent::Stanza(stanza) => assert!(is_of(&authorized, &stanza)),
        IncomingEvent::StartTls => authorized.clear(),
        IncomingEvent::Refused(_) | IncomingEvent::Ending(_) => {}
    });
}

fn outgoing(data: &[u8], flags: u8) {
    let ours = Pair { local: "a.example".into(), remote: "b.example".into() };
    let mut machine = Outgoing::new(Arc::default(), ours, false, true, Millis(0));
    if flags & 2 != 0 {
        let tally = Tally { sent: 9, acked: 3, received: 1 };
        machine.go_on_for(Former { previd: "x".into(), tally });
    }
    let mut authorized: Vec<Pair> = Vec::new();
    drive(machine, data, Outgoing::handle_tls, |machine, event, _, now| match event {
        OutgoingEvent::Acked(acked) => {
            assert!(acked <= machine.tally().expect("it counts").sent);
        }
        OutgoingEvent::Key { pair, .. } => machine.handle_key(&pair, "key", now),
        OutgoingEvent::Authorized(pair, _) => authorized.push(pair),
        OutgoingEvent::Stanza(stanza) => assert!(is_of(&authorized, &stanza)),
        _ => {}
    });
}

fn is_of(pairs: &[Pair], stanza: &Stanza) -> bool {
    let (Some(from), Some(to)) = (&stanza.head.from, &stanza.head.to) else { return false };
    pairs.iter().any(|pair| pair.remote == from.domain() && pair.local == to.domain())
}
