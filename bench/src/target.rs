//! What is measured: a server that runs, one that is started, or a bare relay.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::cli::{Common, Relay, complain};
use crate::fleet::{Fleet, Login, News, Server, TlsUse, tls_config};
use crate::process::{self, Process};
use crate::report::Report;
use crate::stentor::{self, Stentor};

/// The server under load, and the options of the run.
pub struct Target {
    /// What all scenarios take.
    pub common: Common,
    /// The process that is measured.
    pub process: Option<Process>,
    /// Open files that this process may have.
    pub open_files_max: u64,
    address: Option<SocketAddr>,
    stentor: Option<Stentor>,
    relay: Option<Child>,
    accounts: usize,
    variables: Vec<(&'static str, String)>,
}

impl Target {
    /// A target by the command line; nothing is started yet.
    ///
    /// # Errors
    /// The processor that is asked for is none.
    pub fn new(common: Common) -> anyhow::Result<Self> {
        if let Some(cpu) = common.own_cpu {
            let mut set = CpuSet::new();
            set.set(cpu);
            sched_setaffinity(None, &set).with_context(|| format!("no processor {cpu}"))?;
        }
        let open_files_max = process::raise_open_files()?;
        Ok(Self {
            common,
            process: None,
            open_files_max,
            address: None,
            stentor: None,
            relay: None,
            accounts: 0,
            variables: Vec::new(),
        })
    }

