//! Work that blocks, kept off the workers that answer requests: reading and writing the store, hashing passwords.

use std::any::Any;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Span;

/// What work answers, whatever its type.
type Answer = Box<dyn Any + Send>;

/// Runs `work` on a thread that may block, within the span of whoever asked.
///
/// # Panics
/// When `work` panics: the panic goes on in the caller, who answers it as any other.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    begin(work).await
}

/// As [`run`], but begins at once, whenever its end is waited for.
pub(crate) fn begin<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    let span = Span::current();
    let working = spawn(Box::new(move || Box::new(span.in_scope(work)) as Answer));
    async move { *ended(working).await.downcast().expect("the answer has the type that the work returns") }
}

/// Runs `work`, which hands its answer on to somebody who gives it later, and waits for the answer alone: whoever asked is
/// woken once, not for the end of the work as well. `None` when nobody has the answer any more.
///
/// # Panics
/// As [`run`].
pub(crate) async fn answered<T: Send + 'static>(work: impl FnOnce(oneshot::Sender<T>) + Send + 'static) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    let working = begin(move || work(answer));
    if let Ok(answer) = answered.await {
        return Some(answer);
    }
    working.await;
    None
}

/// All work is one type of task: the runtime makes a hundred functions for each, and there are hundreds of kinds of work.
/// That was a fifth of all functions of this crate.
fn spawn(work: Box<dyn FnOnce() -> Answer + Send>) -> JoinHandle<Answer> {
    tokio::task::spawn_blocking(work)
}

async fn ended(working: JoinHandle<Answer>) -> Answer {
    match working.await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being torn down cancels blocking work, and then nobody waits for the answer.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    #[tokio::test]
    async fn the_value_and_the_panic_both_come_back() {
        assert_eq!(super::run(|| 7).await, 7);
        let broken = std::panic::AssertUnwindSafe(super::run(|| -> u8 { panic!("broken") })).catch_unwind().await;
        assert_eq!(broken.expect_err("it panicked").downcast_ref::<&str>(), Some(&"broken"));
    }

    #[tokio::test]
    async fn an_answer_that_is_handed_on_comes_from_whoever_has_it() {
        let (give, given) = std::sync::mpsc::channel();
        let asked = tokio::spawn(super::answered(move |answer| give.send(answer).expect("the test waits for it")));
        let answer =
            tokio::task::spawn_blocking(move || given.recv()).await.expect("no panic").expect("it was handed on");
        answer.send(7).expect("it is waited for");
        assert_eq!(asked.await.expect("no panic"), Some(7));
        assert_eq!(super::answered(|answer: tokio::sync::oneshot::Sender<u8>| drop(answer)).await, None);
        let broken = super::answered(|_: tokio::sync::oneshot::Sender<u8>| panic!("broken"));
        let broken = std::panic::AssertUnwindSafe(broken).catch_unwind().await;
        assert_eq!(broken.expect_err("it panicked").downcast_ref::<&str>(), Some(&"broken"));
    }
}
