//! Calling back: asking a domain's own server about a dialback key (XEP-0220 §2.1.2).

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use stentor_stanza::Condition;
use stentor_stream::fault::StreamCondition;
use stentor_stream::s2s::{Key, Outgoing, OutgoingEvent, OutgoingSettings, Pair, Verdict};
use stentor_stream::{Ending, Machine as _};
use stentor_transport::Conn;

use super::Federation;
use super::dial::{admit, connect, secure};
use super::failure::Failure;
use super::pump::{Pump, Wake};
use super::rfc7673_dane::Dane;
use crate::limits::S2S_VERIFICATION_WAIT_MS;
use crate::monotonic;

/// Asks the server of `pair.remote` whether it made a key, over a connection of its own.
pub(crate) async fn verify(federation: &Arc<Federation>, pair: Pair, key: Key) -> Verdict {
    let asking = async {
        let _permit = federation.verifying.acquire().await;
        ask(federation, &pair, &key).await
    };
    let wait = Duration::from_millis(S2S_VERIFICATION_WAIT_MS);
    let outcome = tokio::time::timeout(wait, asking).await;
    match outcome.unwrap_or_else(|_| Err(Failure::Unreachable("it took too long".to_owned()))) {
        Ok(verdict) => verdict,
        Err(failure) => {
            let (local, remote) = (&pair.local, &pair.remote);
            tracing::info!(event = "dialback_failed", local, remote, reason = %failure, "A dialback key could not be verified.");
            // §2.5.
            Verdict::Error(match failure {
                Failure::NotFound(_) | Failure::Unreachable(_) => Condition::RemoteServerTimeout,
                failure => failure.condition(),
            })
        }
    }
}

async fn ask(federation: &Federation, pair: &Pair, key: &Key) -> Result<Verdict, Failure> {
    let targets = federation.discovery.find(&pair.remote).await.map_err(Failure::NotFound)?;
    let mut last = None;
    for target in targets {
        match connect(federation, &pair.local, &pair.remote, &target).await {
            Ok(conn) => match over(federation, conn, &target.dane, pair, key).await {
                Ok(verdict) => return Ok(verdict),
                Err(failure) => last = Some(failure),
            },
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::Unreachable("it has no server".to_owned())))
}

async fn over(
    federation: &Federation,
    conn: Conn,
    dane: &Dane,
    pair: &Pair,
    key: &Key,
) -> Result<Verdict, Failure> {
    let is_tls = conn.facts().tls.is_some();
    let settings =
        OutgoingSettings { wants_bidi: false, ..federation.outgoing_settings(&pair.remote, dane) };
    let mut machine =
        Outgoing::new(Arc::new(settings), pair.clone(), is_tls, false, monotonic::now());
    machine.verify(pair.clone(), key.clone());
    let mut pump = Pump::new(conn);
    let broken = |error: std::io::Error| Failure::Unreachable(error.to_string());
    let mut ended: Option<(String, Option<StreamCondition>)> = None;
    let mut verdict = None;
    loop {
        let mut moved = pump.feed(|input| machine.handle_bytes(input, monotonic::now()));
        if pump.is_eof() {
            machine.handle_eof(monotonic::now());
        }
        while let Some(event) = machine.poll_event() {
            moved = true;
            match event {
                OutgoingEvent::StartTls => {
                    machine.take_output(&mut pump.out);
                    pump.flush().await.map_err(broken)?;
                    let leftover = pump.take_input();
                    let conn = &mut pump.conn;
                    secure(federation, conn, &pair.local, &pair.remote, false, &leftover)
                        .await
                        .map_err(Failure::Unreachable)?;
                    admit(federation, &pump.conn, &pair.remote, dane)?;
                    machine.handle_tls(monotonic::now());
                }
                OutgoingEvent::Verified(_, _, answer) => {
                    verdict = Some(answer);
                    // §2.1.2: such a connection is closed at once.
                    machine.close(None, monotonic::now());
                }
                OutgoingEvent::Ending(Ending::PeerClosed) => machine.close(None, monotonic::now()),
                OutgoingEvent::Ending(Ending::Ended { fault, .. }) => {
                    let condition = fault.as_ref().map(|f| f.condition());
                    let text = fault.map_or_else(|| "closed".to_owned(), |f| f.to_string());
                    ended = Some((text, condition));
                }
                _ => {}
            }
        }
        machine.take_output(&mut pump.out);
        if let Some(verdict) = verdict.take() {
            // The answer is there; how the stream ends matters to nobody.
            let _ = pump.flush().await;
            return Ok(verdict);
        }
        if let Some((text, condition)) = ended.take() {
            return Err(Failure::Ended(text, condition));
        }
        if moved {
            continue;
        }
        let due = machine.poll_timeout();
        let wake = pump.wait(due, machine.may_read(), |_| Poll::<()>::Pending).await;
        if let Wake::Timer = wake.map_err(broken)? {
            machine.handle_timeout(monotonic::now());
        }
    }
}
