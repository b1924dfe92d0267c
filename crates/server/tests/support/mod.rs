//! The built binary, run over a data folder of the test's own.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A folder with a configuration and a data folder.
pub struct Place {
    folder: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    err: BufReader<ChildStderr>,
    /// What it logged until it had started.
    pub log: String,
    /// The ports, in the order of the configuration.
    pub ports: Vec<SocketAddr>,
}

impl Place {
    /// A place whose server listens on free ports of the loopback interface, without TLS on the
    /// first, and serves metrics on none.
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.configure("");
        place
    }

    /// Writes the configuration anew, with this added.
    pub fn configure(&self, more: &str) {
        let text = format!(
            "data_dir = 'data'\n{more}\n[[listen]]\naddress = '127.0.0.1:0'\ntls = 'off'\n\
             [[listen]]\nkind = 'c2s-tls'\naddress = '127.0.0.1:0'\n"
        );
        let text = if more.contains("[metrics]") {
            text
        } else {
            format!("{text}[metrics]\naddress = ''\n")
        };
        std::fs::write(self.config(), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("stentor.toml")
    }

    /// Runs a command of one line of words.
    pub fn run(&self, words: &str) -> Said {
        self.run_with(&words.split(' ').collect::<Vec<_>>(), "")
    }

    /// Runs a command with something on its standard input. The folder's name is taken out of what
    /// it says.
    pub fn run_with(&self, words: &[&str], input: &str) -> Said {
        let mut child = self
            .command()
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let folder = self.path().display().to_string();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&folder, "DIR");
        Said {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Starts the server and waits until it says that it has.
    pub fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// The same, with variables of the environment.
    pub fn start_with(&self, variables: &[(&str, &str)]) -> Server {
        let mut command = self.command();
        command.arg("run").envs(variables.iter().copied()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let mut server = Server { child, err, log: String::new(), ports: Vec::new() };
        // In text `event="started"`, in JSON `"event":"started"`.
        server.log = server.log_until("\"started\"");
        let listening = server.log.lines().filter(|line| line.contains("event=\"listening\""));
        let address = |line: &str| line.split("address=").nth(1).unwrap().trim().parse().unwrap();
        server.ports = listening.map(address).collect();
        server
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        // Nothing of the environment of the test reaches the binary.
        command.env_clear().arg("--config").arg(self.config());
        command
    }
}

impl Server {
    /// Reads the log until a line has this.
    pub fn log_until(&mut self, sign: &str) -> String {
        let mut log = String::new();
        loop {
            let begin = log.len();
            let len = self.err.read_line(&mut log).unwrap();
            assert!(len > 0, "the log ended before {sign}:\n{log}");
            if log[begin..].contains(sign) {
                return log;
            }
        }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end; the rest of the log comes with it.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        std::io::Read::read_to_string(&mut self.err, &mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    /// What a command says that did what it was asked, without a remark.
    pub fn done(out: &str) -> Self {
        Self { code: 0, out: out.into(), err: String::new() }
    }

    /// What a command says that did not.
    pub fn failed(err: &str) -> Self {
        Self { code: 1, out: String::new(), err: format!("stentor: {err}\n") }
    }
}
