//! Supervised tasks. Every long task is born here with a name, a stop token and a span. One that ends unasked, by an
//! error, a panic or plainly, is reported and stops the node. Stopping goes through them in reverse order of
//! start, each with its share of the time left, and names those who would not.

use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info_span};

/// What a task says when it ends. An `Err` that follows a request to stop is logged and is no failure.
pub type TaskResult = Result<(), Box<dyn Error + Send + Sync>>;

/// A task that ended unasked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {name} ended unasked: {why}")]
pub struct TaskFailed {
    /// The task's name.
    pub name: &'static str,
    /// Its error, its panic, or that it just returned.
    pub why: String,
}

/// Starts tasks. Cheap to clone; hand it to whoever starts some.
#[derive(Clone, Debug)]
pub struct Spawner {
    shared: Arc<Shared>,
}

/// The tasks of one node.
#[derive(Debug)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    running: Mutex<Vec<Running>>,
    failed: watch::Sender<Option<TaskFailed>>,
    parent: Span,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    stop: CancellationToken,
    join: JoinHandle<()>,
}

impl Tasks {
    /// None yet. Spans of the tasks are children of `parent`.
    #[must_use]
    pub fn new(parent: Span) -> Self {
        let (failed, _) = watch::channel(None);
        Self { shared: Arc::new(Shared { running: Mutex::default(), failed, parent }) }
    }

    /// A handle that starts tasks.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner { shared: Arc::clone(&self.shared) }
    }

    /// Waits until a task ends unasked. Cancel-safe.
    pub async fn failed(&self) -> TaskFailed {
        let mut failed = self.shared.failed.subscribe();
        let failure = failed.wait_for(Option::is_some).await.expect("the sender lives as long as self").clone();
        failure.expect("waited for a failure")
    }

    /// Stops all tasks, the youngest first. Returns the names of those that had not ended after `limit`; they are
    /// aborted then. A slow task gets half of the time left before the next one is asked, and goes on being waited for.
    pub async fn stop(self, limit: Duration) -> Vec<&'static str> {
        let deadline = Instant::now() + limit;
        let mut slow = vec![];
        // Taken one by one: a task may start another while it stops.
        while let Some(mut task) = self.shared.take_last() {
            task.stop.cancel();
            let patience = deadline.saturating_duration_since(Instant::now()) / 2;
            if tokio::time::timeout(patience, &mut task.join).await.is_err() {
                slow.push(task);
            }
        }
        let mut stragglers = vec![];
        for mut task in slow {
            if tokio::time::timeout_at(deadline, &mut task.join).await.is_err() {
                task.join.abort();
                stragglers.push(task.name);
            }
        }
        stragglers
    }
}

impl Shared {
    fn take_last(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Spawner {
    /// Starts a task. `body` gets its stop token: it has to return soon after that is cancelled, and not before.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, body: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = TaskResult> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let body = Box::pin(body(stop.clone()));
        self.supervise(name, stop, body);
    }

    /// All tasks are one type to the runtime, which makes a hundred functions for each.
    fn supervise(&self, name: &'static str, stop: CancellationToken, body: BoxFuture<'static, TaskResult>) {
        let span = info_span!(parent: &self.shared.parent, "task", name);
        let shared = Arc::clone(&self.shared);
        let asked = stop.clone();
        let supervised = async move {
            let ended = AssertUnwindSafe(body).catch_unwind().await;
            let why = match ended {
                Ok(Ok(())) if asked.is_cancelled() => return,
                Ok(Ok(())) => "it returned".to_owned(),
                Ok(Err(error)) if asked.is_cancelled() => {
                    tracing::warn!(error = %chain(error.as_ref()), "task {name} stopped with an error");
                    return;
                }
                Ok(Err(error)) => chain(error.as_ref()),
                Err(panic) => format!("it panicked: {}", panic_text(panic.as_ref())),
            };
            let failure = TaskFailed { name, why };
            tracing::error!(task = name, "{failure}");
            // The first failure is the cause; what follows from it is in the log alone.
            shared.failed.send_if_modified(|first| {
                first.is_none() && {
                    *first = Some(failure);
                    true
                }
            });
        };
        let join = tokio::spawn(supervised.instrument(span));
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner).push(Running { name, stop, join });
    }
}

/// An error with its causes, on one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What a panic said.
#[must_use]
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn tasks() -> Tasks {
        Tasks::new(Span::none())
    }

    #[tokio::test]
    async fn tasks_are_stopped_youngest_first() {
        let tasks = tasks();
        let (sender, order) = mpsc::channel();
        for name in ["storage", "network", "http"] {
            let sender = sender.clone();
            tasks.spawner().spawn(name, |stop| async move {
                stop.cancelled().await;
                sender.send(name)?;
                Ok(())
            });
        }
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, [""; 0]);
        assert_eq!(order.try_iter().collect::<Vec<_>>(), ["http", "network", "storage"]);
    }

    #[tokio::test]
    async fn every_way_of_ending_unasked_is_reported() {
        let reported = async |body: fn() -> TaskResult| {
            let tasks = tasks();
            tasks.spawner().spawn("worker", |_| async move { body() });
            tasks.failed().await
        };
        assert_eq!(reported(|| Ok(())).await.to_string(), "the task worker ended unasked: it returned");
        assert_eq!(reported(|| Err("no disk".into())).await.why, "no disk");
        assert_eq!(reported(|| panic!("broken")).await.why, "it panicked: broken");
    }

    #[tokio::test]
    async fn the_first_failure_is_the_one_reported() {
        let tasks = tasks();
        let gate = CancellationToken::new();
        tasks.spawner().spawn("first", |_| async { Err("cause".into()) });
        let first = tasks.failed().await;
        let open = gate.clone();
        tasks.spawner().spawn("second", |_| async move {
            open.cancelled().await;
            Err("consequence".into())
        });
        gate.cancel();
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, [""; 0]);
        assert_eq!(first.name, "first");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_will_not_stop_is_named_and_keeps_nobody_from_being_asked() {
        let tasks = tasks();
        let (sender, stopped) = mpsc::channel();
        tasks.spawner().spawn("polite", |stop| async move {
            stop.cancelled().await;
            sender.send(())?;
            Ok(())
        });
        tasks.spawner().spawn("stubborn", |_| std::future::pending());
        let started = Instant::now();
        assert_eq!(tasks.stop(Duration::from_secs(10)).await, ["stubborn"]);
        assert_eq!(started.elapsed(), Duration::from_secs(10));
        stopped.try_recv().expect("the other was asked and ended");
    }

    #[test]
    fn causes_are_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer: {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(chain(&error), "outer: inner");
    }
}
