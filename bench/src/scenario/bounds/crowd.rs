//! Connections that keep to no protocol: what they send is said byte by byte, and what becomes of them
//! is noted.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

use crate::split::has;

/// Many of them, on one epoll instance.
pub(super) struct Crowd {
    epoll: OwnedFd,
    members: Vec<Member>,
    events: Vec<Event>,
    input: Box<[u8]>,
}

/// One connection.
pub(super) struct Member {
    tcp: Option<TcpStream>,
    since: Instant,
    has_heard: bool,
    /// The condition of the stream error that came.
    told: Option<String>,
    /// What came and was not taken.
    pub(super) heard: Vec<u8>,
    /// How it ended, and after how long.
    pub(super) end: Option<(End, Duration)>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// By a stream error, of this condition.
    Error(String),
    /// The stream was closed without one.
    Closed,
    /// Before anything was said.
    TurnedAway,
}

impl End {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Error(condition) => format!("ended by the stream error {condition}"),
            Self::Closed => "closed".to_owned(),
            Self::TurnedAway => "closed without a word".to_owned(),
        }
    }
}

impl Crowd {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            members: Vec::new(),
            events: Vec::with_capacity(256),
            input: vec![0; 16 * 1024].into_boxed_slice(),
        })
    }

    /// Adds a connection from this address.
    pub(super) fn connect(&mut self, to: SocketAddr, from: Ipv4Addr) -> anyhow::Result<usize> {
        let who = self.members.len();
        self.members.push(Member::over(None));
        self.connect_again(who, to, from)?;
        Ok(who)
    }

    /// Connects one that has ended anew.
    pub(super) fn connect_again(
        &mut self,
        who: usize,
        to: SocketAddr,
        from: Ipv4Addr,
    ) -> anyhow::Result<()> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if to.ip().is_loopback() && to.is_ipv4() {
            socket.bind(&SocketAddr::from((IpAddr::V4(from), 0)).into())?;
        }
        socket.connect(&to.into())?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let tcp = TcpStream::from(socket);
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &tcp, EventData::new_u64(who as u64), flags)?;
        self.members[who] = Member::over(Some(tcp));
        Ok(())
    }

    pub(super) const fn members(&self) -> &Vec<Member> {
        &self.members
    }

    /// What a connection heard, which is then forgotten.
    pub(super) fn take_heard(&mut self, who: usize) -> Vec<u8> {
        std::mem::take(&mut self.members[who].heard)
    }

    /// Says something; nothing happens if nobody listens any more.
    pub(super) fn say(&mut self, who: usize, bytes: &[u8]) {
        if let Some(tcp) = &mut self.members[who].tcp {
            // So little always fits, or the connection is over, which is heard.
            let _ = tcp.write(bytes);
        }
    }

    /// Waits for input, at most so long; who heard something or has ended.
    pub(super) fn turn(&mut self, wait: Duration) -> anyhow::Result<Vec<usize>> {
        let wait = Timespec::try_from(wait).ok();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut heard = Vec::new();
        for event in self.events.drain(..) {
            let who = usize::try_from(event.data.u64())?;
            self.members[who].receive(&mut self.input);
            heard.push(who);
        }
        Ok(heard)
    }

    /// How many ended in each way, and when the last did.
    pub(super) fn ends(&self) -> (Vec<(End, usize)>, Duration) {
        let mut ends: Vec<_> = self.members.iter().filter_map(|m| m.end.clone()).collect();
        ends.sort();
        let last = ends.iter().map(|(_, after)| *after).max().unwrap_or_default();
        let mut counts: Vec<(End, usize)> = Vec::new();
        for (end, _) in ends {
            match counts.last_mut().filter(|(other, _)| *other == end) {
                Some((_, count)) => *count += 1,
                None => counts.push((end, 1)),
            }
        }
        (counts, last)
    }
}

impl Member {
    fn over(tcp: Option<TcpStream>) -> Self {
        let (since, heard) = (Instant::now(), Vec::new());
        Self { tcp, since, has_heard: false, told: None, heard, end: None }
    }

    fn receive(&mut self, input: &mut [u8]) {
        let Some(tcp) = &mut self.tcp else { return };
        loop {
            match tcp.read(input) {
                Ok(len @ 1..) => {
                    self.has_heard = true;
                    self.heard.extend_from_slice(&input[..len]);
                    self.told = self.told.take().or_else(|| condition(&self.heard));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => break,
            }
        }
        self.tcp = None;
        let end = match self.told.take() {
            Some(condition) => End::Error(condition),
            None if self.has_heard => End::Closed,
            None => End::TurnedAway,
        };
        self.end = Some((end, self.since.elapsed()));
    }
}

/// The condition of the stream error in what was heard.
pub(super) fn condition(heard: &[u8]) -> Option<String> {
    let at = memchr::memmem::find(heard, b"<stream:error")?;
    let behind = &heard[at + 1..];
    let begin = memchr::memchr(b'<', behind)? + 1;
    let name =
        behind[begin..].iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'-');
    Some(name.map(|byte| char::from(*byte)).collect())
}

/// Whether a stream has told its features.
pub(super) fn has_features(heard: &[u8]) -> bool {
    has(heard, "</stream:features>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_condition_of_a_stream_error() {
        let heard = b"<stream:stream><stream:error><connection-timeout xmlns='a'/></stream:error>";
        assert_eq!(condition(heard).as_deref(), Some("connection-timeout"));
        assert_eq!(condition(b"<stream:features/>"), None);
    }
}
