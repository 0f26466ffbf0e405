//! Waiting for a future on a thread that has no runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, current, park, park_timeout};
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks the thread until the future is done. Only for futures that are driven by other threads, as all of this module
/// are; and not for threads that serve clients.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    wait(future, || {
        park();
        Waiting::GoesOn
    })
    .expect("it goes on until it is done")
}

/// The same for a certain time. What is not done by then is dropped.
pub fn block_on_for<T>(future: impl Future<Output = T>, time: Duration) -> Option<T> {
    let deadline = Instant::now() + time;
    wait(future, || {
        park_timeout(deadline.saturating_duration_since(Instant::now()));
        if Instant::now() < deadline { Waiting::GoesOn } else { Waiting::IsOver }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    GoesOn,
    IsOver,
}

fn wait<T>(future: impl Future<Output = T>, mut pause: impl FnMut() -> Waiting) -> Option<T> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return Some(value),
            Poll::Pending if pause() == Waiting::IsOver => return None,
            Poll::Pending => {}
        }
    }
}
