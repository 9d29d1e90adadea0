//! The real `angel` binary as a process: built, started, read from, signalled and waited for.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything a scenario waits for may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary to test: `ANGEL_BIN`, or the one cargo builds next to the test, brought up to date once.
///
/// # Panics
/// When it cannot be built: no scenario could say anything then.
pub fn angel() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        std::env::var_os("ANGEL_BIN").map_or_else(|| build().expect("the daemon can be built"), PathBuf::from)
    })
}

fn build() -> Result<PathBuf> {
    // target/PROFILE/deps/scenarios-…
    let this = std::env::current_exe()?;
    let profile = this.parent().and_then(Path::parent).context("tests lie in target/PROFILE/deps")?;
    let target = profile.parent().context("tests lie in target/PROFILE/deps")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "angel-node", "--bin", "angel"]);
    cargo.args((profile.file_name() == Some(OsStr::new("release"))).then_some("--release"));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).env("CARGO_TARGET_DIR", target);
    let status = cargo.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo build ended with {status}");
    }
    Ok(profile.join("angel"))
}

/// An `angel` command that sees nothing of the tester's own settings: no `ANGEL_…` variable, a home of its own.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(angel());
    cleared(&mut command, home);
    command
}

/// The same under a command that runs its arguments, as inside a network namespace.
///
/// # Panics
/// When `wrapper` is empty.
#[must_use]
pub fn command_under(wrapper: &[&str], home: &Path) -> Command {
    let (program, arguments) = wrapper.split_first().expect("a wrapper is a command");
    let mut command = Command::new(program);
    command.args(arguments).arg(angel());
    cleared(&mut command, home);
    command
}

fn cleared(command: &mut Command, home: &Path) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ANGEL_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env_remove("XDG_DATA_HOME").env_remove("RUST_LOG").stdin(Stdio::null());
}

/// `angel VERB…` for the daemon in `data_dir`, run to its end.
///
/// # Errors
/// When the binary cannot be run.
pub fn verb(data_dir: &Path, words: &[&str]) -> Result<Output> {
    Ok(command(data_dir).args(words).arg("--data-dir").arg(data_dir).output()?)
}

/// A daemon process. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    pid: Pid,
    started: Duration,
    facts: Value,
    announcements: Receiver<String>,
    log: Receiver<String>,
    seen: Mutex<Vec<String>>,
    ended: Receiver<ExitStatus>,
    status: OnceLock<ExitStatus>,
}

/// How to start a daemon.
#[derive(Debug)]
pub struct Launch {
    command: Command,
}

impl Launch {
    /// `angel run` in `data_dir`, on free ports of the loopback interface, looking for nobody.
    #[must_use]
    pub fn in_dir(data_dir: &Path) -> Self {
        Self::with(command(data_dir), data_dir)
    }

    /// The same inside a network namespace or under any other command that runs its arguments.
    #[must_use]
    pub fn under(wrapper: &[&str], data_dir: &Path) -> Self {
        Self::with(command_under(wrapper, data_dir), data_dir)
    }

    fn with(mut command: Command, data_dir: &Path) -> Self {
        command.arg("run").arg("--data-dir").arg(data_dir);
        command.env("ANGEL_HTTP_LISTEN", "127.0.0.1:0");
        command.env("ANGEL_NETWORK_LISTEN", "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1");
        command.env("ANGEL_NETWORK_MDNS", "false").env("ANGEL_NETWORK_UPNP", "false");
        Self { command }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets several variables.
    #[must_use]
    pub fn envs<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.command.envs(variables);
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// With what it wrote, when it ends or says nothing instead.
    pub fn start(mut self) -> Result<Daemon> {
        let began = Instant::now();
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let announcements = lines(child.stdout.take().context("standard output is piped")?);
        let log = lines(child.stderr.take().context("standard error is piped")?);
        let pid = Pid::from_child(&child);
        let mut daemon = Daemon {
            pid,
            started: Duration::ZERO,
            facts: Value::Null,
            announcements,
            log,
            seen: Mutex::default(),
            ended: wait_for(child),
            status: OnceLock::new(),
        };
        daemon.next_announcement()?;
        daemon.started = began.elapsed();
        Ok(daemon)
    }

    /// Runs it to its end, for starts that should fail.
    ///
    /// # Errors
    /// When it cannot be run, or is still there after [`PATIENCE`].
    pub fn fail(mut self) -> Result<Output> {
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read = |pipe: Option<Box<dyn Read + Send>>| {
            thread::spawn(move || {
                let mut bytes = vec![];
                pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
                bytes
            })
        };
        let stdout = read(stdout.map(|pipe| Box::new(pipe) as _));
        let stderr = read(stderr.map(|pipe| Box::new(pipe) as _));
        let pid = Pid::from_child(&child);
        let status = wait_for(child).recv_timeout(PATIENCE).map_err(|_| {
            kill_process(pid, Signal::KILL).ok();
            anyhow!("it started instead of failing")
        })?;
        let text = |reader: thread::JoinHandle<Vec<u8>>| reader.join().map_err(|_| anyhow!("cannot read its output"));
        Ok(Output { status, stdout: text(stdout)?, stderr: text(stderr)? })
    }
}

impl Daemon {
    /// What it said when it was ready (last).
    #[must_use]
    pub fn facts(&self) -> &Value {
        &self.facts
    }

    /// A text of [`Self::facts`].
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap_or_else(|| panic!("{name} in {}", self.facts))
    }

    /// How long it took from the start of the process until it was ready.
    #[must_use]
    pub fn started_within(&self) -> Duration {
        self.started
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for it to announce itself again, as after a rotation of its key.
    ///
    /// # Errors
    /// With what it wrote, when it ends or says nothing instead.
    pub fn next_announcement(&mut self) -> Result<()> {
        match self.announcements.recv_timeout(PATIENCE) {
            Ok(line) => self.facts = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?,
            Err(_) => bail!("it did not become ready; it wrote:\n{}", self.log().join("\n")),
        }
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    /// Waits until it has logged a line with these words.
    ///
    /// # Errors
    /// With the log, when the words do not come.
    pub fn wait_for_log(&self, words: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.remember(line.clone());
                    if line.contains(words) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!("{words:?} was not logged; it wrote:\n{}", self.log().join("\n"))
                }
            }
        }
    }

    /// Everything logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.try_iter().for_each(|line| self.remember(line));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, line: String) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// With its log, when it does not end.
    pub fn wait(&self) -> Result<ExitStatus> {
        if let Some(status) = self.status.get() {
            return Ok(*status);
        }
        let status = self.ended.recv_timeout(PATIENCE).ok();
        let status = status.with_context(|| format!("it does not end; it wrote:\n{}", self.log().join("\n")))?;
        Ok(*self.status.get_or_init(|| status))
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        if self.status.get().is_none()
            && let Ok(status) = self.ended.try_recv()
        {
            self.status.get_or_init(|| status);
        }
        self.status.get().is_some()
    }

    /// Asks it to stop with SIGTERM and waits for it.
    ///
    /// # Errors
    /// As [`Self::signal`] and [`Self::wait`].
    pub fn stop(&self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.status.get().is_none() && self.ended.try_recv().is_err() {
            kill_process(self.pid, Signal::KILL).ok();
            self.ended.recv_timeout(PATIENCE).ok();
        }
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Read on even when nobody listens any more, or the daemon would block on a full pipe.
        BufReader::new(pipe).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    receiver
}

fn wait_for(mut child: Child) -> Receiver<ExitStatus> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || child.wait().map(|status| sender.send(status)));
    receiver
}
