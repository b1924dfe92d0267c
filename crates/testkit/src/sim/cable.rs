//! The network: bytes travel with delays, are lost when the cable is cut, and vanish unnoticed when
//! it goes dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stentor_transport::Pipe;
use tokio::io::ReadBuf;
use tokio::task::AbortHandle;

use super::chance::Chance;

/// One connection between a client and the server. Dropping it cuts it.
pub(super) struct Cable {
    directions: [AbortHandle; 2],
    is_dead: Arc<AtomicBool>,
}

impl Cable {
    /// A cable, the client's end and the server's.
    pub(super) fn lay(chance: &mut Chance) -> (Self, Pipe, Pipe) {
        let (client, left) = Pipe::pair(BYTES_MAX);
        let (server, right) = Pipe::pair(BYTES_MAX);
        let (left, right) = (Arc::new(left), Arc::new(right));
        let is_dead = Arc::new(AtomicBool::new(false));
        let up = carry(left.clone(), right.clone(), is_dead.clone(), chance.fork());
        let down = carry(right, left, is_dead.clone(), chance.fork());
        let directions = [tokio::spawn(up).abort_handle(), tokio::spawn(down).abort_handle()];
        (Self { directions, is_dead }, client, server)
    }

    /// From now on nothing arrives and nobody is told.
    pub(super) fn go_dead(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // Both ends of each pipe go with the tasks that hold them.
        self.directions.iter().for_each(AbortHandle::abort);
    }
}

async fn carry(from: Arc<Pipe>, to: Arc<Pipe>, is_dead: Arc<AtomicBool>, mut chance: Chance) {
    let mut space = [0; 1_024];
    loop {
        let mut buf = ReadBuf::new(&mut space);
        let outcome = std::future::poll_fn(|cx| from.poll_read(cx, &mut buf)).await;
        tokio::time::sleep(Duration::from_millis(chance.between(1, 60))).await;
        if is_dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if outcome.is_err() {
            // The end that went away takes the other with it.
            return to.shut_down();
        }
        let mut bytes = buf.filled();
        if bytes.is_empty() {
            return to.shut_down();
        }
        while !bytes.is_empty() {
            if std::future::poll_fn(|cx| to.poll_write_ready(cx)).await.is_err() {
                return;
            }
            match to.try_write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// Bytes that an end may be ahead of the network.
const BYTES_MAX: usize = 64 * 1_024;
