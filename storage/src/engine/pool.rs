//! How sled's pool is woken: by the locks that take the place of those it asks for. See ADR 143.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

const WORKERS: usize = 7;
const PIECES: usize = 500;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn one_piece_of_work_wakes_one_worker() {
    let queue = Arc::new((Mutex::new(VecDeque::from_iter(0..WORKERS)), Condvar::new()));
    let woken = Arc::new(AtomicUsize::new(0));
    let (done, pieces) = mpsc::channel();
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (queue, woken, done) = (Arc::clone(&queue), Arc::clone(&woken), done.clone());
            std::thread::spawn(move || {
                let (work, is_there) = &*queue;
                let deadline = Instant::now() + PATIENCE;
                loop {
                    let mut waiting = work.lock();
                    while waiting.is_empty() {
                        if is_there.wait_until(&mut waiting, deadline).timed_out() {
                            return;
                        }
                        woken.fetch_add(1, Ordering::Relaxed);
                    }
                    let piece = waiting.pop_front();
                    drop(waiting);
                    match piece {
                        Some(usize::MAX) | None => return,
                        Some(piece) => done.send(piece).expect("the test waits for it"),
                    }
                }
            })
        })
        .collect();
    let (work, is_there) = &*queue;
    for _ in 0..WORKERS {
        pieces.recv_timeout(PATIENCE).expect("what lay there is done");
    }
    for piece in 0..PIECES {
        work.lock().push_back(piece);
        is_there.notify_all();
        assert_eq!(pieces.recv_timeout(PATIENCE), Ok(piece), "nobody came for it");
    }
    let woken = woken.load(Ordering::Relaxed);
    assert!(woken <= PIECES, "{woken} were woken for {PIECES} pieces");
    for _ in 0..WORKERS {
        work.lock().push_back(usize::MAX);
        is_there.notify_all();
    }
    for worker in workers {
        worker.join().expect("no worker panics");
    }
}

#[test]
fn what_all_have_to_see_wakes_all() {
    let state = Arc::new((Mutex::new((0, false)), Condvar::new()));
    let (seen, told) = mpsc::channel();
    for _ in 0..WORKERS {
        let (state, seen) = (Arc::clone(&state), seen.clone());
        std::thread::spawn(move || {
            let (state, changed) = &*state;
            let mut current = state.lock();
            current.0 += 1;
            seen.send(()).expect("the test waits for it");
            while !current.1 {
                changed.wait(&mut current);
            }
            seen.send(()).expect("the test waits for it");
        });
    }
    for _ in 0..WORKERS {
        told.recv_timeout(PATIENCE).expect("it waits");
    }
    let (current, changed) = &*state;
    // Whoever counted itself gave the mutex away only to wait.
    current.lock().1 = true;
    assert_eq!(changed.notify_all(), WORKERS);
    for _ in 0..WORKERS {
        told.recv_timeout(PATIENCE).expect("it saw the change");
    }
}
