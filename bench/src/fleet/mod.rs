//! Many clients on one thread: an epoll loop that reads, splits and writes, and no more.
//!
//! What is measured is the server, so a client here costs as little as can be: no tree, no checks,
//! one read and one write for as many stanzas as there are.

mod peer;
mod sign_in;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Socket, Type};
use stentor_sasl::Mechanism;

use self::peer::{Managed, Peer, READ_BYTES};
pub use self::sign_in::Resume;
pub(crate) use self::sign_in::header;
use self::sign_in::{SignIn, Step};
pub use self::tls::config as tls_config;

/// How a server is reached.
#[derive(Clone)]
pub struct Server {
    /// Its address.
    pub address: SocketAddr,
    /// The domain of the accounts.
    pub domain: String,
    /// How TLS is done.
    pub tls: TlsUse,
    /// The mechanism to sign in by; without one, the strongest SCRAM that is offered.
    pub mechanism: Option<Mechanism>,
    /// The password of all accounts.
    pub password: String,
    /// What TLS connections share.
    pub tls_config: Arc<rustls::ClientConfig>,
}

/// How TLS is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsUse {
    /// Not at all.
    Off,
    /// By STARTTLS.
    Start,
    /// From the first byte.
    Direct,
}

/// Who signs in on a connection.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The local part of the account.
    pub username: String,
    /// The wished resource.
    pub resource: String,
    /// Whether stream management with resumption is asked for (XEP-0198).
    pub manages: bool,
    /// The stream to resume instead of binding.
    pub resume: Option<Resume>,
}

/// How little a connection has room for: as over Ethernet, and with a small buffer to receive. On the
/// loopback interface the kernel takes megabytes for one who does not read.
#[derive(Clone, Copy, Debug)]
pub struct Narrow {
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// Bytes that are received before they are read.
    pub receive_bytes: usize,
}

impl Default for Narrow {
    fn default() -> Self {
        Self { segment_bytes: 1_460, receive_bytes: 16 * 1024 }
    }
}

/// What happened to a client, beside stanzas.
#[derive(Clone, Debug)]
pub enum News {
    /// It signed in; whether its former stream was resumed.
    Ready {
        /// Which client.
        who: usize,
        /// Whether an earlier stream goes on.
        resumed: bool,
    },
    /// Its connection is over, and why.
    Closed {
        /// Which client.
        who: usize,
        /// The reason, as far as it is known.
        reason: String,
    },
}

/// Many clients.
pub struct Fleet {
    server: Server,
    epoll: OwnedFd,
    peers: Vec<Option<Peer>>,
    outs: Outs,
    input: Box<[u8]>,
    news: Vec<News>,
    narrow: Option<Narrow>,
}

/// What clients are about to send.
#[derive(Default)]
pub struct Outs {
    buffers: Vec<Vec<u8>>,
    dirty: Vec<usize>,
}

impl Outs {
    /// Where bytes that this client sends are put.
    pub fn of(&mut self, who: usize) -> &mut Vec<u8> {
        let buffer = &mut self.buffers[who];
        if buffer.is_empty() {
            self.dirty.push(who);
        }
        buffer
    }
}

