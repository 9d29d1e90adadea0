//! The writing child as its parent sees it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use angel_storage::engine::EngineKind;
use anyhow::Context as _;

use super::workload::{Heads, format_heads, parse_heads};

/// What the child says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The store opened and everything is as it should be; these are its heads.
    Ready(Heads),
    /// A batch of a stream was acknowledged.
    Ack(usize, u64),
    /// Something acknowledged is missing, or something is torn.
    Broken(String),
    /// The store opened, and says that it cannot read something.
    Unreadable(String),
    /// The store did not open.
    Refused(String),
    /// The store failed while it was open.
    Failed(String),
    /// Everything was written and the store closed.
    Closed,
}

/// A running child. Killed when dropped.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    lines: Receiver<Line>,
}

impl Child {
    /// Starts the program `store-writer` at `program`; see [`super::child_main`].
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub fn spawn(
        program: &Path,
        dir: &Path,
        kind: EngineKind,
        acknowledged: &Heads,
        batches: u64,
        without_barrier: bool,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg(dir).arg(kind.as_str()).arg(format_heads(acknowledged)).arg(batches.to_string());
        if without_barrier {
            command.arg("without-barrier");
        }
        // What the engines say about damaged files goes to the test's own output.
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start store-writer")?;
        let out = process.stdout.take().context("its output is piped")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // A last line that was cut off by the kill says nothing.
            for line in BufReader::new(out).lines().map_while(Result::ok).filter_map(|line| parse(&line)) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, lines })
    }

    /// The next line, or `None` when the child ended or `deadline` passed.
    pub fn next(&self, deadline: Instant) -> Option<Line> {
        self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    /// Every line until `moment`, or until the child ends.
    pub fn listen_until(&self, moment: Instant) -> Vec<Line> {
        std::iter::from_fn(|| self.next(moment)).collect()
    }

    /// Whether it ended by itself and without a panic or a signal. Waits until `deadline` and then kills it.
    ///
    /// # Errors
    ///
    /// It cannot be waited for, or did not end in time.
    pub fn ended_well(self, deadline: Instant) -> anyhow::Result<bool> {
        Ok(self.end(deadline)?.success())
    }

    /// How it ended. Waits until `deadline` and then kills it.
    ///
    /// # Errors
    ///
    /// It cannot be waited for, or did not end in time.
    pub fn end(mut self, deadline: Instant) -> anyhow::Result<ExitStatus> {
        // Its lines end when it does.
        self.listen_until(deadline);
        anyhow::ensure!(Instant::now() < deadline, "it did not end in time");
        Ok(self.process.wait()?)
    }

    /// Kills it with SIGKILL and hands out what it had still said.
    ///
    /// # Errors
    ///
    /// It cannot be killed or waited for.
    pub fn kill(mut self) -> anyhow::Result<Vec<Line>> {
        self.process.kill()?;
        self.process.wait()?;
        // The pipe ends with the process.
        Ok(self.listen_until(Instant::now() + Duration::from_secs(20)))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn parse(line: &str) -> Option<Line> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "ready" => parse_heads(rest).ok().map(Line::Ready),
        "ack" => {
            let (stream, n) = rest.split_once(' ')?;
            Some(Line::Ack(stream.parse().ok()?, n.parse().ok()?))
        }
        "broken" => Some(Line::Broken(rest.to_owned())),
        "unreadable" => Some(Line::Unreadable(rest.to_owned())),
        "refused" => Some(Line::Refused(rest.to_owned())),
        "failed" => Some(Line::Failed(rest.to_owned())),
        "closed" => Some(Line::Closed),
        _ => None,
    }
}
