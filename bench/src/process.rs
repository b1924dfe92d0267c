//! What the system knows of a process: its processor time and its memory, from `/proc`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A running process.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Pages that it has written and that belong to it alone. Without those of its program file,
    /// which count as private or not by whether another process of that program runs meanwhile.
    pub private: u64,
    /// All its pages in memory.
    pub resident: u64,
}

impl Process {
    /// This process.
    #[must_use]
    pub fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// The process that listens on this port.
    ///
    /// # Errors
    /// Nobody listens, or it cannot be seen who.
    pub fn listening(address: SocketAddr) -> anyhow::Result<Self> {
        let inode = listener_inode(address.port())
            .with_context(|| format!("nobody listens on {address}"))?;
        let wanted = format!("socket:[{inode}]");
        let is_pid = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(name) = entry.file_name().to_str().filter(|n| is_pid(n)).map(str::to_owned)
            else {
                continue;
            };
            let Ok(files) = fs::read_dir(entry.path().join("fd")) else { continue };
            let has_it = |file: fs::DirEntry| {
                fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
            };
            if files.flatten().any(has_it) {
                return Ok(Self { pid: name.parse()? });
            }
        }
        anyhow::bail!("it cannot be seen who listens on {address}: name it by `--pid`")
    }

    /// Processor time used so far, by all its threads.
    ///
    /// # Errors
    /// The process is gone.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .with_context(|| format!("process {} is gone", self.pid))?;
        // The name of the program may hold anything, so count from its end.
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let ticks =
            |index: usize| -> Option<u64> { fields.split_whitespace().nth(index)?.parse().ok() };
        let sum = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
        let millis = sum.context("no times")? * 1_000 / rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis(millis))
    }

    /// Its memory now.
    ///
    /// # Errors
    /// The process is gone, or belongs to somebody else.
    pub fn memory(self) -> anyhow::Result<Memory> {
        let path = format!("/proc/{}/smaps_rollup", self.pid);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let mut memory = Memory::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(key), Some(kib)) = (words.next(), words.next()) else { continue };
            let bytes = kib.parse().unwrap_or(0) * 1_024;
            match key {
                "Private_Dirty:" => memory.private = bytes,
                "Rss:" => memory.resident = bytes,
                _ => {}
            }
        }
        Ok(memory)
    }

    /// How many files it has open.
    ///
    /// # Errors
    /// The process is gone, or belongs to somebody else.
    pub fn open_files(self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
    }

    /// How many threads it has.
    ///
    /// # Errors
    /// The process is gone.
    pub fn threads(self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.pid))?.count())
    }
}

/// Raises the limit of open files as far as it goes, and returns it.
///
/// # Errors
/// The system refuses.
pub fn raise_open_files() -> io::Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = maximum.or(Some(1 << 20));
    setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum })?;
    Ok(wanted.unwrap_or(u64::MAX))
}

fn listener_inode(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).ok());
    let listens = |line: &&str| {
        let mut words = line.split_whitespace();
        let local = words.nth(1).and_then(|local| local.rsplit_once(':'));
        let is_port = local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port));
        is_port && words.nth(1) == Some("0A")
    };
    let mut tables = tables.iter().flatten();
    tables.find_map(|table| {
        let line = table.lines().find(listens)?;
        line.split_whitespace().nth(9).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_itself_by_a_port_and_sees_its_own_use() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let process = Process::listening(listener.local_addr().unwrap()).unwrap();
        assert_eq!(process.pid, Process::own().pid);
        let before = process.memory().unwrap();
        let block = vec![1_u8; 32 << 20];
        let after = process.memory().unwrap();
        assert!(after.private >= before.private + (24 << 20), "{before:?} {after:?}");
        assert!(after.resident >= after.private);
        assert!(process.open_files().unwrap() >= 3);
        assert!(process.threads().unwrap() >= 1);
        assert_eq!(block.len(), 32 << 20);
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(Process::listening(address).is_err());
    }
}