impl Fleet {
    /// A fleet for this server.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn new(server: Server) -> io::Result<Self> {
        Ok(Self {
            server,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            peers: Vec::new(),
            outs: Outs::default(),
            input: vec![0; READ_BYTES].into_boxed_slice(),
            news: Vec::new(),
            narrow: None,
        })
    }

    /// The server.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// How many clients there are, connected or not.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// What clients send.
    pub const fn outs(&mut self) -> &mut Outs {
        &mut self.outs
    }

    /// Adds a place for a client.
    pub fn add(&mut self) -> usize {
        self.peers.push(None);
        self.outs.buffers.push(Vec::new());
        self.peers.len() - 1
    }

    /// How little room connections have that are made from here on.
    pub const fn narrow(&mut self, narrow: Option<Narrow>) {
        self.narrow = narrow;
    }

    /// Connects a client. With a login it signs in; without one it is a bare socket.
    ///
    /// # Errors
    /// There is no connection.
    pub fn connect(&mut self, who: usize, login: Option<Login>) -> anyhow::Result<()> {
        let tcp = dial(self.server.address, who, self.narrow)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &tcp, EventData::new_u64(who as u64), flags)?;
        let sign_in = login.map(|login| Box::new(SignIn::new(login, &self.server)));
        let mut peer = Peer::new(tcp, sign_in);
        self.outs.buffers[who].clear();
        if peer.sign_in.is_some() {
            if self.server.tls == TlsUse::Direct {
                peer.start_tls(&self.server)?;
            }
            let header = sign_in::header(&self.server.domain);
            self.outs.of(who).extend_from_slice(&header);
        }
        self.peers[who] = Some(peer);
        Ok(())
    }

    /// Cuts a client's connection.
    pub fn cut(&mut self, who: usize) {
        self.peers[who] = None;
        self.outs.buffers[who].clear();
    }

    /// Stops or goes on reading what a client is sent.
    pub fn set_deaf(&mut self, who: usize, is_deaf: bool) {
        if let Some(peer) = &mut self.peers[who] {
            peer.is_deaf = is_deaf;
        }
    }

    /// Has a client read again that did not, beginning with what has come meanwhile.
    pub fn wake(&mut self, who: usize, hear: &mut dyn FnMut(usize, &[u8], &mut Outs)) {
        self.set_deaf(who, false);
        // Once for what has come, and once for the end, which may have come with it.
        self.receive(who, hear);
        self.receive(who, hear);
    }

    /// Whether a client is connected and signed in.
    #[must_use]
    pub fn is_ready(&self, who: usize) -> bool {
        self.peers[who].as_ref().is_some_and(|peer| peer.sign_in.is_none())
    }

    /// How a client's stream can be resumed, if the server offered it.
    #[must_use]
    pub fn resumption(&self, who: usize) -> Option<Resume> {
        self.peers[who].as_ref()?.resume.clone()
    }

    /// What happened since the last call.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Waits for input, at most so long, and shows every element that came.
    ///
    /// # Errors
    /// The system fails; what happens to one connection is told by [`Fleet::take_news`].
    pub fn turn(
        &mut self,
        wait: Duration,
        hear: &mut dyn FnMut(usize, &[u8], &mut Outs),
    ) -> io::Result<()> {
        self.flush();
        let wait = Timespec::try_from(wait).ok();
        // Not kept: what the kernel fills them with may not go to another thread.
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), wait.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            let who = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let flags = event.flags;
            if flags.contains(EventFlags::OUT)
                && self.peers.get(who).is_some_and(|p| p.as_ref().is_some_and(Peer::is_blocked))
            {
                self.outs.dirty.push(who);
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                self.receive(who, hear);
            }
            if flags.contains(EventFlags::RDHUP) {
                // The end may have come with the last bytes, and makes no event of its own then.
                self.receive(who, hear);
            }
        }
        self.flush();
        Ok(())
    }

    fn receive(&mut self, who: usize, hear: &mut dyn FnMut(usize, &[u8], &mut Outs)) {
        let Some(peer) = self.peers.get_mut(who).and_then(Option::as_mut) else { return };
        let (outs, news, server) = (&mut self.outs, &mut self.news, &self.server);
        let outcome = peer.receive(&mut self.input, &mut |peer, element| {
            let Some(sign_in) = &mut peer.sign_in else {
                match peer.manage(element) {
                    Managed::Stanza => hear(who, element, outs),
                    Managed::Asked(answer) => outs.of(who).extend_from_slice(answer.as_bytes()),
                    Managed::Answered => {}
                }
                return Ok(());
            };
            match sign_in.handle(element, outs.of(who), server)? {
                Step::On => {}
                Step::StartTls => {
                    peer.start_tls(server)?;
                    outs.of(who).extend_from_slice(&sign_in::header(&server.domain));
                }
                Step::Ready { resume, resumed } => {
                    peer.handled = resume.is_some().then_some(0);
                    peer.resume = resume;
                    peer.sign_in = None;
                    news.push(News::Ready { who, resumed });
                }
            }
            Ok(())
        });
        if let Err(error) = outcome {
            self.close(who, format!("{error:#}"));
        } else if self.peers[who].as_ref().is_some_and(Peer::has_tls_output) {
            self.outs.dirty.push(who);
        }
    }

    fn close(&mut self, who: usize, reason: String) {
        self.peers[who] = None;
        self.outs.buffers[who].clear();
        self.news.push(News::Closed { who, reason });
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.outs.dirty);
        for who in dirty.drain(..) {
            let Some(peer) = &mut self.peers[who] else {
                self.outs.buffers[who].clear();
                continue;
            };
            if let Err(error) = peer.send(&mut self.outs.buffers[who]) {
                self.close(who, format!("{error:#}"));
            }
        }
        self.outs.dirty = dirty;
    }
}

/// Connects; on the loopback interface from one of many addresses, so that ports suffice.
fn dial(
    address: SocketAddr,
    who: usize,
    narrow: Option<Narrow>,
) -> anyhow::Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(Narrow { segment_bytes, receive_bytes }) = narrow {
        socket.set_tcp_mss(segment_bytes)?;
        socket.set_recv_buffer_size(receive_bytes)?;
    }
    if let IpAddr::V4(v4) = address.ip()
        && v4.is_loopback()
    {
        let block = u8::try_from(who / PORTS_PER_SOURCE % 200).unwrap_or(0);
        let source = Ipv4Addr::new(127, 0, 0, block + 2);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect(&address.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

const EVENTS: usize = 256;
const PORTS_PER_SOURCE: usize = 4_000;