    /// Stops the server that was started, if one was; the next has these variables for its
    /// configuration.
    pub fn begin_anew(&mut self, variables: Vec<(&'static str, String)>) {
        if self.stentor.take().is_some() {
            self.accounts = 0;
        }
        self.variables = variables;
    }

    /// The port that clients use, without TLS or with STARTTLS where it is known, and the one with TLS
    /// from the first byte; once there is a server.
    #[must_use]
    pub fn ports(&self) -> Option<(SocketAddr, Option<SocketAddr>)> {
        match &self.stentor {
            Some(server) => Some((server.plain, Some(server.direct))),
            None => self.address.map(|address| (address, None)),
        }
    }

    /// Starts or finds the server, makes accounts, and returns a fleet without clients.
    ///
    /// # Errors
    /// There is no server, or it refuses accounts.
    pub fn fleet(&mut self, accounts: usize) -> anyhow::Result<Fleet> {
        match self.common.server {
            Some(address) => {
                self.address = Some(address);
                self.process = match self.common.pid {
                    Some(pid) => Some(Process { pid }),
                    None => Process::listening(address).ok(),
                };
            }
            None if self.stentor.is_none() => self.start()?,
            None => {}
        }
        self.make_accounts(accounts)?;
        Ok(Fleet::new(self.server(self.address.context("no address")?, false)?)?)
    }

    /// Starts a bare relay and returns a fleet for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn relay(&mut self, kind: Relay, message_bytes: usize) -> anyhow::Result<Fleet> {
        let own = std::env::current_exe()?;
        let mut command = match self.common.server_cpu {
            None => Command::new(own),
            Some(cpu) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &cpu.to_string()]).arg(own);
                command
            }
        };
        command.arg("relay").stdout(Stdio::piped());
        if kind == Relay::Each {
            command.args(["--message-bytes", &message_bytes.to_string()]);
        }
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        self.process = Some(Process { pid: child.id() });
        self.relay = Some(child);
        self.common.tls = TlsUse::Off;
        Ok(Fleet::new(self.server(line.trim().parse()?, false)?)?)
    }

    /// The same server as a fleet has, with TLS sessions that are remembered or not.
    ///
    /// # Errors
    /// TLS has no provider.
    pub fn server(&self, address: SocketAddr, resumes_tls: bool) -> anyhow::Result<Server> {
        Ok(Server {
            address,
            domain: self.common.domain.clone(),
            tls: self.common.tls,
            mechanism: Some(self.common.mechanism),
            password: self.common.password.clone(),
            tls_config: tls_config(resumes_tls)?,
        })
    }

    /// The local part of an account.
    #[must_use]
    pub fn username(&self, number: usize) -> String {
        format!("{}{number}", self.common.prefix)
    }

    /// The bare address of an account.
    #[must_use]
    pub fn jid(&self, number: usize) -> String {
        format!("{}@{}", self.username(number), self.common.domain)
    }

    /// Who signs in as an account.
    #[must_use]
    pub fn login(&self, number: usize) -> Login {
        Login { username: self.username(number), resource: "bench".into(), ..Login::default() }
    }

    /// Connects clients and waits until all are signed in. `login` says who a client is.
    ///
    /// # Errors
    /// One of them could not sign in.
    pub fn sign_in(
        &self,
        fleet: &mut Fleet,
        clients: std::ops::Range<usize>,
        login: impl Fn(usize) -> Login,
    ) -> anyhow::Result<()> {
        let mut progress = Progress::new(self);
        let mut waiting = clients.clone();
        let (mut in_hand, mut done) = (0, 0);
        let mut heard = Instant::now();
        while done < clients.len() {
            while in_hand < SIGN_INS_AT_A_TIME
                && let Some(who) = waiting.next()
            {
                fleet.connect(who, Some(login(who)))?;
                in_hand += 1;
            }
            fleet.turn(Duration::from_millis(100), &mut |_, _, _| {})?;
            for news in fleet.take_news() {
                match news {
                    News::Ready { .. } => (in_hand, done) = (in_hand - 1, done + 1),
                    News::Closed { who, reason } => {
                        bail!("client {who} could not stay signed in: {reason}");
                    }
                }
                heard = Instant::now();
            }
            anyhow::ensure!(heard.elapsed() < SIGN_IN_WAIT, "the server signs nobody in any more");
            progress.say(|| format!("{done} of {} signed in", clients.len()));
        }
        Ok(())
    }

    /// The name of the server in reports.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.common.name {
            Some(name) => name.clone(),
            None if self.relay.is_some() => "relay".into(),
            None => match self.common.server {
                Some(address) => address.to_string(),
                None => "stentor".into(),
            },
        }
    }

    /// Prints a report, and appends it to the history if there is one.
    ///
    /// # Errors
    /// The history cannot be written.
    #[allow(clippy::print_stdout, reason = "this is what was asked for")]
    pub fn tell(&self, report: &Report) -> anyhow::Result<()> {
        match self.common.json {
            true => println!("{}", report.json()),
            false => print!("{}", report.text()),
        }
        if let Some(history) = &self.common.history {
            let date = output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]);
            let commit = output("git", &["rev-parse", "--short", "HEAD"]);
            report.append(history, &date, &commit)?;
        }
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let binary = match &self.common.stentor {
            Some(path) => path.clone(),
            None => stentor::beside_own()?,
        };
        let more = self.common.configure.clone().unwrap_or_default();
        let data = self.common.data.as_deref();
        let cpu = self.common.server_cpu;
        let server = Stentor::start_with(&binary, data, &more, cpu, &self.variables)?;
        let is_direct = self.common.tls == TlsUse::Direct;
        self.address = Some(if is_direct { server.direct } else { server.plain });
        self.process = Some(Process { pid: server.pid() });
        self.stentor = Some(server);
        Ok(())
    }

    fn make_accounts(&mut self, count: usize) -> anyhow::Result<()> {
        if count <= self.accounts {
            return Ok(());
        }
        let new = self.accounts..count;
        self.accounts = count;
        if let Some(server) = &self.stentor {
            return server.import(new.map(|n| self.jid(n)), &self.common.password);
        }
        let Some(hook) = &self.common.account_hook else { return Ok(()) };
        let mut child = Command::new("sh").args(["-c", hook]).stdin(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("no input")?;
        for number in new {
            let Common { domain, password, .. } = &self.common;
            writeln!(input, "{} {domain} {password}", self.username(number))?;
        }
        drop(input);
        anyhow::ensure!(child.wait()?.success(), "`{hook}` failed");
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(relay) = &mut self.relay {
            let _ = relay.kill();
            let _ = relay.wait();
        }
    }
}

/// Tells once a second how far a run is.
pub struct Progress {
    is_quiet: bool,
    said: Instant,
}

impl Progress {
    /// Progress of a run with this target.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        Self { is_quiet: target.common.quiet, said: Instant::now() }
    }

    /// Says it, if it is time to.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        if !self.is_quiet && self.said.elapsed() >= Duration::from_secs(1) {
            self.said = Instant::now();
            complain(&text());
        }
    }
}

/// What a command prints, or `unknown`.
fn output(command: &str, args: &[&str]) -> String {
    let output = Command::new(command).args(args).stderr(Stdio::null()).output();
    let text = output.ok().filter(|output| output.status.success());
    text.map_or_else(
        || "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

const SIGN_INS_AT_A_TIME: usize = 64;
const SIGN_IN_WAIT: Duration = Duration::from_secs(60);
