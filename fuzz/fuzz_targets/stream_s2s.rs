//! Both ends of a stream between servers: whatever the peer sends, neither panics, no stanza of a
//! domain that was not authorized comes out, and both are silent after the end.
//!
//! The first byte says which end; then operations follow: a byte that says what, a byte that says
//! how much, and for bytes from the peer the bytes themselves.

#![cfg_attr(fuzzing, no_main)]

use std::sync::Arc;

use stentor_stanza::{Condition, Stanza};
use stentor_stream::Millis;
use stentor_stream::s2s::{
    Answer, Ask, Incoming, IncomingEvent, Offer, Outgoing, OutgoingEvent, Pair, Verdict,
};

stentor_fuzz::target!(check);

fn check(data: &[u8]) {
    match data {
        [which, rest @ ..] if which % 2 == 0 => incoming(rest, *which),
        [_, rest @ ..] => outgoing(rest),
        [] => {}
    }
}

fn incoming(mut data: &[u8], flags: u8) {
    let mut now = Millis(0);
    let mut machine = Incoming::new(Arc::default(), flags & 2 != 0, Box::new(|| "id".into()), now);
    let offer = Arc::new(Offer {
        domain: "a.example".into(),
        starttls: flags & 4 != 0,
        tls_required: flags & 8 != 0,
        external: flags & 16 != 0,
        dialback: flags & 32 != 0,
        bidi: flags & 64 != 0,
    });
    let mut authorized: Vec<Pair> = Vec::new();
    while let [what, how_much, rest @ ..] = data {
        data = rest;
        let was_ended = machine.is_ended();
        match what % 6 {
            0..=2 => {
                let (mut piece, rest) = data.split_at(data.len().min(usize::from(*how_much)));
                data = rest;
                machine.handle_bytes(&mut piece, now);
            }
            3 => machine.handle_tls(now),
            4 => {
                now = now.plus(u64::from(*how_much) * 1_000);
                machine.handle_timeout(now);
            }
            _ if how_much % 2 == 0 => machine.close(None, now),
            _ => machine.handle_eof(now),
        }
        while let Some(event) = machine.poll_event() {
            match event {
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
                IncomingEvent::Authorized(pair, _) => authorized.push(pair),
                IncomingEvent::Stanza(stanza) => assert!(is_of(&authorized, &stanza)),
                IncomingEvent::StartTls => authorized.clear(),
                _ => {}
            }
        }
        let mut out = Vec::new();
        machine.take_output(&mut out);
        assert!(!was_ended || out.is_empty(), "it spoke after the end");
    }
}

fn outgoing(mut data: &[u8]) {
    let mut now = Millis(0);
    let ours = Pair { local: "a.example".into(), remote: "b.example".into() };
    let mut machine = Outgoing::new(Arc::default(), ours, false, true, now);
    let mut authorized: Vec<Pair> = Vec::new();
    machine.take_output(&mut Vec::new());
    while let [what, how_much, rest @ ..] = data {
        data = rest;
        let was_ended = machine.is_ended();
        match what % 6 {
            0..=2 => {
                let (mut piece, rest) = data.split_at(data.len().min(usize::from(*how_much)));
                data = rest;
                machine.handle_bytes(&mut piece, now);
            }
            3 => machine.handle_tls(now),
            4 => {
                now = now.plus(u64::from(*how_much) * 1_000);
                machine.handle_timeout(now);
            }
            _ if how_much % 2 == 0 => machine.close(None, now),
            _ => machine.handle_eof(now),
        }
        while let Some(event) = machine.poll_event() {
            match event {
                OutgoingEvent::Key { pair, .. } => machine.handle_key(&pair, "key", now),
                OutgoingEvent::Authorized(pair, _) => authorized.push(pair),
                OutgoingEvent::Stanza(stanza) => assert!(is_of(&authorized, &stanza)),
                _ => {}
            }
        }
        let mut out = Vec::new();
        machine.take_output(&mut out);
        assert!(!was_ended || out.is_empty(), "it spoke after the end");
    }
}

fn is_of(pairs: &[Pair], stanza: &Stanza) -> bool {
    let (Some(from), Some(to)) = (&stanza.head.from, &stanza.head.to) else { return false };
    pairs.iter().any(|pair| pair.remote == from.domain() && pair.local == to.domain())
}
