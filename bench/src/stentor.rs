//! A server of ours, started for a benchmark: as it ships, on ports of the loopback interface.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A running server. Dropping it kills it.
pub struct Stentor {
    binary: PathBuf,
    config: PathBuf,
    child: Child,
    /// Its port without TLS or with STARTTLS.
    pub plain: SocketAddr,
    /// Its port with TLS from the first byte.
    pub direct: SocketAddr,
    /// Goes with the server, unless the data shall be kept.
    _folder: Option<tempfile::TempDir>,
}

impl Stentor {
    /// Starts a server; `data` keeps accounts from run to run. `cpu` pins it to one processor.
    ///
    /// # Errors
    /// It does not start; the end of its log is told.
    pub fn start(
        binary: &Path,
        data: Option<&Path>,
        more: &str,
        cpu: Option<usize>,
    ) -> anyhow::Result<Self> {
        Self::start_with(binary, data, more, cpu, &[])
    }

    /// The same with keys of the configuration that are set by variables, and win.
    ///
    /// # Errors
    /// As [`Stentor::start`].
    pub fn start_with(
        binary: &Path,
        data: Option<&Path>,
        more: &str,
        cpu: Option<usize>,
        variables: &[(&'static str, String)],
    ) -> anyhow::Result<Self> {
        let (folder, path) = match data {
            Some(path) => (None, path.to_path_buf()),
            None => {
                let folder = tempfile::tempdir()?;
                let path = folder.path().to_path_buf();
                (Some(folder), path)
            }
        };
        fs::create_dir_all(&path)?;
        let config = path.join("stentor.toml");
        fs::write(&config, format!("{CONFIG}{more}\n"))?;
        let log_path = path.join("stentor.log");
        let log = File::create(&log_path)?;
        let mut command = match cpu {
            None => Command::new(binary),
            Some(cpu) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &cpu.to_string()]).arg(binary);
                command
            }
        };
        command.arg("--config").arg(&config).arg("run").stdin(Stdio::null()).stderr(log);
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        let child =
            command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self {
            binary: binary.to_path_buf(),
            config,
            child,
            plain: nowhere,
            direct: nowhere,
            _folder: folder,
        };
        server.wait(&log_path)?;
        Ok(server)
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes the accounts that are not there yet.
    ///
    /// # Errors
    /// The server refuses.
    pub fn import(
        &self,
        accounts: impl Iterator<Item = String>,
        password: &str,
    ) -> anyhow::Result<()> {
        let mut child = Command::new(&self.binary)
            .arg("--config")
            .arg(&self.config)
            .args(["account", "import", "-", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let list: String = accounts.map(|jid| format!("{jid} {password}\n")).collect();
        child.stdin.take().context("no input")?.write_all(list.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        // An account of an earlier run is as good.
        let other = said.lines().find(|l| l.contains("refusal") && !l.contains("account-exists"));
        match other {
            Some(line) => bail!("the server refused an account: {line}"),
            None => Ok(()),
        }
    }

    fn wait(&mut self, log: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(log)?;
            if text.contains("\"started\"") {
                let ports: Vec<SocketAddr> = text
                    .lines()
                    .filter(|line| line.contains("\"listening\""))
                    .filter_map(|line| line.split("address=").nth(1)?.trim().parse().ok())
                    .collect();
                let [plain, direct] = ports[..] else {
                    bail!("the server named no ports:\n{text}")
                };
                (self.plain, self.direct) = (plain, direct);
                return Ok(());
            }
            if self.child.try_wait()?.is_some() || begun.elapsed() > START_WAIT {
                bail!("the server did not start:\n{}", tail(log)?);
            }
            crate::pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Stentor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary that was built beside this one.
///
/// # Errors
/// There is none.
pub fn beside_own() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("stentor");
    anyhow::ensure!(
        path.is_file(),
        "there is no `{}`: build it by `cargo build --release -p stentor`, or name one by \
         `--stentor`",
        path.display()
    );
    Ok(path)
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(2_048)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The defaults, but for limits on what one address may do, and for ports.
const CONFIG: &str = "\
data_dir = 'data'
[[listen]]
address = '127.0.0.1:0'
tls = 'optional'
[[listen]]
kind = 'c2s-tls'
address = '127.0.0.1:0'
[metrics]
address = ''
[limits]
connections_per_source_max = 1000000
[sign_in]
iterations = 4096
";

const START_WAIT: Duration = Duration::from_secs(60);
