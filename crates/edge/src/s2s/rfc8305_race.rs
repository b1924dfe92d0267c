//! Many addresses of one server: IPv6 first, and soon the next (RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::limits::S2S_STAGGER_MS;

/// §4: the families take turns, IPv6 first.
pub(super) fn alternating(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(six.next());
        mixed.extend(four.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}

/// Connects to the first address that answers. The next one is tried when the one before it has
/// failed, or has not answered for a moment (§5); each may take `wait`.
///
/// # Errors
/// What went wrong at the last one.
pub(super) async fn race<T, F>(
    addresses: &[SocketAddr],
    wait: Duration,
    dial: impl Fn(SocketAddr) -> F,
) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut attempts = JoinSet::new();
    let mut rest = addresses.iter().copied();
    let mut last = "it has no address".to_owned();
    loop {
        if let Some(address) = rest.next() {
            let attempt = dial(address);
            attempts.spawn(async move {
                match timeout(wait, attempt).await {
                    Ok(Ok(conn)) => Ok(conn),
                    Ok(Err(error)) => Err(format!("{address}: {error}")),
                    Err(_) => Err(format!("{address}: no answer")),
                }
            });
        }
        let has_more = rest.len() > 0;
        tokio::select! {
            outcome = attempts.join_next() => match outcome {
                Some(Ok(Ok(conn))) => return Ok(conn),
                Some(Ok(Err(error))) => last = error,
                Some(Err(error)) => last = error.to_string(),
                None => return Err(last),
            },
            () = sleep(Duration::from_millis(S2S_STAGGER_MS)), if has_more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = ["10.0.0.1", "10.0.0.2", "::1", "10.0.0.3"].map(|a| a.parse().unwrap());
        let mixed = alternating(addresses.to_vec());
        let expected: [IpAddr; 4] =
            ["::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|a| a.parse().unwrap());
        assert_eq!(mixed, expected);
    }

    /// What an address does with a connection.
    #[derive(Clone, Copy)]
    enum Does {
        Answer(u64),
        Refuse,
        Nothing,
    }

    /// Who answers, and after how many milliseconds.
    async fn outcome(addresses: &[(&str, Does)]) -> (Result<String, String>, u128) {
        let table: Vec<(SocketAddr, Does)> =
            addresses.iter().map(|(a, does)| (a.parse().unwrap(), *does)).collect();
        let order: Vec<SocketAddr> = table.iter().map(|(address, _)| *address).collect();
        let began = Instant::now();
        let winner = race(&order, Duration::from_secs(10), |address| {
            let does = table.iter().find(|(a, _)| *a == address).unwrap().1;
            async move {
                match does {
                    Does::Answer(ms) => sleep(Duration::from_millis(ms)).await,
                    Does::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
                    Does::Nothing => std::future::pending().await,
                }
                Ok(address.to_string())
            }
        });
        (winner.await, began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_answers_is_taken_and_silence_costs_a_moment() {
        use Does::{Answer, Nothing, Refuse};
        let (six, four) = ("[2001:db8::1]:5269", "192.0.2.1:5269");
        let ok = |who: &str| Ok::<_, String>(who.to_owned());
        for (addresses, winner, ms) in [
            (vec![(six, Answer(5)), (four, Answer(1))], six, 5),
            (vec![(six, Nothing), (four, Answer(1))], four, 251),
            (vec![(six, Refuse), (four, Answer(1))], four, 1),
            // Slow is not dead: it may still win.
            (vec![(six, Answer(300)), (four, Answer(400))], six, 300),
        ] {
            assert_eq!(outcome(&addresses).await, (ok(winner), ms));
        }
        let (lost, ms) = outcome(&[(six, Nothing), (four, Refuse)]).await;
        assert_eq!(lost.unwrap_err(), format!("{six}: no answer"));
        assert_eq!(ms, 10_000);
        assert_eq!(outcome(&[]).await.0.unwrap_err(), "it has no address");
    }
}
