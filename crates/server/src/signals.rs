//! What tells a running server to do something: signals, and commands.

use std::time::{Duration, Instant};

use stentor_admin::Wish;
use stentor_admin::server::Reloaded;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// The signals that the server listens to, and the wishes of commands.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    wishes: mpsc::Receiver<Wish>,
}

/// What to do next.
pub(crate) enum Next {
    /// Stop in good order.
    Stop,
    /// Look for certificates of new domains, and tell who asked.
    Certificates(oneshot::Sender<Result<Vec<String>, String>>),
    /// Read the configuration again, and tell who asked.
    Reload(Option<oneshot::Sender<Result<Reloaded, String>>>),
}

impl Signals {
    /// Listens from now on, instead of ending the process.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn new(wishes: mpsc::Receiver<Wish>) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            wishes,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Next {
        tokio::select! {
            _ = self.terminate.recv() => Next::Stop,
            _ = self.interrupt.recv() => Next::Stop,
            _ = self.hangup.recv() => Next::Reload(None),
            wish = self.wishes.recv() => match wish {
                Some(Wish::Reload(answer)) => Next::Reload(Some(answer)),
                Some(Wish::Certificates(answer)) => Next::Certificates(answer),
                Some(Wish::Stop) | None => Next::Stop,
            },
        }
    }

    /// Waits for another signal to stop. What comes right behind the first is not another: who ends a
    /// process and then its group means it once.
    pub(crate) async fn terminated(&mut self) {
        let first = Instant::now();
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if first.elapsed() >= ECHO {
                return;
            }
        }
    }
}

/// For how long further signals count as the first.
const ECHO: Duration = Duration::from_millis(300);
