//! The limit of the machine: a server that passes bytes from one socket of a pair to the other and
//! looks at none of them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Serves until the process ends. The first connection is joined with the second, the third with
/// the fourth, and so on. With `message_bytes` each piece of that size is written alone.
///
/// # Errors
/// The system fails.
pub fn serve(address: SocketAddr, message_bytes: Option<usize>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)?;
    say(&listener)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN)?;
    let mut sockets: Vec<Option<Half>> = Vec::new();
    let mut events = Vec::with_capacity(256);
    let mut input = vec![0; READ_BYTES];
    loop {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let data = event.data.u64();
            if data == u64::MAX {
                while let Ok((tcp, _)) = listener.accept() {
                    tcp.set_nonblocking(true)?;
                    tcp.set_nodelay(true)?;
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
                    epoll::add(&epoll, &tcp, EventData::new_u64(sockets.len() as u64), flags)?;
                    sockets.push(Some(Half { tcp, unsent: Vec::new() }));
                }
                continue;
            }
            let index = usize::try_from(data)?;
            if let Some(half) = &mut sockets[index] {
                half.flush();
            }
            pass(&mut sockets, index, &mut input, message_bytes);
        }
    }
}

/// One side of a pair, and what it has to take.
struct Half {
    tcp: TcpStream,
    unsent: Vec<u8>,
}

impl Half {
    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.unsent);
        if !bytes.is_empty() {
            self.send(&bytes);
        }
    }

    fn send(&mut self, mut bytes: &[u8]) {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.tcp.write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                // Whoever is gone needs nothing more.
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.unsent.extend_from_slice(bytes);
    }
}

fn pass(sockets: &mut [Option<Half>], from: usize, input: &mut [u8], message_bytes: Option<usize>) {
    loop {
        let Some(half) = &mut sockets[from] else { return };
        let len = match half.tcp.read(input) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(0) | Err(_) => {
                sockets[from] = None;
                return;
            }
            Ok(len) => len,
        };
        let Some(Some(other)) = sockets.get_mut(from ^ 1) else { continue };
        let piece = message_bytes.unwrap_or(len).max(1);
        input[..len].chunks(piece).for_each(|bytes| other.send(bytes));
        if len < input.len() {
            return;
        }
    }
}

#[allow(clippy::print_stdout, reason = "who started it reads the address there")]
fn say(listener: &TcpListener) -> std::io::Result<()> {
    println!("{}", listener.local_addr()?);
    Ok(())
}

const READ_BYTES: usize = 64 * 1024;
